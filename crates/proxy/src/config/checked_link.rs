//! The link verdict, hand-on and outside health after the checks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::handover::HandoverConfig;
use ipnet::IpNet;

/// The link verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Lines to the world.
    pub interfaces: Vec<LinkInterface>,
    /// Where the kernel's figures are.
    pub procfs: PathBuf,
    /// When something counts as full.
    pub limits: guichet_core::link::Limits,
    /// Own prefixes: the only destinations ever announced.
    pub own: Vec<IpNet>,
    /// What is announced, for after a crash.
    pub journal: Option<PathBuf>,
    /// Who can stop traffic before it gets here.
    pub targets: Vec<Arc<HandOn>>,
    /// Networks never announced as sources: allowed ones and trusted proxies.
    pub spared: Vec<IpNet>,
    /// Whether a source may be a forwarded header's word: then no mitigation's source is announced.
    pub forwarded: bool,
}

/// A line to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInterface {
    /// Name of the interface.
    pub name: String,
    /// Bits a second in one direction.
    pub rate_bits_s: u64,
    /// Packets a second in one direction; 0: not known.
    pub rate_packets_s: u64,
    /// Bytes of a packet on the line that the kernel does not count.
    pub overhead_bytes: u64,
}

/// Somebody who can stop traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOn {
    /// Name in logs and orders.
    pub name: String,
    /// How it is told.
    pub way: HandOnWay,
    /// What it may be asked for.
    pub action: HandOnAction,
    /// Own prefixes about which something is proposed while a line is full.
    pub propose_for: Vec<IpNet>,
    /// How long a route stands.
    pub ttl: Duration,
    /// How long it stands at least, whatever the verdict.
    pub stay: Duration,
    /// Routes at one time.
    pub routes_max: usize,
    /// Whether each waits for the operator.
    pub confirm: bool,
    /// Whether nothing is announced in truth.
    pub dry_run: bool,
}

/// How a target is told.
#[derive(Clone, PartialEq, Eq)]
pub enum HandOnWay {
    /// The command of GoBGP.
    Gobgp(Vec<String>),
    /// The command of ExaBGP.
    Exabgp(Vec<String>),
    /// POST.
    Webhook {
        /// Where to.
        url: http::Uri,
        /// What it is signed with.
        secret: Vec<u8>,
    },
    /// A program of the operator's.
    Command(Vec<String>),
}

impl std::fmt::Debug for HandOnWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gobgp(argv) => f.debug_tuple("Gobgp").field(argv).finish(),
            Self::Exabgp(argv) => f.debug_tuple("Exabgp").field(argv).finish(),
            Self::Webhook { url, .. } => f.debug_tuple("Webhook").field(url).finish(),
            Self::Command(argv) => f.debug_tuple("Command").field(argv).finish(),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOnAction {
    /// Drop everything to an own address, sent to this next hop.
    Blackhole(IpAddr),
    /// Drop what matches.
    Discard,
    /// Leave this many bytes a second of what matches.
    Limit(u64),
}

/// What balancers outside are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutsideHealth {
    /// HTTP.
    pub listen: Option<SocketAddr>,
    /// HAProxy's agent checks.
    pub agent: Option<SocketAddr>,
}

/// The kernel's filter.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelFilter {
    /// Told only.
    pub dry_run: bool,
    /// The command of nftables.
    pub command: Vec<String>,
    /// The table that is Guichet's own.
    pub table: String,
    /// For how long, and how many.
    pub handover: HandoverConfig,
}
