//! Why a command was not executed, in words an operator can use.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::clients::{AuthMethod, RotationError};
use crate::registry::RegistryError;

/// A command that was not executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// For programs.
    pub code: AdminErrorCode,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub advice: Option<String>,
}

/// The kinds of [`AdminError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminErrorCode {
    /// The peer may not use the socket.
    NotPermitted,
    /// The peer speaks another version of the protocol.
    VersionMismatch,
    /// The frame or the command in it cannot be read.
    InvalidRequest,
    /// An argument of the command is refused.
    InvalidArgument,
    /// What the command creates is there already.
    AlreadyExists,
    /// What the command names is not there.
    NotFound,
    /// What the command was meant for has changed, or somebody else is about it.
    Conflict,
    /// Another process has the registry open.
    RegistryLocked,
    /// Another command of this kind is under way.
    Busy,
    /// The registry failed.
    Registry,
    /// The configuration is wrong.
    Configuration,
    /// The gateway failed; also stands for kinds this version does not know.
    #[serde(other)]
    Internal,
}

impl AdminErrorCode {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::VersionMismatch => "version_mismatch",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidArgument => "invalid_argument",
            Self::AlreadyExists => "already_exists",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::RegistryLocked => "registry_locked",
            Self::Busy => "busy",
            Self::Registry => "registry",
            Self::Configuration => "configuration",
            Self::Internal => "internal",
        }
    }
}

impl AdminError {
    /// An error without advice.
    #[must_use]
    pub fn new(code: AdminErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: None }
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// For programs and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code.as_str()
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        let message = with_causes(&error);
        match error {
            RegistryError::Locked { .. } => Self::new(AdminErrorCode::RegistryLocked, message),
            RegistryError::BadBackup { .. } => Self::new(AdminErrorCode::InvalidArgument, message),
            RegistryError::ChangedMeanwhile { .. } => Self::new(AdminErrorCode::Conflict, message).with_advice("run the command again"),
            RegistryError::Invalid { .. } => Self::new(AdminErrorCode::InvalidArgument, message),
            RegistryError::NotRotated { id, error } => Self::new(AdminErrorCode::InvalidArgument, message).with_advice(match error {
                RotationError::UnderWay { .. } => format!(
                    "`credgate client show {id}` tells more; `credgate client rotate {id} --cancel` takes the new one back, and with --finish \
                     the old one ends now"
                ),
                RotationError::OtherMethod(AuthMethod::ClientSecretPost) => "leave --jwk-file out: the client gets a new secret".to_owned(),
                RotationError::OtherMethod(AuthMethod::PrivateKeyJwt) => "name its new public key with --jwk-file".to_owned(),
                RotationError::InUse(_) => format!("`credgate client rotate {id} --finish` ends the old one now"),
                RotationError::TooManyKeys => "with --overlap 0 the new key takes the place of all of them at once".to_owned(),
                _ => format!("see `credgate client show {id}`"),
            }),
            RegistryError::AlreadyExists { kind, .. } => Self::new(AdminErrorCode::AlreadyExists, message)
                .with_advice(format!("choose another, or see `credgate {} list`", word(kind))),
            RegistryError::NotFound { kind, .. } => {
                Self::new(AdminErrorCode::NotFound, message).with_advice(format!("see `credgate {} list`", word(kind)))
            }
            _ => Self::new(AdminErrorCode::Registry, message),
        }
    }
}

/// The command that deals with a kind of record.
fn word(kind: &str) -> String {
    match kind {
        "audience" => "resource-server".to_owned(),
        "signing key" => "key".to_owned(),
        "enrolment template" => kind.to_owned(),
        kind => kind.replace(' ', "-"),
    }
}

/// An error and its causes on one line: they have to cross the socket as text.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_error_keeps_its_kind_and_says_what_to_do() {
        let error = AdminError::from(RegistryError::NotFound { kind: "resource server", id: "x".into() });
        assert_eq!(error.code, AdminErrorCode::NotFound);
        assert_eq!(error.advice.unwrap(), "see `credgate resource-server list`");
    }

    #[test]
    fn a_kind_of_a_later_version_is_read() {
        let text = r#"{"code":"something_new","message":"m","advice":null}"#;
        assert_eq!(serde_json::from_str::<AdminError>(text).unwrap().code, AdminErrorCode::Internal);
    }

    #[test]
    fn codes_are_the_words_on_the_wire() {
        use AdminErrorCode::*;
        for code in [
            NotPermitted,
            VersionMismatch,
            InvalidRequest,
            InvalidArgument,
            AlreadyExists,
            NotFound,
            Conflict,
            RegistryLocked,
            Busy,
            Registry,
            Internal,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
