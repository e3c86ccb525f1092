//! The command line: what a person types and what is printed.

mod apply;
mod audit;
mod backup;
mod check;
mod client;
mod confirm;
mod connect;
pub mod demo;
pub mod device;
mod device_key;
mod device_link;
mod device_register;
mod device_rotate;
mod enrolment;
mod error;
mod explain;
mod export;
mod fleet;
mod grants;
mod init;
mod interrupt;
mod jwk_file;
mod key;
mod new_file;
mod output;
mod pages;
mod progress;
mod reload;
mod resource_server;
mod restore;
mod role;
mod rotate;
mod scope;
mod settings;
mod status;
mod table;
mod template;
mod times;
mod token;
#[cfg(feature = "top")]
mod top;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Format;

use crate::daemon::Vitals;
use crate::exit::{CliError, Exit};
use connect::Gateway;
use output::Output;

/// Credential gateway for IoT devices: OAuth 2.0 client credentials over MQTT, tokens checked offline
#[derive(Debug, Parser)]
#[command(name = "credgate", version, after_help = exit_codes())]
pub struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command knows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// What to print: tables for people, JSON for programs
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
    /// Configuration file [default: /etc/credgate/credgate.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "CREDGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Control socket of the gateway [default: as configured]
    #[arg(long, global = true, value_name = "PATH")]
    control_socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Serve,
    /// Make the state directory, the CA, the broker certificate and the signing key
    Init(init::Args),
    /// Try everything out in a directory of its own, without any set-up
    Demo(demo::Args),
    /// Do what a device does
    Device(device::Args),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(settings::Command),
    /// Clients: the devices that may have tokens
    #[command(subcommand)]
    Client(client::Command),
    /// Resource servers: what checks tokens
    #[command(subcommand)]
    ResourceServer(resource_server::Command),
    /// Scopes: what a token may open
    #[command(subcommand)]
    Scope(scope::Command),
    /// Roles: named sets of scopes
    #[command(subcommand)]
    Role(role::Command),
    /// Enrolments: devices that register themselves
    #[command(subcommand)]
    Enrolment(enrolment::Command),
    /// Make clients and what they may have as files say; shows the difference first
    Apply(Box<apply::Args>),
    /// Signing keys
    #[command(subcommand)]
    Key(key::Command),
    /// Tokens: revoke one; look into one or check one, without asking the gateway
    #[command(subcommand)]
    Token(token::Command),
    /// Tell whether a token request would be granted, and why; exit code 4 if it would be refused
    Explain(explain::Args),
    /// The audit trail: what operators did, what became of credentials and keys, who was refused
    #[command(subcommand)]
    Audit(audit::Command),
    /// Export clients, policy, enrolments and revocations as lines of JSON
    Export(export::Args),
    /// Make a backup of registry and keys, also while the gateway runs
    Backup(backup::Args),
    /// Put a backup in place while the gateway does not run; everything in it is verified before anything is touched
    Restore(restore::Args),
    /// Examine the installation and say what to do; exit code 1 for warnings, 2 for errors
    Check(check::Args),
    /// Have the gateway read its configuration, certificates and passwords anew; nothing changes if anything is wrong with them
    Reload,
    /// Tell what the gateway does; exit code 3 if it does not run
    Status,
    /// Watch the gateway on this terminal: requests, refusals, latencies, clients; q ends it
    #[cfg(feature = "top")]
    Top(top::Args),
}

/// Parses the command line, runs it, and prints what went wrong. `vitals` is for the daemon.
pub fn main(arguments: impl IntoIterator<Item = OsString>, vitals: Vitals) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let args = match Args::try_parse_from(&arguments) {
        Ok(args) => args,
        Err(error) => return usage(&error, output::asked_for(&arguments)).into(),
    };
    let format = args.global.output;
    match run(args, vitals) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::print_error(format, &error);
            error.exit().into()
        }
    }
}

