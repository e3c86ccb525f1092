//! The audit trail on disk: whole with every change, bounded, and telling of any meddling.

use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::audit::{
    AuditLog as _, Event, Fault, Filter, Link, Page, Query, RefusalRules, Refused, Report, Sealed, Statement, StatementKind, Verifier, What,
};
use crate::clients::{CredentialRef, CredentialWish, Retire, RotationRule};
use crate::jose::{JwkSet, KeyRing, SigningKey};

use super::audit::Notes;
use super::store::{Store, Write};
use super::*;

fn key(seed: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Zeroizing::new([seed; 32])))
}

fn keys(seed: u8) -> JwkSet {
    KeyRing::new(key(seed), Vec::new()).jwk_set()
}

fn hooks(seed: u8) -> AuditHooks {
    let signing = key(seed);
    let sign = move |kind: StatementKind, link: &Link, now| Statement::new("https://as.example", link, now).sign(kind, &signing).ok();
    AuditHooks { sign: Box::new(sign), ..AuditHooks::default() }
}

fn open_signing(directory: &Path, limits: AuditLimits) -> Arc<Registry> {
    let registry = open(directory);
    registry.keep_audit(limits, hooks(1));
    registry
}

fn limits(max_entries: u64) -> AuditLimits {
    AuditLimits { max_entries, checkpoint_entries: 10, ..AuditLimits::default() }
}

pub(super) fn all(registry: &Registry) -> (Vec<Sealed>, Page) {
    let mut entries = Vec::new();
    let mut query = Query::default();
    loop {
        let page = registry.audit_page(query.clone()).unwrap();
        assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
        entries.extend(page.entries.clone());
        match page.more_from {
            Some(after) => query.after = after,
            None => return (entries, page),
        }
    }
}

pub(super) fn verify(registry: &Registry, keys: Option<&JwkSet>, kept: Vec<Statement>) -> Result<Report, Fault> {
    let (entries, page) = all(registry);
    let mut verifier = Verifier::new(&page.anchor, keys, kept)?;
    entries.iter().try_for_each(|sealed| verifier.take(sealed))?;
    verifier.finish()
}

fn told(entries: &[Sealed]) -> Vec<String> {
    let name = |sealed: &Sealed| format!("{}.{}", sealed.entry.event.kind, sealed.entry.event.event);
    entries.iter().map(name).collect()
}

fn command(operation: &'static str, subject: &str) -> Event {
    Event::of(What::OperatorCommand).operation(operation).subject(subject).outcome("done")
}

fn fill(registry: &Registry, count: usize) {
    for number in 0..count {
        registry.record(command("client edit", &format!("dev-{number}"))).unwrap();
    }
}

#[test]
fn a_change_and_its_entry_are_one_write() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let syncs = Arc::new(AtomicUsize::new(0));
    let fails = Arc::new(AtomicBool::new(false));
    let (counted, failing) = (syncs.clone(), fails.clone());
    let sync = move |file: &File| {
        counted.fetch_add(1, Ordering::SeqCst);
        if failing.load(Ordering::SeqCst) { Err(std::io::Error::other("the disk is gone")) } else { file.sync_data() }
    };
    let registry = Registry::open_with(&options(directory.path()), Box::new(sync)).unwrap();
    let acting = registry.acting();
    acting.intend(command("client add", "dev1"));
    acting.add_client(client("dev1")).unwrap();
    assert_eq!((syncs.load(Ordering::SeqCst), acting.unrecorded()), (1, None));
    assert_eq!(told(&all(&registry).0), ["operator.command", "credential.secret_made"]);
    // A refused change leaves the entry to whoever tells of the refusal.
    acting.intend(command("client add", "dev1"));
    assert!(acting.add_client(client("dev1")).is_err());
    assert!(acting.unrecorded().is_some() && registry.unrecorded().is_none());
    // A change that does not reach the disk has no entry either.
    fails.store(true, Ordering::SeqCst);
    acting.intend(command("client add", "dev2"));
    assert!(acting.add_client(client("dev2")).is_err());
    drop((registry, acting));
    let registry = open(directory.path());
    assert_eq!((ids(&registry), all(&registry).0.len()), (vec!["dev1".to_owned()], 2));
}

