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

use credgate::clients::{Channel, Client, ClientSecret, ClientStore};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Request, Settings};
use credgate::jose::{KeyRing, SigningKey};
use credgate::oauth::{ClientId, Format};
use credgate::policy::{Policy, PolicyStore, ResourceServer, Scope};
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
}

impl Bench {
    /// A gateway with 1,000 clients.
    fn new() -> Self {
        let server = ResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into(), NOW);
        let scope = Scope {
            name: "telemetry:write".parse().unwrap(),
            description: String::new(),
            resource_server: server.id.clone(),
            permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
            created_at: NOW,
            updated_at: NOW,
        };
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
        let clients = (0..1_000).map(|number| {
            let id: ClientId = format!("device-{number}").parse().unwrap();
            let client =
                Client { scope: "telemetry:write".parse().unwrap(), secrets: vec![record.clone()], ..Client::new(id.clone(), NOW) };
            (id, Arc::new(client))
        });
        let policy = Policy {
            resource_servers: [(server.id.clone(), Arc::new(server))].into(),
            scopes: [(scope.name.clone(), Arc::new(scope))].into(),
            ..Policy::default()
        };
        let store = Arc::new(Store { clients: RwLock::new(clients.collect()), policy: Arc::new(policy) });
        let key = Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32])));
        let settings =
            Settings { issuer: "https://credgate.local".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
        let engine = Engine::new(settings, store.clone(), store, KeyRing::new(key.clone(), Vec::new()));
        let secret = std::str::from_utf8(secret.expose()).unwrap();
        let json = format!(r#"{{"grant_type":"client_credentials","client_secret":"{secret}","scope":"telemetry:write"}}"#);
        let mut cbor = vec![0xa2, 0x09, 0x6f];
        cbor.extend(b"telemetry:write\x18\x19\x58\x2b");
        cbor.extend(secret.as_bytes());
        Self { engine, key, client_id: "device-500".parse().unwrap(), json: json.into_bytes(), cbor }
    }

    fn answer(&self, format: Format) {
        let payload = match format {
            Format::Json => &self.json,
            Format::Cbor => &self.cbor,
        };
        let request =
            Request { client_id: &self.client_id, operation: "token", format, payload, channel: Channel::Trusted, envelope: Ok(()) };
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

fn time(action: impl Fn()) -> Duration {
    let started = Instant::now();
    for _ in 0..100 {
        action();
    }
    started.elapsed()
}

fn main() {
    let bench = Bench::new();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("bare signature", |b| b.iter(|| bench.sign()));
    criterion.bench_function("engine, JSON", |b| b.iter(|| bench.answer(Format::Json)));
    criterion.bench_function("engine, CBOR", |b| b.iter(|| bench.answer(Format::Cbor)));
    criterion.final_summary();

    for (name, format) in [("JSON", Format::Json), ("CBOR", Format::Cbor)] {
        let mut ratios: Vec<f64> =
            (0..200).map(|_| time(|| bench.sign()).as_secs_f64() / time(|| bench.answer(format)).as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "engine, {name}: {:.1} % of the bare signing rate (median of 200 alternating batches; quartiles {:.1} and {:.1})",
            ratios[100] * 100.0,
            ratios[50] * 100.0,
            ratios[150] * 100.0
        );
    }
}
