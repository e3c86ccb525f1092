//! Lists on a real registry, in their orders and page by page.

use super::*;
use crate::admin::{ClientCursor, ClientFilter, ClientQuery, ClientSort, ResourceServerQuery, RoleQuery, ScopeQuery};

/// All ids in an order, fetched so many a page; and whether each page but the last was full.
fn ids(bench: &Bench, sort: &str, limit: Option<u32>, filter: &ClientFilter) -> Vec<String> {
    let sort: ClientSort = sort.parse().unwrap();
    let (mut after, mut ids) = (None, Vec::new());
    loop {
        let query = ClientQuery { filter: filter.clone(), sort, after, limit };
        let Answer::Clients { clients, next } = bench.execute(Command::ClientList(query)).unwrap() else { panic!("not a list") };
        assert!(limit.is_none_or(|limit| clients.len() <= limit.try_into().unwrap()));
        ids.extend(clients.into_iter().map(|client| client.client_id));
        match next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

#[test]
fn clients_come_in_the_order_that_is_asked_for() {
    let bench = bench();
    for (id, name) in [("c", "Anna"), ("a", "Zoe"), ("d", "Anna"), ("b", "Max")] {
        bench.add_client(NewClient { client_id: Some(id.parse().unwrap()), client_name: name.into(), ..NewClient::default() });
    }
    bench.execute(Command::ClientSetStatus { client_id: "a".parse().unwrap(), status: Status::Blocked }).unwrap();
    let all = ClientFilter::default();
    for limit in [None, Some(1), Some(3)] {
        assert_eq!(ids(&bench, "id", limit, &all), ["a", "b", "c", "d"]);
        assert_eq!(ids(&bench, "id:desc", limit, &all), ["d", "c", "b", "a"]);
        assert_eq!(ids(&bench, "name", limit, &all), ["c", "d", "b", "a"]);
        assert_eq!(ids(&bench, "name:desc", limit, &all), ["a", "b", "d", "c"]);
        assert_eq!(ids(&bench, "status", limit, &all), ["b", "c", "d", "a"]);
        assert_eq!(ids(&bench, "last-used", limit, &all), ["a", "b", "c", "d"], "none was used");
        let active = ClientFilter { status: vec![Status::Active], ..ClientFilter::default() };
        assert_eq!(ids(&bench, "id", limit, &active), ["b", "c", "d"]);
    }
}

#[test]
fn clients_are_listed_by_their_last_use() {
    let bench = bench();
    for (id, used) in [("a", Some(200)), ("b", None), ("c", Some(100))] {
        let client_id: ClientId = id.parse().unwrap();
        let (_, secret) = bench.add_client(NewClient { client_id: Some(client_id.clone()), ..NewClient::default() });
        if let Some(used) = used {
            assert!(authenticate_session(&client_id, &secret, &*bench.registry, UnixTime::from_secs(used)).is_ok());
            let client = bench.registry.client(&client_id).unwrap();
            bench.registry.used(&client, client.credentials().next().unwrap(), UnixTime::from_secs(used));
        }
    }
    assert_eq!(ids(&bench, "last-used", Some(1), &ClientFilter::default()), ["b", "c", "a"]);
    let since = ClientFilter { last_used_after: Some(UnixTime::from_secs(150)), ..ClientFilter::default() };
    assert_eq!(ids(&bench, "id", None, &since), ["a"]);
    let never = ClientFilter { never_used: true, ..ClientFilter::default() };
    assert_eq!(ids(&bench, "id", None, &never), ["b"]);
}

#[test]
fn a_page_goes_on_where_the_one_before_ended_whatever_happens_in_between() {
    let bench = bench();
    for (id, name) in [("a", "1"), ("b", "2"), ("c", "3")] {
        bench.add_client(NewClient { client_id: Some(id.parse().unwrap()), client_name: name.into(), ..NewClient::default() });
    }
    let sort = "name".parse().unwrap();
    let page = |after| match bench.execute(Command::ClientList(ClientQuery { sort, after, limit: Some(2), ..ClientQuery::default() })) {
        Ok(Answer::Clients { clients, next }) => Ok((clients.into_iter().map(|client| client.client_id).collect::<Vec<_>>(), next)),
        Ok(_) => panic!("not a list"),
        Err(error) => Err(error),
    };
    let (first, next) = page(None).unwrap();
    assert_eq!(first, ["a", "b"]);
    bench.execute(Command::ClientRemove { client_id: "b".parse().unwrap() }).unwrap();
    assert_eq!(page(next).unwrap(), (vec!["c".to_owned()], None));
    // A person names a client alone: its place is where it stands now.
    let by_hand = |id: &str| page(Some(ClientCursor { client_id: id.parse().unwrap(), key: None }));
    assert_eq!(by_hand("a").unwrap().0, ["c"]);
    assert_eq!(by_hand("b").unwrap_err().code, AdminErrorCode::NotFound);
}

#[test]
fn deny_a_filter_by_what_is_not_there() {
    let bench = bench();
    bench.define_scope();
    let by_role = ClientFilter { roles: ["nope".parse().unwrap()].into(), ..ClientFilter::default() };
    let by_server = ScopeQuery { resource_server: Some("nope".parse().unwrap()), ..ScopeQuery::default() };
    let by_scope = RoleQuery { scope: Some("nope".parse().unwrap()), ..RoleQuery::default() };
    for command in [
        Command::ClientList(ClientQuery { filter: by_role, ..ClientQuery::default() }),
        Command::ScopeList(by_server),
        Command::RoleList(by_scope),
    ] {
        assert_eq!(bench.execute(command).unwrap_err().code, AdminErrorCode::NotFound);
    }
}

#[test]
fn definitions_are_listed_by_what_they_are() {
    let bench = bench();
    bench.define_scope();
    let servers = |query| match bench.execute(Command::ResourceServerList(query)).unwrap() {
        Answer::ResourceServers { resource_servers, more: false } => resource_servers.len(),
        _ => panic!("not a list"),
    };
    let dialect = |name: &str| ResourceServerQuery { dialect: Some(name.into()), ..ResourceServerQuery::default() };
    assert_eq!((servers(dialect("oauth")), servers(dialect("aif"))), (1, 0));
    assert_eq!(servers(ResourceServerQuery { after: Some("telemetry".parse().unwrap()), ..ResourceServerQuery::default() }), 0);
    let by_server = ScopeQuery { resource_server: Some("telemetry".parse().unwrap()), ..ScopeQuery::default() };
    let Answer::Scopes { scopes, more: false } = bench.execute(Command::ScopeList(by_server)).unwrap() else { panic!("not a list") };
    assert_eq!(scopes.len(), 1);
    let by_scope = RoleQuery { scope: Some("telemetry:write".parse().unwrap()), ..RoleQuery::default() };
    let Answer::Roles { roles, more: false } = bench.execute(Command::RoleList(by_scope)).unwrap() else { panic!("not a list") };
    assert!(roles.is_empty());
}
