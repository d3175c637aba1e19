//! The configuration as the files have it: names, defaults and bounds, before it is checked.
//!
//! The comments here are the operator's reference: `guichet schema` prints them. Defaults stand here and nowhere else.
//! A key without a default is required; that is said in `extend("required" = ...)`, so that one missing key does not
//! hide the other problems of a file.

mod contract;
mod kernel;
mod link;
mod listen;
mod notices;
mod serve;

use std::collections::BTreeMap;

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use contract::*;
pub(super) use kernel::*;
pub(super) use link::*;
pub(super) use listen::*;
pub(super) use notices::*;
pub(super) use serve::*;

/// Tables whose keys are names, in the order of the files.
pub(super) type Named<T> = indexmap::IndexMap<String, T>;

/// The configuration of Guichet.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listener", "service", "upstream"]))]
pub(super) struct Config {
    /// The node itself.
    pub(super) node: Node,
    /// The operator's own way in.
    pub(super) admin: Admin,
    /// Where clients come in.
    #[schemars(length(min = 1, max = bounds::LISTENERS_MAX))]
    pub(super) listener: Vec<Listener>,
    /// Certificates, chosen by the name that the client asks for; the first is the default. Files are read again when they change.
    #[schemars(length(max = bounds::CERTIFICATES_MAX))]
    pub(super) certificate: Vec<Certificate>,
    /// Limits of connections and requests, before any service is known.
    pub(super) limits: Limits,
    /// The access log.
    pub(super) log: Log,
    /// Traces, by OTLP over HTTP.
    pub(super) trace: Trace,
    /// Pools of servers, by name.
    #[schemars(with = "BTreeMap<String, Upstream>", extend("minProperties" = 1, "maxProperties" = bounds::SERVICES_MAX))]
    pub(super) upstream: Named<Upstream>,
    /// Services, by name.
    #[schemars(with = "BTreeMap<String, Service>", extend("minProperties" = 1, "maxProperties" = bounds::SERVICES_MAX))]
    pub(super) service: Named<Service>,
    /// Those who are known by a certificate or a key.
    #[schemars(length(max = bounds::PARTNERS_MAX))]
    pub(super) partner: Vec<Partner>,
    /// What holds for mitigations of all services.
    pub(super) mitigations: Mitigations,
    /// The kernel's filter, for sources that mitigations refuse again and again.
    pub(super) kernel_filter: KernelFilter,
    /// The link verdict: whether the line, this host or a service is full.
    pub(super) link: Link,
    /// Those who can stop traffic before it gets here.
    #[schemars(length(max = bounds::HAND_ON_TARGETS_MAX))]
    pub(super) hand_on: Vec<HandOn>,
    /// What balancers outside are told.
    pub(super) health: OutsideHealth,
    /// Other ways to do the same job, by name: contracts of services name them.
    #[schemars(with = "BTreeMap<String, Channel>", extend("maxProperties" = bounds::CHANNELS_MAX))]
    pub(super) channel: Named<Channel>,
    /// The store of answers.
    pub(super) cache: Cache,
    /// The status page: what is down, what works, and which other ways work now.
    pub(super) notices: Notices,
}

/// What holds for mitigations of all services.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mitigations {
    /// Networks or addresses that no mitigation ever touches, such as those of declared machine clients.
    #[schemars(length(max = bounds::ALLOWED_NETWORKS_MAX))]
    pub(super) allow: Vec<String>,
    /// Good robots: never asked for a pass and never refused for what they look like, once the name of their address is
    /// confirmed by the DNS both ways.
    #[schemars(length(max = bounds::CRAWLERS_MAX))]
    pub(super) crawler: Vec<Crawler>,
    /// DNS server for that, such as `127.0.0.1:53`; empty: the system's. It changes only with a restart.
    pub(super) dns: String,
    /// Database of autonomous systems (MaxMind DB format, such as GeoLite2-ASN.mmdb); empty: networks are not told apart by
    /// who runs them. Read again with each reload.
    pub(super) asn_database: String,
    /// Database of countries (such as GeoLite2-Country.mmdb), likewise.
    pub(super) country_database: String,
    /// Connections that fail or stall: handshakes given up, slow heads and bodies, resets, hoards.
    pub(super) connections: ServiceMitigations,
}

/// A good robot.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["agent", "domains"]))]
pub(super) struct Crawler {
    /// Family of its user agent, such as `Googlebot`.
    pub(super) agent: String,
    /// Domains in which the names of its addresses lie, such as `googlebot.com`.
    #[schemars(length(min = 1, max = bounds::CRAWLER_DOMAINS_MAX))]
    pub(super) domains: Vec<String>,
}

/// The node itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    /// Worker threads; 0: one for each core.
    #[schemars(range(max = bounds::WORKERS_MAX))]
    pub(super) workers: usize,
    /// How long TERM waits for requests under way.
    #[schemars(range(min = 1, max = 3600))]
    pub(super) drain_s: u64,
    /// Connections held at once.
    #[schemars(range(min = 1, max = bounds::CONNECTIONS_MAX))]
    pub(super) connections_max: usize,
    /// Requests in flight at once.
    #[schemars(range(min = 1, max = bounds::REQUESTS_IN_FLIGHT_MAX))]
    pub(super) requests_in_flight_max: usize,
    /// The secret behind keyed hashes and session signatures: 32 bytes in hexadecimal. Empty: `seed_file`, or else the
    /// environment variable `GUICHET_SEED`, or else random at start (sessions then end with a restart).
    pub(super) seed: String,
    /// A file that holds the seed; only its owner should be able to read it.
    pub(super) seed_file: String,
    /// File in which operators' orders (`guichet service`, `guichet switch-off`) outlive a restart, such as `/var/lib/guichet/orders`; empty: they end with the process.
    pub(super) orders_file: String,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            workers: 0,
            drain_s: 30,
            connections_max: 50_000,
            requests_in_flight_max: 8192,
            seed: String::new(),
            seed_file: String::new(),
            orders_file: String::new(),
        }
    }
}

/// The operator's own way in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    /// Address of /metrics, /health/live, /health/ready and /status. Nobody is asked who he is there: keep it on loopback.
    pub(super) listen: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8444".into() }
    }
}

/// The access log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// `stdout`, `stderr`, `off`, or a file with a `/` in its path, which is opened again on HUP.
    pub(super) access: String,
    /// Shape of the lines.
    pub(super) format: LogFormat,
    /// Zero the last octet of IPv4 addresses and the last 80 bits of IPv6 ones.
    pub(super) mask_addresses: bool,
    /// Share of the refusals that are logged.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) refused_sample: f64,
    /// Refusals logged in a second, at most.
    #[schemars(range(max = 1_000_000))]
    pub(super) refused_per_s_max: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            access: "stdout".into(),
            format: LogFormat::Json,
            mask_addresses: false,
            refused_sample: 1.0,
            refused_per_s_max: 100,
        }
    }
}

/// Shape of access log lines.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format, with the fields of Guichet behind it.
    Combined,
}

/// Traces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Trace {
    /// Base URL of the collector, such as `http://127.0.0.1:4318`; empty: no traces.
    pub(super) otlp_endpoint: String,
    /// Share of requests traced where the caller has not decided.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) sample: f64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample: 0.01 }
    }
}
