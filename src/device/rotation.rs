//! A device's own rotation: another secret or key in place of the one it has.

use std::fmt;

use super::request::{self, Proof};
use super::session::AuthenticatedAsk;
use super::{Credential, DeviceError, Session, TokenQuery};
use crate::jose::Jwk;
use crate::oauth::{ErrorCode, Format, Operation, Param, Secret};

/// Another credential, and how long the one before serves.
#[derive(Debug)]
pub struct CredentialAnswer {
    /// What the gateway gave or took.
    pub credential: NewCredential,
    /// When the one before ends at the latest once the new one was used, in seconds since the epoch.
    pub previous_expires_at: u64,
}

/// What a device proves by from now on.
pub enum NewCredential {
    /// A secret that the gateway made.
    Secret {
        /// The secret.
        secret: Secret,
        /// When it ends, in seconds since the epoch; 0 for never.
        expires_at: u64,
    },
    /// The device's own key.
    Key {
        /// What it is called in assertions.
        kid: String,
    },
}

/// Without the secret.
impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { expires_at, .. } => f.debug_struct("Secret").field("expires_at", expires_at).finish_non_exhaustive(),
            Self::Key { kid } => f.debug_struct("Key").field(Param::Kid.name(), kid).finish(),
        }
    }
}

impl Session<'_> {
    /// Asks for another credential: for the use of `key`, or for a secret. Nothing ends before the new one was used.
    ///
    /// # Errors
    /// [`DeviceError::Rejected`] if the gateway refuses, the others if no usable answer comes. Asking again does no harm.
    pub async fn request_credential(&mut self, format: Format, key: Option<&Jwk>) -> Result<CredentialAnswer, DeviceError> {
        let options = self.options();
        let id = &options.client_id;
        let ask = AuthenticatedAsk {
            operation: Operation::Credential,
            format,
            state: None,
            digest: request::credential_digest(format, id, key),
            encode: &|proof: Proof<'_>, state| request::encode_credential(format, id, proof, key, state),
        };
        let answer = self.exchange_as(&options.credential, &ask).await?;
        answer.outcome?;
        answer
            .credential
            .filter(|answer| matches!(answer.credential, NewCredential::Key { .. }) == key.is_some())
            .ok_or_else(|| DeviceError::Protocol("the gateway's answer has no credential of the kind that was asked for".into()))
    }

    /// Whether the gateway takes another credential than that of this session, which is a use of it: a token is asked for by it.
    ///
    /// # Errors
    /// [`DeviceError`] if the gateway could not say.
    pub async fn accepts(&mut self, credential: &Credential, format: Format) -> Result<bool, DeviceError> {
        let query = TokenQuery { format, scope: None, audience: None, pop: false, sealed: false, state: None };
        match self.request_token_by(credential, &query).await {
            Ok(_) => Ok(true),
            Err(DeviceError::Rejected { error: ErrorCode::InvalidClient, .. }) => Ok(false),
            // It was the client's own, and what it opens is another matter.
            Err(DeviceError::Rejected { error: ErrorCode::InvalidScope | ErrorCode::InvalidTarget, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
