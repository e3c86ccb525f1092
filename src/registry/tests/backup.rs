//! A backup and what comes of it, and a registry of an older program.

use std::fs;

use zeroize::Zeroizing;

use super::*;
use crate::audit::{AuditLog as _, Event, What};
use crate::clients::{ClientKey, CredentialRef};
use crate::enrolment::Template;
use crate::jose::Jwk;
use crate::token::{RevocationStore as _, RevokedToken, TokenHash};

/// Whatever can be in a registry.
pub(super) fn fill(registry: &Registry) {
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    registry.add_scope(scope("a", "rs")).unwrap();
    registry.add_role(role("pump", "a")).unwrap();
    registry.add_client(Client { scope: "a".parse().unwrap(), ..client("dev1") }).unwrap();
    let jwks = vec![ClientKey::new(Jwk::ed25519(&[7; 32]).with_kid("k1".to_owned()), NOW)];
    registry.add_client(Client { jwks, secrets: Vec::new(), ..client("dev2") }).unwrap();
    registry.add_template(Template::new("t".parse().unwrap(), "pump-{serial}".parse().unwrap(), NOW)).unwrap();
    registry.add_enrolment(Enrolment { is_limited: true, ..enrolment("e1", "t") }).unwrap();
    registry.add_serials(&"e1".parse().unwrap(), vec!["17".parse().unwrap()]).unwrap();
    let token = RevokedToken {
        resource_server: "rs".parse().unwrap(),
        jti: "AwMDAwMDAwMDAwMDAwMDAw".into(),
        hash: TokenHash::of("abc"),
        issued_at: NOW,
        expires_at: NOW.saturating_add(60),
    };
    registry.revoke_token(&id("dev1"), token, NOW).unwrap();
    let credential = CredentialRef::Secret(&registry.client(&id("dev1")).unwrap().secrets[0]).id();
    registry.usage.note(&id("dev1"), credential, NOW);
    registry.keep_usage().unwrap();
    registry.note(Event::of(What::OperatorCommand).operation("test"));
    registry.write_audit(AuditWrite::Due).unwrap();
}

fn bytes(registry: &Registry) -> Zeroizing<Vec<u8>> {
    registry.backup("https://as.example").unwrap().finish()
}

fn parse(bytes: &[u8]) -> Result<Backup, RegistryError> {
    Backup::parse(Path::new("/b"), bytes)
}

/// Puts a backup into a state directory.
fn restore(state: &Path, backup: &Backup) -> Result<Inspection, RegistryError> {
    let staging = Staging::begin(state, Origin::Restore)?;
    let inspection = staging.registry(backup, Origin::Restore, Event::of(What::RegistryRestored))?;
    staging.put_in_place()?;
    Ok(inspection)
}

/// All but what is about the registry itself.
fn content(backup: &Backup) -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
    let told = backup.records.iter().filter(|record| !matches!(record.tree, Tree::Meta | Tree::Audit | Tree::Sequence));
    told.map(|record| (record.tree, record.key.clone(), record.value.clone())).collect()
}

#[test]
fn what_is_backed_up_comes_back_and_no_sequence_number_comes_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = open(from.path());
    fill(&registry);
    let backup = parse(&bytes(&registry)).unwrap();
    assert_eq!(backup.counts().len(), Tree::ALL.len(), "there is something of each kind: {:?}", backup.counts());
    // The one there before has something else, and is set aside.
    let before = open(to.path());
    before.add_client(client("old")).unwrap();
    assert!(matches!(Staging::begin(to.path(), Origin::Restore).map(|_| ()), Err(RegistryError::Locked { .. })), "it is open");
    drop(before);
    let inspection = restore(to.path(), &backup).unwrap();
    assert_eq!(inspection.faulty, 0);
    let restored = open(to.path());
    let again = parse(&bytes(&restored)).unwrap();
    assert_eq!(content(&again), content(&backup));
    assert_ne!(again.manifest.lineage, backup.manifest.lineage, "it goes its own way from here");
    let (was, is) = (registry.revocation_state().sequence, restored.revocation_state().sequence);
    assert!(is >= was + 86_400, "{was} {is}");
    let told = restored.restored().unwrap();
    assert_eq!((told.origin, told.as_of), (Origin::Restore, backup.manifest.created_at));
    assert!(options(&to.path().join(&told.set_aside)).directory.join("db").exists());
    let (trail, _) = super::trail::all(&restored);
    assert!(trail.last().is_some_and(|sealed| sealed.entry.event.is(What::RegistryRestored)));
    super::trail::verify(&restored, None, Vec::new()).unwrap();
}

use super::super::records::Tree;
use super::super::restore::held;

#[test]
fn deny_backups_with_any_change() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    fill(&registry);
    let whole = bytes(&registry);
    assert!(parse(&whole).is_ok());
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 0x10;
        assert!(matches!(parse(&changed), Err(RegistryError::BadBackup { .. })), "byte {at}");
        assert!(parse(&whole[..at]).is_err(), "cut to {at}");
    }
    assert!(parse(&[whole.as_slice(), b"x"].concat()).is_err());
    let text = parse(b"hello").unwrap_err().to_string();
    assert!(text.contains("/b") && text.contains("is no backup of credgate"), "{text}");
}

