//! The access log: one line for each request, written by a thread of its own.
//!
//! A worker formats the line and puts it into a bounded queue. When the disk or the pipe is slower than the traffic
//! the queue fills, and lines are dropped and counted; no request ever waits for the log.

mod line;
mod sampler;
mod sink;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::bounds::LOG_QUEUE_LINES_MAX;

use self::sampler::Sampler;
use self::sink::{Sink, write_lines};
use super::{Entry, RequestIds};
use crate::config::{Log, LogFormat, LogTarget};

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// Queued.
    Queued,
    /// A refusal, not logged by the operator's sampling or cap.
    Suppressed,
    /// The queue was full.
    Dropped,
    /// The log is off.
    Off,
}

/// Counters of the log, shared with the metrics.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// Lines lost because the queue was full.
    pub dropped: AtomicU64,
    /// Lines lost because writing failed.
    pub write_failed: AtomicU64,
    /// Whether the last attempt to open or write failed.
    pub failing: AtomicBool,
}

/// Hands lines to the writer. Cheap to clone: one for each worker.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: Option<SyncSender<Vec<u8>>>,
    format: LogFormat,
    mask_addresses: bool,
    sampler: Arc<Sampler>,
    counters: Arc<LogCounters>,
}

/// The running writer. Dropping it without [`LogWriter::stop`] leaves what is queued unwritten at exit.
pub struct LogWriter {
    reopen: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    done: Option<Receiver<()>>,
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// The file could not be opened, or the thread not started; the error names the file.
    pub fn open(config: &Log) -> io::Result<(Self, LogWriter)> {
        let counters = Arc::new(LogCounters::default());
        let mut log = Self {
            queue: None,
            format: config.format,
            mask_addresses: config.mask_addresses,
            sampler: Arc::new(Sampler::new(config.refused_sample, config.refused_per_s_max)),
            counters: counters.clone(),
        };
        let mut writer = LogWriter { reopen: Arc::default(), stop: Arc::default(), done: None };
        if config.target == LogTarget::Off {
            return Ok((log, writer));
        }
        let sink = Sink::open(config.target.clone(), counters)?;
        let (queue, lines) = sync_channel(LOG_QUEUE_LINES_MAX);
        let (finished, done) = sync_channel(1);
        let (reopen, stop) = (writer.reopen.clone(), writer.stop.clone());
        std::thread::Builder::new().name("guichet-log".into()).spawn(move || {
            write_lines(sink, &lines, &reopen, &stop);
            // Nobody listening any more is no error.
            let _ = finished.send(());
        })?;
        log.queue = Some(queue);
        writer.done = Some(done);
        Ok((log, writer))
    }

    /// Queues the line of a request. Never blocks.
    #[must_use]
    pub fn record(&self, entry: &Entry<'_>, now: Moment, ids: &RequestIds) -> Logged {
        let Some(queue) = &self.queue else { return Logged::Off };
        if entry.refused() && !self.sampler.wants(now, ids) {
            return Logged::Suppressed;
        }
        let line = match self.format {
            LogFormat::Json => line::json(entry, self.mask_addresses),
            LogFormat::Combined => line::combined(entry, self.mask_addresses),
        };
        if queue.try_send(line).is_ok() {
            return Logged::Queued;
        }
        self.counters.dropped.fetch_add(1, Relaxed);
        Logged::Dropped
    }

    /// The counters, for the metrics.
    #[must_use]
    pub fn counters(&self) -> Arc<LogCounters> {
        self.counters.clone()
    }
}

impl LogWriter {
    /// Opens the file again under its name (after it was rotated away). Takes effect within a fraction of a second; if
    /// it fails, writing goes on into the old file, and `guichet_log_failing` says so.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Writes what is queued and ends the thread; returns whether that was done in time (a pipe that nobody reads may
    /// hold it up).
    pub fn stop(self, within: Duration) -> bool {
        self.stop.store(true, Relaxed);
        self.done.is_none_or(|done| done.recv_timeout(within).is_ok())
    }
}
