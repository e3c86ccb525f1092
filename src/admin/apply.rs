//! A change of many records: it comes in parts, is looked at as a whole, and is done as a whole.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::administrator::{MAX_NAME, MAX_TEXT, check_count, check_keys, check_resource_server, check_text, invalid};
use super::plan::{self, ChangeDocument, PlanDocument};
use super::{AdminError, AdminErrorCode, Administrator, Answer, Caller, Command};
use crate::clients::{Attributes, AuthMethod, Client, ClientKey, SecretDigest, Status};
use crate::clock::UnixTime;
use crate::enrolment::Template;
use crate::jose::Jwk;
use crate::oauth::{ClientId, ResourceServerId, RoleName, ScopeSet};
use crate::policy::{ResourceServer, Role, Scope};
use crate::registry::{Draft, DraftFault, Kind};

/// Records of one change, at most.
pub const MAX_APPLIED: usize = 250_000;
/// Bytes of all its frames, at most.
const MAX_BYTES: usize = 256 << 20;
/// Faults that are told; more are counted.
const MAX_FAULTS: usize = 200;

/// A part of a change of many records. They come on one connection, in this order; the end of the connection is the end of the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ApplyCommand {
    /// Begins it.
    Begin,
    /// How records are to be.
    Records(Vec<ApplyRecord>),
    /// That is all. What was not named of these kinds is to go.
    Plan {
        /// The kinds.
        prune: BTreeSet<Kind>,
    },
    /// A page of the difference.
    Changes {
        /// Where it begins: 0, or what the page before said.
        from: usize,
    },
    /// The digests of clients' new secrets, which never cross the socket themselves.
    Secrets(Vec<(ClientId, SecretDigest)>),
    /// Does it.
    Commit {
        /// The fingerprint of the plan that is meant.
        fingerprint: String,
    },
}

/// How one record is to be. Its dates are the registry's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ApplyRecord {
    /// A resource server.
    ResourceServer(ResourceServer),
    /// A scope.
    Scope(Scope),
    /// A role.
    Role(Role),
    /// An enrolment template.
    Template(Box<Template>),
    /// A client.
    Client(Box<ClientSpec>),
}

/// How a client is to be, by the names of RFC 7591 section 2. What is left out is empty, but for what is optional here: that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "they are those of a client")]
pub struct ClientSpec {
    pub client_id: ClientId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_name: String,
    /// Of a new client: by its keys if it has any, else by a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// Its public keys, and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Vec<Jwk>>,
    /// Of a new client: active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<RoleName>,
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub default_scope: ScopeSet,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<ResourceServerId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub introspects: BTreeSet<ResourceServerId>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_token_lifetime: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_request_binding: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub software_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub software_version: String,
}

/// The answer to an [`ApplyCommand`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyAnswer {
    /// It has begun.
    Begun,
    /// The records were taken.
    Taken {
        /// The clients among them that need a new secret.
        need_secrets: Vec<ClientId>,
    },
    /// What would be different.
    Planned(PlanDocument),
    /// A page of the difference.
    Changes {
        /// By kind and name.
        changes: Vec<ChangeDocument>,
        /// Where the next page begins, if there is one.
        next: Option<usize>,
    },
    /// The digests were taken.
    SecretsTaken,
    /// It is done, and on disk.
    Committed,
}

/// A change of many records under way. Nothing is different until it is committed.
pub struct ApplySession {
    administrator: Administrator,
    caller: Caller,
    draft: Draft,
    now: UnixTime,
    records: usize,
    bytes: usize,
    faults: Vec<DraftFault>,
    faulty: usize,
    need_secrets: usize,
    plan: Option<PlanDocument>,
    _permit: OwnedSemaphorePermit,
}

