//! Operations on the lanes, played against a model that counts by itself: what property tests and fuzzing share.

use std::collections::BTreeMap;
use std::time::Duration;

use guichet_core::{
    Ask, Criticality, Lanes, Moment, Offer, Priority, Reason, Rules, Slot, Standing, Ticket, TierRule, Wake, Woken,
};

/// One operation. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Offer { criticality: usize, standing: usize, bucket: u8, wait_ms: u64 },
    Release(usize),
    Cancel(usize),
    Sweep,
    Limit(u32),
    Close(bool),
    Wait(u64),
}

/// What the model itself holds; counted apart from the lanes.
struct Model {
    lanes: Lanes,
    held: Vec<Slot>,
    waiting: BTreeMap<Ticket, Ask>,
    woken: Woken,
    rules: Rules,
    now: Moment,
}

impl Model {
    fn new() -> Self {
        Self {
            lanes: Lanes::default(),
            held: Vec::new(),
            waiting: BTreeMap::new(),
            woken: Woken::new(),
            rules: Rules { queue_len: 6, floors: [0, 1, 2, 3], ..Rules::open(12) },
            now: Moment(0),
        }
    }

    fn counts(&self) -> [u32; 4] {
        let mut counts = [0; 4];
        for slot in &self.held {
            counts[slot.lane().index()] += 1;
        }
        counts
    }

    fn free_for(&self, criticality: Criticality) -> bool {
        let counts = self.counts();
        let kept: u32 = (criticality.index() + 1..4).map(|k| self.rules.floors[k].saturating_sub(counts[k])).sum();
        counts.iter().sum::<u32>() + kept < self.rules.limit
    }

    /// Takes a slot into the model: it must have been free for its lane.
    fn hold(&mut self, slot: Slot) {
        assert!(self.free_for(slot.lane()), "{:?} took a kept slot: {:?}", slot.lane(), self.counts());
        self.held.push(slot);
    }

    /// Every woken ticket was waiting, and those admitted were the best of their time.
    fn settle(&mut self) {
        for (ticket, wake) in std::mem::take(&mut self.woken) {
            let ask = self.waiting.remove(&ticket).expect("a ticket is resolved once, and only if it was waiting");
            if let Wake::Admit(slot) = wake {
                assert_eq!(slot.lane(), ask.criticality);
                self.hold(slot);
            }
        }
    }

    fn check(&self, pumped: bool) {
        assert_eq!(self.lanes.inflight_by_lane(), self.counts());
        assert_eq!(self.lanes.queued(), self.waiting.len());
        assert!(self.waiting.len() <= self.rules.queue_len as usize);
        if pumped {
            for ask in self.waiting.values() {
                let idle = self.free_for(ask.criticality) && ask.deadline >= self.now;
                assert!(!idle, "{ask:?} waits beside a free slot");
            }
        }
    }

    fn offer(&mut self, criticality: usize, standing: usize, bucket: u8, wait_ms: u64) {
        let (criticality, standing) = (Criticality::ALL[criticality % 4], Standing::ALL[standing % Standing::COUNT]);
        let ask = Ask {
            priority: Priority::new(criticality, standing, bucket, 0),
            criticality,
            standing,
            pace_bucket: bucket,
            lot: 7,
            by_share: false,
            deadline: self.now.after(Duration::from_millis(wait_ms)),
        };
        let queued: Vec<_> = self.waiting.values().map(|a| a.priority).collect();
        let offer = self.lanes.offer(&ask, self.now, &self.rules, &mut self.woken);
        self.settle();
        match offer {
            Offer::Admit(slot) => self.hold(slot),
            Offer::Wait(ticket) => assert!(self.waiting.insert(ticket, ask).is_none()),
            Offer::Refuse(reason) => {
                assert_eq!(reason, Reason::Overload);
                assert!(!self.free_for(criticality));
                let worse = queued.iter().any(|p| *p < ask.priority);
                assert!(!worse || wait_ms == 0 || queued.len() < 6, "refused before a worse one was displaced");
            }
        }
    }

    fn cancel(&mut self, at: usize) {
        let ticket = *self.waiting.keys().nth(at % self.waiting.len()).expect("within the length");
        assert!(self.lanes.cancel(ticket, self.now, &self.rules, &mut self.woken));
        self.waiting.remove(&ticket);
        assert!(!self.lanes.cancel(ticket, self.now, &self.rules, &mut self.woken), "cancelled twice");
    }

    fn sweep(&mut self) {
        self.lanes.sweep(self.now, &self.rules, &mut self.woken);
        let after = self.lanes.queued();
        self.settle();
        assert_eq!(after, self.waiting.len());
        for ask in self.waiting.values() {
            assert!(ask.deadline > self.now, "swept, but overdue");
            let closed = self.rules.tier(ask.standing).is_closed();
            let exempt = ask.standing == Standing::Partner || ask.criticality == Criticality::Critical;
            assert!(!closed || exempt, "swept, but below the threshold");
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Offer { criticality, standing, bucket, wait_ms } => {
                self.offer(criticality, standing, bucket, wait_ms);
            }
            Step::Release(at) if !self.held.is_empty() => {
                let slot = self.held.swap_remove(at % self.held.len());
                self.lanes.release(slot, self.now, &self.rules, &mut self.woken);
            }
            Step::Cancel(at) if !self.waiting.is_empty() => self.cancel(at),
            Step::Sweep => self.sweep(),
            Step::Limit(limit) => self.rules.limit = limit,
            Step::Close(close) => {
                let rule = if close { TierRule::CLOSED } else { TierRule::OPEN };
                self.rules.tiers[Standing::Anonymous.index()] = rule;
            }
            Step::Wait(ms) => self.now = self.now.after(Duration::from_millis(ms)),
            Step::Release(_) | Step::Cancel(_) => {}
        }
        self.settle();
        self.check(matches!(step, Step::Offer { .. } | Step::Sweep));
    }

    /// Everything is given back: nothing may be left, and everyone who waited is told.
    fn end(mut self) {
        while let Some(slot) = self.held.pop() {
            self.lanes.release(slot, self.now, &self.rules, &mut self.woken);
            self.settle();
        }
        self.now = self.now.after(Duration::from_secs(10));
        self.lanes.sweep(self.now, &self.rules, &mut self.woken);
        self.settle();
        self.check(false);
        assert_eq!((self.lanes.inflight(), self.lanes.queued()), (self.held.len() as u32, 0));
    }
}

/// Plays the operations: slots never leak, floors are never occupied from below, the queue stays within its bound, and
/// every ticket is resolved once.
pub(crate) fn run(steps: &[Step]) {
    let mut model = Model::new();
    for step in steps {
        model.step(step);
    }
    model.end();
}
