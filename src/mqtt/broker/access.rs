//! Who may connect, publish and subscribe (protocol section 7).

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tracing::info;

use crate::audit::What;
use crate::clients::Source;
use crate::mqtt::gateway::{Gateway, LinkKind};
use crate::mqtt::topics::Topics;
use crate::oauth::{ClientId, Reason, Secret};

/// The access rules of the embedded broker.
pub(super) struct Access {
    gateway: Arc<Gateway>,
}

/// Begins the user id of a session that may register a device and do nothing else; no client id has a colon. The device's name follows.
const REGISTERING: &str = "register:";

/// A refused CONNECT: what the client is told and what the log says.
#[derive(Debug, PartialEq, Eq)]
struct Denial {
    code: ReasonCode,
    reason: Reason,
}

impl Access {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    /// The session's user id. Credentials first: a stranger learns nothing of the rules behind them.
    fn admit(&self, connect: &ConnectPacket, address: SocketAddr) -> Result<String, Denial> {
        let bad_credentials = |reason| Denial { code: ReasonCode::BadUsernameOrPassword, reason };
        let (Some(username), Some(password)) = (&connect.username, &connect.password) else {
            return Err(bad_credentials(Reason::NoCredentials));
        };
        let client_id: ClientId = username.parse().map_err(|_| bad_credentials(Reason::UnknownClient))?;
        let (engine, now) = (self.gateway.engine(), self.gateway.now());
        let clients = engine.clients();
        let password = Secret::new(password.clone());
        let user_id = match engine.authenticate_enrolment(&client_id, &password, now) {
            Some(outcome) => outcome.map(|_| format!("{REGISTERING}{client_id}")),
            None => engine.authenticate_session(&client_id, &password, Source::Address(address.ip()), now).map(|_| client_id.to_string()),
        };
        let user_id = user_id.map_err(|refusal| bad_credentials(refusal.reason()))?;

        let is_client = |identifier: &str| identifier.parse().is_ok_and(|id| clients.client(&id).is_some());
        let identifier = connect.client_id.as_str();
        let is_permitted = is_own_identifier(&client_id, identifier) || (is_assigned_identifier(identifier) && !is_client(identifier));
        if !is_permitted {
            return Err(Denial { code: ReasonCode::ClientIdentifierNotValid, reason: Reason::ForeignMqttClientId });
        }
        match &connect.will {
            // A Will does not pass the publish hook, so what that would drop is refused here.
            Some(will) if will.retain => Err(Denial { code: ReasonCode::RetainNotSupported, reason: Reason::RetainedWill }),
            Some(will) if !may_publish(self.gateway.topics(), Some(&user_id), &will.topic) => {
                Err(Denial { code: ReasonCode::NotAuthorized, reason: Reason::ForeignWillTopic })
            }
            _ => Ok(user_id),
        }
    }

    /// Whether the client is registered for the resource server to whose topics the filter belongs.
    fn is_list_reader(&self, user_id: Option<&str>, filter: &str) -> bool {
        let client = user_id.and_then(|id| id.parse().ok()).and_then(|id| self.gateway.engine().clients().client(&id));
        client.is_some_and(|client| client.introspects.iter().any(|id| is_below(&self.gateway.topics().resource_server_root(id), filter)))
    }

