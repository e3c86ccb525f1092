//! Topic names (protocol section 1).

use crate::oauth::{ClientId, Format, InvalidWord, Operation, ResourceServerId};

/// Bytes of an operation's name, far more than any has.
const MAX_OPERATION: usize = 64;

/// The topics below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: Box<str>,
}

/// The parts of a request topic that name who asks for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTopic<'a> {
    /// The client.
    pub client_id: ClientId,
    /// The operation, as it stands.
    pub operation: &'a str,
    /// The format.
    pub format: Format,
}

impl Topics {
    /// The topics below `prefix`.
    ///
    /// # Errors
    /// If the prefix could not begin a topic name, or begins with `$`, which brokers keep for themselves.
    pub fn new(prefix: &str) -> Result<Self, InvalidWord> {
        let valid = (1..=256).contains(&prefix.len())
            && !prefix.starts_with('$')
            && prefix.split('/').all(|level| !level.is_empty() && !level.contains(['+', '#']) && !level.chars().any(char::is_control));
        if valid {
            Ok(Self { prefix: prefix.into() })
        } else {
            Err(InvalidWord::new("a topic prefix", "non-empty levels without wildcards that do not begin with $: oauth2/v1"))
        }
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The filter of all requests.
    #[must_use]
    pub fn request_filter(&self) -> String {
        format!("{}/client/+/+/+", self.prefix)
    }

    /// The topic of a request.
    #[must_use]
    pub fn request(&self, client_id: &ClientId, operation: &str, format: Format) -> String {
        format!("{}/client/{client_id}/{operation}/{}", self.prefix, format.as_str())
    }

    /// What stands before all topics of a client: `{p}/client/{client_id}/`.
    #[must_use]
    pub fn client_root(&self, client_id: &ClientId) -> String {
        format!("{}/client/{client_id}/", self.prefix)
    }

    /// What stands before all topics of the gateway: `{p}/as/`.
    #[must_use]
    pub fn server_root(&self) -> String {
        format!("{}/as/", self.prefix)
    }

    /// The retained metadata (RFC 8414).
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("{}/as/metadata", self.prefix)
    }

    /// The retained JWK Set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> String {
        format!("{}/as/jwks", self.prefix)
    }

    /// The retained status.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/as/status", self.prefix)
    }

    /// What stands before all topics of a resource server: `{p}/rs/{rs_id}/`.
    #[must_use]
    pub fn resource_server_root(&self, id: &ResourceServerId) -> String {
        format!("{}/rs/{id}/", self.prefix)
    }

    /// The retained revocation list of a resource server.
    #[must_use]
    pub fn revocation_list(&self, id: &ResourceServerId) -> String {
        format!("{}trl", self.resource_server_root(id))
    }

    /// The entries of the audit trail, if they are forwarded. Not below [`Self::server_root`], which every device may read.
    #[must_use]
    pub fn audit(&self) -> String {
        format!("{}/audit", self.prefix)
    }

    /// Reads a request topic; `None` for any other topic.
    #[must_use]
    pub fn parse_request<'a>(&self, topic: &'a str) -> Option<RequestTopic<'a>> {
        let rest = topic.strip_prefix(self.prefix.as_ref())?.strip_prefix("/client/")?;
        let mut levels = rest.split('/');
        let (client_id, operation, format) = (levels.next()?, levels.next()?, levels.next()?);
        // An answer's topic is longer than its request's: both must fit into what MQTT can carry.
        if levels.next().is_some() || operation.len() > MAX_OPERATION || !is_of_topic_names(operation) {
            return None;
        }
        Some(RequestTopic { client_id: client_id.parse().ok()?, operation, format: format.parse().ok()? })
    }

    /// What stands before all topics of a device that is to register: `{p}/client/{name}/register/`.
    #[must_use]
    pub fn registration_root(&self, name: &ClientId) -> String {
        format!("{}{}/", self.client_root(name), Operation::Register.as_str())
    }

    /// Whether the answer to a request may go to `topic`: below the client's own topics, a topic name, and no request topic. A device that
    /// registers chose its name itself, so that only what belongs to the registration is its own.
    #[must_use]
    pub fn allows_response(&self, request: &RequestTopic<'_>, topic: &str) -> bool {
        let root = match request.operation.parse() {
            Ok(Operation::Register) => self.registration_root(&request.client_id),
            _ => self.client_root(&request.client_id),
        };
        topic.len() <= 512
            && topic.strip_prefix(&root).is_some_and(|rest| !rest.is_empty())
            && is_of_topic_names(topic)
            && self.parse_request(topic).is_none()
    }
}

