//! From rates to a verdict, with hysteresis.

use std::collections::BTreeMap;
use std::time::Duration;

use super::measure::{Measure, Subject, measures};
use super::rates::{Rates, Samples};
use super::sample::Sample;
use crate::Moment;

/// When something counts as full.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Over how long rates are taken.
    pub window: Duration,
    /// Share of its declared rate from which a line is full.
    pub line_full: f64,
    /// Share of use from which processors, memory and the table of connections are full.
    pub host_full: f64,
    /// Packets or connections lost a second from which a queue is full.
    pub losses_per_s: f64,
    /// Share of a card's packets that must be lost too.
    pub losses_share: f64,
    /// Share of the usual demand that must be missing before traffic is said not to arrive.
    pub demand_missing: f64,
    /// The least usual demand, requests a second, whose absence means anything.
    pub demand_least_s: f64,
    /// How long something must be full before it is said.
    pub hold: Duration,
    /// How long it must be well below before it is over.
    pub release: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3),
            line_full: 0.9,
            host_full: 0.95,
            losses_per_s: 10.0,
            losses_share: 0.01,
            demand_missing: 0.9,
            demand_least_s: 1.0,
            hold: Duration::from_secs(3),
            release: Duration::from_secs(10),
        }
    }
}

/// Where the trouble is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Nothing was measured yet.
    #[default]
    Unknown,
    /// The line is full: nothing behind it can help.
    Line,
    /// This host is full.
    Host,
    /// A service is full, or away.
    Service,
    /// Nothing is wrong here.
    Elsewhere,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 5] = [Self::Unknown, Self::Line, Self::Host, Self::Service, Self::Elsewhere];

    /// The name used in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Line => "line_full",
            Self::Host => "host_full",
            Self::Service => "service_full",
            Self::Elsewhere => "nothing_wrong",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Where the trouble is.
    pub place: Place,
    /// What is full there, the fullest first; empty where nothing is.
    pub causes: Vec<Measure>,
    /// Everything that was measured.
    pub evidence: Vec<Measure>,
    /// The rates behind it.
    pub rates: Rates,
    /// Since when the trouble is in this place.
    pub since: Moment,
}

impl Verdict {
    /// Whether the flood comes through a line that is full on the way in: the case for another ingress and for help from
    /// the provider.
    #[must_use]
    pub fn line_in_full(&self) -> bool {
        let inward = |m: &Measure| matches!(m.subject, Subject::LineIn(_) | Subject::PacketsIn(_));
        self.place == Place::Line && self.causes.iter().any(inward)
    }
}

/// Turns samples into verdicts.
#[derive(Debug, Default)]
pub struct Judge {
    limits: Limits,
    samples: Samples,
    latches: BTreeMap<Subject, Latch>,
    usual: Usual,
    verdict: Verdict,
}

