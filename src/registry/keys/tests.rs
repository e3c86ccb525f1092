use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::*;
use crate::jose::SigningKey;

const RULES: RotationRules = RotationRules { interval: 1_000, propagation: 60, max_lifetime: 300, clock_skew: 30 };

/// A directory and the second at which everything happens, on both clocks.
struct Bench {
    _root: tempfile::TempDir,
    keys: PathBuf,
    master_key: Result<Option<MasterKey>, RegistryError>,
    second: Arc<AtomicU64>,
}

fn bench() -> Bench {
    let root = tempfile::tempdir().unwrap();
    Bench { keys: root.path().join("keys"), _root: root, master_key: Ok(None), second: Arc::new(AtomicU64::new(10_000)) }
}

impl Bench {
    fn options(&self) -> KeyOptions {
        KeyOptions { directory: self.keys.clone(), rules: RULES, master_key: self.master_key.clone() }
    }

    fn clock(&self) -> Clock {
        let second = self.second.clone();
        Arc::new(move || {
            let now = second.load(Ordering::SeqCst);
            Moment { wall: UnixTime::from_secs(now), uptime: Duration::from_secs(now) }
        })
    }

    /// What a new process sees.
    fn store(&self) -> KindStore {
        KindStore::new(self.options(), KeyType::Ed25519, self.clock())
    }

    /// A daemon; the second value is the JWK Set it publishes.
    fn daemon(&self) -> (KindStore, Arc<Mutex<KeyRing>>) {
        let store = self.store();
        let published = Arc::new(Mutex::new(store.load_or_create().unwrap()));
        let installed = published.clone();
        store.serve(Box::new(move |ring| *installed.lock().unwrap() = ring)).unwrap();
        (store, published)
    }

    fn load(&self) -> Result<KeyRing, RegistryError> {
        self.store().load_or_create()
    }

    fn set(&self, second: u64) {
        self.second.store(second, Ordering::SeqCst);
    }

    fn path(&self, kid: &str) -> PathBuf {
        self.keys.join(format!("{kid}.pem"))
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.keys).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn files_of(&self) -> Files<'_> {
        Files { directory: &self.keys, master: self.master_key.as_ref().unwrap().as_ref(), key_type: KeyType::Ed25519 }
    }

    /// Another key's file, as somebody else would put it there.
    fn add_key(&self, seed: u8, created_at: u64) -> String {
        let key = Arc::new(SigningKey::from_seed(&Zeroizing::new([seed; 32])));
        self.files_of().store(key, UnixTime::from_secs(created_at)).unwrap().key.kid().to_owned()
    }
}

fn states(store: &KindStore) -> Vec<(String, KeyState)> {
    store.list().unwrap().into_iter().map(|key| (key.kid, key.state)).collect()
}

fn kids(ring: &Mutex<KeyRing>) -> Vec<String> {
    ring.lock().unwrap().jwk_set().keys.iter().map(|key| key.kid().to_owned()).collect()
}

#[test]
fn the_first_start_makes_a_key_that_stays() {
    let bench = bench();
    assert_eq!(bench.store().list().unwrap(), []);
    assert!(!bench.keys.exists(), "listing made something");
    let ring = bench.load().unwrap();
    let kid = ring.active().kid().to_owned();
    assert_eq!(ring.jwk_set().keys.len(), 1);
    assert_eq!(bench.load().unwrap().active().secret_bytes(), ring.active().secret_bytes());

    let path = bench.path(&kid);
    let listed = bench.store().list().unwrap();
    let since = UnixTime::from_secs(10_000);
    let until = Some(UnixTime::from_secs(11_060));
    assert_eq!(
        listed,
        [KeyInfo {
            kid: kid.clone(),
            algorithm: Algorithm::EdDsa,
            state: KeyState::Active,
            created_at: since,
            since,
            until,
            path: path.clone()
        }]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&bench.keys), mode(&path), mode(&bench.keys.join(ROTATION))), (0o700, 0o600, 0o600));
    let mut expected = [format!("{kid}.pem"), ROTATION.to_owned()];
    expected.sort();
    assert_eq!(bench.files(), expected, "something was left over");
    let document: serde_json::Value = serde_json::from_slice(&fs::read(bench.keys.join(ROTATION)).unwrap()).unwrap();
    let active = serde_json::json!({"kid": kid, "since": 10_000, "latest": 10_000, "lifetime": 300});
    assert_eq!(document, serde_json::json!({"version": 1, "rotation": {"active": active}}));
}

