//! The revocation lists as one link has published them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing::{error, warn};

use super::{Announcement, Topics};
use crate::clock::UnixTime;
use crate::endpoint::Engine;
use crate::oauth::ResourceServerId;
use crate::policy::ResourceServer;
use crate::token::{MAX_LIST, RevocationList};

/// Bytes of a PUBLISH around its payload: topic, properties and headers.
const PACKET_OVERHEAD: usize = 512;

/// What was published last on the connection there is, so that only what is new is signed and published.
#[derive(Default)]
pub(super) struct Lists(Mutex<Option<BTreeMap<ResourceServerId, Published>>>);

struct Published {
    list: RevocationList,
    /// In what form and by which key it was signed.
    form: (ResourceServer, String),
}

impl Lists {
    /// There is a new connection, on which nothing was published yet.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The lists that differ from the last ones, and empty messages in place of those of resource servers that are no more.
    pub(super) fn changed(&self, engine: &Engine, topics: &Topics, now: UnixTime, max_packet: usize) -> Vec<Announcement> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let max_bytes = max_packet.saturating_sub(PACKET_OVERHEAD).min(MAX_LIST);
        let (lists, removed) = engine.revocation_lists(now, max_bytes);
        let is_there = |id: &ResourceServerId| lists.iter().any(|(server, _)| server.id == *id);
        let gone: Vec<_> = match last.as_ref() {
            Some(published) => published.keys().filter(|id| !is_there(id)).cloned().collect(),
            // They may have gone while there was no connection.
            None => removed,
        };
        let published = last.get_or_insert_default();
        let mut announcements = Vec::new();
        for id in gone {
            published.remove(&id);
            announcements.push(empty(topics, &id));
        }
        for (server, list) in lists {
            let kid = engine.keys().active_for(server.alg.key_type()).map(|key| key.kid().to_owned()).unwrap_or_default();
            let next = Published { list, form: (ResourceServer::clone(&server), kid) };
            let last = published.get(&server.id);
            if last.is_some_and(|last| last.form == next.form && last.list.says_the_same_as(&next.list)) {
                continue;
            }
            let bound = next.list.issued_before;
            if let Some(issued_before) = bound.filter(|_| last.is_none_or(|last| last.list.issued_before != bound)) {
                warn!(
                    resource_server = server.id.as_str(),
                    %issued_before,
                    max_bytes,
                    "the revocation list is full: every token from before that time is void at this resource server"
                );
            }
            match engine.sign_list(&server, &next.list) {
                Ok(signed) => announcements.push(Announcement {
                    topic: topics.revocation_list(&server.id),
                    payload: signed.payload,
                    content_type: signed.content_type,
                    is_utf8: signed.is_utf8,
                }),
                Err(error) => {
                    error!(resource_server = server.id.as_str(), %error, "the revocation list cannot be signed");
                    continue;
                }
            }
            published.insert(server.id.clone(), next);
        }
        announcements
    }
}

/// Takes a retained list away (MQTT 5 section 3.3.1.3).
fn empty(topics: &Topics, id: &ResourceServerId) -> Announcement {
    Announcement { topic: topics.revocation_list(id), payload: Vec::new(), content_type: "application/trl+jwt", is_utf8: true }
}
