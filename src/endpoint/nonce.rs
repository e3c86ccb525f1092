//! The nonce operation: for a device that has no clock (protocol section 3).

use super::{Decision, Engine, Exchange, Reply};
use crate::oauth::{self, Reason, Refusal, Response};

impl Engine {
    /// Anybody gets a nonce for any client id: it says nothing of whether there is such a client, and costs nothing to keep.
    pub(super) fn nonce(&self, mut exchange: Exchange<'_>) -> Reply {
        match oauth::decode_nonce_request(exchange.request.format, exchange.request.payload) {
            Ok(state) => exchange.state = state,
            Err(malformed) => return exchange.malformed(*malformed),
        }
        let Some(assertions) = &self.assertions else {
            return exchange.refuse(Refusal::invalid_request(Reason::UnknownOperation, "assertions are not accepted here"));
        };
        let nonce = assertions.nonce(exchange.request.client_id, exchange.now, &exchange.entropy);
        Reply { payload: exchange.encode(Response::Nonce(&nonce)), decision: Decision::NonceGiven }
    }
}
