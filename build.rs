//! Tells the program when its sources were made, so that it knows a time that is certainly past.
#![allow(clippy::disallowed_methods, reason = "it asks the world what the program is not to ask")]

use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=Cargo.toml");
    // Not with the beginning of settings: cargo hands it to the programs it runs.
    println!("cargo::rustc-env=SOURCE_TIME_OF_CREDGATE={}", source_time());
}

/// Seconds since 1970: of `SOURCE_DATE_EPOCH`, else of the last commit, else of `Cargo.toml`. The same for the same sources wherever they are built.
fn source_time() -> u64 {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse().ok());
    given.or_else(commit_time).or_else(file_time).unwrap_or_default()
}

fn commit_time() -> Option<u64> {
    // Sources that were unpacked inside somebody else's repository have no commit of their own.
    Path::new(".git").exists().then_some(())?;
    let output = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn file_time() -> Option<u64> {
    let modified = std::fs::metadata("Cargo.toml").ok()?.modified().ok()?;
    modified.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
