//! Client authentication by signed assertion: `private_key_jwt` (RFC 7523 as updated, protocol section 3).

mod presented;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::presented::{Claims, Presented};
use super::nonce::Nonces;
use super::replay::{Occupancy, Once, ReplayMemory, Use};
use super::standing::{check_credential, check_standing};
use super::{AuthMethod, Client, ClientKey, ClientStore, CredentialRef, MAX_KEYS};
use crate::clock::UnixTime;
use crate::jose::{Jwk, KeyType};
use crate::oauth::{ClientId, Reason, Refusal, RequestDigest, Secret, ServerNonce, Unwitnessed};

/// Seconds that an assertion may have before it.
const MAX_LIFETIME: u64 = 300;
/// Bytes of a `jti`.
const MAX_JTI: usize = 128;
/// Judges assertions, and remembers those that were used.
pub struct Assertions {
    issuer: String,
    started_at: UnixTime,
    replay: ReplayMemory,
    nonces: Nonces,
    decoys: Decoys,
}

/// Verified by where a client or a key is missing, so that nothing shows by the work. Never accepted.
struct Decoys {
    ed25519: Jwk,
    p256: Jwk,
}

impl Decoys {
    fn new() -> Self {
        // The public key of RFC 8032 section 7.1, TEST 1024.
        const ED25519: [u8; 32] = [
            0x27, 0x81, 0x17, 0xfc, 0x14, 0x4c, 0x72, 0x34, 0x0f, 0x67, 0xd0, 0xf2, 0x31, 0x6e, 0x83, 0x86, 0xce, 0xff, 0xbf, 0x2b, 0x24,
            0x28, 0xc9, 0xc5, 0x1f, 0xef, 0x7c, 0x59, 0x7f, 0x1d, 0x42, 0x6e,
        ];
        // The public key of RFC 6979 appendix A.2.5.
        const P256_X: [u8; 32] = [
            0x60, 0xfe, 0xd4, 0xba, 0x25, 0x5a, 0x9d, 0x31, 0xc9, 0x61, 0xeb, 0x74, 0xc6, 0x35, 0x6d, 0x68, 0xc0, 0x49, 0xb8, 0x92, 0x3b,
            0x61, 0xfa, 0x6c, 0xe6, 0x69, 0x62, 0x2e, 0x60, 0xf2, 0x9f, 0xb6,
        ];
        const P256_Y: [u8; 32] = [
            0x79, 0x03, 0xfe, 0x10, 0x08, 0xb8, 0xbc, 0x99, 0xa4, 0x1a, 0xe9, 0xe9, 0x56, 0x28, 0xbc, 0x64, 0xf2, 0xf1, 0xb2, 0x0c, 0x2d,
            0x7e, 0x9f, 0x51, 0x77, 0xa3, 0xc2, 0x94, 0xd4, 0x46, 0x22, 0x99,
        ];
        Self { ed25519: Jwk::ed25519(&ED25519), p256: Jwk::p256(&P256_X, &P256_Y) }
    }

    fn of(&self, key_type: KeyType) -> &Jwk {
        match key_type {
            KeyType::Ed25519 => &self.ed25519,
            KeyType::P256 => &self.p256,
        }
    }
}

/// Why an assertion does not serve.
#[derive(Debug)]
pub(super) enum Fault {
    /// The refusal to answer with.
    Refused(Refusal),
    /// One with a nonce would serve.
    UseNonce(Reason),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn refused(reason: Reason) -> Fault {
    Fault::Refused(Refusal::invalid_client(reason))
}

/// What the times of an assertion come to.
struct Timing<'a> {
    /// What is used up.
    once: Once<'a>,
    /// From then on it is of no use to anybody.
    until: UnixTime,
    fault: Option<Fault>,
}

impl Assertions {
    /// `issuer` is the only audience accepted; `capacity` bounds the assertions remembered; `nonce_key` must be fresh random bytes.
    ///
    /// Nothing is known of assertions used before `started_at`, so those made by then are not accepted.
    #[must_use]
    pub fn new(issuer: String, started_at: UnixTime, capacity: usize, nonce_key: Zeroizing<[u8; 32]>) -> Self {
        Self { issuer, started_at, replay: ReplayMemory::new(capacity), nonces: Nonces::new(nonce_key), decoys: Decoys::new() }
    }

    /// A nonce for that client, whether it exists or not; stores nothing. `entropy` must be fresh random bytes.
    #[must_use]
    pub fn nonce(&self, client_id: &ClientId, now: UnixTime, entropy: &[u8; 16]) -> ServerNonce {
        self.nonces.issue(client_id, now, entropy)
    }

    /// How full the memory of used assertions is.
    #[must_use]
    pub fn occupancy(&self, now: UnixTime) -> Occupancy {
        self.replay.occupancy(now)
    }

    /// The client of a session, if the assertion is its own and serves now, as at CONNECT on the embedded broker. It is used up.
    ///
    /// # Errors
    /// `invalid_client`, with the same text and the same work for every reason: there is no way to hand over a nonce.
    pub fn authenticate_session(
        &self,
        id: &ClientId,
        assertion: &Secret,
        store: &dyn ClientStore,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        self.authenticate(id, assertion, None, store, now).map(|(client, _)| client).map_err(|fault| match fault {
            Fault::Refused(refusal) => refusal,
            Fault::UseNonce(reason) => Refusal::invalid_client(reason),
        })
    }

