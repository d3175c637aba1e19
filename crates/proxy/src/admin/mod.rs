//! The operator's own way in: metrics, health and status.
//!
//! It has a thread and a runtime of its own and shares nothing with the workers, so that it answers while they are
//! flooded. It reads; nothing can be changed through it.

mod answer;
mod host;
mod server;
mod source;
#[cfg(test)]
mod tests;

pub use server::AdminServer;
pub use source::{
    AdminSource, ListenerStatus, NotReady, ReloadStatus, ServerStatus, ServiceStatus, Status, UpstreamStatus,
};
