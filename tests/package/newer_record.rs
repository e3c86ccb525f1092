//! A registry that a later version of the gateway wrote to, for the test of a downgrade: `newer_record REGISTRY add|show|remove`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

/// No gateway of today knows it.
const VERSION: u64 = 1_000;
const KEY: &str = "of-a-later-version";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [registry, action] = arguments.as_slice() else { panic!("usage: newer_record REGISTRY add|show|remove") };
    let database = sled::open(registry).unwrap();
    let clients = database.open_tree("clients").unwrap();
    let record = serde_cbor::to_vec(&(VERSION, "whatever it holds by then")).unwrap();
    match action.as_str() {
        "add" => assert!(clients.insert(KEY, record).unwrap().is_none(), "it is there already"),
        "show" => assert_eq!(clients.get(KEY).unwrap().as_deref(), Some(record.as_slice()), "it is gone or another"),
        "remove" => assert!(clients.remove(KEY).unwrap().is_some(), "it is not there"),
        other => panic!("{other} is neither add nor show nor remove"),
    }
    database.flush().unwrap();
}
