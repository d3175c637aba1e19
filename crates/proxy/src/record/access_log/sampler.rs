//! Which refusals are logged: a share of them, and at most so many a second. An attacker decides how many refusals
//! there are; the operator decides how many lines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guichet_core::Moment;

use super::super::RequestIds;

/// Shared by the workers. Over the cap it is only read, so that workers do not fight for its cache line in a flood.
#[derive(Debug)]
pub(super) struct Sampler {
    share: f64,
    per_s_max: u64,
    /// Second since start in the upper half, lines in it in the lower.
    window: AtomicU64,
}

impl Sampler {
    pub(super) fn new(share: f64, per_s_max: u32) -> Self {
        Self { share, per_s_max: u64::from(per_s_max), window: AtomicU64::new(0) }
    }

    pub(super) fn wants(&self, now: Moment, ids: &RequestIds) -> bool {
        if self.share < 1.0 && ids.share() >= self.share {
            return false;
        }
        let second = now.0 / 1_000_000;
        let update = |seen: u64| match (seen >> 32, seen & 0xffff_ffff) {
            // A worker whose clock reading is older than another's counts in the newer second.
            (at, count) if at >= second => (count < self.per_s_max).then_some(seen + 1),
            _ => (self.per_s_max > 0).then_some(second << 32 | 1),
        };
        self.window.fetch_update(Relaxed, Relaxed, update).is_ok()
    }
}
