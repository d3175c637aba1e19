//! The brain: ten times a second, from what was counted to the next posture.

use core::time::Duration;

use crate::bounds::{H2_STREAMS_MAX, MITIGATION_EVENTS_MAX, QUEUE_PER_SERVICE_MAX, SAMPLES_EVERYWHERE, SERVICES_MAX};
use crate::room::{Crowding, RoomWatch};
use crate::signs::{
    Doing, Event, InForce, Memory, Mitigation, Sample, ServiceSigns, SignIn, Signature, SignsConfig, Step, Subject,
};
use crate::surge::SurgeWatch;
use crate::thresholds::thresholds;
use crate::{
    Criticality, DemandHistogram, Limiter, LimiterConfig, LimiterSample, Moment, NodeRules, Posture, Pressure, Rules,
    ServiceId, ServiceWindow, Standing, Surges, TierRule, Window,
};

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

/// A press is over when demand has stayed under capacity for this long; then the service is elevated for a while.
const PRESSED_HOLD: Duration = Duration::from_secs(2);
const ELEVATED_HOLD: Duration = Duration::from_secs(8);
/// More is let to the lanes than the upstream can do: their queue sorts by priority what the thresholds let through.
const GAIN_MIN: f32 = 1.2;
const GAIN_MAX: f32 = 8.0;
/// Sources of these buckets ask no more than a person does who reads: up to 1.25 requests a second.
const LIGHT_BUCKETS: usize = 5;
/// More of them than this multiple of what is left is a crowd.
const CROWDED: f32 = 1.1;
/// Those of standing who ask more than this part of the capacity fill a service that is saturated; else others do.
const USED_FULL: f32 = 0.7;
/// Lots are drawn anew at this interval.
const LOT_EPOCH_US: u64 = 15_000_000;
/// Pace taken as human before enough calm was seen, and the bounds of what can be learned.
const PACE_HUMAN_DEFAULT: f32 = 2.0;
const PACE_HUMAN_MIN: f32 = 1.25;
const PACE_HUMAN_MAX: f32 = 10.0;
/// A source is suspect at this multiple of the calm pace, and never below the rate that follows.
const SUSPECT_FACTOR: f32 = 8.0;
const SUSPECT_RATE_MIN: f32 = 10.0;
/// Calm is learned with this time constant, and believed after this many requests.
const CALM_LEARN_S: f32 = 60.0;
const CALM_REQUESTS_MIN: u32 = 300;

/// Decides for one node. The proxy runs it on a thread of its own; the hot path only reads what it returns.
#[derive(Clone, Debug)]
pub struct Brain {
    services: Vec<ServiceBrain>,
    surges: SurgeWatch,
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
        let doing =
            Doing { span: window.span, pressure: Pressure::Calm, turned_away: false, capacity_per_s: f32::INFINITY };
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

#[derive(Clone, Debug)]
struct ServiceBrain {
    config: ServiceConfig,
    limiter: Limiter,
    pressure: Pressure,
    /// When demand was last over capacity.
    pressed_at: Moment,
    /// Requests a second that the upstream can do; 0: not known.
    capacity_per_s: f32,
    throughput_per_s: f32,
    gain: f32,
    demand: DemandHistogram,
    calm: DemandHistogram,
    calm_requests: u32,
    calm_pace_p999: f32,
    tiers: [TierRule; Standing::COUNT],
    room: RoomWatch,
}

impl ServiceBrain {
    fn new(config: &ServiceConfig) -> Self {
        let floors_sum = config.floors.iter().copied().fold(0, u32::saturating_add);
        Self {
            config: config.clone(),
            limiter: Limiter::new(config.limiter, floors_sum),
            pressure: Pressure::Calm,
            pressed_at: Moment(0),
            capacity_per_s: 0.0,
            throughput_per_s: 0.0,
            gain: GAIN_MIN,
            demand: DemandHistogram::default(),
            calm: DemandHistogram::default(),
            calm_requests: 0,
            calm_pace_p999: 0.0,
            tiers: [TierRule::OPEN; Standing::COUNT],
            room: RoomWatch::default(),
        }
    }

