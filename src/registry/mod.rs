//! The registry: clients, resource servers, scopes, enrolments and keys on disk. The only module that names sled.
//!
//! Every read comes from memory. A change returns when it is durable, and is visible from then on.

mod audit;
mod backup;
mod ballast;
mod committer;
mod credentials;
mod directory;
mod draft;
mod enrol;
mod enrolments;
mod error;
mod export;
mod inspection;
mod keys;
mod meta;
mod policies;
mod records;
mod restore;
mod revocations;
mod rules;
mod snapshots;
mod store;
mod undo;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use crate::audit::{AuditLog as _, Event, What};
use crate::clients::{Client, Status};
use crate::clock::UnixTime;
use crate::enrolment::{Book, Enrolment, Template};
use crate::oauth::ClientId;
use crate::policy::{Policy, PolicyStore, ResourceServer, Role, Scope};
use crate::token::Revocations;

use audit::{Notes, Trail};
use committer::{Batch, Committer, Devices, Effect, Memory, Staged};
use credentials::Confirmations;
use enrolments::EnrolledDevice;
use meta::{Lineage, Mark, Meta};
use records::Record;

pub(crate) use records::reread as reread_record;
use revocations::{Revoked, Sequence};
use store::{Store, Sync, Write};
use usage::{LastUsed, Usage};
use writer::Writer;

pub use audit::{AuditHooks, AuditLimits, AuditWrite, Signer, Written};
pub use backup::{BACKUP_MAGIC, Backup, BackupFile, BackupWriter, Manifest, PlainKeys, backup_files};
pub use committer::WriteCounts;
pub use directory::write_private;
pub use draft::{Change, Draft, DraftFault, Kind, RecordRef};
pub use error::RegistryError;
pub use inspection::Inspection;
pub use keys::{Install, KeyInfo, KeyOptions, KeyStore, MasterKey};
pub use meta::{Origin, Restored};
pub use restore::{Staging, finish as finish_restore};
pub use snapshots::{FellBack, Snapshot, Snapshots};

/// Where the registry lies.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Its directory: made, with mode 0700, if it is not there.
    pub directory: PathBuf,
    /// sled's page cache, in bytes. Reads do not need it.
    pub cache_capacity: u64,
}

/// The open registry. One process has it open at a time.
pub struct Registry {
    memory: Arc<Memory>,
    committer: Writer,
    confirmations: Arc<Confirmations>,
    usage: Arc<Usage>,
    rule: Arc<OnceLock<ClientRule>>,
    revoked: Arc<OnceLock<Box<dyn Fn() + Send + std::marker::Sync>>>,
    clock: Arc<OnceLock<Box<dyn Fn() -> UnixTime + Send + std::marker::Sync>>>,
}

/// One more rule for what clients may have, told broken in the rest of a sentence that begins with the client, role or scope.
pub type ClientRule = Box<dyn Fn(&Client, &Policy) -> Result<(), String> + Send + std::marker::Sync>;

impl Registry {
    /// Opens the registry, makes a new one if there is none, and reads it into memory.
    ///
    /// # Errors
    /// [`RegistryError::Locked`] if another process has it open; others if it cannot be read in full: nothing is left out silently.
    pub fn open(options: &RegistryOptions) -> Result<Arc<Self>, RegistryError> {
        Self::open_with(options, Box::new(File::sync_data))
    }

    fn open_with(options: &RegistryOptions, sync: Sync) -> Result<Arc<Self>, RegistryError> {
        if let Some(state) = options.directory.parent() {
            restore::finish(state)?;
        }
        let mut store = Store::open(options, sync)?;
        let (meta, closed_at) = settle_meta(&mut store)?;
        let clients: HashMap<ClientId, Arc<Client>> =
            load::<Client>(&store)?.into_iter().map(|client| (client.client_id.clone(), Arc::new(client))).collect();
        let policy = Policy {
            resource_servers: load::<ResourceServer>(&store)?.into_iter().map(|server| (server.id.clone(), Arc::new(server))).collect(),
            scopes: load::<Scope>(&store)?.into_iter().map(|scope| (scope.name.clone(), Arc::new(scope))).collect(),
            roles: load::<Role>(&store)?.into_iter().map(|role| (role.name.clone(), Arc::new(role))).collect(),
        };
        let templates = load::<Template>(&store)?.into_iter().map(|template| (template.name.clone(), Arc::new(template))).collect();
        let enrolments = load::<Enrolment>(&store)?.into_iter().map(|enrolment| (enrolment.id.clone(), Arc::new(enrolment))).collect();
        let book = RwLock::new(Arc::new(Book { templates, enrolments }));
        let mut devices = Devices::new();
        for EnrolledDevice { enrolment, device, state, .. } in load::<EnrolledDevice>(&store)? {
            devices.entry(enrolment).or_default().insert(device, state);
        }
        let usage = Arc::new(Usage::new(load::<LastUsed>(&store)?));
        let revoked = Revoked {
            sequence: load::<Sequence>(&store)?.into_iter().next().map(Arc::new).unwrap_or_default(),
            clients: load::<Revocations>(&store)?.into_iter().map(|found| (found.client_id.clone(), Arc::new(found))).collect(),
        };
        let notes = Notes::default();
        let trail = Trail::load(&store, &notes)?;
        let lost = closed_at.saturating_sub(trail.last());
        let (clients, policy) = (RwLock::new(clients), RwLock::new(Arc::new(policy)));
        let memory = Arc::new(Memory { meta, lost, clients, policy, book, devices: RwLock::new(devices), revoked: RwLock::new(revoked) });
        let committer =
            Committer::start(store, memory.clone(), trail, notes).map_err(RegistryError::io("start the thread of", &options.directory))?;
        let (committer, rule, revoked) = (Writer::new(committer), Arc::default(), Arc::default());
        Ok(Arc::new(Self { memory, committer, confirmations: Arc::default(), usage, rule, revoked, clock: Arc::default() }))
    }

