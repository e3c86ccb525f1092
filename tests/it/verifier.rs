//! PyJWT, jwcrypto and pycose: implementations of JWT, JWE and COSE that are not ours.

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
assert header["typ"] == given["typ"], header
assert header["alg"] == given["alg"], header
keys = [key for key in jwt.PyJWKSet.from_dict(given["jwks"]).keys if key.key_id == header["kid"]]
assert len(keys) == 1, "one key of that kid"
claims = jwt.decode(given["token"], keys[0].key, algorithms=[header["alg"]], audience=given["audience"], issuer=given["issuer"],
    options={"require": given["require"]})
json.dump(claims, sys.stdout)
"#;

const COSE_PROGRAM: &str = r#"
import base64, json, sys, cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pycose.headers import Algorithm, KID
from pycose.keys import EC2Key, OKPKey
from pycose.messages import CoseMessage
given = json.load(sys.stdin)
decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
token = decode(given["token"])
assert token[:4] == bytes.fromhex("d83dd284"), "tags 61 and 18"
protected, unprotected, payload, signature = cbor2.loads(token[2:]).value
header = cbor2.loads(protected)
assert header[1] == given["alg"] and header[16] == given["typ"] and unprotected == {}, header
[jwk] = [key for key in given["jwks"]["keys"] if key["kid"] == header[4].decode()]
if given["alg"] == -19:
    # RFC 9864's number, which pycose does not know: the Sig_structure by hand.
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    Ed25519PublicKey.from_public_bytes(decode(jwk["x"])).verify(signature, message)
else:
    message = CoseMessage.decode(token[2:])
    if jwk["kty"] == "OKP":
        message.key = OKPKey(crv="ED25519", x=decode(jwk["x"]))
    else:
        message.key = EC2Key(crv="P_256", x=decode(jwk["x"]), y=decode(jwk["y"]))
    assert message.verify_signature(), "signature"
claims = cbor2.loads(payload)
assert cbor2.dumps(claims, canonical=True) == payload, "deterministic"
text = lambda value: {"bytes": value.hex()} if isinstance(value, bytes) else [text(item) for item in value] if isinstance(value, list) else {str(k): text(v) for k, v in value.items()} if isinstance(value, dict) else value
json.dump(text(claims), sys.stdout)
"#;

/// The claims of a CWT in base64url, by their keys as text, after pycose verified its signature by that COSE algorithm. Byte strings become
/// `{"bytes": hex}`.
pub fn verify_cwt(jwks: &Value, token: &str, alg: i64) -> Value {
    run(COSE_PROGRAM, &json!({"jwks": jwks, "token": token, "alg": alg, "typ": 61}))
}

/// The same of a revocation list.
pub fn verify_cwt_list(jwks: &Value, list: &str, alg: i64) -> Value {
    run(COSE_PROGRAM, &json!({"jwks": jwks, "token": list, "alg": alg, "typ": "application/trl+cwt"}))
}

const JWE_PROGRAM: &str = r#"
import base64, json, sys
from jwcrypto import jwe, jwk
given = json.load(sys.stdin)
sealed = jwe.JWE()
sealed.deserialize(given["sealed"], key=jwk.JWK(**given["key"]))
json.dump({"header": json.loads(sealed.objects["protected"]), "token": sealed.payload.decode("latin-1")}, sys.stdout)
"#;

/// What a JWE holds and says of it, after jwcrypto opened it with a private JWK.
pub fn open_jwe(key: &Value, sealed: &str) -> Value {
    run(JWE_PROGRAM, &json!({"key": key, "sealed": sealed}))
}

