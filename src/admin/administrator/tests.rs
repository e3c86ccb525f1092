//! Every command, on a real registry.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::admin::{ClientCursor, ClientDocument, ClientQuery, RoleQuery};
use crate::clients::authenticate_session;
use crate::jose::{KeyState, KeyType, RotationRules};
use crate::oauth::Secret;
use crate::registry::{KeyOptions, RegistryOptions};

mod lists;

pub(in crate::admin) struct Bench {
    pub(in crate::admin) administrator: Arc<Administrator>,
    registry: Arc<Registry>,
    changes: Arc<AtomicUsize>,
    pub(in crate::admin) directory: tempfile::TempDir,
}

pub(in crate::admin) fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let options = RegistryOptions { directory: directory.path().join("registry"), cache_capacity: 1 << 20 };
    let registry = Registry::open(&options).unwrap();
    let rules = RotationRules { interval: 0, propagation: 600, max_lifetime: 300, clock_skew: 60 };
    let keys = Arc::new(KeyStore::new(KeyOptions { directory: directory.path().join("keys"), rules, master_key: Ok(None) }));
    keys.load_or_create().unwrap();
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = changes.clone();
    let status = || DaemonStatus { running: true, issuer: "https://as.example".into(), ..DaemonStatus::default() };
    let on_change = move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let administrator = Arc::new(Administrator::new(registry.clone(), keys, Box::new(status), Box::new(on_change)));
    Bench { administrator, registry, changes, directory }
}

impl Bench {
    fn execute(&self, command: Command) -> Result<Answer, AdminError> {
        self.administrator.execute_for(Caller::of_user(1_000), command)
    }

    fn add_client(&self, new: NewClient) -> (ClientDocument, Secret) {
        match self.execute(Command::ClientAdd(new)).unwrap() {
            Answer::ClientAdded { client, client_secret } => (*client, Secret::new(client_secret.unwrap().secret().expose().to_vec())),
            other => panic!("{other:?}"),
        }
    }

    fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    fn define_scope(&self) {
        let server = NewResourceServer {
            max_token_lifetime: Some(60),
            ..NewResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into())
        };
        let scope = NewScope {
            name: "telemetry:write".parse().unwrap(),
            resource_server: server.id.clone(),
            permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
            description: String::new(),
        };
        assert!(matches!(self.execute(Command::ResourceServerAdd(server)).unwrap(), Answer::ResourceServer(_)));
        assert!(matches!(self.execute(Command::ScopeAdd(scope)).unwrap(), Answer::Scope(_)));
    }
}

#[test]
fn a_client_is_added_with_a_secret_that_serves() {
    let bench = bench();
    bench.define_scope();
    let new = NewClient { client_name: "Pump".into(), scope: "telemetry:write".parse().unwrap(), ..NewClient::default() };
    let (client, secret) = bench.add_client(new);
    assert_eq!((client.client_id.len(), client.scope.as_str(), client.client_name.as_str()), (16, "telemetry:write", "Pump"));
    let id: ClientId = client.client_id.parse().unwrap();
    assert!(authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok());
    assert_eq!(bench.changes(), 3);
}

#[test]
fn random_ids_and_secrets_differ() {
    let bench = bench();
    let (first, first_secret) = bench.add_client(NewClient::default());
    let (second, second_secret) = bench.add_client(NewClient::default());
    assert_ne!(first.client_id, second.client_id);
    assert_ne!(first_secret.expose(), second_secret.expose());
}

#[test]
fn a_status_change_takes_effect_at_once() {
    let bench = bench();
    let id: ClientId = "dev1".parse().unwrap();
    let (_, secret) = bench.add_client(NewClient { client_id: Some(id.clone()), ..NewClient::default() });
    for (status, served) in [(Status::Suspended, false), (Status::Active, true), (Status::Blocked, false)] {
        let answer = bench.execute(Command::ClientSetStatus { client_id: id.clone(), status }).unwrap();
        assert!(matches!(answer, Answer::Client(client) if client.status == status));
        assert_eq!(authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok(), served, "{status:?}");
    }
}

