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
    req_cnf: Option<ReqCnf>,
    jwe_key: Option<Structure>,
}

/// The key that a token is to be bound to (RFC 9201 section 3.1): one confirmation method of RFC 7800 or RFC 8747.
#[derive(Debug, Clone, PartialEq)]
pub enum ReqCnf {
    /// A JWK, as it stands.
    Jwk(Structure),
    /// A COSE_Key, as it stands.
    CoseKey(Structure),
    /// The id of a registered key.
    Kid(String),
}

impl TokenAsk {
    /// A request for these scopes and that audience, bound to no key.
    ///
    /// # Errors
    /// `invalid_request` for an audience that is empty or too long.
    pub fn new(scope: Option<ScopeSet>, audience: Option<&str>) -> Result<Self, Refusal> {
        if audience.is_some_and(|audience| audience.is_empty() || audience.len() > MAX_AUDIENCE) {
            return Err(invalid(Reason::InvalidParameter, Param::Audience, "must be 1 to 255 bytes"));
        }
        Ok(Self { scope, audience: audience.map(Box::from), req_cnf: None, jwe_key: None })
    }

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

    /// The key that the token is to be bound to.
    #[must_use]
    pub fn req_cnf(&self) -> Option<&ReqCnf> {
        self.req_cnf.as_ref()
    }

    /// The key by which the token is to be sealed, as it stands: a JWK, in CBOR a COSE_Key.
    #[must_use]
    pub fn jwe_key(&self) -> Option<&Structure> {
        self.jwe_key.as_ref()
    }
}

/// Confirmation methods: `jwk` and `kid` (RFC 7800 sections 3.2 and 3.4), COSE_Key and kid (RFC 8747 section 3.1).
mod method {
    pub(super) const JWK: &str = "jwk";
    pub(super) const KID: &str = "kid";
    pub(super) const COSE_KEY: i128 = 1;
    pub(super) const COSE_KID: i128 = 3;
}

fn req_cnf(params: &Params) -> Result<Option<ReqCnf>, Refusal> {
    let Some(Structure::Map(methods)) = params.structure(Param::ReqCnf)? else { return Ok(None) };
    let invalid = |rule: &str| Err(invalid(Reason::InvalidParameter, Param::ReqCnf, rule));
    let mut methods = methods.iter();
    let (Some((name, value)), None) = (methods.next(), methods.next()) else {
        return invalid("must have one confirmation method");
    };
    match (params.format, name, value) {
        (Format::Json, Structure::Text(name), Structure::Map(_)) if name == method::JWK => Ok(Some(ReqCnf::Jwk(value.clone()))),
        (Format::Json, Structure::Text(name), Structure::Text(kid)) if name == method::KID => Ok(Some(ReqCnf::Kid(kid.clone()))),
        (Format::Cbor, Structure::Integer(method::COSE_KEY), Structure::Map(_)) => Ok(Some(ReqCnf::CoseKey(value.clone()))),
        (Format::Cbor, Structure::Integer(method::COSE_KID), Structure::Bytes(kid)) => match String::from_utf8(kid.clone()) {
            Ok(kid) => Ok(Some(ReqCnf::Kid(kid))),
            Err(_) => invalid("must have a kid of text"),
        },
        (Format::Json, ..) => invalid("must have jwk, an object, or kid, a text"),
        (Format::Cbor, ..) => invalid("must have 1, a COSE_Key, or 3, a key id"),
    }
}

impl Ask for TokenAsk {
    const OPERATION: Operation = Operation::Token;

    /// # Errors
    /// `unsupported_grant_type`, `invalid_scope` for a scope that breaks its syntax.
    fn read(params: &Params) -> Result<Self, Refusal> {
        grant_type(params)?;
        let ask = Self::new(None, params.text(Param::Audience)?)?;
        Ok(Self { scope: scope(params)?, req_cnf: req_cnf(params)?, jwe_key: params.structure(Param::JweKey)?.cloned(), ..ask })
    }

    fn bound(params: &Params) -> Vec<(Param, Structure)> {
        // Always: in CBOR it may be left out.
        let grant_type = (Param::GrantType, Structure::Integer(GrantType::ClientCredentials.number().into()));
        let texts = [Param::Audience, Param::Scope].into_iter().filter_map(|param| params.bound_text(param));
        texts.chain([grant_type]).chain(params.bound_structure(Param::ReqCnf)).chain(params.bound_structure(Param::JweKey)).collect()
    }

    /// Otherwise whoever carries the request could put a key of their own there.
    fn must_be_bound(&self) -> bool {
        self.jwe_key.is_some()
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
