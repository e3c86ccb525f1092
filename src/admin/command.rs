//! What can be asked of the gateway, and what it answers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    ApplyAnswer, ApplyCommand, BackupAnswer, BackupCommand, ClientChanges, ClientCursor, ClientDocument, ClientQuery, ClientTokensDocument,
    DaemonStatus, EnrolmentAnswer, EnrolmentCommand, Explain, KeyDocument, Metrics, ReloadDocument, ResourceServerChanges,
    ResourceServerQuery, RevokedTokenDocument, RoleChanges, RoleQuery, ScopeChanges, ScopeQuery, TokenReference,
};
use crate::audit::{Page, Query};
use crate::clients::{Retire, Status};
use crate::clock::UnixTime;
use crate::endpoint::Explanation;
use crate::jose::{Algorithm, Jwk, KeyType};
use crate::oauth::{ClientId, RoleName, ScopeSet, ScopeToken, Secret};
use crate::policy::{Dialect, ResourceServer, ResourceServerId, Role, Scope, TokenFormat, TopicPermission};
use crate::registry::Inspection;

/// One command of an operator. No command carries a secret.
///
/// Lists come in pages that fit a frame: the next page begins `after` the last record of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Registers a client; answered with its secret, this once, if it has one.
    ClientAdd(NewClient),
    /// Clients, in pages.
    ClientList(ClientQuery),
    /// One client.
    ClientShow {
        /// Which.
        client_id: ClientId,
    },
    /// Removes a client for good.
    ClientRemove {
        /// Which.
        client_id: ClientId,
    },
    /// Blocks, suspends or resumes a client.
    ClientSetStatus {
        /// Which.
        client_id: ClientId,
        /// What it is to be.
        status: Status,
    },
    /// Changes what a client may have.
    ClientEdit {
        /// Which.
        client_id: ClientId,
        /// What is to be different.
        changes: ClientChanges,
    },
    /// Gives a client a new secret, answered this once, or a new key, beside the one that ends.
    ClientRotate {
        /// Which.
        client_id: ClientId,
        /// The new key, of a client that has keys.
        #[serde(default)]
        jwk: Option<Jwk>,
        /// Seconds for which the old one serves; `None` for the gateway's own.
        #[serde(default)]
        overlap: Option<u32>,
        /// What else ends the old one; `None` for the gateway's own.
        #[serde(default)]
        retire: Option<Retire>,
    },
    /// Takes back the new secret or key of a rotation, unless it was used.
    ClientRotateCancel {
        /// Whose.
        client_id: ClientId,
    },
    /// Ends the old secret or key of a rotation.
    ClientRotateFinish {
        /// Whose.
        client_id: ClientId,
    },
    /// Makes all tokens void that a client got before a time.
    ClientRevokeTokens {
        /// Whose.
        client_id: ClientId,
        /// The time; `None` for now.
        #[serde(default)]
        before: Option<UnixTime>,
    },
    /// Makes a token void before it expires.
    TokenRevoke(TokenReference),
    /// Registers a resource server.
    ResourceServerAdd(NewResourceServer),
    /// The resource servers, by id.
    ResourceServerList(ResourceServerQuery),
    /// One resource server.
    ResourceServerShow {
        /// Which.
        id: ResourceServerId,
    },
    /// Changes a resource server.
    ResourceServerEdit {
        /// Which.
        id: ResourceServerId,
        /// What is to be different.
        changes: ResourceServerChanges,
    },
    /// Removes a resource server that nothing uses.
    ResourceServerRemove {
        /// Which.
        id: ResourceServerId,
    },
    /// Defines a scope.
    ScopeAdd(NewScope),
    /// The scopes, by name.
    ScopeList(ScopeQuery),
    /// One scope.
    ScopeShow {
        /// Which.
        name: ScopeToken,
    },
    /// Changes a scope.
    ScopeEdit {
        /// Which.
        name: ScopeToken,
        /// What is to be different.
        changes: ScopeChanges,
    },
    /// Removes a scope that nothing uses.
    ScopeRemove {
        /// Which.
        name: ScopeToken,
    },
    /// Defines a role.
    RoleAdd(NewRole),
    /// The roles, by name.
    RoleList(RoleQuery),
    /// One role.
    RoleShow {
        /// Which.
        name: RoleName,
    },
    /// Changes a role.
    RoleEdit {
        /// Which.
        name: RoleName,
        /// What is to be different.
        changes: RoleChanges,
    },
    /// Removes a role that nothing uses.
    RoleRemove {
        /// Which.
        name: RoleName,
    },
    /// Templates and enrolments.
    Enrolment(EnrolmentCommand),
    /// A part of a change of many records, of which there are several on one connection.
    Apply(ApplyCommand),
    /// The signing keys.
    KeyList,
    /// Publishes a new signing key, which takes over by itself.
    KeyRotate {
        /// Of which kind.
        #[serde(default)]
        key_type: KeyType,
    },
    /// Takes a signing key off the JWK Set at once.
    KeyRevoke {
        /// Which.
        kid: String,
    },
    /// What would come of a token request, and why.
    Explain(Explain),
    /// A page of the audit trail.
    AuditPage(Query),
    /// Signs the audit trail as it is now.
    AuditCheckpoint,
    /// The JWK Set.
    KeySet,
    /// Makes a backup, and hands it out.
    Backup(BackupCommand),
    /// Whether every record on disk can be read and keeps the rules.
    RegistryInspect,
    /// Has the daemon read its configuration, certificates and passwords anew.
    Reload,
    /// What the gateway does.
    Status,
    /// What can be measured of it.
    Metrics {
        /// How many of the clients that authenticated last are to be told.
        #[serde(default)]
        recent: usize,
    },
}

