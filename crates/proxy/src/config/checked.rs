//! The configuration after it was checked: only values that make sense together, with defaults filled in.
//!
//! Nothing outside `config` reads the raw file. What is here was checked once, so that nobody checks it again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Criticality;
use guichet_core::signs::SignsMode;
use ipnet::IpNet;

pub use super::checked_link::*;
use super::contract::{Cache, Channel, Contract, RouteCache, SwitchOff};
use super::notices::Notices;
use crate::signs::{Atlas, Crawler};

/// Everything `guichet serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node itself.
    pub node: Node,
    /// The operator's own way in.
    pub admin: Admin,
    /// Where clients come in; at least one.
    pub listeners: Vec<Arc<Listener>>,
    /// Certificate and key files; the first is the default. Empty only if no listener speaks TLS.
    pub certificates: Vec<CertificateFiles>,
    /// Limits of connections and requests before any service is known.
    pub limits: Arc<Limits>,
    /// The access log.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
    /// Pools of servers, by position ([`Service::upstream`] points here).
    pub upstreams: Vec<Arc<Upstream>>,
    /// Services, by position: the position is the core's `ServiceId`.
    pub services: Vec<Arc<Service>>,
    /// Partners.
    pub partners: Vec<Arc<Partner>>,
    /// What holds for mitigations of all services.
    pub mitigations: Mitigations,
    /// The kernel's filter, if sources are handed over to it.
    pub kernel_filter: Option<KernelFilter>,
    /// The link verdict and who can be handed on to.
    pub link: Link,
    /// What balancers outside are told.
    pub health: OutsideHealth,
    /// Other ways to do the same job.
    pub channels: Vec<Arc<Channel>>,
    /// The store of answers.
    pub cache: Cache,
    /// The status page, if there is one.
    pub notices: Option<Notices>,
}

/// What holds for mitigations of all services.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mitigations {
    /// Networks that no mitigation touches.
    pub allow: Vec<IpNet>,
    /// Robots that are spared once their address is confirmed by the DNS.
    pub crawlers: Vec<Crawler>,
    /// The DNS server that is asked; `None`: the system's.
    pub dns: Option<SocketAddr>,
    /// Tells where addresses are.
    pub atlas: Atlas,
    /// Whether signatures of connections that fail or stall are looked for and acted upon.
    pub connections: SignsMode,
    /// Largest part of those of proven standing that a refusal of connections may hit.
    pub connections_collateral_max: f64,
}

/// The node itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Worker threads, at least one.
    pub workers: usize,
    /// How long TERM waits for requests under way.
    pub drain: Duration,
    /// Connections of the node.
    pub connections_max: usize,
    /// Requests in flight of the node.
    pub requests_in_flight_max: usize,
    /// The secret behind keyed hashes and session signatures; `None`: random at start.
    pub seed: Option<Secret>,
    /// Where operators' orders outlive a restart; `None`: nowhere.
    pub orders_file: Option<PathBuf>,
}

/// 32 bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Where metrics, health and status are served.
    pub listen: SocketAddr,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Cleartext HTTP/1.1 and HTTP/2 by prior knowledge.
    Http,
    /// TLS, with HTTP/2 by ALPN.
    Https,
}

/// Whether PROXY headers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Never.
    Off,
    /// Read where present, from trusted networks.
    Accept,
    /// Connections from trusted networks must have one; others are refused.
    Require,
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Name in logs and metrics.
    pub name: String,
    /// Address bound.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// Answer everything with 308 to this port over https.
    pub redirect_to_https_port: Option<u16>,
    /// PROXY v1/v2.
    pub proxy_protocol: ProxyProtocol,
    /// Networks whose PROXY header and forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Entries of X-Forwarded-For, from the right, written by trusted proxies; 0: decided by `trusted_proxies`.
    pub trusted_hops: usize,
    /// CA file of the partners' client certificates.
    pub partner_ca: Option<PathBuf>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Length of the kernel's accept queue.
    pub backlog: u32,
}

