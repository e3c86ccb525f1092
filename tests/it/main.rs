//! The integration tests: one binary, real sockets.
mod embedded;
