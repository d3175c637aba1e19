//! Requests under way: from their slot to their answer.

use super::{Event, Flight, Node};
use crate::sim::Arrival;
use crate::{Moment, NodeSlot, Outcome, Reason, ServiceId, Slot, SourceKey, Wake, Woken, shard_of};

impl Node<'_> {
    pub(super) fn fly(&mut self, population: u16, key: SourceKey, node: NodeSlot) -> u32 {
        let cost_s = self.rng.exponential(1.0).clamp(0.3, 3.0) * self.population(population).cost_s;
        let (sent, started) = (self.now, self.now);
        let flight = Flight { population, key, sent, started, cost_s, failed: false, slot: None, node: Some(node) };
        if let Some(at) = self.free.pop() {
            self.flights[at as usize] = flight;
            return at;
        }
        self.flights.push(flight);
        self.flights.len() as u32 - 1
    }

    pub(super) fn end(&mut self, flight: u32) {
        if let Some(slot) = self.flights[flight as usize].node.take() {
            self.gate.release(slot);
        }
        self.free.push(flight);
    }

    pub(super) fn refuse(&mut self, population: u16, key: SourceKey, sent: Moment, reason: Reason) {
        *self.count(population, sent).refused.entry(reason).or_default() += 1;
        let refused = Outcome::Refused { retry_after_s: reason.retry_after_s().unwrap_or(0) };
        self.shards[shard_of(key)].outcome(key, self.now, refused);
    }

    pub(super) fn start(&mut self, service: ServiceId, flight: u32, slot: Slot) {
        let rules = &self.posture.services[service.index()];
        let at = &mut self.services[service.index()];
        at.watch.admitted(slot.lane(), rules, &mut self.report);
        at.inflight.up(self.now);
        self.window.services[service.index()].admitted += 1;
        let state = &mut self.flights[flight as usize];
        state.slot = Some(slot);
        state.started = self.now;
        match at.upstream.arrive(flight, state.cost_s) {
            Arrival::Begins(span_s) => self.after(span_s, Event::Done(flight)),
            Arrival::Waits => {}
            Arrival::Full => {
                state.failed = true;
                self.after(0.001, Event::Done(flight));
            }
        }
    }

    pub(super) fn done(&mut self, flight: u32) {
        let now = self.now;
        let state = &mut self.flights[flight as usize];
        let (population, key, sent, started, failed) =
            (state.population, state.key, state.sent, state.started, state.failed);
        let Some(slot) = state.slot.take() else { return };
        let asker = self.population(population);
        let service = ServiceId(asker.service);
        let at = &mut self.services[service.index()];
        if !failed && let Some((next, span_s)) = at.upstream.finish() {
            self.after(span_s, Event::Done(next));
        }
        let in_time = now.since(sent).as_secs_f64() <= asker.deadline_s;
        let count = self.count(population, sent);
        match (failed, in_time) {
            (true, _) => count.failed += 1,
            (false, true) => count.good += 1,
            (false, false) => count.late += 1,
        }
        let window = &mut self.window.services[service.index()];
        if failed {
            window.errors += 1;
        } else {
            window.note_completed(now.since(started), 1.0);
            self.shards[shard_of(key)].outcome(key, now, Outcome::Good);
        }
        let at = &mut self.services[service.index()];
        at.inflight.down(now);
        at.watch.released(slot.lane());
        let mut woken = Woken::new();
        at.lanes.release(slot, now, &self.posture.services[service.index()], &mut woken);
        self.end(flight);
        self.wake(service, woken);
    }

    pub(super) fn wake(&mut self, service: ServiceId, woken: Woken) {
        for (ticket, wake) in woken {
            let at = &mut self.services[service.index()];
            at.watch.resolved(&mut self.report);
            at.queued.down(self.now);
            let Some(flight) = at.waiting.remove(&ticket) else {
                self.report.breach(|| format!("{ticket:?} is not waiting"));
                continue;
            };
            match wake {
                Wake::Admit(slot) => self.start(service, flight, slot),
                Wake::Refuse(reason) => {
                    self.window.services[service.index()].lanes_shed += 1;
                    let state = &self.flights[flight as usize];
                    let (population, key, sent) = (state.population, state.key, state.sent);
                    self.end(flight);
                    self.refuse(population, key, sent, reason);
                }
            }
        }
    }
}
