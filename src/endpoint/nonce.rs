//! The nonce operation: for a device that has no clock (protocol section 3).

use super::{Decision, Engine, Reply, Request, refused};
use crate::clock::UnixTime;
use crate::oauth::{self, Reason, Refusal, Response};
use crate::token::TokenEntropy;

impl Engine {
    /// Anybody gets a nonce for any client id: it says nothing of whether there is such a client, and costs nothing to keep.
    pub(super) fn nonce(&self, request: &Request<'_>, now: UnixTime, entropy: TokenEntropy) -> Reply {
        let state = match oauth::decode_nonce_request(request.format, request.payload) {
            Ok(state) => state,
            Err(malformed) => return refused(request.format, malformed.refusal, malformed.state.as_deref()),
        };
        let Some(assertions) = &self.assertions else {
            let refusal = Refusal::invalid_request(Reason::UnknownOperation, "assertions are not accepted here");
            return refused(request.format, refusal, state.as_deref());
        };
        let nonce = assertions.nonce(request.client_id, now, &entropy);
        Reply { payload: oauth::encode(request.format, Response::Nonce(&nonce), state.as_deref()), decision: Decision::NonceGiven }
    }
}
