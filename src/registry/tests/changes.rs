//! Changes and the rules they keep.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;

use super::*;
use crate::jose::Algorithm;
use crate::policy::{Dialect, TokenFormat};

#[test]
fn keeps_what_it_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("broker", "mqtts://broker")).unwrap();
    registry.add_scope(scope("telemetry:write", "broker")).unwrap();
    registry.add_role(role("pump", "telemetry:write")).unwrap();
    let granted = Client { scope: "telemetry:write".parse().unwrap(), roles: ["pump".parse().unwrap()].into(), ..client("b") };
    registry.add_client(granted.clone()).unwrap();
    registry.add_client(client("a")).unwrap();
    registry.add_client(client("gone")).unwrap();
    let updated = registry.update_client(&id("a"), |client| client.status = Status::Blocked).unwrap();
    assert_eq!(updated.status, Status::Blocked);
    assert_eq!(registry.remove_client(&id("gone")).unwrap().client_id, id("gone"));

    let check = |registry: &Registry| {
        assert_eq!((ids(registry), registry.client_count()), (vec!["a".to_owned(), "b".to_owned()], 2));
        assert_eq!(registry.client(&id("a")), Some(updated.clone()));
        assert_eq!(registry.client(&id("b")).as_deref(), Some(&granted));
        assert_eq!(registry.client(&id("gone")), None);
        let policy = registry.policy();
        assert_eq!(policy.resource_servers.values().map(|kept| (**kept).clone()).collect::<Vec<_>>(), [server("broker", "mqtts://broker")]);
        assert_eq!(policy.scopes.values().map(|kept| (**kept).clone()).collect::<Vec<_>>(), [scope("telemetry:write", "broker")]);
        assert_eq!(policy.roles.values().map(|kept| (**kept).clone()).collect::<Vec<_>>(), [role("pump", "telemetry:write")]);
    };
    check(&registry);
    drop(registry);
    check(&open(directory.path()));
    let mode = std::fs::metadata(directory.path().join("registry")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn refuses_what_breaks_a_rule() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("broker", "mqtts://broker")).unwrap();
    registry.add_scope(scope("s", "broker")).unwrap();
    registry.add_client(client("a")).unwrap();
    let unknown_scope = || "s other".parse().unwrap();
    let secrets = vec![client("a").secrets[0].clone(); MAX_SECRETS + 1];
    let refusals = [
        (registry.add_client(client("a")).unwrap_err(), "already_exists", "client a exists already"),
        (registry.add_client(Client { scope: unknown_scope(), ..client("b") }).unwrap_err(), "not_found", "there is no scope other"),
        (registry.update_client(&id("a"), |client| client.scope = unknown_scope()).unwrap_err(), "not_found", "there is no scope other"),
        (registry.update_client(&id("b"), |_| ()).unwrap_err(), "not_found", "there is no client b"),
        (
            registry.update_client(&id("a"), |client| client.client_id = id("b")).unwrap_err(),
            "invalid",
            "client a: the id of a client never changes",
        ),
        (
            registry.update_client(&id("a"), |client| client.secrets = secrets).unwrap_err(),
            "invalid",
            "client a: has more secrets than it may have",
        ),
        (
            registry.update_client(&id("a"), |client| client.client_name = "x".repeat(6 << 10)).unwrap_err(),
            "invalid",
            "client a: is larger than 6 KiB",
        ),
        (registry.remove_client(&id("b")).unwrap_err(), "not_found", "there is no client b"),
        (registry.add_resource_server(server("broker", "other")).unwrap_err(), "already_exists", "resource server broker exists already"),
        (
            registry.add_resource_server(server("other", "mqtts://broker")).unwrap_err(),
            "already_exists",
            "audience mqtts://broker exists already",
        ),
        (registry.add_resource_server(server("other", "broker")).unwrap_err(), "already_exists", "audience broker exists already"),
        (
            registry
                .add_resource_server(server("mqtts", "mqtts://other"))
                .map(drop)
                .and(registry.add_resource_server(server("aud", "mqtts")).map(drop))
                .unwrap_err(),
            "already_exists",
            "audience mqtts exists already",
        ),
        (registry.add_scope(scope("s", "broker")).unwrap_err(), "already_exists", "scope s exists already"),
        (registry.add_scope(scope("t", "other")).unwrap_err(), "not_found", "there is no resource server other"),
    ];
    for (error, code, text) in refusals {
        assert_eq!((error.code(), error.to_string()), (code, text.to_owned()));
    }
    drop(registry);
    let registry = open(directory.path());
    assert_eq!(registry.clients().iter().map(|kept| (**kept).clone()).collect::<Vec<_>>(), [client("a")]);
    assert_eq!((registry.policy().resource_servers.len(), registry.policy().scopes.len()), (2, 1));
}

