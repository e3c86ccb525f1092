//! Enrolment: how devices that nobody registered by hand register themselves, within what an operator laid down (protocol section 3).

mod admit;
mod pattern;
mod token;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clients::{Attributes, AuthMethod, Client, Enrolled};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, EnrolmentId, InvalidWord, ResourceServerId, RoleName, ScopeSet, SerialNumber, word};

pub use admit::{AdmittedDevice, EnrolledClient, EnrolmentError, EnrolmentFailure, EnrolmentStore, admit, admit_session, is_token, proof};
pub use pattern::{ClientIdPattern, PatternError, random_word};
pub use token::{ENROLMENT_TOKEN_TYP, TokenDigest, TokenSecret, id_of, issue};

/// Serial numbers and enrolled devices that one enrolment can have.
pub const MAX_DEVICES: usize = 16_384;

word! {
    /// The name of an enrolment template.
    TemplateName, "a template's name", "1 to 64 characters of A-Z a-z 0-9 _ - . :",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}

/// What every client has that registers itself by an enrolment of this template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Unique in the registry.
    pub name: TemplateName,
    /// For people; may be empty.
    pub description: String,
    /// How its clients are called.
    pub client_id: ClientIdPattern,
    /// How its clients may authenticate; at least one.
    pub methods: BTreeSet<AuthMethod>,
    /// The scopes granted beside those of the roles.
    pub scope: ScopeSet,
    /// The roles.
    pub roles: BTreeSet<RoleName>,
    /// What a request without `scope` gets.
    pub default_scope: ScopeSet,
    /// The resource servers that tokens are for; if there are none: all at which there is a scope.
    pub audiences: BTreeSet<ResourceServerId>,
    /// What topic permissions may say of each client.
    pub attributes: Attributes,
    /// The longest life of a token, in seconds.
    pub max_token_lifetime: Option<u32>,
    /// Whether clients with a key must bind each assertion to its request.
    pub require_request_binding: bool,
    /// When it was defined.
    pub created_at: UnixTime,
    /// The last change by an operator.
    pub updated_at: UnixTime,
}

impl Template {
    /// A template for devices with a key of their own that grants nothing yet.
    #[must_use]
    pub fn new(name: TemplateName, client_id: ClientIdPattern, now: UnixTime) -> Self {
        Self {
            name,
            description: String::new(),
            client_id,
            methods: [AuthMethod::PrivateKeyJwt].into(),
            scope: ScopeSet::default(),
            roles: BTreeSet::new(),
            default_scope: ScopeSet::default(),
            audiences: BTreeSet::new(),
            attributes: Attributes::new(),
            max_token_lifetime: None,
            require_request_binding: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// A client of this template without a credential.
    #[must_use]
    pub fn client(&self, client_id: ClientId, enrolled_by: Option<Enrolled>, now: UnixTime) -> Client {
        Client {
            scope: self.scope.clone(),
            roles: self.roles.clone(),
            default_scope: self.default_scope.clone(),
            audiences: self.audiences.clone(),
            attributes: self.attributes.clone(),
            max_token_lifetime: self.max_token_lifetime,
            enrolled_by,
            ..Client::new(client_id, now)
        }
    }
}

/// Permission for a number of devices to register themselves, until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Unique in the registry: the `jti` of its token.
    pub id: EnrolmentId,
    /// For people; may be empty.
    pub description: String,
    /// What its clients have.
    pub template: TemplateName,
    /// How many devices may register.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// Whether only devices with certain serial numbers may.
    pub is_limited: bool,
    /// The end.
    pub expires_at: UnixTime,
    /// When an operator ended it, if one did.
    pub revoked_at: Option<UnixTime>,
    /// What its token is recognised by.
    pub digest: TokenDigest,
    /// When it was made.
    pub created_at: UnixTime,
}

/// Whether an enrolment lets another device register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentStatus {
    /// It does.
    Open,
    /// As many devices as may have registered.
    UsedUp,
    /// Its time is over.
    Expired,
    /// An operator ended it.
    Revoked,
}

impl EnrolmentStatus {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::UsedUp => "used_up",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Enrolment {
    /// Whether it lets another device register at that time.
    #[must_use]
    pub fn status_at(&self, now: UnixTime) -> EnrolmentStatus {
        if self.revoked_at.is_some() {
            EnrolmentStatus::Revoked
        } else if self.expires_at <= now {
            EnrolmentStatus::Expired
        } else if self.used >= self.uses {
            EnrolmentStatus::UsedUp
        } else {
            EnrolmentStatus::Open
        }
    }
}

/// What an enrolment knows a device by, so that none registers twice: its serial number, or without one its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceName {
    /// The serial number.
    Serial(SerialNumber),
    /// The RFC 7638 thumbprint of its key.
    Key(Box<str>),
}

/// `serial:` or `key:` and what it is.
impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Key(thumbprint) => write!(f, "key:{thumbprint}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        // A thumbprint is a word of the same alphabet.
        match text.split_once(':') {
            Some(("serial", serial)) => serial.parse().map(Self::Serial),
            Some(("key", thumbprint)) => thumbprint.parse().map(|word: SerialNumber| Self::Key(word.as_str().into())),
            _ => Err(InvalidWord::new("a device of an enrolment", "serial: and a serial number, or key: and a key's thumbprint")),
        }
    }
}

/// What became of a device that an enrolment knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It may register.
    Awaited,
    /// It has.
    Enrolled {
        /// As which client.
        client_id: ClientId,
        /// When.
        at: UnixTime,
    },
}

/// All templates and enrolments at one moment. Replaced whole when one changes.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// By name.
    pub templates: BTreeMap<TemplateName, Arc<Template>>,
    /// By id.
    pub enrolments: BTreeMap<EnrolmentId, Arc<Enrolment>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrolment_is_open_until_it_is_used_up_over_or_ended() {
        let now = UnixTime::from_secs(1_000);
        let open = Enrolment {
            id: "e1".parse().unwrap(),
            description: String::new(),
            template: "pump".parse().unwrap(),
            uses: 2,
            used: 1,
            is_limited: false,
            expires_at: now.saturating_add(1),
            revoked_at: None,
            digest: TokenDigest::of(b"x"),
            created_at: now,
        };
        assert_eq!(open.status_at(now), EnrolmentStatus::Open);
        assert_eq!(open.status_at(now.saturating_add(1)), EnrolmentStatus::Expired);
        assert_eq!(Enrolment { used: 2, ..open.clone() }.status_at(now), EnrolmentStatus::UsedUp);
        assert_eq!(Enrolment { revoked_at: Some(now), used: 2, ..open }.status_at(now), EnrolmentStatus::Revoked);
    }

    #[test]
    fn devices_have_a_written_name() {
        for text in ["serial:17", "key:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"] {
            assert_eq!(text.parse::<DeviceName>().unwrap().to_string(), text);
        }
        for text in ["", "17", "serial:", "serial:a/b", "key:", "mac:1", "serial:a:b"] {
            assert!(text.parse::<DeviceName>().is_err(), "{text}");
        }
    }
}
