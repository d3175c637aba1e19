//! What the admin listener may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guichet_core::Standing;
use guichet_notices::Notices;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::brain::pressure_share;
use crate::admin::{
    AdminSource, ContractView, ListenerStatus, NotReady, ReloadStatus, ServerStatus, ServiceStatus, Status,
    UpstreamStatus,
};
use crate::clock;
use crate::config::Service;
use crate::contract::{Contracts, OfService, ServiceState, Told};
use crate::link::Link;
use crate::record::access_log::LogCounters;
use crate::record::metrics::Registry;
use crate::setup::Setup;
use crate::signs::Signs;

/// What is known of the node as a whole.
pub(super) struct NodeStatus {
    pub(super) registry: Arc<Registry>,
    pub(super) setups: watch::Receiver<Arc<Setup>>,
    pub(super) workers: usize,
    pub(super) open: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) reload: Mutex<ReloadStatus>,
    pub(super) certificates_failing: Mutex<Option<String>>,
    pub(super) log: Arc<LogCounters>,
    pub(super) notices: Option<Arc<Notices>>,
    pub(super) link: Arc<Link>,
}

impl AdminSource for NodeStatus {
    fn metrics(&self) -> String {
        self.registry.expose()
    }

    fn ready(&self) -> Result<(), NotReady> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(NotReady::Draining);
        }
        if !self.open.load(Ordering::Relaxed) {
            return Err(NotReady::Starting);
        }
        Ok(())
    }

    fn status(&self) -> Status {
        let setup = self.setups.borrow().clone();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: clock::now().as_secs_f64(),
            workers: self.workers,
            degraded: self.degraded(),
            link: (*self.link.view()).clone(),
            reload: self.reload.lock().clone(),
            listeners: self.listeners(&setup),
            services: services(&setup),
            upstreams: upstreams(&setup),
        }
    }

    fn issue_code(&self, uses: u16, ends_s: u64) -> String {
        self.setups.borrow().issue_code(uses, ends_s)
    }

    fn link(&self) -> Arc<Link> {
        self.link.clone()
    }

    fn signs(&self) -> Arc<Signs> {
        self.setups.borrow().signs.clone()
    }

    fn notices(&self) -> Option<Arc<Notices>> {
        self.notices.clone()
    }

    fn contracts(&self) -> Option<Arc<Contracts>> {
        Some(self.setups.borrow().contracts.clone())
    }

    fn contract_views(&self) -> Vec<ContractView> {
        let setup = self.setups.borrow().clone();
        let states = setup.contracts.states();
        let services = setup.config.services.iter().zip(&setup.of_services);
        services.map(|(service, of)| contract_view(service, of, &states)).collect()
    }
}

fn contract_view(service: &Service, of: &OfService, states: &[ServiceState]) -> ContractView {
    let contract = service.contract.as_ref();
    let needs = contract.map(|c| c.needs.iter().map(|need| need.service.clone()).collect());
    ContractView {
        service: service.name.clone(),
        title: contract.map(|c| [c.title.en.clone(), c.title.fr.clone()]),
        state: states.iter().find(|one| one.service == service.name).cloned(),
        ways: contract.map(|c| c.ways.iter().map(|way| way.name.clone()).collect()).unwrap_or_default(),
        needs: needs.unwrap_or_default(),
        routes: service.routes.iter().map(|route| route.path.clone()).collect(),
        answers: Told::ALL.iter().map(|told| told.name()).zip(of.told()).collect(),
    }
}

impl NodeStatus {
    /// Of a node that is not open yet.
    pub(super) fn starting(
        registry: &Arc<Registry>,
        setups: watch::Receiver<Arc<Setup>>,
        workers: usize,
        log: Arc<LogCounters>,
        notices: Option<Arc<Notices>>,
        link: Arc<Link>,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry: registry.clone(),
            setups,
            workers,
            open: false.into(),
            draining: false.into(),
            reload: super::reload::first().into(),
            certificates_failing: None.into(),
            log,
            notices,
            link,
        })
    }

    fn degraded(&self) -> Vec<String> {
        let mut degraded = Vec::new();
        if self.log.failing.load(Ordering::Relaxed) {
            degraded.push("the access log cannot be written; lines are counted and lost".to_owned());
        }
        if let Some(error) = &*self.certificates_failing.lock() {
            degraded.push(format!("new certificates were not taken: {error}"));
        }
        if let Some(notices) = &self.notices {
            degraded.extend(notices.degraded());
        }
        degraded.extend(self.link.degraded());
        degraded.extend(self.setups.borrow().pools.iter().flat_map(|pool| pool.degraded().collect::<Vec<_>>()));
        degraded.extend(self.setups.borrow().signs.kernel.degraded());
        degraded.extend(self.setups.borrow().contracts.degraded());
        let reload = self.reload.lock();
        if let (false, Some(error)) = (reload.success, &reload.error) {
            degraded.push(format!("the last reload failed, the configuration before it is in force: {error}"));
        }
        degraded
    }

    fn listeners(&self, setup: &Setup) -> Vec<ListenerStatus> {
        let open = self.registry.connections_open();
        let connections = |name: &str| open.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        setup
            .config
            .listeners
            .iter()
            .map(|listener| ListenerStatus {
                name: listener.name.clone(),
                address: listener.address.to_string(),
                connections: connections(&listener.name),
            })
            .collect()
    }
}

fn services(setup: &Setup) -> Vec<ServiceStatus> {
    let posture = setup.admission.posture.load();
    let states = setup.contracts.states();
    setup
        .config
        .services
        .iter()
        .zip(&posture.services)
        .enumerate()
        .map(|(position, (service, rules))| {
            let (in_flight, queued) = setup.admission.levels(position);
            let fair = rules.tier(Standing::Anonymous).share_per_s;
            ServiceStatus {
                name: service.name.clone(),
                criticality: service.criticality.name(),
                limit: f64::from(rules.limit),
                in_flight: u64::from(in_flight),
                queued: queued as u64,
                pressure: pressure_share(rules.pressure),
                fair_rate: fair.is_finite().then_some(f64::from(fair)),
                upstream: setup.config.upstreams[service.upstream].name.clone(),
                state: states.iter().find(|one| one.service == service.name).map_or("", |one| one.state.name()),
            }
        })
        .collect()
}

fn upstreams(setup: &Setup) -> Vec<UpstreamStatus> {
    let now = clock::now();
    setup
        .pools
        .iter()
        .map(|pool| UpstreamStatus {
            name: pool.upstream().name.clone(),
            servers: pool
                .upstream()
                .servers
                .iter()
                .enumerate()
                .map(|(server, configured)| ServerStatus {
                    address: configured.address.clone(),
                    healthy: pool.is_healthy(server),
                    ejected: pool.is_ejected(server, now),
                    in_flight: u64::from(pool.server_in_flight(server)),
                })
                .collect(),
        })
        .collect()
}
