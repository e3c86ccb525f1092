//! Answers: a status, a content and how the peer is to treat it.

use serde::Serialize;

use super::head::Fault;

/// An answer. It is the last on its connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: Status,
    content_type: &'static str,
    content: String,
}

/// The statuses that are used (RFC 9110 section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    UriTooLong,
    MisdirectedRequest,
    RequestHeaderFieldsTooLarge,
    InternalServerError,
    ServiceUnavailable,
    HttpVersionNotSupported,
}

impl Status {
    const fn line(self) -> (u16, &'static str) {
        match self {
            Self::Ok => (200, "OK"),
            Self::BadRequest => (400, "Bad Request"),
            Self::NotFound => (404, "Not Found"),
            Self::MethodNotAllowed => (405, "Method Not Allowed"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::ContentTooLarge => (413, "Content Too Large"),
            Self::UriTooLong => (414, "URI Too Long"),
            Self::MisdirectedRequest => (421, "Misdirected Request"),
            Self::RequestHeaderFieldsTooLarge => (431, "Request Header Fields Too Large"),
            Self::InternalServerError => (500, "Internal Server Error"),
            Self::ServiceUnavailable => (503, "Service Unavailable"),
            Self::HttpVersionNotSupported => (505, "HTTP Version Not Supported"),
        }
    }
}

impl Response {
    /// Text for people.
    pub(super) fn text(status: Status, content: impl Into<String>) -> Self {
        let content = content.into() + "\n";
        Self { status, content_type: "text/plain; charset=utf-8", content }
    }

    /// Samples for Prometheus.
    pub(super) fn metrics(content: String) -> Self {
        Self { status: Status::Ok, content_type: "text/plain; version=0.0.4; charset=utf-8", content }
    }

    /// A document for programs.
    pub(super) fn json(status: Status, document: &impl Serialize) -> Self {
        match serde_json::to_string(document) {
            Ok(json) => Self { status, content_type: "application/json", content: json + "\n" },
            Err(error) => Self::text(Status::InternalServerError, error.to_string()),
        }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::text(Status::MethodNotAllowed, "only GET and HEAD are served here")
    }

    /// A request that a browser was tricked into, or that uses a name where there is to be an address.
    pub(super) fn misdirected() -> Self {
        Self::text(Status::MisdirectedRequest, "this listener is for this host: ask by its IP address or by localhost")
    }

    pub(super) fn code(&self) -> u16 {
        self.status.line().0
    }

    /// What goes over the wire; to HEAD everything but the content.
    pub(super) fn to_bytes(&self, with_content: bool) -> Vec<u8> {
        let (code, reason) = self.status.line();
        let mut text = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n",
            self.content_type,
            self.content.len()
        );
        if self.status == Status::MethodNotAllowed {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        text.push_str("\r\n");
        if with_content {
            text.push_str(&self.content);
        }
        text.into_bytes()
    }
}

impl From<Fault> for Response {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::text(Status::BadRequest, "this is no HTTP/1.1 request"),
            Fault::Version => Self::text(Status::HttpVersionNotSupported, "HTTP/1.1 is spoken here"),
            Fault::LongTarget => Self::text(Status::UriTooLong, "the request line is too long"),
            Fault::LongHead => Self::text(Status::RequestHeaderFieldsTooLarge, "the header fields are too long"),
            Fault::Content => Self::text(Status::ContentTooLarge, "no content is taken here"),
            Fault::Slow => Self::text(Status::RequestTimeout, "the request did not come in time"),
        }
    }
}