impl Judge {
    /// A judge that has seen nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits from now on; what was seen stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The last verdict.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Takes a sample in; whether the place of the trouble or what is full changed.
    pub fn take(&mut self, sample: Sample) -> bool {
        let now = sample.at;
        let Some(rates) = self.samples.take(sample.clone(), self.limits.window) else { return false };
        let usual = self.usual.take(now, rates.requests_s).filter(|usual| *usual >= self.limits.demand_least_s);
        let evidence = measures(&sample, &rates, usual, &self.limits);
        // What cannot be measured any more is not full any more: nobody could say so.
        self.latches.retain(|subject, _| evidence.iter().any(|m| m.subject == *subject));
        for measure in &evidence {
            let (enter, leave) = self.band(&measure.subject);
            let latch = self.latches.entry(measure.subject.clone()).or_default();
            latch.take(now, measure.share, enter, leave, (self.limits.hold, self.limits.release));
        }
        let on = |m: &&Measure| self.latches.get(&m.subject).is_some_and(|latch| latch.on);
        let full: Vec<&Measure> = evidence.iter().filter(on).collect();
        let place = full.iter().map(|m| m.subject.place()).min().unwrap_or(Place::Elsewhere);
        // While something nearer the world fills up, nothing behind it is blamed: the last verdict stays until it is known.
        if self.filling().is_some_and(|nearer| nearer < place) {
            self.verdict = Verdict { evidence, rates, ..std::mem::take(&mut self.verdict) };
            return false;
        }
        let mut causes: Vec<Measure> = full.into_iter().filter(|m| m.subject.place() == place).cloned().collect();
        causes.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.subject.cmp(&b.subject)));
        let mut names: Vec<_> = causes.iter().map(|m| &m.subject).collect();
        let mut before: Vec<_> = self.verdict.causes.iter().map(|m| &m.subject).collect();
        names.sort();
        before.sort();
        let moved = place != self.verdict.place;
        let changed = moved || names != before;
        let since = if moved { now } else { self.verdict.since };
        self.verdict = Verdict { place, causes, evidence, rates, since };
        changed
    }

    /// The place nearest to the world where something has been full, though not yet for long enough.
    fn filling(&self) -> Option<Place> {
        let filling = self.latches.iter().filter(|(_, latch)| !latch.on && latch.turning.is_some());
        filling.map(|(subject, _)| subject.place()).min()
    }

    /// The share from which a subject is full, and below which it is not any more.
    fn band(&self, subject: &Subject) -> (f64, f64) {
        let enter = match subject {
            Subject::LineIn(_) | Subject::LineOut(_) | Subject::PacketsIn(_) | Subject::PacketsOut(_) => {
                self.limits.line_full
            }
            Subject::Processors | Subject::Memory | Subject::Conntrack => self.limits.host_full,
            Subject::AcceptQueue | Subject::SynQueue | Subject::PacketQueue | Subject::CardQueue(_) => 1.0,
            Subject::Service(_) | Subject::Away(_) => 1.0,
            Subject::Demand => self.limits.demand_missing,
        };
        (enter, enter * LEAVE)
    }
}

/// What is full stays so until it is below this part of where it began.
const LEAVE: f64 = 0.85;

/// Whether one subject is full.
#[derive(Debug, Default)]
struct Latch {
    on: bool,
    /// Since when the other state has been wanted.
    turning: Option<Moment>,
}

impl Latch {
    fn take(&mut self, now: Moment, share: f64, enter: f64, leave: f64, (hold, release): (Duration, Duration)) {
        let (wanted, patience) = if self.on { (share >= leave, release) } else { (share >= enter, hold) };
        if wanted == self.on {
            self.turning = None;
            return;
        }
        let since = *self.turning.get_or_insert(now);
        if now.since(since) >= patience {
            self.on = wanted;
            self.turning = None;
        }
    }
}

/// What demand is usual: a slow mean of the last minutes.
#[derive(Debug, Default)]
struct Usual {
    mean_s: f64,
    began: Option<Moment>,
    last: Moment,
}

/// Time constant of the usual demand: what falls and stays is usual after half an hour.
const USUAL_S: f64 = 600.0;
/// Before this long nothing is usual yet.
const LEARNT: Duration = Duration::from_secs(60);

impl Usual {
    /// The usual demand before this moment.
    fn take(&mut self, now: Moment, rate_s: Option<f64>) -> Option<f64> {
        let rate_s = rate_s?;
        let began = *self.began.get_or_insert(now);
        let usual = (now.since(began) >= LEARNT).then_some(self.mean_s);
        let age_s = now.since(began).as_secs_f64();
        let span_s = now.since(self.last.max(began)).as_secs_f64();
        // At first a plain mean of what there was, so that the start is not taken for calm.
        let weight = if age_s <= 0.0 { 1.0 } else { (span_s / age_s.min(USUAL_S)).clamp(0.0, 1.0) };
        self.mean_s += weight * (rate_s - self.mean_s);
        self.last = now;
        usual
    }
}
