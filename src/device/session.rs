//! A device's session with its broker: token requests, one at a time, and retained documents.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::link::{Event, Link, Message, Publication, Reply};
use super::request::{self, Keys, Proof};
use super::sealed::AnswerKey;
use super::{
    ConnectProblem, Credential, DeviceError, DeviceKey, DeviceOptions, MqttVersion, RegisterAnswer, RegisterQuery, TokenAnswer, TokenQuery,
    answer,
};
use crate::clock::UnixTime;
use crate::jose::{JwkSet, JwtError};
use crate::oauth::{ErrorCode, Format, Operation, RequestDigest, Secret};
use crate::token::{self, Claims};

/// Longest wait for an answer; keeps deadlines within what an `Instant` can hold.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// After that, an assertion is no longer one of the second in which the gateway started, nor ahead of a clock that is a little behind.
const NEXT_ASSERTION: Duration = Duration::from_millis(1_500);
/// Longest wait for the last packet to go out.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to the broker for one request after another. Pings go out only while something is waited for, so do not keep it idle.
pub struct Session<'a> {
    options: &'a DeviceOptions,
    link: Link,
    /// Makes where MQTT 5 answers come to this session's own, so that two of one client do not hear each other.
    reply: String,
    subscribed: Vec<String>,
    lost: bool,
}

/// A request, whatever it asks for, without the `state` that may be added to it.
struct Exchange<'q> {
    operation: Operation,
    format: Format,
    state: Option<&'q str>,
    encode: &'q (dyn Fn(Option<&str>) -> Zeroizing<Vec<u8>> + Sync),
}

/// Encodes a request, given what proves who asks, and the `state`.
type Encode<'q> = dyn Fn(Proof<'_>, Option<&str>) -> Zeroizing<Vec<u8>> + Sync + 'q;

/// A request of a client, whatever it asks for, without what proves who it is.
pub(super) struct AuthenticatedAsk<'q> {
    pub(super) operation: Operation,
    pub(super) format: Format,
    pub(super) state: Option<&'q str>,
    /// What an assertion is bound to.
    pub(super) digest: RequestDigest,
    pub(super) encode: &'q Encode<'q>,
}