impl Listener {
    /// Whether whoever connects there is the client itself, not somebody who tells its address.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::Off && self.trusted_proxies.is_empty()
    }
}

/// One certificate chain with its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Limits of connections and requests.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is documented under the same name in the configuration reference")]
pub struct Limits {
    pub connections_per_source: u32,
    pub connections_per_network: u32,
    pub handshakes_per_source: u32,
    pub client_hello: Duration,
    pub handshake: Duration,
    pub header: Duration,
    pub idle: Duration,
    pub first_request: Duration,
    pub body_rate_bytes_s_min: u64,
    pub body_grace: Duration,
    pub read_rate_bytes_s_min: u64,
    pub head_bytes_max: usize,
    pub header_fields_max: usize,
    pub target_bytes_max: usize,
    pub requests_per_connection_max: u64,
    pub h2_streams_max: u32,
    pub h2_resets_per_10s: u32,
    pub h2_empty_frames_per_10s: u32,
    pub h2_continuations_max: u32,
    pub h2_settings_per_10s: u32,
    pub h2_pings_per_10s: u32,
    pub h2_priorities_per_10s: u32,
    pub h2_window_updates_per_10s: u32,
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, reopened on HUP.
    File(PathBuf),
}

/// Shape of access log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format, with Guichet's fields behind it.
    Combined,
}

/// The access log.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Where to.
    pub target: LogTarget,
    /// Shape.
    pub format: LogFormat,
    /// Zero the last octet (v4) or the last 80 bits (v6).
    pub mask_addresses: bool,
    /// Share of refusals logged, 0 to 1.
    pub refused_sample: f64,
    /// Refusals logged a second, at most.
    pub refused_per_s_max: u32,
}

/// Traces by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Base URL of the collector; `None`: off.
    pub otlp_endpoint: Option<String>,
    /// Share of requests traced when the caller did not decide, 0 to 1.
    pub sample: f64,
}

/// What is spoken to the servers of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// Cleartext HTTP/1.1.
    Http1,
    /// Cleartext HTTP/2 by prior knowledge (gRPC).
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    H2,
}

/// How a server is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices on requests in flight (by weight).
    PowerOfTwo,
    /// Consistent hashing with bounded loads.
    ConsistentHash(HashOn),
}

/// What consistent hashing looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Source,
    /// A header.
    Header(http::HeaderName),
    /// A cookie.
    Cookie(String),
    /// The path.
    Path,
}

/// One server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `host:port`; looked up every few seconds and when connections fail; what was known last holds while that fails.
    pub address: String,
    /// Relative weight, at least 1.
    pub weight: u32,
}

/// Active health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Path asked for with GET.
    pub path: String,
    /// Between checks.
    pub interval: Duration,
    /// Of one check.
    pub timeout: Duration,
    /// Good answers in a row until healthy.
    pub healthy_after: u32,
    /// Bad ones in a row until unhealthy.
    pub unhealthy_after: u32,
    /// Expected status.
    pub status: u16,
}

/// Pool of servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Name in logs and metrics.
    pub name: String,
    /// At least one.
    pub servers: Vec<Server>,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// TLS name; `None`: the host part of the address.
    pub server_name: Option<String>,
    /// CA file for TLS; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Choice of server.
    pub balance: Balance,
    /// Connect deadline.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte: Duration,
    /// Between bytes of the answer.
    pub idle: Duration,
    /// Idle pooled connections end after this.
    pub keepalive_idle: Duration,
    /// Idle pooled connections kept by one worker for one server.
    pub keepalive_per_worker_max: usize,
    /// Attempts for one request, 1 = no retry.
    pub retry_attempts_max: u32,
    /// Retries as a share of requests.
    pub retry_budget_ratio: f64,
    /// Retries a second that are always allowed.
    pub retry_budget_min_per_s: f64,
    /// Failures in a row until ejected.
    pub outlier_consecutive_failures: u32,
    /// First ejection lasts this; it doubles with each up to 16 times.
    pub outlier_ejection: Duration,
    /// At most this share of the servers is ejected.
    pub outlier_ejected_share_max: f64,
    /// Active health check.
    pub health: Option<Health>,
}

