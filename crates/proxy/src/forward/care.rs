//! What is known of how soon a service answers, and what follows for those who wait for it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use guichet_core::Promptness;
use guichet_core::bounds::SCOUTS_MAX;

/// Shared by all workers, for one service. It goes on over reloads.
#[derive(Debug, Default)]
pub struct Care {
    /// A [`Promptness`].
    prompt: AtomicU64,
    failing: AtomicBool,
    scouts: AtomicU32,
}

/// The care that one request gets.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Of its service.
    pub care: std::sync::Arc<Care>,
    /// From when on its answer is late.
    pub late_after: Duration,
}

impl Care {
    /// An answer began after so long. Workers may overwrite each other's: it is an estimate.
    pub fn note_answer(&self, took: Duration) {
        let known = Promptness::from_bits(self.prompt.load(Ordering::Relaxed));
        self.prompt.store(known.with(took).to_bits(), Ordering::Relaxed);
    }

    /// From when on an answer is late: see [`Promptness::late_after`].
    #[must_use]
    pub fn late_after(&self, least: Duration, most: Duration) -> Duration {
        Promptness::from_bits(self.prompt.load(Ordering::Relaxed)).late_after(least, most)
    }

    /// Whether the service is known to fail: then nobody is kept waiting for an answer that is late.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Says whether it is.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Whether a request that nobody waits for any more may go on, so that a service which is merely slow is known by its
    /// answers. If so, [`Self::scout_back`] must follow.
    #[must_use]
    pub fn scout(&self) -> bool {
        let taken =
            self.scouts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < SCOUTS_MAX).then_some(n + 1));
        taken.is_ok()
    }

    /// Such a request ended.
    pub fn scout_back(&self) {
        self.scouts.fetch_sub(1, Ordering::Relaxed);
    }
}
