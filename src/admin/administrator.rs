//! The one implementation of the operator's commands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::backup::Backups;
use super::{
    AdminError, AdminErrorCode, Answer, Caller, ClientChanges, Command, DaemonStatus, KeyDocument, Metrics, NewClient, NewResourceServer,
    NewRole, NewScope, ReloadDocument, Serving, token_size,
};
use crate::clients::{AuthMethod, Client, ClientKey, ClientSecret, ClientStore as _, MAX_KEYS, RotationRule, Status};
use crate::clock::UnixTime;
use crate::enrolment::random_word;
use crate::jose::Jwk;
use crate::oauth::{ClientId, ScopeSet};
use crate::policy::{Dialect, ResourceServer, Role, Scope};
use crate::registry::{self, KeyStore, Registry};

/// Bytes of a name or of software words, at most.
pub(super) const MAX_NAME: usize = 256;
/// Bytes of a description or an audience, at most.
pub(super) const MAX_TEXT: usize = 1_024;
/// Scopes of a client and permissions of a scope, at most: a record fits a frame.
const MAX_ITEMS: usize = 256;

/// Executes the operator's commands on a registry.
#[derive(Clone)]
pub struct Administrator {
    pub(super) registry: Arc<Registry>,
    pub(super) keys: Arc<KeyStore>,
    pub(super) status: Arc<dyn Fn() -> DaemonStatus + Send + Sync>,
    pub(super) measure: Arc<dyn Fn() -> Metrics + Send + Sync>,
    pub(super) on_change: Arc<dyn Fn() + Send + Sync>,
    pub(super) rotation: RotationRule,
    pub(super) serving: Option<Serving>,
    pub(super) reload: Option<Arc<dyn Fn() -> Result<ReloadDocument, String> + Send + Sync>>,
    pub(super) backups: Backups,
    /// One change of many records at a time: each takes memory.
    pub(super) applying: Arc<Semaphore>,
}

impl Administrator {
    /// An administrator of `registry` and `keys`. `status` tells what the daemon does; `on_change` is called after each change that is on disk.
    pub fn new(
        registry: Arc<Registry>,
        keys: Arc<KeyStore>,
        status: Box<dyn Fn() -> DaemonStatus + Send + Sync>,
        on_change: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let issuer = status().issuer;
        registry.require(Box::new(move |client, policy| token_size::check(&issuer, client, policy)));
        let (measure, rotation) = (Arc::new(Metrics::default), RotationRule::default());
        let (status, on_change) = (status.into(), on_change.into());
        let applying = Arc::new(Semaphore::new(1));
        Self { registry, keys, status, measure, on_change, rotation, serving: None, reload: None, backups: Backups::default(), applying }
    }

    /// The same with what `measure` tells of the links and the process among its metrics.
    #[must_use]
    pub fn measuring(self, measure: Box<dyn Fn() -> Metrics + Send + Sync>) -> Self {
        Self { measure: measure.into(), ..self }
    }

    /// Executes a command on behalf of this process. Blocks until a change is on disk.
    ///
    /// # Errors
    /// If the command is refused or the registry fails; nothing is changed then.
    pub fn execute(&self, command: Command) -> Result<Answer, AdminError> {
        self.execute_for(Caller::this_process(), command)
    }

    /// Executes a command on behalf of `caller`, who is named in the log and in the audit trail. Blocks until a change is on disk.
    ///
    /// # Errors
    /// If the command is refused or the registry fails; nothing is changed then.
    pub fn execute_for(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        // Whatever it changes carries its entry in the audit trail.
        Self { registry: self.registry.acting(), ..self.clone() }.run(caller, command)
    }

