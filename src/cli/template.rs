//! `credgate enrolment template`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Subcommand;

use super::client::words;
use super::confirm::{confirm, named};
use super::connect::Gateway;
use super::error::{something, unexpected};
use super::grants::{attribute, attributes, scopes};
use super::output::Output;
use super::pages::{self, Page};
use super::table::Table;
use super::{CliError, Exit};
use crate::admin::{self, Answer, EnrolmentAnswer, EnrolmentCommand, NewTemplate, TemplateChanges};
use crate::clients::{AttributeName, AttributeValue, AuthMethod};
use crate::enrolment::{ClientIdPattern, Template, TemplateName};
use crate::oauth::{InvalidWord, ResourceServerId, RoleName, ScopeSet};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Define what clients have that register themselves
    Add {
        /// Its name
        name: TemplateName,
        /// How its clients are called, with {serial} or {random} in it, such as pump-{serial}
        #[arg(long, value_name = "PATTERN")]
        client_id: ClientIdPattern,
        #[command(flatten)]
        flags: Box<Flags>,
    },
    /// Change a template, for devices that register from now on; what is not named stays, a list that is named is replaced
    Edit {
        /// The template
        name: TemplateName,
        /// How its clients are called
        #[arg(long, value_name = "PATTERN")]
        client_id: Option<ClientIdPattern>,
        #[command(flatten)]
        flags: Box<Flags>,
        /// What to empty: scope, role, default-scope, audience, attribute, max-token-lifetime or require-request-binding; may be repeated
        #[arg(long, value_name = "WHAT")]
        clear: Vec<Field>,
    },
    /// List the templates, by name
    List(List),
    /// Show one template
    Show {
        /// The template
        name: TemplateName,
    },
    /// Remove a template that no enrolment has
    Remove {
        /// The template
        name: TemplateName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Only those whose name comes after this one
    #[arg(long, value_name = "NAME")]
    after: Option<TemplateName>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// How a device may authenticate, private_key_jwt or client_secret_post; may be repeated [default: private_key_jwt]
    #[arg(long = "method", value_name = "METHOD", value_parser = method)]
    methods: Vec<AuthMethod>,
    /// Role to grant; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<RoleName>,
    /// Scope to grant; may be repeated
    #[arg(long)]
    scope: Vec<ScopeSet>,
    /// Scope that a request without scope gets; may be repeated [default: all that is granted]
    #[arg(long, value_name = "SCOPE")]
    default_scope: Vec<ScopeSet>,
    /// Resource server that tokens are for; may be repeated [default: all at which there is a scope]
    #[arg(long = "audience", value_name = "ID")]
    audiences: Vec<ResourceServerId>,
    /// Attribute that topic permissions may name, such as site=berlin; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(AttributeName, AttributeValue)>,
    /// Seconds no token outlives [default: the other limits]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    max_token_lifetime: Option<u32>,
    /// Accept assertions only if each is bound to its request (claim rqh)
    #[arg(long)]
    require_request_binding: bool,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// A member of a template that can be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Field {
    /// The scopes
    Scope,
    /// The roles
    Role,
    /// The default scopes
    DefaultScope,
    /// The allowed audiences
    Audience,
    /// The attributes
    Attribute,
    /// The limit of tokens' life
    MaxTokenLifetime,
    /// The duty to bind assertions
    RequireRequestBinding,
}

fn method(word: &str) -> Result<AuthMethod, InvalidWord> {
    let known = [AuthMethod::PrivateKeyJwt, AuthMethod::ClientSecretPost].into_iter().find(|method| method.as_str() == word);
    known.ok_or(InvalidWord::new("a method", "private_key_jwt or client_secret_post"))
}

