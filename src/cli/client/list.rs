//! `credgate client list`.

use std::collections::{BTreeMap, BTreeSet};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::super::CliError;
use super::super::connect::Gateway;
use super::super::error::unexpected;
use super::super::grants;
use super::super::output::Output;
use super::super::pages::{self, Page};
use super::super::table::Table;
use super::super::times::{Past, Seconds};
use super::words;
use crate::admin::{self, Answer, ClientCursor, ClientDocument, ClientFilter, ClientQuery, ClientSort};
use crate::clients::{AttributeName, AttributeValue, AuthMethod, Status};
use crate::oauth::{ClientId, ResourceServerId, RoleName, ScopeToken};

/// A client must meet every condition; where one is given several times, it must meet one of them.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those with this attribute, such as site=berlin; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = grants::attribute)]
    attributes: Vec<(AttributeName, AttributeValue)>,
    /// Only those that are active, suspended or blocked; may be repeated
    #[arg(long, value_parser = PossibleValuesParser::new(["active", "suspended", "blocked"]).map(|word| status(&word)), hide_possible_values = true)]
    status: Vec<Status>,
    /// Only those with this role; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<RoleName>,
    /// Only those that hold this scope, directly or by a role; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<ScopeToken>,
    /// Only those that can have a token for this resource server; may be repeated
    #[arg(long = "audience", value_name = "ID")]
    audiences: Vec<ResourceServerId>,
    /// Only those that authenticate by client_secret_post or private_key_jwt
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(["client_secret_post", "private_key_jwt"]).map(|word| method(&word)), hide_possible_values = true)]
    auth_method: Option<AuthMethod>,
    /// Only those last used before this time, or never: 2026-11-22T21:46:24Z, or 30d for 30 days ago
    #[arg(long, value_name = "TIME")]
    last_used_before: Option<Past>,
    /// Only those used since this time
    #[arg(long, value_name = "TIME", conflicts_with = "never_used")]
    last_used_after: Option<Past>,
    /// Only those that never used a secret or key
    #[arg(long)]
    never_used: bool,
    /// Only those that end, or of which a secret or key ends, within this time, such as 30d; and those that have ended
    #[arg(long, value_name = "TIME")]
    expiring_within: Option<Seconds>,
    /// In which order: id, name, status, created, updated, last-used or expires, with :desc for the last one first
    #[arg(long, value_name = "FIELD[:desc]", default_value = "id")]
    sort: ClientSort,
    /// Only those that come after this one in the order
    #[arg(long, value_name = "CLIENT_ID")]
    after: Option<ClientId>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

fn status(word: &str) -> Status {
    [Status::Suspended, Status::Blocked].into_iter().find(|status| status.as_str() == word).unwrap_or(Status::Active)
}

fn method(word: &str) -> AuthMethod {
    if word == AuthMethod::PrivateKeyJwt.as_str() { AuthMethod::PrivateKeyJwt } else { AuthMethod::ClientSecretPost }
}

pub(super) fn run(list: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let mut attributes = BTreeMap::<AttributeName, BTreeSet<AttributeValue>>::new();
    for (name, value) in list.attributes {
        attributes.entry(name).or_default().insert(value);
    }
    let filter = ClientFilter {
        attributes,
        status: list.status,
        roles: list.roles.into_iter().collect(),
        scopes: list.scopes.into_iter().collect(),
        audiences: list.audiences.into_iter().collect(),
        auth_methods: list.auth_method.into_iter().collect(),
        last_used_before: list.last_used_before.map(Past::time),
        last_used_after: list.last_used_after.map(Past::time),
        never_used: list.never_used,
        expiring_within: list.expiring_within.map(|Seconds(seconds)| seconds),
    };
    let everything = filter.is_empty() && list.after.is_none();
    let empty = if everything { "no clients yet: credgate client add" } else { "no client is like that" };
    let after = list.after.map(|client_id| ClientCursor { client_id, key: None });
    let sort = list.sort;
    let list = pages::List { member: "clients", limit: list.limit, empty, table: table(), row };
    list.print(output, after, |after, limit| {
        let query = ClientQuery { filter: filter.clone(), sort, after, limit };
        match gateway.execute(admin::Command::ClientList(query))? {
            Answer::Clients { clients, next } => Ok(Page { records: clients, next }),
            other => Err(unexpected(&other)),
        }
    })
}

fn table() -> Table<9> {
    Table::new(["CLIENT ID", "STATUS", "LAST USED", "NAME", "SCOPE", "ROLES", "AUTHENTICATION", "CREATED", "EXPIRES"])
        .yielding(&["NAME", "SCOPE", "ROLES"])
}

fn row(client: &ClientDocument) -> [String; 9] {
    [
        client.client_id.clone(),
        client.status.as_str().to_owned(),
        client.last_used.map(|time| time.to_string()).unwrap_or_default(),
        client.client_name.clone(),
        client.scope.clone(),
        words(&client.roles),
        client.token_endpoint_auth_method.as_str().to_owned(),
        client.client_id_issued_at.to_string(),
        client.next_expiry.map(|time| time.to_string()).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;

    #[test]
    fn people_get_a_table_with_dates() {
        let mut table = table();
        table.row(row(&client()));
        assert_eq!(
            table.render(),
            "CLIENT ID  STATUS  LAST USED             NAME  SCOPE  ROLES  AUTHENTICATION      CREATED               EXPIRES\n\
             dev1       active  1970-01-01T00:50:00Z  Pump  a b    pump   client_secret_post  1970-01-01T00:16:40Z  1970-01-01T01:06:40Z\n"
        );
        let narrow = table.render_within(Some(60));
        assert_eq!(
            narrow.text,
            "CLIENT ID  STATUS  LAST USED             NAME  SCOPE  ROLES\ndev1       active  1970-01-01T00:50:00Z  Pump  a b    pump\n"
        );
        assert_eq!(narrow.left_out, ["AUTHENTICATION", "CREATED", "EXPIRES"]);
    }
}
