//! What is measured: from counters that only grow to a condition that does not flutter.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::bounds::GOODPUT_S_MAX;
use crate::model::{Condition, Measured, Words};

/// Seconds that decide what the condition is now.
const RECENT_S: usize = 10;
/// Seconds in a row that must be bad before a service is called so.
const WORSE_AFTER_S: u32 = 2;
/// As many while a service comes back: its first answers are few, and whoever asks beyond that counts against it.
const WORSE_AFTER_COMING_BACK_S: u32 = 10;
/// Seconds in a row that must be better before a service is called so.
const BETTER_AFTER_S: u32 = 4;
/// What is better now must not wait until what was bad has left the [`RECENT_S`]: it is judged by the last seconds that
/// hold so many requests, and at least by so many seconds.
const ENOUGH_TO_BE_BETTER: u64 = 20;
const BETTER_S_MIN: usize = 2;
/// Fewer requests than this in [`RECENT_S`] say nothing.
const REQUESTS_MIN: u64 = 4;
/// Below this share of good answers a service does not work.
const DOWN_BELOW: f64 = 0.5;
/// Below this share of good answers it works for many only; a service that is degraded must be above the second.
const DEGRADED_BELOW: f64 = 0.95;
const WELL_ABOVE: f64 = 0.98;

/// What the door knows of a service at one moment. Counts begin with the process and only grow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Requests that the service answered.
    pub answered: u64,
    /// Requests that it should have answered and did not.
    pub failed: u64,
    /// Whether a server of it can be asked at all.
    pub reachable: bool,
    /// What the operator or the door put in its place, if anything.
    pub switched: Option<Switched>,
}

/// What is served in place of the service's own answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Switched {
    /// What one sees of it.
    pub condition: Condition,
    /// Why, where somebody said so.
    pub because: Words,
}

/// The watch over one service. It is fed once a second.
#[derive(Debug, Clone)]
pub struct Watch {
    seconds: VecDeque<(u64, u64)>,
    former: Option<Reading>,
    /// Of these seconds, the last so many tell how it does now: what was counted while something stood in its place, or
    /// nothing answered, does not.
    told_s: usize,
    /// It was away, and has not been well since.
    comes_back: bool,
    condition: Condition,
    since: Timestamp,
    /// Readings in a row that were worse and better than the condition.
    worse: u32,
    better: u32,
    because: Words,
}

