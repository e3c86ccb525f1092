//! What records have for members: the names that `credgate ... show --output json` prints.

use serde_json::Value;

use super::Source;
use super::fields::{Fields, Item, Member, Node, unknown};
use crate::admin::{ApplyRecord, ClientSpec};
use crate::clock::UnixTime;
use crate::enrolment::{ClientIdPattern, Template, TemplateName};
use crate::jose::Jwk;
use crate::oauth::ClientId;
use crate::policy::{ResourceServer, Role, Scope};
use crate::registry::Kind;

/// What the list of each kind is called.
const LISTS: [(&str, Kind); 5] = [
    ("resource_servers", Kind::ResourceServer),
    ("scopes", Kind::Scope),
    ("roles", Kind::Role),
    ("templates", Kind::Template),
    ("clients", Kind::Client),
];

/// What only the gateway sets. Its own documents have them, and can be applied as they are.
const OF_A_CLIENT: [&str; 12] = [
    "client_id_issued_at",
    "created_at",
    "updated_at",
    "last_used",
    "next_expiry",
    "secrets",
    "kids",
    "keys",
    "rotation",
    "enrolment",
    "serial_number",
    "tokens_revoked_before",
];
const DATES: [&str; 2] = ["created_at", "updated_at"];
/// The registry sets them.
const NO_TIME: UnixTime = UnixTime::from_secs(0);

/// The kind of the records in the list of that name.
pub(super) fn kind_of(source: &mut Source<'_>, name: &str, at: usize) -> Option<Kind> {
    let kind = LISTS.iter().find(|(list, _)| *list == name).map(|(_, kind)| *kind);
    match kind {
        Some(kind) => drop(source.fleet.kinds.insert(kind)),
        None => source.fault(at, unknown("section", name, &LISTS.map(|(list, _)| list))),
    }
    kind
}

/// Takes one record of a list; `false` if no more are read.
pub(super) fn take(source: &mut Source<'_>, kind: Kind, item: Item) -> bool {
    let Node::Table(members) = item.value else {
        source.fault(item.at, format!("a {} must be a table of its members", kind.as_str()));
        return true;
    };
    take_members(source, kind, item.at, members)
}

/// The same of the members of a record.
pub(super) fn take_members(source: &mut Source<'_>, kind: Kind, at: usize, members: Vec<Member>) -> bool {
    let mut fields = Fields::new(source, at, members);
    let found = match kind {
        Kind::ResourceServer => resource_server(&mut fields),
        Kind::Scope => scope(&mut fields),
        Kind::Role => role(&mut fields),
        Kind::Template => template(&mut fields),
        Kind::Client => client(&mut fields),
    };
    let is_sound = fields.finish();
    match found {
        Some((name, record)) => source.keep(kind, &name, at, Some(record).filter(|_| is_sound)),
        None => true,
    }
}

fn resource_server(fields: &mut Fields<'_, '_>) -> Option<(String, ApplyRecord)> {
    let id = fields.required("id");
    let audience: Option<String> = fields.required("audience");
    let description = fields.text("description");
    let (max_token_lifetime, max_token_bytes) = (fields.number("max_token_lifetime"), fields.number("max_token_bytes"));
    let token_format = fields.form("token_format").unwrap_or_default();
    let (alg, dialect) = (fields.form("alg").unwrap_or_default(), fields.form("dialect").unwrap_or_default());
    fields.ignore(&DATES);
    let new = ResourceServer::new(id?, audience.unwrap_or_default(), NO_TIME);
    let server = ResourceServer { description, max_token_lifetime, max_token_bytes, token_format, alg, dialect, ..new };
    Some((server.id.to_string(), ApplyRecord::ResourceServer(server)))
}

fn scope(fields: &mut Fields<'_, '_>) -> Option<(String, ApplyRecord)> {
    let name = fields.required("name");
    let server = fields.required("resource_server");
    let permissions = fields.texts("permissions");
    let description = fields.text("description");
    fields.ignore(&DATES);
    let scope = Scope { permissions, description, ..Scope::new(name?, server?, NO_TIME) };
    Some((scope.name.to_string(), ApplyRecord::Scope(scope)))
}

