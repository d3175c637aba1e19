//! The kernel's filter, as the files have it.

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MitigationMode;

/// The kernel's filter, which drops the packets of sources that mitigations refuse again and again. Only sources that
/// connect to this node themselves are dropped, and only at its own ports. All of it changes only with a restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct KernelFilter {
    /// Whether sources are handed over; `dry-run`: told only.
    pub(in crate::config) mode: MitigationMode,
    /// The command of nftables, run without a shell; such as `["sudo", "-n", "nft"]` where Guichet is not root.
    #[schemars(length(min = 1, max = bounds::HAND_ON_ARGUMENTS_MAX))]
    pub(in crate::config) command: Vec<String>,
    /// Name of the table that is Guichet's own; what stands in it is removed at start and at the end.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,31}$"))]
    pub(in crate::config) table: String,
    /// How long a source is dropped the first time; each time within an hour it is twice as long.
    #[schemars(range(min = 5, max = bounds::HANDOVER_TTL_S_MAX))]
    pub(in crate::config) ttl_s: u64,
    /// How long at most.
    #[schemars(range(min = 5, max = bounds::HANDOVER_TTL_S_MAX))]
    pub(in crate::config) ttl_s_max: u64,
    /// Sources dropped at one time.
    #[schemars(range(min = 1, max = bounds::HANDED_OVER_MAX))]
    pub(in crate::config) sources_max: usize,
}

impl Default for KernelFilter {
    fn default() -> Self {
        Self {
            mode: MitigationMode::Off,
            command: vec!["nft".into()],
            table: "guichet".into(),
            ttl_s: 60,
            ttl_s_max: 600,
            sources_max: 4096,
        }
    }
}
