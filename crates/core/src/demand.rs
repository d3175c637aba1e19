//! Demand per source, as a bounded histogram by tier of standing and pace of the source.
//!
//! Whether there are ten sources or ten million, a histogram has the same size. Each request adds its cost to the
//! bucket of its source's pace, and cost/rate to the bucket's number of sources: summed over all requests of a source in
//! a span, that makes one source a second, however many requests it sends. So a flooder counts as one.

use crate::Standing;
use crate::bounds::DEMAND_BUCKETS;

/// Up to this pace every source counts as equally light: five requests within the time constant of 8 s, the load of
/// one page and a click. It keeps a page from being served in part.
pub const PACE_FLOOR_PER_S: f32 = 5.0 / 8.0;

/// The bucket of a pace, a quarter of an octave wide; bucket 0 holds all up to [`PACE_FLOOR_PER_S`].
#[must_use]
pub fn pace_bucket(pace_per_s: f32) -> u8 {
    if pace_per_s <= PACE_FLOOR_PER_S || pace_per_s.is_nan() {
        return 0;
    }
    let at = 1.0 + (4.0 * (pace_per_s / PACE_FLOOR_PER_S).log2()).floor();
    at.min((DEMAND_BUCKETS - 1) as f32) as u8
}

/// The upper end of a bucket's pace; infinite for the last.
#[must_use]
pub fn pace_of_bucket(bucket: u8) -> f32 {
    if usize::from(bucket) + 1 >= DEMAND_BUCKETS {
        return f32::INFINITY;
    }
    PACE_FLOOR_PER_S * (f32::from(bucket) / 4.0).exp2()
}

/// How many buckets heavier a source of this standing may be and still count as a newcomer of bucket 0: what it has
/// earned. A session may ask nearly seven times as much as a stranger (4.2 a second), a known source four times (2.5 a
/// second); but one that asks more than that is behind people who are new, whatever it once was.
#[must_use]
pub const fn head_start(standing: Standing) -> u8 {
    match standing {
        Standing::Suspect | Standing::Newcomer | Standing::Anonymous => 0,
        Standing::Known => 8,
        Standing::Proven => 9,
        Standing::Session | Standing::Partner => 11,
    }
}

/// Buckets of pace by which a standing counts as heavier than it is: who came with a surge comes after those who ask up
/// to eight times as much.
#[must_use]
pub const fn handicap(standing: Standing) -> u8 {
    match standing {
        Standing::Newcomer => NEWCOMER_HANDICAP,
        Standing::Suspect
        | Standing::Anonymous
        | Standing::Known
        | Standing::Proven
        | Standing::Session
        | Standing::Partner => 0,
    }
}

/// See [`handicap`].
pub(crate) const NEWCOMER_HANDICAP: u8 = 12;

/// Demand of one tier by pace of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct TierDemand {
    /// Cost asked for, by bucket of pace (in requests of mean cost; a second, once divided by the span).
    pub cost: [f32; DEMAND_BUCKETS],
    /// Source-seconds, by bucket of pace (sources, once divided by the span).
    pub sources: [f32; DEMAND_BUCKETS],
}

impl Default for TierDemand {
    fn default() -> Self {
        Self { cost: [0.0; DEMAND_BUCKETS], sources: [0.0; DEMAND_BUCKETS] }
    }
}

impl TierDemand {
    /// All demand.
    #[must_use]
    pub fn total(&self) -> f32 {
        self.cost.iter().sum()
    }

    /// The max-min fair rate per source: the r at which the sum over sources of min(demand, r) is `capacity_per_s`,
    /// over the buckets from `first` on (those below are taken as served by others' account). Infinite when all
    /// demand fits. The histogram must hold rates (a span of one second).
    #[must_use]
    pub fn water_level(&self, first: usize, capacity_per_s: f32) -> f32 {
        let mut left = capacity_per_s.max(0.0);
        let mut sources: f32 = self.sources[first..].iter().sum();
        for b in first..DEMAND_BUCKETS {
            if sources <= 0.0 {
                return f32::INFINITY;
            }
            let level = left / sources;
            if self.cost[b] > level * self.sources[b] {
                // Sources of this bucket ask for more than an even part of what is left: so do all heavier ones.
                return level;
            }
            left -= self.cost[b];
            sources -= self.sources[b];
        }
        f32::INFINITY
    }
}

/// Demand of a service over a span, by tier of standing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DemandHistogram {
    /// By [`Standing::index`].
    pub tiers: [TierDemand; Standing::COUNT],
}

impl DemandHistogram {
    /// Adds one request: its cost (1: a mean request), and the pace and rate of its source.
    pub fn add(&mut self, tier: Standing, pace_per_s: f32, rate_per_s: f32, cost: f32) {
        let bucket = usize::from(pace_bucket(pace_per_s));
        let tier = &mut self.tiers[tier.index()];
        tier.cost[bucket] += cost;
        tier.sources[bucket] += cost / rate_per_s.max(1e-3);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.blend(other, 1.0, 1.0);
    }

    /// `self = self * keep + other * weight`, bucket by bucket.
    pub fn blend(&mut self, other: &Self, keep: f32, weight: f32) {
        for (mine, theirs) in self.tiers.iter_mut().zip(&other.tiers) {
            for (a, b) in mine.cost.iter_mut().zip(&theirs.cost) {
                *a = *a * keep + *b * weight;
            }
            for (a, b) in mine.sources.iter_mut().zip(&theirs.sources) {
                *a = *a * keep + *b * weight;
            }
        }
    }

    /// All demand, over all tiers.
    #[must_use]
    pub fn total(&self) -> f32 {
        self.tiers.iter().map(TierDemand::total).sum()
    }

    /// The pace that only a part `1 - quantile` of all sources exceed (partners aside); `None` without any source.
    #[must_use]
    pub fn source_quantile(&self, quantile: f32) -> Option<f32> {
        let mut sources = [0.0_f32; DEMAND_BUCKETS];
        for tier in &self.tiers[..Standing::Partner.index()] {
            for (sum, s) in sources.iter_mut().zip(&tier.sources) {
                *sum += s;
            }
        }
        let total: f32 = sources.iter().sum();
        if total <= 0.0 {
            return None;
        }
        let mut seen = 0.0;
        for (b, s) in sources.iter().enumerate() {
            seen += s;
            if seen >= total * quantile {
                return Some(pace_of_bucket(b as u8));
            }
        }
        Some(f32::INFINITY)
    }

    /// Sets all to nothing; keeps the memory.
    pub fn clear(&mut self) {
        for tier in &mut self.tiers {
            tier.cost = [0.0; DEMAND_BUCKETS];
            tier.sources = [0.0; DEMAND_BUCKETS];
        }
    }
}
