//! The direction of dependencies: ARCHITECTURE.md's table against the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Rows `| module | may name |` of the table under "Direction" in ARCHITECTURE.md.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Direction").nth(1).expect("ARCHITECTURE.md has a section Direction");
    let section = section.split("\n## ").next().unwrap();
    let words = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
            let [module, names] = cells.as_slice() else { return None };
            Some((words(module).pop_first()?, words(names)))
        })
        .collect()
}

fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn without_tests(source: &str) -> String {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The modules that a source names by `crate::`, in paths and in grouped imports.
fn named(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in source.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut start) = (0_i32, true);
                let mut word = String::new();
                for character in group.chars() {
                    match character {
                        '{' => depth = depth.saturating_add(1),
                        '}' if depth == 0 => break,
                        '}' => depth = depth.saturating_sub(1),
                        ',' if depth == 0 => {
                            names.insert(std::mem::take(&mut word));
                            start = true;
                            continue;
                        }
                        _ => {}
                    }
                    if depth == 0 && start && (character.is_alphanumeric() || character == '_') {
                        word.push(character);
                    } else if !word.is_empty() {
                        start = false;
                    }
                }
                names.insert(word);
            }
            None => {
                names.insert(rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect());
            }
        }
    }
    names
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let allowed = allowed();
    let modules: BTreeSet<String> = sources(&root().join("src")).iter().map(|path| module_of(path)).collect();
    let listed: BTreeSet<String> = allowed.keys().cloned().collect();
    let expected: BTreeSet<String> = modules.iter().filter(|module| !matches!(module.as_str(), "lib" | "main")).cloned().collect();
    assert_eq!(listed, expected, "ARCHITECTURE.md's table lists the modules of src/");
    let mut faults = Vec::new();
    for path in sources(&root().join("src")) {
        let module = module_of(&path);
        let Some(may_name) = allowed.get(&module) else { continue };
        let source = without_comments(&fs::read_to_string(&path).unwrap());
        for name in named(&source).into_iter().filter(|name| modules.contains(name) && *name != module) {
            if !may_name.contains(&name) {
                faults.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "edges that ARCHITECTURE.md does not allow:\n{}", faults.join("\n"));
}

#[test]
fn only_their_own_modules_name_the_walled_crates() {
    // tests may name anything
    let walls = [
        ("sled", &["registry"][..]),
        ("rumqttc", &["mqtt", "device"][..]),
        ("mqtt5", &["mqtt"][..]),
        ("httparse", &["http"][..]),
        ("ratatui", &["cli"][..]),
        ("clap", &["cli", "main"][..]),
    ];
    for path in sources(&root().join("src")) {
        let source = without_comments(&without_tests(&fs::read_to_string(&path).unwrap()));
        for (wall, inside) in walls {
            let names = source.contains(&format!("{wall}::"));
            assert!(!names || inside.contains(&module_of(&path).as_str()), "{} names {wall}", path.display());
        }
    }
}

#[test]
fn parameter_names_stand_in_one_place() {
    let table = fs::read_to_string(root().join("src/oauth/params.rs")).unwrap();
    assert!(table.contains("\"access_token\""));
    for module in ["oauth", "clients", "policy", "endpoint", "mqtt", "device"] {
        for path in sources(&root().join("src").join(module)) {
            if path.ends_with("oauth/params.rs") || path.ends_with("tests.rs") || path.iter().any(|part| part == "tests") {
                continue;
            }
            let source = without_comments(&fs::read_to_string(&path).unwrap());
            let source = without_tests(&source);
            for name in ["access_token", "client_secret", "expires_in", "error_description", "req_cnf"] {
                assert!(!source.contains(&format!("\"{name}\"")), "{} writes the parameter name {name}", path.display());
            }
        }
    }
}

#[test]
fn no_source_is_too_long() {
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = without_tests(&text).lines().count();
        assert!(path.ends_with("tests.rs") || lines <= 600, "{} has {lines} lines", path.display());
    }
}

#[test]
fn names_that_say_nothing_are_not_used() {
    for path in sources(&root().join("src")) {
        let text = path.display().to_string();
        assert!(!["utils", "common", "types", "helpers", "manager"].iter().any(|name| text.contains(name)), "{text}");
    }
}
