//! The engine alone, payload in, payload out, beside one bare Ed25519 signature in the same run.
//!
//! criterion reports the times; the ratios at the end come from batches that alternate, so that a busy machine slows both alike.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark stops at its first surprise"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use credgate::clients::{Assertions, AuthMethod, Channel, Client, ClientKey, ClientSecret, ClientStore};
use credgate::clock::UnixTime;
use credgate::daemon::RingSealer;
use credgate::endpoint::{Engine, Request, Settings};
use credgate::jose::{self, EncryptionKey, KeyRing, SigningKey};
use credgate::oauth::{self, ClientId, Format, Operation, Param, RequestDigest};
use credgate::policy::{Policy, PolicyStore, ResourceServer, Scope, TokenFormat};
use credgate::token::Lifetimes;
use criterion::Criterion;
use zeroize::Zeroizing;

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

struct Store {
    clients: RwLock<HashMap<ClientId, Arc<Client>>>,
    policy: Arc<Policy>,
}

impl ClientStore for Store {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.read().unwrap().get(id).cloned()
    }
}

impl PolicyStore for Store {
    fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

struct Bench {
    engine: Engine,
    key: Arc<SigningKey>,
    client_id: ClientId,
    json: Vec<u8>,
    cbor: Vec<u8>,
    cwt: Vec<u8>,
    device_key: Arc<SigningKey>,
}

/// The client that signs assertions.
const SIGNER: &str = "signer";

impl Bench {
    /// A gateway with 1,000 clients.
    fn new() -> Self {
        let server = ResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into(), NOW);
        let scope = Scope {
            permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
            ..Scope::new("telemetry:write".parse().unwrap(), server.id.clone(), NOW)
        };
        // The same in CWTs.
        let cwt_server = ResourceServer {
            token_format: TokenFormat::Cwt,
            ..ResourceServer::new("meter-rs".parse().unwrap(), "https://metering1.example".into(), NOW)
        };
        let cwt_scope = Scope { name: "telemetry:meter".parse().unwrap(), resource_server: cwt_server.id.clone(), ..scope.clone() };
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
        let clients = (0..1_000).map(|number| {
            let id: ClientId = format!("device-{number}").parse().unwrap();
            let client = Client {
                scope: "telemetry:write telemetry:meter".parse().unwrap(),
                secrets: vec![record.clone()],
                ..Client::new(id.clone(), NOW)
            };
            (id, Arc::new(client))
        });
        let device_key = Arc::new(SigningKey::from_seed(&Zeroizing::new([8; 32])));
        let signer = Client {
            scope: "telemetry:write".parse().unwrap(),
            token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
            jwks: vec![ClientKey::new(device_key.public().clone(), NOW)],
            ..Client::new(SIGNER.parse().unwrap(), NOW)
        };
        let clients = clients.chain([(signer.client_id.clone(), Arc::new(signer))]);
        let policy = Policy {
            resource_servers: [server, cwt_server].map(|server| (server.id.clone(), Arc::new(server))).into(),
            scopes: [scope, cwt_scope].map(|scope| (scope.name.clone(), Arc::new(scope))).into(),
            ..Policy::default()
        };
        let store = Arc::new(Store { clients: RwLock::new(clients.collect()), policy: Arc::new(policy) });
        let key = Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32])));
        let settings =
            Settings { issuer: "https://credgate.local".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
        let started_at = UnixTime::from_secs(NOW.as_secs() - 1_000);
        let assertions = Assertions::new(settings.issuer.clone(), started_at, 1 << 20, Zeroizing::new([5; 32]));
        let engine = Engine::new(settings, store.clone(), store, KeyRing::new(key.clone(), Vec::new()))
            .with_assertions(assertions)
            .with_sealer(Box::new(RingSealer));
        let secret = std::str::from_utf8(secret.expose()).unwrap();
        let json = format!(r#"{{"grant_type":"client_credentials","client_secret":"{secret}","scope":"telemetry:write"}}"#);
        let mut cbor = vec![0xa2, 0x09, 0x6f];
        cbor.extend(b"telemetry:write\x18\x19\x58\x2b");
        cbor.extend(secret.as_bytes());
        let cwt = [&[0xa2, 0x09, 0x6f], &b"telemetry:meter"[..], &cbor[18..]].concat();
        Self { engine, key, client_id: "device-500".parse().unwrap(), json: json.into_bytes(), cbor, cwt, device_key }
    }

    fn answer(&self, format: Format) {
        let payload = match format {
            Format::Json => &self.json,
            Format::Cbor => &self.cbor,
        };
        self.answer_to(&self.client_id, format, payload);
    }

    /// A hundred requests by assertions that were never used, named by a word and the batch; if wanted, for sealed answers.
    fn assertions(&self, word: &str, batch: usize, seal: Option<EncryptionKey>) -> Vec<Vec<u8>> {
        let grant_type = (Param::GrantType, serde_cbor::Value::Integer(2));
        let bound =
            RequestDigest::of(Operation::Token, seal.map(|key| (Param::JweKey, key.jwk())).into_iter().chain([grant_type]).collect());
        let request = |number: usize| {
            let now = NOW.as_secs();
            let claims = serde_json::json!({
                "iss": SIGNER, "sub": SIGNER, "aud": "https://credgate.local", "iat": now, "exp": now + 60, "jti": format!("{word}-{batch}-{number}"),
                "rqh": bound.to_text(),
            });
            let assertion = jose::sign("JWT", &claims, &self.device_key).unwrap();
            let mut members = serde_json::json!({
                "grant_type": "client_credentials", "client_assertion_type": oauth::ASSERTION_TYPE, "client_assertion": assertion,
            });
            if let Some(key) = seal {
                members["jwe_key"] = serde_json::to_value(key.jwk()).unwrap();
            }
            members.to_string().into_bytes()
        };
        (0..BATCH).map(request).collect()
    }

    fn answer_to(&self, client_id: &ClientId, format: Format, payload: &[u8]) {
        let request =
            Request { client_id, operation: "token", format, payload, channel: Channel::Trusted, correlation_data: None, envelope: Ok(()) };
        let mut entropy = [0; 16];
        getrandom::fill(&mut entropy).unwrap();
        let reply = self.engine.handle(black_box(&request), NOW, entropy);
        assert!(black_box(reply).decision.is_accepted());
    }

    /// A message as long as the signing input of the token.
    fn sign(&self) {
        black_box(self.key.sign(black_box(&[b'x'; 420])));
    }
}

