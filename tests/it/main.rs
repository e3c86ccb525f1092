//! The one integration binary: the real program, real TLS, a real Mosquitto.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test stops at its first surprise"
)]

#[cfg(feature = "embedded-broker")]
mod apply;
mod architecture;
mod assertions;
mod attacks;
mod audit;
mod backup;
mod check;
mod clock;
mod codes;
mod console;
mod credentials;
mod cross;
mod cwt;
mod device;
mod devices;
mod documents;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod enrolment;
mod exhaustion;
mod explain;
mod first_steps;
mod flash;
#[cfg(feature = "top")]
mod generated;
mod golden;
mod group;
#[cfg(feature = "http")]
mod http;
mod link;
mod mosquitto;
mod operator;
mod permissions;
mod reference_device;
mod refusals;
mod reload;
mod revocation;
#[cfg(feature = "embedded-broker")]
mod rotation;
mod sealed;
mod self_service;
mod site;
mod snapshots;
mod stub_broker;
mod supervision;
mod terminal;
#[cfg(feature = "top")]
mod top;
mod trouble;
mod verifier;