    /// How it took the place of another, if it did.
    #[must_use]
    pub fn restored(&self) -> Option<&Restored> {
        self.memory.meta.restored.as_ref()
    }

    /// If the registry has lost its end, and nothing has more of it, then that has to be told.
    fn tell_of_loss(&self) {
        let lost = self.memory.lost;
        if lost > 0 {
            tracing::error!(
                entries = lost,
                "THE REGISTRY HAS LOST ITS END: it had more entries in its audit trail than it has now, and no snapshot has them. The last \
                 changes are undone. Check the disk, and compare"
            );
            self.note(Event { count: Some(lost), ..Event::of(What::RegistryLostEnd) });
        }
    }

    /// Sets a rule that changes keep from now on, beside the registry's own. The first one set stays.
    pub fn require(&self, rule: ClientRule) {
        // Whoever comes second finds the same rule: there is one administrator to a registry.
        let _ = self.rule.set(rule);
    }

    /// Every client, sorted by id.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        let mut clients = self.clients_in_no_order();
        clients.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        clients
    }

    /// Every client.
    #[must_use]
    pub fn clients_in_no_order(&self) -> Vec<Arc<Client>> {
        let clients: Vec<_> = self.memory.clients.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        clients.into_iter().map(|client| self.confirmations.apply(client)).collect()
    }

    /// How many clients there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.memory.clients.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until the thread that writes has a moment, or moves on in a change of many records: for the disk, if that is at work.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`] if that thread is no more, and no change will be taken.
    pub fn answers(&self) -> Result<(), RegistryError> {
        self.committer.moves()
    }

    /// How often it was written since it was opened.
    #[must_use]
    pub fn write_counts(&self) -> WriteCounts {
        self.committer.counts()
    }

    /// Registers a client. Blocks until it is durable, as do all changes.
    ///
    /// # Errors
    /// If the id is taken, a rule is broken (such as a scope or role that is unknown), or the disk refuses; then nothing has changed.
    pub fn add_client(&self, client: Client) -> Result<Arc<Client>, RegistryError> {
        let client = Arc::new(client);
        self.committer.change(|staged| {
            if staged.client(&client.client_id).is_some() {
                return Err(already_exists(&*client));
            }
            rules::check_rule(self.rule.get(), &*client, &client, &staged.policy())?;
            put_client(client, staged)
        })
    }

    /// Changes a client; no other change comes in between. `change` must not call the registry's own changing functions.
    ///
    /// A client that is blocked or suspended afterwards has no token any more: all that it got are void from then on.
    ///
    /// # Errors
    /// If there is no such client, the result has another id or breaks a rule, or the disk refuses; then nothing has changed.
    pub fn update_client(&self, id: &ClientId, change: impl FnOnce(&mut Client)) -> Result<Arc<Client>, RegistryError> {
        let (client, is_stopped) = self.committer.change(|staged| {
            let before = staged.client(id).ok_or_else(|| not_found::<Client>(id.as_str()))?;
            let mut client = Client::clone(&*before);
            change(&mut client);
            if client.client_id != *id {
                return Err(RegistryError::Invalid {
                    kind: Client::KIND,
                    id: id.to_string(),
                    reason: "the id of a client never changes".into(),
                });
            }
            // Whatever the rule has become since: a client can always be blocked.
            if !rules::same_grants(&before, &client) {
                rules::check_rule(self.rule.get(), &client, &client, &staged.policy())?;
            }
            let is_stopped = client.status != Status::Active;
            let (mut batch, client) = put_client(Arc::new(client), staged)?;
            if is_stopped {
                Self::stop(&mut batch, staged, id, self.now())?;
            }
            Ok((batch, (client, is_stopped)))
        })?;
        if is_stopped {
            self.cover(id)?;
        }
        Ok(client)
    }

    /// Removes a client and returns it as it was. All tokens that it got are void from then on.
    ///
    /// # Errors
    /// If there is no such client, or the disk refuses; then nothing has changed.
    pub fn remove_client(&self, id: &ClientId) -> Result<Arc<Client>, RegistryError> {
        let removed = self.committer.change(|staged| {
            let client = staged.client(id).ok_or_else(|| not_found::<Client>(id.as_str()))?;
            let write = Write { tree: Client::TREE, key: id.as_str().into(), value: None };
            let mut batch = Batch::of(write, Effect::Client(id.clone(), None));
            Self::stop(&mut batch, staged, id, self.now())?;
            Ok((batch, client))
        })?;
        self.cover(id)?;
        Ok(removed)
    }

    /// Registers a resource server.
    ///
    /// # Errors
    /// If the id or the audience is taken, or the disk refuses; then nothing has changed.
    pub fn add_resource_server(&self, server: ResourceServer) -> Result<Arc<ResourceServer>, RegistryError> {
        let server = Arc::new(server);
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            if policy.resource_servers.contains_key(&server.id) {
                return Err(already_exists(&*server));
            }
            // A request may name a resource server by its audience or by its id: neither may mean two.
            for name in [server.audience.as_str(), server.id.as_str()] {
                if policy.resource_server_for(name).is_some() {
                    return Err(RegistryError::AlreadyExists { kind: "audience", id: name.to_owned() });
                }
            }
            rules::check_resource_server(&server)?;
            policy.resource_servers.insert(server.id.clone(), server.clone());
            Ok((Batch::of(write(&*server)?, Effect::Policy(Arc::new(policy))), server))
        })
    }

    /// Defines a scope.
    ///
    /// # Errors
    /// If the name is taken, the resource server is unknown or its dialect cannot say what the scope opens, or the disk refuses; then nothing has changed.
    pub fn add_scope(&self, scope: Scope) -> Result<Arc<Scope>, RegistryError> {
        let scope = Arc::new(scope);
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            if policy.scopes.contains_key(&scope.name) {
                return Err(already_exists(&*scope));
            }
            policy.scopes.insert(scope.name.clone(), scope.clone());
            rules::check_scope(self.rule.get(), &scope, &policy)?;
            Ok((Batch::of(write(&*scope)?, Effect::Policy(Arc::new(policy))), scope))
        })
    }

    /// Defines a role.
    ///
    /// # Errors
    /// If the name is taken, a scope is unknown, or the disk refuses; then nothing has changed.
    pub fn add_role(&self, role: Role) -> Result<Arc<Role>, RegistryError> {
        let role = Arc::new(role);
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            if policy.roles.contains_key(&role.name) {
                return Err(already_exists(&*role));
            }
            policy.roles.insert(role.name.clone(), role.clone());
            rules::check_role(self.rule.get(), &role, &policy)?;
            Ok((Batch::of(write(&*role)?, Effect::Policy(Arc::new(policy))), role))
        })
    }
}

