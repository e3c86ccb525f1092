//! A file with the public keys of a client: a JWK or a JWK Set (RFC 7517).

use std::path::Path;

use serde_json::Value;

use super::{CliError, Exit};
use crate::jose::Jwk;

/// Bytes of a file that is read; four keys are far below.
const MAX_FILE: usize = 65_536;

/// Reads the keys. None is left out: one that cannot serve is an error.
pub(super) fn read(path: &Path) -> Result<Vec<Jwk>, CliError> {
    let content = std::fs::read(path)
        .map_err(|error| CliError::new(Exit::NoInput, "jwk_file", format!("{} cannot be read", path.display())).because(&error))?;
    parse(&content).map_err(|fault| {
        CliError::new(Exit::Data, "jwk_file", format!("{}: {fault}", path.display())).with_help(
            "a public Ed25519 or P-256 key is wanted, as `credgate device keygen` prints it: {\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"...\"}",
        )
    })
}

fn parse(content: &[u8]) -> Result<Vec<Jwk>, String> {
    if content.len() > MAX_FILE {
        return Err("the file is too large for a few keys".into());
    }
    // serde_json's own words could quote a private key.
    let document: Value = serde_json::from_slice(content).map_err(|_| "not JSON")?;
    keys(&document)
}

/// The keys of a JWK or a JWK Set.
pub(super) fn keys(document: &Value) -> Result<Vec<Jwk>, String> {
    let keys = match document.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err("the member keys is not an array".into()),
        None => std::slice::from_ref(document),
    };
    if keys.is_empty() {
        return Err("there is no key in it".into());
    }
    keys.iter().map(|key| Jwk::offered(key).map_err(|error| format!("a key {error}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn reads_a_key_and_a_set() {
        let one = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#);
        assert_eq!(parse(one.as_bytes()).unwrap()[0].kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let named = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"k1","use":"sig","alg":"EdDSA"}}"#);
        let keys = parse(format!(r#"{{"keys":[{one},{named}]}}"#).as_bytes()).unwrap();
        assert_eq!(keys.iter().map(Jwk::kid).collect::<Vec<_>>(), ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "k1"]);
    }

    #[test]
    fn reads_an_ec_key() {
        let key = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","alg":"ES256"}"#;
        assert_eq!(parse(key.as_bytes()).unwrap()[0].key_type(), crate::jose::KeyType::P256);
        assert!(parse(key.replace("ES256", "EdDSA").as_bytes()).is_err());
    }

    #[test]
    fn deny_private_and_foreign_keys() {
        let with = |member: &str| parse(format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}",{member}}}"#).as_bytes());
        let private = with(r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#).unwrap_err();
        assert!(private.contains("private") && !private.contains("nWGx"), "{private}");
        for member in [r#""use":"enc""#, r#""use":7"#, r#""alg":"ES256""#, r#""alg":null"#, r#""k":"AA""#] {
            assert!(with(member).is_err(), "{member}");
        }
        for text in ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":{}}"#, r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
