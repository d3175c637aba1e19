//! The declared capacity of the estate in drills: pure types, read from a TOML file.
//!
//! A drill must measure protection, and not the speed of the machine. So in a drill each service behaves like one with
//! `workers` threads: an operation waits for a worker, first come first served, and holds it for `cost_ms` by a timer.
//! Under a flood real services do not only queue, they get slower (cold caches, lock convoys, swapping, lost retries);
//! `collapse` says by how much. The drill's oracle reads the same file.
//!
//! ```toml
//! [service.bank]
//! workers = 12          # operations done at once
//! queue_max = 4096      # requests that wait; one more is answered 503
//! [service.bank.collapse]
//! knee = 24             # requests queued beyond which everything gets slower
//! slope = 0.5           # factor = 1 + slope * (queued - knee) / workers
//! factor_max = 6.0      # and never above this
//! [service.bank.cost_ms]
//! login = 50            # each operation of the service, and `other` for all the rest
//! ```

use crate::bounds::{
    CAPACITY_FILE_BYTES_MAX, COST_MS_MAX, QUEUE_MAX, UNMETERED_QUEUE_MAX, UNMETERED_WORKERS, WORKERS_MAX,
};
use crate::service::Service;
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The name under which a service's cost of everything else stands.
pub const OTHER: &str = "other";

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CapacityModel {
    /// By name of the service; a service that is absent has no artificial cost.
    #[serde(default)]
    pub service: BTreeMap<String, ServiceCapacity>,
}

/// What one service can do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ServiceCapacity {
    /// Operations done at once, 1 to 100,000.
    pub workers: u32,
    /// Requests waiting for a worker, 1 to 1,000,000; one more is refused with 503.
    pub queue_max: u32,
    /// Service time of each operation, milliseconds, 0 to 60,000.
    #[serde(default)]
    pub cost_ms: BTreeMap<String, f64>,
    /// How it slows down when flooded; absent: it does not.
    #[serde(default)]
    pub collapse: Option<Collapse>,
}

/// How a flooded service slows down.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Collapse {
    /// Requests queued up to which costs are as declared.
    pub knee: u32,
    /// Growth of the factor per queued request and worker beyond the knee, 0 to 100.
    pub slope: f64,
    /// Upper end of the factor, 1 to 100.
    pub factor_max: f64,
}

impl CapacityModel {
    /// Reads and checks a capacity file.
    ///
    /// # Errors
    /// When it can't be read, or [`CapacityModel::parse`] refuses it; the message names the file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let place = path.display();
        let size = std::fs::metadata(path).with_context(|| format!("{place}: can't read the capacity file"))?.len();
        ensure!(
            size <= CAPACITY_FILE_BYTES_MAX,
            "{place}: {size} bytes; a capacity file has at most {CAPACITY_FILE_BYTES_MAX}"
        );
        let text = std::fs::read_to_string(path).with_context(|| format!("{place}: can't read the capacity file"))?;
        Self::parse(&text).with_context(|| place.to_string())
    }

    /// Checks the text of a capacity file.
    ///
    /// # Errors
    /// Names the key that is wrong, and what it may be.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let model: Self = toml::from_str(text)?;
        for (name, capacity) in &model.service {
            let Some(service) = Service::from_name(name) else {
                let names: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
                bail!("service.{name}: no such service; they are {}", names.join(", "));
            };
            capacity.check(service).with_context(|| format!("service.{name}"))?;
        }
        Ok(model)
    }

    /// The capacity of one service: as declared, or without artificial cost.
    #[must_use]
    pub fn of(&self, service: Service) -> ServiceCapacity {
        self.service.get(service.name()).cloned().unwrap_or_else(ServiceCapacity::unmetered)
    }
}

impl ServiceCapacity {
    /// A service without artificial costs; its number of workers only bounds memory.
    #[must_use]
    pub fn unmetered() -> Self {
        Self { workers: UNMETERED_WORKERS, queue_max: UNMETERED_QUEUE_MAX, cost_ms: BTreeMap::new(), collapse: None }
    }

    /// By how much each cost is multiplied while `queued` requests wait: 1 up to the knee, then linear, then flat.
    #[must_use]
    pub fn factor(&self, queued: u32) -> f64 {
        self.collapse.map_or(1.0, |collapse| {
            let beyond = f64::from(queued.saturating_sub(collapse.knee));
            (1.0 + collapse.slope * beyond / f64::from(self.workers)).min(collapse.factor_max)
        })
    }

    /// Declared service time of an operation, milliseconds; one without its own is `other`, and 0 without that.
    #[must_use]
    pub fn cost_ms(&self, op: &str) -> f64 {
        self.cost_ms.get(op).or_else(|| self.cost_ms.get(OTHER)).copied().unwrap_or(0.0)
    }