#[test]
fn deny_backups_whose_records_break_a_rule() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    fill(&registry);
    let good = parse(&bytes(&registry)).unwrap();
    let state = tempfile::tempdir().unwrap();
    drop(open(state.path()));
    let without = |tree: Tree| {
        let mut backup = parse(&bytes(&registry)).unwrap();
        backup.records.retain(|record| record.tree != tree);
        backup
    };
    let mut garbled = parse(&bytes(&registry)).unwrap();
    garbled.records.iter_mut().find(|record| record.tree == Tree::Clients).unwrap().value[1] = 9;
    let mut trail = parse(&bytes(&registry)).unwrap();
    trail.records.iter_mut().find(|record| record.tree == Tree::Audit).unwrap().value.reverse();
    let looks: Vec<fs::DirEntry> = fs::read_dir(state.path()).unwrap().map(Result::unwrap).collect();
    for (backup, words) in [
        (without(Tree::Meta), "the registry's own record is missing"),
        (without(Tree::Scopes), "there is no scope a"),
        (garbled, "has version 9"),
        (trail, "the audit trail is damaged at entry"),
    ] {
        let error = restore(state.path(), &backup).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let after = fs::read_dir(state.path()).unwrap().count();
    assert_eq!(after, looks.len(), "nothing is left, and nothing was touched");
    assert_eq!(open(state.path()).client_count(), 0);
    drop(held(&options(state.path()).directory.join("db")));
    assert_eq!(restore(state.path(), &good).unwrap().faulty, 0);
}

/// The files that the program wrote which knew version 1 of every record, without the zeros at the end of its log.
fn version_1(directory: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/registry-v1");
    let to = options(directory).directory;
    fs::create_dir(&to).unwrap();
    fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    File::options().write(true).open(to.join("db")).unwrap().set_len(524_287).unwrap();
}

#[test]
fn a_registry_of_version_1_is_read_and_goes_on_as_version_2() {
    let directory = tempfile::tempdir().unwrap();
    version_1(directory.path());
    let registry = open(directory.path());
    assert_eq!(ids(&registry), ["dev1", "dev2", "pump-17"]);
    let dev1 = registry.client(&id("dev1")).unwrap();
    let secret = crate::oauth::Secret::new(b"ivsQWOqgyRIPU4RpzEGezbDAgRAnVUMDY8_pq0nydc8".to_vec());
    assert!(dev1.secrets[0].digest == crate::clients::SecretDigest::of(&secret), "its secret still serves");
    assert_eq!(registry.client(&id("dev2")).unwrap().status, Status::Blocked);
    assert!(registry.revocations(&id("dev2")).is_some() && registry.revocation_state().sequence > 0);
    let enrolments = registry.enrolments();
    let enrolled = enrolments.enrolments.keys().next().unwrap();
    assert_eq!(registry.enrolled_devices(enrolled).len(), 2);
    assert!(registry.usage.latest(&id("dev1")).is_some());
    super::trail::verify(&registry, None, Vec::new()).unwrap();
    let (lineage, created_at) = (registry.memory.meta.lineage, registry.memory.meta.created_at);
    assert!(lineage.is_known() && created_at < UnixTime::from_secs(1_800_000_000));
    let of_version = |registry: &Registry, tree: Tree| {
        let backup = parse(&bytes(registry)).unwrap();
        backup.records.iter().filter(|record| record.tree == tree).map(|record| record.value[1]).collect::<Vec<_>>()
    };
    assert_eq!(of_version(&registry, Tree::Meta), [2], "written anew when it was opened");
    registry.add_client(client("dev3")).unwrap();
    drop(registry);
    let registry = open(directory.path());
    assert_eq!((registry.memory.meta.lineage, registry.client_count()), (lineage, 4));
    assert_eq!(registry.inspect().unwrap().faulty, 0);
}

#[test]
fn an_export_has_every_kind_of_record_and_no_digest_unless_it_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    fill(&registry);
    let backup = parse(&bytes(&registry)).unwrap();
    let lines = backup.export(true).unwrap();
    let kinds: std::collections::BTreeSet<&str> = lines[1..].iter().map(|line| line["kind"].as_str().unwrap()).collect();
    // All trees but that of the registry itself, which the first line tells of, and the audit trail.
    assert_eq!(kinds.len(), Tree::ALL.len() - 2, "{kinds:?}");
    let counted: u64 = lines[0]["counts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted, u64::try_from(lines.len() - 1).unwrap());
    let text = |lines: &[serde_json::Value]| lines.iter().map(ToString::to_string).collect::<String>();
    let digests = |text: &str| text.matches("sha256").count();
    assert_eq!(digests(&text(&lines)), 2, "of a secret and of an enrolment token");
    let without = backup.export(false).unwrap();
    assert_eq!((digests(&text(&without)), without.len()), (0, lines.len()));
}
