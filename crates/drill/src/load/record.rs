//! What came of every real request, and of the attack as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a real request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer, within its deadline.
    Right,
    /// An answer, but not the right one: its status.
    Refused(u16),
    /// The connection failed.
    Broken,
    /// Nothing right within the deadline.
    Late,
}

/// The best that a visitor got to see, whatever became of the request; better ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Got {
    /// No answer.
    #[default]
    Nothing,
    /// An error or a refusal that tells nothing of other ways.
    Error,
    /// A page or document that names other ways to do the same (header `guichet-contract`).
    Fallback,
    /// An earlier right answer, with its age.
    Stale,
    /// The right answer, from the service.
    Right,
}

/// One real request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// From its intended moment to its end, microseconds.
    pub latency_us: u64,
    /// The best that the client saw.
    pub got: Got,
    /// Whether the client met a refusal or an error on the way, even if a second attempt went well.
    pub met_refusal: bool,
}

impl Record {
    /// Whether the client got what it came for.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.outcome == Outcome::Right
    }
}

/// The attack, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AttackTally {
    /// Requests sent (connections, for the slow kinds and handshakes; streams, for rapid reset).
    pub sent: u64,
    /// Answers of 2xx and 3xx.
    pub answered_2xx: u64,
    /// Answers of the services themselves, whatever they say.
    pub reached: u64,
    /// Passes that attackers earned.
    pub passes: u64,
    /// Other answers.
    pub refused: u64,
    /// Connections refused, reset or timed out.
    pub errors: u64,
    /// Arrivals that found their source busy with earlier ones and were not sent.
    pub held_back: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections of slow kinds that the front ended.
    pub cut: u64,
    /// Sent in each second of the run.
    #[serde(skip)]
    pub sent_per_s: Vec<u32>,
}

/// What the load generator tells while it runs, for the progress bar; and how it is told to end.
#[derive(Debug, Default)]
pub struct Live {
    /// Real requests that are over.
    pub real_done: AtomicU64,
    /// Of these, with the right answer.
    pub real_right: AtomicU64,
    /// Attack requests sent.
    pub attack_sent: AtomicU64,
    cancelled: Arc<AtomicBool>,
}

impl Live {
    /// Figures of a run that ends when `stop` is set.
    #[must_use]
    pub fn sharing(stop: Arc<AtomicBool>) -> Self {
        Self { cancelled: stop, ..Self::default() }
    }

    /// Ends the run early.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the run is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
