//! Polls the event loop of one connection, and never waits for anything else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::failure::Failure;
use super::places::Entrance;
use crate::mqtt::Gateway;

/// What the broker has told so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// CONNACK.
    pub(super) limits: Option<Limits>,
    /// SUBACK.
    pub(super) subscription: Option<Result<(), SubscribeReasonCode>>,
    /// Publishes with QoS 1 that got their PUBACK.
    pub(super) acknowledged: u64,
    /// Those of them that were refused.
    pub(super) refused: u64,
}

/// What the broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of the largest packet.
    pub(super) max_packet_size: usize,
    /// Whether it takes QoS 1.
    pub(super) at_least_once: bool,
}

/// The one that polls.
pub(super) struct Poller {
    pub(super) eventloop: EventLoop,
    pub(super) client: AsyncClient,
    pub(super) gateway: Arc<Gateway>,
    /// Host and port.
    pub(super) address: String,
    /// What CONNECT asked for.
    pub(super) keep_alive: Duration,
    /// Requests for the engine.
    pub(super) queue: Entrance,
    /// Requests past the bound of `queue`, to be answered that there are too many.
    pub(super) overflow: mpsc::Sender<Publish>,
    pub(super) progress: watch::Sender<Progress>,
    /// Publishes before the first answer, as soon as that is known.
    pub(super) announcements: Arc<AtomicU64>,
    /// What a PUBACK needs of requests that were shed, until there is room for it. There are no more than packet identifiers; Mosquitto
    /// with `max_queued_messages 0` sends more than our Receive Maximum.
    pub(super) unacknowledged: VecDeque<Publish>,
    /// Whether the log has it that answers are refused.
    pub(super) told_of_refusal: bool,
}

impl Poller {
    /// Polls until the connection ends.
    pub(super) async fn run(mut self) -> Failure {
        let mut last_progress = Instant::now();
        loop {
            // Neither keep alive nor timeouts of rumqttc are watched while it writes to a peer that does not read.
            let patience = self.eventloop.options.keep_alive().saturating_mul(2).saturating_add(Duration::from_secs(10));
            let event = match timeout(patience, self.eventloop.poll()).await {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return Failure::of_connection(&error, &self.address, self.progress.borrow().limits.is_some()),
                Err(_) => return Failure::Stuck { seconds: patience.as_secs() },
            };
            let inflight = self.eventloop.state.inflight();
            if inflight == 0 || matches!(event, Event::Incoming(Packet::PubAck(_))) {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > patience {
                return Failure::Unacknowledged { seconds: patience.as_secs() };
            }
            match event {
                Event::Incoming(Packet::Publish(publish)) => self.on_request(publish),
                Event::Incoming(Packet::PubAck(ack)) => self.on_puback(&ack),
                Event::Incoming(Packet::ConnAck(ack)) => self.on_connack(&ack),
                Event::Incoming(Packet::SubAck(ack)) => self.on_suback(&ack),
                Event::Outgoing(Outgoing::AwaitAck(id)) => debug!(id, "the broker acknowledges out of order"),
                _ => {}
            }
            self.acknowledge();
        }
    }

    fn on_connack(&mut self, ack: &ConnAck) {
        // rumqttc takes a Server Keep Alive of 0, which means none, as an interval.
        if self.eventloop.options.keep_alive().is_zero() {
            self.eventloop.options.set_keep_alive(self.keep_alive);
        }
        let properties = ack.properties.as_ref();
        let limits = Limits {
            max_packet_size: properties
                .and_then(|all| all.max_packet_size)
                .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)),
            at_least_once: properties.and_then(|all| all.max_qos) != Some(0),
        };
        self.gateway.counters().count_connection();
        self.progress.send_modify(|progress| progress.limits = Some(limits));
    }

    fn on_suback(&mut self, ack: &SubAck) {
        let refusal = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
        let outcome = refusal.map_or(Ok(()), |code| Err(*code));
        self.progress.send_modify(|progress| progress.subscription = Some(outcome));
    }

    fn on_puback(&mut self, ack: &PubAck) {
        let refused = !matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        self.progress.send_modify(|progress| {
            progress.acknowledged = progress.acknowledged.saturating_add(1);
            progress.refused = progress.refused.saturating_add(u64::from(refused));
        });
        // The session looks after the announcements; they are the first publishes of a connection.
        if !refused || self.progress.borrow().acknowledged <= self.announcements.load(Ordering::Relaxed) {
            return;
        }
        self.gateway.counters().count_shed();
        if !std::mem::replace(&mut self.told_of_refusal, true) {
            let (reason, prefix) = (ack.reason, self.gateway.topics().prefix());
            let remedy = format!(
                "let the gateway's user write below {prefix}/client/ and, if it forwards the audit trail, to {prefix}/audit (Mosquitto ACL \
                     file: `topic write {prefix}/client/#`, `topic write {prefix}/audit`)"
            );
            warn!(broker = self.address, ?reason, remedy, "the broker refused an answer");
        }
    }

    /// Hands a request on, or sheds it if even the answer that there are too many would have to wait.
    fn on_request(&mut self, publish: Publish) {
        let client = std::str::from_utf8(&publish.topic).ok().and_then(|topic| self.gateway.asker(topic));
        let client = client.as_ref().map(|(id, criticality)| (id, *criticality));
        let overflowing = match self.queue.enter(publish, client) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(publish)) => self.overflow.try_send(publish),
            // The link is stopping.
            Err(closed) => Err(closed),
        };
        if let Err(mpsc::error::TrySendError::Full(publish) | mpsc::error::TrySendError::Closed(publish)) = overflowing {
            self.gateway.counters().count_shed();
            if publish.qos != QoS::AtMostOnce {
                self.unacknowledged.push_back(Publish { qos: publish.qos, pkid: publish.pkid, ..Publish::default() });
            }
        }
    }

    /// Acknowledges what was shed, or the broker would deliver nothing more once our Receive Maximum is reached.
    fn acknowledge(&mut self) {
        while let Some(publish) = self.unacknowledged.front() {
            if self.client.try_ack(publish).is_err() {
                return;
            }
            self.unacknowledged.pop_front();
        }
    }
}
