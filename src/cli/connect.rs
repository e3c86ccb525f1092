//! The way to the registry: through the running gateway or, if none runs, directly.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CliError, Exit, Global};
use crate::admin::{
    AdminError, AdminErrorCode, Administrator, Answer, ApplyAnswer, ApplyCommand, ApplySession, CallError, Caller, Command, Conversation,
    DaemonStatus, Serving, call, user_name,
};
use crate::audit::AuditLog;
use crate::config::{Config, ConfigError};
use crate::daemon::{audit_limits, audit_signer, key_options, registry_options};
use crate::registry::{AuditHooks, KeyStore, Registry, RegistryError, finish_restore};

/// The file to read, if any.
pub(super) fn config_file(global: &Global) -> Option<PathBuf> {
    crate::config::config_file(global.config.as_deref())
}

/// Loads the configuration.
pub(super) fn load_config(global: &Global) -> Result<Config, CliError> {
    Ok(load(global)?)
}

/// The same, with every fault as it was found.
pub(super) fn load(global: &Global) -> Result<Config, ConfigError> {
    Config::of_process(global.config.as_deref())
}

/// The control socket. With one named, the configuration is not needed, and a broken one is no obstacle.
pub(super) fn control_socket(global: &Global) -> Result<PathBuf, CliError> {
    match &global.control_socket {
        Some(path) => Ok(path.clone()),
        None => Ok(load_config(global)?.file.control_socket),
    }
}

/// Whatever executes commands: the running gateway, or this process on the registry of one that does not run.
pub(super) struct Gateway {
    global: Global,
    direct: Option<Administrator>,
}

impl Gateway {
    pub(super) fn new(global: Global) -> Self {
        Self { global, direct: None }
    }

    pub(super) fn global(&self) -> &Global {
        &self.global
    }

    /// Executes a command.
    pub(super) fn execute(&mut self, command: Command) -> Result<Answer, CliError> {
        if let Some(administrator) = &self.direct {
            return Ok(administrator.execute(command)?);
        }
        let socket = control_socket(&self.global)?;
        match call(&socket, &command) {
            Err(CallError::NotRunning { .. }) => {
                let administrator = open(&load_config(&self.global)?, &socket)?;
                let outcome = administrator.execute(command);
                self.direct = Some(administrator);
                Ok(outcome?)
            }
            outcome => Ok(outcome?),
        }
    }
}

/// Whatever takes a change of many records, part by part.
pub(super) enum Applying {
    Daemon(Conversation),
    Here(Option<Box<ApplySession>>),
}

