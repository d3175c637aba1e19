//! What a simulation saw.

use std::collections::BTreeMap;

use super::Scenario;
use crate::Reason;
use crate::bounds::SIM_BROKEN_KEPT_MAX;

/// Part of a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The first seconds, in which the core learns: not judged.
    Warm,
    /// Before the attack.
    Before,
    /// Until three seconds after all of it is at its full strength.
    Onset,
    /// Steady attack.
    Attack,
    /// Its end and two seconds more.
    Ebb,
    /// After it.
    After,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 6] = [Self::Warm, Self::Before, Self::Onset, Self::Attack, Self::Ebb, Self::After];

    /// The phase at this second.
    #[must_use]
    pub fn at(scenario: &Scenario, at_s: f64) -> Self {
        let (from, to) = scenario.attack_s;
        match at_s {
            t if t < from / 2.0 => Self::Warm,
            t if t < from => Self::Before,
            // An adapting attack begins anew with other sources every ten seconds.
            t if t < scenario.full_s().max(from) + 3.0 => Self::Onset,
            t if t < to && scenario.adapts() && (t - from) % 10.0 < 3.0 => Self::Onset,
            t if t < to - 2.0 => Self::Attack,
            t if t < to + 2.0 => Self::Ebb,
            _ => Self::After,
        }
    }
}

/// Counts of one population in one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests sent.
    pub sent: u64,
    /// Right answers within the deadline.
    pub good: u64,
    /// Right answers that came too late.
    pub late: u64,
    /// Failures of the upstream.
    pub failed: u64,
    /// Requests judged to be of a suspect source.
    pub suspect: u64,
    /// Refusals, by reason.
    pub refused: BTreeMap<Reason, u64>,
}

impl Count {
    /// The part of the requests that got a right answer in time; 1 without any request.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        if self.sent == 0 { 1.0 } else { self.good as f64 / self.sent as f64 }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.good += other.good;
        self.late += other.late;
        self.failed += other.failed;
        self.suspect += other.suspect;
        for (reason, n) in &other.refused {
            *self.refused.entry(*reason).or_default() += n;
        }
    }
}

/// What one or more nodes saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By population and phase.
    pub counts: BTreeMap<(usize, Phase), Count>,
    /// Broken rules found by the checkers: none, if the core is right.
    pub broken: Vec<String>,
    /// Requests played.
    pub requests: u64,
}

impl Report {
    /// The count of a population in a phase.
    pub fn count(&mut self, population: usize, phase: Phase) -> &mut Count {
        self.counts.entry((population, phase)).or_default()
    }

    /// The part of a population's requests that were served in a phase.
    #[must_use]
    pub fn goodput(&self, population: usize, phase: Phase) -> f64 {
        self.counts.get(&(population, phase)).map_or(1.0, Count::goodput)
    }

    /// Notes a broken rule.
    pub fn breach(&mut self, what: impl FnOnce() -> String) {
        if self.broken.len() < SIM_BROKEN_KEPT_MAX {
            self.broken.push(what());
        }
    }

    /// Adds what other nodes saw.
    pub fn merge(&mut self, other: &Self) {
        for (at, count) in &other.counts {
            self.counts.entry(*at).or_default().merge(count);
        }
        self.requests += other.requests;
        for broken in &other.broken {
            self.breach(|| broken.clone());
        }
    }

    /// A table for people: one line a population.
    #[must_use]
    pub fn table(&self, scenario: &Scenario) -> String {
        let mut text = format!("{:<12}", scenario.name);
        for phase in Phase::ALL {
            text += &format!(" {:>9}", format!("{phase:?}").to_lowercase());
        }
        text += "  in steady attack\n";
        for (at, population) in scenario.populations.iter().enumerate() {
            text += &format!("{:<12}", population.name);
            for phase in Phase::ALL {
                text += &format!(" {:>8.3}%", 100.0 * self.goodput(at, phase));
            }
            if let Some(count) = self.counts.get(&(at, Phase::Attack)) {
                let Count { sent, late, failed, suspect, .. } = count;
                text += &format!("  sent {sent} late {late} failed {failed} suspect {suspect}");
                for (reason, n) in &count.refused {
                    text += &format!(" {} {n}", reason.label());
                }
            }
            text += "\n";
        }
        text
    }
}
