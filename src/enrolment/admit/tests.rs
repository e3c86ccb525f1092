use serde_json::{Value, json};

use super::*;
use crate::oauth::{Format, decode_register_request};

const NOW: UnixTime = UnixTime::from_secs(1_000);
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// `{"jti":"e1"}`
const TOKEN: &str = "e30.eyJqdGkiOiJlMSJ9.AA";

struct One(Arc<Enrolment>);

impl EnrolmentStore for One {
    fn enrolment(&self, id: &EnrolmentId) -> Option<Arc<Enrolment>> {
        (*id == self.0.id).then(|| self.0.clone())
    }

    fn enrol(&self, _: &AdmittedDevice, _: UnixTime) -> Result<EnrolledClient, EnrolmentFailure> {
        Err(EnrolmentFailure::NotKept)
    }
}

fn store(change: impl FnOnce(&mut Enrolment)) -> One {
    let mut enrolment = Enrolment {
        id: "e1".parse().unwrap(),
        description: String::new(),
        template: "pump".parse().unwrap(),
        uses: 1,
        used: 0,
        is_limited: false,
        expires_at: NOW.saturating_add(60),
        revoked_at: None,
        digest: TokenDigest::of(TOKEN.as_bytes()),
        created_at: NOW,
    };
    change(&mut enrolment);
    One(Arc::new(enrolment))
}

fn judge(store: &One, channel: Channel, request: &Value) -> Result<AdmittedDevice, (ErrorCode, Reason, String)> {
    let request = decode_register_request(Format::Json, request.to_string().as_bytes()).unwrap();
    let told = |refusal: Refusal| (refusal.code(), refusal.reason(), refusal.description().to_owned());
    admit(request, channel, store, NOW).map_err(told)
}

fn jwks() -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": X}]})
}

/// A request with a MAC by the token, of what it says.
fn with_mac(token: &str, members: &Value) -> Value {
    let mut request = json!({"enrolment_id": "e1", "enrolment_mac": "A".repeat(43), "jwks": jwks()});
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let decoded = decode_register_request(Format::Json, request.to_string().as_bytes()).unwrap();
    let EnrolmentProof::Mac { request: digest, .. } = decoded.proof() else { panic!("no MAC") };
    request["enrolment_mac"] = base64url(&proof(&TokenDigest::of(token.as_bytes()), digest)).into();
    request
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn the_token_admits_with_a_key_and_without() {
    let device = judge(&store(|_| ()), Channel::Trusted, &json!({"initial_access_token": TOKEN})).unwrap();
    assert_eq!((device.enrolment().as_str(), device.method(), device.key()), ("e1", AuthMethod::ClientSecretPost, None));
    let device = judge(&store(|_| ()), Channel::Trusted, &json!({"initial_access_token": TOKEN, "jwks": jwks()})).unwrap();
    assert_eq!(device.key().unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let used_up = store(|enrolment| enrolment.used = 1);
    assert!(judge(&used_up, Channel::Trusted, &json!({"initial_access_token": TOKEN})).is_ok(), "the store judges uses");
}

#[test]
fn a_mac_admits_through_any_broker() {
    for channel in [Channel::Trusted, Channel::Untrusted] {
        let device = judge(&store(|_| ()), channel, &with_mac(TOKEN, &json!({"serial_number": "17"}))).unwrap();
        assert_eq!(device.method(), AuthMethod::PrivateKeyJwt);
    }
}

#[test]
fn deny_tokens_with_one_text() {
    let token = |token: &str| json!({"initial_access_token": token});
    let open = store(|_| ());
    for (store, request, reason) in [
        (&open, token("e30.eyJqdGkiOiJlMSJ9.AB"), Reason::WrongEnrolmentToken),
        // {"jti":"e2"}
        (&open, token("e30.eyJqdGkiOiJlMiJ9.AA"), Reason::UnknownEnrolment),
        (&open, token("secret"), Reason::UnknownEnrolment),
        (&open, token(""), Reason::UnknownEnrolment),
        (&store(|enrolment| enrolment.expires_at = NOW), token(TOKEN), Reason::EnrolmentExpired),
        (&store(|enrolment| enrolment.revoked_at = Some(NOW)), token(TOKEN), Reason::EnrolmentRevoked),
        (&open, with_mac("other", &json!({})), Reason::WrongEnrolmentMac),
        (&store(|enrolment| enrolment.id = "e2".parse().unwrap()), with_mac(TOKEN, &json!({})), Reason::UnknownEnrolment),
        (&store(|enrolment| enrolment.expires_at = NOW), with_mac(TOKEN, &json!({})), Reason::EnrolmentExpired),
    ] {
        let text = "the enrolment does not let this device register".to_owned();
        assert_eq!(judge(store, Channel::Trusted, &request).unwrap_err(), (ErrorCode::InvalidToken, reason, text), "{request}");
    }
}

#[test]
fn deny_a_digest_that_stands_in_for_none() {
    // The MAC by what is compared with where there is no enrolment.
    let mut request = with_mac(TOKEN, &json!({"enrolment_id": "none"}));
    let decoded = decode_register_request(Format::Json, request.to_string().as_bytes()).unwrap();
    let EnrolmentProof::Mac { request: digest, .. } = decoded.proof() else { panic!("no MAC") };
    request["enrolment_mac"] = base64url(&proof(&TokenDigest::ABSENT, digest)).into();
    assert_eq!(judge(&store(|_| ()), Channel::Trusted, &request).unwrap_err().1, Reason::UnknownEnrolment);
}

#[test]
fn deny_a_request_that_the_broker_changed() {
    let request = with_mac(TOKEN, &json!({"serial_number": "17", "client_name": "Pump", "software_id": "a", "software_version": "1"}));
    let other = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}]});
    for (member, value) in [
        ("jwks", other),
        ("serial_number", json!("18")),
        ("client_name", json!("Pumpe")),
        ("software_id", json!("b")),
        ("software_version", json!("2")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
    ] {
        let mut changed = request.clone();
        changed[member] = value;
        assert_eq!(judge(&store(|_| ()), Channel::Untrusted, &changed).unwrap_err().1, Reason::WrongEnrolmentMac, "{member}");
    }
    assert!(judge(&store(|_| ()), Channel::Untrusted, &request).is_ok());
}