    fn run(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        self.backups.tidy();
        match command {
            Command::ClientAdd(new) => {
                let id = new.client_id.clone().map_or_else(random_client_id, Ok)?;
                self.change("client add", id.as_str(), caller, || self.add_client(&id, new))
            }
            Command::ClientList(query) => self.list_clients(query),
            Command::ClientShow { client_id } => match self.registry.client(&client_id) {
                Some(client) => Ok(Answer::Client(Box::new(self.document(&client)))),
                None => Err(registry::RegistryError::NotFound { kind: "client", id: client_id.to_string() }.into()),
            },
            Command::ClientRemove { client_id } => self.change("client remove", client_id.as_str(), caller, || {
                let removed = self.registry.remove_client(&client_id)?;
                Ok(Answer::ClientRemoved(Box::new(self.document(&removed))))
            }),
            Command::ClientSetStatus { client_id, status } => {
                let operation = match status {
                    Status::Active => "client resume",
                    Status::Suspended => "client suspend",
                    Status::Blocked => "client block",
                };
                self.change(operation, client_id.as_str(), caller, || {
                    let now = UnixTime::from(SystemTime::now());
                    let changed = self.registry.update_client(&client_id, |client| {
                        client.status = status;
                        client.updated_at = now;
                    })?;
                    Ok(Answer::Client(Box::new(self.document(&changed))))
                })
            }
            Command::ClientEdit { client_id, changes } => {
                self.change("client edit", client_id.as_str(), caller, || self.edit_client(&client_id, changes))
            }
            Command::ClientRotate { .. } | Command::ClientRotateCancel { .. } | Command::ClientRotateFinish { .. } => {
                self.rotate(caller, command)
            }
            Command::ClientRevokeTokens { .. } | Command::TokenRevoke(_) => self.revoke(caller, command),
            Command::ResourceServerAdd(new) => {
                let id = new.id.clone();
                self.change("resource-server add", id.as_str(), caller, || self.add_resource_server(new))
            }
            Command::ResourceServerList(query) => self.list_resource_servers(&query),
            Command::ScopeAdd(new) => {
                let name = new.name.clone();
                self.change("scope add", name.as_str(), caller, || self.add_scope(new))
            }
            Command::ScopeList(query) => self.list_scopes(&query),
            Command::RoleAdd(new) => {
                let name = new.name.clone();
                self.change("role add", name.as_str(), caller, || self.add_role(new))
            }
            Command::RoleList(query) => self.list_roles(&query),
            Command::ResourceServerShow { .. } | Command::ScopeShow { .. } | Command::RoleShow { .. } => self.show_definition(command),
            Command::ResourceServerEdit { .. }
            | Command::ResourceServerRemove { .. }
            | Command::ScopeEdit { .. }
            | Command::ScopeRemove { .. }
            | Command::RoleEdit { .. }
            | Command::RoleRemove { .. } => self.change_definition(caller, command),
            Command::Enrolment(command) => self.enrolment(caller, command),
            Command::Apply(_) => {
                Err(AdminError::new(AdminErrorCode::InvalidRequest, "a change of many records has a connection of its own"))
            }
            Command::KeyList => {
                let keys = self.keys.list()?;
                Ok(Answer::Keys(keys.into_iter().map(KeyDocument::from).collect()))
            }
            Command::KeyRotate { key_type } => {
                self.change("key rotate", key_type.crv(), caller, || Ok(Answer::KeyPublished(Box::new(self.keys.rotate(key_type)?.into()))))
            }
            Command::KeyRevoke { kid } => {
                check_text("the key id", &kid, MAX_NAME)?;
                self.change("key revoke", &kid, caller, || {
                    let (revoked, active) = self.keys.revoke(&kid)?;
                    Ok(Answer::KeyRevoked { revoked: Box::new(revoked.into()), active: Box::new(active.into()) })
                })
            }
            Command::Explain(query) => self.explain(query),
            Command::AuditPage(_) | Command::AuditCheckpoint | Command::KeySet => self.audit(command),
            Command::Backup(command) => self.backup(caller, command),
            Command::RegistryInspect => Ok(Answer::Inspection(self.registry.inspect()?)),
            Command::Reload => self.reload(caller),
            Command::Status => Ok(Answer::Status(Box::new(self.status()?))),
            Command::Metrics { recent } => self.metrics(recent),
        }
    }

    /// The issuer identifier of the gateway.
    pub(super) fn issuer(&self) -> String {
        (self.status)().issuer
    }

