//! Tokens of both forms, made and checked.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::jose::{Algorithm, SigningKey};

const ISSUER: &str = "https://as.example";
const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

fn keys() -> (Arc<SigningKey>, Arc<SigningKey>, JwkSet) {
    let ed25519 = Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32])));
    let p256 = Arc::new(SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap());
    let set = JwkSet { keys: vec![ed25519.public().clone(), p256.public().clone()] };
    (ed25519, p256, set)
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "dev1".into(),
        client_id: "dev1".into(),
        aud: "urn:rs".into(),
        iat: NOW,
        nbf: NOW,
        exp: NOW.saturating_add(300),
        exi: None,
        jti: URL_SAFE_NO_PAD.encode([3; 16]),
        scope: "a b".into(),
        cnf: None,
        acl: None,
        publ: None,
        subs: None,
    }
}

fn cwt(claims: &Claims, aif: Option<&[u8]>, algorithm: Algorithm, key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(cose::sign1(algorithm, &Typ::CWT, true, &cwt::encode(claims, aif), key).unwrap())
}

fn verdict(token: &str) -> Result<Claims, JwtError> {
    verify(token, ISSUER, Some("urn:rs"), &keys().2, NOW)
}

#[test]
fn a_cwt_has_the_claims_of_a_jwt_in_order() {
    let (ed25519, p256, _) = keys();
    for (algorithm, key) in [(Algorithm::EdDsa, &ed25519), (Algorithm::Ed25519, &ed25519), (Algorithm::Es256, &p256)] {
        let confirmed = Claims { cnf: Some(Confirmation { jwk: p256.public().clone() }), ..claims() };
        for claims in [claims(), confirmed] {
            let token = cwt(&claims, None, algorithm, key);
            assert_eq!(verdict(&token), Ok(claims.clone()));
            let (header, shown) = decode_unverified(&token).unwrap();
            assert_eq!((&header["alg"], &header["typ"]), (&algorithm.name().into(), &"application/cwt".into()));
            assert_eq!(serde_json::from_value::<Claims>(shown).unwrap(), claims);
        }
    }
    // {1: iss, 2: sub, 3: aud, 4: exp, 5: nbf, 6: iat, 7: cti, 9: scope}
    let hex: String = cwt::encode(&claims(), None).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(hex.starts_with("a80172") && hex.contains("0264646576310366") && hex.ends_with("0963612062"), "{hex}");
    assert!(hex.contains("041a6b036"), "{hex}");
}

#[test]
fn a_scope_in_bytes_is_shown_in_base64url() {
    let aif = b"\x80".as_slice();
    let token = cwt(&Claims { scope: URL_SAFE_NO_PAD.encode(aif), ..claims() }, Some(aif), Algorithm::EdDsa, &keys().0);
    assert_eq!(verdict(&token).unwrap().scope, "gA");
}

#[test]
fn a_confirmation_in_a_jwt_has_the_bare_key() {
    let (ed25519, _, _) = keys();
    let confirmed = Claims { cnf: Some(Confirmation { jwk: ed25519.public().clone() }), ..claims() };
    let token = jose::sign(ACCESS_TOKEN_TYP, &confirmed, &ed25519).unwrap();
    assert_eq!(verdict(&token), Ok(confirmed));
    let shown = decode_unverified(&token).unwrap().1;
    let names: Vec<_> = shown["cnf"]["jwk"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["crv", "kty", "x"]);
}

