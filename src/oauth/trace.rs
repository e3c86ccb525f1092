//! How a request was decided: step by step, each with the record that decided it. Written only where somebody looks on.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Reason;

/// Whoever looks on while a request is decided. The functions that decide are the same with and without one.
pub trait Witness {
    /// Takes a step in. A step is made only if somebody wants it.
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody looks on, and nothing is spent on what would be told: the state of affairs for every request of a device.
#[derive(Debug, Clone, Copy)]
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

impl Witness for Vec<Step> {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at.
    pub check: Check,
    /// `ok`, or the [`Reason`] of the refusal, by its name.
    pub outcome: Cow<'static, str>,
    /// What decided it.
    pub decided_by: Vec<Record>,
    /// What was found, for people.
    pub finding: String,
}

impl Step {
    /// A step that was passed.
    #[must_use]
    pub fn passed(check: Check, decided_by: Vec<Record>, finding: impl Into<String>) -> Self {
        Self { check, outcome: Cow::Borrowed("ok"), decided_by, finding: finding.into() }
    }

    /// The step at which a request is refused.
    #[must_use]
    pub fn refused(check: Check, reason: Reason, decided_by: Vec<Record>, finding: impl Into<String>) -> Self {
        Self { outcome: Cow::Borrowed(reason.name()), ..Self::passed(check, decided_by, finding) }
    }

    /// Whether it was passed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.outcome == "ok"
    }
}

/// What a step looks at, in the order in which a request comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The form of the request.
    Request,
    /// Whether the way it comes by takes the client authentication method.
    Link,
    /// Whether there is such a client.
    Client,
    /// Whether it is registered for that method.
    AuthMethod,
    /// Whether it has a secret or key that serves at that time.
    Credential,
    /// Whether an operator has suspended or blocked it.
    Status,
    /// Its period of validity.
    Validity,
    /// What its assertion has to be bound to.
    RequestBinding,
    /// Whether it holds the scopes it asks for.
    Scope,
    /// For which resource server the token is.
    Audience,
    /// Which scopes the token has.
    Grant,
    /// Which topics they open.
    Permissions,
    /// Whether the client's tokens of that moment are void.
    Revocation,
    /// How far the gateway trusts its clock.
    Clock,
    /// How long the token lives.
    Lifetime,
    /// What signs it.
    SigningKey,
}

impl Check {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Link => "link",
            Self::Client => "client",
            Self::AuthMethod => "auth_method",
            Self::Credential => "credential",
            Self::Status => "status",
            Self::Validity => "validity",
            Self::RequestBinding => "request_binding",
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Grant => "grant",
            Self::Permissions => "permissions",
            Self::Revocation => "revocation",
            Self::Clock => "clock",
            Self::Lifetime => "lifetime",
            Self::SigningKey => "signing_key",
        }
    }
}

/// What decided a step: a record of the registry, a setting, a key, or the request itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of what kind.
    pub kind: RecordKind,
    /// Which, by its id or name; of the request, the parameter.
    pub id: String,
    /// Which member of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Cow<'static, str>>,
}

/// The kinds of [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// The request.
    Request,
    /// A client.
    Client,
    /// A role.
    Role,
    /// A scope.
    Scope,
    /// A resource server.
    ResourceServer,
    /// A setting of the configuration.
    Setting,
    /// A signing key.
    SigningKey,
}

impl RecordKind {
    /// The words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Client => "client",
            Self::Role => "role",
            Self::Scope => "scope",
            Self::ResourceServer => "resource server",
            Self::Setting => "setting",
            Self::SigningKey => "signing key",
        }
    }
}

impl Record {
    /// A whole record.
    #[must_use]
    pub fn new(kind: RecordKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), member: None }
    }

    /// A member of a client.
    #[must_use]
    pub fn client(id: impl fmt::Display, member: &'static str) -> Self {
        Self::new(RecordKind::Client, id.to_string()).member(member)
    }

    /// A setting.
    #[must_use]
    pub fn setting(key: &'static str) -> Self {
        Self::new(RecordKind::Setting, key)
    }

    /// One member of the record.
    #[must_use]
    pub fn member(self, member: &'static str) -> Self {
        Self { member: Some(Cow::Borrowed(member)), ..self }
    }
}

/// `client dev1: status`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.id)?;
        self.member.as_ref().map_or(Ok(()), |member| write!(f, ": {member}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_documents() {
        let step = Step::refused(Check::Status, Reason::BlockedClient, vec![Record::client("dev1", "status")], "it is blocked");
        let json = serde_json::to_value(&step).unwrap();
        let expected = serde_json::json!({
            "check": "status", "outcome": "blocked_client", "finding": "it is blocked",
            "decided_by": [{"kind": "client", "id": "dev1", "member": "status"}],
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Step>(json).unwrap(), step);
        assert_eq!((step.decided_by[0].to_string().as_str(), step.is_passed()), ("client dev1: status", false));
        for check in [Check::AuthMethod, Check::RequestBinding, Check::SigningKey, Check::Grant] {
            assert_eq!(serde_json::to_value(check).unwrap(), check.as_str());
        }
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        Unwitnessed.note(|| panic!("somebody looks on"));
        let mut trace = Vec::new();
        trace.note(|| Step::passed(Check::Client, Vec::new(), "known"));
        assert!(trace[0].is_passed());
    }
}
