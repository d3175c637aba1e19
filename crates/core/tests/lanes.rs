//! Random sequences of operations on the lanes, against what they promise.

use std::collections::BTreeMap;
use std::time::Duration;

use guichet_core::{
    Ask, Criticality, Lanes, Moment, Offer, Priority, Reason, Rules, Slot, Standing, Ticket, TierRule, Wake, Woken,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Offer { criticality: usize, standing: usize, bucket: u8, wait_ms: u64 },
    Release(usize),
    Cancel(usize),
    Sweep,
    Limit(u32),
    Close(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..6_usize, 0..48_u8, 0..300_u64).prop_map(|(criticality, standing, bucket, wait_ms)| {
            Step::Offer { criticality, standing, bucket, wait_ms }
        }),
        4 => (0..64_usize).prop_map(Step::Release),
        1 => (0..64_usize).prop_map(Step::Cancel),
        1 => Just(Step::Sweep),
        1 => (0..24_u32).prop_map(Step::Limit),
        1 => any::<bool>().prop_map(Step::Close),
        2 => (0..100_u64).prop_map(Step::Wait),
    ]
}

/// What the test itself holds; counted apart from the lanes.
#[derive(Default)]
struct Model {
    lanes: Lanes,
    held: Vec<Slot>,
    waiting: BTreeMap<Ticket, Ask>,
    woken: Woken,
}

impl Model {
    fn counts(&self) -> [u32; 4] {
        let mut counts = [0; 4];
        for slot in &self.held {
            counts[slot.lane().index()] += 1;
        }
        counts
    }

    fn free_for(&self, criticality: Criticality, rules: &Rules) -> bool {
        let counts = self.counts();
        let kept: u32 = (criticality.index() + 1..4).map(|k| rules.floors[k].saturating_sub(counts[k])).sum();
        counts.iter().sum::<u32>() + kept < rules.limit
    }

    /// Takes a slot into the model: it must have been free for its lane.
    fn hold(&mut self, slot: Slot, rules: &Rules) {
        assert!(self.free_for(slot.lane(), rules), "{:?} took a kept slot: {:?}", slot.lane(), self.counts());
        self.held.push(slot);
    }

    /// Every woken ticket was waiting, and those admitted were the best of their time.
    fn settle(&mut self, rules: &Rules) {
        for (ticket, wake) in std::mem::take(&mut self.woken) {
            let ask = self.waiting.remove(&ticket).expect("a ticket is resolved once, and only if it was waiting");
            if let Wake::Admit(slot) = wake {
                assert_eq!(slot.lane(), ask.criticality);
                self.hold(slot, rules);
            }
        }
    }