#[test]
fn what_is_noted_is_written_with_the_next_write_or_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.note(Event::of(What::DaemonStarted));
    assert!(all(&registry).0.is_empty(), "noting waits for nothing");
    registry.add_client(client("dev1")).unwrap();
    assert_eq!(told(&all(&registry).0), ["daemon.started", "credential.secret_made"]);
    registry.note(Event::of(What::DaemonStopped));
    let id = id("dev1");
    for _ in 0..3 {
        let refused = Refused {
            what: What::RequestRefused,
            client_id: Some(&id),
            uid: None,
            known: true,
            reason: "wrong_secret",
            link: Some("broker"),
        };
        registry.refused(refused, now());
    }
    drop(registry);
    let (entries, _) = all(&open(directory.path()));
    assert_eq!(told(&entries[2..]), ["daemon.stopped", "refusal.request"]);
    assert_eq!((entries[3].entry.event.count, entries[3].entry.event.reason.as_deref()), (Some(3), Some("wrong_secret")));
}

#[test]
fn a_write_without_anything_to_tell_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_signing(directory.path(), limits(100));
    let log = options(directory.path()).directory.join("db");
    let content = || std::fs::read(&log).unwrap();
    registry.note(Event::of(What::DaemonStarted));
    registry.write_audit(AuditWrite::Checkpoint).unwrap();
    let before = content();
    for what in [AuditWrite::Due, AuditWrite::Checkpoint, AuditWrite::End] {
        registry.write_audit(what).unwrap();
    }
    assert!(before == content(), "an idle gateway wears no flash");
    assert_eq!(told(&all(&registry).0), ["daemon.started", "checkpoint.signed"]);
}

#[test]
fn a_flood_of_refusals_fills_few_entries() {
    let directory = tempfile::tempdir().unwrap();
    let refusals = RefusalRules { window: 600, per_hour: 60 };
    let registry = open_signing(directory.path(), AuditLimits { refusals, ..limits(1_000) });
    for round in 0..20_u64 {
        for number in 0..5_000 {
            let made_up = id(&format!("x-{round}-{number}"));
            let refused = Refused {
                what: What::RequestRefused,
                client_id: Some(&made_up),
                uid: None,
                known: false,
                reason: "unknown_client",
                link: Some("broker"),
            };
            registry.refused(refused, now());
        }
        registry.write_audit(AuditWrite::Due).unwrap();
    }
    assert!(all(&registry).0.len() <= 12, "{}", all(&registry).0.len());
    registry.write_audit(AuditWrite::End).unwrap();
    let (entries, _) = all(&registry);
    assert_eq!(entries.iter().filter_map(|sealed| sealed.entry.event.count).sum::<u64>(), 100_000);
    assert!(entries.len() <= 16, "{}", entries.len());
}

#[test]
fn the_trail_goes_on_over_restarts_and_is_signed() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_signing(directory.path(), limits(1_000));
    fill(&registry, 25);
    let kept = registry.audit_checkpoint().unwrap();
    let kept = Statement::verify(StatementKind::Checkpoint, &kept, &keys(1)).unwrap();
    drop(registry);
    let registry = open_signing(directory.path(), limits(1_000));
    fill(&registry, 5);
    let report = verify(&registry, Some(&keys(1)), vec![kept.clone()]).unwrap();
    assert_eq!((report.first, report.last, report.checkpoints, report.compared), (Some(1), 33, 3, 1));
    assert_eq!(report.signed_up_to, Some(kept.seq));
    assert_eq!(verify(&registry, Some(&keys(2)), Vec::new()), Err(Fault::Unsigned));
}

