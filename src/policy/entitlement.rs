//! What a client may have for what it asks: all of it, or nothing (protocol section 4). Decided the same whether it is to be given or only told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{PermissionClaims, Permissions, Policy, ResourceServer, Scope};
use crate::clients::Client;
use crate::clock::UnixTime;
use crate::oauth::{Check, ClientId, ErrorCode, Reason, Record, RecordKind, Refusal, ScopeSet, ScopeToken, Step, TokenAsk, Witness};

/// What a client may have for one request. Gives nothing by itself: a [`Grant`](super::Grant) does.
#[must_use]
#[derive(Debug)]
pub struct Entitlement {
    client_id: ClientId,
    resource_server: Arc<ResourceServer>,
    scope: ScopeSet,
    permissions: Permissions,
    scope_was_asked_for: bool,
    max_token_lifetime: Option<u32>,
    client_expires_at: Option<UnixTime>,
}

impl Entitlement {
    /// Who.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// For use where.
    #[must_use]
    pub fn resource_server(&self) -> &ResourceServer {
        &self.resource_server
    }

    /// Which scopes.
    #[must_use]
    pub fn scope(&self) -> &ScopeSet {
        &self.scope
    }

    /// What they open, for this client.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The permissions, as the resource server wants them written.
    #[must_use]
    pub fn claims(&self) -> PermissionClaims {
        self.resource_server.dialect.encode(self.resource_server.token_format, &self.client_id, &self.scope, &self.permissions)
    }

    /// What bounds the life of its token, from `now` on in seconds. No token outlives the client's own period of validity.
    pub fn limits(&self, now: UnixTime) -> impl Iterator<Item = (Limit, u64)> {
        let end = self.client_expires_at.map(|end| end.as_secs().saturating_sub(now.as_secs()));
        let limits = [
            (Limit::ResourceServer, self.resource_server.max_token_lifetime.map(u64::from)),
            (Limit::Client, self.max_token_lifetime.map(u64::from)),
            (Limit::ClientExpiry, end),
        ];
        limits.into_iter().filter_map(|(limit, seconds)| seconds.map(|seconds| (limit, seconds)))
    }

    /// The record that holds a limit.
    #[must_use]
    pub fn record_of(&self, limit: Limit) -> Record {
        match limit {
            Limit::ResourceServer => server_record(&self.resource_server).member("max_token_lifetime"),
            Limit::Client => Record::client(&self.client_id, "max_token_lifetime"),
            Limit::ClientExpiry => Record::client(&self.client_id, "expires_at"),
        }
    }

    /// The scopes, if the answer must name them because the client did not (RFC 6749 section 5.1).
    #[must_use]
    pub fn scope_to_announce(&self) -> Option<&ScopeSet> {
        (!self.scope_was_asked_for).then_some(&self.scope)
    }
}

/// What bounds the life of a token beside the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The longest life of the resource server.
    ResourceServer,
    /// The longest life of the client.
    Client,
    /// The end of the client's period of validity.
    ClientExpiry,
}