/// RFC 8410 section 10.3: the example of version 1, which is what every OpenSSL since 1.1.1 writes and reads.
#[test]
fn key_files_are_those_of_rfc_8410() {
    let seed = [
        0xd4, 0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad, 0x3a, 0xfe, 0x7c, 0x28, 0xcb, 0xf1,
        0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
    ];
    let text = files::pem(&SigningKey::from_seed(&Zeroizing::new(seed)), UnixTime::from_secs(1_795_383_984)).unwrap();
    assert_eq!(
        *text,
        "Signing key of credgate: Ed25519, secret.\ncreated_at: 1795383984 (2026-11-22T21:46:24Z)\n-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
    );
    // A key that somebody else made, without the text above it.
    let bench = bench();
    directory::prepare(&bench.keys).unwrap();
    let kid = SigningKey::from_seed(&Zeroizing::new(seed)).kid().to_owned();
    let bare = text.split_once(")\n").unwrap().1;
    directory::write_private(&bench.keys, &format!("{kid}.pem"), bare.as_bytes()).unwrap();
    assert_eq!(bench.load().unwrap().active().kid(), kid);
    let created_at = bench.store().list().unwrap()[0].created_at;
    assert!(crate::registry::now().as_secs().abs_diff(created_at.as_secs()) < 3_600, "without a mark the file's time counts");
}

#[test]
fn a_rotation_goes_through_all_states() {
    let bench = bench();
    let (store, published) = bench.daemon();
    let old = published.lock().unwrap().active().kid().to_owned();
    assert_eq!(store.tick().unwrap(), Some(Duration::from_secs(1_000)));
    let new = store.rotate().unwrap();
    assert_eq!((new.state, new.until), (KeyState::Published, Some(UnixTime::from_secs(10_060))));
    let new = new.kid;
    assert_eq!(kids(&published), [old.clone(), new.clone()], "published, and the old one signs");
    assert_eq!(store.tick().unwrap(), Some(Duration::from_secs(60)));
    bench.set(10_059);
    store.tick().unwrap();
    assert_eq!(published.lock().unwrap().active().kid(), old);
    bench.set(10_060);
    assert_eq!(store.tick().unwrap(), Some(Duration::from_secs(330)));
    assert_eq!(kids(&published), [new.clone(), old.clone()]);
    bench.set(10_389);
    store.tick().unwrap();
    assert_eq!(kids(&published).len(), 2);
    bench.set(10_390);
    store.tick().unwrap();
    assert_eq!(kids(&published), std::slice::from_ref(&new));
    assert_eq!(states(&bench.store()), [(new.clone(), KeyState::Active)], "on disk, too");
    let mut expected = [format!("{new}.pem"), ROTATION.to_owned()];
    expected.sort();
    assert_eq!(bench.files(), expected);
    // By schedule.
    bench.set(11_060);
    store.tick().unwrap();
    assert_eq!(kids(&published).len(), 2);
}

#[test]
fn a_restart_goes_on_where_the_other_process_ended() {
    let bench = bench();
    let old = bench.load().unwrap().active().kid().to_owned();
    // By the command line of a gateway that does not run: nobody publishes the key until one does.
    let offline = bench.store().rotate().unwrap();
    assert_eq!(offline.until, None);
    bench.set(20_000);
    let (store, published) = bench.daemon();
    store.tick().unwrap();
    assert_eq!(kids(&published), [old.clone(), offline.kid.clone()]);
    bench.set(20_060);
    store.tick().unwrap();
    assert_eq!(kids(&published), [offline.kid.clone(), old.clone()]);
    drop(store);
    bench.set(20_389);
    let (store, published) = bench.daemon();
    store.tick().unwrap();
    assert_eq!(kids(&published), [offline.kid.clone(), old.clone()], "published while its tokens live, by whichever process");
    bench.set(20_390);
    store.tick().unwrap();
    assert_eq!(kids(&published), [offline.kid]);
}

