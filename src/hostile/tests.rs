#![allow(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Mutated copies of each file of the corpus.
const COPIES: usize = 60;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The same numbers in each run, so that what fails fails again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Changes a few places: a bit, a byte that decoders look at twice, a piece that goes, comes twice or comes from another file.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    const TELLING: &[u8] = b"\0\x01\x18\x3b\x5f\x7f\x80\x9f\xbf\xc2\xd8\xf6\xfb\xff{}[]\",:/+#.$=-09eE\\\n ";
    for _ in 0..=numbers.below(4) {
        let (at, length) = (numbers.below(bytes.len()), numbers.below(24));
        let end = (at + length).min(bytes.len());
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = TELLING[numbers.below(TELLING.len())],
            2 => bytes.insert(at, TELLING[numbers.below(TELLING.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let from = numbers.below(other.len());
                let piece = other[from..(from + length).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            _ => bytes.truncate(at),
        }
    }
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Every file of the corpus, and mutated copies of it. What fails is printed, to become a file of the corpus.
fn run(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    let files = corpus(name);
    assert!(files.len() > 3, "{name} has a corpus of {}", files.len());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for (path, bytes) in &files {
        for copy in 0..=COPIES {
            let mut bytes = bytes.clone();
            if copy > 0 {
                mutate(&mut bytes, &files[numbers.below(files.len())].1, &mut numbers);
            }
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "{name}: {} copy {copy}: {:?}", path.display(), String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn hostile_requests_in_json() {
    run("json");
}

#[test]
fn hostile_requests_in_cbor() {
    run("cbor");
}

#[test]
fn hostile_topics() {
    run("topic");
}

#[test]
fn hostile_assertions() {
    run("assertion");
}

#[test]
fn hostile_tokens_and_lists() {
    run("token");
}

#[test]
fn hostile_frames() {
    run("frame");
}

#[test]
fn hostile_records() {
    run("record");
}

#[test]
fn hostile_configurations() {
    run("config");
}

#[test]
fn the_corpus_goes_all_the_way() {
    let is_issued = |format, payload: &[u8], id: &str| {
        let client_id = id.parse().unwrap();
        let request = Request {
            client_id: &client_id,
            operation: "token",
            format,
            payload,
            channel: Channel::Trusted,
            correlation_data: None,
            envelope: Ok(()),
        };
        matches!(engine().handle(&request, NOW, [3; 16]).decision, Decision::Issued { .. })
    };
    for (name, format) in [("json", Format::Json), ("cbor", Format::Cbor)] {
        for id in ["dev1", "dev2"] {
            assert!(corpus(name).iter().any(|(_, bytes)| is_issued(format, bytes, id)), "no token in {name} for {id}");
        }
    }
    let accepted =
        |bytes: &[u8]| assertions().authenticate_session(&"dev2".parse().unwrap(), &Secret::new(bytes.to_vec()), &World, NOW).is_ok();
    assert!(corpus("assertion").iter().any(|(_, bytes)| accepted(bytes)));
    let verifies = |bytes: &[u8]| token::verify(&token::in_json(bytes)?, ISSUER, None, &jwk_set(), NOW).ok();
    assert!(corpus("token").iter().any(|(_, bytes)| verifies(bytes).is_some()));
    let is_list = |bytes: &[u8]| RevocationList::verify(bytes, ISSUER, AUDIENCE, &jwk_set()).is_ok();
    assert!(corpus("token").iter().any(|(_, bytes)| is_list(bytes)));
}

#[test]
fn every_target_is_a_file_of_one_line_and_has_a_corpus() {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!((names("fuzz_targets"), names("corpus")), (expected.clone(), expected.clone()));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in expected {
        let source = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert_eq!(source, format!("#![no_main]\nlibfuzzer_sys::fuzz_target!(|bytes: &[u8]| credgate::hostile::{name}(bytes));\n"));
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
