//! The embedded broker, by mqtt5.
