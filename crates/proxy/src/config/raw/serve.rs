//! Upstreams, services, routes and partners, as the files have them.

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::{Contract, RouteCache, SwitchOff};

/// A pool of servers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["servers"]))]
pub(in crate::config) struct Upstream {
    /// Servers: `"host:port"`, or `{ address = "host:port", weight = 2 }`.
    #[schemars(length(min = 1, max = bounds::SERVERS_PER_POOL_MAX))]
    pub(in crate::config) servers: Vec<Server>,
    /// What is spoken to them.
    pub(in crate::config) protocol: UpstreamProtocol,
    /// The name that their certificates must have, for `https` and `h2`; empty: the host part of the address.
    pub(in crate::config) server_name: String,
    /// PEM file of the authority behind their certificates, for `https` and `h2`; empty: the system's authorities.
    pub(in crate::config) ca: String,
    /// How a server is chosen.
    pub(in crate::config) balance: Balance,
    /// What `consistent-hash` looks at: `source`, `path`, `header:NAME` or `cookie:NAME`.
    pub(in crate::config) hash_on: String,
    /// Deadline of a connect, TLS included.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) connect_ms: u64,
    /// From the end of the request to the first byte of the answer.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) first_byte_ms: u64,
    /// Between bytes of the answer.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) idle_ms: u64,
    /// How long an unused connection is kept.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) keepalive_idle_s: u64,
    /// Unused connections kept by one worker for one server.
    #[schemars(range(max = bounds::POOL_IDLE_PER_SERVER_MAX))]
    pub(in crate::config) keepalive_per_worker_max: usize,
    /// Retries, of requests that may be repeated.
    pub(in crate::config) retry: Retry,
    /// When a server is left out for a while.
    pub(in crate::config) outlier: Outlier,
    /// Active health check; absent: servers are judged by the answers to real requests only.
    pub(in crate::config) health: Option<Health>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            protocol: UpstreamProtocol::Http1,
            server_name: String::new(),
            ca: String::new(),
            balance: Balance::P2c,
            hash_on: "source".into(),
            connect_ms: 1000,
            first_byte_ms: 15_000,
            idle_ms: 30_000,
            keepalive_idle_s: 60,
            keepalive_per_worker_max: 64,
            retry: Retry::default(),
            outlier: Outlier::default(),
            health: None,
        }
    }
}

/// A server, in short or with a weight.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Server {
    /// `host:port`, of weight 1.
    Address(String),
    /// With a weight.
    Weighted(WeightedServer),
}

/// A server with a weight.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(in crate::config) struct WeightedServer {
    /// `host:port`.
    pub(in crate::config) address: String,
    /// Its share of the requests, relative to the others.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: u32,
}

impl Default for WeightedServer {
    fn default() -> Self {
        Self { address: String::new(), weight: 1 }
    }
}

/// What is spoken to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum UpstreamProtocol {
    /// Cleartext HTTP/1.1.
    Http1,
    /// Cleartext HTTP/2 by prior knowledge, as gRPC servers speak it.
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    H2,
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Balance {
    /// The less busy of two drawn at random.
    P2c,
    /// The same server for the same `hash_on`, with bounded loads.
    ConsistentHash,
}

/// Retries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// Attempts for one request; 1: no retry.
    #[schemars(range(min = 1, max = 10))]
    pub(in crate::config) attempts_max: u32,
    /// Retries as a share of the requests.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) budget_ratio: f64,
    /// Retries a second that are allowed however few requests there are.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub(in crate::config) budget_min_per_s: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 2, budget_ratio: 0.1, budget_min_per_s: 3.0 }
    }
}

/// When a server is left out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Outlier {
    /// Failures in a row.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) consecutive_failures: u32,
    /// How long it is left out the first time; twice as long each time after.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) ejection_s: u64,
    /// Share of the servers that may be left out at once.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) ejected_share_max: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self { consecutive_failures: 5, ejection_s: 10, ejected_share_max: 0.5 }
    }
}

/// Active health check.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// Path asked for with GET.
    pub(in crate::config) path: String,
    /// Time between checks.
    #[schemars(range(min = 100, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) interval_ms: u64,
    /// Deadline of one check; not above `interval_ms`.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) timeout_ms: u64,
    /// Good answers in a row until the server is used.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) healthy_after: u32,
    /// Bad ones in a row until it is not.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) unhealthy_after: u32,
    /// Status of a good answer.
    #[schemars(range(min = 200, max = 499))]
    pub(in crate::config) status: u16,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/health".into(),
            interval_ms: 2000,
            timeout_ms: 1000,
            healthy_after: 2,
            unhealthy_after: 3,
            status: 200,
        }
    }
}

