use super::*;

fn json(text: &str) -> Result<TokenRequest, Box<MalformedRequest>> {
    decode_client_request(Format::Json, text.as_bytes())
}

fn cbor(hex: &str) -> Result<TokenRequest, Box<MalformedRequest>> {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at.checked_add(2).unwrap()], 16).unwrap()).collect();
    decode_client_request(Format::Cbor, &bytes)
}

fn reason(result: Result<TokenRequest, Box<MalformedRequest>>) -> (ErrorCode, Reason) {
    let refusal = result.map(|_| ()).unwrap_err().refusal;
    (refusal.code(), refusal.reason())
}

#[test]
fn reads_json() {
    let request = json(
        r#"{"grant_type":"client_credentials","client_id":"dev1","client_secret":"s","scope":"b a","audience":"rs","state":"7","x":[1]}"#,
    )
    .unwrap();
    assert_eq!(request.client_id().unwrap().as_str(), "dev1");
    assert!(matches!(request.credential(), ClientCredential::Secret(secret) if secret.expose() == b"s"));
    assert_eq!(request.ask().scope().unwrap().to_string(), "a b");
    assert_eq!(request.ask().audience(), Some("rs"));
    assert_eq!(request.state(), Some("7"));
}

#[test]
fn reads_cbor_with_and_without_a_grant_type() {
    // {24: "dev1", 25: h'73', 9: "a"} and the same with 33: 2, in an indefinite-length map
    let request = cbor("a3181864646576311819417309 6161".replace(' ', "").as_str()).unwrap();
    assert_eq!(request.client_id().unwrap().as_str(), "dev1");
    assert_eq!(request.ask().scope().unwrap().to_string(), "a");
    assert!(cbor("bf18186464657631181941731821 02ff".replace(' ', "").as_str()).is_ok());
}

#[test]
fn deny_malformed() {
    for text in ["", "{", "[]", "null", "1", r#"{"grant_type":"client_credentials""#, r#"{"a":1}{"#, r#"{"a":1} x"#, "\u{feff}{}"] {
        assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::Malformed), "{text}");
    }
    for hex in ["", "a1", "80", "f6", "a11818", "bf1818", "a0 00", "ff", "a1 1818 7f", "5b3fffffffffffffff", "bb3fffffffffffffff"] {
        assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::Malformed), "{hex}");
    }
}

#[test]
fn deny_repeated() {
    for text in [r#"{"scope":"a","scope":"a"}"#, r#"{"x":1,"x":2}"#, r#"{"scope":"a","sc\u006fpe":"b"}"#] {
        assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::RepeatedParameter), "{text}");
    }
    for hex in ["a2096161096161", "a2186400186401", "a20961611809 6161"] {
        assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::RepeatedParameter), "{hex}");
    }
}

