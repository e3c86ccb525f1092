//! The integration tests: one binary, real sockets.
#[cfg(feature = "embedded-broker")]
mod embedded;
