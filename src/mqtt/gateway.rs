//! From a PUBLISH to the PUBLISH that answers it. One for each link, over the same engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::counters::UNKNOWN;
use super::lists::Lists;
use super::{Counters, LinkMetrics, Topics};
use crate::audit::{AuditLog, NoAudit, Refused, What};
use crate::clients::{Channel, Criticality};
use crate::clock::{Confidence, UnixTime};
use crate::endpoint::{Decision, Engine, EnvelopeFault, Request};
use crate::oauth::{ClientId, Format, Operation};
use crate::token::TokenEntropy;

/// Seconds a response may wait in a broker.
const RESPONSE_EXPIRY: u32 = 60;
/// Seconds after which a device that met full queues may try again.
const RETRY_AFTER: u32 = 5;

/// The quality of service of a PUBLISH. Answers use no more than 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QoS {
    /// 0
    AtMostOnce,
    /// 1, and 2 in a request
    AtLeastOnce,
}

/// Which link it is, for log and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// The link to a broker of the user's own.
    Broker,
    /// The embedded broker.
    EmbeddedBroker,
}

impl LinkKind {
    /// The word in log and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::EmbeddedBroker => "embedded-broker",
        }
    }
}

/// Where the time comes from; that of the daemon never goes back.
pub type ClockSource = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// A PUBLISH that a link received.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// Topic Name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// RETAIN as the publisher set it (a broker must be subscribed to with Retain As Published for that).
    pub retain: bool,
    /// QoS of the request.
    pub qos: QoS,
    /// Response Topic.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
}

/// An [`Inbound`] that outlives the packet it came in.
#[derive(Debug, Clone)]
pub struct OwnedInbound {
    topic: String,
    payload: Zeroizing<Vec<u8>>,
    retain: bool,
    qos: QoS,
    response_topic: Option<String>,
    correlation_data: Option<Vec<u8>>,
}

impl Inbound<'_> {
    /// A copy, to be answered elsewhere.
    #[must_use]
    pub fn to_owned(&self) -> OwnedInbound {
        OwnedInbound {
            topic: self.topic.to_owned(),
            payload: Zeroizing::new(self.payload.to_vec()),
            retain: self.retain,
            qos: self.qos,
            response_topic: self.response_topic.map(str::to_owned),
            correlation_data: self.correlation_data.map(<[u8]>::to_vec),
        }
    }
}

impl OwnedInbound {
    /// What it is a copy of.
    #[must_use]
    pub fn borrow(&self) -> Inbound<'_> {
        Inbound {
            topic: &self.topic,
            payload: &self.payload,
            retain: self.retain,
            qos: self.qos,
            response_topic: self.response_topic.as_deref(),
            correlation_data: self.correlation_data.as_deref(),
        }
    }
}

/// A PUBLISH that a link is to send; never retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: QoS,
    /// Content Type.
    pub content_type: &'static str,
    /// Payload Format Indicator: UTF-8 text.
    pub is_utf8: bool,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
    /// Message Expiry Interval, in seconds.
    pub expiry: u32,
}

/// A retained message of the gateway, with QoS 1; an empty payload takes the one before away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Content Type.
    pub content_type: &'static str,
    /// Payload Format Indicator: UTF-8 text.
    pub is_utf8: bool,
}

impl Announcement {
    fn json(topic: String, payload: Vec<u8>, content_type: &'static str) -> Self {
        Self { topic, payload, content_type, is_utf8: true }
    }
}

/// The gateway's state on `{p}/as/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Serving.
    Online,
    /// Not serving; the Will says it when nobody else can.
    Offline,
}

/// The meaning of messages on one link.
pub struct Gateway {
    engine: Arc<Engine>,
    topics: Topics,
    channel: Channel,
    link: LinkKind,
    clock: ClockSource,
    counters: Counters,
    lists: Lists,
    audit: Arc<dyn AuditLog>,
}

impl Gateway {
    /// A gateway for one link.
    #[must_use]
    pub fn new(engine: Arc<Engine>, topics: Topics, channel: Channel, link: LinkKind, clock: ClockSource) -> Self {
        Self { engine, topics, channel, link, clock, counters: Counters::default(), lists: Lists::default(), audit: Arc::new(NoAudit) }
    }

