//! Whether a service is up, by what was seen of it: with hysteresis, so that a state is not left for one good or bad moment.
//!
//! What real requests met decides; an active check counts only where nobody asks. A service that leaves a part of its
//! requests without an answer is *failing* within a second, long before it counts as down: then nobody waits for it longer
//! than its answers usually take. One that was down is let in on by degrees.

use core::time::Duration;

use crate::Moment;

/// How long evidence must last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long most answers are failures until the service is down.
    pub down_after: Duration,
    /// How long nearly all answers are good until it is up again.
    pub up_after: Duration,
}

/// What was seen of a service in one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that it answered.
    pub good: u64,
    /// Requests that it failed.
    pub bad: u64,
    /// What an active check found, if there was one. It counts only where no request was seen.
    pub checked: Option<bool>,
}

/// What that speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Mixed,
    Bad,
    Nothing,
}

impl Seen {
    const fn verdict(self) -> Verdict {
        let all = self.good.saturating_add(self.bad);
        match (all, self.checked) {
            (0, None) => Verdict::Nothing,
            (0, Some(true)) => Verdict::Good,
            (0, Some(false)) => Verdict::Bad,
            _ if self.bad > all / 2 => Verdict::Bad,
            _ if self.bad <= all / 10 => Verdict::Good,
            _ => Verdict::Mixed,
        }
    }
}

/// Whether a service is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// A part of what it is asked fails, or is late: it is asked on, and nobody waits for it longer than is usual.
    Failing,
    /// It does not answer.
    Down,
    /// It was down and answers again, and is watched: one relapse and it is down.
    Recovering,
}

/// A relapse doubles the time until good news is believed again, up to so many times.
const RELAPSE_DOUBLINGS: u32 = 3;
/// That time after the first relapse.
const RELAPSE_WAIT: Duration = Duration::from_secs(1);
/// What was seen fades with this time constant.
const FADES_S: f32 = 2.0;
/// It is failing from this many failures and this share of all on, until they are fewer than these.
const FAILING_MIN: f32 = 1.5;
const FAILING_SHARE: f32 = 0.2;
const WELL_SHARE: f32 = 0.05;
const WELL_MAX: f32 = 0.2;
/// Who is let in first after it was down, and how long until these are twice as many.
const SHARE_FIRST: f32 = 0.125;
const SHARE_DOUBLES_S: f32 = 0.4;

/// What was seen lately, fading.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lately {
    at: Moment,
    good: f32,
    bad: f32,
}

impl Lately {
    const fn none(now: Moment) -> Self {
        Self { at: now, good: 0.0, bad: 0.0 }
    }

    fn add(&mut self, now: Moment, seen: Seen) {
        let kept = (-now.since(self.at).as_secs_f32() / FADES_S).exp();
        self.at = self.at.max(now);
        self.good = self.good * kept + seen.good as f32;
        self.bad = self.bad * kept + seen.bad as f32;
    }

    /// Whether too much fails. `already`: it did before.
    fn is_failing(&self, already: bool) -> bool {
        let all = self.good + self.bad;
        if already {
            return self.bad >= WELL_MAX && self.bad >= WELL_SHARE * all;
        }
        self.bad >= FAILING_MIN && self.bad >= FAILING_SHARE * all
    }

    /// Whether nearly all fails, of enough to tell.
    fn is_hopeless(&self) -> bool {
        self.bad >= FAILING_MIN && self.bad > 2.0 * self.good
    }
}

/// The health of one service. Pure: time is an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthMachine {
    health: Health,
    since: Moment,
    /// Begin and latest moment of the run of evidence against the state.
    run: Option<(Moment, Moment)>,
    lately: Lately,
    recovering_since: Moment,
    relapses: u32,
    believes_after: Moment,
}

impl HealthMachine {
    /// Up, until something else is seen.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            health: Health::Up,
            since: now,
            run: None,
            lately: Lately::none(now),
            recovering_since: now,
            relapses: 0,
            believes_after: Moment(0),
        }
    }

    /// The present health.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Since when it is up or failing, or since when it was first down.
    #[must_use]
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// The part of its visitors that may ask it, 0 to 1: nobody while it is down, more and more while it recovers, so that
    /// those who waited do not all come at once to a service that has just started.
    #[must_use]
    pub fn share(&self, now: Moment) -> f32 {
        match self.health {
            Health::Up | Health::Failing => 1.0,
            Health::Down => 0.0,
            Health::Recovering => {
                let passed_s = now.since(self.recovering_since).as_secs_f32();
                (SHARE_FIRST * (passed_s / SHARE_DOUBLES_S).exp2()).min(1.0)
            }
        }
    }

    /// Takes in what was seen since the last call.
    pub fn note(&mut self, now: Moment, seen: Seen, patience: &Patience) -> Health {
        let verdict = seen.verdict();
        self.lately.add(now, seen);
        match self.health {
            Health::Up | Health::Failing => self.note_up(now, verdict, patience),
            Health::Down => {
                if verdict == Verdict::Good && now >= self.believes_after {
                    self.health = Health::Recovering;
                    self.run = Some((now, now));
                    self.lately = Lately::none(now);
                    self.recovering_since = now;
                }
            }
            Health::Recovering => self.note_recovering(now, verdict, seen, patience),
        }
        self.health
    }

    fn note_up(&mut self, now: Moment, verdict: Verdict, patience: &Patience) {
        let failing = self.lately.is_failing(self.health == Health::Failing);
        self.health = if failing { Health::Failing } else { Health::Up };
        match verdict {
            Verdict::Good => self.run = None,
            Verdict::Bad => {
                // Failures with long silence between them are no run.
                let silence_max = patience.down_after.saturating_mul(2);
                let begun =
                    self.run.filter(|(_, last)| now.since(*last) <= silence_max).map_or(now, |(begun, _)| begun);
                self.run = Some((begun, now));
                if now.since(begun) >= patience.down_after {
                    self.health = Health::Down;
                    self.since = begun;
                    self.run = None;
                }
            }
            Verdict::Mixed | Verdict::Nothing => {}
        }
    }

    fn note_recovering(&mut self, now: Moment, verdict: Verdict, seen: Seen, patience: &Patience) {
        match verdict {
            // One request that fails is no relapse, where so few are let in.
            Verdict::Bad if seen.good + seen.bad == 0 || self.lately.is_hopeless() => {
                let wait = RELAPSE_WAIT.saturating_mul(1 << self.relapses.min(RELAPSE_DOUBLINGS));
                self.relapses = self.relapses.saturating_add(1);
                self.believes_after = now.after(wait);
                self.health = Health::Down;
                self.run = None;
            }
            Verdict::Bad | Verdict::Mixed => self.run = Some((now, now)),
            // Silence is no evidence against it: nobody may be there to ask at night.
            Verdict::Good | Verdict::Nothing => {
                let begun = self.run.map_or(now, |(begun, _)| begun);
                if now.since(begun) >= patience.up_after {
                    *self = Self { since: now, believes_after: now, ..Self::new(now) };
                }
            }
        }
    }
}
