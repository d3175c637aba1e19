//! One gate a service: the lanes behind a short lock that only workers take, and those who wait at it.

use std::collections::HashMap;
use std::sync::Arc;

use guichet_core::{Ask, Lanes, Moment, Offer, Posture, Reason, Rules, ServiceId, Slot, Ticket, Wake, Woken};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Lanes and waiting requests of one service. Kept over reloads, by name.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    /// Bounded by the queue of the lanes: one entry for each ticket.
    waiting: HashMap<Ticket, oneshot::Sender<Wake>>,
}

/// What an ask got.
pub(super) enum Answer {
    Admitted(Slot),
    Waiting(Waiting),
    Refused(Reason),
}

/// A place in the queue. Dropping it gives it up, and gives back a slot that was on its way.
pub(super) struct Waiting {
    gate: Arc<Gate>,
    posture: Arc<Posture>,
    service: ServiceId,
    ticket: Ticket,
    woken: Option<oneshot::Receiver<Wake>>,
}

impl Gate {
    /// Asks for a slot.
    pub(super) fn offer(
        self: &Arc<Self>,
        ask: &Ask,
        now: Moment,
        posture: &Arc<Posture>,
        service: ServiceId,
    ) -> Answer {
        let Some(rules) = posture.rules(service) else { return Answer::Refused(Reason::Internal) };
        let mut woken = Woken::new();
        let mut state = self.state.lock();
        let offer = state.lanes.offer(ask, now, rules, &mut woken);
        let answer = match offer {
            Offer::Admit(slot) => Answer::Admitted(slot),
            Offer::Refuse(reason) => Answer::Refused(reason),
            Offer::Wait(ticket) => {
                let (tell, told) = oneshot::channel();
                state.waiting.insert(ticket, tell);
                Answer::Waiting(Waiting {
                    gate: self.clone(),
                    posture: posture.clone(),
                    service,
                    ticket,
                    woken: Some(told),
                })
            }
        };
        self.tell(state, woken, now, rules);
        answer
    }

    /// Gives a slot back and lets the next ones in.
    pub(super) fn release(&self, slot: Slot, now: Moment, rules: &Rules) {
        let mut woken = Woken::new();
        let mut state = self.state.lock();
        state.lanes.release(slot, now, rules, &mut woken);
        self.tell(state, woken, now, rules);
    }

    /// Sheds those who waited in vain or fell below a risen threshold.
    pub(super) fn sweep(&self, now: Moment, rules: &Rules) {
        let mut state = self.state.lock();
        let mut woken = Woken::new();
        if state.lanes.queued() > 0 {
            state.lanes.sweep(now, rules, &mut woken);
        }
        self.tell(state, woken, now, rules);
    }

    /// Requests in flight and waiting.
    pub(super) fn levels(&self) -> (u32, usize) {
        let state = self.state.lock();
        (state.lanes.inflight(), state.lanes.queued())
    }

    /// Tells those who were resolved. A slot for one who is gone goes on to the next, so this ends when all slots are
    /// held or nobody waits: each round resolves at least one ticket.
    fn tell<'a>(&'a self, mut state: parking_lot::MutexGuard<'a, State>, mut woken: Woken, now: Moment, rules: &Rules) {
        while !woken.is_empty() {
            let mut told: Vec<_> =
                woken.drain(..).map(|(ticket, wake)| (state.waiting.remove(&ticket), wake)).collect();
            // Waking another worker's task under the lock would hold up everyone at this gate.
            parking_lot::MutexGuard::unlocked(&mut state, || {
                for (sender, wake) in &mut told {
                    if let Some(sender) = sender.take() {
                        let content = std::mem::replace(wake, Wake::Refuse(Reason::ClientGone));
                        if let Err(unheard) = sender.send(content) {
                            *wake = unheard;
                        }
                    }
                }
            });
            for (_, wake) in told {
                if let Wake::Admit(slot) = wake {
                    state.lanes.release(slot, now, rules, &mut woken);
                }
            }
        }
    }
}

