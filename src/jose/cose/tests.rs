use zeroize::Zeroizing;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at.checked_add(2).unwrap()], 16).unwrap()).collect()
}

fn p256(x: &str, y: &str) -> Jwk {
    Jwk::p256(&hex(x).try_into().unwrap(), &hex(y).try_into().unwrap())
}

/// RFC 8392 appendix A.2.3, and A.3 signed with it.
const A_2_3_X: &str = "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f";
const A_2_3_Y: &str = "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9";
const A_3: &str = "d28443a10126a05850a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c69676874
    2e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b7158405427c1ff28d23fbad1f29c4c7c6a555e601d6f
    a29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c57209120e1c9e30";

/// The Ed25519 key and message of RFC 9052's examples (EdDSA-01 of the working group).
const EDDSA_01: &str = "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e58407142fd2ff96d56db85bee905a76ba1d0b7321a
    95c8c4d3607c5781932b7afb8711497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d";

#[test]
fn verifies_the_cwt_of_rfc_8392() {
    let key = p256(A_2_3_X, A_2_3_Y);
    for prefix in ["", "d83d"] {
        let parsed = Sign1::parse(&hex(&format!("{prefix}{A_3}"))).unwrap();
        assert_eq!((parsed.algorithm(), parsed.kid(), parsed.typ(), parsed.is_cwt()), (Algorithm::Es256, None, None, !prefix.is_empty()));
        assert!(parsed.verify(&key));
        let claims: Labels = serde_cbor::from_slice(parsed.payload()).unwrap();
        assert_eq!(claims.get(2), Some(&Value::Text("erikw".into())));
    }
    // Untagged, too; and not after a bit has changed.
    assert!(Sign1::parse(&hex(A_3)[1..]).unwrap().verify(&key));
    for at in [3, 20, 100] {
        let mut forged = hex(A_3);
        forged[at] ^= 1;
        assert!(!Sign1::parse(&forged).is_ok_and(|parsed| parsed.verify(&key)), "{at}");
    }
}