fn run(args: Args, vitals: Vitals) -> Result<Exit, CliError> {
    let Args { global, command } = args;
    let output = Output::new(global.output);
    match command {
        Command::Serve => crate::daemon::run_until_signalled(connect::load_config(&global)?, vitals)?,
        Command::Init(args) => init::run(args, &connect::load_config(&global)?, &output)?,
        Command::Demo(args) => demo::run(args, global.output == Format::Json)?,
        Command::Device(args) => device::run(args, global.output == Format::Json, &output)?,
        Command::Config(command) => settings::run(command, &global, &output)?,
        Command::Client(command) => client::run(command, &mut Gateway::new(global), &output)?,
        Command::ResourceServer(command) => resource_server::run(command, &mut Gateway::new(global), &output)?,
        Command::Scope(command) => scope::run(command, &mut Gateway::new(global), &output)?,
        Command::Role(command) => role::run(command, &mut Gateway::new(global), &output)?,
        Command::Enrolment(command) => enrolment::run(command, &mut Gateway::new(global), &output)?,
        Command::Apply(args) => return apply::run(*args, &global, &output),
        Command::Key(command) => key::run(command, &mut Gateway::new(global), &output)?,
        Command::Token(token::Command::Revoke { file }) => token::run_revoke(file.as_deref(), &mut Gateway::new(global), &output)?,
        Command::Token(token::Command::Show { token }) => token::run_show(token.as_deref(), &output)?,
        Command::Token(token::Command::Verify(args)) => token::run_verify(*args, &output)?,
        Command::Explain(args) => return explain::run(args, &mut Gateway::new(global), &output),
        Command::Audit(command) => audit::run(command, global, &output)?,
        Command::Export(args) => export::run(args, &mut Gateway::new(global), &output)?,
        Command::Backup(args) => backup::run(args, &mut Gateway::new(global), &output)?,
        Command::Restore(args) => restore::run(args, &global, &output)?,
        Command::Check(args) => return check::run(args, global, &output),
        Command::Reload => reload::run(&Gateway::new(global), &output)?,
        Command::Status => return status::run(&global, &output),
        #[cfg(feature = "top")]
        Command::Top(args) => return top::run(&args, &global),
    }
    Ok(Exit::Ok)
}

/// The end of `--help`.
fn exit_codes() -> String {
    let half = Exit::ALL.len().div_ceil(2);
    let (left, right) = Exit::ALL.split_at(half);
    let mut text = "Exit codes:\n".to_owned();
    for (index, exit) in left.iter().enumerate() {
        let line = format!("  {:>3}  {:<37}", exit.code(), exit.meaning());
        let beside = right.get(index).map(|exit| format!(" {:>3}  {}", exit.code(), exit.meaning())).unwrap_or_default();
        text.push_str(format!("{line}{beside}").trim_end());
        text.push('\n');
    }
    text.push_str(
        "\nCommands on clients, resource servers, scopes, enrolments and keys, and apply, go to the running gateway through its control socket; if none runs \
         they\nwork on its registry directly.",
    );
    text
}

