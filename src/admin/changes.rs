//! Changes of what a client may have, and of what operators defined.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clients::{Attributes, Client};
use crate::clock::UnixTime;
use crate::jose::Algorithm;
use crate::oauth::{InvalidWord, ResourceServerId, RoleName, ScopeSet};
use crate::policy::{Dialect, ResourceServer, Role, Scope, TokenFormat, TopicPermission};

/// What is to be different at a client. What is `None` stays as it is; a set that is given replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientChanges {
    /// What to empty, before anything else.
    pub clear: BTreeSet<ClientField>,
    /// A name for people.
    pub client_name: Option<String>,
    /// The scopes granted beside those of roles.
    pub scope: Option<ScopeSet>,
    /// The roles.
    pub roles: Option<BTreeSet<RoleName>>,
    /// What a request without `scope` gets.
    pub default_scope: Option<ScopeSet>,
    /// The resource servers it may have tokens for.
    pub audiences: Option<BTreeSet<ResourceServerId>>,
    /// The resource servers that it is, or serves.
    pub introspects: Option<BTreeSet<ResourceServerId>>,
    /// What topic permissions may say of it.
    pub attributes: Option<Attributes>,
    /// The longest life of a token of its, in seconds.
    pub max_token_lifetime: Option<u32>,
    /// Not served before.
    pub not_before: Option<UnixTime>,
    /// Not served from then on.
    pub expires_at: Option<UnixTime>,
    /// What runs on the device (RFC 7591 section 2).
    pub software_id: Option<String>,
    /// The version of that.
    pub software_version: Option<String>,
    /// Whether each assertion must be bound to its request.
    pub require_request_binding: Option<bool>,
}

/// A member of a client that can be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientField {
    /// The scopes granted beside those of roles.
    Scope,
    /// The roles.
    Roles,
    /// The default scopes: then a request without `scope` gets all that is granted.
    DefaultScope,
    /// The allowed audiences: then all at which it has a scope.
    Audiences,
    /// The resource servers that it is, or serves.
    Introspects,
    /// The attributes.
    Attributes,
    /// The limit of its tokens' life.
    MaxTokenLifetime,
    /// The beginning of its validity.
    NotBefore,
    /// The end of its validity.
    ExpiresAt,
}

/// Reads the word of the command line, such as `default-scope`.
impl FromStr for ClientField {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Ok(match text {
            "scope" => Self::Scope,
            "role" => Self::Roles,
            "default-scope" => Self::DefaultScope,
            "audience" => Self::Audiences,
            "introspect" => Self::Introspects,
            "attribute" => Self::Attributes,
            "max-token-lifetime" => Self::MaxTokenLifetime,
            "not-before" => Self::NotBefore,
            "expires-at" => Self::ExpiresAt,
            _ => {
                let rule = "one of scope, role, default-scope, audience, introspect, attribute, max-token-lifetime, not-before, expires-at";
                return Err(InvalidWord::new("what to clear", rule));
            }
        })
    }
}

impl ClientChanges {
    /// Whether nothing is to be different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn apply(self, client: &mut Client) {
        for field in self.clear {
            match field {
                ClientField::Scope => client.scope = ScopeSet::default(),
                ClientField::Roles => client.roles.clear(),
                ClientField::DefaultScope => client.default_scope = ScopeSet::default(),
                ClientField::Audiences => client.audiences.clear(),
                ClientField::Introspects => client.introspects.clear(),
                ClientField::Attributes => client.attributes.clear(),
                ClientField::MaxTokenLifetime => client.max_token_lifetime = None,
                ClientField::NotBefore => client.not_before = None,
                ClientField::ExpiresAt => client.expires_at = None,
            }
        }
        set(&mut client.client_name, self.client_name);
        set(&mut client.software_id, self.software_id);
        set(&mut client.software_version, self.software_version);
        set(&mut client.require_request_binding, self.require_request_binding);
        set(&mut client.scope, self.scope);
        set(&mut client.roles, self.roles);
        set(&mut client.default_scope, self.default_scope);
        set(&mut client.audiences, self.audiences);
        set(&mut client.introspects, self.introspects);
        set(&mut client.attributes, self.attributes);
        client.max_token_lifetime = self.max_token_lifetime.or(client.max_token_lifetime);
        client.not_before = self.not_before.or(client.not_before);
        client.expires_at = self.expires_at.or(client.expires_at);
    }
}

/// What is to be different at a resource server. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceServerChanges {
    /// What to empty, before anything else.
    pub clear: BTreeSet<ResourceServerField>,
    /// The `aud` of its tokens.
    pub audience: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Seconds no token for it outlives.
    pub max_token_lifetime: Option<u32>,
    /// Bytes of the largest token it takes.
    pub max_token_bytes: Option<u32>,
    /// The form of its tokens.
    pub token_format: Option<TokenFormat>,
    /// What they are signed by.
    pub alg: Option<Algorithm>,
    /// The form of the permissions in them.
    pub dialect: Option<Dialect>,
}

