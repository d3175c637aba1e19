//! Metrics. Workers write plain counters of their own; a scrape adds them up.
//!
//! Labels are bounded: services, listeners and upstream servers by configuration, reasons, standings and lanes by
//! their tables. No address of a client and no text of a request is ever a label.

mod contracts;
mod counters;
mod expose;
mod gauges;
mod goodput;
mod link;
mod notices;
mod process;
mod registry;
#[cfg(test)]
mod tests;
mod text;
mod worker;

pub use gauges::{AdmissionGauges, UpstreamGauges};
pub use registry::{ListenerSlot, Registry, ServiceSlot, UpstreamSlot};
pub use text::CONTENT_TYPE;
pub use worker::WorkerMetrics;
