//! The brain: ten times a second, from what was counted to the next posture.

mod service;

use core::time::Duration;

use crate::bounds::{MITIGATION_EVENTS_MAX, SAMPLES_EVERYWHERE, SERVICES_MAX};
use crate::signs::{
    Doing, Event, Memory, Mitigation, Sample, ServiceSigns, SignIn, Signature, SignsConfig, Step, Subject,
};
use crate::strain::StrainWatch;
use crate::surge::SurgeWatch;
use crate::{Criticality, LimiterConfig, Moment, NodeRules, Posture, Pressure, Rules, ServiceId, Standing, Window};
use service::ServiceBrain;

/// How one service is protected.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// Slots kept for each criticality, by [`Criticality::index`].
    pub floors: [u32; Criticality::COUNT],
    /// Bounds of the concurrency limit.
    pub limiter: LimiterConfig,
    /// Requests that may wait; at most [`QUEUE_PER_SERVICE_MAX`].
    pub queue_len: u32,
    /// How long one may wait.
    pub queue_wait_max: Duration,
    /// Share of a wider prefix, as a multiple of that of one source.
    pub wide_share_factor: f32,
    /// How signatures are found and used.
    pub signs: SignsConfig,
    /// Whether a waiting room opens by itself when more people come than the service can take.
    pub waiting_room: bool,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            floors: [0; Criticality::COUNT],
            limiter: LimiterConfig::default(),
            queue_len: 128,
            queue_wait_max: Duration::from_millis(500),
            wide_share_factor: 32.0,
            signs: SignsConfig::default(),
            waiting_room: false,
        }
    }
}

/// How a node is protected.
#[derive(Clone, Debug, PartialEq)]
pub struct BrainConfig {
    /// By service id; at most [`SERVICES_MAX`], those beyond are not protected and have no rules.
    pub services: Vec<ServiceConfig>,
    /// The node's own bound on requests in flight.
    pub node: NodeRules,
    /// How signatures of connections are found and used.
    pub connections: SignsConfig,
    /// Chance comes from it: which samples are remembered.
    pub seed: u64,
}

/// Decides for one node. The proxy runs it on a thread of its own; the hot path only reads what it returns.
#[derive(Clone, Debug)]
pub struct Brain {
    services: Vec<ServiceBrain>,
    surges: SurgeWatch,
    strain: StrainWatch,
    signs: Vec<ServiceSigns>,
    /// Those of failed sign-ins, by service.
    sign_ins: Vec<ServiceSigns>,
    /// Those of connections, before anything is asked for.
    door: ServiceSigns,
    /// People of proven standing over all services.
    everywhere: Memory,
    mitigations_born: u32,
    events: Vec<Event>,
    node: NodeRules,
    generation: u64,
}

/// The memory of people of proven standing turns over within this time.
const EVERYWHERE_TURNOVER_S: f32 = 600.0;

impl Brain {
    /// A brain that has seen nothing.
    #[must_use]
    pub fn new(config: &BrainConfig) -> Self {
        let services: Vec<_> = config.services.iter().take(SERVICES_MAX).map(ServiceBrain::new).collect();
        let signs = |subject: Subject, seed: u64| {
            let of_service = |(at, service): (usize, &ServiceBrain)| {
                let seed = seed ^ crate::source::splitmix(at as u64);
                ServiceSigns::new(ServiceId(at as u16), subject, service.config.signs.clone(), seed)
            };
            services.iter().enumerate().map(of_service).collect()
        };
        let of_connections = config.connections.clone();
        Self {
            signs: signs(Subject::Arrivals, config.seed),
            sign_ins: signs(Subject::SignIns, config.seed ^ 0x519_1125),
            door: ServiceSigns::new(ServiceId::DOOR, Subject::Arrivals, of_connections, config.seed ^ 0xD002),
            services,
            surges: SurgeWatch::default(),
            strain: StrainWatch::default(),
            everywhere: Memory::new(SAMPLES_EVERYWHERE, EVERYWHERE_TURNOVER_S, config.seed),
            mitigations_born: 0,
            events: Vec::new(),
            node: config.node.clone(),
            generation: 0,
        }
    }

    /// The posture before the first tick, and the one between ticks.
    #[must_use]
    pub fn posture(&self, now: Moment) -> Posture {
        Posture {
            generation: self.generation,
            services: (0..self.services.len()).map(|at| self.rules(now, at)).collect(),
            node: self.node.clone(),
            connections: self.door.in_force().into(),
            strain: self.strain.strain(now),
        }
    }

    fn rules(&self, now: Moment, at: usize) -> Rules {
        let (service, signs) = (&self.services[at], &self.signs[at]);
        let mut in_force = signs.in_force();
        in_force.append(&mut self.sign_ins[at].in_force());
        in_force.sort_by_key(|m| (core::cmp::Reverse(m.step), m.id));
        Rules {
            mitigations: in_force.into(),
            samples_per_tick: signs.samples_per_tick(service.pressure),
            ..service.rules(now, self.surges.surges())
        }
    }

    /// Takes in what was counted since the last tick and decides. A window without a span changes nothing.
    pub fn tick(&mut self, now: Moment, window: &Window) -> Posture {
        self.generation += 1;
        if !window.span.is_zero() {
            let births = window.services.iter().map(|s| s.births).sum();
            let calm = self.services.iter().all(|s| s.pressure == Pressure::Calm);
            self.surges.tick(now, window.span, births, calm);
            self.strain.tick(now, window.span, &window.lateness);
            for (service, seen) in self.services.iter_mut().zip(&window.services) {
                service.tick(now, window.span, seen);
            }
            self.follow_signs(now, window);
        }
        self.posture(now)
    }

