//! The end of a draft: all of it at once, if everything still is what it was drafted from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::committer::{Batch, Effect, Staged};
use super::super::error::RegistryError;
use super::super::policies::erase;
use super::super::records::Record;
use super::super::store::Write;
use super::super::{credentials, now, revocations, write};
use super::{Draft, Step};
use crate::audit::{Event, What};
use crate::clients::{Client, Status};
use crate::clock::UnixTime;
use crate::enrolment::{Book, Template};
use crate::oauth::{ClientId, ResourceServerId};
use crate::policy::{Policy, ResourceServer, Role, Scope};

/// Entries of the audit trail that tell of single clients. What happens to more of them in one change is counted instead, so that it does not
/// drive everything else out of the trail.
const MAX_TOLD: usize = 256;

impl Draft {
    /// Does what was drafted, all of it or nothing, and blocks until it is durable. A device may have taken a new secret or key meanwhile: it keeps
    /// that.
    ///
    /// # Errors
    /// [`RegistryError::ChangedMeanwhile`] if a record that the draft is about is not as it was when it was drafted, or if the disk refuses; then
    /// nothing has changed.
    pub fn commit(mut self) -> Result<(), RegistryError> {
        self.sort();
        let (registry, now) = (self.registry.clone(), now());
        // Before anybody else has to wait.
        let mut batch = Batch::default();
        self.write_definitions(&mut batch)?;
        let mut written = Vec::with_capacity(self.steps.len());
        for step in self.steps.iter().filter(|step| step.is_change()) {
            written.push(client_write(step)?);
        }
        let stopped = self.stopped();
        let removed: Vec<ResourceServerId> =
            self.policy.resource_servers.keys().filter(|id| !self.next_policy.resource_servers.contains_key(*id)).cloned().collect();
        registry.committer.change(|staged| {
            let current = self.compare(staged)?;
            let mut events = Tally::default();
            let mut steps = std::mem::take(&mut self.steps);
            steps.retain(Step::is_change);
            for ((mut step, mut write), current) in steps.into_iter().zip(written).zip(current) {
                if let (Some(current), Some(after)) = (current, &mut step.after) {
                    // The credentials are the device's own business.
                    let client = Arc::make_mut(after);
                    let Client { secrets, jwks, rotation, .. } = Client::clone(&current);
                    (client.secrets, client.jwks, client.rotation) = (secrets, jwks, rotation);
                    step.before = Some(current);
                    write = client_write(&step)?;
                }
                if let Some(after) = &step.after {
                    credentials::events(step.before.as_deref(), after).into_iter().for_each(|event| events.add(event));
                }
                let Some(id) = step.id().cloned() else { continue };
                batch.add(write, Effect::Client(id, step.after));
            }
            if self.changes_policy() {
                batch.then(Effect::Policy(Arc::new(self.next_policy.clone())));
            }
            if self.changes_templates() {
                let book = Book { templates: self.next_templates.clone(), enrolments: staged.book().enrolments.clone() };
                batch.then(Effect::Book(Arc::new(book)));
            }
            let dated = registry.now();
            revocations::stop_many(&mut batch, staged, &stopped, &removed, dated)?;
            stopped.iter().for_each(|id| events.add(Event::of(What::TokensRevoked).client(id).until(dated.saturating_add(1))));
            Ok((batch.audited(events.told(now)), ()))
        })?;
        registry.cover_many(&stopped)
    }

