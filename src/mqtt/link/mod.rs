//! The link to a broker of the user's own, by rumqttc.
