//! `credgate enrolment`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::Serialize;

use super::client::SecretFile;
use super::confirm::{confirm, count, named};
use super::connect::Gateway;
use super::error::{something, unexpected};
use super::output::Output;
use super::pages::{self, Page};
use super::table::{Table, fields};
use super::times::Seconds;
use super::{CliError, Exit, template};
use crate::admin::{
    self, Answer, ClientDocument, DeviceDocument, EnrolmentAnswer, EnrolmentChanges, EnrolmentCommand, EnrolmentDocument, EnrolmentQuery,
    IssuedSecret, MAX_SERIALS, NewEnrolment,
};
use crate::enrolment::{DeviceName, EnrolmentStatus, MAX_DEVICES, TemplateName};
use crate::oauth::{EnrolmentId, SerialNumber};

/// Bytes of a file of serial numbers that is read.
const MAX_FILE: u64 = 2 * 1_024 * 1_024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What clients have that register themselves
    #[command(subcommand)]
    Template(template::Command),
    /// Let devices register themselves; the token that they need is printed this once
    Add(Add),
    /// Change an enrolment; what is not named stays
    Edit(Edit),
    /// List the enrolments, all or some, by id
    List(List),
    /// Show one enrolment and the devices it knows
    Show {
        /// The enrolment
        #[arg(value_name = "ENROLMENT_ID")]
        id: EnrolmentId,
    },
    /// Let more devices register by an enrolment that is limited to serial numbers
    AddSerials {
        /// The enrolment
        #[arg(value_name = "ENROLMENT_ID")]
        id: EnrolmentId,
        #[command(flatten)]
        serials: Serials,
    },
    /// End an enrolment; clients that registered by it stay
    Revoke {
        /// The enrolment
        #[arg(value_name = "ENROLMENT_ID")]
        id: EnrolmentId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let a device register once more, such as one that lost its secret; removes the client that it was and gives its use back
    Release {
        /// The enrolment
        #[arg(value_name = "ENROLMENT_ID")]
        id: EnrolmentId,
        /// The device as `enrolment show` has it: serial:NUMBER or key:THUMBPRINT
        #[arg(value_name = "DEVICE")]
        device: DeviceName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Remove an enrolment; clients that registered by it stay
    Remove {
        /// The enrolment
        #[arg(value_name = "ENROLMENT_ID")]
        id: EnrolmentId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What the clients have
    #[arg(long, value_name = "NAME")]
    template: TemplateName,
    /// How many devices may register [default: as many as there are serial numbers]
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["serial", "serial_file"])]
    uses: Option<u32>,
    /// For how long, such as 7d, 12h or seconds
    #[arg(long, value_name = "TIME")]
    expires: Seconds,
    #[command(flatten)]
    serials: Serials,
    /// Write the token to this new file (mode 0600, no line break) instead of printing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The enrolment
    #[arg(value_name = "ENROLMENT_ID")]
    id: EnrolmentId,
    /// How many devices may register in all, those that have included
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// When it ends, from now, such as 2h: sooner than it would, as its token tells that
    #[arg(long, value_name = "TIME")]
    expires: Option<Seconds>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Only those with this template
    #[arg(long, value_name = "NAME")]
    template: Option<TemplateName>,
    /// Only those that are open, used_up, expired or revoked; may be repeated
    #[arg(long, value_parser = PossibleValuesParser::new(["open", "used_up", "expired", "revoked"]).map(|word| status(&word)), hide_possible_values = true)]
    status: Vec<EnrolmentStatus>,
    /// Only those that end within this time, such as 30d; and those that have ended
    #[arg(long, value_name = "TIME")]
    expiring_within: Option<Seconds>,
    /// Only those whose id comes after this one
    #[arg(long, value_name = "ENROLMENT_ID")]
    after: Option<EnrolmentId>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

fn status(word: &str) -> EnrolmentStatus {
    let known = [EnrolmentStatus::UsedUp, EnrolmentStatus::Expired, EnrolmentStatus::Revoked];
    known.into_iter().find(|status| status.as_str() == word).unwrap_or(EnrolmentStatus::Open)
}

#[derive(Debug, clap::Args)]
pub(super) struct Serials {
    /// Serial number of a device that may register, and no other; may be repeated
    #[arg(long = "serial", value_name = "NUMBER", id = "serial")]
    serials: Vec<SerialNumber>,
    /// File with such serial numbers, one a line; empty lines and lines that begin with # are left out
    #[arg(long, value_name = "FILE")]
    serial_file: Option<PathBuf>,
}

impl Serials {
    fn read(self) -> Result<Vec<SerialNumber>, CliError> {
        let mut serials = self.serials;
        if let Some(path) = &self.serial_file {
            serials.extend(read_serials(path)?);
        }
        serials.sort_unstable();
        serials.dedup();
        if serials.len() > MAX_DEVICES {
            let told = format!("{} serial numbers are more than the {MAX_DEVICES} of an enrolment", serials.len());
            return Err(CliError::new(Exit::Data, "serial_file", told).with_help("make several enrolments"));
        }
        Ok(serials)
    }
}

fn read_serials(path: &Path) -> Result<Vec<SerialNumber>, CliError> {
    let unreadable =
        |error: io::Error| CliError::new(Exit::NoInput, "serial_file", format!("{} cannot be read", path.display())).because(&error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(CliError::new(Exit::Data, "serial_file", format!("{} is too large for serial numbers", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let serials: Vec<SerialNumber> = lines
        .map(|(index, line)| {
            let told = |error| format!("{}, line {}: {error}", path.display(), index.saturating_add(1));
            line.parse().map_err(|error: crate::oauth::InvalidWord| CliError::new(Exit::Data, "serial_file", told(error)))
        })
        .collect::<Result<_, _>>()?;
    if serials.is_empty() {
        return Err(CliError::new(Exit::Data, "serial_file", format!("{}: there is no serial number in it", path.display())));
    }
    Ok(serials)
}

/// What `enrolment add` prints.
#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    enrolment: &'a EnrolmentDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_access_token: Option<&'a IssuedSecret>,
}

/// What `enrolment show` prints.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    enrolment: &'a EnrolmentDocument,
    devices: Vec<DeviceDocument>,
}

/// What `enrolment release` prints.
#[derive(Serialize)]
struct Released<'a> {
    #[serde(flatten)]
    enrolment: &'a EnrolmentDocument,
    removed_client: Option<&'a ClientDocument>,
}

fn execute(command: EnrolmentCommand, gateway: &mut Gateway) -> Result<EnrolmentAnswer, CliError> {
    match gateway.execute(admin::Command::Enrolment(command))? {
        Answer::Enrolment(answer) => Ok(answer),
        other => Err(unexpected(&other)),
    }
}

fn execute_on_one(command: EnrolmentCommand, gateway: &mut Gateway) -> Result<EnrolmentDocument, CliError> {
    match execute(command, gateway)? {
        EnrolmentAnswer::Enrolment(enrolment) => Ok(enrolment),
        other => Err(unexpected(&Answer::Enrolment(other))),
    }
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Template(command) => template::run(command, gateway, output),
        Command::Add(args) => add(args, gateway, output),
        Command::Edit(Edit { id, uses, expires, description }) => {
            let changes = EnrolmentChanges { description, uses, expires_in: expires.map(|Seconds(seconds)| seconds) };
            something(changes == EnrolmentChanges::default(), "enrolment edit")?;
            let enrolment = execute_on_one(EnrolmentCommand::Edit { id, changes }, gateway)?;
            output.show(&enrolment, || enrolment_fields(&enrolment))
        }
        Command::List(args) => list(args, gateway, output),
        Command::Show { id } => show(&id, gateway, output),
        Command::AddSerials { id, serials } => {
            let serials = serials.read()?;
            if serials.is_empty() {
                let told = CliError::new(Exit::Usage, "usage", "no serial number was named");
                return Err(told.with_help("see `credgate enrolment add-serials --help`"));
            }
            let enrolment = add_serials(&id, &serials, gateway)?;
            output.show(&enrolment, || enrolment_fields(&enrolment))
        }
        Command::Revoke { id, yes } => {
            if !yes {
                let found = execute_on_one(EnrolmentCommand::Show { id: id.clone() }, gateway)?;
                let left = usize::try_from(found.uses.saturating_sub(found.used)).unwrap_or(usize::MAX);
                confirm(
                    &format!("end enrolment {} for good", named(id.as_str(), &found.description)),
                    &format!("{} that could still register cannot any more; clients that registered by it stay", count(left, "device")),
                )?;
            }
            let enrolment = execute_on_one(EnrolmentCommand::Revoke { id }, gateway)?;
            output.print(&enrolment, || format!("enrolment {} lets nobody register any more\n", enrolment.id))
        }
        Command::Release { id, device, yes } => {
            if !yes {
                let client = registered_as(&id, &device, gateway)?;
                let client = client.map_or("no client".to_owned(), |client_id| format!("client {client_id}"));
                confirm(
                    &format!("release {device} from enrolment {id}"),
                    &format!("{client} is removed, every token it has is void, and {device} may register once more"),
                )?;
            }
            let (enrolment, client) = match execute(EnrolmentCommand::Release { id, device: device.clone() }, gateway)? {
                EnrolmentAnswer::Released { enrolment, client } => (enrolment, client),
                other => return Err(unexpected(&Answer::Enrolment(other))),
            };
            let document = Released { enrolment: &enrolment, removed_client: client.as_deref() };
            output.print(&document, || match &client {
                Some(client) => format!("{device} may register once more; client {} was removed\n", client.client_id),
                None => format!("{device} may register once more\n"),
            })
        }
        Command::Remove { id, yes } => {
            if !yes {
                let found = execute_on_one(EnrolmentCommand::Show { id: id.clone() }, gateway)?;
                let used = usize::try_from(found.used).unwrap_or(usize::MAX);
                confirm(
                    &format!("remove enrolment {} for good", named(id.as_str(), &found.description)),
                    &format!(
                        "nobody can register by it any more, and what it knows of {} is forgotten; their clients stay",
                        count(used, "device")
                    ),
                )?;
            }
            let enrolment = execute_on_one(EnrolmentCommand::Remove { id }, gateway)?;
            output.print(&enrolment, || format!("enrolment {} was removed; its clients stay\n", enrolment.id))
        }
    }
}

fn add_serials(id: &EnrolmentId, serials: &[SerialNumber], gateway: &mut Gateway) -> Result<EnrolmentDocument, CliError> {
    let mut enrolment = None;
    for serials in serials.chunks(MAX_SERIALS) {
        let command = EnrolmentCommand::AddSerials { id: id.clone(), serials: serials.to_vec() };
        enrolment = Some(execute_on_one(command, gateway)?);
    }
    match enrolment {
        Some(enrolment) => Ok(enrolment),
        None => execute_on_one(EnrolmentCommand::Show { id: id.clone() }, gateway),
    }
}

fn add(args: Add, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let (Seconds(expires_in), serials) = (args.expires, args.serials.read()?);
    let file = args.token_file.as_deref().map(SecretFile::create).transpose()?;
    let (template, description, uses, is_limited) = (args.template, args.description, args.uses.unwrap_or_default(), !serials.is_empty());
    let new = NewEnrolment { template, description, uses, expires_in, is_limited };
    let (made, token) = match execute(EnrolmentCommand::Add(new), gateway)? {
        EnrolmentAnswer::Added { enrolment, token } => (enrolment, token),
        other => return Err(unexpected(&Answer::Enrolment(other))),
    };
    let enrolment = match add_serials(&made.id, &serials, gateway) {
        Ok(enrolment) => enrolment,
        Err(error) => {
            // Without all of its serial numbers it is not what was asked for.
            drop(execute(EnrolmentCommand::Remove { id: made.id }, gateway));
            return Err(error);
        }
    };
    if let Some(file) = file {
        let path = file.keep(token.secret()).map_err(|error| take_back(&enrolment, &error, gateway))?;
        return output.show(&Made { enrolment: &enrolment, initial_access_token: None }, || {
            let mut shown = enrolment_fields(&enrolment);
            shown.insert(1, ("Token file", path.display().to_string()));
            shown
        });
    }
    let delivered = output.deliver(&Made { enrolment: &enrolment, initial_access_token: Some(&token) }, || {
        let mut shown = enrolment_fields(&enrolment);
        shown.insert(1, ("Token", String::from_utf8_lossy(token.secret().expose()).into_owned()));
        fields(&shown)
    });
    delivered.map_err(|error| take_back(&enrolment, &error, gateway))?;
    output.note("The token is shown this once; the gateway keeps only its digest. Whoever has it can register.");
    Ok(())
}

/// An enrolment whose token reached nobody is of no use.
fn take_back(enrolment: &EnrolmentDocument, error: &io::Error, gateway: &mut Gateway) -> CliError {
    let id = &enrolment.id;
    let removed = execute(EnrolmentCommand::Remove { id: id.clone() }, gateway).is_ok();
    let told = CliError::new(Exit::Io, "secret_not_delivered", format!("the token of enrolment {id} could not be written")).because(error);
    match removed {
        true => told.with_help("the enrolment was removed again; repeat the command"),
        false => told.with_help(format!("the enrolment is there all the same: credgate enrolment remove {id}, then repeat the command")),
    }
}

fn list(List { template, status, expiring_within, after, limit }: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let query =
        EnrolmentQuery { template, status, expiring_within: expiring_within.map(|Seconds(seconds)| seconds), ..EnrolmentQuery::default() };
    let everything = query == EnrolmentQuery::default() && after.is_none();
    let empty = if everything { "no enrolments yet: credgate enrolment add" } else { "no enrolment is like that" };
    let table = Table::new(["ENROLMENT ID", "TEMPLATE", "STATUS", "USES", "EXPIRES", "DESCRIPTION"]).yielding(&["TEMPLATE", "DESCRIPTION"]);
    let list = pages::List { member: "enrolments", limit, empty, table, row };
    list.print(output, after, |after, limit| {
        match execute(EnrolmentCommand::List(EnrolmentQuery { after, limit, ..query.clone() }), gateway)? {
            EnrolmentAnswer::Enrolments { enrolments, more } => {
                Ok(Page { next: enrolments.last().filter(|_| more).map(|enrolment| enrolment.id.clone()), records: enrolments })
            }
            other => Err(unexpected(&Answer::Enrolment(other))),
        }
    })
}

/// The client that a device registered as, if it has.
fn registered_as(id: &EnrolmentId, device: &DeviceName, gateway: &mut Gateway) -> Result<Option<String>, CliError> {
    let found = devices(id, gateway)?.into_iter().find(|known| known.device == *device);
    Ok(found.and_then(|known| known.client_id))
}

/// All devices that an enrolment knows.
fn devices(id: &EnrolmentId, gateway: &mut Gateway) -> Result<Vec<DeviceDocument>, CliError> {
    let (mut devices, mut after) = (Vec::<DeviceDocument>::new(), None);
    loop {
        match execute(EnrolmentCommand::Devices { id: id.clone(), after }, gateway)? {
            EnrolmentAnswer::Devices { devices: page, more } => {
                after = page.last().map(|device| device.device.clone());
                devices.extend(page);
                if !more || after.is_none() {
                    return Ok(devices);
                }
            }
            other => return Err(unexpected(&Answer::Enrolment(other))),
        }
    }
}

fn show(id: &EnrolmentId, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let enrolment = execute_on_one(EnrolmentCommand::Show { id: id.clone() }, gateway)?;
    let shown = Shown { enrolment: &enrolment, devices: devices(id, gateway)? };
    output.compose(&shown, |text| {
        text.fields(&enrolment_fields(&enrolment));
        if !shown.devices.is_empty() {
            text.line("");
            text.table(&device_table(&shown.devices));
        }
    })
}

fn enrolment_fields(enrolment: &EnrolmentDocument) -> Vec<(&'static str, String)> {
    vec![
        ("Enrolment id", enrolment.id.to_string()),
        ("Template", enrolment.template.to_string()),
        ("Status", enrolment.status.as_str().to_owned()),
        ("Uses", format!("{} of {}", enrolment.used, enrolment.uses)),
        ("Devices", if enrolment.is_limited { "those with its serial numbers".to_owned() } else { "any".to_owned() }),
        ("Expires", enrolment.expires_at.to_string()),
        ("Revoked", enrolment.revoked_at.map(|time| time.to_string()).unwrap_or_default()),
        ("Description", enrolment.description.clone()),
        ("Created", enrolment.created_at.to_string()),
    ]
}

fn row(enrolment: &EnrolmentDocument) -> [String; 6] {
    [
        enrolment.id.to_string(),
        enrolment.template.to_string(),
        enrolment.status.as_str().to_owned(),
        format!("{} of {}", enrolment.used, enrolment.uses),
        if enrolment.status == EnrolmentStatus::Revoked { String::new() } else { enrolment.expires_at.to_string() },
        enrolment.description.clone(),
    ]
}

fn device_table(devices: &[DeviceDocument]) -> Table<3> {
    let mut table = Table::new(["DEVICE", "CLIENT ID", "REGISTERED"]);
    for device in devices {
        let time = device.enrolled_at.map(|time| time.to_string()).unwrap_or_default();
        table.row([device.device.to_string(), device.client_id.clone().unwrap_or_default(), time]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;
    use serde_json::Value;

    use super::super::output::tests::{Failing, Printed};
    use super::super::{Format, connect, init};
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn command(line: &[&str]) -> Command {
        Line::try_parse_from(std::iter::once(&"enrolment").chain(line)).unwrap_or_else(|error| panic!("{line:?}: {error}")).command
    }

    struct Bench {
        directory: tempfile::TempDir,
        gateway: Gateway,
        printed: Printed,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let gateway = connect::tests::gateway(directory.path());
            init::tests::init(&connect::load_config(gateway.global()).unwrap());
            let mut bench = Self { directory, gateway, printed: Printed::default() };
            bench.json(&["template", "add", "pump", "--client-id", "pump-{serial}", "--method", "client_secret_post"]).unwrap();
            bench
        }

        fn json(&mut self, line: &[&str]) -> Result<Value, CliError> {
            run(command(line), &mut self.gateway, &self.printed.output(Format::Json)).map(|()| self.printed.json())
        }

        fn table(&mut self, line: &[&str]) -> String {
            run(command(line), &mut self.gateway, &self.printed.output(Format::Table)).unwrap();
            self.printed.take()
        }
    }

    #[test]
    fn a_template_lives_from_add_to_remove() {
        let mut bench = Bench::new();
        let shown = bench.json(&["template", "show", "pump"]).unwrap();
        assert_eq!((&shown["client_id"], &shown["methods"][0]), (&"pump-{serial}".into(), &"client_secret_post".into()));
        let edit = ["template", "edit", "pump", "--attribute", "site=berlin", "--max-token-lifetime", "60", "--require-request-binding"];
        let edited = bench.json(&edit).unwrap();
        assert_eq!((&edited["attributes"]["site"], &edited["max_token_lifetime"]), (&"berlin".into(), &60.into()));
        let clear = ["template", "edit", "pump", "--clear", "attribute", "--clear", "max-token-lifetime", "--method", "private_key_jwt"];
        let cleared = bench.json(&clear).unwrap();
        assert_eq!((&cleared["attributes"], &cleared["max_token_lifetime"]), (&serde_json::json!({}), &Value::Null));
        assert_eq!((&cleared["require_request_binding"], &cleared["methods"]), (&true.into(), &serde_json::json!(["private_key_jwt"])));
        assert!(bench.table(&["template", "list"]).contains("pump-{serial}"));
        let id = bench.json(&["add", "--template", "pump", "--uses", "1", "--expires", "1h"]).unwrap()["id"].as_str().unwrap().to_owned();
        let used = bench.json(&["template", "remove", "pump", "--yes"]).unwrap_err();
        assert!(used.to_string().contains(&id), "{used}");
        bench.json(&["remove", &id, "--yes"]).unwrap();
        bench.json(&["template", "remove", "pump", "--yes"]).unwrap();
        assert_eq!(bench.json(&["template", "list"]).unwrap()["templates"], serde_json::json!([]));
    }

    #[test]
    fn deny_templates_that_cannot_be() {
        let mut bench = Bench::new();
        for line in [
            &["template", "add", "pump", "--client-id", "x-{random}"][..],
            &["template", "add", "t", "--client-id", "x-{random}", "--scope", "unknown"],
            &["template", "add", "t", "--client-id", "x-{random}", "--role", "unknown"],
            &["template", "add", "t", "--client-id", "x-{random}", "--audience", "unknown"],
            &["template", "add", "t", "--client-id", "x-{random}", "--default-scope", "a"],
            &["template", "show", "t"],
            &["add", "--template", "t", "--uses", "1", "--expires", "1h"],
            &["add", "--template", "pump", "--uses", "0", "--expires", "1h"],
            &["add", "--template", "pump", "--uses", "1", "--expires", "0"],
            &["add", "--template", "pump", "--uses", "16385", "--expires", "1h"],
            &["show", "nothing"],
            &["revoke", "nothing", "--yes"],
            &["revoke", "nothing"],
            &["edit", "nothing", "--uses", "2"],
            &["release", "nothing", "serial:1", "--yes"],
            &["add-serials", "nothing", "--serial", "1"],
        ] {
            assert_eq!(bench.json(line).unwrap_err().exit(), Exit::Data, "{line:?}");
        }
        for line in [&["template", "edit", "pump"][..], &["template", "remove", "pump"], &["add-serials", "e"], &["edit", "e"]] {
            assert_eq!(bench.json(line).unwrap_err().exit(), Exit::Usage, "{line:?}");
        }
        for line in [
            &["add", "--template", "pump", "--expires", "1h"][..],
            &["add", "--template", "pump", "--uses", "1"],
            &["add", "--template", "pump", "--serial", "a/b", "--expires", "1h"],
            &["template", "add", "t", "--client-id", "pump"],
            &["template", "add", "t", "--client-id", "x-{random}", "--method", "none"],
            &["release", "e", "17"],
        ] {
            assert!(Line::try_parse_from(std::iter::once(&"enrolment").chain(line)).is_err(), "{line:?}");
        }
    }

    #[test]
    fn an_enrolment_lives_from_add_to_remove() {
        let mut bench = Bench::new();
        let made = bench.json(&["add", "--template", "pump", "--uses", "3", "--expires", "7d", "--description", "Hall 7"]).unwrap();
        let token = made["initial_access_token"].as_str().unwrap().to_owned();
        assert_eq!((token.split('.').count(), &made["uses"], &made["used"], &made["status"]), (3, &3.into(), &0.into(), &"open".into()));
        assert_eq!(made["expires_at"].as_u64().unwrap(), made["created_at"].as_u64().unwrap().saturating_add(604_800));
        let (header, claims) = crate::jose::decode_unverified(&token).unwrap();
        assert_eq!((&header["typ"], &claims["jti"]), (&"enrolment+jwt".into(), &made["id"]));
        assert_eq!((&claims["iss"], &claims["aud"]), (&"https://credgate.local".into(), &"https://credgate.local".into()));
        let id = made["id"].as_str().unwrap();
        let shown = bench.json(&["show", id]).unwrap();
        assert!(shown.get("initial_access_token").is_none() && !shown.to_string().contains("digest"), "{shown}");
        assert!(bench.table(&["list"]).contains("Hall 7"));
        let revoked = bench.json(&["revoke", id, "--yes"]).unwrap();
        assert_eq!((&revoked["status"], revoked["revoked_at"].is_u64()), (&"revoked".into(), true));
        bench.json(&["remove", id, "--yes"]).unwrap();
        assert_eq!(bench.json(&["list"]).unwrap()["enrolments"], serde_json::json!([]));
    }

    #[test]
    fn serial_numbers_come_from_flags_and_files() {
        let mut bench = Bench::new();
        let file = bench.directory.path().join("serials");
        let many: String = (0..2_500).map(|number| format!("s{number:04}\n")).collect();
        std::fs::write(&file, format!("# one a line\n\n  s0001  \r\n{many}")).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let token = bench.directory.path().join("token");
        let token_file = token.to_str().unwrap().to_owned();
        let add = ["add", "--template", "pump", "--expires", "1h", "--serial", "x", "--serial-file", &file, "--token-file", &token_file];
        let made = bench.json(&add).unwrap();
        assert_eq!((&made["uses"], &made["is_limited"], made.get("initial_access_token")), (&2_501.into(), &true.into(), None));
        assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
        let id = made["id"].as_str().unwrap();
        let more = bench.json(&["add-serials", id, "--serial", "y", "--serial", "x"]).unwrap();
        assert_eq!(more["uses"], 2_502);
        let fewer = bench.json(&["add", "--template", "pump", "--expires", "1h", "--serial", "1", "--serial", "2", "--uses", "1"]).unwrap();
        assert_eq!(bench.json(&["add-serials", fewer["id"].as_str().unwrap(), "--serial", "3"]).unwrap()["uses"], 1);
        let shown = bench.json(&["show", id]).unwrap();
        let devices = shown["devices"].as_array().unwrap();
        assert_eq!((devices.len(), &devices[2_501]["serial"]), (2_502, &"y".into()));
        assert!(bench.table(&["show", id]).contains("serial:s2499"));
        let refused = bench.json(&["release", id, "serial:y", "--yes"]).unwrap_err();
        assert_eq!((refused.exit(), refused.to_string().contains("nothing to release")), (Exit::Data, true));
        bench.json(&["remove", id, "--yes"]).unwrap();
        assert_eq!(bench.json(&["show", id]).unwrap_err().exit(), Exit::Data);
    }

    #[test]
    fn deny_bad_serial_files() {
        let mut bench = Bench::new();
        let file = bench.directory.path().join("serials");
        let path = file.to_str().unwrap().to_owned();
        let add = ["add", "--template", "pump", "--expires", "1h", "--serial-file", &path];
        assert_eq!(bench.json(&add).unwrap_err().exit(), Exit::NoInput);
        for (content, told) in [("", "no serial number"), ("a\n\nb c\n", "line 3"), (&"x\n".repeat(1_100_000), "too large")] {
            std::fs::write(&file, content).unwrap();
            let error = bench.json(&add).unwrap_err();
            assert!(error.exit() == Exit::Data && error.to_string().contains(told), "{error}");
        }
        assert_eq!(bench.json(&["list"]).unwrap()["enrolments"], serde_json::json!([]));
    }

    #[test]
    fn an_enrolment_whose_token_reaches_nobody_is_not_kept() {
        let mut bench = Bench::new();
        let add = ["add", "--template", "pump", "--uses", "1", "--expires", "1h"];
        let output = Output::to(Format::Table, Box::new(Failing(io::ErrorKind::BrokenPipe)));
        let error = run(command(&add), &mut bench.gateway, &output).unwrap_err();
        assert_eq!((error.exit(), error.code()), (Exit::Io, "secret_not_delivered"));
        assert_eq!(bench.json(&["list"]).unwrap()["enrolments"], serde_json::json!([]));
    }
}
