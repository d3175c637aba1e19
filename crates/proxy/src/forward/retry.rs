//! The retry budget of a pool: retries are a share of the requests, plus a few a second, and no more.
//!
//! Without a budget, a pool that fails gets its load multiplied by the number of attempts at the very moment when it can
//! bear least. One budget is shared by all workers, without a lock: tokens are counted in thousandths.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use guichet_core::Moment;
use guichet_core::bounds::RETRY_BANK_REQUESTS_MAX;

const TOKEN: i64 = 1000;

/// A token bucket filled by requests and, up to one second's worth, by time.
#[derive(Debug)]
pub struct RetryBudget {
    /// Thousandths of a token that each request brings.
    per_request: i64,
    /// Thousandths of a token that each second brings; also how far time alone fills the bucket.
    per_s: i64,
    bank_max: i64,
    tokens: AtomicI64,
    filled_us: AtomicU64,
}

impl RetryBudget {
    /// `ratio`: retries as a share of requests. `min_per_s`: retries a second that are always allowed.
    #[must_use]
    pub fn new(ratio: f64, min_per_s: f64, now: Moment) -> Self {
        let per_request = (ratio.clamp(0.0, 1.0) * TOKEN as f64) as i64;
        let per_s = (min_per_s.clamp(0.0, 1e6) * TOKEN as f64) as i64;
        Self {
            per_request,
            per_s,
            bank_max: per_request * i64::from(RETRY_BANK_REQUESTS_MAX) + per_s.max(TOKEN),
            tokens: AtomicI64::new(per_s),
            filled_us: AtomicU64::new(now.0),
        }
    }

    /// A request began.
    pub fn deposit(&self) {
        if self.per_request > 0 && self.tokens.load(Ordering::Relaxed) < self.bank_max {
            self.tokens.fetch_add(self.per_request, Ordering::Relaxed);
        }
    }

    /// Takes one retry, or says that there is none.
    #[must_use]
    pub fn withdraw(&self, now: Moment) -> bool {
        self.fill(now);
        self.tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| (tokens >= TOKEN).then_some(tokens - TOKEN))
            .is_ok()
    }

    /// Adds what time brought. Time never fills beyond one second's worth (or one token), requests may.
    fn fill(&self, now: Moment) {
        let filled = self.filled_us.load(Ordering::Relaxed);
        let elapsed_us = now.0.saturating_sub(filled).min(60_000_000) as i64;
        let brought = elapsed_us * self.per_s / 1_000_000;
        if brought == 0 {
            return;
        }
        // Whoever moves the mark adds the tokens; the others find nothing to add.
        if self.filled_us.compare_exchange(filled, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let by_time_max = self.per_s.max(TOKEN);
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
                (tokens < by_time_max).then(|| (tokens + brought).min(by_time_max))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Requests, then seconds, then how many of 1000 retries are allowed.
    fn check(ratio: f64, min_per_s: f64, requests: u32, wait_s: f64, allowed: usize) {
        let start = Moment(5_000_000);
        let budget = RetryBudget::new(ratio, min_per_s, start);
        for _ in 0..requests {
            budget.deposit();
        }
        let now = start.after(Duration::from_secs_f64(wait_s));
        let got = (0..1000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(got, allowed, "{ratio} {min_per_s} {requests} {wait_s}");
    }

    #[test]
    fn retries_are_a_share_of_requests_and_a_few_a_second() {
        check(0.0, 0.0, 1000, 100.0, 0);
        check(0.1, 0.0, 0, 0.0, 0);
        check(0.1, 0.0, 9, 0.0, 0);
        check(0.1, 0.0, 10, 0.0, 1);
        check(0.1, 0.0, 200, 0.0, 20);
        check(0.1, 3.0, 100, 0.0, 13);
        check(0.0, 3.0, 1000, 0.0, 3);
        // Time alone does not save up: an idle hour brings no more than a second.
        check(0.0, 3.0, 0, 3600.0, 3);
        check(0.0, 0.5, 0, 2.0, 1);
        // Requests save up, to a bound.
        check(0.1, 0.0, 1_000_000, 0.0, 51);
    }

    #[test]
    fn time_refills_what_was_spent() {
        let budget = RetryBudget::new(0.0, 2.0, Moment(0));
        assert!(budget.withdraw(Moment(0)) && budget.withdraw(Moment(0)) && !budget.withdraw(Moment(0)));
        assert!(!budget.withdraw(Moment(499_000)));
        assert!(budget.withdraw(Moment(500_000)) && !budget.withdraw(Moment(500_001)));
        assert!(budget.withdraw(Moment(60_000_000)) && budget.withdraw(Moment(60_000_000)));
        assert!(!budget.withdraw(Moment(60_000_000)));
    }
}
