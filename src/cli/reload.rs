//! `credgate reload`: the gateway reads its configuration, certificates and passwords anew.

use super::CliError;
use super::connect::{Gateway, control_socket};
use super::error::unexpected;
use super::output::Output;
use crate::admin::{Answer, CallError, Command, ReloadDocument, call};
use crate::exit::Exit;

pub(super) fn run(gateway: &Gateway, output: &Output) -> Result<(), CliError> {
    let unread = |error: CliError| {
        error.with_help("a gateway that runs goes on with the configuration that it has: mend the file, and repeat the command")
    };
    let socket = control_socket(gateway.global()).map_err(unread)?;
    match call(&socket, &Command::Reload) {
        Ok(Answer::Reloaded(document)) => output.print(&document, || told(&document)),
        Ok(other) => Err(unexpected(&other)),
        Err(CallError::NotRunning { .. }) => {
            let what = format!("no gateway listens on {}: it reads its configuration when it starts", socket.display());
            Err(CliError::new(Exit::Unavailable, "not_running", what).with_help("start it, e.g. with systemctl start credgate"))
        }
        Err(error) => Err(error.into()),
    }
}

fn told(document: &ReloadDocument) -> String {
    let ReloadDocument { taken, restart, certificate, link } = document;
    let mut lines = Vec::new();
    if !taken.is_empty() {
        lines.push(format!("taken over: {}", taken.join(", ")));
    }
    if *certificate {
        lines.push("the embedded broker shows its new certificate to connections from now on".to_owned());
    }
    if *link {
        lines.push("the link to the broker connects anew; `credgate status` tells whether it is up".to_owned());
    }
    if !restart.is_empty() {
        lines.push(format!("NEEDS A RESTART: {}", restart.join(", ")));
    }
    if lines.is_empty() {
        lines.push("nothing has changed".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_came_of_it_is_told() {
        assert_eq!(told(&ReloadDocument::default()), "nothing has changed\n");
        let text = told(&ReloadDocument { taken: vec!["a".into(), "b".into()], restart: vec!["c".into()], certificate: true, link: true });
        assert!(text.starts_with("taken over: a, b\n") && text.ends_with("NEEDS A RESTART: c\n") && text.lines().count() == 4, "{text}");
    }
}
