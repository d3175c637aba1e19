//! The operator's own way in: metrics, health and status.
//!
//! It has a thread and a runtime of its own and shares nothing with the workers, so that it answers while they are
//! flooded. It reads; what can be changed through it are mitigations, and whom they never touch.

mod answer;
mod client;
mod contracts;
mod host;
mod orders;
mod server;
mod source;
#[cfg(test)]
mod tests;

pub use client::{AskError, ask};
pub use orders::ORDER_HEADER;
pub use server::AdminServer;
pub use source::{
    AdminSource, ContractView, ListenerStatus, NotReady, ReloadStatus, ServerStatus, ServiceStatus, Status,
    UpstreamStatus,
};
