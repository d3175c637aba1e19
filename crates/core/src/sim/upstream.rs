//! A service as it really behaves: so many workers, a queue of its own, and collapse when flooded.

use std::collections::VecDeque;

/// Capacity of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpstreamModel {
    /// Operations done at once.
    pub workers: u32,
    /// Requests waiting inside it above which every operation slows down.
    pub knee: u32,
    /// How much it slows: cost times 1 + slope * (queued - knee) / workers, at most `factor_max`.
    pub slope: f64,
    /// See `slope`.
    pub factor_max: f64,
    /// Requests that may wait inside it; more are answered with an error at once.
    pub queue_max: u32,
}

impl UpstreamModel {
    /// Workers, with the collapse that drills use.
    #[must_use]
    pub const fn collapsing(workers: u32) -> Self {
        Self { workers, knee: workers * 2, slope: 0.5, factor_max: 8.0, queue_max: workers * 64 }
    }

    /// Workers that never slow down.
    #[must_use]
    pub const fn steady(workers: u32) -> Self {
        Self { workers, knee: u32::MAX, slope: 0.0, factor_max: 1.0, queue_max: u32::MAX }
    }
}

/// The state of a service. Requests are told by a number of the caller's.
#[derive(Clone, Debug)]
pub struct Upstream {
    model: UpstreamModel,
    busy: u32,
    waiting: VecDeque<(u32, f64)>,
}

/// What a request met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// Work began: it ends after these seconds.
    Begins(f64),
    /// It waits inside.
    Waits,
    /// Answered with an error.
    Full,
}

impl Upstream {
    /// An idle service.
    #[must_use]
    pub const fn new(model: UpstreamModel) -> Self {
        Self { model, busy: 0, waiting: VecDeque::new() }
    }

    /// Changes the capacity; work under way goes on.
    pub fn set_workers(&mut self, workers: u32) {
        self.model.workers = workers;
    }

    /// A request of `cost_s` seconds of work arrives.
    pub fn arrive(&mut self, request: u32, cost_s: f64) -> Arrival {
        if self.busy < self.model.workers {
            self.busy += 1;
            return Arrival::Begins(cost_s * self.factor());
        }
        if self.waiting.len() >= self.model.queue_max as usize {
            return Arrival::Full;
        }
        self.waiting.push_back((request, cost_s));
        Arrival::Waits
    }

    /// Work on a request ended: the next that begins, and how many seconds it takes.
    pub fn finish(&mut self) -> Option<(u32, f64)> {
        self.busy -= 1;
        if self.busy >= self.model.workers {
            return None;
        }
        let (request, cost_s) = self.waiting.pop_front()?;
        self.busy += 1;
        Some((request, cost_s * self.factor()))
    }

    fn factor(&self) -> f64 {
        let over = (self.waiting.len() as f64 - f64::from(self.model.knee)).max(0.0);
        (1.0 + self.model.slope * over / f64::from(self.model.workers.max(1))).min(self.model.factor_max)
    }
}