#[test]
fn a_client_is_edited_and_the_rest_stays() {
    let bench = bench();
    bench.define_scope();
    let role = NewRole { name: "pump".parse().unwrap(), scope: "telemetry:write".parse().unwrap(), description: String::new() };
    assert!(matches!(bench.execute(Command::RoleAdd(role)).unwrap(), Answer::Role(_)));
    let policy = ClientChanges { max_token_lifetime: Some(60), ..ClientChanges::default() };
    let id: ClientId = "dev1".parse().unwrap();
    let new = NewClient { client_id: Some(id.clone()), client_name: "Pump".into(), policy, ..NewClient::default() };
    let (added, secret) = bench.add_client(new);
    assert_eq!((added.max_token_lifetime, added.roles.len()), (Some(60), 0));
    let changes = ClientChanges { roles: Some(["pump".parse().unwrap()].into()), ..ClientChanges::default() };
    let answer = bench.execute(Command::ClientEdit { client_id: id.clone(), changes }).unwrap();
    let Answer::Client(edited) = answer else { panic!("{answer:?}") };
    assert_eq!((edited.roles.len(), edited.max_token_lifetime, edited.client_name.as_str()), (1, Some(60), "Pump"));
    assert!(authenticate_session(&id, &secret, &*bench.registry, UnixTime::from(SystemTime::now())).is_ok());
    let Answer::Roles { roles, more: false } = bench.execute(Command::RoleList(RoleQuery::default())).unwrap() else { panic!("no roles") };
    assert_eq!(roles.len(), 1);
}

#[test]
fn a_removed_client_is_gone() {
    let bench = bench();
    let id: ClientId = "dev1".parse().unwrap();
    bench.add_client(NewClient { client_id: Some(id.clone()), ..NewClient::default() });
    assert!(matches!(bench.execute(Command::ClientRemove { client_id: id.clone() }).unwrap(), Answer::ClientRemoved(_)));
    for command in [Command::ClientShow { client_id: id.clone() }, Command::ClientRemove { client_id: id }] {
        assert_eq!(bench.execute(command).unwrap_err().code, AdminErrorCode::NotFound);
    }
    assert_eq!(bench.changes(), 2);
}

#[test]
fn a_refused_command_changes_nothing() {
    let bench = bench();
    let taken = NewClient { client_id: Some("dev1".parse().unwrap()), ..NewClient::default() };
    bench.add_client(taken.clone());
    let server = |audience: &str, lifetime| NewResourceServer {
        max_token_lifetime: lifetime,
        ..NewResourceServer::new("rs".parse().unwrap(), audience.into())
    };
    let no_vhost =
        NewResourceServer { dialect: Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: String::new() }, ..server("urn:x", None) };
    let with_role = ClientChanges { roles: Some(["nope".parse().unwrap()].into()), ..ClientChanges::default() };
    for (command, code) in [
        (Command::ClientAdd(taken), AdminErrorCode::AlreadyExists),
        (Command::ClientAdd(NewClient { scope: "nope".parse().unwrap(), ..NewClient::default() }), AdminErrorCode::NotFound),
        (Command::ClientAdd(NewClient { client_name: "\u{1b}[2J".into(), ..NewClient::default() }), AdminErrorCode::InvalidArgument),
        (Command::ClientAdd(NewClient { software_id: "x".repeat(257), ..NewClient::default() }), AdminErrorCode::InvalidArgument),
        (Command::ClientEdit { client_id: "dev1".parse().unwrap(), changes: ClientChanges::default() }, AdminErrorCode::InvalidArgument),
        (Command::ClientEdit { client_id: "dev1".parse().unwrap(), changes: with_role.clone() }, AdminErrorCode::NotFound),
        (Command::ClientAdd(NewClient { policy: with_role, ..NewClient::default() }), AdminErrorCode::NotFound),
        (
            Command::RoleAdd(NewRole { name: "r".parse().unwrap(), scope: ScopeSet::default(), description: String::new() }),
            AdminErrorCode::InvalidArgument,
        ),
        (Command::ResourceServerAdd(no_vhost), AdminErrorCode::InvalidArgument),
        (Command::ResourceServerAdd(server("", None)), AdminErrorCode::InvalidArgument),
        (Command::ResourceServerAdd(server("a b", None)), AdminErrorCode::InvalidArgument),
        (Command::ResourceServerAdd(server("urn:x", Some(0))), AdminErrorCode::InvalidArgument),
        (Command::KeyRevoke { kid: "a\nb".into() }, AdminErrorCode::InvalidArgument),
        (Command::KeyRevoke { kid: "../x".into() }, AdminErrorCode::NotFound),
    ] {
        let told = format!("{command:?}");
        assert_eq!(bench.execute(command).unwrap_err().code, code, "{told}");
    }
    assert_eq!((bench.changes(), bench.registry.client_count()), (1, 1));
}

