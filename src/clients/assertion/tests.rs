//! One `deny_*` for each refusal of an assertion.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clients::secret::work::{self, Work};
use crate::clients::{ClientKey, Status};
use crate::jose::SigningKey;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const ISSUER: &str = "https://as.example";

struct One(Arc<Client>);

impl ClientStore for One {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        (*id == self.0.client_id).then(|| self.0.clone())
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

/// `dev1` with the keys 1 and 2.
fn store(change: impl FnOnce(&mut Client)) -> One {
    let mut client = Client {
        token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
        jwks: [key(1), key(2)].map(|key| ClientKey::new(key.public().clone(), NOW)).to_vec(),
        ..Client::new("dev1".parse().unwrap(), NOW)
    };
    change(&mut client);
    One(Arc::new(client))
}

fn assertions() -> Assertions {
    Assertions::new(ISSUER.into(), UnixTime::from_secs(NOW.as_secs().saturating_sub(1_000)), 1_024, Zeroizing::new([5; 32]))
}

fn jwt(header: &Value, claims: &Value, key: &SigningKey) -> Secret {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    Secret::new(format!("{message}.{signature}").into_bytes())
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "EdDSA", "kid": key(1).kid()})
}

fn claims() -> Value {
    let now = NOW.as_secs();
    json!({"iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": now, "exp": now.saturating_add(60), "jti": "j1"})
}

/// The claims with some changed, or removed where the new value is null.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn request() -> RequestDigest {
    RequestDigest::of_token_request(None, Some("a"), None)
}

/// Ends in the reason and the words that the device is told.
fn outcome(assertions: &Assertions, store: &One, assertion: &Secret, now: UnixTime) -> Result<(), (Reason, String)> {
    outcome_for(assertions, store, assertion, Some(&request()), now)
}

fn outcome_for(
    assertions: &Assertions,
    store: &One,
    assertion: &Secret,
    request: Option<&RequestDigest>,
    now: UnixTime,
) -> Result<(), (Reason, String)> {
    let request = request.map(|request| (request, false));
    assertions.authenticate(&"dev1".parse().unwrap(), assertion, request, store, now).map(|_| ()).map_err(|fault| match fault {
        Fault::Refused(refusal) => (refusal.reason(), format!("{:?} {}", refusal.code(), refusal.description())),
        Fault::UseNonce(reason) => (reason, "use_nonce".into()),
    })
}

fn assert_denied(header: &Value, claims: &Value, reason: Reason) {
    let outcome = outcome(&assertions(), &store(|_| ()), &jwt(header, claims, &key(1)), NOW);
    assert_eq!(outcome, Err((reason, "InvalidClient client authentication failed".into())), "{header} {claims}");
}

fn assert_accepted(header: &Value, claims: &Value, key: &SigningKey) {
    assert_eq!(outcome(&assertions(), &store(|_| ()), &jwt(header, claims, key), NOW), Ok(()), "{header} {claims}");
}

#[test]
fn accepts_by_kid_and_by_trying_each_key() {
    assert_accepted(&header(), &claims(), &key(1));
    for seed in [1, 2] {
        assert_accepted(&json!({"alg": "EdDSA"}), &claims(), &key(seed));
    }
    for header in [
        json!({"alg": "Ed25519", "kid": key(2).kid()}),
        json!({"alg": "EdDSA", "kid": key(2).kid(), "typ": "client-authentication+jwt"}),
        json!({"alg": "EdDSA", "kid": key(2).kid(), "typ": "jwt", "x5u": "https://evil.example", "jwk": {"kty": "OKP"}}),
    ] {
        assert_accepted(&header, &claims(), &key(2));
    }
}

#[test]
fn accepts_what_the_rfc_leaves_open() {
    let now = NOW.as_secs();
    for changes in [
        json!({"aud": [ISSUER]}),
        json!({"iat": null}),
        json!({"exp": now.saturating_add(300)}),
        json!({"nbf": now, "iat": now}),
        json!({"exp": 1_000_060.5, "iat": 999_999.9}),
        json!({"jti": "j".repeat(128)}),
        json!({"other": {"a": [1]}}),
    ] {
        assert_accepted(&header(), &with(changes), &key(1));
    }
}

