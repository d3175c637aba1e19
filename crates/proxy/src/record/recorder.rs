//! One worker's way to record: count it, write its line, export its span.

use guichet_core::Moment;
use http::HeaderMap;

use super::access_log::{AccessLog, Logged};
use super::metrics::WorkerMetrics;
use super::trace::{SpanSink, TraceContext};
use super::{Entry, RequestId, RequestIds};

/// One for each worker; never blocks and takes no lock.
pub struct Recorder {
    metrics: WorkerMetrics,
    log: AccessLog,
    spans: Option<SpanSink>,
    ids: RequestIds,
    trace_sample: f64,
}

impl Recorder {
    /// `spans`: `None` where traces are off. `trace_sample`: share of the requests that are traced when the caller did
    /// not decide, 0 to 1.
    #[must_use]
    pub fn new(
        metrics: WorkerMetrics,
        log: AccessLog,
        spans: Option<SpanSink>,
        ids: RequestIds,
        trace_sample: f64,
    ) -> Self {
        Self { metrics, log, spans, ids, trace_sample }
    }

    /// The counters of this worker.
    #[must_use]
    pub fn metrics(&self) -> &WorkerMetrics {
        &self.metrics
    }

    /// A fresh request id, or the one that a trusted proxy sent.
    #[must_use]
    pub fn request_id(&self, from_trusted: Option<&[u8]>) -> RequestId {
        from_trusted.and_then(RequestId::from_trusted).unwrap_or_else(|| self.ids.request_id())
    }

    /// The trace of a request: continued from its headers, or begun here. `None` where traces are off and the caller
    /// sent none: then there is nothing to pass on, and nothing is paid.
    #[must_use]
    pub fn trace(&self, headers: &HeaderMap) -> Option<TraceContext> {
        if self.spans.is_none() && !headers.contains_key("traceparent") {
            return None;
        }
        let sample = if self.spans.is_some() { self.trace_sample } else { 0.0 };
        Some(TraceContext::of_request(headers, &self.ids, sample))
    }

    /// Records one request; `now` is the end of its answer.
    pub fn record(&self, entry: &Entry<'_>, now: Moment) {
        self.metrics.request(entry);
        if self.log.record(entry, now, &self.ids) == Logged::Suppressed {
            self.metrics.log_suppressed();
        }
        if let Some(spans) = &self.spans {
            spans.record(entry, now);
        }
    }
}
