//! Contracts, channels and the store of answers, after they were checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guichet_core::Pressure;
use http::HeaderName;

use crate::pages::Language;

/// A text in both languages of the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}

impl Words {
    /// In one of them.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::French => &self.fr,
        }
    }
}

/// Another way to do the same job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Name in the configuration.
    pub name: String,
    /// What people call it.
    pub title: Words,
    /// When it is open.
    pub hours: Option<Words>,
    /// Where it is.
    pub address: Option<Words>,
    /// Its number.
    pub telephone: Option<String>,
    /// A page about it.
    pub url: Option<String>,
    /// What else people need to know.
    pub note: Option<Words>,
}

/// What visitors get when there is no answer to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// A page drawn from the contract.
    Page,
    /// They are sent to this address.
    Redirect(String),
    /// A page of the operator's own: its path, and the bytes that it had when the configuration was loaded.
    File(PathBuf, Bytes),
}

/// A service that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Name of the service.
    pub service: String,
    /// Name of the channel that takes its place.
    pub instead: Option<String>,
}

/// What is served when a service is down, overloaded or shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// What people call the service.
    pub title: Words,
    /// Other ways to do the same job, the best first.
    pub ways: Vec<Arc<Channel>>,
    /// Services that it needs. No service needs itself, however long the way round.
    pub needs: Vec<Need>,
    /// What visitors get when there is no answer to show.
    pub fallback: Fallback,
    /// For how long an answer is served beyond its time while the service fails.
    pub stale_if_error: Duration,
    /// Statuses of answers that count as failures of the service.
    pub failures: Vec<u16>,
    /// For how long, while a newer one is fetched.
    pub stale_while_revalidate: Duration,
    /// Whether it turns read-only by itself while one that it needs is away.
    pub read_only: bool,
    /// How long a visitor who reads is kept waiting at least while the service fails; zero: as long as its pool allows.
    pub patience: Duration,
    /// How long nothing but failures is seen until it is down.
    pub down_after: Duration,
    /// How long nothing but good answers is seen until it is up.
    pub up_after: Duration,
}

/// Which answers of a route are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCache {
    /// Query parameters that make another answer, sorted.
    pub query: Vec<String>,
    /// How long an answer is new that does not say so itself.
    pub ttl: Option<Duration>,
    /// Request headers that an answer may vary by.
    pub vary: Vec<HeaderName>,
}

/// A costly feature that can be switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchOff {
    /// The pressure at which it switches off by itself.
    pub at_pressure: Option<Pressure>,
    /// What people call it.
    pub title: Option<Words>,
}

/// The store of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Bytes in memory; 0: nothing is kept.
    pub bytes_max: u64,
    /// Answers.
    pub entries_max: usize,
    /// Bytes of the largest answer.
    pub answer_bytes_max: usize,
    /// Folder that outlives a restart.
    pub directory: Option<PathBuf>,
    /// Bytes of the folder.
    pub directory_bytes_max: u64,
}