#[test]
fn deny_malformed_assertions() {
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": key(1).kid()}),
        json!({"alg": "EdDSA", "kid": key(1).kid(), "crit": ["x"], "x": 1}),
        json!({"alg": "EdDSA", "kid": key(1).kid(), "typ": "at+jwt"}),
        json!({"alg": "EdDSA", "kid": key(1).kid(), "typ": "dpop+jwt"}),
    ] {
        assert_denied(&header, &claims(), Reason::MalformedAssertion);
    }
    for changes in [
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"aud": null}),
        json!({"exp": null}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": "j".repeat(129)}),
        json!({"jti": 7}),
        json!({"exp": "1000060"}),
        json!({"exp": -1}),
        json!({"iat": "now"}),
        json!({"nbf": []}),
        json!({"aud": []}),
        json!({"aud": [ISSUER, ISSUER]}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"nonce": 7}),
    ] {
        assert_denied(&header(), &with(changes), Reason::MalformedAssertion);
    }
    for text in ["", "a.b.c", "\u{fffd}"] {
        let (reason, _) = outcome(&assertions(), &store(|_| ()), &Secret::new(text.into()), NOW).unwrap_err();
        assert_eq!(reason, Reason::MalformedAssertion);
    }
    // A claim that stands twice.
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header().to_string()),
        URL_SAFE_NO_PAD.encode(claims().to_string().replace(r#""jti""#, r#""jti":"j0","jti""#))
    );
    let twice = format!("{message}.{}", URL_SAFE_NO_PAD.encode(key(1).sign(message.as_bytes())));
    let (reason, _) = outcome(&assertions(), &store(|_| ()), &Secret::new(twice.into_bytes()), NOW).unwrap_err();
    assert_eq!(reason, Reason::MalformedAssertion);
}

#[test]
fn deny_assertions_of_or_for_others() {
    assert_denied(&header(), &with(json!({"iss": "dev2"})), Reason::WrongAssertionSubject);
    assert_denied(&header(), &with(json!({"sub": "dev2"})), Reason::WrongAssertionSubject);
    for aud in [json!("https://as.example/"), json!("https://as.example/token"), json!(["https://other.example"]), json!("")] {
        assert_denied(&header(), &with(json!({ "aud": aud })), Reason::WrongAssertionAudience);
    }
}

#[test]
fn deny_expired_and_too_long() {
    let now = NOW.as_secs();
    for exp in [0, now.saturating_sub(1), now] {
        assert_denied(&header(), &with(json!({ "exp": exp })), Reason::AssertionExpired);
    }
    for exp in [now.saturating_add(301), u64::MAX] {
        assert_denied(&header(), &with(json!({ "exp": exp })), Reason::AssertionTooLong);
    }
    assert_denied(&header(), &with(json!({ "exp": 1e300 })), Reason::AssertionTooLong);
}

#[test]
fn deny_other_keys() {
    let foreign =
        |header: &Value, key: &SigningKey| outcome(&assertions(), &store(|_| ()), &jwt(header, &claims(), key), NOW).unwrap_err().0;
    assert_eq!(foreign(&header(), &key(9)), Reason::WrongSignature);
    assert_eq!(foreign(&header(), &key(2)), Reason::WrongSignature, "the kid of key 1 is not a wish for key 2");
    assert_eq!(foreign(&json!({"alg": "EdDSA"}), &key(9)), Reason::WrongSignature);
    assert_eq!(foreign(&json!({"alg": "EdDSA", "kid": "unknown"}), &key(1)), Reason::WrongSignature);
}

