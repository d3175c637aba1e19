//! Checkers that watch the core from outside and count for themselves.

use super::Report;
use crate::{Criticality, Lanes, Rules, SourceShard};

/// What the simulator itself holds of one service, counted apart from the core.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    held: [u32; Criticality::COUNT],
    waiting: u32,
}

impl Watch {
    pub(super) fn waits(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn resolved(&mut self, report: &mut Report) {
        if self.waiting == 0 {
            report.breach(|| "a ticket was resolved twice".into());
        }
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A slot was given: nobody above may have lost the slots kept for them.
    pub(super) fn admitted(&mut self, lane: Criticality, rules: &Rules, report: &mut Report) {
        self.held[lane.index()] += 1;
        let used: u32 = self.held.iter().sum();
        let mut kept = 0;
        for above in lane.index() + 1..Criticality::COUNT {
            kept += rules.floors[above].saturating_sub(self.held[above]);
        }
        if used + kept > rules.limit {
            report.breach(|| {
                format!("{lane:?} took a kept slot: {:?} of {}, {:?}", self.held, rules.limit, rules.floors)
            });
        }
    }

    pub(super) fn released(&mut self, lane: Criticality) {
        self.held[lane.index()] -= 1;
    }

    /// The core's own counts must agree with those from outside.
    pub(super) fn agrees(&self, lanes: &Lanes, rules: &Rules, report: &mut Report) {
        if self.held != lanes.inflight_by_lane() {
            report.breach(|| format!("slots leak: held {:?}, lanes say {:?}", self.held, lanes.inflight_by_lane()));
        }
        if self.waiting as usize != lanes.queued() || lanes.queued() > rules.queue_len as usize {
            report.breach(|| format!("queue: {} waiting, lanes say {}", self.waiting, lanes.queued()));
        }
    }
}

/// The tables of sources never grow.
pub(super) fn tables_are_bounded(shards: &[SourceShard], report: &mut Report) {
    let capacity: usize = shards.iter().map(SourceShard::capacity).sum();
    let len: usize = shards.iter().map(SourceShard::len).sum();
    if capacity != crate::bounds::SOURCES_MAX || len > capacity {
        report.breach(|| format!("source tables: {len} of {capacity}"));
    }
}
