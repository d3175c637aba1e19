//! What the admin listener asks of the rest of the process.

use std::sync::Arc;

use serde::Serialize;

use crate::contract::{Contracts, ServiceState};
use crate::signs::Signs;

/// Why the node should get no traffic now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotReady {
    /// Listeners are not open yet.
    Starting,
    /// No configuration is in force.
    ConfigMissing,
    /// The node was told to stop and finishes what it has.
    Draining,
}

impl NotReady {
    /// What the operator reads.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting: the listeners are not open yet",
            Self::ConfigMissing => "no configuration is in force",
            Self::Draining => "draining: finishing the requests under way before the end",
        }
    }
}

/// Implemented by the process. Called on the admin's thread; must not wait for a worker.
pub trait AdminSource: Send + Sync + 'static {
    /// All metrics, as [`crate::record::metrics::Registry::expose`] writes them.
    fn metrics(&self) -> String;

    /// Whether the node should get traffic.
    ///
    /// # Errors
    /// Why it should not.
    fn ready(&self) -> Result<(), NotReady>;

    /// What the node does now.
    fn status(&self) -> Status;

    /// A new code that lets somebody in for whom nothing else works.
    fn issue_code(&self, uses: u16, ends_s: u64) -> String;

    /// What is known of mitigations.
    fn signs(&self) -> Arc<Signs>;

    /// Orders about contracts; `None` before there is a configuration.
    fn contracts(&self) -> Option<Arc<Contracts>>;

    /// Every service with its contract and state.
    fn contract_views(&self) -> Vec<ContractView>;
}

/// A service with its contract and state; `/contracts` shows it as JSON. Field names are an interface.
#[derive(Debug, Clone, Serialize)]
pub struct ContractView {
    /// Name in the configuration.
    pub service: String,
    /// What people call it, in English and French; `None`: it has no contract.
    pub title: Option<[String; 2]>,
    /// How it stands; `None` in the first moment.
    #[serde(flatten)]
    pub state: Option<ServiceState>,
    /// Other ways: names of channels.
    pub ways: Vec<String>,
    /// Services that it needs.
    pub needs: Vec<String>,
    /// Paths that can be switched off.
    pub routes: Vec<String>,
    /// Answers of the contract since start, by how they came about.
    pub answers: std::collections::BTreeMap<&'static str, u64>,
}

/// What the node does now; `/status` shows it as JSON. Field names are an interface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since start.
    pub uptime_s: f64,
    /// Worker threads.
    pub workers: usize,
    /// What does not work as it should and refuses no user, in words; empty when all is well.
    pub degraded: Vec<String>,
    /// The last reload of the configuration.
    pub reload: ReloadStatus,
    /// Listeners.
    pub listeners: Vec<ListenerStatus>,
    /// Services.
    pub services: Vec<ServiceStatus>,
    /// Pools of servers.
    pub upstreams: Vec<UpstreamStatus>,
}

/// The last reload of the configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    /// Whether it succeeded; if not, the configuration before it is in force.
    pub success: bool,
    /// When the configuration in force was loaded, seconds since 1970.
    pub loaded_unix_s: i64,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A listener.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ListenerStatus {
    /// Name.
    pub name: String,
    /// Address bound.
    pub address: String,
    /// Open connections.
    pub connections: u64,
}

/// A service.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// Importance.
    pub criticality: &'static str,
    /// Adaptive concurrency limit.
    pub limit: f64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests waiting.
    pub queued: u64,
    /// Pressure, 0 to 1.
    pub pressure: f64,
    /// What one source gets, requests a second; `None`: nobody is held to a share.
    pub fair_rate: Option<f64>,
    /// Name of its pool.
    pub upstream: String,
    /// How it stands: open, degraded, read-only, stale, fallback, shut; empty in the first moment.
    pub state: &'static str,
}

/// A pool of servers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UpstreamStatus {
    /// Name.
    pub name: String,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
}

/// A server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServerStatus {
    /// Address, as configured.
    pub address: String,
    /// Whether its health check passes.
    pub healthy: bool,
    /// Whether it is ejected as an outlier.
    pub ejected: bool,
    /// Requests in flight.
    pub in_flight: u64,
}
