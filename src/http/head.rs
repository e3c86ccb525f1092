//! The head of a request: read with a bound, understood by httparse.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a request line and header fields, at most.
const MAX_HEAD: usize = 8_192;
/// Header fields, at most.
const MAX_FIELDS: usize = 64;

/// A request, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    method: String,
    path: String,
    host: Option<String>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no HTTP.
    Malformed,
    /// It is of another version than 1.0 and 1.1.
    Version,
    /// Its request line alone is too long.
    LongTarget,
    /// Its head is too long.
    LongHead,
    /// It brings content.
    Content,
    /// It did not come in time.
    Slow,
}

impl Head {
    pub(super) fn is_get(&self) -> bool {
        self.method == "GET"
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it was addressed to this host by what no page from elsewhere can make a browser say: a page may have its own name resolve to a
    /// loopback address, but the name is still in the field.
    pub(super) fn names_this_host(&self) -> bool {
        let Some(host) = &self.host else { return true };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
            _ => host,
        };
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        literal.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
    }
}

/// Reads the head of a request and no more than one buffer; `None` if the peer closed before it sent one.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Head>, Fault> {
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        let room = MAX_HEAD.saturating_sub(buffer.len());
        if room == 0 {
            return Err(if buffer.contains(&b'\n') { Fault::LongHead } else { Fault::LongTarget });
        }
        match stream.take(room as u64).read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) if buffer.is_empty() => return Ok(None),
            Ok(0) => return Err(Fault::Malformed),
            // There is nobody to tell.
            Err(_) => return Ok(None),
        }
        if let Some(head) = parse(&buffer)? {
            return Ok(Some(head));
        }
    }
}

/// `None` if there is more to come.
fn parse(buffer: &[u8]) -> Result<Option<Head>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(buffer) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::Version) => return Err(Fault::Version),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::LongHead),
        Err(_) => return Err(Fault::Malformed),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else { return Err(Fault::Malformed) };
    let fields = &*request.headers;
    let values = |name: &'static str| fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    if values("transfer-encoding").next().is_some() || values("content-length").any(|length| length != b"0") {
        return Err(Fault::Content);
    }
    let mut hosts = values("host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(std::str::from_utf8(host).map_err(|_| Fault::Malformed)?.trim().to_owned()),
        // RFC 9112 section 3.2.
        (None, None) if version == 0 => None,
        _ => return Err(Fault::Malformed),
    };
    // RFC 9112 section 3.2.2: a target may name the server as well, and that name is then the one that counts.
    let (host, target) = match target.strip_prefix("http://") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, target) = rest.split_at_checked(end).ok_or(Fault::Malformed)?;
            (Some(authority.to_owned()), if target.is_empty() { "/" } else { target })
        }
        None => (host, target),
    };
    let path = target.split('?').next().unwrap_or_default();
    Ok(Some(Head { method: method.to_owned(), path: path.to_owned(), host }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_text(text: &str) -> Result<Option<Head>, Fault> {
        read(&mut text.as_bytes()).await
    }

    fn head(method: &str, path: &str, host: Option<&str>) -> Result<Option<Head>, Fault> {
        Ok(Some(Head { method: method.into(), path: path.into(), host: host.map(str::to_owned) }))
    }

    #[tokio::test]
    async fn requests_are_understood_in_every_form() {
        assert_eq!(read_text("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\n").await, head("GET", "/metrics", Some("a")));
        assert_eq!(read_text("HEAD /a?b HTTP/1.0\r\n\r\n").await, head("HEAD", "/a", None));
        assert_eq!(read_text("GET http://b:1/x HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await, head("GET", "/x", Some("b:1")));
        assert_eq!(read_text("GET http://b HTTP/1.1\r\nHost: b\r\n\r\n").await, head("GET", "/", Some("b")));
        assert_eq!(read_text("").await, Ok(None));
    }

    #[tokio::test]
    async fn deny_what_is_no_request() {
        let fields = "a: b\r\n".repeat(MAX_FIELDS + 1);
        let (long, target) = (format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(MAX_HEAD)), format!("GET /{}", "y".repeat(MAX_HEAD)));
        for (text, fault) in [
            ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", Fault::Malformed),
            ("GET /", Fault::Malformed),
            ("GET / HTTP/1.1\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Fault::Malformed),
            ("GET /\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/2.0\r\n\r\n", Fault::Version),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", Fault::Content),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 1\r\n\r\n", Fault::Content),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::Content),
            (&format!("GET / HTTP/1.1\r\n{fields}\r\n"), Fault::LongHead),
            (&long, Fault::LongHead),
            (&target, Fault::LongTarget),
        ] {
            assert_eq!(read_text(text).await, Err(fault), "{}", text.get(..60).unwrap_or(text));
        }
    }

    #[test]
    fn a_name_from_elsewhere_is_not_this_host() {
        let names = |host: &str| Head { method: String::new(), path: String::new(), host: Some(host.into()) }.names_this_host();
        for host in ["127.0.0.1", "127.0.0.1:9464", "[::1]:9464", "[::1]", "localhost", "LocalHost:9464", "192.0.2.1:1"] {
            assert!(names(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9464", "localhost.evil.example", "", ":9464", "127.0.0.1.evil.example", "[::1].evil"] {
            assert!(!names(host), "{host}");
        }
    }
}