#[test]
fn the_ring_is_bounded_and_its_beginning_signed() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_signing(directory.path(), limits(64));
    let kept = {
        fill(&registry, 40);
        Statement::read(StatementKind::Checkpoint, &registry.audit_checkpoint().unwrap()).unwrap()
    };
    for _ in 0..20 {
        fill(&registry, 10);
        let (entries, page) = all(&registry);
        assert!(entries.len() <= 64, "{}", entries.len());
        assert_eq!(entries[0].entry.seq, page.anchor.link.seq + 1);
        verify(&registry, Some(&keys(1)), Vec::new()).unwrap();
    }
    let report = verify(&registry, Some(&keys(1)), vec![kept]).unwrap();
    assert!(report.dropped > 100 && report.too_old == 1, "{report:?}");
    drop(registry);
    // Another key signs from now on, the beginning too.
    let registry = open(directory.path());
    registry.keep_audit(limits(64), hooks(2));
    registry.note(Event::of(What::SigningKeyActivated));
    registry.write_audit(AuditWrite::Checkpoint).unwrap();
    verify(&registry, Some(&keys(2)), Vec::new()).unwrap();
    let (entries, _) = all(&registry);
    let bytes = |limit| AuditLimits { max_bytes: limit, ..limits(1_000_000) };
    drop(registry);
    let size: usize = entries.iter().map(|sealed| sealed.entry.to_cbor().len() + 40).sum();
    let registry = open_signing(directory.path(), bytes(u64::try_from(size / 2).unwrap()));
    fill(&registry, 1);
    let shorter = all(&registry).0.len();
    assert!((10..entries.len() * 2 / 3).contains(&shorter), "{shorter} of {}", entries.len());
}

#[test]
fn nothing_is_dropped_unsigned_until_there_is_twice_as_much() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.keep_audit(limits(32), AuditHooks::default());
    fill(&registry, 60);
    assert_eq!(all(&registry).0.len(), 60);
    fill(&registry, 30);
    assert!(all(&registry).0.len() <= 64);
    assert!(registry.audit_checkpoint().is_err(), "there is no key");
    assert!(matches!(verify(&registry, Some(&keys(1)), Vec::new()), Err(Fault::BadAnchor { .. })));
    assert!(verify(&registry, None, Vec::new()).is_ok());
}

#[test]
fn pages_hold_what_is_wanted_in_either_order() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_signing(directory.path(), limits(100_000));
    let refused = Event::of(What::RequestRefused).client(&id("dev1"));
    registry.note(refused.clone());
    fill(&registry, 30);
    registry.note(refused);
    fill(&registry, 5);
    let filter = Filter { kind: Some("refusal".into()), ..Filter::default() };
    let seqs = |page: &Page| page.entries.iter().map(|sealed| sealed.entry.seq).collect::<Vec<_>>();
    let wanted = Query { filter, ..Query::default() };
    let page = registry.audit_page(wanted.clone()).unwrap();
    assert_eq!((seqs(&page), page.more_from), (vec![1, 35], None));
    let page = registry.audit_page(Query { after: 1, ..wanted.clone() }).unwrap();
    assert_eq!((seqs(&page), page.more_from), (vec![35], None), "what is not wanted is passed over");
    let page = registry.audit_page(Query { newest_first: true, limit: 1, ..wanted }).unwrap();
    assert_eq!((seqs(&page), page.more_from), (vec![35], Some(35)));
    let page = registry.audit_page(Query { after: 3, before: Some(7), ..Query::default() }).unwrap();
    assert_eq!((seqs(&page), page.more_from), (vec![4, 5, 6], None));
    let page = registry.audit_page(Query { after: 36, limit: 2, ..Query::default() }).unwrap();
    assert_eq!((seqs(&page), page.more_from, page.head), (vec![37, 38], Some(38), 40));
    for (after, before) in [(40, None), (u64::MAX, None), (5, Some(5)), (0, Some(0)), (0, Some(1))] {
        let page = registry.audit_page(Query { after, before, ..Query::default() }).unwrap();
        assert_eq!((seqs(&page), page.more_from), (vec![], None), "{after} {before:?}");
    }
}

