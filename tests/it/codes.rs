//! Every number on the wire against tests/fixtures/codes.json, and the vectors of the specifications: both are typed from the RFCs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::clients::Client;
use credgate::clock::UnixTime;
use credgate::jose::cose::{self, Sign1, Typ};
use credgate::jose::{Algorithm, CompactJws, Jwk, KeyType, SigningKey};
use credgate::oauth::{ErrorCode, Format, GrantType, Param, Reason, Refusal, Response, Table, TokenType, encode};
use credgate::policy::{Dialect, Permissions, TokenFormat, TopicPermission};
use serde_cbor::Value as Cbor;
use serde_json::Value;
use zeroize::Zeroizing;

type Codes = BTreeMap<String, i64>;

fn fixture(name: &str) -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers under all headings that begin so.
fn codes(heading: &str) -> Codes {
    let found: Vec<Codes> = fixture("codes.json")
        .into_iter()
        .filter(|(name, _)| name.ends_with(heading))
        .map(|(_, codes)| serde_json::from_value(codes).unwrap())
        .collect();
    assert!(!found.is_empty(), "{heading}");
    found.into_iter().flatten().collect()
}

/// The numbers that are ours.
fn private(what: &str) -> Codes {
    let all: Codes = serde_json::from_value(fixture("codes.json")[&format!("private use: {what}")].clone()).unwrap();
    // RFC 9200 section 8: integers below -65536 are for private use.
    assert!(all.values().all(|code| *code < -65_536), "{all:?}");
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn parameters_have_the_keys_of_the_registries() {
    let ours = private("parameters");
    for (table, heading) in [(Table::Token, "parameters of the token endpoint"), (Table::Introspection, "parameters of introspection")] {
        let registered = codes(heading);
        for param in Param::ALL {
            // A CWT names by `cti` what a JWT names by `jti`.
            let name = if *param == Param::Jti { "cti" } else { param.name() };
            let Some(key) = param.key(table) else { continue };
            // What a client authenticates with keeps its number of the token endpoint in introspection, which has no use for it.
            let borrowed = matches!(param, Param::ClientSecret | Param::State).then(|| codes("parameters of the token endpoint")[name]);
            let expected = registered.get(name).copied().or(ours.get(name).copied()).or(borrowed);
            assert_eq!(expected, Some(key), "{name} in {table:?}");
        }
    }
    let known: BTreeSet<&str> = Param::ALL.iter().filter(|param| param.key(Table::Token).is_some()).map(|param| param.name()).collect();
    assert!(ours.keys().all(|name| known.contains(name.as_str())), "private numbers that nothing has");
}

#[test]
fn words_have_the_numbers_of_the_registries() {
    let errors: Codes = codes("error codes");
    assert_eq!(errors, ErrorCode::ALL.iter().map(|code| (code.name().to_owned(), code.number())).collect::<Codes>());
    let ours: BTreeSet<String> = errors.iter().filter(|(_, number)| **number < 0).map(|(name, _)| name.clone()).collect();
    assert_eq!(ours, private("error codes").into_keys().collect::<BTreeSet<_>>());
    assert_eq!(codes("grant types"), GrantType::ALL.iter().map(|grant| (grant.name().to_owned(), grant.number())).collect::<Codes>());
    assert_eq!(codes("token types"), TokenType::ALL.iter().map(|kind| (kind.name().to_owned(), kind.number())).collect::<Codes>());
    let algorithms = Algorithm::NAMES.iter().map(|name| ((*name).to_owned(), Algorithm::from_name(name).unwrap().number()));
    assert_eq!(codes("algorithms"), algorithms.collect::<Codes>());
}

fn integer(number: i64) -> Cbor {
    Cbor::Integer(number.into())
}

#[test]
fn cose_keys_have_the_labels_of_the_registries() {
    let (common, own) = (codes("COSE_Key parameters"), codes("key parameters"));
    let (types, curves) = (codes("key types"), codes("curves"));
    let ed25519 = SigningKey::from_seed(&Zeroizing::new([1; 32]));
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap();
    for (key, kty, crv) in [(&ed25519, "OKP", "Ed25519"), (&p256, "EC2", "P-256")] {
        let public = key.public();
        let mut expected = BTreeMap::from([
            (integer(common["kty"]), integer(types[kty])),
            (integer(own["crv"]), integer(curves[crv])),
            (integer(own["x"]), Cbor::Bytes(public.x().to_vec())),
        ]);
        expected.extend(public.y().map(|y| (integer(own["y"]), Cbor::Bytes(y.to_vec()))));
        assert_eq!(cose::cose_key(public), Cbor::Map(expected.clone()));
        let with = |label: i64, value: Cbor| Cbor::Map(expected.clone().into_iter().chain([(integer(label), value)]).collect());
        assert_eq!(cose::jwk(&with(common["kid"], Cbor::Bytes(b"k1".to_vec()))).unwrap().kid(), "k1");
        assert!(cose::jwk(&with(own["d"], Cbor::Bytes(vec![1; 32]))).is_err(), "its private half");
        let foreign = if public.key_type() == KeyType::P256 { "EdDSA" } else { "ES256" };
        assert!(cose::jwk(&with(common["alg"], integer(codes("algorithms")[foreign]))).is_err());
    }
}

#[test]
fn signed_messages_have_the_tags_and_labels_of_the_registries() {
    let (tags, labels, algorithms) = (codes("tags"), codes("header parameters"), codes("algorithms"));
    let key = SigningKey::from_seed(&Zeroizing::new([1; 32]));
    for (name, algorithm) in [("EdDSA", Algorithm::EdDsa), ("Ed25519", Algorithm::Ed25519)] {
        let message = cose::sign1(algorithm, &Typ::CWT, true, b"\xa0", &key).unwrap();
        // RFC 8949 section 3: tags are of major type 6, their numbers behind 24 if they do not fit the first byte.
        let prefix = [0xd8, u8::try_from(tags["CWT"]).unwrap(), 0xc0 | u8::try_from(tags["COSE_Sign1"]).unwrap()];
        assert_eq!((&message[..3], hex(&message[..4]).as_str()), (&prefix[..], "d83dd284"));
        let parts: (serde_bytes::ByteBuf, Cbor, serde_bytes::ByteBuf, serde_bytes::ByteBuf) =
            serde_cbor::from_slice(&message[3..]).unwrap();
        let header: BTreeMap<i64, Cbor> = serde_cbor::from_slice(&parts.0).unwrap();
        let expected = BTreeMap::from([
            (labels["alg"], integer(algorithms[name])),
            (labels["kid"], Cbor::Bytes(key.kid().as_bytes().to_vec())),
            (labels["typ"], integer(codes("content formats")["application/cwt"])),
        ]);
        assert_eq!(header, expected);
    }
}

#[test]
fn cwts_have_the_claims_of_the_registries() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokens/cwt-oauth.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let claim = |name: &str| &golden["claims"][codes("CWT claims")[name].to_string()];
    assert_eq!((claim("iss"), claim("sub")), (&Value::from("https://as.example"), &Value::from("dev1")));
    assert_eq!((claim("aud"), claim("scope")), (&Value::from("mqtts://broker.example"), &Value::from("command:read telemetry:write")));
    let times = ["iat", "nbf", "exp"].map(|name| claim(name).as_u64().unwrap() - 1_795_383_984);
    assert_eq!((times, &claim("cti")["hex"]), ([0, 0, 300], &Value::from("03".repeat(16))));
    assert_eq!(golden["claims"].as_object().unwrap().len(), 8);
    // A token that is bound to a key, of the worked example in CBOR alone.
    let claims = crate::documents::blocks("docs/protocol.md", "## 8. A worked example in CBOR alone", "hex").pop().unwrap();
    let claims: BTreeMap<i64, Cbor> = serde_cbor::from_slice(&unhex(&claims.replace('\n', ""))).unwrap();
    let Cbor::Map(methods) = &claims[&codes("CWT claims")["cnf"]] else { panic!("{claims:?}") };
    assert!(cose::jwk(&methods[&integer(codes("confirmation methods")["COSE_Key"])]).is_ok());
}

