//! What a front that knows who is who would serve: the service's declared capacity, the real requests, nobody else.
//!
//! Requests wait for a worker in the order in which they come; one that could not finish by its deadline is not begun, so
//! it takes nothing from the others. No request is slowed by the services' collapse: such a front never lets a queue
//! form inside a service. The number that may wait is the service's own `queue_max`.

use crate::capacity::{Capacity, ServiceCapacity};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A request, as the oracle sees it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Intended moment, microseconds.
    pub at_us: u64,
    /// Name of the service.
    pub service: &'a str,
    /// Name of the operation.
    pub op: &'a str,
    /// Deadline after the intended moment, microseconds.
    pub deadline_us: u64,
}

/// For each arrival (in the order of their moments): would it be served in time?
///
/// A service that the capacity file does not name has no limit.
#[must_use]
pub fn served(capacity: &Capacity, arrivals: &[Arrival<'_>]) -> Vec<bool> {
    let mut desks: std::collections::BTreeMap<&str, Desk> = std::collections::BTreeMap::new();
    arrivals
        .iter()
        .map(|arrival| match capacity.service.get(arrival.service) {
            None => true,
            Some(service) => desks.entry(arrival.service).or_insert_with(|| Desk::new(service)).serve(service, arrival),
        })
        .collect()
}

/// The workers of one service.
struct Desk {
    /// When each worker is free again.
    free_us: BinaryHeap<Reverse<u64>>,
    /// When each request that had to wait begins.
    waiting_until_us: BinaryHeap<Reverse<u64>>,
}

impl Desk {
    fn new(service: &ServiceCapacity) -> Self {
        Self { free_us: (0..service.workers).map(|_| Reverse(0)).collect(), waiting_until_us: BinaryHeap::new() }
    }

    fn serve(&mut self, service: &ServiceCapacity, arrival: &Arrival<'_>) -> bool {
        while self.waiting_until_us.peek().is_some_and(|begin| begin.0 <= arrival.at_us) {
            self.waiting_until_us.pop();
        }
        let Some(mut free) = self.free_us.peek_mut() else { return false };
        let begin = free.0.max(arrival.at_us);
        let end = begin + service.cost_us(arrival.op);
        if end > arrival.at_us + arrival.deadline_us {
            return false;
        }
        if begin > arrival.at_us {
            if self.waiting_until_us.len() >= service.queue_max as usize {
                return false;
            }
            self.waiting_until_us.push(Reverse(begin));
        }
        free.0 = end;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(workers: u32, queue_max: u32, arrivals: &[(u64, &str, u64)], expected: &[bool]) {
        let text = format!(
            "[service.bank]\nworkers = {workers}\nqueue_max = {queue_max}\n[service.bank.cost_ms]\nlogin = 40\naccounts = 10\n"
        );
        let capacity = Capacity::parse(&text).unwrap();
        let arrivals: Vec<_> = arrivals
            .iter()
            .map(|&(at_ms, op, deadline_ms)| Arrival {
                at_us: at_ms * 1000,
                service: "bank",
                op,
                deadline_us: deadline_ms * 1000,
            })
            .collect();
        assert_eq!(served(&capacity, &arrivals), expected, "{workers} workers, {queue_max} may wait, {arrivals:?}");
    }

    #[test]
    fn serves_what_can_finish_in_time() {
        // One worker: the second waits 30 ms, the third can't finish within 50 ms and costs the fourth nothing.
        check(
            1,
            9,
            &[(0, "login", 1000), (10, "accounts", 50), (11, "login", 50), (12, "accounts", 50)],
            &[true, true, false, true],
        );
        // A deadline exactly met is met; one millisecond less is not.
        check(1, 9, &[(0, "login", 40)], &[true]);
        check(1, 9, &[(0, "login", 39)], &[false]);
        // Two workers do two at once.
        check(2, 0, &[(0, "login", 40), (0, "login", 40), (0, "login", 40)], &[true, true, false]);
        // The queue is bounded, and empties with time.
        check(1, 1, &[(0, "login", 900), (1, "login", 900), (2, "login", 900)], &[true, true, false]);
        check(1, 1, &[(0, "login", 900), (1, "login", 900), (41, "login", 900)], &[true, true, true]);
        // An operation without a declared cost is free.
        check(1, 0, &[(0, "login", 40), (40, "home", 1)], &[true, true]);
    }

    #[test]
    fn a_service_without_a_declared_capacity_has_no_limit() {
        let arrivals = [Arrival { at_us: 0, service: "portal", op: "home", deadline_us: 0 }];
        assert_eq!(served(&Capacity::default(), &arrivals), [true]);
    }
}
