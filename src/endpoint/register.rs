//! The registration of a device by itself (RFC 7591 section 3, protocol section 3).

use super::{Decision, Engine, Exchange, Reply};
use crate::enrolment::{EnrolledClient, EnrolmentFailure, admit};
use crate::oauth::{self, Reason, Refusal, RegisterResponse, Response, ScopeSet};

/// Seconds after which a device may ask again whose registration could not be kept.
const RETRY_AFTER: u32 = 60;

impl Engine {
    /// Refusals cost one hash and no disk. A change is made once: the very same request gets the very same answer, while that is kept.
    pub(super) fn register(&self, mut exchange: Exchange<'_>) -> Reply {
        let (request, now) = (exchange.request, exchange.now);
        let Some(store) = &self.enrolments else {
            return exchange.refuse(Refusal::invalid_request(Reason::UnknownOperation, "devices cannot register here"));
        };
        let decoded = match oauth::decode_register_request(request.format, request.payload) {
            Ok(decoded) => decoded,
            Err(malformed) => return exchange.malformed(*malformed),
        };
        exchange.state = decoded.state().map(Box::from);
        let device = match admit(decoded, request.channel, store.as_ref(), now) {
            Ok(device) => device,
            Err(refusal) => return exchange.refuse(refusal),
        };
        let _turn = self.writing.take(request.client_id);
        if let Some(reply) = self.duplicates.find(request, now) {
            return reply;
        }
        let EnrolledClient { client, secret, again } = match store.enrol(&device, now) {
            Ok(enrolled) => enrolled,
            Err(EnrolmentFailure::Refused(error)) => return exchange.refuse(error.into()),
            Err(EnrolmentFailure::NotKept) => {
                return exchange.refuse(Refusal::not_now(
                    Reason::NotKept,
                    RETRY_AFTER,
                    "the registration could not be kept; nothing has changed",
                ));
            }
        };
        let scope: ScopeSet = self.policies.policy().granted(&client).into_keys().cloned().collect();
        let response = RegisterResponse {
            client_id: &client.client_id,
            issued_at: client.created_at.as_secs(),
            secret: secret.as_ref(),
            token_endpoint_auth_method: client.token_endpoint_auth_method.as_str(),
            scope: &scope,
        };
        let decision = Decision::Registered {
            client_id: client.client_id.clone(),
            enrolment: device.enrolment().clone(),
            method: client.token_endpoint_auth_method,
            again,
        };
        let reply = Reply { payload: exchange.encode(Response::Registered(response)), decision };
        self.duplicates.keep(request, &reply, now);
        reply
    }
}
