//! Registrations to the wire (RFC 7591 section 3.1 over MQTT). CBOR is deterministic.

use zeroize::Zeroizing;

use super::DeviceError;
use super::request::{Members, Value, jwks, to_bytes};
use crate::enrolment::{self, TokenDigest};
use crate::jose::Jwk;
use crate::oauth::{ClientId, EnrolmentId, Format, Operation, Param, RequestDigest, Secret, SerialNumber};

/// What a device wants to be registered with.
#[derive(Debug)]
pub struct RegisterQuery {
    /// The encoding of the request and of its answer.
    pub format: Format,
    /// The enrolment token.
    pub token: Secret,
    /// Whether it is shown that the device has the token without showing the token, as through a broker that must not see it. Needs a key.
    pub by_mac: bool,
    /// The device's public key; `None` for a secret.
    pub key: Option<Jwk>,
    /// The device's serial number.
    pub serial_number: Option<SerialNumber>,
    /// A name for people; may be empty.
    pub client_name: String,
    /// What runs on the device; may be empty.
    pub software_id: String,
    /// The version of that; may be empty.
    pub software_version: String,
}

/// What a device is registered as (RFC 7591 section 3.2.1).
#[derive(Debug)]
pub struct RegisterAnswer {
    /// Who it is from now on.
    pub client_id: ClientId,
    /// Since when, in seconds since the epoch.
    pub issued_at: u64,
    /// Its secret, if it is to have one.
    pub secret: Option<Secret>,
    /// When that expires, in seconds since the epoch; 0 for never.
    pub secret_expires_at: Option<u64>,
    /// How it authenticates.
    pub token_endpoint_auth_method: String,
    /// What it is granted, separated by spaces; may be empty.
    pub scope: String,
}

enum Proof<'a> {
    Token(&'a str),
    Mac(EnrolmentId, [u8; 32]),
}

impl RegisterQuery {
    /// What makes a request with any `state`. The requests hold the token, so they are zeroised.
    pub(super) fn encoder(&self) -> Result<impl Fn(Option<&str>) -> Zeroizing<Vec<u8>> + Sync, DeviceError> {
        let unusable = || DeviceError::Protocol("the enrolment token is none: use the file that `credgate enrolment add` wrote".into());
        let proof = match self.by_mac {
            false => Proof::Token(std::str::from_utf8(self.token.expose()).map_err(|_| unusable())?),
            true => {
                let id = enrolment::id_of(self.token.expose()).ok_or_else(unusable)?;
                let mac = enrolment::proof(&TokenDigest::of(self.token.expose()), &self.digest(&id));
                Proof::Mac(id, mac)
            }
        };
        Ok(move |state: Option<&str>| {
            let text = |param, text| Some((param, Value::Text(text)));
            let mut members = vec![state.and_then(|state| text(Param::State, state))];
            match &proof {
                Proof::Token(token) => members.push(Some((Param::InitialAccessToken, Value::Opaque(token)))),
                Proof::Mac(id, mac) => {
                    members.push(text(Param::EnrolmentId, id.as_str()));
                    members.push(Some((Param::EnrolmentMac, Value::Bytes(mac))));
                }
            }
            members.push(self.key.as_ref().map(|key| (Param::Jwks, Value::Jwks(key))));
            members.extend(self.words().map(|(param, word)| word.and_then(|word| text(param, word))));
            to_bytes(&Members { format: self.format, members: members.into_iter().flatten().collect() })
        })
    }

    /// What the device says of itself, in the order of its keys in CBOR.
    fn words(&self) -> [(Param, Option<&str>); 4] {
        let some = |text: &'_ str| !text.is_empty();
        [
            (Param::SerialNumber, self.serial_number.as_ref().map(SerialNumber::as_str)),
            (Param::ClientName, Some(self.client_name.as_str()).filter(|text| some(text))),
            (Param::SoftwareId, Some(self.software_id.as_str()).filter(|text| some(text))),
            (Param::SoftwareVersion, Some(self.software_version.as_str()).filter(|text| some(text))),
        ]
    }

    fn digest(&self, id: &EnrolmentId) -> RequestDigest {
        let words = self.words().into_iter().chain([(Param::EnrolmentId, Some(id.as_str()))]);
        let words = words.filter_map(|(param, word)| Some((param, serde_cbor::Value::Text(word?.to_owned()))));
        let key = self.key.as_ref().map(|key| (Param::Jwks, jwks(self.format, key)));
        RequestDigest::of(Operation::Register, words.chain(key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{EnrolmentProof, KeyAsk, decode_register_request};

    fn query(format: Format, by_mac: bool) -> RegisterQuery {
        // {"jti":"e1"}
        let token = Secret::new(b"e30.eyJqdGkiOiJlMSJ9.AA".to_vec());
        let key = Some(Jwk::ed25519(&[7; 32]));
        let serial_number = "17".parse().ok();
        let (client_name, software_id, software_version) = ("Pump \u{e9}".to_owned(), "pump".to_owned(), "1.2".to_owned());
        RegisterQuery { format, token, by_mac, key, serial_number, client_name, software_id, software_version }
    }

    #[test]
    fn the_gateway_reads_what_was_meant() {
        for format in [Format::Json, Format::Cbor] {
            let query = query(format, false);
            let request = decode_register_request(format, &query.encoder().unwrap()(Some("7"))).unwrap();
            assert!(matches!(request.proof(), EnrolmentProof::Token(token) if token.expose() == query.token.expose()));
            let ask = request.ask();
            assert_eq!((ask.serial_number.as_ref(), ask.client_name.as_str()), (query.serial_number.as_ref(), "Pump \u{e9}"));
            assert_eq!((ask.software_id.as_str(), ask.software_version.as_str(), request.state()), ("pump", "1.2", Some("7")));
            assert_eq!(matches!(ask.key, Some(KeyAsk::CoseKey(_))), format == Format::Cbor);
            if format == Format::Cbor {
                let payload = query.encoder().unwrap()(Some("7"));
                let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
                assert_eq!(serde_cbor::to_vec(&value).unwrap(), *payload, "deterministic");
            }
        }
    }

    #[test]
    fn a_mac_is_of_what_the_gateway_reads() {
        for format in [Format::Json, Format::Cbor] {
            let query = query(format, true);
            let payload = query.encoder().unwrap()(None);
            assert!(!payload.windows(8).any(|bytes| bytes == b"eyJqdGki"), "the token is not shown");
            let request = decode_register_request(format, &payload).unwrap();
            let EnrolmentProof::Mac { enrolment, mac, request } = request.proof() else { panic!("no MAC") };
            assert_eq!((enrolment.as_str(), mac), ("e1", &enrolment::proof(&TokenDigest::of(query.token.expose()), request)));
        }
    }

    #[test]
    fn deny_a_mac_by_what_is_no_token() {
        let query = RegisterQuery { token: Secret::new(b"secret".to_vec()), ..query(Format::Json, true) };
        assert!(query.encoder().is_err());
    }
}
