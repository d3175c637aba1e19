//! A node whose own processors are full refuses by the ClientHello what a signature tells by it, though nobody is turned
//! away for want of room; one that has room leaves it at a milder step.

use std::time::Duration;

use guichet_core::signs::{Dimension, Features, Sample, Sampler, Signature, SignsConfig, SignsMode, Step};
use guichet_core::sim::Rng;
use guichet_core::{
    Brain, BrainConfig, Criticality, Moment, NodeRules, Posture, Pressure, ServiceConfig, Standing, Window,
};

const TOOL: u32 = 90;
const TICK: Duration = Duration::from_millis(100);

struct Node {
    brain: Brain,
    posture: Posture,
    tick: u64,
    rng: Rng,
    sampler: Sampler,
}

impl Node {
    fn new(seed: u64) -> Self {
        let signs = SignsConfig { mode: SignsMode::On, ..SignsConfig::default() };
        let service = ServiceConfig { signs: signs.clone(), ..ServiceConfig::default() };
        let node = NodeRules { limit: 1024, floors: [0, 0, 64, 128] };
        let brain = Brain::new(&BrainConfig { services: vec![service], node, connections: signs, seed });
        let posture = brain.posture(Moment(0));
        Self { brain, posture, tick: 0, rng: Rng::new(seed), sampler: Sampler::new(seed) }
    }

    /// A tick with 20 requests a second of people with sessions, and a flood; the service has room for all that comes.
    fn step(&mut self, flood_per_s: u32, late_us: u64) {
        self.tick += 1;
        let mut window = Window::new(1);
        window.span = TICK;
        (0..5).for_each(|_| window.lateness.note(Duration::from_micros(late_us)));
        let seen = &mut window.services[0];
        (seen.completed, seen.completed_cost) = (300, 300.0);
        for (count, is_flood) in [(2, false), (flood_per_s / 10, true)] {
            for _ in 0..count {
                let source = 1 + self.rng.below(1 << 20) as u32;
                let program = if is_flood { TOOL } else { 1 + self.rng.below(5) as u32 };
                let features = Features::NONE.with(Dimension::Narrow, source).with(Dimension::Tls, program);
                let standing = if is_flood { Standing::Anonymous } else { Standing::Session };
                let sample =
                    Sample { features, weight: 1.0, pace_per_s: 0.5, standing, criticality: Criticality::Ordinary };
                if let Some(place) = self.sampler.place(&mut seen.samples, 256) {
                    seen.samples.keep(place, sample);
                }
            }
        }
        seen.samples.seal();
        self.posture = self.brain.tick(Moment(self.tick * TICK.as_micros() as u64), &window);
    }

    fn play(&mut self, ticks: u32, flood_per_s: u32, late_us: u64) {
        (0..ticks).for_each(|_| self.step(flood_per_s, late_us));
    }

    fn flood_is_at(&self) -> Option<Step> {
        let flood = Features::NONE.with(Dimension::Tls, TOOL).with(Dimension::Narrow, 1 << 21);
        self.posture.services[0].mitigation(&flood).map(|m| m.step)
    }
}

#[test]
fn a_flood_that_only_fills_our_processors_is_refused_by_its_hello() {
    for seed in 0..8 {
        let mut node = Node::new(seed);
        node.play(300, 0, 800);
        assert!(!node.posture.strain.strained && !node.posture.is_short(Pressure::Elevated));
        node.play(60, 400, 800);
        let before = node.flood_is_at();
        assert_eq!(before, Some(Step::Deprioritise), "seed {seed}: where there is room it only comes last");
        node.play(60, 400, 20_000);
        assert!(node.posture.is_short(Pressure::Calm), "seed {seed}");
        assert_eq!(node.flood_is_at(), Some(Step::Refuse), "seed {seed}");
        let found = node.posture.services[0].mitigations[0].signature;
        assert_eq!(found, Signature::single(Dimension::Tls, TOOL), "seed {seed}: told by the connection alone");
        // It is over, and so is everything that was done about it.
        node.play(1_200, 0, 800);
        assert!(!node.posture.strain.strained && node.flood_is_at().is_none(), "seed {seed}");
    }
}

#[test]
fn few_connections_are_not_worth_it() {
    let mut node = Node::new(1);
    node.play(300, 0, 800);
    node.play(120, 20, 20_000);
    let at = node.flood_is_at();
    assert!(at.is_none_or(|step| step <= Step::Deprioritise), "{at:?}");
}