const COSE_ENCRYPT_PROGRAM: &str = r#"
import base64, json, sys, cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pycose.messages import CoseMessage
from pycose.messages.context import CoseKDFContext, PartyInfo, SuppPubInfo
from pycose.algorithms import A256GCM
given = json.load(sys.stdin)
decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
sealed = decode(given["sealed"])
# pycose reads it and writes the context of the key; it agrees on keys of NIST's curves alone, so the rest is pyca/cryptography's.
message = CoseMessage.decode(sealed)
[recipient] = message.recipients
context = CoseKDFContext(A256GCM, SuppPubInfo(32, recipient.phdr), PartyInfo(), PartyInfo()).encode()
protected, unprotected, content, [[of_recipient, keys, empty]] = cbor2.loads(sealed).value
assert cbor2.loads(protected) == {1: 3, 3: given["content_type"]} and cbor2.loads(of_recipient) == {1: -25} and empty == b"", sealed.hex()
ephemeral = keys[-1]
assert (ephemeral[1], ephemeral[-1]) == (1, 4), ephemeral
shared = X25519PrivateKey.from_private_bytes(decode(given["key"]["d"])).exchange(X25519PublicKey.from_public_bytes(ephemeral[-2]))
key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=context).derive(shared)
covered = cbor2.dumps(["Encrypt", protected, b""])
json.dump({"token": AESGCM(key).decrypt(unprotected[5], content, covered).decode("latin-1")}, sys.stdout)
"#;

/// What a COSE_Encrypt in base64url holds of that content type, after pycose and pyca/cryptography opened it with a private JWK.
pub fn open_cose(key: &Value, sealed: &str, content_type: &str) -> Value {
    run(COSE_ENCRYPT_PROGRAM, &json!({"key": key, "sealed": sealed, "content_type": content_type}))
}

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
    let require = json!(["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]);
    run(PROGRAM, &given(jwks, token, audience, alg, "at+jwt", &require))
}

/// The claims of a revocation list, after PyJWT verified its signature, issuer and audience.
pub fn verify_list(jwks: &Value, list: &str, audience: &str, alg: &str) -> Value {
    run(PROGRAM, &given(jwks, list, audience, alg, "trl+jwt", &json!(["iat", "iss", "aud"])))
}

fn given(jwks: &Value, token: &str, audience: &str, alg: &str, typ: &str, require: &Value) -> Value {
    let issuer = "https://credgate.local";
    json!({"jwks": jwks, "token": token, "audience": audience, "issuer": issuer, "alg": alg, "typ": typ, "require": require})
}

const TRAIL_PROGRAM: &str = r#"
import base64, hashlib, json, sys, cbor2, jwt
given = json.load(sys.stdin)
decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
lines = [json.loads(line) for line in given["export"].splitlines()]
head, entries, checkpoints = lines[0], lines[1:], 0
seq, digest = head["anchor"]["seq"], decode(head["anchor"]["hash"])
keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(given["jwks"]).keys}
for entry in entries:
    if entry["type"] == "checkpoint":
        header = jwt.get_unverified_header(entry["statement"])
        assert header["typ"] == "audit-checkpoint+jwt", header
        claims = jwt.decode(entry["statement"], keys[header["kid"]], algorithms=["EdDSA"])
        assert (claims["seq"], decode(claims["hash"])) == (seq, digest), claims
        checkpoints += 1
    stated = decode(entry.pop("hash"))
    digest = hashlib.sha256(digest + cbor2.dumps(entry, canonical=True)).digest()
    seq += 1
    assert digest == stated and entry["seq"] == seq, entry
assert seq == head["last"]
json.dump({"entries": len(entries), "checkpoints": checkpoints}, sys.stdout)
"#;

/// How many entries and checkpoints an export of the audit trail has, after its chain was computed by cbor2 and its signatures verified by PyJWT.
pub fn verify_trail(export: &str, jwks: &Value) -> Value {
    run(TRAIL_PROGRAM, &json!({"export": export, "jwks": jwks}))
}

/// Runs a Python program that takes one JSON document and gives another.
pub fn run(program: &str, given: &Value) -> Value {
    let python =
        std::env::var("PYJWT_PYTHON").expect("PYJWT_PYTHON names a Python with PyJWT, pycose and prometheus_client: run tests/run");
    let mut child =
        Command::new(python).args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "refused: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
