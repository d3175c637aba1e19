//! Who comes to a simulated estate, and what it is made of.

use super::{Looks, UpstreamModel};
use crate::signs::SignsConfig;
use crate::{BrainConfig, Criticality, LimiterConfig, NodeRules, ServiceConfig, SourceConfig, Standing};
use core::time::Duration;

/// How the arrivals of a population change over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// All the time.
    Steady,
    /// Between two seconds.
    Between(f64, f64),
    /// Grows from nothing at the first second to full at the second, and ends at the third.
    Ramp(f64, f64, f64),
    /// Between two seconds; every ten seconds other sources take over, in other numbers, for the same total.
    Adapting(f64, f64),
}

impl Shape {
    /// The part of the full rate at this second.
    #[must_use]
    pub fn level(&self, at_s: f64) -> f64 {
        let within = |from: f64, to: f64| if at_s >= from && at_s < to { 1.0 } else { 0.0 };
        match *self {
            Self::Steady => 1.0,
            Self::Between(from, to) | Self::Adapting(from, to) => within(from, to),
            Self::Ramp(from, full, to) => within(from, to) * ((at_s - from) / (full - from)).clamp(0.0, 1.0),
        }
    }

    /// The second at which it first changes, so that checks can skip the onset.
    #[must_use]
    pub const fn starts_s(&self) -> f64 {
        match *self {
            Self::Steady => 0.0,
            Self::Between(from, _) | Self::Adapting(from, _) | Self::Ramp(from, _, _) => from,
        }
    }

    /// The second from which it stays away.
    #[must_use]
    pub const fn ends_s(&self) -> f64 {
        match *self {
            Self::Steady => f64::INFINITY,
            Self::Between(_, to) | Self::Adapting(_, to) | Self::Ramp(_, _, to) => to,
        }
    }
}

/// People or programs that behave alike, at one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// Its name in reports.
    pub name: &'static str,
    /// Whether an oracle would serve it.
    pub real: bool,
    /// Index of the service it comes to.
    pub service: u16,
    /// Criticality of its route.
    pub criticality: Criticality,
    /// Standing proved by other means than behaviour.
    pub proved: Option<Standing>,
    /// Distinct sources at one node.
    pub sources: u64,
    /// Visits a second at one node, over all its sources.
    pub visits_per_s: f64,
    /// Requests a visit.
    pub burst: u32,
    /// Mean seconds between the requests of a visit.
    pub gap_s: f64,
    /// Seconds of work of a request.
    pub cost_s: f64,
    /// Seconds after which an answer is of no use.
    pub deadline_s: f64,
    /// When it comes.
    pub shape: Shape,
    /// What its requests look like.
    pub looks: Looks,
    /// Whether the operator allows it whatever it does.
    pub allowed: bool,
}

impl Population {
    /// People of the given standing: visits of four requests within a second.
    #[must_use]
    pub const fn people(name: &'static str, proved: Option<Standing>, sources: u64, visits_per_s: f64) -> Self {
        Self {
            name,
            real: true,
            service: 0,
            criticality: Criticality::Ordinary,
            proved,
            sources,
            visits_per_s,
            burst: 4,
            gap_s: 0.25,
            cost_s: 0.04,
            deadline_s: 2.0,
            shape: Shape::Steady,
            looks: Looks::Browsers,
            allowed: false,
        }
    }

    /// Attackers: each source at a steady rate.
    #[must_use]
    pub const fn attackers(name: &'static str, sources: u64, rate_per_source: f64, shape: Shape) -> Self {
        Self {
            real: false,
            visits_per_s: sources as f64 * rate_per_source,
            burst: 1,
            shape,
            ..Self::people(name, None, sources, 0.0)
        }
    }

    /// The same with these looks.
    #[must_use]
    pub const fn looking(self, looks: Looks) -> Self {
        Self { looks, ..self }
    }
}

/// A whole play.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Services of every node.
    pub upstreams: Vec<UpstreamModel>,
    /// How the core is set up.
    pub brain: BrainConfig,
    /// How sources are judged.
    pub sources: SourceConfig,
    /// Who comes.
    pub populations: Vec<Population>,
    /// Simulated seconds.
    pub seconds: f64,
    /// Attack and its end, for the phases of the report.
    pub attack_s: (f64, f64),
}

/// Names of the scenarios that [`Scenario::named`] knows.
pub const SCENARIOS: &[&str] = &[
    "calm",
    "few",
    "residential",
    "ramp",
    "adapting",
    "crowd",
    "crowd-page",
    "crowd-waits",
    "session",
    "mixed",
    "tool",
    "tool-ramp",
    "tool-again",
    "tools",
    "stuffing",
    "allowed",
];

