//! The exporter: a bounded queue, and one thread that sends batches to the collector. A collector that is down costs
//! spans, which are counted, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use guichet_core::Moment;
use guichet_core::bounds::{
    TRACE_ANSWER_BYTES_MAX, TRACE_BATCH_SPANS_MAX, TRACE_QUEUE_SPANS_MAX, TRACE_SPANS_PER_S_MAX,
};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::Entry;
use super::otlp::{Span, export_request};

/// How long a batch may take to fill.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How long one export may take, connection included.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);
/// The pause after a failed export doubles up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceCounters {
    /// Taken by the collector.
    pub exported: AtomicU64,
    /// Lost: queue full, over the rate, or the collector failed.
    pub dropped: AtomicU64,
}

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint is not `http://host:port[/base]`.
    #[error(
        "trace.otlp_endpoint {0:?} is not of the form http://host:port (a collector with TLS needs an agent on this machine)"
    )]
    Endpoint(String),
    /// The thread could not be started.
    #[error("the thread that exports traces could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Hands spans to the exporter. Cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct SpanSink {
    queue: mpsc::Sender<Span>,
    counters: Arc<TraceCounters>,
    /// Second since start in the upper half, spans in it in the lower.
    window: Arc<AtomicU64>,
}

impl SpanSink {
    /// Queues the span of a request if it is sampled. A caller that asks for every request to be sampled gets at most
    /// [`TRACE_SPANS_PER_S_MAX`] of them.
    pub fn record(&self, entry: &Entry<'_>, now: Moment) {
        if !entry.trace.is_some_and(|trace| trace.sampled()) {
            return;
        }
        let sent = self.within_rate(now) && Span::of(entry).is_some_and(|span| self.queue.try_send(span).is_ok());
        if !sent {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    fn within_rate(&self, now: Moment) -> bool {
        let second = now.0 / 1_000_000;
        let update = |seen: u64| match (seen >> 32 == second, seen & 0xffff_ffff) {
            (true, count) if count >= TRACE_SPANS_PER_S_MAX => None,
            (true, _) => Some(seen + 1),
            (false, _) => Some(second << 32 | 1),
        };
        self.window.fetch_update(Relaxed, Relaxed, update).is_ok()
    }

    /// What became of spans so far.
    #[must_use]
    pub fn counters(&self) -> Arc<TraceCounters> {
        self.counters.clone()
    }
}

/// The running exporter. Dropping it without [`SpanExporter::stop`] leaves what is queued unsent.
pub struct SpanExporter {
    stop: Option<oneshot::Sender<()>>,
    done: std::sync::mpsc::Receiver<()>,
}

impl SpanExporter {
    /// Starts the exporter's thread. `endpoint` is the collector's base URL; spans go to `/v1/traces` below it.
    ///
    /// # Errors
    /// The endpoint is not plain http, or the thread could not be started.
    pub fn start(endpoint: &str, version: &'static str) -> Result<(SpanSink, Self), ExportError> {
        let collector = Collector::parse(endpoint)?;
        let (queue, spans) = mpsc::channel(TRACE_QUEUE_SPANS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = std::sync::mpsc::channel();
        let counters = Arc::new(TraceCounters::default());
        let worker = Export { collector, spans, counters: counters.clone(), version };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("guichet-traces".into()).spawn(move || {
            runtime.block_on(worker.run(stopped));
            // Nobody listening any more is no error.
            let _ = finished.send(());
        })?;
        Ok((SpanSink { queue, counters, window: Arc::default() }, Self { stop: Some(stop), done }))
    }

    /// Sends what is queued, within the deadline, and ends the thread. Returns whether it ended in time.
    pub fn stop(mut self, within: Duration) -> bool {
        self.stop.take();
        self.done.recv_timeout(within).is_ok()
    }
}

struct Export {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    counters: Arc<TraceCounters>,
    version: &'static str,
}

impl Export {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut failures = 0_u32;
        let mut batch = Vec::new();
        let mut stopping = false;
        while !stopping {
            stopping = self.fill(&mut batch, &mut stopped).await;
            self.top_up(&mut batch);
            if batch.is_empty() {
                continue;
            }
            let sent = self.send(&mut batch).await;
            failures = if sent { 0 } else { failures + 1 };
            if failures > 0 && !stopping {
                let pause = BATCH_WAIT.saturating_mul(1 << failures.min(5)).min(PAUSE_MAX);
                // Any word on this channel, or its end, is the order to stop.
                stopping = timeout(pause, &mut stopped).await.is_ok();
            }
        }
        // What was queued before the order, in whole batches; a collector that fails now is not waited for.
        for _ in 0..=TRACE_QUEUE_SPANS_MAX / TRACE_BATCH_SPANS_MAX {
            self.top_up(&mut batch);
            if batch.is_empty() || !self.send(&mut batch).await {
                break;
            }
        }
    }

    /// Takes what is there without waiting.
    fn top_up(&mut self, batch: &mut Vec<Span>) {
        while batch.len() < TRACE_BATCH_SPANS_MAX
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
    }

    /// Fills a batch; true: the order to stop came.
    async fn fill(&mut self, batch: &mut Vec<Span>, stopped: &mut oneshot::Receiver<()>) -> bool {
        let mut until = None;
        while batch.len() < TRACE_BATCH_SPANS_MAX {
            let room = TRACE_BATCH_SPANS_MAX - batch.len();
            let wait = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                _ = &mut *stopped => return true,
                received = self.spans.recv_many(batch, room) => match received {
                    0 => return true,
                    _ => { until.get_or_insert_with(|| Instant::now() + BATCH_WAIT); }
                },
                () = sleep_until(wait) => break,
            }
        }
        false
    }

    async fn send(&self, batch: &mut Vec<Span>) -> bool {
        let count = batch.len() as u64;
        let body = export_request(batch, self.version);
        batch.clear();
        let sent = matches!(timeout(EXPORT_DEADLINE, self.collector.post(body)).await, Ok(Ok(())));
        let counter = if sent { &self.counters.exported } else { &self.counters.dropped };
        counter.fetch_add(count, Relaxed);
        sent
    }
}

#[derive(Debug)]
struct Collector {
    authority: String,
    address: String,
    path: String,
}

impl Collector {
    fn parse(endpoint: &str) -> Result<Self, ExportError> {
        let refuse = || ExportError::Endpoint(endpoint.to_owned());
        let uri: Uri = endpoint.parse().map_err(|_| refuse())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(refuse)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(refuse());
        }
        Ok(Self {
            authority: authority.to_string(),
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            path: format!("{}/v1/traces", uri.path().trim_end_matches('/')),
        })
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(&self.path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            Limited::new(answer.into_body(), TRACE_ANSWER_BYTES_MAX).collect().await?;
            if status.is_success() { Ok(()) } else { Err(format!("the collector answered {status}").into()) }
        };
        // One connection for one batch: at one batch a second, keeping it is not worth its upkeep.
        tokio::pin!(exchange);
        tokio::select! {
            done = &mut exchange => done,
            ended = connection => { ended?; exchange.await }
        }
    }
}
