//! Sequences of operations on the decision core, against its invariants. The first byte says on which part.
#![no_main]

#[path = "../../crates/core/tests/model/mod.rs"]
mod model;

use std::time::Duration;

use guichet_core::bounds::{CONCURRENCY_LIMIT_MAX, DEMAND_BUCKETS, QUEUE_PER_SERVICE_MAX};
use guichet_core::{
    Asking, Brain, BrainConfig, Criticality, Decision, LimiterConfig, Moment, NodeGate, NodeRules, Outcome, Posture,
    Rules, ServiceConfig, ServiceId, SourceConfig, SourceKey, SourceShard, SourceView, Standing, TierRule, Window,
    decide,
};
use libfuzzer_sys::fuzz_target;
use model::Step;

/// Operations of one run.
const OPERATIONS: usize = 400;

fuzz_target!(|bytes: &[u8]| {
    let Some((part, bytes)) = bytes.split_first() else { return };
    let operations = bytes.chunks_exact(4).take(OPERATIONS).map(|b| [b[0], b[1], b[2], b[3]]);
    match part % 4 {
        0 => model::run(&operations.map(lanes_step).collect::<Vec<_>>()),
        1 => node_gate(operations),
        2 => sources(operations),
        _ => brain(operations),
    }
});

fn lanes_step([what, a, b, c]: [u8; 4]) -> Step {
    match what % 16 {
        0..=5 => Step::Offer {
            criticality: usize::from(a % 4),
            standing: usize::from(a / 4),
            bucket: b % DEMAND_BUCKETS as u8,
            wait_ms: u64::from(c) * 2,
        },
        6..=9 => Step::Release(usize::from(a)),
        10 => Step::Cancel(usize::from(a)),
        11 => Step::Sweep,
        12 => Step::Limit(u32::from(a % 24)),
        13 => Step::Close(a % 2 == 0),
        _ => Step::Wait(u64::from(a)),
    }
}

/// No slot of the node leaks, and what is kept for those above is never taken from below.
fn node_gate(operations: impl Iterator<Item = [u8; 4]>) {
    let mut gate = NodeGate::default();
    let mut rules = NodeRules { limit: 12, floors: [0, 1, 2, 3] };
    let mut held = Vec::new();
    let mut counts = [0_u32; 4];
    for [what, a, b, c] in operations {
        match what % 4 {
            0 | 1 => {
                let criticality = Criticality::ALL[usize::from(a % 4)];
                let above = criticality.index() + 1..4;
                let kept: u32 = above.map(|k| rules.floors[k].saturating_sub(counts[k])).sum();
                let free = counts.iter().sum::<u32>() + kept < rules.limit;
                match gate.enter(criticality, &rules) {
                    Ok(slot) => {
                        assert!(free, "took a kept slot");
                        counts[criticality.index()] += 1;
                        held.push((slot, criticality));
                    }
                    Err(_) => assert!(!free, "refused beside a free slot"),
                }
            }
            2 if !held.is_empty() => {
                let (slot, criticality) = held.swap_remove(usize::from(a) % held.len());
                counts[criticality.index()] -= 1;
                gate.release(slot);
            }
            _ => {
                rules = NodeRules {
                    limit: u32::from(a % 20),
                    floors: [0, u32::from(b % 4), u32::from(b / 64), u32::from(c % 4)],
                }
            }
        }
        assert_eq!(gate.inflight(), counts.iter().sum::<u32>());
    }
    for (slot, _) in held {
        gate.release(slot);
    }
    assert_eq!(gate.inflight(), 0, "a slot leaked");
}

fn check_view(view: &SourceView) {
    let finite = [view.pace_per_s, view.rate_per_s, view.used, view.used_age_s, view.share_scale];
    assert!(finite.iter().all(|x| x.is_finite() && *x >= 0.0), "{view:?}");
    assert!(view.share_scale >= 1.0, "{view:?}");
}

