//! Entries of the audit trail in systemd's journal, in its native protocol: a datagram of lines `FIELD=value`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tracing::warn;

use crate::audit::Sealed;

/// Where systemd-journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What all entries of the trail have in common, for `journalctl MESSAGE_ID=`.
const MESSAGE_ID: &str = "7c3f1f0e5b0d4c0e9d2a6b1c8e4f7a35";

/// The way to the journal.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    told: AtomicBool,
}

impl Journal {
    /// The journal of this host.
    pub(super) fn open() -> Self {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Self {
        // A full journal must not hold up the registry.
        let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        Self { path: path.to_owned(), socket: socket.ok(), told: AtomicBool::new(false) }
    }

    /// Sends an entry. One that the journal does not take is still in the trail.
    pub(super) fn send(&self, sealed: &Sealed) {
        let sent = self.socket.as_ref().map(|socket| socket.send_to(&datagram(sealed), &self.path));
        match sent {
            Some(Ok(_)) => self.told.store(false, Ordering::Relaxed),
            failed => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let error = failed.and_then(Result::err);
                    warn!(?error, entry = sealed.entry.seq, "systemd's journal does not take the audit trail from that entry on");
                }
            }
        }
    }
}

/// The members of the entry as fields named after them, `AUDIT_SEQ` and so on, behind those that the journal knows.
fn datagram(sealed: &Sealed) -> Vec<u8> {
    let event = &sealed.entry.event;
    // Refusals are notices, all else is information.
    let priority = if event.kind == "refusal" { 5 } else { 6 };
    let what =
        [event.client_id.as_ref().map(|id| id.as_str()), event.operation.as_deref(), event.reason.as_deref(), event.outcome.as_deref()];
    let what = what.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "MESSAGE=audit {}: {} {} {what}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=credgate\nMESSAGE_ID={MESSAGE_ID}\n",
        sealed.entry.seq, event.kind, event.event
    );
    if let Ok(Value::Object(members)) = serde_json::to_value(sealed) {
        for (name, value) in members {
            // No value holds a line break: texts are words of ours, or were freed of control characters.
            let value = value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', " "));
            text.push_str(&format!("AUDIT_{}={value}\n", name.to_ascii_uppercase()));
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Entry, Event, Link, What};
    use crate::clock::UnixTime;

    fn sealed() -> Sealed {
        let event = Event::of(What::OperatorCommand).operation("client block").subject("dev1").outcome("done").by(0, Some(7), Some("root"));
        let event = event.client(&"dev1".parse().unwrap());
        Entry { seq: 3, time: UnixTime::from_secs(9), event }.seal(&Link::default())
    }

    #[test]
    fn the_names_of_the_fields_are_fixed() {
        let text = String::from_utf8(datagram(&sealed())).unwrap();
        let hash = sealed().hash;
        assert_eq!(
            text,
            format!(
                "MESSAGE=audit 3: operator command dev1 client block done\nPRIORITY=6\nSYSLOG_IDENTIFIER=credgate\nMESSAGE_ID={MESSAGE_ID}\n\
                 AUDIT_CLIENT_ID=dev1\nAUDIT_EVENT=command\nAUDIT_HASH={hash}\nAUDIT_OPERATION=client block\nAUDIT_OUTCOME=done\n\
                 AUDIT_PID=7\nAUDIT_SEQ=3\nAUDIT_SUBJECT=dev1\nAUDIT_TIME=9\nAUDIT_TYPE=operator\nAUDIT_UID=0\nAUDIT_USER=root\n"
            )
        );
    }

    #[test]
    fn entries_arrive_and_a_journal_that_is_gone_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path);
        journal.send(&sealed());
        let mut buffer = [0; 4_096];
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], datagram(&sealed()));
        drop(receiver);
        journal.send(&sealed());
        assert!(journal.told.load(Ordering::Relaxed));
    }
}
