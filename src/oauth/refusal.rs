//! Why a request is refused: what the device is told, and what the operator is told.

use std::borrow::Cow;

use super::ErrorCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// The reason code of a refusal in log, counters and audit. The device sees only the [`ErrorCode`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The stable word for logs and programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// The payload is not well-formed JSON or CBOR, or something follows its end.
    Malformed = "malformed";
    /// The payload is larger than the configured limit.
    Oversized = "oversized";
    /// The payload nests deeper, or holds more parameters, than a request ever needs.
    TooComplex = "too_complex";
    /// A parameter stands twice.
    RepeatedParameter = "repeated_parameter";
    /// A required parameter is missing.
    MissingParameter = "missing_parameter";
    /// A parameter has a value of the wrong type or form.
    InvalidParameter = "invalid_parameter";
    /// The request was published with RETAIN.
    Retained = "retained";
    /// The Response Topic lies outside the client's own topics.
    ForeignResponseTopic = "foreign_response_topic";
    /// A CONNECT to the embedded broker brings no user name or no password.
    NoCredentials = "no_credentials";
    /// The MQTT client identifier of a CONNECT may be another client's.
    ForeignMqttClientId = "foreign_mqtt_client_id";
    /// The Will of a CONNECT is to be retained.
    RetainedWill = "retained_will";
    /// The Will of a CONNECT is for a topic that is not the client's own.
    ForeignWillTopic = "foreign_will_topic";
    /// The payload's client_id is not the topic's.
    ClientIdMismatch = "client_id_mismatch";
    /// The topic names an operation that is not served.
    UnknownOperation = "unknown_operation";
    /// The grant type is not client_credentials.
    UnsupportedGrantType = "unsupported_grant_type";
    /// More than one client authentication method was used.
    SeveralAuthMethods = "several_auth_methods";
    /// The client authentication method is not served here.
    UnsupportedAuthMethod = "unsupported_auth_method";
    /// A secret came through a broker that is not configured as trusted.
    UntrustedBroker = "untrusted_broker";
    /// No client has this id.
    UnknownClient = "unknown_client";
    /// The client is registered for another authentication method.
    WrongAuthMethod = "wrong_auth_method";
    /// The assertion is no JWT, or its header or a claim has a form that is not accepted.
    MalformedAssertion = "malformed_assertion";
    /// The assertion's iss or sub is not the client id.
    WrongAssertionSubject = "wrong_assertion_subject";
    /// The assertion's aud is not the issuer identifier alone.
    WrongAssertionAudience = "wrong_assertion_audience";
    /// The assertion's signature is of none of the client's keys.
    WrongSignature = "wrong_signature";
    /// The assertion has expired.
    AssertionExpired = "assertion_expired";
    /// The assertion expires too far in the future.
    AssertionTooLong = "assertion_too_long";
    /// The assertion's iat or nbf is in the future.
    AssertionNotYetValid = "assertion_not_yet_valid";
    /// The assertion is older than this run of the gateway, which remembers no assertion from before.
    AssertionBeforeStart = "assertion_before_start";
    /// The assertion's nonce is not one of the gateway's, or has gone stale.
    StaleNonce = "stale_nonce";
    /// The assertion, or its nonce, was used before.
    ReplayedAssertion = "replayed_assertion";
    /// There is no room to remember another assertion.
    ReplayMemoryFull = "replay_memory_full";
    /// The client must bind its assertions to the request, and this one is not.
    RequestNotBound = "request_not_bound";
    /// The assertion is bound to another request.
    WrongRequestBinding = "wrong_request_binding";
    /// The secret is not the client's.
    WrongSecret = "wrong_secret";
    /// The secret is the client's, but outside its period of validity.
    SecretNotValidNow = "secret_not_valid_now";
    /// The signature is of one of the client's keys, but outside its period of validity.
    KeyNotValidNow = "key_not_valid_now";
    /// The client is suspended.
    SuspendedClient = "suspended_client";
    /// The client is blocked.
    BlockedClient = "blocked_client";
    /// The client is outside its period of validity.
    ClientNotValidNow = "client_not_valid_now";
    /// A scope is unknown, or not granted to the client for the audience.
    ScopeNotGranted = "scope_not_granted";
    /// A topic permission of a scope names an attribute that the client lacks.
    MissingAttribute = "missing_attribute";
    /// The audience is unknown, or the client has no scope at it.
    AudienceNotAllowed = "audience_not_allowed";
    /// No audience was named and more than one, or none, is possible.
    AmbiguousAudience = "ambiguous_audience";
    /// Proof of possession was asked for.
    UnsupportedPopKey = "unsupported_pop_key";
    /// Clients may not rotate their own credentials here.
    SelfServiceOff = "self_service_off";
    /// The client asks for a credential of another method than its own.
    OtherAuthMethod = "other_auth_method";
    /// A rotation of the client's credentials is under way that its own request may not replace.
    RotationUnderWay = "rotation_under_way";
    /// The client asks by a credential whose successor is in use.
    ReplacedCredential = "replaced_credential";
    /// The client has the key already.
    KnownKey = "known_key";
    /// The client has as many keys as it may have.
    TooManyKeys = "too_many_keys";
    /// The key that the client wants to use is private, of a kind that is not supported, or not sound.
    UnusableKey = "unusable_key";
    /// The change could not be written to the disk.
    NotKept = "not_kept";
    /// The client is no resource server: it may introspect no token.
    NotAResourceServer = "not_a_resource_server";
    /// The token was issued to another client.
    ForeignToken = "foreign_token";
    /// Tokens of the type that was named are not issued here, so none is revoked.
    UnsupportedTokenType = "unsupported_token_type";
    /// The client's tokens of this moment are void: all from before a time that is still to come were revoked.
    TokensRevoked = "tokens_revoked";
    /// The clock is not trusted enough to issue a token, by the configuration.
    ClockNotTrusted = "clock_not_trusted";
    /// No enrolment has this id, or the token is none.
    UnknownEnrolment = "unknown_enrolment";
    /// The token names the enrolment and is not its own.
    WrongEnrolmentToken = "wrong_enrolment_token";
    /// The MAC is not by the enrolment's token, or of another request.
    WrongEnrolmentMac = "wrong_enrolment_mac";
    /// The enrolment's time is over.
    EnrolmentExpired = "enrolment_expired";
    /// An operator ended the enrolment.
    EnrolmentRevoked = "enrolment_revoked";
    /// As many devices as may have registered by the enrolment.
    EnrolmentUsedUp = "enrolment_used_up";
    /// The enrolment is for other serial numbers.
    SerialNotAllowed = "serial_not_allowed";
    /// The device has registered, by another key or with a secret, or its client was removed.
    DeviceEnrolled = "device_enrolled";
    /// The client id that the device would get, or that it uses to connect, belongs to a client.
    ClientIdTaken = "client_id_taken";
    /// Too many proofs for the client failed, from where this one came: its secret is not looked at for a while.
    LockedOut = "locked_out";
    /// All clients together ask for more than the gateway is to serve.
    OverallLimit = "overall_limit";
    /// The client asks for more tokens than it may have in so short a time.
    ClientLimit = "client_limit";
    /// The client wants more written to the disk than it may in so short a time.
    WriteLimit = "write_limit";
    /// The gateway's queues are full.
    Overloaded = "overloaded";
    /// The gateway has no key to sign with, or no randomness.
    Internal = "internal";
}