#[test]
fn deny_too_deep_and_too_many() {
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(4000), "]".repeat(4000));
    assert_eq!(reason(json(&deep)), (ErrorCode::InvalidRequest, Reason::TooComplex));
    let deep = format!("a10a{}", "81".repeat(4000));
    assert_eq!(reason(cbor(&deep)), (ErrorCode::InvalidRequest, Reason::TooComplex));
    let many: Vec<String> = (0..40).map(|n| format!(r#""p{n}":0"#)).collect();
    assert_eq!(reason(json(&format!("{{{}}}", many.join(",")))), (ErrorCode::InvalidRequest, Reason::TooComplex));
}

#[test]
fn deny_wrong_types() {
    let with = |param: &str| format!(r#"{{"grant_type":"client_credentials","client_secret":"s",{param}}}"#);
    for param in [r#""client_id":1"#, r#""client_id":"a/b""#, r#""scope":["a"]"#, r#""audience":null"#, r#""audience":"""#, r#""state":7"#]
    {
        assert_eq!(reason(json(&with(param))), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{param}");
    }
    assert_eq!(reason(json(&with(r#""scope":"a  b""#))), (ErrorCode::InvalidScope, Reason::InvalidParameter));
    // client_secret as text, client_id as bytes, grant_type as text
    for hex in ["a118196173", "a2 1819 4173 1818 4161", "a2 1819 4173 1821 6132"] {
        assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{hex}");
    }
}

#[test]
fn deny_missing_and_unsupported() {
    assert_eq!(reason(json(r#"{"client_secret":"s"}"#)), (ErrorCode::InvalidRequest, Reason::MissingParameter));
    assert_eq!(reason(json(r#"{"grant_type":"client_credentials"}"#)), (ErrorCode::InvalidRequest, Reason::MissingParameter));
    assert_eq!(reason(cbor("a0")), (ErrorCode::InvalidRequest, Reason::MissingParameter));
    for grant in ["password", "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
        let text = format!(r#"{{"grant_type":"{grant}","client_secret":"s"}}"#);
        assert_eq!(reason(json(&text)), (ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType));
    }
    assert_eq!(
        reason(cbor("a2181941731821 00".replace(' ', "").as_str())),
        (ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType)
    );
    let text = r#"{"grant_type":"client_credentials","client_secret":"s","client_assertion":"x"}"#;
    assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::SeveralAuthMethods));
}

#[test]
fn reads_assertions() {
    let text = format!(
        r#"{{"grant_type":"client_credentials","scope":"b  a","client_assertion":"a.b.c","client_assertion_type":"{ASSERTION_TYPE}"}}"#
    );
    let request = json(&text.replace("b  a", "b a")).unwrap();
    let ClientCredential::Assertion(assertion, digest) = request.credential() else { panic!("no assertion") };
    assert_eq!(assertion.expose(), b"a.b.c");
    // {9: "b a", -65537: "a.b.c"}; the scope as it stands
    let request = cbor("a20963622061 3a00010000 65612e622e63".replace(' ', "").as_str()).unwrap();
    let ClientCredential::Assertion(same, same_digest) = request.credential() else { panic!("no assertion") };
    assert_eq!((same.expose(), same_digest), (assertion.expose(), digest));
}

#[test]
fn deny_half_an_assertion() {
    let with = |members: &str| json(&format!(r#"{{"grant_type":"client_credentials",{members}}}"#));
    let missing = (ErrorCode::InvalidRequest, Reason::MissingParameter);
    assert_eq!(reason(with(r#""client_assertion":"a.b.c""#)), missing);
    assert_eq!(reason(with(&format!(r#""client_assertion_type":"{ASSERTION_TYPE}""#))), missing);
    let saml = r#""client_assertion":"a","client_assertion_type":"urn:ietf:params:oauth:client-assertion-type:saml2-bearer""#;
    assert_eq!(reason(with(saml)), (ErrorCode::InvalidClient, Reason::UnsupportedAuthMethod));
    let request = cbor("a13a0001000041ff").unwrap();
    assert!(matches!(request.credential(), ClientCredential::Assertion(bytes, _) if bytes.expose() == b"\xff"), "a COSE_Sign1 in bytes");
}

#[test]
fn nonce_requests_are_strict_too() {
    let json = |text: &str| decode_nonce_request(Format::Json, text.as_bytes());
    assert_eq!(json("{}").unwrap(), None);
    assert_eq!(json(r#"{"state":"7","client_id":1}"#).unwrap().as_deref(), Some("7"));
    assert_eq!(decode_nonce_request(Format::Cbor, b"\xa1\x18\x1c\x617").unwrap().as_deref(), Some("7"));
    for text in ["", "[]", r#"{"state":7}"#, r#"{"state":"7","state":"7"}"#] {
        assert_eq!(json(text).unwrap_err().refusal.code(), ErrorCode::InvalidRequest, "{text}");
    }
}

#[test]
fn state_is_echoed_with_errors_that_come_after_it() {
    assert_eq!(json(r#"{"state":"7"}"#).unwrap_err().state.as_deref(), Some("7"));
    assert_eq!(json(r#"{"state":"7","state":"8"}"#).unwrap_err().state.as_deref(), Some("7"));
    assert!(json(&format!(r#"{{"state":"{}"}}"#, "x".repeat(65))).unwrap_err().state.is_none());
}

#[test]
fn deny_members_that_stand_twice_on_any_level() {
    let with = |members: &str| json(&format!(r#"{{"grant_type":"client_credentials","client_secret":"s","req_cnf":{members}}}"#));
    for members in [r#"{"jwk":1,"jwk":1}"#, r#"{"jwk":{"x":1,"x":2}}"#, r#"{"jwk":[{"a":1,"a":1}]}"#] {
        assert_eq!(reason(with(members)), (ErrorCode::InvalidRequest, Reason::RepeatedParameter), "{members}");
    }
    for members in ["1", "[]", "null", r#""x""#] {
        assert_eq!(reason(with(members)), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{members}");
    }
    assert_eq!(reason(with(&format!("{}1{}", "[".repeat(40), "]".repeat(40)))), (ErrorCode::InvalidRequest, Reason::TooComplex));
    // {25: h'73', 4: {1: 1, 1: 2}}
    assert_eq!(reason(cbor("a21819417304a201010102")), (ErrorCode::InvalidRequest, Reason::RepeatedParameter));
}

#[test]
fn a_key_for_the_token_is_read_in_every_form() {
    let with = |members: &str| json(&format!(r#"{{"grant_type":"client_credentials","client_secret":"s","req_cnf":{members}}}"#));
    assert!(matches!(with(r#"{"jwk":{"kty":"OKP"}}"#).unwrap().ask().req_cnf(), Some(ReqCnf::Jwk(_))));
    assert_eq!(with(r#"{"kid":"k"}"#).unwrap().ask().req_cnf(), Some(&ReqCnf::Kid("k".into())));
    // {25: h'73', 4: {1: {1: 1}}} and {25: h'73', 4: {3: h'6b'}}
    assert!(matches!(cbor("a21819417304a101a10101").unwrap().ask().req_cnf(), Some(ReqCnf::CoseKey(_))));
    assert_eq!(cbor("a21819417304a103416b").unwrap().ask().req_cnf(), Some(&ReqCnf::Kid("k".into())));
    for members in ["{}", r#"{"jwk":{},"kid":"k"}"#, r#"{"jwk":"x"}"#, r#"{"kid":7}"#, r#"{"jwe":{}}"#, r#"{"jku":"https://evil"}"#] {
        assert_eq!(reason(with(members)), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{members}");
    }
    // {1: h'00'}, {3: "k"}, {2: {}}, {"jwk": {}}, {3: h'ff'}
    for members in ["a1014100", "a103616b", "a102a0", "a1636a776ba0", "a10341ff"] {
        assert_eq!(reason(cbor(&format!("a21819417304{members}"))), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{members}");
    }
}

#[test]
fn an_assertion_is_bound_to_the_key_for_the_token() {
    let digest = |req_cnf: &str| {
        let text = format!(
            r#"{{"grant_type":"client_credentials","client_assertion":"a.b.c","client_assertion_type":"{ASSERTION_TYPE}"{req_cnf}}}"#
        );
        let request = json(&text).unwrap();
        let ClientCredential::Assertion(_, digest) = request.credential() else { panic!("no assertion") };
        *digest
    };
    assert_ne!(digest(""), digest(r#","req_cnf":{"kid":"k"}"#));
    assert_ne!(digest(r#","req_cnf":{"kid":"l"}"#), digest(r#","req_cnf":{"kid":"k"}"#));
}
