//! A device's session with its broker: token requests, one at a time, and retained documents.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::{Instant, timeout_at};

use super::link::{Event, Link, Message, Publication, Reply};
use super::{ConnectProblem, DeviceError, DeviceOptions, MqttVersion, TokenAnswer, TokenQuery, answer, request};
use crate::clock::UnixTime;
use crate::jose::{JwkSet, JwtError};
use crate::oauth::{Format, Operation};
use crate::token::{self, Claims};

/// Longest wait for an answer; keeps deadlines within what an `Instant` can hold.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// Longest wait for the last packet to go out.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to the broker for one request after another. Pings go out only while something is waited for, so do not keep it idle.
pub struct Session<'a> {
    options: &'a DeviceOptions,
    secret: &'a str,
    link: Link,
    /// Where MQTT 5 answers come to: this session's own, so that two of one client do not hear each other.
    reply_topic: String,
    subscribed: Vec<String>,
    lost: bool,
}

impl<'a> Session<'a> {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// [`DeviceError::Connect`] with the problem; [`DeviceError::Protocol`] for a secret that is not UTF-8 text, which MQTT libraries cannot send.
    pub async fn connect(options: &'a DeviceOptions) -> Result<Self, DeviceError> {
        let secret = std::str::from_utf8(options.secret.expose())
            .map_err(|_| DeviceError::Protocol("the client secret is not UTF-8 text; use one that the gateway made".into()))?;
        // Four levels below `client/`: with three, every answer would also match the gateway's own subscription.
        let reply_topic = format!("{}reply/{}/token", options.topics.client_root(&options.client_id), random()?);
        let problem = match tokio::time::timeout(options.timeout, Link::connect(options, secret)).await {
            Ok(Ok(link)) => return Ok(Self { options, secret, link, reply_topic, subscribed: Vec::new(), lost: false }),
            Ok(Err(problem)) => problem,
            Err(_) => ConnectProblem::Timeout(options.timeout),
        };
        Err(connect_error(options, problem))
    }

    /// Asks for a token and waits for the answer.
    ///
    /// # Errors
    /// [`DeviceError::Rejected`] if the gateway refuses, the others if no usable answer comes.
    pub async fn request_token(&mut self, query: &TokenQuery) -> Result<TokenAnswer, DeviceError> {
        let topic = self.options.topics.request(&self.options.client_id, Operation::Token.as_str(), query.format);
        match self.options.version {
            MqttVersion::V5 => self.request_by_properties(query, &topic).await,
            MqttVersion::V311 => self.request_by_state(query, &topic).await,
        }
    }

    async fn request_by_properties(&mut self, query: &TokenQuery, topic: &str) -> Result<TokenAnswer, DeviceError> {
        let reply_topic = self.reply_topic.clone();
        self.subscribe(reply_topic.clone()).await?;
        let correlation = random()?;
        let reply = Reply { topic: &reply_topic, correlation_data: correlation.as_bytes() };
        self.publish(query, topic, query.state.as_deref(), Some(reply))?;
        let is_ours = |message: &Message| {
            message.topic == reply_topic && message.correlation_data.as_deref().is_some_and(|data| data == correlation.as_bytes())
        };
        let message = self.wait_for_answer(topic, is_ours).await?;
        let answer = decode(query.format, &message.payload)?;
        let token = answer.outcome?;
        if answer.state != query.state {
            return Err(DeviceError::Protocol("the answer has another state than the request".into()));
        }
        Ok(token)
    }

    async fn request_by_state(&mut self, query: &TokenQuery, topic: &str) -> Result<TokenAnswer, DeviceError> {
        self.subscribe(format!("{topic}/+")).await?;
        let state = match &query.state {
            Some(state) => state.clone(),
            None => random()?,
        };
        self.publish(query, topic, Some(&state), None)?;
        let (accepted, rejected) = (format!("{topic}/accepted"), format!("{topic}/rejected"));
        // Without a state it is the answer to a request whose state could not be read; with another it is another session's.
        let is_ours = |message: &Message| {
            (message.topic == accepted || message.topic == rejected)
                && decode(query.format, &message.payload)
                    .map_or(true, |answer| answer.state.as_ref().map_or(answer.outcome.is_err(), |echo| *echo == state))
        };
        let message = self.wait_for_answer(topic, is_ours).await?;
        let outcome = decode(query.format, &message.payload)?.outcome;
        if outcome.is_ok() != (message.topic == accepted) {
            return Err(DeviceError::Protocol(format!("the answer on {} says the opposite", message.topic)));
        }
        outcome
    }

    /// The retained message of `topic`.
    ///
    /// # Errors
    /// [`DeviceError::Timeout`] if there is none, [`DeviceError::SubscriptionRefused`] if the device may not read it.
    pub async fn fetch_retained(&mut self, topic: &str) -> Result<Vec<u8>, DeviceError> {
        let deadline = self.deadline();
        if !self.link.subscribe(topic) {
            return Err(DeviceError::Protocol(format!("{topic}: not a topic to subscribe to")));
        }
        loop {
            match self.next(deadline, || format!("the retained message {topic}")).await? {
                Event::Message(message) if message.topic == topic && !message.payload.is_empty() => return Ok(message.payload),
                Event::Subscribed(Err(reason)) => return Err(DeviceError::SubscriptionRefused { filter: topic.into(), reason }),
                _ => {}
            }
        }
    }

