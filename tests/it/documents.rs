//! What the documents show is what happens.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::clients::{
    Assertions, AuthMethod, Channel, Client, ClientKey, ClientSecret, ClientStore, CredentialId, CredentialStore, CredentialWish,
    NewCredential, Rotated, RotationFailure, RotationRule, SecretDigest,
};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Request, Settings};
use credgate::enrolment::{
    self, AdmittedDevice, ClientIdPattern, EnrolledClient, Enrolment, EnrolmentFailure, EnrolmentStore, TokenDigest,
};
use credgate::jose::cose::{self, Sign1, Typ};
use credgate::jose::{Algorithm, KeyRing, SigningKey, decode_unverified};
use credgate::oauth::{ClientId, EnrolmentId, Format, Secret};
use credgate::policy::{Dialect, Policy, PolicyStore, ResourceServer, Scope, TokenFormat};
use credgate::token::{Lifetimes, NotKept, RevocationState, RevocationStore, Revocations, RevokedToken};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

const SECOND_EXAMPLE: &str = "## 7. A worked example with an assertion";
const CBOR_EXAMPLE: &str = "## 8. A worked example in CBOR alone";
const ROTATION_EXAMPLE: &str = "## 9. A worked example of a rotation";
const REVOCATION: &str = "## 10. Introspection and revocation";
const LIST: &str = "## 11. The revocation list";
const REGISTRATION_EXAMPLE: &str = "## 12. A worked example of a registration";

/// The registry of the examples: what was rotated, and else what they say.
#[derive(Default)]
struct Example {
    rotated: Mutex<Vec<Arc<Client>>>,
}

impl CredentialStore for Example {
    fn rotate(
        &self,
        id: &ClientId,
        by: CredentialId,
        wish: CredentialWish,
        rule: RotationRule,
        now: UnixTime,
    ) -> Result<Rotated, RotationFailure> {
        let (new, secret) = match wish {
            CredentialWish::Key(jwk) => (NewCredential::Key(ClientKey::new(jwk, now)), None),
            CredentialWish::Secret => {
                let (record, secret) = ClientSecret::generate(&Zeroizing::new([4; 32]), now);
                (NewCredential::Secret(record), Some(secret))
            }
        };
        let mut client = Client::clone(&self.client(id).unwrap());
        client.rotate(Some(by), new, rule, now).map_err(RotationFailure::Refused)?;
        let client = Arc::new(client);
        self.rotated.lock().unwrap().insert(0, client.clone());
        Ok(Rotated { client, secret })
    }
}

/// The token of the enrolment `e1`: for 7 days, its random bytes thirty-two times `05`.
fn enrolment_token() -> String {
    let (id, end) = ("e1".parse().unwrap(), NOW.saturating_add(604_800));
    let token = enrolment::issue("https://as.example", &id, &Zeroizing::new([5; 32]), NOW, end, &as_key()).unwrap();
    String::from_utf8(token.expose().to_vec()).unwrap()
}

impl EnrolmentStore for Example {
    fn enrolment(&self, id: &EnrolmentId) -> Option<Arc<Enrolment>> {
        let enrolment = Enrolment {
            id: "e1".parse().unwrap(),
            description: String::new(),
            template: "pump".parse().unwrap(),
            uses: 2,
            used: 0,
            is_limited: false,
            expires_at: NOW.saturating_add(604_800),
            revoked_at: None,
            digest: TokenDigest::of(enrolment_token().as_bytes()),
            created_at: NOW,
        };
        (*id == enrolment.id).then(|| Arc::new(enrolment))
    }

    fn enrol(&self, device: &AdmittedDevice, now: UnixTime) -> Result<EnrolledClient, EnrolmentFailure> {
        let pattern: ClientIdPattern = "pump-{serial}".parse().unwrap();
        let client_id = pattern.fill(device.ask().serial_number.as_ref(), &[0; 16]).unwrap();
        let client = Client { scope: "telemetry:write".parse().unwrap(), ..Client::new(client_id, now) };
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([6; 32]), now);
        Ok(match device.key() {
            None => EnrolledClient { client: Arc::new(Client { secrets: vec![record], ..client }), secret: Some(secret), again: false },
            Some(key) => {
                let (jwks, token_endpoint_auth_method) = (vec![ClientKey::new(key.clone(), now)], AuthMethod::PrivateKeyJwt);
                EnrolledClient { client: Arc::new(Client { jwks, token_endpoint_auth_method, ..client }), secret: None, again: false }
            }
        })
    }
}

