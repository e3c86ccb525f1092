//! The endpoint: one total function from a request to its answer. An error is an encoded answer, made here and nowhere else.

mod credential;
mod duplicates;
mod exchange;
mod explain;
mod introspect;
mod limits;
mod lists;
mod live;
mod metadata;
mod nonce;
mod probe;
mod register;
mod revoke;
mod sealed;
#[cfg(test)]
mod tests;
mod token;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::clients::{
    Assertions, AuthMethod, Channel, Client, ClientStore, CredentialStore, Limits, Occupancy, RotationRule, Source, authenticate_session,
};
use crate::clock::{Standing, UnixTime};
use crate::enrolment::{self, EnrolmentStore};
use crate::jose::cose::Sign1;
use crate::jose::{KeyRing, Sealer};
use crate::oauth::{ClientId, EnrolmentId, Format, Operation, Reason, Refusal, Secret};
use crate::policy::PolicyStore;
use crate::token::{Lifetimes, RevocationStore, SequenceSource, TokenEntropy};

use credential::SelfService;
use duplicates::Duplicates;
use exchange::{Done, Exchange, Turns};
use limits::{Nobody, locked_out};

pub use explain::{Explanation, ForeseenToken, Grounds, Rehearsal, ToldError, explain};
pub use metadata::{Metadata, MqttMetadata};
pub use probe::ProbeFault;

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The issuer identifier (RFC 8414 section 2), `iss` of every token.
    pub issuer: String,
    /// The life of tokens.
    pub lifetimes: Lifetimes,
    /// Bytes of the largest payload that is parsed.
    pub max_payload: usize,
}

/// A request as a link received it. A link checks nothing that the engine can check.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client of the topic.
    pub client_id: &'a ClientId,
    /// The operation of the topic, as it stood there.
    pub operation: &'a str,
    /// The format of the topic.
    pub format: Format,
    /// The payload.
    pub payload: &'a [u8],
    /// What pairs the answer with the request, if anything around the payload does.
    pub correlation_data: Option<&'a [u8]>,
    /// What it came through.
    pub channel: Channel,
    /// A fault that the link found in the message around the payload.
    pub envelope: Result<(), EnvelopeFault>,
}

/// A message that may not be served, whatever its payload (protocol section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeFault {
    /// It was published with RETAIN: whoever subscribes later would read it.
    Retained,
    /// Its Response Topic is outside the client's own topics: the gateway would reflect messages.
    ForeignResponseTopic,
    /// The link's queue is full.
    Overloaded {
        /// Seconds after which to try again.
        retry_after: u32,
    },
    /// The operating system gave no random bytes, so that nothing can be signed.
    NoRandomness,
}

/// An answer, ready for the wire, and what to log of it.
#[derive(Debug)]
pub struct Reply {
    /// The payload.
    pub payload: Vec<u8>,
    /// What was decided.
    pub decision: Decision,
}

/// What was decided on a request: free of secrets and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A token was issued.
    Issued {
        /// Its id.
        jti: String,
        /// Its audience.
        audience: String,
        /// Its scopes.
        scope: String,
        /// Seconds it lives.
        lifetime: u64,
    },
    /// A nonce was given out.
    NonceGiven,
    /// The client got another secret or key beside the one it has.
    CredentialRotated,
    /// A resource server was told of a token.
    Introspected {
        /// The token's id; `None` if it is no live one for that resource server.
        jti: Option<String>,
    },
    /// A client revoked a token of its own.
    Revoked {
        /// The token's id; `None` if it was none that lived, so that nothing was to be done.
        jti: Option<String>,
    },
    /// A device registered itself.
    Registered {
        /// As which client.
        client_id: ClientId,
        /// By which enrolment.
        enrolment: EnrolmentId,
        /// How it authenticates.
        method: AuthMethod,
        /// Whether it was registered before, by the same key.
        again: bool,
    },
    /// The very same request came again, and got the same answer again.
    Repeated {
        /// Whether that was no refusal.
        accepted: bool,
    },
    /// The request was refused.
    Refused(Refusal),
}

impl Decision {
    /// Whether the answer belongs on the `accepted` topic.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        match self {
            Self::Issued { .. } | Self::NonceGiven | Self::CredentialRotated | Self::Registered { .. } => true,
            Self::Introspected { .. } | Self::Revoked { .. } => true,
            Self::Repeated { accepted } => *accepted,
            Self::Refused(_) => false,
        }
    }
}

/// Tells how far the clock is trusted now. It is asked for each token, so it must not wait.
pub type ClockStanding = Arc<dyn Fn() -> Standing + Send + Sync>;