    /// The clients whose tokens are void with this change.
    fn stopped(&self) -> Vec<ClientId> {
        let is_active = |client: &Arc<Client>| client.status == Status::Active;
        let is_stopped = |step: &&Step| match (&step.before, &step.after) {
            (Some(before), Some(after)) => is_active(before) && !is_active(after),
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.steps.iter().filter(is_stopped).filter_map(Step::id).cloned().collect()
    }

    fn write_definitions(&self, batch: &mut Batch) -> Result<(), RegistryError> {
        let (old, new) = (&*self.policy, &self.next_policy);
        write_different(batch, &old.resource_servers, &new.resource_servers)?;
        write_different(batch, &old.scopes, &new.scopes)?;
        write_different(batch, &old.roles, &new.roles)?;
        write_different(batch, &self.book.templates, &self.next_templates)
    }

    /// Refuses if anything that the draft is about is not what it was drafted from. For each client that changes: what it is now, if that is not
    /// the very record but differs in its credentials alone.
    fn compare(&self, staged: &Staged<'_>) -> Result<Vec<Option<Arc<Client>>>, RegistryError> {
        let (policy, book) = (staged.policy(), staged.book());
        if !Arc::ptr_eq(&policy, &self.policy) {
            compare_definitions(&self.policy, &policy)?;
        }
        compare_all::<_, Template>(&self.book.templates, &book.templates)?;
        if let Some(enrolment) = book.enrolments.values().find(|enrolment| !self.next_templates.contains_key(&enrolment.template)) {
            return Err(changed::<Template>(enrolment.template.as_str()));
        }
        let mut differing = Vec::new();
        for step in &self.steps {
            let Some(id) = step.id() else { continue };
            let current = staged.client(id);
            let is_same = match (&step.before, &current) {
                (None, None) => true,
                (Some(before), Some(current)) => Arc::ptr_eq(before, current),
                _ => false,
            };
            let kept = match (&step.before, &step.after, current) {
                _ if is_same => None,
                (Some(before), after, Some(current)) if same_but_credentials(before, &current) => {
                    let touched = step.is_change() && after.as_ref().is_some_and(|after| !same_credentials(before, after));
                    if touched {
                        return Err(changed::<Client>(id.as_str()));
                    }
                    Some(current)
                }
                _ => return Err(changed::<Client>(id.as_str())),
            };
            if step.is_change() {
                differing.push(kept);
            }
        }
        self.compare_others(staged)?;
        Ok(differing)
    }

    /// Clients that the draft is not about, some of whom nobody knew when it was checked.
    fn compare_others(&self, staged: &Staged<'_>) -> Result<(), RegistryError> {
        let is_named = |id: &ClientId| self.steps.binary_search_by(|step| step.id().cmp(&Some(id))).is_ok();
        let changes_policy = self.changes_policy();
        if !changes_policy && !self.prunes_clients {
            return Ok(());
        }
        let changing = self.changed_clients();
        let mut found = None;
        staged.all_clients(|client| {
            let is_new = self.prunes_clients && client.enrolled_by.is_none() && !is_named(&client.client_id);
            let breaks = changes_policy && !changing.contains(&client.client_id) && self.breaks(client).is_some();
            if is_new || breaks {
                found = Some(client.client_id.clone());
            }
            found.is_none()
        });
        found.map_or(Ok(()), |id| Err(changed::<Client>(id.as_str())))
    }
}

fn client_write(step: &Step) -> Result<Write, RegistryError> {
    match (&step.before, &step.after) {
        (_, Some(after)) => write(&**after),
        (Some(before), None) => Ok(erase(&**before)),
        (None, None) => Ok(Write { tree: Client::TREE, key: Vec::new(), value: None }),
    }
}

fn write_different<K: Ord, R: Record>(
    batch: &mut Batch,
    old: &BTreeMap<K, Arc<R>>,
    new: &BTreeMap<K, Arc<R>>,
) -> Result<(), RegistryError> {
    for (name, record) in new {
        if !old.get(name).is_some_and(|before| Arc::ptr_eq(before, record)) {
            batch.put(write(&**record)?);
        }
    }
    old.iter().filter(|(name, _)| !new.contains_key(*name)).for_each(|(_, record)| batch.put(erase(&**record)));
    Ok(())
}

fn compare_definitions(old: &Policy, now: &Policy) -> Result<(), RegistryError> {
    compare_all::<_, ResourceServer>(&old.resource_servers, &now.resource_servers)?;
    compare_all::<_, Scope>(&old.scopes, &now.scopes)?;
    compare_all::<_, Role>(&old.roles, &now.roles)
}

fn compare_all<K: Ord + AsRef<str>, R: Record + PartialEq>(
    old: &BTreeMap<K, Arc<R>>,
    now: &BTreeMap<K, Arc<R>>,
) -> Result<(), RegistryError> {
    let differs = |name: &&K| old.get(*name) != now.get(*name);
    old.keys().chain(now.keys()).find(differs).map_or(Ok(()), |name| Err(changed::<R>(name.as_ref())))
}

fn changed<R: Record>(name: &str) -> RegistryError {
    RegistryError::ChangedMeanwhile { kind: R::KIND, id: name.to_owned() }
}

fn same_credentials(one: &Client, other: &Client) -> bool {
    (&one.secrets, &one.jwks, &one.rotation) == (&other.secrets, &other.jwks, &other.rotation)
}

fn same_but_credentials(one: &Client, other: &Client) -> bool {
    let Client { secrets, jwks, rotation, .. } = other.clone();
    Client { secrets, jwks, rotation, ..one.clone() } == *other
}

/// Events one by one or, of many, how often each kind of thing happened.
#[derive(Default)]
struct Tally {
    events: Vec<Event>,
    counts: BTreeMap<&'static str, (What, u64)>,
}

impl Tally {
    fn add(&mut self, event: Event) {
        if let Some(what) = What::ALL.iter().copied().find(|what| event.is(*what)) {
            let (_, count) = self.counts.entry(what.event()).or_insert((what, 0));
            *count = count.saturating_add(1);
        }
        if self.events.len() <= MAX_TOLD {
            self.events.push(event);
        }
    }

    fn told(self, now: UnixTime) -> Vec<Event> {
        if self.events.len() <= MAX_TOLD {
            return self.events;
        }
        self.counts.into_values().map(|(what, count)| Event::of(what).counted(count, now, now)).collect()
    }
}
