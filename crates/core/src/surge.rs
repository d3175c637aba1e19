//! Surges of newcomers: spans of time in which far more sources appeared than usual.
//!
//! Whoever floods from new addresses brings them all at once; people come one by one. So a source that was born in a
//! surge comes after those that were there before and those that came when it was over. It is no verdict: in a crowd
//! everyone is born in the surge, so all are equal again; and it is forgotten after two minutes.

use core::time::Duration;

use crate::Moment;
use crate::bounds::SURGES_MAX;

/// For how long it matters when a source was born.
pub(crate) const TERM: Duration = Duration::from_secs(120);
/// A surge begins at this multiple of the usual births, beyond what chance makes of them.
const FACTOR: f32 = 4.0;
/// Births in one tick that are never a surge.
const BIRTHS_MIN: f32 = 8.0;
/// The usual is learned with this time constant, and believed after this long.
const LEARN_S: f32 = 60.0;
const LEARNED_S_MIN: f32 = 3.0;
/// A surge is over after this long without excess.
const QUIET: Duration = Duration::from_millis(300);
/// Births are reported late by up to a tick: a surge is taken to have begun this much earlier.
const LAG: Duration = Duration::from_millis(150);

/// Spans in which sources surged; the newest few.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surges {
    spans: [Option<(Moment, Moment)>; SURGES_MAX],
}

impl Surges {
    /// Whether a source of this age, now, was born in a surge that still matters.
    #[must_use]
    pub fn bore(&self, now: Moment, age: Duration) -> bool {
        if age >= TERM {
            return false;
        }
        let born = Moment(now.0.saturating_sub(age.as_micros() as u64));
        self.spans.iter().flatten().any(|(from, to)| *from <= born && born <= *to)
    }
}

/// Follows the births of sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct SurgeWatch {
    surges: Surges,
    usual_per_s: f32,
    learned_s: f32,
    /// The last tick with an excess, while a surge goes on.
    excess_at: Option<Moment>,
}

impl SurgeWatch {
    pub(crate) const fn surges(&self) -> Surges {
        self.surges
    }

    /// Takes in the births of a span. `calm`: no service is pressed, so that the usual may be learned.
    pub(crate) fn tick(&mut self, now: Moment, span: Duration, births: u32, calm: bool) {
        let span_s = span.as_secs_f32();
        let usual = self.usual_per_s * span_s;
        let bound = FACTOR * usual + 4.0 * usual.max(1.0).sqrt() + BIRTHS_MIN;
        let excess = self.learned_s >= LEARNED_S_MIN && births as f32 > bound;
        if excess {
            if self.excess_at.is_none() {
                self.open(Moment(now.0.saturating_sub((span + LAG).as_micros() as u64)));
            }
            self.excess_at = Some(now);
        } else if self.excess_at.is_some_and(|at| now.since(at) >= QUIET) {
            // Those born since the last excess came when it was over.
            self.close();
        }
        if calm && !excess {
            self.learned_s += span_s;
            let weight = (1.0 - (-span_s / LEARN_S).exp()).max(span_s / self.learned_s);
            self.usual_per_s += (births as f32 / span_s - self.usual_per_s) * weight.min(1.0);
        }
    }

    fn open(&mut self, from: Moment) {
        self.surges.spans.rotate_right(1);
        self.surges.spans[0] = Some((from, Moment(u64::MAX)));
    }

    fn close(&mut self) {
        if let (Some((_, to)), Some(at)) = (&mut self.surges.spans[0], self.excess_at) {
            *to = at;
        }
        self.excess_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Moment {
        Moment(ms * 1000)
    }

    /// Ten seconds of two births a tick, then 300 a tick for half a second, then two again.
    fn flooded() -> SurgeWatch {
        let mut watch = SurgeWatch::default();
        for tick in 1..=200u64 {
            let flood = (101..=105).contains(&tick);
            watch.tick(at(tick * 100), TICK, if flood { 300 } else { 2 }, !flood);
        }
        watch
    }

    #[test]
    fn who_came_before_and_after_a_surge_is_not_of_it() {
        let surges = flooded().surges();
        let now = at(20_000);
        let born_at = |ms: u64| surges.bore(now, now.since(at(ms)));
        assert!(!born_at(5_000));
        assert!(!born_at(9_700));
        assert!(born_at(10_050), "also those born before the first report");
        assert!(born_at(10_400));
        assert!(!born_at(10_900));
        assert!(!born_at(19_000));
    }

    #[test]
    fn while_a_surge_goes_on_all_newborn_are_of_it_and_in_time_it_is_forgotten() {
        let mut watch = flooded();
        watch.tick(at(20_100), TICK, 500, false);
        assert!(watch.surges().bore(at(20_150), Duration::ZERO));
        let surges = flooded().surges();
        assert!(!surges.bore(at(10_400).after(TERM), TERM));
    }

    #[test]
    fn chance_and_growth_by_half_are_no_surge() {
        let mut watch = SurgeWatch::default();
        for tick in 1..=600u64 {
            let births = [0, 1, 3, 6, 2, 0, 4, 9][tick as usize % 8] * if tick > 300 { 3 } else { 2 } / 2;
            watch.tick(at(tick * 100), TICK, births, true);
        }
        assert_eq!(watch.surges(), Surges::default());
    }

    #[test]
    fn many_surges_keep_within_the_bound() {
        let mut watch = flooded();
        for tick in 201..3_000u64 {
            watch.tick(at(tick * 100), TICK, if tick % 10 == 0 { 900 } else { 1 }, false);
        }
        assert_eq!(watch.surges().spans.len(), SURGES_MAX);
        assert!(watch.surges().bore(at(299_950), Duration::from_millis(950)));
    }
}
