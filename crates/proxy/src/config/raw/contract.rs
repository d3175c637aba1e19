//! What is served when a service is not there, other ways to do the same job, and the store of answers.

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text in both languages of the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["en", "fr"]))]
pub(in crate::config) struct Words {
    /// In English.
    pub(in crate::config) en: String,
    /// In French.
    pub(in crate::config) fr: String,
}

/// Another way to do the same job: a counter, a telephone, a cash machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(in crate::config) struct Channel {
    /// What people call it, such as `{ en = "Post-office counter", fr = "Guichet de poste" }`.
    pub(in crate::config) name: Words,
    /// When it is open, such as `{ en = "Monday to Friday, 9:00 to 18:00", fr = "du lundi au vendredi, de 9 h à 18 h" }`; absent: not said.
    pub(in crate::config) hours: Option<Words>,
    /// Where it is, or how to find it; absent: not said.
    pub(in crate::config) address: Option<Words>,
    /// Its number, such as `+33 1 23 45 67 89`; empty: none.
    pub(in crate::config) telephone: String,
    /// A page about it, on `https`; empty: none.
    pub(in crate::config) url: String,
    /// What else people need to know, such as what to bring; absent: nothing.
    pub(in crate::config) note: Option<Words>,
}

/// What is served when a service is down, overloaded or shut.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(in crate::config) struct Contract {
    /// What people call the service, such as `{ en = "Online bank", fr = "Banque en ligne" }`.
    pub(in crate::config) name: Words,
    /// Other ways to do the same job now: names of `[channel.NAME]`, the best first.
    #[schemars(length(max = bounds::CONTRACT_WAYS_MAX))]
    pub(in crate::config) ways: Vec<String>,
    /// Services without which this one does not work: `"identity"`, or `{ service = "app", instead = "sms" }` where a channel takes its place.
    #[schemars(length(max = bounds::CONTRACT_NEEDS_MAX))]
    pub(in crate::config) needs: Vec<Need>,
    /// What visitors get when there is no answer to show: `page` (drawn from this contract), the `http://` or `https://` address of another way in, to which they are sent, or a file with a page of your own.
    pub(in crate::config) fallback: String,
    /// For how long answers that were kept are served beyond their time.
    pub(in crate::config) stale: Stale,
    /// Whether the service turns read-only by itself while one that it needs is away: what is read goes on, what is sent is told to come back. Where false, it is shown as degraded and nothing is refused. Operators can turn any service read-only.
    pub(in crate::config) read_only: bool,
    /// How long somebody who only reads is kept waiting for a service that fails, before the contract answers: this long, or longer where its answers usually take longer (twice the mean and four deviations); never longer than `first_byte_ms` of its upstream. 0: always as long as that.
    #[schemars(range(max = 60_000))]
    pub(in crate::config) patience_ms: u64,
    /// How long nothing but failures is seen until the service counts as down.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) down_after_s: u64,
    /// How long nothing but good answers is seen until it counts as up again.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) up_after_s: u64,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            name: Words::default(),
            ways: Vec::new(),
            needs: Vec::new(),
            fallback: "page".into(),
            stale: Stale::default(),
            read_only: false,
            patience_ms: 1000,
            down_after_s: 5,
            up_after_s: 10,
        }
    }
}

/// A service that is needed, in short or with what takes its place.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Need {
    /// The service's name: without it, this one does not work.
    Service(String),
    /// With what takes its place.
    WithInstead(NeedWithInstead),
}

impl Need {
    /// The service's name.
    pub(in crate::config) fn service(&self) -> &str {
        match self {
            Self::Service(service) => service,
            Self::WithInstead(need) => &need.service,
        }
    }
}

/// A service that is needed, and what takes its place.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["service"]))]
pub(in crate::config) struct NeedWithInstead {
    /// The service's name.
    pub(in crate::config) service: String,
    /// The channel that takes its place; empty: none.
    pub(in crate::config) instead: String,
}

/// For how long answers are served beyond their time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Stale {
    /// While the service does not answer, or only with errors; an answer's own `stale-if-error` may say more or less.
    #[schemars(range(max = bounds::STALE_S_MAX))]
    pub(in crate::config) if_error_s: u64,
    /// While a newer one is fetched behind it; an answer's own `stale-while-revalidate` may say more or less.
    #[schemars(range(max = bounds::STALE_S_MAX))]
    pub(in crate::config) while_revalidate_s: u64,
    /// Statuses of answers that count as failures of the service: a kept answer takes their place, they speak against its health, and while it is failing the contract's page takes their place where nothing is kept (RFC 5861 names these four).
    #[schemars(length(max = 16), inner(range(min = 500, max = 599)))]
    pub(in crate::config) statuses: Vec<u16>,
}

impl Default for Stale {
    fn default() -> Self {
        Self { if_error_s: 86_400, while_revalidate_s: 10, statuses: vec![500, 502, 503, 504] }
    }
}

/// Which answers of a route are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RouteCache {
    /// Query parameters that make another answer; all others are left out of the key, and of what the service is asked.
    #[schemars(length(max = bounds::CACHE_QUERY_PARAMETERS_MAX))]
    pub(in crate::config) query: Vec<String>,
    /// How long an answer counts as new where it does not say so itself (it must not say `no-store` or `private`); absent: only those that say so are kept.
    #[schemars(range(min = 1, max = bounds::STALE_S_MAX))]
    pub(in crate::config) ttl_s: Option<u64>,
    /// Request headers that an answer's `Vary` may name; an answer that varies by another one is not kept.
    #[schemars(length(max = bounds::CACHE_VARY_MAX))]
    pub(in crate::config) vary: Vec<String>,
}

/// A costly feature that can be switched off.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SwitchOff {
    /// Whether it switches off by itself while the service is pressed (and on again when it is calm); absent: by order only.
    pub(in crate::config) at_pressure: Option<PressureName>,
    /// What people call it, such as `{ en = "Search", fr = "Recherche" }`; absent: its path is shown.
    pub(in crate::config) name: Option<Words>,
}

/// How hard a service is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum PressureName {
    /// Pressed lately, or pressed.
    Elevated,
    /// Demand is over capacity.
    Pressed,
}

/// The store of answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cache {
    /// Bytes that kept answers take in memory, heads included; 0: nothing is kept.
    #[schemars(range(max = bounds::CACHE_BYTES_MAX))]
    pub(in crate::config) bytes_max: u64,
    /// Answers that are kept.
    #[schemars(range(min = 1, max = bounds::CACHE_ENTRIES_MAX))]
    pub(in crate::config) entries_max: usize,
    /// Bytes of the largest answer that is kept.
    #[schemars(range(min = 1, max = bounds::CACHE_ANSWER_BYTES_MAX))]
    pub(in crate::config) answer_bytes_max: usize,
    /// Folder where answers are kept over a restart; empty: in memory only. It must belong to Guichet alone.
    pub(in crate::config) directory: String,
    /// Bytes that the folder may take.
    #[schemars(range(min = 1, max = bounds::CACHE_DISK_BYTES_MAX))]
    pub(in crate::config) directory_bytes_max: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            bytes_max: 64 * 1024 * 1024,
            entries_max: 16_384,
            answer_bytes_max: 1024 * 1024,
            directory: String::new(),
            directory_bytes_max: 1024 * 1024 * 1024,
        }
    }
}