#[test]
fn deny_cwts_that_do_not_hold() {
    let (ed25519, _, _) = keys();
    let make = |claims: Claims| cwt(&claims, None, Algorithm::EdDsa, &ed25519);
    assert!(verdict(&make(claims())).is_ok());
    for (token, told) in [
        (make(Claims { iss: "https://other".into(), ..claims() }), "the token is not valid: it has another issuer"),
        (make(Claims { aud: "urn:other".into(), ..claims() }), "the token is not valid: it is for another audience"),
        (make(Claims { exp: NOW, ..claims() }), "the token is not valid: it has expired"),
        (make(Claims { nbf: NOW.saturating_add(1), ..claims() }), "the token is not valid: it is not valid yet"),
        ("AA".into(), "the token is neither a JWT nor a CWT"),
        ("!".into(), "the token is neither a JWT nor a CWT"),
        (String::new(), "the token is neither a JWT nor a CWT"),
    ] {
        assert_eq!(verdict(&token).unwrap_err().to_string(), told);
    }
    let forged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = URL_SAFE_NO_PAD.decode(make(claims())).unwrap();
        change(&mut bytes);
        verdict(&URL_SAFE_NO_PAD.encode(bytes))
    };
    assert_eq!(
        forged(&|bytes| *bytes.last_mut().unwrap() ^= 1).unwrap_err().to_string(),
        "the token is not valid: its signature does not verify"
    );
    // Not tagged as a CWT: what else the same key signs, such as a revocation list, is no token.
    assert!(matches!(forged(&|bytes| drop(bytes.drain(..2))), Err(JwtError::Malformed)));
    let payload = cwt::encode(&claims(), None);
    let other = cose::sign1(Algorithm::EdDsa, &Typ::Name("application/other".into()), true, &payload, &ed25519).unwrap();
    assert!(matches!(verdict(&URL_SAFE_NO_PAD.encode(other)), Err(JwtError::Header(_))));
    let stranger = SigningKey::from_seed(&Zeroizing::new([9; 32]));
    assert!(matches!(verdict(&cwt(&claims(), None, Algorithm::EdDsa, &stranger)), Err(JwtError::UnknownKey(_))));
    for payload in ["a0", "80", "a10163616263", "a201616101 6162"] {
        let payload: Vec<u8> = payload
            .split_whitespace()
            .flat_map(|text| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect::<Vec<_>>())
            .collect();
        let token = cose::sign1(Algorithm::EdDsa, &Typ::CWT, true, &payload, &ed25519).unwrap();
        assert!(matches!(verdict(&URL_SAFE_NO_PAD.encode(token)), Err(JwtError::Invalid(_))));
    }
}

#[test]
fn the_largest_size_is_that_of_the_token() {
    use crate::clients::AuthMethod;
    use crate::policy::{Dialect, Scope};
    let mut policy = Policy::default();
    let (ed25519, p256, _) = keys();
    for format in [TokenFormat::Jwt, TokenFormat::Cwt] {
        for (alg, key) in [(Algorithm::EdDsa, &ed25519), (Algorithm::Ed25519, &ed25519), (Algorithm::Es256, &p256)] {
            for dialect in [Dialect::Oauth, Dialect::Aif] {
                let server = ResourceServer {
                    token_format: format,
                    alg,
                    dialect,
                    ..ResourceServer::new("rs".parse().unwrap(), "urn:rs".into(), NOW)
                };
                let permissions = vec!["pub t/{client_id}/#".parse().unwrap(), "sub a".parse().unwrap()];
                let scope = Scope { permissions, ..Scope::new("s".parse().unwrap(), server.id.clone(), NOW) };
                policy.scopes.insert(scope.name.clone(), Arc::new(scope));
                policy.resource_servers.insert(server.id.clone(), Arc::new(server.clone()));
                let client = Client {
                    token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
                    scope: "s".parse().unwrap(),
                    jwks: [&ed25519, &p256].map(|key| crate::clients::ClientKey::new(key.public().clone(), NOW)).to_vec(),
                    ..Client::new("dev1".parse().unwrap(), NOW)
                };
                let permissions = policy.largest_claims(&client, &server).unwrap();
                let aif = permissions.aif.clone();
                let claims =
                    super::claims(ISSUER, &client.client_id, &server, permissions, Some(p256.public().clone()), NOW, 300, [7; 16], None);
                let size = match format {
                    TokenFormat::Jwt => jose::sign_as(alg, ACCESS_TOKEN_TYP, &claims, key).unwrap().len(),
                    TokenFormat::Cwt => cose::sign1(alg, &Typ::CWT, true, &cwt::encode(&claims, aif.as_deref()), key).unwrap().len(),
                };
                assert_eq!(largest_size(ISSUER, &client, &server, &policy), Some(size), "{format:?} {alg:?}");
            }
        }
    }
}
