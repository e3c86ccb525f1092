//! The command line of a program that is the gateway alone (without the feature `commands`), for images where every megabyte counts. Operators use the
//! `credgate` of another host on its control socket.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;
use crate::daemon::Vitals;
use crate::exit::{CliError, Exit};

const HELP: &str = "\
Credential gateway for IoT devices, the gateway alone

Usage: credgate [--config FILE] serve

Runs the gateway until SIGTERM or SIGINT. Without --config, or CREDGATE_CONFIG, it reads
/etc/credgate/credgate.toml if that exists. This program was built without the operator's
commands: use those of a whole credgate, on a copy of the state directory while no gateway
runs, or through the control socket (ssh -L /tmp/credgate.sock:/run/credgate/control.sock
HOST, then credgate --control-socket /tmp/credgate.sock).
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Serve(Option<PathBuf>),
    Tell(String),
}

/// Runs the gateway, and prints what went wrong.
pub fn main(arguments: impl IntoIterator<Item = OsString>, vitals: Vitals) -> ExitCode {
    let outcome = read(arguments.into_iter().skip(1), std::env::var_os("CREDGATE_CONFIG")).and_then(|asked| match asked {
        Asked::Serve(file) => Ok(crate::daemon::run_until_signalled(Config::of_process(file.as_deref())?, vitals)?),
        Asked::Tell(text) => {
            // Nobody is left to be told if this fails.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
    });
    outcome
        .err()
        .map_or(Exit::Ok, |error| {
            let _ = std::io::stderr().write_all(error.report().as_bytes());
            error.exit()
        })
        .into()
}

fn read(mut arguments: impl Iterator<Item = OsString>, named: Option<OsString>) -> Result<Asked, CliError> {
    let usage = |what: String| CliError::new(Exit::Usage, "usage", what).with_help("see `credgate --help`");
    let (mut file, mut serves) = (named.filter(|name| !name.is_empty()).map(PathBuf::from), false);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        match text.as_ref() {
            "-h" | "--help" => return Ok(Asked::Tell(HELP.to_owned())),
            "-V" | "--version" => return Ok(Asked::Tell(format!("credgate {}\n", env!("CARGO_PKG_VERSION")))),
            "--config" => {
                file = Some(arguments.next().ok_or_else(|| usage("--config is given without a file".to_owned()))?.into());
            }
            "serve" if !serves => serves = true,
            other => match other.strip_prefix("--config=") {
                Some(name) => file = Some(name.into()),
                None => return Err(usage(format!("this program is the gateway alone: it does not know {}", other.escape_debug()))),
            },
        }
    }
    if serves { Ok(Asked::Serve(file)) } else { Err(usage("no command is given: `credgate serve` runs the gateway".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str, named: &str) -> Result<Asked, CliError> {
        read(line.split_whitespace().map(OsString::from), Some(named.into()))
    }

    #[test]
    fn the_gateway_is_asked_for_with_its_configuration() {
        for line in ["serve --config /a", "--config /a serve", "--config=/a serve"] {
            assert_eq!(asked(line, "/b").unwrap(), Asked::Serve(Some("/a".into())), "{line}");
        }
        assert_eq!(asked("serve", "/b").unwrap(), Asked::Serve(Some("/b".into())));
        assert_eq!(asked("serve", "").unwrap(), Asked::Serve(None));
        assert!(matches!(asked("serve --help", "").unwrap(), Asked::Tell(text) if text == HELP));
        assert!(matches!(asked("--version", "").unwrap(), Asked::Tell(text) if text.starts_with("credgate ")));
    }

    #[test]
    fn deny_what_it_does_not_do() {
        for line in ["", "client list", "serve serve", "serve --config", "--output json serve"] {
            assert_eq!(asked(line, "").unwrap_err().exit(), Exit::Usage, "{line}");
        }
    }
}
