//! Bounded accounts of sources: how much each asks, how it behaves, and what share it has used.
//!
//! Memory does not grow with the number of sources: each shard is a fixed, 8-way table. When a set is full, the entry
//! that is least worth keeping goes; an established good source is never given up for a newcomer.

mod entry;
mod key;
mod shard;

use core::time::Duration;

pub use entry::PACE_TIME_CONSTANT_S;
pub use key::SourceKey;
pub(crate) use key::splitmix;
pub use shard::SourceShard;

use crate::Standing;
use crate::bounds::SOURCE_SHARDS;

/// How the standing of a source is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// A source can be known from this age on. Default ten minutes.
    pub known_after: Duration,
    /// Good answers that a known source has had at least.
    pub known_good_min: u16,
    /// A known source not seen for this long may be given up for a newcomer. Default two hours.
    pub known_life: Duration,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self { known_after: Duration::from_secs(600), known_good_min: 8, known_life: Duration::from_secs(7200) }
    }
}

/// What an account can say of a source by itself; partner, session and pass are proved elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing3 {
    /// Misbehaved lately.
    Suspect,
    /// Nothing is known.
    Anonymous,
    /// Seen behaving for long.
    Known,
}

impl Standing3 {
    /// The standing that this is.
    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Suspect => Standing::Suspect,
            Self::Anonymous => Standing::Anonymous,
            Self::Known => Standing::Known,
        }
    }
}

/// How a request of a source ended, for its account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Answered as the service meant it (below 400).
    Good,
    /// Answered with a client error by the service.
    ClientError,
    /// Refused by the door, with this Retry-After (0: none given).
    Refused {
        /// Seconds that the refusal asked to wait.
        retry_after_s: u32,
    },
    /// The listener saw a protocol abused; ten points in a minute make a source suspect.
    Abuse {
        /// Points, 0 to 10.
        weight: f32,
    },
}

/// What the account of a source says at one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceView {
    /// Whose account.
    pub key: SourceKey,
    /// Requests lately (fading with 8 s; or, where that weighs more, with 64 s), a second: orders sources from light to
    /// heavy. A newcomer is light.
    pub pace_per_s: f32,
    /// The same corrected for a young source: the best estimate of its demand rate.
    pub rate_per_s: f32,
    /// Since the first request that is remembered.
    pub age: Duration,
    /// What the account says of its standing.
    pub standing_hint: Standing3,
    /// It came before half of the time that a refusal asked it to wait.
    pub refused_recently: bool,
    /// Share used and not yet regained, in requests, as of `used_age_s` seconds ago.
    pub used: f32,
    /// Seconds since `used` was set.
    pub used_age_s: f32,
    /// 1 + the distinct sessions lately seen behind it.
    pub share_scale: f32,
    /// How its last requests were answered: 1 none yet, 2 well, 3 with a client error or two, 4
    /// ([`crate::signs::ANSWER_CLIENT_ERRORS`]) with client errors.
    pub answers: u8,
    /// Whether the account is held; a newcomer in a set full of known sources has none.
    pub tracked: bool,
}

/// The shard that holds the account of this source.
#[must_use]
pub const fn shard_of(key: SourceKey) -> usize {
    (key.get() >> 32) as usize % SOURCE_SHARDS
}
