use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path()), variables(environment))
}

fn variables(environment: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn problems(result: Result<Config, ConfigError>) -> Vec<Problem> {
    match result.unwrap_err() {
        // A build without the embedded broker lacks a link in addition, as most tests configure none.
        ConfigError::Invalid { problems } => problems.into_iter().filter(|problem| problem.origin != Origin::Default).collect(),
        other => panic!("{other}"),
    }
}

fn line(problem: &Problem) -> usize {
    match &problem.origin {
        Origin::File { line, .. } => *line,
        other => panic!("{other:?}"),
    }
}

#[test]
#[cfg(feature = "embedded-broker")]
fn shipped_file_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/credgate.toml");
    let config = Config::load(Some(&path), std::iter::empty()).unwrap();
    assert_eq!(config.file, ConfigFile::default());

    let shipped: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let defaults = toml::Table::try_from(ConfigFile::default()).unwrap();
    let keys = layers::leaves(&defaults);
    assert!(keys.len() > 30, "{keys:?}");
    assert_eq!(layers::leaves(&shipped), keys);
}

#[test]
#[cfg(feature = "embedded-broker")]
fn shipped_examples_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2);
    for path in files {
        let config = Config::load(Some(&path), std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.file.embedded_broker.enabled, config.broker_address().is_none(), "{}", path.display());
    }
}

#[test]
fn gives_what_the_parts_need() {
    let text = "state-directory = '/s'\ntopic-prefix = 'a/b'\nmax-payload = 1000\nissuer = 'https://i'\n[token]\nlifetime = 7\n\
                max-lifetime = 8\n[broker]\nurl = 'mqtts://[::1]'\n[embedded-broker]\nenabled = false";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.registry_directory(), Path::new("/s/registry"));
    assert_eq!(config.keys_directory(), Path::new("/s/keys"));
    assert_eq!(config.tls_directory(), Path::new("/s/tls"));
    assert_eq!(config.broker_certificate(), Path::new("/s/tls/broker.crt"));
    assert_eq!(config.broker_private_key(), Path::new("/s/tls/broker.key"));
    assert_eq!(config.topics().prefix(), "a/b");
    let settings = config.settings();
    assert_eq!((settings.issuer.as_str(), settings.max_payload), ("https://i", 1_000));
    assert_eq!((settings.lifetimes.default, settings.lifetimes.maximum), (7, 8));
    assert_eq!(config.broker_address().unwrap().to_string(), "mqtts://[::1]:8883");
    assert_eq!((config.link_ca_file(), config.link_identity(), config.link_username()), (None, None, None));

    let text = "[broker]\nurl = 'mqtts://b'\nca-file = 'ca'\ncertificate-file = 'c'\nprivate-key-file = 'k'\nusername = 'u'\n\
                [embedded-broker]\nenabled = false\ncertificate-file = 'bc'\nprivate-key-file = 'bk'";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.link_ca_file(), Some(Path::new("ca")));
    assert_eq!(config.link_identity(), Some((Path::new("c"), Path::new("k"))));
    assert_eq!(config.link_username(), Some("u"));
    assert_eq!((config.broker_certificate(), config.broker_private_key()), ("bc".into(), "bk".into()));
}

#[test]
fn reads_back_what_it_shows() {
    let text =
        "[broker]\nurl = 'mqtts://b'\n[embedded-broker]\nenabled = false\nlisten = ['127.0.0.1:1', '[::1]:2']\n[log]\nformat = 'json'";
    let config = load(text, &[("CREDGATE_TOKEN__LIFETIME", "600")]).unwrap();
    let shown = config.to_toml();
    assert!(shown.contains("lifetime = 600"), "{shown}");
    assert_eq!(load(&shown, &[]).unwrap().file, config.file);
}

#[test]
fn unknown_keys_are_told_with_line_and_nearest_key() {
    let text = "issuer = 'https://a'\nmax_payload = 300\n\n[token]\nlife-time = 1\nxyz = 2\nformat = 'json'\n[embeded-broker]\nenabled = true\n\
                [token.lifetime.deep]\n";
    let problems = problems(load(text, &[]));
    let told: Vec<(usize, &str, &str)> =
        problems.iter().map(|problem| (line(problem), problem.key.as_str(), problem.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "max_payload", "unknown key `max_payload`; did you mean `max-payload`?"),
            (5, "token.life-time", "unknown key `token.life-time`; did you mean `lifetime`?"),
            (6, "token.xyz", "unknown key `token.xyz`; valid here: lifetime, max-lifetime, replay-capacity"),
            (7, "token.format", "unknown key `token.format`; did you mean `log.format`?"),
            (8, "embeded-broker", "unknown key `embeded-broker`; did you mean `embedded-broker`?"),
            (10, "token.lifetime", "`token.lifetime` must be a whole number, not a section"),
        ]
    );
}

