//! Slots towards one upstream pool, with reserved lanes and a short queue.
//!
//! Called under a lock that only workers take; what the brain decides comes in as [`Rules`]. The queue is ordered by
//! priority and first come first served among equals, with a part of the slots for those who have waited long. Every
//! ticket is resolved exactly once: by a `Woken`, or by the `cancel` that took it back.

use crate::bounds::QUEUE_PER_SERVICE_MAX;
use crate::queue::{Flow, Queue};
use crate::{Criticality, Moment, Priority, Reason, Rules, Standing};

/// A request that asks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who goes first.
    pub priority: Priority,
    /// Which lane it may use.
    pub criticality: Criticality,
    /// Whose threshold is applied again while it waits.
    pub standing: Standing,
    /// Pace of its source when it asked.
    pub pace_bucket: u8,
    /// Lot of its source.
    pub lot: u16,
    /// Whether it came in by a share, so that the threshold does not apply to it.
    pub by_share: bool,
    /// Latest moment at which starting is of use.
    pub deadline: Moment,
}

/// The right to one request in flight. Give it back with [`Lanes::release`]; it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is not released is lost"]
pub struct Slot {
    lane: Criticality,
}

impl Slot {
    /// The lane that the slot is counted in.
    #[must_use]
    pub const fn lane(&self) -> Criticality {
        self.lane
    }
}

/// Names a waiting request; never used twice by the same lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an ask got.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Offer {
    /// Go ahead.
    Admit(Slot),
    /// Wait: a `Woken` with this ticket follows, from any later call.
    Wait(Ticket),
    /// Refused.
    Refuse(Reason),
}

/// What became of a waiting request.
#[derive(Debug, PartialEq, Eq)]
pub enum Wake {
    /// Go ahead.
    Admit(Slot),
    /// Refused.
    Refuse(Reason),
}

/// Waiting requests that were resolved by a call; the caller tells each and empties the list. At most
/// [`QUEUE_PER_SERVICE_MAX`] + 1 a call.
pub type Woken = Vec<(Ticket, Wake)>;

/// Whether a request of this criticality may take a slot: slots kept for those above and not used by them are barred.
pub(crate) fn may_take(
    inflight: &[u32; Criticality::COUNT],
    criticality: Criticality,
    limit: u32,
    floors: &[u32; Criticality::COUNT],
) -> bool {
    let above = criticality.index() + 1..Criticality::COUNT;
    let kept: u32 = above.map(|k| floors[k].saturating_sub(inflight[k])).fold(0, u32::saturating_add);
    let used: u32 = inflight.iter().sum();
    used.saturating_add(kept) < limit
}

/// The slots and the queue of one service.
#[derive(Debug, Default)]
pub struct Lanes {
    inflight: [u32; Criticality::COUNT],
    queue: Queue,
}

impl Lanes {
    /// Nothing in flight, nobody waiting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests in flight, over all lanes.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        self.inflight.iter().sum()
    }

    /// Requests in flight in each lane.
    #[must_use]
    pub const fn inflight_by_lane(&self) -> [u32; Criticality::COUNT] {
        self.inflight
    }

    /// Requests waiting.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Asks for a slot. `out` receives those that the new ask displaces, and those that a raised limit lets in.
    pub fn offer(&mut self, ask: &Ask, now: Moment, rules: &Rules, out: &mut Woken) -> Offer {
        self.pump(now, rules, out);
        if may_take(&self.inflight, ask.criticality, rules.limit, &rules.floors) {
            return Offer::Admit(self.take(ask.criticality));
        }
        let len_max = (rules.queue_len as usize).min(QUEUE_PER_SERVICE_MAX);
        if len_max == 0 || ask.deadline <= now || !self.queue.has_hope(ask, &Flow { now, rules }) {
            return Offer::Refuse(Reason::Overload);
        }
        while self.queue.len() >= len_max {
            let Some((ticket, worst)) = self.queue.worst() else { break };
            if ask.priority <= worst {
                return Offer::Refuse(Reason::Overload);
            }
            self.drop_waiting(ticket, Reason::Displaced, out);
        }
        Offer::Wait(self.queue.insert(ask, now))
    }

    /// Gives a slot back, and lets the next ones in.
    pub fn release(&mut self, slot: Slot, now: Moment, rules: &Rules, out: &mut Woken) {
        let lane = &mut self.inflight[slot.lane.index()];
        *lane = lane.saturating_sub(1);
        self.pump(now, rules, out);
    }

    /// Takes a waiting request back. False if it was resolved already: then its `Woken` is on the way, and a slot in it
    /// must be released.
    pub fn cancel(&mut self, ticket: Ticket, now: Moment, rules: &Rules, out: &mut Woken) -> bool {
        let waited = self.queue.remove(ticket);
        if waited {
            self.pump(now, rules, out);
        }
        waited
    }

    /// Sheds what can no longer meet its deadline or has fallen under a risen threshold, and lets in what a raised
    /// limit allows. To be called every few milliseconds while anyone waits.
    pub fn sweep(&mut self, now: Moment, rules: &Rules, out: &mut Woken) {
        let under = |ask: &Ask| (!ask.by_share && !passes(ask, rules)).then(|| rules.refusal(ask.standing));
        for (ticket, reason) in self.queue.hopeless(&Flow { now, rules }, under) {
            self.drop_waiting(ticket, reason, out);
        }
        self.pump(now, rules, out);
    }

    fn take(&mut self, lane: Criticality) -> Slot {
        self.inflight[lane.index()] += 1;
        Slot { lane }
    }

    /// Lets in the first of those waiting while a slot is free for it. Criticality leads, and a lane that is barred to
    /// the first is barred to all behind it, so only the first needs looking at.
    fn pump(&mut self, now: Moment, rules: &Rules, out: &mut Woken) {
        let flow = Flow { now, rules };
        while let Some((ticket, ask)) = self.queue.first(&flow) {
            if ask.deadline < now {
                self.drop_waiting(ticket, Reason::QueueTimeout, out);
            } else if may_take(&self.inflight, ask.criticality, rules.limit, &rules.floors) {
                self.queue.admit(ticket);
                let slot = self.take(ask.criticality);
                out.push((ticket, Wake::Admit(slot)));
            } else {
                break;
            }
        }
    }

    fn drop_waiting(&mut self, ticket: Ticket, reason: Reason, out: &mut Woken) {
        if self.queue.remove(ticket) {
            out.push((ticket, Wake::Refuse(reason)));
        }
    }
}

/// Whether the threshold of its tier lets this ask wait on.
fn passes(ask: &Ask, rules: &Rules) -> bool {
    ask.standing == Standing::Partner
        || ask.criticality == Criticality::Critical
        || rules.tier(ask.standing).opens(ask.pace_bucket, ask.lot)
}
