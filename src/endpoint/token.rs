//! The token operation (RFC 6749 section 3.2).

use super::{Decision, Engine, Reply, Request, refused};
use crate::clients::authenticate;
use crate::clock::UnixTime;
use crate::oauth::{self, Refusal, Response, TokenRequest};
use crate::policy::authorize;
use crate::token::{AccessToken, TokenEntropy, mint};

impl Engine {
    pub(super) fn token(&self, request: &Request<'_>, now: UnixTime, entropy: TokenEntropy) -> Reply {
        let decoded = match oauth::decode_token_request(request.format, request.payload) {
            Ok(decoded) => decoded,
            Err(malformed) => return refused(request.format, malformed.refusal, malformed.state.as_deref()),
        };
        let state: Option<Box<str>> = decoded.state().map(Box::from);
        match self.issue(request, decoded, now, entropy) {
            Ok(token) => {
                let payload = oauth::encode(request.format, Response::Token(token.response()), state.as_deref());
                let lifetime = token.response().expires_in;
                let claims = token.claims();
                let decision =
                    Decision::Issued { jti: claims.jti.clone(), audience: claims.aud.clone(), scope: token.scope().to_string(), lifetime };
                Reply { payload, decision }
            }
            Err(refusal) => refused(request.format, refusal, state.as_deref()),
        }
    }

    fn issue(&self, request: &Request<'_>, decoded: TokenRequest, now: UnixTime, entropy: TokenEntropy) -> Result<AccessToken, Refusal> {
        let authenticated = authenticate(decoded, request.client_id, request.channel, self.clients.as_ref(), now)?;
        let grant = authorize(authenticated, &self.policies.policy())?;
        mint(grant, &self.settings.issuer, self.settings.lifetimes, self.keys().active(), now, entropy)
    }
}
