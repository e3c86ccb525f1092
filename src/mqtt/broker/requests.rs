//! Requests, answered from within the broker: no loopback connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::packet::publish::PublishPacket;
use tokio::sync::Semaphore;
use tracing::{debug, error};

use super::access;
use crate::mqtt::MAX_WRITES;
use crate::mqtt::gateway::{Gateway, Inbound, Outbound, QoS};

/// What happens to each PUBLISH that the access rules let through.
pub(super) struct Requests {
    gateway: Arc<Gateway>,
    router: Arc<MessageRouter>,
    max_queued_messages: usize,
    writes: Semaphore,
}

impl Requests {
    pub(super) fn new(gateway: Arc<Gateway>, router: Arc<MessageRouter>, max_queued_messages: usize) -> Self {
        Self { gateway, router, max_queued_messages, writes: Semaphore::new(MAX_WRITES) }
    }

    /// Runs in the task of the client's own connection, which also writes to that client: it must not wait for any client, least of all
    /// for this one. So answers keep the order of their requests, and who does not read gets no more of them.
    async fn on_publish(&self, event: ClientPublishEvent) -> PublishAction {
        let topics = self.gateway.topics();
        if !access::may_publish(topics, event.user_id.as_deref(), &event.topic) {
            error!(user_id = event.user_id.as_deref(), topic = &*event.topic, "the broker let a message through that it may not");
            return PublishAction::Handled;
        }
        let qos = if event.qos == mqtt5::QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        if qos == QoS::AtLeastOnce && self.is_queue_full(&event.client_id) && topics.parse_request(&event.topic).is_some() {
            self.gateway.counters().count_shed();
            debug!(mqtt_client_id = &*event.client_id, topic = &*event.topic, "request shed: earlier answers are not read");
            return PublishAction::Handled;
        }
        let inbound = Inbound {
            topic: &event.topic,
            payload: &event.payload,
            retain: event.retain,
            qos,
            response_topic: event.response_topic.as_deref(),
            correlation_data: event.correlation_data.as_deref(),
        };
        match self.answer(&inbound).await {
            Some(outbound) => {
                super::publish(&self.router, &packet(outbound)).await;
                PublishAction::Handled
            }
            None if event.retain => {
                debug!(mqtt_client_id = &*event.client_id, topic = &*event.topic, "message dropped: only the gateway may retain");
                PublishAction::Handled
            }
            None => PublishAction::Continue,
        }
    }

    /// Only the connection of the client that asks for a change waits for the disk.
    async fn answer(&self, inbound: &Inbound<'_>) -> Option<Outbound> {
        if !self.gateway.writes(inbound.topic) {
            return self.gateway.answer(inbound);
        }
        // Never closed.
        let _permit = self.writes.acquire().await.ok()?;
        let (gateway, owned) = (self.gateway.clone(), inbound.to_owned());
        // It fails only when the runtime ends.
        tokio::task::spawn_blocking(move || gateway.answer(&owned.borrow())).await.unwrap_or_default()
    }

    /// Whether one more answer would push an earlier one out of the session's queue.
    fn is_queue_full(&self, mqtt_client_id: &str) -> bool {
        self.router.queue_handle(mqtt_client_id).count() >= self.max_queued_messages
    }
}

impl BrokerEventHandler for Requests {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(self.on_publish(event))
    }
}

fn packet(outbound: Outbound) -> PublishPacket {
    let qos = match outbound.qos {
        QoS::AtMostOnce => mqtt5::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqtt5::QoS::AtLeastOnce,
    };
    let mut packet = PublishPacket::new(outbound.topic, outbound.payload, qos)
        .with_content_type(outbound.content_type.to_owned())
        .with_message_expiry_interval(outbound.expiry);
    if outbound.is_utf8 {
        packet = packet.with_payload_format_indicator(true);
    }
    match outbound.correlation_data {
        Some(data) => packet.with_correlation_data(data),
        None => packet,
    }
}