/// What is done between two looks at the clock.
const BATCH: usize = 100;

fn time(action: impl Fn(usize)) -> Duration {
    let started = Instant::now();
    for number in 0..BATCH {
        action(number);
    }
    started.elapsed()
}

/// Prints the ratio of two rates from batches that alternate.
fn report(what: &str, beside: &str, mut batch: impl FnMut(usize) -> (Duration, Duration)) {
    let ratio = |(bare, engine): (Duration, Duration)| bare.as_secs_f64() / engine.as_secs_f64() * 100.0;
    let mut ratios: Vec<f64> = (0..200).map(|number| ratio(batch(number))).collect();
    ratios.sort_by(f64::total_cmp);
    let [first, median, third] = [50, 100, 150].map(|index| ratios[index]);
    println!("{what}: {median:.1} % of the rate of {beside} (median of 200 alternating batches; quartiles {first:.1} and {third:.1})");
}

fn main() {
    let bench = Bench::new();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("bare signature", |b| b.iter(|| bench.sign()));
    criterion.bench_function("engine, JSON", |b| b.iter(|| bench.answer(Format::Json)));
    criterion.bench_function("engine, CBOR", |b| b.iter(|| bench.answer(Format::Cbor)));
    criterion.final_summary();

    for (name, format) in [("JSON", Format::Json), ("CBOR", Format::Cbor)] {
        let batch = |_| (time(|_| bench.sign()), time(|_| bench.answer(format)));
        report(&format!("engine, secret, {name}"), "a bare signature", batch);
    }
    report("engine, secret, CBOR, a CWT", "the engine making a JWT of the same claims", |_| {
        let jwt = time(|_| bench.answer_to(&bench.client_id, Format::Cbor, &bench.cbor));
        (jwt, time(|_| bench.answer_to(&bench.client_id, Format::Cbor, &bench.cwt)))
    });
    let signer: ClientId = SIGNER.parse().unwrap();
    let message = [b'x'; 300];
    let signature = ed25519_dalek::Signature::from_bytes(&bench.device_key.sign(&message));
    let verify = || {
        // As the engine must: from the 32 bytes of the registered key.
        let key = ed25519_dalek::VerifyingKey::from_bytes(black_box(bench.device_key.public().x())).unwrap();
        key.verify_strict(black_box(&message), &signature).unwrap();
    };
    report("engine, assertion, JSON", "a bare verification and a bare signature", |number| {
        let requests = bench.assertions("a", number, None);
        let bare = time(|_| {
            verify();
            bench.sign();
        });
        (bare, time(|index| bench.answer_to(&signer, Format::Json, &requests[index])))
    });
    report("engine, assertion, JSON, sealed", "the same not sealed", |number| {
        let [open, sealed] =
            [("o", None), ("s", Some(EncryptionKey::of(&Zeroizing::new([6; 32]))))].map(|(word, key)| bench.assertions(word, number, key));
        (
            time(|index| bench.answer_to(&signer, Format::Json, &open[index])),
            time(|index| bench.answer_to(&signer, Format::Json, &sealed[index])),
        )
    });
}
