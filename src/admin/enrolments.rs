//! Commands on enrolment templates and enrolments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::administrator::{MAX_TEXT, check_count, check_text, invalid, random};
use super::lists::page;
use super::policies::something;
use super::{AdminError, AdminErrorCode, Administrator, Answer, Caller, ClientDocument, IssuedSecret};
use crate::clients::{Attributes, AuthMethod};
use crate::clock::UnixTime;
use crate::enrolment::{
    self, ClientIdPattern, DeviceName, DeviceState, Enrolment, EnrolmentStatus, Template, TemplateName, TokenDigest, random_word,
};
use crate::oauth::{EnrolmentId, ResourceServerId, RoleName, ScopeSet, SerialNumber};
use crate::registry::RegistryError;

/// Serial numbers in one command: their records are one write.
pub const MAX_SERIALS: usize = 1_024;

/// A command on templates and enrolments. Lists come in pages, as all do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EnrolmentCommand {
    /// Defines a template.
    TemplateAdd(Box<NewTemplate>),
    /// The templates, by name.
    TemplateList {
        /// Where the page begins.
        after: Option<TemplateName>,
        /// Templates in the page, at most.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// One template.
    TemplateShow {
        /// Which.
        name: TemplateName,
    },
    /// Changes a template.
    TemplateEdit {
        /// Which.
        name: TemplateName,
        /// What is to be different.
        changes: Box<TemplateChanges>,
    },
    /// Removes a template that no enrolment has.
    TemplateRemove {
        /// Which.
        name: TemplateName,
    },
    /// Makes an enrolment; answered with its token, this once.
    Add(NewEnrolment),
    /// Lets devices with these serial numbers register by an enrolment that is limited to some.
    AddSerials {
        /// By which.
        id: EnrolmentId,
        /// Which devices, at most [`MAX_SERIALS`].
        serials: Vec<SerialNumber>,
    },
    /// The enrolments, by id.
    List(EnrolmentQuery),
    /// Changes an enrolment.
    Edit {
        /// Which.
        id: EnrolmentId,
        /// What is to be different.
        changes: EnrolmentChanges,
    },
    /// One enrolment.
    Show {
        /// Which.
        id: EnrolmentId,
    },
    /// The devices that an enrolment knows.
    Devices {
        /// Which.
        id: EnrolmentId,
        /// Where the page begins.
        after: Option<DeviceName>,
    },
    /// Ends an enrolment.
    Revoke {
        /// Which.
        id: EnrolmentId,
    },
    /// Lets a device register once more, and removes the client that it was.
    Release {
        /// By which.
        id: EnrolmentId,
        /// Which.
        device: DeviceName,
    },
    /// Removes an enrolment. Its clients stay.
    Remove {
        /// Which.
        id: EnrolmentId,
    },
}

/// A template to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTemplate {
    /// Its name.
    pub name: TemplateName,
    /// How its clients are called.
    pub client_id: ClientIdPattern,
    /// What else it says.
    pub changes: TemplateChanges,
}

/// What is to be different at a template. What is `None` stays as it is; a set that is given replaces the one before, and an empty one empties it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateChanges {
    /// For people.
    pub description: Option<String>,
    /// How clients are called.
    pub client_id: Option<ClientIdPattern>,
    /// How clients may authenticate.
    pub methods: Option<BTreeSet<AuthMethod>>,
    /// The scopes granted beside those of the roles.
    pub scope: Option<ScopeSet>,
    /// The roles.
    pub roles: Option<BTreeSet<RoleName>>,
    /// What a request without `scope` gets.
    pub default_scope: Option<ScopeSet>,
    /// The resource servers that tokens are for.
    pub audiences: Option<BTreeSet<ResourceServerId>>,
    /// What topic permissions may say of each client.
    pub attributes: Option<Attributes>,
    /// The longest life of a token, in seconds; 0 for no limit.
    pub max_token_lifetime: Option<u32>,
    /// Whether clients with a key must bind each assertion to its request.
    pub require_request_binding: Option<bool>,
}

/// An enrolment to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    /// What its clients have.
    pub template: TemplateName,
    /// For people; may be empty.
    #[serde(default)]
    pub description: String,
    /// How many devices may register; 0, of a limited one, for as many as there will be serial numbers.
    pub uses: u32,
    /// Seconds until its end.
    pub expires_in: u32,
    /// Whether only devices with certain serial numbers may, which are to be named by [`EnrolmentCommand::AddSerials`].
    #[serde(default)]
    pub is_limited: bool,
}

