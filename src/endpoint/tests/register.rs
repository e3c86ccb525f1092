//! The operation register whole: a device that nobody registered registers itself.

use std::sync::Mutex;

use super::*;
use crate::clients::Enrolled;
use crate::enrolment::{
    AdmittedDevice, EnrolledClient, Enrolment, EnrolmentError, EnrolmentFailure, EnrolmentStore, TokenDigest, TokenSecret, issue,
};
use crate::oauth::EnrolmentId;

/// An enrolment, what comes of registering, and how often that was asked for.
struct OneEnrolment {
    enrolment: Arc<Enrolment>,
    failure: Option<EnrolmentFailure>,
    asked: Mutex<u8>,
}

impl EnrolmentStore for OneEnrolment {
    fn enrolment(&self, id: &EnrolmentId) -> Option<Arc<Enrolment>> {
        (*id == self.enrolment.id).then(|| self.enrolment.clone())
    }

    fn enrol(&self, device: &AdmittedDevice, now: UnixTime) -> Result<EnrolledClient, EnrolmentFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut asked = self.asked.lock().unwrap();
        *asked = asked.checked_add(1).unwrap();
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([*asked; 32]), now);
        let enrolled_by = Some(Enrolled { enrolment: self.enrolment.id.clone(), serial_number: device.ask().serial_number.clone() });
        let client = Client { scope: "rs1:read".parse().unwrap(), enrolled_by, ..Client::new("pump-17".parse().unwrap(), now) };
        let client = match device.key() {
            None => Client { secrets: vec![record], ..client },
            Some(jwk) => Client {
                jwks: vec![ClientKey::new(jwk.clone(), now)],
                token_endpoint_auth_method: AuthMethod::PrivateKeyJwt,
                roles: Default::default(),
                ..client
            },
        };
        Ok(EnrolledClient { client: Arc::new(client), secret: device.key().is_none().then_some(secret), again: false })
    }
}

struct Bench {
    engine: Engine,
    store: Arc<OneEnrolment>,
    token: String,
}

fn bench(failure: Option<EnrolmentFailure>) -> Bench {
    let (engine, _) = engine_with_assertions_and_secret();
    let id: EnrolmentId = "e1".parse().unwrap();
    let end = NOW.saturating_add(60);
    let token = issue(ISSUER, &id, &TokenSecret::new([1; 32]), NOW, end, engine.keys().active()).unwrap();
    let store = Arc::new(OneEnrolment {
        enrolment: Arc::new(Enrolment {
            id,
            description: String::new(),
            template: "pump".parse().unwrap(),
            uses: 1,
            used: 0,
            is_limited: false,
            expires_at: end,
            revoked_at: None,
            digest: TokenDigest::of(token.expose()),
            created_at: NOW,
        }),
        failure,
        asked: Mutex::default(),
    });
    Bench { engine: engine.with_enrolments(store.clone()), store, token: String::from_utf8(token.expose().to_vec()).unwrap() }
}

fn engine_with_assertions_and_secret() -> (Engine, String) {
    let (_, secret) = engine();
    (engine_with_assertions(), secret)
}

impl Bench {
    fn register(&self, members: &Value) -> Reply {
        let mut request = json!({"initial_access_token": self.token});
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        send(&self.engine, "unit1", request.to_string().as_bytes(), |request| request.operation = "register")
    }
}

#[test]
fn a_registration_has_the_members_of_rfc_7591() {
    let bench = bench(None);
    let reply = bench.register(&json!({"serial_number": "17", "state": "1"}));
    let answered = answer(&reply);
    assert_eq!((&answered["client_id"], &answered["client_id_issued_at"]), (&json!("pump-17"), &json!(NOW.as_secs())));
    assert_eq!((answered["client_secret"].as_str().unwrap().len(), &answered["client_secret_expires_at"]), (43, &json!(0)));
    assert_eq!((&answered["token_endpoint_auth_method"], &answered["scope"]), (&json!("client_secret_post"), &json!("rs1:read")));
    assert_eq!(answered["state"], "1");
    let Decision::Registered { client_id, enrolment, method, again } = reply.decision else { panic!("{:?}", reply.decision) };
    assert_eq!((client_id.as_str(), enrolment.as_str(), method, again), ("pump-17", "e1", AuthMethod::ClientSecretPost, false));
    let key = SigningKey::from_seed(&Zeroizing::new([7; 32]));
    let answered = answer(&bench.register(&json!({"jwks": {"keys": [key.public()]}})));
    assert_eq!(answered["token_endpoint_auth_method"], "private_key_jwt");
    assert!(answered.get("client_secret").is_none() && answered.get("client_secret_expires_at").is_none());
}

