//! Raw to checked, once: every figure within its bounds, every name known, every fault told with its mend.

mod attacker;
mod real;

use super::error::{Finder, Problems};
use super::fault;
use super::raw::{RawArrivals, RawExpect, RawKind, RawPopulation, RawScenario, RawShape, RawSources};
use super::{Behaviour, Expect, Headers, Limits, Look, Phases, RealPopulation, Scenario, Scope, Shape, Sources};
use super::{TlsProfile, Transport, Wave};
use crate::ops::{self, Op};
use crate::services;
use guichet_core::Criticality;
use guichet_core::bounds::{DRILL_ATTACK_REQUESTS_MAX, DRILL_ATTACK_RPS_MAX, DRILL_POPULATIONS_MAX, DRILL_TOTAL_S_MAX};
use std::collections::BTreeSet;
use std::path::Path;

/// Reads and checks the text of a scenario.
pub(super) fn scenario(text: &str, path: &Path) -> Result<Scenario, Problems> {
    let mut finder = Finder::new(text);
    let raw: RawScenario = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            finder.toml(&error);
            return Err(finder.into_problems(path));
        }
    };
    let phases = phases(&raw, &mut finder);
    let limits = limits(&raw, &mut finder);
    let (mut real, mut waves) = (Vec::new(), Vec::new());
    if raw.population.is_empty() || raw.population.len() > DRILL_POPULATIONS_MAX {
        finder.at(
            "population",
            format!("{} populations", raw.population.len()),
            format!("write 1 to {DRILL_POPULATIONS_MAX} [[population]] tables"),
        );
    }
    let mut names = BTreeSet::new();
    for (i, population) in raw.population.iter().enumerate().take(DRILL_POPULATIONS_MAX) {
        let place = format!("population[{i}]");
        if !names.insert(population.name.as_str()) {
            finder.at(
                &format!("{place}.name"),
                format!("{:?} stands twice", population.name),
                "give each its own name",
            );
        }
        let mut checker = Checker { finder: &mut finder, place, phases, raw: population };
        if population.kind == RawKind::Attacker {
            waves.extend(checker.waves());
        } else {
            real.extend(checker.real());
        }
    }
    disjoint(&raw, &real, &waves, &mut finder);
    attack_within_limits(&waves, phases, limits, &mut finder);
    let faults = fault::faults(&raw, phases, &mut finder);
    let expects = raw.expect.iter().enumerate().filter_map(|(i, e)| expect(i, e, &mut finder)).collect();
    if !finder.found.is_empty() {
        return Err(finder.into_problems(path));
    }
    let capacity = path.parent().unwrap_or_else(|| Path::new(".")).join(&raw.capacity);
    let RawScenario { name, description, seed, contracts, .. } = raw;
    Ok(Scenario { name, description, seed, capacity, phases, limits, real, waves, contracts, faults, expects })
}