#[test]
fn a_revoked_key_is_gone_at_once_and_for_good() {
    let bench = bench();
    let (store, published) = bench.daemon();
    let first = kids(&published)[0].clone();
    let (revoked, active) = store.revoke(&first).unwrap();
    assert_eq!((revoked.kid.as_str(), revoked.state, active.state), (first.as_str(), KeyState::Active, KeyState::Active));
    assert_eq!(kids(&published), std::slice::from_ref(&active.kid));
    assert!(!bench.path(&first).exists());
    let next = store.rotate().unwrap().kid;
    assert_eq!(store.revoke(&active.kid).unwrap().1.kid, next, "the published key takes over at once");
    assert_eq!(kids(&published), std::slice::from_ref(&next));
    let waiting = store.rotate().unwrap().kid;
    store.revoke(&waiting).unwrap();
    assert_eq!(states(&bench.store()), [(next, KeyState::Active)]);
    assert_eq!(store.revoke(&first).unwrap_err().code(), "not_found");
}

#[test]
fn deny_rotations_without_end() {
    let bench = bench();
    let (store, _) = bench.daemon();
    while states(&store).len() < MAX_KEYS {
        store.rotate().unwrap();
        assert!(store.rotate().unwrap_err().to_string().contains("a rotation is under way"));
        assert!(store.held().as_mut().unwrap().rotation.activate((store.clock)(), &RULES));
    }
    let before = (bench.files(), states(&store));
    assert!(store.rotate().unwrap_err().to_string().contains("too many keys"));
    assert_eq!((bench.files(), states(&store)), before);
}

/// Every point at which a process can end: after each file it wrote or removed.
#[test]
fn a_process_that_ends_between_two_files_leaves_keys_to_go_on_with() {
    // Between the new key's file and the states: the key is not in use.
    let bench = bench();
    let old = bench.load().unwrap().active().kid().to_owned();
    let orphan = bench.add_key(1, 50_000);
    fs::write(bench.keys.join(".new"), "half a file").unwrap();
    assert_eq!(bench.load().unwrap().jwk_set().keys.len(), 1);
    assert_eq!(states(&bench.store()), [(old.clone(), KeyState::Active)]);
    bench.store().rotate().unwrap();
    assert!(bench.path(&orphan).exists() && !bench.keys.join(".new").exists());

    // Between the states and the removal of a file: it is removed at the next start.
    let pem = fs::read(bench.path(&old)).unwrap();
    bench.store().revoke(&old).unwrap();
    directory::write_private(&bench.keys, &format!("{old}.pem"), &pem).unwrap();
    let ring = bench.load().unwrap();
    assert_ne!(ring.active().kid(), old);
    assert!(!bench.path(&old).exists(), "revoked for good");

    // Between the first key and the states.
    let bench = self::bench();
    directory::prepare(&bench.keys).unwrap();
    fs::write(bench.keys.join(".new"), "half a key").unwrap();
    let kid = bench.load().unwrap().active().kid().to_owned();
    fs::remove_file(bench.keys.join(ROTATION)).unwrap();
    assert_eq!(bench.load().unwrap().active().kid(), kid);
}

#[test]
fn keys_without_their_states_are_all_published() {
    let bench = bench();
    directory::prepare(&bench.keys).unwrap();
    let older = bench.add_key(1, 1_000);
    let newest = bench.add_key(2, 2_000);
    let (store, published) = bench.daemon();
    assert_eq!(kids(&published), [newest.clone(), older.clone()]);
    bench.set(10_330);
    store.tick().unwrap();
    assert_eq!(kids(&published), [newest], "the other may have signed until now, and goes when its tokens have expired");
}

#[test]
fn deny_states_that_cannot_be_read() {
    let bench = bench();
    let kid = bench.load().unwrap().active().kid().to_owned();
    let path = bench.keys.join(ROTATION);
    let text = fs::read_to_string(&path).unwrap();
    for (damaged, told) in [
        (String::new(), "cannot be read"),
        (text[..40].to_owned(), "cannot be read"),
        (text.replace("\"latest\"", "\"x\""), "cannot be read"),
        (text.replace("\"version\": 1", "\"version\": 2"), "has version 2"),
        (text.replace(&kid, "AAAA"), "names the key \"AAAA\", which is not there"),
    ] {
        fs::write(&path, damaged).unwrap();
        for error in [bench.load().unwrap_err(), bench.store().list().unwrap_err(), bench.store().rotate().unwrap_err()] {
            assert!(error.to_string().contains(told), "{error}");
        }
        assert_eq!(bench.files().len(), 2, "nothing is made anew in silence");
    }
}