    /// The same, telling its refusals.
    #[must_use]
    pub fn audited_by(self, audit: Arc<dyn AuditLog>) -> Self {
        Self { audit, ..self }
    }

    /// The topics.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The link's counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All that was counted on the link.
    #[must_use]
    pub fn metrics(&self) -> LinkMetrics {
        self.counters.metrics(self.link)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        (self.clock)()
    }

    /// Whether a message on that topic asks for a change, so that [`Self::answer`] waits for the disk: to be called off the link's own task.
    #[must_use]
    pub fn writes(&self, topic: &str) -> bool {
        let operation = self.topics.parse_request(topic).and_then(|request| request.operation.parse::<Operation>().ok());
        operation.is_some_and(Operation::writes)
    }

    /// Answers a request; `None` if the message is no request. Takes the time of one signature and never waits, unless it [writes](Self::writes).
    #[must_use]
    pub fn answer(&self, inbound: &Inbound<'_>) -> Option<Outbound> {
        self.respond(inbound, None)
    }

    /// Whom the topic of a request names, and how critical that client is.
    #[must_use]
    pub fn asker(&self, topic: &str) -> Option<(ClientId, Criticality)> {
        let client_id = self.topics.parse_request(topic)?.client_id;
        let criticality = self.engine.criticality(&client_id);
        Some((client_id, criticality))
    }

    /// Answers a request `temporarily_unavailable` without a look at its payload; `None` if the message is no request.
    #[must_use]
    pub fn answer_overloaded(&self, inbound: &Inbound<'_>) -> Option<Outbound> {
        self.respond(inbound, Some(EnvelopeFault::Overloaded { retry_after: RETRY_AFTER }))
    }

    fn respond(&self, inbound: &Inbound<'_>, fault: Option<EnvelopeFault>) -> Option<Outbound> {
        let Some(topic) = self.topics.parse_request(inbound.topic) else {
            self.counters.count_ignored();
            debug!(link = self.link.as_str(), topic = inbound.topic, "message is no request");
            return None;
        };
        let own_response_topic = inbound.response_topic.filter(|response| self.topics.allows_response(&topic, response));
        let (entropy, fault) = match entropy() {
            Ok(entropy) => (entropy, fault),
            Err(error) => {
                warn!(%error, "the operating system gives no random bytes");
                (TokenEntropy::default(), Some(EnvelopeFault::NoRandomness))
            }
        };
        let fault = fault
            .or(inbound.retain.then_some(EnvelopeFault::Retained))
            .or((inbound.response_topic.is_some() && own_response_topic.is_none()).then_some(EnvelopeFault::ForeignResponseTopic));
        let request = Request {
            client_id: &topic.client_id,
            operation: topic.operation,
            format: topic.format,
            payload: inbound.payload,
            correlation_data: inbound.correlation_data,
            channel: self.channel,
            envelope: fault.map_or(Ok(()), Err),
        };
        let started = Instant::now();
        let reply = self.engine.handle(&request, self.now(), entropy);
        let took = started.elapsed();
        let operation = request.operation.parse().ok();
        self.counters.count_answer(operation, &reply.decision, took);
        self.log(&request, operation, &reply.decision, took);
        let verdict = if reply.decision.is_accepted() { "accepted" } else { "rejected" };
        Some(Outbound {
            topic: own_response_topic.map_or_else(|| format!("{}/{verdict}", inbound.topic), str::to_owned),
            payload: reply.payload,
            qos: inbound.qos,
            content_type: topic.format.content_type(),
            is_utf8: topic.format == Format::Json,
            correlation_data: inbound.correlation_data.map(<[u8]>::to_vec),
            expiry: RESPONSE_EXPIRY,
        })
    }

