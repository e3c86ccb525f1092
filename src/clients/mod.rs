//! Clients, their credentials, and the proof that a request comes from one of them.

mod assertion;
mod attributes;
mod authenticate;
mod credential;
mod criticality;
mod limits;
mod nonce;
mod replay;
mod rotation;
mod secret;
mod standing;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::oauth::{ClientId, EnrolmentId, ResourceServerId, RoleName, ScopeSet, SerialNumber};

pub use assertion::Assertions;
pub use attributes::{AttributeName, AttributeValue, Attributes, MAX_ATTRIBUTES};
pub use authenticate::{AuthenticatedClient, Channel, authenticate, authenticate_session};
pub use credential::{ClientKey, CredentialId, CredentialRef};
pub use criticality::{CRITICALITY, Criticality, fault as criticality_fault};
pub use limits::{Exhausted, LimitRules, Limits, Rate, Source};
pub use replay::Occupancy;
pub use rotation::{
    CredentialStore, CredentialWish, Initiator, NewCredential, Retire, Rotated, Rotation, RotationError, RotationFailure, RotationRule,
};
pub use secret::{ClientSecret, MAX_SECRETS, SecretDigest, SecretEntropy};
pub use standing::rehearse;

/// Keys a client can have at once.
pub const MAX_KEYS: usize = 4;

/// A registered client. Member names are those of RFC 7591 section 2 where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The identifier, unique in the registry.
    pub client_id: ClientId,
    /// A name for people; may be empty.
    pub client_name: String,
    /// How the client authenticates at the token endpoint.
    pub token_endpoint_auth_method: AuthMethod,
    /// The predefined scopes granted to it, beside those of its roles.
    pub scope: ScopeSet,
    /// Its roles, each a named set of scopes.
    pub roles: BTreeSet<RoleName>,
    /// What a request without `scope` gets. At an audience where none of these belongs, and if there are none: all that is granted there.
    pub default_scope: ScopeSet,
    /// The resource servers it may have tokens for; if there are none: all at which it has a scope.
    pub audiences: BTreeSet<ResourceServerId>,
    /// The resource servers that it is, or serves: it may introspect their tokens and read their revocation lists.
    pub introspects: BTreeSet<ResourceServerId>,
    /// What topic permissions may say of it.
    pub attributes: Attributes,
    /// The longest life of a token of its, in seconds; `None` leaves the other limits.
    pub max_token_lifetime: Option<u32>,
    /// Not served before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Not served from then on; `None` for no limit.
    pub expires_at: Option<UnixTime>,
    /// Whether it is served.
    pub status: Status,
    /// Its live and coming secrets, at most [`MAX_SECRETS`].
    pub secrets: Vec<ClientSecret>,
    /// The public keys of its assertions (RFC 7591 `jwks`), at most [`MAX_KEYS`].
    pub jwks: Vec<ClientKey>,
    /// The rotation of its secret or key that is under way.
    pub rotation: Option<Rotation>,
    /// Whether each of its assertions must be bound to its request by the claim `rqh`.
    pub require_request_binding: bool,
    /// RFC 7591 `software_id`: what runs on the device; may be empty.
    pub software_id: String,
    /// RFC 7591 `software_version`; may be empty.
    pub software_version: String,
    /// By which enrolment it registered itself; `None` if an operator registered it.
    pub enrolled_by: Option<Enrolled>,
    /// RFC 7591 `client_id_issued_at`.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

impl Client {
    /// An active client that has nothing yet: no name, no scope, no secret.
    #[must_use]
    pub fn new(client_id: ClientId, now: UnixTime) -> Self {
        Self {
            client_id,
            client_name: String::new(),
            token_endpoint_auth_method: AuthMethod::ClientSecretPost,
            scope: ScopeSet::default(),
            roles: BTreeSet::new(),
            default_scope: ScopeSet::default(),
            audiences: BTreeSet::new(),
            introspects: BTreeSet::new(),
            attributes: Attributes::new(),
            max_token_lifetime: None,
            not_before: None,
            expires_at: None,
            status: Status::Active,
            secrets: Vec::new(),
            jwks: Vec::new(),
            rotation: None,
            require_request_binding: false,
            software_id: String::new(),
            software_version: String::new(),
            enrolled_by: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// When it, a secret or a key of its ends next. What has ended for good, because it or all of its credentials have, tells when.
    #[must_use]
    pub fn next_expiry(&self, now: UnixTime) -> Option<UnixTime> {
        let of_credentials = || self.secrets.iter().map(|secret| secret.expires_at).chain(self.jwks.iter().map(|key| key.expires_at));
        let is_over = |end: &Option<UnixTime>| end.is_some_and(|end| end <= now);
        if is_over(&self.expires_at) {
            return self.expires_at;
        }
        if of_credentials().all(|end| is_over(&end)) {
            return of_credentials().flatten().max();
        }
        of_credentials().chain([self.expires_at]).filter(|end| !is_over(end)).flatten().min()
    }

    /// Whether the client is within its period of validity.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires_at.is_none_or(|end| now < end)
    }
}

/// How a client came to register itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// The serial number that the device gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<SerialNumber>,
}

/// A client authentication method, by its RFC 7591 name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// `client_id` and `client_secret` in the payload.
    ClientSecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
}

impl AuthMethod {
    /// The RFC 7591 name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// Whether a client is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Active,
    /// Not for now; an operator means to resume it.
    Suspended,
    /// Not any more.
    Blocked,
}

impl Status {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Blocked => "blocked",
        }
    }
}

/// Where clients are looked up. The answer comes from memory: a request never waits for a disk.
pub trait ClientStore: Send + Sync {
    /// The client of that id.
    fn client(&self, id: &ClientId) -> Option<Arc<Client>>;

    /// A client has authenticated by one of its credentials. Never waits for a disk; unless a store says otherwise nothing is kept.
    fn used(&self, _client: &Client, _credential: CredentialRef<'_>, _now: UnixTime) {}
}
