//! The reference device client: MQTT 5 and 3.1.1, JSON and CBOR.
