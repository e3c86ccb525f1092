//! Messages of the gateway's own that are to arrive at least once, whatever connections end in between.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// Messages on their way to the broker at once.
const UNCONFIRMED: usize = 32;

/// A message of the gateway's own; never retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic Name.
    pub topic: String,
    /// Payload, a JSON text.
    pub payload: Vec<u8>,
}

/// What is to be published, and what was and is not known to have arrived.
pub(super) struct Outbox {
    messages: mpsc::Receiver<Message>,
    /// With the number of each among the publishes of its connection; `None` to be published anew.
    unconfirmed: VecDeque<(Option<u64>, Message)>,
}

impl Outbox {
    /// One, and the way into it.
    pub(super) fn new() -> (mpsc::Sender<Message>, Self) {
        let (sender, messages) = mpsc::channel(UNCONFIRMED);
        (sender, Self { messages, unconfirmed: VecDeque::new() })
    }

    /// Another connection: nothing of the one before will be confirmed.
    pub(super) fn begin(&mut self) {
        self.unconfirmed.iter_mut().for_each(|(number, _)| *number = None);
    }

    /// The broker has the first so many publishes of this connection. It confirms them in their order.
    pub(super) fn confirm(&mut self, acknowledged: u64) {
        while self.unconfirmed.front().is_some_and(|(number, _)| number.is_some_and(|number| number <= acknowledged)) {
            self.unconfirmed.pop_front();
        }
    }

    /// The next message to publish. Waits for ever if there is none, or if too many are on their way. Safe to cancel.
    pub(super) async fn next(&mut self) -> Message {
        if let Some((_, message)) = self.unconfirmed.iter().find(|(number, _)| number.is_none()) {
            return message.clone();
        }
        if self.unconfirmed.len() < UNCONFIRMED
            && let Some(message) = self.messages.recv().await
        {
            self.unconfirmed.push_back((None, message.clone()));
            return message;
        }
        std::future::pending().await
    }

    /// The next message to publish, if there is one now, however many are on their way.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        if let Some((_, message)) = self.unconfirmed.iter().find(|(number, _)| number.is_none()) {
            return Some(message.clone());
        }
        let message = self.messages.try_recv().ok()?;
        self.unconfirmed.push_back((None, message.clone()));
        Some(message)
    }

    /// The message that [`Self::next`] gave last is publish number `number`.
    pub(super) fn sent(&mut self, number: u64) {
        if let Some((waiting, _)) = self.unconfirmed.iter_mut().find(|(number, _)| number.is_none()) {
            *waiting = Some(number);
        }
    }

    /// Whether something waits for the broker to confirm it.
    pub(super) fn awaits(&self) -> bool {
        !self.unconfirmed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8) -> Message {
        Message { topic: "t".into(), payload: vec![number] }
    }

    #[tokio::test]
    async fn what_was_not_confirmed_is_published_again_by_the_next_connection() {
        let (sender, mut outbox) = Outbox::new();
        for number in 1..=3 {
            sender.send(message(number)).await.unwrap();
        }
        outbox.begin();
        for number in 1..=3 {
            assert_eq!(outbox.next().await, message(number));
            outbox.sent(u64::from(number).saturating_add(10));
        }
        outbox.confirm(12);
        outbox.begin();
        assert_eq!(outbox.next().await, message(3));
        // Cancelled before it was sent: it is still the next.
        assert_eq!(outbox.next().await, message(3));
        outbox.sent(1);
        assert!(outbox.awaits());
        outbox.confirm(1);
        assert!(!outbox.awaits());
    }

    #[tokio::test]
    async fn only_so_many_are_on_their_way() {
        let (sender, mut outbox) = Outbox::new();
        for number in 0..UNCONFIRMED {
            sender.send(message(0)).await.unwrap();
            outbox.next().await;
            outbox.sent(u64::try_from(number).unwrap());
        }
        sender.send(message(1)).await.unwrap();
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), outbox.next()).await;
        assert!(waited.is_err(), "{waited:?}");
        outbox.confirm(0);
        assert_eq!(outbox.next().await, message(1));
    }
}
