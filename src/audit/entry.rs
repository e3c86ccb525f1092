//! An event and its place in the trail.

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Link};
use super::event::Event;
use crate::clock::UnixTime;

/// An event and its place. Its members are texts and whole numbers, none of them nested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number: one more than that of the entry before, for ever.
    pub seq: u64,
    /// When it was noted, by the clock of that moment.
    pub time: UnixTime,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// An entry with its hash, as it is kept and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// Of the hash before and this entry.
    pub hash: Hash,
}

impl Entry {
    /// The entry as deterministic CBOR (RFC 8949 section 4.2.1): what its hash is of. Empty for what cannot be, an entry that is no map.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        // A Value keeps the members of a map in canonical order; whole numbers and texts have but one shortest form.
        serde_cbor::value::to_value(self).and_then(|value| serde_cbor::to_vec(&value)).unwrap_or_default()
    }

    /// Reads [`Self::to_cbor`]; `None` for anything else, an entry with members this program does not know among it.
    #[must_use]
    pub fn from_cbor(bytes: &[u8]) -> Option<Self> {
        let entry: Self = serde_cbor::from_slice(bytes).ok()?;
        (entry.to_cbor() == bytes).then_some(entry)
    }

    /// The entry with its hash, after the link `before`.
    #[must_use]
    pub fn seal(self, before: &Link) -> Sealed {
        let hash = before.hash.then(&self.to_cbor());
        Sealed { entry: self, hash }
    }
}

impl Sealed {
    /// Its place in the chain.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { seq: self.entry.seq, hash: self.hash }
    }

    /// Reads a line of an export.
    ///
    /// # Errors
    /// If it is no entry, or has members that this program does not know, which its hash may cover.
    pub fn from_json(line: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let sealed: Self = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        match serde_json::to_value(&sealed) {
            Ok(again) if again == value => Ok(sealed),
            _ => Err("it has a member or a form of value that this program does not know".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::*;

    fn entry() -> Entry {
        let event = Event::of(What::OperatorCommand)
            .operation("client add")
            .subject("dev1")
            .client(&"dev1".parse().unwrap())
            .outcome("done")
            .by(1_000, Some(77), Some("ada"));
        Entry { seq: 7, time: UnixTime::from_secs(1_795_383_984), event }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn is_the_same_bytes_for_ever() {
        // Members by the length of their names, then by their letters.
        assert_eq!(
            hex(&entry().to_cbor()),
            "ab63706964184d6373657107637569641903e86474696d651a6b0362b06474797065686f70657261746f72647573657263616461656576\
             656e7467636f6d6d616e64676f7574636f6d6564646f6e65677375626a656374646465763169636c69656e745f69646464657631696f70\
             65726174696f6e6a636c69656e7420616464"
        );
        assert_eq!(Entry::from_cbor(&entry().to_cbor()), Some(entry()));
    }

    #[test]
    fn a_hash_is_of_the_one_before_and_the_entry() {
        let first = entry().seal(&Link::default());
        assert_eq!(first.hash, Hash::default().then(&entry().to_cbor()));
        assert_ne!(first.hash, entry().seal(&first.link()).hash);
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(Sealed::from_json(&json), Ok(first.clone()));
        assert!(json.contains(&format!(r#""hash":"{}""#, first.hash)), "{json}");
    }

    #[test]
    fn deny_what_is_no_entry() {
        let json = serde_json::to_string(&entry().seal(&Link::default())).unwrap();
        for bad in [
            "[]".to_owned(),
            json.replace(r#""seq":7"#, r#""seq":"7""#),
            json.replace(r#""seq":7"#, r#""seq":7,"more":1"#),
            json.replace(r#""pid":77"#, r#""pid":77.0"#),
            json.replace(r#""pid":77"#, r#""pid":null"#),
            json.replace(r#""client_id":"dev1""#, r#""client_id":"a/b""#),
            json.replace(r#""hash":""#, r#""hash":"x"#),
        ] {
            assert!(Sealed::from_json(&bad).is_err(), "{bad}");
        }
        let mut long = entry().to_cbor();
        long.push(0);
        assert_eq!((Entry::from_cbor(&long), Entry::from_cbor(b"\xa0")), (None, None));
    }
}
