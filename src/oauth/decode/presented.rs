//! Requests about a token: introspection (RFC 7662 section 2.1) and revocation (RFC 7009 section 2.1), whose parameters are the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value as Structure;
use zeroize::Zeroizing;

use super::super::{ErrorCode, Format, Operation, Param, Reason, Refusal};
use super::{Ask, Params, invalid};

/// A token as somebody presents it: the characters of a JWT, or the bytes of a CWT. Nothing is known of it; it may be no token at all.
pub struct PresentedToken(Zeroizing<Vec<u8>>);

impl PresentedToken {
    /// Its bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    fn read(params: &Params) -> Result<Self, Refusal> {
        let missing = || invalid(Reason::MissingParameter, Param::Token, "is required");
        let bytes = params.opaque(Param::Token)?.ok_or_else(missing)?;
        // A JWT has dots, which base64url has not: what else is decoded in JSON is a CWT.
        let decoded = match params.format {
            Format::Json if !bytes.contains(&b'.') => URL_SAFE_NO_PAD.decode(bytes).ok(),
            _ => None,
        };
        Ok(Self(Zeroizing::new(decoded.unwrap_or_else(|| bytes.to_vec()))))
    }
}

/// Shows nothing: whoever has a token can use it.
impl std::fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresentedToken(redacted)")
    }
}

/// What an introspection asks for.
#[derive(Debug)]
pub struct IntrospectAsk {
    /// The token.
    pub token: PresentedToken,
}

/// What a revocation asks for.
#[derive(Debug)]
pub struct RevokeAsk {
    /// The token.
    pub token: PresentedToken,
}

/// The token, and the hint if there is one: the same value whether JSON or CBOR carries it.
fn bound(params: &Params) -> Vec<(Param, Structure)> {
    let token = PresentedToken::read(params).ok().map(|token| (Param::Token, Structure::Bytes(token.expose().to_vec())));
    token.into_iter().chain(params.bound_text(Param::TokenTypeHint)).collect()
}

impl Ask for IntrospectAsk {
    const OPERATION: Operation = Operation::Introspect;

    /// A hint only says where to look first (RFC 7662 section 2.1), and there is one place.
    fn read(params: &Params) -> Result<Self, Refusal> {
        params.text(Param::TokenTypeHint)?;
        Ok(Self { token: PresentedToken::read(params)? })
    }

    fn bound(params: &Params) -> Vec<(Param, Structure)> {
        bound(params)
    }
}

impl Ask for RevokeAsk {
    const OPERATION: Operation = Operation::Revoke;

    /// # Errors
    /// `unsupported_token_type` for a refresh token (RFC 7009 section 2.2.1): none is issued here. An unknown hint is ignored.
    fn read(params: &Params) -> Result<Self, Refusal> {
        if params.text(Param::TokenTypeHint)? == Some(Param::RefreshToken.name()) {
            let text = "token_type_hint: refresh tokens are not issued here";
            return Err(Refusal::new(ErrorCode::UnsupportedTokenType, Reason::UnsupportedTokenType, text));
        }
        Ok(Self { token: PresentedToken::read(params)? })
    }

    fn bound(params: &Params) -> Vec<(Param, Structure)> {
        bound(params)
    }
}
