//! The two URLs of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use rustls::pki_types::ServerName;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// DNS name or IP address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
}

impl BrokerAddress {
    /// Reads `mqtts://host[:port]`, or `mqtt://host[:port]` for a loopback host. The fault is what the URL "must ...": it never repeats
    /// the URL, which may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.contains('@') {
            return Err("must hold no user name or password; set broker.username and broker.password-file instead");
        }
        let (scheme, rest) = url.split_once("://").ok_or("must begin with mqtts://")?;
        let (tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "mqtts" => (true, 8_883),
            "mqtt" => (false, 1_883),
            _ => return Err("must begin with mqtts://, or with mqtt:// for a broker on this host"),
        };
        let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest))?;
        if !tls && !is_loopback(host) {
            return Err("must begin with mqtts:// unless the host is a loopback address (127.0.0.0/8, ::1, localhost): without TLS \
                        the network reads every token");
        }
        Ok(Self { host: host.into(), port: port.unwrap_or(default_port), tls })
    }
}

/// As it is written in the configuration, with its port.
impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Checks an issuer identifier (RFC 8414 section 2). The fault is what it "must ...".
pub(super) fn check_issuer(issuer: &str) -> Result<(), &'static str> {
    let rest = issuer.strip_prefix("https://").ok_or("must begin with https:// (RFC 8414 section 2); it need not be reachable")?;
    if issuer.contains(['?', '#']) {
        return Err("must have no query and no fragment (RFC 8414 section 2)");
    }
    if !issuer.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'))
    {
        return Err("must hold URL characters only, others percent-encoded");
    }
    authority(rest.split_once('/').map_or(rest, |(authority, _)| authority)).map(|_| ())
}

/// Splits `host[:port]`; an IPv6 address comes in brackets and leaves without.
fn authority(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("must close the bracket of its IPv6 address")?;
            host.parse::<Ipv6Addr>().map_err(|_| "must have an IPv6 address in the brackets")?;
            (host, rest)
        }
        None => match text.find(':') {
            Some(colon) if text.rfind(':') != Some(colon) => return Err("must have its IPv6 address in brackets: [::1]"),
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    ServerName::try_from(host).map_err(|_| "must have a DNS name or an IP address as its host, and nothing after the port")?;
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
    port.map(|port| (host, Some(port))).ok_or("must have a port from 1 to 65535 after its host, and nothing after that")
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16, tls: bool) -> BrokerAddress {
        BrokerAddress { host: host.into(), port, tls }
    }

    #[test]
    fn reads_broker_urls() {
        for (url, expected, shown) in [
            ("mqtts://broker.example", address("broker.example", 8_883, true), "mqtts://broker.example:8883"),
            ("mqtts://my_broker:1234/", address("my_broker", 1_234, true), "mqtts://my_broker:1234"),
            ("MQTTS://10.0.0.1", address("10.0.0.1", 8_883, true), "mqtts://10.0.0.1:8883"),
            ("mqtts://[2001:db8::1]", address("2001:db8::1", 8_883, true), "mqtts://[2001:db8::1]:8883"),
            ("mqtt://localhost", address("localhost", 1_883, false), "mqtt://localhost:1883"),
            ("mqtt://127.8.9.1:1884", address("127.8.9.1", 1_884, false), "mqtt://127.8.9.1:1884"),
            ("mqtt://[::1]:1884", address("::1", 1_884, false), "mqtt://[::1]:1884"),
        ] {
            let read = BrokerAddress::parse(url).unwrap();
            assert_eq!(read, expected, "{url}");
            assert_eq!(read.to_string(), shown);
        }
    }

    #[test]
    fn deny_bad_broker_urls() {
        for (url, part) in [
            ("", "mqtts://"),
            ("broker.example", "mqtts://"),
            ("tcp://broker.example", "mqtts://"),
            ("mqtt://broker.example", "loopback"),
            ("mqtt://10.0.0.1", "loopback"),
            ("mqtt://[2001:db8::1]", "loopback"),
            ("mqtt://localhost.example", "loopback"),
            ("mqtt://127.0.0.1.example", "loopback"),
            ("mqtts://user:hunter2@broker.example", "password-file"),
            ("wss://user:hunter2@broker.example", "password-file"),
            ("mqtts://", "host"),
            ("mqtts:///", "host"),
            ("mqtts://broker.example/path", "nothing after"),
            ("mqtts://broker.example?x", "nothing after"),
            ("mqtts://broker.example:8883/path", "port"),
            ("mqtts://broker.example:", "port"),
            ("mqtts://broker.example:0", "port"),
            ("mqtts://broker.example:65536", "port"),
            ("mqtts://broker.example:+1", "port"),
            ("mqtts://::1", "brackets"),
            ("mqtts://[::1", "bracket"),
            ("mqtts://[::1]x", "port"),
            ("mqtts://[127.0.0.1]", "IPv6"),
            ("mqtts://[fe80::1%eth0]", "IPv6"),
            ("mqtts://a b", "host"),
        ] {
            let fault = BrokerAddress::parse(url).unwrap_err();
            assert!(fault.contains(part), "{url}: {fault}");
        }
    }

    #[test]
    fn checks_issuers() {
        for issuer in ["https://a", "https://credgate.local", "https://a.example:8443/tenant/1", "https://[::1]/"] {
            assert_eq!(check_issuer(issuer), Ok(()), "{issuer}");
        }
        for issuer in [
            "",
            "a",
            "http://a",
            "HTTPS://a",
            "https://",
            "https:///x",
            "https://a?b",
            "https://a#b",
            "https://a/?",
            "https://a b",
            "https://u@a",
            "https://a:x",
            "https://ä",
            "https://a/\"",
            "https://a\n",
        ] {
            assert!(check_issuer(issuer).is_err(), "{issuer}");
        }
    }
}
