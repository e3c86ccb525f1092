//! Man pages and shell completions are made from the command line itself, and committed. After a change of it, write them anew:
//! `CREDGATE_BLESS=1 ./tests/run --test it -- generated::`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use credgate::cli::Args;
use credgate::exit::Exit;

use crate::site::CREDGATE;

const BLESS: &str = "CREDGATE_BLESS";

/// The command line, complete.
fn program() -> Command {
    let mut program = Args::command();
    program.build();
    program
}

/// The same without the command `help` at each level, which completes nothing that `--help` does not.
fn without_help(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command.disable_help_subcommand(true), |command, name| command.mut_subcommand(name, without_help))
}

/// Compares the files of a directory with what they are to be, or writes them if that is asked for.
fn compare(directory: &str, wanted: &BTreeMap<String, String>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let found: BTreeMap<String, String> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    if std::env::var_os(BLESS).is_some() {
        fs::create_dir_all(&directory).unwrap();
        found.keys().filter(|name| !wanted.contains_key(*name)).for_each(|name| fs::remove_file(directory.join(name)).unwrap());
        wanted.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
        return;
    }
    let names = found.keys().chain(wanted.keys());
    let stale: std::collections::BTreeSet<&String> = names.filter(|name| found.get(*name) != wanted.get(*name)).collect();
    assert!(
        stale.is_empty(),
        "{stale:?} in {} are not what the command line says; write them anew: {BLESS}=1 ./tests/run --test it -- generated::",
        directory.display()
    );
}

fn completions() -> BTreeMap<String, String> {
    [(Shell::Bash, "credgate.bash"), (Shell::Zsh, "_credgate"), (Shell::Fish, "credgate.fish")]
        .map(|(shell, name)| {
            let mut script = Vec::new();
            generate(shell, &mut without_help(Args::command()), "credgate", &mut script);
            let script = String::from_utf8(script).unwrap();
            (name.to_owned(), script.lines().map(|line| line.trim_end().to_owned() + "\n").collect())
        })
        .into()
}

/// Text for roff: no character of it commands.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti").replace('^', "\\(ha");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

/// Whether an argument is of that command, and not of all of them.
fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set() && !argument.is_hide_set() && !matches!(argument.get_action(), ArgAction::Help | ArgAction::Version)
}

/// `--flag VALUE`, or `VALUE` of a positional argument.
fn written(argument: &Arg) -> String {
    let values = || argument.get_value_names().unwrap_or_default().join(" ");
    let takes_value = argument.get_action().takes_values();
    let flag = argument.get_long().map(|long| bold(&format!("--{long}")));
    match (flag, takes_value) {
        (Some(flag), true) => format!("{flag} {}", italic(&values())),
        (Some(flag), false) => flag,
        (None, _) => italic(&values()),
    }
}

fn synopsis(command: &Command) -> String {
    let mut text = bold(command.get_bin_name().unwrap());
    let (positional, flags): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|argument| is_own(argument)).partition(|argument| argument.is_positional());
    let (required, optional): (Vec<&Arg>, Vec<&Arg>) = flags.into_iter().partition(|argument| argument.is_required_set());
    for argument in &required {
        write!(text, " {}", written(argument)).unwrap();
    }
    if !optional.is_empty() {
        write!(text, " [{}]", italic("OPTIONS")).unwrap();
    }
    for argument in positional {
        let more = if argument.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        let written = written(argument) + more;
        write!(text, " {}", if argument.is_required_set() { written } else { format!("[{written}]") }).unwrap();
    }
    if command.has_subcommands() {
        write!(text, " {} ...", italic("COMMAND")).unwrap();
    }
    text
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>, text: &mut String) {
    let (positional, flags): (Vec<&Arg>, Vec<&Arg>) = arguments.partition(|argument| argument.is_positional());
    for argument in positional.into_iter().chain(flags) {
        let short = argument.get_short().map(|short| format!("{}, ", bold(&format!("-{short}")))).unwrap_or_default();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(text, ".TP\n{short}{}\n{}", written(argument), escape(&help)).unwrap();
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if argument.get_action().takes_values() && !defaults.is_empty() && !argument.is_hide_default_value_set() {
            writeln!(text, "[default: {}]", escape(&defaults.join(" "))).unwrap();
        }
        if let Some(variable) = argument.get_env() {
            writeln!(text, "[environment: {}]", escape(&variable.to_string_lossy())).unwrap();
        }
        let values: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
        if argument.get_action().takes_values() && !argument.is_hide_possible_values_set() && !values.is_empty() {
            text.push_str(".RS\n");
            for value in values {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                writeln!(text, ".TP\n{}\n{}", bold(value.get_name()), if help.is_empty() { "\\&".into() } else { escape(&help) }).unwrap();
            }
            text.push_str(".RE\n");
        }
    }
}