fn role(fields: &mut Fields<'_, '_>) -> Option<(String, ApplyRecord)> {
    let (name, scope, description) = (fields.required("name"), fields.words("scope"), fields.text("description"));
    fields.ignore(&DATES);
    let role = Role { name: name?, description, scope, created_at: NO_TIME, updated_at: NO_TIME };
    Some((role.name.to_string(), ApplyRecord::Role(role)))
}

fn template(fields: &mut Fields<'_, '_>) -> Option<(String, ApplyRecord)> {
    let name: Option<TemplateName> = fields.required("name");
    let client_id: Option<ClientIdPattern> = fields.required("client_id");
    let methods = fields.form("methods");
    let description = fields.text("description");
    let (scope, roles, default_scope) = (fields.words("scope"), fields.words("roles"), fields.words("default_scope"));
    let (audiences, attributes) = (fields.words("audiences"), fields.attributes());
    let max_token_lifetime = fields.number("max_token_lifetime");
    let require_request_binding = fields.flag("require_request_binding");
    fields.ignore(&DATES);
    let new = Template::new(name?, client_id?, NO_TIME);
    let methods = methods.unwrap_or_else(|| new.methods.clone());
    let granted = Template { methods, description, scope, roles, default_scope, audiences, attributes, ..new };
    let template = Template { max_token_lifetime, require_request_binding, ..granted };
    Some((template.name.to_string(), ApplyRecord::Template(Box::new(template))))
}

fn client(fields: &mut Fields<'_, '_>) -> Option<(String, ApplyRecord)> {
    let client_id: Option<ClientId> = fields.required("client_id");
    fields.ignore(&OF_A_CLIENT);
    let (jwks, jwk_file) = (keys(fields), keys_of_file(fields));
    if let (Some((_, at)), Some(_)) = (&jwks, &jwk_file) {
        fields.fault(*at, "`jwks` and `jwk_file` are both there: the keys must be in one place");
    }
    let spec = ClientSpec {
        client_name: fields.text("client_name"),
        token_endpoint_auth_method: fields.form("token_endpoint_auth_method"),
        jwks: jwks.or(jwk_file).map(|(keys, _)| keys),
        status: fields.form("status"),
        scope: fields.words("scope"),
        roles: fields.words("roles"),
        default_scope: fields.words("default_scope"),
        audiences: fields.words("audiences"),
        introspects: fields.words("introspects"),
        attributes: fields.attributes(),
        max_token_lifetime: fields.number("max_token_lifetime"),
        not_before: fields.time("not_before"),
        expires_at: fields.time("expires_at"),
        require_request_binding: fields.flag("require_request_binding"),
        software_id: fields.text("software_id"),
        software_version: fields.text("software_version"),
        ..ClientSpec::new(client_id?)
    };
    Some((spec.client_id.to_string(), ApplyRecord::Client(Box::new(spec))))
}

/// The keys in the file itself: a JWK, a JWK Set, a list of JWKs, or the JSON of that as text.
fn keys(fields: &mut Fields<'_, '_>) -> Option<(Vec<Jwk>, usize)> {
    let Item { at, value } = fields.take("jwks")?;
    let document = match value {
        // Not the words of serde_json, which could quote a private key.
        Node::Text(text) => serde_json::from_str(&text).map_err(|_| "not JSON".to_owned()),
        Node::List(items) => Ok(serde_json::json!({ "keys": Node::List(items).into_json() })),
        other => Ok(other.into_json()),
    };
    match document.and_then(|document: Value| super::super::jwk_file::keys(&document)) {
        Ok(keys) => Some((keys, at)),
        Err(fault) => {
            fields.fault(at, format!("`jwks`: {fault}"));
            None
        }
    }
}

fn keys_of_file(fields: &mut Fields<'_, '_>) -> Option<(Vec<Jwk>, usize)> {
    let Item { at, value } = fields.take("jwk_file")?;
    let Node::Text(name) = value else {
        fields.fault(at, "`jwk_file` must be the name of a file");
        return None;
    };
    let path = fields.source.directory.join(name);
    match super::super::jwk_file::read(&path) {
        Ok(keys) => Some((keys, at)),
        Err(error) => {
            let causes: String = error.causes().iter().map(|cause| format!(": {cause}")).collect();
            fields.fault(at, format!("`jwk_file`: {error}{causes}"));
            None
        }
    }
}
