//! The declared capacity of the estate in drills: how many operations a service does at once and what each costs.
//!
//! The estate reads the same file and holds a worker by a timer for each operation, so that a drill measures protection
//! rather than the speed of the machine; the oracle replays the same costs.

use anyhow::{Context, bail};
use guichet_core::bounds::DRILL_FILE_BYTES_MAX;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The whole file: `[service.NAME]` tables.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Capacity {
    /// By name of the service.
    #[serde(default)]
    pub service: BTreeMap<String, ServiceCapacity>,
}

/// One service's capacity. Keys that only the estate needs (`collapse`) are left to it.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceCapacity {
    /// Operations done at once.
    pub workers: u32,
    /// Requests that wait for a worker before the service refuses.
    pub queue_max: u32,
    /// Service time of each operation, milliseconds.
    #[serde(default)]
    pub cost_ms: BTreeMap<String, f64>,
}

impl ServiceCapacity {
    /// Service time of an operation; one that the file does not name costs what `other` does, or nothing.
    #[must_use]
    pub fn cost_us(&self, op: &str) -> u64 {
        self.cost_ms.get(op).or_else(|| self.cost_ms.get("other")).map_or(0, |ms| (ms * 1000.0) as u64)
    }

    /// Requests a second for a mix with equal shares of the named operations.
    #[must_use]
    pub fn rps(&self) -> f64 {
        let mean_ms = self.cost_ms.values().sum::<f64>() / self.cost_ms.len().max(1) as f64;
        if mean_ms > 0.0 { f64::from(self.workers) * 1000.0 / mean_ms } else { f64::INFINITY }
    }
}

impl Capacity {
    /// Reads and checks a capacity file.
    ///
    /// # Errors
    /// When it can't be read, is no TOML of this shape, or holds figures that mean nothing.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = path.display();
        let size = std::fs::metadata(path).with_context(|| format!("{place}: can't read the capacity file"))?.len();
        if size > DRILL_FILE_BYTES_MAX {
            bail!("{place}: {size} bytes; a capacity file has at most {DRILL_FILE_BYTES_MAX}");
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("{place}: can't read the capacity file"))?;
        Self::parse(&text).with_context(|| place.to_string())
    }

    /// Checks the text of a capacity file.
    ///
    /// # Errors
    /// As [`Capacity::read`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let capacity: Self = toml::from_str(text)?;
        for (name, service) in &capacity.service {
            if service.workers == 0 || service.workers > 100_000 {
                bail!("service.{name}.workers is {}: give 1 to 100000", service.workers);
            }
            for (op, ms) in &service.cost_ms {
                if !ms.is_finite() || *ms < 0.0 || *ms > 60_000.0 {
                    bail!("service.{name}.cost_ms.{op} is {ms}: give 0 to 60000 milliseconds");
                }
            }
        }
        Ok(capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_estate_reads() {
        let text = "[service.bank]\nworkers = 4\nqueue_max = 9\n[service.bank.collapse]\nknee = 2\nslope = 0.5\nfactor_max = 4\n\
                    [service.bank.cost_ms]\nlogin = 40\naccounts = 10.0\n";
        let capacity = Capacity::parse(text).unwrap();
        let bank = &capacity.service["bank"];
        assert_eq!((bank.workers, bank.queue_max), (4, 9));
        assert_eq!((bank.cost_us("login"), bank.cost_us("accounts"), bank.cost_us("unknown")), (40_000, 10_000, 0));
        assert!((bank.rps() - 160.0).abs() < 1e-9);
    }

    #[test]
    fn refuses_figures_that_mean_nothing() {
        for (text, word) in [
            ("[service.bank]\nworkers = 0\nqueue_max = 1\n", "workers"),
            ("[service.bank]\nworkers = 1\nqueue_max = 1\n[service.bank.cost_ms]\nlogin = -1\n", "login"),
            ("[service.bank]\nworkers = 1\nqueue_max = 1\n[service.bank.cost_ms]\nlogin = nan\n", "login"),
            ("[service.bank]\nqueue_max = 1\n", "workers"),
        ] {
            let error = Capacity::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