    /// One line a decision. Nothing in it is a device's own words: a client id has its alphabet, and an operation is one of ours.
    fn log(&self, request: &Request<'_>, operation: Option<Operation>, decision: &Decision, took: Duration) {
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let operation = operation.map_or(UNKNOWN, Operation::as_str);
        let (client_id, link) = (request.client_id.as_str(), self.link.as_str());
        match decision {
            Decision::Issued { jti, audience, scope, lifetime } => {
                info!(
                    client_id,
                    operation,
                    outcome = "accepted",
                    reason = "ok",
                    duration_us,
                    link,
                    jti,
                    audience,
                    scope,
                    lifetime,
                    "token issued"
                );
            }
            Decision::NonceGiven => {
                // Anybody may ask, as often as they like: not a line worth keeping.
                debug!(client_id, operation, outcome = "accepted", reason = "ok", duration_us, link, "nonce given");
            }
            Decision::CredentialRotated => {
                info!(client_id, operation, outcome = "accepted", reason = "ok", duration_us, link, "new credential given out");
            }
            Decision::Introspected { jti } => {
                let (reason, jti) = (if jti.is_some() { "ok" } else { "not_live" }, jti.as_deref().unwrap_or("-"));
                info!(client_id, operation, outcome = "accepted", reason, duration_us, link, jti, "token introspected");
            }
            Decision::Revoked { jti } => {
                let (reason, jti) = (if jti.is_some() { "ok" } else { "not_live" }, jti.as_deref().unwrap_or("-"));
                info!(client_id, operation, outcome = "accepted", reason, duration_us, link, jti, "token revoked");
            }
            Decision::Registered { client_id: registered, enrolment, method, again } => {
                let (registered, enrolment, method, again) = (registered.as_str(), enrolment.as_str(), method.as_str(), *again);
                info!(
                    client_id,
                    operation,
                    outcome = "accepted",
                    reason = "ok",
                    duration_us,
                    link,
                    registered,
                    enrolment,
                    method,
                    again,
                    "device registered"
                );
            }
            Decision::Repeated { accepted } => {
                let outcome = if *accepted { "accepted" } else { "rejected" };
                info!(client_id, operation, outcome, reason = "repeated", duration_us, link, "request delivered twice, same answer");
            }
            Decision::Refused(refusal) => {
                let (error, reason) = (refusal.code().name(), refusal.reason().name());
                info!(client_id, operation, outcome = "rejected", reason, duration_us, link, error, "request refused");
                self.refused(What::RequestRefused, Some(request.client_id), reason);
            }
        }
    }

    /// Tells the audit trail of a refusal, by its reason code.
    pub fn refused(&self, what: What, client_id: Option<&ClientId>, reason: &'static str) {
        let known = client_id.is_some_and(|id| self.engine.clients().client(id).is_some());
        let refused = Refused { what, client_id, uid: None, known, reason, link: Some(self.link.as_str()) };
        self.audit.refused(refused, self.now());
    }

    /// The retained messages that a link publishes when it is up, to a broker that takes packets of `max_packet` bytes: metadata, JWK Set, the
    /// revocation list of each resource server and, last, the status.
    #[must_use]
    pub fn announcements(&self, max_packet: usize) -> Vec<Announcement> {
        self.lists.forget();
        self.changed_announcements(max_packet)
    }

    /// The same after a change, without the revocation lists that say what the last ones said.
    #[must_use]
    pub fn changed_announcements(&self, max_packet: usize) -> Vec<Announcement> {
        let metadata = self.engine.metadata(self.topics.prefix(), self.channel);
        let metadata = serde_json::to_vec(&metadata).unwrap_or_default();
        let mut all = vec![
            Announcement::json(self.topics.metadata(), metadata, "application/json"),
            Announcement::json(self.topics.jwks(), self.engine.keys().jwk_set().to_json(), "application/jwk-set+json"),
        ];
        all.extend(self.changed_lists(max_packet));
        all.push(self.status(Status::Online));
        all
    }

    /// The revocation lists that say something else than the last ones. To be published in the order of the calls.
    #[must_use]
    pub fn changed_lists(&self, max_packet: usize) -> Vec<Announcement> {
        self.lists.changed(&self.engine, &self.topics, self.now(), max_packet)
    }

    /// The retained status; the link's Will is the one that says `offline`.
    #[must_use]
    pub fn status(&self, status: Status) -> Announcement {
        #[derive(Serialize)]
        struct Document {
            state: Status,
            version: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            clock: Option<Confidence>,
        }
        // The Will is written long before it is published.
        let clock = self.engine.clock().filter(|_| status == Status::Online).map(|standing| standing.confidence);
        let document = Document { state: status, version: env!("CARGO_PKG_VERSION"), clock };
        Announcement::json(self.topics.status(), serde_json::to_vec(&document).unwrap_or_default(), "application/json")
    }
}

fn entropy() -> Result<TokenEntropy, getrandom::Error> {
    let mut bytes = TokenEntropy::default();
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
