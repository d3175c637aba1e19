//! Record: what happened, and why? Metrics, access log and traces. Refusals skip `forward` but never `record`.
//!
//! A request is described once, by an [`Entry`], and handed once to the [`Recorder`] of its worker, which counts it,
//! writes its line and exports its span. Nothing here blocks a worker: counters belong to one worker, lines and spans
//! go into bounded queues, and what does not fit is dropped and counted.

pub mod access_log;
mod entry;
mod ids;
pub mod metrics;
mod recorder;
mod reference;
mod text;
pub mod trace;
mod trail;

pub use entry::Entry;
pub use ids::{RequestId, RequestIds};
pub use recorder::Recorder;
pub use reference::{ParsedReference, Reference, ReferenceError, parse_reference};
pub use text::Escaped;
pub use trail::Trail;
