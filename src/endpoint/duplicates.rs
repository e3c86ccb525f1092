//! Answers kept for a while, for requests that come twice: MQTT may deliver a QoS 1 message again (protocol section 5).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Decision, Reply, Request};
use crate::clock::UnixTime;

/// Seconds an answer is kept.
const LIFETIME: u64 = 60;
/// The same for a request that only its name tells from another.
const LIFETIME_OF_NAMED: u64 = 10;
/// Answers kept, at most.
const MAX_ANSWERS: usize = 256;
/// Bytes of all answers kept, at most.
const MAX_BYTES: usize = 512 * 1_024;

/// Answers to requests that were answered once and for all. The oldest make room for the newest: what is lost is only a convenience.
#[derive(Default)]
pub(super) struct Duplicates(Mutex<VecDeque<Answer>>);

struct Answer {
    request: [u8; 32],
    payload: Zeroizing<Vec<u8>>,
    accepted: bool,
    until: UnixTime,
}

fn digest(request: &Request<'_>, name: &[u8]) -> [u8; 32] {
    // The topic, level by level. No level holds a zero.
    let topic = [request.client_id.as_str(), request.operation, request.format.as_str()].join("\0");
    let hash = Sha256::new().chain_update(topic).chain_update([0]).chain_update(name.len().to_be_bytes()).chain_update(name);
    hash.chain_update(request.payload).finalize().into()
}

impl Duplicates {
    /// The answer that the very same request got.
    pub(super) fn find(&self, request: &Request<'_>, now: UnixTime) -> Option<Reply> {
        self.find_named(request, &[], now)
    }

    /// The same by a name that is not part of the payload.
    pub(super) fn find_named(&self, request: &Request<'_>, name: &[u8], now: UnixTime) -> Option<Reply> {
        let digest = digest(request, name);
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.iter().find(|answer| answer.request == digest && answer.until > now)?;
        Some(Reply { payload: answer.payload.to_vec(), decision: Decision::Repeated { accepted: answer.accepted } })
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, request: &Request<'_>, reply: &Reply, now: UnixTime) {
        self.put(request, &[], reply, now, LIFETIME);
    }

    /// The same by a name that is not part of the payload, for a shorter time: who gives each request the same name is to get another token soon.
    pub(super) fn keep_named(&self, request: &Request<'_>, name: &[u8], reply: &Reply, now: UnixTime) {
        self.put(request, name, reply, now, LIFETIME_OF_NAMED);
    }

    fn put(&self, request: &Request<'_>, name: &[u8], reply: &Reply, now: UnixTime, lifetime: u64) {
        let answer = Answer {
            request: digest(request, name),
            payload: Zeroizing::new(reply.payload.clone()),
            accepted: reply.decision.is_accepted(),
            until: now.saturating_add(lifetime),
        };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_back(answer);
        let mut bytes: usize = answers.iter().map(|answer| answer.payload.len()).sum();
        while answers.len() > MAX_ANSWERS || bytes > MAX_BYTES || answers.front().is_some_and(|oldest| oldest.until <= now) {
            let Some(oldest) = answers.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.payload.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Channel;
    use crate::oauth::{ClientId, Format};

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn request<'a>(client_id: &'a ClientId, payload: &'a [u8]) -> Request<'a> {
        Request {
            client_id,
            operation: "token",
            format: Format::Json,
            payload,
            channel: Channel::Untrusted,
            correlation_data: None,
            envelope: Ok(()),
        }
    }

    fn keep(duplicates: &Duplicates, payload: &[u8], answer: Vec<u8>) {
        let reply = Reply { payload: answer, decision: Decision::NonceGiven };
        duplicates.keep(&request(&"dev1".parse().unwrap(), payload), &reply, NOW);
    }

    #[test]
    fn the_very_same_request_gets_its_answer_for_a_minute() {
        let (duplicates, dev1, dev2) = (Duplicates::default(), "dev1".parse().unwrap(), "dev2".parse().unwrap());
        keep(&duplicates, b"a", b"answer".to_vec());
        let found = duplicates.find(&request(&dev1, b"a"), NOW.saturating_add(59)).unwrap();
        assert_eq!((found.payload.as_slice(), found.decision), (&b"answer"[..], Decision::Repeated { accepted: true }));
        assert!(duplicates.find(&request(&dev1, b"a"), NOW.saturating_add(60)).is_none());
        assert!(duplicates.find(&request(&dev1, b"b"), NOW).is_none());
        assert!(duplicates.find(&request(&dev2, b"a"), NOW).is_none());
        assert!(duplicates.find(&Request { format: Format::Cbor, ..request(&dev1, b"a") }, NOW).is_none());
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let (duplicates, dev1) = (Duplicates::default(), "dev1".parse().unwrap());
        for number in 0..300_u32 {
            keep(&duplicates, &number.to_be_bytes(), vec![0; 8]);
        }
        assert_eq!(duplicates.0.lock().unwrap().len(), MAX_ANSWERS);
        assert!(duplicates.find(&request(&dev1, &0_u32.to_be_bytes()), NOW).is_none(), "the oldest went");
        assert!(duplicates.find(&request(&dev1, &299_u32.to_be_bytes()), NOW).is_some());
        for number in 0..20_u32 {
            keep(&duplicates, &number.to_be_bytes(), vec![0; 65_536]);
        }
        assert!(duplicates.0.lock().unwrap().iter().map(|answer| answer.payload.len()).sum::<usize>() <= MAX_BYTES);
    }
}
