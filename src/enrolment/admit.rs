//! Whether a device may register: the first half, of which no answer depends on the disk (protocol section 3).

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::{Enrolment, EnrolmentStatus, TokenDigest, token};
use crate::clients::{AuthMethod, Channel, Client};
use crate::clock::UnixTime;
use crate::jose::Jwk;
use crate::oauth::{EnrolmentId, EnrolmentProof, ErrorCode, KeyAsk, Reason, Refusal, RegisterAsk, RegisterRequest, RequestDigest, Secret};

/// A device that has shown that an enrolment is for it. Only [`admit`] makes one.
#[must_use]
#[derive(Debug)]
pub struct AdmittedDevice {
    enrolment: EnrolmentId,
    key: Option<Jwk>,
    ask: RegisterAsk,
}

impl AdmittedDevice {
    /// The enrolment.
    #[must_use]
    pub fn enrolment(&self) -> &EnrolmentId {
        &self.enrolment
    }

    /// Its public key; none if it wants a secret.
    #[must_use]
    pub fn key(&self) -> Option<&Jwk> {
        self.key.as_ref()
    }

    /// What it wants to be registered with.
    #[must_use]
    pub fn ask(&self) -> &RegisterAsk {
        &self.ask
    }

    /// How it will authenticate.
    #[must_use]
    pub fn method(&self) -> AuthMethod {
        if self.key.is_some() { AuthMethod::PrivateKeyJwt } else { AuthMethod::ClientSecretPost }
    }
}

/// A device that is registered.
#[derive(Debug)]
pub struct EnrolledClient {
    /// As which client.
    pub client: Arc<Client>,
    /// Its secret, to be handed over this once, if it is to have one.
    pub secret: Option<Secret>,
    /// Whether it was registered before, by the same key.
    pub again: bool,
}

/// Where enrolments are looked up and used. Looking up never waits for a disk.
pub trait EnrolmentStore: Send + Sync {
    /// The enrolment of that id.
    fn enrolment(&self, id: &EnrolmentId) -> Option<Arc<Enrolment>>;

    /// Registers a device, and counts the use. Returns when both are durable.
    ///
    /// # Errors
    /// [`EnrolmentFailure`]; then nothing has changed.
    fn enrol(&self, device: &AdmittedDevice, now: UnixTime) -> Result<EnrolledClient, EnrolmentFailure>;
}

/// Why a store did not register a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolmentFailure {
    /// It may not.
    Refused(EnrolmentError),
    /// It could not be kept.
    NotKept,
}

/// Why a device may not register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// There is no such enrolment.
    #[error("there is no such enrolment")]
    Unknown,
    /// The token is not the enrolment's.
    #[error("the token is not that of the enrolment")]
    WrongToken,
    /// The MAC is not by the enrolment's token, or of another request.
    #[error("the MAC is not by the token of the enrolment")]
    WrongMac,
    /// Its time is over.
    #[error("the enrolment has expired")]
    Expired,
    /// An operator ended it.
    #[error("the enrolment was revoked")]
    Revoked,
    /// As many devices as may have registered.
    #[error("the enrolment is used up")]
    UsedUp,
    /// It is for certain serial numbers, and this is none of them.
    #[error("the enrolment is for other serial numbers")]
    SerialNotAllowed,
    /// The device has registered, by another key or with a secret, or its client was removed.
    #[error("the device has registered before")]
    DeviceEnrolled,
    /// The client id belongs to another client.
    #[error("the client id is taken")]
    ClientIdTaken,
    /// The device is registered and suspended.
    #[error("the client of the device is suspended")]
    ClientSuspended,
    /// The device is registered and blocked.
    #[error("the client of the device is blocked")]
    ClientBlocked,
    /// The client id is made of a serial number, and the device gave none.
    #[error("the client id needs a serial number")]
    NoSerial,
    /// The client id would be too long with that serial number.
    #[error("the serial number is too long for the client id")]
    SerialTooLong,
    /// The template does not allow the method.
    #[error("the enrolment is not for devices with {}", if *.0 == AuthMethod::PrivateKeyJwt { "a key" } else { "a secret" })]
    MethodNotAllowed(AuthMethod),
}

impl EnrolmentError {
    /// The operator's reason code.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unknown => Reason::UnknownEnrolment,
            Self::WrongToken => Reason::WrongEnrolmentToken,
            Self::WrongMac => Reason::WrongEnrolmentMac,
            Self::Expired => Reason::EnrolmentExpired,
            Self::Revoked => Reason::EnrolmentRevoked,
            Self::UsedUp => Reason::EnrolmentUsedUp,
            Self::SerialNotAllowed => Reason::SerialNotAllowed,
            Self::DeviceEnrolled => Reason::DeviceEnrolled,
            Self::ClientIdTaken => Reason::ClientIdTaken,
            Self::ClientSuspended => Reason::SuspendedClient,
            Self::ClientBlocked => Reason::BlockedClient,
            Self::NoSerial => Reason::MissingParameter,
            Self::SerialTooLong => Reason::InvalidParameter,
            Self::MethodNotAllowed(_) => Reason::WrongAuthMethod,
        }
    }
}

impl From<EnrolmentError> for Refusal {
    /// One answer for all that would tell of enrolments and of other devices (RFC 6750 section 3.1); what is wrong with the device's own words
    /// is told to who has shown a token.
    fn from(error: EnrolmentError) -> Self {
        let metadata = |text: String| Refusal::new(ErrorCode::InvalidClientMetadata, error.reason(), text);
        match error {
            EnrolmentError::NoSerial => metadata("serial_number: is required".to_owned()),
            EnrolmentError::SerialTooLong => metadata("serial_number: is too long".to_owned()),
            EnrolmentError::MethodNotAllowed(AuthMethod::ClientSecretPost) => metadata("jwks: is required".to_owned()),
            EnrolmentError::MethodNotAllowed(AuthMethod::PrivateKeyJwt) => metadata("jwks: is not accepted, only a secret".to_owned()),
            _ => Refusal::new(ErrorCode::InvalidToken, error.reason(), "the enrolment does not let this device register"),
        }
    }
}