    fn authenticate(&self, connect: &ConnectPacket, address: SocketAddr) -> AuthResult {
        let link = LinkKind::EmbeddedBroker.as_str();
        let operation = "connect";
        match self.admit(connect, address) {
            Ok(user_id) => {
                let (client_id, told) = match user_id.strip_prefix(REGISTERING) {
                    Some(name) => (name, "device connected to register"),
                    None => (user_id.as_str(), "client connected"),
                };
                self.gateway.counters().count_connect(Ok(()));
                info!(client_id, operation, outcome = "accepted", reason = "ok", link, %address, "{told}");
                AuthResult::success_with_user(user_id)
            }
            Err(Denial { code, reason }) => {
                self.gateway.counters().count_connect(Err(reason));
                let reason = reason.name();
                // What is no client id stays out of the log: it may hold anything.
                let named = connect.username.as_deref().and_then(|name| name.parse::<ClientId>().ok());
                self.gateway.refused(What::ConnectionRefused, named.as_ref(), reason);
                let client_id = named.as_ref().map_or("-", ClientId::as_str);
                info!(client_id, operation, outcome = "rejected", reason, link, %address, "connection refused");
                AuthResult::fail(code)
            }
        }
    }
}

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = mqtt5::error::Result<AuthResult>> + Send + 'a>> {
        Box::pin(ready(Ok(self.authenticate(connect, client_addr))))
    }

    fn authorize_publish<'a>(
        &'a self,
        _mqtt_client_id: &str,
        user_id: Option<&'a str>,
        topic: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(ready(may_publish(self.gateway.topics(), user_id, topic)))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _mqtt_client_id: &str,
        user_id: Option<&'a str>,
        topic_filter: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let topics = self.gateway.topics();
        let is_permitted = may_subscribe(topics, user_id, topic_filter) || self.is_list_reader(user_id, topic_filter);
        Box::pin(ready(is_permitted))
    }
}

/// Whether a session may publish to the topic: only below its own.
pub(super) fn may_publish(topics: &Topics, user_id: Option<&str>, topic: &str) -> bool {
    own_root(topics, user_id).is_some_and(|root| is_below(&root, topic))
}

/// Whether every topic that the filter matches is below the session's own or, for a client, the gateway's.
///
/// A filter matches topics that begin with its levels before the first wildcard. The roots hold no wildcard, so a filter that begins with a
/// root matches nothing outside it.
fn may_subscribe(topics: &Topics, user_id: Option<&str>, filter: &str) -> bool {
    let is_client = user_id.is_some_and(|user_id| !user_id.starts_with(REGISTERING));
    own_root(topics, user_id).is_some_and(|root| is_below(&root, filter) || (is_client && is_below(&topics.server_root(), filter)))
}

fn own_root(topics: &Topics, user_id: Option<&str>) -> Option<String> {
    match user_id?.strip_prefix(REGISTERING) {
        Some(name) => Some(topics.registration_root(&name.parse().ok()?)),
        None => Some(topics.client_root(&user_id?.parse().ok()?)),
    }
}

fn is_below(root: &str, topic: &str) -> bool {
    topic.strip_prefix(root).is_some_and(|rest| !rest.is_empty())
}