#[test]
fn lines_and_keys_are_right_in_every_way_to_write_toml() {
    for (text, key, at) in [
        ("token.life = 1", "token.life", 1),
        ("\r\n# c\r\ntoken = { lifetime = 1,\n  nothing = 2 }", "token.nothing", 4),
        ("x = '''\n\n'''", "x", 1),
        ("issuer = '''\nhttps://a'''\nqueue = 1", "queue", 3),
        ("\"token.lifetime\" = 1", "token.lifetime", 1),
        ("a.b.c.d = 1", "a", 1),
        ("[[broker]]\nurl = ''", "broker", 1),
        ("\u{feff}\"ä\" = 1", "ä", 1),
    ] {
        let problems = problems(load(text, &[]));
        let told: Vec<_> = problems.iter().map(|problem| (problem.key.as_str(), line(problem))).collect();
        assert_eq!(told, [(key, at)], "{text}");
    }
}

#[test]
fn syntax_faults_have_a_place() {
    for (text, at) in [("issuer = 'https://a'\ntoken = = 1", 2), ("[token\n", 1), ("issuer = 'a'\nissuer = 'b'", 2), ("issuer =", 1)] {
        let error = load(text, &[]).unwrap_err();
        assert_eq!(error.code(), "config_syntax");
        assert!(error.to_string().contains(&format!(".toml:{at}:")), "{text}: {error}");
    }
}

#[test]
fn wrong_types_are_told() {
    for (text, message) in [
        ("issuer = 1", "`issuer` must be a text in quotes, not a whole number"),
        ("max-payload = '1'", "`max-payload` must be a whole number, not a text in quotes"),
        ("max-payload = 1.5", "`max-payload` must be a whole number, not a number with a fraction"),
        ("token = 1", "`token` must be a section, not a whole number"),
        ("broker.trusted = 'yes'", "`broker.trusted` must be true or false, not a text in quotes"),
        ("embedded-broker.listen = 'a'", "`embedded-broker.listen` must be a list of texts, not a text in quotes"),
        (
            "embedded-broker.listen = ['localhost:1']",
            "`embedded-broker.listen`: each must be an IP address and a port, as 192.0.2.1:8883 or [::]:8883; the default is [\"[::]:8883\"]",
        ),
        ("broker.keep-alive = 65536", "`broker.keep-alive`: invalid value: integer `65536`, expected 0 to 65535; the default is 15"),
        ("token.lifetime = -1", "`token.lifetime`: invalid value: integer `-1`, expected 0 to 4294967295; the default is 300"),
        (
            "log.format = 'xml'",
            "`log.format`: unknown variant `xml`, expected one of `auto`, `human`, `json`, `journald`; the default is \"auto\"",
        ),
    ] {
        let found = problems(load(text, &[]));
        assert_eq!(found.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [message]);
        assert_eq!(line(&found[0]), 1);
    }
    let found = problems(load("\nregistry.cache-capacity = 99999999999999999999", &[]));
    assert_eq!((found.len(), line(&found[0]), found[0].key.as_str()), (1, 2, "registry.cache-capacity"));
}

