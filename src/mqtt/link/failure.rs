//! Why there is no connection, in words that say what to do.

use std::error::Error;
use std::io;

use rumqttc::v5::mqttbytes::Error as CodecError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, SubscribeReasonCode};
use rumqttc::v5::{ConnectionError, StateError, TlsError};
use rustls::{AlertDescription, CertificateError};

use crate::mqtt::Topics;

/// Characters of a broker's own words that are repeated.
const QUOTE: usize = 200;

/// A connection that ended or was never made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the MQTT password is no UTF-8 text: correct the file that broker.password-file names")]
    Password,
    #[error("{address}: the host name has no address ({detail}): correct broker.url or the host's name resolution")]
    Lookup { address: String, detail: String },
    #[error("{address}: {detail}")]
    Unreachable { address: String, detail: String },
    #[error("{address}: TLS: {detail}")]
    Tls { address: String, detail: String },
    #[error("{address}: the broker refused the connection: {detail}")]
    Refused { address: String, detail: String },
    #[error("the broker closed the connection: {detail}")]
    Closed { detail: String },
    #[error("the connection was lost: {detail}")]
    Lost { detail: String },
    #[error("the connection was given up: for {seconds} s the broker neither read nor wrote")]
    Stuck { seconds: u64 },
    #[error("the connection was given up: for {seconds} s the broker acknowledged no message")]
    Unacknowledged { seconds: u64 },
    #[error("the connection was given up: no answer to {packet} within {seconds} s")]
    Unanswered { packet: &'static str, seconds: u64 },
    #[error(
        "the broker refused the subscription to {filter} ({detail}): let the gateway's user read it (Mosquitto ACL file: `topic read {filter}`)"
    )]
    Subscription { filter: String, detail: String },
    #[error("the MQTT library failed; please report it with the log of that moment")]
    Internal,
}

impl Failure {
    /// A stable name for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Password => "broker_password",
            Self::Lookup { .. } => "broker_lookup",
            Self::Unreachable { .. } => "broker_unreachable",
            Self::Tls { .. } => "broker_tls",
            Self::Refused { .. } => "broker_refused",
            Self::Closed { .. } => "broker_closed",
            Self::Lost { .. } => "broker_lost",
            Self::Stuck { .. } => "broker_stuck",
            Self::Unacknowledged { .. } => "broker_unacknowledged",
            Self::Unanswered { .. } => "broker_unanswered",
            Self::Subscription { .. } => "broker_subscription",
            Self::Internal => "broker_internal",
        }
    }

    /// A refused SUBSCRIBE.
    pub(super) fn of_subscription(code: SubscribeReasonCode, topics: &Topics) -> Self {
        Self::Subscription { filter: topics.request_filter(), detail: words(&format!("{code:?}")) }
    }

    /// What ended rumqttc's event loop, before or after CONNACK.
    pub(super) fn of_connection(error: &ConnectionError, address: &str, connected: bool) -> Self {
        let address = address.to_owned();
        if let Some(tls) = tls_fault(error) {
            return Self::Tls { address, detail: explain_tls(tls) };
        }
        match error {
            ConnectionError::Timeout(_) => Self::Unreachable { address, detail: "no answer in time; is a firewall in between?".into() },
            // Only the look-up fails without a number from the operating system.
            ConnectionError::Io(error) if error.raw_os_error().is_none() => Self::Lookup { address, detail: error.to_string() },
            ConnectionError::Io(error) => Self::Unreachable { address, detail: explain_io(error) },
            ConnectionError::Tls(TlsError::Io(error)) => {
                Self::Tls { address, detail: format!("the broker broke off the handshake ({error}); is it a TLS port?") }
            }
            ConnectionError::Tls(error) => Self::Tls { address, detail: error.to_string() },
            ConnectionError::ConnectionRefused(code) => Self::Refused { address, detail: explain_connack(*code) },
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                Self::Closed { detail: explain_disconnect(*reason_code, reason_string.as_deref()) }
            }
            ConnectionError::MqttState(
                StateError::ConnectionAborted | StateError::Io(_) | StateError::Deserialization(CodecError::Io(_)),
            ) if !connected => Self::Unreachable {
                address,
                detail: "the broker closed the connection before it answered; does it speak MQTT 5 on this port, and with or without TLS as broker.url says?".into(),
            },
            // Mosquitto says no more when another client takes the session over.
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self::Closed { detail: "it gave no reason; if that goes on, does another client use the same broker.client-id?".into() }
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => Self::Lost { detail: "the broker stopped answering pings".into() },
            ConnectionError::MqttState(StateError::CollisionTimeout) => {
                Self::Lost { detail: "the broker does not acknowledge a message that it was sent".into() }
            }
            ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(CodecError::Io(error))) => {
                Self::Lost { detail: error.to_string() }
            }
            error if connected => Self::Lost { detail: quote(&error.to_string()) },
            error => Self::Unreachable { address, detail: format!("no MQTT 5 broker ({})", quote(&error.to_string())) },
        }
    }
}