    fn check(&self, now: Moment, rules: &Rules, pumped: bool) {
        assert_eq!(self.lanes.inflight_by_lane(), self.counts());
        assert_eq!(self.lanes.queued(), self.waiting.len());
        assert!(self.waiting.len() <= rules.queue_len as usize);
        if pumped {
            for ask in self.waiting.values() {
                assert!(
                    !self.free_for(ask.criticality, rules) || ask.deadline < now,
                    "{ask:?} waits beside a free slot"
                );
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut model = Model::default();
    let mut rules = Rules { queue_len: 6, floors: [0, 1, 2, 3], ..Rules::open(12) };
    let mut now = Moment(0);
    for step in steps {
        let mut pumped = true;
        match step {
            Step::Offer { criticality, standing, bucket, wait_ms } => {
                let (criticality, standing) = (Criticality::ALL[criticality], Standing::ALL[standing]);
                let ask = Ask {
                    priority: Priority::new(criticality, standing, bucket, 0),
                    criticality,
                    standing,
                    pace_bucket: bucket,
                    lot: 7,
                    by_share: false,
                    deadline: now.after(Duration::from_millis(wait_ms)),
                };
                let queued: Vec<_> = model.waiting.values().map(|a| a.priority).collect();
                let offer = model.lanes.offer(&ask, now, &rules, &mut model.woken);
                model.settle(&rules);
                match offer {
                    Offer::Admit(slot) => model.hold(slot, &rules),
                    Offer::Wait(ticket) => assert!(model.waiting.insert(ticket, ask).is_none()),
                    Offer::Refuse(reason) => {
                        assert_eq!(reason, Reason::Overload);
                        assert!(!model.free_for(criticality, &rules));
                        let worse = queued.iter().any(|p| *p < ask.priority);
                        assert!(!worse || wait_ms == 0 || queued.len() < 6, "refused before a worse one was displaced");
                    }
                }
            }
            Step::Release(at) if !model.held.is_empty() => {
                let slot = model.held.swap_remove(at % model.held.len());
                model.lanes.release(slot, now, &rules, &mut model.woken);
            }
            Step::Cancel(at) if !model.waiting.is_empty() => {
                let ticket = *model.waiting.keys().nth(at % model.waiting.len()).expect("within the length");
                assert!(model.lanes.cancel(ticket, now, &rules, &mut model.woken));
                model.waiting.remove(&ticket);
                assert!(!model.lanes.cancel(ticket, now, &rules, &mut model.woken), "cancelled twice");
            }
            Step::Sweep => {
                model.lanes.sweep(now, &rules, &mut model.woken);
                let overdue = |m: &Model| m.lanes.queued();
                let after = overdue(&model);
                model.settle(&rules);
                assert_eq!(after, model.waiting.len());
                for ask in model.waiting.values() {
                    assert!(ask.deadline > now, "swept, but overdue");
                    let closed = rules.tier(ask.standing).is_closed();
                    let exempt = ask.standing == Standing::Partner || ask.criticality == Criticality::Critical;
                    assert!(!closed || exempt, "swept, but below the threshold");
                }
            }
            Step::Limit(limit) => (rules.limit, pumped) = (limit, false),
            Step::Close(close) => {
                let rule = if close { TierRule::CLOSED } else { TierRule::OPEN };
                (rules.tiers[Standing::Anonymous.index()], pumped) = (rule, false);
            }
            Step::Wait(ms) => now = now.after(Duration::from_millis(ms)),
            Step::Release(_) | Step::Cancel(_) => {}
        }
        model.settle(&rules);
        let changed = matches!(step, Step::Wait(_) | Step::Release(_) | Step::Cancel(_)) && model.held.is_empty();
        model.check(now, &rules, pumped && !changed && matches!(step, Step::Offer { .. } | Step::Sweep));
    }
    // Everything given back: nothing may be left, and everyone who waited is told.
    while let Some(slot) = model.held.pop() {
        model.lanes.release(slot, now, &rules, &mut model.woken);
        model.settle(&rules);
    }
    let late = now.after(Duration::from_secs(10));
    model.lanes.sweep(late, &rules, &mut model.woken);
    model.settle(&rules);
    model.check(late, &rules, false);
    assert_eq!((model.lanes.inflight(), model.lanes.queued()), (model.held.len() as u32, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn slots_never_leak_floors_hold_and_tickets_resolve_once(steps in proptest::collection::vec(step(), 1..200)) {
        run(steps);
    }
}

fn ask(criticality: Criticality, standing: Standing, bucket: u8) -> Ask {
    Ask {
        priority: Priority::new(criticality, standing, bucket, 0),
        criticality,
        standing,
        pace_bucket: bucket,
        lot: 0,
        by_share: false,
        deadline: Moment(1_000_000),
    }
}

fn wait(lanes: &mut Lanes, ask: &Ask, rules: &Rules, out: &mut Woken) -> Ticket {
    match lanes.offer(ask, Moment(0), rules, out) {
        Offer::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_best_goes_first_the_worst_is_displaced_and_equals_are_first_come_first_served() {
    use Criticality::Ordinary;
    let rules = Rules { queue_len: 3, ..Rules::open(1) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let Offer::Admit(slot) = lanes.offer(&ask(Ordinary, Standing::Suspect, 0), Moment(0), &rules, &mut out) else {
        panic!("a free slot")
    };
    let first = wait(&mut lanes, &ask(Ordinary, Standing::Anonymous, 0), &rules, &mut out);
    let second = wait(&mut lanes, &ask(Ordinary, Standing::Anonymous, 0), &rules, &mut out);
    let worst = wait(&mut lanes, &ask(Ordinary, Standing::Suspect, 0), &rules, &mut out);
    assert!(out.is_empty());
    let session = wait(&mut lanes, &ask(Ordinary, Standing::Session, 0), &rules, &mut out);
    assert_eq!(std::mem::take(&mut out), [(worst, Wake::Refuse(Reason::Displaced))]);
    let refused = lanes.offer(&ask(Ordinary, Standing::Anonymous, 9), Moment(0), &rules, &mut out);
    assert_eq!(refused, Offer::Refuse(Reason::Overload));
    let mut slot = slot;
    for expected in [session, first, second] {
        lanes.release(slot, Moment(0), &rules, &mut out);
        let (ticket, wake) = out.pop().expect("one is let in");
        assert_eq!(ticket, expected);
        let Wake::Admit(next) = wake else { panic!("{wake:?}") };
        slot = next;
    }
    lanes.release(slot, Moment(0), &rules, &mut out);
    assert_eq!((lanes.inflight(), lanes.queued(), out.len()), (0, 0, 0));
}

#[test]
fn what_is_queued_is_shed_too() {
    let rules = Rules { queue_len: 8, ..Rules::open(0) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let low = wait(&mut lanes, &ask(Criticality::Ordinary, Standing::Anonymous, 0), &rules, &mut out);
    let critical = wait(&mut lanes, &ask(Criticality::Critical, Standing::Anonymous, 0), &rules, &mut out);
    let session = wait(&mut lanes, &ask(Criticality::Ordinary, Standing::Session, 0), &rules, &mut out);
    let mut closed = rules.clone();
    closed.tiers[Standing::Anonymous.index()] = TierRule::CLOSED;
    lanes.sweep(Moment(0), &closed, &mut out);
    assert_eq!(std::mem::take(&mut out), [(low, Wake::Refuse(Reason::BelowThreshold))]);
    // At one a second, the second in the queue cannot start within its second.
    let slow = Rules { capacity_per_s: 1.0, ..rules.clone() };
    lanes.sweep(Moment(500_000), &slow, &mut out);
    assert_eq!(std::mem::take(&mut out), [(session, Wake::Refuse(Reason::QueueTimeout))]);
    lanes.sweep(Moment(1_000_000), &rules, &mut out);
    assert_eq!(std::mem::take(&mut out), [(critical, Wake::Refuse(Reason::QueueTimeout))]);
}

#[test]
fn a_falling_limit_admits_nobody_until_it_has_drained() {
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let rules = Rules { queue_len: 0, floors: [0, 0, 0, 2], ..Rules::open(6) };
    let low = ask(Criticality::Ordinary, Standing::Anonymous, 0);
    let mut slots: Vec<_> = (0..6)
        .filter_map(|_| match lanes.offer(&low, Moment(0), &rules, &mut out) {
            Offer::Admit(slot) => Some(slot),
            Offer::Wait(_) | Offer::Refuse(_) => None,
        })
        .collect();
    assert_eq!(slots.len(), 4);
    let fallen = Rules { limit: 3, ..rules };
    for held in (1..=4).rev() {
        let offer = lanes.offer(&low, Moment(0), &fallen, &mut out);
        assert_eq!(offer, Offer::Refuse(Reason::Overload), "{held} held");
        let critical = lanes.offer(&ask(Criticality::Critical, Standing::Partner, 0), Moment(0), &fallen, &mut out);
        match critical {
            Offer::Admit(slot) => {
                assert!(held <= 2, "{held} held");
                lanes.release(slot, Moment(0), &fallen, &mut out);
            }
            Offer::Wait(_) | Offer::Refuse(_) => assert!(held > 2, "{held} held"),
        }
        lanes.release(slots.pop().expect("held"), Moment(0), &fallen, &mut out);
    }
}