    /// Runs a change and tells the log and the audit trail who did what to which record and how it went.
    pub(super) fn change(
        &self,
        operation: &'static str,
        id: &str,
        caller: Caller,
        run: impl FnOnce() -> Result<Answer, AdminError>,
    ) -> Result<Answer, AdminError> {
        self.begin_audit(operation, id, caller);
        let outcome = run();
        let told = outcome.as_ref().err().map_or("done", AdminError::code);
        tracing::info!(operation, id, outcome = told, uid = caller.uid, "operator's command");
        if outcome.is_ok() {
            (self.on_change)();
        }
        self.end_audit(outcome)
    }

    fn add_client(&self, id: &ClientId, new: NewClient) -> Result<Answer, AdminError> {
        check_text("the client name", &new.client_name, MAX_NAME)?;
        check_text("the software id", &new.software_id, MAX_NAME)?;
        check_text("the software version", &new.software_version, MAX_NAME)?;
        check_count("scopes", new.scope.len())?;
        check_changes(&new.policy)?;
        check_keys(&new.jwks)?;
        if new.require_request_binding && new.jwks.is_empty() {
            return Err(invalid("only a client with a key can bind its requests"));
        }
        let now = UnixTime::from(SystemTime::now());
        let (method, record, secret) = if new.jwks.is_empty() {
            let mut entropy = Zeroizing::new([0; 32]);
            random(&mut *entropy)?;
            let (record, secret) = ClientSecret::generate(&entropy, now);
            (AuthMethod::ClientSecretPost, Some(record), Some(secret))
        } else {
            (AuthMethod::PrivateKeyJwt, None, None)
        };
        let mut client = Client {
            client_name: new.client_name,
            token_endpoint_auth_method: method,
            scope: new.scope,
            secrets: record.into_iter().collect(),
            jwks: new.jwks.into_iter().map(|jwk| ClientKey::new(jwk, now)).collect(),
            require_request_binding: new.require_request_binding,
            software_id: new.software_id,
            software_version: new.software_version,
            ..Client::new(id.clone(), now)
        };
        new.policy.apply(&mut client);
        let added = self.registry.add_client(client)?;
        Ok(Answer::ClientAdded { client: Box::new(self.document(&added)), client_secret: secret.map(Into::into) })
    }

    fn edit_client(&self, id: &ClientId, changes: ClientChanges) -> Result<Answer, AdminError> {
        check_changes(&changes)?;
        if changes.is_empty() {
            return Err(invalid("nothing to change was named"));
        }
        let has_no_key = self.registry.client(id).is_some_and(|client| client.jwks.is_empty());
        if changes.require_request_binding == Some(true) && has_no_key {
            return Err(invalid("only a client with a key can bind its requests"));
        }
        let now = UnixTime::from(SystemTime::now());
        let changed = self.registry.update_client(id, |client| {
            changes.apply(client);
            client.updated_at = now;
        })?;
        Ok(Answer::Client(Box::new(self.document(&changed))))
    }

    fn add_role(&self, new: NewRole) -> Result<Answer, AdminError> {
        check_text("the description", &new.description, MAX_TEXT)?;
        check_count("scopes", new.scope.len())?;
        if new.scope.is_empty() {
            return Err(invalid("a role must grant at least one scope"));
        }
        let now = UnixTime::from(SystemTime::now());
        let added = self.registry.add_role(Role {
            name: new.name,
            description: new.description,
            scope: new.scope,
            created_at: now,
            updated_at: now,
        })?;
        Ok(Answer::Role(added))
    }

    fn add_resource_server(&self, new: NewResourceServer) -> Result<Answer, AdminError> {
        check_text("the description", &new.description, MAX_TEXT)?;
        check_resource_server(Some(&new.audience), Some(&new.dialect), new.max_token_lifetime)?;
        self.keys.require(new.alg.key_type())?;
        let now = UnixTime::from(SystemTime::now());
        let added = self.registry.add_resource_server(ResourceServer {
            description: new.description,
            max_token_lifetime: new.max_token_lifetime,
            max_token_bytes: new.max_token_bytes,
            token_format: new.token_format,
            alg: new.alg,
            dialect: new.dialect,
            ..ResourceServer::new(new.id, new.audience, now)
        })?;
        Ok(Answer::ResourceServer(added))
    }

