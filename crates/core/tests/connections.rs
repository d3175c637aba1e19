//! Connections that fail or stall: signatures over them are found at the door, and spare whoever is vouched for.

use std::time::Duration;

use guichet_core::signs::{Dimension, Event, Features, Sample, Sampler, Signature, SignsConfig, SignsMode, Step};
use guichet_core::{
    Brain, BrainConfig, Criticality, Moment, NodeRules, Posture, Reason, ServiceConfig, ServiceId, Standing, Window,
};

const BROWSER: u32 = 11;
const PARTNER: u32 = 12;
const TOOL: u32 = 13;
const TICK: Duration = Duration::from_millis(100);

/// What comes in each tick.
#[derive(Clone, Copy, Default)]
struct Traffic {
    /// Connections that fail, and the ClientHello that they show.
    failing: u32,
    tls: u32,
    /// A few connections of people fail as well.
    people_fail: bool,
}

struct Node {
    brain: Brain,
    tick: u64,
    sampler: Sampler,
    posture: Posture,
    events: Vec<Event>,
}

fn sample(tls: u32, source: u32, standing: Standing) -> Sample {
    let features = Features::NONE
        .with(Dimension::Tls, tls)
        .with(Dimension::Narrow, source)
        .with(Dimension::Wide, source / 256 + 1);
    Sample { features, weight: 1.0, pace_per_s: 1.0, standing, criticality: Criticality::Ordinary }
}

fn incident(tls: u32, source: u32) -> Sample {
    let mut sample = sample(tls, source, Standing::Anonymous);
    sample.features.set(Dimension::Ending, u32::from(Reason::H2RapidReset.code()));
    sample
}

impl Node {
    fn new(mode: SignsMode) -> Self {
        let connections = SignsConfig { mode, challenges: false, ..SignsConfig::default() };
        let node = NodeRules { limit: 1024, floors: [0, 0, 64, 128] };
        let brain = Brain::new(&BrainConfig { services: vec![ServiceConfig::default()], node, connections, seed: 3 });
        let posture = brain.posture(Moment(0));
        Self { brain, tick: 0, sampler: Sampler::new(5), posture, events: Vec::new() }
    }

    fn now(&self) -> Moment {
        Moment(self.tick * TICK.as_micros() as u64)
    }

    fn play(&mut self, seconds: u32, traffic: Traffic) {
        for _ in 0..seconds * 10 {
            self.step(traffic);
        }
    }

    fn step(&mut self, traffic: Traffic) {
        self.tick += 1;
        let now = self.now();
        let mut window = Window::new(1);
        window.span = TICK;
        for n in 0..4 {
            let source = 1000 + (self.tick as u32 * 7 + n) % 500;
            let (tls, standing) = if n == 3 { (PARTNER, Standing::Partner) } else { (BROWSER, Standing::Session) };
            let bag = &mut window.services[0].samples;
            if let Some(place) = self.sampler.place(bag, 16) {
                bag.keep(place, sample(tls, source, standing));
            }
        }
        window.services[0].samples.seal();
        let background = u32::from(traffic.people_fail && self.tick.is_multiple_of(5));
        for n in 0..traffic.failing + background {
            let tls = if n < traffic.failing { traffic.tls } else { BROWSER };
            let source = 50_000 + (self.tick as u32 * 131 + n * 17) % 9000;
            if let Some(place) = self.sampler.place(&mut window.connections, 256) {
                window.connections.keep(place, incident(tls, source));
            }
        }
        window.connections.seal();
        self.posture = self.brain.tick(now, &window);
        self.events.append(&mut self.brain.take_events());
    }

    fn refuses(&self, tls: u32) -> bool {
        let features = sample(tls, 77_000, Standing::Anonymous).features;
        self.posture.connection_mitigation(&features).is_some_and(|m| m.step == Step::Refuse)
    }
}

#[test]
fn failing_connections_of_one_program_are_refused_within_three_seconds_and_not_for_ever() {
    let mut node = Node::new(SignsMode::On);
    node.play(60, Traffic { people_fail: true, ..Traffic::default() });
    assert!(node.events.is_empty(), "{:?}", node.events);
    let attack = Traffic { failing: 60, tls: TOOL, people_fail: true };
    let within = (1..=30).find(|_| {
        node.step(attack);
        node.refuses(TOOL)
    });
    assert!(within.is_some(), "{:?}", node.events);
    assert!(!node.refuses(BROWSER) && !node.refuses(PARTNER));
    let found = node.brain.mitigations().next().copied().unwrap();
    assert_eq!(found.service, ServiceId::DOOR);
    assert_eq!(found.signature.parts().collect::<Vec<_>>(), [(Dimension::Tls, TOOL)]);
    assert_eq!(found.evidence.ending, u32::from(Reason::H2RapidReset.code()));
    // While it goes on it holds, also for longer than its term.
    node.play(90, attack);
    assert!(node.refuses(TOOL), "{:?}", node.events);
    node.play(120, Traffic { people_fail: true, ..Traffic::default() });
    assert_eq!(node.brain.mitigations().count(), 0, "{:?}", node.events);
    assert!(node.posture.connections.is_empty());
    // It is known now: a second time it takes less than one.
    let back = (1..=10).find(|_| {
        node.step(attack);
        node.refuses(TOOL)
    });
    assert!(back.is_some(), "{:?}", node.events);
}

#[test]
fn who_looks_like_people_or_partners_is_never_refused_at_the_door() {
    for tls in [BROWSER, PARTNER] {
        let mut node = Node::new(SignsMode::On);
        node.play(60, Traffic { people_fail: true, ..Traffic::default() });
        for _ in 0..300 {
            node.step(Traffic { failing: 60, tls, people_fail: true });
            assert!(!node.refuses(tls), "{tls}: {:?}", node.events);
        }
    }
}

#[test]
fn a_dry_run_tells_and_does_nothing_and_off_finds_nothing() {
    for (mode, finds) in [(SignsMode::DryRun, true), (SignsMode::Off, false)] {
        let mut node = Node::new(mode);
        node.play(60, Traffic { people_fail: true, ..Traffic::default() });
        for _ in 0..60 {
            node.step(Traffic { failing: 60, tls: TOOL, people_fail: true });
            assert!(node.posture.connections.is_empty());
        }
        assert_eq!(!node.events.is_empty(), finds, "{mode:?}: {:?}", node.events);
    }
}

#[test]
fn the_operator_orders_pins_ends_and_forbids_at_the_door_as_at_a_service() {
    let mut node = Node::new(SignsMode::On);
    node.play(1, Traffic::default());
    let signature = Signature::new(&[(Dimension::Tls, TOOL)]).unwrap();
    let until = node.now().after(Duration::from_secs(60));
    let id = node.brain.order(ServiceId::DOOR, signature, Step::Refuse, node.now(), until).unwrap();
    node.play(1, Traffic::default());
    assert!(node.refuses(TOOL));
    assert!(node.brain.pin(id, Step::Observe, node.now(), until));
    node.play(1, Traffic::default());
    assert!(!node.refuses(TOOL));
    assert!(node.brain.end(id, node.now(), Some(until)));
    assert_eq!(node.brain.mitigations().count(), 0);
    // A new configuration goes on with what was learned.
    let id = node.brain.order(ServiceId::DOOR, signature, Step::Refuse, node.now(), until).unwrap();
    let mut heir = Node::new(SignsMode::On);
    heir.brain.adopt_connections(&node.brain);
    assert_eq!(heir.brain.mitigations().map(|m| m.id).collect::<Vec<_>>(), [id]);
}