#[test]
fn the_vectors_of_the_specifications_hold() {
    let vectors = fixture("vectors.json");
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_else(|| panic!("{name} of {of}")).to_owned();

    let error = &vectors["RFC 9200 section 5.8.3: an error alone"];
    let refusal = Refusal::new(ErrorCode::from_name(&text(error, "error")).unwrap(), Reason::WrongSecret, "");
    assert_eq!(hex(&encode(Format::Cbor, Table::Token, Response::Error(&refusal), None)), text(error, "cbor"));

    let a3 = &vectors["RFC 8037 appendix A.3"];
    let key: Jwk = serde_json::from_value(a3["jwk"].clone()).unwrap();
    assert_eq!((key.thumbprint(), key.kid()), (text(a3, "thumbprint"), text(a3, "thumbprint").as_str()));

    let a4 = &vectors["RFC 8037 appendix A.4"];
    let (signed, jws) = (text(a4, "jws"), text(a4, "jws"));
    assert!(CompactJws::parse(&signed).unwrap().verify(&key));
    let seed = URL_SAFE_NO_PAD.decode(text(a4, "d")).unwrap();
    let signing = SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap()));
    let (input, signature) = jws.rsplit_once('.').unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(signing.sign(input.as_bytes())), signature);

    let cwt = &vectors["RFC 8392 appendix A"];
    let coordinate = |name: &str| unhex(cwt["key"][name].as_str().unwrap()).try_into().unwrap();
    let parsed = Sign1::parse(&unhex(&text(cwt, "signed CWT"))).unwrap();
    assert!(parsed.verify(&Jwk::p256(&coordinate("x"), &coordinate("y"))));
    let claims: BTreeMap<i64, Cbor> = serde_cbor::from_slice(parsed.payload()).unwrap();
    for (name, value) in cwt["claims"].as_object().unwrap() {
        let expected = match (name.as_str(), value) {
            ("cti", Value::String(bytes)) => Cbor::Bytes(unhex(bytes)),
            (_, Value::String(text)) => Cbor::Text(text.clone()),
            (_, number) => integer(number.as_i64().unwrap()),
        };
        assert_eq!(claims[&codes("CWT claims")[name]], expected, "{name}");
    }

    let aif = &vectors["RFC 9431 section 2.3"];
    let permissions: Vec<TopicPermission> = serde_json::from_value(aif["permissions"].clone()).unwrap();
    let client = Client::new("dev1".parse().unwrap(), UnixTime::from_secs(0));
    let permissions = Permissions::compile(&permissions, &client).unwrap();
    let scope = "any".parse().unwrap();
    let written = |format| Dialect::Aif.encode(format, &client.client_id, &scope, &permissions);
    assert_eq!(written(TokenFormat::Jwt).scope, text(aif, "base64url of JSON"));
    assert_eq!(hex(&written(TokenFormat::Cwt).aif.unwrap()), text(aif, "cbor"));
}
