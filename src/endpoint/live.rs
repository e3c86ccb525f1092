//! Whether a token that somebody presents is a live one.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Engine;
use crate::clients::Status;
use crate::clock::UnixTime;
use crate::oauth::{ClientId, PresentedToken};
use crate::policy::ResourceServer;
use crate::token::{self, Claims};

/// A token that whoever it is for should take now.
pub(super) struct LiveToken {
    pub(super) claims: Claims,
    pub(super) client_id: ClientId,
    pub(super) server: Arc<ResourceServer>,
    /// As JSON carries it.
    pub(super) text: Zeroizing<String>,
}

impl Engine {
    /// The token, if a key on the JWK Set signed it for a resource server that is registered, its time is now, its client would get one, and it
    /// was not revoked.
    pub(super) fn live(&self, presented: &PresentedToken, now: UnixTime) -> Option<LiveToken> {
        let text = token::in_json(presented.expose())?;
        let claims = token::verify_signed(&text, &self.settings.issuer, None, &self.keys().jwk_set()).ok()?;
        // Nobody here knows when one that lives from its first sight was first seen.
        if claims.remembered_until() <= now || claims.nbf > now {
            return None;
        }
        let policy = self.policies.policy();
        let server = policy.resource_servers.values().find(|server| server.audience == claims.aud)?.clone();
        let client_id: ClientId = claims.client_id.parse().ok()?;
        let client = self.clients.client(&client_id)?;
        let is_served = client.status == Status::Active && client.is_valid_at(now);
        let revocations = self.revocations.as_ref().and_then(|store| store.revocations(&client_id));
        let is_void = revocations.is_some_and(|revocations| revocations.voids(&claims.jti, claims.iat));
        (is_served && !is_void).then(|| LiveToken { claims, client_id, server, text: Zeroizing::new(text.into_owned()) })
    }
}
