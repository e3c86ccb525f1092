//! The introspection operation (RFC 7662, RFC 9200 section 5.9).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value;

use super::live::LiveToken;
use super::{Decision, Done, Engine, Exchange};
use crate::clients::AuthenticatedClient;
use crate::jose::cose;
use crate::oauth::{ErrorCode, Format, IntrospectAsk, Introspection, Reason, Refusal, Response, TokenType};
use crate::policy::Dialect;
use crate::token::Confirmation;

/// The confirmation method COSE_Key (RFC 8747 section 3.1).
const COSE_KEY: i128 = 1;

impl Engine {
    /// Tells a resource server of a token for it. Whatever is not a live one is not told apart.
    pub(super) fn introspect(&self, client: AuthenticatedClient<IntrospectAsk>, exchange: &Exchange<'_>) -> Result<Done, Refusal> {
        let servers = &client.client().introspects;
        if servers.is_empty() {
            let text = "the client is not registered for a resource server";
            return Err(Refusal::new(ErrorCode::UnauthorizedClient, Reason::NotAResourceServer, text));
        }
        let live = self.live(&client.ask().token, exchange.now).filter(|live| servers.contains(&live.server.id));
        let told = live.as_ref().map(|live| tell(live, exchange.request.format));
        let decision = Decision::Introspected { jti: live.as_ref().map(|live| live.claims.jti.clone()) };
        Ok(Done { payload: exchange.encode(Response::Introspection(told)), decision })
    }
}

fn tell(live: &LiveToken, format: Format) -> Introspection<'_> {
    let claims = &live.claims;
    // Permissions in a CWT are bytes, and so they stay in CBOR.
    let is_permissions = format == Format::Cbor && live.server.dialect == Dialect::Aif && !live.text.contains('.');
    let bytes = is_permissions.then(|| URL_SAFE_NO_PAD.decode(&claims.scope).ok()).flatten();
    Introspection {
        scope: bytes.map_or(Ok(claims.scope.as_str()), Err),
        client_id: live.client_id.as_str(),
        token_type: if claims.cnf.is_some() { TokenType::Pop } else { TokenType::Bearer },
        exp: claims.exi.is_none().then(|| claims.exp.as_secs()),
        iat: claims.iat.as_secs(),
        nbf: claims.exi.is_none().then(|| claims.nbf.as_secs()),
        sub: &claims.sub,
        aud: &claims.aud,
        iss: &claims.iss,
        jti: URL_SAFE_NO_PAD.decode(&claims.jti).unwrap_or_default(),
        cnf: claims.cnf.as_ref().and_then(|cnf| confirmation(cnf, format)),
    }
}

/// The member `cnf`: a JWK in JSON (RFC 7800), a COSE_Key in CBOR (RFC 8747).
fn confirmation(cnf: &Confirmation, format: Format) -> Option<Value> {
    match format {
        Format::Json => serde_cbor::value::to_value(cnf).ok(),
        Format::Cbor => Some(Value::Map(BTreeMap::from([(Value::Integer(COSE_KEY), cose::cose_key(&cnf.jwk))]))),
    }
}
