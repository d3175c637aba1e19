//! Whether a service is up, by what was seen of it: with hysteresis, so that a state is not left for one good or bad moment.

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
    /// It does not.
    Down,
    /// It was down and answers again, and is watched: one relapse and it is down.
    Recovering,
}

/// A relapse doubles the time until good news is believed again, up to so many times.
const RELAPSE_DOUBLINGS: u32 = 6;
/// That time after the first relapse.
const RELAPSE_WAIT: Duration = Duration::from_secs(1);

/// The health of one service. Pure: time is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthMachine {
    health: Health,
    since: Moment,
    /// Begin and latest moment of the run of evidence against the state.
    run: Option<(Moment, Moment)>,
    relapses: u32,
    believes_after: Moment,
}

impl HealthMachine {
    /// Up, until something else is seen.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self { health: Health::Up, since: now, run: None, relapses: 0, believes_after: Moment(0) }
    }

    /// The present health.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Since when it is up, or since when it was first down.
    #[must_use]
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// Takes in what was seen since the last call.
    pub fn note(&mut self, now: Moment, seen: Seen, patience: &Patience) -> Health {
        let verdict = seen.verdict();
        match self.health {
            Health::Up => self.note_up(now, verdict, patience),
            Health::Down => {
                if verdict == Verdict::Good && now >= self.believes_after {
                    self.health = Health::Recovering;
                    self.run = Some((now, now));
                }
            }
            Health::Recovering => self.note_recovering(now, verdict, patience),
        }
        self.health
    }

    fn note_up(&mut self, now: Moment, verdict: Verdict, patience: &Patience) {
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

    fn note_recovering(&mut self, now: Moment, verdict: Verdict, patience: &Patience) {
        match verdict {
            Verdict::Bad => {
                let wait = RELAPSE_WAIT.saturating_mul(1 << self.relapses.min(RELAPSE_DOUBLINGS));
                self.relapses = self.relapses.saturating_add(1);
                self.believes_after = now.after(wait);
                self.health = Health::Down;
                self.run = None;
            }
            Verdict::Mixed => self.run = Some((now, now)),
            // Silence is no evidence against it: nobody may be there to ask at night.
            Verdict::Good | Verdict::Nothing => {
                let begun = self.run.map_or(now, |(begun, _)| begun);
                if now.since(begun) >= patience.up_after {
                    *self = Self { health: Health::Up, since: now, run: None, relapses: 0, believes_after: now };
                }
            }
        }
    }
}