/// The commands below a command that do something, in the order of `--help`.
fn leaves(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    below.flat_map(|command| if command.has_subcommands() { leaves(command) } else { vec![command] }).collect()
}

fn about(command: &Command) -> String {
    command.get_about().unwrap_or_else(|| panic!("{} says what it does", command.get_name())).to_string()
}

fn heading(page: &str, about: &str) -> String {
    let version = concat!("credgate ", env!("CARGO_PKG_VERSION"));
    // Without a date: that of the program would change the page with every build.
    format!(".TH {} 1 \"\" \"{version}\" \"credgate\"\n.SH NAME\n{} \\- {}\n", page.to_uppercase(), escape(page), escape(about))
}

/// The page of the program.
fn main_page(program: &Command) -> String {
    let nouns: Vec<&Command> = program.get_subcommands().filter(|command| command.get_name() != "help").collect();
    let mut text = heading("credgate", &about(program));
    writeln!(text, ".SH SYNOPSIS\n{} [{}] {} ...", bold("credgate"), italic("OPTIONS"), italic("COMMAND")).unwrap();
    text.push_str(
        ".SH DESCRIPTION\nMachines authorize machines: a device proves who it is with its client credentials over MQTT inside TLS, and gets a\n\
         short\\-lived, scoped, signed token that brokers and services check offline. Operators define scopes once and grant, limit or block\n\
         any client at any time.\n.PP\nThe same program is the gateway\n(\\fBcredgate serve\\fR),\nits operator\\(aqs commands and a reference device.\n\
         Commands on clients, resource servers, scopes, roles, enrolments and keys go to the running gateway through its control socket, which\n\
         takes them from root, from the gateway\\(aqs own user and from members of the group\n\\fIcontrol\\-group\\fR;\nif no gateway runs they work on its\n\
         registry directly. Every one of them prints a table for people, or JSON for programs with\n\\fB\\-\\-output json\\fR.\n\
         What destroys something asks first; without a terminal to ask at it wants\n\\fB\\-\\-yes\\fR.\n.SH COMMANDS\n",
    );
    for noun in &nouns {
        writeln!(text, ".TP\n\\fBcredgate\\-{}\\fR(1)\n{}", escape(noun.get_name()), escape(&about(noun))).unwrap();
    }
    text.push_str(".SH OPTIONS\n");
    options(program.get_arguments().filter(|argument| !argument.is_hide_set()), &mut text);
    text.push_str(".SH EXIT STATUS\n");
    for exit in Exit::ALL {
        writeln!(text, ".TP\n.B {}\n{}", exit.code(), escape(exit.meaning())).unwrap();
    }
    text.push_str(
        ".SH FILES\n\
         .TP\n.I /etc/credgate/credgate.toml\nThe configuration, if it exists and none is named. Every setting has a default.\n\
         .TP\n.I /var/lib/credgate\nThe state directory: registry, signing keys, and the embedded broker\\(aqs CA and certificate\n(\\fItls/ca.crt\\fR is for the devices).\n\
         .TP\n.I /run/credgate/control.sock\nThe control socket.\n\
         .SH ENVIRONMENT\n\
         .TP\n.B CREDGATE_CONFIG\nThe configuration file, unless\n.B \\-\\-config\nnames one.\n\
         .TP\n.BI CREDGATE_ SECTION __ KEY\nA setting, which wins over the file:\n.B CREDGATE_TOKEN__LIFETIME=600\nsets\n.I lifetime\nin\n\
         .IR [token] :\ntwo underscores between levels, one for a hyphen.\n\
         .TP\n.B CREDENTIALS_DIRECTORY\nWhere systemd puts the credential\n.IR credgate\\-master\\-key ,\nwhich seals the signing keys on disk.\n\
         .TP\n.B NO_COLOR\nIf it is not empty, nothing has colours on a terminal either.\n\
         .SH EXAMPLES\nA gateway, its first device, and a token for it:\n.PP\n.nf\n.RS\n\
         credgate init \\-\\-name gateway.example\ncredgate serve &\n\
         credgate resource\\-server add telemetry \\-\\-audience https://telemetry.example\n\
         credgate scope add telemetry:write \\-\\-resource\\-server telemetry \\-\\-permission \\(aqpub telemetry/{client_id}/#\\(aq\n\
         credgate client add dev1 \\-\\-scope telemetry:write \\-\\-secret\\-file dev1.secret\n\
         credgate device token \\-\\-broker mqtts://gateway.example \\-\\-ca\\-file ca.crt \\-\\-client\\-id dev1 \\-\\-secret\\-file dev1.secret\n.RE\n.fi\n",
    );
    text.push_str(".SH SEE ALSO\n");
    let pages: Vec<String> = nouns.iter().map(|noun| format!("\\fBcredgate\\-{}\\fR(1)", escape(noun.get_name()))).collect();
    writeln!(text, "{},\n\\fBmosquitto\\fR(8),\n\\fBsystemd\\-creds\\fR(1)", pages.join(",\n")).unwrap();
    text
}