#[test]
fn environment_wins_over_the_file() {
    let environment = [
        ("CREDGATE_TOKEN__LIFETIME", " 600 "),
        ("CREDGATE_ISSUER", "https://from.env"),
        ("CREDGATE_CONTROL_SOCKET", "/x/y"),
        ("CREDGATE_BROKER__TRUSTED", "true"),
        ("CREDGATE_BROKER__USERNAME", "42"),
        ("CREDGATE_EMBEDDED_BROKER__LISTEN", "[::]:1,127.0.0.1:2"),
        ("CREDGATE_CONFIG", "/a"),
        ("CREDGATE_CLIENT_SECRET", "a"),
        ("CREDGATE_CLIENT_SECRET_FILE", "/a"),
        ("PATH", "/bin"),
        ("XCREDGATE_NO", "1"),
    ];
    let file = load("issuer = 'https://from.file'\n[token]\nlifetime = 1\nmax-lifetime = 900\n[broker]\nurl = 'mqtts://b'\n[embedded-broker]\nenabled = false", &environment).unwrap().file;
    assert_eq!((file.token.lifetime, file.token.max_lifetime), (600, 900));
    assert_eq!(file.issuer, "https://from.env");
    assert_eq!(file.control_socket, Path::new("/x/y"));
    assert!(file.broker.trusted);
    assert_eq!(file.broker.username, "42");
    assert_eq!(file.embedded_broker.listen, ["[::]:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
}

#[test]
#[cfg(feature = "embedded-broker")]
fn environment_alone_is_enough() {
    assert_eq!(Config::load(None, std::iter::empty()).unwrap().file, ConfigFile::default());
    let config = Config::load(None, variables(&[("CREDGATE_EMBEDDED_BROKER__LISTEN", "['127.0.0.1:2', \"[::1]:3\"]")])).unwrap();
    assert_eq!(config.file.embedded_broker.listen, ["127.0.0.1:2".parse().unwrap(), "[::1]:3".parse().unwrap()]);
}

#[test]
fn every_setting_has_a_variable_of_its_own() {
    let keys = layers::leaves(&toml::Table::try_from(ConfigFile::default()).unwrap());
    let names: BTreeMap<String, &Vec<String>> = keys.iter().map(|key| (layers::variable(key), key)).collect();
    assert_eq!(names.len(), keys.len());
    assert_eq!(names["CREDGATE_EMBEDDED_BROKER__MAX_CONNECTIONS_PER_ADDRESS"].join("."), "embedded-broker.max-connections-per-address");
    // Each is accepted: a value of the wrong type is refused for its type or passes as a text, never as unknown.
    for name in names.keys() {
        let error = load("", &[(name, "\u{1}")]).map(|_| ()).map_err(|error| error.to_string());
        assert!(!error.as_ref().is_err_and(|error| error.contains("sets nothing")), "{name}: {error:?}");
    }
}

#[test]
fn wrong_variables_are_told_by_name() {
    for (name, value, told) in [
        (
            "CREDGATE_TOKEN_LIFETIME",
            "1",
            "environment variable CREDGATE_TOKEN_LIFETIME: sets nothing; did you mean CREDGATE_TOKEN__LIFETIME?",
        ),
        ("CREDGATE_token__lifetime", "1", "environment variable CREDGATE_token__lifetime: sets nothing; the variable of a setting is"),
        ("CREDGATE_ZZZ", "1", "environment variable CREDGATE_ZZZ: sets nothing; the variable of a setting is CREDGATE_SECTION__KEY"),
        ("CREDGATE_PORT_8883_TCP_PROTO", "tcp", "enableServiceLinks"),
        ("CREDGATE_TOKEN__LIFETIME", "hunter2", "environment variable CREDGATE_TOKEN__LIFETIME: `token.lifetime` must be a whole number"),
        ("CREDGATE_TOKEN__LIFETIME", "", "environment variable CREDGATE_TOKEN__LIFETIME: `token.lifetime` must be a whole number"),
        ("CREDGATE_TOKEN__LIFETIME", "true", "environment variable CREDGATE_TOKEN__LIFETIME: `token.lifetime` must be a whole number"),
        ("CREDGATE_TOKEN__LIFETIME", "0", "environment variable CREDGATE_TOKEN__LIFETIME: `token.lifetime` must be from 1"),
        ("CREDGATE_TOKEN", "1", "environment variable CREDGATE_TOKEN: sets nothing"),
        (
            "CREDGATE_EMBEDDED_BROKER__LISTEN",
            "a,b",
            "environment variable CREDGATE_EMBEDDED_BROKER__LISTEN: `embedded-broker.listen`: each",
        ),
        ("CREDGATE_BROKER__URL", "mqtts://u:hunter2@b", "environment variable CREDGATE_BROKER__URL: `broker.url` must hold no user name"),
    ] {
        let text = load("", &[(name, value)]).unwrap_err().to_string();
        assert!(text.contains(told), "{name}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
#[cfg(feature = "embedded-broker")]
fn deny_settings_out_of_range() {
    let long = format!("control-socket = '/{}'", "x".repeat(107));
    let cases = [
        ("issuer = 'http://a'", "issuer"),
        ("issuer = 'https://a?b'", "issuer"),
        ("state-directory = ''", "state-directory"),
        ("control-socket = ''", "control-socket"),
        (long.as_str(), "control-socket"),
        ("topic-prefix = '$SYS'", "topic-prefix"),
        ("topic-prefix = 'a/#'", "topic-prefix"),
        ("max-payload = 255", "max-payload"),
        ("max-payload = 65537", "max-payload"),
        ("max-payload = 65536", "max-payload"),
        ("embedded-broker.max-packet-size = 8192", "embedded-broker.max-packet-size"),
        ("embedded-broker.max-packet-size = 300000000", "embedded-broker.max-packet-size"),
        ("token.lifetime = 0", "token.lifetime"),
        ("keys.rotation-interval = 315360001", "keys.rotation-interval"),
        ("keys.rotation-interval = 600", "keys.rotation-interval"),
        ("keys.propagation = 0", "keys.propagation"),
        ("keys.propagation = 604801", "keys.propagation"),
        ("keys.clock-skew = 0", "keys.clock-skew"),
        ("keys.clock-skew = 3601", "keys.clock-skew"),
        ("token.lifetime = 3601", "token.lifetime"),
        ("token.max-lifetime = 299", "token.max-lifetime"),
        ("token.max-lifetime = 86401", "token.max-lifetime"),
        ("token.replay-capacity = 1023", "token.replay-capacity"),
        ("token.replay-capacity = 16777217", "token.replay-capacity"),
        ("broker.url = 'mqtt://broker.example'", "broker.url"),
        ("broker.url = 'mqtts://user:hunter2@b'", "broker.url"),
        ("broker = { url = 'mqtt://localhost', ca-file = '/a' }", "broker.ca-file"),
        ("broker.certificate-file = '/a'", "broker.certificate-file"),
        ("broker.private-key-file = '/a'", "broker.private-key-file"),
        ("broker.password-file = '/a'", "broker.password-file"),
        ("broker.client-id = ''", "broker.client-id"),
        ("broker.client-id = \"a\\u0000\"", "broker.client-id"),
        ("broker.keep-alive = 4", "broker.keep-alive"),
        ("broker.queue = 0", "broker.queue"),
        ("broker.queue = 65537", "broker.queue"),
        ("broker.reconnect-min = 0", "broker.reconnect-min"),
        ("broker.reconnect-min = 61", "broker.reconnect-min"),
        ("broker.reconnect-max = 0", "broker.reconnect-max"),
        ("embedded-broker.listen = []", "embedded-broker.listen"),
        ("embedded-broker.certificate-file = '/a'", "embedded-broker.certificate-file"),
        ("embedded-broker.private-key-file = '/a'", "embedded-broker.private-key-file"),
        ("embedded-broker.max-connections = 0", "embedded-broker.max-connections"),
        ("embedded-broker.max-connections-per-address = 0", "embedded-broker.max-connections-per-address"),
        ("embedded-broker.handshake-timeout = 0", "embedded-broker.handshake-timeout"),
        ("embedded-broker.max-queued-messages = 0", "embedded-broker.max-queued-messages"),
        ("registry.cache-capacity = 1000", "registry.cache-capacity"),
        ("log.level = 'loud'", "log.level"),
        ("embedded-broker.enabled = false", "embedded-broker.enabled"),
    ];
    for (setting, key) in cases {
        let found = problems(load(&format!("\n{setting}"), &[]));
        assert_eq!(found.len(), 1, "{setting}: {found:?}");
        assert_eq!((found[0].key.as_str(), line(&found[0])), (key, 2), "{setting}");
        assert!(found[0].message.contains(key) && !found[0].message.contains("hunter2"), "{}", found[0].message);
    }
}

#[test]
#[cfg(feature = "embedded-broker")]
fn limits_are_inside_the_range() {
    for text in [
        "max-payload = 256",
        "max-payload = 65535",
        "token.lifetime = 1",
        "token = { lifetime = 86400, max-lifetime = 86400 }",
        "keys = { rotation-interval = 0, propagation = 604800, clock-skew = 1 }",
        "keys = { rotation-interval = 2, propagation = 1, clock-skew = 3600 }",
        "broker = { username = 'u' }",
        "broker = { url = 'mqtts://b', username = 'u', password-file = '/p' }",
        "broker = { keep-alive = 5, queue = 65536, reconnect-min = 1, reconnect-max = 1 }",
        "embedded-broker.session-expiry = 4294967295",
    ] {
        assert!(load(text, &[]).is_ok(), "{text}: {:?}", load(text, &[]).err());
    }
}

#[test]
#[cfg(not(feature = "embedded-broker"))]
fn deny_an_embedded_broker_that_was_not_built() {
    let text = load("embedded-broker.enabled = true", &[]).unwrap_err().to_string();
    assert!(text.contains(".toml:1: `embedded-broker.enabled`: this build has no embedded broker"), "{text}");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = "max-payload = 1\nnothing = 1\nissuer = 'x'\n[broker]\nurl = 'x'\n[token]\nlifetime = 'x'\nmax-lifetime = 0";
    let error = load(text, &[("CREDGATE_LOG__LEVEL", "x")]).unwrap_err();
    let text = error.to_string();
    let places: Vec<&str> =
        text.lines().map(|line| line.rsplit_once(".toml:").map_or("env", |(_, rest)| rest.split(':').next().unwrap())).collect();
    assert_eq!(places, ["1", "2", "3", "5", "7", "8", "env"], "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/credgate.toml")), std::iter::empty()).unwrap_err();
    assert_eq!(error.code(), "config_unreadable");
    assert!(error.to_string().starts_with("/nonexistent/credgate.toml: "), "{error}");
}

#[test]
fn reads_the_link_password_from_a_private_file_only() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[broker]\nurl = 'mqtts://b'\nusername = 'u'\npassword-file = '{}'\n[embedded-broker]\nenabled = false",
        file.path().display()
    );
    let config = load(&text, &[]).unwrap();
    for (content, password) in [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("a\n\n", "a\n"), ("", "")] {
        file.as_file().set_len(0).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        assert_eq!(config.read_link_password().unwrap().unwrap().expose(), password.as_bytes());
    }
    for (mode, allowed) in [(0o400, true), (0o440, true), (0o640, true), (0o644, false), (0o604, false), (0o660, false), (0o602, false)] {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        let result = config.read_link_password();
        assert_eq!(result.is_ok(), allowed, "{mode:o}");
        assert!(result.err().is_none_or(|error| error.code() == "private_file_exposed" && error.to_string().contains("chmod 0600 /")));
    }
    assert!(load("[broker]\nurl = 'mqtts://b'\n[embedded-broker]\nenabled = false", &[]).unwrap().read_link_password().unwrap().is_none());
}

#[test]
fn the_master_key_comes_from_a_file_or_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let (file, credential) = (directory.path().join("file"), directory.path().join("credgate-master-key"));
    let text = format!("keys.master-key-file = '{}'\n{LINKED}", file.display());
    let variable = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    let read = |text: &str, environment: &[_]| {
        let found = load(text, environment).unwrap().read_master_key()?;
        Ok::<_, PrivateFileError>(found.map(|(path, content)| (path, content.expose().to_vec())))
    };
    assert_eq!(read(LINKED, &[]).unwrap(), None);
    assert_eq!(read(LINKED, &[variable]).unwrap(), None, "a service with other credentials");
    assert_eq!(read(&text, &[]).unwrap_err().code(), "private_file_unreadable", "what was asked for must be there");
    for (path, content) in [(&file, "f"), (&credential, "c")] {
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    assert_eq!(read(LINKED, &[]).unwrap(), None);
    assert_eq!(read(LINKED, &[variable]).unwrap().unwrap(), (credential.clone(), b"c".to_vec()));
    assert_eq!(read(&text, &[variable]).unwrap().unwrap(), (file, b"f".to_vec()));
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(read(LINKED, &[variable]).unwrap_err().code(), "private_file_exposed");
}

/// A link that every build has.
const LINKED: &str = "broker.url = 'mqtts://b'\nembedded-broker.enabled = false";

#[test]
fn deny_metrics_that_other_hosts_read_and_in_a_build_without() {
    let faults = |text: &str| {
        let text = format!("broker.url = 'mqtts://b'\nembedded-broker.enabled = false\n{text}");
        let problems = load(&text, &[]).err().map(|error| problems(Err(error))).unwrap_or_default();
        problems.into_iter().map(|problem| (problem.key, problem.message)).collect::<Vec<_>>()
    };
    assert_eq!(faults("http.listen = []\nhttp.allow-remote = true"), []);
    let local = faults("http.listen = ['127.0.0.1:9464', '[::1]:9464', 'unix:/run/x.sock']");
    assert_eq!(local.iter().any(|(_, message)| message.contains("the feature http")), cfg!(not(feature = "http")), "{local:?}");
    assert!(cfg!(not(feature = "http")) || local.is_empty(), "{local:?}");
    let remote = |text: &str| faults(text).into_iter().filter(|(_, message)| message.contains("allow-remote")).count();
    assert_eq!(remote("http.listen = ['127.0.0.1:9464', '0.0.0.0:9464', '[::]:1']"), 2);
    assert_eq!(remote("http.listen = ['0.0.0.0:9464', '[::]:1']\nhttp.allow-remote = true"), 0);
    let long = format!("http.listen = ['unix:/{}']", "x".repeat(107));
    assert!(faults(&long).iter().any(|(key, message)| key == "http.listen" && message.contains("107 bytes")));
}
