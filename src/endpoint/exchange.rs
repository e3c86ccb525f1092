//! What the operations share: a request on its way to its answer.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::limits::{Nobody, locked_out};
use super::{Decision, Engine, Reply, Request};
use crate::clients::{AuthenticatedClient, Source, authenticate};
use crate::clock::UnixTime;
use crate::oauth::{self, Ask, ClientCredential, ClientId, ErrorCode, MalformedRequest, Operation, Reason, Refusal, Response, Table};
use crate::token::TokenEntropy;

/// A request, and what its answer is made with.
pub(super) struct Exchange<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) operation: Operation,
    pub(super) now: UnixTime,
    pub(super) entropy: TokenEntropy,
    /// What the answer echoes, once it was read.
    pub(super) state: Option<Box<str>>,
}

/// What an operation came to: the payload of the answer, and what to log of it.
pub(super) struct Done {
    pub(super) payload: Vec<u8>,
    pub(super) decision: Decision,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(request: &'a Request<'a>, operation: Operation, now: UnixTime, entropy: TokenEntropy) -> Self {
        Self { request, operation, now, entropy, state: None }
    }

    pub(super) fn encode(&self, response: Response<'_>) -> Vec<u8> {
        oauth::encode(self.request.format, Table::of(self.operation), response, self.state.as_deref())
    }

    /// What its sender calls a request for a token, so that it is known again when it is delivered twice.
    fn name(&self) -> Option<&[u8]> {
        let name = self.request.correlation_data.or(self.state.as_deref().map(str::as_bytes));
        name.filter(|name| self.operation == Operation::Token && !name.is_empty())
    }

    pub(super) fn refuse(&self, refusal: Refusal) -> Reply {
        Reply { payload: self.encode(Response::Error(&refusal)), decision: Decision::Refused(refusal) }
    }

    pub(super) fn malformed(mut self, malformed: MalformedRequest) -> Reply {
        self.state = malformed.state;
        self.refuse(malformed.refusal)
    }
}

/// Whether an answer has a token that is as good as another one a few seconds later.
fn is_long_lived(decision: &Decision) -> bool {
    matches!(decision, Decision::Issued { lifetime, .. } if *lifetime >= 60)
}

/// Who changes something of a client waits for whoever does so already: a request that is delivered twice finds the answer of the first.
pub(super) struct Turns {
    slots: [Mutex<()>; Self::SLOTS],
    hasher: RandomState,
}

impl Turns {
    const SLOTS: usize = 64;

    pub(super) fn take(&self, client_id: &ClientId) -> Option<MutexGuard<'_, ()>> {
        // Only chance counts here: on a small host the upper half of the hash is cut off.
        let slot = (self.hasher.hash_one(client_id.as_str()) as usize).checked_rem(Self::SLOTS)?;
        self.slots.get(slot).map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { slots: [const { Mutex::new(()) }; Self::SLOTS], hasher: RandomState::new() }
    }
}

impl Engine {
    /// Serves an operation of an authenticated client.
    pub(super) fn serve<A: Ask>(
        &self,
        mut exchange: Exchange<'_>,
        act: impl FnOnce(&Self, AuthenticatedClient<A>, &Exchange<'_>) -> Result<Done, Refusal>,
    ) -> Reply {
        let (request, now) = (exchange.request, exchange.now);
        let decoded = match oauth::decode_client_request::<A>(request.format, request.payload) {
            Ok(decoded) => decoded,
            Err(malformed) => return exchange.malformed(*malformed),
        };
        exchange.state = decoded.state().map(Box::from);
        let uses_assertion = matches!(decoded.credential(), ClientCredential::Assertion(..));
        let writes = exchange.operation.writes();
        let _turn = writes.then(|| self.writing.take(request.client_id)).flatten();
        let (clients, assertions) = (self.clients.as_ref(), self.assertions.as_ref());
        let is_locked_out = !uses_assertion && self.is_locked_out(request.client_id, Source::Request, now);
        let authenticated = match is_locked_out {
            false => authenticate(decoded, request.client_id, request.channel, clients, assertions, now, &exchange.entropy),
            // The work is that of any other failure.
            true => authenticate(decoded, request.client_id, request.channel, &Nobody, assertions, now, &exchange.entropy)
                .map_err(|refusal| if refusal.reason() == Reason::UnknownClient { locked_out(refusal) } else { refusal }),
        };
        self.proved(request.client_id, Source::Request, authenticated.as_ref().err(), now);
        // An assertion that was genuine is used up by now, and a change is made once, so only the answer itself can serve a request that is
        // delivered twice.
        let (outcome, is_spent) = match authenticated {
            Ok(client) => match self.answered_before(&exchange, uses_assertion) {
                Some(reply) => return reply,
                None => {
                    let within = self.within_own_limits(request.client_id, exchange.operation, now, &exchange.entropy);
                    let outcome = within.and_then(|()| act(self, client, &exchange));
                    let is_spent = uses_assertion || (writes && outcome.is_ok());
                    (outcome, is_spent)
                }
            },
            Err(refusal) if refusal.reason() == Reason::ReplayedAssertion => match self.duplicates.find(request, now) {
                Some(reply) => return reply,
                None => (Err(refusal), false),
            },
            Err(refusal) => {
                let is_spent = refusal.code() == ErrorCode::UseNonce;
                (Err(refusal), is_spent)
            }
        };
        let reply = match outcome {
            Ok(Done { payload, decision }) => Reply { payload, decision },
            Err(refusal) => exchange.refuse(refusal),
        };
        if is_spent {
            self.duplicates.keep(request, &reply, now);
        } else if let Some(name) = exchange.name().filter(|_| is_long_lived(&reply.decision)) {
            self.named.keep_named(request, name, &reply, now);
        }
        reply
    }

    /// The answer that the very same request got, of a client that has proved who it is. What two requests alike mean is known only of those that
    /// write, and of those that their sender gave a name.
    fn answered_before(&self, exchange: &Exchange<'_>, uses_assertion: bool) -> Option<Reply> {
        if exchange.operation.writes() {
            return self.duplicates.find(exchange.request, exchange.now);
        }
        let name = exchange.name().filter(|_| !uses_assertion)?;
        self.named.find_named(exchange.request, name, exchange.now)
    }
}
