//! Everything that follows from one configuration: made at start and at each reload, then only read.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::bounds::CONCURRENCY_LIMIT_MAX;
use guichet_core::signs::SignsConfig;
use guichet_core::{BrainConfig, Criticality, LimiterConfig, NodeRules, ServiceConfig};

use crate::admit::{Admission, Shared, Sources};
use crate::classify::HostIndex;
use crate::clock;
use crate::config::{ClientKind, Config, Secret, Service};
use crate::contract::{self, Contracts, OfService};
use crate::forward::{Forwarder, PoolShared, TlsError};
use crate::identify::{PartnerIndex, SessionSigner};
use crate::listen::client_hello::ClientHelloInfo;
use crate::passes::{Passes, TokenSigner};
use crate::record::metrics::{Registry, ServiceSlot, UpstreamSlot};
use crate::signs::{ConnectionLooks, Signs};

/// What all workers share of one configuration.
pub struct Setup {
    /// Counts the configurations since start.
    pub generation: u64,
    /// The configuration itself.
    pub config: Config,
    /// Services by host.
    pub hosts: HostIndex,
    /// Partners by what they show.
    pub partners: PartnerIndex,
    /// Signs and verifies sessions.
    pub signer: SessionSigner,
    /// What is known of mitigations, whatever the configuration.
    pub signs: Arc<Signs>,
    /// Gates, accounts, posture.
    pub admission: Arc<Shared>,
    /// Pools, by position.
    pub pools: Vec<Arc<PoolShared>>,
    /// Places in the metrics, by position of the service.
    pub service_slots: Vec<ServiceSlot>,
    /// Places in the metrics, by position of the pool and of its server.
    pub server_slots: Vec<Vec<UpstreamSlot>>,
    /// What all configurations share of contracts: orders, states, kept answers.
    pub contracts: Arc<Contracts>,
    /// Services as contracts see them, by position.
    pub of_services: Vec<Arc<OfService>>,
    /// What the brain starts from.
    pub brain: BrainConfig,
    /// What passes are signed with, as are sessions.
    seed: Secret,
}

impl Setup {
    /// Puts a configuration in place. `former` gives the gates of services that stay.
    ///
    /// # Errors
    /// A pool whose TLS material cannot be used.
    pub fn new(
        config: Config,
        seed: &[u8; 32],
        sources: Arc<Sources>,
        signs: Arc<Signs>,
        contracts: Arc<Contracts>,
        registry: &Registry,
        former: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let now = clock::now();
        let brain = brain_config(&config, seed);
        signs.allowed.configure(&config.mitigations.allow);
        signs.crawlers.declare(&config.mitigations.crawlers);
        let posture = guichet_core::Brain::new(&brain).posture(now);
        let admission = Shared::new(&config.services, posture, sources, former.map(|f| &*f.admission));
        let pools = config.upstreams.iter().map(|u| PoolShared::new(u.clone(), now)).collect::<Result<Vec<_>, _>>()?;
        for pool in &pools {
            let before = former.and_then(|f| f.pools.iter().find(|p| p.upstream().name == pool.upstream().name));
            if let Some(before) = before {
                pool.inherit(before);
            }
        }
        let server_slots: Vec<Vec<_>> = config
            .upstreams
            .iter()
            .map(|u| u.servers.iter().map(|server| registry.upstream(&u.name, &server.address)).collect())
            .collect();
        let service_slots: Vec<_> = config.services.iter().map(|s| registry.service(&s.name)).collect();
        registry.set_live(service_slots.clone(), server_slots.iter().flatten().copied().collect());
        Ok(Self {
            generation: former.map_or(0, |f| f.generation + 1),
            hosts: HostIndex::new(&config.services),
            partners: PartnerIndex::new(&config.partners),
            signer: SessionSigner::new(seed),
            signs,
            admission: Arc::new(admission),
            pools,
            service_slots,
            server_slots,
            contracts,
            of_services: contract::of_services(&config, former.map(|f| (&f.config, f.of_services.as_slice()))),
            brain,
            seed: Secret(*seed),
            config,
        })
    }
}

