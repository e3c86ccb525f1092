//! Golden tokens: one file for each dialect in each token format, byte for byte. Where one differs, what is made now is put beside the tests'
//! temporary files, to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use credgate::clients::{Channel, Client, ClientSecret, ClientStore};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Request, Settings};
use credgate::jose::cose::{Sign1, Typ};
use credgate::jose::{Algorithm, KeyRing, SigningKey, decode_unverified};
use credgate::oauth::{ClientId, Format};
use credgate::policy::{Dialect, Policy, PolicyStore, ResourceServer, Scope, TokenFormat};
use credgate::token::{self, Lifetimes};
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);
const ISSUER: &str = "https://as.example";

/// Every dialect, with an algorithm that its readers know for each format in which it can be.
fn combinations() -> Vec<(TokenFormat, Dialect, Algorithm)> {
    let rabbitmq = Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() };
    let mut all = Vec::new();
    for dialect in [Dialect::Oauth, Dialect::Aif, Dialect::Emqx, Dialect::MosquittoJwt, rabbitmq] {
        let algorithm = match dialect {
            Dialect::Oauth | Dialect::Rabbitmq { .. } => Algorithm::EdDsa,
            Dialect::Aif => Algorithm::Ed25519,
            Dialect::Emqx | Dialect::MosquittoJwt => Algorithm::Es256,
        };
        assert!(dialect.takes(algorithm));
        let formats =
            [(TokenFormat::Jwt, algorithm), (TokenFormat::Cwt, if dialect == Dialect::Oauth { Algorithm::Es256 } else { algorithm })];
        all.extend(formats.into_iter().filter(|(format, _)| dialect.fits(*format)).map(|(format, alg)| (format, dialect.clone(), alg)));
    }
    all
}

struct Registry {
    client: Arc<Client>,
    policy: Arc<Policy>,
}

impl ClientStore for Registry {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        Some(self.client.clone()).filter(|client| client.client_id == *id)
    }
}

impl PolicyStore for Registry {
    fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

/// The token that a client with attributes gets for such a resource server.
fn token(format: TokenFormat, dialect: &Dialect, alg: Algorithm) -> (Vec<u8>, KeyRing) {
    let server = ResourceServer {
        token_format: format,
        alg,
        dialect: dialect.clone(),
        ..ResourceServer::new("broker".parse().unwrap(), "mqtts://broker.example".into(), NOW)
    };
    let scope = |name: &str, permissions: &[&str]| Scope {
        permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
        ..Scope::new(name.parse().unwrap(), server.id.clone(), NOW)
    };
    let scopes = [
        scope("telemetry:write", &["pub {site}/{client_id}/#", "pub status"]),
        scope("command:read", &["sub {site}/{client_id}/#", "sub all/+/news"]),
    ];
    for permission in scopes.iter().flat_map(|scope| &scope.permissions) {
        dialect.check(permission).unwrap();
    }
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let client = Client {
        scope: "telemetry:write command:read".parse().unwrap(),
        secrets: vec![record],
        attributes: [("site".parse().unwrap(), "berlin".parse().unwrap())].into_iter().collect(),
        ..Client::new("dev1".parse().unwrap(), NOW)
    };
    let policy = Policy {
        resource_servers: [(server.id.clone(), Arc::new(server))].into(),
        scopes: scopes.map(|scope| (scope.name.clone(), Arc::new(scope))).into(),
        ..Policy::default()
    };
    let ed25519 = SigningKey::from_seed(&Zeroizing::new([9; 32]));
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([9; 32])).unwrap();
    let ring = KeyRing::new(Arc::new(ed25519), Vec::new()).with(KeyRing::new(Arc::new(p256), Vec::new()));
    let registry = Arc::new(Registry { client: Arc::new(client), policy: Arc::new(policy) });
    let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let engine = Engine::new(settings, registry.clone(), registry, ring.clone());
    let payload = serde_cbor::to_vec(&BTreeMap::from([(25, Cbor::Bytes(secret.expose().to_vec()))])).unwrap();
    let client_id = "dev1".parse().unwrap();
    let (operation, payload) = ("token", payload.as_slice());
    let request = Request {
        client_id: &client_id,
        operation,
        format: Format::Cbor,
        payload,
        channel: Channel::Trusted,
        correlation_data: None,
        envelope: Ok(()),
    };
    let answer: BTreeMap<i64, Cbor> = serde_cbor::from_slice(&engine.handle(&request, NOW, [3; 16]).payload).unwrap();
    let Cbor::Bytes(token) = &answer[&1] else { panic!("{answer:?}") };
    (token.clone(), ring)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A claims set in CBOR as JSON can show it: integer keys as text, bytes in hexadecimal.
fn shown(value: &Cbor) -> Value {
    match value {
        Cbor::Map(members) => {
            let name = |key: &Cbor| match key {
                Cbor::Integer(number) => number.to_string(),
                other => panic!("{other:?} as a key"),
            };
            Value::Object(members.iter().map(|(key, value)| (name(key), shown(value))).collect())
        }
        Cbor::Bytes(bytes) => json!({"hex": hex(bytes)}),
        Cbor::Text(text) => json!(text),
        Cbor::Integer(number) => json!(i64::try_from(*number).unwrap()),
        other => panic!("{other:?} in a token"),
    }
}

/// The token as it is and as people read it.
fn document(format: TokenFormat, bytes: &[u8]) -> Value {
    match format {
        TokenFormat::Jwt => {
            let text = std::str::from_utf8(bytes).unwrap();
            let (header, claims) = decode_unverified(text).unwrap();
            json!({"token": text, "header": header, "claims": claims})
        }
        TokenFormat::Cwt => {
            let signed = Sign1::parse(bytes).unwrap();
            assert!(signed.is_cwt() && signed.typ() == Some(&Typ::CWT));
            let claims: Cbor = serde_cbor::from_slice(signed.payload()).unwrap();
            let header = json!({"alg": signed.algorithm().number(), "kid": signed.kid(), "typ": 61});
            json!({"token": hex(bytes), "header": header, "claims": shown(&claims)})
        }
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokens")
}

#[test]
fn every_dialect_in_every_format_is_golden() {
    let mut differing = Vec::new();
    for (format, dialect, alg) in combinations() {
        let (bytes, keys) = token(format, &dialect, alg);
        let audience = Some("mqtts://broker.example");
        let verified = match format {
            TokenFormat::Jwt => token::verify(std::str::from_utf8(&bytes).unwrap(), ISSUER, audience, &keys.jwk_set(), NOW),
            TokenFormat::Cwt => token::verify_cwt(&bytes, ISSUER, audience, &keys.jwk_set(), NOW),
        };
        assert_eq!(verified.unwrap().sub, "dev1");
        let name = format!("{}-{}.json", format.as_str(), dialect.as_str());
        let made = serde_json::to_string_pretty(&document(format, &bytes)).unwrap() + "\n";
        if fs::read_to_string(directory().join(&name)).ok().as_ref() != Some(&made) {
            let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
            fs::write(&now, made).unwrap();
            differing.push(format!("tests/fixtures/tokens/{name} differs from {}", now.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn there_is_a_golden_token_for_each_and_no_other() {
    let mut expected: Vec<String> =
        combinations().iter().map(|(format, dialect, _)| format!("{}-{}.json", format.as_str(), dialect.as_str())).collect();
    expected.sort();
    assert_eq!(expected.len(), 7, "five dialects in JWTs, and two of them in CWTs");
    let mut found: Vec<String> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, expected);
}
