//! Templates, enrolments and the devices they know, on disk and in memory.

use super::*;

fn with_pumps(directory: &Path) -> Arc<Registry> {
    let registry = open(directory);
    registry.add_resource_server(server("broker", "mqtts://broker")).unwrap();
    registry.add_scope(scope("a", "broker")).unwrap();
    registry.add_role(role("r", "a")).unwrap();
    registry.add_template(pump()).unwrap();
    registry
}

fn pump() -> Template {
    let template = Template::new("pump".parse().unwrap(), "pump-{serial}".parse().unwrap(), NOW);
    Template {
        scope: "a".parse().unwrap(),
        roles: ["r".parse().unwrap()].into(),
        audiences: ["broker".parse().unwrap()].into(),
        ..template
    }
}

#[test]
fn all_of_it_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let registry = with_pumps(directory.path());
    let e1 = "e1".parse().unwrap();
    registry.add_enrolment(Enrolment { is_limited: true, ..enrolment("e1", "pump") }).unwrap();
    registry.add_serials(&e1, vec!["1".parse().unwrap(), "2".parse().unwrap()]).unwrap();
    registry.add_serials(&e1, vec!["2".parse().unwrap()]).unwrap();
    registry.update_template(&"pump".parse().unwrap(), |template| template.description = "new".into()).unwrap();
    registry.add_enrolment(enrolment("e2", "pump")).unwrap();
    registry.revoke_enrolment(&"e2".parse().unwrap(), NOW).unwrap();
    let (book, devices) = (registry.enrolments(), registry.enrolled_devices(&e1));
    assert_eq!(devices.keys().map(ToString::to_string).collect::<Vec<_>>(), ["serial:1", "serial:2"]);
    drop(registry);
    let registry = open(directory.path());
    assert_eq!(registry.enrolments().templates, book.templates);
    assert_eq!(registry.enrolments().enrolments, book.enrolments);
    assert_eq!(registry.enrolled_devices(&e1), devices);
    registry.remove_enrolment(&e1).unwrap();
    assert!(registry.enrolled_devices(&e1).is_empty());
    drop(registry);
    let registry = open(directory.path());
    assert!(registry.enrolled_devices(&e1).is_empty(), "its records are gone, too");
    assert_eq!(registry.enrolments().enrolments.len(), 1);
}

#[test]
fn deny_removing_what_a_template_names() {
    let directory = tempfile::tempdir().unwrap();
    let registry = with_pumps(directory.path());
    let told = |error: RegistryError| error.to_string();
    let (server, scope, role) = ("broker".parse().unwrap(), "a".parse().unwrap(), "r".parse().unwrap());
    for error in [
        told(registry.remove_resource_server(&server).unwrap_err()),
        told(registry.remove_scope(&scope).unwrap_err()),
        told(registry.remove_role(&role).unwrap_err()),
    ] {
        assert!(error.contains("is still used by") && error.contains("enrolment template pump"), "{error}");
    }
    registry.add_enrolment(enrolment("e1", "pump")).unwrap();
    let error = told(registry.remove_template(&"pump".parse().unwrap()).unwrap_err());
    assert_eq!(error, "enrolment template pump: is still used by enrolment e1");
}

#[test]
fn deny_changes_that_break_a_template() {
    let directory = tempfile::tempdir().unwrap();
    let registry = with_pumps(directory.path());
    let error =
        registry.update_scope(&"a".parse().unwrap(), |scope| scope.permissions = vec!["pub x/{site}".parse().unwrap()]).unwrap_err();
    assert!(error.to_string().contains("enrolment template pump"), "{error}");
    let error = registry.update_template(&"pump".parse().unwrap(), |template| template.methods.clear()).unwrap_err();
    assert!(error.to_string().contains("must allow a method"), "{error}");
    let error = registry.update_template(&"pump".parse().unwrap(), |template| template.default_scope = "b".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "enrolment template pump: the default scope b is not granted to it");
    registry.require(Box::new(|client, _| if client.client_id.as_str().len() > 20 { Err("too long".into()) } else { Ok(()) }));
    let long = Template::new("long".parse().unwrap(), "pump-{serial}".parse().unwrap(), NOW);
    assert_eq!(registry.add_template(long.clone()).unwrap_err().to_string(), "enrolment template long: too long");
    registry.add_template(Template { client_id: "p-{random}".parse().unwrap(), ..long }).unwrap();
    assert_eq!(registry.enrolments().templates.len(), 2);
}

