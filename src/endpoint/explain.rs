//! A token request, rehearsed: decided by the very functions that serve one, but with nobody authenticated, nothing signed and nothing used up.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::revoke::check_not_revoked;
use super::token::{counts_from_first_sight, lifetimes_by};
use crate::clients::{AuthMethod, Channel, ClientStore, rehearse};
use crate::clock::{Standing, UnixTime};
use crate::jose::{Algorithm, KeyType};
use crate::oauth::{Check, ClientId, Record, RecordKind, Refusal, ScopeSet, Step, TokenAsk, Witness as _};
use crate::policy::{Entitlement, PolicyStore, TokenFormat, entitle};
use crate::token::{Draft, RevocationStore, TokenEntropy, draft, require_key};

/// A token request, without the credential.
#[derive(Debug, Clone)]
pub struct Rehearsal<'a> {
    /// Who would ask.
    pub client_id: &'a ClientId,
    /// The audience it would name.
    pub audience: Option<&'a str>,
    /// The scopes it would name.
    pub scope: Option<&'a ScopeSet>,
    /// By which method it would authenticate; `None` for the one it is registered for.
    pub method: Option<AuthMethod>,
    /// What the request would come through.
    pub channel: Channel,
    /// When.
    pub now: UnixTime,
}

/// What an [`Engine`](super::Engine) decides by.
pub struct Grounds<'a> {
    /// What an operator sets.
    pub settings: &'a Settings,
    /// The clients.
    pub clients: &'a dyn ClientStore,
    /// The policies.
    pub policies: &'a dyn PolicyStore,
    /// What is void; `None` where none is kept.
    pub revocations: Option<&'a dyn RevocationStore>,
    /// Whether assertions are accepted.
    pub has_assertions: bool,
    /// The clock's state; `None` if nobody tells, or for another time than now.
    pub clock: Option<Standing>,
    /// The id of the key of a kind that signs.
    pub active_key: &'a dyn Fn(KeyType) -> Option<String>,
}

/// What would come of a token request, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who would ask.
    pub client_id: ClientId,
    /// By which method.
    pub method: AuthMethod,
    /// When.
    pub at: UnixTime,
    /// Whether it would get a token.
    pub granted: bool,
    /// `ok`, or the reason code of the refusal, as in the log.
    pub reason: Cow<'static, str>,
    /// What the device would be told, if it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToldError>,
    /// How that was decided, as far as it went.
    pub steps: Vec<Step>,
    /// What the token would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ForeseenToken>,
}

/// The error that a device would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldError {
    /// The error code (RFC 6749 section 5.2).
    pub error: Cow<'static, str>,
    /// The text for people.
    pub error_description: String,
}

/// A token that was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeseenToken {
    /// Its form.
    pub format: TokenFormat,
    /// How its permissions are written.
    pub dialect: Cow<'static, str>,
    /// What it would be signed by.
    pub alg: Algorithm,
    /// Which key would sign it.
    pub kid: String,
    /// Seconds it would live.
    pub lifetime: u64,
    /// Its scopes.
    pub scope: ScopeSet,
    /// What these open: actions and topic filters, such as `pub telemetry/dev1/#`.
    pub permissions: Vec<String>,
    /// Its claims by their JSON names, but for `jti`, which is random.
    pub claims: serde_json::Value,
}

/// Tells what would come of a request. Changes nothing.
#[must_use]
pub fn explain(rehearsal: &Rehearsal<'_>, grounds: &Grounds<'_>) -> Explanation {
    let registered = || grounds.clients.client(rehearsal.client_id).map(|client| client.token_endpoint_auth_method);
    let method = rehearsal.method.or_else(registered).unwrap_or(AuthMethod::ClientSecretPost);
    let mut steps = Vec::new();
    let outcome = decide(rehearsal, method, grounds, &mut steps);
    let (token, refusal) = match outcome {
        Ok(token) => (Some(token), None),
        Err(refusal) => (None, Some(refusal)),
    };
    Explanation {
        client_id: rehearsal.client_id.clone(),
        method,
        at: rehearsal.now,
        granted: token.is_some(),
        reason: Cow::Borrowed(refusal.as_ref().map_or("ok", |refusal| refusal.reason().name())),
        error: refusal
            .map(|refusal| ToldError { error: Cow::Borrowed(refusal.code().name()), error_description: refusal.description().to_owned() }),
        steps,
        token,
    }
}

/// The way of a token request through the engine, step by step the same.
fn decide(rehearsal: &Rehearsal<'_>, method: AuthMethod, grounds: &Grounds<'_>, steps: &mut Vec<Step>) -> Result<ForeseenToken, Refusal> {
    let Rehearsal { client_id, now, .. } = *rehearsal;
    let ask = TokenAsk::new(rehearsal.scope.cloned(), rehearsal.audience).inspect_err(|refusal| {
        let records = vec![Record::new(RecordKind::Request, "audience")];
        steps.note(|| Step::refused(Check::Request, refusal.reason(), records, refusal.description()));
    })?;
    let client = rehearse(client_id, method, rehearsal.channel, grounds.clients, grounds.has_assertions, now, steps)?;
    let entitlement = entitle(&client, &ask, &grounds.policies.policy(), steps)?;
    check_not_revoked(grounds.revocations, client_id, now, steps)?;
    let settings = grounds.settings;
    let lifetimes = lifetimes_by(grounds.clock, settings.lifetimes, steps)?;
    // Which number it would be nobody knows.
    let sequence = grounds.clock.is_some_and(counts_from_first_sight).then_some(0);
    let draft = draft(&entitlement, None, &settings.issuer, lifetimes, now, TokenEntropy::default(), sequence, steps);
    let server = entitlement.resource_server();
    let key = (grounds.active_key)(server.alg.key_type());
    let kid = require_key(server, key.as_deref(), |kid| kid, steps)?;
    foresee(&entitlement, &draft, kid)
}

fn foresee(entitlement: &Entitlement, draft: &Draft, kid: &str) -> Result<ForeseenToken, Refusal> {
    let mut claims = serde_json::to_value(&draft.claims).map_err(|_| Refusal::internal("the claims cannot be shown"))?;
    if let Some(members) = claims.as_object_mut() {
        members.remove("jti");
    }
    let server = entitlement.resource_server();
    Ok(ForeseenToken {
        format: server.token_format,
        dialect: Cow::Borrowed(server.dialect.as_str()),
        alg: server.alg,
        kid: kid.to_owned(),
        lifetime: draft.lifetime,
        scope: entitlement.scope().clone(),
        permissions: entitlement.permissions().actions().map(|(action, filter)| format!("{} {filter}", action.as_str())).collect(),
        claims,
    })
}
