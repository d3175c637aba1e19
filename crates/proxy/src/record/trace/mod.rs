//! Traces: W3C Trace Context passed on, spans exported by OTLP over HTTP where configured.

mod context;
mod export;
mod otlp;
mod parent;
#[cfg(test)]
mod tests;

pub use context::TraceContext;
pub use export::{ExportError, SpanExporter, SpanSink, TraceCounters};
pub use parent::{Traceparent, parse_traceparent, tracestate_is_valid};
