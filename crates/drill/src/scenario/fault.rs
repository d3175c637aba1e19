//! Faults, checked.

use super::Phases;
use super::error::Finder;
use super::raw::RawScenario;
use super::raw_fault::{RawFault, RawFaultKind};
use crate::services::{SERVICES, index_of};
use guichet_core::bounds::{DRILL_ADDED_MS_MAX, DRILL_FAULTS_MAX};

/// What is wrong with a service for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Position of the service in [`SERVICES`].
    pub service: usize,
    /// What is wrong.
    pub kind: FaultKind,
    /// Milliseconds from the start of the run.
    pub from_ms: u64,
    /// Milliseconds from the start of the run.
    pub until_ms: u64,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// Killed, and started again at the end.
    Killed,
    /// Stopped: accepts and never answers.
    Frozen,
    /// Each answer comes later by these milliseconds.
    Slow(u32),
    /// This share of the answers is 500.
    Errors(f64),
    /// This share of the requests is never answered.
    HalfDead(f64),
    /// Its disk has no room left.
    DiskFull,
}

impl FaultKind {
    /// Its name in scenarios and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::Slow(_) => "slow",
            Self::Errors(_) => "errors",
            Self::HalfDead(_) => "half-dead",
            Self::DiskFull => "disk-full",
        }
    }
}

/// Checks the faults of a scenario.
pub(super) fn faults(raw: &RawScenario, phases: Phases, finder: &mut Finder<'_>) -> Vec<Fault> {
    if raw.fault.len() > DRILL_FAULTS_MAX {
        finder.at("fault", format!("{} faults", raw.fault.len()), format!("write at most {DRILL_FAULTS_MAX}"));
    }
    let mut list: Vec<Fault> = Vec::new();
    for (i, fault) in raw.fault.iter().enumerate().take(DRILL_FAULTS_MAX) {
        let place = format!("fault[{i}]");
        let Some(fault) = one(&place, fault, phases, finder) else { continue };
        let both = |f: &&Fault| f.service == fault.service && f.from_ms < fault.until_ms && fault.from_ms < f.until_ms;
        if list.iter().find(both).is_some() {
            let cause = format!("{} has another fault at the same time", SERVICES[fault.service].name);
            finder.at(&place, cause, "let one end before the next begins");
        }
        list.push(fault);
    }
    list
}

fn one(place: &str, raw: &RawFault, phases: Phases, finder: &mut Finder<'_>) -> Option<Fault> {
    let Some(service) = index_of(&raw.service) else {
        let names: Vec<_> = SERVICES.iter().map(|s| s.name).collect();
        let (cause, mend) = (format!("{:?} is not known", raw.service), format!("one of {}", names.join(", ")));
        finder.at(&format!("{place}.service"), cause, mend);
        return None;
    };
    let before = phases.before_ms as f64 / 1000.0;
    let end = phases.total_ms() as f64 / 1000.0 - before;
    for (key, value, least) in [("from_s", raw.from_s, -before), ("until_s", raw.until_s, raw.from_s + 0.5)] {
        if !value.is_finite() || value < least || value > end {
            finder.at(&format!("{place}.{key}"), format!("{value} s"), format!("give {least} to {end}"));
            return None;
        }
    }
    let kind = kind(place, raw, finder)?;
    let moment = |seconds: f64| ((seconds + before) * 1000.0).round().max(0.0) as u64;
    Some(Fault { service, kind, from_ms: moment(raw.from_s), until_ms: moment(raw.until_s) })
}

fn kind(place: &str, raw: &RawFault, finder: &mut Finder<'_>) -> Option<FaultKind> {
    let shares = matches!(raw.kind, RawFaultKind::Errors | RawFaultKind::HalfDead);
    if raw.share.is_some() && !shares {
        finder.at(&format!("{place}.share"), "is for errors and half-dead", "leave it out");
    }
    if raw.added_ms.is_some() && raw.kind != RawFaultKind::Slow {
        finder.at(&format!("{place}.added_ms"), "is for slow", "leave it out");
    }
    if let Some(share) = raw.share
        && !(share > 0.0 && share <= 1.0)
    {
        finder.at(&format!("{place}.share"), format!("{share} is no share"), "give more than 0, at most 1");
    }
    Some(match raw.kind {
        RawFaultKind::Killed => FaultKind::Killed,
        RawFaultKind::Frozen => FaultKind::Frozen,
        RawFaultKind::DiskFull => FaultKind::DiskFull,
        RawFaultKind::Errors => FaultKind::Errors(raw.share.unwrap_or(1.0)),
        RawFaultKind::HalfDead => FaultKind::HalfDead(raw.share.unwrap_or(0.5)),
        RawFaultKind::Slow => match raw.added_ms {
            Some(ms @ 1..=DRILL_ADDED_MS_MAX) => FaultKind::Slow(ms),
            ms => {
                let cause = ms.map_or("does not say by how much".to_owned(), |ms| format!("{ms} ms"));
                finder.at(&format!("{place}.added_ms"), cause, format!("give 1 to {DRILL_ADDED_MS_MAX}"));
                return None;
            }
        },
    })
}
