//! The records as they lie on disk: `[version, record]` in CBOR, the record a map with text keys, its name the key of the tree.
//!
//! The structs here are the format and change only with a new version; the types in memory may change freely.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::error::RegistryError;
use crate::clients::{Attributes, AuthMethod, Client, ClientKey, ClientSecret, Enrolled, Rotation, SecretDigest, Status};
use crate::clock::UnixTime;
use crate::jose::{Algorithm, Jwk};
use crate::oauth::{RoleName, ScopeToken};
use crate::policy::{Dialect, ResourceServer, ResourceServerId, Role, Scope, TokenFormat, TopicPermission};

/// sled keeps a page above some 128 KiB in a file of its own, which it does not sync, and never recovers if writing that file fails. A leaf page
/// holds up to 17 records, however large: these fit.
pub(super) const MAX_RECORD: usize = 6 * 1_024;

/// A tree: one for each kind of record, in the order in which they are written, so that nothing is on disk before what it names,
/// and no client is stopped before its tokens are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    Meta,
    Audit,
    ResourceServers,
    Scopes,
    Roles,
    Templates,
    Enrolments,
    EnrolledDevices,
    Sequence,
    Revocations,
    Clients,
    LastUsed,
}

impl Tree {
    pub(super) const ALL: &'static [Tree] = &[
        Tree::Meta,
        Tree::Audit,
        Tree::ResourceServers,
        Tree::Scopes,
        Tree::Roles,
        Tree::Templates,
        Tree::Enrolments,
        Tree::EnrolledDevices,
        Tree::Sequence,
        Tree::Revocations,
        Tree::Clients,
        Tree::LastUsed,
    ];

    /// The tree of that name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tree| tree.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Audit => "audit",
            Self::ResourceServers => "resource_servers",
            Self::Scopes => "scopes",
            Self::Roles => "roles",
            Self::Templates => "enrolment_templates",
            Self::Enrolments => "enrolments",
            Self::EnrolledDevices => "enrolled_devices",
            Self::Sequence => "sequence",
            Self::Revocations => "revocations",
            Self::Clients => "clients",
            Self::LastUsed => "last_used",
        }
    }
}

/// Something the registry keeps.
pub(super) trait Record: Sized {
    const TREE: Tree;
    /// For people.
    const KIND: &'static str;
    /// The version of the form that is written.
    const VERSION: u64 = 1;
    /// That form.
    type Stored: Serialize + DeserializeOwned;

    fn name(&self) -> &str;
    fn to_stored(&self) -> Self::Stored;
    /// `None` if the name is none of its kind, or a value none of its member.
    fn from_stored(name: &str, stored: Self::Stored) -> Option<Self>;

    /// What a form before [`Self::VERSION`] comes to in the one that is written; `None` for a version that never was. It is written anew with the
    /// record's next change.
    fn migrate(_version: u64, _value: &[u8]) -> Option<Result<Self::Stored, serde_cbor::Error>> {
        None
    }
}

/// The bytes to keep.
pub(super) fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RegistryError> {
    let invalid = |reason: &'static str| RegistryError::Invalid { kind: R::KIND, id: record.name().to_owned(), reason: reason.into() };
    let bytes = serde_cbor::to_vec(&(R::VERSION, record.to_stored())).map_err(|_| invalid("cannot be written as CBOR"))?;
    if bytes.len() > MAX_RECORD { Err(invalid("is larger than 6 KiB")) } else { Ok(bytes) }
}

/// Reads what [`encode`] wrote. `path` is for the error.
pub(super) fn decode<R: Record>(path: &Path, key: &[u8], value: &[u8]) -> Result<R, RegistryError> {
    let (tree, key) = (R::TREE.name(), String::from_utf8_lossy(key).into_owned());
    let malformed = |reason: String| RegistryError::Malformed { path: path.to_owned(), tree, key: key.clone(), reason };
    let version = from_cbor::<(u64, IgnoredAny)>(value).map_err(|error| malformed(error.to_string()))?.0;
    if version > R::VERSION {
        return Err(RegistryError::NewerVersion { path: path.to_owned(), tree, key, version, known: R::VERSION });
    }
    let read = match version == R::VERSION {
        true => stored(value),
        false => R::migrate(version, value).ok_or_else(|| malformed(format!("version {version}")))?,
    };
    let read = read.map_err(|error| malformed(error.to_string()))?;
    R::from_stored(&key, read).ok_or_else(|| malformed("its name or a value is not valid".to_owned()))
}

/// What is after the version.
pub(super) fn stored<T: DeserializeOwned>(value: &[u8]) -> Result<T, serde_cbor::Error> {
    from_cbor::<(u64, T)>(value).map(|(_, stored)| stored)
}

