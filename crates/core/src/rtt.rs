//! A bounded histogram of upstream times, in logarithmic buckets.

use core::time::Duration;

use crate::bounds::RTT_BUCKETS;

/// The lower end of the second bucket.
const FLOOR_US: f32 = 100.0;

/// Times from 100 microseconds to about 100 seconds, an eighth of an octave (9 %) a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct RttHistogram {
    counts: [u32; RTT_BUCKETS],
    total: u32,
    sum_us: u64,
}

impl Default for RttHistogram {
    fn default() -> Self {
        Self { counts: [0; RTT_BUCKETS], total: 0, sum_us: 0 }
    }
}

impl RttHistogram {
    /// Adds one time.
    pub fn add(&mut self, rtt: Duration) {
        let us = rtt.as_micros() as f32;
        let at = if us <= FLOOR_US { 0 } else { (1.0 + 8.0 * (us / FLOOR_US).log2()) as usize };
        self.counts[at.min(RTT_BUCKETS - 1)] += 1;
        self.total += 1;
        self.sum_us = self.sum_us.saturating_add(rtt.as_micros() as u64);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a = a.saturating_add(*b);
        }
        self.total = self.total.saturating_add(other.total);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many times were added.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.total
    }

    /// The mean, exact; `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.total > 0).then(|| Duration::from_micros(self.sum_us / u64::from(self.total)))
    }

    /// The quantile (0..=1), interpolated within its bucket; `None` when empty.
    #[must_use]
    pub fn quantile(&self, quantile: f32) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let wanted = (quantile.clamp(0.0, 1.0) * self.total as f32).max(0.5);
        let mut seen = 0.0;
        for (b, &count) in self.counts.iter().enumerate() {
            let count = count as f32;
            if count > 0.0 && seen + count >= wanted {
                let within = (wanted - seen) / count;
                let us = if b == 0 { FLOOR_US * within } else { FLOOR_US * ((b as f32 - 1.0 + within) / 8.0).exp2() };
                return Some(Duration::from_micros(us as u64));
            }
            seen += count;
        }
        None
    }

    /// Forgets all; keeps the memory.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = RttHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.add(Duration::from_millis(ms));
        }
        for (quantile, ms) in [(0.5, 500.0), (0.9, 900.0), (0.1, 100.0)] {
            let got = histogram.quantile(quantile).expect("not empty").as_secs_f32() * 1e3;
            assert!((got / ms - 1.0_f32).abs() < 0.1, "{quantile}: {got}");
        }
        histogram.add(Duration::from_secs(1_000_000));
        histogram.add(Duration::ZERO);
        assert_eq!(histogram.count(), 1002);
    }
}
