//! credgate: a credential gateway for IoT devices on embedded Linux.
//!
//! The modules in the order a request takes through them. The core takes values and gives values: the clock, random bytes and stores are
//! arguments, and clippy.toml bans what would reach past them. The shell (feature `daemon`) owns sockets, files, threads and time.
#![forbid(unsafe_code)]

// The core.
pub mod clock;
pub mod oauth;

pub mod jose;

pub mod clients;

pub mod policy;

pub mod enrolment;

pub mod token;

pub mod endpoint;

pub mod audit;

// The shell, for which the bans of clippy.toml are lifted.
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod admin;
#[cfg(feature = "commands")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod age;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod alone;
#[cfg(feature = "commands")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod check;
#[cfg(feature = "commands")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod cli;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod config;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod daemon;
#[cfg(feature = "commands")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod device;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod exit;
#[cfg(feature = "daemon")]
#[doc(hidden)]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod hostile;
#[cfg(feature = "http")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod http;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod mqtt;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod registry;
#[cfg(feature = "daemon")]
#[allow(clippy::disallowed_methods, reason = "the shell owns the world")]
pub mod tls;