    /// Checks an access token as a resource server does: by the issuer and the JWK Set that the gateway retains at the broker, and the time `now`.
    ///
    /// # Errors
    /// [`DeviceError::NotVerified`] if a check fails, the others if the documents cannot be had.
    pub async fn verify_token(&mut self, token: &str, now: UnixTime) -> Result<Claims, DeviceError> {
        let unusable = |topic: &str| DeviceError::Protocol(format!("the retained message {topic} is not usable"));
        let topics = &self.options.topics;
        let (metadata_topic, jwks_topic) = (topics.metadata(), topics.jwks());
        let metadata: serde_json::Value =
            serde_json::from_slice(&self.fetch_retained(&metadata_topic).await?).map_err(|_| unusable(&metadata_topic))?;
        let issuer = metadata.get("issuer").and_then(serde_json::Value::as_str).ok_or_else(|| unusable(&metadata_topic))?;
        let keys = JwkSet::from_json(&self.fetch_retained(&jwks_topic).await?).map_err(|_| unusable(&jwks_topic))?;
        let claims = token::verify(token, issuer, None, &keys, now)?;
        if claims.client_id != self.options.client_id.as_str() {
            return Err(JwtError::Invalid("it is for another client".into()).into());
        }
        Ok(claims)
    }

    /// Ends the session, with a word to the broker if there is still a connection.
    pub async fn disconnect(mut self) {
        if self.lost || !self.link.disconnect() {
            return;
        }
        let goodbye = async { while !matches!(self.link.next().await, Ok(Event::Disconnected) | Err(_)) {} };
        // Whether it went out makes no difference to anybody here.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn subscribe(&mut self, filter: String) -> Result<(), DeviceError> {
        if self.subscribed.contains(&filter) {
            return Ok(());
        }
        let deadline = self.deadline();
        if !self.link.subscribe(&filter) {
            return Err(DeviceError::Protocol(format!("{filter}: not a topic to subscribe to")));
        }
        loop {
            match self.next(deadline, || format!("the broker's answer to the subscription to {filter}")).await? {
                Event::Subscribed(Ok(())) => break,
                Event::Subscribed(Err(reason)) => return Err(DeviceError::SubscriptionRefused { filter, reason }),
                _ => {}
            }
        }
        self.subscribed.push(filter);
        Ok(())
    }

    fn publish(&self, query: &TokenQuery, topic: &str, state: Option<&str>, reply: Option<Reply<'_>>) -> Result<(), DeviceError> {
        let payload = request::encode(&self.options.client_id, self.secret, query, state);
        let publication = Publication { topic, payload: &payload, format: query.format, expiry: self.options.timeout, reply };
        if self.link.publish(&publication) { Ok(()) } else { Err(DeviceError::Protocol(format!("{topic}: the request cannot be sent"))) }
    }

    async fn wait_for_answer(&mut self, topic: &str, is_ours: impl Fn(&Message) -> bool) -> Result<Message, DeviceError> {
        let (deadline, mut heard) = (self.deadline(), true);
        loop {
            match self.next(deadline, || "the gateway's answer".into()).await {
                Ok(Event::Message(message)) if is_ours(&message) => return Ok(message),
                Ok(Event::Acknowledged(Ok(subscribers))) => heard = subscribers,
                Ok(Event::Acknowledged(Err(reason))) => {
                    return Err(DeviceError::PublicationRefused { topic: topic.into(), reason });
                }
                Ok(_) => {}
                Err(DeviceError::Timeout { what, after, .. }) => return Err(DeviceError::Timeout { what, after, unheard: !heard }),
                Err(error) => return Err(error),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.options.timeout.min(LONGEST_WAIT)).unwrap_or(now)
    }

    async fn next(&mut self, deadline: Instant, what: impl Fn() -> String) -> Result<Event, DeviceError> {
        if self.lost {
            return Err(connect_error(self.options, ConnectProblem::Lost("the session has ended".into())));
        }
        match timeout_at(deadline, self.link.next()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(problem)) => {
                self.lost = true;
                let problem = match problem {
                    ConnectProblem::Unreachable(text) => ConnectProblem::Lost(text),
                    problem => problem,
                };
                Err(connect_error(self.options, problem))
            }
            Err(_) => Err(DeviceError::Timeout { what: what(), after: self.options.timeout, unheard: false }),
        }
    }
}

fn decode(format: Format, payload: &[u8]) -> Result<answer::Answer, DeviceError> {
    answer::decode(format, payload).map_err(|fault| DeviceError::Protocol(format!("the gateway's answer is not usable: {fault}")))
}

fn connect_error(options: &DeviceOptions, problem: ConnectProblem) -> DeviceError {
    let broker = if options.host.contains(':') {
        format!("[{}]:{}", options.host, options.port)
    } else {
        format!("{}:{}", options.host, options.port)
    };
    DeviceError::Connect { broker, problem }
}

/// 128 random bits as 22 characters that fit a topic level, correlation data and `state`.
fn random() -> Result<String, DeviceError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| DeviceError::Protocol(format!("the operating system gives no random bytes: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
