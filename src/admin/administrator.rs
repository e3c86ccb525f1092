//! The one implementation of the operator's commands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    AdminError, AdminErrorCode, Answer, ClientChanges, ClientDocument, Command, DaemonStatus, KeyDocument, MAX_FRAME, NewClient,
    NewResourceServer, NewRole, NewScope,
};
use crate::clients::{AuthMethod, Client, ClientSecret, ClientStore as _, MAX_KEYS, Status};
use crate::clock::UnixTime;
use crate::jose::Jwk;
use crate::oauth::{ClientId, ScopeSet};
use crate::policy::{Dialect, PolicyStore as _, ResourceServer, Role, Scope};
use crate::registry::{self, KeyStore, Registry};

/// Bytes of a name or of software words, at most.
const MAX_NAME: usize = 256;
/// Bytes of a description or an audience, at most.
const MAX_TEXT: usize = 1_024;
/// Scopes of a client and permissions of a scope, at most: a record fits a frame.
const MAX_ITEMS: usize = 256;
/// Bytes of a page of a list, one record more or less.
const PAGE: usize = MAX_FRAME / 2;

/// Executes the operator's commands on a registry.
pub struct Administrator {
    registry: Arc<Registry>,
    keys: Arc<KeyStore>,
    status: Box<dyn Fn() -> DaemonStatus + Send + Sync>,
    on_change: Box<dyn Fn() + Send + Sync>,
}

/// On whose behalf a command is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user id.
    pub uid: u32,
}

impl Caller {
    /// This process itself.
    #[must_use]
    pub fn this_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw() }
    }
}

impl Administrator {
    /// An administrator of `registry` and `keys`. `status` tells what the daemon does; `on_change` is called after each change that is on disk.
    pub fn new(
        registry: Arc<Registry>,
        keys: Arc<KeyStore>,
        status: Box<dyn Fn() -> DaemonStatus + Send + Sync>,
        on_change: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { registry, keys, status, on_change }
    }

    /// Executes a command on behalf of this process. Blocks until a change is on disk.
    ///
    /// # Errors
    /// If the command is refused or the registry fails; nothing is changed then.
    pub fn execute(&self, command: Command) -> Result<Answer, AdminError> {
        self.execute_for(Caller::this_process(), command)
    }

