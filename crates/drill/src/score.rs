//! Scores: what real clients got, against what the oracle would have given them.

use crate::load::{AttackTally, Harvest, Outcome, Record};
use crate::ops::{OPS, Op};
use crate::plan::{Plan, service_of};
use crate::scenario::{Phases, Scenario};
use crate::services::{SERVICES, index_of};
use crate::status::{self, Poll, StatusScore};
use crate::visitors::{self, VisitorScore};
use guichet_core::Criticality;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Everything that a drill found, in the form of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Scoreboard {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed that its schedule was drawn from.
    pub seed: u64,
    /// One a front, in the order in which they ran.
    pub fronts: Vec<FrontScore>,
    /// What the scenario shows.
    pub description: String,
    /// Milliseconds of the phases.
    pub phases_ms: [u64; 3],
    /// Expectations of the scenario that are asked of one of these fronts.
    pub expected: usize,
    /// Expectations that failed.
    pub failed: Vec<String>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// One front's scores.
#[derive(Clone, Debug, Serialize)]
pub struct FrontScore {
    /// Its name.
    pub front: String,
    /// From onset until real clients are served as they should be and stay so; null if never.
    pub time_to_protect_ms: Option<u64>,
    /// One a service and phase (`before`, `attack`, `after`).
    pub services: Vec<ServiceScore>,
    /// One a service: the attack without its first three seconds.
    pub steady: Vec<ServiceScore>,
    /// What people do, one an operation: the attack phase.
    pub operations: Vec<OperationScore>,
    /// What visitors got before, during and after each fault of the scenario.
    pub visitors: Vec<VisitorScore>,
    /// How the status page did; null where the front has none.
    pub status: Option<StatusScore>,
    /// What must hold in the estate's stores, looked at after the run.
    pub invariants: Vec<Invariant>,
    /// What the attackers did and got.
    pub attack: AttackTally,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Second by second, for the plots.
    #[serde(skip)]
    pub series: Vec<Series>,
}

/// One service in one phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceScore {
    /// The service.
    pub service: &'static str,
    /// How much it matters.
    pub criticality: &'static str,
    /// The phase.
    pub phase: &'static str,
    /// Requests of real clients whose intended moment lies in it.
    pub offered: u64,
    /// Of these, answered right and in time.
    pub ok: u64,
    /// Right answers a second.
    pub goodput: f64,
    /// The oracle's right answers a second.
    pub oracle: f64,
    /// `goodput / oracle`; null where the oracle serves nothing.
    pub relative: Option<f64>,
    /// Requests that met a refusal or an error, even where a second attempt went well.
    pub refused_real: u64,
    /// Median latency of right answers from the intended moment; null without any.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub p99_ms: Option<f64>,
    /// Requests that had no right answer when their deadline came.
    pub late: u64,
    /// Requests that ended with a wrong answer or a broken connection.
    pub failed: u64,
}

/// One operation under attack: what a person came for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationScore {
    /// The operation's name.
    pub operation: &'static str,
    /// What it is to the person who does it.
    pub what: &'static str,
    /// The same figures as for a service.
    #[serde(flatten)]
    pub score: ServiceScore,
}

/// Whether something that must hold does, as the estate's own checkers found it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Invariant {
    /// The service whose store it is.
    pub service: String,
    /// What should hold.
    pub name: String,
    /// Whether it does.
    pub ok: bool,
    /// What is wrong, or how much was looked at.
    #[serde(default)]
    pub detail: String,
}

/// One service, second by second of the run.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Position of the service in [`SERVICES`].
    pub service: usize,
    /// Requests offered.
    pub offered: Vec<u32>,
    /// Right answers, at the second of their intended moment.
    pub ok: Vec<u32>,
    /// The oracle's.
    pub oracle: Vec<u32>,
    /// 99th percentile of the latency of right answers, milliseconds.
    pub p99_ms: Vec<Option<f64>>,
}

/// One real request, ready to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Position of its service in [`SERVICES`].
    pub service: usize,
    /// Its operation.
    pub op: &'static Op,
    /// Intended moment, microseconds.
    pub at_us: u64,
    /// Whether the oracle serves it.
    pub oracle: bool,
    /// What came of it.
    pub record: Record,
}

/// Seconds of the attack that do not belong to its steady part.
const ONSET_US: u64 = 3_000_000;

