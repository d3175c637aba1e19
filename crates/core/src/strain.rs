//! Strain: whether this node's own processors are full, told by how late its workers come to what was due.
//!
//! A service can be spared by a mitigation while the node itself is not: each page that says no costs a handshake. So what
//! a connection tells by its ClientHello alone is then refused by it.

use core::time::Duration;

use crate::Moment;

/// How late workers came to what was due, over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Sum over all looks, in microseconds.
    pub sum_us: u64,
    /// How often it was looked at.
    pub looks: u32,
}

impl Lateness {
    /// Counts one look: something was done so long after it was due.
    pub const fn note(&mut self, late: Duration) {
        self.sum_us = self.sum_us.saturating_add(late.as_micros() as u64);
        self.looks = self.looks.saturating_add(1);
    }

    /// Adds those of another worker.
    pub const fn merge(&mut self, other: &Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.looks = self.looks.saturating_add(other.looks);
    }

    /// The mean, in seconds; `None` where nobody looked.
    #[must_use]
    pub fn mean_s(&self) -> Option<f32> {
        (self.looks > 0).then(|| self.sum_us as f32 / 1e6 / self.looks as f32)
    }
}

/// A node is strained from this mean lateness on; timers themselves are late by up to a millisecond.
const STRAINED_S: f32 = 0.005;
/// The mean is taken with this time constant.
const FOLLOW_S: f32 = 0.4;
/// It stays strained for this long after it was last: what relieves it must not be taken back at once.
const HOLD: Duration = Duration::from_secs(5);

/// How this node itself fares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Strain {
    /// How late its workers came to what was due, lately, in seconds.
    pub late_s: f32,
    /// Whether its processors are full.
    pub strained: bool,
}

/// Follows the lateness of a node's workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StrainWatch {
    late_s: f32,
    last_at: Option<Moment>,
}

impl StrainWatch {
    pub(crate) fn tick(&mut self, now: Moment, span: Duration, seen: &Lateness) {
        let Some(mean_s) = seen.mean_s() else { return };
        let weight = 1.0 - (-span.as_secs_f32() / FOLLOW_S).exp();
        self.late_s += (mean_s - self.late_s) * weight;
        if self.late_s >= STRAINED_S {
            self.last_at = Some(now);
        }
    }

    pub(crate) fn is_strained(&self, now: Moment) -> bool {
        self.last_at.is_some_and(|at| now.since(at) < HOLD)
    }

    pub(crate) fn strain(&self, now: Moment) -> Strain {
        Strain { late_s: self.late_s, strained: self.is_strained(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn after(watch: &mut StrainWatch, from_tick: u64, ticks: u64, late_us: u64) -> Moment {
        let mut seen = Lateness::default();
        (0..5).for_each(|_| seen.note(Duration::from_micros(late_us)));
        (from_tick..from_tick + ticks).for_each(|tick| watch.tick(Moment(tick * 100_000), TICK, &seen));
        Moment((from_tick + ticks - 1) * 100_000)
    }

    #[test]
    fn it_is_strained_while_workers_are_late_and_for_a_while_after() {
        let mut watch = StrainWatch::default();
        let now = after(&mut watch, 0, 50, 1_000);
        assert!(!watch.is_strained(now), "a timer's own lateness is none");
        let now = after(&mut watch, 50, 1, 15_000);
        assert!(!watch.is_strained(now), "one late tick is none");
        let now = after(&mut watch, 51, 20, 15_000);
        assert!(watch.is_strained(now));
        let now = after(&mut watch, 71, 30, 1_000);
        assert!(watch.is_strained(now), "it holds");
        let now = after(&mut watch, 101, 50, 1_000);
        assert!(!watch.is_strained(now), "and is over");
    }

    #[test]
    fn workers_count_by_their_looks_and_none_tells_nothing() {
        let (mut a, mut b) = (Lateness::default(), Lateness::default());
        a.note(Duration::from_millis(4));
        b.note(Duration::from_millis(1));
        b.note(Duration::from_millis(1));
        a.merge(&b);
        assert_eq!(a.mean_s(), Some(0.002));
        assert_eq!(Lateness::default().mean_s(), None);
        let mut watch = StrainWatch::default();
        let now = after(&mut watch, 0, 20, 50_000);
        watch.tick(now, TICK, &Lateness::default());
        assert!(watch.is_strained(now));
    }
}
