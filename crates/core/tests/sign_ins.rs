//! Sign-ins that fail: whoever guesses is found by its looks, where nothing is pressed, and whoever is let in is spared.

use std::time::Duration;

use guichet_core::signs::{
    ANSWER_CLIENT_ERRORS, Dimension, Event, Features, Kind, Sample, Sampler, SignIn, SignsConfig, SignsMode, Step,
};
use guichet_core::sim::Rng;
use guichet_core::{
    Brain, BrainConfig, Criticality, Moment, NodeRules, Posture, ServiceConfig, ServiceId, Standing, Window,
};

const TOOL: u32 = 90;
const BROWSERS: u32 = 5;
const SIGN_IN: u32 = 7;
const TICK: Duration = Duration::from_millis(100);

/// What comes, a second. People sign in as well, five a second, and one in ten of them mistypes.
#[derive(Clone, Copy, Default)]
struct Traffic {
    guesses: f64,
    /// Of the guesses, the part that is right.
    right: f64,
    /// They look like people's browsers.
    as_browsers: bool,
    /// People who mistype, beyond those who always do.
    mistyping: f64,
    /// The answers before were client errors.
    erring: bool,
}

struct Node {
    brain: Brain,
    tick: u64,
    sampler: Sampler,
    rng: Rng,
    posture: Posture,
    events: Vec<Event>,
    /// Guesses that came, and those of them that reached the service.
    guesses: [u32; 2],
    /// Sign-ins of people, and those of them that were turned away.
    people: [u32; 2],
}

impl Node {
    fn new(mode: SignsMode, seed: u64) -> Self {
        let signs = SignsConfig { mode, ..SignsConfig::default() };
        let service = ServiceConfig { signs: signs.clone(), ..ServiceConfig::default() };
        let node = NodeRules { limit: 1024, floors: [0, 0, 64, 128] };
        let brain = Brain::new(&BrainConfig { services: vec![service], node, connections: signs, seed });
        let posture = brain.posture(Moment(0));
        let (sampler, rng) = (Sampler::new(seed), Rng::new(seed));
        let none = [0; 2];
        Self { brain, tick: 0, sampler, rng, posture, events: Vec::new(), guesses: none, people: none }
    }

    fn looks(&mut self, tool: bool) -> Features {
        let browser = 1 + self.rng.below(u64::from(BROWSERS)) as u32;
        let source = 1 + self.rng.below(1 << 20) as u32;
        let features = Features::NONE.with(Dimension::Narrow, source).with(Dimension::Wide, 1 + source / 256);
        let (program, agent) = if tool { (TOOL, 1 + browser % 2) } else { (browser, browser) };
        features.with(Dimension::Tls, program).with(Dimension::Agent, agent).with(Dimension::Answer, 1)
    }

    /// So many in a tick, at this rate a second.
    fn drawn(&mut self, per_s: f64) -> u32 {
        let mean = per_s * TICK.as_secs_f64();
        mean as u32 + u32::from(self.rng.unit() < mean.fract())
    }

    /// A stranger signs in; how it ends is noted. Whether it came to the service.
    fn signs_in(&mut self, window: &mut Window, looks: Features, right: bool) -> bool {
        let features = looks.with(Dimension::Path, SIGN_IN).with(Dimension::Cookies, 1);
        let found = self.posture.services[0].mitigation(&features).copied();
        let reached = found.is_none_or(|m| m.step < Step::Challenge);
        let ended = match (reached, right) {
            (false, _) => SignIn::TurnedAway,
            (true, true) => SignIn::Right,
            (true, false) => SignIn::Failed,
        };
        let features = features.with(Dimension::Ending, ended.ending());
        let (standing, criticality) = (Standing::Anonymous, Criticality::Important);
        let bag = &mut window.services[0].sign_ins;
        if let Some(place) = self.sampler.place(bag, 64) {
            bag.keep(place, Sample { features, weight: 1.0, pace_per_s: 1.0, standing, criticality });
        }
        reached
    }