fn ms(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

fn phases(raw: &RawScenario, finder: &mut Finder<'_>) -> Phases {
    let list = [("before_s", raw.phases.before_s), ("attack_s", raw.phases.attack_s), ("after_s", raw.phases.after_s)];
    let mut total = 0.0;
    for (key, value) in list {
        let least = if key == "attack_s" { 1.0 } else { 0.0 };
        if !value.is_finite() || value < least || value > f64::from(DRILL_TOTAL_S_MAX) {
            finder.at(&format!("phases.{key}"), format!("{value} s"), format!("give {least} to {DRILL_TOTAL_S_MAX}"));
            return Phases { before_ms: 0, attack_ms: 1000, after_ms: 0 };
        }
        total += value;
    }
    if total > f64::from(DRILL_TOTAL_S_MAX) {
        finder.at("phases", format!("{total} s together"), format!("stay within {DRILL_TOTAL_S_MAX} s"));
    }
    Phases { before_ms: ms(raw.phases.before_s), attack_ms: ms(raw.phases.attack_s), after_ms: ms(raw.phases.after_s) }
}

fn limits(raw: &RawScenario, finder: &mut Finder<'_>) -> Limits {
    let limits =
        Limits { attack_per_s_max: raw.limits.attack_per_s_max, attack_requests_max: raw.limits.attack_requests_max };
    if !(0.0..=DRILL_ATTACK_RPS_MAX).contains(&limits.attack_per_s_max) {
        let cause = format!("{} a second", limits.attack_per_s_max);
        finder.at("limits.attack_per_s_max", cause, format!("give 0 to {DRILL_ATTACK_RPS_MAX}"));
    }
    if limits.attack_requests_max > DRILL_ATTACK_REQUESTS_MAX {
        let cause = format!("{} requests", limits.attack_requests_max);
        finder.at("limits.attack_requests_max", cause, format!("give at most {DRILL_ATTACK_REQUESTS_MAX}"));
    }
    limits
}

fn disjoint(raw: &RawScenario, real: &[RealPopulation], waves: &[Wave], finder: &mut Finder<'_>) {
    if raw.mixed_sources {
        return;
    }
    for wave in waves {
        let Some(hit) = real.iter().find(|r| r.sources.shares_slash24_with(&wave.sources)) else { continue };
        let base = wave.name.split('#').next().unwrap_or_default();
        let i = raw.population.iter().position(|p| p.name == base).unwrap_or(0);
        finder.at(
            &format!("population[{i}].sources"),
            format!("{} shares a /24 with the real clients of {}", wave.name, hit.name),
            "take another range, or say mixed_sources = true",
        );
    }
}

fn attack_within_limits(waves: &[Wave], phases: Phases, limits: Limits, finder: &mut Finder<'_>) {
    let (mut total, mut most) = (0.0_f64, 0.0_f64);
    // Rates change slowly against 100 ms, but for pulses, whose edges are caught as well as any other moment.
    for tick in 0..phases.total_ms() / 100 {
        let at = tick * 100;
        let rate: f64 = waves.iter().filter(|w| (w.from_ms..w.until_ms).contains(&at)).map(|w| w.rate_at(at)).sum();
        total += rate / 10.0;
        most = most.max(rate);
    }
    if most > limits.attack_per_s_max {
        let cause = format!("the attack reaches {most:.0} requests a second, {} allowed", limits.attack_per_s_max);
        finder.at("limits.attack_per_s_max", cause, "lower the attackers' arrivals or raise this limit");
    }
    if total > limits.attack_requests_max as f64 {
        let cause = format!("the attack makes {total:.0} requests, {} allowed", limits.attack_requests_max);
        finder.at("limits.attack_requests_max", cause, "shorten the attack or raise this limit");
    }
}

impl Wave {
    /// Requests a second at a moment of the run.
    pub(crate) fn rate_at(&self, at_ms: u64) -> f64 {
        let t = (at_ms - self.from_ms + self.offset_ms) as f64 / 1000.0;
        self.shape.rate_at(t, self.length_ms as f64 / 1000.0) * self.requests_per_arrival()
    }

    fn requests_per_arrival(&self) -> f64 {
        if self.behaviour == Behaviour::RapidReset { f64::from(self.burst) } else { 1.0 }
    }
}

fn expect(i: usize, raw: &RawExpect, finder: &mut Finder<'_>) -> Option<Expect> {
    let place = format!("expect[{i}]");
    let scope = match raw.service.as_str() {
        "*" => Scope::All,
        name => match (services::index_of(name), Criticality::from_name(name)) {
            (Some(index), _) => Scope::Service(index),
            (None, Some(level)) => Scope::Criticality(level),
            (None, None) => {
                finder.at(&format!("{place}.service"), format!("{name:?} is not known"), service_names());
                return None;
            }
        },
    };
    let shares = [
        raw.relative_min,
        raw.told_min,
        raw.refused_real_share_max,
        raw.attack_reached_share_max,
        raw.status_up_share_min,
    ];
    let times = [raw.time_to_protect_ms_max, raw.status_right_ms_max, raw.status_back_ms_max, raw.status_wrong_ms_max];
    let none = shares.iter().all(Option::is_none) && raw.p99_ms_max.is_none() && raw.refused_real_max.is_none();
    if none && times.iter().all(Option::is_none) {
        let mend = "give relative_min, p99_ms_max, refused_real_max, refused_real_share_max, attack_reached_share_max, told_min, time_to_protect_ms_max or one of status_*";
        finder.at(&place, "expects nothing", mend);
        return None;
    }
    let keys =
        ["relative_min", "told_min", "refused_real_share_max", "attack_reached_share_max", "status_up_share_min"];
    for (key, share) in keys.iter().zip(shares) {
        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            finder.at(&format!("{place}.{key}"), "is a share", "give 0 to 1");
            return None;
        }
    }
    Some(Expect {
        front: raw.front.clone(),
        scope,
        phase: raw.phase,
        relative_min: raw.relative_min,
        p99_ms_max: raw.p99_ms_max,
        refused_real_max: raw.refused_real_max,
        told_min: raw.told_min,
        status_right_ms_max: raw.status_right_ms_max,
        status_back_ms_max: raw.status_back_ms_max,
        status_up_share_min: raw.status_up_share_min,
        status_wrong_ms_max: raw.status_wrong_ms_max,
        refused_real_share_max: raw.refused_real_share_max,
        attack_reached_share_max: raw.attack_reached_share_max,
        time_to_protect_ms_max: raw.time_to_protect_ms_max,
    })
}