#[test]
fn deny_with_one_text_and_the_same_work() {
    let good = jwt(&header(), &claims(), &key(1));
    let cases = [
        (store(|client| client.client_id = "other".parse().unwrap()), good, Reason::UnknownClient),
        (store(|_| ()), jwt(&header(), &claims(), &key(9)), Reason::WrongSignature),
        (store(|client| client.jwks.clear()), jwt(&header(), &claims(), &key(1)), Reason::WrongSignature),
        (store(|_| ()), jwt(&header(), &with(json!({"exp": 1})), &key(1)), Reason::AssertionExpired),
        (store(|client| client.status = Status::Blocked), jwt(&header(), &claims(), &key(1)), Reason::BlockedClient),
        (store(|client| client.status = Status::Suspended), jwt(&header(), &claims(), &key(1)), Reason::SuspendedClient),
        (
            store(|client| client.token_endpoint_auth_method = AuthMethod::ClientSecretPost),
            jwt(&header(), &claims(), &key(1)),
            Reason::WrongAuthMethod,
        ),
        (store(|_| ()), jwt(&header(), &with(json!({"rqh": "AA"})), &key(1)), Reason::WrongRequestBinding),
        // A stranger without the key does not learn the status either, and neither does the log.
        (store(|client| client.status = Status::Blocked), jwt(&header(), &claims(), &key(9)), Reason::WrongSignature),
        (store(|client| client.expires_at = Some(NOW)), jwt(&header(), &claims(), &key(1)), Reason::ClientNotValidNow),
        (store(|client| client.jwks[0].expires_at = Some(NOW)), jwt(&header(), &claims(), &key(1)), Reason::KeyNotValidNow),
        (
            store(|client| client.jwks[0].not_before = Some(NOW.saturating_add(1))),
            jwt(&header(), &claims(), &key(1)),
            Reason::KeyNotValidNow,
        ),
    ];
    for (store, assertion, reason) in cases {
        let done = work::of(|| {
            let told = outcome(&assertions(), &store, &assertion, NOW);
            assert_eq!(told, Err((reason, "InvalidClient client authentication failed".into())));
        });
        assert_eq!(done, Work { digests: 0, comparisons: 0, verifications: 1 }, "{reason:?}");
    }
    let replayed = (assertions(), store(|_| ()), jwt(&header(), &claims(), &key(1)));
    assert_eq!(outcome(&replayed.0, &replayed.1, &replayed.2, NOW), Ok(()));
    let done = work::of(|| {
        let told = outcome(&replayed.0, &replayed.1, &replayed.2, NOW);
        assert_eq!(told, Err((Reason::ReplayedAssertion, "InvalidClient client authentication failed".into())));
    });
    assert_eq!(done.verifications, 1);
    // Without a kid as many verifications as there can be keys, whether there are or not.
    let without = json!({"alg": "EdDSA"});
    for (store, seed) in [
        (store(|_| ()), 9),
        (store(|client| client.client_id = "other".parse().unwrap()), 1),
        (store(|client| client.jwks.truncate(1)), 9),
        (store(|client| client.status = Status::Blocked), 1),
        (store(|client| client.jwks[0].expires_at = Some(NOW)), 1),
    ] {
        let done = work::of(|| drop(outcome(&assertions(), &store, &jwt(&without, &claims(), &key(seed)), NOW)));
        assert_eq!(done.verifications, 4);
    }
}

#[test]
fn decoys_are_keys_like_any_other_and_of_every_kind() {
    for key_type in KeyType::ALL {
        let decoys = Decoys::new();
        assert_eq!((decoys.of(key_type).key_type(), decoys.of(key_type).is_sound()), (key_type, true));
    }
}

#[test]
fn a_client_may_sign_by_es256() {
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([3; 32])).unwrap();
    let both = || store(|client| client.jwks.push(ClientKey::new(p256.public().clone(), NOW)));
    for header in [json!({"alg": "ES256", "kid": p256.kid()}), json!({"alg": "ES256"})] {
        assert_eq!(outcome(&assertions(), &both(), &jwt(&header, &claims(), &p256), NOW), Ok(()), "{header}");
    }
    let wrong = Err((Reason::WrongSignature, "InvalidClient client authentication failed".into()));
    // deny: the algorithm of another kind of key, with the kid of this and of that, and a key that is not the client's
    for (header, key) in [
        (json!({"alg": "EdDSA", "kid": p256.kid()}), &p256),
        (json!({"alg": "ES256", "kid": key(1).kid()}), &p256),
        (json!({"alg": "ES256", "kid": key(1).kid()}), &key(1)),
        (json!({"alg": "ES256", "kid": p256.kid()}), &SigningKey::from_p256_scalar(&Zeroizing::new([4; 32])).unwrap()),
    ] {
        let done = work::of(|| assert_eq!(outcome(&assertions(), &both(), &jwt(&header, &claims(), key), NOW), wrong, "{header}"));
        assert_eq!(done.verifications, 1);
    }
}

#[test]
fn deny_replay_until_it_has_expired() {
    let (assertions, store) = (assertions(), store(|_| ()));
    let assertion = jwt(&header(), &claims(), &key(1));
    assert_eq!(outcome(&assertions, &store, &assertion, NOW), Ok(()));
    for seconds in [0, 1, 59] {
        assert_eq!(outcome(&assertions, &store, &assertion, NOW.saturating_add(seconds)).unwrap_err().0, Reason::ReplayedAssertion);
    }
    assert_eq!(outcome(&assertions, &store, &assertion, NOW.saturating_add(60)).unwrap_err().0, Reason::AssertionExpired);
    // The jti counts, whatever else is in it, and by whichever key.
    let other = jwt(&json!({"alg": "EdDSA"}), &with(json!({"nbf": 1})), &key(2));
    assert_eq!(outcome(&assertions, &store, &other, NOW).unwrap_err().0, Reason::ReplayedAssertion);
}

