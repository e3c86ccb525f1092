//! The two ways to build for ARM, in a container of `cross` and without one, are the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `NAME=value` and `NAME="value"` in the lines of a text.
fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| line.trim().trim_end_matches('\\').trim_end().trim_start_matches("ENV "));
    let pairs = lines.filter_map(|line| line.trim().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// The word after `key` at the beginning of lines such as `[key.word.x]`.
fn targets(text: &str, key: &str) -> BTreeSet<String> {
    let headers = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_prefix(key)?.strip_suffix(']'));
    headers.filter_map(|rest| Some(rest.strip_prefix('.')?.split('.').next()?.to_owned())).collect()
}

#[test]
fn the_container_has_the_packages_and_variables_of_the_script() {
    let (dockerfile, script) = (read("cross/Dockerfile"), read("cross/build"));
    let environment = dockerfile.split("\nENV ").nth(1).expect("the Dockerfile sets variables");
    assert_eq!(variables(environment), variables(&read("cross/toolchain.env")));
    assert!(dockerfile.contains("COPY packages /tmp/packages") && dockerfile.contains("< /tmp/packages"), "one list of packages");
    assert!(script.contains("install $(cat cross/packages)") && script.contains(". cross/toolchain.env"));
    // Names alone, since both hand them to apt-get as they are.
    let is_name =
        |line: &str| line.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-');
    let packages = read("cross/packages");
    assert!(packages.lines().count() > 4 && packages.lines().all(|line| !line.is_empty() && is_name(line)), "{packages}");
}

#[test]
fn every_target_is_known_everywhere() {
    let of_cross = targets(&read("cross/Cross.toml"), "target");
    assert_eq!(of_cross.len(), 3);
    let (script, budget, deny) = (read("cross/build"), targets(&read("tests/budget.toml"), "program"), read("deny.toml"));
    let linkers = read("cross/toolchain.env");
    for target in of_cross {
        assert!(script.contains(&target), "cross/build does not know {target}");
        assert!(budget.contains(&target), "tests/budget.toml has nothing for {target}");
        assert!(deny.contains(&target), "deny.toml does not look at {target}");
        let name = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
        assert!(variables(&linkers).contains_key(&name), "cross/toolchain.env has no {name}");
    }
}
