//! What visitors got before, during and after each fault: an answer of use, or none.

use crate::load::Got;
use crate::scenario::Scenario;
use crate::score::Point;
use crate::services::SERVICES;
use serde::Serialize;

/// What the visitors of a service got in one phase of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VisitorScore {
    /// The faulty service and what is wrong with it, as `portal killed`.
    pub fault: String,
    /// The service whose visitors these are; `others` for all the rest.
    pub service: &'static str,
    /// `before`, `during` or `after` the fault.
    pub phase: &'static str,
    /// Requests whose intended moment lies in it.
    pub offered: u64,
    /// The right answer from the service.
    pub right: u64,
    /// An earlier right answer, with its age.
    pub stale: u64,
    /// A page or document that names other ways.
    pub fallback: u64,
    /// An error or a refusal that names none.
    pub error: u64,
    /// Nothing.
    pub nothing: u64,
}

impl VisitorScore {
    /// The share that was told something of use; none without visitors.
    #[must_use]
    pub fn told(&self) -> Option<f64> {
        (self.offered > 0).then(|| (self.right + self.stale + self.fallback) as f64 / self.offered as f64)
    }
}

/// Scores each fault of a scenario.
pub(crate) fn scores(scenario: &Scenario, points: &[Point]) -> Vec<VisitorScore> {
    let total_ms = scenario.phases.total_ms();
    let mut list = Vec::new();
    for fault in &scenario.faults {
        let name = SERVICES[fault.service].name;
        // Up to the neighbouring faults of the same service: what they do is told in their own rows.
        let others = || scenario.faults.iter().filter(|other| other.service == fault.service);
        let former_ms = others().map(|other| other.until_ms).filter(|ms| *ms <= fault.from_ms).max().unwrap_or(0);
        let next_ms = others().map(|other| other.from_ms).filter(|ms| *ms >= fault.until_ms).min().unwrap_or(total_ms);
        let windows = [
            ("before", former_ms, fault.from_ms),
            ("during", fault.from_ms, fault.until_ms),
            ("after", fault.until_ms, next_ms),
        ];
        for (phase, from_ms, until_ms) in windows {
            for (service, own) in [(name, true), ("others", false)] {
                let mut row = VisitorScore {
                    fault: format!("{name} {}", fault.kind.name()),
                    service,
                    phase,
                    offered: 0,
                    right: 0,
                    stale: 0,
                    fallback: 0,
                    error: 0,
                    nothing: 0,
                };
                let within = |p: &&Point| {
                    (from_ms * 1000..until_ms * 1000).contains(&p.at_us) && (p.service == fault.service) == own
                };
                for point in points.iter().filter(within) {
                    row.offered += 1;
                    *match point.record.got {
                        Got::Right => &mut row.right,
                        Got::Stale => &mut row.stale,
                        Got::Fallback => &mut row.fallback,
                        Got::Error => &mut row.error,
                        Got::Nothing => &mut row.nothing,
                    } += 1;
                }
                if row.offered > 0 {
                    list.push(row);
                }
            }
        }
    }
    list
}
