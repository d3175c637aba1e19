//! One node of the estate, event by event.

mod flights;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};

use super::check::{MitigationWatch, Watch, tables_are_bounded};
use super::line::{Held, Look, RoomCheck};
use super::{Phase, Population, Report, Rng, Scenario, Shape, Upstream};
use crate::bounds::SOURCE_SHARDS;
use crate::signs::{Dimension, Features, Sample, Sampler};
use crate::source::splitmix;
use crate::{
    Asking, Brain, Criticality, Decision, Gauge, Lanes, Moment, NodeGate, NodeSlot, Offer, Posture, Pressure, Reason,
    ServiceId, Slot, SourceKey, SourceShard, SourceView, Standing, Ticket, Window, Woken, decide, effective_standing,
    mitigated_standing, shard_of, waits_in_room,
};

const TICK_US: u64 = 100_000;
const SWEEP_US: u64 = 10_000;
/// The account apart of whoever was let in from the room; no mitigation has this number.
const ENTERED: u32 = u32::MAX - 1;
/// Sources of one population that share a wider prefix.
const SOURCES_PER_PREFIX: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(u32),
    /// `entered`: it waited in the room, and was let in.
    Request {
        population: u16,
        left: u16,
        source: u64,
        entered: bool,
    },
    /// Somebody who waits looks whether it is its turn.
    Look {
        population: u16,
        left: u16,
        source: u64,
        held: Held,
    },
    Visit(u16),
    Sweep,
    Tick,
}

struct Flight {
    population: u16,
    key: SourceKey,
    sent: Moment,
    started: Moment,
    cost_s: f64,
    failed: bool,
    slot: Option<Slot>,
    node: Option<NodeSlot>,
}

struct Service {
    id: ServiceId,
    lanes: Lanes,
    upstream: Upstream,
    waiting: BTreeMap<Ticket, u32>,
    inflight: Gauge,
    queued: Gauge,
    watch: Watch,
    room: RoomCheck,
}

struct Node<'a> {
    scenario: &'a Scenario,
    number: u64,
    seed: u64,
    rng: Rng,
    now: Moment,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    shards: Vec<SourceShard>,
    brain: Brain,
    posture: Posture,
    window: Window,
    gate: NodeGate,
    services: Vec<Service>,
    sampler: Sampler,
    mitigations: MitigationWatch,
    flights: Vec<Flight>,
    free: Vec<u32>,
    report: Report,
}

/// Plays node `number` of the estate: its own sources, its own core. Same seed, same report.
#[must_use]
pub fn play_node(scenario: &Scenario, number: u64, seed: u64) -> Report {
    let mut node = Node::new(scenario, number, seed);
    for population in 0..scenario.populations.len() {
        node.schedule_visit(population as u16);
    }
    node.at(TICK_US, Event::Tick);
    node.at(SWEEP_US, Event::Sweep);
    // Visits end with the play; what is then under way is let end, so that leaks show.
    while let Some(Reverse((at, _, event))) = node.events.pop() {
        node.now = Moment(at);
        node.play(event);
    }
    for service in &node.services {
        if service.lanes.inflight() != 0 || service.lanes.queued() != 0 {
            node.report.breach(|| format!("left at the end: {:?}", service.lanes));
        }
    }
    node.mitigations.finish(&mut node.report);
    if node.gate.inflight() != 0 {
        node.report.breach(|| "permits of the node left at the end".into());
    }
    node.report
}