impl Setup {
    /// What a connection looks like. It is spared where it asks for what is critical or for partners only.
    #[must_use]
    pub fn look(&self, hello: Option<&ClientHelloInfo>, client: IpAddr) -> ConnectionLooks {
        let mut looks = ConnectionLooks::new(self.signs.hash, &self.config.mitigations.atlas, hello, client);
        let asked = hello.and_then(|hello| hello.sni.as_deref()).and_then(|name| self.hosts.find(name));
        looks.spared = asked
            .and_then(|at| self.config.services.get(at))
            .is_some_and(|service| service.partner_only || service.criticality == Criticality::Critical);
        looks
    }

    /// A new code that lets somebody in for whom nothing else works, good for `uses` passes until `ends_s`.
    #[must_use]
    pub fn issue_code(&self, uses: u16, ends_s: u64) -> String {
        // Where the serial numbers begin need not be secret, only differ from start to start.
        let chance = ends_s ^ clock::now().0;
        Passes::code(&TokenSigner::new(&self.seed.0), &self.signs.passes, uses, ends_s, chance)
    }
}

/// How long a source must behave to be known: the longest that any service asks, since accounts are shared.
#[must_use]
pub fn known_after(config: &Config) -> Duration {
    config.services.iter().map(|s| s.known_after).max().unwrap_or(Duration::from_secs(600))
}

fn brain_config(config: &Config, seed: &[u8; 32]) -> BrainConfig {
    let limit = u32::try_from(config.node.requests_in_flight_max).unwrap_or(u32::MAX);
    let mut floors = [0; Criticality::COUNT];
    // A fifth of the node for the critical and a tenth for the important, whatever floods the rest.
    floors[Criticality::Critical.index()] = limit / 5;
    floors[Criticality::Important.index()] = limit / 10;
    BrainConfig {
        services: config.services.iter().map(|s| service_config(s)).collect(),
        node: NodeRules { limit, floors },
        connections: SignsConfig {
            mode: config.mitigations.connections,
            challenges: false,
            collateral_max: config.mitigations.connections_collateral_max as f32,
        },
        // Which samples are remembered must not be foreseen; the other half of the seed is that of the hashes.
        seed: u64::from_le_bytes([seed[8], seed[9], seed[10], seed[11], seed[12], seed[13], seed[14], seed[15]]),
    }
}

/// How the brain is to protect a service.
pub(crate) fn service_config(service: &Service) -> ServiceConfig {
    // A slot kept for what nothing here is would never be used by anybody.
    let occurs = |criticality: Criticality| {
        service.criticality == criticality || service.routes.iter().any(|route| route.criticality == criticality)
    };
    let share = |criticality: Criticality| {
        if !occurs(criticality) {
            return 0;
        }
        let slots = service.reserve[criticality.index()] * f64::from(service.concurrency_initial);
        slots.ceil() as u32
    };
    ServiceConfig {
        floors: std::array::from_fn(|i| share(Criticality::ALL[i])),
        limiter: LimiterConfig {
            initial: service.concurrency_initial,
            min: service.concurrency_min,
            max: service.concurrency_max.min(CONCURRENCY_LIMIT_MAX),
        },
        queue_len: u32::try_from(service.queue_length).unwrap_or(u32::MAX),
        queue_wait_max: service.queue_wait,
        waiting_room: service.waiting_room && service.passes,
        signs: SignsConfig {
            mode: service.mitigations,
            challenges: service.passes && service.client_kind == ClientKind::Browser,
            collateral_max: service.collateral_max as f32,
        },
        ..ServiceConfig::default()
    }
}

/// One worker's own part of a configuration.
pub struct WorkerSetup {
    /// What is shared.
    pub shared: Arc<Setup>,
    /// Its way to admit.
    pub admission: Rc<Admission>,
    /// Its way to sign and verify passes.
    pub passes: Passes,
    /// Its way to the upstreams.
    pub forwarder: Rc<Forwarder>,
}

impl WorkerSetup {
    /// `seed` differs from worker to worker.
    #[must_use]
    pub fn new(shared: Arc<Setup>, seed: u64) -> Self {
        let (admission, services) = (shared.admission.clone(), &shared.config.services);
        let workers = shared.config.node.workers;
        let admission = Rc::new(Admission::new(admission, services, shared.signs.clone(), workers, seed));
        let forwarder = Rc::new(Forwarder::new(&shared.pools, seed));
        let passes = Passes::new(&shared.seed.0, shared.signs.passes.clone(), seed);
        Self { shared, admission, passes, forwarder }
    }
}
