//! How many of the requests that a service should have answered it did answer.

use guichet_core::{Fault, Reason, Standing};

use super::counters::{CLASSES, reason_index};
use super::registry::{Registry, ServiceSlot};

/// Those who would be served if there were room: who is refused among them missed something.
const PROVEN: [Standing; 4] = [Standing::Known, Standing::Proven, Standing::Session, Standing::Partner];

impl Registry {
    /// Requests to a service since start that it answered, and those that it should have answered and did not: its own
    /// errors, those of the way to it, and refusals of people of proven standing. Strangers who were refused count in
    /// neither: in a flood most of them are the flood.
    #[must_use]
    pub fn goodput(&self, service: ServiceSlot) -> (u64, u64) {
        let at = service.index();
        let sum = |of: &dyn Fn(&super::counters::ServiceCounters) -> u64| {
            self.workers.iter().fold(0_u64, |sum, (block, _)| sum.wrapping_add(of(&block.services[at])))
        };
        let of_class = sum(&|s| s.classes[CLASSES.len() - 1].get());
        let with_reason = |which: &dyn Fn(Reason) -> bool| {
            let reasons = Reason::ALL.iter().copied().filter(|reason| which(*reason));
            reasons.fold(0_u64, |total, reason| total + sum(&|s| s.reasons[reason_index(reason)].get()))
        };
        // An answer 5xx without a reason of ours is the service's own.
        let own = of_class.saturating_sub(with_reason(&|reason| reason.status() / 100 == 5));
        let on_the_way = with_reason(&|reason| reason.fault() == Fault::Upstream);
        let refused =
            PROVEN.iter().fold(0_u64, |total, standing| total + sum(&|s| s.standings[standing.index()].refused.get()));
        let forwarded = sum(&|s| s.standings.iter().map(|outcomes| outcomes.forwarded.get()).sum());
        let failed = own + on_the_way;
        (forwarded.saturating_sub(failed), failed + refused)
    }
}