/// Scores one front's run; `polls`: what was seen of its status page, where it has one.
#[must_use]
pub fn front(
    name: &str,
    scenario: &Scenario,
    plan: &Plan,
    oracle: &[bool],
    harvest: &Harvest,
    polls: Option<&[Poll]>,
) -> FrontScore {
    let points: Vec<Point> = plan
        .requests
        .iter()
        .zip(oracle)
        .zip(&harvest.records)
        .filter_map(|((planned, &oracle), record)| {
            let service = service_of(scenario, plan, planned);
            record.map(|record| Point { service, op: planned.op, at_us: planned.at_us, oracle, record })
        })
        .collect();
    let phases = scenario.phases;
    let (onset, end, total) = (phases.before_ms * 1000, phases.attack_end_ms() * 1000, phases.total_ms() * 1000);
    let windows = [("before", 0, onset), ("attack", onset, end), ("after", end, total)];
    let used: Vec<usize> = (0..SERVICES.len()).filter(|s| points.iter().any(|p| p.service == *s)).collect();
    let mut services = Vec::new();
    let mut steady = Vec::new();
    for &service in &used {
        for (phase, from, until) in windows {
            if until > from {
                services.push(row(service, phase, from, until, points.iter().filter(|p| p.service == service)));
            }
        }
        if end > onset + ONSET_US {
            steady.push(row(service, "steady", onset + ONSET_US, end, points.iter().filter(|p| p.service == service)));
        }
    }
    FrontScore {
        front: name.to_owned(),
        time_to_protect_ms: time_to_protect_ms(&points, phases),
        services,
        steady,
        operations: operations(onset, end, &points),
        visitors: visitors::scores(scenario, &points),
        status: polls.map(|polls| status::score(scenario, &points, polls)),
        invariants: Vec::new(),
        attack: harvest.attack.clone(),
        notes: Vec::new(),
        series: used.iter().map(|&s| series(s, phases, &points)).collect(),
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("constant bounds are valid")
}

fn quantile_ms(histogram: &Histogram<u64>, q: f64) -> Option<f64> {
    // Tenths of a millisecond: finer figures would pretend to an exactness that timers do not have.
    (!histogram.is_empty()).then(|| (histogram.value_at_quantile(q) as f64 / 100.0).round() / 10.0)
}

/// Each operation that real clients did, in the order of the table of operations.
fn operations(onset: u64, end: u64, points: &[Point]) -> Vec<OperationScore> {
    let of = |op: &'static Op| points.iter().filter(move |p| (p.op.service, p.op.name) == (op.service, op.name));
    OPS.iter()
        .filter_map(|op| {
            let score = row(index_of(op.service)?, "attack", onset, end, of(op));
            (score.offered > 0).then_some(OperationScore { operation: op.name, what: op.what, score })
        })
        .collect()
}

/// Scores some points of one service.
fn row<'a>(
    service: usize,
    phase: &'static str,
    from: u64,
    until: u64,
    points: impl Iterator<Item = &'a Point>,
) -> ServiceScore {
    let mut latency = histogram();
    let (mut offered, mut ok, mut oracle, mut refused_real, mut late, mut failed) = (0, 0, 0, 0, 0, 0);
    for point in points.filter(|p| (from..until).contains(&p.at_us)) {
        offered += 1;
        oracle += u64::from(point.oracle);
        refused_real += u64::from(point.record.met_refusal);
        match point.record.outcome {
            Outcome::Right => {
                ok += 1;
                latency.saturating_record(point.record.latency_us.max(1));
            }
            Outcome::Late => late += 1,
            Outcome::Refused(_) | Outcome::Broken => failed += 1,
        }
    }
    let seconds = (until - from) as f64 / 1e6;
    let rounded = |x: f64, places: f64| (x * places).round() / places;
    ServiceScore {
        service: SERVICES[service].name,
        criticality: SERVICES[service].criticality.name(),
        phase,
        offered,
        ok,
        goodput: rounded(ok as f64 / seconds, 1000.0),
        oracle: rounded(oracle as f64 / seconds, 1000.0),
        relative: (oracle > 0).then(|| rounded(ok as f64 / oracle as f64, 10_000.0)),
        refused_real,
        p50_ms: quantile_ms(&latency, 0.5),
        p99_ms: quantile_ms(&latency, 0.99),
        late,
        failed,
    }
}

fn series(service: usize, phases: Phases, points: &[Point]) -> Series {
    let seconds = phases.total_ms().div_ceil(1000) as usize;
    let mut series = Series {
        service,
        offered: vec![0; seconds],
        ok: vec![0; seconds],
        oracle: vec![0; seconds],
        p99_ms: vec![None; seconds],
    };
    let mut latency: Vec<Histogram<u64>> = (0..seconds).map(|_| histogram()).collect();
    for point in points.iter().filter(|p| p.service == service) {
        let second = ((point.at_us / 1_000_000) as usize).min(seconds - 1);
        series.offered[second] += 1;
        series.oracle[second] += u32::from(point.oracle);
        if point.record.is_right() {
            series.ok[second] += 1;
            latency[second].saturating_record(point.record.latency_us.max(1));
        }
    }
    for (slot, histogram) in series.p99_ms.iter_mut().zip(&latency) {
        *slot = quantile_ms(histogram, 0.99);
    }
    series
}

