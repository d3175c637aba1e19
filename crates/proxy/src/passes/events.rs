//! What befalls passes, counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One thing that befalls a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// A refusal told how to earn one.
    Offered,
    /// One was earned by work.
    Worked,
    /// One was earned by waiting.
    Waited,
    /// One was given for a code.
    Coded,
    /// A solution, place or code was not good.
    Denied,
    /// One was shown, and counts.
    Shown,
    /// One was shown that is used up.
    UsedUp,
    /// One was shown that is forged, over, or somebody else's.
    Invalid,
}

impl Event {
    /// All of them, in the order of the counts.
    pub const ALL: [Self; 8] = [
        Self::Offered,
        Self::Worked,
        Self::Waited,
        Self::Coded,
        Self::Denied,
        Self::Shown,
        Self::UsedUp,
        Self::Invalid,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Worked => "earned_work",
            Self::Waited => "earned_wait",
            Self::Coded => "earned_code",
            Self::Denied => "denied",
            Self::Shown => "shown",
            Self::UsedUp => "used_up",
            Self::Invalid => "invalid",
        }
    }
}

/// Counts of what befell passes.
#[derive(Debug, Default)]
pub struct Events([AtomicU64; Event::ALL.len()]);

impl Events {
    /// Counts one.
    pub fn note(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self, event: Event) -> u64 {
        self.0[event as usize].load(Relaxed)
    }
}