impl ClientStore for Example {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        if let Some(rotated) = self.rotated.lock().unwrap().iter().find(|client| client.client_id == *id) {
            return Some(rotated.clone());
        }
        let digest = SecretDigest::of(&Secret::new(b"s3cr3t".to_vec()));
        let client = Client {
            scope: "telemetry:write".parse().unwrap(),
            secrets: vec![ClientSecret { digest, created_at: NOW, not_before: None, expires_at: None }],
            ..Client::new("dev1".parse().unwrap(), NOW)
        };
        // The second key of RFC 8032 section 7.1.
        let key = Client {
            client_id: "dev2".parse().unwrap(),
            token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
            scope: "telemetry:write meter:use".parse().unwrap(),
            secrets: Vec::new(),
            jwks: vec![ClientKey::new(serde_json::from_str(&blocks("docs/protocol.md", SECOND_EXAMPLE, "json")[0]).unwrap(), NOW)],
            ..client.clone()
        };
        let checker = Client {
            client_id: "checker".parse().unwrap(),
            introspects: ["telemetry", "meter"].map(|id| id.parse().unwrap()).into(),
            ..client.clone()
        };
        [client, key, checker].into_iter().find(|client| *id == client.client_id).map(Arc::new)
    }
}

impl PolicyStore for Example {
    fn policy(&self) -> Arc<Policy> {
        let server = ResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into(), NOW);
        let scope = Scope {
            permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
            ..Scope::new("telemetry:write".parse().unwrap(), server.id.clone(), NOW)
        };
        let meter = ResourceServer {
            token_format: TokenFormat::Cwt,
            alg: Algorithm::Ed25519,
            dialect: Dialect::Aif,
            ..ResourceServer::new("meter".parse().unwrap(), "urn:meter".into(), NOW)
        };
        let permissions = vec!["pub m/{client_id}".parse().unwrap()];
        let meter_use = Scope { permissions, ..Scope::new("meter:use".parse().unwrap(), meter.id.clone(), NOW) };
        Arc::new(Policy {
            resource_servers: [server, meter].map(|server| (server.id.clone(), Arc::new(server))).into(),
            scopes: [scope, meter_use].map(|scope| (scope.name.clone(), Arc::new(scope))).into(),
            ..Policy::default()
        })
    }
}

/// The gateway's key: that of RFC 8037 appendix A.1.
fn as_key() -> Arc<SigningKey> {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    Arc::new(SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap())))
}

