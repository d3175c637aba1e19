//! Who has which place in the tables of counters. Names keep their places over reloads, so that counters only grow.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use guichet_core::bounds::{
    CERTIFICATES_MAX, METRIC_LISTENERS_MAX, METRIC_SERVICES_MAX, METRIC_UPSTREAM_SERVERS_MAX, WORKERS_MAX,
};
use guichet_notices::Notices;
use parking_lot::RwLock;

use super::super::access_log::LogCounters;
use super::super::trace::TraceCounters;
use super::counters::{LISTENER_SLOTS, SERVICE_SLOTS, UPSTREAM_SLOTS, WorkerBlock};
use super::gauges::{AdmissionGauges, Gauge, UpstreamGauges};
use super::worker::WorkerMetrics;
use crate::contract::Contracts;
use crate::link::Link;
use crate::signs::Signs;

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident, $slots:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(u16);

        impl $name {
            /// Counted together: the table was full.
            pub const OTHER: Self = Self(($slots - 1) as u16);

            pub(super) const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

slot! {
    /// The place of a service in the metrics.
    ServiceSlot, SERVICE_SLOTS
}
slot! {
    /// The place of a listener in the metrics.
    ListenerSlot, LISTENER_SLOTS
}
slot! {
    /// The place of an upstream server in the metrics.
    UpstreamSlot, UPSTREAM_SLOTS
}

impl ServiceSlot {
    /// Requests for which no service was found; label `none`.
    pub const NONE: Self = Self((SERVICE_SLOTS - 2) as u16);
}

/// The names that have places, by position.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) services: Vec<String>,
    pub(super) listeners: Vec<String>,
    /// Pool and server.
    pub(super) upstreams: Vec<(String, String)>,
    /// Services and upstream servers of the configuration in force; `None` until somebody tells.
    pub(super) live: Option<(Vec<ServiceSlot>, Vec<UpstreamSlot>)>,
    /// Name and expiry, seconds since 1970.
    pub(super) certificates: Vec<(String, i64)>,
}

/// All metrics of the process. Its lock is taken at start, at reloads and by scrapes; never for a request.
pub struct Registry {
    pub(super) version: &'static str,
    pub(super) names: RwLock<Names>,
    pub(super) workers: Vec<(Arc<WorkerBlock>, Arc<AtomicBool>)>,
    pub(super) admission: Vec<Arc<AdmissionGauges>>,
    /// Mitigations of connections.
    pub(super) connections: AdmissionGauges,
    /// How late workers come, in seconds, and whether the node is strained.
    pub(super) late: Gauge,
    pub(super) strained: Gauge,
    pub(super) upstream: Vec<Arc<UpstreamGauges>>,
    pub(super) reload_success: AtomicBool,
    pub(super) last_reload_unix_s: AtomicI64,
    pub(super) log: OnceLock<Arc<LogCounters>>,
    pub(super) trace: OnceLock<Arc<TraceCounters>>,
    pub(super) signs: OnceLock<Arc<Signs>>,
    pub(super) link: OnceLock<Arc<Link>>,
    pub(super) contracts: OnceLock<Arc<Contracts>>,
    pub(super) notices: OnceLock<Arc<Notices>>,
}

impl Registry {
    /// Metrics for this many workers, at most [`WORKERS_MAX`].
    #[must_use]
    pub fn new(version: &'static str, workers: usize) -> Arc<Self> {
        let block = |_| (Arc::new(WorkerBlock::new()), Arc::default());
        Arc::new(Self {
            version,
            names: RwLock::default(),
            workers: (0..workers.clamp(1, WORKERS_MAX)).map(block).collect(),
            admission: (0..SERVICE_SLOTS).map(|_| Arc::default()).collect(),
            connections: AdmissionGauges::default(),
            late: Gauge::default(),
            strained: Gauge::default(),
            upstream: (0..UPSTREAM_SLOTS).map(|_| Arc::default()).collect(),
            reload_success: AtomicBool::new(true),
            last_reload_unix_s: AtomicI64::new(0),
            log: OnceLock::new(),
            trace: OnceLock::new(),
            signs: OnceLock::new(),
            link: OnceLock::new(),
            contracts: OnceLock::new(),
            notices: OnceLock::new(),
        })
    }

    /// The counters of worker `index`; `None` if there is no such worker or its counters are held already.
    #[must_use]
    pub fn worker(&self, index: usize) -> Option<WorkerMetrics> {
        let (block, taken) = self.workers.get(index)?;
        WorkerMetrics::take(block.clone(), taken.clone())
    }

