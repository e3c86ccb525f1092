//! What is told of a client and of a key: everything an operator needs, nothing to attack with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clients::{Attributes, AuthMethod, Client, ClientKey, ClientSecret, CredentialRef, Initiator, Retire, Rotation, Status};
use crate::clock::UnixTime;
use crate::jose::KeyState;
use crate::oauth::{EnrolmentId, ResourceServerId, RoleName, SerialNumber};
use crate::registry::KeyInfo;

/// A client as operators see it, by the names of RFC 7591 sections 2 and 3.2.1: without the digests of its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDocument {
    /// The identifier.
    pub client_id: String,
    /// A name for people; may be empty.
    pub client_name: String,
    /// How it authenticates.
    pub token_endpoint_auth_method: AuthMethod,
    /// The scopes granted, separated by spaces; may be empty.
    pub scope: String,
    /// Whether it is served.
    pub status: Status,
    /// When it was registered.
    pub client_id_issued_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
    /// What runs on the device; may be empty.
    pub software_id: String,
    /// The version of that; may be empty.
    pub software_version: String,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// What a request without `scope` gets, separated by spaces; if empty, all that is granted.
    pub default_scope: String,
    /// The resource servers it may have tokens for; if empty, all at which it has a scope.
    pub audiences: Vec<ResourceServerId>,
    /// The resource servers that it is, or serves: it may introspect their tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspects: Vec<ResourceServerId>,
    /// What topic permissions may say of it.
    pub attributes: Attributes,
    /// Seconds no token of its outlives; `None` for no limit of its own.
    pub max_token_lifetime: Option<u32>,
    /// Not served before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Not served from then on; `None` for no limit.
    pub expires_at: Option<UnixTime>,
    /// When it was last used, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<UnixTime>,
    /// When it, a secret or a key of its ends next; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_expiry: Option<UnixTime>,
    /// When its secrets were made and may be used.
    pub secrets: Vec<SecretDocument>,
    /// The ids of its keys, in the order in which they are tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kids: Vec<String>,
    /// The same keys with their dates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ClientKeyDocument>,
    /// The rotation of its secret or key that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationDocument>,
    /// Whether each of its assertions must be bound to its request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_request_binding: bool,
    /// The enrolment by which it registered itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<EnrolmentId>,
    /// The serial number that it gave then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<SerialNumber>,
    /// Every token that was issued to it before is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_revoked_before: Option<UnixTime>,
}

/// The dates of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDocument {
    /// When it was made.
    pub created_at: UnixTime,
    /// Refused before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Refused from then on; `None` for no limit.
    pub expires_at: Option<UnixTime>,
    /// When it was last used, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<UnixTime>,
}

/// A key of a client and its dates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeyDocument {
    /// Its id.
    pub kid: String,
    /// When it was registered.
    pub created_at: UnixTime,
    /// Refused before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Refused from then on; `None` for no limit.
    pub expires_at: Option<UnixTime>,
    /// When it was last used, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<UnixTime>,
}

/// A rotation under way: the last secret or key is the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationDocument {
    /// When it began.
    pub started_at: UnixTime,
    /// Who began it.
    pub started_by: Initiator,
    /// When the old credential ends; if the client began it, not before the new one was used.
    pub ends_at: UnixTime,
    /// What else ends it.
    pub retire: Retire,
    /// When the new credential was first used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<UnixTime>,
}

impl ClientDocument {
    /// The document of a client at that time; `last_use` is its own, and `last_used` tells of each of its credentials.
    pub(super) fn new(
        client: &Client,
        now: UnixTime,
        last_use: Option<UnixTime>,
        last_used: impl Fn(CredentialRef<'_>) -> Option<UnixTime>,
    ) -> Self {
        let secret_dates = |secret: &ClientSecret| SecretDocument {
            created_at: secret.created_at,
            not_before: secret.not_before,
            expires_at: secret.expires_at,
            last_used: last_used(CredentialRef::Secret(secret)),
        };
        let key_dates = |key: &ClientKey| ClientKeyDocument {
            kid: key.jwk.kid().to_owned(),
            created_at: key.created_at,
            not_before: key.not_before,
            expires_at: key.expires_at,
            last_used: last_used(CredentialRef::Key(key)),
        };
        let rotation = |rotation: &Rotation| RotationDocument {
            started_at: rotation.started_at,
            started_by: rotation.started_by,
            ends_at: rotation.ends_at,
            retire: rotation.retire,
            used_at: rotation.used_at,
        };
        Self {
            client_id: client.client_id.to_string(),
            client_name: client.client_name.clone(),
            token_endpoint_auth_method: client.token_endpoint_auth_method,
            scope: client.scope.to_string(),
            status: client.status,
            client_id_issued_at: client.created_at,
            updated_at: client.updated_at,
            software_id: client.software_id.clone(),
            software_version: client.software_version.clone(),
            roles: client.roles.iter().cloned().collect(),
            default_scope: client.default_scope.to_string(),
            audiences: client.audiences.iter().cloned().collect(),
            introspects: client.introspects.iter().cloned().collect(),
            attributes: client.attributes.clone(),
            max_token_lifetime: client.max_token_lifetime,
            not_before: client.not_before,
            expires_at: client.expires_at,
            last_used: last_use,
            next_expiry: client.next_expiry(now),
            secrets: client.secrets.iter().map(secret_dates).collect(),
            kids: client.jwks.iter().map(|key| key.jwk.kid().to_owned()).collect(),
            keys: client.jwks.iter().map(key_dates).collect(),
            rotation: client.rotation.as_ref().map(rotation),
            require_request_binding: client.require_request_binding,
            enrolment: client.enrolled_by.as_ref().map(|enrolled| enrolled.enrolment.clone()),
            serial_number: client.enrolled_by.as_ref().and_then(|enrolled| enrolled.serial_number.clone()),
            tokens_revoked_before: None,
        }
    }
}

/// A signing key as operators see it, by the names of RFC 7517 section 4 where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDocument {
    /// Its id: the RFC 7638 thumbprint.
    pub kid: String,
    /// The JWS algorithm.
    pub alg: String,
    /// What it does: one signs, one may wait to, the others did.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixTime,
    /// Since when it is in its state.
    pub since: UnixTime,
    /// Until when it will be, if that is known.
    pub until: Option<UnixTime>,
    /// The file it is kept in.
    pub path: PathBuf,
}

impl From<KeyInfo> for KeyDocument {
    fn from(key: KeyInfo) -> Self {
        let KeyInfo { kid, algorithm, state, created_at, since, until, path } = key;
        Self { kid, alg: algorithm.name().to_owned(), state, created_at, since, until, path }
    }
}
