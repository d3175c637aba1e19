//! A budget for retries: they may add a small part to the traffic, never multiply it.

use crate::Moment;

/// How much may be retried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryConfig {
    /// Retries allowed per request, e.g. 0.1.
    pub ratio: f32,
    /// Retries a second allowed whatever the traffic, so that a quiet service can retry at all.
    pub floor_per_s: f32,
    /// Retries that may be saved up.
    pub saved_max: f32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { ratio: 0.1, floor_per_s: 1.0, saved_max: 10.0 }
    }
}

/// The retries of one service that are left. Each worker may have its own with a part of the floor.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    config: RetryConfig,
    tokens: f32,
    at: Moment,
}

impl RetryBudget {
    /// A full budget.
    #[must_use]
    pub const fn new(config: RetryConfig, now: Moment) -> Self {
        Self { config, tokens: config.saved_max, at: now }
    }

    /// A first try was sent: it earns a part of a retry.
    pub fn note_request(&mut self, now: Moment) {
        self.refill(now);
        self.tokens = (self.tokens + self.config.ratio).min(self.config.saved_max);
    }

    /// Takes one retry, if there is one left.
    #[must_use]
    pub fn try_retry(&mut self, now: Moment) -> bool {
        self.refill(now);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn refill(&mut self, now: Moment) {
        let span_s = now.since(self.at).as_secs_f32();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + span_s * self.config.floor_per_s).min(self.config.saved_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_a_part_of_the_traffic() {
        for (requests_per_s, retries_max) in [(0_u32, 10 + 20), (100, 10 + 20 + 200), (1000, 10 + 20 + 2000)] {
            let mut budget = RetryBudget::new(RetryConfig::default(), Moment(0));
            let mut retries = 0;
            for step in 0..20_000_u64 {
                let now = Moment(step * 1000);
                if requests_per_s > 0 && step % u64::from(1000 / requests_per_s) == 0 {
                    budget.note_request(now);
                }
                retries += u32::from(budget.try_retry(now));
            }
            assert!(retries <= retries_max + 1, "{requests_per_s}: {retries}");
            assert!(retries * 10 >= retries_max * 9, "{requests_per_s}: {retries}");
        }
    }
}
