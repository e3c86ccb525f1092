use proptest::prelude::*;

use super::*;
use crate::admin::ClientSpec;
use crate::clients::Status;

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// Reads texts as files of those names in a directory of their own.
fn read(files: &[(&str, &str)]) -> Fleet {
    let directory = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::default();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        if !name.ends_with(".jwk") {
            fleet.read(&path, None, &mut |_| Ok(())).unwrap();
        }
    }
    fleet
}

fn faults(fleet: &Fleet) -> Vec<String> {
    let told = |fault: &Fault| {
        let place = fault.place.as_ref().unwrap();
        format!("{}:{}: {}", place.line, place.column, fault.message)
    };
    fleet.faults.iter().map(told).collect()
}

fn client(fleet: &Fleet, index: usize) -> &ClientSpec {
    match &fleet.records[index] {
        ApplyRecord::Client(spec) => spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_three_forms_say_the_same() {
    let toml = format!(
        r#"
[[clients]]
client_id = "a"
client_name = "Boiler, left"
scope = ["s1", "s2"]
roles = "r"
attributes = {{ site = "berlin", hall = "7" }}
max_token_lifetime = 60
not_before = 2026-11-22T21:46:24Z
status = "suspended"
require_request_binding = true
jwks = {{ kty = "OKP", crv = "Ed25519", x = "{X}" }}
"#
    );
    let json = format!(
        r#"{{"clients": [{{"client_id": "a", "client_name": "Boiler, left", "scope": "s1 s2", "roles": ["r"],
        "attributes": {{"site": "berlin", "hall": "7"}}, "max_token_lifetime": 60, "not_before": 1795383984, "status": "suspended",
        "require_request_binding": true, "jwks": {{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{X}"}}]}},
        "default_scope": "", "expires_at": null, "client_id_issued_at": 1, "secrets": [], "kids": ["k"]}}]}}"#
    );
    let csv = format!(
        "client_id,client_name,scope,roles,attribute.site,attribute.hall,max_token_lifetime,not_before,status,require_request_binding,jwks,expires_at\r\n\
         a,\"Boiler, left\", s1  s2 ,r,berlin,7,60,2026-11-22T21:46:24Z,suspended,true,\"{{\"\"kty\"\":\"\"OKP\"\",\"\"crv\"\":\"\"Ed25519\"\",\"\"x\"\":\"\"{X}\"\"}}\",\r\n"
    );
    let expected = read(&[("f.toml", &toml)]);
    assert_eq!(faults(&expected), Vec::<String>::new());
    let spec = client(&expected, 0);
    assert_eq!((spec.scope.len(), spec.roles.len(), spec.attributes.len(), spec.status), (2, 1, 2, Some(Status::Suspended)));
    assert_eq!(
        (spec.max_token_lifetime, spec.not_before.unwrap().as_secs(), spec.jwks.as_ref().unwrap().len()),
        (Some(60), 1_795_383_984, 1)
    );
    for (name, text) in [("f.json", &json), ("f.csv", &csv), ("f.csv", &format!("\u{feff}{}", csv.replace("\r\n", "\n\n")))] {
        let found = read(&[(name, text)]);
        assert_eq!(faults(&found), Vec::<String>::new(), "{name}");
        assert_eq!((&found.records, &found.kinds), (&expected.records, &expected.kinds), "{name}");
    }
}

#[test]
fn faults_are_told_all_at_once_with_their_places() {
    let toml = "[[clients]]\nclient_id = \"a\"\nrole = [\"r\"]\nscope = 7\n[[clients]]\nclient_name = \"x\"\n[[client]]\nclient_id = \"b\"\n\
                [[clients]]\nclient_id = \"a\"\nstatus = \"activ\"\n[[scopes]]\nname = \"s\"\nresource_server = \"r/s\"\npermissions = [\"write x\"]\n";
    let told = faults(&read(&[("f.toml", toml)]));
    for expected in [
        "3:1: unknown key `role`; did you mean `roles`?",
        "4:9: `scope` must be a list of texts, not a number",
        "5:1: `client_id` is missing",
        "7:3: unknown section `client`; did you mean `clients`?",
        "11:10: `status`: unknown value `activ`, expected one of",
        "14:19: `resource_server`: a resource server id must be",
        "15:16: `permissions`: ",
    ] {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected} in {told:#?}");
    }
    assert!(
        told.iter().any(|told| told.starts_with("9:1: client a is there twice: first at ") && told.ends_with("f.toml:1:1")),
        "{told:#?}"
    );

    let json = "{\"clients\": [\n {\"client_id\": \"a b\"},\n {\"client_id\": \"c\",\n  \"max_token_lifetime\": -1, \"client_id\": \"c\"},\n 7\n]}";
    let told = faults(&read(&[("f.json", json)]));
    for expected in [
        "2:16: `client_id`: a client id must be",
        "4:25: `max_token_lifetime` must be",
        "4:42: `client_id` is there twice",
        "5:2: a client must",
    ] {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected} in {told:#?}");
    }

    let csv = "client_id,roles,expires_at\na,p:q,\nb,r\n\nc,r,tomorrow\nd,\"x\"y,\ne,r,\na,r,\nf,\"r,\n";
    let told = faults(&read(&[("f.csv", csv)]));
    for expected in [
        "3:1: the line has 2 cells, the first line names 3 columns",
        "5:5: `expires_at`: ",
        "6:6: after the closing quote",
        "8:1: client a is there twice",
        "9:3: the quote is never closed",
    ] {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected} in {told:#?}");
    }
}