#[test]
fn deny_clients_and_roles_that_name_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs1", "https://rs1")).unwrap();
    registry.add_resource_server(server("rs2", "https://rs2")).unwrap();
    registry.add_scope(scope("s1", "rs1")).unwrap();
    registry.add_scope(scope("s2", "rs2")).unwrap();
    registry.add_role(role("r", "s1")).unwrap();
    registry.add_client(Client { roles: ["r".parse().unwrap()].into(), ..client("a") }).unwrap();
    for (refused, told) in [
        (registry.add_role(role("r", "s1")).unwrap_err(), "role r exists already"),
        (registry.add_role(role("q", "s1 s3")).unwrap_err(), "there is no scope s3"),
    ] {
        assert_eq!(refused.to_string(), told);
    }
    let attributes = || (0..=16).map(|number| (format!("a{number}").parse().unwrap(), "x".parse().unwrap())).collect();
    type Change<'a> = &'a dyn Fn(&mut Client);
    let changes: [(Change<'_>, &str); 8] = [
        (&|client| client.roles = ["q".parse().unwrap()].into(), "there is no role q"),
        (&|client| client.audiences = ["rs3".parse().unwrap()].into(), "there is no resource server rs3"),
        (&|client| client.default_scope = "s2".parse().unwrap(), "client a: the default scope s2 is not granted to it"),
        (
            &|client| {
                client.default_scope = "s1".parse().unwrap();
                client.audiences = ["rs2".parse().unwrap()].into();
            },
            "client a: the default scope s1 is not granted to it",
        ),
        (&|client| client.attributes = attributes(), "client a: has more than 16 attributes"),
        (&|client| client.max_token_lifetime = Some(0), "client a: the longest token lifetime must be at least 1 second"),
        (&|client| (client.not_before, client.expires_at) = (Some(NOW), Some(NOW)), "client a: expires before it becomes valid"),
        (&|client| client.scope = "s1 s3".parse().unwrap(), "there is no scope s3"),
    ];
    for (change, told) in changes {
        assert_eq!(registry.update_client(&id("a"), change).unwrap_err().to_string(), told);
        let mut new = Client { roles: ["r".parse().unwrap()].into(), ..client("a") };
        change(&mut new);
        new.client_id = id("b");
        assert_eq!(registry.add_client(new).unwrap_err().to_string(), told.replace("client a", "client b"));
    }
    registry.update_client(&id("a"), |client| client.default_scope = "s1".parse().unwrap()).unwrap();
    assert_eq!((registry.client_count(), registry.policy().roles.len()), (1, 1));
}

#[test]
fn deny_permissions_that_nothing_can_fill_in_or_say() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let rabbitmq = Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() };
    for (id, dialect) in [("rs", Dialect::Aif), ("emqx", Dialect::Emqx), ("mq", rabbitmq)] {
        let audience = format!("urn:{id}");
        registry.add_resource_server(ResourceServer { dialect, ..server(id, &audience) }).unwrap();
    }
    let opening =
        |name: &str, server: &str, permission: &str| Scope { permissions: vec![permission.parse().unwrap()], ..scope(name, server) };
    for (scope, told) in [
        (opening("x", "emqx", "sub eq a"), "EMQX gives"),
        (opening("x", "mq", "pub a/+"), "RabbitMQ cannot limit +"),
        (opening("x", "mq", "sub a.b"), "RabbitMQ takes a dot"),
    ] {
        let refused = registry.add_scope(scope).unwrap_err();
        assert!(refused.code() == "invalid" && refused.to_string().contains(told), "{refused}");
    }
    registry.add_scope(opening("site", "rs", "pub {site}/#")).unwrap();
    registry.add_role(role("r", "site")).unwrap();
    let grants: [fn(&mut Client); 2] =
        [|client| client.scope = "site".parse().unwrap(), |client| client.roles = ["r".parse().unwrap()].into()];
    for grant in grants {
        let mut new = client("a");
        grant(&mut new);
        let refused = registry.add_client(new.clone()).unwrap_err();
        let told = "client a: the scope site opens a topic of each client's own, but {site} is no attribute of the client";
        assert_eq!(refused.to_string(), told);
        new.attributes.insert("site".parse().unwrap(), "berlin".parse().unwrap());
        registry.add_client(new).unwrap();
        assert_eq!(registry.update_client(&id("a"), |client| client.attributes.clear()).unwrap_err().to_string(), told);
        registry.remove_client(&id("a")).unwrap();
    }
    assert_eq!(registry.policy().scopes.len(), 1);
}