#[test]
fn deny_more_devices_than_an_enrolment_can_know() {
    let directory = tempfile::tempdir().unwrap();
    let registry = with_pumps(directory.path());
    let e1 = "e1".parse().unwrap();
    registry.add_enrolment(Enrolment { is_limited: true, ..enrolment("e1", "pump") }).unwrap();
    let serials = |from: usize, to: usize| (from..to).map(|number| number.to_string().parse().unwrap()).collect();
    registry.add_serials(&e1, serials(0, crate::enrolment::MAX_DEVICES)).unwrap();
    registry.add_serials(&e1, serials(0, 10)).unwrap();
    let last = crate::enrolment::MAX_DEVICES;
    assert!(registry.add_serials(&e1, serials(last, last + 1)).unwrap_err().to_string().contains("several enrolments"));
    assert_eq!(registry.enrolled_devices(&e1).len(), last);
    registry.add_enrolment(enrolment("e2", "pump")).unwrap();
    assert!(registry.add_serials(&"e2".parse().unwrap(), serials(0, 1)).is_err());
}

pub(super) mod enrol {
    use serde_json::json;

    use super::*;
    use crate::clients::{AuthMethod, Channel};
    use crate::enrolment::{AdmittedDevice, EnrolledClient, EnrolmentError, EnrolmentFailure, EnrolmentStore as _, admit};
    use crate::oauth::{Format, decode_register_request};

    /// `{"jti":"e1"}`
    const TOKEN: &str = "e30.eyJqdGkiOiJlMSJ9.AA";

    /// A registry with an enrolment for two devices.
    pub(in super::super) fn with_enrolment(
        directory: &Path,
        change: impl FnOnce(&mut Enrolment),
        template: impl FnOnce(&mut Template),
    ) -> Arc<Registry> {
        let registry = with_pumps(directory);
        let both = [AuthMethod::ClientSecretPost, AuthMethod::PrivateKeyJwt].into();
        registry
            .update_template(&"pump".parse().unwrap(), |pump| {
                pump.methods = both;
                template(pump);
            })
            .unwrap();
        let mut enrolment = Enrolment { digest: TokenDigest::of(TOKEN.as_bytes()), ..enrolment("e1", "pump") };
        change(&mut enrolment);
        registry.add_enrolment(enrolment).unwrap();
        registry
    }

    /// A device with a serial number and a key, each if given.
    fn device(registry: &Registry, serial: Option<&str>, key: Option<u8>) -> AdmittedDevice {
        let mut request = json!({"initial_access_token": TOKEN, "client_name": "Pump"});
        if let Some(serial) = serial {
            request["serial_number"] = serial.into();
        }
        if let Some(seed) = key {
            let key = crate::jose::SigningKey::from_seed(&Zeroizing::new([seed; 32]));
            request["jwks"] = json!({"keys": [key.public()]});
        }
        let request = decode_register_request(Format::Json, request.to_string().as_bytes()).unwrap();
        admit(request, Channel::Trusted, registry, NOW).unwrap()
    }

    fn enrol(registry: &Registry, serial: Option<&str>, key: Option<u8>) -> Result<EnrolledClient, EnrolmentError> {
        registry.enrol(&device(registry, serial, key), NOW).map_err(|failure| match failure {
            EnrolmentFailure::Refused(error) => error,
            EnrolmentFailure::NotKept => panic!("not kept"),
        })
    }

    /// Registers a device by its serial number.
    pub(in super::super) fn register(registry: &Registry, serial: &str) {
        drop(enrol(registry, Some(serial), None).unwrap());
    }

    fn used(registry: &Registry) -> u32 {
        registry.enrolment(&"e1".parse().unwrap()).unwrap().used
    }

