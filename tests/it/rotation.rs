//! Signing keys change under load, and nobody notices who verifies as docs/protocol.md says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use credgate::clock::UnixTime;
use credgate::jose::{JwkSet, decode_unverified};
use credgate::token;
use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::site::{Site, restrict, wait_for};

const SETTINGS: &str = "[token]\nlifetime = 4\nmax-lifetime = 4\n[keys]\nrotation-interval = 0\npropagation = 2\nclock-skew = 1\n[limits]\nclient-rate = 0\noverall-rate = 0\n";
const ISSUER: &str = "https://credgate.local";

fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A resource server: it keeps the JWK Set, and fetches the one that is retained when it meets a key it does not know.
struct ResourceServer<'a> {
    site: &'a Site,
    client_id: &'static str,
    secret: String,
    keys: JwkSet,
}

impl<'a> ResourceServer<'a> {
    fn new(site: &'a Site, client_id: &'static str) -> Self {
        let secret = site.add_client(client_id, "telemetry:read");
        let mut server = Self { site, client_id, secret, keys: JwkSet { keys: Vec::new() } };
        server.fetch();
        server
    }

    /// Fetches the JWK Set that is retained at this moment.
    fn fetch(&mut self) -> Vec<String> {
        let device = Device::connect(self.site, self.client_id, &self.secret);
        device.subscribe("oauth2/v1/as/jwks");
        self.keys = JwkSet::from_json(&device.next_publish().payload).unwrap();
        self.keys.keys.iter().map(|key| key.kid().to_owned()).collect()
    }

    fn verify(&mut self, token: &str) -> Result<token::Claims, String> {
        let (header, _) = decode_unverified(token).unwrap();
        if self.keys.find(header["kid"].as_str().unwrap()).is_none() {
            self.fetch();
        }
        // At the time of its issue: how slow this host is says nothing about the token.
        let (_, claims) = decode_unverified(token).unwrap();
        let issued_at = UnixTime::from_secs(claims["iat"].as_u64().unwrap());
        token::verify(token, ISSUER, None, &self.keys, issued_at).map_err(|error| error.to_string())
    }
}

fn kid_of(token: &str) -> String {
    decode_unverified(token).unwrap().0["kid"].as_str().unwrap().to_owned()
}

fn keys(site: &Site) -> Vec<Value> {
    let list: Value = serde_json::from_str(&site.credgate(&["key", "list", "--output", "json"])).unwrap();
    list["keys"].as_array().unwrap().clone()
}

fn token(device: &Device, secret: &str) -> String {
    let answer = device.request(&Ask::json("dev1", secret, &json!({"scope": "telemetry:write"})));
    body(&answer)["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", body(&answer))).to_owned()
}

#[test]
fn no_request_fails_while_the_key_changes() {
    let site = &Site::embedded_with(SETTINGS);
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let mut observer = ResourceServer::new(site, "observer");
    let mut checker = ResourceServer::new(site, "checker");
    let old = keys(site)[0]["kid"].as_str().unwrap().to_owned();
    // When the first and the last token of each key expire.
    let signed: Mutex<BTreeMap<String, (UnixTime, UnixTime)>> = Mutex::default();
    let done = AtomicBool::new(false);
    let of = |kid: &str| signed.lock().unwrap_or_else(PoisonError::into_inner).get(kid).copied();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let device = Device::connect(site, "dev1", &secret);
            let mut tokens = 0_u32;
            while !done.load(Ordering::SeqCst) {
                let token = token(&device, &secret);
                let claims = checker.verify(&token).unwrap_or_else(|error| panic!("a token was refused: {error}"));
                signed.lock().unwrap().entry(kid_of(&token)).or_insert((claims.exp, claims.exp)).1 = claims.exp;
                tokens += 1;
            }
            tokens
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("a token of the first key", || of(&old));
            let rotated: Value = serde_json::from_str(&site.credgate(&["key", "rotate", "--output", "json"])).unwrap();
            let new = rotated["kid"].as_str().unwrap().to_owned();
            assert_eq!(rotated["state"], "published");
            let published = rotated["since"].as_u64().unwrap();
            assert_eq!(rotated["until"], published + 2);
            wait_for("the new key on the JWK Set", || observer.fetch().contains(&new).then_some(()));
            let (first, _) = wait_for("a token of the new key", || of(&new));
            assert!(first.as_secs() - 4 >= published + 2, "the new key signed before the propagation time had passed");
            let listed = keys(site);
            assert_eq!((&listed[0]["kid"], &listed[0]["state"]), (&json!(new), &json!("active")));
            assert!(listed[1..].iter().all(|key| (&key["kid"], &key["state"]) == (&json!(old), &json!("retiring"))), "{listed:?}");
            // As long as a token of the old key lives, so does the key.
            let (_, last) = of(&old).unwrap();
            wait_for("the old key to leave the JWK Set", || (!observer.fetch().contains(&old)).then_some(()));
            assert!(now() >= last, "the key went before its last token");
            assert_eq!(of(&old).unwrap().1, last, "the old key signed after the new one");
            assert_eq!(observer.fetch(), [new]);
            wait_for("the file of the old key to go", || (!site.path("state/keys").join(format!("{old}.pem")).exists()).then_some(()));
        }));
        done.store(true, Ordering::SeqCst);
        let tokens = load.join().unwrap();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(tokens > 2, "{tokens}");
    });
    assert_eq!(signed.lock().unwrap().len(), 2);
    assert!(site.decisions("dev1").iter().all(|line| line["outcome"] == "accepted"));
}

