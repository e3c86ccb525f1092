//! `credgate explain`.

use super::connect::Gateway;
use super::error::unexpected;
use super::output::{Output, Text};
use super::table::Table;
use super::{CliError, Exit, grants};
use crate::admin::{self, Answer};
use crate::clients::AuthMethod;
use crate::clock::UnixTime;
use crate::endpoint::{Explanation, ForeseenToken};
use crate::mqtt::LinkKind;
use crate::oauth::{ClientId, ScopeSet, Step};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client that would ask
    #[arg(long, value_name = "ID")]
    client: ClientId,
    /// Audience it would name: a resource server's id or audience value
    #[arg(long)]
    audience: Option<String>,
    /// Scope it would name; may be repeated [default: none, which asks for the default scopes]
    #[arg(long)]
    scope: Vec<ScopeSet>,
    /// When it would ask, such as 2026-11-22T21:46:24Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// How it would authenticate: client_secret_post or private_key_jwt [default: as it is registered]
    #[arg(long, value_parser = method)]
    method: Option<AuthMethod>,
    /// Through which broker: broker, your own, or embedded-broker [default: the embedded one if it is enabled]
    #[arg(long, value_parser = link)]
    link: Option<LinkKind>,
}

fn method(text: &str) -> Result<AuthMethod, &'static str> {
    let known = [AuthMethod::ClientSecretPost, AuthMethod::PrivateKeyJwt];
    known.into_iter().find(|method| method.as_str() == text).ok_or("must be client_secret_post or private_key_jwt")
}

fn link(text: &str) -> Result<LinkKind, &'static str> {
    let known = [LinkKind::Broker, LinkKind::EmbeddedBroker];
    known.into_iter().find(|link| link.as_str() == text).ok_or("must be broker or embedded-broker")
}

pub(super) fn run(args: Args, gateway: &mut Gateway, output: &Output) -> Result<Exit, CliError> {
    let Args { client, audience, scope, at, method, link } = args;
    let query = admin::Explain { client_id: client, audience, scope: grants::scopes(&scope), at, method, link };
    match gateway.execute(admin::Command::Explain(query))? {
        Answer::Explanation(explanation) => {
            output.compose(&explanation, |text| tell(&explanation, text))?;
            Ok(if explanation.granted { Exit::Ok } else { Exit::Refused })
        }
        other => Err(unexpected(&other)),
    }
}

fn tell(explanation: &Explanation, text: &mut Text) {
    let Explanation { client_id, method, at, granted, reason, .. } = explanation;
    let verdict = if *granted { "granted".to_owned() } else { format!("refused ({reason})") };
    text.line(&format!("A token for {client_id}, asked for by {} at {at}: {verdict}", method.as_str()));
    text.line("");
    let mut table = Table::new(["CHECK", "OUTCOME", "FINDING", "DECIDED BY"]).wrapping(&["FINDING", "DECIDED BY"]);
    for Step { check, outcome, decided_by, finding } in &explanation.steps {
        let records: Vec<String> = decided_by.iter().map(ToString::to_string).collect();
        table.row([check.as_str().to_owned(), outcome.to_string(), finding.clone(), records.join(", ")]);
    }
    text.table(&table);
    if let Some(error) = &explanation.error {
        text.line("");
        text.fields(&[("The device is told", format!("{}: {}", error.error, error.error_description))]);
    }
    if let Some(token) = &explanation.token {
        text.line("");
        tell_token(token, text);
    }
}

fn tell_token(token: &ForeseenToken, text: &mut Text) {
    text.fields(&[
        ("Token", format!("{}, dialect {}, signed {} by key {}", token.format.as_str(), token.dialect, token.alg.name(), token.kid)),
        ("Lives", format!("{} s", token.lifetime)),
        ("Scope", token.scope.to_string()),
        ("Opens", token.permissions.join(", ")),
    ]);
    text.line("Claims, with a random jti:");
    serde_json::to_string_pretty(&token.claims).unwrap_or_default().lines().for_each(|line| text.line(line));
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::output::tests::Printed;
    use super::super::{Format, connect, init};
    use super::*;
    use crate::admin::{NewClient, NewResourceServer, NewScope};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn people_and_programs_are_told_the_verdict_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let server = NewResourceServer::new("rs".parse().unwrap(), "urn:rs".into());
        let permissions = vec!["pub t/{client_id}".parse().unwrap()];
        let (name, resource_server) = ("rs:use".parse().unwrap(), "rs".parse().unwrap());
        let scope = NewScope { name, resource_server, permissions, description: String::new() };
        let client = NewClient { client_id: "dev1".parse().ok(), scope: "rs:use".parse().unwrap(), ..NewClient::default() };
        for command in [admin::Command::ResourceServerAdd(server), admin::Command::ScopeAdd(scope), admin::Command::ClientAdd(client)] {
            gateway.execute(command).unwrap();
        }
        let printed = Printed::default();
        let mut explain = |format, line: &str| {
            let args = Line::try_parse_from(std::iter::once("explain").chain(line.split(' '))).unwrap().args;
            (run(args, &mut gateway, &printed.output(format)).unwrap(), printed.take())
        };
        let (exit, text) = explain(Format::Table, "--client dev1 --at 2026-11-22T21:46:24Z");
        // The secret was made later than that, and a secret without a beginning always serves.
        assert_eq!(exit, Exit::Ok);
        for part in
            ["A token for dev1", ": granted\n", "CHECK", "client dev1: scope", "Opens:", "pub t/dev1", "\"aud\": \"urn:rs\"", "300 s"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("jti\""), "{text}");
        let (exit, text) = explain(Format::Table, "--client dev1 --scope nonsense");
        assert_eq!((exit, exit.code()), (Exit::Refused, 4));
        assert!(text.contains("refused (scope_not_granted)") && text.contains("The device is told:  invalid_scope: "), "{text}");
        let (exit, json) = explain(Format::Json, "--client nobody --audience rs --method private_key_jwt");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((exit, &json["reason"], &json["granted"]), (Exit::Refused, &"unknown_client".into(), &false.into()));
        assert_eq!(json["steps"].as_array().unwrap().last().unwrap()["decided_by"][0]["kind"], "client");
        assert_eq!((&json["error"]["error"], json.get("token")), (&"invalid_client".into(), None));
    }
}
