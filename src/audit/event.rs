//! What happened, in words of ours and names that were checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Bytes of a subject or a user's name, at most.
const MAX_TEXT: usize = 256;

macro_rules! happenings {
    ($($(#[$doc:meta])* $variant:ident = $kind:literal, $event:literal;)+) => {
        /// All that the gateway itself tells of. A trail may hold more, of another version of the program.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum What { $($(#[$doc])* $variant,)+ }

        impl What {
            /// All there is.
            pub const ALL: &'static [What] = &[$(What::$variant,)+];

            /// The type of the entry.
            #[must_use]
            pub const fn kind(self) -> &'static str {
                match self { $(What::$variant => $kind,)+ }
            }

            /// What happened, within its type.
            #[must_use]
            pub const fn event(self) -> &'static str {
                match self { $(What::$variant => $event,)+ }
            }
        }
    };
}

happenings! {
    /// The daemon serves from now on.
    DaemonStarted = "daemon", "started";
    /// The daemon ended cleanly.
    DaemonStopped = "daemon", "stopped";
    /// An operator's command that changes something was carried out or refused.
    OperatorCommand = "operator", "command";
    /// A user who may not administer the gateway tried to.
    OperatorRefused = "operator", "not_permitted";
    /// The gateway made a secret for a client.
    SecretMade = "credential", "secret_made";
    /// A client got a public key.
    KeyAdded = "credential", "key_added";
    /// A client has a new credential beside the one that ends.
    RotationBegun = "credential", "rotation_begun";
    /// The new credential was used for the first time.
    RotationUsed = "credential", "rotation_used";
    /// The new credential was taken back before it was used.
    RotationCancelled = "credential", "rotation_cancelled";
    /// A credential ended: by the first use of the new one, by the end of the overlap, or by command.
    CredentialRetired = "credential", "retired";
    /// A device registered itself by an enrolment, which is the subject.
    Enrolled = "enrolment", "enrolled";
    /// Every token that a client got before a time is void.
    TokensRevoked = "revocation", "tokens";
    /// Single tokens are void, by their own client.
    TokenRevoked = "revocation", "token";
    /// Requests were refused.
    RequestRefused = "refusal", "request";
    /// Connections to the embedded broker were refused.
    ConnectionRefused = "refusal", "connection";
    /// A signing key is on the JWK Set and will sign.
    SigningKeyPublished = "signing_key", "published";
    /// A signing key signs from now on.
    SigningKeyActivated = "signing_key", "activated";
    /// A signing key left the JWK Set: its last token has expired.
    SigningKeyRemoved = "signing_key", "removed";
    /// A signing key left the JWK Set by command: its tokens are void.
    SigningKeyRevoked = "signing_key", "revoked";
    /// The registry took the place of another, by an operator's command. The subject is where the other is now, `last` of when the content is.
    RegistryRestored = "registry", "restored";
    /// The same by the gateway itself: the registry's files were damaged, and it went back to a snapshot.
    RegistryFellBack = "registry", "fell_back";
    /// The registry has lost its end: `count` entries of the trail, and the changes that they told of.
    RegistryLostEnd = "registry", "lost_end";
    /// The clock was set: it is not what it was, and the time since.
    ClockStepped = "clock", "stepped";
    /// The clock is trusted more or less than before: as `outcome` says now, as `reason` says before.
    ClockConfidence = "clock", "confidence";
    /// The configuration was read anew: by whom is the reason, whether it was taken over the outcome.
    ConfigurationReloaded = "configuration", "reloaded";
    /// A signed statement of the trail before it.
    Checkpoint = "checkpoint", "signed";
    /// Entries that could not be kept in memory until they could be written.
    EventsLost = "audit", "events_lost";
}