/// A member of a resource server that can be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceServerField {
    /// The limit of its tokens' life.
    MaxTokenLifetime,
    /// The limit of its tokens' size.
    MaxTokenBytes,
}

/// Reads the word of the command line, such as `max-token-bytes`.
impl FromStr for ResourceServerField {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text {
            "max-token-lifetime" => Ok(Self::MaxTokenLifetime),
            "max-token-bytes" => Ok(Self::MaxTokenBytes),
            _ => Err(InvalidWord::new("what to clear", "one of max-token-lifetime, max-token-bytes")),
        }
    }
}

impl ResourceServerChanges {
    pub(super) fn apply(self, server: &mut ResourceServer) {
        for field in self.clear {
            match field {
                ResourceServerField::MaxTokenLifetime => server.max_token_lifetime = None,
                ResourceServerField::MaxTokenBytes => server.max_token_bytes = None,
            }
        }
        set(&mut server.audience, self.audience);
        set(&mut server.description, self.description);
        set(&mut server.token_format, self.token_format);
        set(&mut server.alg, self.alg);
        set(&mut server.dialect, self.dialect);
        server.max_token_lifetime = self.max_token_lifetime.or(server.max_token_lifetime);
        server.max_token_bytes = self.max_token_bytes.or(server.max_token_bytes);
    }
}

/// What is to be different at a scope. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeChanges {
    /// The resource server whose resources it opens.
    pub resource_server: Option<ResourceServerId>,
    /// The topics it opens, in place of those before.
    pub permissions: Option<Vec<TopicPermission>>,
    /// For people.
    pub description: Option<String>,
}

impl ScopeChanges {
    pub(super) fn apply(self, scope: &mut Scope) {
        set(&mut scope.resource_server, self.resource_server);
        set(&mut scope.permissions, self.permissions);
        set(&mut scope.description, self.description);
    }
}

/// What is to be different at a role. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleChanges {
    /// The scopes it grants, in place of those before.
    pub scope: Option<ScopeSet>,
    /// For people.
    pub description: Option<String>,
}

impl RoleChanges {
    pub(super) fn apply(self, role: &mut Role) {
        set(&mut role.scope, self.scope);
        set(&mut role.description, self.description);
    }
}

fn set<T>(member: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *member = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn full() -> ClientChanges {
        ClientChanges {
            clear: BTreeSet::new(),
            client_name: Some("Pump".into()),
            scope: Some("a b".parse().unwrap()),
            roles: Some(["r".parse().unwrap()].into()),
            default_scope: Some("a".parse().unwrap()),
            audiences: Some(["rs".parse().unwrap()].into()),
            introspects: Some(["rs".parse().unwrap()].into()),
            attributes: Some([("site".parse().unwrap(), "berlin".parse().unwrap())].into()),
            max_token_lifetime: Some(60),
            not_before: Some(NOW),
            expires_at: Some(NOW.saturating_add(1)),
            software_id: Some("fw".into()),
            software_version: Some("2".into()),
            require_request_binding: Some(true),
        }
    }

    #[test]
    fn what_is_not_given_stays_and_what_is_cleared_goes() {
        let empty = Client::new("dev1".parse().unwrap(), NOW);
        let mut client = empty.clone();
        full().apply(&mut client);
        let set = client.clone();
        ClientChanges::default().apply(&mut client);
        assert_eq!(client, set);
        let words =
            ["scope", "role", "default-scope", "audience", "introspect", "attribute", "max-token-lifetime", "not-before", "expires-at"];
        let clear: BTreeSet<ClientField> = words.iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(clear.len(), words.len());
        ClientChanges { clear, ..ClientChanges::default() }.apply(&mut client);
        let (software_id, software_version) = ("fw".into(), "2".into());
        let kept = Client { client_name: "Pump".into(), software_id, software_version, require_request_binding: true, ..empty };
        assert_eq!(client, kept);
    }

    #[test]
    fn what_is_cleared_and_given_is_replaced() {
        let mut client = Client::new("dev1".parse().unwrap(), NOW);
        full().apply(&mut client);
        let change = ClientChanges { clear: [ClientField::Scope].into(), scope: Some("c".parse().unwrap()), ..ClientChanges::default() };
        change.apply(&mut client);
        assert_eq!(client.scope.to_string(), "c");
    }

    #[test]
    fn deny_unknown_fields() {
        assert!("client_id".parse::<ClientField>().is_err());
        assert!(serde_json::from_str::<ClientChanges>(r#"{"status":"active"}"#).is_err());
    }
}
