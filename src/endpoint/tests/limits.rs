//! Limits and lockouts, on virtual time.

use super::*;
use crate::clients::{LimitRules, Limits, Rate};

const RULES: LimitRules = LimitRules {
    overall: Rate::per_second(600, 600),
    client: Rate::per_second(2, 4),
    writes: Rate::per_hour(2),
    lockout_after: 3,
    lockout_longest: 60,
    handshakes: 0,
    handshakes_of_address: 0,
};

fn limited((engine, secret): (Engine, String), rules: LimitRules) -> (Engine, String) {
    (engine.with_limits(Arc::new(Limits::new(rules, NOW))), secret)
}

/// The answer at so many seconds from the beginning, and why.
fn at(engine: &Engine, client_id: &str, payload: &[u8], seconds: u64) -> (Value, String) {
    let client_id = client_id.parse().unwrap();
    let request = Request {
        client_id: &client_id,
        operation: "token",
        format: Format::Json,
        payload,
        channel: Channel::Trusted,
        correlation_data: None,
        envelope: Ok(()),
    };
    let reply = engine.handle(&request, NOW.saturating_add(seconds), [3; 16]);
    let told = match &reply.decision {
        Decision::Refused(refusal) => refusal.reason().name().to_owned(),
        _ => "issued".to_owned(),
    };
    (serde_json::from_slice(&reply.payload).unwrap(), told)
}

fn by_secret(secret: &str) -> Vec<u8> {
    json!({"grant_type": "client_credentials", "client_secret": secret, "scope": "rs1:read"}).to_string().into_bytes()
}

#[test]
fn deny_more_tokens_than_a_client_may_have() {
    let (engine, secret) = limited(engine(), RULES);
    let right = by_secret(&secret);
    let told = |client_id: &str, seconds| at(&engine, client_id, &right, seconds);
    for _ in 0..4 {
        assert_eq!(told("one", 0).1, "issued");
    }
    let (answer, reason) = told("one", 0);
    assert_eq!((reason.as_str(), &answer["error"]), ("client_limit", &json!("temporarily_unavailable")));
    assert!(answer["retry_after"].as_u64().is_some_and(|wait| (1..=9).contains(&wait)), "{answer}");
    assert_eq!(told("both", 0).1, "issued", "another client");
    assert_eq!(told("one", 1).1, "issued");
    // What somebody else asks for in its name does not count.
    let wrong = by_secret("wrong");
    (0..20).for_each(|_| drop(at(&engine, "both", &wrong, 1)));
    assert_eq!(told("both", 100).1, "issued");
}

#[test]
fn deny_more_requests_than_all_may_make() {
    let (engine, secret) = limited(engine(), LimitRules { overall: Rate::per_second(1, 3), ..RULES });
    // Whoever they are, and whatever they are.
    assert_eq!(at(&engine, "nobody", b"{", 0).1, "malformed");
    assert_eq!(at(&engine, "nobody", &by_secret("x"), 0).1, "unknown_client");
    assert_eq!(at(&engine, "one", &by_secret("x"), 0).1, "wrong_secret");
    let (answer, reason) = at(&engine, "one", &by_secret(&secret), 0);
    assert_eq!((reason.as_str(), &answer["error"]), ("overall_limit", &json!("temporarily_unavailable")));
    assert_eq!(at(&engine, "one", &by_secret(&secret), 1).1, "issued");
}

