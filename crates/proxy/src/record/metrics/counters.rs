//! Counters that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guichet_core::bounds::{METRIC_LISTENERS_MAX, METRIC_SERVICES_MAX, METRIC_UPSTREAM_SERVERS_MAX};
use guichet_core::{Criticality, Reason, Standing};

/// How many reasons there are.
pub(super) const REASONS: usize = Reason::ALL.len();
/// Upper ends of the buckets, microseconds; the last bucket is open.
pub(super) const BUCKETS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];
/// Classes of status: index 0 is for requests that ended without one.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Greatest code of a reason plus one.
const CODES: usize = 1000;

/// Position of each reason in [`Reason::ALL`], by code.
static REASON_INDEX: [u8; CODES] = {
    let mut table = [0; CODES];
    let mut at = 0;
    while at < REASONS {
        table[Reason::ALL[at].code() as usize] = at as u8;
        at += 1;
    }
    table
};
const _: () = assert!(REASONS <= u8::MAX as usize);

/// Position of a reason in tables of [`REASONS`] entries.
pub(super) fn reason_index(reason: Reason) -> usize {
    usize::from(REASON_INDEX[usize::from(reason.code())])
}

/// A number that only its worker writes: a load and a store, no locked instruction. Readers may be a little behind.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds; wraps. Taking away is adding the complement, and sums over workers wrap back.
    pub(super) fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long something took.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [Counter; BUCKETS_US.len() + 1],
    pub(super) sum_us: Counter,
}

impl Histogram {
    pub(super) fn observe(&self, us: u64) {
        self.buckets[BUCKETS_US.partition_point(|end| *end < us)].add(1);
        self.sum_us.add(us);
    }
}

/// Requests by what became of them.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) forwarded: Counter,
    pub(super) refused: Counter,
}

/// What a worker counts for one service.
#[derive(Debug)]
pub(super) struct ServiceCounters {
    pub(super) classes: [Counter; CLASSES.len()],
    pub(super) reasons: [Counter; REASONS],
    pub(super) standings: [Outcomes; Standing::COUNT],
    pub(super) lanes: [Outcomes; Criticality::COUNT],
    pub(super) answered: Counter,
    pub(super) missed: Counter,
    pub(super) duration: Histogram,
    pub(super) queue_wait: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
}

impl Default for ServiceCounters {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            reasons: std::array::from_fn(|_| Counter::default()),
            standings: Default::default(),
            lanes: Default::default(),
            answered: Counter::default(),
            missed: Counter::default(),
            duration: Histogram::default(),
            queue_wait: Histogram::default(),
            first_byte: Histogram::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        }
    }
}

/// What a worker counts for one listener.
#[derive(Debug)]
pub(super) struct ListenerCounters {
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    pub(super) refused: [Counter; REASONS],
}

impl Default for ListenerCounters {
    fn default() -> Self {
        Self {
            opened: Counter::default(),
            closed: Counter::default(),
            refused: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// What a worker counts for one upstream server.
#[derive(Debug, Default)]
pub(super) struct UpstreamCounters {
    pub(super) requests: Counter,
    pub(super) failures: Counter,
    pub(super) retries: Counter,
    pub(super) connects: Counter,
    /// Begun minus ended; wraps.
    pub(super) in_flight: Counter,
    /// Opened minus closed; wraps.
    pub(super) connections: Counter,
}

/// Everything one worker counts. Alone on its cache lines, so that no worker slows another.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WorkerBlock {
    pub(super) services: Box<[ServiceCounters]>,
    pub(super) listeners: Box<[ListenerCounters]>,
    pub(super) upstreams: Box<[UpstreamCounters]>,
    pub(super) log_suppressed: Counter,
}

/// Two more than the named ones: none, and those that found the table full.
pub(super) const SERVICE_SLOTS: usize = METRIC_SERVICES_MAX + 2;
/// One more than the named ones: those that found the table full.
pub(super) const LISTENER_SLOTS: usize = METRIC_LISTENERS_MAX + 1;
/// One more than the named ones: those that found the table full.
pub(super) const UPSTREAM_SLOTS: usize = METRIC_UPSTREAM_SERVERS_MAX + 1;

impl WorkerBlock {
    pub(super) fn new() -> Self {
        Self {
            services: (0..SERVICE_SLOTS).map(|_| ServiceCounters::default()).collect(),
            listeners: (0..LISTENER_SLOTS).map(|_| ListenerCounters::default()).collect(),
            upstreams: (0..UPSTREAM_SLOTS).map(|_| UpstreamCounters::default()).collect(),
            log_suppressed: Counter::default(),
        }
    }
}