/// Help and the version are answers; everything else is a usage error.
fn usage(error: &clap::Error, format: Format) -> Exit {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        // Nobody is left to be told if this fails.
        let _ = error.print();
        return Exit::Ok;
    }
    match format {
        Format::Table => {
            let _ = error.print();
        }
        Format::Json => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            output::print_error(format, &CliError::new(Exit::Usage, "usage", text.trim_end()));
        }
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("credgate").chain(line.split_whitespace()))
    }

    #[test]
    fn the_commands_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_tells_every_exit_code() {
        let help = exit_codes();
        assert!(help.lines().all(|line| line.len() <= 150), "{help}");
        for exit in Exit::ALL {
            assert!(help.split_whitespace().any(|word| word == exit.code().to_string()), "{exit:?}");
        }
    }

    #[test]
    fn commands_are_read() {
        for line in [
            "serve --config /etc/x.toml",
            "init --name gw.local --name 192.0.2.1",
            "config show",
            "client add",
            "client add dev1 --name Pump --scope a --scope b --secret-file /run/s",
            "client add dev1 --role a --role b --default-scope a --audience rs --attribute site=berlin --max-token-lifetime 60",
            "client edit dev1 --not-before 2026-11-22T21:46:24Z --expires-at 1795383985 --clear role --clear attribute",
            "client remove dev1 --yes --output json",
            "client edit dev1 --introspect rs --clear introspect",
            "client revoke-tokens dev1 --before 2026-11-22T21:46:24Z",
            "token revoke",
            "token verify - --jwks j --trl t --seen-sequence 7",
            "role add pump --scope a:b --scope c",
            "role list",
            "--control-socket /run/x client block dev1",
            "resource-server add rs --audience https://rs.example --max-token-lifetime 60",
            "scope add a:b --resource-server rs",
            "apply -f fleet.toml -f more.csv --dry-run --exit-code",
            "apply --file - --format json --prune --yes --secrets-file s.jsonl --expect AAAA --limit 0",
            "key list",
            "key rotate --output json",
            "key revoke kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k --yes",
            "key revoke --yes -yrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "explain --client dev1 --audience rs --scope a --scope b --at 2026-11-22T21:46:24Z --method private_key_jwt --link broker",
            "audit list --since 24h --until 2026-11-22T21:46:24Z --type refusal --client dev1 --reason wrong_secret --limit 0",
            "audit tail -f -n 3 --type operator",
            "audit export trail.jsonl",
            "audit verify --file trail.jsonl --checkpoint kept --jwks jwks.json",
            "audit checkpoint --output json",
            "export",
            "export all.jsonl --without-credentials",
            "backup b --recipient age1kvlc4dwdr7ma7wcr3zaw677hd7zet87h5nscwcrtj0mm7z7pd3xsw2lgl0 --recipients-file r",
            "backup b --without-keys",
            "restore b --force --identity key.txt --dry-run",
            "check",
            "check clock disk-space --output json",
            "check --list",
            "reload",
            "status",
            #[cfg(feature = "top")]
            "top",
            #[cfg(feature = "top")]
            "top --interval 0.5 --control-socket /run/x",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn usage_errors_are_64_and_help_is_0() {
        for (line, exit) in [
            ("", Exit::Usage),
            ("nonsense", Exit::Usage),
            ("client", Exit::Usage),
            ("client add a/b", Exit::Usage),
            ("client add --scope a\"b", Exit::Usage),
            ("client add --attribute site", Exit::Usage),
            ("client add --attribute site=a/b", Exit::Usage),
            ("client add --attribute Site=a", Exit::Usage),
            ("client add --role a/b", Exit::Usage),
            ("client edit dev1 --clear secrets", Exit::Usage),
            ("client edit dev1 --expires-at tomorrow", Exit::Usage),
            ("role add pump", Exit::Usage),
            ("scope add a --resource-server rs --permission write", Exit::Usage),
            ("check --list clock", Exit::Usage),
            ("apply", Exit::Usage),
            ("apply -f x.csv --exit-code", Exit::Usage),
            ("apply -f x.csv --secrets-file a --secrets-directory b", Exit::Usage),
            ("explain", Exit::Usage),
            ("explain --client dev1 --method basic", Exit::Usage),
            ("explain --client dev1 --link emqx", Exit::Usage),
            ("explain --client dev1 --at noon", Exit::Usage),
            ("status --output yaml", Exit::Usage),
            ("top --interval 0", Exit::Usage),
            ("key revoke", Exit::Usage),
            ("token verify t", Exit::Usage),
            ("token verify t --jwks j --seen-sequence 7", Exit::Usage),
            ("client revoke-tokens dev1 --before tomorrow", Exit::Usage),
            ("backup", Exit::Usage),
            ("backup b --recipient nobody", Exit::Usage),
            ("backup b --without-keys --plain-keys", Exit::Usage),
            ("restore", Exit::Usage),
            ("audit", Exit::Usage),
            ("audit list --since yesterday", Exit::Usage),
            ("audit list --client a/b", Exit::Usage),
            ("--help", Exit::Ok),
            ("client add --help", Exit::Ok),
            ("--version", Exit::Ok),
        ] {
            assert_eq!(usage(&parse(line).unwrap_err(), Format::Table), exit, "{line}");
        }
    }
}
