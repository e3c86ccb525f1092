//! The revocation operation (RFC 7009).

use super::credential::RETRY_AFTER;
use super::{Decision, Done, Engine, Exchange};
use crate::clients::AuthenticatedClient;
use crate::clock::UnixTime;
use crate::oauth::{Check, ClientId, ErrorCode, Reason, Record, Refusal, Response, RevokeAsk, Step, Witness};
use crate::token::{RevocationStore, RevokedToken, TokenHash};

/// Where no revocations are kept.
pub(super) fn not_served() -> Refusal {
    Refusal::invalid_request(Reason::UnknownOperation, "tokens are not revoked here")
}

impl Engine {
    /// Voids a token of the client. What is no live token is as void as the client could wish (RFC 7009 section 2.2).
    pub(super) fn revoke(&self, client: AuthenticatedClient<RevokeAsk>, exchange: &Exchange<'_>) -> Result<Done, Refusal> {
        let Some(revocations) = &self.revocations else {
            return Err(not_served());
        };
        let done = |jti| Ok(Done { payload: exchange.encode(Response::Done), decision: Decision::Revoked { jti } });
        let Some(live) = self.live(&client.ask().token, exchange.now) else { return done(None) };
        if live.client_id != client.client().client_id {
            let text = "the token was issued to another client";
            return Err(Refusal::new(ErrorCode::UnauthorizedClient, Reason::ForeignToken, text));
        }
        let revoked = RevokedToken {
            resource_server: live.server.id.clone(),
            jti: live.claims.jti.clone(),
            hash: TokenHash::of(&live.text),
            issued_at: live.claims.iat,
            expires_at: live.claims.remembered_until(),
        };
        let kept = revocations.revoke(&live.client_id, revoked, exchange.now);
        let refused = |_| Refusal::not_now(Reason::NotKept, RETRY_AFTER, "the revocation could not be kept; nothing has changed");
        kept.map_err(refused)?;
        done(Some(live.claims.jti))
    }
}

/// Refuses a token that would be void as soon as it is issued: its `iat` has whole seconds, and the client's tokens were revoked up to the end of
/// this one, or further if the clock was set back.
pub(super) fn check_not_revoked(
    revocations: Option<&dyn RevocationStore>,
    client_id: &ClientId,
    now: UnixTime,
    witness: &mut impl Witness,
) -> Result<(), Refusal> {
    let revocations = revocations.and_then(|store| store.revocations(client_id));
    let Some(bound) = revocations.and_then(|revocations| revocations.issued_before) else { return Ok(()) };
    let records = || vec![Record::client(client_id, "tokens_revoked_before")];
    let found = || format!("every token from before {bound} is void");
    if bound <= now {
        witness.note(|| Step::passed(Check::Revocation, records(), found()));
        return Ok(());
    }
    witness.note(|| Step::refused(Check::Revocation, Reason::TokensRevoked, records(), format!("{}, and it is {now}", found())));
    let wait = bound.as_secs().saturating_sub(now.as_secs());
    Err(Refusal::tokens_revoked(u32::try_from(wait).unwrap_or(u32::MAX)))
}