    fn tick(&mut self, now: Moment, span: Duration, seen: &ServiceWindow) {
        let span_s = span.as_secs_f32();
        let offered: u32 = seen.offered.iter().sum();
        let limit = self.limiter.limit();
        let saturated = seen.queued.mean >= 0.2 || seen.lanes_refused > 0 || seen.inflight.mean >= 0.9 * limit as f32;
        self.follow_demand(seen, offered, span_s);
        self.follow_capacity(seen, span_s, saturated);
        let overloaded = self.overloaded(seen, offered, saturated);
        self.follow_pressure(now, overloaded);
        if self.pressure == Pressure::Calm && !saturated {
            self.learn_calm(seen, offered, span_s);
        }
        self.limiter.update(&LimiterSample {
            span,
            completed: seen.completed,
            errors: seen.errors,
            rtt: &seen.rtt,
            inflight: seen.inflight,
            queued_max: seen.queued.max,
        });
        self.decide(saturated);
        if self.config.waiting_room {
            // Who comes after those of standing gives way to them: only these count as a use of the service.
            let used = self.demand_before() / self.capacity_per_s.max(1e-3);
            let crowding = Crowding {
                crowded: self.pressure == Pressure::Pressed && self.is_crowded(),
                used,
                full: saturated && used > USED_FULL,
                capacity_per_s: self.capacity_per_s,
            };
            self.room.tick(now, span, &seen.room, &crowding);
        }
    }

    /// Follows the demand within one window where that holds enough requests or far more than before; slower where
    /// few requests would make noise.
    fn follow_demand(&mut self, seen: &ServiceWindow, offered: u32, span_s: f32) {
        let before = self.demand.total();
        let noise = 3.0 * (offered as f32).sqrt() / span_s;
        let jump = seen.demand.total() / span_s > 1.5 * before + noise;
        let weight = if jump { 1.0 } else { (offered as f32 / 300.0).clamp(0.1, 1.0) };
        self.demand.blend(&seen.demand, 1.0 - weight, weight / span_s);
    }

    /// What the upstream can do is what it does while requests wait for it; without that, at least what it did.
    fn follow_capacity(&mut self, seen: &ServiceWindow, span_s: f32, saturated: bool) {
        let throughput = seen.completed_cost / span_s;
        let weight = 1.0 - (-span_s / 0.7).exp();
        self.throughput_per_s += (throughput - self.throughput_per_s) * weight;
        if saturated {
            if self.pressure != Pressure::Pressed {
                // Until it is measured: what the limit allows at the time of an unhurried answer (Little's law).
                let little = self.limiter.base_rtt_s().map_or(0.0, |s| self.limiter.limit() as f32 / s.max(1e-4));
                self.capacity_per_s = self.capacity_per_s.max(throughput).max(0.8 * little);
            } else {
                self.capacity_per_s += (throughput - self.capacity_per_s) * weight;
            }
        } else {
            self.capacity_per_s = self.capacity_per_s.max(self.throughput_per_s);
        }
    }

    fn overloaded(&self, seen: &ServiceWindow, offered: u32, saturated: bool) -> bool {
        let turned_away = seen.lanes_refused + seen.lanes_shed;
        turned_away >= 2.max(offered / 200)
            || seen.queued.mean >= 0.5 * self.config.queue_len as f32
            || (saturated && self.capacity_per_s > 0.0 && self.demand.total() > 1.3 * self.capacity_per_s)
    }

    fn follow_pressure(&mut self, now: Moment, overloaded: bool) {
        let demand_over = self.pressure == Pressure::Pressed && self.demand.total() > 0.9 * self.capacity_per_s;
        if overloaded || demand_over {
            if self.pressure != Pressure::Pressed {
                self.gain = GAIN_MIN;
            }
            (self.pressure, self.pressed_at) = (Pressure::Pressed, now);
            return;
        }
        let since = now.since(self.pressed_at);
        self.pressure = match self.pressure {
            Pressure::Pressed if since >= PRESSED_HOLD => Pressure::Elevated,
            Pressure::Elevated if since >= PRESSED_HOLD + ELEVATED_HOLD => Pressure::Calm,
            same => same,
        };
    }

