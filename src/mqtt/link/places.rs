//! Places in the queue of requests: no client takes more than its part of them, and the last are for the most critical.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::mpsc;

use crate::clients::Criticality;
use crate::oauth::ClientId;

/// Clients are counted by the hash of their id, under a key of this process: bounded, whoever invents ids. Two that meet share a part.
const SLOTS: usize = 256;
/// A client has this part of the queue at most.
const PART: usize = 4;

/// A request in the queue, which keeps its place until it is answered.
pub(super) struct Queued {
    pub(super) publish: Publish,
    _place: Option<Place>,
}

struct Place(Arc<Counts>, usize);

struct Counts([AtomicUsize; SLOTS]);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.0.0.get(self.1) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The way into the queue.
pub(super) struct Entrance {
    queue: mpsc::Sender<Queued>,
    counts: Arc<Counts>,
    hasher: RandomState,
}

/// A queue of so many places.
pub(super) fn queue(places: usize) -> (Entrance, mpsc::Receiver<Queued>) {
    let (queue, receiver) = mpsc::channel(places.max(1));
    (Entrance { queue, counts: Arc::new(Counts([const { AtomicUsize::new(0) }; SLOTS])), hasher: RandomState::new() }, receiver)
}

impl Entrance {
    /// Queues a request of that client, or what is none.
    ///
    /// # Errors
    /// With the request if there is no place for it.
    #[expect(clippy::result_large_err, reason = "as of the channel itself: what did not fit goes on another way")]
    pub(super) fn enter(
        &self,
        publish: Publish,
        client: Option<(&ClientId, Criticality)>,
    ) -> Result<(), mpsc::error::TrySendError<Publish>> {
        let place = match client {
            None => None,
            Some((id, criticality)) => match self.place(id, criticality) {
                Some(place) => Some(place),
                None => return Err(mpsc::error::TrySendError::Full(publish)),
            },
        };
        self.queue.try_send(Queued { publish, _place: place }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(queued) => mpsc::error::TrySendError::Full(queued.publish),
            mpsc::error::TrySendError::Closed(queued) => mpsc::error::TrySendError::Closed(queued.publish),
        })
    }

    fn place(&self, id: &ClientId, criticality: Criticality) -> Option<Place> {
        let places = self.queue.max_capacity();
        let reserve = criticality.reserve(u32::try_from(places).unwrap_or(u32::MAX));
        if self.queue.capacity() <= usize::try_from(reserve).unwrap_or(usize::MAX) {
            return None;
        }
        // Only chance counts here: on a small host the upper half of the hash is cut off.
        let slot = (self.hasher.hash_one(id.as_str()) as usize).checked_rem(SLOTS)?;
        let count = self.counts.0.get(slot)?;
        let before = count.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.counts.clone(), slot);
        (before < places.checked_div(PART)?.max(1)).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ClientId {
        name.parse().unwrap()
    }

    /// How many of that client find a place.
    fn enter(entrance: &Entrance, name: &str, criticality: Criticality) -> usize {
        (0..1_000).take_while(|_| entrance.enter(Publish::default(), Some((&id(name), criticality))).is_ok()).count()
    }

    #[test]
    fn a_client_has_its_part_alone() {
        let (entrance, mut queue) = queue(64);
        assert_eq!(enter(&entrance, "flood", Criticality::Normal), 16);
        assert_eq!(enter(&entrance, "flood", Criticality::Critical), 0);
        drop((queue.try_recv().unwrap(), queue.try_recv().unwrap()));
        assert_eq!(enter(&entrance, "flood", Criticality::Normal), 2, "what is answered makes room");
        assert!(enter(&entrance, "honest", Criticality::Normal) > 0);
    }

    #[test]
    fn the_last_places_are_for_the_most_critical() {
        let (entrance, _queue) = queue(64);
        let fill = |criticality| (0..64).map(|number| enter(&entrance, &format!("{criticality:?}{number}"), criticality)).sum::<usize>();
        assert_eq!(Criticality::ALL.map(fill), [32, 16, 8, 8]);
    }

    #[test]
    fn what_is_no_request_and_a_queue_of_one_place_are_served() {
        let (entrance, mut queue) = queue(1);
        assert_eq!(enter(&entrance, "dev1", Criticality::Low), 1);
        assert!(queue.try_recv().is_ok());
        assert!(entrance.enter(Publish::default(), None).is_ok());
        assert!(matches!(entrance.enter(Publish::default(), None), Err(mpsc::error::TrySendError::Full(_))));
        drop(queue);
        assert!(matches!(entrance.enter(Publish::default(), None), Err(mpsc::error::TrySendError::Closed(_))));
    }
}