    /// Executes a command on behalf of `caller`, who is named in the log. Blocks until a change is on disk.
    ///
    /// # Errors
    /// If the command is refused or the registry fails; nothing is changed then.
    pub fn execute_for(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        match command {
            Command::ClientAdd(new) => {
                let id = new.client_id.clone().map_or_else(random_client_id, Ok)?;
                self.change("client add", id.as_str(), caller, || self.add_client(&id, new))
            }
            Command::ClientList { after } => {
                let clients = self.registry.clients();
                let following = clients.iter().filter(|client| after.as_ref().is_none_or(|after| client.client_id > *after));
                let (clients, more) = page(following.map(|client| ClientDocument::from(&**client)))?;
                Ok(Answer::Clients { clients, more })
            }
            Command::ClientShow { client_id } => match self.registry.client(&client_id) {
                Some(client) => Ok(Answer::Client(Box::new((&*client).into()))),
                None => Err(registry::RegistryError::NotFound { kind: "client", id: client_id.to_string() }.into()),
            },
            Command::ClientRemove { client_id } => self.change("client remove", client_id.as_str(), caller, || {
                let removed = self.registry.remove_client(&client_id)?;
                Ok(Answer::ClientRemoved(Box::new((&*removed).into())))
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
                    Ok(Answer::Client(Box::new((&*changed).into())))
                })
            }
            Command::ClientEdit { client_id, changes } => {
                self.change("client edit", client_id.as_str(), caller, || self.edit_client(&client_id, changes))
            }
            Command::ResourceServerAdd(new) => {
                let id = new.id.clone();
                self.change("resource-server add", id.as_str(), caller, || self.add_resource_server(new))
            }
            Command::ResourceServerList { after } => {
                let policy = self.registry.policy();
                let following = policy.resource_servers.values().filter(|server| after.as_ref().is_none_or(|after| server.id > *after));
                let (resource_servers, more) = page(following.cloned())?;
                Ok(Answer::ResourceServers { resource_servers, more })
            }
            Command::ScopeAdd(new) => {
                let name = new.name.clone();
                self.change("scope add", name.as_str(), caller, || self.add_scope(new))
            }
            Command::ScopeList { after } => {
                let policy = self.registry.policy();
                let following = policy.scopes.values().filter(|scope| after.as_ref().is_none_or(|after| scope.name > *after));
                let (scopes, more) = page(following.cloned())?;
                Ok(Answer::Scopes { scopes, more })
            }
            Command::RoleAdd(new) => {
                let name = new.name.clone();
                self.change("role add", name.as_str(), caller, || self.add_role(new))
            }
            Command::RoleList { after } => {
                let policy = self.registry.policy();
                let following = policy.roles.values().filter(|role| after.as_ref().is_none_or(|after| role.name > *after));
                let (roles, more) = page(following.cloned())?;
                Ok(Answer::Roles { roles, more })
            }
            Command::KeyList => {
                let keys = self.keys.list()?;
                Ok(Answer::Keys(keys.into_iter().map(KeyDocument::from).collect()))
            }
            Command::KeyRotate => {
                self.change("key rotate", "new", caller, || Ok(Answer::KeyPublished(Box::new(self.keys.rotate()?.into()))))
            }
            Command::KeyRevoke { kid } => {
                check_text("the key id", &kid, MAX_NAME)?;
                self.change("key revoke", &kid, caller, || {
                    let (revoked, active) = self.keys.revoke(&kid)?;
                    Ok(Answer::KeyRevoked { revoked: Box::new(revoked.into()), active: Box::new(active.into()) })
                })
            }
            Command::Status => {
                let policy = self.registry.policy();
                let mut status = (self.status)();
                status.clients = self.registry.client_count();
                status.resource_servers = policy.resource_servers.len();
                status.scopes = policy.scopes.len();
                Ok(Answer::Status(Box::new(status)))
            }
        }
    }

    /// Runs a change and tells the log who did what to which record and how it went.
    fn change(
        &self,
        operation: &'static str,
        id: &str,
        caller: Caller,
        run: impl FnOnce() -> Result<Answer, AdminError>,
    ) -> Result<Answer, AdminError> {
        let outcome = run();
        let told = outcome.as_ref().err().map_or("done", AdminError::code);
        tracing::info!(operation, id, outcome = told, uid = caller.uid, "operator's command");
        if outcome.is_ok() {
            (self.on_change)();
        }
        outcome
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
            jwks: new.jwks,
            require_request_binding: new.require_request_binding,
            software_id: new.software_id,
            software_version: new.software_version,
            ..Client::new(id.clone(), now)
        };
        new.policy.apply(&mut client);
        let added = self.registry.add_client(client)?;
        Ok(Answer::ClientAdded { client: Box::new((&*added).into()), client_secret: secret.map(Into::into) })
    }

    fn edit_client(&self, id: &ClientId, changes: ClientChanges) -> Result<Answer, AdminError> {
        check_changes(&changes)?;
        if changes.is_empty() {
            return Err(invalid("nothing to change was named"));
        }
        let now = UnixTime::from(SystemTime::now());
        let changed = self.registry.update_client(id, |client| {
            changes.apply(client);
            client.updated_at = now;
        })?;
        Ok(Answer::Client(Box::new((&*changed).into())))
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
        check_text("the audience", &new.audience, MAX_TEXT)?;
        if new.audience.is_empty() || new.audience.contains(char::is_whitespace) {
            return Err(invalid("the audience must be a word, usually a URI such as https://telemetry.example"));
        }
        if let Dialect::Rabbitmq { vhost, .. } = &new.dialect {
            check_text("the virtual host", vhost, MAX_NAME)?;
            if vhost.is_empty() {
                return Err(invalid("the virtual host must have a name, such as /"));
            }
        }
        if new.max_token_lifetime == Some(0) {
            return Err(invalid("the longest token lifetime must be at least 1 second"));
        }
        let now = UnixTime::from(SystemTime::now());
        let added = self.registry.add_resource_server(ResourceServer {
            description: new.description,
            max_token_lifetime: new.max_token_lifetime,
            token_format: new.token_format,
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

fn check_changes(changes: &ClientChanges) -> Result<(), AdminError> {
    check_text("the client name", changes.client_name.as_deref().unwrap_or_default(), MAX_NAME)?;
    check_count("scopes", changes.scope.as_ref().map_or(0, ScopeSet::len))?;
    check_count("default scopes", changes.default_scope.as_ref().map_or(0, ScopeSet::len))?;
    check_count("roles", changes.roles.as_ref().map_or(0, BTreeSet::len))?;
    check_count("audiences", changes.audiences.as_ref().map_or(0, BTreeSet::len))
}

/// As many records as fit a page, and whether there are more.
fn page<T: Serialize>(records: impl Iterator<Item = T>) -> Result<(Vec<T>, bool), AdminError> {
    let (mut taken, mut size) = (Vec::new(), 0_usize);
    for record in records {
        let json = serde_json::to_vec(&record).map_err(|error| AdminError::new(AdminErrorCode::Internal, error.to_string()))?;
        size = size.saturating_add(json.len()).saturating_add(1);
        if size > PAGE && !taken.is_empty() {
            return Ok((taken, true));
        }
        taken.push(record);
    }
    Ok((taken, false))
}

fn check_text(what: &str, text: &str, limit: usize) -> Result<(), AdminError> {
    if text.len() > limit || text.chars().any(char::is_control) {
        return Err(invalid(format!("{what} must be at most {limit} bytes without control characters")));
    }
    Ok(())
}

fn check_count(what: &str, count: usize) -> Result<(), AdminError> {
    if count > MAX_ITEMS {
        return Err(invalid(format!("there must be at most {MAX_ITEMS} {what}")));
    }
    Ok(())
}

/// Keys that an assertion can be checked by, each found by its own id.
fn check_keys(keys: &[Jwk]) -> Result<(), AdminError> {
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

fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::new(AdminErrorCode::InvalidArgument, message)
}

/// 16 characters of Crockford's base32: 80 random bits that survive being read aloud, typed and used as a file name.
fn random_client_id() -> Result<ClientId, AdminError> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    let id: String = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|&letter| char::from(letter)).collect();
    id.parse().map_err(|error: crate::oauth::InvalidWord| AdminError::new(AdminErrorCode::Internal, error.to_string()))
}

fn random(bytes: &mut [u8]) -> Result<(), AdminError> {
    getrandom::fill(bytes).map_err(|error| AdminError::new(AdminErrorCode::Internal, format!("the system gave no random bytes: {error}")))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clients::authenticate_session;
    use crate::jose::{KeyState, RotationRules};
    use crate::oauth::Secret;
    use crate::registry::{KeyOptions, RegistryOptions};

    pub(in crate::admin) struct Bench {
        pub(in crate::admin) administrator: Arc<Administrator>,
        registry: Arc<Registry>,
        changes: Arc<AtomicUsize>,
        pub(in crate::admin) directory: tempfile::TempDir,
    }

    pub(in crate::admin) fn bench() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let options = RegistryOptions { directory: directory.path().join("registry"), cache_capacity: 1 << 20 };
        let registry = Registry::open(&options).unwrap();
        let rules = RotationRules { interval: 0, propagation: 600, max_lifetime: 300, clock_skew: 60 };
        let keys = Arc::new(KeyStore::new(KeyOptions { directory: directory.path().join("keys"), rules, master_key: Ok(None) }));
        keys.load_or_create().unwrap();
        let changes = Arc::new(AtomicUsize::new(0));
        let counted = changes.clone();
        let status = || DaemonStatus { running: true, issuer: "https://as.example".into(), ..DaemonStatus::default() };
        let on_change = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let administrator = Arc::new(Administrator::new(registry.clone(), keys, Box::new(status), Box::new(on_change)));
        Bench { administrator, registry, changes, directory }
    }

    impl Bench {
        fn execute(&self, command: Command) -> Result<Answer, AdminError> {
            self.administrator.execute_for(Caller { uid: 1_000 }, command)
        }

        fn add_client(&self, new: NewClient) -> (ClientDocument, Secret) {
            match self.execute(Command::ClientAdd(new)).unwrap() {
                Answer::ClientAdded { client, client_secret } => (*client, Secret::new(client_secret.unwrap().secret().expose().to_vec())),
                other => panic!("{other:?}"),
            }
        }

        fn changes(&self) -> usize {
            self.changes.load(Ordering::SeqCst)
        }

        fn define_scope(&self) {
            let server = NewResourceServer {
                max_token_lifetime: Some(60),
                ..NewResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into())
            };
            let scope = NewScope {
                name: "telemetry:write".parse().unwrap(),
                resource_server: server.id.clone(),
                permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
                description: String::new(),
            };
            assert!(matches!(self.execute(Command::ResourceServerAdd(server)).unwrap(), Answer::ResourceServer(_)));
            assert!(matches!(self.execute(Command::ScopeAdd(scope)).unwrap(), Answer::Scope(_)));
        }
    }

    #[test]
    fn a_client_is_added_with_a_secret_that_serves() {
        let bench = bench();
        bench.define_scope();
        let new = NewClient { client_name: "Pump".into(), scope: "telemetry:write".parse().unwrap(), ..NewClient::default() };
        let (client, secret) = bench.add_client(new);
        assert_eq!((client.client_id.len(), client.scope.as_str(), client.client_name.as_str()), (16, "telemetry:write", "Pump"));
        let id: ClientId = client.client_id.parse().unwrap();
        assert!(authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok());
        assert_eq!(bench.changes(), 3);
    }

    #[test]
    fn random_ids_and_secrets_differ() {
        let bench = bench();
        let (first, first_secret) = bench.add_client(NewClient::default());
        let (second, second_secret) = bench.add_client(NewClient::default());
        assert_ne!(first.client_id, second.client_id);
        assert_ne!(first_secret.expose(), second_secret.expose());
    }

    #[test]
    fn a_status_change_takes_effect_at_once() {
        let bench = bench();
        let id: ClientId = "dev1".parse().unwrap();
        let (_, secret) = bench.add_client(NewClient { client_id: Some(id.clone()), ..NewClient::default() });
        for (status, served) in [(Status::Suspended, false), (Status::Active, true), (Status::Blocked, false)] {
            let answer = bench.execute(Command::ClientSetStatus { client_id: id.clone(), status }).unwrap();
            assert!(matches!(answer, Answer::Client(client) if client.status == status));
            assert_eq!(
                authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok(),
                served,
                "{status:?}"
            );
        }
    }

    #[test]
    fn a_client_is_edited_and_the_rest_stays() {
        let bench = bench();
        bench.define_scope();
        let role = NewRole { name: "pump".parse().unwrap(), scope: "telemetry:write".parse().unwrap(), description: String::new() };
        assert!(matches!(bench.execute(Command::RoleAdd(role)).unwrap(), Answer::Role(_)));
        let policy = ClientChanges { max_token_lifetime: Some(60), ..ClientChanges::default() };
        let id: ClientId = "dev1".parse().unwrap();
        let new = NewClient { client_id: Some(id.clone()), client_name: "Pump".into(), policy, ..NewClient::default() };
        let (added, secret) = bench.add_client(new);
        assert_eq!((added.max_token_lifetime, added.roles.len()), (Some(60), 0));
        let changes = ClientChanges { roles: Some(["pump".parse().unwrap()].into()), ..ClientChanges::default() };
        let answer = bench.execute(Command::ClientEdit { client_id: id.clone(), changes }).unwrap();
        let Answer::Client(edited) = answer else { panic!("{answer:?}") };
        assert_eq!((edited.roles.len(), edited.max_token_lifetime, edited.client_name.as_str()), (1, Some(60), "Pump"));
        assert!(authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok());
        let Answer::Roles { roles, more: false } = bench.execute(Command::RoleList { after: None }).unwrap() else { panic!("no roles") };
        assert_eq!(roles.len(), 1);
    }

    #[test]
    fn a_removed_client_is_gone() {
        let bench = bench();
        let id: ClientId = "dev1".parse().unwrap();
        bench.add_client(NewClient { client_id: Some(id.clone()), ..NewClient::default() });
        assert!(matches!(bench.execute(Command::ClientRemove { client_id: id.clone() }).unwrap(), Answer::ClientRemoved(_)));
        for command in [Command::ClientShow { client_id: id.clone() }, Command::ClientRemove { client_id: id }] {
            assert_eq!(bench.execute(command).unwrap_err().code, AdminErrorCode::NotFound);
        }
        assert_eq!(bench.changes(), 2);
    }

    #[test]
    fn a_refused_command_changes_nothing() {
        let bench = bench();
        let taken = NewClient { client_id: Some("dev1".parse().unwrap()), ..NewClient::default() };
        bench.add_client(taken.clone());
        let server = |audience: &str, lifetime| NewResourceServer {
            max_token_lifetime: lifetime,
            ..NewResourceServer::new("rs".parse().unwrap(), audience.into())
        };
        let no_vhost = NewResourceServer {
            dialect: Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: String::new() },
            ..server("urn:x", None)
        };
        let with_role = ClientChanges { roles: Some(["nope".parse().unwrap()].into()), ..ClientChanges::default() };
        for (command, code) in [
            (Command::ClientAdd(taken), AdminErrorCode::AlreadyExists),
            (Command::ClientAdd(NewClient { scope: "nope".parse().unwrap(), ..NewClient::default() }), AdminErrorCode::NotFound),
            (Command::ClientAdd(NewClient { client_name: "\u{1b}[2J".into(), ..NewClient::default() }), AdminErrorCode::InvalidArgument),
            (Command::ClientAdd(NewClient { software_id: "x".repeat(257), ..NewClient::default() }), AdminErrorCode::InvalidArgument),
            (
                Command::ClientEdit { client_id: "dev1".parse().unwrap(), changes: ClientChanges::default() },
                AdminErrorCode::InvalidArgument,
            ),
            (Command::ClientEdit { client_id: "dev1".parse().unwrap(), changes: with_role.clone() }, AdminErrorCode::NotFound),
            (Command::ClientAdd(NewClient { policy: with_role, ..NewClient::default() }), AdminErrorCode::NotFound),
            (
                Command::RoleAdd(NewRole { name: "r".parse().unwrap(), scope: ScopeSet::default(), description: String::new() }),
                AdminErrorCode::InvalidArgument,
            ),
            (Command::ResourceServerAdd(no_vhost), AdminErrorCode::InvalidArgument),
            (Command::ResourceServerAdd(server("", None)), AdminErrorCode::InvalidArgument),
            (Command::ResourceServerAdd(server("a b", None)), AdminErrorCode::InvalidArgument),
            (Command::ResourceServerAdd(server("urn:x", Some(0))), AdminErrorCode::InvalidArgument),
            (Command::KeyRevoke { kid: "a\nb".into() }, AdminErrorCode::InvalidArgument),
            (Command::KeyRevoke { kid: "../x".into() }, AdminErrorCode::NotFound),
        ] {
            let told = format!("{command:?}");
            assert_eq!(bench.execute(command).unwrap_err().code, code, "{told}");
        }
        assert_eq!((bench.changes(), bench.registry.client_count()), (1, 1));
    }

    #[test]
    fn a_long_list_comes_in_pages_that_fit_a_frame() {
        let bench = bench();
        let name = "ü".repeat(120);
        for number in 0..2_500 {
            let client_id = Some(format!("device-{number:05}").parse().unwrap());
            bench.add_client(NewClient { client_id, client_name: name.clone(), ..NewClient::default() });
        }
        let (mut after, mut ids, mut pages): (Option<ClientId>, Vec<String>, usize) = (None, Vec::new(), 0);
        loop {
            let json = super::super::frame::encode_outcome(&bench.execute(Command::ClientList { after })).unwrap();
            let Ok(Answer::Clients { clients, more }) = super::super::frame::decode_outcome(&json).unwrap() else { panic!("not a list") };
            pages = pages.saturating_add(1);
            ids.extend(clients.into_iter().map(|client| client.client_id));
            if !more {
                break;
            }
            after = Some(ids.last().unwrap().parse().unwrap());
        }
        let expected: Vec<String> = (0..2_500).map(|number| format!("device-{number:05}")).collect();
        assert_eq!(ids, expected);
        assert!(pages > 1);
    }

    #[test]
    fn the_status_counts_what_is_registered() {
        let bench = bench();
        bench.define_scope();
        bench.add_client(NewClient::default());
        let Answer::Status(status) = bench.execute(Command::Status).unwrap() else { panic!("not a status") };
        assert!(status.running);
        assert_eq!((status.clients, status.resource_servers, status.scopes), (1, 1, 1));
        let Answer::Keys(keys) = bench.execute(Command::KeyList).unwrap() else { panic!("not keys") };
        assert_eq!((keys.len(), keys[0].alg.as_str(), keys[0].state), (1, "EdDSA", KeyState::Active));
    }
    fn kids(bench: &Bench) -> Vec<(String, KeyState)> {
        let Answer::Keys(keys) = bench.execute(Command::KeyList).unwrap() else { panic!("not keys") };
        keys.into_iter().map(|key| (key.kid, key.state)).collect()
    }

    #[test]
    fn a_key_is_rotated_and_revoked() {
        let bench = bench();
        let first = kids(&bench)[0].0.clone();
        let Answer::KeyPublished(next) = bench.execute(Command::KeyRotate).unwrap() else { panic!("not a key") };
        assert_eq!(kids(&bench), [(first.clone(), KeyState::Active), (next.kid.clone(), KeyState::Published)]);
        let revoke = Command::KeyRevoke { kid: first.clone() };
        let Answer::KeyRevoked { revoked, active } = bench.execute(revoke.clone()).unwrap() else { panic!("not a key") };
        assert_eq!((revoked.kid, revoked.state, active.kid.clone()), (first, KeyState::Active, next.kid));
        assert_eq!(kids(&bench), [(active.kid.clone(), KeyState::Active)]);
        let gone = bench.execute(revoke).unwrap_err();
        assert_eq!((gone.code, gone.advice.as_deref()), (AdminErrorCode::NotFound, Some("see `credgate key list`")));
        bench.execute(Command::KeyRevoke { kid: active.kid.clone() }).unwrap();
        assert_ne!(kids(&bench)[0].0, active.kid, "a fresh key");
        assert_eq!(bench.changes(), 3);
    }

    #[test]
    fn deny_a_rotation_during_a_rotation() {
        let bench = bench();
        bench.execute(Command::KeyRotate).unwrap();
        let before = kids(&bench);
        let refused = bench.execute(Command::KeyRotate).unwrap_err();
        assert_eq!(refused.code, AdminErrorCode::InvalidArgument);
        assert!(refused.message.contains("under way"), "{refused}");
        assert_eq!((kids(&bench), bench.changes()), (before, 1));
    }
}
