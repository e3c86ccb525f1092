//! Templates, enrolments, and the devices that an enrolment knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::committer::{Batch, Effect, Staged};
use super::error::RegistryError;
use super::policies::{erase, keeps_name, unused};
use super::records::{Record, Tree};
use super::store::Write;
use super::{ClientRule, Registry, already_exists, not_found, rules, write};
use crate::clients::{Attributes, AuthMethod, Client, Status};
use crate::clock::UnixTime;
use crate::enrolment::{Book, ClientIdPattern, DeviceName, DeviceState, Enrolment, MAX_DEVICES, Template, TemplateName, TokenDigest};
use crate::oauth::{ClientId, EnrolmentId, ResourceServerId, RoleName, ScopeToken, SerialNumber};
use crate::policy::Policy;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateV1 {
    description: String,
    client_id: ClientIdPattern,
    methods: Vec<AuthMethod>,
    scope: Vec<ScopeToken>,
    roles: Vec<RoleName>,
    default_scope: Vec<ScopeToken>,
    audiences: Vec<ResourceServerId>,
    attributes: Attributes,
    max_token_lifetime: Option<u32>,
    require_request_binding: bool,
    created_at: UnixTime,
    updated_at: UnixTime,
}

impl Record for Template {
    const TREE: Tree = Tree::Templates;
    const KIND: &'static str = "enrolment template";
    type Stored = TemplateV1;

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn to_stored(&self) -> TemplateV1 {
        TemplateV1 {
            description: self.description.clone(),
            client_id: self.client_id.clone(),
            methods: self.methods.iter().copied().collect(),
            scope: self.scope.iter().cloned().collect(),
            roles: self.roles.iter().cloned().collect(),
            default_scope: self.default_scope.iter().cloned().collect(),
            audiences: self.audiences.iter().cloned().collect(),
            attributes: self.attributes.clone(),
            max_token_lifetime: self.max_token_lifetime,
            require_request_binding: self.require_request_binding,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn from_stored(name: &str, stored: TemplateV1) -> Option<Self> {
        Some(Self {
            name: name.parse().ok()?,
            description: stored.description,
            client_id: stored.client_id,
            methods: stored.methods.into_iter().collect(),
            scope: stored.scope.into_iter().collect(),
            roles: stored.roles.into_iter().collect(),
            default_scope: stored.default_scope.into_iter().collect(),
            audiences: stored.audiences.into_iter().collect(),
            attributes: stored.attributes,
            max_token_lifetime: stored.max_token_lifetime,
            require_request_binding: stored.require_request_binding,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolmentV1 {
    description: String,
    template: TemplateName,
    uses: u32,
    used: u32,
    is_limited: bool,
    expires_at: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<UnixTime>,
    digest: TokenDigest,
    created_at: UnixTime,
}

impl Record for Enrolment {
    const TREE: Tree = Tree::Enrolments;
    const KIND: &'static str = "enrolment";
    type Stored = EnrolmentV1;

    fn name(&self) -> &str {
        self.id.as_str()
    }

    fn to_stored(&self) -> EnrolmentV1 {
        EnrolmentV1 {
            description: self.description.clone(),
            template: self.template.clone(),
            uses: self.uses,
            used: self.used,
            is_limited: self.is_limited,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            digest: self.digest,
            created_at: self.created_at,
        }
    }

    fn from_stored(name: &str, stored: EnrolmentV1) -> Option<Self> {
        Some(Self {
            id: name.parse().ok()?,
            description: stored.description,
            template: stored.template,
            uses: stored.uses,
            used: stored.used,
            is_limited: stored.is_limited,
            expires_at: stored.expires_at,
            revoked_at: stored.revoked_at,
            digest: stored.digest,
            created_at: stored.created_at,
        })
    }
}

/// A device that an enrolment knows, in a record of its own: an enrolment may know more than fit into its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnrolledDevice {
    key: String,
    pub(super) enrolment: EnrolmentId,
    pub(super) device: DeviceName,
    pub(super) state: DeviceState,
}

impl EnrolledDevice {
    pub(super) fn new(enrolment: EnrolmentId, device: DeviceName, state: DeviceState) -> Self {
        Self { key: device_key(&enrolment, &device), enrolment, device, state }
    }
}

fn device_key(enrolment: &EnrolmentId, device: &DeviceName) -> String {
    format!("{enrolment}/{device}")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolledDeviceV1 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enrolled_at: Option<UnixTime>,
}

impl Record for EnrolledDevice {
    const TREE: Tree = Tree::EnrolledDevices;
    const KIND: &'static str = "enrolled device";
    type Stored = EnrolledDeviceV1;

    fn name(&self) -> &str {
        &self.key
    }

    fn to_stored(&self) -> EnrolledDeviceV1 {
        match &self.state {
            DeviceState::Awaited => EnrolledDeviceV1 { client_id: None, enrolled_at: None },
            DeviceState::Enrolled { client_id, at } => EnrolledDeviceV1 { client_id: Some(client_id.clone()), enrolled_at: Some(*at) },
        }
    }

    fn from_stored(name: &str, stored: EnrolledDeviceV1) -> Option<Self> {
        let (enrolment, device) = name.split_once('/')?;
        let state = match (stored.client_id, stored.enrolled_at) {
            (None, None) => DeviceState::Awaited,
            (Some(client_id), Some(at)) => DeviceState::Enrolled { client_id, at },
            _ => return None,
        };
        Some(Self::new(enrolment.parse().ok()?, device.parse().ok()?, state))
    }
}

impl Registry {
    /// The templates and enrolments in force.
    #[must_use]
    pub fn enrolments(&self) -> Arc<Book> {
        self.memory.book()
    }

    /// The devices that an enrolment knows, sorted.
    #[must_use]
    pub fn enrolled_devices(&self, id: &EnrolmentId) -> BTreeMap<DeviceName, DeviceState> {
        self.memory.devices(id)
    }

    /// Defines a template.
    ///
    /// # Errors
    /// If the name is taken, its clients would break a rule, or the disk refuses; then nothing has changed.
    pub fn add_template(&self, template: Template) -> Result<Arc<Template>, RegistryError> {
        let template = Arc::new(template);
        self.committer.change(|staged| {
            if staged.book().templates.contains_key(&template.name) {
                return Err(already_exists(&*template));
            }
            put_template(self.rule.get(), staged, template)
        })
    }

    /// Changes a template; its name stays. Clients that registered by it stay as they are.
    ///
    /// # Errors
    /// If there is none of that name, its clients would break a rule, or the disk refuses; then nothing has changed.
    pub fn update_template(&self, name: &TemplateName, change: impl FnOnce(&mut Template)) -> Result<Arc<Template>, RegistryError> {
        self.committer.change(|staged| {
            let book = staged.book();
            let mut template = Template::clone(book.templates.get(name).ok_or_else(|| not_found::<Template>(name.as_str()))?);
            change(&mut template);
            keeps_name(&template, name.as_str())?;
            put_template(self.rule.get(), staged, Arc::new(template))
        })
    }

    /// Removes a template and returns it as it was.
    ///
    /// # Errors
    /// If there is none of that name, an enrolment still names it, or the disk refuses; then nothing has changed.
    pub fn remove_template(&self, name: &TemplateName) -> Result<Arc<Template>, RegistryError> {
        self.committer.change(|staged| {
            let mut book = Book::clone(&staged.book());
            let template = book.templates.remove(name).ok_or_else(|| not_found::<Template>(name.as_str()))?;
            let users = book.enrolments.values().filter(|enrolment| enrolment.template == *name);
            unused(&*template, &[("enrolment", users.map(|enrolment| enrolment.id.to_string()).collect())])?;
            Ok((Batch::of(erase(&*template), Effect::Book(Arc::new(book))), template))
        })
    }

    /// Makes an enrolment.
    ///
    /// # Errors
    /// If the id is taken, the template is unknown, or the disk refuses; then nothing has changed.
    pub fn add_enrolment(&self, enrolment: Enrolment) -> Result<Arc<Enrolment>, RegistryError> {
        self.committer.change(|staged| {
            if staged.book().enrolments.contains_key(&enrolment.id) {
                return Err(already_exists(&enrolment));
            }
            if !staged.book().templates.contains_key(&enrolment.template) {
                return Err(not_found::<Template>(enrolment.template.as_str()));
            }
            put_enrolment(staged, enrolment, Batch::default())
        })
    }

    /// Lets devices with these serial numbers register by an enrolment that is limited to some. If it had a use for each before, it has one for
    /// each of these, too.
    ///
    /// # Errors
    /// If there is no such enrolment, it is not limited, would know too many devices, or the disk refuses; then nothing has changed.
    pub fn add_serials(&self, id: &EnrolmentId, serials: Vec<SerialNumber>) -> Result<Arc<Enrolment>, RegistryError> {
        self.committer.change(|staged| {
            let mut enrolment = find(staged, id)?;
            if !enrolment.is_limited {
                return invalid(&enrolment, "is for devices with any serial number");
            }
            let known = staged.devices(id);
            let mut batch = Batch::default();
            let new: std::collections::BTreeSet<DeviceName> =
                serials.into_iter().map(DeviceName::Serial).filter(|device| !known.contains_key(device)).collect();
            if known.len().saturating_add(new.len()) > MAX_DEVICES {
                return invalid(&enrolment, format!("can know at most {MAX_DEVICES} devices: make several enrolments"));
            }
            if usize::try_from(enrolment.uses).is_ok_and(|uses| uses == known.len()) {
                enrolment.uses = enrolment.uses.saturating_add(u32::try_from(new.len()).unwrap_or(u32::MAX));
            }
            for device in new {
                put_device(&mut batch, id, device, Some(DeviceState::Awaited))?;
            }
            put_enrolment(staged, enrolment, batch)
        })
    }

    /// Changes what an enrolment is for and how many devices may register by it, or brings its end forward.
    ///
    /// # Errors
    /// If there is no such enrolment, more devices have registered than may, its end would be later than its token says, or the disk refuses;
    /// then nothing has changed.
    pub fn update_enrolment(
        &self,
        id: &EnrolmentId,
        description: Option<String>,
        uses: Option<u32>,
        expires_at: Option<UnixTime>,
    ) -> Result<Arc<Enrolment>, RegistryError> {
        self.committer.change(|staged| {
            let mut enrolment = find(staged, id)?;
            if let Some(uses) = uses {
                if uses < enrolment.used {
                    return invalid(&enrolment, format!("{} devices have registered by it already", enrolment.used));
                }
                enrolment.uses = uses;
            }
            if let Some(end) = expires_at {
                if end > enrolment.expires_at {
                    return invalid(&enrolment, format!("its token says that it ends at {}: make another one", enrolment.expires_at));
                }
                enrolment.expires_at = end;
            }
            if let Some(description) = description {
                enrolment.description = description;
            }
            put_enrolment(staged, enrolment, Batch::default())
        })
    }

    /// Ends an enrolment. Clients that registered by it stay.
    ///
    /// # Errors
    /// If there is no such enrolment, or the disk refuses; then nothing has changed.
    pub fn revoke_enrolment(&self, id: &EnrolmentId, now: UnixTime) -> Result<Arc<Enrolment>, RegistryError> {
        self.committer.change(|staged| {
            let mut enrolment = find(staged, id)?;
            enrolment.revoked_at.get_or_insert(now);
            put_enrolment(staged, enrolment, Batch::default())
        })
    }

    /// Lets a device register once more, and gives its use back: removes the client that it registered as, whose tokens are void from then on. The
    /// client, as it was, if it was there.
    ///
    /// # Errors
    /// If there is no such enrolment or the device has not registered, if its client is blocked, or the disk refuses; then nothing has changed.
    pub fn release_device(&self, id: &EnrolmentId, device: &DeviceName) -> Result<Option<Arc<Client>>, RegistryError> {
        let removed = self.committer.change(|staged| {
            let mut enrolment = find(staged, id)?;
            let client_id = match staged.device(id, device) {
                Some(DeviceState::Enrolled { client_id, .. }) => client_id,
                Some(DeviceState::Awaited) => return invalid(&enrolment, format!("awaits {device}: there is nothing to release")),
                None => return invalid(&enrolment, format!("does not know {device}")),
            };
            let client = staged.client(&client_id).filter(|client| client.enrolled_by.as_ref().is_some_and(|by| by.enrolment == *id));
            if client.as_ref().is_some_and(|client| client.status == Status::Blocked) {
                return invalid(&enrolment, format!("registered {device} as client {client_id}, which is blocked: remove that first"));
            }
            let mut batch = Batch::default();
            put_device(&mut batch, id, device.clone(), enrolment.is_limited.then_some(DeviceState::Awaited))?;
            if let Some(client) = &client {
                batch.add(erase(&**client), Effect::Client(client.client_id.clone(), None));
                Self::stop(&mut batch, staged, &client.client_id, self.now())?;
            }
            enrolment.used = enrolment.used.saturating_sub(1);
            let (batch, _) = put_enrolment(staged, enrolment, batch)?;
            Ok((batch, client))
        })?;
        if let Some(client) = &removed {
            self.cover(&client.client_id)?;
        }
        Ok(removed)
    }

    /// Removes an enrolment and what it knows of devices; returns it as it was. Clients that registered by it stay.
    ///
    /// # Errors
    /// If there is no such enrolment, or the disk refuses; then nothing has changed.
    pub fn remove_enrolment(&self, id: &EnrolmentId) -> Result<Arc<Enrolment>, RegistryError> {
        self.committer.change(|staged| {
            let mut book = Book::clone(&staged.book());
            let enrolment = book.enrolments.remove(id).ok_or_else(|| not_found::<Enrolment>(id.as_str()))?;
            let mut batch = Batch::of(erase(&*enrolment), Effect::Book(Arc::new(book)));
            for device in staged.devices(id).into_keys() {
                put_device(&mut batch, id, device, None)?;
            }
            Ok((batch, enrolment))
        })
    }
}

fn invalid<T>(enrolment: &Enrolment, reason: impl Into<std::borrow::Cow<'static, str>>) -> Result<T, RegistryError> {
    Err(RegistryError::Invalid { kind: Enrolment::KIND, id: enrolment.id.to_string(), reason: reason.into() })
}

fn find(staged: &Staged<'_>, id: &EnrolmentId) -> Result<Enrolment, RegistryError> {
    staged.book().enrolments.get(id).map(|enrolment| Enrolment::clone(enrolment)).ok_or_else(|| not_found::<Enrolment>(id.as_str()))
}

fn put_template(rule: Option<&ClientRule>, staged: &Staged<'_>, template: Arc<Template>) -> Result<(Batch, Arc<Template>), RegistryError> {
    check_template(rule, &template, &staged.policy())?;
    let mut book = Book::clone(&staged.book());
    book.templates.insert(template.name.clone(), template.clone());
    Ok((Batch::of(write(&*template)?, Effect::Book(Arc::new(book))), template))
}

/// Adds an enrolment as it is to be to what else a change does.
pub(super) fn put_enrolment(staged: &Staged<'_>, enrolment: Enrolment, mut batch: Batch) -> Result<(Batch, Arc<Enrolment>), RegistryError> {
    let (mut book, enrolment) = (Book::clone(&staged.book()), Arc::new(enrolment));
    book.enrolments.insert(enrolment.id.clone(), enrolment.clone());
    batch.add(write(&*enrolment)?, Effect::Book(Arc::new(book)));
    Ok((batch, enrolment))
}

/// Adds what an enrolment is to know of a device, if anything, to what else a change does.
pub(super) fn put_device(
    batch: &mut Batch,
    enrolment: &EnrolmentId,
    device: DeviceName,
    state: Option<DeviceState>,
) -> Result<(), RegistryError> {
    let effect = Effect::Device(enrolment.clone(), device.clone(), state.clone());
    let write = match state {
        Some(state) => write(&EnrolledDevice::new(enrolment.clone(), device, state))?,
        None => Write { tree: Tree::EnrolledDevices, key: device_key(enrolment, &device).into(), value: None },
    };
    batch.add(write, effect);
    Ok(())
}

/// Checks that whoever registers by a template keeps the rules of clients, however long its client id is.
pub(super) fn check_template(rule: Option<&ClientRule>, template: &Template, policy: &Policy) -> Result<(), RegistryError> {
    let told = |reason: String| RegistryError::Invalid { kind: Template::KIND, id: template.name.to_string(), reason: reason.into() };
    if template.methods.is_empty() {
        return Err(told("must allow a method of authentication".into()));
    }
    let longest = template.client_id.longest().ok_or_else(|| told("its client ids are too long".into()))?;
    let client = template.client(longest, None, UnixTime::from_secs(0));
    rules::check_client(&client, policy).map_err(|error| match error {
        // What is wrong with the made-up client is wrong with the template.
        RegistryError::Invalid { reason, .. } => told(reason.into_owned()),
        other => other,
    })?;
    rules::check_rule(rule, template, &client, policy)
}

/// Templates that name something, for an error.
pub(super) fn templates_that(staged: &Staged<'_>, names: impl Fn(&Template) -> bool) -> Vec<String> {
    staged.book().templates.values().filter(|template| names(template)).map(|template| template.name.to_string()).collect()
}