#[test]
fn verifies_the_working_groups_eddsa_example() {
    let key = Jwk::ed25519(&hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").try_into().unwrap());
    let parsed = Sign1::parse(&hex(EDDSA_01)).unwrap();
    assert_eq!((parsed.algorithm(), parsed.kid(), parsed.payload()), (Algorithm::EdDsa, Some("11"), &b"This is the content."[..]));
    assert!(parsed.verify(&key));
    assert!(!parsed.verify(&p256(A_2_3_X, A_2_3_Y)));
}

#[test]
fn verifies_what_it_signed_by_every_algorithm() {
    let ed25519 = SigningKey::from_seed(&Zeroizing::new([1; 32]));
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap();
    for (algorithm, key, other) in
        [(Algorithm::EdDsa, &ed25519, &p256), (Algorithm::Ed25519, &ed25519, &p256), (Algorithm::Es256, &p256, &ed25519)]
    {
        for payload in [vec![], vec![7; 23], vec![7; 24], vec![7; 300]] {
            let cwt = sign1(algorithm, &Typ::CWT, true, &payload, key).unwrap();
            assert!(cwt.starts_with(&hex("d83dd284")), "tags 61 and 18");
            assert_eq!(cwt.len(), payload.len() + sign1_overhead(algorithm, payload.len()), "{algorithm:?}");
            let parsed = Sign1::parse(&cwt).unwrap();
            assert_eq!((parsed.algorithm(), parsed.kid(), parsed.typ()), (algorithm, Some(key.kid()), Some(&Typ::CWT)));
            assert_eq!((parsed.is_cwt(), parsed.payload()), (true, payload.as_slice()));
            assert!(parsed.verify(key.public()) && !parsed.verify(other.public()));
        }
        assert!(sign1(algorithm, &Typ::CWT, true, b"", other).is_err());
        let plain = sign1(algorithm, &Typ::Name("x/y".into()), false, b"", key).unwrap();
        assert!(plain.starts_with(&hex("d284")) && !Sign1::parse(&plain).unwrap().is_cwt());
    }
}

#[test]
fn deny_what_is_no_sign1() {
    let good = "d28443a10126a04101 40";
    assert!(Sign1::parse(&hex(good)).is_ok());
    for (bad, why) in [
        ("", "nothing"),
        ("d284", "cut off"),
        ("d2", "a tag alone"),
        ("d83d8443a10126a0410140", "a CWT tag without the other"),
        ("d83dd83dd28443a10126a0410140", "two CWT tags"),
        ("d18443a10126a0410140", "another tag"),
        ("d28343a10126a04101", "three parts"),
        ("d28543a10126a041014040", "five parts"),
        ("d28443a10126a0410140 00", "something after its end"),
        ("d28443a10126a0f640", "a payload elsewhere"),
        ("d284a10126a0410140", "a protected header that is no byte string"),
        ("d28443a10126400141", "an unprotected header that is no map"),
        ("d28440a10126410140", "alg not protected"),
        ("d28441a0a0410140", "no alg"),
        ("d28443a10100a0410140", "alg 0"),
        ("d28444a1011822a0410140", "alg ES384"),
        ("d28443a10105a0410140", "alg HMAC"),
        ("d28445a201260126a0410140", "alg twice"),
        ("d28443a10126a10126410140", "alg in both"),
        ("d28446a201260281 01a0410140", "crit"),
        ("d28443a10126a10281 01410140", "crit unprotected"),
        ("d28445a201260401a0410140", "a kid that is no byte string"),
        ("d28447a2012604 42ff fea0410140", "a kid that is no text"),
        ("d28445a2012610f6a0410140", "a typ that is null"),
        ("d28444a10126 00a0410140", "something after the protected map"),
    ] {
        assert!(Sign1::parse(&hex(bad)).is_err(), "{why}");
    }
    let deep = [hex("d28443a10126a101"), vec![0x81; 4_000]].concat();
    assert!(Sign1::parse(&deep).is_err(), "nesting");
}

#[test]
fn a_text_is_never_taken_for_one() {
    for begin in ["d83dd284", "d284", "84", "9f"] {
        assert!(Sign1::is_begun_by(&hex(begin)));
    }
    assert!(!Sign1::is_begun_by(b"") && (0..=127).all(|byte| !Sign1::is_begun_by(&[byte])));
}

#[test]
fn keys_are_written_and_read() {
    let ed25519 = Jwk::ed25519(&hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").try_into().unwrap());
    for (key, start) in [(ed25519, "a3010120062158"), (p256(A_2_3_X, A_2_3_Y), "a4010220012158")] {
        let cbor = serde_cbor::to_vec(&cose_key(&key)).unwrap();
        assert!(cbor.starts_with(&hex(start)));
        assert_eq!(jwk(&serde_cbor::from_slice(&cbor).unwrap()), Ok(key));
    }
    // RFC 8392 appendix A.2.3, without its private half: {-3: y, -2: x, -1: 1, 1: 2, 2: "AsymmetricECDSA256", 3: -7}
    let theirs = format!("a6225820{A_2_3_Y}215820{A_2_3_X}2001010202524173796d6d657472696345434453413235360326");
    let read = jwk(&serde_cbor::from_slice(&hex(&theirs)).unwrap()).unwrap();
    assert_eq!((read.kid(), read.thumbprint()), ("AsymmetricECDSA256", p256(A_2_3_X, A_2_3_Y).thumbprint()));
}

#[test]
fn deny_keys_that_cannot_serve() {
    let x = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    for (cbor, why) in [
        ("01".to_owned(), "no map"),
        ("a0".to_owned(), "an empty map"),
        (format!("a3010120042158 20{x}"), "X25519"),
        (format!("a3010220062158 20{x}"), "EC2 with crv Ed25519"),
        ("a20101 2006".to_owned(), "no x"),
        (format!("a3010120062158 1f{}", &x[2..]), "a short x"),
        (format!("a4010120062158 20{x}2358 20{x}"), "a private half"),
        (format!("a4010103 2620062158 20{x}"), "alg ES256"),
        (format!("a4010102 0120062158 20{x}"), "a kid that is no byte string"),
        (format!("a4010220012158 20{A_2_3_X}22f5"), "a compressed point"),
        (format!("a4010220012158 20{A_2_3_X}2258 20{A_2_3_X}"), "off the curve"),
        (format!("a3010120062158 20{}", "00".repeat(32)), "small order"),
    ] {
        assert!(jwk(&serde_cbor::from_slice(&hex(&cbor)).unwrap()).is_err(), "{why}");
    }
}
