//! `[http]`: where metrics and health are served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `[http]`: metrics and health for whoever watches the gateway. Off while there is no address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpSection {
    /// Addresses: `127.0.0.1:9464`, `[::1]:9464` or `unix:/run/credgate/http.sock`.
    pub listen: Vec<HttpAddress>,
    /// Whether an address may be reached from other hosts. There is neither TLS nor authentication.
    pub allow_remote: bool,
}

/// Where the responder listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HttpAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl HttpAddress {
    /// What the path of a unix socket begins with.
    const UNIX: &'static str = "unix:";

    /// Whether other hosts can reach it.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().to_canonical().is_loopback())
    }
}

/// Text that is no [`HttpAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("each must be an IP address and a port, as 127.0.0.1:9464 or [::1]:9464, or a unix socket, as unix:/run/credgate/http.sock")]
pub struct InvalidHttpAddress;

impl FromStr for HttpAddress {
    type Err = InvalidHttpAddress;

    fn from_str(text: &str) -> Result<Self, InvalidHttpAddress> {
        match text.strip_prefix(Self::UNIX) {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(InvalidHttpAddress),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidHttpAddress),
        }
    }
}

impl TryFrom<String> for HttpAddress {
    type Error = InvalidHttpAddress;

    fn try_from(text: String) -> Result<Self, InvalidHttpAddress> {
        text.parse()
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}{}", Self::UNIX, path.display()),
        }
    }
}

impl From<HttpAddress> for String {
    fn from(address: HttpAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for (text, is_remote) in [
            ("127.0.0.1:9464", false),
            ("127.9.9.9:1", false),
            ("[::1]:9464", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("unix:/run/x.sock", false),
            ("0.0.0.0:9464", true),
            ("[::]:9464", true),
            ("192.0.2.1:80", true),
            ("[::ffff:192.0.2.1]:80", true),
        ] {
            let address: HttpAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_remote()), (text, is_remote));
        }
    }

    #[test]
    fn deny_what_is_no_address() {
        for text in ["", "9464", "localhost:9464", "127.0.0.1", "unix:", "unix:run/x", "/run/x", "http://127.0.0.1:1"] {
            assert_eq!(text.parse::<HttpAddress>(), Err(InvalidHttpAddress), "{text}");
        }
    }
}
