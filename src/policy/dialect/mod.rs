//! The forms in which brokers want permissions written in a token. Pure functions, one file each.

mod aif;
mod emqx;
mod mosquitto_jwt;
mod rabbitmq;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Action, Permissions, TokenFormat, TopicPermission};
use crate::jose::Algorithm;
use crate::oauth::{ClientId, ScopeSet, ScopeToken};

pub use emqx::AclRule;

/// The form of the permissions in the tokens of a resource server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Dialect {
    /// `scope`: the names of the scopes (RFC 9068 section 2.2.3).
    #[default]
    Oauth,
    /// `scope`: AIF-MQTT in base64url (RFC 9431 section 2.3).
    Aif,
    /// `acl`: rules, as EMQX 5.5 and later want them; `scope` names the scopes.
    Emqx,
    /// `publ` and `subs`: topic filters, as mosquitto-jwt-auth wants them; `scope` names the scopes.
    #[serde(rename = "mosquitto-jwt")]
    MosquittoJwt,
    /// `scope`: permissions as RabbitMQ's OAuth 2 plugin wants them.
    Rabbitmq {
        /// What each permission begins with: the plugin's `resource_server_id`, or its `scope_prefix` without the final dot.
        prefix: ScopeToken,
        /// The virtual host.
        vhost: String,
    },
}

/// What a dialect puts into a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionClaims {
    /// The claim `scope`.
    pub scope: String,
    /// What the claim `scope` holds in a CWT in place of text: AIF-MQTT, of which the text is the base64url.
    pub aif: Option<Vec<u8>>,
    /// The claim `acl`.
    pub acl: Option<Vec<AclRule>>,
    /// The claim `publ`.
    pub publ: Option<Vec<String>>,
    /// The claim `subs`.
    pub subs: Option<Vec<String>>,
}

impl PermissionClaims {
    /// The claim `scope` alone.
    #[must_use]
    pub fn new(scope: String) -> Self {
        Self { scope, aif: None, acl: None, publ: None, subs: None }
    }
}

impl Dialect {
    /// The word for people.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Aif => "aif",
            Self::Emqx => "emqx",
            Self::MosquittoJwt => "mosquitto-jwt",
            Self::Rabbitmq { .. } => "rabbitmq",
        }
    }

    /// Writes what a client was granted.
    #[must_use]
    pub fn encode(&self, format: TokenFormat, client_id: &ClientId, scope: &ScopeSet, permissions: &Permissions) -> PermissionClaims {
        match self {
            Self::Oauth => PermissionClaims::new(scope.to_string()),
            Self::Aif if format == TokenFormat::Cwt => {
                let aif = aif::encode_cbor(permissions);
                PermissionClaims { aif: Some(aif.clone()), ..PermissionClaims::new(URL_SAFE_NO_PAD.encode(aif)) }
            }
            Self::Aif => PermissionClaims::new(aif::encode(permissions)),
            Self::Emqx => PermissionClaims { acl: Some(emqx::encode(permissions)), ..PermissionClaims::new(scope.to_string()) },
            Self::MosquittoJwt => PermissionClaims {
                publ: Some(mosquitto_jwt::encode(permissions, Action::Pub)),
                subs: Some(mosquitto_jwt::encode(permissions, Action::Sub)),
                ..PermissionClaims::new(scope.to_string())
            },
            Self::Rabbitmq { prefix, vhost } => PermissionClaims::new(rabbitmq::encode(prefix, vhost, client_id, permissions)),
        }
    }

    /// Whether there is a token of that form for it: what brokers define of their own is for JWTs.
    #[must_use]
    pub fn fits(&self, format: TokenFormat) -> bool {
        format == TokenFormat::Jwt || matches!(self, Self::Oauth | Self::Aif)
    }

    /// Whether whoever reads the dialect verifies tokens signed by that algorithm.
    #[must_use]
    pub fn takes(&self, alg: Algorithm) -> bool {
        match self {
            Self::MosquittoJwt => alg == Algorithm::Es256,
            Self::Oauth | Self::Aif | Self::Emqx | Self::Rabbitmq { .. } => true,
        }
    }

    /// Checks that the dialect can say exactly this permission.
    ///
    /// # Errors
    /// Why it would say another.
    pub fn check(&self, permission: &TopicPermission) -> Result<(), &'static str> {
        match self {
            Self::Oauth | Self::Aif => Ok(()),
            Self::Emqx => emqx::check(permission),
            Self::MosquittoJwt => mosquitto_jwt::check(permission),
            Self::Rabbitmq { .. } => rabbitmq::check(permission),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::permissions::tests::permissions;
    use super::*;

    #[test]
    fn oauth_names_the_scopes() {
        let (scope, id) = ("b a".parse().unwrap(), "dev1".parse().unwrap());
        let claims = Dialect::Oauth.encode(TokenFormat::Jwt, &id, &scope, &permissions(&["pub x"]));
        assert_eq!(claims, PermissionClaims::new("a b".into()));
    }

    #[test]
    fn a_dialect_has_a_fixed_form() {
        let rabbitmq = Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() };
        for (dialect, json) in [
            (Dialect::Aif, r#""aif""#),
            (Dialect::MosquittoJwt, r#""mosquitto-jwt""#),
            (rabbitmq, r#"{"rabbitmq":{"prefix":"mq","vhost":"/"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&dialect).unwrap(), json);
            assert_eq!(serde_json::from_str::<Dialect>(json).unwrap(), dialect);
        }
        assert!(serde_json::from_str::<Dialect>(r#""mosquitto""#).is_err());
    }
}