#[test]
fn deny_replay_of_what_was_refused_after_its_signature_was_checked() {
    let assertions = assertions();
    let assertion = jwt(&header(), &claims(), &key(1));
    let blocked = store(|client| client.status = Status::Blocked);
    assert_eq!(outcome(&assertions, &blocked, &assertion, NOW).unwrap_err().0, Reason::BlockedClient);
    assert_eq!(outcome(&assertions, &store(|_| ()), &assertion, NOW).unwrap_err().0, Reason::ReplayedAssertion);
    // A stranger with the wrong key uses up nothing.
    let forged = jwt(&header(), &with(json!({"jti": "j2"})), &key(9));
    assert_eq!(outcome(&assertions, &store(|_| ()), &forged, NOW).unwrap_err().0, Reason::WrongSignature);
    assert_eq!(outcome(&assertions, &store(|_| ()), &jwt(&header(), &with(json!({"jti": "j2"})), &key(1)), NOW), Ok(()));
}

#[test]
fn deny_when_no_more_can_be_remembered() {
    let full = Assertions::new(ISSUER.into(), UnixTime::default(), 16, Zeroizing::new([5; 32]));
    let store = store(|_| ());
    let told: Vec<_> =
        (0..400).map(|jti| outcome(&full, &store, &jwt(&header(), &with(json!({"jti": jti.to_string()})), &key(1)), NOW)).collect();
    assert_eq!(told.iter().filter(|outcome| outcome.is_ok()).count(), 16);
    let refused = told.into_iter().filter_map(Result::err);
    assert!(
        refused.into_iter().all(|told| told == (Reason::ReplayMemoryFull, "TemporarilyUnavailable too many assertions are in use".into()))
    );
    let first = jwt(&header(), &with(json!({"jti": "0"})), &key(1));
    assert_eq!(outcome(&full, &store, &first, NOW).unwrap_err().0, Reason::ReplayedAssertion, "none was forgotten");
    let later = NOW.saturating_add(61);
    let next = jwt(&header(), &with(json!({"jti": "x", "exp": later.saturating_add(60)})), &key(1));
    assert_eq!(outcome(&full, &store, &next, later), Ok(()));
}

#[test]
fn deny_what_may_have_been_used_before_the_start() {
    let restarted = || Assertions::new(ISSUER.into(), NOW, 1_024, Zeroizing::new([5; 32]));
    let now = NOW.saturating_add(100);
    let ask = |changes: Value| {
        let mut changes = changes;
        changes["exp"] = json!(changes.get("exp").and_then(Value::as_u64).unwrap_or(now.as_secs().saturating_add(60)));
        outcome(&restarted(), &store(|_| ()), &jwt(&header(), &with(changes), &key(1)), now)
    };
    let start = NOW.as_secs();
    for iat in [start.saturating_sub(1), start] {
        assert_eq!(ask(json!({ "iat": iat })), Err((Reason::AssertionBeforeStart, "use_nonce".into())));
    }
    assert_eq!(ask(json!({"iat": start.saturating_add(1)})), Ok(()));
    // Without iat its end tells how old it can be.
    assert_eq!(ask(json!({"iat": null})), Err((Reason::AssertionBeforeStart, "use_nonce".into())));
    assert_eq!(ask(json!({"iat": null, "exp": start.saturating_add(301)})), Ok(()));
    // To a blocked client it is told as anything else.
    let blocked = store(|client| client.status = Status::Blocked);
    let old = jwt(&header(), &with(json!({"exp": now.as_secs().saturating_add(60)})), &key(1));
    assert_eq!(outcome(&restarted(), &blocked, &old, now).unwrap_err().0, Reason::BlockedClient);
}

#[test]
fn deny_times_to_come() {
    for changes in [json!({"iat": NOW.saturating_add(1)}), json!({"nbf": NOW.saturating_add(1)})] {
        let told = outcome(&assertions(), &store(|_| ()), &jwt(&header(), &with(changes), &key(1)), NOW);
        assert_eq!(told, Err((Reason::AssertionNotYetValid, "use_nonce".into())));
    }
}