/// The engine: the same for every link. Holds no state of its own but the keys in use and the memory of used assertions.
pub struct Engine {
    settings: Settings,
    clients: Arc<dyn ClientStore>,
    policies: Arc<dyn PolicyStore>,
    keys: RwLock<Arc<KeyRing>>,
    assertions: Option<Assertions>,
    self_service: Option<SelfService>,
    revocations: Option<Arc<dyn RevocationStore>>,
    enrolments: Option<Arc<dyn EnrolmentStore>>,
    clock: Option<ClockStanding>,
    sequence: Option<Arc<dyn SequenceSource>>,
    limits: Option<Arc<Limits>>,
    sealer: Option<Box<dyn Sealer>>,
    /// [`Lifetimes::default`], which may change while it serves.
    lifetime: AtomicU32,
    duplicates: Duplicates,
    /// Answers to requests for a token by a secret that are named by their sender.
    named: Duplicates,
    writing: Turns,
}

impl Engine {
    /// An engine over these stores and keys.
    #[must_use]
    pub fn new(settings: Settings, clients: Arc<dyn ClientStore>, policies: Arc<dyn PolicyStore>, keys: KeyRing) -> Self {
        let lifetime = AtomicU32::new(settings.lifetimes.default);
        Self {
            settings,
            lifetime,
            clients,
            policies,
            keys: RwLock::new(Arc::new(keys)),
            assertions: None,
            self_service: None,
            revocations: None,
            enrolments: None,
            clock: None,
            sequence: None,
            limits: None,
            sealer: None,
            duplicates: Duplicates::default(),
            named: Duplicates::default(),
            writing: Turns::default(),
        }
    }

    /// The same, within limits.
    #[must_use]
    pub fn with_limits(self, limits: Arc<Limits>) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// The same, with answers that are sealed for who wants it.
    #[must_use]
    pub fn with_sealer(self, sealer: Box<dyn Sealer>) -> Self {
        Self { sealer: Some(sealer), ..self }
    }

    /// The same, with client authentication by assertion.
    #[must_use]
    pub fn with_assertions(self, assertions: Assertions) -> Self {
        Self { assertions: Some(assertions), ..self }
    }

    /// The same, with revocation of tokens.
    #[must_use]
    pub fn with_revocations(self, revocations: Arc<dyn RevocationStore>) -> Self {
        Self { revocations: Some(revocations), ..self }
    }

    /// The same, with clients that rotate their own credentials, by that rule.
    #[must_use]
    pub fn with_self_service(self, store: Arc<dyn CredentialStore>, rule: RotationRule) -> Self {
        Self { self_service: Some(SelfService { store, rule }), ..self }
    }

    /// The same, for devices that register themselves.
    #[must_use]
    pub fn with_enrolments(self, enrolments: Arc<dyn EnrolmentStore>) -> Self {
        Self { enrolments: Some(enrolments), ..self }
    }

    /// The same, with tokens as the clock's state allows them.
    #[must_use]
    pub fn with_clock(self, clock: ClockStanding) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The same, with numbers for tokens that live from when they are first seen.
    #[must_use]
    pub fn with_sequence(self, sequence: Arc<dyn SequenceSource>) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// The clock's state; `None` if nobody tells.
    #[must_use]
    pub fn clock(&self) -> Option<Standing> {
        self.clock.as_ref().map(|clock| clock())
    }

    /// Whether an operation is served, as this engine is set up.
    #[must_use]
    pub fn serves(&self, operation: Operation) -> bool {
        match operation {
            Operation::Token | Operation::Introspect => true,
            Operation::Nonce => self.assertions.is_some(),
            Operation::Credential => self.self_service.is_some(),
            Operation::Revoke => self.revocations.is_some(),
            Operation::Register => self.enrolments.is_some(),
        }
    }

    /// From now on tokens live so many seconds if nothing shortens it; [`Lifetimes::maximum`] does.
    pub fn set_lifetime(&self, seconds: u32) {
        self.lifetime.store(seconds, Ordering::Relaxed);
    }

    fn lifetimes_in_force(&self) -> Lifetimes {
        Lifetimes { default: self.lifetime.load(Ordering::Relaxed), ..self.settings.lifetimes }
    }

    /// The settings as they are now.
    #[must_use]
    pub fn settings_in_force(&self) -> Settings {
        Settings { lifetimes: self.lifetimes_in_force(), ..self.settings.clone() }
    }

    /// The settings that it began with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clients.
    #[must_use]
    pub fn clients(&self) -> &dyn ClientStore {
        self.clients.as_ref()
    }

