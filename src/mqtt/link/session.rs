//! The conversation on one connection: subscribe, announce, answer, and say goodbye.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS as MqttQoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish, PublishProperties, RetainForwardRule};
use rumqttc::v5::{AsyncClient, ClientError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::warn;

use super::connect::{self, address, mqtt_options};
use super::failure::Failure;
use super::outbox::{Message, Outbox};
use super::places::{self, Queued};
use super::poller::{Limits, Poller, Progress};
use super::{LinkOptions, News, stopped};
use crate::mqtt::{Announcement, Gateway, Inbound, MAX_WRITES, Outbound, QoS, Status};

/// Packets that may wait for rumqttc: enough to keep the socket busy, few enough to shed in time.
const PACKETS: usize = 64;
/// Requests that may wait to be told that there are too many.
const OVERFLOW: usize = 64;
/// Requests for a change that may wait for their turn to write; more are told to come again.
const WAITING_WRITES: usize = 256;
/// Requests answered before other tasks get their turn.
const BATCH: u32 = 16;
/// Longest wait for SUBACK, and for the PUBACKs of the announcements.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The working side of one connection; [`Poller`] is the other.
pub(super) struct Session {
    client: AsyncClient,
    gateway: Arc<Gateway>,
    address: String,
    queue: mpsc::Receiver<Queued>,
    overflow: mpsc::Receiver<Publish>,
    progress: watch::Receiver<Progress>,
    limits: Limits,
    /// Requests for a change, on their way to the disk.
    writes: JoinSet<(Publish, Option<Outbound>)>,
    /// How many of them wait for it at once.
    turns: Arc<Semaphore>,
    /// Publishes with QoS 1 handed to rumqttc.
    sent: u64,
    /// How many announcements come first.
    announcements: Arc<AtomicU64>,
}

/// The poller ended, and knows why.
#[derive(Debug)]
pub(super) struct Disconnected;

impl From<ClientError> for Disconnected {
    fn from(_: ClientError) -> Self {
        Self
    }
}

impl From<watch::error::RecvError> for Disconnected {
    fn from(_: watch::error::RecvError) -> Self {
        Self
    }
}

/// Why a connection did not come to serve.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The poller ended, and knows why.
    Disconnected,
    /// The broker is there but does not do what is needed.
    Failed(Failure),
}

impl<E: Into<Disconnected>> From<E> for Interrupted {
    fn from(_: E) -> Self {
        Self::Disconnected
    }
}

impl Session {
    /// The two sides of a connection that is made once the poller runs.
    pub(super) fn open(options: &LinkOptions, gateway: &Arc<Gateway>) -> Result<(Self, Poller), Failure> {
        let (client, eventloop) = AsyncClient::new(mqtt_options(options, gateway)?, PACKETS);
        let (entrance, queue) = places::queue(options.queue);
        let (overflow_sender, overflow) = mpsc::channel(OVERFLOW);
        let (progress_sender, progress) = watch::channel(Progress::default());
        let announcements = Arc::new(AtomicU64::new(0));
        let poller = Poller {
            eventloop,
            client: client.clone(),
            gateway: Arc::clone(gateway),
            address: address(options),
            keep_alive: connect::keep_alive(options),
            queue: entrance,
            overflow: overflow_sender,
            progress: progress_sender,
            announcements: announcements.clone(),
            unacknowledged: VecDeque::new(),
            told_of_refusal: false,
        };
        let limits = Limits { max_packet_size: usize::MAX, at_least_once: true };
        let session = Self {
            client,
            gateway: Arc::clone(gateway),
            address: address(options),
            queue,
            overflow,
            progress,
            limits,
            writes: JoinSet::new(),
            turns: Arc::new(Semaphore::new(MAX_WRITES)),
            sent: 0,
            announcements,
        };
        Ok((session, poller))
    }