fn engine() -> Engine {
    let settings =
        Settings { issuer: "https://as.example".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let assertions = Assertions::new("https://as.example".into(), UnixTime::from_secs(1), 1_024, Zeroizing::new([1; 32]));
    let example = Arc::new(Example::default());
    Engine::new(settings, example.clone(), example.clone(), KeyRing::new(as_key(), Vec::new()))
        .with_assertions(assertions)
        .with_self_service(example.clone(), RotationRule::default())
        .with_enrolments(example)
}

fn answer(format: Format, payload: &[u8]) -> Vec<u8> {
    answer_of(&engine(), "dev1", format, payload)
}

fn answer_of(engine: &Engine, client_id: &str, format: Format, payload: &[u8]) -> Vec<u8> {
    answer_on(engine, client_id, "token", format, payload)
}

fn answer_on(engine: &Engine, client_id: &str, operation: &str, format: Format, payload: &[u8]) -> Vec<u8> {
    let client_id = client_id.parse().unwrap();
    let request =
        Request { client_id: &client_id, operation, format, payload, channel: Channel::Trusted, correlation_data: None, envelope: Ok(()) };
    engine.handle(&request, NOW, [3; 16]).payload
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The fenced blocks of a language below a heading.
pub fn blocks(document: &str, heading: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let section = text.split(heading).nth(1).unwrap_or_else(|| panic!("{document} has {heading}")).split("\n## ").next().unwrap();
    section.split(&format!("```{language}\n")).skip(1).map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_worked_example_of_the_protocol_holds() {
    let json = blocks("docs/protocol.md", "## 6. A worked example", "json");
    let cbor = blocks("docs/protocol.md", "## 6. A worked example", "hex");
    let [request, accepted, header, claims, rejected] = json.as_slice() else { panic!("five JSON blocks, not {}", json.len()) };
    let answer_json = String::from_utf8(answer(Format::Json, request.as_bytes())).unwrap();
    assert_eq!(&answer_json, accepted);
    let token = serde_json::from_str::<serde_json::Value>(&answer_json).unwrap()["access_token"].as_str().unwrap().to_owned();
    let (found_header, found_claims) = decode_unverified(&token).unwrap();
    assert_eq!(found_header, serde_json::from_str::<serde_json::Value>(header).unwrap());
    assert_eq!(found_claims, serde_json::from_str::<serde_json::Value>(claims).unwrap());
    let wrong = request.replace("s3cr3t", "wrong");
    assert_eq!(&String::from_utf8(answer(Format::Json, wrong.as_bytes())).unwrap(), rejected);

    let [request, accepted, rejected] = cbor.as_slice() else { panic!("three hex blocks, not {}", cbor.len()) };
    assert_eq!(hex(&answer(Format::Cbor, &unhex(request))), hex(&unhex(accepted)));
    let wrong = unhex(&hex(&unhex(request)).replace(&hex(b"s3cr3t"), &hex(b"wrong!")));
    assert_eq!(hex(&answer(Format::Cbor, &wrong)), hex(&unhex(rejected)));
}

#[test]
fn the_worked_example_with_an_assertion_holds() {
    let json = blocks("docs/protocol.md", SECOND_EXAMPLE, "json");
    let cbor = blocks("docs/protocol.md", SECOND_EXAMPLE, "hex");
    let [_, header, claims, request, accepted, rejected] = json.as_slice() else { panic!("six JSON blocks, not {}", json.len()) };
    let members: serde_json::Value = serde_json::from_str(request).unwrap();
    let (found_header, found_claims) = decode_unverified(members["client_assertion"].as_str().unwrap()).unwrap();
    assert_eq!(found_header, serde_json::from_str::<serde_json::Value>(header).unwrap());
    assert_eq!(found_claims, serde_json::from_str::<serde_json::Value>(claims).unwrap());
    let engine_of_json = engine();
    let answered = |payload: &str| String::from_utf8(answer_of(&engine_of_json, "dev2", Format::Json, payload.as_bytes())).unwrap();
    assert_eq!(&answered(request), accepted);
    assert_eq!(&answered(request), accepted, "delivered twice");
    assert_eq!(&answered(&request.replace("\"scope\":\"telemetry:write\",", "")), rejected);

    let token = serde_json::from_str::<serde_json::Value>(accepted).unwrap()["access_token"].as_str().unwrap().to_owned();
    let answer = hex(&answer_of(&engine(), "dev2", Format::Cbor, &unhex(&cbor[0])));
    assert!(answer.contains(&hex(token.as_bytes())), "{answer}");
}

/// The key of `dev2`: the second of RFC 8032 section 7.1.
fn device_key() -> SigningKey {
    let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap()))
}

#[test]
fn the_worked_example_in_cbor_alone_holds() {
    use credgate::oauth::{Operation, Param, RequestDigest};
    use serde_cbor::Value;
    let blocks = blocks("docs/protocol.md", CBOR_EXAMPLE, "hex");
    let [assertion, request, accepted, claims] = blocks.as_slice() else { panic!("four hex blocks, not {}", blocks.len()) };
    let key = device_key();
    let req_cnf = Value::Map([(Value::Integer(1), cose::cose_key(key.public()))].into());
    let bound = [(Param::ReqCnf, req_cnf.clone()), (Param::Scope, Value::Text("meter:use".into())), (Param::GrantType, Value::Integer(2))];
    let digest = RequestDigest::of(Operation::Token, bound.into());
    let text = |text: &str| Value::Text(text.into());
    let members: std::collections::BTreeMap<i64, Value> = [
        (1, text("dev2")),
        (2, text("dev2")),
        (3, text("https://as.example")),
        (4, Value::Integer(1_795_384_044)),
        (6, Value::Integer(1_795_383_984)),
        (7, Value::Bytes(vec![1])),
        (-65_537, Value::Bytes(digest.as_bytes().to_vec())),
    ]
    .into();
    // The order of the keys is that of their encodings: the negative one comes last.
    let payload =
        serde_cbor::to_vec(&Value::Map(members.into_iter().map(|(label, value)| (Value::Integer(label.into()), value)).collect()));
    let made = cose::sign1(Algorithm::EdDsa, &Typ::CWT, false, &payload.unwrap(), &key).unwrap();
    assert_eq!(hex(&made), hex(&unhex(assertion)));
    let whole = Value::Map(
        [(Value::Integer(4), req_cnf), (Value::Integer(9), text("meter:use")), (Value::Integer(-65_537), Value::Bytes(made))].into(),
    );
    assert_eq!(hex(&serde_cbor::to_vec(&whole).unwrap()), hex(&unhex(request)));
    let answer = answer_of(&engine(), "dev2", Format::Cbor, &unhex(request));
    assert_eq!(hex(&answer), hex(&unhex(accepted)));
    let answer: std::collections::BTreeMap<i64, Value> = serde_cbor::from_slice(&answer).unwrap();
    let Value::Bytes(token) = &answer[&1] else { panic!("{answer:?}") };
    assert_eq!(hex(Sign1::parse(token).unwrap().payload()), hex(&unhex(claims)));
}

#[test]
fn the_worked_example_of_a_rotation_holds() {
    let (json, cbor) = (blocks("docs/protocol.md", ROTATION_EXAMPLE, "json"), blocks("docs/protocol.md", ROTATION_EXAMPLE, "hex"));
    let [by_secret, secret, claims, by_key, key, known] = json.as_slice() else { panic!("six JSON blocks, not {}", json.len()) };
    let [by_secret_cbor, secret_cbor, by_key_cbor, key_cbor] = cbor.as_slice() else { panic!("four hex blocks, not {}", cbor.len()) };
    let told = |engine: &Engine, client_id: &str, request: &str| {
        String::from_utf8(answer_on(engine, client_id, "credential", Format::Json, request.as_bytes())).unwrap()
    };
    let told_cbor = |client_id: &str, request: &str| hex(&answer_on(&engine(), client_id, "credential", Format::Cbor, &unhex(request)));
    let engine = engine();
    assert_eq!(&told(&engine, "dev1", by_secret), secret);
    assert_eq!(&told(&engine, "dev1", by_secret), secret, "delivered twice");
    assert_eq!(told_cbor("dev1", by_secret_cbor), hex(&unhex(secret_cbor)));

    let members: serde_json::Value = serde_json::from_str(by_key).unwrap();
    let (_, found_claims) = decode_unverified(members["client_assertion"].as_str().unwrap()).unwrap();
    assert_eq!(found_claims, serde_json::from_str::<serde_json::Value>(claims).unwrap());
    assert_eq!(&told(&engine, "dev2", by_key), key);
    assert_eq!(&told(&engine, "dev2", by_key), key, "delivered twice");
    assert_eq!(told_cbor("dev2", by_key_cbor), hex(&unhex(key_cbor)));
    let by_itself = members["jwk"].to_string();
    let assertion = third_key_signs(&found_claims, &by_itself);
    let again = by_key.replace(members["client_assertion"].as_str().unwrap(), &assertion);
    assert_eq!(&told(&engine, "dev2", &again), known);
    // What is hashed for the binding stands in the text.
    let section = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap();
    let hashed = section.split(ROTATION_EXAMPLE).nth(1).unwrap().split("SHA-256 of `").nth(1).unwrap().split('`').next().unwrap();
    assert_eq!(found_claims["rqh"], URL_SAFE_NO_PAD.encode(Sha256::digest(unhex(hashed))));
}

/// The same claims, but for `jti`, by the third key of RFC 8032 section 7.1, which `jwk` is.
fn third_key_signs(claims: &serde_json::Value, jwk: &str) -> String {
    let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    let key = SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap()));
    assert_eq!(serde_json::from_str::<credgate::jose::Jwk>(jwk).unwrap().thumbprint(), key.public().thumbprint());
    let mut claims = claims.clone();
    claims["jti"] = "2".into();
    credgate::jose::sign("JWT", &claims, &Arc::new(key)).unwrap()
}

