//! Scenarios: TOML as written (`raw`), checked once into the types here.

mod check;
mod error;
mod fault;
mod raw;
mod raw_fault;
mod shape;
mod sources;

pub use error::{Problem, Problems};
pub use fault::{Fault, FaultKind};
pub use raw::{RawBehaviour as Behaviour, RawHeaders as Headers, RawKind as Kind, RawScenario, RawTls as TlsProfile};
pub use raw::{RawPhase as ExpectPhase, RawTransport as Transport};
pub use shape::Shape;
pub use sources::Sources;

use crate::ops::Op;
use guichet_core::Criticality;
use guichet_core::bounds::DRILL_FILE_BYTES_MAX;
use std::path::{Path, PathBuf};

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// Everything random is drawn from this.
    pub seed: u64,
    /// The capacity file.
    pub capacity: PathBuf,
    /// How long each phase lasts.
    pub phases: Phases,
    /// Ceilings of the attack.
    pub limits: Limits,
    /// Real clients.
    pub real: Vec<RealPopulation>,
    /// What attackers do, window by window.
    pub waves: Vec<Wave>,
    /// Whether fronts name other ways and keep a status page also without faults.
    pub contracts: bool,
    /// What goes wrong in the estate.
    pub faults: Vec<Fault>,
    /// What must hold.
    pub expects: Vec<Expect>,
}

/// Milliseconds of each phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Before the onset.
    pub before_ms: u64,
    /// Onset to end of the attack.
    pub attack_ms: u64,
    /// After it.
    pub after_ms: u64,
}

impl Phases {
    /// All of them together.
    #[must_use]
    pub const fn total_ms(&self) -> u64 {
        self.before_ms + self.attack_ms + self.after_ms
    }

    /// From the start of the run to the end of the attack.
    #[must_use]
    pub const fn attack_end_ms(&self) -> u64 {
        self.before_ms + self.attack_ms
    }
}

/// What the attack may do at most; the load generator counts against it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests a second.
    pub attack_per_s_max: f64,
    /// Requests in the run.
    pub attack_requests_max: u64,
}

/// How clients look on the wire.
#[derive(Clone, Debug)]
pub struct Look {
    /// How requests travel.
    pub transport: Transport,
    /// Header profile.
    pub headers: Headers,
    /// Further headers.
    pub extra_headers: Vec<[String; 2]>,
    /// TLS profile.
    pub tls: TlsProfile,
}

/// A group of real clients.
#[derive(Clone, Debug)]
pub struct RealPopulation {
    /// Its name.
    pub name: String,
    /// What it is; never [`Kind::Attacker`].
    pub kind: Kind,
    /// Position of its service in [`crate::services::SERVICES`].
    pub service: usize,
    /// Milliseconds from the start of the run.
    pub from_ms: u64,
    /// Milliseconds from the start of the run.
    pub until_ms: u64,
    /// First operations of somebody new.
    pub start: Vec<&'static Op>,
    /// What follows, with weights.
    pub ops: Vec<(&'static Op, f64)>,
    /// Requests of a session after the start, least and most.
    pub requests_per_session: [u32; 2],
    /// Think time: mean, least, most, milliseconds.
    pub think_ms: [f64; 3],
    /// Persons who stay; arrivals are then their requests.
    pub people: Option<u32>,
    /// Share of sessions by those who came before.
    pub returning_share: f64,
    /// Milliseconds within which the right answer must be complete.
    pub deadline_ms: u64,
    /// Arrivals of sessions (or requests of `people`).
    pub shape: Shape,
    /// Source addresses.
    pub sources: Sources,
    /// How it looks.
    pub look: Look,
}

/// What one group of attackers does during one window.
#[derive(Clone, Debug)]
pub struct Wave {
    /// Name of the population, with the number of the variant where it adapts.
    pub name: String,
    /// Milliseconds from the start of the run.
    pub from_ms: u64,
    /// Milliseconds from the start of the run.
    pub until_ms: u64,
    /// Where in its population's own time (which the shape is over) this window begins, milliseconds.
    pub offset_ms: u64,
    /// Length of its population's time, milliseconds.
    pub length_ms: u64,
    /// Arrivals over the population's time.
    pub shape: Shape,
    /// What is done at each arrival.
    pub behaviour: Behaviour,
    /// What is asked for.
    pub targets: Vec<&'static Op>,
    /// A random query on each request.
    pub cache_busting: bool,
    /// Connections a source may hold at once.
    pub connections_per_source: u32,
    /// Passes that its sources together earn a second, where a front offers them.
    pub passes_per_s: f64,
    /// Milliseconds between two drips.
    pub drip_ms: u64,
    /// Milliseconds a connection is held.
    pub hold_ms: u64,
    /// Streams of a burst.
    pub burst: u32,
    /// Source addresses.
    pub sources: Sources,
    /// How it looks.
    pub look: Look,
}

/// Which services an expectation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One, by position in [`crate::services::SERVICES`].
    Service(usize),
    /// All of a criticality.
    Criticality(Criticality),
    /// All that real clients use.
    All,
}

