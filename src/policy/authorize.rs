//! From an authenticated client to a grant: all that was asked for, or nothing (protocol section 4).

use super::Policy;
use super::entitlement::{Entitlement, entitle};
use crate::clients::AuthenticatedClient;
use crate::jose::{Jwk, cose};
use crate::oauth::{ErrorCode, Reason, Refusal, ReqCnf, TokenAsk, Unwitnessed};

/// What a client is to get. Only [`authorize`] makes one.
#[must_use]
#[derive(Debug)]
pub struct Grant {
    entitlement: Entitlement,
    confirmation: Option<Jwk>,
}

impl Grant {
    /// What the client may have.
    pub fn entitlement(&self) -> &Entitlement {
        &self.entitlement
    }

    /// The key that the token is to be bound to.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Jwk> {
        self.confirmation.as_ref()
    }
}

/// Decides what the client gets.
///
/// # Errors
/// As [`entitle`], and `unsupported_pop_key` if the token is to be bound to another key than the one that signed the assertion.
pub fn authorize(authenticated: AuthenticatedClient<TokenAsk>, policy: &Policy) -> Result<Grant, Refusal> {
    let request = authenticated.ask();
    let confirmation = request.req_cnf().map(|req_cnf| confirm(req_cnf, &authenticated)).transpose()?;
    let entitlement = entitle(authenticated.client(), request, policy, &mut Unwitnessed)?;
    Ok(Grant { entitlement, confirmation })
}

/// The key that the client wants its token bound to: the very one that signed its assertion, which shows that it has the private half.
fn confirm(req_cnf: &ReqCnf, authenticated: &AuthenticatedClient<TokenAsk>) -> Result<Jwk, Refusal> {
    let unsupported = |text: &'static str| Refusal::new(ErrorCode::UnsupportedPopKey, Reason::UnsupportedPopKey, text);
    let signed_by = authenticated.key().ok_or_else(|| unsupported("req_cnf: needs an assertion signed by that key"))?;
    let unusable = || unsupported("req_cnf: must be a sound Ed25519 or P-256 public key");
    let is_it = match req_cnf {
        ReqCnf::Jwk(jwk) => {
            let key: Jwk = serde_cbor::value::from_value(jwk.clone()).map_err(|_| unusable())?;
            key.thumbprint() == signed_by.thumbprint()
        }
        ReqCnf::CoseKey(key) => cose::jwk(key).map_err(|_| unusable())?.thumbprint() == signed_by.thumbprint(),
        ReqCnf::Kid(kid) => kid == signed_by.kid(),
    };
    if is_it { Ok(signed_by.clone()) } else { Err(unsupported("req_cnf: must be the key that signed the assertion")) }
}