    /// How long an operation that starts now holds its worker, while `queued` requests wait.
    #[must_use]
    pub fn hold(&self, op: &str, queued: u32) -> Duration {
        let ms = (self.cost_ms(op) * self.factor(queued)).clamp(0.0, COST_MS_MAX);
        Duration::from_micros((ms * 1000.0) as u64)
    }

    fn check(&self, service: Service) -> anyhow::Result<()> {
        ensure!((1..=WORKERS_MAX).contains(&self.workers), "workers is {}: give 1 to {WORKERS_MAX}", self.workers);
        ensure!((1..=QUEUE_MAX).contains(&self.queue_max), "queue_max is {}: give 1 to {QUEUE_MAX}", self.queue_max);
        for (op, ms) in &self.cost_ms {
            let known = op == OTHER || service.ops().iter().any(|doc| doc.name == op);
            ensure!(known, "cost_ms.{op}: no such operation; they are {}, {OTHER}", service.op_names().join(", "));
            let right = ms.is_finite() && (0.0..=COST_MS_MAX).contains(ms);
            ensure!(right, "cost_ms.{op} is {ms}: give 0 to {COST_MS_MAX} milliseconds");
        }
        if let Some(Collapse { slope, factor_max, .. }) = self.collapse {
            ensure!(slope.is_finite() && (0.0..=100.0).contains(&slope), "collapse.slope is {slope}: give 0 to 100");
            let right = factor_max.is_finite() && (1.0..=100.0).contains(&factor_max);
            ensure!(right, "collapse.factor_max is {factor_max}: give 1 to 100");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: &str = "[service.bank]\nworkers = 4\nqueue_max = 9\n[service.bank.collapse]\nknee = 8\nslope = 0.5\n\
                        factor_max = 3\n[service.bank.cost_ms]\nlogin = 40\nother = 2.5\n";

    #[test]
    fn factor_is_one_up_to_the_knee_then_grows_then_is_flat() {
        let bank = CapacityModel::parse(BANK).unwrap().of(Service::Bank);
        for (queued, factor) in [(0, 1.0), (8, 1.0), (9, 1.125), (16, 2.0), (24, 3.0), (25, 3.0), (u32::MAX, 3.0)] {
            assert!((bank.factor(queued) - factor).abs() < 1e-9, "{queued}: {}", bank.factor(queued));
        }
        assert_eq!(bank.hold("login", 16), Duration::from_millis(80));
        assert_eq!(
            bank.hold("transfer", 0),
            Duration::from_micros(2500),
            "an operation without its own cost is `other`"
        );
    }

    #[test]
    fn an_absent_service_costs_nothing() {
        let portal = CapacityModel::parse(BANK).unwrap().of(Service::Portal);
        assert_eq!(portal, ServiceCapacity::unmetered());
        assert_eq!(portal.hold("home", 4000), Duration::ZERO);
    }

    #[test]
    fn wrong_files_are_refused_by_name() {
        let with = |from: &str, to: &str| BANK.replace(from, to);
        for (text, words) in [
            (with("service.bank", "service.bnak"), "no such service"),
            (with("workers = 4", "workers = 0"), "workers is 0"),
            (with("queue_max = 9", "queue_max = 0"), "queue_max is 0"),
            (with("queue_max = 9", ""), "queue_max"),
            (with("login", "logn"), "no such operation; they are login"),
            (with("login = 40", "login = nan"), "cost_ms.login"),
            (with("login = 40", "login = 60001"), "cost_ms.login"),
            (with("slope = 0.5", "slope = -1.0"), "collapse.slope"),
            (with("factor_max = 3", "factor_max = 0.5"), "collapse.factor_max"),
            (with("knee = 8", "knee = 8\nbend = 1"), "bend"),
            ("[[service".to_owned(), "TOML"),
        ] {
            let error = format!("{:#}", CapacityModel::parse(&text).unwrap_err());
            assert!(error.contains(words), "{text}\n -> {error}");
        }
    }

    #[test]
    fn the_drills_file_declares_every_operation_of_every_service() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/capacity.toml");
        let model = CapacityModel::load(&path).unwrap();
        for service in Service::ALL {
            let capacity = &model.service[service.name()];
            for op in service.op_names().into_iter().chain([OTHER]) {
                assert!(op == "about" || capacity.cost_ms.contains_key(op), "{}: {op}", service.name());
            }
            assert!(capacity.collapse.is_some());
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = format!("{:#}", CapacityModel::load(Path::new("/nowhere/capacity.toml")).unwrap_err());
        assert!(error.contains("/nowhere/capacity.toml"), "{error}");
    }
}