    fn step(&mut self, traffic: Traffic) {
        self.tick += 1;
        let mut window = Window::new(1);
        window.span = TICK;
        for _ in 0..self.drawn(20.0) {
            // People with sessions look at their pages.
            let features = self.looks(false).with(Dimension::Path, 1).with(Dimension::Cookies, 3);
            let (standing, criticality) = (Standing::Session, Criticality::Important);
            let bag = &mut window.services[0].samples;
            if let Some(place) = self.sampler.place(bag, 16) {
                bag.keep(place, Sample { features, weight: 1.0, pace_per_s: 0.5, standing, criticality });
            }
        }
        for _ in 0..self.drawn(5.0) {
            let (looks, right) = (self.looks(false), self.rng.unit() > 0.1);
            self.people[0] += 1;
            self.people[1] += u32::from(!self.signs_in(&mut window, looks, right));
        }
        for _ in 0..self.drawn(traffic.mistyping) {
            let looks = self.looks(false);
            self.signs_in(&mut window, looks, false);
        }
        for _ in 0..self.drawn(traffic.guesses) {
            let mut looks = self.looks(!traffic.as_browsers);
            if traffic.erring {
                looks.set(Dimension::Answer, ANSWER_CLIENT_ERRORS);
            }
            let right = self.rng.unit() < traffic.right;
            self.guesses[0] += 1;
            self.guesses[1] += u32::from(self.signs_in(&mut window, looks, right));
        }
        window.services[0].samples.seal();
        window.services[0].sign_ins.seal();
        self.posture = self.brain.tick(self.now(), &window);
        self.events.append(&mut self.brain.take_events());
    }

    fn play(&mut self, seconds: u32, traffic: Traffic) {
        (0..seconds * 10).for_each(|_| self.step(traffic));
    }

    fn now(&self) -> Moment {
        Moment(self.tick * TICK.as_micros() as u64)
    }

