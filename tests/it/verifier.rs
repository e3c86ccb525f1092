//! PyJWT: an implementation of JWS and JWT that is not ours.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const PROGRAM: &str = r#"
import json, sys, jwt
from jwt.algorithms import OKPAlgorithm
given = json.load(sys.stdin)
# RFC 9864's name, which PyJWT does not know.
jwt.register_algorithm("Ed25519", OKPAlgorithm())
header = jwt.get_unverified_header(given["token"])
assert header["typ"] == "at+jwt", header
assert header["alg"] == given["alg"], header
keys = [key for key in jwt.PyJWKSet.from_dict(given["jwks"]).keys if key.key_id == header["kid"]]
assert len(keys) == 1, "one key of that kid"
claims = jwt.decode(given["token"], keys[0].key, algorithms=[header["alg"]], audience=given["audience"], issuer=given["issuer"],
    options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]})
json.dump(claims, sys.stdout)
"#;

const SIGNER: &str = r#"
import json, sys, jwt
given = json.load(sys.stdin)
json.dump(jwt.encode(given["claims"], given["private_key"], algorithm=given["alg"], headers=given["header"]), sys.stdout)
"#;

/// A JWT that PyJWT made by that algorithm, with a private key in PEM.
pub fn sign(alg: &str, private_key: &str, header: &Value, claims: &Value) -> String {
    let token = run(SIGNER, &json!({"alg": alg, "private_key": private_key, "header": header, "claims": claims}));
    token.as_str().unwrap().to_owned()
}

/// The claims of a token, after PyJWT verified its signature by that algorithm, its times, issuer and audience.
pub fn verify(jwks: &Value, token: &str, audience: &str, alg: &str) -> Value {
    run(PROGRAM, &json!({"jwks": jwks, "token": token, "audience": audience, "issuer": "https://credgate.local", "alg": alg}))
}

fn run(program: &str, given: &Value) -> Value {
    let python = std::env::var("PYJWT_PYTHON").expect("PYJWT_PYTHON names a Python with PyJWT: run tests/run");
    let mut child =
        Command::new(python).args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "PyJWT refuses: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
