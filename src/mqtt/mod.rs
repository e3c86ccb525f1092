//! MQTT: what a message means and what answers it. The links below it move messages and decide nothing.

#[cfg(feature = "embedded-broker")]
pub mod broker;
mod counters;
mod gateway;
mod latency;
pub mod link;
mod lists;
mod topics;

/// Changes of one link that wait for the disk at once: they share its writes.
const MAX_WRITES: usize = 8;

pub use counters::{Counters, CountersSnapshot, LinkMetrics, OperationCounts};
pub use gateway::{Announcement, ClockSource, Gateway, Inbound, LinkKind, Outbound, OwnedInbound, QoS, Status};
pub use latency::LatencySnapshot;
pub use topics::{RequestTopic, Topics};
