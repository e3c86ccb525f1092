//! A look at everything that lies on disk: whether it can be read, keeps the rules, and is what is in force.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::audit::Trail;
use super::committer::Memory;
use super::enrolments::{EnrolledDevice, check_template};
use super::error::RegistryError;
use super::meta::Meta;
use super::records::{self, Record, Tree};
use super::revocations::Sequence;
use super::store::Store;
use super::usage::LastUsed;
use super::{Registry, rules};
use crate::clients::Client;
use crate::clock::UnixTime;
use crate::enrolment::{Enrolment, Template};
use crate::policy::{ResourceServer, Role, Scope};
use crate::token::Revocations;

/// Faults that are told; more are counted.
const MAX_TOLD: usize = 20;

/// What a look at the registry's files came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// When the registry was made.
    pub created_at: UnixTime,
    /// Records that were read.
    pub records: usize,
    /// How many of them are at fault.
    pub faulty: usize,
    /// What is wrong, of the first.
    pub faults: Vec<String>,
}

impl Inspection {
    fn tell(&mut self, fault: impl std::fmt::Display) {
        self.faulty = self.faulty.saturating_add(1);
        if self.faults.len() < MAX_TOLD {
            self.faults.push(fault.to_string());
        }
    }

    /// Every record of a kind that can be read.
    fn read<R: Record>(&mut self, store: &Store) -> Vec<R> {
        let mut found = Vec::new();
        for stored in store.scan(R::TREE) {
            self.records = self.records.saturating_add(1);
            let decoded = stored.and_then(|(key, value)| records::decode(store.directory(), key.as_ref(), value.as_ref()));
            match decoded {
                Ok(record) => found.push(record),
                Err(error) => self.tell(error),
            }
        }
        found
    }

    fn check(&mut self, outcome: Result<(), RegistryError>) {
        if let Err(error) = outcome {
            self.tell(error);
        }
    }

    /// Compares what is on disk with what is in force.
    fn compare<R: Record + PartialEq>(&mut self, stored: &[R], in_force: usize, held: impl Fn(&R) -> bool) {
        for record in stored.iter().filter(|record| !held(record)) {
            self.tell(format!("{} {} on disk is not what is in force: restart the gateway", R::KIND, record.name()));
        }
        if stored.len() != in_force {
            self.tell(format!("{} records of the kind {} are on disk and {in_force} in force: restart the gateway", stored.len(), R::KIND));
        }
    }
}

impl Registry {
    /// Reads every record from the disk and checks it, between two changes. Takes its time, and no request waits for it.
    ///
    /// # Errors
    /// If the registry has stopped.
    pub fn inspect(&self) -> Result<Inspection, RegistryError> {
        let memory = self.memory.clone();
        self.committer.look(move |store, _| inspect(store, &memory))
    }
}

fn inspect(store: &Store, memory: &Memory) -> Inspection {
    let mut inspection = Inspection::default();
    let (policy, book) = (memory.policy(), memory.book());
    let revoked = || memory.revoked.read().unwrap_or_else(PoisonError::into_inner);
    if memory.lost > 0 {
        inspection.tell(format!("the registry had {} more entries in its audit trail: its end was lost", memory.lost));
    }
    // A kind of record that is new has to be looked at, too.
    for tree in Tree::ALL {
        match tree {
            Tree::Meta => match inspection.read::<Meta>(store).as_slice() {
                [meta] => inspection.created_at = meta.created_at,
                _ => inspection.tell("the registry's own record is missing"),
            },
            Tree::Audit => {
                let damaged = |entry| inspection.tell(format!("the audit trail is damaged at entry {entry}: see `credgate audit verify`"));
                match Trail::read(store, damaged) {
                    Ok(trail) => {
                        let entries = usize::try_from(trail.count()).unwrap_or(usize::MAX);
                        inspection.records = inspection.records.saturating_add(entries);
                    }
                    Err(error) => inspection.tell(error),
                }
            }
            Tree::ResourceServers => {
                let stored: Vec<ResourceServer> = inspection.read(store);
                stored.iter().for_each(|server| inspection.check(rules::check_resource_server(server)));
                let held = |server: &ResourceServer| policy.resource_servers.get(&server.id).is_some_and(|held| **held == *server);
                inspection.compare(&stored, policy.resource_servers.len(), held);
            }
            Tree::Scopes => {
                let stored: Vec<Scope> = inspection.read(store);
                stored.iter().for_each(|scope| inspection.check(rules::check_permissions(scope, &policy)));
                let held = |scope: &Scope| policy.scopes.get(&scope.name).is_some_and(|held| **held == *scope);
                inspection.compare(&stored, policy.scopes.len(), held);
            }
            Tree::Roles => {
                let stored: Vec<Role> = inspection.read(store);
                stored.iter().for_each(|role| inspection.check(rules::known_scopes(&role.scope, &policy)));
                inspection.compare(&stored, policy.roles.len(), |role| policy.roles.get(&role.name).is_some_and(|held| **held == *role));
            }
            Tree::Templates => {
                let stored: Vec<Template> = inspection.read(store);
                stored.iter().for_each(|template| inspection.check(check_template(None, template, &policy)));
                let held = |template: &Template| book.templates.get(&template.name).is_some_and(|held| **held == *template);
                inspection.compare(&stored, book.templates.len(), held);
            }
            Tree::Enrolments => {
                let stored: Vec<Enrolment> = inspection.read(store);
                let held = |enrolment: &Enrolment| book.enrolments.get(&enrolment.id).is_some_and(|held| **held == *enrolment);
                inspection.compare(&stored, book.enrolments.len(), held);
            }
            Tree::EnrolledDevices => {
                let stored: Vec<EnrolledDevice> = inspection.read(store);
                let count = memory.devices.read().unwrap_or_else(PoisonError::into_inner).values().map(BTreeMap::len).sum();
                inspection.compare(&stored, count, |known| memory.device(&known.enrolment, &known.device).as_ref() == Some(&known.state));
            }
            Tree::Sequence => {
                let stored: Vec<Sequence> = inspection.read(store);
                let number = stored.first().map_or(0, |sequence| sequence.number);
                if stored.len() > 1 || stored.into_iter().next().unwrap_or_default() != *revoked().sequence {
                    inspection.tell("the sequence number of revocations on disk is not what is in force: restart the gateway");
                }
                if number == 0 && !revoked().clients.is_empty() {
                    inspection.tell("there are revocations, but their sequence number is missing: lists of them would seem old");
                }
            }
            Tree::Revocations => {
                let stored: Vec<Revocations> = inspection.read(store);
                let held = |found: &Revocations| revoked().clients.get(&found.client_id).is_some_and(|held| **held == *found);
                inspection.compare(&stored, revoked().clients.len(), held);
            }
            Tree::Clients => {
                let stored: Vec<Client> = inspection.read(store);
                stored.iter().for_each(|client| inspection.check(rules::check_client(client, &policy)));
                let count = memory.clients.read().unwrap_or_else(PoisonError::into_inner).len();
                inspection.compare(&stored, count, |client| memory.client(&client.client_id).is_some_and(|held| *held == *client));
            }
            // What is in memory is newer.
            Tree::LastUsed => drop::<Vec<LastUsed>>(inspection.read(store)),
        }
    }
    inspection
}