#[test]
fn a_request_delivered_twice_registers_once() {
    let bench = bench(None);
    let first = bench.register(&json!({}));
    let second = bench.register(&json!({}));
    assert_eq!((&second.payload, second.decision), (&first.payload, Decision::Repeated { accepted: true }));
    assert_eq!(*bench.store.asked.lock().unwrap(), 1);
    // What another says under the same name is another request.
    assert!(matches!(bench.register(&json!({"state": "2"})).decision, Decision::Registered { .. }));
}

#[test]
fn deny_registrations_that_the_store_refuses() {
    for (failure, code, reason) in [
        (EnrolmentFailure::Refused(EnrolmentError::UsedUp), ErrorCode::InvalidToken, Reason::EnrolmentUsedUp),
        (EnrolmentFailure::Refused(EnrolmentError::DeviceEnrolled), ErrorCode::InvalidToken, Reason::DeviceEnrolled),
        (EnrolmentFailure::Refused(EnrolmentError::ClientSuspended), ErrorCode::InvalidToken, Reason::SuspendedClient),
        (EnrolmentFailure::Refused(EnrolmentError::NoSerial), ErrorCode::InvalidClientMetadata, Reason::MissingParameter),
        (EnrolmentFailure::NotKept, ErrorCode::TemporarilyUnavailable, Reason::NotKept),
    ] {
        let bench = bench(Some(failure));
        let reply = bench.register(&json!({}));
        assert_eq!(refusal(&reply.decision), (code, reason));
        // What went wrong once may go well later.
        assert_eq!(refusal(&bench.register(&json!({})).decision), (code, reason));
    }
}

#[test]
fn deny_registration_where_it_is_not_served() {
    let (engine, _) = engine();
    let payload = json!({"initial_access_token": "x"}).to_string();
    let reply = send(&engine, "unit1", payload.as_bytes(), |request| request.operation = "register");
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::UnknownOperation));
}

#[test]
fn deny_what_is_no_registration() {
    let bench = bench(None);
    for (payload, code, reason) in [
        ("[", ErrorCode::InvalidRequest, Reason::Malformed),
        ("{}", ErrorCode::InvalidRequest, Reason::MissingParameter),
        (r#"{"initial_access_token":"x"}"#, ErrorCode::InvalidToken, Reason::UnknownEnrolment),
    ] {
        let reply = send(&bench.engine, "unit1", payload.as_bytes(), |request| request.operation = "register");
        assert_eq!(refusal(&reply.decision), (code, reason));
    }
    assert_eq!(*bench.store.asked.lock().unwrap(), 0);
}

#[test]
fn deny_a_session_under_the_name_of_a_client() {
    let bench = bench(None);
    let session = |name: &str, password: &str| {
        let password = Secret::new(password.as_bytes().to_vec());
        let outcome = bench.engine.authenticate_enrolment(&name.parse().unwrap(), &password, NOW);
        outcome.map(|outcome| outcome.map(|id| id.to_string()).map_err(|refusal| refusal.reason()))
    };
    assert_eq!(session("unit1", &bench.token), Some(Ok("e1".into())));
    assert_eq!(session("both", &bench.token), Some(Err(Reason::ClientIdTaken)));
    // A forged token says nothing of whether there is such a client.
    let forged = format!("{}A", bench.token);
    assert_eq!(session("both", &forged), session("unit1", &forged));
    assert_eq!(session("unit1", &assertion(&json!({}))), None, "an assertion is another matter");
    assert_eq!(session("unit1", "secret"), None);
}

#[test]
fn metadata_names_the_proofs_that_a_broker_may_see() {
    let bench = bench(None);
    let metadata = |channel| serde_json::to_value(bench.engine.metadata("oauth2/v1", channel)).unwrap();
    let trusted = metadata(Channel::Trusted);
    assert_eq!(trusted["mqtt_registration_proofs_supported"], json!(["initial_access_token", "enrolment_mac"]));
    assert!(trusted["mqtt_operations_supported"].as_array().unwrap().contains(&json!("register")));
    assert_eq!(metadata(Channel::Untrusted)["mqtt_registration_proofs_supported"], json!(["enrolment_mac"]));
    let (without, _) = engine();
    let without = serde_json::to_value(without.metadata("oauth2/v1", Channel::Trusted)).unwrap();
    assert!(without.get("mqtt_registration_proofs_supported").is_none());
    assert!(!without["mqtt_operations_supported"].as_array().unwrap().contains(&json!("register")));
}
