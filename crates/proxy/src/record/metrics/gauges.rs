//! Present values, set by whoever knows them (the brain, the health checks) and read by a scrape.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use guichet_core::signs::Step;

/// A number that is set and read whole.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// What admission thinks of one service. The brain sets it, ten times a second. At first all is zero, and nobody is held
/// to a share.
#[derive(Debug)]
pub struct AdmissionGauges {
    pub(super) limit: Gauge,
    pub(super) in_flight: Gauge,
    pub(super) queued: Gauge,
    pub(super) fair_rate: Gauge,
    pub(super) pressure: Gauge,
    /// Mitigations by step.
    pub(super) mitigations: [Gauge; Step::ALL.len()],
}

impl Default for AdmissionGauges {
    fn default() -> Self {
        let fair_rate = Gauge::default();
        fair_rate.set(f64::INFINITY);
        Self {
            limit: Gauge::default(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            fair_rate,
            pressure: Gauge::default(),
            mitigations: Default::default(),
        }
    }
}

impl AdmissionGauges {
    /// The adaptive concurrency limit, requests.
    pub fn set_limit(&self, requests: f64) {
        self.limit.set(requests);
    }

    /// Requests in flight at the service.
    pub fn set_in_flight(&self, requests: f64) {
        self.in_flight.set(requests);
    }

    /// Requests waiting for a slot.
    pub fn set_queued(&self, requests: f64) {
        self.queued.set(requests);
    }

    /// What one source gets at present, requests a second; infinite where nobody is held to a share.
    pub fn set_fair_rate(&self, requests_per_s: f64) {
        self.fair_rate.set(requests_per_s);
    }

    /// Mitigations at each step, in the order of [`Step::ALL`].
    pub fn set_mitigations(&self, counts: &[u32; Step::ALL.len()]) {
        for (gauge, count) in self.mitigations.iter().zip(counts) {
            gauge.set(f64::from(*count));
        }
    }

    /// Pressure, from 0 (none) to 1 (all that can be shed is shed).
    pub fn set_pressure(&self, share: f64) {
        self.pressure.set(share);
    }
}

/// Health of one upstream server, set by checks and outlier detection.
#[derive(Debug)]
pub struct UpstreamGauges {
    pub(super) healthy: AtomicBool,
    pub(super) ejected: AtomicBool,
}

impl Default for UpstreamGauges {
    fn default() -> Self {
        Self { healthy: AtomicBool::new(true), ejected: AtomicBool::new(false) }
    }
}

impl UpstreamGauges {
    /// Whether its health check passes; servers without one count as healthy.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Relaxed);
    }

    /// Whether it is ejected as an outlier.
    pub fn set_ejected(&self, ejected: bool) {
        self.ejected.store(ejected, Relaxed);
    }
}