/// Which enrolments: those that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnrolmentQuery {
    /// What their clients have.
    pub template: Option<TemplateName>,
    /// Whether they let another device register: one of these.
    pub status: Vec<EnrolmentStatus>,
    /// They end within so many seconds from now, or have ended.
    pub expiring_within: Option<u32>,
    /// Where the page begins.
    pub after: Option<EnrolmentId>,
    /// Enrolments in the page, at most.
    pub limit: Option<u32>,
}

impl EnrolmentQuery {
    fn matches(&self, enrolment: &Enrolment, now: UnixTime) -> bool {
        self.after.as_ref().is_none_or(|after| enrolment.id > *after)
            && self.template.as_ref().is_none_or(|template| enrolment.template == *template)
            && (self.status.is_empty() || self.status.contains(&enrolment.status_at(now)))
            && self.expiring_within.is_none_or(|within| enrolment.expires_at <= now.saturating_add(within.into()))
    }
}

/// What is to be different at an enrolment. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnrolmentChanges {
    /// For people.
    pub description: Option<String>,
    /// How many devices may register in all, those that have included.
    pub uses: Option<u32>,
    /// Seconds until its end, which can only come sooner.
    pub expires_in: Option<u32>,
}

/// The answer to an [`EnrolmentCommand`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentAnswer {
    /// One template, as it is, as it is after a change, or as it was before it was removed.
    Template(Arc<Template>),
    /// A page of templates.
    Templates {
        /// In the order of their names.
        templates: Vec<Arc<Template>>,
        /// Whether another page follows.
        more: bool,
    },
    /// An enrolment was made.
    Added {
        /// As it is kept.
        enrolment: EnrolmentDocument,
        /// Its token, which nothing can show again.
        token: IssuedSecret,
    },
    /// One enrolment, likewise.
    Enrolment(EnrolmentDocument),
    /// A page of enrolments.
    Enrolments {
        /// In the order of their ids.
        enrolments: Vec<EnrolmentDocument>,
        /// Whether another page follows.
        more: bool,
    },
    /// A page of devices.
    Devices {
        /// In the order of their names.
        devices: Vec<DeviceDocument>,
        /// Whether another page follows.
        more: bool,
    },
    /// A device may register once more.
    Released {
        /// The enrolment as it is now.
        enrolment: EnrolmentDocument,
        /// The client that was removed, as it was.
        client: Option<Box<ClientDocument>>,
    },
}

/// An enrolment as operators see it: without the digest of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentDocument {
    /// The identifier.
    pub id: EnrolmentId,
    /// For people; may be empty.
    pub description: String,
    /// What its clients have.
    pub template: TemplateName,
    /// Whether it lets another device register now.
    pub status: EnrolmentStatus,
    /// How many devices may register.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// Whether only devices with certain serial numbers may.
    pub is_limited: bool,
    /// The end.
    pub expires_at: UnixTime,
    /// When an operator ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
}

/// A device that an enrolment knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDocument {
    /// What it is known by.
    #[serde(flatten)]
    pub device: DeviceName,
    /// The client that it registered as, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_at: Option<UnixTime>,
}

fn check_uses(uses: Option<u32>) -> Result<(), AdminError> {
    match uses {
        Some(uses) if uses == 0 || usize::try_from(uses).map_or(true, |uses| uses > enrolment::MAX_DEVICES) => {
            Err(invalid(format!("an enrolment must be for 1 to {} devices", enrolment::MAX_DEVICES)))
        }
        _ => Ok(()),
    }
}

impl EnrolmentDocument {
    fn new(enrolment: &Enrolment) -> Self {
        Self {
            id: enrolment.id.clone(),
            description: enrolment.description.clone(),
            template: enrolment.template.clone(),
            status: enrolment.status_at(UnixTime::from(SystemTime::now())),
            uses: enrolment.uses,
            used: enrolment.used,
            is_limited: enrolment.is_limited,
            expires_at: enrolment.expires_at,
            revoked_at: enrolment.revoked_at,
            created_at: enrolment.created_at,
        }
    }
}

impl DeviceDocument {
    fn new(device: DeviceName, state: DeviceState) -> Self {
        match state {
            DeviceState::Awaited => Self { device, client_id: None, enrolled_at: None },
            DeviceState::Enrolled { client_id, at } => Self { device, client_id: Some(client_id.to_string()), enrolled_at: Some(at) },
        }
    }
}