/// Host pattern of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name, lower case.
    Exact(String),
    /// Any name that ends in this suffix, which starts with a dot.
    Suffix(String),
}

/// A session cookie that counts when this door saw it issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRule {
    /// Cookie name of the service.
    pub cookie: String,
    /// Path prefixes on whose answers it is issued; empty: anywhere.
    pub issued_on: Vec<String>,
    /// How long it counts.
    pub life: Duration,
}

/// What a refusal looks like when `Accept` does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// A page.
    Browser,
    /// A problem document.
    Api,
}

/// A service of the estate.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Name in logs and metrics.
    pub name: String,
    /// Host names.
    pub hosts: Vec<HostPattern>,
    /// Position in [`Config::upstreams`].
    pub upstream: usize,
    /// Importance.
    pub criticality: Criticality,
    /// Whether only partners may come in.
    pub partner_only: bool,
    /// Bounds of the adaptive limit: start, least, most.
    pub concurrency_initial: u32,
    /// Least concurrency.
    pub concurrency_min: u32,
    /// Most concurrency.
    pub concurrency_max: u32,
    /// Requests that may wait.
    pub queue_length: usize,
    /// How long one may wait.
    pub queue_wait: Duration,
    /// Floors by [`Criticality::index`], each a share of the limit, together below 1.
    pub reserve: [f64; Criticality::COUNT],
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// How long a source must have behaved to be known.
    pub known_after: Duration,
    /// Session rule.
    pub session: Option<SessionRule>,
    /// Refusals.
    pub client_kind: ClientKind,
    /// Whether a waiting room opens by itself.
    pub waiting_room: bool,
    /// Whether people in doubt may earn a pass.
    pub passes: bool,
    /// Whether signatures of attackers are looked for and acted upon.
    pub mitigations: SignsMode,
    /// Largest part of the traffic of proven standing that a refusal by signature may hit, 0 to 1.
    pub collateral_max: f64,
    /// What is served when it is not there.
    pub contract: Option<Contract>,
    /// Routes; the longest matching path wins.
    pub routes: Vec<Route>,
}

/// A part of a service with properties of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Path prefix, by segment.
    pub path: String,
    /// Methods; empty: all.
    pub methods: Vec<http::Method>,
    /// Importance.
    pub criticality: Criticality,
    /// Cost relative to an ordinary request; `None`: learned.
    pub cost: Option<f64>,
    /// How long the answer may take before it is worthless.
    pub deadline: Option<Duration>,
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Whether requests with methods that are not idempotent may be retried.
    pub idempotent: bool,
    /// Who comes here.
    pub client_kind: ClientKind,
    /// Which answers are kept.
    pub cache: Option<RouteCache>,
    /// Whether it can be switched off, and when it does so by itself.
    pub switch_off: Option<SwitchOff>,
    /// Statuses that say that a sign-in failed; `None`: it is none, unless the service's session is issued here.
    pub sign_in_failed: Option<Vec<u16>>,
}

/// How a partner proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// SHA-256 of the certificate (DER).
    CertificateSha256([u8; 32]),
    /// Common name of a certificate under the listener's partner CA.
    CommonName(String),
    /// SHA-256 of the key in the header `x-guichet-key`.
    KeySha256([u8; 32]),
}

/// A partner.
#[derive(Debug, Clone, PartialEq)]
pub struct Partner {
    /// Name in logs and metrics.
    pub name: String,
    /// Any one is enough.
    pub credentials: Vec<Credential>,
    /// Positions of the services where it counts; empty: all.
    pub services: Vec<usize>,
}