fn service_names() -> String {
    let names: Vec<_> = services::SERVICES.iter().map(|s| s.name).collect();
    format!("one of {}", names.join(", "))
}

/// Checks one population.
struct Checker<'f, 't> {
    finder: &'f mut Finder<'t>,
    place: String,
    phases: Phases,
    raw: &'f RawPopulation,
}

impl Checker<'_, '_> {
    fn bad(&mut self, field: &str, cause: impl Into<String>, mend: impl Into<String>) {
        let field = format!("{}.{field}", self.place);
        self.finder.at(&field, cause, mend);
    }

    /// Keys that belong to the other kinds are faults: a scenario that says what is not done misleads.
    fn not_for(&mut self, who: &str, keys: &[(&str, bool)]) {
        for (key, present) in keys {
            if *present {
                self.bad(key, format!("has no meaning for {who}"), "leave it out");
            }
        }
    }

    fn window(&mut self, default: (f64, f64)) -> (u64, u64) {
        let before = self.phases.before_ms as f64 / 1000.0;
        let end = self.phases.total_ms() as f64 / 1000.0 - before;
        let (from, until) = (self.raw.from_s.unwrap_or(default.0), self.raw.until_s.unwrap_or(default.1));
        if !(from >= -before && until <= end && from < until) {
            let mend = format!("stay within {} to {end} seconds from the onset, from before until", -before);
            self.bad("from_s", format!("from {from} s until {until} s"), mend);
            return (0, self.phases.total_ms());
        }
        (ms(from + before), ms(until + before))
    }

    fn shape(&mut self, arrivals: &RawArrivals, sources: u32) -> Option<Shape> {
        let per_s = match (arrivals.per_s, arrivals.per_source_per_s) {
            (Some(per_s), None) => per_s,
            (None, Some(each)) => each * f64::from(sources),
            _ => {
                self.bad("arrivals", "gives no rate, or two", "give one of per_s and per_source_per_s");
                return None;
            }
        };
        let fine = |x: f64| (0.0..=DRILL_ATTACK_RPS_MAX).contains(&x);
        if !fine(per_s) || !fine(arrivals.from_per_s) {
            self.bad("arrivals", format!("{per_s} a second"), format!("give 0 to {DRILL_ATTACK_RPS_MAX}"));
            return None;
        }
        match (arrivals.shape, arrivals.on_s, arrivals.off_s) {
            (RawShape::Steady, None, None) => Some(Shape::Steady { per_s }),
            (RawShape::Ramp, None, None) => Some(Shape::Ramp { from_per_s: arrivals.from_per_s, to_per_s: per_s }),
            (RawShape::Pulse, Some(on_s), Some(off_s)) if on_s >= 0.1 && off_s >= 0.1 => {
                Some(Shape::Pulse { per_s, on_s, off_s })
            }
            (RawShape::Pulse, ..) => {
                self.bad("arrivals", "a pulse without its times", "give on_s and off_s, 0.1 or more each");
                None
            }
            (RawShape::Steady | RawShape::Ramp, ..) => {
                self.bad("arrivals", "on_s and off_s belong to a pulse", "leave them out, or say shape = \"pulse\"");
                None
            }
        }
    }

    fn sources(&mut self, field: &str, raw: &RawSources) -> Option<Sources> {
        match Sources::new(&raw.range, raw.count) {
            Ok(sources) => Some(sources),
            Err((cause, mend)) => {
                self.bad(field, cause, mend);
                None
            }
        }
    }

    fn look(&self, transport: Transport, headers: Headers, tls: TlsProfile) -> Look {
        Look {
            transport: self.raw.transport.unwrap_or(transport),
            headers: self.raw.headers.unwrap_or(headers),
            extra_headers: self.raw.extra_headers.clone(),
            tls: self.raw.tls.unwrap_or(tls),
        }
    }

    fn op(&mut self, field: &str, service: &str, name: &str) -> Option<&'static Op> {
        let op = ops::find(service, name);
        if op.is_none() {
            let names: Vec<_> = ops::of_service(service).map(|o| o.name).collect();
            self.bad(field, format!("{service} has no operation {name:?}"), format!("one of {}", names.join(", ")));
        }
        op
    }
}
