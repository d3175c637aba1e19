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
