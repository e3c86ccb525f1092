//! The command that tells what would come of a token request.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::administrator::invalid;
use super::{AdminError, AdminErrorCode, Administrator, Answer};
use crate::clients::{AuthMethod, Channel};
use crate::clock::{Standing, UnixTime};
use crate::endpoint::{Grounds, Rehearsal, Settings, explain};
use crate::jose::{KeyState, KeyType};
use crate::mqtt::LinkKind;
use crate::oauth::{ClientId, ScopeSet};

/// A token request to explain. Names no credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Who would ask.
    pub client_id: ClientId,
    /// The audience it would name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The scopes it would name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    /// When; `None` for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixTime>,
    /// By which method; `None` for the one that the client is registered for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<AuthMethod>,
    /// Through which broker; `None` for the embedded one if it runs, else the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkKind>,
}

/// How the gateway serves token requests.
#[derive(Clone)]
pub struct Serving {
    /// Tells what decides on a request beside the registry.
    pub settings: Arc<dyn Fn() -> Settings + Send + Sync>,
    /// Tells how the clock stands, if somebody knows.
    pub clock: Arc<dyn Fn() -> Option<Standing> + Send + Sync>,
    /// The links that are configured and what they are trusted with.
    pub links: Vec<(LinkKind, Channel)>,
}

impl Administrator {
    /// The same, which can explain what would come of a request.
    #[must_use]
    pub fn explaining(mut self, serving: Serving) -> Self {
        self.serving = Some(serving);
        self
    }

    /// Reads alone: no use of a credential is noted and nothing is written.
    pub(super) fn explain(&self, query: Explain) -> Result<Answer, AdminError> {
        let unset = || AdminError::new(AdminErrorCode::Internal, "it is not known how requests are served");
        let Serving { settings, clock, links } = self.serving.as_ref().ok_or_else(unset)?;
        let configured = |kind: LinkKind| links.iter().find(|(known, _)| *known == kind);
        let (_, channel) = match query.link {
            Some(link) => configured(link).ok_or_else(|| {
                let what = invalid(format!("the gateway has no link `{}`", link.as_str()));
                let known: Vec<&str> = links.iter().map(|(kind, _)| kind.as_str()).collect();
                what.with_advice(format!("it has {}", known.join(" and ")))
            })?,
            None => configured(LinkKind::EmbeddedBroker).or_else(|| links.first()).ok_or_else(unset)?,
        };
        let keys = self.keys.list()?;
        let active_key = |key_type: KeyType| {
            let active = keys.iter().find(|key| key.state == KeyState::Active && key.algorithm.key_type() == key_type);
            active.map(|key| key.kid.clone())
        };
        let rehearsal = Rehearsal {
            client_id: &query.client_id,
            audience: query.audience.as_deref(),
            scope: query.scope.as_ref(),
            method: query.method,
            channel: *channel,
            now: query.at.unwrap_or_else(|| UnixTime::from(SystemTime::now())),
        };
        let settings = settings();
        let grounds = Grounds {
            settings: &settings,
            clients: self.registry.as_ref(),
            policies: self.registry.as_ref(),
            revocations: Some(self.registry.as_ref()),
            has_assertions: true,
            // What it will be at another time nobody knows.
            clock: if query.at.is_none() { clock() } else { None },
            active_key: &active_key,
        };
        Ok(Answer::Explanation(Box::new(explain(&rehearsal, &grounds))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::administrator::tests::bench;
    use super::super::{Command, NewClient};
    use super::*;
    use crate::token::Lifetimes;

    fn query(client_id: &str) -> Explain {
        Explain { client_id: client_id.parse().unwrap(), audience: None, scope: None, at: None, method: None, link: None }
    }

    #[test]
    fn links_are_chosen_and_named() {
        let bench = bench();
        bench.administrator.execute(Command::ClientAdd(NewClient { client_id: "dev1".parse().ok(), ..NewClient::default() })).unwrap();
        let refused = bench.administrator.execute(Command::Explain(query("dev1"))).unwrap_err();
        assert_eq!(refused.code, AdminErrorCode::Internal, "how requests are served was not said");

        let settings =
            Settings { issuer: "https://as.example".into(), lifetimes: Lifetimes { default: 300, maximum: 300 }, max_payload: 1_024 };
        let reason = |links: &[(LinkKind, Channel)], link| {
            let settings = settings.clone();
            let serving = Serving { settings: Arc::new(move || settings.clone()), clock: Arc::new(|| None), links: links.to_vec() };
            let other = Administrator::new(
                bench.administrator.registry.clone(),
                bench.administrator.keys.clone(),
                Box::new(Default::default),
                Box::new(|| ()),
            );
            match other.explaining(serving).execute(Command::Explain(Explain { link, ..query("dev1") })) {
                Ok(Answer::Explanation(explanation)) => Ok(explanation.reason.to_string()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.advice.unwrap()),
            }
        };
        let (own, embedded) = ((LinkKind::Broker, Channel::Untrusted), (LinkKind::EmbeddedBroker, Channel::Trusted));
        assert_eq!(reason(&[own, embedded], None).unwrap(), "ambiguous_audience", "the embedded broker takes secrets");
        assert_eq!(reason(&[own, embedded], Some(LinkKind::Broker)).unwrap(), "untrusted_broker");
        assert_eq!(reason(&[own], None).unwrap(), "untrusted_broker");
        assert_eq!(reason(&[own], Some(LinkKind::EmbeddedBroker)).unwrap_err(), "it has broker");
    }

    #[test]
    fn the_command_has_a_fixed_form() {
        let json = r#"{"explain":{"client_id":"dev1","scope":["a"],"at":5,"method":"private_key_jwt","link":"embedded-broker"}}"#;
        let command: Command = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&command).unwrap(), json);
    }
}