impl Waiting {
    /// Waits until resolved.
    pub(super) async fn resolved(mut self) -> Result<Slot, Reason> {
        let Some(told) = self.woken.as_mut() else { return Err(Reason::Internal) };
        let wake = told.await;
        self.woken = None;
        match wake {
            Ok(Wake::Admit(slot)) => Ok(slot),
            Ok(Wake::Refuse(reason)) => Err(reason),
            Err(_) => Err(Reason::Internal),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut told) = self.woken.take() else { return };
        let now = crate::clock::now();
        let Some(rules) = self.posture.rules(self.service) else { return };
        // Closing first: a slot sent from now on comes back to its sender, one sent before is received here.
        told.close();
        if let Ok(Wake::Admit(slot)) = told.try_recv() {
            self.gate.release(slot, now, rules);
            return;
        }
        let mut state = self.gate.state.lock();
        let mut woken = Woken::new();
        state.waiting.remove(&self.ticket);
        state.lanes.cancel(self.ticket, now, rules, &mut woken);
        self.gate.tell(state, woken, now, rules);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guichet_core::{Criticality, NodeRules, Priority, Standing};
    use std::time::Duration;

    const SERVICE: ServiceId = ServiceId(0);

    fn posture(limit: u32, queue_len: u32) -> Arc<Posture> {
        let rules = Rules { queue_len, ..Rules::open(limit) };
        let node = NodeRules { limit: 1000, floors: [0; Criticality::COUNT] };
        Arc::new(Posture {
            generation: 0,
            services: vec![rules],
            node,
            connections: Arc::new([]),
            strain: Default::default(),
        })
    }

    fn ask() -> Ask {
        Ask {
            priority: Priority::new(Criticality::Ordinary, Standing::Anonymous, 0, 0),
            criticality: Criticality::Ordinary,
            standing: Standing::Anonymous,
            pace_bucket: 0,
            lot: 0,
            by_share: false,
            deadline: crate::clock::now().after(Duration::from_secs(10)),
        }
    }

    fn offer(gate: &Arc<Gate>, posture: &Arc<Posture>) -> Answer {
        gate.offer(&ask(), crate::clock::now(), posture, SERVICE)
    }

    #[tokio::test]
    async fn a_released_slot_goes_to_who_waits() {
        let (gate, posture) = (Arc::new(Gate::default()), posture(1, 8));
        let Answer::Admitted(slot) = offer(&gate, &posture) else { panic!("the first is admitted") };
        let Answer::Waiting(waiting) = offer(&gate, &posture) else { panic!("the second waits") };
        gate.release(slot, crate::clock::now(), &posture.services[0]);
        let slot = waiting.resolved().await.expect("let in");
        assert_eq!(gate.levels(), (1, 0));
        gate.release(slot, crate::clock::now(), &posture.services[0]);
        assert_eq!(gate.levels(), (0, 0));
    }

    #[tokio::test]
    async fn who_goes_away_gives_up_the_place_and_the_slot_on_its_way() {
        let (gate, posture) = (Arc::new(Gate::default()), posture(1, 8));
        let Answer::Admitted(slot) = offer(&gate, &posture) else { panic!("the first is admitted") };
        let Answer::Waiting(left_before) = offer(&gate, &posture) else { panic!("waits") };
        let Answer::Waiting(left_after) = offer(&gate, &posture) else { panic!("waits") };
        let Answer::Waiting(stays) = offer(&gate, &posture) else { panic!("waits") };
        drop(left_before);
        assert_eq!(gate.levels(), (1, 2));
        gate.release(slot, crate::clock::now(), &posture.services[0]);
        // The slot is on its way to one who leaves without taking it.
        drop(left_after);
        let slot = stays.resolved().await.expect("the slot goes on to the next");
        gate.release(slot, crate::clock::now(), &posture.services[0]);
        assert_eq!(gate.levels(), (0, 0));
    }

    #[test]
    fn no_slot_leaks_over_threads_that_cancel_at_random() {
        let (gate, posture) = (Arc::new(Gate::default()), posture(4, 32));
        let threads: Vec<_> = (0..4u64)
            .map(|seed| {
                let (gate, posture) = (gate.clone(), posture.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(exercise(&gate, &posture, seed));
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        gate.sweep(crate::clock::now(), &posture.services[0]);
        assert_eq!(gate.levels(), (0, 0));
        assert!(gate.state.lock().waiting.is_empty(), "nobody is left behind");
    }

    /// 2,000 asks, several at once, each kept, waited for or given up by a fixed pseudo-random order.
    async fn exercise(gate: &Arc<Gate>, posture: &Arc<Posture>, seed: u64) {
        let rules = &posture.services[0];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            match offer(gate, posture) {
                Answer::Admitted(slot) => held.push(slot),
                Answer::Waiting(place) => waiting.push(place),
                Answer::Refused(_) => {}
            }
            if random() % 3 == 0 {
                waiting.pop();
            }
            if random() % 2 == 0
                && let Some(slot) = held.pop()
            {
                gate.release(slot, crate::clock::now(), rules);
            }
            if random() % 4 == 0
                && let Some(place) = waiting.pop()
                && let Ok(Ok(slot)) = tokio::time::timeout(Duration::from_micros(50), place.resolved()).await
            {
                held.push(slot);
            }
        }
        drop(waiting);
        for slot in held {
            gate.release(slot, crate::clock::now(), rules);
        }
    }
}