    /// Authenticates a session by its MQTT password: a client secret, or an assertion, which alone has dots in it or begins as a COSE_Sign1.
    ///
    /// # Errors
    /// `invalid_client`, with the same text and, for each kind of password, the same work for every reason.
    pub fn authenticate_session(&self, id: &ClientId, password: &Secret, source: Source, now: UnixTime) -> Result<Arc<Client>, Refusal> {
        let outcome = match &self.assertions {
            Some(assertions) if password.expose().contains(&b'.') || Sign1::is_begun_by(password.expose()) => {
                assertions.authenticate_session(id, password, self.clients.as_ref(), now)
            }
            _ if self.is_locked_out(id, source, now) => {
                // The work is that of any other failure.
                authenticate_session(id, password, &Nobody, now).map_err(locked_out)
            }
            _ => authenticate_session(id, password, self.clients.as_ref(), now),
        };
        self.proved(id, source, outcome.as_ref().err(), now);
        outcome
    }

    /// How full the memory of used assertions is; `None` if none are accepted.
    #[must_use]
    pub fn replay_occupancy(&self, now: UnixTime) -> Option<Occupancy> {
        self.assertions.as_ref().map(|assertions| assertions.occupancy(now))
    }

    /// Judges an MQTT password that is meant to be an enrolment token, by which a device under a name of its own choice may register and nothing
    /// else; `None` for any other password.
    ///
    /// # Errors
    /// `invalid_token`, with the same text and the same work for every reason. One is that the name is the id of a client.
    pub fn authenticate_enrolment(&self, name: &ClientId, password: &Secret, now: UnixTime) -> Option<Result<EnrolmentId, Refusal>> {
        let store = self.enrolments.as_ref().filter(|_| enrolment::is_token(password))?;
        let taken = self.clients.client(name).is_some();
        Some(
            enrolment::admit_session(password, store.as_ref(), now)
                .and_then(|enrolment| if taken { Err(enrolment::EnrolmentError::ClientIdTaken.into()) } else { Ok(enrolment) }),
        )
    }

    /// The keys in use.
    #[must_use]
    pub fn keys(&self) -> Arc<KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other keys into use. A request that is being answered may still be signed by the one before.
    pub fn set_keys(&self, keys: KeyRing) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Answers a request. `entropy` must be fresh random bytes of the operating system. Waits for the disk if the operation writes
    /// ([`Operation::writes`]), and never otherwise.
    #[must_use]
    pub fn handle(&self, request: &Request<'_>, now: UnixTime, entropy: TokenEntropy) -> Reply {
        let exchange = |operation| Exchange::new(request, operation, now, entropy);
        match self.admit(request, now, &entropy) {
            Ok(Operation::Token) => self.serve(exchange(Operation::Token), Self::token),
            Ok(Operation::Nonce) => self.nonce(exchange(Operation::Nonce)),
            Ok(Operation::Credential) => self.serve(exchange(Operation::Credential), Self::credential),
            Ok(Operation::Introspect) => self.serve(exchange(Operation::Introspect), Self::introspect),
            Ok(Operation::Revoke) => self.serve(exchange(Operation::Revoke), Self::revoke),
            Ok(Operation::Register) => self.register(exchange(Operation::Register)),
            // Errors have the same keys in every table.
            Err(refusal) => exchange(Operation::Token).refuse(refusal),
        }
    }

    /// Everything that is refused without a look into the payload.
    fn admit(&self, request: &Request<'_>, now: UnixTime, entropy: &TokenEntropy) -> Result<Operation, Refusal> {
        match request.envelope {
            Ok(()) => {}
            Err(EnvelopeFault::Retained) => {
                return Err(Refusal::invalid_request(Reason::Retained, "a request must not be published with RETAIN"));
            }
            Err(EnvelopeFault::ForeignResponseTopic) => {
                let text = "the Response Topic must be a topic below the client's own, without wildcards";
                return Err(Refusal::invalid_request(Reason::ForeignResponseTopic, text));
            }
            Err(EnvelopeFault::Overloaded { retry_after }) => {
                return Err(Refusal::overloaded(limits::spread(retry_after, self.criticality(request.client_id).patience(), entropy)));
            }
            Err(EnvelopeFault::NoRandomness) => return Err(Refusal::internal("no random bytes")),
        }
        self.within_overall_limit(request.client_id, now, entropy)?;
        if request.payload.len() > self.settings.max_payload {
            let text = format!("the payload is larger than {} bytes", self.settings.max_payload);
            return Err(Refusal::invalid_request(Reason::Oversized, text));
        }
        let unknown = |_| Refusal::invalid_request(Reason::UnknownOperation, "the operation of the topic is not supported");
        match request.operation.parse().map_err(unknown)? {
            Operation::Revoke if self.revocations.is_none() => Err(revoke::not_served()),
            operation => Ok(operation),
        }
    }
}
