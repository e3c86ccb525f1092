//! Whether a trail is whole.

use super::chain::{Anchor, Link};
use super::entry::Sealed;
use super::event::What;
use super::statement::{Statement, StatementError, StatementKind};
use crate::jose::JwkSet;

/// Walks a trail from its anchor to its end and says where it is not what the gateway wrote.
pub struct Verifier<'a> {
    /// By which signatures are checked; `None` for the chain alone.
    keys: Option<&'a JwkSet>,
    /// What somebody kept elsewhere.
    kept: Vec<Statement>,
    at: Link,
    report: Report,
}

/// What was found of a whole trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the first, if there is one.
    pub first: Option<u64>,
    /// The number of the last, or of the last that was dropped if there are none.
    pub last: u64,
    /// How many older ones the gateway has dropped to make room.
    pub dropped: u64,
    /// Checkpoints whose signature was verified.
    pub checkpoints: u64,
    /// Checkpoints signed by keys that are not on the JWK Set.
    pub unknown_keys: u64,
    /// Up to this entry the trail is signed by a key of the JWK Set; who has the trail could have changed what comes after.
    pub signed_up_to: Option<u64>,
    /// Whether it goes on from every checkpoint that was kept elsewhere and is not older than its beginning.
    pub compared: u64,
    /// Checkpoints kept elsewhere on entries that have been dropped since.
    pub too_old: u64,
}