/// The error of rustls at the bottom of it, if there is one.
fn tls_fault(error: &ConnectionError) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // An io::Error has what it wraps not as its source but passes it over.
        cause = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => match error.downcast_ref::<StateError>() {
                Some(StateError::Deserialization(inner)) => Some(inner),
                _ => error.source(),
            },
        };
    }
    None
}

fn explain_tls(error: &rustls::Error) -> String {
    let certificate = match error {
        rustls::Error::InvalidCertificate(error) => error,
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            return "the broker wants a client certificate: set broker.certificate-file and broker.private-key-file".into();
        }
        rustls::Error::AlertReceived(alert) => {
            return format!("the broker refused the handshake ({}); its log says more", words(&format!("{alert:?}")));
        }
        rustls::Error::InvalidMessage(_) => return "the broker does not speak TLS on this port: correct the port of broker.url".into(),
        other => return other.to_string(),
    };
    match certificate {
        CertificateError::UnknownIssuer => {
            "the broker's certificate is signed by no CA that is trusted here: set broker.ca-file to the certificate of the CA that signed it".into()
        }
        // What a CA that was made anew under its old name looks like.
        CertificateError::BadSignature => {
            "the broker's certificate is signed by a CA of the same name as one trusted here but with another key: set broker.ca-file to the certificate of the CA that signed it".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the broker's certificate is for another name: use in broker.url a name that it holds ({certificate})")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the broker's certificate has expired: renew it, or set this host's clock ({certificate})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the broker's certificate is not valid yet: is this host's clock right? ({certificate})")
        }
        other => format!("the broker's certificate is not acceptable: {other}"),
    }
}

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: is the broker running, and is the port of broker.url right?".into(),
        io::ErrorKind::TimedOut => "no answer in time; is a firewall in between?".into(),
        _ => error.to_string(),
    }
}

fn explain_connack(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword => {
            "wrong user name or password: correct broker.username or the file that broker.password-file names".into()
        }
        ConnectReturnCode::NotAuthorized => {
            "not authorized: wrong broker.username or password (Mosquitto says it so), or the user may not connect or publish the Will"
                .into()
        }
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => {
            "it does not accept the client identifier: change broker.client-id".into()
        }
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 5".into(),
        ConnectReturnCode::RetainNotSupported => {
            "it has no retained messages, which the gateway needs for its status, metadata and keys".into()
        }
        ConnectReturnCode::QoSNotSupported => "it has no QoS 1, which the gateway needs for its Will".into(),
        other => words(&format!("{other:?}")),
    }
}

fn explain_disconnect(code: DisconnectReasonCode, reason: Option<&str>) -> String {
    let detail = match code {
        DisconnectReasonCode::SessionTakenOver => {
            "another client connected with the same client identifier: give each gateway a broker.client-id of its own".into()
        }
        DisconnectReasonCode::RetainNotSupported => {
            "it has no retained messages, which the gateway needs for its status, metadata and keys".into()
        }
        other => words(&format!("{other:?}")),
    };
    match reason {
        Some(reason) => format!("{detail} ({})", quote(reason)),
        None => detail,
    }
}

/// The words of a name in camel case.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// Somebody else's words, fit for a log.
fn quote(text: &str) -> String {
    text.chars().take(QUOTE).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