#[test]
fn what_is_left_is_for_the_more_critical() {
    let clients = ["low", "normal", "high", "critical"].map(|word| {
        let (record, _) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
        let client = Client {
            scope: "rs1:read".parse().unwrap(),
            secrets: vec![record],
            attributes: [("criticality".parse().unwrap(), word.parse().unwrap())].into(),
            ..Client::new(word.parse().unwrap(), NOW)
        };
        (client.client_id.clone(), Arc::new(client))
    });
    let (_, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let engine = engine_of(clients.into(), policy(), secret);
    let (engine, secret) = limited(engine, LimitRules { overall: Rate::per_second(8, 8), client: Rate::default(), ..RULES });
    // As after a power return: all ask at once, and those who wait are told for how long; the less critical the longer.
    let served = |word: &str| (0..10).take_while(|_| at(&engine, word, &by_secret(&secret), 0).1 == "issued").count();
    assert_eq!(["low", "normal", "high", "critical"].map(served), [4, 2, 1, 1]);
    let waits = |word: &str| {
        let ask = |byte: u8| {
            let client_id = word.parse().unwrap();
            let payload = by_secret(&secret);
            let request = Request {
                client_id: &client_id,
                operation: "token",
                format: Format::Json,
                payload: &payload,
                correlation_data: None,
                channel: Channel::Trusted,
                envelope: Ok(()),
            };
            let answer: Value = serde_json::from_slice(&engine.handle(&request, NOW, [byte; 16]).payload).unwrap();
            answer["retry_after"].as_u64().unwrap()
        };
        let all: std::collections::BTreeSet<u64> = (0..=255).map(ask).collect();
        (all.len(), *all.last().unwrap())
    };
    assert_eq!(["low", "normal", "high", "critical"].map(waits), [(32, 32), (16, 16), (8, 8), (8, 8)]);
}

#[test]
fn a_request_with_a_name_that_comes_twice_has_one_answer() {
    let (engine, secret) = limited(engine(), RULES);
    let client_id = "one".parse().unwrap();
    let ask = |payload: &[u8], correlation_data: Option<&[u8]>, byte: u8, seconds| {
        let channel = Channel::Trusted;
        let (operation, format) = ("token", Format::Json);
        let request = Request { client_id: &client_id, operation, format, payload, correlation_data, channel, envelope: Ok(()) };
        engine.handle(&request, NOW.saturating_add(seconds), [byte; 16])
    };
    let payload = by_secret(&secret);
    let first = ask(&payload, Some(b"7"), 1, 0);
    let again = ask(&payload, Some(b"7"), 2, 9);
    assert_eq!((&first.payload, again.decision), (&again.payload, Decision::Repeated { accepted: true }));
    assert_ne!(first.payload, ask(&payload, Some(b"8"), 3, 9).payload, "another request");
    assert_ne!(first.payload, ask(&payload, Some(b"7"), 4, 10).payload, "who calls each request the same has another token soon");
    let stateful = json!({"grant_type": "client_credentials", "client_secret": secret, "scope": "rs1:read", "state": "s"}).to_string();
    assert_eq!(ask(stateful.as_bytes(), None, 5, 20).payload, ask(stateful.as_bytes(), None, 6, 20).payload);
    assert_ne!(ask(&payload, None, 7, 30).payload, ask(&payload, None, 8, 30).payload, "without a name nobody knows");
    // Only who knows the secret has it.
    assert!(matches!(ask(&by_secret("wrong"), Some(b"8"), 9, 31).decision, Decision::Refused(_)));
    // No limit counts what is only repeated.
    let counted = ask(&payload, Some(b"9"), 10, 100);
    (0..10).for_each(|_| assert_eq!(ask(&payload, Some(b"9"), 11, 100).payload, counted.payload));
}

#[test]
fn deny_secrets_after_too_many_failures_without_a_word_of_it() {
    let (engine, secret) = limited(engine(), RULES);
    let (right, wrong) = (by_secret(&secret), by_secret("wrong"));
    let (plain, _) = at(&engine, "one", &wrong, 0);
    for _ in 0..2 {
        assert_eq!(at(&engine, "one", &wrong, 0).1, "wrong_secret");
    }
    let (locked, reason) = at(&engine, "one", &right, 0);
    assert_eq!((reason.as_str(), &locked), ("locked_out", &plain), "a device sees what it always sees");
    // A client that there is not answers the same, however often.
    (0..10).for_each(|_| assert_eq!(at(&engine, "nobody", &wrong, 0), (plain.clone(), "unknown_client".to_owned())));
    assert_eq!(at(&engine, "both", &right, 0).1, "issued");
    assert_eq!(engine.lockouts(NOW), 1);
    assert_eq!(at(&engine, "one", &right, 1).1, "issued", "it is over");
    assert_eq!(engine.lockouts(NOW), 0);
    // At CONNECT each address is by itself.
    let connect = |password: &str, address: [u8; 4], seconds| {
        let (password, source) = (Secret::new(password.as_bytes().to_vec()), crate::clients::Source::Address(address.into()));
        engine
            .authenticate_session(&"one".parse().unwrap(), &password, source, NOW.saturating_add(seconds))
            .map(drop)
            .map_err(|refusal| refusal.reason())
    };
    (0..3).for_each(|_| assert_eq!(connect("wrong", [192, 0, 2, 1], 2), Err(Reason::WrongSecret)));
    assert_eq!(connect(&secret, [192, 0, 2, 1], 2), Err(Reason::LockedOut));
    assert_eq!((connect(&secret, [192, 0, 2, 2], 2), at(&engine, "one", &right, 2).1.as_str()), (Ok(()), "issued"));
    assert_eq!(connect(&secret, [192, 0, 2, 1], 3), Ok(()));
}

#[test]
fn failures_of_others_do_not_stop_an_assertion() {
    let engine = engine_with_assertions().with_limits(Arc::new(Limits::new(RULES, NOW)));
    let wrong = by_secret("wrong");
    let forged = |number: usize| {
        let mut forged = request_by_assertion(&json!({"jti": format!("f{number}")}), &json!({}));
        // The signature of something else.
        let end = forged.iter().rposition(|byte| *byte == b'.').unwrap();
        forged.get_mut(end + 1..end + 9).unwrap().copy_from_slice(b"AAAAAAAA");
        forged
    };
    for number in 0..20 {
        assert_eq!(at(&engine, "signer", &wrong, 0).1, if number < 2 { "wrong_auth_method" } else { "locked_out" });
        assert_eq!(at(&engine, "signer", &forged(number), 0).1, "wrong_signature");
    }
    let right = request_by_assertion(&json!({"jti": "mine"}), &json!({}));
    assert_eq!(at(&engine, "signer", &right, 0).1, "issued");
}