    /// The place of a service, the same for the same name; [`ServiceSlot::OTHER`] when the table is full.
    pub fn service(&self, name: &str) -> ServiceSlot {
        let names = &mut self.names.write().services;
        ServiceSlot(place(names, METRIC_SERVICES_MAX, |known| known == name, || name.to_owned(), ServiceSlot::OTHER.0))
    }

    /// The place of a listener, the same for the same name.
    pub fn listener(&self, name: &str) -> ListenerSlot {
        let names = &mut self.names.write().listeners;
        let other = ListenerSlot::OTHER.0;
        ListenerSlot(place(names, METRIC_LISTENERS_MAX, |known| known == name, || name.to_owned(), other))
    }

    /// The place of a server of a pool, the same for the same names.
    pub fn upstream(&self, pool: &str, server: &str) -> UpstreamSlot {
        let names = &mut self.names.write().upstreams;
        let is_it = |known: &(String, String)| known.0 == pool && known.1 == server;
        let make = || (pool.to_owned(), server.to_owned());
        UpstreamSlot(place(names, METRIC_UPSTREAM_SERVERS_MAX, is_it, make, UpstreamSlot::OTHER.0))
    }

    /// The services and servers of the configuration in force. Present values of others are no longer shown; what was
    /// counted of them stays.
    pub fn set_live(&self, services: Vec<ServiceSlot>, upstreams: Vec<UpstreamSlot>) {
        self.names.write().live = Some((services, upstreams));
    }

    /// Where the brain sets what admission thinks of a service.
    #[must_use]
    pub fn admission(&self, service: ServiceSlot) -> Arc<AdmissionGauges> {
        self.admission[service.index()].clone()
    }

    /// How the node itself fares.
    pub fn set_strain(&self, strain: guichet_core::Strain) {
        self.late.set(f64::from(strain.late_s));
        self.strained.set(f64::from(u8::from(strain.strained)));
    }

    /// Mitigations of connections at each step, in the order of the steps.
    pub fn set_connection_mitigations(&self, counts: &[u32; guichet_core::signs::Step::ALL.len()]) {
        self.connections.set_mitigations(counts);
    }

    /// Where the health of a server is set.
    #[must_use]
    pub fn upstream_health(&self, server: UpstreamSlot) -> Arc<UpstreamGauges> {
        self.upstream[server.index()].clone()
    }

    /// A reload ended; `unix_s`: when, and the figure stays where the reload failed.
    pub fn set_reload(&self, success: bool, unix_s: i64) {
        self.reload_success.store(success, Relaxed);
        if success {
            self.last_reload_unix_s.store(unix_s, Relaxed);
        }
    }

    /// The certificates served now: name and expiry, seconds since 1970.
    pub fn set_certificates(&self, mut certificates: Vec<(String, i64)>) {
        certificates.truncate(CERTIFICATES_MAX);
        certificates.sort();
        certificates.dedup_by(|a, b| a.0 == b.0);
        self.names.write().certificates = certificates;
    }

    /// The counters of the access log; the first call counts.
    pub fn set_log(&self, counters: Arc<LogCounters>) {
        drop(self.log.set(counters));
    }

    /// Where passes are counted; the first call counts.
    pub fn set_signs(&self, signs: Arc<Signs>) {
        drop(self.signs.set(signs));
    }

    /// Where figures of the status page come from.
    pub fn set_notices(&self, notices: Arc<Notices>) {
        drop(self.notices.set(notices));
    }

    /// How services stand; the first call counts.
    pub fn set_contracts(&self, contracts: Arc<Contracts>) {
        drop(self.contracts.set(contracts));
    }

    /// The counters of the trace exporter; the first call counts.
    pub fn set_trace(&self, counters: Arc<TraceCounters>) {
        drop(self.trace.set(counters));
    }
}

impl Names {
    pub(super) fn service_is_live(&self, at: usize) -> bool {
        self.live.as_ref().is_none_or(|(services, _)| services.iter().any(|slot| slot.index() == at))
    }

    pub(super) fn upstream_is_live(&self, at: usize) -> bool {
        self.live.as_ref().is_none_or(|(_, upstreams)| upstreams.iter().any(|slot| slot.index() == at))
    }
}

fn place<T>(names: &mut Vec<T>, max: usize, is_it: impl Fn(&T) -> bool, make: impl Fn() -> T, other: u16) -> u16 {
    match names.iter().position(is_it) {
        Some(at) => at as u16,
        None if names.len() < max => {
            names.push(make());
            (names.len() - 1) as u16
        }
        None => other,
    }
}