/// A service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["hosts", "upstream"]))]
pub(in crate::config) struct Service {
    /// Host names: exact, or `*.suffix`.
    #[schemars(length(min = 1, max = bounds::HOSTS_PER_SERVICE_MAX))]
    pub(in crate::config) hosts: Vec<String>,
    /// Name of its upstream.
    pub(in crate::config) upstream: String,
    /// How much it matters.
    pub(in crate::config) criticality: Criticality,
    /// Whether only partners may come in.
    pub(in crate::config) partner_only: bool,
    /// Bounds of the adaptive limit of requests in flight.
    pub(in crate::config) concurrency: Concurrency,
    /// Where a request may wait for a slot.
    pub(in crate::config) queue: Queue,
    /// Floors: the share of the slots that each level has for itself, whatever comes in below it. Together below 1. That of a
    /// level that neither the service nor a route of it has counts as 0.
    pub(in crate::config) reserve: Reserve,
    /// Bytes of a request body.
    #[schemars(range(max = bounds::BODY_BYTES_MAX))]
    pub(in crate::config) body_bytes_max: u64,
    /// How long a source must have behaved until it is known.
    #[schemars(range(min = 1, max = bounds::SPAN_S_MAX))]
    pub(in crate::config) known_after_s: u64,
    /// Session cookie of the service; absent: it has none.
    pub(in crate::config) session: Option<Session>,
    /// What a refusal looks like when the request does not tell. Where it is `api`, nobody is asked for a pass.
    pub(in crate::config) client_kind: ClientKind,
    /// Whether a waiting room opens by itself when more people come than the service can take: they enter in their turn, and
    /// nobody is refused for being many. It needs `passes`.
    pub(in crate::config) waiting_room: bool,
    /// Whether those in doubt may earn a pass: by a calculation of their browser, by waiting, or with a code.
    pub(in crate::config) passes: bool,
    /// How attackers are told by signatures that are found by themselves.
    pub(in crate::config) mitigations: ServiceMitigations,
    /// What is served when the service is down, overloaded or shut; absent: a plain refusal.
    pub(in crate::config) contract: Option<Contract>,
    /// Parts of the service with properties of their own; the longest matching path wins.
    #[schemars(length(max = bounds::ROUTES_PER_SERVICE_MAX))]
    pub(in crate::config) route: Vec<Route>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            upstream: String::new(),
            criticality: Criticality::Ordinary,
            partner_only: false,
            concurrency: Concurrency::default(),
            queue: Queue::default(),
            reserve: Reserve::default(),
            body_bytes_max: 1024 * 1024,
            known_after_s: 600,
            session: None,
            client_kind: ClientKind::Browser,
            waiting_room: true,
            passes: true,
            mitigations: ServiceMitigations::default(),
            contract: None,
            route: Vec::new(),
        }
    }
}

/// Mitigations of a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServiceMitigations {
    /// Whether signatures are looked for and acted upon.
    pub(in crate::config) mode: MitigationMode,
    /// Largest part of the traffic of proven standing that a refusal may hit; milder steps may hit more.
    #[schemars(range(min = 0.0, max = 0.05))]
    pub(in crate::config) collateral_max: f64,
}

impl Default for ServiceMitigations {
    fn default() -> Self {
        Self { mode: MitigationMode::On, collateral_max: 0.001 }
    }
}

/// Whether signatures are looked for and acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum MitigationMode {
    /// Found and acted upon.
    On,
    /// Found and told, and nothing is done.
    DryRun,
    /// Not looked for.
    Off,
}

/// How much a service or route matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Criticality {
    /// May be shed first: prefetches, batch feeds, costly extras.
    Sheddable,
    /// Pages and operations of the public.
    Ordinary,
    /// Kept before ordinary work: signing in, starting a payment.
    Important,
    /// Never behind anything else: payment rails, counters, emergency lines.
    Critical,
}

/// Bounds of the adaptive limit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Concurrency {
    /// At start.
    #[schemars(range(min = 1, max = bounds::CONCURRENCY_LIMIT_MAX))]
    pub(in crate::config) initial: u32,
    /// Never below.
    #[schemars(range(min = 1, max = bounds::CONCURRENCY_LIMIT_MAX))]
    pub(in crate::config) min: u32,
    /// Never above.
    #[schemars(range(min = 1, max = bounds::CONCURRENCY_LIMIT_MAX))]
    pub(in crate::config) max: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { initial: 32, min: 4, max: 256 }
    }
}

