//! What a change of many records would make different, as it is told: member by member, by the names that commands print.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{AdminError, AdminErrorCode};
use crate::clients::Client;
use crate::registry::{Change, Draft, DraftFault, Kind, RecordRef};

/// Bytes of a page of changes: a frame holds it with room to spare.
const PAGE: usize = 262_144;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// It is new.
    Added,
    /// Some of its members become others.
    Changed,
    /// It goes.
    Removed,
}

/// One record that does not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDocument {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub action: ChangeAction,
    /// What is different; of one that goes nothing more is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberChange>,
}

/// A member that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Its name.
    pub member: String,
    /// What it is; null for nothing.
    pub before: Value,
    /// What it is to be; null for nothing.
    pub after: Value,
}

/// How many records of a kind become what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCounts {
    /// New ones.
    pub added: usize,
    /// Those that differ.
    pub changed: usize,
    /// Those that go.
    pub removed: usize,
    /// Those that were named and are so already.
    pub unchanged: usize,
}

impl PlanCounts {
    /// Whether nothing is different.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.added == 0 && self.changed == 0 && self.removed == 0
    }
}

/// What a change of many records would come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// Stands for all that is different: two plans have the same one only if they do the same to the same records.
    pub fingerprint: String,
    /// By kind.
    pub counts: BTreeMap<Kind, PlanCounts>,
    /// Clients that are not named and stay, because they registered themselves by an enrolment.
    pub spared: usize,
    /// How many clients need a new secret.
    pub secrets: usize,
    /// The rules that it would break, the first of them.
    pub faults: Vec<DraftFault>,
    /// How many there are.
    pub faulty: usize,
}

impl PlanDocument {
    /// The counts of all kinds.
    #[must_use]
    pub fn total(&self) -> PlanCounts {
        self.counts.values().fold(PlanCounts::default(), |total, counts| PlanCounts {
            added: total.added.saturating_add(counts.added),
            changed: total.changed.saturating_add(counts.changed),
            removed: total.removed.saturating_add(counts.removed),
            unchanged: total.unchanged.saturating_add(counts.unchanged),
        })
    }
}

/// The plan of a draft, without its faults.
pub(super) fn document(draft: &mut Draft) -> PlanDocument {
    let mut counts: BTreeMap<Kind, PlanCounts> = BTreeMap::new();
    let (mut digest, spared) = (Sha256::new(), draft.spared());
    for change in draft.changes() {
        let counts = counts.entry(change.kind).or_default();
        let count = match action(&change) {
            None => &mut counts.unchanged,
            Some(action) => {
                // Cannot fail: names, texts and numbers only.
                digest.update(serde_json::to_vec(&told(&change, action)).unwrap_or_default());
                match action {
                    ChangeAction::Added => &mut counts.added,
                    ChangeAction::Changed => &mut counts.changed,
                    ChangeAction::Removed => &mut counts.removed,
                }
            }
        };
        *count = count.saturating_add(1);
    }
    let digest = digest.finalize();
    let fingerprint = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default());
    PlanDocument { fingerprint, counts, spared, ..PlanDocument::default() }
}

/// A page of the changes of a draft from a place on, and the place of the next one.
pub(super) fn page(draft: &mut Draft, from: usize) -> Result<(Vec<ChangeDocument>, Option<usize>), AdminError> {
    let (mut page, mut size) = (Vec::new(), 0_usize);
    for (place, change) in draft.changes().enumerate().skip(from) {
        let Some(action) = action(&change) else { continue };
        let document = told(&change, action);
        let json = serde_json::to_vec(&document).map_err(|error| AdminError::new(AdminErrorCode::Internal, error.to_string()))?;
        size = size.saturating_add(json.len());
        if size > PAGE && !page.is_empty() {
            return Ok((page, Some(place)));
        }
        page.push(document);
    }
    Ok((page, None))
}

fn action(change: &Change<'_>) -> Option<ChangeAction> {
    match (&change.before, &change.after) {
        _ if change.is_nothing() => None,
        (None, Some(_)) => Some(ChangeAction::Added),
        (Some(_), Some(_)) => Some(ChangeAction::Changed),
        (_, None) => Some(ChangeAction::Removed),
    }
}

fn told(change: &Change<'_>, action: ChangeAction) -> ChangeDocument {
    let before = change.before.map(members).unwrap_or_default();
    let after = change.after.map(members).unwrap_or_default();
    let mut changed = Vec::new();
    if action != ChangeAction::Removed {
        for (member, value) in &after {
            let old = before.get(member).cloned().unwrap_or_default();
            if old != *value {
                changed.push(MemberChange { member: member.clone(), before: old, after: value.clone() });
            }
        }
        let gone = before.into_iter().filter(|(member, value)| !after.contains_key(member) && !value.is_null());
        changed.extend(gone.map(|(member, before)| MemberChange { member, before, after: Value::Null }));
        changed.sort_by(|a, b| a.member.cmp(&b.member));
    }
    ChangeDocument { kind: change.kind, name: change.name.to_owned(), action, members: changed }
}

/// The members of a record that are not empty; not its name and its dates.
fn members(record: RecordRef<'_>) -> Map<String, Value> {
    let document = match record {
        RecordRef::ResourceServer(server) => json!(server),
        RecordRef::Scope(scope) => json!(scope),
        RecordRef::Role(role) => json!(role),
        RecordRef::Template(template) => json!(template),
        RecordRef::Client(client) => of_client(client),
    };
    let Value::Object(mut members) = document else { return Map::new() };
    if !matches!(record, RecordRef::Template(_) | RecordRef::Client(_)) {
        members.remove("id");
    }
    for name in ["name", "created_at", "updated_at"] {
        members.remove(name);
    }
    members.into_iter().filter(|(_, value)| !is_empty(value)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn of_client(client: &Client) -> Value {
    let time = |time: Option<crate::clock::UnixTime>| time.map(|time| time.to_string());
    let keys: Vec<String> = client.jwks.iter().map(|key| key.jwk.kid().to_owned()).collect();
    json!({
        "client_name": client.client_name,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "kids": keys,
        "status": client.status,
        "scope": client.scope,
        "roles": client.roles,
        "default_scope": client.default_scope,
        "audiences": client.audiences,
        "introspects": client.introspects,
        "attributes": client.attributes,
        "max_token_lifetime": client.max_token_lifetime,
        "not_before": time(client.not_before),
        "expires_at": time(client.expires_at),
        "require_request_binding": client.require_request_binding,
        "software_id": client.software_id,
        "software_version": client.software_version,
    })
}
