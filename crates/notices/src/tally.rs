//! What was done for the page, counted: for whoever watches over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

/// Counts of one place where the page goes, or of one subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Editions published, or messages delivered.
    pub done: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages given up or dropped; none of places, which are tried for ever.
    pub lost: u64,
    /// When it last went well.
    pub last: Option<Timestamp>,
}

/// All counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Editions drawn.
    pub editions: u64,
    /// Revisions written to the journal, those by measurement among them.
    pub revisions: u64,
    /// By place where the page goes.
    pub places: BTreeMap<String, Count>,
    /// By host of the subscriber.
    pub webhooks: BTreeMap<String, Count>,
}

/// Shared by the threads that keep, publish and deliver. Bounded: places and subscribers are those of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    pub(crate) fn note(&self, with: impl FnOnce(&mut Counts)) {
        with(&mut self.0.lock());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

impl Count {
    /// A try: how it went.
    pub(crate) fn note(&mut self, went_well: bool) {
        if went_well {
            self.done += 1;
            self.last = Some(Timestamp::now());
        } else {
            self.failed += 1;
        }
    }
}
