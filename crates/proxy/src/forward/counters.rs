//! What a pool counts, for the record stage to read. Atomics only: written by workers, read by whoever shows metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use guichet_core::Reason;

/// Counts of one upstream pool since start. Labels are bounded: one set a pool, one failure count a [`Reason`].
#[derive(Debug)]
pub struct ForwardCounters {
    requests: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    stale_retries: AtomicU64,
    budget_exhausted: AtomicU64,
    connects: AtomicU64,
    reuses: AtomicU64,
    ejections: AtomicU64,
    tunnels: AtomicU64,
    failures: Vec<AtomicU64>,
}

/// Which count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests that `forward` took on.
    Requests,
    /// Attempts made, the first ones included.
    Attempts,
    /// Attempts after the first that the budget paid for.
    Retries,
    /// Attempts repeated because a pooled connection had just been closed by the server; free of charge.
    StaleRetries,
    /// Retries that would have been made had there been budget.
    BudgetExhausted,
    /// Connections made.
    Connects,
    /// Attempts on a connection that was already there.
    Reuses,
    /// Servers ejected.
    Ejections,
    /// Connections switched to another protocol.
    Tunnels,
}

impl Count {
    /// Every count, for an exporter to go through.
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Attempts,
        Self::Retries,
        Self::StaleRetries,
        Self::BudgetExhausted,
        Self::Connects,
        Self::Reuses,
        Self::Ejections,
        Self::Tunnels,
    ];

    /// Stem of the metric's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Attempts => "attempts",
            Self::Retries => "retries",
            Self::StaleRetries => "stale_retries",
            Self::BudgetExhausted => "retry_budget_exhausted",
            Self::Connects => "connects",
            Self::Reuses => "reuses",
            Self::Ejections => "ejections",
            Self::Tunnels => "tunnels",
        }
    }
}

impl Default for ForwardCounters {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            attempts: AtomicU64::default(),
            retries: AtomicU64::default(),
            stale_retries: AtomicU64::default(),
            budget_exhausted: AtomicU64::default(),
            connects: AtomicU64::default(),
            reuses: AtomicU64::default(),
            ejections: AtomicU64::default(),
            tunnels: AtomicU64::default(),
            failures: Reason::ALL.iter().map(|_| AtomicU64::default()).collect(),
        }
    }
}

impl ForwardCounters {
    const fn cell(&self, count: Count) -> &AtomicU64 {
        match count {
            Count::Requests => &self.requests,
            Count::Attempts => &self.attempts,
            Count::Retries => &self.retries,
            Count::StaleRetries => &self.stale_retries,
            Count::BudgetExhausted => &self.budget_exhausted,
            Count::Connects => &self.connects,
            Count::Reuses => &self.reuses,
            Count::Ejections => &self.ejections,
            Count::Tunnels => &self.tunnels,
        }
    }

    /// Reads one count.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.cell(count).load(Ordering::Relaxed)
    }

    /// Failed attempts and broken answers, by reason, without the zeros.
    pub fn failures(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .iter()
            .zip(&self.failures)
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    pub(super) fn add(&self, count: Count) {
        self.cell(count).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_failure(&self, reason: Reason) {
        if let Some(at) = Reason::ALL.iter().position(|r| *r == reason) {
            self.failures[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}