    fn add_scope(&self, new: NewScope) -> Result<Answer, AdminError> {
        check_text("the description", &new.description, MAX_TEXT)?;
        check_count("permissions", new.permissions.len())?;
        let now = UnixTime::from(SystemTime::now());
        let added = self.registry.add_scope(Scope {
            name: new.name,
            description: new.description,
            resource_server: new.resource_server,
            permissions: new.permissions,
            created_at: now,
            updated_at: now,
        })?;
        Ok(Answer::Scope(added))
    }
}

/// What must hold of a resource server, new or changed.
pub(super) fn check_resource_server(
    audience: Option<&str>,
    dialect: Option<&Dialect>,
    max_token_lifetime: Option<u32>,
) -> Result<(), AdminError> {
    if let Some(audience) = audience {
        check_text("the audience", audience, MAX_TEXT)?;
        if audience.is_empty() || audience.contains(char::is_whitespace) {
            return Err(invalid("the audience must be a word, usually a URI such as https://telemetry.example"));
        }
    }
    if let Some(Dialect::Rabbitmq { vhost, .. }) = dialect {
        check_text("the virtual host", vhost, MAX_NAME)?;
        if vhost.is_empty() {
            return Err(invalid("the virtual host must have a name, such as /"));
        }
    }
    if max_token_lifetime == Some(0) {
        return Err(invalid("the longest token lifetime must be at least 1 second"));
    }
    Ok(())
}

fn check_changes(changes: &ClientChanges) -> Result<(), AdminError> {
    check_text("the client name", changes.client_name.as_deref().unwrap_or_default(), MAX_NAME)?;
    check_text("the software id", changes.software_id.as_deref().unwrap_or_default(), MAX_NAME)?;
    check_text("the software version", changes.software_version.as_deref().unwrap_or_default(), MAX_NAME)?;
    check_count("scopes", changes.scope.as_ref().map_or(0, ScopeSet::len))?;
    check_count("default scopes", changes.default_scope.as_ref().map_or(0, ScopeSet::len))?;
    check_count("roles", changes.roles.as_ref().map_or(0, BTreeSet::len))?;
    check_count("audiences", changes.audiences.as_ref().map_or(0, BTreeSet::len))?;
    check_count("resource servers to introspect for", changes.introspects.as_ref().map_or(0, BTreeSet::len))
}

pub(super) fn check_text(what: &str, text: &str, limit: usize) -> Result<(), AdminError> {
    if text.len() > limit || text.chars().any(char::is_control) {
        return Err(invalid(format!("{what} must be at most {limit} bytes without control characters")));
    }
    Ok(())
}

pub(super) fn check_count(what: &str, count: usize) -> Result<(), AdminError> {
    if count > MAX_ITEMS {
        return Err(invalid(format!("there must be at most {MAX_ITEMS} {what}")));
    }
    Ok(())
}

/// Keys that an assertion can be checked by, each found by its own id.
pub(super) fn check_keys(keys: &[Jwk]) -> Result<(), AdminError> {
    if keys.len() > MAX_KEYS {
        return Err(invalid(format!("a client can have at most {MAX_KEYS} keys")));
    }
    for (index, key) in keys.iter().enumerate() {
        if key.kid().is_empty() {
            return Err(invalid("the kid of a key must not be empty; leave it out to have its thumbprint instead"));
        }
        check_text("the kid of a key", key.kid(), MAX_NAME)?;
        if keys.iter().take(index).any(|other| other.kid() == key.kid()) {
            return Err(invalid(format!("two keys have the kid {}", key.kid())));
        }
        if !key.is_sound() {
            return Err(invalid(format!("the key {} is no Ed25519 public key that binds anybody", key.kid())));
        }
    }
    Ok(())
}

pub(super) fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::new(AdminErrorCode::InvalidArgument, message)
}

fn random_client_id() -> Result<ClientId, AdminError> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    random_word(&bytes).parse().map_err(|error: crate::oauth::InvalidWord| AdminError::new(AdminErrorCode::Internal, error.to_string()))
}

pub(super) fn random(bytes: &mut [u8]) -> Result<(), AdminError> {
    getrandom::fill(bytes).map_err(|error| AdminError::new(AdminErrorCode::Internal, format!("the system gave no random bytes: {error}")))
}

#[cfg(test)]
pub(super) mod tests;