#[test]
fn what_is_no_fleet_is_told_where_it_ends_to_be_one() {
    for (name, text, expected) in [
        ("f.toml", "[[clients]]\nclient_id = a\n", "2:13: "),
        ("f.toml", "clients = 7\n", "1:11: `clients` must be a list"),
        ("f.json", "{\"clients\": [\n{\"client_id\": a}]}", "2:15: expected value"),
        ("f.json", "[]", "1:1: the file must be an object"),
        ("f.json", "{\"clients\": {}}", "1:13: `clients` must be a list"),
        ("f.json", "", "1:1: EOF"),
        ("f.csv", "", "1:1: the file is empty"),
        ("f.csv", "id,roles\nx,y\n", "1:1: unknown column `id`"),
        ("f.csv", "client_id,client_id\nx,y\n", "1:11: the column client_id is there twice"),
    ] {
        let told = faults(&read(&[(name, text)]));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{text:?}: {told:?}");
    }
}

#[test]
fn a_kind_is_spoken_of_even_where_there_is_none_of_it() {
    assert_eq!(read(&[("f.json", "{\"roles\": []}")]).kinds, [Kind::Role].into());
    assert_eq!(read(&[("f.csv", "client_id\n")]).kinds, [Kind::Client].into());
    assert!(read(&[("f.toml", "")]).kinds.is_empty());
}

#[test]
fn a_key_may_lie_beside_the_file() {
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#);
    let fleet = read(&[("a.jwk", &jwk), ("f.csv", "client_id;jwk_file\na;a.jwk\n")]);
    assert_eq!(faults(&fleet), Vec::<String>::new());
    assert_eq!(client(&fleet, 0).jwks.as_ref().unwrap()[0].kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let private = jwk.replace('}', ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}");
    let told = faults(&read(&[("a.jwk", &private), ("f.csv", "client_id,jwk_file\na,a.jwk\nb,no.jwk\n")]));
    assert!(told[0].starts_with("2:3: `jwk_file`: ") && told[0].contains("private") && !told[0].contains("nWGx"), "{told:?}");
    assert!(told[1].starts_with("3:3: `jwk_file`: ") && told[1].contains("cannot be read"), "{told:?}");
}

#[test]
fn faults_without_end_take_no_memory_without_end() {
    let csv = format!("client_id\n{}", "a b\n".repeat(50_000));
    let fleet = read(&[("f.csv", &csv)]);
    assert_eq!((fleet.faulty, fleet.faults.len()), (50_000, MAX_FAULTS));
    let deep = format!("{{\"clients\": [{{\"client_id\": {}1{}}}]}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(faults(&read(&[("f.json", &deep)])).len(), 1);
}

#[test]
fn no_more_records_are_read_than_can_be_applied() {
    let csv: String = std::iter::once("client_id\n".to_owned()).chain((0..MAX_APPLIED + 10).map(|index| format!("c{index}\n"))).collect();
    let fleet = read(&[("f.csv", &csv)]);
    assert_eq!((fleet.faulty, fleet.records.len()), (1, MAX_APPLIED + 1));
}

#[test]
fn reading_ends_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.csv");
    std::fs::write(&path, "client_id\na\nb\nc\n").unwrap();
    let mut fleet = Fleet::default();
    let ended = fleet.read(&path, None, &mut |count| if count < 2 { Ok(()) } else { Err(crate::cli::interrupt::interrupted()) });
    assert_eq!((ended.unwrap_err().exit(), fleet.records.len()), (Exit::Interrupted, 2));
}

#[test]
fn the_examples_are_sound() {
    let fleet = read(&[
        ("fleet.toml", include_str!("../../../config/fleet/fleet.toml")),
        ("fleet.csv", include_str!("../../../config/fleet/fleet.csv")),
    ]);
    assert_eq!(faults(&fleet), Vec::<String>::new());
    assert_eq!((fleet.records.len(), fleet.kinds.len()), (10, 5));
}

proptest! {
    #[test]
    fn nothing_makes_a_reader_stumble(text in "([a-z_]{0,9}|[\\[\\]{}\",;=.:\\\\#\\n\r\t ]|client_id|clients|[[:^ascii:]]){0,60}") {
        for name in ["f.toml", "f.json", "f.csv"] {
            let fleet = read(&[(name, &text)]);
            prop_assert!(fleet.faults.len() <= fleet.faulty);
        }
    }
}