    fn learn_calm(&mut self, seen: &ServiceWindow, offered: u32, span_s: f32) {
        self.calm_requests = self.calm_requests.saturating_add(offered);
        self.calm.blend(&seen.demand, (-span_s / CALM_LEARN_S).exp(), 1.0);
        if self.calm_requests >= CALM_REQUESTS_MIN {
            self.calm_pace_p999 = self.calm.source_quantile(0.999).unwrap_or(0.0).min(PACE_HUMAN_MAX * 10.0);
        }
    }

    /// Whether strangers who each ask no more than a person does are too many for what those before them leave.
    fn is_crowded(&self) -> bool {
        let of = |standing: Standing| &self.demand.tiers[standing.index()];
        let before = self.demand_before();
        let strangers = [Standing::Anonymous, Standing::Newcomer].into_iter();
        let light: f32 = strangers.flat_map(|standing| &of(standing).cost[..LIGHT_BUCKETS]).sum();
        self.capacity_per_s > 0.0 && light > CROWDED * (self.capacity_per_s - before).max(0.0)
    }

    /// What those of standing ask, requests of mean cost a second.
    fn demand_before(&self) -> f32 {
        let before = [Standing::Partner, Standing::Session, Standing::Proven, Standing::Known];
        before.into_iter().map(|standing| self.demand.tiers[standing.index()].total()).sum()
    }

    fn pace_human(&self) -> f32 {
        if self.calm_pace_p999 <= 0.0 {
            return PACE_HUMAN_DEFAULT;
        }
        self.calm_pace_p999.clamp(PACE_HUMAN_MIN, PACE_HUMAN_MAX)
    }

    fn decide(&mut self, saturated: bool) {
        if self.pressure != Pressure::Pressed {
            self.tiers = [TierRule::OPEN; Standing::COUNT];
            return;
        }
        // The lanes have room although some are held back: the capacity was thought too small. Probing upwards lets
        // more of the lowest in, never anyone before those above.
        self.gain = if saturated { (self.gain * 0.9).max(GAIN_MIN) } else { (self.gain * 1.1).min(GAIN_MAX) };
        let budget = self.capacity_per_s * self.gain;
        self.tiers = if self.demand.total() <= budget {
            [TierRule::OPEN; Standing::COUNT]
        } else {
            thresholds(&self.demand, budget)
        };
    }

    fn rules(&self, now: Moment, surges: Surges) -> Rules {
        let pressed = self.pressure == Pressure::Pressed;
        let suspect_rate = (SUSPECT_FACTOR * self.pace_human()).max(SUSPECT_RATE_MIN);
        Rules {
            limit: self.limiter.limit(),
            floors: self.config.floors,
            queue_len: self.config.queue_len.min(QUEUE_PER_SERVICE_MAX as u32),
            queue_wait_max: self.config.queue_wait_max,
            pressure: self.pressure,
            tiers: self.tiers,
            suspect_rate_per_s: if pressed { suspect_rate } else { f32::INFINITY },
            calm_pace_p999: self.calm_pace_p999,
            capacity_per_s: self.capacity_per_s,
            lot_epoch: now.0 / LOT_EPOCH_US,
            surges,
            wide_share_factor: self.config.wide_share_factor,
            h2_streams_per_connection: match self.pressure {
                Pressure::Calm => H2_STREAMS_MAX,
                Pressure::Elevated => H2_STREAMS_MAX / 2,
                Pressure::Pressed => H2_STREAMS_MAX / 8,
            },
            mitigations: std::sync::Arc::<[InForce]>::from([]),
            samples_per_tick: 0,
            room: self.room.rules(),
        }
    }
}
