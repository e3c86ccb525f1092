//! Flags of `client add` and `client edit` that say what a client may have.

use std::collections::BTreeMap;

use crate::admin::ClientChanges;
use crate::clients::{AttributeName, AttributeValue, Attributes};
use crate::clock::UnixTime;
use crate::oauth::{InvalidWord, ResourceServerId, RoleName, ScopeSet};

use super::{CliError, Exit};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Grants {
    /// Role to grant; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<RoleName>,
    /// Scope that a request without scope gets; may be repeated [default: all that is granted]
    #[arg(long, value_name = "SCOPE")]
    default_scope: Vec<ScopeSet>,
    /// Resource server it may have tokens for; may be repeated [default: all at which it has a scope]
    #[arg(long = "audience", value_name = "ID")]
    audiences: Vec<ResourceServerId>,
    /// Resource server that it is: it may introspect its tokens and read its revocation list; may be repeated
    #[arg(long = "introspect", value_name = "ID")]
    introspects: Vec<ResourceServerId>,
    /// Attribute that topic permissions may name, such as site=berlin; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(AttributeName, AttributeValue)>,
    /// Seconds no token of its outlives [default: the other limits]
    #[arg(long, value_name = "SECONDS")]
    max_token_lifetime: Option<u32>,
    /// Refuse it before this time, such as 2026-11-22T21:46:24Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<UnixTime>,
    /// Refuse it from this time on
    #[arg(long, value_name = "TIME")]
    expires_at: Option<UnixTime>,
}

impl Grants {
    /// The change that sets what was given.
    pub(super) fn changes(self) -> Result<ClientChanges, CliError> {
        let attributes = attributes(self.attributes)?;
        Ok(ClientChanges {
            roles: some(self.roles.into_iter().collect()),
            default_scope: scopes(&self.default_scope),
            audiences: some(self.audiences.into_iter().collect()),
            introspects: some(self.introspects.into_iter().collect()),
            attributes: Some(attributes).filter(|given| !given.is_empty()),
            max_token_lifetime: self.max_token_lifetime,
            not_before: self.not_before,
            expires_at: self.expires_at,
            ..ClientChanges::default()
        })
    }
}

/// The scopes of a repeated flag, if it was given.
pub(super) fn scopes(given: &[ScopeSet]) -> Option<ScopeSet> {
    (!given.is_empty()).then(|| given.iter().flat_map(ScopeSet::iter).cloned().collect())
}

/// The attributes of a repeated flag.
pub(super) fn attributes(given: Vec<(AttributeName, AttributeValue)>) -> Result<Attributes, CliError> {
    let count = given.len();
    let attributes: Attributes = given.into_iter().collect::<BTreeMap<_, _>>();
    if attributes.len() != count {
        return Err(CliError::new(Exit::Usage, "usage", "an attribute is given twice"));
    }
    Ok(attributes)
}

fn some<T: Ord>(set: std::collections::BTreeSet<T>) -> Option<std::collections::BTreeSet<T>> {
    (!set.is_empty()).then_some(set)
}

pub(super) fn attribute(text: &str) -> Result<(AttributeName, AttributeValue), InvalidWord> {
    let (name, value) = text.split_once('=').ok_or(InvalidWord::new("an attribute", "a name, = and a value: site=berlin"))?;
    Ok((name.parse()?, value.parse()?))
}