/// What happened. A member that does not apply is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The type of the entry, as [`What::kind`].
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What happened, within the type.
    pub event: Cow<'static, str>,
    /// The client it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Which of its credentials: the thumbprint of a key, or the first bytes of a secret's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The operator's command, without what it acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Cow<'static, str>>,
    /// What else it is about: the record that a command acts on, the id of a signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What came of it: `done` or the code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Cow<'static, str>>,
    /// The reason code, the same as in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The link it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Cow<'static, str>>,
    /// The operator's user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The operator's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The operator's user name on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How many there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time of the first of them, or what the clock should have said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<UnixTime>,
    /// The time of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<UnixTime>,
    /// Until when what began goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// The version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'static, str>>,
    /// A signed statement, a compact JWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

impl Event {
    /// That it happened. What else is known comes by the functions below.
    #[must_use]
    pub fn of(what: What) -> Self {
        Self {
            kind: what.kind().into(),
            event: what.event().into(),
            client_id: None,
            credential: None,
            operation: None,
            subject: None,
            outcome: None,
            reason: None,
            link: None,
            uid: None,
            pid: None,
            user: None,
            count: None,
            first: None,
            last: None,
            until: None,
            version: None,
            statement: None,
        }
    }

    /// Whether it is that, among all that happens.
    #[must_use]
    pub fn is(&self, what: What) -> bool {
        self.kind == what.kind() && self.event == what.event()
    }

    /// About that client.
    #[must_use]
    pub fn client(self, client_id: &ClientId) -> Self {
        Self { client_id: Some(client_id.clone()), ..self }
    }

    /// About that credential, by a name that says nothing of it.
    #[must_use]
    pub fn credential(self, name: impl Into<String>) -> Self {
        Self { credential: Some(name.into()), ..self }
    }

    /// About that record or signing key.
    #[must_use]
    pub fn subject(self, name: &str) -> Self {
        Self { subject: Some(bounded(name)), ..self }
    }

    /// By that command.
    #[must_use]
    pub fn operation(self, operation: &'static str) -> Self {
        Self { operation: Some(operation.into()), ..self }
    }

    /// With that outcome.
    #[must_use]
    pub fn outcome(self, outcome: &'static str) -> Self {
        Self { outcome: Some(outcome.into()), ..self }
    }

    /// For that reason.
    #[must_use]
    pub fn reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Through that link.
    #[must_use]
    pub fn link(self, link: &'static str) -> Self {
        Self { link: Some(link.into()), ..self }
    }

    /// On behalf of that user of this host.
    #[must_use]
    pub fn by(self, uid: u32, pid: Option<u32>, user: Option<&str>) -> Self {
        Self { uid: Some(uid), pid, user: user.map(bounded), ..self }
    }

    /// So many times, the first and the last at these times.
    #[must_use]
    pub fn counted(self, count: u64, first: UnixTime, last: UnixTime) -> Self {
        Self { count: Some(count), first: Some(first), last: Some(last), ..self }
    }

    /// Until then.
    #[must_use]
    pub fn until(self, until: UnixTime) -> Self {
        Self { until: Some(until), ..self }
    }

    /// With that version of the program.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        Self { version: Some(version.into()), ..self }
    }

    /// With that signed statement.
    #[must_use]
    pub fn statement(self, jws: String) -> Self {
        Self { statement: Some(jws), ..self }
    }
}

/// The beginning of a text, without control characters.
fn bounded(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len().saturating_add(character.len_utf8()) > MAX_TEXT {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_happening_has_words_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for what in What::ALL {
            assert!(seen.insert((what.kind(), what.event())), "{what:?}");
            assert!(Event::of(*what).is(*what));
            let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(word(what.kind()) && word(what.event()), "{what:?}");
        }
    }

    #[test]
    fn texts_are_bounded_and_command_no_terminal() {
        let event = Event::of(What::OperatorCommand).subject(&format!("\u{1b}[2J{}", "é".repeat(200))).by(0, None, Some("ro\not"));
        let subject = event.subject.unwrap();
        assert!(subject.len() <= MAX_TEXT && subject.starts_with("[2Jé"), "{subject}");
        assert_eq!(event.user.as_deref(), Some("root"));
    }
}