impl TemplateChanges {
    fn check(&self) -> Result<(), AdminError> {
        check_text("the description", self.description.as_deref().unwrap_or_default(), MAX_TEXT)?;
        check_count("scopes", self.scope.as_ref().map_or(0, ScopeSet::len))?;
        check_count("default scopes", self.default_scope.as_ref().map_or(0, ScopeSet::len))?;
        check_count("roles", self.roles.as_ref().map_or(0, BTreeSet::len))?;
        check_count("audiences", self.audiences.as_ref().map_or(0, BTreeSet::len))
    }

    fn apply(self, template: &mut Template) {
        fn set<T>(member: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *member = new;
            }
        }
        set(&mut template.description, self.description);
        set(&mut template.client_id, self.client_id);
        set(&mut template.methods, self.methods);
        set(&mut template.scope, self.scope);
        set(&mut template.roles, self.roles);
        set(&mut template.default_scope, self.default_scope);
        set(&mut template.audiences, self.audiences);
        set(&mut template.attributes, self.attributes);
        set(&mut template.max_token_lifetime, self.max_token_lifetime.map(|limit| Some(limit).filter(|limit| *limit > 0)));
        set(&mut template.require_request_binding, self.require_request_binding);
    }
}

impl Administrator {
    /// Executes the commands on templates and enrolments.
    pub(super) fn enrolment(&self, caller: Caller, command: EnrolmentCommand) -> Result<Answer, AdminError> {
        let registry = &self.registry;
        let told = |enrolment: &Enrolment| Answer::Enrolment(EnrolmentAnswer::Enrolment(EnrolmentDocument::new(enrolment)));
        match command {
            EnrolmentCommand::TemplateAdd(new) => {
                let name = new.name.clone();
                self.change("enrolment template add", name.as_str(), caller, || self.add_template(*new))
            }
            EnrolmentCommand::TemplateEdit { name, changes } => {
                self.change("enrolment template edit", name.as_str(), caller, || self.edit_template(&name, *changes))
            }
            EnrolmentCommand::TemplateRemove { name } => self.change("enrolment template remove", name.as_str(), caller, || {
                Ok(Answer::Enrolment(EnrolmentAnswer::Template(registry.remove_template(&name)?)))
            }),
            EnrolmentCommand::Add(new) => {
                let mut bytes = [0; 16];
                random(&mut bytes)?;
                let id: EnrolmentId = random_word(&bytes)
                    .parse()
                    .map_err(|error: crate::oauth::InvalidWord| AdminError::new(AdminErrorCode::Internal, error.to_string()))?;
                self.change("enrolment add", id.as_str(), caller, || self.add_enrolment(id.clone(), new))
            }
            EnrolmentCommand::AddSerials { id, serials } => self.change("enrolment add-serials", id.as_str(), caller, || {
                if serials.len() > MAX_SERIALS {
                    return Err(invalid(format!("there must be at most {MAX_SERIALS} serial numbers in a command")));
                }
                Ok(told(&*registry.add_serials(&id, serials)?))
            }),
            EnrolmentCommand::Edit { id, changes } => self.change("enrolment edit", id.as_str(), caller, || {
                something(changes == EnrolmentChanges::default())?;
                check_text("the description", changes.description.as_deref().unwrap_or_default(), MAX_TEXT)?;
                check_uses(changes.uses)?;
                let end = changes.expires_in.map(|seconds| UnixTime::from(SystemTime::now()).saturating_add(seconds.into()));
                Ok(told(&*registry.update_enrolment(&id, changes.description, changes.uses, end)?))
            }),
            EnrolmentCommand::Revoke { id } => self.change("enrolment revoke", id.as_str(), caller, || {
                Ok(told(&*registry.revoke_enrolment(&id, UnixTime::from(SystemTime::now()))?))
            }),
            EnrolmentCommand::Release { id, device } => self.change("enrolment release", id.as_str(), caller, || {
                let client = registry.release_device(&id, &device)?.map(|client| Box::new(self.document(&client)));
                let enrolment = EnrolmentDocument::new(&*self.find_enrolment(&id)?);
                Ok(Answer::Enrolment(EnrolmentAnswer::Released { enrolment, client }))
            }),
            EnrolmentCommand::Remove { id } => {
                self.change("enrolment remove", id.as_str(), caller, || Ok(told(&*registry.remove_enrolment(&id)?)))
            }
            _ => self.show_enrolment(command).map(Answer::Enrolment),
        }
    }