impl Flags {
    fn changes(self, client_id: Option<ClientIdPattern>, clear: &[Field]) -> Result<TemplateChanges, CliError> {
        fn given<T: Ord>(words: Vec<T>, cleared: bool) -> Option<BTreeSet<T>> {
            (cleared || !words.is_empty()).then(|| words.into_iter().collect())
        }
        let cleared = |field| clear.contains(&field);
        let empty = |field| cleared(field).then(ScopeSet::default);
        Ok(TemplateChanges {
            description: self.description,
            client_id,
            methods: given(self.methods, false),
            scope: scopes(&self.scope).or_else(|| empty(Field::Scope)),
            roles: given(self.roles, cleared(Field::Role)),
            default_scope: scopes(&self.default_scope).or_else(|| empty(Field::DefaultScope)),
            audiences: given(self.audiences, cleared(Field::Audience)),
            attributes: Some(attributes(self.attributes)?).filter(|given| cleared(Field::Attribute) || !given.is_empty()),
            max_token_lifetime: self.max_token_lifetime.or_else(|| cleared(Field::MaxTokenLifetime).then_some(0)),
            require_request_binding: match (self.require_request_binding, cleared(Field::RequireRequestBinding)) {
                (true, true) => return Err(CliError::new(Exit::Usage, "usage", "request binding is both required and cleared")),
                (true, false) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
        })
    }
}

fn execute(command: EnrolmentCommand, gateway: &mut Gateway) -> Result<Arc<Template>, CliError> {
    match gateway.execute(admin::Command::Enrolment(command))? {
        Answer::Enrolment(EnrolmentAnswer::Template(template)) => Ok(template),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let show = |template: Arc<Template>| output.show(&template, || template_fields(&template));
    match command {
        Command::Add { name, client_id, flags } => {
            let new = NewTemplate { name, client_id, changes: flags.changes(None, &[])? };
            show(execute(EnrolmentCommand::TemplateAdd(Box::new(new)), gateway)?)
        }
        Command::Edit { name, client_id, flags, clear } => {
            let changes = flags.changes(client_id, &clear)?;
            something(changes == TemplateChanges::default(), "enrolment template edit")?;
            show(execute(EnrolmentCommand::TemplateEdit { name, changes: Box::new(changes) }, gateway)?)
        }
        Command::Show { name } => show(execute(EnrolmentCommand::TemplateShow { name }, gateway)?),
        Command::Remove { name, yes } => {
            if !yes {
                let template = execute(EnrolmentCommand::TemplateShow { name: name.clone() }, gateway)?;
                confirm(
                    &format!("remove enrolment template {}", named(name.as_str(), &template.description)),
                    "it goes only if no enrolment has it; clients that registered by it stay as they are",
                )?;
            }
            let template = execute(EnrolmentCommand::TemplateRemove { name }, gateway)?;
            output.print(&template, || format!("enrolment template {} was removed\n", template.name))
        }
        Command::List(args) => list(args, gateway, output),
    }
}

fn list(List { after, limit }: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let empty =
        if after.is_none() { "no enrolment templates yet: credgate enrolment template add" } else { "no enrolment template is like that" };
    let table = Table::new(["NAME", "CLIENT ID", "METHODS", "SCOPE", "ROLES", "DESCRIPTION"]).yielding(&["SCOPE", "ROLES", "DESCRIPTION"]);
    let list = pages::List { member: "templates", limit, empty, table, row };
    list.print(output, after, |after, limit| {
        match gateway.execute(admin::Command::Enrolment(EnrolmentCommand::TemplateList { after, limit }))? {
            Answer::Enrolment(EnrolmentAnswer::Templates { templates, more }) => {
                Ok(Page { next: templates.last().filter(|_| more).map(|template| template.name.clone()), records: templates })
            }
            other => Err(unexpected(&other)),
        }
    })
}

fn template_fields(template: &Template) -> Vec<(&'static str, String)> {
    vec![
        ("Name", template.name.to_string()),
        ("Client id", template.client_id.to_string()),
        ("Methods", words(template.methods.iter().map(|method| method.as_str()))),
        ("Scope", template.scope.to_string()),
        ("Roles", words(&template.roles)),
        ("Default scope", template.default_scope.to_string()),
        ("Audiences", words(&template.audiences)),
        ("Attributes", words(template.attributes.iter().map(|(name, value)| format!("{name}={value}")))),
        ("Max token lifetime", template.max_token_lifetime.map(|seconds| format!("{seconds} s")).unwrap_or_default()),
        ("Request binding", if template.require_request_binding { "required".to_owned() } else { String::new() }),
        ("Description", template.description.clone()),
        ("Created", template.created_at.to_string()),
        ("Updated", template.updated_at.to_string()),
    ]
}

fn row(template: &Arc<Template>) -> [String; 6] {
    [
        template.name.to_string(),
        template.client_id.to_string(),
        words(template.methods.iter().map(|method| method.as_str())),
        template.scope.to_string(),
        words(&template.roles),
        template.description.clone(),
    ]
}