/// A client to register, by the names of RFC 7591 section 2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// Its id; `None` for a random one.
    pub client_id: Option<ClientId>,
    /// A name for people; may be empty.
    pub client_name: String,
    /// The scopes to grant.
    pub scope: ScopeSet,
    /// The public keys of its assertions (RFC 7591 `jwks`). With any it authenticates by `private_key_jwt` and gets no secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jwks: Vec<Jwk>,
    /// Whether each of its assertions must be bound to its request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_request_binding: bool,
    /// What runs on the device; may be empty.
    pub software_id: String,
    /// The version of that; may be empty.
    pub software_version: String,
    /// What else it may have.
    #[serde(default)]
    pub policy: ClientChanges,
}

/// A resource server to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewResourceServer {
    /// Its id.
    pub id: ResourceServerId,
    /// The `aud` of its tokens (RFC 9068 section 2.2).
    pub audience: String,
    /// For people; may be empty.
    pub description: String,
    /// Seconds no token for it outlives; `None` leaves the gateway's limit.
    pub max_token_lifetime: Option<u32>,
    /// Bytes of the largest token it takes; `None` for no limit.
    #[serde(default)]
    pub max_token_bytes: Option<u32>,
    /// The form of its tokens.
    #[serde(default)]
    pub token_format: TokenFormat,
    /// What they are signed by.
    #[serde(default)]
    pub alg: Algorithm,
    /// The form of the permissions in them.
    #[serde(default)]
    pub dialect: Dialect,
}

impl NewResourceServer {
    /// A resource server for OAuth access tokens, with the gateway's limits and no description.
    #[must_use]
    pub fn new(id: ResourceServerId, audience: String) -> Self {
        let (token_format, alg, dialect) = (TokenFormat::default(), Algorithm::default(), Dialect::default());
        Self { id, audience, description: String::new(), max_token_lifetime: None, max_token_bytes: None, token_format, alg, dialect }
    }
}

/// A scope to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewScope {
    /// The scope-token.
    pub name: ScopeToken,
    /// Whose resources it opens.
    pub resource_server: ResourceServerId,
    /// The MQTT topics it opens.
    pub permissions: Vec<TopicPermission>,
    /// For people; may be empty.
    pub description: String,
}

/// A role to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Its name.
    pub name: RoleName,
    /// The scopes it grants.
    pub scope: ScopeSet,
    /// For people; may be empty.
    pub description: String,
}

/// The answer to a [`Command`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A client was registered.
    ClientAdded {
        /// As it is kept.
        client: Box<ClientDocument>,
        /// Its secret, which nothing can show again; `None` for a client with keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<IssuedSecret>,
    },
    /// A client has a new credential beside the old one.
    ClientRotated {
        /// As it is kept.
        client: Box<ClientDocument>,
        /// Its new secret, which nothing can show again; `None` for a client with keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<IssuedSecret>,
    },
    /// One client, as it is or as it is after a change.
    Client(Box<ClientDocument>),
    /// A client was removed; this is what it was.
    ClientRemoved(Box<ClientDocument>),
    /// Tokens of a client are void.
    ClientTokensRevoked(ClientTokensDocument),
    /// A token is void.
    TokenRevoked(RevokedTokenDocument),
    /// A page of clients.
    Clients {
        /// In the order that was asked for.
        clients: Vec<ClientDocument>,
        /// Where another page begins, if one follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<ClientCursor>,
    },
    /// One resource server, as it is, as it is after a change, or as it was before it was removed.
    ResourceServer(Arc<ResourceServer>),
    /// A page of resource servers.
    ResourceServers {
        /// In the order of their ids.
        resource_servers: Vec<Arc<ResourceServer>>,
        /// Whether another page follows.
        more: bool,
    },
    /// One scope, likewise.
    Scope(Arc<Scope>),
    /// A page of scopes.
    Scopes {
        /// In the order of their names.
        scopes: Vec<Arc<Scope>>,
        /// Whether another page follows.
        more: bool,
    },
    /// One role, likewise.
    Role(Arc<Role>),
    /// A page of roles.
    Roles {
        /// In the order of their names.
        roles: Vec<Arc<Role>>,
        /// Whether another page follows.
        more: bool,
    },
    /// Of templates and enrolments.
    Enrolment(EnrolmentAnswer),
    /// Of a change of many records.
    Apply(ApplyAnswer),
    /// The signing keys.
    Keys(Vec<KeyDocument>),
    /// A new signing key was published.
    KeyPublished(Box<KeyDocument>),
    /// A signing key was revoked.
    KeyRevoked {
        /// What it was.
        revoked: Box<KeyDocument>,
        /// The key that signs now.
        active: Box<KeyDocument>,
    },
    /// What would come of a token request.
    Explanation(Box<Explanation>),
    /// A page of the audit trail.
    AuditPage(Box<Page>),
    /// The audit trail was signed.
    AuditCheckpoint {
        /// The checkpoint, a compact JWS.
        statement: String,
    },
    /// The JWK Set; empty if there are no keys yet.
    KeySet {
        /// The keys, those that sign first.
        keys: Vec<Jwk>,
    },
    /// Of a backup.
    Backup(BackupAnswer),
    /// What the registry's files are like.
    Inspection(Inspection),
    /// What the gateway does.
    Status(Box<DaemonStatus>),
    /// What came of reading the configuration anew.
    Reloaded(ReloadDocument),
    /// What can be measured of it.
    Metrics(Box<Metrics>),
}

