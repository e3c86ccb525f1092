//! Every record as a line of JSON that has nothing to do with how it lies on disk. docs/operations.md describes the members.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::backup::{Backup, records_of};
use super::enrolments::EnrolledDevice;
use super::error::RegistryError;
use super::meta::Meta;
use super::revocations::Sequence;
use super::usage::LastUsed;
use crate::clients::{Attributes, AuthMethod, Client, ClientKey, ClientSecret, Enrolled, Rotation, Status};
use crate::clock::UnixTime;
use crate::enrolment::{DeviceState, Enrolment, Template};
use crate::jose::Jwk;
use crate::oauth::{ResourceServerId, RoleName};
use crate::policy::{ResourceServer, Role, Scope};
use crate::token::{Revocations, RevokedToken};

/// The version of the form.
const VERSION: u64 = 1;

/// The first line.
#[derive(Debug, Serialize)]
struct Head<'a> {
    credgate_export: u64,
    version: &'a str,
    issuer: &'a str,
    created_at: UnixTime,
    registry_created_at: UnixTime,
    credentials: bool,
    counts: BTreeMap<String, usize>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    ResourceServer(&'a ResourceServer),
    Scope(&'a Scope),
    Role(&'a Role),
    EnrolmentTemplate(&'a Template),
    Enrolment(EnrolmentLine<'a>),
    EnrolledDevice(DeviceLine<'a>),
    RevocationSequence(SequenceLine<'a>),
    Revocation(RevocationLine<'a>),
    Client(Box<ClientLine<'a>>),
    LastUse(LastUseLine<'a>),
}

#[derive(Serialize)]
struct EnrolmentLine<'a> {
    id: &'a str,
    description: &'a str,
    template: &'a str,
    uses: u32,
    used: u32,
    is_limited: bool,
    expires_at: UnixTime,
    revoked_at: Option<UnixTime>,
    created_at: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_sha256: Option<String>,
}

#[derive(Serialize)]
struct DeviceLine<'a> {
    enrolment: &'a str,
    device: String,
    client_id: Option<&'a str>,
    enrolled_at: Option<UnixTime>,
}

#[derive(Serialize)]
struct SequenceLine<'a> {
    sequence: u64,
    removed_resource_servers: &'a [ResourceServerId],
}

#[derive(Serialize)]
struct RevocationLine<'a> {
    client_id: &'a str,
    issued_before: Option<UnixTime>,
    tokens: Vec<RevokedTokenLine<'a>>,
}

#[derive(Serialize)]
struct RevokedTokenLine<'a> {
    resource_server: &'a str,
    jti: &'a str,
    hash: String,
    issued_at: UnixTime,
    expires_at: UnixTime,
}

#[derive(Serialize)]
struct ClientLine<'a> {
    client_id: &'a str,
    client_name: &'a str,
    token_endpoint_auth_method: AuthMethod,
    status: Status,
    scope: String,
    roles: Vec<&'a RoleName>,
    default_scope: String,
    audiences: Vec<&'a ResourceServerId>,
    introspects: Vec<&'a ResourceServerId>,
    attributes: &'a Attributes,
    max_token_lifetime: Option<u32>,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
    secrets: Vec<SecretLine>,
    keys: Vec<KeyLine<'a>>,
    rotation: &'a Option<Rotation>,
    require_request_binding: bool,
    software_id: &'a str,
    software_version: &'a str,
    enrolled_by: &'a Option<Enrolled>,
    created_at: UnixTime,
    updated_at: UnixTime,
}

#[derive(Serialize)]
struct SecretLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    created_at: UnixTime,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
}

#[derive(Serialize)]
struct KeyLine<'a> {
    jwk: &'a Jwk,
    created_at: UnixTime,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
}

#[derive(Serialize)]
struct LastUseLine<'a> {
    client_id: &'a str,
    credentials: BTreeMap<String, UnixTime>,
}

