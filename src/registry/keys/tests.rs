use std::fs::Permissions;

use super::*;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    (root, keys)
}

/// Writes another key, as a rotation would.
fn add_key(directory: &Path, seed: u8, created_at: u64) -> String {
    let key = SigningKey::from_seed(&Zeroizing::new([seed; 32]));
    let text = key_file(&key, UnixTime::from_secs(created_at)).unwrap();
    write_private(directory, &format!("{}.pem", key.kid()), text.as_bytes()).unwrap();
    key.kid().to_owned()
}

#[test]
fn the_first_start_makes_a_key_that_stays() {
    let (_root, keys) = directory();
    assert_eq!(list_keys(&keys).unwrap(), []);
    assert!(!keys.exists(), "listing made something");
    let ring = load_or_create_keys(&keys).unwrap();
    let kid = ring.active().kid().to_owned();
    assert_eq!(ring.jwk_set().keys.len(), 1);
    assert_eq!(load_or_create_keys(&keys).unwrap().active().seed(), ring.active().seed());

    let listed = list_keys(&keys).unwrap();
    let path = keys.join(format!("{kid}.pem"));
    let created_at = listed[0].created_at;
    assert!(now().as_secs().abs_diff(created_at.as_secs()) < 3_600);
    assert_eq!(listed, [KeyInfo { kid: kid.clone(), algorithm: "EdDSA", created_at, active: true, path: path.clone() }]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&keys), mode(&path), mode(&keys.join(ACTIVE))), (0o700, 0o600, 0o600));
    assert_eq!(fs::read_to_string(keys.join(ACTIVE)).unwrap(), format!("{kid}\n"));
    let mut names: Vec<_> = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = [format!("{kid}.pem"), ACTIVE.to_owned()];
    expected.sort();
    assert_eq!(names, expected, "something was left over");
}

/// RFC 8410 section 10.3: the example of version 1, which is what every OpenSSL since 1.1.1 writes and reads.
#[test]
fn key_files_are_those_of_rfc_8410() {
    let seed = [
        0xd4, 0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad, 0x3a, 0xfe, 0x7c, 0x28, 0xcb, 0xf1,
        0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
    ];
    let text = key_file(&SigningKey::from_seed(&Zeroizing::new(seed)), UnixTime::from_secs(1_795_383_984)).unwrap();
    assert_eq!(
        *text,
        "Signing key of credgate: Ed25519, secret.\ncreated_at: 1795383984 (2026-11-22T21:46:24Z)\n-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
    );
    // A key that somebody else made, without the text above it.
    let (_root, keys) = directory();
    directory::prepare(&keys).unwrap();
    let kid = SigningKey::from_seed(&Zeroizing::new(seed)).kid().to_owned();
    let bare = text.split_once(")\n").unwrap().1;
    write_private(&keys, &format!("{kid}.pem"), bare.as_bytes()).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap().active().kid(), kid);
    assert!(now().as_secs().abs_diff(list_keys(&keys).unwrap()[0].created_at.as_secs()) < 3_600, "without a mark the file's time counts");
}

#[test]
fn the_active_file_decides_who_signs() {
    let (_root, keys) = directory();
    let first = load_or_create_keys(&keys).unwrap().active().kid().to_owned();
    let older = add_key(&keys, 1, 1_000);
    let newest = add_key(&keys, 2, 4_000_000_000);
    let ring = load_or_create_keys(&keys).unwrap();
    assert_eq!((ring.active().kid(), ring.jwk_set().keys.len()), (first.as_str(), 3));
    assert_eq!(ring.jwk_set().keys[0].kid(), first);
    let listed: Vec<_> = list_keys(&keys).unwrap().into_iter().map(|key| (key.kid, key.active)).collect();
    assert_eq!(listed, [(newest.clone(), false), (first, true), (older.clone(), false)]);

    write_private(&keys, ACTIVE, older.as_bytes()).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap().active().kid(), older);
    fs::remove_file(keys.join(ACTIVE)).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap().active().kid(), newest);
}

#[test]
fn deny_keys_that_others_can_read() {
    let (_root, keys) = directory();
    let kid = load_or_create_keys(&keys).unwrap().active().kid().to_owned();
    let path = keys.join(format!("{kid}.pem"));
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = load_or_create_keys(&keys).unwrap_err();
        assert_eq!(error.to_string(), format!("{0} has mode {mode:04o}, which lets others in: chmod 600 {0}", path.display()));
        assert_eq!(list_keys(&keys).unwrap_err().code(), "permissions");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap_err().code(), "permissions");
    fs::set_permissions(&keys, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap().active().kid(), kid);
}

#[test]
fn deny_misnamed_and_damaged_keys() {
    let (_root, keys) = directory();
    let kid = load_or_create_keys(&keys).unwrap().active().kid().to_owned();
    let path = keys.join(format!("{kid}.pem"));
    let pem = fs::read_to_string(&path).unwrap();
    let secret = pem.lines().nth(3).unwrap().to_owned();
    let refused = |reason: &str| {
        let error = load_or_create_keys(&keys).unwrap_err();
        assert_eq!(error.code(), "bad_key_file");
        let text = format!("{error} {error:?}");
        assert!(text.contains(reason) && !text.contains(&secret), "{text}");
    };
    let misnamed = keys.join("old.pem");
    fs::rename(&path, &misnamed).unwrap();
    refused(&format!("rename the file to {kid}.pem"));
    fs::rename(&misnamed, &path).unwrap();
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
    let (_root, keys) = directory();
    directory::prepare(&keys).unwrap();
    let key = SigningKey::from_seed(&Zeroizing::new([1; 32]));
    for (public, accepted) in [(*key.public().x(), true), ([9; 32], false)] {
        let pair = KeypairBytes { secret_key: *key.seed(), public_key: Some(ed25519_dalek::pkcs8::PublicKeyBytes(public)) };
        write_private(&keys, &format!("{}.pem", key.kid()), pair.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
        assert_eq!(load_or_create_keys(&keys).is_ok(), accepted);
    }
}

#[test]
fn a_first_start_that_was_cut_off_is_finished() {
    let (_root, keys) = directory();
    directory::prepare(&keys).unwrap();
    fs::write(keys.join(".new"), "half a key").unwrap();
    let kid = load_or_create_keys(&keys).unwrap().active().kid().to_owned();
    assert!(!keys.join(".new").exists());
    // Cut off between the key and the file that names it.
    fs::remove_file(keys.join(ACTIVE)).unwrap();
    assert_eq!(load_or_create_keys(&keys).unwrap().active().kid(), kid);
}