#[test]
fn a_nonce_stands_for_all_times_and_works_once() {
    let (assertions, store) = (assertions(), store(|_| ()));
    let id = "dev1".parse().unwrap();
    let nonce = |entropy: u8| URL_SAFE_NO_PAD.encode(assertions.nonce(&id, NOW, &[entropy; 16]).value);
    let timeless = |nonce: &str, jti: &str| jwt(&header(), &with(json!({"nonce": nonce, "jti": jti, "iat": 5, "exp": 65})), &key(1));
    assert_eq!(outcome(&assertions, &store, &timeless(&nonce(1), "a"), NOW), Ok(()));
    for jti in ["a", "b"] {
        assert_eq!(outcome(&assertions, &store, &timeless(&nonce(1), jti), NOW).unwrap_err().0, Reason::ReplayedAssertion);
    }
    assert_eq!(outcome(&assertions, &store, &timeless(&nonce(2), "a"), NOW), Ok(()));
    let old = timeless(&nonce(3), "c");
    let later = outcome(&assertions, &store, &old, NOW.saturating_add(60));
    assert_eq!(later, Err((Reason::StaleNonce, "use_nonce".into())));
    let made_up = timeless(&"A".repeat(32), "d");
    assert_eq!(outcome(&assertions, &store, &made_up, NOW), Err((Reason::StaleNonce, "use_nonce".into())));
    // Good times are no excuse for a bad nonce.
    let good_times = jwt(&header(), &with(json!({"nonce": "x"})), &key(1));
    assert_eq!(outcome(&assertions, &store, &good_times, NOW).unwrap_err().0, Reason::StaleNonce);
}

#[test]
fn deny_requests_that_are_not_the_bound_one() {
    let bound = |rqh: Value, jti: &str| jwt(&header(), &with(json!({"rqh": rqh, "jti": jti})), &key(1));
    let (assertions, strict) = (assertions(), store(|client| client.require_request_binding = true));
    let right = json!(request().to_text());
    assert_eq!(outcome(&assertions, &strict, &bound(right.clone(), "1"), NOW), Ok(()));
    assert_eq!(outcome(&assertions, &strict, &bound(Value::Null, "2"), NOW).unwrap_err().0, Reason::RequestNotBound);
    let other = RequestDigest::of_token_request(None, Some("a b"), None);
    let told = outcome_for(&assertions, &strict, &bound(right.clone(), "3"), Some(&other), NOW);
    assert_eq!(told.unwrap_err().0, Reason::WrongRequestBinding);
    // Who binds without having to is held to it.
    let told = outcome_for(&assertions, &store(|_| ()), &bound(right.clone(), "4"), Some(&other), NOW);
    assert_eq!(told.unwrap_err().0, Reason::WrongRequestBinding);
    // CONNECT: no request to be bound to.
    assert_eq!(outcome_for(&assertions, &strict, &bound(Value::Null, "5"), None, NOW), Ok(()));
    assert_eq!(outcome_for(&assertions, &strict, &bound(right, "6"), None, NOW).unwrap_err().0, Reason::WrongRequestBinding);
}

mod cose_assertions {
    use serde_cbor::Value as Cbor;

    use super::*;
    use crate::jose::Algorithm;
    use crate::jose::cose::{Typ, sign1};

    fn members() -> BTreeMap<i64, Cbor> {
        let text = |text: &str| Cbor::Text(text.into());
        let now = i128::from(NOW.as_secs());
        BTreeMap::from([
            (1, text("dev1")),
            (2, text("dev1")),
            (3, text(ISSUER)),
            (4, Cbor::Integer(now.saturating_add(60))),
            (6, Cbor::Integer(now)),
            (7, Cbor::Bytes(vec![7; 16])),
        ])
    }

    fn signed(typ: &Typ, members: &BTreeMap<i64, Cbor>, key: &SigningKey) -> Secret {
        let payload = serde_cbor::to_vec(members).unwrap();
        Secret::new(sign1(key.key_type().algorithm(), typ, false, &payload, key).unwrap())
    }

    fn told(assertions: &Assertions, members: &BTreeMap<i64, Cbor>) -> Result<(), Reason> {
        outcome(assertions, &store(|_| ()), &signed(&Typ::CWT, members, &key(1)), NOW).map_err(|(reason, _)| reason)
    }

    fn with(label: i64, value: Option<Cbor>) -> BTreeMap<i64, Cbor> {
        let mut members = members();
        members.remove(&label);
        members.extend(value.map(|value| (label, value)));
        members
    }