impl Administrator {
    /// Begins a change of many records on behalf of `caller`.
    ///
    /// # Errors
    /// If another one is under way.
    pub fn begin_apply(&self, caller: Caller) -> Result<ApplySession, AdminError> {
        let busy = |_| {
            AdminError::new(AdminErrorCode::Busy, "another `credgate apply` is under way")
                .with_advice("wait for its end, then run the command again")
        };
        let permit = self.applying.clone().try_acquire_owned().map_err(busy)?;
        // Whatever it changes carries its entry in the audit trail.
        let administrator = Self { registry: self.registry.acting(), ..self.clone() };
        let now = UnixTime::from(SystemTime::now());
        let draft = administrator.registry.draft(now);
        let (records, bytes, faults, faulty, need_secrets, plan) = Default::default();
        Ok(ApplySession { administrator, caller, draft, now, records, bytes, faults, faulty, need_secrets, plan, _permit: permit })
    }

    /// Executes a command that came on a connection with so many bytes. One that begins a change of many records fills `session`, and the others of
    /// it come there until it is empty again.
    pub(super) fn execute_within(
        &self,
        session: &mut Option<ApplySession>,
        caller: Caller,
        command: Command,
        size: usize,
    ) -> Result<Answer, AdminError> {
        match (command, session.take()) {
            (Command::Apply(ApplyCommand::Begin), None) => {
                *session = Some(self.begin_apply(caller)?);
                Ok(Answer::Apply(ApplyAnswer::Begun))
            }
            (Command::Apply(ApplyCommand::Commit { fingerprint }), Some(begun)) => {
                begun.commit(&fingerprint)?;
                Ok(Answer::Apply(ApplyAnswer::Committed))
            }
            (Command::Apply(command), Some(mut begun)) => {
                let answer = begun.take(command, size)?;
                *session = Some(begun);
                Ok(Answer::Apply(answer))
            }
            (command, None) => self.execute_for(caller, command),
            (_, Some(_)) => {
                Err(AdminError::new(AdminErrorCode::InvalidRequest, "a change of many records is under way on this connection"))
            }
        }
    }
}