#[test]
fn deny_all_but_one_of_concurrent_duplicates() {
    const THREADS: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    for round in 0..20 {
        let barrier = Barrier::new(THREADS);
        let outcomes: Vec<_> = std::thread::scope(|threads| {
            let contender = |index: usize| {
                let (registry, barrier) = (&registry, &barrier);
                move || {
                    let contender = Client { client_name: index.to_string(), ..client(&format!("same-{round}")) };
                    barrier.wait();
                    registry.add_client(contender)
                }
            };
            let running: Vec<_> = (0..THREADS).map(|index| threads.spawn(contender(index))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1);
        assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| error.code() == "already_exists"));
        assert_eq!(registry.client(&id(&format!("same-{round}"))).as_ref(), Some(winners[0]));
    }
}

#[test]
fn concurrent_updates_lose_nothing() {
    const THREADS: usize = 8;
    const UPDATES: usize = 50;
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_client(Client { client_name: String::new(), ..client("a") }).unwrap();
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                (0..UPDATES).for_each(|_| drop(registry.update_client(&id("a"), |client| client.client_name.push('x')).unwrap()))
            });
        }
    });
    drop(registry);
    assert_eq!(open(directory.path()).client(&id("a")).unwrap().client_name.len(), THREADS * UPDATES);
}

#[test]
fn deny_a_second_opening() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let error = Registry::open(&options(directory.path())).unwrap_err();
    assert!(matches!(&error, RegistryError::Locked { path } if *path == directory.path().join("registry")), "{error:?}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    registry.add_client(client("a")).unwrap();
    drop(registry);
    assert_eq!(ids(&open(directory.path())), ["a"]);
}

#[test]
fn deny_a_directory_that_lets_others_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = options(directory.path()).directory;
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Registry::open(&options(directory.path())).unwrap_err();
    assert_eq!(error.to_string(), format!("{0} has mode 0755, which lets others in: chmod 700 {0}", path.display()));
}

#[test]
fn records_of_any_size_stay_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let largest = |id: &str| {
        let mut largest = Client { client_name: "x".repeat(5_000), status: Status::Suspended, ..client(id) };
        let room = super::records::MAX_RECORD - super::records::encode(&largest).unwrap().len();
        largest.client_name.push_str(&"x".repeat(room));
        assert_eq!(super::records::encode(&largest).unwrap().len(), super::records::MAX_RECORD);
        largest
    };
    std::thread::scope(|threads| {
        for thread in 0..16 {
            let (registry, largest) = (&registry, &largest);
            threads.spawn(move || {
                for index in 0..20 {
                    let name = format!("{:02}-{thread}{}", index * 7 % 20, "k".repeat(58));
                    registry.add_client(largest(&name)).unwrap();
                    registry.update_client(&id(&name), |client| client.status = Status::Blocked).unwrap();
                }
            });
        }
    });
    let blobs = |directory: &Path| std::fs::read_dir(options(directory).directory.join("blobs")).unwrap().count();
    assert_eq!(blobs(directory.path()), 0, "sled keeps pages outside its log, where nothing syncs them");
    drop(registry);
    assert_eq!((open(directory.path()).client_count(), blobs(directory.path())), (320, 0));
}

