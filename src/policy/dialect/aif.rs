//! AIF-MQTT (RFC 9431 section 2.3): the array `[["topic filter", ["pub", "sub"]], ..]`, for a JWT the base64url of its JSON, for a CWT its CBOR.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::Permissions;

pub(super) fn encode(permissions: &Permissions) -> String {
    URL_SAFE_NO_PAD.encode(permissions.iter().map(|(filter, actions)| json!([filter, actions])).collect::<Value>().to_string())
}

pub(super) fn encode_cbor(permissions: &Permissions) -> Vec<u8> {
    // Cannot fail: arrays of text, and the writer is memory.
    serde_cbor::to_vec(&permissions.iter().collect::<Vec<_>>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::super::permissions::tests::permissions;
    use super::*;

    /// The example of RFC 9431 section 2.3.
    #[test]
    fn says_the_example_of_the_rfc() {
        let granted = permissions(&["pub topic1", "sub topic1", "pub topic2/#", "sub +/topic3"]);
        let json = r#"[["topic1",["pub","sub"]],["topic2/#",["pub"]],["+/topic3",["sub"]]]"#;
        assert_eq!(encode(&granted), URL_SAFE_NO_PAD.encode(json));
        let cbor: String = encode_cbor(&granted).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(cbor, "838266746f706963318263707562637375628268746f706963322f23816370756282682b2f746f706963338163737562");
        assert_eq!(encode(&granted), "W1sidG9waWMxIixbInB1YiIsInN1YiJdXSxbInRvcGljMi8jIixbInB1YiJdXSxbIisvdG9waWMzIixbInN1YiJdXV0");
    }

    #[test]
    fn nothing_granted_is_an_empty_array() {
        assert_eq!(encode(&permissions(&[])), URL_SAFE_NO_PAD.encode("[]"));
        assert_eq!(encode_cbor(&permissions(&[])), b"\x80");
    }
}