/// Where a request may wait.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Queue {
    /// Requests that may wait; 0: none.
    #[schemars(range(max = bounds::QUEUE_PER_SERVICE_MAX))]
    pub(in crate::config) length: usize,
    /// How long one may wait.
    #[schemars(range(min = 1, max = 60_000))]
    pub(in crate::config) wait_ms: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 256, wait_ms: 1500 }
    }
}

/// Floors by criticality.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Reserve {
    /// For critical requests.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) critical: f64,
    /// For important requests.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) important: f64,
    /// For ordinary requests.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) ordinary: f64,
    /// For sheddable requests.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) sheddable: f64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { critical: 0.1, important: 0.2, ordinary: 0.0, sheddable: 0.0 }
    }
}

/// Session cookie of a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["cookie"]))]
pub(in crate::config) struct Session {
    /// Name of the cookie. It counts only when Guichet itself saw the service set it.
    pub(in crate::config) cookie: String,
    /// Path prefixes on whose answers it counts as issued; empty: anywhere.
    #[schemars(length(max = bounds::SESSION_PATHS_MAX))]
    pub(in crate::config) issued_on: Vec<String>,
    /// How long it counts.
    #[schemars(range(min = 1, max = bounds::SPAN_S_MAX))]
    pub(in crate::config) life_s: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self { cookie: String::new(), issued_on: Vec::new(), life_s: 3600 }
    }
}

/// What a refusal looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ClientKind {
    /// A page.
    Browser,
    /// A problem document (application/problem+json).
    Api,
}

/// A part of a service.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["path"]))]
pub(in crate::config) struct Route {
    /// Path prefix, by whole segments.
    pub(in crate::config) path: String,
    /// Methods; empty: all.
    #[schemars(length(max = 16))]
    pub(in crate::config) methods: Vec<String>,
    /// How much it matters; absent: as the service.
    pub(in crate::config) criticality: Option<Criticality>,
    /// Cost relative to an ordinary request; absent: learned.
    #[schemars(range(min = 0.001, max = bounds::COST_MAX))]
    pub(in crate::config) cost: Option<f64>,
    /// How long the answer may take before it is worth nothing; absent: no deadline.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) deadline_ms: Option<u64>,
    /// Bytes of a request body; absent: as the service.
    #[schemars(range(max = bounds::BODY_BYTES_MAX))]
    pub(in crate::config) body_bytes_max: Option<u64>,
    /// Whether requests such as POST may be repeated here.
    pub(in crate::config) idempotent: bool,
    /// Whether people come here with browsers, or programs: those are never asked for a pass, and refusals are documents.
    /// Absent: as the service. For feeds, APIs and what an application asks for.
    pub(in crate::config) client_kind: Option<ClientKind>,
    /// Which answers are kept, to be served again and when the service fails; absent: none.
    pub(in crate::config) cache: Option<RouteCache>,
    /// Whether this is a costly feature that can be switched off, so that the rest of the service lives; absent: by order only.
    pub(in crate::config) switch_off: Option<SwitchOff>,
    /// Whether people sign in here, by POST: too many that fail tell of somebody who guesses, also where nothing is pressed.
    /// Absent: where the service's session is issued (`session.issued_on`).
    pub(in crate::config) sign_in: Option<SignIn>,
}

/// A sign-in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SignIn {
    /// Statuses of answers that say that it failed, unless they issue the session; empty: nothing is looked for here.
    #[schemars(length(max = 16))]
    pub(in crate::config) failed: Vec<u16>,
}

impl Default for SignIn {
    fn default() -> Self {
        Self { failed: vec![401, 403, 422] }
    }
}

/// Somebody known by a certificate or a key: any one of the credentials is enough.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(in crate::config) struct Partner {
    /// Name in logs and metrics.
    pub(in crate::config) name: String,
    /// SHA-256 of client certificates (DER), in hexadecimal.
    #[schemars(length(max = bounds::CREDENTIALS_PER_PARTNER_MAX))]
    pub(in crate::config) certificate_sha256: Vec<String>,
    /// Exact common name of a certificate under the listener's `partner_ca`, such as `CN=cash-machines`.
    pub(in crate::config) subject: String,
    /// SHA-256 of the key that is sent in the header `x-guichet-key`, in hexadecimal.
    pub(in crate::config) key_sha256: String,
    /// Services where it counts; empty: all.
    #[schemars(length(max = bounds::SERVICES_MAX))]
    pub(in crate::config) services: Vec<String>,
}
