//! Version 1 of each record, byte for byte. A registry in the field holds these bytes: a change here needs a new version.

use crate::clients::{AuthMethod, ClientKey, CredentialRef, Initiator, Retire, Rotation};
use crate::policy::Dialect;
use crate::token::{RevokedToken, TokenHash};

use super::meta::Meta;
use super::records::{Record, decode, encode};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn check<R: Record + PartialEq + std::fmt::Debug>(record: R, fixture: &str) {
    assert_eq!(hex(&encode(&record).unwrap()), fixture);
    assert_eq!(decode::<R>(Path::new("/r"), record.name().as_bytes(), &unhex(fixture)).unwrap(), record);
}

#[test]
fn version_1_of_a_client() {
    let mut record = Client { scope: "b a".parse().unwrap(), status: Status::Suspended, ..client("dev-1") };
    record.secrets[0].not_before = Some(UnixTime::from_secs(1));
    record.updated_at = UnixTime::from_secs(2);
    check(
        record,
        "8201a96b636c69656e745f6e616d656650756d702037781a746f6b656e5f656e64706f696e745f617574685f6d6574686f6472636c6965\
         6e745f7365637265745f706f73746573636f70658261616162667374617475736973757370656e646564677365637265747381a4666469\
         676573745820dc4bf80c77473d130fa0de86ba4018fe98bb214005e6a5891d12ba91446f9e816a637265617465645f61741a6b0362b06a\
         6e6f745f6265666f7265016a657870697265735f6174f66b736f6674776172655f69646470756d7070736f6674776172655f7665727369\
         6f6e63312e326a637265617465645f61741a6b0362b06a757064617465645f617402",
    );
}

#[test]
fn version_1_of_a_client_with_all_there_is() {
    let record = Client {
        roles: ["r".parse().unwrap()].into(),
        default_scope: "a".parse().unwrap(),
        audiences: ["rs".parse().unwrap()].into(),
        attributes: [("site".parse().unwrap(), "berlin".parse().unwrap())].into(),
        max_token_lifetime: Some(60),
        not_before: Some(UnixTime::from_secs(1)),
        expires_at: Some(UnixTime::from_secs(2)),
        ..Client::new(id("d"), NOW)
    };
    check(
        record,
        "8201b06b636c69656e745f6e616d6560781a746f6b656e5f656e64706f696e745f617574685f6d6574686f6472636c69656e745f736563\
         7265745f706f73746573636f70658066737461747573666163746976656773656372657473806b736f6674776172655f69646070736f66\
         74776172655f76657273696f6e606a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b065726f6c6573816172\
         6d64656661756c745f73636f70658161616961756469656e636573816272736a61747472696275746573a16473697465666265726c696e\
         726d61785f746f6b656e5f6c69666574696d65183c6a6e6f745f6265666f7265016a657870697265735f617402",
    );
}

