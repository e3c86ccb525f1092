//! `credgate token`.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use serde::Serialize;
use zeroize::Zeroizing;

use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::{CliError, Exit};
use crate::admin::{self, Answer, RevokedTokenDocument, TokenReference};
use crate::clock::UnixTime;
use crate::jose::JwkSet;
use crate::token::{Claims, OfflineVerifier, claims_unverified, decode_unverified};

/// Bytes of a token, of a JWK Set and of a revocation list, at most.
const MAX_FILE: u64 = 262_144;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token void before it expires
    Revoke {
        /// A file with the token; - or nothing reads it from standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show what is in a token, without checking anything
    Show {
        /// The token, or a file with it; - or nothing reads it from standard input
        #[arg(value_name = "TOKEN|FILE")]
        token: Option<String>,
    },
    /// Check a token without asking the gateway, as a resource server does
    Verify(Box<Verify>),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The token, or a file with it; - or nothing reads it from standard input
    #[arg(value_name = "TOKEN|FILE")]
    token: Option<String>,
    /// The JWK Set, as the gateway publishes it on {prefix}/as/jwks
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    /// The revocation list, as the gateway publishes it on {prefix}/rs/{rs_id}/trl
    #[arg(long, value_name = "FILE")]
    trl: Option<PathBuf>,
    /// The issuer to accept [default: the token's own]
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// The audience to accept [default: the token's own]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// The greatest sequence number of a revocation list that was seen before: no older list is taken
    #[arg(long, value_name = "NUMBER", requires = "trl")]
    seen_sequence: Option<u64>,
}

/// What `token show` prints.
#[derive(Serialize)]
struct Shown {
    header: serde_json::Value,
    claims: serde_json::Value,
}

/// What `token verify` prints of a token that holds.
#[derive(Serialize)]
struct Verified {
    valid: bool,
    claims: Claims,
    /// Of the list that was looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    trl_sequence: Option<u64>,
}

pub(super) fn run_revoke(file: Option<&Path>, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let token = match file {
        Some(path) if path != Path::new("-") => read(path)?,
        _ => standard_input()?,
    };
    let token = text(&token)?;
    let claims = claims_unverified(token).map_err(not_a_token)?;
    let reference = TokenReference::new(token, &claims).ok_or_else(|| not_a_token("a claim is none of this gateway's"))?;
    match gateway.execute(admin::Command::TokenRevoke(reference))? {
        Answer::TokenRevoked(token) => output.show(&token, || revoked_fields(&token)),
        other => Err(unexpected(&other)),
    }
}

fn revoked_fields(token: &RevokedTokenDocument) -> Vec<(&'static str, String)> {
    vec![
        ("Revoked token", token.jti.clone()),
        ("Client id", token.client_id.to_string()),
        ("Resource server", token.resource_server.to_string()),
        ("Would have expired", token.exp.to_string()),
    ]
}

/// Needs no gateway and no configuration.
pub(super) fn run_verify(args: Verify, output: &Output) -> Result<(), CliError> {
    let token = given(args.token.as_deref())?;
    let token = text(&token)?;
    let keys = JwkSet::from_json(&read(&args.jwks)?)
        .map_err(|error| CliError::new(Exit::Data, "jwks_not_valid", format!("{} is no JWK Set", args.jwks.display())).because(&error))?;
    let (_, claims) = decode_unverified(token).map_err(not_a_token)?;
    let own = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned).unwrap_or_default();
    let (issuer, audience) = (args.issuer.unwrap_or_else(|| own("iss")), args.audience.unwrap_or_else(|| own("aud")));
    let mut verifier = OfflineVerifier::new(issuer, audience, keys).having_seen(args.seen_sequence.unwrap_or_default());
    let refused = |error: crate::token::OfflineError| CliError::new(Exit::Data, error.code(), error.to_string());
    let trl_sequence = match &args.trl {
        Some(path) => Some(verifier.take_list(&read(path)?).map_err(refused)?),
        None => {
            output.note("Without --trl nothing is known of revoked tokens.");
            None
        }
    };
    let claims = verifier.verify(token, UnixTime::from(SystemTime::now())).map_err(refused)?;
    let verified = Verified { valid: true, claims, trl_sequence };
    output.show(&verified, || verified_fields(&verified))
}

fn verified_fields(Verified { claims, trl_sequence, .. }: &Verified) -> Vec<(&'static str, String)> {
    vec![
        ("Token", "valid".to_owned()),
        ("Issuer", claims.iss.clone()),
        ("Audience", claims.aud.clone()),
        ("Client id", claims.client_id.clone()),
        ("Scope", claims.scope.clone()),
        ("Issued", claims.iat.to_string()),
        ("Expires", claims.exi.map_or_else(|| claims.exp.to_string(), |exi| format!("{exi} s after it was first seen"))),
        ("Bound to a key", claims.cnf.as_ref().map(|cnf| cnf.jwk.kid().to_owned()).unwrap_or_default()),
        ("Revocation list", trl_sequence.map(|sequence| format!("sequence {sequence}")).unwrap_or_default()),
    ]
}

/// Needs neither.
pub(super) fn run_show(token: Option<&str>, output: &Output) -> Result<(), CliError> {
    let token = given(token)?;
    let (header, claims) = decode_unverified(text(&token)?).map_err(not_a_token)?;
    let shown = Shown { header, claims };
    output.note("Nothing of this is verified: see `credgate token verify`.");
    output.compose(&shown, |text| {
        let time =
            |name: &str| shown.claims.get(name).and_then(serde_json::Value::as_u64).map(|time| UnixTime::from_secs(time).to_string());
        text.fields(&[("Issued", time("iat").unwrap_or_default()), ("Expires", time("exp").unwrap_or_default())]);
        for (title, part) in [("Header", &shown.header), ("Claims", &shown.claims)] {
            text.line(&format!("{title}:"));
            serde_json::to_string_pretty(part).unwrap_or_default().lines().for_each(|line| text.line(line));
        }
    })
}