#[test]
fn a_change_that_cannot_be_written_is_not_in_force() {
    let bench = bench();
    let (store, published) = bench.daemon();
    let before = kids(&published);
    // A directory in the place of the temporary file: nothing can be written.
    fs::create_dir(bench.keys.join(".new")).unwrap();
    assert!(store.rotate().is_err());
    assert!(store.revoke(&before[0]).is_err());
    assert_eq!((kids(&published), states(&store).len()), (before.clone(), 1));
    assert_eq!(kids(&bench.daemon().1), before, "a full disk keeps no gateway from serving");
    fs::remove_dir(bench.keys.join(".new")).unwrap();
    store.rotate().unwrap();
    assert_eq!(kids(&published).len(), 2);
}

#[test]
fn deny_keys_that_others_can_read() {
    let bench = bench();
    let kid = bench.load().unwrap().active().kid().to_owned();
    let path = bench.path(&kid);
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = bench.load().unwrap_err();
        assert_eq!(error.to_string(), format!("{0} has mode {mode:04o}, which lets others in: chmod 600 {0}", path.display()));
        assert_eq!(bench.store().list().unwrap_err().code(), "permissions");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&bench.keys, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(bench.load().unwrap_err().code(), "permissions");
    fs::set_permissions(&bench.keys, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bench.load().unwrap().active().kid(), kid);
}

#[test]
fn deny_misnamed_and_damaged_keys() {
    let bench = bench();
    let kid = bench.load().unwrap().active().kid().to_owned();
    let path = bench.path(&kid);
    let pem = fs::read_to_string(&path).unwrap();
    let secret = pem.lines().nth(3).unwrap().to_owned();
    let refused = |reason: &str| {
        let error = bench.load().unwrap_err();
        assert_eq!(error.code(), "bad_key_file");
        let text = format!("{error} {error:?}");
        assert!(text.contains(reason) && !text.contains(&secret), "{text}");
    };
    let other = bench.add_key(1, 1_000);
    let exchanged = fs::read(bench.path(&other)).unwrap();
    fs::remove_file(bench.path(&other)).unwrap();
    fs::write(&path, exchanged).unwrap();
    refused(&format!("rename the file to {other}.pem"));
    for damaged in [String::new(), pem.replace("PRIVATE", "PUBLIC"), pem.replace(&secret, &secret[4..]), pem.replace("-----END", "----END")]
    {
        fs::write(&path, damaged).unwrap();
        refused("is not an Ed25519 private key in PEM");
    }
    fs::remove_file(&path).unwrap();
    refused(&format!("names the key {kid:?}, which is not there"));
}

#[test]
fn deny_a_public_key_that_does_not_belong() {
    let bench = bench();
    directory::prepare(&bench.keys).unwrap();
    let key = SigningKey::from_seed(&Zeroizing::new([1; 32]));
    for (public, accepted) in [(*key.public().x(), true), ([9; 32], false)] {
        let pair = KeypairBytes { secret_key: *key.secret_bytes(), public_key: Some(ed25519_dalek::pkcs8::PublicKeyBytes(public)) };
        directory::write_private(&bench.keys, &format!("{}.pem", key.kid()), pair.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes())
            .unwrap();
        assert_eq!(bench.load().is_ok(), accepted);
    }
}

fn master_key(byte: u8) -> Result<Option<MasterKey>, RegistryError> {
    MasterKey::parse(Path::new("/m"), &[byte; 32]).map(Some)
}