impl ApplySession {
    /// Takes a part that came in so many bytes.
    ///
    /// # Errors
    /// If it is too much or out of order: then the change cannot go on. Records that break a rule are no error yet: the plan tells of them.
    pub fn take(&mut self, command: ApplyCommand, size: usize) -> Result<ApplyAnswer, AdminError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_BYTES {
            return Err(invalid(format!("one change can have at most {} MiB: make several", MAX_BYTES >> 20)));
        }
        let out_of_order = || AdminError::new(AdminErrorCode::InvalidRequest, "the parts of the change are out of order");
        match command {
            ApplyCommand::Records(records) if self.plan.is_none() => {
                self.records = self.records.saturating_add(records.len());
                if self.records > MAX_APPLIED {
                    return Err(invalid(format!("one change can have at most {MAX_APPLIED} records: make several")));
                }
                let mut need_secrets = Vec::new();
                for record in records {
                    self.draft(record, &mut need_secrets);
                }
                self.need_secrets = self.need_secrets.saturating_add(need_secrets.len());
                Ok(ApplyAnswer::Taken { need_secrets })
            }
            ApplyCommand::Plan { prune } if self.plan.is_none() => {
                prune.into_iter().for_each(|kind| self.draft.prune(kind));
                let Self { draft, faults, faulty, .. } = self;
                draft.check(|fault| tell(faults, faulty, fault));
                let mut plan = plan::document(draft);
                plan.faults = std::mem::take(faults);
                plan.faulty = *faulty;
                plan.secrets = self.need_secrets;
                self.plan = Some(plan.clone());
                Ok(ApplyAnswer::Planned(plan))
            }
            ApplyCommand::Changes { from } if self.plan.is_some() => {
                let (changes, next) = plan::page(&mut self.draft, from)?;
                Ok(ApplyAnswer::Changes { changes, next })
            }
            ApplyCommand::Secrets(secrets) if self.plan.is_some() => {
                for (client_id, digest) in secrets {
                    let missing = self.need_secrets.checked_sub(1).filter(|_| self.draft.secret(&client_id, digest));
                    self.need_secrets = missing.ok_or_else(|| invalid(format!("client {client_id} needs no secret")))?;
                }
                Ok(ApplyAnswer::SecretsTaken)
            }
            _ => Err(out_of_order()),
        }
    }

    /// Does what was planned, all of it or nothing. Blocks until it is on disk.
    ///
    /// # Errors
    /// If it breaks a rule, another plan is meant, or a record has changed meanwhile; nothing is changed then.
    pub fn commit(self, fingerprint: &str) -> Result<(), AdminError> {
        let Some(plan) = self.plan.filter(|plan| plan.fingerprint == fingerprint) else {
            return Err(AdminError::new(AdminErrorCode::Conflict, "another change was planned; nothing was changed"));
        };
        if plan.faulty > 0 || self.need_secrets > 0 {
            return Err(invalid("the change breaks a rule, or a secret is missing; nothing was changed"));
        }
        let total = plan.total();
        let told = format!("{fingerprint}: {} added, {} changed, {} removed", total.added, total.changed, total.removed);
        let draft = self.draft;
        self.administrator
            .change("apply", &told, self.caller, || {
                draft.commit()?;
                Ok(Answer::Apply(ApplyAnswer::Committed))
            })
            .map(drop)
    }

    fn draft(&mut self, record: ApplyRecord, need_secrets: &mut Vec<ClientId>) {
        let now = self.now;
        let (kind, name, checked) = match record {
            ApplyRecord::ResourceServer(server) => {
                let name = server.id.to_string();
                let checked = check_text("the description", &server.description, MAX_TEXT)
                    .and_then(|()| check_resource_server(Some(&server.audience), Some(&server.dialect), server.max_token_lifetime))
                    .and_then(|()| self.administrator.keys.require(server.alg.key_type()).map_err(AdminError::from));
                self.draft.resource_server(ResourceServer { created_at: now, updated_at: now, ..server });
                (Kind::ResourceServer, name, checked)
            }
            ApplyRecord::Scope(scope) => {
                let name = scope.name.to_string();
                let checked = check_text("the description", &scope.description, MAX_TEXT)
                    .and_then(|()| check_count("permissions", scope.permissions.len()));
                self.draft.scope(Scope { created_at: now, updated_at: now, ..scope });
                (Kind::Scope, name, checked)
            }
            ApplyRecord::Role(role) => {
                let name = role.name.to_string();
                let some = || if role.scope.is_empty() { Err(invalid("a role must grant at least one scope")) } else { Ok(()) };
                let checked = check_text("the description", &role.description, MAX_TEXT)
                    .and_then(|()| check_count("scopes", role.scope.len()))
                    .and_then(|()| some());
                self.draft.role(Role { created_at: now, updated_at: now, ..role });
                (Kind::Role, name, checked)
            }
            ApplyRecord::Template(template) => {
                let name = template.name.to_string();
                let checked = check_text("the description", &template.description, MAX_TEXT)
                    .and_then(|()| check_count("scopes", template.scope.len()))
                    .and_then(|()| check_count("default scopes", template.default_scope.len()))
                    .and_then(|()| check_count("roles", template.roles.len()))
                    .and_then(|()| check_count("audiences", template.audiences.len()));
                self.draft.template(Template { created_at: now, updated_at: now, ..*template });
                (Kind::Template, name, checked)
            }
            ApplyRecord::Client(spec) => {
                let (name, mut checked) = (spec.client_id.to_string(), spec.check());
                let client_id = spec.client_id.clone();
                let needs_secret = self.draft.client(spec.client_id.clone(), |client| {
                    let made = spec.make(client, now);
                    if checked.is_ok() {
                        checked = made;
                    }
                });
                // One that is refused anyway needs nothing.
                if needs_secret && checked.is_ok() {
                    need_secrets.push(client_id);
                }
                (Kind::Client, name, checked)
            }
        };
        if let Err(error) = checked {
            tell(&mut self.faults, &mut self.faulty, DraftFault { kind, name, message: error.message });
        }
    }
}

