//! Scopes of RabbitMQ's OAuth 2 plugin, for its MQTT plugin: `{prefix}.{read|write|configure}:{vhost}/{name}[/{routing key}]`.
//!
//! MQTT topics are routing keys of the exchange `amq.topic` there, with `.` for `/`. In a scope, `*` stands for any characters, dots included:
//! right for `#`, too wide for `+`. So `+` is written literally (a subscription to this very filter) and refused in what may be published to.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::{Action, Permissions, TopicPermission};
use crate::oauth::{ClientId, ScopeToken};

pub(super) fn encode(prefix: &ScopeToken, vhost: &str, client_id: &ClientId, permissions: &Permissions) -> String {
    let vhost = literal(vhost);
    let mut scopes = BTreeSet::new();
    for (action, filter) in permissions.actions() {
        let verb = match action {
            Action::Pub => "write",
            Action::Sub => "read",
        };
        for routing_key in routing_keys(filter) {
            scopes.insert(format!("{prefix}.{verb}:{vhost}/amq.topic/{routing_key}"));
        }
        if action == Action::Sub {
            // A subscription is a queue of the client's own, one for each QoS, whose name RabbitMQ makes of the MQTT client identifier.
            for verb in ["configure", "read", "write"] {
                scopes.extend([0, 1].map(|qos| format!("{prefix}.{verb}:{vhost}/mqtt-subscription-{client_id}qos{qos}")));
            }
        }
    }
    scopes.into_iter().collect::<Vec<_>>().join(" ")
}

/// The routing keys a filter opens. `a/#` opens `a`, too (MQTT 5 section 4.7.1.2).
fn routing_keys(filter: &str) -> Vec<String> {
    let key = |levels: &str| {
        levels.split('/').map(|level| if level == "+" { literal("*") } else { literal(level) }).collect::<Vec<_>>().join(".")
    };
    match filter.strip_suffix('#') {
        None => vec![key(filter)],
        Some("") => vec!["*".into()],
        Some(below) => vec![key(below.strip_suffix('/').unwrap_or(below)), format!("{}*", key(below))],
    }
}

/// Percent-encodes all that could mean something to the plugin, or end a scope.
fn literal(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

pub(super) fn check(permission: &TopicPermission) -> Result<(), &'static str> {
    if permission.filter().contains('.') {
        return Err("RabbitMQ takes a dot in a topic for the end of a level");
    }
    if permission.action() == Action::Pub && permission.filter().contains('+') {
        return Err("RabbitMQ cannot limit + to one level in what may be published to: name the level, or end with #");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::permissions::tests::permissions;
    use super::*;

    fn encoded(vhost: &str, templates: &[&str]) -> Vec<String> {
        let scopes = encode(&"mq".parse().unwrap(), vhost, &"dev1".parse().unwrap(), &permissions(templates));
        scopes.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn publishing_is_writing_to_the_exchange() {
        assert_eq!(encoded("/", &["pub t/{client_id}/#"]), ["mq.write:%2F/amq.topic/t.dev1", "mq.write:%2F/amq.topic/t.dev1.*"]);
        assert_eq!(encoded("v 1", &["pub a", "pub #"]), ["mq.write:v%201/amq.topic/*", "mq.write:v%201/amq.topic/a"]);
        assert_eq!(encoded("v", &["pub a*%//b c"]), ["mq.write:v/amq.topic/a%2A%25..b%20c"]);
    }

    #[test]
    fn subscribing_is_reading_from_the_exchange_into_a_queue_of_ones_own() {
        assert_eq!(
            encoded("v", &["sub c/+/{client_id}"]),
            [
                "mq.configure:v/mqtt-subscription-dev1qos0",
                "mq.configure:v/mqtt-subscription-dev1qos1",
                "mq.read:v/amq.topic/c.%2A.dev1",
                "mq.read:v/mqtt-subscription-dev1qos0",
                "mq.read:v/mqtt-subscription-dev1qos1",
                "mq.write:v/mqtt-subscription-dev1qos0",
                "mq.write:v/mqtt-subscription-dev1qos1",
            ]
        );
    }

    #[test]
    fn deny_what_rabbitmq_cannot_say_exactly() {
        for wider in ["pub a/+/b", "pub +", "sub a.b", "pub a.b/{client_id}"] {
            assert!(check(&wider.parse().unwrap()).is_err(), "{wider}");
        }
        for exact in ["pub a/#", "sub a/+/b", "sub #", "pub {site}/a"] {
            assert!(check(&exact.parse().unwrap()).is_ok(), "{exact}");
        }
    }

    /// The plugin's matcher: `*` stands for any characters, the rest is percent-decoded.
    fn plugin_matches(pattern: &str, subject: &str) -> bool {
        let decode = |part: &str| {
            let mut pieces = part.split('%');
            let first = pieces.next().unwrap().to_owned();
            pieces.fold(first, |text, piece| text + &char::from(u8::from_str_radix(&piece[..2], 16).unwrap()).to_string() + &piece[2..])
        };
        let (first, rest) = pattern.split_once('*').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
        match rest {
            None => subject == decode(first),
            Some(rest) => {
                subject.strip_prefix(&decode(first)).is_some_and(|tail| (0..=tail.len()).any(|at| plugin_matches(rest, &tail[at..])))
            }
        }
    }

    #[test]
    fn opens_what_mqtt_opens_and_no_more() {
        let opens = |filter: &str, topic: &str| {
            let subject = topic.replace('/', ".").replace('+', "*");
            routing_keys(filter).iter().any(|pattern| plugin_matches(pattern, &subject))
        };
        for (filter, inside, outside) in [
            ("a/b", &["a/b"][..], &["a", "a/b/c", "a/bc", "a/+", "#"][..]),
            ("a/#", &["a", "a/b", "a/b/c", "a/+/c", "a/#"], &["ab", "b/a", "#", "+/a"]),
            ("a/+/b", &["a/+/b"], &["a/x/y/b", "a/b", "a/+/+/b", "a/#"]),
            ("#", &["a", "a/b", "#", "+/b"], &[]),
        ] {
            inside.iter().for_each(|topic| assert!(opens(filter, topic), "{filter} {topic}"));
            outside.iter().for_each(|topic| assert!(!opens(filter, topic), "{filter} {topic}"));
        }
    }
}
