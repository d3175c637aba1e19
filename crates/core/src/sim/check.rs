//! Checkers that watch the core from outside and count for themselves.

use std::collections::BTreeMap;

use super::Report;
use crate::bounds::{MITIGATIONS_PER_SERVICE_MAX, SERVICES_MAX};
use crate::signs::{Event, Features, InForce, Mitigation, Step};
use crate::{Brain, Criticality, Lanes, Moment, Rules, SourceShard};

/// What the simulator itself holds of one service, counted apart from the core.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    held: [u32; Criticality::COUNT],
    waiting: u32,
}

impl Watch {
    pub(super) fn waits(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn resolved(&mut self, report: &mut Report) {
        if self.waiting == 0 {
            report.breach(|| "a ticket was resolved twice".into());
        }
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A slot was given: nobody above may have lost the slots kept for them.
    pub(super) fn admitted(&mut self, lane: Criticality, rules: &Rules, report: &mut Report) {
        self.held[lane.index()] += 1;
        let used: u32 = self.held.iter().sum();
        let mut kept = 0;
        for above in lane.index() + 1..Criticality::COUNT {
            kept += rules.floors[above].saturating_sub(self.held[above]);
        }
        if used + kept > rules.limit {
            report.breach(|| {
                format!("{lane:?} took a kept slot: {:?} of {}, {:?}", self.held, rules.limit, rules.floors)
            });
        }
    }

    pub(super) fn released(&mut self, lane: Criticality) {
        self.held[lane.index()] -= 1;
    }

    /// The core's own counts must agree with those from outside.
    pub(super) fn agrees(&self, lanes: &Lanes, rules: &Rules, report: &mut Report) {
        if self.held != lanes.inflight_by_lane() {
            report.breach(|| format!("slots leak: held {:?}, lanes say {:?}", self.held, lanes.inflight_by_lane()));
        }
        if self.waiting as usize != lanes.queued() || lanes.queued() > rules.queue_len as usize {
            report.breach(|| format!("queue: {} waiting, lanes say {}", self.waiting, lanes.queued()));
        }
    }
}

/// The tables of sources never grow.
pub(super) fn tables_are_bounded(shards: &[SourceShard], report: &mut Report) {
    let capacity: usize = shards.iter().map(SourceShard::capacity).sum();
    let len: usize = shards.iter().map(SourceShard::len).sum();
    if capacity != crate::bounds::SOURCES_MAX || len > capacity {
        report.breach(|| format!("source tables: {len} of {capacity}"));
    }
}

/// What the simulator counts of mitigations, apart from the core.
#[derive(Clone, Debug, Default)]
pub(super) struct MitigationWatch {
    /// Requests of proven standing while a mitigation refused, and of these, those that it matched, by its id.
    people: BTreeMap<u32, (u64, u64)>,
    alive: BTreeMap<u32, Mitigation>,
}

/// Without need a mitigation ends within this time, and none grows older than an hour.
const EXPIRY_S: f64 = 61.0;
const AGE_S: f64 = 3_600.2;
/// Part of the people of proven standing that a refusal may hit, as counted from outside: the bound of the core's
/// estimate, and what chance makes of a sample.
const COLLATERAL: f64 = 0.01;
const PEOPLE: u64 = 500;

impl MitigationWatch {
    /// A request came; `person`: it is of proven standing.
    pub(super) fn asked(&mut self, mitigations: &[InForce], features: &Features, person: bool) {
        for mitigation in mitigations.iter().filter(|m| person && m.step == Step::Refuse) {
            let (asked, hit) = self.people.entry(mitigation.id).or_default();
            *asked += 1;
            *hit += u64::from(mitigation.signature.matches(features));
        }
    }

    /// Looks at all mitigations after a tick.
    pub(super) fn ticked(&mut self, now: Moment, brain: &mut Brain, report: &mut Report) {
        for event in brain.take_events() {
            match event {
                Event::Born(m) => {
                    if self.alive.insert(m.id, m).is_some() {
                        report.breach(|| format!("mitigation {} was born twice", m.id));
                    }
                }
                Event::Stepped(m, _) => {
                    self.alive.insert(m.id, m);
                }
                Event::Ended(m, _) => {
                    self.alive.remove(&m.id);
                }
            }
            report.note_mitigation(now, event);
        }
        let mut count = 0;
        for m in brain.mitigations() {
            count += 1;
            if !self.alive.contains_key(&m.id) {
                report.breach(|| format!("mitigation {} was never told of", m.id));
            }
            let (age_s, left_s) = (now.since(m.born).as_secs_f64(), m.expires.since(now).as_secs_f64());
            if age_s > AGE_S || left_s > EXPIRY_S {
                report.breach(|| format!("mitigation {} does not end: {age_s} s old, {left_s} s left", m.id));
            }
        }
        if count != self.alive.len() || count > SERVICES_MAX * MITIGATIONS_PER_SERVICE_MAX {
            report.breach(|| format!("{count} mitigations, {} told of", self.alive.len()));
        }
    }

    pub(super) fn finish(&self, report: &mut Report) {
        for (id, (asked, hit)) in &self.people {
            if *asked >= PEOPLE && *hit as f64 > COLLATERAL * *asked as f64 {
                report.breach(|| format!("mitigation {id} hit {hit} of {asked} requests of proven standing"));
            }
        }
    }
}