/// Revocations in memory.
#[derive(Default)]
struct Revoked(Mutex<Vec<Arc<Revocations>>>);

impl Revoked {
    fn change(&self, client_id: &ClientId, change: impl FnOnce(&mut Revocations)) {
        let mut revocations = Revocations::none(client_id.clone());
        change(&mut revocations);
        self.0.lock().unwrap().push(Arc::new(revocations));
    }
}

impl RevocationStore for Revoked {
    fn revocations(&self, client_id: &ClientId) -> Option<Arc<Revocations>> {
        self.0.lock().unwrap().iter().find(|found| found.client_id == *client_id).cloned()
    }

    fn revocation_state(&self) -> RevocationState {
        let sequence = NOW.saturating_add(1).as_secs();
        RevocationState { sequence, clients: self.0.lock().unwrap().clone(), removed: Vec::new() }
    }

    fn revoke(&self, client_id: &ClientId, token: RevokedToken, now: UnixTime) -> Result<(), NotKept> {
        self.change(client_id, |revocations| revocations.revoke(token, now));
        Ok(())
    }
}

#[test]
fn the_worked_examples_of_revocation_hold() {
    let blocks = |heading, language| blocks("docs/protocol.md", heading, language);
    let (json, cbor) = (blocks(REVOCATION, "json"), blocks(REVOCATION, "hex"));
    let (texts, list_json, list_cbor) = (blocks(LIST, "text"), blocks(LIST, "json"), blocks(LIST, "hex"));
    let revoked = Arc::new(Revoked::default());
    let engine = engine().with_revocations(revoked.clone());
    let in_json = |client_id, operation, payload: &str| {
        String::from_utf8(answer_on(&engine, client_id, operation, Format::Json, payload.as_bytes())).unwrap()
    };
    let in_cbor = |client_id, operation, payload: &str| hex(&answer_on(&engine, client_id, operation, Format::Cbor, &unhex(payload)));
    let told = [in_json("checker", "introspect", &json[0]), in_cbor("checker", "introspect", &cbor[0])];
    let done = in_json("dev1", "revoke", &json[2]);
    let after = in_json("checker", "introspect", &json[0]);
    let again = in_cbor("dev1", "revoke", &cbor[2]);
    revoked.change(&"dev2".parse().unwrap(), |revocations| revocations.cut_off(NOW.saturating_add(1)));
    let (lists, _) = engine.revocation_lists(NOW, 49_152);
    let signed: Vec<_> = lists.iter().map(|(server, list)| engine.sign_list(server, list).unwrap().payload).collect();
    let [meter, telemetry] = signed.as_slice() else { panic!("{} lists", signed.len()) };
    let telemetry = String::from_utf8(telemetry.clone()).unwrap();
    let (header, claims) = decode_unverified(&telemetry).unwrap();
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let found = [
        vec![told[0].clone(), told[1].clone(), done, after, again, telemetry, hex(Sign1::parse(meter).unwrap().payload())],
        vec![header.to_string(), claims.to_string()],
    ];
    let shown = [
        vec![
            json[1].clone(),
            cbor[1].split_whitespace().collect(),
            json[3].clone(),
            json[4].clone(),
            cbor[3].clone(),
            texts[0].clone(),
            list_cbor[0].split_whitespace().collect(),
        ],
        vec![value(&list_json[0]).to_string(), value(&list_json[1]).to_string()],
    ];
    assert_eq!(found, shown);
}

