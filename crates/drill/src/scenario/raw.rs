//! The scenario as it is written: TOML, every key known, nothing checked yet.

use super::raw_fault::RawFault;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A drill: who comes, when, from where, and what must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Scenario of a Guichet drill")]
pub struct RawScenario {
    /// Short name, as in reports.
    pub name: String,
    /// What this drill shows, in a sentence or two.
    pub description: String,
    /// Everything random is drawn from this; `--seed` replaces it.
    #[serde(default = "one")]
    pub seed: u64,
    /// Capacity file of the estate, relative to the scenario.
    #[serde(default = "capacity_default")]
    pub capacity: String,
    /// Real clients and attackers may share /24 networks (as behind CGNAT). Otherwise that is an error.
    #[serde(default)]
    pub mixed_sources: bool,
    /// How long each phase lasts.
    pub phases: RawPhases,
    /// What the attack may do at most.
    #[serde(default)]
    pub limits: RawLimits,
    /// Who comes.
    #[serde(default)]
    pub population: Vec<RawPopulation>,
    /// Fronts that can name other ways where a service is away, and keep a status page, are told to. With faults they always
    /// are, and then also to keep answers.
    #[serde(default)]
    pub contracts: bool,
    /// What goes wrong in the estate, and when.
    #[serde(default)]
    pub fault: Vec<RawFault>,
    /// What must hold; a failed one makes the exit status 1.
    #[serde(default)]
    pub expect: Vec<RawExpect>,
}

fn one() -> u64 {
    1
}

fn capacity_default() -> String {
    "capacity.toml".to_owned()
}

/// Seconds of each phase; at most 600 together.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPhases {
    /// Real clients alone: they warm up, log in, become known.
    pub before_s: f64,
    /// Attackers (or the crowd) as well.
    pub attack_s: f64,
    /// Real clients alone again.
    pub after_s: f64,
}

/// Ceilings of the attack, over all attackers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Requests (connections for the slow kinds) a second.
    pub attack_per_s_max: f64,
    /// Requests in the whole run.
    pub attack_requests_max: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { attack_per_s_max: 8000.0, attack_requests_max: 400_000 }
    }
}

/// What a population is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    /// People with browsers: sessions, cookies, think time.
    Visitor,
    /// Telephones with the app.
    App,
    /// Partners' machines with client certificates.
    Partner,
    /// Counters, with client certificates.
    Counter,
    /// Honest people who all come at once.
    Crowd,
    /// Those who want the estate down.
    Attacker,
}

/// How requests or sessions arrive over time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawArrivals {
    /// The shape.
    #[serde(default)]
    pub shape: RawShape,
    /// Arrivals a second, over all sources. For a ramp, at its end.
    pub per_s: Option<f64>,
    /// Arrivals a second of each source, instead of `per_s`.
    pub per_source_per_s: Option<f64>,
    /// Ramp: arrivals a second at its beginning, over all sources.
    #[serde(default)]
    pub from_per_s: f64,
    /// Pulse: seconds on.
    pub on_s: Option<f64>,
    /// Pulse: seconds off.
    pub off_s: Option<f64>,
}

/// Shape of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawShape {
    /// The same rate all the time.
    #[default]
    Steady,
    /// From `from_per_s` to `per_s` in a straight line.
    Ramp,
    /// On for `on_s`, off for `off_s`, again and again.
    Pulse,
}

/// Where a population comes from: addresses within 127.0.0.0/8, spread evenly over the range.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSources {
    /// A network within 127.0.0.0/8, as `127.20.0.0/16`.
    pub range: String,
    /// How many addresses of it are used.
    pub count: u32,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawTransport {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/1.1 over TLS.
    TlsHttp1,
    /// HTTP/2 over TLS.
    TlsHttp2,
}

/// Which headers a client sends, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawHeaders {
    /// A current browser, drawn for each person.
    Browsers,
    /// A Firefox.
    Firefox,
    /// A Chromium.
    Chromium,
    /// A Safari on a telephone.
    Safari,
    /// The app's HTTP library.
    App,
    /// A partner's machine.
    Partner,
    /// A Go program with its defaults.
    Go,
    /// A Python program with its defaults.
    Python,
    /// A browser's headers, many months old and in a wrong order.
    FakeBrowser,
    /// Only what the protocol demands.
    Bare,
}

/// How a client shakes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawTls {
    /// TLS 1.3 and 1.2, every suite, sessions resumed.
    Browser,
    /// TLS 1.3 and 1.2, a Go program's order of suites, nothing resumed.
    Go,
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only, one suite, one group.
    Minimal,
    /// TLS 1.3 only, suites in reverse order.
    Reversed,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawBehaviour {
    /// Requests, as many as the arrivals say.
    Flood,
    /// A head that is sent a line at a time and never ends.
    SlowHeader,
    /// A body that is sent a byte at a time.
    SlowBody,
    /// An answer that is read a few bytes at a time through a tiny window.
    SlowRead,
    /// TLS handshakes that are begun and left.
    HandshakeFlood,
    /// HTTP/2 streams that are opened and reset at once.
    RapidReset,
    /// Connections that are opened and kept, with hardly a request.
    Hoard,
}

/// Think time between two requests of a session: exponential, cut at both ends.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawThink {
    /// Mean, milliseconds.
    pub mean: f64,
    /// Least, milliseconds.
    pub min: f64,
    /// Most, milliseconds.
    pub max: f64,
}

impl Default for RawThink {
    fn default() -> Self {
        Self { mean: 800.0, min: 100.0, max: 5000.0 }
    }
}