    #[test]
    fn a_device_becomes_a_client_of_the_template() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |_| (), |pump| pump.require_request_binding = true);
        let enrolled = enrol(&registry, Some("17"), None).unwrap();
        assert!(enrolled.secret.is_some() && !enrolled.again);
        let client = registry.client(&id("pump-17")).unwrap();
        assert_eq!((client.scope.to_string().as_str(), client.client_name.as_str(), client.secrets.len()), ("a", "Pump", 1));
        assert!(client.roles.contains("r") && client.audiences.contains("broker") && !client.require_request_binding);
        let by = client.enrolled_by.as_ref().unwrap();
        assert_eq!((by.enrolment.as_str(), by.serial_number.as_ref().unwrap().as_str(), used(&registry)), ("e1", "17", 1));
        enrol(&registry, Some("18"), Some(1)).unwrap();
        assert!(registry.client(&id("pump-18")).unwrap().require_request_binding);
        drop(registry);
        let registry = open(directory.path());
        assert_eq!((ids(&registry), used(&registry)), (vec!["pump-17".to_owned(), "pump-18".to_owned()], 2));
    }

    #[test]
    fn the_same_key_gets_its_client_id_again_without_a_use() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |_| (), |pump| pump.client_id = "p-{random}".parse().unwrap());
        let first = enrol(&registry, None, Some(1)).unwrap().client;
        let again = enrol(&registry, None, Some(1)).unwrap();
        assert_eq!((&again.client, again.again, used(&registry)), (&first, true, 1));
        drop(registry);
        let registry = open(directory.path());
        let again = enrol(&registry, None, Some(1)).unwrap();
        assert_eq!((&again.client.client_id, again.again, used(&registry)), (&first.client_id, true, 1));
        // Used up for others, and not for a device that has registered.
        enrol(&registry, None, Some(2)).unwrap();
        assert!(enrol(&registry, None, Some(1)).unwrap().again);
        assert_eq!(enrol(&registry, None, Some(3)).unwrap_err(), EnrolmentError::UsedUp);
    }

    #[test]
    fn deny_a_second_registration_of_a_device() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |enrolment| enrolment.uses = 9, |_| ());
        enrol(&registry, Some("17"), Some(1)).unwrap();
        enrol(&registry, Some("18"), None).unwrap();
        // Another key, and a secret for who has one or had one.
        for (serial, key) in [("17", Some(2)), ("17", None), ("18", None), ("18", Some(1))] {
            assert_eq!(enrol(&registry, Some(serial), key).unwrap_err(), EnrolmentError::DeviceEnrolled, "{serial} {key:?}");
        }
        // A client that an operator removed does not come back by itself, though somebody may still have its request.
        registry.remove_client(&id("pump-17")).unwrap();
        assert_eq!(enrol(&registry, Some("17"), Some(1)).unwrap_err(), EnrolmentError::DeviceEnrolled);
        assert_eq!((used(&registry), ids(&registry)), (2, vec!["pump-18".to_owned()]));
    }

    #[test]
    fn deny_blocked_and_suspended_clients() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |_| (), |_| ());
        enrol(&registry, Some("17"), Some(1)).unwrap();
        for (status, error) in [(Status::Blocked, EnrolmentError::ClientBlocked), (Status::Suspended, EnrolmentError::ClientSuspended)] {
            registry.update_client(&id("pump-17"), |client| client.status = status).unwrap();
            assert_eq!(enrol(&registry, Some("17"), Some(1)).unwrap_err(), error);
            assert_eq!(registry.client(&id("pump-17")).unwrap().status, status);
        }
        let (e1, device) = ("e1".parse().unwrap(), "serial:17".parse().unwrap());
        registry.update_client(&id("pump-17"), |client| client.status = Status::Blocked).unwrap();
        let error = registry.release_device(&e1, &device).unwrap_err();
        assert!(error.to_string().contains("which is blocked"), "{error}");
    }

    #[test]
    fn deny_what_the_enrolment_is_not_for() {
        let directory = tempfile::tempdir().unwrap();
        let limit = |enrolment: &mut Enrolment| enrolment.is_limited = true;
        let registry = with_enrolment(directory.path(), limit, |pump| pump.methods = [AuthMethod::PrivateKeyJwt].into());
        registry.add_serials(&"e1".parse().unwrap(), vec!["17".parse().unwrap()]).unwrap();
        assert_eq!(enrol(&registry, Some("18"), Some(1)).unwrap_err(), EnrolmentError::SerialNotAllowed);
        assert_eq!(enrol(&registry, None, Some(1)).unwrap_err(), EnrolmentError::SerialNotAllowed);
        assert_eq!(enrol(&registry, Some("17"), None).unwrap_err(), EnrolmentError::MethodNotAllowed(AuthMethod::ClientSecretPost));
        registry.add_client(client("pump-17")).unwrap();
        assert_eq!(enrol(&registry, Some("17"), Some(1)).unwrap_err(), EnrolmentError::ClientIdTaken);
        registry.remove_client(&id("pump-17")).unwrap();
        assert!(enrol(&registry, Some("17"), Some(1)).is_ok());
        let revoked = device(&registry, Some("17"), Some(2));
        registry.revoke_enrolment(&"e1".parse().unwrap(), NOW).unwrap();
        assert_eq!(registry.enrol(&revoked, NOW).unwrap_err(), EnrolmentFailure::Refused(EnrolmentError::Revoked));
        registry.remove_enrolment(&"e1".parse().unwrap()).unwrap();
        assert_eq!(registry.enrol(&revoked, NOW).unwrap_err(), EnrolmentFailure::Refused(EnrolmentError::Unknown));
    }

    #[test]
    fn deny_client_ids_that_cannot_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |_| (), |_| ());
        assert_eq!(enrol(&registry, None, None).unwrap_err(), EnrolmentError::NoSerial);
        assert_eq!(enrol(&registry, Some(&"x".repeat(60)), None).unwrap_err(), EnrolmentError::SerialTooLong);
        let late = device(&registry, Some("17"), None);
        let expired = registry.enrol(&late, NOW.saturating_add(60)).unwrap_err();
        assert_eq!(expired, EnrolmentFailure::Refused(EnrolmentError::Expired));
        assert_eq!(used(&registry), 0);
    }

    #[test]
    fn a_released_device_registers_once_more() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |enrolment| enrolment.uses = 1, |_| ());
        let (e1, device) = ("e1".parse().unwrap(), "serial:17".parse().unwrap());
        enrol(&registry, Some("17"), None).unwrap();
        let removed = registry.release_device(&e1, &device).unwrap().unwrap();
        assert_eq!((removed.client_id.as_str(), used(&registry), ids(&registry).len()), ("pump-17", 0, 0));
        assert!(registry.release_device(&e1, &device).is_err());
        enrol(&registry, Some("17"), Some(1)).unwrap();
        assert_eq!(used(&registry), 1);
        // A client of that name that came otherwise is left alone.
        registry.remove_client(&id("pump-17")).unwrap();
        registry.add_client(client("pump-17")).unwrap();
        assert!(registry.release_device(&e1, &device).unwrap().is_none());
        assert_eq!(ids(&registry), ["pump-17"]);
    }

    #[test]
    fn exactly_one_device_wins_the_last_use() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |enrolment| enrolment.uses = 1, |_| ());
        let devices: Vec<_> = (0..8).map(|number| device(&registry, Some(&number.to_string()), Some(number))).collect();
        let barrier = std::sync::Barrier::new(devices.len());
        let outcomes: Vec<_> = std::thread::scope(|threads| {
            let start = |device| {
                let (registry, barrier) = (&registry, &barrier);
                threads.spawn(move || {
                    barrier.wait();
                    registry.enrol(device, NOW)
                })
            };
            devices.iter().map(start).collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let lost = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(lost.into_iter().all(|failure| *failure == EnrolmentFailure::Refused(EnrolmentError::UsedUp)));
        assert_eq!((used(&registry), ids(&registry).len()), (1, 1));
    }

    #[test]
    fn one_device_that_asks_many_times_at_once_is_one_client() {
        let directory = tempfile::tempdir().unwrap();
        let registry = with_enrolment(directory.path(), |_| (), |_| ());
        let outcomes: Vec<_> = std::thread::scope(|threads| {
            let ask = || threads.spawn(|| enrol(&registry, Some("17"), Some(1)).unwrap().again);
            (0..8).map(|_| ask()).collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|again| !**again).count(), 1);
        assert_eq!((used(&registry), ids(&registry)), (1, vec!["pump-17".to_owned()]));
    }
}
