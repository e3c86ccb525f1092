//! credgate: a credential gateway for IoT devices on embedded Linux.
//!
//! The modules in the order a request takes through them. The core takes values and gives values: the clock, random bytes and stores are
//! arguments. The shell (feature `daemon`) owns sockets, files, threads and time.
#![forbid(unsafe_code)]

// The core.
pub mod clock;
pub mod oauth;

pub mod jose;

pub mod clients;

pub mod policy;

pub mod token;

pub mod endpoint;

// The shell.
#[cfg(feature = "daemon")]
pub mod admin;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod device;
#[cfg(feature = "daemon")]
pub mod mqtt;
#[cfg(feature = "daemon")]
pub mod registry;
#[cfg(feature = "daemon")]
pub mod tls;