    /// What befell mitigations, in short.
    fn told(&self) -> String {
        let lines = self.events.iter().map(|event| match event {
            Event::Born(m) => format!(
                "{:.1} born {:?} {:?} {:?}",
                m.born.0 as f64 / 1e6,
                m.id,
                m.signature.parts().collect::<Vec<_>>(),
                m.evidence
            ),
            Event::Stepped(m, from) => {
                format!("{:.1} {} {from:?} -> {:?} {:?}", m.changed.0 as f64 / 1e6, m.id, m.step, m.evidence)
            }
            Event::Ended(m, why) => format!("{} ended {why:?} {:?}", m.id, m.evidence),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn step_against(&self, features: &Features) -> Option<Step> {
        self.posture.services[0].mitigation(features).map(|m| m.step)
    }
}

fn tool_at(path: u32) -> Features {
    Features::NONE.with(Dimension::Tls, TOOL).with(Dimension::Path, path)
}

fn calm() -> Traffic {
    Traffic::default()
}

#[test]
fn a_tool_that_guesses_is_met_within_three_seconds_at_the_sign_in_only_and_not_for_ever() {
    for seed in 1..=5 {
        for (per_s, right) in [(6.0, 0.0), (30.0, 0.03), (400.0, 0.01)] {
            let mut node = Node::new(SignsMode::On, seed);
            node.play(30, calm());
            assert!(node.events.is_empty(), "{}", node.told());
            let attack = Traffic { guesses: per_s, right, ..Traffic::default() };
            // With six a second it takes longer until there is any evidence.
            let ticks = if per_s < 10.0 { 70 } else { 30 };
            let within = (1..=ticks).find(|_| {
                node.step(attack);
                node.step_against(&tool_at(SIGN_IN)) >= Some(Step::Challenge)
            });
            assert!(within.is_some(), "{per_s}/s, SEED={seed}: {}", node.told());
            assert_eq!(node.step_against(&tool_at(1)), None, "elsewhere it is like anybody");
            let found = *node.brain.mitigations().next().expect("it is in force");
            assert_eq!(found.evidence.ending, SignIn::Failed.ending());
            assert!(found.signature.has(Kind::Client), "{:?}", found.signature);
            // While it goes on it holds, and climbs no further than is needed.
            node.play(90, attack);
            assert_eq!(node.step_against(&tool_at(SIGN_IN)), Some(Step::Challenge), "{}", node.told());
            let [came, reached] = node.guesses;
            assert!(f64::from(reached) <= 0.12 * f64::from(came), "{reached} of {came}, {per_s}/s, SEED={seed}");
            assert_eq!(node.people[1], 0, "{per_s}/s, SEED={seed}: {}", node.told());
            node.play(120, calm());
            assert_eq!(node.brain.mitigations().count(), 0, "{}", node.told());
        }
    }
}

#[test]
fn people_who_mistype_and_a_morning_on_which_many_do_are_no_attack() {
    for seed in 1..=5 {
        let mut node = Node::new(SignsMode::On, seed);
        node.play(120, Traffic { mistyping: 1.0, ..calm() });
        node.play(60, Traffic { mistyping: 5.0, ..calm() });
        assert!(node.brain.mitigations().all(|m| m.step < Step::Challenge), "SEED={seed}: {}", node.told());
        assert_eq!(node.people[1], 0, "SEED={seed}");
    }
}

/// What is let in as often as it fails is no tool for guessing, whatever it looks like.
#[test]
fn a_program_whose_sign_ins_are_often_right_is_left_alone() {
    for seed in 1..=5 {
        let mut node = Node::new(SignsMode::On, seed);
        node.play(60, calm());
        node.play(60, Traffic { guesses: 20.0, right: 0.4, ..calm() });
        assert_eq!(node.step_against(&tool_at(SIGN_IN)), None, "SEED={seed}: {}", node.told());
    }
}

/// Guessing that looks like people: known by the answers before, or not at all; then all strangers show a pass, which is
/// all that is ever asked of them.
#[test]
fn guesses_from_what_looks_like_browsers_meet_a_pass_and_never_a_refusal() {
    for seed in 1..=5 {
        for erring in [false, true] {
            let mut node = Node::new(SignsMode::On, seed);
            node.play(60, calm());
            let attack = Traffic { guesses: 60.0, as_browsers: true, erring, ..calm() };
            node.play(10, attack);
            let guess = Features::NONE.with(Dimension::Tls, 1).with(Dimension::Path, SIGN_IN);
            let guess = guess.with(Dimension::Answer, if erring { ANSWER_CLIENT_ERRORS } else { 1 });
            assert_eq!(node.step_against(&guess), Some(Step::Challenge), "SEED={seed}: {}", node.told());
            assert_eq!(erring, node.people[1] == 0, "SEED={seed}: {}", node.told());
            node.play(60, attack);
            assert!(node.brain.mitigations().all(|m| m.step <= Step::Challenge), "SEED={seed}: {}", node.told());
            node.play(120, calm());
            assert_eq!(node.brain.mitigations().count(), 0, "{}", node.told());
        }
    }
}

#[test]
fn a_dry_run_tells_and_does_nothing_and_off_finds_nothing() {
    for (mode, finds) in [(SignsMode::DryRun, true), (SignsMode::Off, false)] {
        let mut node = Node::new(mode, 1);
        node.play(30, calm());
        node.play(10, Traffic { guesses: 60.0, ..calm() });
        assert!(node.posture.services[0].mitigations.is_empty());
        assert_eq!(!node.events.is_empty(), finds, "{mode:?}: {}", node.told());
    }
}

#[test]
fn the_operator_ends_and_forbids_and_a_new_configuration_goes_on() {
    let mut node = Node::new(SignsMode::On, 1);
    let attack = Traffic { guesses: 60.0, ..calm() };
    node.play(30, calm());
    node.play(5, attack);
    let found = *node.brain.mitigations().next().expect("it is in force");
    let mut heir = Node::new(SignsMode::On, 1);
    heir.brain.adopt(&node.brain, ServiceId(0), ServiceId(0));
    assert_eq!(heir.brain.mitigations().map(|m| m.id).collect::<Vec<_>>(), [found.id]);
    let until = node.now().after(Duration::from_secs(60));
    assert!(node.brain.pin(found.id, Step::Observe, node.now(), until));
    assert!(node.brain.end(found.id, node.now(), Some(until)));
    node.play(3, attack);
    assert!(node.brain.mitigations().all(|m| m.signature != found.signature), "{}", node.told());
}