impl Watch {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            seconds: VecDeque::with_capacity(GOODPUT_S_MAX),
            former: None,
            told_s: 0,
            comes_back: false,
            condition: Condition::Unknown,
            since: now,
            worse: 0,
            better: 0,
            because: Words::default(),
        }
    }

    /// Takes in a second's reading; whether the condition changed.
    pub fn take(&mut self, reading: &Reading, now: Timestamp) -> bool {
        let former = self.former.replace(reading.clone()).unwrap_or_else(|| reading.clone());
        if self.seconds.len() >= GOODPUT_S_MAX {
            self.seconds.pop_front();
        }
        // Counters that went back began anew, as after a restart.
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        self.seconds.push_back((grown(reading.answered, former.answered), grown(reading.failed, former.failed)));
        let away = |reading: &Reading| reading.switched.is_some() || !reading.reachable;
        if away(reading) {
            (self.told_s, self.comes_back) = (0, true);
        } else if !away(&former) {
            self.told_s = (self.told_s + 1).min(RECENT_S);
        }
        let seen = self.seen(reading);
        let because = reading.switched.as_ref().map(|switched| switched.because.clone()).unwrap_or_default();
        let changed = self.settle(seen, reading, now);
        let said = because != self.because;
        self.because = because;
        changed || said
    }

    /// What this second looks like.
    fn seen(&self, reading: &Reading) -> Condition {
        if let Some(switched) = &reading.switched {
            return switched.condition;
        }
        if !reading.reachable {
            return Condition::Down;
        }
        let latest = self.latest();
        // One failure among so few tells nothing.
        let well =
            |(answered, failed): (u64, u64)| failed <= 1 || answered as f64 >= WELL_ABOVE * (answered + failed) as f64;
        if self.condition != Condition::Works && latest.is_some_and(well) {
            return Condition::Works;
        }
        // What comes back is judged by how it does now, not by its first answers.
        let (answered, failed) = latest.filter(|_| self.comes_back).unwrap_or_else(|| self.over(self.told_s));
        if answered + failed < REQUESTS_MIN {
            return Condition::Works;
        }
        let share = answered as f64 / (answered + failed) as f64;
        let well = if self.condition == Condition::Works { DEGRADED_BELOW } else { WELL_ABOVE };
        if share < DOWN_BELOW {
            Condition::Down
        } else if share < well {
            Condition::Degraded
        } else {
            Condition::Works
        }
    }

    /// What the last seconds brought, as few of them as tell enough; `None` where all that tell are too few.
    fn latest(&self) -> Option<(u64, u64)> {
        let spans = (BETTER_S_MIN..=self.told_s).map(|seconds| self.over(seconds));
        spans.into_iter().find(|(answered, failed)| answered + failed >= ENOUGH_TO_BE_BETTER)
    }

    fn settle(&mut self, seen: Condition, reading: &Reading, now: Timestamp) -> bool {
        let (switched, reachable) = (reading.switched.is_some(), reading.reachable);
        if seen == self.condition {
            (self.worse, self.better) = (0, 0);
            return false;
        }
        if seen.impact() > self.condition.impact() {
            (self.worse, self.better) = (self.worse + 1, 0);
        } else {
            (self.worse, self.better) = (0, self.better + 1);
        }
        let worse_after = if self.comes_back && reachable { WORSE_AFTER_COMING_BACK_S } else { WORSE_AFTER_S };
        // What was switched was thought over already; and the first that is known at all holds at once.
        let settled = switched
            || (self.condition == Condition::Unknown && seen == Condition::Works)
            || self.worse >= worse_after
            || self.better >= BETTER_AFTER_S;
        if settled {
            // Whoever knew nothing learned nothing new by hearing that all is well.
            if self.condition != Condition::Unknown || seen != Condition::Works {
                self.since = now;
            }
            self.condition = seen;
            self.comes_back &= seen != Condition::Works;
            (self.worse, self.better) = (0, 0);
        }
        settled
    }

    fn over(&self, seconds: usize) -> (u64, u64) {
        self.seconds.iter().rev().take(seconds).fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1))
    }

    /// What is measured now.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let (answered, failed) = self.over(GOODPUT_S_MAX);
        let requests = answered + failed;
        Measured {
            condition: self.condition,
            since: self.since,
            goodput: (requests > 0).then(|| answered as f64 / requests as f64),
            requests,
            because: self.because.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds readings of (answered a second, failed a second, reachable) for some seconds each, and names the
    /// conditions that follow.
    fn check(steps: &[(u64, u64, bool, u32)], wanted: &[&str]) {
        let mut watch = Watch::new(Timestamp::UNIX_EPOCH);
        let mut reading = Reading { reachable: true, ..Reading::default() };
        let mut conditions = Vec::new();
        let mut second = 0;
        for (answered, failed, reachable, seconds) in steps {
            for _ in 0..*seconds {
                second += 1;
                reading.answered += answered;
                reading.failed += failed;
                reading.reachable = *reachable;
                if watch.take(&reading, Timestamp::from_second(second).unwrap()) {
                    conditions.push(watch.measured().condition.name());
                }
            }
        }
        assert_eq!(conditions, wanted, "{steps:?}");
    }

    #[test]
    fn a_condition_follows_and_does_not_flutter() {
        check(&[(10, 0, true, 30)], &["works"]);
        // Nobody asks: nothing is wrong.
        check(&[(0, 0, true, 30)], &["works"]);
        check(&[(10, 0, true, 5), (0, 0, false, 2)], &["works", "down"]);
        // One bad second is none.
        check(&[(10, 0, true, 5), (0, 0, false, 1), (10, 0, true, 20)], &["works"]);
        check(&[(10, 0, true, 20), (0, 0, false, 10), (10, 0, true, 20)], &["works", "down", "works"]);
        // It comes and goes: it is down until it stays.
        let mut steps = vec![(0, 0, true, 3), (0, 0, false, 3)];
        for _ in 0..10 {
            steps.extend([(0, 0, true, 3), (0, 0, false, 1)]);
        }
        check(&steps, &["works", "down"]);
        // A tenth fails.
        check(&[(10, 0, true, 20), (9, 1, true, 60)], &["works", "degraded"]);
        // All fail though the server can be reached.
        check(&[(0, 0, true, 3), (0, 10, true, 20)], &["works", "down"]);
        // Two failures in a quiet hour say nothing.
        check(&[(0, 0, true, 10), (0, 1, true, 2), (0, 0, true, 10)], &["works"]);
    }

    #[test]
    fn it_is_better_as_soon_as_enough_was_well() {
        let seconds_until_works = |per_s: u64| {
            let mut watch = Watch::new(Timestamp::UNIX_EPOCH);
            let mut reading = Reading { reachable: true, ..Reading::default() };
            for _ in 0..20 {
                reading.failed += per_s;
                watch.take(&reading, Timestamp::UNIX_EPOCH);
            }
            assert_eq!(watch.measured().condition, Condition::Down);
            (1..40).find(|_| {
                reading.answered += per_s;
                watch.take(&reading, Timestamp::UNIX_EPOCH);
                watch.measured().condition == Condition::Works
            })
        };
        assert_eq!(seconds_until_works(20), Some(2 + 3), "two seconds tell enough, and it must stay so");
        assert_eq!(seconds_until_works(6), Some(4 + 3), "where fewer ask, it takes longer");
        assert_eq!(seconds_until_works(1), Some(10 + 3));
    }

    #[test]
    fn what_was_counted_while_it_was_away_does_not_tell_how_it_does_now() {
        let mut watch = Watch::new(Timestamp::UNIX_EPOCH);
        let mut reading = Reading { reachable: true, ..Reading::default() };
        let mut second = |reading: &mut Reading, answered, failed, switched: Option<Condition>| {
            (reading.answered, reading.failed) = (reading.answered + answered, reading.failed + failed);
            let because = Words::default();
            reading.switched = switched.map(|condition| Switched { condition, because: because.clone() });
            watch.take(reading, Timestamp::UNIX_EPOCH);
            watch.measured().condition
        };
        for _ in 0..10 {
            assert_eq!(second(&mut reading, 50, 0, None), Condition::Works);
        }
        for _ in 0..20 {
            assert_eq!(second(&mut reading, 0, 900, Some(Condition::Stale)), Condition::Stale);
        }
        // It comes back by degrees: most who ask are still told to wait.
        for _ in 0..3 {
            assert_eq!(second(&mut reading, 30, 600, None), Condition::Stale, "not worse than it was");
        }
        let well = (1..20).find(|_| second(&mut reading, 50, 0, None) == Condition::Works);
        assert_eq!(well, Some(2 + 3));
        // And where it does not come back, that is told.
        second(&mut reading, 0, 900, Some(Condition::Stale));
        let down = (1..20).find(|_| second(&mut reading, 1, 90, None) == Condition::Down);
        assert_eq!(down, Some(11));
    }

    #[test]
    fn goodput_is_of_the_last_minutes() {
        let mut watch = Watch::new(Timestamp::UNIX_EPOCH);
        let mut reading = Reading { reachable: true, ..Reading::default() };
        for second in 0..1000 {
            reading.answered += 3;
            reading.failed += u64::from(second >= 900);
            watch.take(&reading, Timestamp::UNIX_EPOCH);
        }
        let measured = watch.measured();
        assert_eq!(measured.requests, 300 * 3 + 100);
        assert!((measured.goodput.unwrap() - 0.9).abs() < 1e-9);
        // The process begins anew.
        reading = Reading { reachable: true, ..Reading::default() };
        watch.take(&reading, Timestamp::UNIX_EPOCH);
        assert!(watch.measured().requests <= 300 * 3 + 100);
    }

    #[test]
    fn what_is_ordered_holds_at_once() {
        let mut watch = Watch::new(Timestamp::UNIX_EPOCH);
        let well = Reading { reachable: true, ..Reading::default() };
        watch.take(&well, Timestamp::UNIX_EPOCH);
        let because = Words::new("travaux", "works");
        let switched = Switched { condition: Condition::ReadOnly, because: because.clone() };
        assert!(watch.take(&Reading { switched: Some(switched), ..well.clone() }, Timestamp::UNIX_EPOCH));
        assert_eq!(watch.measured().condition, Condition::ReadOnly);
        assert_eq!(watch.measured().because, because);
    }
}
