//! What a simulation saw.

use std::collections::BTreeMap;

use super::Scenario;
use crate::bounds::{MITIGATION_EVENTS_MAX, SIM_BROKEN_KEPT_MAX};
use crate::signs::{Event, Step};
use crate::{Moment, Reason};

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// By population and phase.
    pub counts: BTreeMap<(usize, Phase), Count>,
    /// Broken rules found by the checkers: none, if the core is right.
    pub broken: Vec<String>,
    /// Requests played.
    pub requests: u64,
    /// What befell mitigations, up to a bound.
    pub mitigations: Vec<(Moment, Event)>,
    /// Times that a waiting room opened.
    pub rooms_opened: u64,
    /// Visits that waited in a room and came out, and the longest of these waits, in seconds.
    pub waited: u64,
    /// See `waited`.
    pub waited_longest_s: f64,
    /// Visits that still waited at the end of the play.
    pub still_waiting: u64,
    /// Waits whose length was told beforehand, and of these, those where that was about right.
    pub promises: u64,
    /// See `promises`.
    pub promises_kept: u64,
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

    /// Notes what befell a mitigation.
    pub fn note_mitigation(&mut self, at: Moment, event: Event) {
        if self.mitigations.len() < MITIGATION_EVENTS_MAX {
            self.mitigations.push((at, event));
        }
    }

    /// The second of the first mitigation, at or after this one, that did something about what it matched.
    #[must_use]
    pub fn in_force_s(&self, from_s: f64) -> Option<f64> {
        let acts = self.mitigations.iter().filter_map(|(at, event)| match event {
            Event::Born(m) | Event::Stepped(m, _) if m.step >= Step::Deprioritise => Some(at.as_secs_f64()),
            Event::Born(_) | Event::Stepped(..) | Event::Ended(..) => None,
        });
        acts.filter(|at| *at >= from_s).min_by(f64::total_cmp)
    }

    /// The harshest step that any mitigation took.
    #[must_use]
    pub fn harshest(&self) -> Step {
        let steps = self.mitigations.iter().map(|(_, event)| match event {
            Event::Born(m) | Event::Stepped(m, _) | Event::Ended(m, _) => m.peak,
        });
        steps.max().unwrap_or(Step::Observe)
    }

    /// Adds what other nodes saw.
    pub fn merge(&mut self, other: &Self) {
        for (at, count) in &other.counts {
            self.counts.entry(*at).or_default().merge(count);
        }
        self.requests += other.requests;
        self.rooms_opened += other.rooms_opened;
        self.waited += other.waited;
        self.waited_longest_s = self.waited_longest_s.max(other.waited_longest_s);
        self.still_waiting += other.still_waiting;
        self.promises += other.promises;
        self.promises_kept += other.promises_kept;
        other.mitigations.iter().for_each(|(at, event)| self.note_mitigation(*at, *event));
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
        if self.rooms_opened > 0 {
            text += &format!(
                "the room opened {} times; {} visits waited, {:.0} s at most, {} still do; {} of {} waits were about as long as told\n",
                self.rooms_opened,
                self.waited,
                self.waited_longest_s,
                self.still_waiting,
                self.promises_kept,
                self.promises
            );
        }
        for (at, event) in self.mitigations.iter().take(SIM_BROKEN_KEPT_MAX) {
            text += &format!("{:>8.1} s  {}\n", at.as_secs_f64(), told(event));
        }
        text
    }
}

/// An event in one line.
fn told(event: &Event) -> String {
    let (m, what) = match event {
        Event::Born(m) => (m, format!("born at {}", m.step.name())),
        Event::Stepped(m, from) => (m, format!("{} -> {}", from.name(), m.step.name())),
        Event::Ended(m, why) => (m, format!("ended: {}", why.name())),
    };
    let parts: Vec<_> = m.signature.parts().map(|(d, value)| format!("{}={value:x}", d.name())).collect();
    let e = &m.evidence;
    format!(
        "mitigation {} {what}: {} covers {:.0} % lift {:.0}/{:.0} {:.0}/s (usual {:.1}) collateral {:.4} of {}",
        m.id,
        parts.join(" & "),
        100.0 * e.coverage,
        e.lift,
        e.who_lift,
        m.rate_per_s,
        e.usual_per_s,
        e.collateral,
        e.persons
    )
}