#[test]
fn the_worked_example_of_a_registration_holds() {
    let (json, cbor) = (blocks("docs/protocol.md", REGISTRATION_EXAMPLE, "json"), blocks("docs/protocol.md", REGISTRATION_EXAMPLE, "hex"));
    let [header, claims, by_token, secret, by_mac, key, refused] = json.as_slice() else { panic!("seven JSON blocks, not {}", json.len()) };
    let [by_token_cbor, secret_cbor, by_mac_cbor, key_cbor] = cbor.as_slice() else { panic!("four hex blocks, not {}", cbor.len()) };
    let told = |engine: &Engine, request: &str| {
        String::from_utf8(answer_on(engine, "unit-4f2a", "register", Format::Json, request.as_bytes())).unwrap()
    };
    let told_cbor = |request: &str| hex(&answer_on(&engine(), "unit-4f2a", "register", Format::Cbor, &unhex(request)));
    let engine = engine();
    let members: serde_json::Value = serde_json::from_str(by_token).unwrap();
    assert_eq!(members["initial_access_token"], enrolment_token());
    let (found_header, found_claims) = decode_unverified(&enrolment_token()).unwrap();
    assert_eq!(found_header, serde_json::from_str::<serde_json::Value>(header).unwrap());
    assert_eq!(found_claims, serde_json::from_str::<serde_json::Value>(claims).unwrap());
    assert_eq!(&told(&engine, by_token), secret);
    assert_eq!(&told(&engine, by_token), secret, "delivered twice");
    assert_eq!(told_cbor(by_token_cbor), hex(&unhex(secret_cbor)));
    assert_eq!(&told(&engine, by_mac), key);
    assert_eq!(told_cbor(by_mac_cbor), hex(&unhex(key_cbor)));
    assert_eq!(&told(&engine, &by_mac.replace("\"18\"", "\"19\"")), refused, "the broker changed the serial number");
    // What the MAC is of stands in the text.
    let section = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap();
    let hashed = section.split(REGISTRATION_EXAMPLE).nth(1).unwrap().split("SHA-256 of `").nth(1).unwrap().split('`').next().unwrap();
    let mut mac = <hmac::Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&Sha256::digest(enrolment_token())).unwrap();
    hmac::Mac::update(&mut mac, &Sha256::digest(unhex(hashed)));
    let members: serde_json::Value = serde_json::from_str(by_mac).unwrap();
    assert_eq!(members["enrolment_mac"], URL_SAFE_NO_PAD.encode(hmac::Mac::finalize(mac).into_bytes()));
}