    fn show_enrolment(&self, command: EnrolmentCommand) -> Result<EnrolmentAnswer, AdminError> {
        let book = self.registry.enrolments();
        Ok(match command {
            EnrolmentCommand::TemplateList { after, limit } => {
                let following = book.templates.values().filter(|template| after.as_ref().is_none_or(|after| template.name > *after));
                let (templates, more) = page(following.cloned(), limit)?;
                EnrolmentAnswer::Templates { templates, more }
            }
            EnrolmentCommand::TemplateShow { name } => {
                let missing = || RegistryError::NotFound { kind: "enrolment template", id: name.to_string() };
                EnrolmentAnswer::Template(book.templates.get(&name).cloned().ok_or_else(missing)?)
            }
            EnrolmentCommand::List(query) => {
                if let Some(unknown) = query.template.as_ref().filter(|name| !book.templates.contains_key(*name)) {
                    return Err(RegistryError::NotFound { kind: "enrolment template", id: unknown.to_string() }.into());
                }
                let now = UnixTime::from(SystemTime::now());
                let matching = book.enrolments.values().filter(|enrolment| query.matches(enrolment, now));
                let (enrolments, more) = page(matching.map(|enrolment| EnrolmentDocument::new(enrolment)), query.limit)?;
                EnrolmentAnswer::Enrolments { enrolments, more }
            }
            EnrolmentCommand::Show { id } => EnrolmentAnswer::Enrolment(EnrolmentDocument::new(&*self.find_enrolment(&id)?)),
            EnrolmentCommand::Devices { id, after } => {
                self.find_enrolment(&id)?;
                let devices = self.registry.enrolled_devices(&id).into_iter();
                let following = devices.filter(|(device, _)| after.as_ref().is_none_or(|after| device > after));
                let (devices, more) = page(following.map(|(device, state)| DeviceDocument::new(device, state)), None)?;
                EnrolmentAnswer::Devices { devices, more }
            }
            _ => return Err(invalid("no command that shows templates or enrolments")),
        })
    }

    fn find_enrolment(&self, id: &EnrolmentId) -> Result<Arc<Enrolment>, AdminError> {
        let missing = || RegistryError::NotFound { kind: "enrolment", id: id.to_string() };
        Ok(self.registry.enrolments().enrolments.get(id).cloned().ok_or_else(missing)?)
    }

    fn add_template(&self, new: NewTemplate) -> Result<Answer, AdminError> {
        new.changes.check()?;
        let mut template = Template::new(new.name, new.client_id, UnixTime::from(SystemTime::now()));
        new.changes.apply(&mut template);
        Ok(Answer::Enrolment(EnrolmentAnswer::Template(self.registry.add_template(template)?)))
    }

    fn edit_template(&self, name: &TemplateName, changes: TemplateChanges) -> Result<Answer, AdminError> {
        something(changes == TemplateChanges::default())?;
        changes.check()?;
        let now = UnixTime::from(SystemTime::now());
        let edited = self.registry.update_template(name, |template| {
            changes.apply(template);
            template.updated_at = now;
        })?;
        Ok(Answer::Enrolment(EnrolmentAnswer::Template(edited)))
    }

    fn add_enrolment(&self, id: EnrolmentId, new: NewEnrolment) -> Result<Answer, AdminError> {
        check_text("the description", &new.description, MAX_TEXT)?;
        check_uses(Some(new.uses).filter(|uses| *uses > 0 || !new.is_limited))?;
        if new.expires_in == 0 {
            return Err(invalid("an enrolment must end later than now"));
        }
        let now = UnixTime::from(SystemTime::now());
        let expires_at = now.saturating_add(new.expires_in.into());
        let mut secret = Zeroizing::new([0; 32]);
        random(secret.as_mut_slice())?;
        let (issuer, keys) = ((self.status)().issuer, self.keys.load_or_create()?);
        let token = enrolment::issue(&issuer, &id, &secret, now, expires_at, keys.active())
            .map_err(|error| AdminError::new(AdminErrorCode::Internal, format!("the token could not be signed: {error}")))?;
        let added = self.registry.add_enrolment(Enrolment {
            id,
            description: new.description,
            template: new.template,
            uses: new.uses,
            used: 0,
            is_limited: new.is_limited,
            expires_at,
            revoked_at: None,
            digest: TokenDigest::of(token.expose()),
            created_at: now,
        })?;
        Ok(Answer::Enrolment(EnrolmentAnswer::Added { enrolment: EnrolmentDocument::new(&added), token: token.into() }))
    }
}
