//! Faults as they are written in a scenario.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is wrong with a service for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawFaultKind {
    /// Its process is killed; it is started again at the end.
    Killed,
    /// Its process is stopped: connections are accepted and nothing is ever answered.
    Frozen,
    /// Each answer comes later by `added_ms`.
    Slow,
    /// A `share` of its answers is 500.
    Errors,
    /// A `share` of its requests is never answered, while its health says that all is well.
    HalfDead,
    /// Its disk is full: nothing can be written. Needs root, for a disk of its own.
    DiskFull,
}

/// A fault of one service. Its health check is spared by `slow`, `errors` and `half-dead`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFault {
    /// The service.
    pub service: String,
    /// What is wrong.
    pub kind: RawFaultKind,
    /// Seconds from onset at which it begins (negative: before the attack).
    pub from_s: f64,
    /// Seconds from onset at which it ends.
    pub until_s: f64,
    /// Slow: milliseconds.
    pub added_ms: Option<u32>,
    /// Errors (default 1) and half-dead (default 0.5): the share of requests that it hits.
    pub share: Option<f64>,
}
