//! The token operation (RFC 6749 section 3.2).

use super::revoke::check_not_revoked;
use super::{Decision, Done, Engine, Exchange};
use crate::clients::AuthenticatedClient;
use crate::clock::Issuance;
use crate::oauth::{Refusal, Response, TokenAsk, TokenResponse, Unwitnessed};
use crate::policy::authorize;
use crate::token::{Lifetimes, mint};

impl Engine {
    pub(super) fn token(&self, client: AuthenticatedClient<TokenAsk>, exchange: &Exchange<'_>) -> Result<Done, Refusal> {
        let sealing_key = self.sealing_key(&client, exchange.request.format)?;
        let grant = authorize(client, &self.policies.policy())?;
        check_not_revoked(self.revocations.as_deref(), exchange.request.client_id, exchange.now, &mut Unwitnessed)?;
        let settings = &self.settings;
        let token = mint(grant, &settings.issuer, self.lifetimes()?, &self.keys(), exchange.now, exchange.entropy)?;
        let (response, claims) = (token.response(), token.claims());
        let decision = Decision::Issued {
            jti: claims.jti.clone(),
            audience: claims.aud.clone(),
            scope: token.scope().to_string(),
            lifetime: response.expires_in,
        };
        let Some(key) = sealing_key else { return Ok(Done { payload: exchange.encode(Response::Token(response)), decision }) };
        let sealed = self.seal(response.access_token, &key, exchange.request.format)?;
        let response = TokenResponse { access_token: sealed.text(), ..response };
        Ok(Done { payload: exchange.encode(Response::Token(response)), decision })
    }

    /// The life of tokens issued now.
    fn lifetimes(&self) -> Result<Lifetimes, Refusal> {
        let lifetimes = self.lifetimes_in_force();
        match self.clock().map(|standing| standing.issuance) {
            None | Some(Issuance::Issue) => Ok(lifetimes),
            Some(Issuance::Shorten { lifetime }) => Ok(Lifetimes { maximum: lifetimes.maximum.min(lifetime), ..lifetimes }),
            Some(Issuance::Refuse { retry_after }) => Err(Refusal::clock_not_trusted(retry_after)),
        }
    }
}