/// Named fields only: by default serde_cbor would take a map of integers for any struct.
fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_cbor::Error> {
    let mut deserializer = serde_cbor::Deserializer::from_slice(bytes).disable_packed_format().disable_legacy_enums();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads hostile bytes as a record of each kind, and asserts that what is read is written and read as the same.
pub(crate) fn reread(bytes: &[u8]) {
    use super::{enrolments::EnrolledDevice, meta::Meta, revocations::Sequence, usage::LastUsed};
    fn of<R: Record + PartialEq>(name: &str, bytes: &[u8]) {
        let read = |bytes: &[u8]| decode::<R>(Path::new("/r"), name.as_bytes(), bytes);
        // What would be too large to write was not written by this program.
        if let Ok(record) = read(bytes)
            && let Ok(again) = encode(&record)
        {
            assert!(read(&again).is_ok_and(|again| again == record), "a {} is not what it was", R::KIND);
        }
    }
    of::<Client>("dev-1", bytes);
    of::<ResourceServer>("telemetry", bytes);
    of::<Scope>("telemetry:write", bytes);
    of::<Role>("pump", bytes);
    of::<crate::enrolment::Template>("pump", bytes);
    of::<crate::enrolment::Enrolment>("e1", bytes);
    of::<EnrolledDevice>("e1/serial:17", bytes);
    of::<crate::token::Revocations>("dev-1", bytes);
    of::<LastUsed>("dev-1", bytes);
    of::<Sequence>(super::revocations::SEQUENCE_NAME, bytes);
    of::<Meta>(super::meta::META_NAME, bytes);
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientV1 {
    client_name: String,
    token_endpoint_auth_method: AuthMethod,
    scope: Vec<ScopeToken>,
    status: Status,
    secrets: Vec<SecretV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<KeyV1>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    require_request_binding: bool,
    software_id: String,
    software_version: String,
    created_at: UnixTime,
    updated_at: UnixTime,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    roles: BTreeSet<RoleName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    default_scope: Vec<ScopeToken>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    audiences: BTreeSet<ResourceServerId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    introspects: BTreeSet<ResourceServerId>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_token_lifetime: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotation: Option<Rotation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enrolled_by: Option<Enrolled>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretV1 {
    digest: SecretDigest,
    created_at: UnixTime,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
}

/// A public key of one kind or the other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyV1 {
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ed25519: Option<ByteArray<32>>,
    /// x and y.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p256: Option<ByteArray<64>>,
    /// Without it, as old as the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixTime>,
}

impl KeyV1 {
    fn new(client: &Client, key: &ClientKey) -> Self {
        let created_at = Some(key.created_at).filter(|created_at| *created_at != client.created_at);
        let (not_before, expires_at, key) = (key.not_before, key.expires_at, &key.jwk);
        let (ed25519, p256) = match key.y() {
            None => (Some(ByteArray::new(*key.x())), None),
            Some(y) => {
                let mut point = [0; 64];
                let (first, second) = point.split_at_mut(32);
                first.copy_from_slice(key.x());
                second.copy_from_slice(y);
                (None, Some(ByteArray::new(point)))
            }
        };
        Self { kid: key.kid().to_owned(), ed25519, p256, created_at, not_before, expires_at }
    }

    fn into_key(self, client_created_at: UnixTime) -> Option<ClientKey> {
        let created_at = self.created_at.unwrap_or(client_created_at);
        let jwk = match (self.ed25519, self.p256) {
            (Some(x), None) => Jwk::ed25519(&x),
            (None, Some(point)) => {
                let (x, y) = point.split_at(32);
                Jwk::p256(x.try_into().ok()?, y.try_into().ok()?)
            }
            _ => return None,
        };
        Some(ClientKey { jwk: jwk.with_kid(self.kid), created_at, not_before: self.not_before, expires_at: self.expires_at })
    }
}

impl Record for Client {
    const TREE: Tree = Tree::Clients;
    const KIND: &'static str = "client";
    type Stored = ClientV1;

    fn name(&self) -> &str {
        self.client_id.as_str()
    }

    fn to_stored(&self) -> ClientV1 {
        let secret = |secret: &ClientSecret| SecretV1 {
            digest: secret.digest,
            created_at: secret.created_at,
            not_before: secret.not_before,
            expires_at: secret.expires_at,
        };
        ClientV1 {
            client_name: self.client_name.clone(),
            token_endpoint_auth_method: self.token_endpoint_auth_method,
            scope: self.scope.iter().cloned().collect(),
            status: self.status,
            secrets: self.secrets.iter().map(secret).collect(),
            keys: self.jwks.iter().map(|key| KeyV1::new(self, key)).collect(),
            require_request_binding: self.require_request_binding,
            software_id: self.software_id.clone(),
            software_version: self.software_version.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            roles: self.roles.clone(),
            default_scope: self.default_scope.iter().cloned().collect(),
            audiences: self.audiences.clone(),
            introspects: self.introspects.clone(),
            attributes: self.attributes.clone(),
            max_token_lifetime: self.max_token_lifetime,
            not_before: self.not_before,
            expires_at: self.expires_at,
            rotation: self.rotation.clone(),
            enrolled_by: self.enrolled_by.clone(),
        }
    }

    fn from_stored(name: &str, stored: ClientV1) -> Option<Self> {
        let secret = |secret: SecretV1| ClientSecret {
            digest: secret.digest,
            created_at: secret.created_at,
            not_before: secret.not_before,
            expires_at: secret.expires_at,
        };
        Some(Self {
            client_id: name.parse().ok()?,
            client_name: stored.client_name,
            token_endpoint_auth_method: stored.token_endpoint_auth_method,
            scope: stored.scope.into_iter().collect(),
            status: stored.status,
            secrets: stored.secrets.into_iter().map(secret).collect(),
            jwks: stored.keys.into_iter().map(|key| key.into_key(stored.created_at)).collect::<Option<_>>()?,
            require_request_binding: stored.require_request_binding,
            software_id: stored.software_id,
            software_version: stored.software_version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            roles: stored.roles,
            default_scope: stored.default_scope.into_iter().collect(),
            audiences: stored.audiences,
            introspects: stored.introspects,
            attributes: stored.attributes,
            max_token_lifetime: stored.max_token_lifetime,
            not_before: stored.not_before,
            expires_at: stored.expires_at,
            rotation: stored.rotation,
            enrolled_by: stored.enrolled_by,
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceServerV1 {
    audience: String,
    description: String,
    max_token_lifetime: Option<u32>,
    created_at: UnixTime,
    updated_at: UnixTime,
    #[serde(default)]
    token_format: TokenFormat,
    #[serde(default)]
    dialect: Dialect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_token_bytes: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    alg: Algorithm,
}

impl Record for ResourceServer {
    const TREE: Tree = Tree::ResourceServers;
    const KIND: &'static str = "resource server";
    type Stored = ResourceServerV1;

    fn name(&self) -> &str {
        self.id.as_str()
    }

    fn to_stored(&self) -> ResourceServerV1 {
        ResourceServerV1 {
            audience: self.audience.clone(),
            description: self.description.clone(),
            max_token_lifetime: self.max_token_lifetime,
            created_at: self.created_at,
            updated_at: self.updated_at,
            token_format: self.token_format,
            dialect: self.dialect.clone(),
            max_token_bytes: self.max_token_bytes,
            alg: self.alg,
        }
    }

    fn from_stored(name: &str, stored: ResourceServerV1) -> Option<Self> {
        Some(Self {
            id: name.parse().ok()?,
            audience: stored.audience,
            description: stored.description,
            max_token_lifetime: stored.max_token_lifetime,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            token_format: stored.token_format,
            dialect: stored.dialect,
            max_token_bytes: stored.max_token_bytes,
            alg: stored.alg,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeV1 {
    description: String,
    resource_server: ResourceServerId,
    permissions: Vec<TopicPermission>,
    created_at: UnixTime,
    updated_at: UnixTime,
}

impl Record for Scope {
    const TREE: Tree = Tree::Scopes;
    const KIND: &'static str = "scope";
    type Stored = ScopeV1;

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn to_stored(&self) -> ScopeV1 {
        ScopeV1 {
            description: self.description.clone(),
            resource_server: self.resource_server.clone(),
            permissions: self.permissions.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn from_stored(name: &str, stored: ScopeV1) -> Option<Self> {
        Some(Self {
            name: name.parse().ok()?,
            description: stored.description,
            resource_server: stored.resource_server,
            permissions: stored.permissions,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleV1 {
    description: String,
    scope: Vec<ScopeToken>,
    created_at: UnixTime,
    updated_at: UnixTime,
}

impl Record for Role {
    const TREE: Tree = Tree::Roles;
    const KIND: &'static str = "role";
    type Stored = RoleV1;

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn to_stored(&self) -> RoleV1 {
        RoleV1 {
            description: self.description.clone(),
            scope: self.scope.iter().cloned().collect(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn from_stored(name: &str, stored: RoleV1) -> Option<Self> {
        Some(Self {
            name: name.parse().ok()?,
            description: stored.description,
            scope: stored.scope.into_iter().collect(),
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        })
    }
}