#[test]
fn definitions_change_only_so_that_clients_hold() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    registry.add_resource_server(server("other", "urn:other")).unwrap();
    for name in ["s", "t", "free"] {
        registry.add_scope(scope(name, "rs")).unwrap();
    }
    registry.add_role(role("r", "s t")).unwrap();
    let granted = Client { roles: ["r".parse().unwrap()].into(), default_scope: "t".parse().unwrap(), ..client("a") };
    registry.add_client(Client { audiences: ["rs".parse().unwrap()].into(), ..granted }).unwrap();
    for name in ["b", "c", "d", "e"] {
        registry.add_client(Client { scope: "s".parse().unwrap(), ..client(name) }).unwrap();
    }
    let (rs, s, r) = ("rs".parse().unwrap(), "s".parse().unwrap(), "r".parse().unwrap());
    let permissions = |text: &str| vec![text.parse().unwrap()];
    registry.update_scope(&s, |scope| scope.permissions = permissions("pub a/+/b")).unwrap();
    let rabbitmq = || Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() };
    for (refused, told) in [
        (
            registry.update_scope(&s, |scope| scope.permissions = permissions("pub {site}/#")).map(drop),
            "scope s: cannot become so: client a: the scope s opens a topic of each client's own, but {site} is no attribute of the client",
        ),
        (registry.update_scope(&s, |scope| scope.resource_server = "nope".parse().unwrap()).map(drop), "there is no resource server nope"),
        (registry.update_scope(&s, |scope| scope.name = "x".parse().unwrap()).map(drop), "scope s: the name of a record never changes"),
        (
            registry.update_scope(&"t".parse().unwrap(), |scope| scope.resource_server = "other".parse().unwrap()).map(drop),
            "scope t: cannot become so: client a: the default scope t is not granted to it",
        ),
        (
            registry.update_role(&r, |role| role.scope = "s".parse().unwrap()).map(drop),
            "role r: cannot become so: client a: the default scope t is not granted to it",
        ),
        (registry.update_role(&r, |role| role.scope = "nope".parse().unwrap()).map(drop), "there is no scope nope"),
        (
            registry.update_resource_server(&rs, |server| server.audience = "urn:other".into()).map(drop),
            "audience urn:other exists already",
        ),
        (registry.update_resource_server(&rs, |server| server.audience = "other".into()).map(drop), "audience other exists already"),
        (registry.remove_role(&r).map(drop), "role r: is still used by client a"),
        (registry.remove_scope(&s).map(drop), "scope s: is still used by role r and clients b, c, d and 1 more"),
        (registry.remove_resource_server(&rs).map(drop), "resource server rs: is still used by scopes free, s, t and client a"),
        (registry.remove_scope(&"nope".parse().unwrap()).map(drop), "there is no scope nope"),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), told);
    }
    let refused = registry.update_resource_server(&rs, |server| server.dialect = rabbitmq()).unwrap_err().to_string();
    assert!(refused.starts_with("scope s: cannot open pub a/+/b: "), "{refused}");
    registry.remove_scope(&"free".parse().unwrap()).unwrap();
    registry.remove_resource_server(&"other".parse().unwrap()).unwrap();
    registry.update_resource_server(&rs, |server| server.audience = "urn:new".into()).unwrap();
    drop(registry);
    let policy = open(directory.path()).policy();
    assert_eq!(policy.resource_servers.values().map(|kept| kept.audience.as_str()).collect::<Vec<_>>(), ["urn:new"]);
    assert_eq!(policy.scopes.values().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["s", "t"]);
    assert_eq!(policy.scopes[&s].permissions, permissions("pub a/+/b"));
}

#[test]
fn a_client_that_breaks_a_rule_already_does_not_stand_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    registry.add_scope(scope("s", "rs")).unwrap();
    registry.add_client(Client { scope: "s".parse().unwrap(), ..client("a") }).unwrap();
    registry.require(Box::new(|client, _| if client.client_id.as_str() == "a" { Err("is too much".into()) } else { Ok(()) }));
    registry.update_scope(&"s".parse().unwrap(), |scope| scope.description = "new".into()).unwrap();
}

#[test]
fn deny_an_algorithm_that_the_reader_of_the_dialect_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let with = |alg| ResourceServer { dialect: Dialect::MosquittoJwt, alg, ..server("rs", "urn:rs") };
    let told = "resource server rs: the dialect mosquitto-jwt is for a verifier that does not know EdDSA: use ES256";
    assert_eq!(registry.add_resource_server(with(Algorithm::EdDsa)).unwrap_err().to_string(), told);
    registry.add_resource_server(with(Algorithm::Es256)).unwrap();
    assert_eq!(
        registry.update_resource_server(&"rs".parse().unwrap(), |server| server.alg = Algorithm::EdDsa).unwrap_err().to_string(),
        told
    );
}

#[test]
fn deny_a_dialect_that_a_cwt_cannot_have() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let with = |dialect| ResourceServer { dialect, token_format: TokenFormat::Cwt, ..server("rs", "urn:rs") };
    let told = "resource server rs: the dialect emqx is for JWTs: a CWT has oauth or aif";
    assert_eq!(registry.add_resource_server(with(Dialect::Emqx)).unwrap_err().to_string(), told);
    registry.add_resource_server(with(Dialect::Aif)).unwrap();
}