#[test]
fn keys_are_sealed_under_a_master_key() {
    let mut bench = bench();
    bench.master_key = master_key(1);
    let (store, published) = bench.daemon();
    let first = kids(&published)[0].clone();
    let second = store.rotate().unwrap();
    assert!(second.path.ends_with(format!("{}.sealed", second.kid)));
    for name in bench.files() {
        let path = bench.keys.join(&name);
        assert!(name.ends_with(".sealed") || name == ROTATION, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(bench.load().unwrap().active().secret_bytes(), published.lock().unwrap().active().secret_bytes());
    // Listing needs no master key.
    let before = store.list().unwrap().into_iter().map(|key| (key.kid, key.state, key.created_at, key.path)).collect::<Vec<_>>();
    bench.master_key = Ok(None);
    let listed = bench.store().list().unwrap().into_iter().map(|key| (key.kid, key.state, key.created_at, key.path)).collect::<Vec<_>>();
    assert_eq!(listed, before);
    store.revoke(&first).unwrap();
    assert_eq!(bench.files(), {
        let mut names = [format!("{}.sealed", second.kid), ROTATION.to_owned()];
        names.sort();
        names
    });
}

#[test]
fn plain_keys_are_sealed_when_a_master_key_appears() {
    let mut bench = bench();
    let (store, _) = bench.daemon();
    store.rotate().unwrap();
    let kids: Vec<String> = store.list().unwrap().into_iter().map(|key| key.kid).collect();
    let plain: Vec<Vec<u8>> = kids.iter().map(|kid| fs::read(bench.path(kid)).unwrap()).collect();
    drop(store);
    bench.master_key = master_key(1);
    let seed = bench.load().unwrap().active().secret_bytes();
    assert!(kids.iter().all(|kid| !bench.path(kid).exists() && bench.keys.join(format!("{kid}.sealed")).exists()));
    assert_eq!(bench.store().list().unwrap()[0].created_at, UnixTime::from_secs(10_000));
    assert_eq!(bench.load().unwrap().active().secret_bytes(), seed);
    // Cut off between the sealed file and the removal of the plain one.
    directory::write_private(&bench.keys, &format!("{}.pem", kids[0]), &plain[0]).unwrap();
    assert_eq!(bench.store().list().unwrap().len(), 2);
    bench.load().unwrap();
    assert!(!bench.path(&kids[0]).exists());
    // The same without states: each key counts once.
    directory::write_private(&bench.keys, &format!("{}.pem", kids[0]), &plain[0]).unwrap();
    fs::remove_file(bench.keys.join(ROTATION)).unwrap();
    assert_eq!(bench.store().list().unwrap().len(), 2);
    assert_eq!(bench.load().unwrap().jwk_set().keys.len(), 2);
    assert!(!bench.path(&kids[0]).exists());
}

#[test]
fn deny_sealed_keys_without_their_master_key() {
    let mut bench = bench();
    bench.master_key = master_key(1);
    let kid = bench.load().unwrap().active().kid().to_owned();
    let files = bench.files();
    let broken = Err(RegistryError::MasterKey { reason: "/m: cannot be read".into() });
    let cases =
        [(Ok(None), "there is no master key to open it"), (master_key(2), "sealed under another one"), (broken, "/m: cannot be read")];
    for without_states in [false, true] {
        if without_states {
            fs::remove_file(bench.keys.join(ROTATION)).unwrap();
        }
        for (master_key, told) in cases.clone() {
            bench.master_key = master_key;
            for error in [bench.load().unwrap_err(), bench.store().rotate().unwrap_err(), bench.store().revoke(&kid).unwrap_err()] {
                assert_eq!(error.code(), "master_key");
                assert!(error.to_string().contains(told), "{error}");
            }
        }
        assert!(bench.files().iter().all(|name| files.contains(name)), "no key is made in silence");
    }
    bench.master_key = master_key(1);
    assert_eq!(bench.load().unwrap().active().kid(), kid);
}

#[test]
fn deny_sealed_files_that_are_not_right() {
    let mut bench = bench();
    bench.master_key = master_key(1);
    let kid = bench.load().unwrap().active().kid().to_owned();
    let path = bench.keys.join(format!("{kid}.sealed"));
    let text = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(bench.load().unwrap_err().code(), "permissions");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for (damaged, told) in [
        (String::new(), "is not a sealed key of credgate"),
        (text.replace("\"version\":1", "\"version\":2"), "has version 2"),
        (text.replace(&kid, "AAAA"), "holds another key (\"AAAA\")"),
    ] {
        fs::write(&path, damaged).unwrap();
        let error = bench.load().unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(bench.store().list().unwrap_err().code(), "bad_key_file");
    }
}