#[test]
fn a_key_changes_by_schedule() {
    let site = &Site::embedded_with("[keys]\nrotation-interval = 2\npropagation = 1\n");
    let first = keys(site)[0]["kid"].clone();
    let later = wait_for("another key to sign", || Some(keys(site)).filter(|keys| keys[0]["kid"] != first));
    assert_eq!(later[0]["state"], "active");
    assert!(later.iter().any(|key| key["kid"] == first && key["state"] == "retiring"), "{later:?}");
}

#[test]
fn a_revoked_key_verifies_nothing() {
    let site = &Site::embedded();
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let mut server = ResourceServer::new(site, "rs");
    let device = Device::connect(site, "dev1", &secret);
    let before = token(&device, &secret);
    server.verify(&before).unwrap();
    let old = kid_of(&before);
    let unsure = site.run(&["key", "revoke", &old]);
    assert_eq!(unsure.status.code(), Some(64), "asked for confirmation, and there is nobody to ask");
    assert_eq!(keys(site)[0]["kid"], old.as_str());
    let told = site.credgate(&["key", "revoke", &old, "--yes"]);
    assert!(told.contains("every token it signed is void"), "{told}");
    let set = wait_for("the JWK Set without the key", || Some(server.fetch()).filter(|set| !set.contains(&old)));
    assert_eq!(set.len(), 1);
    assert!(server.verify(&before).is_err());
    let after = token(&device, &secret);
    assert_eq!(kid_of(&after), set[0]);
    server.verify(&after).unwrap();
    assert!(!site.path("state/keys").join(format!("{old}.pem")).exists());
    let again = site.run(&["key", "revoke", &old, "--yes"]);
    assert_eq!(again.status.code(), Some(65));
    // For good.
    assert!(site.stop("KILL").code().is_none());
    site.start();
    assert_eq!(server.fetch(), set);
}

#[test]
fn deny_a_rotation_during_a_rotation() {
    let site = &Site::embedded();
    let next: Value = serde_json::from_str(&site.credgate(&["key", "rotate", "--output", "json"])).unwrap();
    let again = site.run(&["key", "rotate"]);
    assert_eq!(again.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&again.stderr).contains("under way"), "{again:?}");
    let listed = keys(site);
    assert_eq!((listed.len(), &listed[1]["kid"], &listed[1]["state"]), (2, &next["kid"], &json!("published")));
}

#[test]
fn keys_are_sealed_from_the_next_start_with_a_master_key() {
    let site = &Site::embedded();
    assert!(site.log().contains("signing keys are not sealed"), "the log warns of plain keys");
    let kid = keys(site)[0]["kid"].as_str().unwrap().to_owned();
    let (plain, sealed) = (site.path(&format!("state/keys/{kid}.pem")), site.path(&format!("state/keys/{kid}.sealed")));
    assert!(plain.exists() && site.stop("TERM").success());

    let master_key = site.path("master.key");
    std::fs::write(&master_key, "5f".repeat(32)).unwrap();
    restrict(&master_key);
    let config = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{config}[keys]\nmaster-key-file = \"{}\"\n", master_key.display())).unwrap();
    site.start();
    assert!(sealed.exists() && !plain.exists());
    assert_eq!(site.log().matches("signing keys are not sealed").count(), 1);
    assert_eq!((&keys(site)[0]["kid"], &keys(site)[0]["path"]), (&json!(kid), &json!(sealed)));
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    assert_eq!(kid_of(&token(&Device::connect(site, "dev1", &secret), &secret)), kid);

    assert!(site.stop("TERM").success());
    for wrong in ["5e".repeat(32), "too short".into()] {
        std::fs::write(&master_key, wrong).unwrap();
        let refused = site.run(&["serve"]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("master key"), "{told}");
    }
    std::fs::write(site.config(), &config).unwrap();
    let refused = site.run(&["serve"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("keys.master-key-file") && told.contains("credgate-master-key"), "{told}");
    assert_eq!(keys(site).len(), 1, "listing needs no master key, and no new key was made");

    // As systemd hands it over.
    let credentials = site.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("credgate-master-key"), [0x5f; 32]).unwrap();
    restrict(&credentials.join("credgate-master-key"));
    let output = std::process::Command::new(crate::site::CREDGATE)
        .args(["key", "rotate", "--output", "json", "--config"])
        .arg(site.config())
        .env("CREDENTIALS_DIRECTORY", &credentials)
        .output()
        .unwrap();
    let next: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(next["path"].as_str().unwrap().ends_with(".sealed"), "{next}");
}
