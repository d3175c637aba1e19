//! What a worker calls. Every call is a few loads and stores on memory of its own.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guichet_core::Reason;

use super::super::Entry;
use super::counters::{Outcomes, WorkerBlock, reason_index};
use super::goodput::{self, Told};
use super::registry::{ListenerSlot, UpstreamSlot};

/// The counters of one worker. Not `Sync` and not `Clone`: only one thread may write them.
pub struct WorkerMetrics {
    block: Arc<WorkerBlock>,
    taken: Arc<AtomicBool>,
    one_thread: PhantomData<Cell<()>>,
}

impl WorkerMetrics {
    /// `None` where another has this block.
    pub(super) fn take(block: Arc<WorkerBlock>, taken: Arc<AtomicBool>) -> Option<Self> {
        let was_taken = taken.swap(true, Ordering::Acquire);
        (!was_taken).then_some(Self { block, taken, one_thread: PhantomData })
    }

    /// Counts one request by all that is known of it. Times are counted only of requests that a server answered:
    /// refusals are quick, and would make a flooded service look fast.
    pub fn request(&self, entry: &Entry<'_>) {
        let service = &self.block.services[entry.service_slot.index()];
        let class = usize::from(entry.status / 100);
        service.classes[if class < service.classes.len() { class } else { 0 }].add(1);
        if let Some(reason) = entry.reason {
            service.reasons[reason_index(reason)].add(1);
        }
        let count = |outcomes: &Outcomes| {
            let outcome = if entry.attempts == 0 { &outcomes.refused } else { &outcomes.forwarded };
            outcome.add(1);
        };
        count(&service.standings[entry.standing.index()]);
        count(&service.lanes[entry.lane.index()]);
        match goodput::told(entry) {
            Told::Answered => service.answered.add(1),
            Told::Missed => service.missed.add(1),
            Told::Nothing => {}
        }
        service.bytes_in.add(entry.bytes_in);
        service.bytes_out.add(entry.bytes_out);
        if entry.attempts > 0 {
            service.queue_wait.observe(entry.queue_us);
            if let Some(us) = entry.first_byte_us {
                service.first_byte.observe(us);
                service.duration.observe(entry.duration_us);
            }
        }
    }

    /// A connection opened.
    pub fn connection_opened(&self, listener: ListenerSlot) {
        self.block.listeners[listener.index()].opened.add(1);
    }

    /// A connection closed that was counted as opened.
    pub fn connection_closed(&self, listener: ListenerSlot) {
        self.block.listeners[listener.index()].closed.add(1);
    }

    /// A connection was refused, or ended for a reason between requests.
    pub fn connection_refused(&self, listener: ListenerSlot, reason: Reason) {
        self.block.listeners[listener.index()].refused[reason_index(reason)].add(1);
    }

    /// A server is asked; `retry`: not for the first time for this request.
    pub fn upstream_began(&self, server: UpstreamSlot, retry: bool) {
        let counters = &self.block.upstreams[server.index()];
        counters.requests.add(1);
        counters.in_flight.add(1);
        counters.retries.add(u64::from(retry));
    }

    /// A server that was asked is done with, well or not.
    pub fn upstream_ended(&self, server: UpstreamSlot, failed: bool) {
        let counters = &self.block.upstreams[server.index()];
        counters.in_flight.add(1_u64.wrapping_neg());
        counters.failures.add(u64::from(failed));
    }

    /// A connection to a server opened.
    pub fn upstream_connected(&self, server: UpstreamSlot) {
        let counters = &self.block.upstreams[server.index()];
        counters.connects.add(1);
        counters.connections.add(1);
    }

    /// A connection to a server closed.
    pub fn upstream_disconnected(&self, server: UpstreamSlot) {
        self.block.upstreams[server.index()].connections.add(1_u64.wrapping_neg());
    }

    /// A refusal was not logged, by sampling or cap.
    pub fn log_suppressed(&self) {
        self.block.log_suppressed.add(1);
    }
}

impl Drop for WorkerMetrics {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}