/// Whether the MQTT client identifier belongs to the client: a client id holds no dot, so `dev1.` begins no identifier of another.
fn is_own_identifier(client_id: &ClientId, identifier: &str) -> bool {
    identifier.strip_prefix(client_id.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether it has the form of an identifier that mqtt5 assigns to a client that sent none: nobody can guess another's 128 random bits.
fn is_assigned_identifier(identifier: &str) -> bool {
    identifier
        .strip_prefix("auto-")
        .is_some_and(|random| random.len() == 32 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("oauth2/v1").unwrap()
    }

    #[test]
    fn devices_publish_below_their_own_topics_only() {
        for topic in ["oauth2/v1/client/dev1/token/json", "oauth2/v1/client/dev1/x", "oauth2/v1/client/dev1//"] {
            assert!(may_publish(&topics(), Some("dev1"), topic), "{topic}");
            assert!(!may_publish(&topics(), Some("dev11"), topic), "{topic}");
            assert!(!may_publish(&topics(), None, topic), "{topic}");
        }
        for topic in [
            "oauth2/v1/client/dev1",
            "oauth2/v1/client/dev1/",
            "oauth2/v1/client/dev11/token/json",
            "oauth2/v1/client/dev2/token/json",
            "oauth2/v1/as/status",
            "oauth2/v1/as/jwks",
            "/oauth2/v1/client/dev1/x",
            "x/oauth2/v1/client/dev1/x",
            "$SYS/x",
            "x",
            "",
        ] {
            assert!(!may_publish(&topics(), Some("dev1"), topic), "{topic}");
        }
    }

    #[test]
    fn no_user_id_reaches_beyond_its_level() {
        for user_id in ["", "+", "#", "dev1/x", "..", "dev1/../dev2"] {
            assert!(!may_publish(&topics(), Some(user_id), &format!("oauth2/v1/client/{user_id}/x")), "{user_id}");
            assert!(!may_subscribe(&topics(), Some(user_id), &format!("oauth2/v1/client/{user_id}/x")), "{user_id}");
        }
    }

    #[test]
    fn deny_all_but_its_registration_to_a_device_without_a_client() {
        let user_id = Some("register:dev1");
        for own in ["oauth2/v1/client/dev1/register/json", "oauth2/v1/client/dev1/register/reply/x"] {
            assert!(may_publish(&topics(), user_id, own) && may_subscribe(&topics(), user_id, own), "{own}");
        }
        assert!(may_subscribe(&topics(), user_id, "oauth2/v1/client/dev1/register/#"));
        for other in [
            "oauth2/v1/client/dev1/register",
            "oauth2/v1/client/dev1/register/",
            "oauth2/v1/client/dev1/token/json",
            "oauth2/v1/client/dev1/registerx/json",
            "oauth2/v1/client/dev1/#",
            "oauth2/v1/client/dev1/+/json",
            "oauth2/v1/client/dev2/register/json",
            "oauth2/v1/client/+/register/#",
            "oauth2/v1/client/register:dev1/register/json",
            "oauth2/v1/as/jwks",
            "oauth2/v1/as/#",
            "#",
        ] {
            assert!(!may_publish(&topics(), user_id, other) && !may_subscribe(&topics(), user_id, other), "{other}");
        }
        for odd in ["register:", "register:+", "register:register:dev1", "register:dev1/x"] {
            assert!(!may_publish(&topics(), Some(odd), "oauth2/v1/client/dev1/register/json"), "{odd}");
        }
    }

    #[test]
    fn filters_stay_within_own_and_announced_topics() {
        for filter in [
            "oauth2/v1/client/dev1/#",
            "oauth2/v1/client/dev1/+/+/accepted",
            "oauth2/v1/client/dev1/token/json/rejected",
            "oauth2/v1/as/#",
            "oauth2/v1/as/+",
            "oauth2/v1/as/jwks",
        ] {
            assert!(may_subscribe(&topics(), Some("dev1"), filter), "{filter}");
            assert!(!may_subscribe(&topics(), None, filter), "{filter}");
        }
        for filter in [
            "#",
            "+",
            "+/#",
            "+/v1/client/dev1/#",
            "oauth2/#",
            "oauth2/+/client/dev1/#",
            "oauth2/v1/#",
            "oauth2/v1/+/dev1/#",
            "oauth2/v1/+/jwks",
            "oauth2/v1/client/#",
            "oauth2/v1/client/+/x",
            "oauth2/v1/client/+/token/json/accepted",
            "oauth2/v1/client/dev1",
            "oauth2/v1/client/dev1/",
            "oauth2/v1/client/dev11/#",
            "oauth2/v1/client/dev2/#",
            "oauth2/v1/as",
            "oauth2/v1/as/",
            "oauth2/v1/asx/#",
            // The audit trail is for no device.
            "oauth2/v1/audit",
            "oauth2/v1/audit/#",
            "oauth2/v1/+",
            "$share/g/oauth2/v1/client/dev1/#",
            "$SYS/#",
            "",
        ] {
            assert!(!may_subscribe(&topics(), Some("dev1"), filter), "{filter}");
        }
    }

    #[test]
    fn identifiers_belong_to_one_client() {
        let client_id: ClientId = "dev1".parse().unwrap();
        for own in ["dev1", "dev1.", "dev1.a", "dev1.a.b"] {
            assert!(is_own_identifier(&client_id, own), "{own}");
        }
        for foreign in ["", "dev", "dev11", "dev1-a", "dev2", "dev2.dev1", "DEV1", ".dev1", "dev1/x"] {
            assert!(!is_own_identifier(&client_id, foreign), "{foreign}");
        }
        assert!(is_assigned_identifier("auto-0123456789abcdef0123456789abcdef"));
        for other in ["auto-", "auto-1", "auto-0123456789ABCDEF0123456789ABCDEF", "auto-0123456789abcdef0123456789abcdef0", "dev1"] {
            assert!(!is_assigned_identifier(other), "{other}");
        }
    }
}