/// The page of a command and all that is below it.
fn page(command: &Command) -> String {
    let mut text = heading(&format!("credgate-{}", command.get_name()), &about(command));
    let leaves = leaves(command);
    text.push_str(".SH SYNOPSIS\n");
    if leaves.is_empty() {
        writeln!(text, "{}", synopsis(command)).unwrap();
    } else {
        let lines: Vec<String> = leaves.iter().map(|leaf| synopsis(leaf)).collect();
        writeln!(text, "{}", lines.join("\n.br\n")).unwrap();
    }
    let described = command.get_long_about().map(ToString::to_string);
    if let Some(described) = described {
        writeln!(text, ".SH DESCRIPTION\n{}", escape(&described).replace("\n\n", "\n.PP\n")).unwrap();
    }
    if leaves.is_empty() {
        if command.get_arguments().any(is_own) {
            text.push_str(".SH OPTIONS\n");
            options(command.get_arguments().filter(|argument| is_own(argument)), &mut text);
        }
    } else {
        text.push_str(".SH COMMANDS\n");
        for leaf in leaves {
            writeln!(text, ".SS {}\n{}", escape(leaf.get_bin_name().unwrap()), escape(&about(leaf))).unwrap();
            options(leaf.get_arguments().filter(|argument| is_own(argument)), &mut text);
        }
    }
    if let Some(after) = command.get_after_help() {
        writeln!(text, ".SH NOTES\n.nf\n{}\n.fi", escape(&after.to_string())).unwrap();
    }
    text.push_str(".SH SEE ALSO\n\\fBcredgate\\fR(1) has the options of every command, the exit codes, files and environment variables.\n");
    text
}

fn pages() -> BTreeMap<String, String> {
    let program = program();
    let nouns = program.get_subcommands().filter(|command| command.get_name() != "help");
    let mut pages: BTreeMap<String, String> = nouns.map(|noun| (format!("credgate-{}.1", noun.get_name()), page(noun))).collect();
    pages.insert("credgate.1".to_owned(), main_page(&program));
    pages
}

#[test]
fn the_man_pages_are_those_of_the_command_line() {
    compare("docs/man", &pages());
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    compare("docs/completions", &completions());
}

#[test]
fn man_pages_tell_of_every_flag_and_every_exit_code() {
    let pages = pages();
    let main = &pages["credgate.1"];
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"]
    {
        assert!(main.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    assert!(Exit::ALL.iter().all(|exit| main.contains(&format!("\n.B {}\n", exit.code()))), "{main}");
    for noun in program().get_subcommands().filter(|command| command.get_name() != "help") {
        let page = &pages[&format!("credgate-{}.1", noun.get_name())];
        for leaf in leaves(noun).into_iter().chain([noun]) {
            for long in leaf.get_arguments().filter(|argument| is_own(argument)).filter_map(Arg::get_long) {
                assert!(page.contains(&bold(&format!("--{long}"))), "{} --{long}", leaf.get_name());
            }
        }
    }
}

/// What a tool says of files, which is nothing if they are sound.
fn complaints(tool: &str, arguments: &[&str], files: &[PathBuf]) -> String {
    let output = Process::new(tool).args(arguments).args(files).output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { told } else { format!("{}: {told}", output.status) }
}

#[test]
fn man_pages_are_read_without_a_complaint() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = pages()
        .into_iter()
        .map(|(name, text)| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    assert_eq!(complaints("groff", &["-man", "-ww", "-z", "-Tutf8"], &files), "");
    let said = Process::new("groff").args(["-man", "-Tascii", "-P-cbou"]).arg(directory.path().join("credgate-client.1")).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for words in ["credgate-client - Clients", "credgate client add [OPTIONS] [CLIENT_ID]", "--secret-file FILE", "credgate client rotate"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// What bash offers for a line that is not finished.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "compopt() {{ :; }}; source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _credgate credgate '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        quoted.join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Process::new("bash").args(["--norc", "-c", &line]).output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("credgate.bash");
    fs::write(&script, &completions()["credgate.bash"]).unwrap();
    assert_eq!(offered(&script, &["credgate", "resou"]), ["resource-server"]);
    assert_eq!(offered(&script, &["credgate", "client", "rev"]), ["revoke-tokens"]);
    assert_eq!(offered(&script, &["credgate", "client", "add", "--secret"]), ["--secret-file"]);
    assert_eq!(offered(&script, &["credgate", "client", "list", "--status", "su"]), ["suspended"]);
    assert_eq!(offered(&script, &["credgate", "status", "--output", ""]), ["table", "json"]);
    // The program behind it takes what is offered.
    let help = Process::new(CREDGATE).args(["client", "revoke-tokens", "--help"]).output().unwrap();
    assert!(help.status.success(), "{help:?}");
}
