//! docs/attacks.md names a test for each attack, and each of them is run.

use std::fs;
use std::path::Path;

fn read(file: &str) -> Result<String, std::io::Error> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
}

/// The `file::test` names that stand in a text.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once(".rs::").map(|_| word.rsplit_once("::"))?).collect()
}

/// Whether `name` is a function with the attribute of a test, or one that is run on both links.
fn is_run(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    let line = source[..at].rfind('\n').map_or(0, |end| end + 1);
    let attributes = || source[..line].lines().rev().map(str::trim).take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_test = attributes().any(|line| line == "#[test]" || line.starts_with("#[tokio::test"));
    let on_both_links = source.split_once("\non_both_links!(").and_then(|(_, list)| list.split_once(");"));
    let is_listed = on_both_links.is_some_and(|(list, _)| list.split(',').any(|listed| listed.trim() == name));
    (is_test || is_listed) && !attributes().any(|line| line.starts_with("#[ignore"))
}

#[test]
fn every_attack_names_tests_that_are_run() {
    let document = read("docs/attacks.md").unwrap();
    let (defended, _) = document.split_once("\n## Not defended\n").expect("what is not defended has a section");
    let mut faults = Vec::new();
    let mut attacks = 0;
    for row in defended.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack |")) {
        attacks += 1;
        let named = named(row);
        if named.is_empty() {
            faults.push(format!("no test: {row}"));
        }
        for (file, test) in named {
            match read(file) {
                Ok(source) if is_run(&source, test) => {}
                Ok(_) => faults.push(format!("{file} has no test {test} that is run")),
                Err(error) => faults.push(format!("{file}: {error}")),
            }
        }
    }
    assert!(attacks > 50, "{attacks} attacks");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_search_for_tests_finds_what_is_run_and_nothing_else() {
    assert_eq!(named("| a | `b` | `src/x.rs::y`, `tests/it/z.rs::w` |"), [("src/x.rs", "y"), ("tests/it/z.rs", "w")]);
    let source = "use x;\n\non_both_links!(listed, other);\n\nfn listed(site: &Site) {}\n\nfn forgotten(site: &Site) {}\n\nmod tests {\n    /// Told.\n    #[test]\n    fn found() {}\n\n    fn helper() {}\n\n    #[tokio::test(flavor = \"multi_thread\")]\n    async fn waits() {}\n\n    #[test]\n    #[ignore = \"slow\"]\n    fn slow() {}\n}\n";
    for name in ["listed", "found", "waits"] {
        assert!(is_run(source, name), "{name}");
    }
    for name in ["forgotten", "helper", "slow", "absent", "foun"] {
        assert!(!is_run(source, name), "{name}");
    }
}
