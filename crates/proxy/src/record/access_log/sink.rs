//! The writer's thread: takes lines from the queue and writes them in batches.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use guichet_core::bounds::LOG_BATCH_BYTES_MAX;

use super::LogCounters;
use crate::config::LogTarget;

/// How long the writer sleeps at most before it looks for orders.
const ORDERS_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Sink {
    target: LogTarget,
    file: Option<File>,
    /// The last write may have ended within a line.
    broken_off: bool,
    counters: Arc<LogCounters>,
}

impl Sink {
    pub(super) fn open(target: LogTarget, counters: Arc<LogCounters>) -> io::Result<Self> {
        let file = open_file(&target)?;
        Ok(Self { target, file, broken_off: false, counters })
    }

    fn reopen(&mut self) {
        match open_file(&self.target) {
            Ok(file) => {
                self.file = file;
                self.broken_off = false;
                self.counters.failing.store(false, Relaxed);
            }
            Err(_) => self.counters.failing.store(true, Relaxed),
        }
    }

    fn write(&mut self, batch: &[u8], lines: u64) {
        // A disk that was full may have taken half a line: the next one must not be glued to it.
        let fresh_line: &[u8] = if self.broken_off { b"\n" } else { b"" };
        let written = self.write_all(fresh_line).and_then(|()| self.write_all(batch));
        self.broken_off = written.is_err();
        if written.is_err() {
            self.counters.write_failed.fetch_add(lines, Relaxed);
        }
        self.counters.failing.store(written.is_err(), Relaxed);
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match (&self.target, &mut self.file) {
            (LogTarget::Off, _) | (LogTarget::File(_), None) => Ok(()),
            (LogTarget::Stdout, _) => io::stdout().lock().write_all(bytes),
            (LogTarget::Stderr, _) => io::stderr().lock().write_all(bytes),
            (LogTarget::File(_), Some(file)) => file.write_all(bytes),
        }
    }
}

fn open_file(target: &LogTarget) -> io::Result<Option<File>> {
    let LogTarget::File(path) = target else { return Ok(None) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(Some).map_err(|e| io::Error::new(e.kind(), format!("access log {}: {e}", path.display())))
}

/// Runs until the order to stop came and the queue is empty, or nobody can send any more.
pub(super) fn write_lines(mut sink: Sink, lines: &Receiver<Vec<u8>>, reopen: &AtomicBool, stop: &AtomicBool) {
    let mut batch = Vec::with_capacity(LOG_BATCH_BYTES_MAX);
    loop {
        // Before the wait: lines queued ahead of the order are then still written below.
        let stopping = stop.load(Relaxed);
        if reopen.swap(false, Relaxed) {
            sink.reopen();
        }
        let wait = if stopping { Duration::ZERO } else { ORDERS_EVERY };
        match lines.recv_timeout(wait) {
            Ok(first) => batch.extend_from_slice(&first),
            Err(RecvTimeoutError::Timeout) if !stopping => continue,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
        let mut count = 1;
        while batch.len() < LOG_BATCH_BYTES_MAX / 2
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
            count += 1;
        }
        sink.write(&batch, count);
        batch.clear();
    }
}
