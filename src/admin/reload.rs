//! The command that has the daemon read its configuration anew, and what is told of that.

use serde::{Deserialize, Serialize};

use super::{AdminError, AdminErrorCode, Administrator, Answer, Caller};
use crate::clock::UnixTime;

/// Who had the configuration read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// `credgate reload`.
    Command,
    /// SIGHUP.
    Signal,
    /// A file that has changed.
    File,
}

impl ReloadTrigger {
    /// The word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Signal => "signal",
            Self::File => "file",
        }
    }
}

/// What came of reading the configuration anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadDocument {
    /// The settings that were taken over.
    pub taken: Vec<String>,
    /// The settings that have changed and need a restart; they are as they were.
    pub restart: Vec<String>,
    /// Whether the embedded broker shows another certificate from now on.
    pub certificate: bool,
    /// Whether the link to the user's own broker connects anew.
    pub link: bool,
}

/// The configuration since it was last read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// When that was.
    pub at: UnixTime,
    /// Who wanted it.
    pub trigger: ReloadTrigger,
    /// Why nothing was taken over; `None` if it was.
    pub problem: Option<String>,
    /// The settings that wait for a restart.
    pub restart: Vec<String>,
}

/// Reads the configuration anew; the error says what is wrong with it.
pub type Reload = Box<dyn Fn() -> Result<ReloadDocument, String> + Send + Sync>;

impl Administrator {
    /// The same, which can have the configuration read anew.
    #[must_use]
    pub fn reloading(self, reload: Reload) -> Self {
        Self { reload: Some(reload.into()), ..self }
    }

    pub(super) fn reload(&self, caller: Caller) -> Result<Answer, AdminError> {
        let Some(reload) = self.reload.clone() else {
            let what = AdminError::new(AdminErrorCode::NotFound, "no gateway runs that could read its configuration anew");
            return Err(what.with_advice("it is read at the next start"));
        };
        self.change("reload", "", caller, || {
            let refused = |reason: String| {
                AdminError::new(
                    AdminErrorCode::Configuration,
                    format!("the new configuration is refused, and the old one stays in force: {reason}"),
                )
                .with_advice("mend it, try it with `credgate config check`, and repeat the command")
            };
            reload().map(Answer::Reloaded).map_err(refused)
        })
    }
}
