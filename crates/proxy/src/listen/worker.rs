//! What the listeners of one worker share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Reason;
use guichet_core::bounds::H2_STREAMS_MAX;

use super::caps::ConnectionCaps;
use super::idle::{self, Registry};
use super::watch::Command;
use crate::clock;
use crate::config::Limits;
use crate::desk::Desk;

/// Between two looks at room and at the bound on streams.
const TEND_INTERVAL: Duration = Duration::from_millis(100);

/// What the listeners of one worker share. Lives on that worker.
pub struct WorkerContext<D: Desk> {
    /// What serves requests.
    pub(super) desk: Rc<D>,
    pub(super) caps: Arc<ConnectionCaps>,
    pub(super) registry: Rc<Registry>,
    pub(super) opening: Cell<usize>,
    limits: RefCell<Arc<Limits>>,
    next_id: Cell<u64>,
    tended: Cell<bool>,
}

impl<D: Desk> fmt::Debug for WorkerContext<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerContext").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl<D: Desk> WorkerContext<D> {
    /// For worker number `worker`; `caps` is the node's, shared by all workers.
    pub fn new(desk: Rc<D>, worker: u16, limits: Arc<Limits>, caps: Arc<ConnectionCaps>) -> Self {
        Self {
            desk,
            caps,
            registry: Rc::default(),
            opening: Cell::new(0),
            limits: RefCell::new(limits),
            // Unique on the node: the worker's number in the upper bits.
            next_id: Cell::new(u64::from(worker) << 48 | 1),
            tended: Cell::new(false),
        }
    }

    /// Limits for connections from now on (a reload); those that are open keep theirs.
    pub fn set_limits(&self, limits: Arc<Limits>) {
        *self.limits.borrow_mut() = limits;
    }

    pub(super) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.borrow())
    }

    /// Connections of this worker, from accept until they end or are upgraded (upgraded ones count in the caps only).
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.count()
    }

    /// Asks all connections to finish what is under way and close.
    pub fn drain(&self) {
        self.registry.command(Command::Drain);
    }

    /// Closes all connections now.
    pub fn close_all(&self) {
        self.registry.command(Command::Close);
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Streams that a connection may have at once now.
    pub(super) fn streams_max(&self, limits: &Limits) -> u32 {
        self.desk.streams_max().clamp(1, limits.h2_streams_max.clamp(1, H2_STREAMS_MAX))
    }

    /// Closes idle connections where the node runs out of room.
    pub(super) fn make_room(&self) -> usize {
        self.registry.evict(&self.caps, idle::wanted(&self.caps, self.registry.count()))
    }

    /// Tells the desk of clients that keep the door waiting, and closes the connections of those who are to go.
    fn take_census(&self) {
        let all = self.desk.closes_stalled();
        self.registry.census(clock::now(), all, |watch, ending, noted| {
            let Some(looks) = watch.looks.get() else { return };
            if self.desk.stalls(looks, ending, noted) {
                watch.ended_for(Reason::Mitigated);
                watch.set_abort();
                watch.command(Command::Close);
            }
        });
    }

    /// Starts the worker's tending task, once. It ends with the worker's context.
    pub(super) fn tend(self: &Rc<Self>) {
        if self.tended.replace(true) {
            return;
        }
        let weak = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(TEND_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut told = 0;
            loop {
                interval.tick().await;
                let Some(worker) = weak.upgrade() else { return };
                worker.make_room();
                worker.take_census();
                let streams = worker.streams_max(&worker.limits());
                if streams != told {
                    worker.registry.each(|watch| watch.set_streams_max(streams));
                    told = streams;
                }
            }
        });
    }
}
