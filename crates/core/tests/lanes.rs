//! Random sequences of operations on the lanes, against what they promise.

mod model;

use guichet_core::signs::{self, Dimension, InForce, Signature};
use guichet_core::{
    Ask, Criticality, Lanes, Moment, Offer, Priority, Reason, Rules, Standing, Ticket, TierRule, Wake, Woken,
};
use model::{Step, run};
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..Standing::COUNT, 0..48_u8, 0..300_u64).prop_map(|(criticality, standing, bucket, wait_ms)| {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn slots_never_leak_floors_hold_and_tickets_resolve_once(steps in proptest::collection::vec(step(), 1..200)) {
        run(&steps);
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

/// Gives a slot back once; who got the next one.
fn hand_on(lanes: &mut Lanes, slot: guichet_core::Slot, now: Moment, rules: &Rules) -> (Ticket, guichet_core::Slot) {
    let mut out = Woken::new();
    lanes.release(slot, now, rules, &mut out);
    match out.pop() {
        Some((ticket, Wake::Admit(slot))) if out.is_empty() => (ticket, slot),
        other => panic!("{other:?}, then {out:?}"),
    }
}

#[test]
fn of_eight_slots_one_goes_to_who_has_waited_half_its_time_if_it_is_light_and_not_suspect() {
    use Criticality::Ordinary;
    let rules = Rules { queue_len: 64, ..Rules::open(1) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let Offer::Admit(mut slot) = lanes.offer(&ask(Ordinary, Standing::Known, 0), Moment(0), &rules, &mut out) else {
        panic!("a free slot")
    };
    let first = wait(&mut lanes, &ask(Ordinary, Standing::Newcomer, 0), &rules, &mut out);
    let second = wait(&mut lanes, &ask(Ordinary, Standing::Newcomer, 0), &rules, &mut out);
    let mut never = vec![
        wait(&mut lanes, &ask(Ordinary, Standing::Suspect, 0), &rules, &mut out),
        wait(&mut lanes, &ask(Ordinary, Standing::Newcomer, 40), &rules, &mut out),
    ];
    // Better ones keep coming. The deadline is at 1 s: before half of it, nobody has a turn.
    let mut order = Vec::new();
    for now in [Moment(499_999), Moment(500_000)] {
        for _ in 0..20 {
            never.push(wait(&mut lanes, &ask(Ordinary, Standing::Anonymous, 0), &rules, &mut out));
            let (ticket, next) = hand_on(&mut lanes, slot, now, &rules);
            order.push(ticket);
            slot = next;
        }
    }
    let turns: Vec<_> = order.iter().enumerate().filter(|(_, ticket)| !never.contains(ticket)).collect();
    assert_eq!(turns, [(20, &first), (28, &second)], "a turn at once when one is due, then every eighth");
    lanes.release(slot, Moment(500_000), &rules, &mut out);
}

#[test]
fn while_attackers_are_about_all_slots_go_by_priority() {
    let signature = Signature::single(Dimension::Tls, 7);
    let found =
        InForce { id: 1, signature, step: signs::Step::Refuse, tells_who: true, challenges: true, sign_ins: false };
    let rules = Rules { queue_len: 64, mitigations: [found].into(), ..Rules::open(1) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let known = ask(Criticality::Ordinary, Standing::Known, 0);
    let Offer::Admit(mut slot) = lanes.offer(&known, Moment(0), &rules, &mut out) else { panic!("a free slot") };
    let newcomer = wait(&mut lanes, &ask(Criticality::Ordinary, Standing::Newcomer, 0), &rules, &mut out);
    for _ in 0..40 {
        let _better = wait(&mut lanes, &known, &rules, &mut out);
        let (ticket, next) = hand_on(&mut lanes, slot, Moment(900_000), &rules);
        assert_ne!(ticket, newcomer);
        slot = next;
    }
    lanes.release(slot, Moment(900_000), &rules, &mut out);
}

#[test]
fn no_turn_overtakes_criticality() {
    let rules = Rules { queue_len: 64, ..Rules::open(1) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let known = ask(Criticality::Ordinary, Standing::Known, 0);
    let Offer::Admit(mut slot) = lanes.offer(&known, Moment(0), &rules, &mut out) else { panic!("a free slot") };
    let low = wait(&mut lanes, &ask(Criticality::Ordinary, Standing::Newcomer, 0), &rules, &mut out);
    for _ in 0..20 {
        let high = wait(&mut lanes, &ask(Criticality::Important, Standing::Newcomer, 0), &rules, &mut out);
        let (ticket, next) = hand_on(&mut lanes, slot, Moment(900_000), &rules);
        assert_eq!(ticket, high);
        slot = next;
    }
    let (ticket, slot) = hand_on(&mut lanes, slot, Moment(900_000), &rules);
    assert_eq!(ticket, low);
    lanes.release(slot, Moment(900_000), &rules, &mut out);
}

#[test]
fn who_can_be_in_time_by_its_turn_is_not_swept() {
    // 16 a second: two turns. Behind 30 better ones it would be too late by priority alone.
    let rules = Rules { queue_len: 64, capacity_per_s: 16.0, ..Rules::open(0) };
    let (mut lanes, mut out) = (Lanes::new(), Woken::new());
    let long = |standing| Ask { deadline: Moment(2_000_000), ..ask(Criticality::Ordinary, standing, 0) };
    let light = wait(&mut lanes, &long(Standing::Newcomer), &rules, &mut out);
    let heavy = Ask {
        pace_bucket: 40,
        priority: Priority::new(Criticality::Ordinary, Standing::Newcomer, 40, 0),
        ..long(Standing::Newcomer)
    };
    let heavy = wait(&mut lanes, &heavy, &rules, &mut out);
    for _ in 0..30 {
        let _better =
            wait(&mut lanes, &Ask { deadline: Moment(9_000_000), ..long(Standing::Session) }, &rules, &mut out);
    }
    lanes.sweep(Moment(500_000), &rules, &mut out);
    assert_eq!(std::mem::take(&mut out), [(heavy, Wake::Refuse(Reason::QueueTimeout))]);
    // Its turn comes at 1 s; when it has not come by the end, it is late.
    lanes.sweep(Moment(2_000_000), &rules, &mut out);
    assert_eq!(std::mem::take(&mut out), [(light, Wake::Refuse(Reason::QueueTimeout))]);
}