/// Names the answer only: some of them hold a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientAdded { .. } => "ClientAdded(redacted)",
            Self::ClientRotated { .. } => "ClientRotated(redacted)",
            Self::Client(_) => "Client",
            Self::ClientRemoved(_) => "ClientRemoved",
            Self::ClientTokensRevoked(_) => "ClientTokensRevoked",
            Self::TokenRevoked(_) => "TokenRevoked",
            Self::Clients { .. } => "Clients",
            Self::ResourceServer(_) => "ResourceServer",
            Self::ResourceServers { .. } => "ResourceServers",
            Self::Scope(_) => "Scope",
            Self::Scopes { .. } => "Scopes",
            Self::Role(_) => "Role",
            Self::Roles { .. } => "Roles",
            Self::Enrolment(_) => "Enrolment(redacted)",
            Self::Apply(_) => "Apply",
            Self::Keys(_) => "Keys",
            Self::KeyPublished(_) => "KeyPublished",
            Self::KeyRevoked { .. } => "KeyRevoked",
            Self::Explanation(_) => "Explanation",
            Self::AuditPage(_) => "AuditPage",
            Self::AuditCheckpoint { .. } => "AuditCheckpoint",
            Self::KeySet { .. } => "KeySet",
            Self::Backup(_) => "Backup(redacted)",
            Self::Inspection(_) => "Inspection",
            Self::Status(_) => "Status",
            Self::Reloaded(_) => "Reloaded",
            Self::Metrics(_) => "Metrics",
        })
    }
}

/// A new client secret on its way to the operator: text in a document, zeroised when dropped, never shown by `Debug`.
pub struct IssuedSecret(Secret);

impl IssuedSecret {
    /// The secret, for the one file or terminal that shows it.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl From<Secret> for IssuedSecret {
    fn from(secret: Secret) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for IssuedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedSecret(redacted)")
    }
}

impl Serialize for IssuedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(self.0.expose()).map_err(|_| serde::ser::Error::custom("the secret is not text"))?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for IssuedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text.into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_a_fixed_form() {
        let block = Command::ClientSetStatus { client_id: "dev1".parse().unwrap(), status: Status::Blocked };
        assert_eq!(serde_json::to_string(&block).unwrap(), r#"{"client_set_status":{"client_id":"dev1","status":"blocked"}}"#);
        assert_eq!(serde_json::from_str::<Command>(r#""status""#).unwrap(), Command::Status);
        assert_eq!(serde_json::from_str::<Command>(r#"{"client_list":{}}"#).unwrap(), Command::ClientList(ClientQuery::default()));
    }

    #[test]
    fn deny_unknown_members_and_bad_words() {
        for text in [
            r#"{"client_show":{"client_id":"dev1","x":1}}"#,
            r#"{"client_show":{"client_id":"a/b"}}"#,
            r#"{"client_erase":{"client_id":"dev1"}}"#,
            r#"{"client_add":{"client_name":"","scope":[],"software_id":"","software_version":"","client_secret":"x"}}"#,
        ] {
            assert!(serde_json::from_str::<Command>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_text_in_a_document_and_hidden_elsewhere() {
        let issued = IssuedSecret::from(Secret::new(b"hunter2".to_vec()));
        assert_eq!(serde_json::to_string(&issued).unwrap(), "\"hunter2\"");
        let read: IssuedSecret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(read.secret().expose(), b"hunter2");
        assert!(!format!("{issued:?}").contains("hunter2"));
    }
}