/// Where a trail is not what the gateway wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Numbers are missing.
    #[error("entries are missing: {found} follows where {expected} must")]
    Removed {
        /// The number that must follow.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// A number comes too late or twice.
    #[error("entry {found} stands where {expected} must: it was moved or repeated")]
    Reordered {
        /// The number that must follow.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// An entry is not what its hash is of.
    #[error("entry {seq} was changed: its hash is not that of its content and the entry before it")]
    Changed {
        /// Its number.
        seq: u64,
    },
    /// A signed checkpoint says something else.
    #[error("the history up to entry {seq} was rewritten: a checkpoint signed by the gateway says otherwise")]
    Rewritten {
        /// The number of the entry that the checkpoint is about.
        seq: u64,
    },
    /// A checkpoint does not hold.
    #[error("the checkpoint in entry {seq} is not the gateway's: {error}")]
    BadCheckpoint {
        /// The number of the entry it is in.
        seq: u64,
        /// Why.
        error: StatementError,
    },
    /// The end is missing.
    #[error("the end is missing: the trail ends with entry {last}, but it once had entry {seq}, says a checkpoint kept elsewhere")]
    Truncated {
        /// The number of the last entry.
        last: u64,
        /// The number of the entry that there was.
        seq: u64,
    },
    /// The beginning is missing, and not by the gateway's doing.
    #[error("the beginning is missing: no word signed by the gateway says that it dropped what came before entry {first}")]
    BadAnchor {
        /// The number of the first entry that must be there.
        first: u64,
    },
    /// Nothing in the trail is signed by a known key.
    #[error("no checkpoint in the trail is signed by a key of the JWK Set")]
    Unsigned,
}

impl<'a> Verifier<'a> {
    /// Of a trail that begins at `anchor`, by the signatures of `keys`, or of its chain alone. `kept` are checkpoints that somebody kept
    /// elsewhere, whose signatures have been checked as well as they can be.
    ///
    /// # Errors
    /// [`Fault::BadAnchor`].
    pub fn new(anchor: &Anchor, keys: Option<&'a JwkSet>, kept: Vec<Statement>) -> Result<Self, Fault> {
        if let Some(keys) = keys.filter(|_| anchor.link.seq > 0) {
            let signed = anchor.statement.as_ref().and_then(|jws| Statement::verify(StatementKind::Anchor, jws, keys).ok());
            if signed.is_none_or(|statement| statement.link() != anchor.link) {
                return Err(Fault::BadAnchor { first: anchor.link.seq.saturating_add(1) });
            }
        }
        let report = Report { last: anchor.link.seq, dropped: anchor.link.seq, ..Report::default() };
        let mut verifier = Self { keys, kept, at: anchor.link, report };
        verifier.report.too_old = u64::try_from(verifier.kept.iter().filter(|kept| kept.seq < anchor.link.seq).count()).unwrap_or(u64::MAX);
        verifier.compare()?;
        Ok(verifier)
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Fault`], after which no more is to be taken.
    pub fn take(&mut self, sealed: &Sealed) -> Result<(), Fault> {
        let (expected, found) = (self.at.seq.saturating_add(1), sealed.entry.seq);
        if found > expected {
            return Err(Fault::Removed { expected, found });
        }
        if found < expected {
            return Err(Fault::Reordered { expected, found });
        }
        if sealed.entry.clone().seal(&self.at).hash != sealed.hash {
            return Err(Fault::Changed { seq: found });
        }
        if sealed.entry.event.is(What::Checkpoint) {
            self.checkpoint(sealed)?;
        }
        self.at = sealed.link();
        self.report.entries = self.report.entries.saturating_add(1);
        self.report.first.get_or_insert(found);
        self.report.last = found;
        self.compare()
    }

    /// The trail ends here.
    ///
    /// # Errors
    /// [`Fault::Truncated`], or [`Fault::Unsigned`] if signatures are checked and there is none.
    pub fn finish(self) -> Result<Report, Fault> {
        let last = self.at.seq;
        if let Some(kept) = self.kept.iter().find(|kept| kept.seq > last) {
            return Err(Fault::Truncated { last, seq: kept.seq });
        }
        if self.keys.is_some() && self.report.entries > 0 && self.report.checkpoints == 0 {
            return Err(Fault::Unsigned);
        }
        Ok(self.report)
    }

    /// A checkpoint is about the entry before it.
    fn checkpoint(&mut self, sealed: &Sealed) -> Result<(), Fault> {
        let seq = sealed.entry.seq;
        let jws = sealed.entry.event.statement.as_deref().unwrap_or_default();
        let statement = match self.keys {
            None => Statement::read(StatementKind::Checkpoint, jws),
            Some(keys) => match Statement::verify(StatementKind::Checkpoint, jws, keys) {
                Err(StatementError::UnknownKey(_)) => {
                    self.report.unknown_keys = self.report.unknown_keys.saturating_add(1);
                    Statement::read(StatementKind::Checkpoint, jws)
                }
                Ok(statement) => {
                    self.report.checkpoints = self.report.checkpoints.saturating_add(1);
                    self.report.signed_up_to = Some(statement.seq);
                    Ok(statement)
                }
                Err(error) => Err(error),
            },
        };
        let statement = statement.map_err(|error| Fault::BadCheckpoint { seq, error })?;
        if statement.link() == self.at { Ok(()) } else { Err(Fault::Rewritten { seq: statement.seq }) }
    }

    /// Whether what was kept elsewhere is about this place, and says the same.
    fn compare(&mut self) -> Result<(), Fault> {
        for kept in self.kept.iter().filter(|kept| kept.seq == self.at.seq) {
            if kept.link() != self.at {
                return Err(Fault::Rewritten { seq: kept.seq });
            }
            self.report.compared = self.report.compared.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::super::{Entry, Event};
    use super::*;
    use crate::clock::UnixTime;
    use crate::jose::{KeyRing, SigningKey};

    fn key(seed: u8) -> Arc<SigningKey> {
        Arc::new(SigningKey::from_seed(&Zeroizing::new([seed; 32])))
    }

    fn keys(seed: u8) -> JwkSet {
        KeyRing::new(key(seed), Vec::new()).jwk_set()
    }

    fn statement(link: &Link, kind: StatementKind, seed: u8) -> String {
        Statement::new("https://as.example", link, UnixTime::from_secs(9)).sign(kind, &key(seed)).unwrap()
    }

    /// Entries after `anchor`, every fifth a checkpoint by the key `seed`; the others are told apart by `mark`.
    fn trail(anchor: &Anchor, count: u64, seed: u8, mark: &str) -> Vec<Sealed> {
        let mut at = anchor.link;
        (1..=count)
            .map(|number| {
                let event = match number % 5 {
                    0 => Event::of(What::Checkpoint).statement(statement(&at, StatementKind::Checkpoint, seed)),
                    _ => Event::of(What::OperatorCommand).subject(mark),
                };
                let entry = Entry { seq: at.seq.saturating_add(1), time: UnixTime::from_secs(number), event };
                let sealed = entry.seal(&at);
                at = sealed.link();
                sealed
            })
            .collect()
    }

    fn verify(anchor: &Anchor, trail: &[Sealed], keys: Option<&JwkSet>, kept: Vec<Statement>) -> Result<Report, Fault> {
        let mut verifier = Verifier::new(anchor, keys, kept)?;
        for sealed in trail {
            verifier.take(sealed)?;
        }
        verifier.finish()
    }

    fn kept(sealed: &Sealed) -> Vec<Statement> {
        vec![Statement::new("https://as.example", &sealed.link(), UnixTime::from_secs(9))]
    }

    #[test]
    fn a_whole_trail_is_told_whole() {
        let (anchor, keys) = (Anchor::default(), keys(1));
        let whole = trail(&anchor, 12, 1, "x");
        let report = verify(&anchor, &whole, Some(&keys), kept(&whole[6])).unwrap();
        let expected = Report {
            entries: 12,
            first: Some(1),
            last: 12,
            dropped: 0,
            checkpoints: 2,
            unknown_keys: 0,
            signed_up_to: Some(9),
            compared: 1,
            too_old: 0,
        };
        assert_eq!(report, expected);
        assert_eq!(verify(&anchor, &whole, None, Vec::new()).unwrap().checkpoints, 0);
        assert_eq!(verify(&anchor, &[], Some(&keys), Vec::new()).unwrap(), Report::default());
    }

    #[test]
    fn deny_each_kind_of_meddling() {
        let (anchor, keys) = (Anchor::default(), keys(1));
        let whole = trail(&anchor, 12, 1, "x");
        let fault = |trail: &[Sealed]| verify(&anchor, trail, Some(&keys), Vec::new()).unwrap_err();
        let mut changed = whole.clone();
        changed[2].entry.event.subject = Some("y".into());
        assert_eq!(fault(&changed), Fault::Changed { seq: 3 });
        let mut changed = whole.clone();
        changed[2].hash.0[0] ^= 1;
        assert_eq!(fault(&changed), Fault::Changed { seq: 3 });
        let mut changed = whole.clone();
        changed[2].entry.time = UnixTime::from_secs(99);
        assert_eq!(fault(&changed), Fault::Changed { seq: 3 });
        let mut removed = whole.clone();
        removed.remove(2);
        assert_eq!(fault(&removed), Fault::Removed { expected: 3, found: 4 });
        let mut swapped = whole.clone();
        swapped.swap(2, 3);
        assert_eq!(fault(&swapped), Fault::Removed { expected: 3, found: 4 });
        let mut repeated = whole.clone();
        repeated.insert(3, whole[2].clone());
        assert_eq!(fault(&repeated), Fault::Reordered { expected: 4, found: 3 });
        // Renumbered after a removal.
        let mut renumbered = whole.clone();
        renumbered.remove(2);
        for (sealed, seq) in renumbered.iter_mut().zip(1..) {
            sealed.entry.seq = seq;
        }
        assert_eq!(fault(&renumbered), Fault::Changed { seq: 3 });
        // The beginning is gone.
        assert_eq!(fault(&whole[4..]), Fault::Removed { expected: 1, found: 5 });
        // The end is gone: seen by who kept a checkpoint.
        assert_eq!(verify(&anchor, &whole[..8], Some(&keys), kept(&whole[9])).unwrap_err(), Fault::Truncated { last: 8, seq: 10 });
    }

    #[test]
    fn deny_a_history_written_anew() {
        let (anchor, keys) = (Anchor::default(), keys(1));
        let whole = trail(&anchor, 12, 1, "x");
        // By a thief without the key, who makes a chain that holds.
        assert_eq!(verify(&anchor, &trail(&anchor, 12, 2, "y"), Some(&keys), Vec::new()).unwrap_err(), Fault::Unsigned);
        let mut relinked = Vec::new();
        let mut at = Link::default();
        for mut entry in whole.iter().map(|sealed| sealed.entry.clone()) {
            if entry.seq == 3 {
                entry.event.subject = Some("y".into());
            }
            let sealed = entry.seal(&at);
            at = sealed.link();
            relinked.push(sealed);
        }
        assert_eq!(verify(&anchor, &relinked, Some(&keys), Vec::new()).unwrap_err(), Fault::Rewritten { seq: 4 });
        // Even the chain alone shows it, unless the checkpoints were dropped too.
        assert_eq!(verify(&anchor, &relinked, None, Vec::new()).unwrap_err(), Fault::Rewritten { seq: 4 });
        let without = trail(&anchor, 4, 1, "y");
        assert_eq!(verify(&anchor, &without, Some(&keys), kept(&whole[2])).unwrap_err(), Fault::Rewritten { seq: 3 });
        // A checkpoint that pretends to be of the key.
        let mut forged = trail(&anchor, 12, 1, "y");
        let (head, _) =
            forged[4].entry.event.statement.clone().unwrap().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        forged.truncate(4);
        let at = forged[3].link();
        let event = Event::of(What::Checkpoint).statement(format!("{head}.AAAA"));
        forged.push(Entry { seq: 5, time: UnixTime::from_secs(5), event }.seal(&at));
        assert_eq!(
            verify(&anchor, &forged, Some(&keys), Vec::new()).unwrap_err(),
            Fault::BadCheckpoint { seq: 5, error: StatementError::WrongSignature }
        );
    }

    #[test]
    fn a_shortened_trail_verifies_by_its_signed_anchor_alone() {
        let keys = keys(1);
        let whole = trail(&Anchor::default(), 20, 1, "x");
        let link = whole[6].link();
        let anchor = |statement| Anchor { link, statement };
        let signed = anchor(Some(statement(&link, StatementKind::Anchor, 1)));
        let report = verify(&signed, &whole[7..], Some(&keys), kept(&whole[2])).unwrap();
        assert_eq!((report.first, report.dropped, report.too_old, report.compared), (Some(8), 7, 1, 0));
        assert_eq!(verify(&signed, &whole[7..], Some(&keys), kept(&whole[6])).unwrap().compared, 1);
        let bad = Err(Fault::BadAnchor { first: 8 });
        for statement in [
            None,
            Some(statement(&link, StatementKind::Anchor, 2)),
            // A checkpoint does not say that anything was dropped.
            Some(statement(&link, StatementKind::Checkpoint, 1)),
            Some(statement(&whole[5].link(), StatementKind::Anchor, 1)),
        ] {
            assert_eq!(verify(&anchor(statement), &whole[7..], Some(&keys), Vec::new()), bad);
        }
        assert!(verify(&anchor(None), &whole[7..], None, Vec::new()).is_ok(), "the chain alone");
        assert_eq!(verify(&signed, &whole[8..], Some(&keys), Vec::new()), Err(Fault::Removed { expected: 8, found: 9 }));
    }

    #[test]
    fn keys_that_were_replaced_are_counted_and_the_newest_count() {
        let anchor = Anchor::default();
        let mut mixed = trail(&anchor, 10, 1, "x");
        let second = trail(&Anchor { link: mixed[9].link(), statement: None }, 10, 2, "x");
        mixed.extend(second);
        let report = verify(&anchor, &mixed, Some(&keys(2)), Vec::new()).unwrap();
        assert_eq!((report.checkpoints, report.unknown_keys, report.signed_up_to), (2, 2, Some(19)));
    }
}
