//! What a request costs its service, relative to a mean one: declared per route, or learned from how long answers take.

use std::cell::Cell;

use guichet_core::bounds::ROUTES_PER_SERVICE_MAX;

/// Weight of a new sample in the running means.
const WEIGHT: f32 = 0.02;
/// Learned costs stay within these, so that one slow answer can't lock a route out.
const COST_MIN: f32 = 0.25;
const COST_MAX: f32 = 16.0;
/// Samples before a learned cost is believed.
const SAMPLES_MIN: u32 = 50;

/// Running means of one service, one a route and one for the rest. Belongs to one worker.
pub(super) struct Costs {
    all: Mean,
    routes: Box<[Mean]>,
}

#[derive(Default)]
struct Mean {
    us: Cell<f32>,
    samples: Cell<u32>,
}

impl Mean {
    fn add(&self, us: f32) {
        let samples = self.samples.get();
        self.samples.set(samples.saturating_add(1));
        // The plain mean at first, a running one later.
        let weight = WEIGHT.max(1.0 / (samples as f32 + 1.0));
        self.us.set(self.us.get() + (us - self.us.get()) * weight);
    }
}

impl Costs {
    pub(super) fn new(routes: usize) -> Self {
        Self {
            all: Mean::default(),
            routes: (0..routes.min(ROUTES_PER_SERVICE_MAX) + 1).map(|_| Mean::default()).collect(),
        }
    }

    /// The cost of a request to this route (`None`: to none of the declared ones).
    pub(super) fn of(&self, route: Option<usize>) -> f32 {
        let mean = self.place(route);
        if mean.samples.get() < SAMPLES_MIN || self.all.us.get() <= 0.0 {
            return 1.0;
        }
        (mean.us.get() / self.all.us.get()).clamp(COST_MIN, COST_MAX)
    }

    /// An answer of this route took this long.
    pub(super) fn learn(&self, route: Option<usize>, us: u64) {
        self.all.add(us as f32);
        self.place(route).add(us as f32);
    }

    fn place(&self, route: Option<usize>) -> &Mean {
        let at = route.map_or(0, |position| position + 1);
        self.routes.get(at).unwrap_or(&self.routes[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_takes_longer_costs_more_once_seen_often() {
        let costs = Costs::new(2);
        for _ in 0..SAMPLES_MIN - 1 {
            costs.learn(Some(1), 8_000);
            costs.learn(None, 1_000);
            costs.learn(None, 1_000);
        }
        assert!((costs.of(Some(1)) - 1.0).abs() < f32::EPSILON, "not believed yet");
        for _ in 0..400 {
            costs.learn(Some(1), 8_000);
            costs.learn(None, 1_000);
            costs.learn(None, 1_000);
        }
        assert!((2.0..3.0).contains(&costs.of(Some(1))), "{}", costs.of(Some(1)));
        assert!((0.25..0.5).contains(&costs.of(None)), "{}", costs.of(None));
        assert!((costs.of(Some(0)) - 1.0).abs() < f32::EPSILON, "never seen");
        assert!((costs.of(Some(9)) - costs.of(None)).abs() < f32::EPSILON, "beyond the declared ones");
    }
}