/// Length of a window in which protection is judged.
const WINDOW_US: u64 = 1_000_000;
/// Between the beginnings of two windows.
const STEP_US: u64 = 100_000;
/// For how long it must last.
const LASTING_US: u64 = 3_000_000;

/// From the onset to the beginning of the first window of one second from which on, for three seconds at least, real
/// clients of every service get what they should: 99 % of the oracle's goodput for critical services, 95 % for the others.
///
/// A window of few requests allows what the share leaves of them, rounded up: one miss among ten is not an outage.
#[must_use]
pub fn time_to_protect_ms(points: &[Point], phases: Phases) -> Option<u64> {
    let (onset, end) = (phases.before_ms * 1000, phases.attack_end_ms() * 1000);
    let starts = (end - onset).checked_sub(WINDOW_US)? / STEP_US + 1;
    let mut good: Vec<bool> = vec![true; starts as usize];
    for (service, entry) in SERVICES.iter().enumerate() {
        let share = if entry.criticality == Criticality::Critical { 0.99 } else { 0.95 };
        let (mut right, mut oracle) = (vec![0_u32; good.len() + 10], vec![0_u32; good.len() + 10]);
        for point in points.iter().filter(|p| p.service == service && (onset..end).contains(&p.at_us)) {
            let step = ((point.at_us - onset) / STEP_US) as usize;
            if let (Some(r), Some(o)) = (right.get_mut(step), oracle.get_mut(step)) {
                *r += u32::from(point.record.is_right());
                *o += u32::from(point.oracle);
            }
        }
        let steps = (WINDOW_US / STEP_US) as usize;
        for (k, slot) in good.iter_mut().enumerate() {
            let (r, o): (u32, u32) = (right[k..k + steps].iter().sum(), oracle[k..k + steps].iter().sum());
            *slot &= f64::from(r) >= (f64::from(o) * share).floor();
        }
    }
    let lasting = ((LASTING_US - WINDOW_US) / STEP_US) as usize + 1;
    let first = good.windows(lasting).position(|w| w.iter().all(|g| *g))?;
    Some(first as u64 * STEP_US / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Got;

    const PHASES: Phases = Phases { before_ms: 2000, attack_ms: 8000, after_ms: 2000 };

    /// Ten requests a second of portal; right unless `wrong` says otherwise.
    fn points(wrong: impl Fn(u64) -> bool) -> Vec<Point> {
        (0..120)
            .map(|i| {
                let at_us = i * 100_000;
                let outcome = if wrong(at_us / 1000) { Outcome::Refused(503) } else { Outcome::Right };
                let got = if outcome == Outcome::Right { Got::Right } else { Got::Error };
                let record = Record { outcome, latency_us: 10_000, got, met_refusal: outcome != Outcome::Right };
                Point { service: 0, op: &OPS[0], at_us, oracle: true, record }
            })
            .collect()
    }

    #[test]
    fn time_to_protect() {
        let check = |wrong: &dyn Fn(u64) -> bool, expected| {
            assert_eq!(time_to_protect_ms(&points(wrong), PHASES), expected);
        };
        // Never disturbed: protected from the onset on.
        check(&|_| false, Some(0));
        // Everything fails for 1.5 s: one miss of ten is allowed, so from the last bad request on.
        check(&|ms| (2000..3500).contains(&ms), Some(1400));
        // A second outage within three seconds of the first's end starts it anew.
        check(&|ms| (2000..2500).contains(&ms) || (4000..4500).contains(&ms), Some(2400));
        // Down until 2.9 s before the end: too short to call it protected.
        check(&|ms| (2000..7200).contains(&ms), None);
        check(&|_| true, None);
        // What happens before and after the attack does not count.
        check(&|ms| !(2000..10_000).contains(&ms), Some(0));
    }

    #[test]
    fn rows_count_by_intended_moment() {
        let mut points = points(|ms| ms == 2500);
        points[30].record.outcome = Outcome::Late;
        points[31].oracle = false;
        points[31].record.latency_us = 900_000;
        let got = row(0, "attack", 2_000_000, 10_000_000, points.iter());
        assert_eq!((got.offered, got.ok, got.late, got.failed, got.refused_real), (80, 78, 1, 1, 1));
        assert_eq!((got.goodput, got.oracle), (9.75, 9.875));
        assert_eq!(got.relative, Some(0.9873));
        assert_eq!(got.p50_ms, Some(10.0));
        assert!(got.p99_ms.unwrap() > 800.0);
        let none = row(3, "attack", 2_000_000, 10_000_000, [].iter());
        assert_eq!((none.offered, none.relative, none.p50_ms), (0, None, None));
        let series = series(0, PHASES, &points);
        assert_eq!((series.ok[2], series.ok[3], series.oracle[3], series.offered[3]), (9, 9, 9, 10));
    }
}
