//! The credential operation: a client takes another secret or key beside the one that it authenticates by (protocol section 3).

use std::sync::Arc;

use super::{Decision, Done, Engine, Exchange};
use crate::clients::{AuthenticatedClient, Channel, CredentialStore, CredentialWish, RotationError, RotationFailure, RotationRule};
use crate::clock::UnixTime;
use crate::jose::Jwk;
use crate::oauth::{CredentialAsk, CredentialResponse, ErrorCode, Reason, Refusal, Response};

/// Seconds after which a client may ask again if nothing says how long its rotation is barred.
pub(super) const RETRY_AFTER: u32 = 60;

/// Where clients rotate their own credentials, and how.
pub(super) struct SelfService {
    pub(super) store: Arc<dyn CredentialStore>,
    pub(super) rule: RotationRule,
}

/// A secret is answered through a trusted broker alone: whoever carries the answer reads it.
fn wish(ask: &CredentialAsk, channel: Channel) -> Result<CredentialWish, Refusal> {
    let key = match (ask, channel) {
        (CredentialAsk::Secret, Channel::Trusted) => return Ok(CredentialWish::Secret),
        (CredentialAsk::Secret, Channel::Untrusted) => {
            let text = "no secret is given out through this broker; jwk has a public key to use";
            return Err(Refusal::new(ErrorCode::UnauthorizedClient, Reason::UntrustedBroker, text));
        }
        // Cannot fail: JSON was read into it.
        (CredentialAsk::Jwk(jwk), _) => Jwk::offered(&serde_cbor::value::from_value(jwk.clone()).unwrap_or_default()),
        (CredentialAsk::CoseKey(key), _) => Jwk::offered_cose(key),
    };
    key.map(CredentialWish::Key).map_err(|_| {
        Refusal::invalid_request(
            Reason::UnusableKey,
            "jwk: must be a sound public Ed25519 or P-256 key for signatures, without its private half",
        )
    })
}

fn refuse(failure: RotationFailure, now: UnixTime) -> Refusal {
    let unauthorized = |reason, text: &'static str| Refusal::new(ErrorCode::UnauthorizedClient, reason, text);
    match failure {
        RotationFailure::Refused(error) => match error {
            RotationError::OtherMethod(_) => unauthorized(
                Reason::OtherAuthMethod,
                "a client keeps its method: jwk is for clients with keys, and for them it is required",
            ),
            RotationError::UnderWay { ends_at, .. } => {
                let left = ends_at.as_secs().saturating_sub(now.as_secs());
                let left = u32::try_from(left).unwrap_or(u32::MAX).max(RETRY_AFTER);
                Refusal::not_now(Reason::RotationUnderWay, left, "a rotation is under way; use the new credential, or wait for its end")
            }
            RotationError::Replaced => {
                unauthorized(Reason::ReplacedCredential, "the credential has a successor that is in use: ask by that")
            }
            RotationError::KnownKey(_) => {
                Refusal::invalid_request(Reason::KnownKey, "jwk: the client has a key with that kid or thumbprint")
            }
            RotationError::TooManyKeys => {
                unauthorized(Reason::TooManyKeys, "the client has as many keys as it may have; an operator must remove one")
            }
            // Only operators cancel and finish.
            RotationError::NotUnderWay | RotationError::InUse(_) => Refusal::internal("the rotation failed"),
        },
        RotationFailure::NotKept => {
            Refusal::not_now(Reason::NotKept, RETRY_AFTER, "the new credential could not be kept; nothing has changed")
        }
    }
}

impl Engine {
    pub(super) fn credential(&self, client: AuthenticatedClient<CredentialAsk>, exchange: &Exchange<'_>) -> Result<Done, Refusal> {
        let own = self.self_service.as_ref().ok_or_else(|| {
            let text = "clients do not rotate their own credentials here; an operator does";
            Refusal::new(ErrorCode::UnauthorizedClient, Reason::SelfServiceOff, text)
        })?;
        let wish = wish(client.ask(), exchange.request.channel)?;
        let client_id = &client.client().client_id;
        let rotated = own.store.rotate(client_id, client.credential(), wish, own.rule, exchange.now);
        let rotated = rotated.map_err(|failure| refuse(failure, exchange.now))?;
        let changed = &rotated.client;
        let previous_expires_at = changed.rotation.as_ref().map_or(exchange.now, |rotation| rotation.ends_at).as_secs();
        let response = match (&rotated.secret, changed.jwks.last()) {
            (Some(client_secret), _) => {
                let client_secret_expires_at = changed.secrets.last().and_then(|secret| secret.expires_at).map_or(0, UnixTime::as_secs);
                CredentialResponse::Secret { client_id, client_secret, client_secret_expires_at, previous_expires_at }
            }
            (None, Some(key)) => CredentialResponse::Key { client_id, kid: key.jwk.kid(), previous_expires_at },
            (None, None) => return Err(Refusal::internal("the rotation gave no credential")),
        };
        Ok(Done { payload: exchange.encode(Response::Credential(response)), decision: Decision::CredentialRotated })
    }
}