#[test]
fn deny_tokens_and_secrets_through_an_untrusted_broker() {
    let (code, reason, text) = judge(&store(|_| ()), Channel::Untrusted, &json!({"initial_access_token": TOKEN})).unwrap_err();
    assert_eq!((code, reason), (ErrorCode::InvalidToken, Reason::UntrustedBroker));
    let foreign = judge(&store(|_| ()), Channel::Untrusted, &json!({"initial_access_token": "x"})).unwrap_err();
    assert_eq!(foreign, (code, reason, text), "the same for whatever token");
    let mut without_key = with_mac(TOKEN, &json!({}));
    without_key.as_object_mut().unwrap().remove("jwks");
    let (code, reason, _) = judge(&store(|_| ()), Channel::Untrusted, &without_key).unwrap_err();
    assert_eq!((code, reason), (ErrorCode::InvalidClientMetadata, Reason::MissingParameter));
}

#[test]
fn deny_metadata_that_no_client_can_have() {
    let weak = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]});
    for (members, reason) in [
        (json!({"jwks": weak}), Reason::UnusableKey),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), Reason::UnsupportedAuthMethod),
        (json!({"token_endpoint_auth_method": "client_secret_post", "jwks": jwks()}), Reason::UnsupportedAuthMethod),
    ] {
        let mut request = members.clone();
        request["initial_access_token"] = TOKEN.into();
        let (code, found, _) = judge(&store(|_| ()), Channel::Trusted, &request).unwrap_err();
        assert_eq!((code, found), (ErrorCode::InvalidClientMetadata, reason), "{members}");
    }
}

#[test]
fn a_session_is_opened_by_the_token_alone() {
    let session =
        |store: &One, token: &str| admit_session(&Secret::new(token.as_bytes().to_vec()), store, NOW).map_err(|error| error.reason());
    assert_eq!(session(&store(|_| ()), TOKEN).unwrap().as_str(), "e1");
    assert!(session(&store(|enrolment| enrolment.used = 1), TOKEN).is_ok(), "its device may have lost the answer");
    assert_eq!(session(&store(|_| ()), "x"), Err(Reason::UnknownEnrolment));
    assert_eq!(session(&store(|enrolment| enrolment.revoked_at = Some(NOW)), TOKEN), Err(Reason::EnrolmentRevoked));
}
