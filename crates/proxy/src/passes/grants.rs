//! How many passes one network may be given by waiting, and how often it may try a code: bounded, whatever comes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guichet_core::bounds::GRANT_CELLS;

/// A leaking level for each network, in cells of fixed number: two networks may share one, which holds both back and
/// lets neither through.
#[derive(Debug)]
pub struct Grants {
    /// Level in thousandths (upper half), and the millisecond it was set at (lower half, wrapping).
    cells: Box<[AtomicU64]>,
}

impl Default for Grants {
    fn default() -> Self {
        Self { cells: (0..GRANT_CELLS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Grants {
    /// Whether one more is granted to `key`: `burst` at once, then `per_minute`.
    pub fn take(&self, key: u64, now_ms: u64, burst: u32, per_minute: u32) -> bool {
        let cell = &self.cells[(key ^ key >> 31) as usize % self.cells.len()];
        let now = now_ms & 0xffff_ffff;
        let taken = cell.fetch_update(Relaxed, Relaxed, |held| {
            let (level, at) = (held >> 32, held & 0xffff_ffff);
            // A cell that was never used, or not for weeks, is empty all the same.
            let gone_ms = now.wrapping_sub(at) & 0xffff_ffff;
            let left = level.saturating_sub(gone_ms * u64::from(per_minute) / 60);
            (left + 1000 <= u64::from(burst) * 1000).then_some((left + 1000) << 32 | now)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_for_each_and_no_growth() {
        let grants = Grants::default();
        let granted = |key, from_ms: u64| (0..100).filter(|n| grants.take(key, from_ms + n, 10, 60)).count();
        assert_eq!(granted(1, 1_000_000), 10);
        assert_eq!(granted(1, 1_005_000), 5, "five seconds at one a second");
        assert_eq!(granted(2, 1_005_000), 10);
        (0..1_000_000_u64).for_each(|key| {
            grants.take(key.wrapping_mul(0x9E37_79B9_7F4A_7C15), 2_000_000, 10, 60);
        });
        assert_eq!(grants.cells.len(), GRANT_CELLS);
    }
}
