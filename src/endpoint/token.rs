//! The token operation (RFC 6749 section 3.2).

use super::revoke::check_not_revoked;
use super::{Decision, Done, Engine, Exchange};
use crate::clients::AuthenticatedClient;
use crate::clock::{Confidence, Issuance, Standing};
use crate::oauth::{Check, Record, Refusal, Response, Step, TokenAsk, TokenResponse, Unwitnessed, Witness};
use crate::policy::authorize;
use crate::token::{Lifetimes, mint};

impl Engine {
    pub(super) fn token(&self, client: AuthenticatedClient<TokenAsk>, exchange: &Exchange<'_>) -> Result<Done, Refusal> {
        let sealing_key = self.sealing_key(&client, exchange.request.format)?;
        let grant = authorize(client, &self.policies.policy())?;
        check_not_revoked(self.revocations.as_deref(), exchange.request.client_id, exchange.now, &mut Unwitnessed)?;
        let settings = &self.settings;
        let (lifetimes, sequence) = self.lifetimes()?;
        let token = mint(grant, &settings.issuer, lifetimes, &self.keys(), exchange.now, exchange.entropy, sequence)?;
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

    /// The life of tokens issued now, and the sequence number of one that counts from its first sight.
    fn lifetimes(&self) -> Result<(Lifetimes, Option<u64>), Refusal> {
        let clock = self.clock();
        let lifetimes = lifetimes_by(clock, self.lifetimes_in_force(), &mut Unwitnessed)?;
        if !clock.is_some_and(counts_from_first_sight) {
            return Ok((lifetimes, None));
        }
        let sequence = self.sequence.as_ref().and_then(|source| source.next());
        sequence.map(|number| (lifetimes, Some(number))).ok_or_else(|| Refusal::clock_not_trusted(NO_SEQUENCE))
    }
}

/// Seconds after which there are sequence numbers again, if the disk is slow.
const NO_SEQUENCE: u32 = 5;

/// Whether tokens live from when they are first seen.
pub(super) fn counts_from_first_sight(clock: Standing) -> bool {
    matches!(clock.issuance, Issuance::FromFirstSight { .. })
}

/// The life of tokens while the clock stands so; `None` if nobody tells.
pub(super) fn lifetimes_by<W: Witness>(clock: Option<Standing>, lifetimes: Lifetimes, witness: &mut W) -> Result<Lifetimes, Refusal> {
    let Some(Standing { confidence, issuance }) = clock else { return Ok(lifetimes) };
    let setting = || {
        vec![Record::setting(match confidence {
            Confidence::Unset => "clock.unset",
            Confidence::Floor => "clock.floor",
            Confidence::Holdover => "clock.holdover",
            Confidence::Synced => return Vec::new(),
        })]
    };
    match issuance {
        // Nothing is decided by it then.
        Issuance::Issue => Ok(lifetimes),
        Issuance::Shorten { lifetime } => {
            let finding = || format!("is {}, with which tokens live for {lifetime} s at most", confidence.as_str());
            witness.note(|| Step::passed(Check::Clock, setting(), finding()));
            Ok(Lifetimes { maximum: lifetimes.maximum.min(lifetime), ..lifetimes })
        }
        Issuance::FromFirstSight { lifetime } => {
            let finding =
                || format!("is {}, with which tokens live for {lifetime} s at most from when they are first seen", confidence.as_str());
            witness.note(|| Step::passed(Check::Clock, setting(), finding()));
            Ok(Lifetimes { maximum: lifetimes.maximum.min(lifetime), ..lifetimes })
        }
        Issuance::Refuse { retry_after } => {
            let refusal = Refusal::clock_not_trusted(retry_after);
            let finding = || format!("is {}, with which no tokens are issued", confidence.as_str());
            witness.note(|| Step::refused(Check::Clock, refusal.reason(), setting(), finding()));
            Err(refusal)
        }
    }
}