#[test]
fn a_long_list_comes_in_pages_that_fit_a_frame() {
    let bench = bench();
    let name = "ü".repeat(120);
    for number in 0..2_500 {
        let client_id = Some(format!("device-{number:05}").parse().unwrap());
        bench.add_client(NewClient { client_id, client_name: name.clone(), ..NewClient::default() });
    }
    let (mut after, mut ids, mut pages): (Option<ClientCursor>, Vec<String>, usize) = (None, Vec::new(), 0);
    loop {
        let json =
            super::super::frame::encode_outcome(&bench.execute(Command::ClientList(ClientQuery { after, ..ClientQuery::default() })))
                .unwrap();
        let Ok(Answer::Clients { clients, next }) = super::super::frame::decode_outcome(&json).unwrap() else { panic!("not a list") };
        pages = pages.saturating_add(1);
        ids.extend(clients.into_iter().map(|client| client.client_id));
        if next.is_none() {
            break;
        }
        after = next;
    }
    let expected: Vec<String> = (0..2_500).map(|number| format!("device-{number:05}")).collect();
    assert_eq!(ids, expected);
    assert!(pages > 1);
}

#[test]
fn the_status_counts_what_is_registered() {
    let bench = bench();
    bench.define_scope();
    bench.add_client(NewClient::default());
    let Answer::Status(status) = bench.execute(Command::Status).unwrap() else { panic!("not a status") };
    assert!(status.running);
    assert_eq!((status.clients, status.resource_servers, status.scopes), (1, 1, 1));
    let Answer::Keys(keys) = bench.execute(Command::KeyList).unwrap() else { panic!("not keys") };
    assert_eq!((keys.len(), keys[0].alg.as_str(), keys[0].state), (1, "EdDSA", KeyState::Active));
}
fn kids(bench: &Bench) -> Vec<(String, KeyState)> {
    let Answer::Keys(keys) = bench.execute(Command::KeyList).unwrap() else { panic!("not keys") };
    keys.into_iter().map(|key| (key.kid, key.state)).collect()
}

#[test]
fn a_key_is_rotated_and_revoked() {
    let bench = bench();
    let first = kids(&bench)[0].0.clone();
    let Answer::KeyPublished(next) = bench.execute(Command::KeyRotate { key_type: KeyType::Ed25519 }).unwrap() else { panic!("not a key") };
    assert_eq!(kids(&bench), [(first.clone(), KeyState::Active), (next.kid.clone(), KeyState::Published)]);
    let revoke = Command::KeyRevoke { kid: first.clone() };
    let Answer::KeyRevoked { revoked, active } = bench.execute(revoke.clone()).unwrap() else { panic!("not a key") };
    assert_eq!((revoked.kid, revoked.state, active.kid.clone()), (first, KeyState::Active, next.kid));
    assert_eq!(kids(&bench), [(active.kid.clone(), KeyState::Active)]);
    let gone = bench.execute(revoke).unwrap_err();
    assert_eq!((gone.code, gone.advice.as_deref()), (AdminErrorCode::NotFound, Some("see `credgate key list`")));
    bench.execute(Command::KeyRevoke { kid: active.kid.clone() }).unwrap();
    assert_ne!(kids(&bench)[0].0, active.kid, "a fresh key");
    assert_eq!(bench.changes(), 3);
}

#[test]
fn deny_a_rotation_during_a_rotation() {
    let bench = bench();
    bench.execute(Command::KeyRotate { key_type: KeyType::Ed25519 }).unwrap();
    let before = kids(&bench);
    let refused = bench.execute(Command::KeyRotate { key_type: KeyType::Ed25519 }).unwrap_err();
    assert_eq!(refused.code, AdminErrorCode::InvalidArgument);
    assert!(refused.message.contains("under way"), "{refused}");
    assert_eq!((kids(&bench), bench.changes()), (before, 1));
}