/// Decides what a client may have.
///
/// # Errors
/// `invalid_scope` if any scope asked for is unknown or not granted at the audience, or names an attribute that the client lacks; `invalid_target` if
/// the audience is unknown, opens nothing to the client, or is not named and cannot be told.
pub fn entitle<W: Witness>(client: &Client, request: &TokenAsk, policy: &Policy, witness: &mut W) -> Result<Entitlement, Refusal> {
    let view = View { client, policy };
    let granted = policy.granted(client);
    let asked = request.scope().map(|names| {
        names.iter().map(|name| granted.get(name).copied().ok_or(name)).collect::<Result<Vec<_>, _>>().map_err(|name| {
            witness.note(|| view.not_granted(name));
            not_granted()
        })
    });
    let asked = asked.transpose()?;
    let defaults: Vec<&Arc<Scope>> = client.default_scope.iter().filter_map(|name| granted.get(name).copied()).collect();
    let all: Vec<&Arc<Scope>> = granted.into_values().collect();
    if let Some(asked) = &asked {
        witness.note(|| {
            let holders = asked.iter().flat_map(|scope| view.holders(&scope.name)).collect();
            Step::passed(Check::Scope, holders, format!("holds {}", names(asked)))
        });
    }
    let resource_server = match request.audience() {
        Some(audience) => {
            let named = policy.resource_server_for(audience);
            if named.is_none() {
                let records = || vec![Record::new(RecordKind::Request, "audience")];
                let finding = || format!("no resource server has the audience or id {audience}");
                witness.note(|| Step::refused(Check::Audience, Reason::AudienceNotAllowed, records(), finding()));
            }
            named.inspect(|server| {
                witness.note(|| Step::passed(Check::Audience, vec![server_record(server)], "is named by the request"));
            })
        }
        None => {
            let telling = asked.as_ref().unwrap_or(if defaults.is_empty() { &all } else { &defaults });
            let candidates: BTreeSet<_> = telling.iter().map(|scope| &scope.resource_server).collect();
            let source = || view.source(asked.is_some(), !defaults.is_empty());
            match candidates.len() {
                1 => candidates.first().and_then(|id| policy.resource_servers.get(*id)).inspect(|server| {
                    let records = || vec![server_record(server), source()];
                    witness.note(|| Step::passed(Check::Audience, records(), "is told by the scopes, which belong to no other"));
                }),
                count => {
                    witness.note(|| {
                        let servers = candidates.iter().map(|id| Record::new(RecordKind::ResourceServer, id.to_string()));
                        let finding = format!("the request names none, and the scopes belong to {count}");
                        Step::refused(Check::Audience, Reason::AmbiguousAudience, servers.chain([source()]).collect(), finding)
                    });
                    let text = "audience: is required, as the scopes do not tell exactly one";
                    return Err(Refusal::new(ErrorCode::InvalidTarget, Reason::AmbiguousAudience, text));
                }
            }
        }
    };
    let refuse_audience = || {
        let text = "audience: must be one at which the client has a scope";
        Refusal::new(ErrorCode::InvalidTarget, Reason::AudienceNotAllowed, text)
    };
    let resource_server = resource_server.ok_or_else(refuse_audience)?;
    let here = |scopes: &[&Arc<Scope>]| -> Vec<Arc<Scope>> {
        scopes.iter().filter(|scope| scope.resource_server == resource_server.id).map(|scope| Arc::clone(scope)).collect()
    };
    let (scopes, are_defaults) = match &asked {
        Some(asked) => {
            let here = here(asked);
            if here.len() != asked.len() {
                witness.note(|| view.elsewhere(asked, resource_server));
                return Err(not_granted());
            }
            (here, false)
        }
        None => match here(&defaults) {
            none if none.is_empty() => (here(&all), false),
            here => (here, true),
        },
    };
    if scopes.is_empty() {
        witness.note(|| view.nothing_there(resource_server));
        return Err(refuse_audience());
    }
    witness.note(|| {
        let (records, finding) = match (&asked, are_defaults) {
            (Some(_), _) => (vec![Record::new(RecordKind::Request, "scope")], "all that the request asks for"),
            (None, true) => (vec![Record::client(&client.client_id, "default_scope")], "the client's default scopes there"),
            (None, false) => (scopes.iter().flat_map(|scope| view.holders(&scope.name)).collect(), "all that the client holds there"),
        };
        Step::passed(Check::Grant, records, format!("{finding}: {}", names(&scopes)))
    });
    let permissions = Permissions::compile(scopes.iter().flat_map(|scope| &scope.permissions), client).map_err(|missing| {
        witness.note(|| view.missing_attribute(&scopes, &missing));
        let text = "scope: needs an attribute that the client does not have";
        Refusal::new(ErrorCode::InvalidScope, Reason::MissingAttribute, text)
    })?;
    witness.note(|| {
        let records =
            scopes.iter().filter(|scope| !scope.permissions.is_empty()).map(|scope| scope_record(&scope.name).member("permissions"));
        Step::passed(Check::Permissions, records.collect(), format!("{} topic permissions", permissions.actions().count()))
    });
    Ok(Entitlement {
        permissions,
        client_id: client.client_id.clone(),
        resource_server: resource_server.clone(),
        scope: scopes.iter().map(|scope| scope.name.clone()).collect(),
        scope_was_asked_for: asked.is_some(),
        max_token_lifetime: client.max_token_lifetime,
        client_expires_at: client.expires_at,
    })
}

fn not_granted() -> Refusal {
    let text = "scope: must name only scopes that are granted to the client at the audience";
    Refusal::new(ErrorCode::InvalidScope, Reason::ScopeNotGranted, text)
}