impl PolicyStore for Registry {
    fn policy(&self) -> Arc<Policy> {
        self.memory.policy()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("clients", &self.client_count()).finish_non_exhaustive()
    }
}

/// Keeps a client as it is now, and what became of its credentials in the audit trail.
fn put_client(client: Arc<Client>, staged: &Staged<'_>) -> Result<(Batch, Arc<Client>), RegistryError> {
    rules::check_client(&client, &staged.policy())?;
    let events = credentials::events(staged.client(&client.client_id).as_deref(), &client);
    Ok((Batch::of(write(&*client)?, Effect::Client(client.client_id.clone(), Some(client.clone()))).audited(events), client))
}

/// The registry's own record, that of a new one, of one from before there were lineages, or as it is; and the last entry of its audit trail when it was
/// closed.
fn settle_meta(store: &mut Store) -> Result<(Meta, u64), RegistryError> {
    let marked = meta::marked(store.directory())?;
    let found = load::<Meta>(store)?.into_iter().next();
    if found.is_none() && marked.is_some() {
        let source = "it reads as if it held nothing, though there is a registry: its log is damaged at the beginning";
        return Err(RegistryError::Corrupt { path: store.directory().to_owned(), source: Arc::new(std::io::Error::other(source)) });
    }
    let mut meta = found.unwrap_or_else(|| Meta { created_at: now(), ..Meta::default() });
    if !meta.lineage.is_known() {
        meta.lineage = Lineage::random()?;
        store.commit(&[write(&meta)?])?;
    }
    match marked {
        Some(mark) if mark.lineage == meta.lineage => Ok((meta, mark.audit_seq)),
        _ => {
            meta::mark(store.directory(), Mark { lineage: meta.lineage, audit_seq: 0 })?;
            Ok((meta, 0))
        }
    }
}

fn write<R: Record>(record: &R) -> Result<Write, RegistryError> {
    Ok(Write { tree: R::TREE, key: record.name().into(), value: Some(records::encode(record)?) })
}

fn load<R: Record>(store: &Store) -> Result<Vec<R>, RegistryError> {
    let decode = |(key, value): (_, _)| records::decode(store.directory(), AsRef::<[u8]>::as_ref(&key), AsRef::<[u8]>::as_ref(&value));
    store.scan(R::TREE).map(|record| record.and_then(decode)).collect()
}

fn already_exists<R: Record>(record: &R) -> RegistryError {
    RegistryError::AlreadyExists { kind: R::KIND, id: record.name().to_owned() }
}

fn not_found<R: Record>(name: &str) -> RegistryError {
    RegistryError::NotFound { kind: R::KIND, id: name.to_owned() }
}

/// The system clock, for marks of creation.
fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