/// Something that must hold.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The front it is asked of.
    pub front: String,
    /// Which services.
    pub scope: Scope,
    /// Which part of the run.
    pub phase: ExpectPhase,
    /// Least goodput relative to the oracle's.
    pub relative_min: Option<f64>,
    /// Most milliseconds of the 99th percentile.
    pub p99_ms_max: Option<f64>,
    /// Most refused requests of real clients.
    pub refused_real_max: Option<u64>,
    /// Least share of a faulty service's visitors that is told something of use.
    pub told_min: Option<f64>,
    /// Most milliseconds from a fault's onset until the status page tells of it.
    pub status_right_ms_max: Option<u64>,
    /// Most milliseconds from a fault's end until the status page says that the service works.
    pub status_back_ms_max: Option<u64>,
    /// Least share of looks that find the status page.
    pub status_up_share_min: Option<f64>,
    /// Most milliseconds for which the status page is wrong about a service that works.
    pub status_wrong_ms_max: Option<u64>,
    /// Largest part of the requests of real clients that is refused.
    pub refused_real_share_max: Option<f64>,
    /// Largest part of the attack that the services answer.
    pub attack_reached_share_max: Option<f64>,
    /// Most milliseconds from onset to protection.
    pub time_to_protect_ms_max: Option<u64>,
}

impl Scenario {
    /// Reads and checks a scenario file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and mend.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let whole = |cause: String, mend: &str| Problems {
            file: path.to_owned(),
            list: vec![Problem { line: 0, field: String::new(), cause, mend: mend.to_owned() }],
        };
        let size = std::fs::metadata(path)
            .map_err(|e| whole(format!("can't be read: {e}"), "give the path of a scenario, as drills/smoke.toml"))?
            .len();
        if size > DRILL_FILE_BYTES_MAX {
            return Err(whole(format!("has {size} bytes"), "a scenario has at most 1 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(|e| whole(format!("can't be read: {e}"), ""))?;
        Self::parse(&text, path)
    }

    /// Checks the text of a scenario; `path` names it in errors and anchors the capacity file.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problems> {
        check::scenario(text, path)
    }

    /// Connections that the load generator may hold at once, at most.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        let mut marks: Vec<(u64, i64)> = Vec::new();
        for wave in &self.waves {
            let held = i64::from(wave.sources.count()) * i64::from(wave.connections_per_source);
            marks.push((wave.from_ms, held));
            marks.push((wave.until_ms, -held));
        }
        // Ends sort before beginnings of the same moment: a variant's connections are closed when the next begins.
        marks.sort_unstable();
        let (mut now, mut most) = (0_i64, 0_i64);
        for (_, change) in marks {
            now += change;
            most = most.max(now);
        }
        let real: f64 = self.real.iter().map(RealPopulation::connections_expected).sum();
        usize::try_from(most).unwrap_or(0) + real as usize
    }
}

impl RealPopulation {
    /// Persons that are there at once, doubled: browsers open a second connection when the first is slow.
    fn connections_expected(&self) -> f64 {
        if let Some(people) = self.people {
            return f64::from(people) * 4.0;
        }
        let session_s = f64::from(self.requests_per_session[1]) * self.think_ms[0] / 1000.0 + 1.0;
        2.0 * self.shape.rate_max() * session_s
    }
}
