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

    /// The trace of a request, whose headers the upstream gets by [`TraceContext::write`]. `None` where traces are off
    /// and the caller sent none: then there is nothing to pass on, and nothing is paid.
    #[must_use]
    pub fn trace(&self, headers: &HeaderMap) -> Option<TraceContext> {
        match self.spans {
            Some(_) => Some(TraceContext::of_request(headers, &self.ids, self.trace_sample)),
            None => TraceContext::passed_through(headers, &self.ids),
        }
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

#[cfg(test)]
mod tests {
    use super::super::entry::entry_for_test;
    use super::super::metrics::Registry;
    use super::super::trace::SpanExporter;
    use super::*;
    use crate::config::{Log, LogFormat, LogTarget};
    use guichet_core::Reason;
    use std::time::Duration;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn log(target: LogTarget) -> Log {
        Log { target, format: LogFormat::Json, mask_addresses: false, refused_sample: 1.0, refused_per_s_max: 1 }
    }

    #[test]
    fn one_record_counts_logs_and_traces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let (log, writer) = AccessLog::open(&log(LogTarget::File(path.clone()))).unwrap();
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (spans, _exporter) = SpanExporter::start(&format!("http://{}", silent.local_addr().unwrap()), "0").unwrap();
        let registry = Registry::new("0", 1);
        let worker = registry.worker(0).unwrap();
        let recorder = Recorder::new(worker, log, Some(spans), RequestIds::new(1, 0), 1.0);
        let trace = recorder.trace(&HeaderMap::new()).unwrap();
        assert!(trace.sampled());
        let mut entry = entry_for_test();
        entry.trace = Some(&trace);
        entry.service_slot = registry.service("portal");
        recorder.record(&entry, Moment(0));
        entry.reason = Some(Reason::Overload);
        entry.attempts = 0;
        for _ in 0..3 {
            recorder.record(&entry, Moment(0));
        }
        assert!(writer.stop(Duration::from_secs(10)));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        let metrics = registry.expose();
        for line in [
            "guichet_requests_total{service=\"portal\",class=\"2xx\"} 4\n",
            "guichet_refusals_total{service=\"portal\",reason=\"overload\"} 3\n",
            "guichet_log_suppressed_total 2\n",
        ] {
            assert!(metrics.contains(line), "{line}");
        }
    }

    #[test]
    fn without_traces_the_callers_is_passed_through() {
        let (log, _writer) = AccessLog::open(&log(LogTarget::Off)).unwrap();
        let registry = Registry::new("0", 1);
        let recorder = Recorder::new(registry.worker(0).unwrap(), log, None, RequestIds::new(1, 0), 1.0);
        assert_eq!(recorder.trace(&HeaderMap::new()), None);
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", PARENT.parse().unwrap());
        recorder.trace(&headers).unwrap().write(&mut headers);
        assert_eq!(headers["traceparent"], PARENT);
        headers.insert("traceparent", "nonsense".parse().unwrap());
        recorder.trace(&headers).unwrap().write(&mut headers);
        assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"), "a new trace, not sampled");
    }

    #[test]
    fn ids_of_trusted_proxies_are_kept_if_they_are_ids() {
        let (log, _writer) = AccessLog::open(&log(LogTarget::Off)).unwrap();
        let registry = Registry::new("0", 1);
        let recorder = Recorder::new(registry.worker(0).unwrap(), log, None, RequestIds::new(1, 0), 0.0);
        let sent = "0123456789abcdef0123456789abcdef";
        assert_eq!(recorder.request_id(Some(sent.as_bytes())).to_string(), sent);
        assert_ne!(recorder.request_id(Some(b"x")), recorder.request_id(None));
    }

    /// Prints what recording costs a worker. `cargo test --release -p guichet-proxy recording_cost -- --ignored
    /// --nocapture`
    #[test]
    #[ignore = "a measurement, not a test"]
    fn recording_cost() {
        let registry = Registry::new("0", 1);
        for (name, target) in [("metrics", LogTarget::Off), ("metrics and log", LogTarget::File("/dev/null".into()))] {
            let (log, writer) = AccessLog::open(&log(target)).unwrap();
            let recorder = Recorder::new(registry.worker(0).unwrap(), log, None, RequestIds::new(1, 0), 0.0);
            let mut entry = entry_for_test();
            entry.service_slot = registry.service("portal");
            let rounds = 100_000;
            let began = std::time::Instant::now();
            for _ in 0..rounds {
                recorder.record(std::hint::black_box(&entry), Moment(0));
            }
            println!("{name}: {:?} a request", began.elapsed() / rounds);
            assert!(writer.stop(Duration::from_secs(10)));
        }
    }
}