impl Backup {
    /// The export of what is in the backup: the first line, and a line for each record, in an order in which nothing comes before what it names. The
    /// audit trail has an export of its own. Without `credentials` no line tells the digest of a secret or of an enrolment token.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn export(&self, credentials: bool) -> Result<Vec<Value>, RegistryError> {
        let mut lines = Vec::new();
        let path = Path::new("the registry");
        fn put(lines: &mut Vec<Value>, line: Line<'_>) -> Result<(), RegistryError> {
            let line = serde_json::to_value(line).map_err(|error| RegistryError::io("export", Path::new("the registry"))(error.into()))?;
            lines.push(line);
            Ok(())
        }
        let records = &self.records;
        records_of::<ResourceServer>(path, records)?.iter().try_for_each(|server| put(&mut lines, Line::ResourceServer(server)))?;
        records_of::<Scope>(path, records)?.iter().try_for_each(|scope| put(&mut lines, Line::Scope(scope)))?;
        records_of::<Role>(path, records)?.iter().try_for_each(|role| put(&mut lines, Line::Role(role)))?;
        records_of::<Template>(path, records)?.iter().try_for_each(|template| put(&mut lines, Line::EnrolmentTemplate(template)))?;
        records_of::<Enrolment>(path, records)?
            .iter()
            .try_for_each(|found| put(&mut lines, Line::Enrolment(enrolment(found, credentials))))?;
        records_of::<EnrolledDevice>(path, records)?.iter().try_for_each(|found| put(&mut lines, Line::EnrolledDevice(device(found))))?;
        records_of::<Client>(path, records)?
            .iter()
            .try_for_each(|found| put(&mut lines, Line::Client(Box::new(client(found, credentials)))))?;
        records_of::<LastUsed>(path, records)?.iter().try_for_each(|found| put(&mut lines, Line::LastUse(last_use(found))))?;
        records_of::<Sequence>(path, records)?.iter().try_for_each(|found| {
            put(&mut lines, Line::RevocationSequence(SequenceLine { sequence: found.number, removed_resource_servers: &found.removed }))
        })?;
        records_of::<Revocations>(path, records)?.iter().try_for_each(|found| put(&mut lines, Line::Revocation(revocation(found))))?;
        let mut counts = BTreeMap::new();
        for line in &lines {
            let count = counts.entry(line.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned()).or_insert(0_usize);
            *count = count.saturating_add(1);
        }
        let meta = records_of::<Meta>(path, records)?.into_iter().next();
        let head = Head {
            credgate_export: VERSION,
            version: &self.manifest.version,
            issuer: &self.manifest.issuer,
            created_at: self.manifest.created_at,
            registry_created_at: meta.map(|meta| meta.created_at).unwrap_or_default(),
            credentials,
            counts,
        };
        lines.insert(0, serde_json::to_value(head).map_err(|error| RegistryError::io("export", path)(error.into()))?);
        Ok(lines)
    }
}

fn enrolment(found: &Enrolment, credentials: bool) -> EnrolmentLine<'_> {
    EnrolmentLine {
        id: found.id.as_str(),
        description: &found.description,
        template: found.template.as_str(),
        uses: found.uses,
        used: found.used,
        is_limited: found.is_limited,
        expires_at: found.expires_at,
        revoked_at: found.revoked_at,
        created_at: found.created_at,
        token_sha256: credentials.then(|| URL_SAFE_NO_PAD.encode(found.digest.as_bytes())),
    }
}

fn device(found: &EnrolledDevice) -> DeviceLine<'_> {
    let (client_id, enrolled_at) = match &found.state {
        DeviceState::Awaited => (None, None),
        DeviceState::Enrolled { client_id, at } => (Some(client_id.as_str()), Some(*at)),
    };
    DeviceLine { enrolment: found.enrolment.as_str(), device: found.device.to_string(), client_id, enrolled_at }
}

fn revocation(found: &Revocations) -> RevocationLine<'_> {
    fn token(token: &RevokedToken) -> RevokedTokenLine<'_> {
        RevokedTokenLine {
            resource_server: token.resource_server.as_str(),
            jti: &token.jti,
            hash: URL_SAFE_NO_PAD.encode(token.hash.as_bytes()),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        }
    }
    RevocationLine {
        client_id: found.client_id.as_str(),
        issued_before: found.issued_before,
        tokens: found.tokens.iter().map(token).collect(),
    }
}

fn client(found: &Client, credentials: bool) -> ClientLine<'_> {
    let secret = |secret: &ClientSecret| SecretLine {
        sha256: credentials.then(|| URL_SAFE_NO_PAD.encode(secret.digest.as_bytes())),
        created_at: secret.created_at,
        not_before: secret.not_before,
        expires_at: secret.expires_at,
    };
    fn key(key: &ClientKey) -> KeyLine<'_> {
        KeyLine { jwk: &key.jwk, created_at: key.created_at, not_before: key.not_before, expires_at: key.expires_at }
    }
    ClientLine {
        client_id: found.client_id.as_str(),
        client_name: &found.client_name,
        token_endpoint_auth_method: found.token_endpoint_auth_method,
        status: found.status,
        scope: found.scope.to_string(),
        roles: found.roles.iter().collect(),
        default_scope: found.default_scope.to_string(),
        audiences: found.audiences.iter().collect(),
        introspects: found.introspects.iter().collect(),
        attributes: &found.attributes,
        max_token_lifetime: found.max_token_lifetime,
        not_before: found.not_before,
        expires_at: found.expires_at,
        secrets: found.secrets.iter().map(secret).collect(),
        keys: found.jwks.iter().map(key).collect(),
        rotation: &found.rotation,
        require_request_binding: found.require_request_binding,
        software_id: &found.software_id,
        software_version: &found.software_version,
        enrolled_by: &found.enrolled_by,
        created_at: found.created_at,
        updated_at: found.updated_at,
    }
}

fn last_use(found: &LastUsed) -> LastUseLine<'_> {
    let credentials = found.times.iter().map(|(credential, time)| (credential.to_string(), *time)).collect();
    LastUseLine { client_id: found.client_id.as_str(), credentials }
}
