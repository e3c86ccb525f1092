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
