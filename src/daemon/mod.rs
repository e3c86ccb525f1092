//! The daemon: start-up, signals, logging, the system clock.

pub mod log;