/// A token from the command line, a file or standard input.
fn given(token: Option<&str>) -> Result<Zeroizing<Vec<u8>>, CliError> {
    match token {
        None | Some("-") => standard_input(),
        Some(given) if is_token(given) => {
            let warning =
                "credgate: warning: other users of this host can read a token on a command line; give a file, or - for standard input";
            // Nobody is left to be told if stderr is gone.
            let _ = writeln!(std::io::stderr().lock(), "{warning}");
            Ok(Zeroizing::new(given.as_bytes().to_vec()))
        }
        Some(path) => read(Path::new(path)),
    }
}

/// Whether an argument is a token rather than the name of a file: the first characters of a JWT's header, or of a CWT's tags.
fn is_token(given: &str) -> bool {
    (given.starts_with("eyJ") && given.matches('.').count() == 2) || given.starts_with("2D3S")
}

fn text(token: &[u8]) -> Result<&str, CliError> {
    let text = std::str::from_utf8(token).map(str::trim).ok().filter(|text| !text.is_empty());
    text.ok_or_else(|| not_a_token("a JWT, or the base64url of a CWT, is wanted"))
}

fn not_a_token(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Data, "not_a_token", format!("what was given is no token: {error}"))
        .with_help("`credgate device token` prints a token as it is wanted here")
}

fn standard_input() -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes);
    read.map_err(|error| CliError::new(Exit::Io, "io", "standard input cannot be read").because(&error))?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NoInput } else { Exit::Io };
        CliError::new(exit, "io", format!("{} cannot be read", path.display())).because(&error)
    };
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Format;
    use super::super::output::tests::Printed;
    use super::super::table::fields;
    use super::*;
    use crate::jose::{SigningKey, sign};

    /// A directory with a JWK Set and a token that a key of it signed now.
    fn files() -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let key = Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32])));
        let jwks = JwkSet { keys: vec![key.public().clone()] };
        std::fs::write(directory.path().join("jwks"), jwks.to_json()).unwrap();
        let now = UnixTime::from(SystemTime::now());
        let claims = serde_json::json!({
            "iss": "https://as.example", "sub": "dev1", "client_id": "dev1", "aud": "urn:rs", "iat": now, "nbf": now,
            "exp": now.saturating_add(300), "jti": "AwMDAwMDAwMDAwMDAwMDAw", "scope": "a b",
        });
        let token = sign("at+jwt", &claims, &key).unwrap();
        std::fs::write(directory.path().join("token"), format!("{token}\n")).unwrap();
        (directory, token)
    }

    fn verify(directory: &Path, token: &str, change: impl FnOnce(&mut Verify)) -> Result<serde_json::Value, CliError> {
        let mut args = Verify {
            token: Some(token.to_owned()),
            jwks: directory.join("jwks"),
            trl: None,
            issuer: None,
            audience: None,
            seen_sequence: None,
        };
        change(&mut args);
        let printed = Printed::default();
        run_verify(args, &printed.output(Format::Json)).map(|()| printed.json())
    }

    #[test]
    fn a_token_is_an_argument_or_in_a_file() {
        let (directory, token) = files();
        let path = directory.path().join("token");
        for given in [token.as_str(), path.to_str().unwrap()] {
            let verified = verify(directory.path(), given, |args| args.audience = Some("urn:rs".into())).unwrap();
            assert_eq!((&verified["valid"], &verified["claims"]["scope"]), (&true.into(), &"a b".into()));
            assert!(verified.get("trl_sequence").is_none());
        }
        assert!(is_token("2D3ShEOhASegQKA") && !is_token("token.jwt") && !is_token("eyJ.txt"));
        let claims = decode_unverified(&token).unwrap().1;
        let shown = Verified { valid: true, claims: serde_json::from_value(claims).unwrap(), trl_sequence: Some(7) };
        let fields = fields(&verified_fields(&shown));
        assert!(fields.contains("sequence 7") && fields.contains("urn:rs"), "{fields}");
    }

    #[test]
    fn deny_what_does_not_hold_or_is_not_there() {
        let (directory, token) = files();
        let path = directory.path();
        let refused = |token: &str, change: fn(&mut Verify)| {
            let error = verify(path, token, change).unwrap_err();
            (error.exit(), error.code())
        };
        let forged = format!("{}AAAA", &token[..token.len() - 4]);
        assert_eq!(refused(&forged, |_| ()), (Exit::Data, "token_not_valid"));
        assert_eq!(refused(&token, |args| args.issuer = Some("https://other.example".into())), (Exit::Data, "token_not_valid"));
        assert_eq!(refused(&token, |args| args.audience = Some("urn:other".into())), (Exit::Data, "token_not_valid"));
        assert_eq!(refused(&token, |args| args.trl = Some(args.jwks.clone())), (Exit::Data, "list_not_valid"));
        assert_eq!(refused(&token, |args| args.trl = Some(args.jwks.with_file_name("nothing"))), (Exit::NoInput, "io"));
        assert_eq!(refused(&token, |args| args.jwks = args.jwks.with_file_name("token")), (Exit::Data, "jwks_not_valid"));
        assert_eq!(refused(path.join("jwks").to_str().unwrap(), |_| ()), (Exit::Data, "not_a_token"));
        assert_eq!(refused(path.join("nothing").to_str().unwrap(), |_| ()), (Exit::NoInput, "io"));
    }
}