#[test]
fn every_change_of_a_credential_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let seen = Mutex::new(0);
    let news = || {
        let (entries, _) = all(&registry);
        let mut seen = seen.lock().unwrap();
        let new = entries[*seen..].to_vec();
        *seen = entries.len();
        new
    };
    let names = |entries: &[Sealed]| entries.iter().map(|sealed| sealed.entry.event.event.to_string()).collect::<Vec<_>>();
    let id = id("dev1");
    registry.add_client(client("dev1")).unwrap();
    assert_eq!(names(&news()), ["secret_made"]);
    let rule = |retire| RotationRule { overlap: 60, retire };
    let rotate = |retire| registry.rotate_credential(&id, None, CredentialWish::Secret, rule(retire), NOW).unwrap().client;
    rotate(Retire::FirstUse);
    let begun = news();
    assert_eq!(names(&begun), ["secret_made", "rotation_begun"]);
    assert_eq!(begun[0].entry.event.credential, begun[1].entry.event.credential);
    assert_eq!((begun[1].entry.event.until, begun[1].entry.event.reason.as_deref()), (Some(NOW.saturating_add(60)), Some("operator")));
    registry.cancel_rotation(&id, NOW).unwrap();
    let cancelled = news();
    assert_eq!(
        (names(&cancelled), &cancelled[0].entry.event.credential),
        (vec!["rotation_cancelled".to_owned()], &begun[0].entry.event.credential)
    );
    // The first use ends the old one.
    let rotated = rotate(Retire::FirstUse);
    news();
    registry.used(&rotated, CredentialRef::Secret(&rotated.secrets[1]), NOW);
    registry.keep_usage().unwrap();
    assert_eq!(names(&news()), ["rotation_used", "retired"]);
    // The first use ends nothing, the end of the overlap does.
    let rotated = rotate(Retire::End);
    news();
    registry.used(&rotated, CredentialRef::Secret(&rotated.secrets[1]), NOW);
    registry.keep_usage().unwrap();
    assert_eq!(names(&news()), ["rotation_used"]);
    registry.settle_rotations(NOW.saturating_add(59));
    registry.keep_usage().unwrap();
    assert!(news().is_empty());
    for _ in 0..2 {
        registry.settle_rotations(NOW.saturating_add(60));
        registry.record(Event::of(What::DaemonStarted)).unwrap();
    }
    assert_eq!(names(&news()), ["retired", "started", "started"], "once");
    assert_eq!(registry.client(&id).unwrap().secrets.len(), 1);
    rotate(Retire::End);
    news();
    registry.finish_rotation(&id, NOW).unwrap();
    assert_eq!(names(&news()), ["retired"]);
    // No entry holds anything of a secret but the first bytes of its digest.
    let (entries, _) = all(&registry);
    assert!(entries.iter().filter_map(|sealed| sealed.entry.event.credential.as_ref()).all(|name| name.len() == 16));
}

/// A trail of 30 entries in a closed registry, and what somebody does to its records.
fn meddle(meddle: impl FnOnce(&mut Store)) -> Arc<Registry> {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_signing(directory.path(), limits(1_000));
    fill(&registry, 27);
    registry.audit_checkpoint().unwrap();
    assert_eq!(verify(&registry, Some(&keys(1)), Vec::new()).unwrap().last, 30);
    drop(registry);
    let mut store = Store::open(&options(directory.path()), Box::new(File::sync_data)).unwrap();
    meddle(&mut store);
    drop(store);
    open_signing(directory.path(), limits(1_000))
}

fn stored(store: &Store, seq: u64) -> Vec<u8> {
    let found = store.range(super::records::Tree::Audit, seq.to_be_bytes()..=seq.to_be_bytes()).next().unwrap().unwrap();
    found.1.to_vec()
}

fn put(store: &mut Store, seq: u64, value: Option<Vec<u8>>) {
    store.commit(&[Write { tree: super::records::Tree::Audit, key: seq.to_be_bytes().into(), value }]).unwrap();
}

#[test]
fn deny_a_stored_entry_that_was_changed() {
    let registry = meddle(|store| {
        let value = stored(store, 7);
        let text = String::from_utf8_lossy(&value).find("dev-6").unwrap();
        let at = value.windows(5).position(|window| window == b"dev-6").unwrap();
        assert!(text > 0);
        let mut changed = value;
        changed[at + 4] = b'9';
        put(store, 7, Some(changed));
    });
    assert_eq!(verify(&registry, Some(&keys(1)), Vec::new()), Err(Fault::Changed { seq: 7 }));
}