impl Applying {
    /// Begins it.
    pub(super) fn begin(global: &Global) -> Result<Self, CliError> {
        let socket = control_socket(global)?;
        match Conversation::open(&socket) {
            Ok(mut conversation) => {
                conversation.ask(&Command::Apply(ApplyCommand::Begin), || false)?;
                Ok(Self::Daemon(conversation))
            }
            Err(CallError::NotRunning { .. }) => {
                let administrator = open(&load_config(global)?, &socket)?;
                Ok(Self::Here(Some(Box::new(administrator.begin_apply(Caller::this_process())?))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a part; `None` if `given_up` said so while the daemon was at it.
    pub(super) fn take(&mut self, command: ApplyCommand, given_up: impl FnMut() -> bool) -> Result<Option<ApplyAnswer>, CallError> {
        match self {
            Self::Daemon(conversation) => match conversation.ask(&Command::Apply(command), given_up)? {
                Some(Answer::Apply(answer)) => Ok(Some(answer)),
                Some(other) => Err(wrong_kind(&other).into()),
                None => Ok(None),
            },
            Self::Here(session) => {
                let Some(mut begun) = session.take() else { return Err(over().into()) };
                if let ApplyCommand::Commit { fingerprint } = command {
                    begun.commit(&fingerprint)?;
                    return Ok(Some(ApplyAnswer::Committed));
                }
                let answer = begun.take(command, 0)?;
                *session = Some(begun);
                Ok(Some(answer))
            }
        }
    }
}

fn wrong_kind(answer: &Answer) -> AdminError {
    AdminError::new(AdminErrorCode::Internal, format!("the gateway gave an answer of the wrong kind: {answer:?}"))
}

fn over() -> AdminError {
    AdminError::new(AdminErrorCode::Internal, "the change is over")
}

/// Opens the registry of a gateway that does not run.
fn open(config: &Config, socket: &Path) -> Result<Administrator, CliError> {
    let directory = config.registry_directory();
    check_owner(&config.file.state_directory)?;
    finish_restore(&config.file.state_directory)?;
    if std::fs::symlink_metadata(&directory).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let what = format!("no gateway listens on {}, and there is no registry in {}", socket.display(), directory.display());
        return Err(CliError::new(Exit::NoInput, "no_registry", what)
            .with_help("make one with `credgate init`, or name the gateway's configuration with --config"));
    }
    let registry = Registry::open(&registry_options(config)).map_err(|error| match error {
        RegistryError::Locked { .. } => {
            let what = format!("no gateway listens on {}, but another process has the registry open", socket.display());
            CliError::new(Exit::Temporary, "registry_locked", what).because(&error).with_help(
                "if another command is at work or the gateway is just starting, try again; if the gateway uses another control socket, \
                 name it with --control-socket",
            )
        }
        error => error.into(),
    })?;
    let issuer = config.file.issuer.clone();
    let status = move || DaemonStatus { version: env!("CARGO_PKG_VERSION").to_owned(), issuer: issuer.clone(), ..DaemonStatus::default() };
    let keys = Arc::new(KeyStore::new(key_options(config)));
    keys.audited_by(&(registry.clone() as Arc<dyn AuditLog>));
    // The keys hold the registry, which holds this.
    let signing = Arc::downgrade(&keys);
    // There may be no key yet, or none that opens without the master key: then the gateway signs when it starts.
    let active = move || {
        let keys = signing.upgrade()?;
        let is_begun = keys.list().is_ok_and(|listed| !listed.is_empty());
        is_begun.then(|| keys.load_or_create().ok().map(|ring| ring.active().clone())).flatten()
    };
    let sign = audit_signer(config.file.issuer.clone(), active);
    registry.keep_audit(audit_limits(&config.file.audit), AuditHooks { sign, ..AuditHooks::default() });
    let serving = Serving {
        settings: Arc::new({
            let settings = config.settings();
            move || settings.clone()
        }),
        // Nobody has looked at it for long.
        clock: Arc::new(|| None),
        links: config.links(),
    };
    let administrator = Administrator::new(registry, keys, Box::new(status), Box::new(|| ()));
    Ok(administrator.rotating_by(config.rotation_rule()).explaining(serving).backing_up(config.tls_directory()))
}

/// Refuses to work on another user's files: new files would belong to this user, and the gateway could not open them.
pub(super) fn check_owner(state_directory: &Path) -> Result<(), CliError> {
    let own = Caller::this_process().uid;
    match std::fs::metadata(state_directory) {
        Ok(found) if found.uid() != own => {
            // sudo understands a number too.
            let owner = user_name(found.uid()).unwrap_or_else(|| format!("#{}", found.uid()));
            let what = format!(
                "{} belongs to the user {owner}, and this command would leave files in it that {owner} cannot use",
                state_directory.display()
            );
            Err(CliError::new(Exit::Permission, "wrong_user", what).with_help(format!(
                "run the command as that user: sudo -u '{owner}' credgate ...; or start the gateway and repeat the command"
            )))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CliError::caused(Exit::Io, "io", &error).with_help(format!("make {} accessible, or use sudo", state_directory.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admin::{ControlSocket, NewClient};
    use crate::cli::Format;

    pub(in crate::cli) fn gateway(directory: &Path) -> Gateway {
        let config = directory.join("credgate.toml");
        let text = format!("state-directory = \"{0}/state\"\ncontrol-socket = \"{0}/control.sock\"\n", directory.display());
        std::fs::write(&config, text).unwrap();
        Gateway::new(Global { output: Format::Json, config: Some(config), control_socket: None })
    }

    #[test]
    fn the_registry_is_used_directly_if_no_gateway_runs() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = gateway(directory.path());
        let missing = gateway.execute(Command::ClientList(Default::default())).unwrap_err();
        assert_eq!((missing.exit(), missing.code()), (Exit::NoInput, "no_registry"));
        assert!(!directory.path().join("state").exists(), "a look must not create anything");

        crate::cli::init::tests::init(&load_config(&gateway.global).unwrap());
        assert!(matches!(gateway.execute(Command::ClientAdd(NewClient::default())).unwrap(), Answer::ClientAdded { .. }));
        let Answer::Clients { clients, .. } = gateway.execute(Command::ClientList(Default::default())).unwrap() else {
            panic!("not a list")
        };
        assert_eq!(clients.len(), 1);
    }

    #[test]
    fn a_running_gateway_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = gateway(directory.path());
        let config = load_config(&gateway.global).unwrap();
        crate::cli::init::tests::init(&config);
        let socket = config.file.control_socket.clone();
        // It holds the registry, so that nothing but the socket leads there.
        let administrator = std::sync::Arc::new(open(&config, &socket).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (_stop, shutdown) = tokio::sync::watch::channel(false);
        let _entered = runtime.enter();
        runtime.spawn(ControlSocket::bind(&socket, None).unwrap().serve(administrator.clone(), shutdown));
        assert!(matches!(gateway.execute(Command::ClientAdd(NewClient::default())).unwrap(), Answer::ClientAdded { .. }));
        let Answer::Status(status) = administrator.execute(Command::Status).unwrap() else { panic!("not a status") };
        assert_eq!(status.clients, 1);
        let missing = gateway.execute(Command::ClientShow { client_id: "nobody".parse().unwrap() }).unwrap_err();
        assert_eq!((missing.exit(), missing.help()), (Exit::Data, Some("see `credgate client list`")));
    }

    #[test]
    fn a_locked_registry_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = gateway(directory.path());
        let config = load_config(&gateway.global).unwrap();
        crate::cli::init::tests::init(&config);
        let _held = Registry::open(&registry_options(&config)).unwrap();
        let error = gateway.execute(Command::KeyList).unwrap_err();
        assert_eq!((error.exit(), error.code()), (Exit::Temporary, "registry_locked"));
    }

    #[test]
    fn another_users_directory_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        // Only root can give a directory away; for everyone else the root directory is another user's.
        let (foreign, owner) = match Caller::this_process().uid {
            0 => (directory.path(), "#12345"),
            _ => (Path::new("/"), "root"),
        };
        if owner != "root" {
            std::os::unix::fs::chown(foreign, Some(12_345), None).unwrap();
        }
        let error = check_owner(foreign).unwrap_err();
        assert_eq!(error.exit(), Exit::Permission);
        assert!(error.help().unwrap().contains(&format!("sudo -u '{owner}'")));
        assert!(check_owner(&directory.path().join("nothing")).is_ok());
    }
}