fn tell(faults: &mut Vec<DraftFault>, faulty: &mut usize, fault: DraftFault) {
    *faulty = faulty.saturating_add(1);
    if faults.len() < MAX_FAULTS {
        faults.push(fault);
    }
}

impl ClientSpec {
    /// A client that has nothing.
    #[must_use]
    pub fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            client_name: String::new(),
            token_endpoint_auth_method: None,
            jwks: None,
            status: None,
            scope: ScopeSet::default(),
            roles: BTreeSet::new(),
            default_scope: ScopeSet::default(),
            audiences: BTreeSet::new(),
            introspects: BTreeSet::new(),
            attributes: Attributes::new(),
            max_token_lifetime: None,
            not_before: None,
            expires_at: None,
            require_request_binding: false,
            software_id: String::new(),
            software_version: String::new(),
        }
    }

    fn check(&self) -> Result<(), AdminError> {
        check_text("the client name", &self.client_name, MAX_NAME)?;
        check_text("the software id", &self.software_id, MAX_NAME)?;
        check_text("the software version", &self.software_version, MAX_NAME)?;
        check_count("scopes", self.scope.len())?;
        check_count("default scopes", self.default_scope.len())?;
        check_count("roles", self.roles.len())?;
        check_count("audiences", self.audiences.len())?;
        check_count("resource servers to introspect for", self.introspects.len())?;
        let keys = self.jwks.as_deref().unwrap_or_default();
        check_keys(keys)?;
        match (&self.jwks, self.token_endpoint_auth_method) {
            (Some(keys), _) if keys.is_empty() => Err(invalid("there must be a key in jwks; leave it out for none")),
            (Some(_), Some(AuthMethod::ClientSecretPost)) => Err(invalid("a client with a key authenticates by private_key_jwt")),
            _ => Ok(()),
        }
    }

    /// Makes a client so, whether it is new or not.
    fn make(self, client: &mut Client, now: UnixTime) -> Result<(), AdminError> {
        client.client_name = self.client_name;
        client.scope = self.scope;
        client.roles = self.roles;
        client.default_scope = self.default_scope;
        client.audiences = self.audiences;
        client.introspects = self.introspects;
        client.attributes = self.attributes;
        client.max_token_lifetime = self.max_token_lifetime;
        client.not_before = self.not_before;
        client.expires_at = self.expires_at;
        client.require_request_binding = self.require_request_binding;
        client.software_id = self.software_id;
        client.software_version = self.software_version;
        client.status = self.status.unwrap_or(client.status);
        let method = match (&self.jwks, self.token_endpoint_auth_method) {
            (Some(_), _) => AuthMethod::PrivateKeyJwt,
            (None, Some(method)) => method,
            (None, None) => client.token_endpoint_auth_method,
        };
        if method != client.token_endpoint_auth_method {
            client.token_endpoint_auth_method = method;
            (client.secrets, client.jwks, client.rotation) = Default::default();
        }
        if let Some(keys) = self.jwks {
            let is_same = keys.len() == client.jwks.len() && client.jwks.iter().all(|known| keys.contains(&known.jwk));
            if !is_same {
                let known = |jwk: &Jwk| client.jwks.iter().find(|known| known.jwk == *jwk).cloned();
                client.jwks = keys.into_iter().map(|jwk| known(&jwk).unwrap_or_else(|| ClientKey::new(jwk, now))).collect();
                client.rotation = None;
            }
        }
        if method == AuthMethod::PrivateKeyJwt && client.jwks.is_empty() {
            return Err(invalid("a client that authenticates by private_key_jwt needs a key: name it with jwks or jwk_file"));
        }
        if client.require_request_binding && client.jwks.is_empty() {
            return Err(invalid("only a client with a key can bind its requests"));
        }
        Ok(())
    }
}