#[test]
fn deny_a_stored_entry_that_was_removed() {
    let registry = meddle(|store| put(store, 7, None));
    assert_eq!(verify(&registry, Some(&keys(1)), Vec::new()), Err(Fault::Removed { expected: 7, found: 8 }));
}

#[test]
fn deny_stored_entries_that_were_swapped() {
    let registry = meddle(|store| {
        let (a, b) = (stored(store, 7), stored(store, 8));
        put(store, 7, Some(b));
        put(store, 8, Some(a));
    });
    assert_eq!(verify(&registry, Some(&keys(1)), Vec::new()), Err(Fault::Removed { expected: 7, found: 8 }));
}

#[test]
fn deny_a_stored_trail_whose_beginning_is_gone() {
    let registry = meddle(|store| (1..=11).for_each(|seq| put(store, seq, None)));
    assert_eq!(verify(&registry, Some(&keys(1)), Vec::new()), Err(Fault::BadAnchor { first: 12 }));
}

#[test]
fn deny_a_stored_trail_whose_end_is_gone() {
    let kept = Mutex::new(None);
    let registry = meddle(|store| {
        let last = super::audit::decode(&stored(store, 30)).unwrap();
        *kept.lock().unwrap() = last.entry.event.statement;
        (20..=30).for_each(|seq| put(store, seq, None));
    });
    let kept = Statement::verify(StatementKind::Checkpoint, &kept.lock().unwrap().take().unwrap(), &keys(1)).unwrap();
    assert!(verify(&registry, Some(&keys(1)), Vec::new()).is_ok(), "the trail itself cannot tell");
    assert_eq!(verify(&registry, Some(&keys(1)), vec![kept]), Err(Fault::Truncated { last: 19, seq: 29 }));
}

#[test]
fn a_damaged_record_stops_neither_the_gateway_nor_the_trail() {
    let registry = meddle(|store| {
        put(store, 7, Some(b"garbage".to_vec()));
        put(store, 30, Some(b"garbage".to_vec()));
    });
    fill(&registry, 1);
    let page = registry.audit_page(Query::default()).unwrap();
    assert_eq!((page.unreadable, page.head), (vec![7, 30], 31));
}

#[test]
fn what_cannot_be_written_waits() {
    let notes = Notes::default();
    for _ in 0..3_000 {
        notes.push(NOW, Event::of(What::ClockStepped));
    }
    let waiting = notes.take();
    assert_eq!((waiting.len(), waiting[1_024].1.count), (1_025, Some(1_976)));
    assert!(notes.take().is_empty());
    notes.push(NOW, Event::of(What::DaemonStopped));
    notes.put_back(vec![(NOW, Event::of(What::DaemonStarted))]);
    let order: Vec<_> = notes.take().into_iter().map(|(_, event)| event.event).collect();
    assert_eq!(order, ["started", "stopped"]);
}

#[test]
fn the_way_back_finds_every_record_over_gaps_of_any_width() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&options(directory.path()), Box::new(File::sync_data)).unwrap();
    let numbers: Vec<u64> = (5..400).chain([1_000, 1_128, 1 << 40, (1 << 40) + 1, u64::MAX]).collect();
    numbers.iter().for_each(|number| put(&mut store, *number, Some(vec![1])));
    let found = |from: u64, to: u64| -> Vec<u64> {
        let records = store.descending(super::records::Tree::Audit, from, to).take(1_000);
        let mut found: Vec<u64> = records.map(|record| u64::from_be_bytes(record.unwrap().0.as_ref().try_into().unwrap())).collect();
        found.reverse();
        found
    };
    for (from, to) in
        [(0, u64::MAX), (5, u64::MAX), (6, 399), (400, 1 << 40), (1_129, (1 << 40) - 1), (1 << 41, u64::MAX - 1), (5, 5), (6, 5)]
    {
        let expected: Vec<u64> = numbers.iter().copied().filter(|number| (from..=to).contains(number)).collect();
        assert_eq!(found(from, to), expected, "{from}..={to}");
    }
}
