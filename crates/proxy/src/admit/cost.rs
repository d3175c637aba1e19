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
    /// Of all whose cost is not declared: a declared one is relative to these.
    all: Mean,
    routes: Box<[Mean]>,
    /// Whose cost is declared, by position.
    declared: Box<[bool]>,
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
    /// For these routes, each with whether its cost is declared.
    pub(super) fn new(declared: impl Iterator<Item = bool>) -> Self {
        let declared: Box<[bool]> = declared.take(ROUTES_PER_SERVICE_MAX).collect();
        Self { all: Mean::default(), routes: (0..=declared.len()).map(|_| Mean::default()).collect(), declared }
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
        if route.is_some_and(|at| self.declared.get(at).copied().unwrap_or_default()) {
            return;
        }
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
        let costs = Costs::new([false; 2].into_iter());
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

    #[test]
    fn what_is_declared_shifts_no_cost_of_others() {
        let costs = Costs::new([true, false].into_iter());
        for _ in 0..200 {
            (0..9).for_each(|_| costs.learn(Some(0), 80_000));
            costs.learn(Some(1), 20_000);
            costs.learn(None, 10_000);
        }
        assert!((1.2..1.5).contains(&costs.of(Some(1))), "{}", costs.of(Some(1)));
        assert!((0.6..0.8).contains(&costs.of(None)), "{}", costs.of(None));
        assert!((costs.of(Some(0)) - 1.0).abs() < f32::EPSILON, "what is declared is asked elsewhere");
    }
}
