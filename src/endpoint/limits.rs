//! Where the limits of `clients::Limits` are kept, and what is answered beyond them.

use std::net::IpAddr;
use std::sync::Arc;

use super::Engine;
use crate::clients::{Client, ClientStore, Criticality, Exhausted, Source};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, ErrorCode, Operation, Reason, Refusal};
use crate::token::TokenEntropy;

/// Seconds over which those are spread who are sent away at the same moment.
const SPREAD: u32 = 8;

/// A store of no clients: whoever is locked out meets the work of any other failure.
pub(super) struct Nobody;

impl ClientStore for Nobody {
    fn client(&self, _id: &ClientId) -> Option<Arc<Client>> {
        None
    }
}

/// What is told of a failure that was none but of a secret that was not looked at; the device is told what it always is.
pub(super) fn locked_out(_: Refusal) -> Refusal {
    Refusal::invalid_client(Reason::LockedOut)
}

/// `temporarily_unavailable`, with a time to come back that is not everybody's.
fn later(reason: Reason, exhausted: Exhausted, patience: u32, entropy: &TokenEntropy, description: &'static str) -> Refusal {
    Refusal::not_now(reason, spread(exhausted.wait, patience, entropy), description)
}

/// A time that is not everybody's, by chance; over so many times [`SPREAD`].
pub(super) fn spread(seconds: u32, patience: u32, entropy: &TokenEntropy) -> u32 {
    let chance =
        entropy.first().copied().map(u32::from).and_then(|byte| byte.checked_rem(SPREAD.saturating_mul(patience))).unwrap_or_default();
    seconds.saturating_add(chance)
}

impl Engine {
    /// How critical whoever the topic names is. Whoever is not registered is what most are, so that nobody learns by it who is.
    #[must_use]
    pub fn criticality(&self, client_id: &ClientId) -> Criticality {
        self.clients.client(client_id).map_or(Criticality::default(), |client| Criticality::of(&client.attributes))
    }

    pub(super) fn within_overall_limit(&self, client_id: &ClientId, now: UnixTime, entropy: &TokenEntropy) -> Result<(), Refusal> {
        let Some(limits) = self.limits.as_ref().filter(|limits| limits.has_overall()) else { return Ok(()) };
        let criticality = self.criticality(client_id);
        let beyond = |exhausted| later(Reason::OverallLimit, exhausted, criticality.patience(), entropy, "too many requests are made");
        limits.request(client_id, criticality, now).map_err(beyond)
    }

    /// Whether a client that has proved who it is may have the operation once more.
    pub(super) fn within_own_limits(
        &self,
        client_id: &ClientId,
        operation: Operation,
        now: UnixTime,
        entropy: &TokenEntropy,
    ) -> Result<(), Refusal> {
        let Some(limits) = &self.limits else { return Ok(()) };
        if operation == Operation::Token {
            let beyond = |exhausted| later(Reason::ClientLimit, exhausted, 1, entropy, "the client asks for too many tokens");
            limits.token(client_id, now).map_err(beyond)?;
        }
        if operation.writes() {
            let beyond = |exhausted| later(Reason::WriteLimit, exhausted, 1, entropy, "the client asks for too many changes");
            limits.write(client_id, now).map_err(beyond)?;
        }
        Ok(())
    }

    pub(super) fn is_locked_out(&self, client_id: &ClientId, source: Source, now: UnixTime) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.is_locked_out(client_id, source, now))
    }

    /// What became of a proof of who a client is. Failures for a client that there is not are nobody's.
    pub(super) fn proved(&self, client_id: &ClientId, source: Source, refusal: Option<&Refusal>, now: UnixTime) {
        let Some(limits) = &self.limits else { return };
        match refusal {
            None => limits.succeeded(client_id, source),
            Some(refusal) if refusal.code() == ErrorCode::InvalidClient && refusal.reason() != Reason::LockedOut => {
                if self.clients.client(client_id).is_some() {
                    limits.failed(client_id, source, now);
                }
            }
            Some(_) => {}
        }
    }

    /// Whether one more TLS handshake with that address may begin now.
    #[must_use]
    pub fn admits_handshake(&self, address: IpAddr, now: UnixTime) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.handshake(address, now))
    }

    /// Secrets of how many clients, from how many sources, are not looked at now.
    #[must_use]
    pub fn lockouts(&self, now: UnixTime) -> usize {
        self.limits.as_ref().map_or(0, |limits| limits.lockouts(now))
    }
}
