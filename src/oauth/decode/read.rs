//! A payload taken apart: bounded, one pass, no deeper than any parameter needs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_cbor::Value as Structure;
use zeroize::Zeroizing;

use super::super::params::Table;
use super::super::{Format, Param, Reason, Refusal};
use super::{Params, invalid};

/// Levels of nesting below the request's own map; `req_cnf` with a COSE_Key needs two.
const MAX_DEPTH: u8 = 8;
/// Parameters in one request, known and unknown.
const MAX_PARAMS: usize = 32;
/// The parameters whose values have members.
const STRUCTURED: &[Param] = &[Param::ReqCnf, Param::Jwk, Param::JweKey, Param::Jwks];

/// The value of a parameter, as far as any parameter needs it.
pub(super) enum Value {
    Text(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
    Integer(i64),
    /// Of one of [`STRUCTURED`]: in JSON with text keys, in CBOR as it stands.
    Structure(Structure),
    Other,
}

/// Reads a payload into `params`, as far as it can be read.
pub(super) fn read_params(format: Format, payload: &[u8], params: &mut Params) -> Result<(), Refusal> {
    let fault = Cell::new(None);
    let seed = ParamsSeed { format, params, fault: &fault };
    let done = match format {
        Format::Json => {
            let mut json = serde_json::Deserializer::from_slice(payload);
            seed.deserialize(&mut json).and_then(|()| json.end()).is_ok()
        }
        Format::Cbor => {
            let mut cbor = serde_cbor::Deserializer::from_slice(payload);
            seed.deserialize(&mut cbor).and_then(|()| cbor.end()).is_ok()
        }
    };
    match (done, fault.take()) {
        (true, None) => Ok(()),
        (_, Some(refusal)) => Err(refusal),
        (false, None) => Err(Refusal::invalid_request(
            Reason::Malformed,
            match format {
                Format::Json => "the payload is not one well-formed JSON object",
                Format::Cbor => "the payload is not one well-formed CBOR map",
            },
        )),
    }
}

/// Reads the request's map; the first fault that is not a syntax error goes to `fault`.
struct ParamsSeed<'a> {
    format: Format,
    params: &'a mut Params,
    fault: &'a Cell<Option<Refusal>>,
}

impl<'de> DeserializeSeed<'de> for ParamsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let refuse = |refusal| {
            self.fault.set(Some(refusal));
            A::Error::custom("refused")
        };
        let mut unknown: Vec<Key> = Vec::new();
        while let Some(key) = map.next_key::<Key>()? {
            let param = key.param(self.format, self.params.table);
            let seed = ValueSeed { depth: MAX_DEPTH, fault: self.fault };
            let value = match param {
                Some(param) if STRUCTURED.contains(&param) => Value::Structure(map.next_value_seed(StructureSeed(seed))?),
                _ => map.next_value_seed(seed)?,
            };
            match param {
                Some(param) if self.params.get(param).is_some() => {
                    return Err(refuse(invalid(Reason::RepeatedParameter, param, "stands twice")));
                }
                Some(param) => self.params.members.push((param, value)),
                None if unknown.contains(&key) => {
                    return Err(refuse(Refusal::invalid_request(Reason::RepeatedParameter, "a parameter stands twice")));
                }
                None => unknown.push(key),
            }
            if self.params.members.len().saturating_add(unknown.len()) > MAX_PARAMS {
                return Err(refuse(Refusal::invalid_request(Reason::TooComplex, "the request has more than 32 parameters")));
            }
        }
        Ok(())
    }
}

#[derive(PartialEq)]
enum Key {
    Name(String),
    Number(i64),
}

impl Key {
    fn param(&self, format: Format, table: Table) -> Option<Param> {
        match (format, self) {
            (Format::Json, Self::Name(name)) => Param::from_name(name),
            (Format::Cbor, Self::Number(key)) => Param::from_key(table, *key),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a parameter name or key")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key::Name(name.to_owned()))
            }

            fn visit_i64<E>(self, key: i64) -> Result<Key, E> {
                Ok(Key::Number(key))
            }

            fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<Key, E> {
                i64::try_from(key).map(Key::Number).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}

/// Reads any value to its end, no deeper than `depth`, and keeps it if it is a scalar.
struct ValueSeed<'a> {
    depth: u8,
    fault: &'a Cell<Option<Refusal>>,
}

impl ValueSeed<'_> {
    fn below<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, fault: self.fault }),
            None => {
                self.fault.set(Some(Refusal::invalid_request(Reason::TooComplex, "the request nests too deep")));
                Err(E::custom("refused"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Zeroizing::new(bytes.to_vec())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element_seed(self.below()?)?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_key_seed(self.below()?)?.is_some() {
            map.next_value_seed(self.below()?)?;
        }
        Ok(Value::Other)
    }
}

/// Reads any value and keeps it whole. A member that stands twice is refused, on every level.
struct StructureSeed<'a>(ValueSeed<'a>);

impl StructureSeed<'_> {
    fn below<E: serde::de::Error>(&self) -> Result<StructureSeed<'_>, E> {
        self.0.below().map(StructureSeed)
    }
}

impl<'de> DeserializeSeed<'de> for StructureSeed<'_> {
    type Value = Structure;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Structure, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StructureSeed<'_> {
    type Value = Structure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Structure, E> {
        Ok(Structure::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Structure, E> {
        Ok(Structure::Bytes(bytes.to_vec()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Structure, E> {
        Ok(Structure::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Structure, E> {
        Ok(Structure::Integer(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Structure, E> {
        Ok(Structure::Integer(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Structure, E> {
        Ok(Structure::Float(number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Structure, E> {
        Ok(Structure::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Structure, E> {
        Ok(Structure::Null)
    }

    fn visit_none<E>(self) -> Result<Structure, E> {
        Ok(Structure::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Structure, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.below()?)? {
            items.push(item);
        }
        Ok(Structure::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Structure, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key_seed(self.below()?)? {
            if members.insert(key, map.next_value_seed(self.below()?)?).is_some() {
                let text = "a member of a parameter stands twice";
                self.0.fault.set(Some(Refusal::invalid_request(Reason::RepeatedParameter, text)));
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(Structure::Map(members))
    }
}
