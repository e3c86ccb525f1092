//! Resource servers, predefined scopes, and the decision what a client may have.

mod authorize;
mod permission;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::oauth::{InvalidWord, ScopeToken};

pub use authorize::{Grant, authorize};
pub use permission::{Action, TopicPermission};

/// Whatever checks tokens: a broker, a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceServer {
    /// The name operators and topics use: the alphabet of a client id.
    pub id: ResourceServerId,
    /// The `aud` of its tokens (RFC 9068 section 2.2); often a URI.
    pub audience: String,
    /// For people; may be empty.
    pub description: String,
    /// The longest life of a token for it, in seconds; `None` leaves the gateway's limit.
    pub max_token_lifetime: Option<u32>,
    /// When it was registered.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

impl ResourceServer {
    /// A resource server with the gateway's limits and no description.
    #[must_use]
    pub fn new(id: ResourceServerId, audience: String, now: UnixTime) -> Self {
        Self { id, audience, description: String::new(), max_token_lifetime: None, created_at: now, updated_at: now }
    }
}

/// A predefined scope: what a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The scope-token, unique in the registry.
    pub name: ScopeToken,
    /// For people; may be empty.
    pub description: String,
    /// Whose resources it opens.
    pub resource_server: ResourceServerId,
    /// The MQTT topics it opens, with `{client_id}` where the client's id belongs.
    pub permissions: Vec<TopicPermission>,
    /// When it was defined.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

/// The identifier of a resource server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceServerId(Box<str>);

impl ResourceServerId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ResourceServerId {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if valid { Ok(Self(text.into())) } else { Err(InvalidWord::new("a resource server id", "1 to 64 characters of A-Z a-z 0-9 _ -")) }
    }
}

impl TryFrom<String> for ResourceServerId {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl From<ResourceServerId> for String {
    fn from(id: ResourceServerId) -> String {
        id.0.into()
    }
}

impl std::fmt::Display for ResourceServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything an operator defined, at one moment. Replaced whole when a definition changes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By id.
    pub resource_servers: BTreeMap<ResourceServerId, Arc<ResourceServer>>,
    /// By name.
    pub scopes: BTreeMap<ScopeToken, Arc<Scope>>,
}

impl Policy {
    /// The resource server of that audience value or, for short, of that id.
    #[must_use]
    pub fn resource_server_for(&self, audience: &str) -> Option<&Arc<ResourceServer>> {
        self.resource_servers.values().find(|server| server.audience == audience || server.id.as_str() == audience)
    }
}

/// Where the policy in force is found.
pub trait PolicyStore: Send + Sync {
    /// The policy of this moment.
    fn policy(&self) -> Arc<Policy>;
}