    /// Waits for the connection, subscribes, and publishes the announcements.
    pub(super) async fn establish(&mut self) -> Result<(), Interrupted> {
        // rumqttc bounds this wait.
        if let Some(limits) = self.progress.wait_for(|progress| progress.limits.is_some()).await?.limits {
            self.limits = limits;
        }
        self.subscribe().await?;
        let announcements = self.gateway.announcements(self.limits.max_packet_size);
        self.announcements.store(u64::try_from(announcements.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for announcement in announcements {
            self.announce(announcement).await?;
        }
        self.confirm_announcements().await?;
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), Interrupted> {
        let filter = Filter {
            path: self.gateway.topics().request_filter(),
            qos: MqttQoS::AtLeastOnce,
            // A Response Topic may have the shape of a request topic.
            nolocal: true,
            // So that a request with RETAIN is known for one. It is not to be served, from the broker's store even less.
            preserve_retain: true,
            retain_forward_rule: RetainForwardRule::Never,
        };
        self.client.subscribe_many([filter]).await?;
        let answer = timeout(ANSWER_TIMEOUT, self.progress.wait_for(|progress| progress.subscription.is_some())).await;
        let outcome = match answer {
            Ok(progress) => progress?.subscription,
            Err(_) => return Err(Interrupted::Failed(Failure::Unanswered { packet: "SUBSCRIBE", seconds: ANSWER_TIMEOUT.as_secs() })),
        };
        match outcome {
            Some(Err(code)) => Err(Interrupted::Failed(Failure::of_subscription(code, self.gateway.topics()))),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Waits until the retained messages are with the broker. Tokens can be had without them, so their refusal is only told.
    async fn confirm_announcements(&mut self) -> Result<(), Interrupted> {
        let sent = self.sent;
        let confirmed = timeout(ANSWER_TIMEOUT, self.progress.wait_for(|progress| progress.acknowledged >= sent)).await;
        let refused = match confirmed {
            Ok(progress) => progress?.refused,
            Err(_) => return Err(Interrupted::Failed(Failure::Unanswered { packet: "PUBLISH", seconds: ANSWER_TIMEOUT.as_secs() })),
        };
        if refused > 0 {
            let prefix = self.gateway.topics().prefix();
            let remedy = format!(
                "let the gateway's user write below {prefix}/as/ and {prefix}/rs/ (Mosquitto ACL file: `topic write {prefix}/as/#` and \
                 `topic write {prefix}/rs/#`)"
            );
            warn!(
                broker = self.address,
                refused, remedy, "the broker refused retained messages: metadata, keys, revocation lists or status are not found there"
            );
        }
        Ok(())
    }

    /// Answers requests until the link is to stop.
    pub(super) async fn serve(&mut self, news: &News, outbox: &mut Outbox, stop: &mut watch::Receiver<bool>) -> Result<(), Disconnected> {
        outbox.begin();
        let mut progress = self.progress.clone();
        let mut batch = BATCH;
        loop {
            tokio::select! {
                () = stopped(stop) => return self.farewell(outbox).await,
                () = news.all.notified() => self.announce_all(Gateway::changed_announcements).await?,
                () = news.lists.notified() => self.announce_all(Gateway::changed_lists).await?,
                message = outbox.next() => self.send(message, outbox).await?,
                changed = progress.changed(), if outbox.awaits() => {
                    changed?;
                    outbox.confirm(progress.borrow_and_update().acknowledged);
                }
                Some(written) = self.writes.join_next() => self.written(written).await?,
                // In random turns with the queue: either alone would starve the other under load.
                Some(publish) = self.overflow.recv() => self.answer(&publish, Gateway::answer_overloaded).await?,
                publish = self.queue.recv() => match publish {
                    Some(queued) => self.answer(&queued.publish, Gateway::answer).await?,
                    None => return Err(Disconnected),
                }
            }
            batch = batch.saturating_sub(1);
            if batch == 0 {
                batch = BATCH;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Answers what was queued, publishes what is left and the status `offline`, and sends DISCONNECT once the broker has it.
    async fn farewell(&mut self, outbox: &mut Outbox) -> Result<(), Disconnected> {
        self.queue.close();
        self.overflow.close();
        while let Some(queued) = self.queue.recv().await {
            self.answer(&queued.publish, Gateway::answer).await?;
        }
        while let Some(publish) = self.overflow.recv().await {
            self.answer(&publish, Gateway::answer_overloaded).await?;
        }
        while let Some(written) = self.writes.join_next().await {
            self.written(written).await?;
        }
        while let Some(message) = outbox.try_next() {
            self.send(message, outbox).await?;
        }
        self.announce(self.gateway.status(Status::Offline)).await?;
        let sent = self.sent;
        self.progress.wait_for(|progress| progress.acknowledged >= sent).await?;
        self.client.disconnect().await?;
        Ok(())
    }

    /// Answers a request, or has it answered where waiting for the disk delays nobody.
    async fn answer(&mut self, publish: &Publish, answer: fn(&Gateway, &Inbound<'_>) -> Option<Outbound>) -> Result<(), Disconnected> {
        let inbound = std::str::from_utf8(&publish.topic).ok().map(|topic| inbound(topic, publish));
        let outbound = match inbound {
            Some(inbound) if self.gateway.writes(inbound.topic) && self.writes.len() >= WAITING_WRITES => {
                self.gateway.answer_overloaded(&inbound)
            }
            Some(inbound) if self.gateway.writes(inbound.topic) => {
                let (gateway, owned, publish) = (Arc::clone(&self.gateway), inbound.to_owned(), publish.clone());
                let turns = self.turns.clone();
                self.writes.spawn(async move {
                    // Never closed.
                    let _turn = turns.acquire().await;
                    // It fails only when the runtime ends.
                    let outbound = tokio::task::spawn_blocking(move || answer(&gateway, &owned.borrow())).await.unwrap_or_default();
                    (publish, outbound)
                });
                return Ok(());
            }
            Some(inbound) => answer(&self.gateway, &inbound),
            None => None,
        };
        self.respond(publish, outbound).await
    }

    async fn written(&mut self, written: Result<(Publish, Option<Outbound>), JoinError>) -> Result<(), Disconnected> {
        match written {
            Ok((publish, outbound)) => self.respond(&publish, outbound).await,
            // Nothing aborts it and it does not panic, so the runtime is ending.
            Err(_) => Err(Disconnected),
        }
    }

    /// Publishes the answer, and acknowledges the request once rumqttc has it.
    async fn respond(&mut self, publish: &Publish, outbound: Option<Outbound>) -> Result<(), Disconnected> {
        if let Some(outbound) = outbound {
            let properties = PublishProperties {
                payload_format_indicator: outbound.is_utf8.then_some(1),
                message_expiry_interval: Some(outbound.expiry),
                content_type: Some(outbound.content_type.to_owned()),
                correlation_data: outbound.correlation_data.map(Into::into),
                ..PublishProperties::default()
            };
            let sent = self.publish(outbound.topic, outbound.payload, outbound.qos, false, properties).await;
            if !matches!(sent, Ok(true)) {
                self.gateway.counters().count_shed();
            }
            sent?;
        }
        Ok(self.client.ack(publish).await?)
    }

    /// Publishes a message of the gateway's own, once more if need be. What the broker cannot take is not tried again.
    async fn send(&mut self, message: Message, outbox: &mut Outbox) -> Result<(), Disconnected> {
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        self.publish(message.topic, message.payload, QoS::AtLeastOnce, false, properties).await?;
        outbox.sent(self.sent);
        Ok(())
    }

    async fn announce_all(&mut self, announcements: fn(&Gateway, usize) -> Vec<Announcement>) -> Result<(), Disconnected> {
        for announcement in announcements(&self.gateway, self.limits.max_packet_size) {
            self.announce(announcement).await?;
        }
        Ok(())
    }

    async fn announce(&mut self, announcement: Announcement) -> Result<(), Disconnected> {
        let Announcement { topic, payload, content_type, is_utf8 } = announcement;
        let properties = PublishProperties {
            payload_format_indicator: is_utf8.then_some(1),
            content_type: Some(content_type.to_owned()),
            ..PublishProperties::default()
        };
        self.publish(topic, payload, QoS::AtLeastOnce, true, properties).await.map(|_| ())
    }

    /// Hands a PUBLISH to rumqttc; `false` if the broker would not take it, which would cost the connection.
    async fn publish(
        &mut self,
        topic: String,
        payload: Vec<u8>,
        qos: QoS,
        retain: bool,
        properties: PublishProperties,
    ) -> Result<bool, Disconnected> {
        let at_least_once = qos == QoS::AtLeastOnce && self.limits.at_least_once;
        let qos = if at_least_once { MqttQoS::AtLeastOnce } else { MqttQoS::AtMostOnce };
        let mut packet = Publish::new(topic.as_str(), qos, payload, Some(properties));
        packet.pkid = 1;
        let (size, max) = (packet.size(), self.limits.max_packet_size);
        if size > max {
            warn!(broker = self.address, topic, size, max, "not published: larger than the broker's maximum packet size");
            return Ok(false);
        }
        self.client.publish_with_properties(topic, qos, retain, packet.payload, packet.properties.unwrap_or_default()).await?;
        self.sent = self.sent.saturating_add(u64::from(at_least_once));
        Ok(true)
    }
}

fn inbound<'a>(topic: &'a str, publish: &'a Publish) -> Inbound<'a> {
    let properties = publish.properties.as_ref();
    Inbound {
        topic,
        payload: &publish.payload,
        retain: publish.retain,
        qos: if publish.qos == MqttQoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce },
        response_topic: properties.and_then(|all| all.response_topic.as_deref()),
        correlation_data: properties.and_then(|all| all.correlation_data.as_deref()),
    }
}

/// What the connection took with it.
impl Drop for Session {
    fn drop(&mut self) {
        self.queue.close();
        self.overflow.close();
        while self.queue.try_recv().is_ok() || self.overflow.try_recv().is_ok() {
            self.gateway.counters().count_shed();
        }
    }
}