/// Accounts stay sane at any order of events, and the shard stays within its bound.
fn sources(operations: impl Iterator<Item = [u8; 4]>) {
    let mut shard = SourceShard::new(SourceConfig { known_after: Duration::from_secs(5), ..SourceConfig::default() });
    let mut rules = Rules::open(8);
    let mut now = Moment(0);
    let service = ServiceId(1);
    for [what, a, b, c] in operations {
        let key = SourceKey::of_bytes(3, 1, &[a % 32]);
        match what % 8 {
            0..=2 => {
                let rate = if b % 2 == 0 { f32::INFINITY } else { f32::from(b) };
                let view = shard.observe(key, now, service, f32::from(c) / 16.0, rate);
                check_view(&view);
                let wide = shard.observe(SourceKey::of_bytes(3, 2, &[a % 4]), now, service, 1.0, rate);
                check_view(&wide);
                let asking = Asking {
                    service,
                    criticality: Criticality::ALL[usize::from(b % 4)],
                    proved: [None, Some(Standing::Session), Some(Standing::Partner)][usize::from(b / 4 % 3)],
                    view: &view,
                    wide: &[wide],
                    bid: 0,
                    cost: f32::from(c) / 16.0,
                    mitigation: None,
                    wait_max: None,
                };
                match decide(&asking, now, &rules) {
                    Decision::Offer(ask, charges) => {
                        assert!(ask.deadline >= now && usize::from(ask.pace_bucket) < DEMAND_BUCKETS);
                        charges
                            .commit(|key, service, rate_per_s, cost| shard.charge(key, now, service, rate_per_s, cost));
                    }
                    Decision::Refuse(_) => {
                        let exempt =
                            asking.criticality == Criticality::Critical || asking.proved == Some(Standing::Partner);
                        assert!(!exempt, "refused whom no threshold holds");
                    }
                }
            }
            3 => shard.outcome(key, now, if b % 2 == 0 { Outcome::Good } else { Outcome::ClientError }),
            4 => shard.outcome(key, now, Outcome::Refused { retry_after_s: u32::from(b) * u32::from(c) }),
            5 => shard.abuse(key, now, f32::from(b) / 25.0),
            6 => shard.note_session(key, SourceKey::of_bytes(3, 3, &[b, c]), now),
            _ => {
                // Up to days ahead.
                now = now.after(Duration::from_millis(u64::from(a) << (b % 22)));
                let tier = TierRule {
                    open_below: c % (DEMAND_BUCKETS as u8 + 1),
                    lots: u32::from(b) << 8,
                    share_per_s: f32::from(b) / 8.0,
                    share_burst: f32::from(c) / 8.0,
                };
                rules.tiers = [tier; Standing::COUNT];
            }
        }
    }
    assert!(shard.len() <= shard.capacity());
}

fn check_posture(posture: &Posture, floors: u32) {
    for rules in &posture.services {
        assert!(rules.limit >= floors.max(1) && rules.limit <= CONCURRENCY_LIMIT_MAX, "{}", rules.limit);
        assert!(rules.queue_len as usize <= QUEUE_PER_SERVICE_MAX);
        assert!(rules.capacity_per_s.is_finite() && rules.capacity_per_s >= 0.0, "{}", rules.capacity_per_s);
        assert!(rules.calm_pace_p999.is_finite() && rules.suspect_rate_per_s > 0.0);
        for tier in &rules.tiers {
            assert!(usize::from(tier.open_below) <= DEMAND_BUCKETS && tier.lots <= 1 << 16, "{tier:?}");
            assert!(tier.share_per_s >= 0.0 && tier.share_burst >= 0.0, "{tier:?}");
        }
        for better in Standing::ALL.windows(2) {
            let (low, high) = (rules.tier(better[0]), rules.tier(better[1]));
            let ordered = !low.is_open() || high.is_open() || better[1] == Standing::Partner;
            assert!(ordered, "{:?} gets in and {:?} does not", better[0], better[1]);
        }
    }
}

/// Whatever the workers count, the posture holds what it promises.
fn brain(operations: impl Iterator<Item = [u8; 4]>) {
    let limiter = LimiterConfig { initial: 10, min: 2, max: 200 };
    let floors = [0, 1, 2, 3];
    let service = ServiceConfig { floors, limiter, ..ServiceConfig::default() };
    let node = NodeRules { limit: 1000, floors: [0; 4] };
    let mut brain =
        Brain::new(&BrainConfig { services: vec![service], node, connections: Default::default(), seed: 7 });
    let mut shard = SourceShard::new(SourceConfig::default());
    let mut window = Window::new(1);
    let (mut now, mut generation) = (Moment(0), 0);
    for [what, a, b, c] in operations {
        let Some(seen) = window.service(ServiceId(0)) else { unreachable!("the window has one service") };
        match what % 8 {
            0 | 1 => {
                let key = SourceKey::of_bytes(3, 1, &[a]);
                let cost = f32::from(c) / 8.0;
                let view = shard.observe(key, now, ServiceId(0), cost, f32::INFINITY);
                for _ in 0..b {
                    seen.note_offered(Standing::ALL[usize::from(a) % Standing::COUNT], &view, cost);
                }
            }
            2 => seen.note_held_back(Standing::ALL[usize::from(a) % Standing::COUNT]),
            3 => {
                for _ in 0..a {
                    seen.note_completed(Duration::from_micros(u64::from(b) << (c % 20)), 1.0 + f32::from(c) / 64.0);
                }
            }
            4 => {
                seen.admitted += u32::from(a);
                seen.errors += u32::from(b);
                seen.lanes_refused += u32::from(c);
            }
            5 => {
                (seen.inflight.mean, seen.inflight.max) = (f32::from(a), u32::from(a) + u32::from(b));
                (seen.queued.mean, seen.queued.max) = (f32::from(c), u32::from(c));
            }
            _ => {
                window.span = Duration::from_millis(u64::from(a) * 4);
                now = now.after(window.span);
                let posture = brain.tick(now, &window);
                generation += 1;
                assert_eq!(posture.generation, generation);
                check_posture(&posture, floors.iter().sum());
                window.clear();
            }
        }
    }
}
