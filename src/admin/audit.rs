//! The audit trail: commands on it, and the entries of all other commands.

use std::time::SystemTime;

use super::administrator::invalid;
use super::{AdminError, AdminErrorCode, Administrator, Answer, Caller, Command};
use crate::audit::{AuditLog as _, Event, Refused, What};
use crate::clock::UnixTime;
use crate::registry::AuditWrite;

impl Administrator {
    /// Executes the commands on the trail.
    pub(super) fn audit(&self, command: Command) -> Result<Answer, AdminError> {
        match command {
            Command::AuditPage(query) => {
                // Who looks at the end wants to see what has just happened; who follows it waits for what is written anyway.
                if query.newest_first && query.before.is_none() {
                    self.registry.write_audit(AuditWrite::Due)?;
                }
                Ok(Answer::AuditPage(Box::new(self.registry.audit_page(query)?)))
            }
            Command::AuditCheckpoint => Ok(Answer::AuditCheckpoint { statement: self.registry.audit_checkpoint()? }),
            Command::KeySet => {
                // A look must not create anything.
                let is_begun = !self.keys.list()?.is_empty();
                let keys = if is_begun { self.keys.load_or_create()?.jwk_set().keys } else { Vec::new() };
                Ok(Answer::KeySet { keys })
            }
            _ => Err(invalid("no command on the audit trail")),
        }
    }

    /// The change that follows carries the entry of the command.
    pub(super) fn begin_audit(&self, operation: &'static str, id: &str, caller: Caller) {
        let event = Event::of(What::OperatorCommand).operation(operation).subject(id).outcome("done");
        let event = event.by(caller.uid, caller.pid, caller.user_name().as_deref());
        let client_id = operation.starts_with("client ").then(|| id.parse().ok()).flatten();
        self.registry.intend(match &client_id {
            Some(client_id) => event.client(client_id),
            None => event,
        });
    }

    /// Somebody else knocked.
    pub(super) fn not_permitted(&self, caller: Caller) {
        let reason = AdminErrorCode::NotPermitted.as_str();
        let refused = Refused {
            what: What::OperatorRefused,
            client_id: None,
            uid: Some(caller.uid),
            known: false,
            reason,
            link: Some("control-socket"),
        };
        self.registry.refused(refused, UnixTime::from(SystemTime::now()));
    }

    /// What no change of the registry has carried is written by itself: of a change of other files at once, of a refusal soon.
    pub(super) fn end_audit(&self, outcome: Result<Answer, AdminError>) -> Result<Answer, AdminError> {
        match (outcome, self.registry.unrecorded()) {
            (Ok(answer), None) => Ok(answer),
            (Ok(answer), Some(event)) => match self.registry.record(event) {
                Ok(()) => Ok(answer),
                Err(error) => {
                    let message = format!("the command was carried out, but its entry in the audit trail could not be written: {error}");
                    Err(AdminError::new(AdminErrorCode::Registry, message)
                        .with_advice("free space or check the disk; do not repeat the command"))
                }
            },
            (Err(error), Some(event)) => {
                self.registry.note(event.outcome(error.code()));
                Err(error)
            }
            // A part of it was done and is in the trail.
            (Err(error), None) => Err(error),
        }
    }
}