impl<'a> Session<'a> {
    /// The device's options.
    pub(super) fn options(&self) -> &'a DeviceOptions {
        self.options
    }

    /// Connects and authenticates. An assertion that is refused is made once more, a moment later: a gateway takes none of the second in which it
    /// started, since it does not know which of them were used before, nor one that is ahead of its clock.
    ///
    /// # Errors
    /// [`DeviceError::Connect`] with the problem; [`DeviceError::Protocol`] for a secret that is not UTF-8 text, which MQTT libraries cannot send, and for a
    /// device with neither an MQTT password nor a clock.
    pub async fn connect(options: &'a DeviceOptions) -> Result<Self, DeviceError> {
        let reply = random()?;
        let by_assertion = options.mqtt_password.is_none() && matches!(options.credential, Credential::Key(_));
        let link = match Self::link(options).await {
            Err(DeviceError::Connect { problem: ConnectProblem::CredentialsRefused, .. }) if by_assertion => {
                tokio::time::sleep(NEXT_ASSERTION).await;
                Self::link(options).await
            }
            outcome => outcome,
        };
        Ok(Self { options, link: link?, reply, subscribed: Vec::new(), lost: false })
    }

    async fn link(options: &DeviceOptions) -> Result<Link, DeviceError> {
        let password = mqtt_password(options)?;
        let problem = match tokio::time::timeout(options.timeout, Link::connect(options, &password)).await {
            Ok(Ok(link)) => return Ok(link),
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
        self.request_token_by(&self.options.credential, query).await
    }

    /// The same by another credential than that of the session.
    pub(super) async fn request_token_by(&mut self, credential: &Credential, query: &TokenQuery) -> Result<TokenAnswer, DeviceError> {
        let id = &self.options.client_id;
        let pop = match credential {
            Credential::Key(key) => query.pop.then(|| key.key.public()),
            Credential::Secret(_) => None,
        };
        let answer_key = if query.sealed { Some(AnswerKey::random()?) } else { None };
        let keys = Keys { pop, seal: answer_key.as_ref().map(AnswerKey::public) };
        let ask = AuthenticatedAsk {
            operation: Operation::Token,
            format: query.format,
            state: query.state.as_deref(),
            digest: request::digest(id, query, keys),
            encode: &|proof, state| request::encode(id, proof, query, keys, state),
        };
        let answer = self.exchange_as(credential, &ask).await?.token()?;
        Ok(match answer_key {
            Some(key) => TokenAnswer { access_token: key.open(query.format, &answer.access_token)?, ..answer },
            None => answer,
        })
    }

    /// Sends a request of a client that says who it is, again with a nonce if the gateway wants one.
    pub(super) async fn exchange_as(&mut self, credential: &Credential, ask: &AuthenticatedAsk<'_>) -> Result<Answer, DeviceError> {
        let AuthenticatedAsk { operation, format, state, ref digest, encode } = *ask;
        let key = match credential {
            Credential::Secret(secret) => {
                let secret = text(secret)?;
                let encode = |state: Option<&str>| encode(Proof::Secret(&secret), state);
                return self.exchange(&Exchange { operation, format, state, encode: &encode }).await;
            }
            Credential::Key(key) => key,
        };
        let mut nonce = if key.clock.is_none() { Some(self.request_nonce(format).await?) } else { None };
        loop {
            let assertion = key.sign(format, &self.options.client_id, nonce.as_deref(), digest)?;
            let encode = |state: Option<&str>| encode(assertion.proof(), state);
            let answer = self.exchange(&Exchange { operation, format, state, encode: &encode }).await?;
            match (answer.wants_nonce(), nonce) {
                (Some(wanted), None) => nonce = Some(wanted),
                _ => return Ok(answer),
            }
        }
    }

    /// Asks for a nonce, in the form of the claim `nonce`.
    ///
    /// # Errors
    /// As [`Session::request_token`].
    pub async fn request_nonce(&mut self, format: Format) -> Result<String, DeviceError> {
        let encode = |state: Option<&str>| request::encode_nonce(format, state);
        let answer = self.exchange(&Exchange { operation: Operation::Nonce, format, state: None, encode: &encode }).await?;
        let nonce = answer.nonce;
        answer.outcome?;
        nonce.ok_or_else(|| DeviceError::Protocol("the gateway's answer to a nonce request has no nonce".into()))
    }

    /// Registers the device, whose `client_id` is a name of its own choice until then.
    ///
    /// # Errors
    /// As [`Session::request_token`]. Whether the device is registered is not known if no answer comes: with a key, it can ask again.
    pub async fn register(&mut self, query: &RegisterQuery) -> Result<RegisterAnswer, DeviceError> {
        let encode = query.encoder()?;
        let encode = |state: Option<&str>| encode(state);
        let exchange = Exchange { operation: Operation::Register, format: query.format, state: None, encode: &encode };
        let answer = self.exchange(&exchange).await?;
        answer.outcome?;
        answer.registered.ok_or_else(|| DeviceError::Protocol("the gateway's answer to a registration registers nothing".into()))
    }

    async fn exchange(&mut self, exchange: &Exchange<'_>) -> Result<Answer, DeviceError> {
        let topic = self.options.topics.request(&self.options.client_id, exchange.operation.as_str(), exchange.format);
        match self.options.version {
            MqttVersion::V5 => self.exchange_by_properties(exchange, &topic).await,
            MqttVersion::V311 => self.exchange_by_state(exchange, &topic).await,
        }
    }

    async fn exchange_by_properties(&mut self, exchange: &Exchange<'_>, topic: &str) -> Result<Answer, DeviceError> {
        let (topics, id, reply) = (&self.options.topics, &self.options.client_id, &self.reply);
        // Four levels below `client/`: with three, every answer would also match the gateway's own subscription.
        let reply_topic = match exchange.operation {
            Operation::Register => format!("{}reply/{reply}", topics.registration_root(id)),
            _ => format!("{}reply/{reply}/token", topics.client_root(id)),
        };
        self.subscribe(reply_topic.clone()).await?;
        let correlation = random()?;
        let reply = Reply { topic: &reply_topic, correlation_data: correlation.as_bytes() };
        self.publish(exchange, topic, exchange.state, Some(reply))?;
        let is_ours = |message: &Message| {
            message.topic == reply_topic && message.correlation_data.as_deref().is_some_and(|data| data == correlation.as_bytes())
        };
        let message = self.wait_for_answer(topic, is_ours).await?;
        let answer = decode(exchange.format, &message.payload)?;
        // A refusal may come without: the gateway may not have got as far as to read it.
        if answer.outcome.is_ok() && answer.state.as_deref() != exchange.state {
            return Err(DeviceError::Protocol("the answer has another state than the request".into()));
        }
        Ok(answer)
    }

    async fn exchange_by_state(&mut self, exchange: &Exchange<'_>, topic: &str) -> Result<Answer, DeviceError> {
        self.subscribe(format!("{topic}/+")).await?;
        let state = match exchange.state {
            Some(state) => state.to_owned(),
            None => random()?,
        };
        self.publish(exchange, topic, Some(&state), None)?;
        let (accepted, rejected) = (format!("{topic}/accepted"), format!("{topic}/rejected"));
        // Without a state it is the answer to a request whose state could not be read; with another it is another session's.
        let is_ours = |message: &Message| {
            (message.topic == accepted || message.topic == rejected)
                && decode(exchange.format, &message.payload)
                    .map_or(true, |answer| answer.state.as_ref().map_or(answer.outcome.is_err(), |echo| *echo == state))
        };
        let message = self.wait_for_answer(topic, is_ours).await?;
        let answer = decode(exchange.format, &message.payload)?;
        if answer.outcome.is_ok() != (message.topic == accepted) {
            return Err(DeviceError::Protocol(format!("the answer on {} says the opposite", message.topic)));
        }
        Ok(answer)
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

    fn publish(&self, exchange: &Exchange<'_>, topic: &str, state: Option<&str>, reply: Option<Reply<'_>>) -> Result<(), DeviceError> {
        let payload = (exchange.encode)(state);
        let publication = Publication { topic, payload: &payload, format: exchange.format, expiry: self.options.timeout, reply };
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

impl Answer {
    fn token(self) -> Result<TokenAnswer, DeviceError> {
        self.outcome?.ok_or_else(|| DeviceError::Protocol("the gateway's answer to a token request has no token".into()))
    }

    /// The nonce that a refusal asks the next assertion to carry.
    fn wants_nonce(&self) -> Option<String> {
        match &self.outcome {
            Err(DeviceError::Rejected { error: ErrorCode::UseNonce, .. }) => self.nonce.clone(),
            _ => None,
        }
    }
}

/// What the broker is shown at CONNECT.
fn mqtt_password(options: &DeviceOptions) -> Result<Zeroizing<String>, DeviceError> {
    match (&options.mqtt_password, &options.credential) {
        (Some(secret), _) | (None, Credential::Secret(secret)) => text(secret),
        (None, Credential::Key(DeviceKey { clock: None, .. })) => {
            Err(DeviceError::Protocol("a device without a clock cannot connect by assertion; it needs an MQTT password".into()))
        }
        (None, Credential::Key(key)) => key.assertion(&options.client_id, None, None).map(Zeroizing::new),
    }
}

fn text(secret: &Secret) -> Result<Zeroizing<String>, DeviceError> {
    std::str::from_utf8(secret.expose())
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| DeviceError::Protocol("the client secret is not UTF-8 text; use one that the gateway made".into()))
}

fn decode(format: Format, payload: &[u8]) -> Result<Answer, DeviceError> {
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
pub(super) fn random() -> Result<String, DeviceError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| DeviceError::Protocol(format!("the operating system gives no random bytes: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