/// A refused request: one closed [`ErrorCode`] and description for the device, one [`Reason`] for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: ErrorCode,
    reason: Reason,
    description: Cow<'static, str>,
    retry_after: Option<u32>,
    nonce: Option<ServerNonce>,
}

/// A nonce that the gateway gives out, for the `nonce` claim of one assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerNonce {
    /// Its bytes; the claim is their base64url.
    pub value: [u8; 24],
    /// Seconds it serves from now.
    pub expires_in: u64,
}

impl Refusal {
    /// A refusal with the text for `error_description`, which RFC 6749 limits to printable ASCII without `"` and `\`.
    #[must_use]
    pub fn new(code: ErrorCode, reason: Reason, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason, description: description.into(), retry_after: None, nonce: None }
    }

    /// An `invalid_request`.
    #[must_use]
    pub fn invalid_request(reason: Reason, description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, reason, description)
    }

    /// The one answer to every failed authentication, so that nobody learns which clients exist.
    #[must_use]
    pub fn invalid_client(reason: Reason) -> Self {
        Self::new(ErrorCode::InvalidClient, reason, "client authentication failed")
    }

    /// The gateway's queues are full; the device may try again after `retry_after` seconds.
    #[must_use]
    pub fn overloaded(retry_after: u32) -> Self {
        Self::not_now(Reason::Overloaded, retry_after, "too many requests are waiting")
    }

    /// The same request may be served after `retry_after` seconds.
    #[must_use]
    pub fn not_now(reason: Reason, retry_after: u32, description: &'static str) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::TemporarilyUnavailable, reason, description) }
    }

    /// The memory of used assertions is full; the device may try again, with a new assertion, after `retry_after` seconds.
    #[must_use]
    pub fn replay_memory_full(retry_after: u32) -> Self {
        Self::not_now(Reason::ReplayMemoryFull, retry_after, "too many assertions are in use")
    }

    /// A token issued now would be void; the device may try again after `retry_after` seconds.
    #[must_use]
    pub fn tokens_revoked(retry_after: u32) -> Self {
        Self::not_now(Reason::TokensRevoked, retry_after, "the client's tokens were just revoked")
    }

    /// The gateway does not know the time well enough; the device may try again after `retry_after` seconds.
    #[must_use]
    pub fn clock_not_trusted(retry_after: u32) -> Self {
        Self::not_now(Reason::ClockNotTrusted, retry_after, "the gateway's clock is not set")
    }

    /// The times of the assertion cannot be judged; a new one with this nonce can.
    #[must_use]
    pub fn use_nonce(reason: Reason, nonce: ServerNonce) -> Self {
        Self { nonce: Some(nonce), ..Self::new(ErrorCode::UseNonce, reason, "the assertion must carry this nonce") }
    }

    /// A failure of the gateway itself.
    #[must_use]
    pub fn internal(description: &'static str) -> Self {
        Self::new(ErrorCode::ServerError, Reason::Internal, description)
    }

    /// The wire error code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The operator's reason code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The text for people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Seconds to wait before the next try, if that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// The nonce to use, with `use_nonce`.
    #[must_use]
    pub fn nonce(&self) -> Option<&ServerNonce> {
        self.nonce.as_ref()
    }
}