    #[test]
    fn a_cose_sign1_is_accepted_once() {
        let assertions = assertions();
        assert_eq!(told(&assertions, &members()), Ok(()));
        assert_eq!(told(&assertions, &members()), Err(Reason::ReplayedAssertion));
        let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([3; 32])).unwrap();
        let both = store(|client| client.jwks.push(ClientKey::new(p256.public().clone(), NOW)));
        let typ = Typ::Name("application/cwt".into());
        assert_eq!(outcome(&assertions, &both, &signed(&typ, &with(7, Some(Cbor::Bytes(vec![8]))), &p256), NOW), Ok(()));
        let tagged = sign1(Algorithm::EdDsa, &Typ::CWT, true, &serde_cbor::to_vec(&with(7, Some(Cbor::Bytes(vec![9])))).unwrap(), &key(1));
        assert_eq!(outcome(&assertions, &both, &Secret::new(tagged.unwrap()), NOW), Ok(()));
    }

    #[test]
    fn a_nonce_and_a_binding_are_bytes() {
        let assertions = assertions();
        let given = assertions.nonce(&"dev1".parse().unwrap(), NOW, &[1; 16]);
        let mut timeless = with(4, Some(Cbor::Integer(1)));
        timeless.insert(39, Cbor::Bytes(given.value.to_vec()));
        timeless.insert(-65_537, Cbor::Bytes(request().as_bytes().to_vec()));
        assert_eq!(told(&assertions, &timeless), Ok(()));
        assert_eq!(told(&assertions, &timeless), Err(Reason::ReplayedAssertion));
        assert_eq!(told(&assertions, &with(-65_537, Some(Cbor::Bytes(vec![0; 32])))), Err(Reason::WrongRequestBinding));
    }

    #[test]
    fn deny_what_a_jwt_is_refused_for() {
        let text = |text: &str| Some(Cbor::Text(text.into()));
        for (members, reason) in [
            (with(1, text("other")), Reason::WrongAssertionSubject),
            (with(2, text("other")), Reason::WrongAssertionSubject),
            (with(3, text("https://other")), Reason::WrongAssertionAudience),
            (with(4, Some(Cbor::Integer(1))), Reason::AssertionExpired),
            (with(4, Some(Cbor::Integer(i128::from(NOW.as_secs()).saturating_add(301)))), Reason::AssertionTooLong),
            (with(1, None), Reason::MalformedAssertion),
            (with(3, None), Reason::MalformedAssertion),
            (with(3, Some(Cbor::Array(vec![]))), Reason::MalformedAssertion),
            (with(4, None), Reason::MalformedAssertion),
            (with(4, text("soon")), Reason::MalformedAssertion),
            (with(4, Some(Cbor::Integer(-1))), Reason::MalformedAssertion),
            (with(6, text("now")), Reason::MalformedAssertion),
            (with(7, None), Reason::MalformedAssertion),
            (with(7, text("j")), Reason::MalformedAssertion),
            (with(7, Some(Cbor::Bytes(vec![]))), Reason::MalformedAssertion),
            (with(7, Some(Cbor::Bytes(vec![0; 97]))), Reason::MalformedAssertion),
            (with(39, text("n")), Reason::MalformedAssertion),
            (with(-65_537, text("r")), Reason::MalformedAssertion),
        ] {
            assert_eq!(told(&assertions(), &members), Err(reason), "{members:?}");
        }
        let mut one = with(3, Some(Cbor::Array(vec![Cbor::Text(ISSUER.into())])));
        one.insert(4, Cbor::Float(NOW.as_secs() as f64 + 60.5));
        assert_eq!(told(&assertions(), &one), Ok(()), "as the RFC leaves open");
        let other_typ = signed(&Typ::Name("application/trl".into()), &members(), &key(1));
        let refused = outcome(&assertions(), &store(|_| ()), &other_typ, NOW);
        assert_eq!(refused.map_err(|(reason, _)| reason), Err(Reason::MalformedAssertion));
    }

    #[test]
    fn deny_with_the_same_work() {
        let nobody = store(|client| client.client_id = "other".parse().unwrap());
        for (store, seed, reason) in [(store(|_| ()), 9, Reason::UnknownClient), (nobody, 1, Reason::UnknownClient)] {
            let done = work::of(|| drop(outcome(&assertions(), &store, &signed(&Typ::CWT, &members(), &key(seed)), NOW)));
            assert_eq!(done.verifications, 1, "{reason:?}");
        }
    }
}