    /// The client and the key that signed, if the assertion is its own and serves now. `request` is what the assertion came with and whether it
    /// must be bound to that whatever the client is registered for; `None` at CONNECT.
    pub(super) fn authenticate(
        &self,
        id: &ClientId,
        assertion: &Secret,
        request: Option<(&RequestDigest, bool)>,
        store: &dyn ClientStore,
        now: UnixTime,
    ) -> Result<(Arc<Client>, ClientKey), Fault> {
        let malformed = || refused(Reason::MalformedAssertion);
        // What stands in it is judged first: that is the same for every client and shows nothing of any.
        let (signed, claims) = Presented::parse(assertion.expose()).ok_or_else(malformed)?;
        if !(1..=MAX_JTI).contains(&claims.jti.len()) {
            return Err(malformed());
        }
        if claims.iss != id.as_str() || claims.sub != id.as_str() {
            return Err(refused(Reason::WrongAssertionSubject));
        }
        if claims.aud != self.issuer {
            return Err(refused(Reason::WrongAssertionAudience));
        }

        let found = store.client(id);
        let signer = self.signer(&signed, found.as_deref());
        let shown = signer.and_then(|slot| found.as_ref()?.jwks.get(slot)).map(CredentialRef::Key);
        let judged = check_credential(id, found.as_ref(), AuthMethod::PrivateKeyJwt, shown, now, &mut Unwitnessed);
        let (client, shown) = judged.map_err(refused)?;
        // It is used up from here on, whatever the answer is. What has no time left needs no remembering.
        let timing = self.judge(id, &claims, now);
        let used = if timing.until > now { self.replay.try_use(id, timing.once, timing.until, now) } else { Use::First };
        check_standing(client, now, &mut Unwitnessed).map_err(refused)?;
        match used {
            Use::First => {}
            Use::Again => return Err(refused(Reason::ReplayedAssertion)),
            Use::NoRoom { retry_after } => return Err(Refusal::replay_memory_full(retry_after).into()),
        }
        if let Some(fault) = timing.fault {
            return Err(fault);
        }
        match (claims.rqh, request) {
            (None, Some((_, must))) if must || client.require_request_binding => return Err(refused(Reason::RequestNotBound)),
            (None, _) => {}
            (Some(bound), Some((request, _))) if bound == request.to_text() => {}
            // At CONNECT there is no request: an assertion made for one is not for that.
            (Some(_), _) => return Err(refused(Reason::WrongRequestBinding)),
        }
        let CredentialRef::Key(key) = shown else { return Err(refused(Reason::WrongSignature)) };
        store.used(client, shown, now);
        Ok((client.clone(), key.clone()))
    }

    /// Which of the client's keys signed. Costs one verification of the header's algorithm with a `kid` and [`MAX_KEYS`] without, whatever keys
    /// there are.
    fn signer(&self, signed: &Presented<'_>, client: Option<&Client>) -> Option<usize> {
        let keys = client.map(|client| client.jwks.as_slice()).unwrap_or_default();
        let key_type = signed.algorithm().key_type();
        let verify = |slot: Option<usize>| {
            #[cfg(test)]
            super::secret::work::count(|done| &mut done.verifications);
            // The work of an algorithm is done by a key of its kind.
            let key = slot.and_then(|slot| keys.get(slot)).filter(|key| key.jwk.key_type() == key_type);
            let genuine = signed.verify(key.map_or(self.decoys.of(key_type), |key| &key.jwk));
            key.filter(|_| genuine).and(slot)
        };
        match signed.kid() {
            Some(kid) => verify(keys.iter().position(|key| key.jwk.kid() == kid)),
            None => (0..MAX_KEYS).fold(None, |signer, slot| verify(Some(slot)).or(signer)),
        }
    }

    fn judge<'a>(&self, id: &ClientId, claims: &'a Claims, now: UnixTime) -> Timing<'a> {
        if let Some(nonce) = &claims.nonce {
            let end = self.nonces.end(id, nonce, now);
            let fault = end.is_none().then_some(Fault::UseNonce(Reason::StaleNonce));
            return Timing { once: Once::Nonce(nonce), until: end.unwrap_or(now), fault };
        }
        let (exp, starts) = (claims.exp, [claims.iat, claims.nbf]);
        // Without iat it may be as old as its end allows.
        let made = claims.iat.unwrap_or(UnixTime::from_secs(exp.as_secs().saturating_sub(MAX_LIFETIME)));
        let fault = if exp <= now {
            Some(refused(Reason::AssertionExpired))
        } else if exp > now.saturating_add(MAX_LIFETIME) {
            Some(refused(Reason::AssertionTooLong))
        } else if starts.into_iter().flatten().any(|start| start > now) {
            Some(Fault::UseNonce(Reason::AssertionNotYetValid))
        } else if made <= self.started_at {
            Some(Fault::UseNonce(Reason::AssertionBeforeStart))
        } else {
            None
        };
        // Nobody can fill the memory with what lives longer than is allowed.
        let until = if exp > now.saturating_add(MAX_LIFETIME) { now } else { exp };
        Timing { once: Once::Jti(&claims.jti), until, fault }
    }
}

#[cfg(test)]
mod tests;
