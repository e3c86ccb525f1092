//! The rule that no registration leads to a token larger than its resource server takes.

use crate::clients::Client;
use crate::policy::Policy;
use crate::token;

/// Checks that no token of a client can be larger than its resource server takes.
pub(super) fn check(issuer: &str, client: &Client, policy: &Policy) -> Result<(), String> {
    for server in policy.resource_servers.values() {
        let Some(limit) = server.max_token_bytes else { continue };
        let size = token::largest_size(issuer, client, server, policy).unwrap_or_default();
        if u32::try_from(size).map_or(true, |size| size > limit) {
            return Err(format!("a token for {} would have {size} bytes, more than the {limit} that it takes", server.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::administrator::tests::bench;
    use super::super::{AdminErrorCode, ClientChanges, Command, NewClient, NewResourceServer, NewRole, NewScope};
    use crate::clients::Status;
    use crate::oauth::ClientId;
    use crate::policy::Dialect;

    #[test]
    fn deny_registrations_that_lead_to_a_token_too_large() {
        let bench = bench();
        let server = |id: &str, limit| NewResourceServer {
            dialect: Dialect::Aif,
            max_token_bytes: limit,
            ..NewResourceServer::new(id.parse().unwrap(), format!("urn:{id}"))
        };
        let scope = |name: &str, server: &str, permission: &str| {
            let (name, resource_server) = (name.parse().unwrap(), server.parse().unwrap());
            Command::ScopeAdd(NewScope {
                name,
                resource_server,
                permissions: vec![permission.parse().unwrap()],
                description: String::new(),
            })
        };
        let role = |name: &str, scope: &str| {
            Command::RoleAdd(NewRole { name: name.parse().unwrap(), scope: scope.parse().unwrap(), description: String::new() })
        };
        let policy = |site: &str| ClientChanges {
            attributes: Some([("site".parse().unwrap(), site.parse().unwrap())].into()),
            ..ClientChanges::default()
        };
        let client = |id: &str, scope: &str, site: &str| NewClient {
            client_id: Some(id.parse().unwrap()),
            scope: scope.parse().unwrap(),
            policy: policy(site),
            ..NewClient::default()
        };
        let long = "x".repeat(60);
        bench.administrator.execute(Command::ResourceServerAdd(server("rs", Some(520)))).unwrap();
        bench.administrator.execute(Command::ResourceServerAdd(server("free", None))).unwrap();
        bench.administrator.execute(scope("a", "rs", "pub a/{site}/#")).unwrap();
        bench.administrator.execute(scope("b", "rs", &format!("pub {}", "b".repeat(40)))).unwrap();
        bench.administrator.execute(scope("large", "free", &format!("pub {}", "b".repeat(400)))).unwrap();
        bench.administrator.execute(role("r", "a")).unwrap();
        bench.administrator.execute(Command::ClientAdd(client("dev1", "a large", "berlin"))).unwrap();
        let id: ClientId = "dev1".parse().unwrap();
        let edit = |changes| Command::ClientEdit { client_id: id.clone(), changes };
        for (command, subject) in [
            (Command::ClientAdd(client("dev2", "a", &long)), "client dev2"),
            (Command::ClientAdd(client("dev2", "a b", "berlin")), "client dev2"),
            (edit(policy(&long)), "client dev1"),
            (edit(ClientChanges { scope: Some("a b".parse().unwrap()), ..ClientChanges::default() }), "client dev1"),
            (scope("c", "rs", &format!("pub {}", "c".repeat(200))), "scope c"),
            (role("both", "a b"), "role both"),
        ] {
            let error = bench.administrator.execute(command).unwrap_err();
            assert_eq!(error.code, AdminErrorCode::InvalidArgument);
            let told = &error.message;
            assert!(
                told.starts_with(&format!("{subject}: a token for rs would have ")) && told.ends_with("more than the 520 that it takes"),
                "{told}"
            );
        }
        bench
            .administrator
            .execute(edit(ClientChanges { roles: Some(["r".parse().unwrap()].into()), ..ClientChanges::default() }))
            .unwrap();
        bench.administrator.execute(Command::ClientSetStatus { client_id: id.clone(), status: Status::Blocked }).unwrap();
    }
}