impl Scenario {
    /// One of [`SCENARIOS`], with this many sources at each node and this length (at least 40 s). The attack goes from
    /// a third to four fifths of it. Attack sources are as many as are left after the people; at most what makes the
    /// flood about `flood_per_s` requests a second at each node.
    #[must_use]
    pub fn named(name: &str, sources: u64, seconds: f64, flood_per_s: f64) -> Option<Self> {
        let seconds = seconds.max(40.0);
        let (from, to) = (seconds / 3.0, seconds * 0.8);
        let between = Shape::Between(from, to);
        let bots = (flood_per_s / 4.0) as u64;
        let attack = Population::attackers;
        let crowd = Population { shape: between, ..Population::people("crowd", None, sources, 150.0) };
        let extra = match name {
            "calm" => vec![],
            "few" => vec![attack("few", 10, flood_per_s / 10.0, between)],
            "residential" => vec![attack("residential", bots.min(sources), 4.0, between)],
            "ramp" => vec![attack("ramp", bots.min(sources), 4.0, Shape::Ramp(from, (from + to) / 2.0, to))],
            "adapting" => vec![attack("adapting", sources, flood_per_s / sources as f64, Shape::Adapting(from, to))],
            "crowd" => vec![crowd],
            "session" => vec![Population {
                proved: Some(Standing::Session),
                ..attack("flooding", 3, flood_per_s / 3.0, between)
            }],
            // Four times what is left, for a while: with a waiting room.
            "crowd-waits" => vec![Population { shape: Shape::Between(from, from + (to - from) / 4.0), ..crowd }],
            "crowd-page" => vec![crowd.looking(Looks::BrowsersAt(77))],
            "tool" => vec![attack("tool", bots.min(sources), 4.0, between).looking(Looks::Tool(1))],
            "tool-ramp" => {
                let shape = Shape::Ramp(from, (from + to) / 2.0, to);
                vec![attack("tool", bots.min(sources), 4.0, shape).looking(Looks::Tool(1))]
            }
            "tool-again" => {
                let third = (to - from) / 3.0;
                let wave = |name, from, to| {
                    attack(name, bots.min(sources), 4.0, Shape::Between(from, to)).looking(Looks::Tool(1))
                };
                vec![wave("tool", from, from + third), wave("again", to - third, to)]
            }
            "tools" => {
                let shape = Shape::Adapting(from, to);
                vec![attack("tools", sources, flood_per_s / sources as f64, shape).looking(Looks::Tools)]
            }
            // Well within what the service can do, so that nothing is pressed; from many sources, each at its ease.
            "stuffing" => vec![attack("stuffing", sources, 60.0 / sources as f64, between).looking(Looks::Stuffing)],
            "allowed" => {
                let feeds =
                    Population { allowed: true, real: true, burst: 1, ..attack("feeds", 4, 2.0, Shape::Steady) };
                let tool = attack("tool", bots.min(sources), 4.0, between);
                vec![feeds.looking(Looks::Tool(1)), tool.looking(Looks::Tool(1))]
            }
            "mixed" => vec![
                attack("few", 10, flood_per_s / 30.0, between),
                attack("residential", (bots / 3).min(sources), 4.0, between),
                attack("adapting", sources, flood_per_s / 3.0 / sources as f64, Shape::Adapting(from, to)),
            ],
            _ => return None,
        };
        let name = SCENARIOS.iter().find(|n| **n == name)?;
        let mut brain = brain();
        brain.services[0].waiting_room = *name == "crowd-waits";
        let mut populations = estate(sources);
        populations.extend(extra);
        Some(Self {
            name,
            upstreams: vec![UpstreamModel::collapsing(16), UpstreamModel::collapsing(8)],
            brain,
            sources: SourceConfig { known_after: Duration::from_secs(5), known_good_min: 4, ..SourceConfig::default() },
            populations,
            seconds,
            attack_s: (from, to),
        })
    }
}

impl Scenario {
    /// The second at which the last population is at its full rate.
    #[must_use]
    pub fn full_s(&self) -> f64 {
        let full = |shape: Shape| match shape {
            Shape::Ramp(_, full, _) => full,
            Shape::Steady | Shape::Between(..) | Shape::Adapting(..) => shape.starts_s(),
        };
        self.populations.iter().map(|p| full(p.shape)).fold(0.0, f64::max)
    }

    /// Whether some attackers change every ten seconds.
    #[must_use]
    pub fn adapts(&self) -> bool {
        self.populations.iter().any(|p| matches!(p.shape, Shape::Adapting(..)))
    }
}

/// A portal (400 requests a second) at half load, and payment rails beside it.
fn estate(sources: u64) -> Vec<Population> {
    let rails = Population {
        service: 1,
        criticality: Criticality::Critical,
        burst: 1,
        cost_s: 0.02,
        deadline_s: 1.0,
        ..Population::people("rails", Some(Standing::Partner), 20, 100.0)
    };
    let emergency = Population {
        criticality: Criticality::Critical,
        burst: 1,
        ..Population::people("emergency", Some(Standing::Partner), 3, 5.0)
    };
    vec![
        Population::people("sessions", Some(Standing::Session), 200, 15.0),
        Population::people("regulars", None, 60, 15.0),
        Population::people("newcomers", None, sources, 18.0),
        emergency,
        rails,
    ]
}

fn brain() -> BrainConfig {
    let limiter = LimiterConfig { initial: 32, min: 4, max: 256 };
    let portal = ServiceConfig { floors: [0, 0, 1, 2], limiter, queue_len: 64, ..ServiceConfig::default() };
    let rails = ServiceConfig { floors: [0, 0, 0, 2], limiter, queue_len: 64, ..ServiceConfig::default() };
    let node = NodeRules { limit: 1024, floors: [0, 0, 64, 128] };
    BrainConfig { services: vec![portal, rails], node, connections: SignsConfig::default(), seed: 1 }
}
