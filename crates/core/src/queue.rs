//! Those who wait for a slot: the best goes first, and of every few slots one goes to whoever has waited long.
//!
//! Strict priority alone starves: in a crowd of honest strangers those of slightly better standing keep coming, and the
//! rest wait to their deadlines in vain. So every [`TURN_EVERY`]th slot goes to the one who came first among those who have
//! waited for half of their time, ask little and are not suspect (a bounded form of the ageing that schedulers use against
//! starvation). The rest of the slots go by priority, and while a mitigation that tells who attacks is in force all of them
//! do: a flood of strangers would take every turn.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::demand::NEWCOMER_HANDICAP;
use crate::{Ask, Criticality, Moment, Priority, Reason, Rules, Standing, Ticket};

/// One slot of so many goes by turn, while anyone is owed one. In the simulator's `ramp` (three seeds, 40 nodes) the regulars
/// get 97.0 % at the onset without turns, 97.0 with one in 16, 96.6 with one in 8, 95.7 with one in 4, and newcomers 63, 68,
/// 68 and 65 %; from the first mitigation on there is no difference.
pub(crate) const TURN_EVERY: usize = 8;

/// How the queue moves now: by the rules of its service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow<'a> {
    pub(crate) now: Moment,
    pub(crate) rules: &'a Rules,
}

impl Flow<'_> {
    /// Whether slots go by turn too: not while attackers are about, who would get them. What a crowd has in common tells
    /// of none. Looked at only where it matters: it goes through the mitigations.
    fn has_turns(&self) -> bool {
        !self.rules.mitigations.iter().any(|mitigation| mitigation.tells_who)
    }

    /// How long `ahead` requests take to get in; nothing if the capacity is not known.
    fn wait_behind(&self, ahead: usize) -> Duration {
        let capacity_per_s = self.rules.capacity_per_s;
        if capacity_per_s <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f32((ahead as f32 / capacity_per_s).min(3600.0))
    }

    /// Whether a request that still has to wait so long starts in time.
    fn in_time(&self, ask: &Ask, wait: Duration) -> bool {
        self.now.after(wait) <= ask.deadline
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    ask: Ask,
    /// From when on it may go by turn; `None` if it never may.
    turn_from: Option<Moment>,
}