/// Whether it may stand in a topic that is published to (MQTT 5 sections 4.7.1 and 1.5.4): no wildcard, and no control character, for which a broker may
/// close the connection.
fn is_of_topic_names(text: &str) -> bool {
    !text.contains(['+', '#']) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("oauth2/v1").unwrap()
    }

    #[test]
    fn reads_request_topics_only() {
        let topic = topics().parse_request("oauth2/v1/client/dev1/token/cbor").unwrap();
        assert_eq!((topic.client_id.as_str(), topic.operation, topic.format), ("dev1", "token", Format::Cbor));
        for other in [
            "oauth2/v1/client/dev1/token/json/accepted",
            "oauth2/v1/client/dev1/token",
            "oauth2/v1/client/dev1/token/xml",
            "oauth2/v1/client/dev.1/token/json",
            "oauth2/v1/client//token/json",
            "oauth2/v1x/client/dev1/token/json",
            "oauth2/v1/as/jwks",
            &format!("oauth2/v1/client/dev1/{}/json", "x".repeat(65)),
            "x/oauth2/v1/client/dev1/token/json",
            "oauth2/v1/client/dev1/t\0ken/json",
            "oauth2/v1/client/dev1/t\u{7f}/json",
            "oauth2/v1/client/dev1/+/json",
            "",
        ] {
            assert!(topics().parse_request(other).is_none(), "{other}");
        }
    }

    #[test]
    fn deny_foreign_response_topics() {
        let request = |operation| RequestTopic { client_id: "dev1".parse().unwrap(), operation, format: Format::Json };
        for own in ["oauth2/v1/client/dev1/x", "oauth2/v1/client/dev1/token/json/accepted", "oauth2/v1/client/dev1/a/b/c/d"] {
            assert!(topics().allows_response(&request("token"), own), "{own}");
        }
        for foreign in [
            "oauth2/v1/client/dev2/x",
            "oauth2/v1/client/dev1",
            "oauth2/v1/client/dev1/",
            "oauth2/v1/client/dev11/x",
            "oauth2/v1/client/dev1/+",
            "oauth2/v1/client/dev1/#",
            "oauth2/v1/client/dev1/a\nb",
            "oauth2/v1/as/jwks",
            "a",
            "",
            // would come back as a request
            "oauth2/v1/client/dev1/token/json",
        ] {
            assert!(!topics().allows_response(&request("token"), foreign), "{foreign}");
        }
    }

    #[test]
    fn deny_answers_to_a_registration_elsewhere() {
        let request = RequestTopic { client_id: "dev1".parse().unwrap(), operation: "register", format: Format::Json };
        for own in ["oauth2/v1/client/dev1/register/x", "oauth2/v1/client/dev1/register/json/accepted"] {
            assert!(topics().allows_response(&request, own), "{own}");
        }
        for other in ["oauth2/v1/client/dev1/x", "oauth2/v1/client/dev1/token/json/accepted", "oauth2/v1/client/dev1/register/"] {
            assert!(!topics().allows_response(&request, other), "{other}");
        }
    }

    #[test]
    fn deny_bad_prefixes() {
        for prefix in ["", "/", "a/", "/a", "a//b", "$SYS/a", "a/+", "a/#", "a\u{0}"] {
            assert!(Topics::new(prefix).is_err(), "{prefix:?}");
        }
    }
}
