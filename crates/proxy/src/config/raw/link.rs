//! The link verdict, what is handed on, and the health that outside balancers ask for, as the files have them.

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The link verdict.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Link {
    /// The lines to the world, and what each can carry. Without any, a full line is not told from a full host.
    #[schemars(length(max = bounds::LINK_INTERFACES_MAX))]
    pub(in crate::config) interface: Vec<Interface>,
    /// Where the kernel's figures are read; another folder only where the machine's /proc is somewhere else.
    pub(in crate::config) procfs: String,
    /// Share of its declared rate from which a line is full.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub(in crate::config) line_full: f64,
    /// Share of use from which processors, memory and the table of connections are full.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub(in crate::config) host_full: f64,
    /// Packets or connections lost in a second from which a queue of the kernel's is full.
    #[schemars(range(min = 1.0, max = 1_000_000.0))]
    pub(in crate::config) losses_per_s: f64,
    /// Share of the usual demand that must be missing before it is said that traffic does not arrive.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub(in crate::config) demand_missing: f64,
    /// How long something must be full before it is said.
    #[schemars(range(max = 600))]
    pub(in crate::config) hold_s: u64,
    /// How long it must be well below before it is over.
    #[schemars(range(max = 3600))]
    pub(in crate::config) release_s: u64,
    /// Own addresses and prefixes: nothing else is ever announced as a destination.
    #[schemars(length(max = bounds::OWN_PREFIXES_MAX))]
    pub(in crate::config) own: Vec<String>,
    /// File that holds what is announced, so that it is withdrawn after a crash. Needed by every `[[hand_on]]` without `dry_run`.
    pub(in crate::config) journal: String,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            interface: Vec::new(),
            procfs: "/proc".into(),
            line_full: 0.9,
            host_full: 0.95,
            losses_per_s: 10.0,
            demand_missing: 0.9,
            hold_s: 3,
            release_s: 10,
            own: Vec::new(),
            journal: String::new(),
        }
    }
}

/// A line to the world.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "rate_mbit"]))]
pub(in crate::config) struct Interface {
    /// Name of the interface, such as `eth0`.
    pub(in crate::config) name: String,
    /// What the line carries in one direction, millions of bits a second: what the provider sold, where that is less than the card.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) rate_mbit: u64,
    /// Packets a second that the line or its card carries in one direction; 0: not known.
    pub(in crate::config) packets_per_s: u64,
    /// Bytes that each packet takes on the line beside those the kernel counts: 24 on Ethernet, 0 where the provider limits
    /// the rate of packets' bytes.
    #[schemars(range(max = 256))]
    pub(in crate::config) overhead_bytes: u64,
}

impl Default for Interface {
    fn default() -> Self {
        Self { name: String::new(), rate_mbit: 0, packets_per_s: 0, overhead_bytes: 24 }
    }
}

/// Somebody who can stop traffic before it gets here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "kind"]))]
pub(in crate::config) struct HandOn {
    /// Name in logs and orders.
    pub(in crate::config) name: String,
    /// How it is told.
    pub(in crate::config) kind: HandOnKind,
    /// What it may be asked for.
    pub(in crate::config) action: HandOnAction,
    /// Program and arguments; the default is `gobgp` or `exabgpcli`. A shell is never used.
    #[schemars(length(max = bounds::HAND_ON_ARGUMENTS_MAX))]
    pub(in crate::config) command: Vec<String>,
    /// Where `webhook` posts to: http or https.
    pub(in crate::config) url: String,
    /// File with the secret that `webhook` signs with (HMAC-SHA-256).
    pub(in crate::config) secret_file: String,
    /// Next hop of blackhole routes: the address that the provider gave for it.
    pub(in crate::config) next_hop: String,
    /// What `limit` leaves of the matching traffic, thousands of bits a second.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) limit_kbit: u64,
    /// What is proposed by itself while a line is full on the way in: for `blackhole` these own addresses; for the others,
    /// traffic to them from the sources that mitigations found.
    #[schemars(length(max = bounds::OWN_PREFIXES_MAX))]
    pub(in crate::config) propose_for: Vec<String>,
    /// How long a route stands; then it is withdrawn, unless it is asked for again.
    #[schemars(range(min = 10, max = bounds::HAND_ON_TTL_S_MAX))]
    pub(in crate::config) ttl_s: u64,
    /// How long a route stands at least after a verdict ended: what it stopped may only be waiting.
    #[schemars(range(max = bounds::HAND_ON_TTL_S_MAX))]
    pub(in crate::config) stay_s: u64,
    /// Routes that stand at one time, at most.
    #[schemars(range(min = 1, max = bounds::HAND_ON_ROUTES_MAX))]
    pub(in crate::config) routes_max: usize,
    /// Whether each route waits for `guichet hand-on confirm`.
    pub(in crate::config) confirm: bool,
    /// Only say what would be announced.
    pub(in crate::config) dry_run: bool,
}

impl Default for HandOn {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: HandOnKind::Command,
            action: HandOnAction::Discard,
            command: Vec::new(),
            url: String::new(),
            secret_file: String::new(),
            next_hop: String::new(),
            limit_kbit: 1000,
            propose_for: Vec::new(),
            ttl_s: 600,
            stay_s: 300,
            routes_max: 8,
            confirm: true,
            dry_run: false,
        }
    }
}

/// How a target is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum HandOnKind {
    /// A running GoBGP daemon, by its command `gobgp`.
    Gobgp,
    /// A running ExaBGP, by its command `exabgpcli`.
    Exabgp,
    /// POST of a signed JSON document.
    Webhook,
    /// A program of the operator's, which gets the JSON document on its standard input.
    Command,
}

/// What a target may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum HandOnAction {
    /// Drop everything to an own address, with the community 65535:666 (RFC 7999): it is gone for everybody, the rest lives.
    Blackhole,
    /// Drop matching traffic (FlowSpec, RFC 8955).
    Discard,
    /// Leave `limit_kbit` of matching traffic (FlowSpec).
    Limit,
}

/// What balancers outside are told: whether traffic should come here or by another ingress.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct OutsideHealth {
    /// Address of `/health` (200 or 503, JSON with reasons and a weight) and `/weight` (a number); empty: none.
    pub(in crate::config) listen: String,
    /// Address that tells each connection one line as HAProxy's agent checks want it, such as `up 100%` or `drain`; empty: none.
    pub(in crate::config) agent: String,
}