#[test]
fn version_1_of_a_role() {
    check(
        role("pump", "a b"),
        "8201a46b6465736372697074696f6e6d576861742070756d707320646f6573636f706582616161626a637265617465645f61741a6b0362\
         b06a757064617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_a_client_with_a_key() {
    let mut record = Client { token_endpoint_auth_method: AuthMethod::PrivateKeyJwt, require_request_binding: true, ..client("dev-1") };
    record.secrets.clear();
    record.jwks = vec![ClientKey::new(crate::jose::Jwk::ed25519(&[7; 32]).with_kid("k1".to_owned()), NOW)];
    check(
        record,
        "8201ab6b636c69656e745f6e616d656650756d702037781a746f6b656e5f656e64706f696e745f617574685f6d6574686f646f70726976\
         6174655f6b65795f6a77746573636f7065806673746174757366616374697665677365637265747380646b65797381a2636b6964626b31\
         67656432353531395820070707070707070707070707070707070707070707070707070707070707070777726571756972655f72657175\
         6573745f62696e64696e67f56b736f6674776172655f69646470756d7070736f6674776172655f76657273696f6e63312e326a63726561\
         7465645f61741a6b0362b06a757064617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_a_client_with_a_p256_key() {
    let mut record = Client { token_endpoint_auth_method: AuthMethod::PrivateKeyJwt, ..client("dev-1") };
    record.secrets.clear();
    record.jwks = vec![ClientKey::new(crate::jose::Jwk::p256(&[7; 32], &[8; 32]).with_kid("k1".to_owned()), NOW)];
    check(
        record,
        "8201aa6b636c69656e745f6e616d656650756d702037781a746f6b656e5f656e64706f696e745f617574685f6d6574686f646f70726976\
         6174655f6b65795f6a77746573636f7065806673746174757366616374697665677365637265747380646b65797381a2636b6964626b31\
         64703235365840070707070707070707070707070707070707070707070707070707070707070708080808080808080808080808080808\
         080808080808080808080808080808086b736f6674776172655f69646470756d7070736f6674776172655f76657273696f6e63312e326a\
         637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_a_client_with_keys_in_rotation() {
    let mut record = Client { token_endpoint_auth_method: AuthMethod::PrivateKeyJwt, ..Client::new(id("d"), NOW) };
    let key = |byte: u8, kid: &str| crate::jose::Jwk::ed25519(&[byte; 32]).with_kid(kid.to_owned());
    let later = NOW.saturating_add(1);
    record.jwks = vec![
        ClientKey::new(key(7, "k1"), NOW),
        ClientKey {
            not_before: Some(UnixTime::from_secs(1)),
            expires_at: Some(UnixTime::from_secs(2)),
            ..ClientKey::new(key(8, "k2"), later)
        },
    ];
    record.rotation = Some(Rotation {
        started_at: later,
        ends_at: later.saturating_add(60),
        retire: Retire::End,
        started_by: Initiator::Client,
        replaces: vec!["k1".to_owned()],
        used_at: Some(later),
    });
    check(
        record,
        "8201ab6b636c69656e745f6e616d6560781a746f6b656e5f656e64706f696e745f617574685f6d6574686f646f707269766174655f6b65\
         795f6a77746573636f7065806673746174757366616374697665677365637265747380646b65797382a2636b6964626b31676564323535\
         313958200707070707070707070707070707070707070707070707070707070707070707a5636b6964626b326765643235353139582008\
         080808080808080808080808080808080808080808080808080808080808086a637265617465645f61741a6b0362b16a6e6f745f626566\
         6f7265016a657870697265735f6174026b736f6674776172655f69646070736f6674776172655f76657273696f6e606a63726561746564\
         5f61741a6b0362b06a757064617465645f61741a6b0362b068726f746174696f6ea66a737461727465645f61741a6b0362b167656e6473\
         5f61741a6b0362ed6672657469726563656e646a737461727465645f627966636c69656e74687265706c6163657381626b316775736564\
         5f61741a6b0362b1",
    );
}

#[test]
fn version_1_of_last_uses() {
    let (first, second) = (&client("d").secrets[0], ClientSecret::generate(&Zeroizing::new([8; 32]), NOW).0);
    let name = |secret| CredentialRef::Secret(secret).id();
    check(
        LastUsed { client_id: id("d"), times: vec![(name(first), NOW), (name(&second), UnixTime::from_secs(1))] },
        "8201a16475736564828248dc4bf80c77473d131a6b0362b08248ce9ec58122164c8201",
    );
}

#[test]
fn version_1_of_a_client_that_is_a_resource_server() {
    check(
        Client { introspects: ["rs".parse().unwrap()].into(), ..Client::new(id("d"), NOW) },
        "8201aa6b636c69656e745f6e616d6560781a746f6b656e5f656e64706f696e745f617574685f6d6574686f6472636c69656e745f736563\
         7265745f706f73746573636f70658066737461747573666163746976656773656372657473806b736f6674776172655f69646070736f66\
         74776172655f76657273696f6e606a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b06b696e74726f737065\
         63747381627273",
    );
}

#[test]
fn version_1_of_revocations() {
    let token = RevokedToken {
        resource_server: "rs".parse().unwrap(),
        jti: "AwMDAwMDAwMDAwMDAwMDAw".into(),
        hash: TokenHash::of("abc"),
        issued_at: UnixTime::from_secs(1),
        expires_at: UnixTime::from_secs(2),
    };
    check(
        Revocations { client_id: id("d"), issued_before: Some(NOW), tokens: vec![token] },
        "8201a26d6973737565645f6265666f72651a6b0362b066746f6b656e7381a5627273627273636a74695003030303030303030303030303\
         0303036468617368582101ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad63696174016365787002",
    );
    check(Revocations { client_id: id("d"), issued_before: Some(NOW), tokens: Vec::new() }, "8201a16d6973737565645f6265666f72651a6b0362b0");
}

#[test]
fn version_1_of_the_sequence_number() {
    check(Sequence { number: 7, removed: Vec::new() }, "8201a1666e756d62657207");
    check(Sequence { number: 7, removed: vec!["rs".parse().unwrap()] }, "8201a2666e756d626572076772656d6f76656481627273");
}

#[test]
fn version_1_of_a_resource_server() {
    check(
        server("broker", "mqtts://broker"),
        "8201a76861756469656e63656e6d717474733a2f2f62726f6b65726b6465736372697074696f6e6a5468652062726f6b6572726d61785f\
         746f6b656e5f6c69666574696d651902586a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b06c746f6b656e5f666f726d6174636a7774676469616c656374656f61757468",
    );
    check(
        ResourceServer { max_token_lifetime: None, ..server("b", "a") },
        "8201a76861756469656e636561616b6465736372697074696f6e6a5468652062726f6b6572726d61785f746f6b656e5f6c69666574696d65f66a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b0\
         6c746f6b656e5f666f726d6174636a7774676469616c656374656f61757468",
    );
}

#[test]
fn version_1_of_a_resource_server_with_a_dialect() {
    let dialect = Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() };
    check(
        ResourceServer { dialect, max_token_bytes: Some(512), ..ResourceServer::new("b".parse().unwrap(), "a".into(), NOW) },
        "8201a86861756469656e636561616b6465736372697074696f6e60726d61785f746f6b656e5f6c69666574696d65f66a637265617465645f61\
         741a6b0362b06a757064617465645f61741a6b0362b06c746f6b656e5f666f726d6174636a7774676469616c656374a1687261626269746d71\
         a266707265666978626d716576686f7374612f6f6d61785f746f6b656e5f6279746573190200",
    );
}

#[test]
fn version_1_of_a_resource_server_with_another_algorithm() {
    check(
        ResourceServer { alg: crate::jose::Algorithm::Es256, ..ResourceServer::new("b".parse().unwrap(), "a".into(), NOW) },
        "8201a86861756469656e636561616b6465736372697074696f6e60726d61785f746f6b656e5f6c69666574696d65f66a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b06c746f6b656e5f666f726d6174636a7774676469616c656374656f6175746863616c67654553323536",
    );
}

#[test]
fn version_1_of_a_scope() {
    check(
        scope("telemetry:write", "broker"),
        "8201a56b6465736372697074696f6e6f57726974652074656c656d657472796f7265736f757263655f7365727665726662726f6b65726b\
         7065726d697373696f6e7381781b7075622074656c656d657472792f7b636c69656e745f69647d2f236a637265617465645f61741a6b03\
         62b06a757064617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_an_enrolled_client() {
    use crate::clients::Enrolled;
    let enrolled_by = Some(Enrolled { enrolment: "e1".parse().unwrap(), serial_number: Some("17".parse().unwrap()) });
    check(
        Client { enrolled_by, ..Client::new(id("d"), NOW) },
        "8201aa6b636c69656e745f6e616d6560781a746f6b656e5f656e64706f696e745f617574685f6d6574686f6472636c69656e745f7365\
         637265745f706f73746573636f70658066737461747573666163746976656773656372657473806b736f6674776172655f6964607073\
         6f6674776172655f76657273696f6e606a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b06b656e726f6c\
         6c65645f6279a269656e726f6c6d656e746265316d73657269616c5f6e756d626572623137",
    );
}

#[test]
fn version_1_of_a_template() {
    let plain = Template::new("pump".parse().unwrap(), "pump-{serial}".parse().unwrap(), NOW);
    check(
        plain.clone(),
        "8201ac6b6465736372697074696f6e6069636c69656e745f69646d70756d702d7b73657269616c7d676d6574686f6473816f70726976\
         6174655f6b65795f6a77746573636f70658065726f6c6573806d64656661756c745f73636f7065806961756469656e636573806a6174\
         7472696275746573a0726d61785f746f6b656e5f6c69666574696d65f677726571756972655f726571756573745f62696e64696e67f4\
         6a637265617465645f61741a6b0362b06a757064617465645f61741a6b0362b0",
    );
    let full = Template {
        description: "d".into(),
        methods: [AuthMethod::ClientSecretPost, AuthMethod::PrivateKeyJwt].into(),
        scope: "a b".parse().unwrap(),
        roles: ["r".parse().unwrap()].into(),
        default_scope: "a".parse().unwrap(),
        audiences: ["rs".parse().unwrap()].into(),
        attributes: [("site".parse().unwrap(), "berlin".parse().unwrap())].into(),
        max_token_lifetime: Some(60),
        require_request_binding: true,
        ..plain
    };
    check(
        full,
        "8201ac6b6465736372697074696f6e616469636c69656e745f69646d70756d702d7b73657269616c7d676d6574686f64738272636c69\
         656e745f7365637265745f706f73746f707269766174655f6b65795f6a77746573636f7065826161616265726f6c65738161726d6465\
         6661756c745f73636f70658161616961756469656e636573816272736a61747472696275746573a16473697465666265726c696e726d\
         61785f746f6b656e5f6c69666574696d65183c77726571756972655f726571756573745f62696e64696e67f56a637265617465645f61\
         741a6b0362b06a757064617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_an_enrolment() {
    let open = enrolment("e1", "pump");
    check(
        open.clone(),
        "8201a86b6465736372697074696f6e6648616c6c20376874656d706c6174656470756d706475736573026475736564006a69735f6c69\
         6d69746564f46a657870697265735f61741a6b0362ec6664696765737458203c469e9d6c5875d37a43f353d4f88e61fcf812c66eee34\
         57465a40b0da4153e06a637265617465645f61741a6b0362b0",
    );
    check(
        Enrolment { revoked_at: Some(NOW), is_limited: true, used: 1, ..open },
        "8201a96b6465736372697074696f6e6648616c6c20376874656d706c6174656470756d706475736573026475736564016a69735f6c69\
         6d69746564f56a657870697265735f61741a6b0362ec6a7265766f6b65645f61741a6b0362b06664696765737458203c469e9d6c5875\
         d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e06a637265617465645f61741a6b0362b0",
    );
}

#[test]
fn version_1_of_an_enrolled_device() {
    let state = DeviceState::Enrolled { client_id: id("d"), at: NOW };
    check(EnrolledDevice::new("e1".parse().unwrap(), "serial:17".parse().unwrap(), DeviceState::Awaited), "8201a0");
    check(
        EnrolledDevice::new("e1".parse().unwrap(), "key:abc".parse().unwrap(), state),
        "8201a269636c69656e745f696461646b656e726f6c6c65645f61741a6b0362b0",
    );
}

#[test]
fn versions_1_and_2_of_the_registry() {
    use super::super::meta::{Lineage, Origin, Restored};
    let lineage = Lineage::parse("000102030405060708090a0b0c0d0e0f").unwrap();
    let meta = Meta { created_at: NOW, lineage, restored: None };
    check(meta.clone(), "8202a26a637265617465645f61741a6b0362b0676c696e6561676550000102030405060708090a0b0c0d0e0f");
    let (at, as_of, set_aside) = (NOW.saturating_add(1), NOW, "damaged-x".to_owned());
    check(
        Meta { restored: Some(Restored { origin: Origin::FallBack, at, as_of, set_aside }), ..meta },
        "8202a36a637265617465645f61741a6b0362b0676c696e6561676550000102030405060708090a0b0c0d0e0f68726573746f726564a4666f72696769\
         6e6966616c6c5f6261636b6261741a6b0362b16561735f6f661a6b0362b0697365745f61736964656964616d616765642d78",
    );
    let old = decode::<Meta>(Path::new("/r"), b"registry", &unhex("8201a16a637265617465645f61741a6b0362b0")).unwrap();
    assert_eq!(old, Meta { created_at: NOW, ..Meta::default() });
}

#[test]
fn version_1_of_an_audit_entry_and_of_the_anchor() {
    use crate::audit::{Anchor, Entry, Event, Link, What};
    let event = Event::of(What::SecretMade).client(&id("d")).credential("00");
    let sealed = Entry { seq: 2, time: NOW, event }.seal(&Link::default());
    let fixture = "83015820363fd927fee8e032fdedc29bade97962a4ba04071c5f2eba1277a62d8e4afc7a584ca663736571026474696d651a6b0362b064\
         747970656a63726564656e7469616c656576656e746b7365637265745f6d61646569636c69656e745f696461646a63726564656e7469616c623030";
    assert_eq!(hex(&audit::encode(&sealed)), fixture);
    assert_eq!(audit::decode(&unhex(fixture)), Some(sealed.clone()));
    let anchor = Anchor { link: sealed.link(), statement: Some("a.b.c".into()) };
    let fixture = "8401025820363fd927fee8e032fdedc29bade97962a4ba04071c5f2eba1277a62d8e4afc7a65612e622e63";
    assert_eq!(hex(&audit::encode_anchor(&anchor)), fixture);
    assert_eq!(audit::decode_anchor(&unhex(fixture)), Some(anchor));
    for other in ["", "80", "8202", "83025820", "f6"] {
        assert_eq!((audit::decode(&unhex(other)), audit::decode_anchor(&unhex(other))), (None, None));
    }
}

#[test]
fn deny_records_of_another_form() {
    let good = encode(&Meta { created_at: NOW, ..Meta::default() }).unwrap();
    for (bytes, reason) in [
        (vec![], "EOF"),
        (vec![0x81, 0x01], "length"),
        (unhex("8200a0"), "version 0"),
        (unhex("8201a0"), "missing field `created_at`"),
        (unhex("8201a16a637265617465645f6174617a"), "invalid type"),
        (unhex("8201a26a637265617465645f6174016161f5"), "unknown field `a`"),
        // The packed form that serde_cbor takes for structs unless told otherwise.
        (unhex("8201a10001"), "wrong struct format"),
        ([good.as_slice(), &[0]].concat(), "trailing data"),
    ] {
        let error = decode::<Meta>(Path::new("/r"), b"registry", &bytes).unwrap_err();
        assert!(matches!(&error, RegistryError::Malformed { tree: "meta", key, .. } if key == "registry"), "{error:?}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    let error = decode::<Client>(Path::new("/r"), b"no client id", &encode(&client("a")).unwrap()).unwrap_err();
    assert_eq!(error.code(), "malformed_record");
}

mod round_trips {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = UnixTime> {
        (0..1_u64 << 40).prop_map(UnixTime::from_secs)
    }

    fn words(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
        proptest::collection::btree_set("[a-z]{1,8}", count).prop_map(|words| words.into_iter().collect())
    }

    fn any_client() -> impl Strategy<Value = Client> {
        let names = ("[A-Za-z0-9_-]{1,64}", "\\PC{0,30}", "\\PC{0,12}", "[0-9.]{0,8}");
        let grants = (
            words(0..5),
            words(0..3),
            words(0..3),
            words(0..3),
            proptest::collection::btree_map("[a-b][a-z0-9_]{0,8}", "[A-Za-z0-9_-]{1,16}", 0..4),
        );
        let times = (time(), time(), of(time()), of(time()), of(1..100_000_u32));
        let secrets = proptest::collection::vec((any::<[u8; 32]>(), time(), of(time()), of(time())), 0..3);
        (names, grants, times, secrets, 0..3_usize, any::<bool>()).prop_map(|(names, grants, times, secrets, status, bound)| {
            let (id, client_name, software_id, software_version) = names;
            let (scope, roles, audiences, introspects, attributes) = grants;
            let (created_at, updated_at, not_before, expires_at, max_token_lifetime) = times;
            let secret = |(bytes, created_at, not_before, expires_at): ([u8; 32], _, _, _)| ClientSecret {
                not_before,
                expires_at,
                ..ClientSecret::generate(&Zeroizing::new(bytes), created_at).0
            };
            Client {
                client_name,
                software_id,
                software_version,
                scope: if scope.is_empty() { Default::default() } else { scope.join(" ").parse().unwrap() },
                roles: roles.iter().map(|word| word.parse().unwrap()).collect(),
                audiences: audiences.iter().map(|word| word.parse().unwrap()).collect(),
                introspects: introspects.iter().map(|word| word.parse().unwrap()).collect(),
                attributes: attributes.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
                not_before,
                expires_at,
                max_token_lifetime,
                status: [Status::Active, Status::Suspended, Status::Blocked][status],
                secrets: secrets.into_iter().map(secret).collect(),
                require_request_binding: bound,
                updated_at,
                ..Client::new(id.parse().unwrap(), created_at)
            }
        })
    }

    proptest! {
        #[test]
        fn a_client_is_read_as_it_was_written(client in any_client()) {
            let bytes = encode(&client).unwrap();
            let read: Client = decode(Path::new("/r"), client.client_id.as_str().as_bytes(), &bytes).unwrap();
            prop_assert_eq!(&read, &client);
            prop_assert_eq!(encode(&read).unwrap(), bytes);
        }

        #[test]
        fn bytes_that_are_no_record_are_told(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Whatever is read is what would be written again, or the bytes are no client.
            if let Ok(client) = decode::<Client>(Path::new("/r"), b"dev", &bytes) {
                prop_assert_eq!(client.client_id.as_str(), "dev");
            }
        }
    }
}
