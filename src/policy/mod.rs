//! Resource servers, predefined scopes, and the decision what a client may have.

mod authorize;
mod dialect;
mod entitlement;
mod permission;
mod permissions;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clients::Client;
use crate::clock::UnixTime;
use crate::jose::{Algorithm, KeyType};
use crate::oauth::{RoleName, ScopeSet, ScopeToken};

pub use crate::oauth::ResourceServerId;
pub use authorize::{Grant, authorize};
pub use dialect::{AclRule, Dialect, PermissionClaims};
pub use entitlement::{Entitlement, Limit, entitle};
pub use permission::{Action, MissingAttribute, TopicPermission};
pub use permissions::Permissions;

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
    /// Bytes of the largest token it takes; `None` for no limit. Registrations that could lead to a larger one are refused.
    pub max_token_bytes: Option<u32>,
    /// The form of its tokens.
    pub token_format: TokenFormat,
    /// What they are signed by.
    pub alg: Algorithm,
    /// The form of the permissions in them.
    pub dialect: Dialect,
    /// When it was registered.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

impl ResourceServer {
    /// A resource server with the gateway's limits and no description.
    #[must_use]
    pub fn new(id: ResourceServerId, audience: String, now: UnixTime) -> Self {
        Self {
            id,
            audience,
            description: String::new(),
            max_token_lifetime: None,
            max_token_bytes: None,
            token_format: TokenFormat::Jwt,
            alg: Algorithm::EdDsa,
            dialect: Dialect::Oauth,
            created_at: now,
            updated_at: now,
        }
    }
}

/// The form of a resource server's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenFormat {
    /// A JWT (RFC 9068).
    #[default]
    Jwt,
    /// A CWT (RFC 8392) in a COSE_Sign1, for small devices.
    Cwt,
}

impl TokenFormat {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Cwt => "cwt",
        }
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
    /// The MQTT topics it opens, with `{client_id}` and attributes such as `{site}` where the client's belong.
    pub permissions: Vec<TopicPermission>,
    /// When it was defined.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

impl Scope {
    /// A scope without a description that opens no topic.
    #[must_use]
    pub fn new(name: ScopeToken, resource_server: ResourceServerId, now: UnixTime) -> Self {
        Self { name, description: String::new(), resource_server, permissions: Vec::new(), created_at: now, updated_at: now }
    }
}

/// A role: a named set of scopes, to be granted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Unique in the registry.
    pub name: RoleName,
    /// For people; may be empty.
    pub description: String,
    /// The scopes it grants.
    pub scope: ScopeSet,
    /// When it was defined.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

/// Everything an operator defined, at one moment. Replaced whole when a definition changes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By id.
    pub resource_servers: BTreeMap<ResourceServerId, Arc<ResourceServer>>,
    /// By name.
    pub scopes: BTreeMap<ScopeToken, Arc<Scope>>,
    /// By name.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
}

impl Policy {
    /// The resource server of that audience value or, for short, of that id.
    #[must_use]
    pub fn resource_server_for(&self, audience: &str) -> Option<&Arc<ResourceServer>> {
        self.resource_servers.values().find(|server| server.audience == audience || server.id.as_str() == audience)
    }

    /// What the largest token of a client holds at a resource server; `None` if it can have none there.
    #[must_use]
    pub fn largest_claims(&self, client: &Client, server: &ResourceServer) -> Option<PermissionClaims> {
        let scopes: Vec<_> = self.granted(client).into_values().filter(|scope| scope.resource_server == server.id).collect();
        let permissions = Permissions::compile(scopes.iter().flat_map(|scope| &scope.permissions), client).ok()?;
        let names: ScopeSet = scopes.iter().map(|scope| scope.name.clone()).collect();
        (!names.is_empty()).then(|| server.dialect.encode(server.token_format, &client.client_id, &names, &permissions))
    }

    /// Whether a resource server wants tokens signed by keys of that kind.
    #[must_use]
    pub fn needs(&self, key_type: KeyType) -> bool {
        self.resource_servers.values().any(|server| server.alg.key_type() == key_type)
    }

    /// What a client holds, directly and by its roles, at the audiences it may use.
    #[must_use]
    pub fn granted(&self, client: &Client) -> BTreeMap<&ScopeToken, &Arc<Scope>> {
        let by_role = client.roles.iter().filter_map(|name| self.roles.get(name)).flat_map(|role| role.scope.iter());
        client
            .scope
            .iter()
            .chain(by_role)
            .filter_map(|name| self.scopes.get_key_value(name))
            .filter(|(_, scope)| client.audiences.is_empty() || client.audiences.contains(&scope.resource_server))
            .collect()
    }
}

/// Where the policy in force is found.
pub trait PolicyStore: Send + Sync {
    /// The policy of this moment.
    fn policy(&self) -> Arc<Policy>;
}