/// Judges how a device shows that it may register: the work of one hash, whatever comes of it.
///
/// # Errors
/// `invalid_token`, with one text for every reason but that the broker may not see tokens; `invalid_client_metadata` for a key that cannot be used.
pub fn admit(request: RegisterRequest, channel: Channel, store: &dyn EnrolmentStore, now: UnixTime) -> Result<AdmittedDevice, Refusal> {
    let key = request.ask().key.as_ref().map(|key| match key {
        // Cannot fail: JSON was read into it.
        KeyAsk::Jwk(jwk) => Jwk::offered(&serde_cbor::value::from_value(jwk.clone()).unwrap_or_default()),
        KeyAsk::CoseKey(key) => Jwk::offered_cose(key),
    });
    let key = key.transpose().map_err(|_| {
        let text = "jwks: must have a sound public Ed25519 or P-256 key for signatures, without its private half";
        Refusal::new(ErrorCode::InvalidClientMetadata, Reason::UnusableKey, text)
    })?;
    let method = if key.is_some() { AuthMethod::PrivateKeyJwt } else { AuthMethod::ClientSecretPost };
    if request.ask().token_endpoint_auth_method.as_deref().is_some_and(|asked| asked != method.as_str()) {
        let text = format!("token_endpoint_auth_method: must be {} here", method.as_str());
        return Err(Refusal::new(ErrorCode::InvalidClientMetadata, Reason::UnsupportedAuthMethod, text));
    }
    let enrolment = match (request.proof(), channel) {
        (EnrolmentProof::Token(token), Channel::Trusted) => by_token(token, store)?,
        // The same for every enrolment, so the text may help the operator.
        (EnrolmentProof::Token(_), Channel::Untrusted) => {
            let text = "initial_access_token is not accepted through this broker; enrolment_mac is";
            return Err(Refusal::new(ErrorCode::InvalidToken, Reason::UntrustedBroker, text));
        }
        // A secret in the answer would be for the broker, too; and who has a key proves later that the answer reached it.
        (EnrolmentProof::Mac { .. }, _) if key.is_none() => {
            let text = "jwks: is required with enrolment_mac";
            return Err(Refusal::new(ErrorCode::InvalidClientMetadata, Reason::MissingParameter, text));
        }
        (EnrolmentProof::Mac { enrolment, mac, request }, _) => by_mac(enrolment, mac, request, store)?,
    };
    check(&enrolment, now)?;
    Ok(AdmittedDevice { enrolment: enrolment.id.clone(), key, ask: request.ask().clone() })
}

/// Whether an MQTT password is meant to be an enrolment token. Says nothing of whether it is a good one.
#[must_use]
pub fn is_token(password: &Secret) -> bool {
    token::is_meant(password.expose())
}

/// Judges the token with which a device that is to register connects to the embedded broker. One that is used up still opens a session: its
/// devices may have lost their answers.
///
/// # Errors
/// `invalid_token`, with one text for every reason.
pub fn admit_session(token: &Secret, store: &dyn EnrolmentStore, now: UnixTime) -> Result<EnrolmentId, Refusal> {
    let enrolment = by_token(token, store)?;
    check(&enrolment, now)?;
    Ok(enrolment.id.clone())
}

fn by_token(token: &Secret, store: &dyn EnrolmentStore) -> Result<Arc<Enrolment>, EnrolmentError> {
    let presented = TokenDigest::of(token.expose());
    let enrolment = token::id_of(token.expose()).and_then(|id| store.enrolment(&id));
    // Whatever is missing is compared all the same.
    let equal = enrolment.as_ref().map_or(TokenDigest::ABSENT, |enrolment| enrolment.digest).ct_eq(&presented);
    genuine(enrolment, equal, EnrolmentError::WrongToken)
}

fn by_mac(id: &EnrolmentId, mac: &[u8; 32], request: &RequestDigest, store: &dyn EnrolmentStore) -> Result<Arc<Enrolment>, EnrolmentError> {
    let enrolment = store.enrolment(id);
    let expected = proof(enrolment.as_ref().map_or(&TokenDigest::ABSENT, |enrolment| &enrolment.digest), request);
    let equal = expected.ct_eq(mac);
    genuine(enrolment, equal, EnrolmentError::WrongMac)
}

fn genuine(enrolment: Option<Arc<Enrolment>>, equal: Choice, wrong: EnrolmentError) -> Result<Arc<Enrolment>, EnrolmentError> {
    let enrolment = enrolment.ok_or(EnrolmentError::Unknown)?;
    if bool::from(equal) { Ok(enrolment) } else { Err(wrong) }
}

/// Whether the enrolment is in its time. Whether it is used up depends on who asks.
fn check(enrolment: &Enrolment, now: UnixTime) -> Result<(), EnrolmentError> {
    match enrolment.status_at(now) {
        EnrolmentStatus::Revoked => Err(EnrolmentError::Revoked),
        EnrolmentStatus::Expired => Err(EnrolmentError::Expired),
        EnrolmentStatus::UsedUp | EnrolmentStatus::Open => Ok(()),
    }
}

/// HMAC-SHA-256 by the digest of an enrolment's token over what a request is bound to.
#[must_use]
pub fn proof(digest: &TokenDigest, request: &RequestDigest) -> [u8; 32] {
    // Never fails: HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(digest.as_bytes()) else { return [0; 32] };
    mac.update(request.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