/// A bounded queue's order; the bound is its owner's.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_priority: BTreeMap<(Reverse<Priority>, u64), Waiting>,
    priorities: BTreeMap<u64, Priority>,
    turns: BTreeSet<(Criticality, u64)>,
    next: u64,
    since_turn: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.by_priority.len()
    }

    pub(crate) fn insert(&mut self, ask: &Ask, now: Moment) -> Ticket {
        let seq = self.next;
        self.next += 1;
        let turn_from = may_have_a_turn(ask).then(|| now.after(until_turn(ask, now)));
        if turn_from.is_some() {
            self.turns.insert((ask.criticality, seq));
        }
        self.priorities.insert(seq, ask.priority);
        self.by_priority.insert((Reverse(ask.priority), seq), Waiting { ask: *ask, turn_from });
        Ticket(seq)
    }

    /// False if it does not wait any more.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> bool {
        let Some(priority) = self.priorities.remove(&ticket.0) else { return false };
        if let Some(waiting) = self.by_priority.remove(&(Reverse(priority), ticket.0)) {
            self.turns.remove(&(waiting.ask.criticality, ticket.0));
        }
        true
    }

    /// The one that a better one displaces: the last of the least priority.
    pub(crate) fn worst(&self) -> Option<(Ticket, Priority)> {
        self.by_priority.last_key_value().map(|(&(Reverse(priority), seq), _)| (Ticket(seq), priority))
    }

    /// Who gets the next slot. Only those of the best one's criticality can have a turn: nothing overtakes criticality.
    pub(crate) fn first(&self, flow: &Flow<'_>) -> Option<(Ticket, Ask)> {
        let (&(_, seq), best) = self.by_priority.first_key_value()?;
        let by_turn = || {
            let &(criticality, seq) = self.turns.range((best.ask.criticality, 0)..).next()?;
            let waiting = self.by_priority.get(&(Reverse(*self.priorities.get(&seq)?), seq))?;
            let due = criticality == best.ask.criticality && waiting.turn_from.is_some_and(|from| from <= flow.now);
            due.then_some((Ticket(seq), waiting.ask))
        };
        let owed = self.since_turn + 1 >= TURN_EVERY && flow.has_turns();
        owed.then(by_turn).flatten().or(Some((Ticket(seq), best.ask)))
    }

    /// Takes out who got a slot.
    pub(crate) fn admit(&mut self, ticket: Ticket) {
        let best = self.by_priority.first_key_value().is_some_and(|(&(_, seq), _)| seq == ticket.0);
        // A turn that nobody was due for is kept, but not saved up.
        self.since_turn = if best { (self.since_turn + 1).min(TURN_EVERY) } else { 0 };
        self.remove(ticket);
    }

    /// Whether a request that comes now would start before its deadline.
    pub(crate) fn has_hope(&self, ask: &Ask, flow: &Flow<'_>) -> bool {
        let ahead = self.by_priority.range(..=(Reverse(ask.priority), u64::MAX)).count();
        if flow.in_time(ask, flow.wait_behind(ahead)) {
            return true;
        }
        if !may_have_a_turn(ask) || !flow.has_turns() {
            return false;
        }
        let above = self.by_priority.values().take_while(|waiting| waiting.ask.criticality > ask.criticality).count();
        let turns = self.turns.range((ask.criticality, 0)..=(ask.criticality, u64::MAX)).count();
        flow.in_time(ask, until_turn(ask, flow.now) + flow.wait_behind(above + turns * TURN_EVERY))
    }

    /// Those whom `out_of_place` gives a reason against, and those who can't start before their deadlines.
    pub(crate) fn hopeless(
        &self,
        flow: &Flow<'_>,
        out_of_place: impl Fn(&Ask) -> Option<Reason>,
    ) -> Vec<(Ticket, Reason)> {
        let turns: Vec<_> = if flow.has_turns() { self.turns.iter().copied().collect() } else { Vec::new() };
        let place = |at: (Criticality, u64)| {
            turns.partition_point(|turn| *turn < at) - turns.partition_point(|turn| *turn < (at.0, 0))
        };
        let (mut ahead, mut above, mut criticality) = (0, 0, Criticality::Critical);
        let mut found = Vec::new();
        for (&(_, seq), waiting) in &self.by_priority {
            let ask = &waiting.ask;
            if ask.criticality != criticality {
                (above, criticality) = (ahead, ask.criticality);
            }
            let in_turn = |from: Moment| {
                let ahead = above + place((criticality, seq)) * TURN_EVERY;
                flow.in_time(ask, from.since(flow.now) + flow.wait_behind(ahead))
            };
            let turn_from = waiting.turn_from.filter(|_| !turns.is_empty());
            if let Some(reason) = out_of_place(ask) {
                found.push((Ticket(seq), reason));
            } else if ask.deadline > flow.now
                && (flow.in_time(ask, flow.wait_behind(ahead)) || turn_from.is_some_and(in_turn))
            {
                ahead += 1;
            } else {
                found.push((Ticket(seq), Reason::QueueTimeout));
            }
        }
        found
    }
}

/// Whether a request may go before better ones once it has waited long: of a source that is not suspect and asks no more
/// than five a second, of mean cost: a person who searches, where searching is costly.
fn may_have_a_turn(ask: &Ask) -> bool {
    ask.standing != Standing::Suspect && ask.pace_bucket <= NEWCOMER_HANDICAP
}

/// After how long of waiting from now a request may go by turn: half of its time.
fn until_turn(ask: &Ask, now: Moment) -> Duration {
    ask.deadline.since(now) / 2
}
