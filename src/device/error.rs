//! Why a device got no token.

use std::time::Duration;

use crate::jose::JwtError;
use crate::oauth::ErrorCode;

/// Why a device did not get what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no connection to the broker, or no longer.
    #[error("{broker}: {problem}")]
    Connect {
        /// `host:port`
        broker: String,
        /// What is wrong.
        problem: ConnectProblem,
    },
    /// The broker did not let the device subscribe.
    #[error("the broker refused the subscription to {filter}: {reason}")]
    SubscriptionRefused {
        /// The topic filter.
        filter: String,
        /// The broker's reason code.
        reason: String,
    },
    /// The broker did not let the device publish.
    #[error("the broker refused the request on {topic}: {reason}")]
    PublicationRefused {
        /// The topic.
        topic: String,
        /// The broker's reason code.
        reason: String,
    },
    /// The gateway refused the request (RFC 6749 section 5.2).
    #[error("the gateway refused: {}{}", error.name(), description.as_ref().map_or_else(String::new, |text| format!(" ({text})")))]
    Rejected {
        /// The error code.
        error: ErrorCode,
        /// `error_description`
        description: Option<String>,
        /// Seconds after which to try again.
        retry_after: Option<u64>,
    },
    /// Nothing came in time.
    #[error("{what} did not come within {} s{}", after.as_secs_f64(), if *unheard { "; the broker says that nobody is subscribed to requests" } else { "" })]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// Whether the broker told that nobody was there to get the request (MQTT 5 section 3.4.2.1).
        unheard: bool,
    },
    /// A token does not stand the checks of a resource server.
    #[error(transparent)]
    NotVerified(#[from] JwtError),
    /// The other side broke the protocol, or what was asked for cannot be said in it.
    #[error("{0}")]
    Protocol(String),
}

impl DeviceError {
    /// The word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect { problem, .. } => problem.code(),
            Self::SubscriptionRefused { .. } => "subscription_refused",
            Self::PublicationRefused { .. } => "publication_refused",
            Self::Rejected { .. } => "rejected",
            Self::Timeout { .. } => "timeout",
            Self::NotVerified(_) => "token_not_verified",
            Self::Protocol(_) => "protocol",
        }
    }
}

/// What keeps a device from its broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectProblem {
    /// Nobody listens there, the name does not resolve, the network is down.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The broker's certificate is not one the device trusts for this host.
    #[error("its certificate is not accepted: {0}")]
    Certificate(String),
    /// TLS failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The broker knows no such user name and password.
    #[error("the broker refused the client id or the secret")]
    CredentialsRefused,
    /// The broker refused the connection for another reason.
    #[error("the broker refused the connection: {0}")]
    Refused(String),
    /// The connection was made and then lost.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// No connection in time.
    #[error("no connection within {} s", .0.as_secs_f64())]
    Timeout(Duration),
}

impl ConnectProblem {
    /// The word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Certificate(_) => "certificate",
            Self::Tls(_) => "tls",
            Self::CredentialsRefused => "credentials_refused",
            Self::Refused(_) => "connection_refused",
            Self::Lost(_) => "connection_lost",
            Self::Timeout(_) => "connection_timeout",
        }
    }
}