/// One group of clients. The kind says which keys apply; others are errors.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPopulation {
    /// Its name, unique in the scenario.
    pub name: String,
    /// What it is.
    pub kind: RawKind,
    /// Real clients: the service they use.
    pub service: Option<String>,
    /// Seconds from onset at which it begins (negative: before the attack). Real clients: from the start of the run.
    pub from_s: Option<f64>,
    /// Seconds from onset at which it ends.
    pub until_s: Option<f64>,
    /// Real clients: operations at the start of each session of somebody new, in order (`login`).
    #[serde(default)]
    pub start: Vec<String>,
    /// Real clients: the operations that follow, with weights.
    #[serde(default)]
    pub ops: BTreeMap<String, f64>,
    /// Real clients: requests of a session after `start`, least and most.
    pub requests_per_session: Option<[u32; 2]>,
    /// Real clients: time between two requests of a session.
    pub think_ms: Option<RawThink>,
    /// Real clients: this many persons or machines who stay for the whole time; `arrivals` are then requests.
    pub people: Option<u32>,
    /// Real clients: share of sessions by persons who came before, with their cookies.
    pub returning_share: Option<f64>,
    /// Real clients: milliseconds within which the right answer must be complete.
    pub deadline_ms: Option<u64>,
    /// How sessions (real) or requests (attackers) arrive.
    pub arrivals: RawArrivals,
    /// Where it comes from.
    pub sources: RawSources,
    /// How requests travel.
    pub transport: Option<RawTransport>,
    /// Which headers.
    pub headers: Option<RawHeaders>,
    /// Further headers, in order, after those of the profile.
    #[serde(default)]
    pub extra_headers: Vec<[String; 2]>,
    /// Which TLS.
    pub tls: Option<RawTls>,
    /// Attackers: what they do.
    pub behaviour: Option<RawBehaviour>,
    /// Attackers: `service/op`, drawn evenly; repeat one to give it more weight; `service/root` is `GET /`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Attackers: a random query on each request.
    #[serde(default)]
    pub cache_busting: bool,
    /// Attackers: connections a source may hold at once.
    pub connections_per_source: Option<u32>,
    /// Attackers, slow kinds: milliseconds between two drips.
    pub drip_ms: Option<u64>,
    /// Attackers, slow kinds and hoards: seconds a connection is held if the front does not end it.
    pub hold_s: Option<f64>,
    /// Attackers, rapid reset: streams of a burst; each arrival is one burst.
    pub burst: Option<u32>,
    /// Attackers, floods: passes that all sources together earn a second where a front offers them, at most 20.
    pub passes_per_s: Option<f64>,
    /// Attackers: change what they do every so often.
    pub adapt: Option<RawAdapt>,
}

/// An attacker that changes its ways.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAdapt {
    /// Seconds between two changes.
    pub every_s: f64,
    /// What it becomes, in turn, after its first shape; what a variant leaves out stays as in the population.
    pub variant: Vec<RawVariant>,
}

/// One change of an adapting attacker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawVariant {
    /// Other sources.
    pub sources: Option<RawSources>,
    /// Another transport (HTTP/1.1 or HTTP/2).
    pub transport: Option<RawTransport>,
    /// Other headers.
    pub headers: Option<RawHeaders>,
    /// Another TLS fingerprint.
    pub tls: Option<RawTls>,
    /// Another behaviour.
    pub behaviour: Option<RawBehaviour>,
    /// Other targets.
    pub targets: Option<Vec<String>>,
    /// Random queries or not.
    pub cache_busting: Option<bool>,
}

/// The part of the run that an expectation looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawPhase {
    /// Before the onset.
    Before,
    /// From the onset to the end of the attack.
    Attack,
    /// The attack without its first three seconds.
    #[default]
    Steady,
    /// After the attack.
    After,
}

/// Something that must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawExpect {
    /// The front it is asked of.
    #[serde(default = "guichet")]
    pub front: String,
    /// A service, a criticality (`critical`, `important`, `ordinary`) or `*`.
    #[serde(default = "star")]
    pub service: String,
    /// The phase.
    #[serde(default)]
    pub phase: RawPhase,
    /// Goodput relative to the oracle's, at least.
    pub relative_min: Option<f64>,
    /// 99th percentile of the latency of right answers, milliseconds, at most.
    pub p99_ms_max: Option<f64>,
    /// Requests of real clients that met a refusal or an error, at most.
    pub refused_real_max: Option<u64>,
    /// Of those who asked the service while a fault of it lasted, the share that was told something of use, at least: the
    /// right answer, a stale one with its age, or a page that names other ways. `phase` does not matter.
    pub told_min: Option<f64>,
    /// Milliseconds from a fault's onset until the status page says that the service does not work as it should, at most.
    /// What the status page does is judged over the whole run: `phase` does not matter.
    pub status_right_ms_max: Option<u64>,
    /// Milliseconds from a fault's end until the status page says that the service works, at most.
    pub status_back_ms_max: Option<u64>,
    /// The share of looks at the status page that found it, at least, 0 to 1 (of the front; `service` does not matter).
    pub status_up_share_min: Option<f64>,
    /// Milliseconds for which the status page may say of a service that it does not work as it should though it does.
    pub status_wrong_ms_max: Option<u64>,
    /// Part of the requests of real clients, all services together, that met a refusal or an error, at most, 0 to 1.
    pub refused_real_share_max: Option<f64>,
    /// Part of the attack's requests that the services themselves answered, at most, 0 to 1 (of the front; `service` and
    /// `phase` do not matter).
    pub attack_reached_share_max: Option<f64>,
    /// Milliseconds from onset to protection, at most (of the front; `service` and `phase` do not matter).
    pub time_to_protect_ms_max: Option<u64>,
}

fn guichet() -> String {
    "guichet".to_owned()
}

fn star() -> String {
    "*".to_owned()
}