impl<'a> Node<'a> {
    fn new(scenario: &'a Scenario, number: u64, seed: u64) -> Self {
        let brain = Brain::new(&scenario.brain);
        let services = scenario.upstreams.iter().enumerate().map(|(n, model)| Service {
            id: ServiceId(n as u16),
            lanes: Lanes::new(),
            upstream: Upstream::new(*model),
            waiting: BTreeMap::new(),
            inflight: Gauge::default(),
            queued: Gauge::default(),
            watch: Watch::default(),
            room: RoomCheck::default(),
        });
        Self {
            scenario,
            number,
            seed,
            rng: Rng::new(seed ^ splitmix(number)),
            now: Moment(0),
            events: BinaryHeap::new(),
            sequence: 0,
            shards: (0..SOURCE_SHARDS).map(|_| SourceShard::new(scenario.sources.clone())).collect(),
            posture: brain.posture(Moment(0)),
            brain,
            window: Window::new(scenario.upstreams.len()),
            gate: NodeGate::default(),
            services: services.collect(),
            sampler: Sampler::new(seed),
            mitigations: MitigationWatch::default(),
            flights: Vec::new(),
            free: Vec::new(),
            report: Report::default(),
        }
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_us, self.sequence, event)));
    }

    fn after(&mut self, span_s: f64, event: Event) {
        self.at(self.now.0 + (span_s * 1e6) as u64, event);
    }

    fn population(&self, population: u16) -> &'a Population {
        &self.scenario.populations[usize::from(population)]
    }

    fn play(&mut self, event: Event) {
        let over = self.now.as_secs_f64() >= self.scenario.seconds;
        match event {
            Event::Visit(population) if !over => self.visit(population),
            Event::Visit(_) => {}
            Event::Request { population, left, source, entered } => {
                let next = (left > 1).then(|| self.rng.exponential(self.population(population).gap_s));
                if let Some(held) = self.request(population, source, entered) {
                    // Programs do not wait.
                    if self.population(population).real {
                        self.after(1.0, Event::Look { population, left, source, held });
                    }
                } else if let Some(gap_s) = next {
                    self.after(gap_s, Event::Request { population, left: left - 1, source, entered });
                }
            }
            Event::Look { population, left, source, held } => {
                let service = usize::from(self.population(population).service);
                let room = self.posture.services[service].room.as_ref();
                match held.look(room, self.now, &mut self.rng, &mut self.report) {
                    _ if over => self.report.still_waiting += 1,
                    Look::Enters => self.play(Event::Request { population, left, source, entered: true }),
                    Look::Open => self.play(Event::Request { population, left, source, entered: false }),
                    Look::Waits(held, span_s) => self.after(span_s, Event::Look { population, left, source, held }),
                }
            }
            Event::Done(flight) => self.done(flight),
            Event::Sweep => {
                self.sweep();
                if !over || !self.events.is_empty() && self.busy() {
                    self.at(self.now.0 + SWEEP_US, Event::Sweep);
                }
            }
            Event::Tick => {
                self.tick();
                if !over || self.busy() {
                    self.at(self.now.0 + TICK_US, Event::Tick);
                }
            }
        }
    }

    fn busy(&self) -> bool {
        self.services.iter().any(|s| s.lanes.inflight() > 0 || s.lanes.queued() > 0)
    }

    fn schedule_visit(&mut self, population: u16) {
        let visits = self.population(population);
        // At the full rate; those above the level of the moment are thinned out, so that any shape comes out right.
        let at_s = self.now.as_secs_f64().max(visits.shape.starts_s());
        let wait_s = at_s - self.now.as_secs_f64() + self.rng.exponential(1.0 / visits.visits_per_s);
        if self.now.as_secs_f64() + wait_s < visits.shape.ends_s() {
            self.after(wait_s, Event::Visit(population));
        }
    }

    fn visit(&mut self, population: u16) {
        self.schedule_visit(population);
        let visitor = self.population(population);
        if self.rng.unit() >= visitor.shape.level(self.now.as_secs_f64()) {
            return;
        }
        let source = match visitor.shape {
            Shape::Adapting(from, _) => {
                let turn = ((self.now.as_secs_f64() - from) / 10.0) as u64;
                let parts = [64, 16, 256, 4, 1024][turn as usize % 5];
                let active = (visitor.sources / parts).max(1);
                (turn * active + self.rng.below(active)) % visitor.sources
            }
            Shape::Steady | Shape::Between(..) | Shape::Ramp(..) => self.rng.below(visitor.sources),
        };
        self.play(Event::Request { population, left: visitor.burst as u16, source, entered: false });
    }

    fn key(&self, population: u16, source: u64, wide: bool) -> SourceKey {
        let source = if wide { source / SOURCES_PER_PREFIX } else { source };
        let name = splitmix(self.number << 16 | u64::from(population) << 1 | u64::from(wide));
        SourceKey::from_hash(splitmix(name.wrapping_mul(3) ^ splitmix(self.seed ^ source)))
    }

    fn count(&mut self, population: u16, sent: Moment) -> &mut super::Count {
        let phase = Phase::at(self.scenario, sent.as_secs_f64());
        self.report.count(usize::from(population), phase)
    }

    fn observe(&mut self, key: SourceKey, service: ServiceId) -> SourceView {
        let suspect_rate = self.posture.services[service.index()].suspect_rate_per_s;
        self.shards[shard_of(key)].observe(key, self.now, service, 1.0, suspect_rate)
    }

    /// One request; where the room holds it, the place that it got.
    fn request(&mut self, population: u16, source: u64, entered: bool) -> Option<Held> {
        let (now, asker) = (self.now, self.population(population));
        let service = ServiceId(asker.service);
        self.report.requests += 1;
        let key = self.key(population, source, false);
        let features = self.look(population, source);
        let mark = self.posture.services[service.index()].mark(&features).filter(|_| !asker.allowed);
        let key = mark.map_or(key, |mark| key.apart(mark));
        // A pass has an account of its own, and a standing.
        let key = if entered { key.apart(ENTERED) } else { key };
        let proved = asker.proved.or(entered.then_some(Standing::Proven));
        let view = self.observe(key, service);
        let rules = &self.posture.services[service.index()];
        let mitigation = rules.mitigation(&features).copied().filter(|_| !asker.allowed);
        let known = effective_standing(proved, &view, now, rules);
        let standing = mitigated_standing(known, asker.criticality, mitigation.as_ref());
        let rules = &self.posture.services[service.index()];
        let waits = known != Standing::Proven && waits_in_room(standing, asker.criticality, &view, now, rules);
        let counted = if waits { Standing::Suspect } else { standing };
        self.sample(service, asker, features, known, &view);
        let pressed = self.posture.services[service.index()].pressure == Pressure::Pressed;
        // The wider prefix costs a second look: only taken while it can matter.
        let wide = (pressed && proved.is_none()).then(|| self.observe(self.key(population, source, true), service));
        self.window.services[service.index()].note_offered(counted, &view, 1.0);
        let count = self.count(population, now);
        count.sent += 1;
        count.suspect += u64::from(standing == Standing::Suspect);
        let asking = Asking {
            service,
            criticality: asker.criticality,
            proved,
            view: &view,
            wide: wide.as_slice(),
            bid: 0,
            cost: 1.0,
            wait_max: None,
            mitigation: mitigation.as_ref(),
        };
        let (ask, charges) = match decide(&asking, now, &self.posture.services[service.index()]) {
            Decision::Offer(ask, charges) => (ask, charges),
            Decision::Refuse(reason) => {
                let held = self.hold(service, key, reason);
                if held.is_some() && (proved.is_some() || asker.criticality == Criticality::Critical) {
                    self.report.breach(|| format!("{} had to wait in the room", asker.name));
                }
                let window = &mut self.window.services[service.index()];
                window.note_held_back(counted);
                window.turned_away += u32::from(mitigation.is_none() && held.is_none());
                self.refuse(population, key, now, reason);
                return held;
            }
        };
        let node = match self.gate.enter(asker.criticality, &self.posture.node) {
            Ok(slot) => slot,
            Err(reason) => {
                self.refuse(population, key, now, reason);
                return None;
            }
        };
        let flight = self.fly(population, key, node);
        let mut woken = Woken::new();
        let rules = &self.posture.services[service.index()];
        match self.services[service.index()].lanes.offer(&ask, now, rules, &mut woken) {
            Offer::Admit(slot) => {
                self.commit(charges);
                self.start(service, flight, slot);
            }
            Offer::Wait(ticket) => {
                self.commit(charges);
                let at = &mut self.services[service.index()];
                at.waiting.insert(ticket, flight);
                at.watch.waits();
                at.queued.up(now);
            }
            Offer::Refuse(reason) => {
                let window = &mut self.window.services[service.index()];
                window.lanes_refused += 1;
                window.turned_away += u32::from(mitigation.is_none());
                self.end(flight);
                self.refuse(population, key, now, reason);
            }
        }
        self.wake(service, woken);
        None
    }

    /// The place on the line of somebody whom the room holds; counted as the core wants it.
    fn hold(&mut self, service: ServiceId, key: SourceKey, reason: Reason) -> Option<Held> {
        let room = self.posture.services[service.index()].room.as_ref().filter(|_| reason == Reason::WaitingRoom)?;
        let held = Held::new(room, self.now, key.lot(room.opened.0));
        self.window.services[service.index()].room.note(held.place);
        Some(held)
    }

    /// What a request looks like.
    fn look(&mut self, population: u16, source: u64) -> Features {
        let visitor = self.population(population);
        let turn = ((self.now.as_secs_f64() - visitor.shape.starts_s()) / 10.0) as u64;
        let has_session = visitor.proved == Some(Standing::Session);
        visitor
            .looks
            .of(source, turn, has_session, &mut self.rng)
            .with(Dimension::Narrow, self.key(population, source, false).get() as u32)
            .with(Dimension::Wide, self.key(population, source, true).get() as u32)
    }

    fn sample(
        &mut self,
        service: ServiceId,
        asker: &Population,
        features: Features,
        known: Standing,
        view: &SourceView,
    ) {
        let rules = &self.posture.services[service.index()];
        let person = matches!(known, Standing::Known | Standing::Session);
        self.mitigations.asked(&rules.mitigations, &features, person && asker.real);
        let bag = &mut self.window.services[service.index()].samples;
        if let Some(place) = self.sampler.place(bag, rules.samples_per_tick) {
            let (criticality, pace_per_s) = (asker.criticality, view.pace_per_s);
            bag.keep(place, Sample { features, weight: 1.0, pace_per_s, standing: known, criticality });
        }
    }

    fn commit(&mut self, charges: crate::Charges) {
        let (now, shards) = (self.now, &mut self.shards);
        charges.commit(|key, service, rate, cost| shards[shard_of(key)].charge(key, now, service, rate, cost));
    }

    fn sweep(&mut self) {
        for n in 0..self.services.len() {
            let mut woken = Woken::new();
            let at = &mut self.services[n];
            at.lanes.sweep(self.now, &self.posture.services[n], &mut woken);
            let id = at.id;
            self.wake(id, woken);
            self.services[n].watch.agrees(&self.services[n].lanes, &self.posture.services[n], &mut self.report);
        }
    }

    fn tick(&mut self) {
        self.window.span = Duration::from_micros(TICK_US);
        for (service, window) in self.services.iter_mut().zip(&mut self.window.services) {
            window.inflight = service.inflight.take(self.now);
            window.queued = service.queued.take(self.now);
            window.samples.seal();
        }
        self.posture = self.brain.tick(self.now, &self.window);
        self.window.clear();
        for (service, rules) in self.services.iter_mut().zip(&self.posture.services) {
            service.room.ticked(rules.room.as_ref(), &mut self.report);
        }
        self.mitigations.ticked(self.now, &mut self.brain, &mut self.report);
        if self.now.0.is_multiple_of(10_000_000) {
            tables_are_bounded(&self.shards, &mut self.report);
        }
    }
}