fn server_record(server: &ResourceServer) -> Record {
    Record::new(RecordKind::ResourceServer, server.id.to_string())
}

fn scope_record(name: &ScopeToken) -> Record {
    Record::new(RecordKind::Scope, name.to_string())
}

fn names<S: AsRef<Scope>>(scopes: &[S]) -> String {
    let names: ScopeSet = scopes.iter().map(|scope| scope.as_ref().name.clone()).collect();
    names.to_string()
}

/// Tells which records a decision comes from. Decides nothing.
struct View<'a> {
    client: &'a Client,
    policy: &'a Policy,
}

impl View<'_> {
    fn client(&self, member: &'static str) -> Record {
        Record::client(&self.client.client_id, member)
    }

    /// What gives the client a scope.
    fn holders(&self, name: &ScopeToken) -> Vec<Record> {
        let direct = self.client.scope.contains(name.as_str()).then(|| self.client("scope"));
        let roles = self.client.roles.iter().filter_map(|role| self.policy.roles.get(role));
        let by_role =
            roles.filter(|role| role.scope.contains(name.as_str())).map(|role| Record::new(RecordKind::Role, role.name.to_string()));
        direct.into_iter().chain(by_role).collect()
    }

    /// The scopes that tell an audience which the request does not name.
    fn source(&self, asked: bool, has_defaults: bool) -> Record {
        match (asked, has_defaults) {
            (true, _) => Record::new(RecordKind::Request, "scope"),
            (false, true) => self.client("default_scope"),
            (false, false) => self.client("scope"),
        }
    }

    /// Why a scope that was asked for is not among those granted.
    fn not_granted(&self, name: &ScopeToken) -> Step {
        let held_by = self.holders(name);
        let (records, finding) = match self.policy.scopes.get(name) {
            None => (vec![Record::new(RecordKind::Request, "scope")], format!("{name} is not defined")),
            Some(_) if held_by.is_empty() => {
                let roles = self.client.roles.iter().map(|role| Record::new(RecordKind::Role, role.to_string()));
                (std::iter::once(self.client("scope")).chain(roles).collect(), format!("{name} is granted neither directly nor by a role"))
            }
            Some(scope) => {
                let finding = format!("{name} belongs to the resource server {}, which the client may not use", scope.resource_server);
                (vec![self.client("audiences"), scope_record(name).member("resource_server")], finding)
            }
        };
        Step::refused(Check::Scope, Reason::ScopeNotGranted, records, finding)
    }

    /// Scopes that were asked for and belong to another resource server than the one that was named.
    fn elsewhere(&self, asked: &[&Arc<Scope>], server: &ResourceServer) -> Step {
        let others: Vec<_> = asked.iter().filter(|scope| scope.resource_server != server.id).collect();
        let records = others.iter().map(|scope| scope_record(&scope.name).member("resource_server")).collect();
        let told: Vec<String> = others.iter().map(|scope| format!("{} belongs to {}", scope.name, scope.resource_server)).collect();
        Step::refused(Check::Grant, Reason::ScopeNotGranted, records, format!("{}, not to {}", told.join(", "), server.id))
    }

    /// Why a client has no scope at a resource server.
    fn nothing_there(&self, server: &ResourceServer) -> Step {
        if !self.client.audiences.is_empty() && !self.client.audiences.contains(&server.id) {
            let finding = format!("the client may not use {}", server.id);
            return Step::refused(Check::Grant, Reason::AudienceNotAllowed, vec![self.client("audiences")], finding);
        }
        let roles = self.client.roles.iter().map(|role| Record::new(RecordKind::Role, role.to_string()));
        let records = std::iter::once(self.client("scope")).chain(roles).collect();
        Step::refused(Check::Grant, Reason::AudienceNotAllowed, records, format!("the client has no scope at {}", server.id))
    }

    fn missing_attribute(&self, scopes: &[Arc<Scope>], missing: &super::MissingAttribute) -> Step {
        let at_fault = scopes.iter().filter(|scope| Permissions::compile(&scope.permissions, self.client).is_err());
        let records = at_fault.map(|scope| scope_record(&scope.name).member("permissions")).chain([self.client("attributes")]).collect();
        Step::refused(Check::Permissions, Reason::MissingAttribute, records, missing.to_string())
    }
}
