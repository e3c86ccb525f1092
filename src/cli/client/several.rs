//! Commands on one client or several.

use serde::Serialize;

use super::super::CliError;
use super::super::confirm::{confirm, count, named};
use super::super::connect::Gateway;
use super::super::error::unexpected;
use super::super::output::Output;
use super::client_fields;
use crate::admin::{Answer, ClientDocument, ClientTokensDocument, Command};
use crate::clients::Status;
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Clients that a question names; more are counted.
const NAMED: usize = 10;

/// What is printed of several clients.
#[derive(Serialize)]
struct Several<T> {
    clients: Vec<T>,
}

pub(super) fn set_status(ids: Vec<ClientId>, status: Status, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let changed = each(ids, gateway, |client_id| Command::ClientSetStatus { client_id, status }, client)?;
    print(
        changed,
        output,
        |client, output| output.show(client, || client_fields(client)),
        |client| {
            let void = if client.status == Status::Active { "" } else { "; every token it got is void" };
            format!("client {} is {}{void}", client.client_id, client.status.as_str())
        },
    )
}

pub(super) fn remove(ids: Vec<ClientId>, yes: bool, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    if !yes {
        let found = show(&once(ids.clone()), gateway)?;
        confirm(&format!("remove {} for good", told(&found)), &consequence(&found))?;
    }
    let line = |client: &ClientDocument| format!("client {} was removed; every token it got is void", client.client_id);
    let removed = each(
        ids,
        gateway,
        |client_id| Command::ClientRemove { client_id },
        |answer| match answer {
            Answer::ClientRemoved(client) => Ok(client),
            other => Err(unexpected(&other)),
        },
    )?;
    print(removed, output, |client, output| output.print(client, || line(client) + "\n"), |client| line(client))
}

pub(super) fn revoke_tokens(ids: Vec<ClientId>, before: Option<UnixTime>, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let line = |revoked: &ClientTokensDocument| {
        format!("every token that client {} got before {} is void", revoked.client_id, revoked.issued_before)
    };
    let revoked = each(
        ids,
        gateway,
        |client_id| Command::ClientRevokeTokens { client_id, before },
        |answer| match answer {
            Answer::ClientTokensRevoked(revoked) => Ok(revoked),
            other => Err(unexpected(&other)),
        },
    )?;
    print(revoked, output, |revoked, output| output.print(revoked, || line(revoked) + "\n"), line)
}

fn client(answer: Answer) -> Result<Box<ClientDocument>, CliError> {
    match answer {
        Answer::Client(client) => Ok(client),
        other => Err(unexpected(&other)),
    }
}

/// Each of them once.
fn once(mut ids: Vec<ClientId>) -> Vec<ClientId> {
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    ids
}

/// The clients, all of which there must be.
fn show(ids: &[ClientId], gateway: &mut Gateway) -> Result<Vec<ClientDocument>, CliError> {
    ids.iter().map(|id| gateway.execute(Command::ClientShow { client_id: id.clone() }).and_then(client).map(|client| *client)).collect()
}

/// Has a command executed on each client, in the order they are named. One that there is not keeps it from beginning.
fn each<T>(
    ids: Vec<ClientId>,
    gateway: &mut Gateway,
    command: impl Fn(ClientId) -> Command,
    take: impl Fn(Answer) -> Result<T, CliError>,
) -> Result<Vec<T>, CliError> {
    let ids = once(ids);
    if let [_, _, ..] = ids.as_slice() {
        show(&ids, gateway)?;
    }
    let mut taken = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        match gateway.execute(command(id.clone())).and_then(&take) {
            Ok(document) => taken.push(document),
            Err(error) if index == 0 => return Err(error),
            Err(error) => {
                let (done, left) = ids.split_at_checked(index).unwrap_or((&ids, &[]));
                let what = format!("done for {}, and not for {}", super::words(done), super::words(left));
                return Err(CliError::new(error.exit(), error.code(), what)
                    .because(&error)
                    .with_help("repeat the command for those that are left"));
            }
        }
    }
    Ok(taken)
}

/// One as it always is, several as a list.
fn print<T: Serialize>(
    documents: Vec<T>,
    output: &Output,
    one: impl FnOnce(&T, &Output) -> Result<(), CliError>,
    line: impl Fn(&T) -> String,
) -> Result<(), CliError> {
    match documents.as_slice() {
        [document] => one(document, output),
        _ => {
            let several = Several { clients: documents };
            output.compose(&several, |text| several.clients.iter().for_each(|document| text.line(&line(document))))
        }
    }
}

fn told(clients: &[ClientDocument]) -> String {
    let names: Vec<String> = clients.iter().take(NAMED).map(|client| named(&client.client_id, &client.client_name)).collect();
    let more = clients.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    match clients {
        [_] => format!("client {}", names.join("")),
        _ => format!("{}: {}{rest}", count(clients.len(), "client"), names.join(", ")),
    }
}

fn consequence(clients: &[ClientDocument]) -> String {
    let secrets: usize = clients.iter().map(|client| client.secrets.len()).sum();
    let keys: usize = clients.iter().map(|client| client.keys.len()).sum();
    let parts: Vec<String> = [(secrets, "secret"), (keys, "key")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, thing)| count(number, thing))
        .collect();
    let whose = if clients.len() == 1 { "its" } else { "their" };
    let have = if clients.len() == 1 { "it has" } else { "they have" };
    let last = clients.iter().filter_map(|client| client.last_used).max();
    let used = last.map_or_else(|| "not used yet".to_owned(), |time| format!("last used {time}"));
    if parts.is_empty() {
        return format!("every token {have} is void ({used})");
    }
    format!("{whose} {} ({used}) serve no more, and every token {have} is void", parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;

    #[test]
    fn a_question_names_what_goes() {
        let one = || vec![client()];
        assert_eq!(told(&one()), "client dev1 (Pump)");
        assert_eq!(consequence(&one()), "its 1 secret (last used 1970-01-01T00:50:00Z) serve no more, and every token it has is void");
        let many: Vec<_> = (0..12).flat_map(|_| one()).collect();
        assert!(told(&many).starts_with("12 clients: dev1 (Pump), ") && told(&many).ends_with(" and 2 more"), "{}", told(&many));
        assert!(consequence(&many).starts_with("their 12 secrets"), "{}", consequence(&many));
    }
}
