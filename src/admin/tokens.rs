//! Commands that make tokens void before they expire.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::administrator::{MAX_TEXT, check_text, invalid};
use super::{AdminError, Administrator, Answer, Caller, Command};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, ResourceServerId};
use crate::policy::PolicyStore as _;
use crate::registry::RegistryError;
use crate::token::{Claims, LONGEST_LIFE, RevokedToken, TokenHash};

/// Bytes of the id of a token of ours: 16, or a resource server's id and a sequence number of 8.
const JTI: std::ops::RangeInclusive<usize> = 9..=72;

/// What tells a token from all others, and is of no use to whoever would use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenReference {
    /// Its issuer.
    pub iss: String,
    /// Its audience.
    pub aud: String,
    /// To whom it was issued.
    pub client_id: ClientId,
    /// Its id.
    pub jti: String,
    /// Its hash after RFC 9770.
    pub hash: TokenHash,
    /// When it was issued.
    pub iat: UnixTime,
    /// When it expires.
    pub exp: UnixTime,
}

impl TokenReference {
    /// Of a token as JSON carries it, with these claims; `None` if a claim is none of ours.
    #[must_use]
    pub fn new(token: &str, claims: &Claims) -> Option<Self> {
        Some(Self {
            iss: claims.iss.clone(),
            aud: claims.aud.clone(),
            client_id: claims.client_id.parse().ok()?,
            jti: claims.jti.clone(),
            hash: TokenHash::of(token),
            iat: claims.iat,
            exp: claims.remembered_until(),
        })
    }
}

/// A token that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedTokenDocument {
    /// To whom it was issued.
    pub client_id: ClientId,
    /// Where it would have been taken.
    pub resource_server: ResourceServerId,
    /// Its id.
    pub jti: String,
    /// Its hash after RFC 9770.
    pub hash: TokenHash,
    /// When it would have expired.
    pub exp: UnixTime,
}

/// Tokens of a client that were revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTokensDocument {
    /// The client.
    pub client_id: ClientId,
    /// Every token issued before is void.
    pub issued_before: UnixTime,
}

impl Administrator {
    /// Executes the commands that revoke tokens.
    pub(super) fn revoke(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        let now = self.registry.now();
        match command {
            Command::ClientRevokeTokens { client_id, before } => self.change("client revoke-tokens", client_id.as_str(), caller, || {
                let revoked = self.registry.revoke_tokens(&client_id, before, now)?;
                let issued_before = revoked.issued_before.unwrap_or_default();
                Ok(Answer::ClientTokensRevoked(ClientTokensDocument { client_id: client_id.clone(), issued_before }))
            }),
            Command::TokenRevoke(token) => {
                let client_id = token.client_id.clone();
                self.change("token revoke", client_id.as_str(), caller, || self.revoke_token(token, now))
            }
            _ => Err(invalid("no command that revokes tokens")),
        }
    }

    fn revoke_token(&self, token: TokenReference, now: UnixTime) -> Result<Answer, AdminError> {
        check_text("the issuer", &token.iss, MAX_TEXT)?;
        check_text("the audience", &token.aud, MAX_TEXT)?;
        let issuer = self.issuer();
        if token.iss != issuer {
            return Err(invalid(format!("the token is of another issuer, {}, and this gateway is {issuer}", token.iss)));
        }
        let is_id = URL_SAFE_NO_PAD.decode(&token.jti).is_ok_and(|bytes| JTI.contains(&bytes.len()));
        if !is_id || token.exp.as_secs() > token.iat.saturating_add(LONGEST_LIFE.into()).as_secs() {
            return Err(invalid("the token is none that this gateway issues"));
        }
        if token.iat > now {
            return Err(invalid(format!("the token was issued at {}, a time that is still to come: compare the clocks", token.iat)));
        }
        if token.exp <= now {
            return Err(invalid(format!("the token has expired at {}: there is nothing to revoke", token.exp)));
        }
        let policy = self.registry.policy();
        let server = policy.resource_servers.values().find(|server| server.audience == token.aud);
        let server = server.ok_or_else(|| RegistryError::NotFound { kind: "resource server", id: token.aud.clone() })?;
        let revoked = RevokedToken {
            resource_server: server.id.clone(),
            jti: token.jti.clone(),
            hash: token.hash,
            issued_at: token.iat,
            expires_at: token.exp,
        };
        self.registry.revoke_token(&token.client_id, revoked, now)?;
        let TokenReference { client_id, jti, hash, exp, .. } = token;
        Ok(Answer::TokenRevoked(RevokedTokenDocument { client_id, resource_server: server.id.clone(), jti, hash, exp }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::administrator::tests::bench;
    use super::super::{AdminErrorCode, NewResourceServer};
    use super::*;

    fn reference(now: UnixTime) -> TokenReference {
        TokenReference {
            iss: "https://as.example".into(),
            aud: "urn:rs".into(),
            client_id: "dev1".parse().unwrap(),
            jti: "AwMDAwMDAwMDAwMDAwMDAw".into(),
            hash: TokenHash::of("abc"),
            iat: now,
            exp: now.saturating_add(300),
        }
    }

    #[test]
    fn deny_what_is_no_live_token_of_this_gateway() {
        let bench = bench();
        let now = UnixTime::from(SystemTime::now());
        let issuer = bench.administrator.issuer();
        let good = TokenReference { iss: issuer, ..reference(now) };
        let revoke = |token: &TokenReference| bench.administrator.execute(Command::TokenRevoke(token.clone()));
        let unknown = revoke(&good).unwrap_err();
        assert_eq!((unknown.code, unknown.message.as_str()), (AdminErrorCode::NotFound, "there is no resource server urn:rs"));
        let server = NewResourceServer::new("rs".parse().unwrap(), "urn:rs".into());
        bench.administrator.execute(Command::ResourceServerAdd(server)).unwrap();
        let past = UnixTime::from_secs(now.as_secs() - 300);
        for (token, told) in [
            (TokenReference { iss: "https://other.example".into(), ..good.clone() }, "of another issuer"),
            (TokenReference { jti: "x".into(), ..good.clone() }, "none that this gateway issues"),
            (TokenReference { jti: "AwMDAwMDAwMDAwMDAwMDAx".into(), ..good.clone() }, "none that this gateway issues"),
            (TokenReference { exp: now.saturating_add(86_401), ..good.clone() }, "none that this gateway issues"),
            (TokenReference { iat: past, exp: now, ..good.clone() }, "has expired"),
            (TokenReference { iat: now.saturating_add(60), exp: now.saturating_add(90), ..good.clone() }, "still to come"),
            (TokenReference { aud: "x".repeat(1_025), ..good.clone() }, "the audience must be at most"),
        ] {
            let error = revoke(&token).unwrap_err();
            assert_eq!(error.code, AdminErrorCode::InvalidArgument);
            assert!(error.message.contains(told), "{told}: {}", error.message);
        }
        let Answer::TokenRevoked(revoked) = revoke(&good).unwrap() else { panic!("not revoked") };
        assert_eq!((revoked.resource_server.as_str(), &revoked.jti), ("rs", &good.jti));
        assert!(revoke(&good).is_ok(), "again is as good");
    }
}