#[test]
fn the_worked_example_with_a_nonce_holds() {
    const NONCE_EXAMPLE: &str = "## 13. A worked example with a nonce";
    let (json, cbor) = (blocks("docs/protocol.md", NONCE_EXAMPLE, "json"), blocks("docs/protocol.md", NONCE_EXAMPLE, "hex"));
    let [ask, given, claims, request, accepted] = json.as_slice() else { panic!("five JSON blocks, not {}", json.len()) };
    let engine = engine();
    let nonce = |format, payload: &[u8]| answer_on(&engine, "dev2", "nonce", format, payload);
    assert_eq!(&String::from_utf8(nonce(Format::Json, ask.as_bytes())).unwrap(), given);
    let [ask, given_in_cbor] = cbor.as_slice() else { panic!("two hex blocks, not {}", cbor.len()) };
    assert_eq!(hex(&nonce(Format::Cbor, &unhex(ask))), hex(&unhex(given_in_cbor)));

    let claims: serde_json::Value = serde_json::from_str(claims).unwrap();
    assert_eq!(claims["nonce"], serde_json::from_str::<serde_json::Value>(given).unwrap()["cnonce"]);
    let members: serde_json::Value = serde_json::from_str(request).unwrap();
    assert_eq!(decode_unverified(members["client_assertion"].as_str().unwrap()).unwrap().1, claims);
    assert_eq!(&String::from_utf8(answer_on(&engine, "dev2", "token", Format::Json, request.as_bytes())).unwrap(), accepted);
}

/// Blocks of shell within a chapter of docs/operations.md, each with the line above it.
fn commands(chapter: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let chapter =
        text.split(&format!("\n## {chapter}\n")).nth(1).unwrap_or_else(|| panic!("a chapter {chapter}")).split("\n## ").next().unwrap();
    let mut parts = chapter.split("\n```sh\n");
    let mut above = parts.next().unwrap().to_owned();
    let mut found = Vec::new();
    for part in parts {
        let (block, after) = part.split_once("\n```").unwrap();
        found.push((above.lines().next_back().unwrap_or_default().to_owned(), block.to_owned()));
        after.clone_into(&mut above);
    }
    found
}

#[test]
fn every_command_for_a_raspberry_pi_is_run_by_the_test_of_the_package() {
    let life = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/package/life")).unwrap();
    let is_run =
        |name: &str| life.lines().any(|line| line.trim().strip_prefix("documented ").and_then(|rest| rest.split(' ').next()) == Some(name));
    for chapter in ["On a Raspberry Pi", "Under systemd"] {
        let found = commands(chapter);
        assert!(!found.is_empty(), "{chapter}");
        for (above, block) in found {
            let name = above.strip_prefix("<!-- test: ").and_then(|rest| rest.split(' ').next());
            let name = name.unwrap_or_else(|| panic!("no `<!-- test: NAME -->` stands above this block, and so nothing runs it:\n{block}"));
            assert!(is_run(name), "tests/package/life does not run {name}");
        }
    }
    let all = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    for name in all.split("\n<!-- test: ").skip(1).filter_map(|rest| rest.split(' ').next()) {
        assert!(is_run(name), "tests/package/life does not run {name}");
    }
}

#[test]
fn the_debian_changelog_begins_with_this_version() {
    let changelog = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/debian/changelog")).unwrap();
    let expected = format!("credgate ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&expected), "begin systemd/debian/changelog with `{expected}`");
}
