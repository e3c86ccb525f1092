//! Random operations on a registry and on maps in memory come to the same, with crashes and restarts in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::torn::copy;
use super::*;

/// What is done; the numbers name records out of a few, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    AddServer(u8),
    RemoveServer(u8),
    AddScope(u8, u8),
    RemoveScope(u8),
    AddRole(u8, u8),
    RemoveRole(u8),
    AddClient(u8, Option<u8>, Option<u8>),
    Rename(u8, u8),
    Grant(u8, Option<u8>, Option<u8>),
    Block(u8),
    RemoveClient(u8),
    /// The files as they are at that moment are all that is left.
    Crash,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (server, scope, role, client) = (0..3_u8, 0..4_u8, 0..3_u8, 0..6_u8);
    let grants = (proptest::option::of(scope.clone()), proptest::option::of(role.clone()));
    prop_oneof![
        2 => server.clone().prop_map(Step::AddServer),
        1 => server.clone().prop_map(Step::RemoveServer),
        3 => (scope.clone(), server).prop_map(|(scope, server)| Step::AddScope(scope, server)),
        1 => scope.clone().prop_map(Step::RemoveScope),
        2 => (role.clone(), scope).prop_map(|(role, scope)| Step::AddRole(role, scope)),
        1 => role.prop_map(Step::RemoveRole),
        4 => (client.clone(), grants.clone()).prop_map(|(client, (scope, role))| Step::AddClient(client, scope, role)),
        2 => (client.clone(), any::<u8>()).prop_map(|(client, name)| Step::Rename(client, name)),
        2 => (client.clone(), grants).prop_map(|(client, (scope, role))| Step::Grant(client, scope, role)),
        1 => client.clone().prop_map(Step::Block),
        2 => client.prop_map(Step::RemoveClient),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// The same in memory.
#[derive(Debug, Default)]
struct Model {
    servers: BTreeSet<String>,
    /// With the resource server.
    scopes: BTreeMap<String, String>,
    /// With the scope.
    roles: BTreeMap<String, String>,
    clients: BTreeMap<String, Client>,
}

fn name(kind: &str, number: u8) -> String {
    format!("{kind}{number}")
}

fn grants(client: &mut Client, scope: Option<u8>, role: Option<u8>) {
    client.scope = scope.map(|scope| name("s", scope).parse().unwrap()).unwrap_or_default();
    client.roles = role.map(|role| name("r", role).parse().unwrap()).into_iter().collect();
}

impl Model {
    fn may_grant(&self, scope: Option<u8>, role: Option<u8>) -> bool {
        scope.is_none_or(|scope| self.scopes.contains_key(&name("s", scope)))
            && role.is_none_or(|role| self.roles.contains_key(&name("r", role)))
    }

    fn is_scope_in_use(&self, scope: &str) -> bool {
        self.roles.values().any(|used| used == scope) || self.clients.values().any(|client| client.scope.contains(scope))
    }

    fn is_role_in_use(&self, role: &str) -> bool {
        self.clients.values().any(|client| client.roles.iter().any(|used| used.as_str() == role))
    }

    /// Does it here and there; both must agree on whether it can be done.
    fn act(&mut self, registry: &Registry, step: &Step) {
        let agreed = |done: Result<(), RegistryError>, expected: bool| assert_eq!(done.is_ok(), expected, "{step:?}: {done:?}");
        match *step {
            Step::AddServer(server) => {
                let id = name("rs", server);
                let added = registry.add_resource_server(super::server(&id, &format!("https://{id}.example"))).map(drop);
                agreed(added, self.servers.insert(id));
            }
            Step::RemoveServer(server) => {
                let id = name("rs", server);
                let expected = self.servers.contains(&id) && !self.scopes.values().any(|used| *used == id);
                agreed(registry.remove_resource_server(&id.parse().unwrap()).map(drop), expected);
                if expected {
                    self.servers.remove(&id);
                }
            }
            Step::AddScope(scope, server) => {
                let (scope, server) = (name("s", scope), name("rs", server));
                let expected = self.servers.contains(&server) && !self.scopes.contains_key(&scope);
                agreed(registry.add_scope(super::scope(&scope, &server)).map(drop), expected);
                if expected {
                    self.scopes.insert(scope, server);
                }
            }
            Step::RemoveScope(scope) => {
                let scope = name("s", scope);
                let expected = self.scopes.contains_key(&scope) && !self.is_scope_in_use(&scope);
                agreed(registry.remove_scope(&scope.parse().unwrap()).map(drop), expected);
                if expected {
                    self.scopes.remove(&scope);
                }
            }
            Step::AddRole(role, scope) => {
                let (role, scope) = (name("r", role), name("s", scope));
                let expected = self.scopes.contains_key(&scope) && !self.roles.contains_key(&role);
                agreed(registry.add_role(super::role(&role, &scope)).map(drop), expected);
                if expected {
                    self.roles.insert(role, scope);
                }
            }
            Step::RemoveRole(role) => {
                let role = name("r", role);
                let expected = self.roles.contains_key(&role) && !self.is_role_in_use(&role);
                agreed(registry.remove_role(&role.parse().unwrap()).map(drop), expected);
                if expected {
                    self.roles.remove(&role);
                }
            }
            Step::AddClient(number, scope, role) => {
                let id = name("c", number);
                let mut client = super::client(&id);
                grants(&mut client, scope, role);
                let expected = !self.clients.contains_key(&id) && self.may_grant(scope, role);
                let added = registry.add_client(client);
                if let Ok(added) = &added {
                    self.clients.insert(id, (**added).clone());
                }
                agreed(added.map(drop), expected);
            }
            Step::Rename(number, to) => {
                self.update(registry, number, true, &agreed, |client| client.client_name = format!("Pump {to}"));
            }
            Step::Grant(number, scope, role) => {
                let may = self.may_grant(scope, role);
                self.update(registry, number, may, &agreed, |client| grants(client, scope, role));
            }
            Step::Block(number) => self.update(registry, number, true, &agreed, |client| client.status = Status::Blocked),
            Step::RemoveClient(number) => {
                let id = name("c", number);
                agreed(registry.remove_client(&super::id(&id)).map(drop), self.clients.remove(&id).is_some());
            }
            Step::Crash | Step::Restart => {}
        }
    }

    fn update(
        &mut self,
        registry: &Registry,
        number: u8,
        may: bool,
        agreed: &impl Fn(Result<(), RegistryError>, bool),
        change: impl FnOnce(&mut Client),
    ) {
        let id = name("c", number);
        let expected = may && self.clients.contains_key(&id);
        let changed = registry.update_client(&super::id(&id), change);
        if let Ok(changed) = &changed {
            self.clients.insert(id, (**changed).clone());
        }
        agreed(changed.map(drop), expected);
    }

    fn assert_is(&self, registry: &Registry) {
        let clients: BTreeMap<_, _> = registry.clients().iter().map(|client| (client.client_id.to_string(), (**client).clone())).collect();
        assert_eq!(clients, self.clients);
        let policy = registry.policy();
        assert_eq!(policy.resource_servers.keys().map(ToString::to_string).collect::<BTreeSet<_>>(), self.servers);
        let scopes = policy.scopes.values().map(|scope| (scope.name.to_string(), scope.resource_server.to_string()));
        assert_eq!(scopes.collect::<BTreeMap<_, _>>(), self.scopes);
        assert_eq!(
            policy.roles.values().map(|role| (role.name.to_string(), role.scope.to_string())).collect::<BTreeMap<_, _>>(),
            self.roles
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_registry_is_what_maps_in_memory_are(steps in proptest::collection::vec(step(), 1..60)) {
        let mut directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        let mut model = Model::default();
        for step in &steps {
            model.act(&registry, step);
            match step {
                Step::Crash => {
                    let left = tempfile::tempdir().unwrap();
                    copy(&options(directory.path()).directory, &options(left.path()).directory);
                    drop(registry);
                    directory = left;
                    registry = open(directory.path());
                }
                Step::Restart => {
                    drop(registry);
                    registry = open(directory.path());
                }
                _ => {}
            }
            model.assert_is(&registry);
            prop_assert_eq!(registry.memory.lost, 0);
        }
        let inspection = registry.inspect().unwrap();
        prop_assert_eq!((inspection.faulty, inspection.faults), (0, Vec::new()));
    }
}
