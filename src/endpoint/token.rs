//! The token operation (RFC 6749 section 3.2).

use super::{Decision, Engine, Reply, Request, refused};
use crate::clients::{AuthenticatedClient, authenticate};
use crate::clock::UnixTime;
use crate::oauth::{self, ClientCredential, ErrorCode, Reason, Refusal, Response};
use crate::policy::authorize;
use crate::token::{AccessToken, TokenEntropy, mint};

impl Engine {
    pub(super) fn token(&self, request: &Request<'_>, now: UnixTime, entropy: TokenEntropy) -> Reply {
        let decoded = match oauth::decode_token_request(request.format, request.payload) {
            Ok(decoded) => decoded,
            Err(malformed) => return refused(request.format, malformed.refusal, malformed.state.as_deref()),
        };
        let state: Option<Box<str>> = decoded.state().map(Box::from);
        let uses_assertion = matches!(decoded.credential(), ClientCredential::Assertion(..));
        let clients = self.clients.as_ref();
        let authenticated = authenticate(decoded, request.client_id, request.channel, clients, self.assertions.as_ref(), now, &entropy);
        // An assertion that was genuine is used up by now, so only the answer itself can serve a request that is delivered twice.
        let (outcome, is_used_up) = match authenticated {
            Ok(client) => (self.issue(client, now, entropy), uses_assertion),
            Err(refusal) if refusal.reason() == Reason::ReplayedAssertion => match self.duplicates.find(request, now) {
                Some(reply) => return reply,
                None => (Err(refusal), false),
            },
            Err(refusal) => {
                let is_used_up = refusal.code() == ErrorCode::UseNonce;
                (Err(refusal), is_used_up)
            }
        };
        let reply = match outcome {
            Ok(token) => {
                let payload = oauth::encode(request.format, Response::Token(token.response()), state.as_deref());
                let lifetime = token.response().expires_in;
                let claims = token.claims();
                let decision =
                    Decision::Issued { jti: claims.jti.clone(), audience: claims.aud.clone(), scope: token.scope().to_string(), lifetime };
                Reply { payload, decision }
            }
            Err(refusal) => refused(request.format, refusal, state.as_deref()),
        };
        if is_used_up {
            self.duplicates.keep(request, &reply, now);
        }
        reply
    }

    fn issue(&self, client: AuthenticatedClient, now: UnixTime, entropy: TokenEntropy) -> Result<AccessToken, Refusal> {
        let grant = authorize(client, &self.policies.policy())?;
        mint(grant, &self.settings.issuer, self.settings.lifetimes, self.keys().active(), now, entropy)
    }
}
