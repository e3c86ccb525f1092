//! Token requests (RFC 6749 section 4.4.2).

use serde_cbor::Value as Structure;

use super::super::{ErrorCode, Format, GrantType, Operation, Param, Reason, Refusal, ScopeSet};
use super::{Ask, ClientRequest, Params, Value, invalid};

/// Bytes of `audience`.
const MAX_AUDIENCE: usize = 255;

/// A well-formed token request.
pub type TokenRequest = ClientRequest<TokenAsk>;

/// What a token request asks for.
#[derive(Debug)]
pub struct TokenAsk {
    scope: Option<ScopeSet>,
    audience: Option<Box<str>>,
}

impl TokenAsk {
    /// The scopes asked for; `None` asks for the defaults.
    #[must_use]
    pub fn scope(&self) -> Option<&ScopeSet> {
        self.scope.as_ref()
    }

    /// The audience asked for.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }
}

impl Ask for TokenAsk {
    const OPERATION: Operation = Operation::Token;

    /// # Errors
    /// `unsupported_grant_type`, `invalid_scope` for a scope that breaks its syntax, `unsupported_pop_key` for a wish for proof of possession.
    fn read(params: &Params) -> Result<Self, Refusal> {
        grant_type(params)?;
        let audience = match params.text(Param::Audience)? {
            Some(audience) if audience.is_empty() || audience.len() > MAX_AUDIENCE => {
                return Err(invalid(Reason::InvalidParameter, Param::Audience, "must be 1 to 255 bytes"));
            }
            audience => audience.map(Box::from),
        };
        if params.structure(Param::ReqCnf)?.is_some() {
            let text = "proof-of-possession tokens are not issued here";
            return Err(Refusal::new(ErrorCode::UnsupportedPopKey, Reason::UnsupportedPopKey, text));
        }
        Ok(Self { scope: scope(params)?, audience })
    }

    fn bound(params: &Params) -> Vec<(Param, Structure)> {
        // Always: in CBOR it may be left out.
        let grant_type = (Param::GrantType, Structure::Integer(GrantType::ClientCredentials.number().into()));
        let texts = [Param::Audience, Param::Scope].into_iter().filter_map(|param| params.bound_text(param));
        texts.chain([grant_type]).collect()
    }
}

fn grant_type(params: &Params) -> Result<(), Refusal> {
    let grant_type = match (params.format, params.get(Param::GrantType)) {
        // RFC 9200 section 5.8.1: client credentials is the default.
        (Format::Cbor, None) => Some(GrantType::ClientCredentials),
        (Format::Json, None) => return Err(invalid(Reason::MissingParameter, Param::GrantType, "is required")),
        (Format::Json, Some(Value::Text(name))) => GrantType::from_name(name),
        (Format::Cbor, Some(Value::Integer(number))) => GrantType::from_number(*number),
        (Format::Json, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::GrantType, "must be a text string")),
        (Format::Cbor, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::GrantType, "must be an integer")),
    };
    if grant_type == Some(GrantType::ClientCredentials) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType, "the grant type served is client_credentials"))
}

fn scope(params: &Params) -> Result<Option<ScopeSet>, Refusal> {
    let Some(text) = params.text(Param::Scope)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Refusal::new(ErrorCode::InvalidScope, Reason::InvalidParameter, "scope: must be scope-tokens separated by single spaces")
    })
}