    fn follow_signs(&mut self, now: Moment, window: &Window) {
        self.everywhere.regain(window.span.as_secs_f32());
        for seen in &window.services {
            seen.samples.samples().iter().filter(|s| s.is_person()).for_each(|s| self.everywhere.learn(s));
        }
        for ((signs, service), seen) in self.signs.iter_mut().zip(&self.services).zip(&window.services) {
            let doing = Doing {
                span: window.span,
                pressure: service.pressure,
                turned_away: seen.turned_away >= 2.max(seen.offered.iter().sum::<u32>() / 200),
                capacity_per_s: service.capacity_per_s,
                strained: self.strain.is_strained(now),
            };
            let elsewhere = self.everywhere.features();
            let samples = seen.samples.samples();
            signs.tick(now, &doing, samples, elsewhere, &mut self.mitigations_born, &mut self.events);
        }
        self.follow_sign_ins(now, window);
        self.follow_connections(now, window);
        let surplus = self.events.len().saturating_sub(MITIGATION_EVENTS_MAX);
        self.events.drain(..surplus);
    }

    /// Sign-ins that fail harm also where nothing is pressed.
    fn follow_sign_ins(&mut self, now: Moment, window: &Window) {
        let doing = Doing {
            span: window.span,
            pressure: Pressure::Calm,
            turned_away: false,
            capacity_per_s: f32::INFINITY,
            strained: self.strain.is_strained(now),
        };
        for (signs, seen) in self.sign_ins.iter_mut().zip(&window.services) {
            let samples: Vec<Sample> = seen.sign_ins.samples().iter().filter_map(SignIn::judged).collect();
            let elsewhere = self.everywhere.features();
            signs.tick(now, &doing, &samples, elsewhere, &mut self.mitigations_born, &mut self.events);
        }
    }

    /// Connections that fail or stall have no service: they are compared with those of whoever is vouched for anywhere.
    fn follow_connections(&mut self, now: Moment, window: &Window) {
        let vouched_for = window.services.iter().flat_map(|seen| seen.samples.samples());
        let vouched_for = vouched_for.filter(|s| s.standing >= Standing::Known);
        // Partners too: whoever looks like them must not be refused before it can show its certificate.
        let vouched_for = vouched_for.map(|s| Sample { standing: Standing::Session, ..*s });
        let samples: Vec<Sample> = window.connections.samples().iter().copied().chain(vouched_for).collect();
        let doing = Doing {
            span: window.span,
            pressure: Pressure::Calm,
            turned_away: self.door.is_unusual(),
            capacity_per_s: 0.0,
            strained: self.strain.is_strained(now),
        };
        self.door.tick(now, &doing, &samples, &[], &mut self.mitigations_born, &mut self.events);
    }

    /// What befell mitigations since the last call, oldest first; at most [`MITIGATION_EVENTS_MAX`].
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// All mitigations, also those that are only watched.
    pub fn mitigations(&self) -> impl Iterator<Item = &Mitigation> {
        self.signs.iter().chain(&self.sign_ins).chain([&self.door]).flat_map(|signs| signs.mitigations())
    }

    /// Holds a mitigation at a step until then. Whether there is one of this id.
    pub fn pin(&mut self, id: u32, step: Step, now: Moment, until: Moment) -> bool {
        let found = self
            .signs
            .iter_mut()
            .chain(&mut self.sign_ins)
            .chain([&mut self.door])
            .flat_map(|signs| signs.mitigations_mut())
            .find(|m| m.id == id);
        let Some(mitigation) = found else { return false };
        let before = mitigation.step;
        mitigation.pin(step, now, until);
        if before != step {
            self.events.push(Event::Stepped(*mitigation, before));
        }
        true
    }

    /// Acts on a signature of the operator's at a service, or at [`ServiceId::DOOR`], until then; the id, or `None` where
    /// there is no such service or
    /// all its places are held by the operator.
    pub fn order(
        &mut self,
        service: ServiceId,
        signature: Signature,
        step: Step,
        now: Moment,
        until: Moment,
    ) -> Option<u32> {
        let signs = if service == ServiceId::DOOR { &mut self.door } else { self.signs.get_mut(service.index())? };
        signs.order(signature, step, now, until, &mut self.mitigations_born, &mut self.events)
    }

    /// Ends a mitigation, and forbids its signature until then (`None`: for five minutes). Whether there is one of this
    /// id.
    pub fn end(&mut self, id: u32, now: Moment, until: Option<Moment>) -> bool {
        let mut all = self.signs.iter_mut().chain(&mut self.sign_ins).chain([&mut self.door]);
        all.any(|signs| signs.end(id, now, until, &mut self.events))
    }

    /// Takes over what a former brain learned of connections, and their mitigations.
    pub fn adopt_connections(&mut self, former: &Self) {
        let config = self.door.config().clone();
        self.door = former.door.clone();
        self.door.reconfigure(ServiceId::DOOR, config);
    }

    /// Takes over what a former brain learned of a service, and its mitigations: for a reload of the configuration.
    pub fn adopt(&mut self, former: &Self, from: ServiceId, to: ServiceId) {
        if from.index() >= former.services.len() {
            return;
        }
        if let Some(service) = self.services.get(to.index()) {
            let kinds = [(&mut self.signs, &former.signs), (&mut self.sign_ins, &former.sign_ins)];
            for (signs, old) in kinds {
                signs[to.index()] = old[from.index()].clone();
                signs[to.index()].reconfigure(to, service.config.signs.clone());
            }
        }
        self.everywhere = former.everywhere.clone();
        self.mitigations_born = self.mitigations_born.max(former.mitigations_born);
    }
}
