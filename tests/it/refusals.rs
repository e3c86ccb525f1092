//! Every reason for which a request is refused is in a test that is named for a refusal.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use credgate::oauth::Reason;

/// Reasons that no test of a refusal names, each with why that is so.
const EXEMPT: &[(Reason, &str)] = &[];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The bodies of the functions named `deny_*`. rustfmt, which the gate runs, puts a body's last brace on a line of its own, as far in as its
/// first line.
fn refusals(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("fn deny_") {
        let line = source[..at].rfind('\n').map_or(0, |end| end + 1);
        let indent: String = source[line..].chars().take_while(|character| *character == ' ').collect();
        if !["", "async "].contains(&&source[line + indent.len()..at]) {
            continue;
        }
        let end = source[at..].find(&format!("\n{indent}}}\n")).unwrap_or_else(|| panic!("no end of {}", &source[at..at + 40]));
        found.push(&source[at..at + end]);
    }
    found
}

/// Whether `text` has `word` on its own.
fn names(text: &str, word: &str) -> bool {
    let is_part = |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    text.match_indices(word).any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

#[test]
fn every_reason_is_in_a_test_of_a_refusal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts: Vec<String> = ["src", "tests/it"]
        .iter()
        .flat_map(|directory| sources(&root.join(directory)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let bodies: Vec<&str> = texts.iter().flat_map(|text| refusals(text)).collect();
    assert!(bodies.len() > 100, "{} tests of refusals", bodies.len());
    let is_tested = |reason: Reason| {
        let (variant, word) = (format!("Reason::{reason:?}"), format!("\"{}\"", reason.name()));
        bodies.iter().any(|body| names(body, &variant) || body.contains(&word))
    };
    let missing: BTreeSet<&str> = Reason::ALL.iter().filter(|reason| !is_tested(**reason)).map(|reason| reason.name()).collect();
    let exempt: BTreeSet<&str> = EXEMPT.iter().map(|(reason, _)| reason.name()).collect();
    assert_eq!(missing, exempt, "reasons that no deny_* test names, and those that need none");
}

#[test]
fn the_search_finds_what_is_there_and_nothing_else() {
    let source = "mod tests {\n    #[test]\n    fn deny_a() {\n        if x {\n        }\n        Reason::Some\n    }\n\n    fn other() {\n        Reason::Other\n    }\n}\n";
    assert_eq!(refusals(source), ["fn deny_a() {\n        if x {\n        }\n        Reason::Some"]);
    assert!(names("(Reason::Some, 1)", "Reason::Some") && names("Reason::Some", "Reason::Some"));
    assert!(!names("Reason::Something", "Reason::Some") && !names("XReason::Some", "Reason::Some"));
}
