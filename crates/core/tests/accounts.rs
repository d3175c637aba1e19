//! Accounts of sources, demand and budgets: at their bounds, and against attackers that try to bend them.

use std::net::Ipv4Addr;
use std::time::Duration;

use guichet_core::bounds::{SOURCE_SHARDS, SOURCES_MAX};
use guichet_core::demand::{pace_bucket, pace_of_bucket};
use guichet_core::{
    Budget, DemandHistogram, Moment, Outcome, Reason, ServiceId, SourceConfig, SourceKey, SourceShard, Standing,
    Standing3, check_all, shard_of, thresholds,
};
use proptest::prelude::*;

const SERVICE: ServiceId = ServiceId(0);
const CALM: f32 = f32::INFINITY;

fn key(n: u32) -> SourceKey {
    SourceKey::of_v4(7, Ipv4Addr::from(n), 32)
}

fn at(seconds: f64) -> Moment {
    Moment((seconds * 1e6) as u64)
}

fn config() -> SourceConfig {
    SourceConfig { known_after: Duration::from_secs(5), known_good_min: 4, ..SourceConfig::default() }
}

#[test]
fn ten_million_sources_do_not_push_out_those_who_were_good() {
    // One shard sees 1/64 of them, 160,000 here; all shards are alike.
    let mut shard = SourceShard::new(config());
    let good: Vec<_> = (0..100_000).map(key).filter(|k| shard_of(*k) == 3).take(300).collect();
    for second in 0..6 {
        for k in &good {
            shard.observe(*k, at(f64::from(second)), SERVICE, 1.0, CALM);
            shard.outcome(*k, at(f64::from(second)), Outcome::Good);
        }
    }
    let capacity = shard.capacity();
    assert_eq!(capacity, SOURCES_MAX / SOURCE_SHARDS);
    let mut flood = 0_u32;
    for n in 1_000_000..11_000_000_u32 {
        let k = key(n);
        if shard_of(k) == 3 {
            flood += 1;
            shard.observe(k, at(10.0 + f64::from(n) * 1e-5), SERVICE, 1.0, CALM);
        }
    }
    assert!(flood > 150_000);
    assert!(shard.len() <= capacity && shard.capacity() == capacity);
    let end = at(10.0 + 110.0);
    let kept = good.iter().filter(|k| shard.standing(**k, end) == Some(Standing3::Known)).count();
    assert_eq!(kept, good.len());
}

#[test]
fn a_person_who_reloads_is_not_suspect_and_a_robot_is_until_it_stops() {
    // name, requests a visit, seconds between visits, whether it becomes suspect within a minute of refusals
    let table = [
        ("reloads every three seconds", 4, 3.0, false),
        ("reloads every second", 1, 1.0, false),
        ("waits as asked", 4, 11.0, false),
        ("robot, four a second", 1, 0.25, true),
        ("robot, a hundred a second", 1, 0.01, true),
    ];
    for (name, burst, gap_s, suspect) in table {
        let mut shard = SourceShard::new(config());
        let (k, mut now_s) = (key(1), 0.0);
        while now_s < 60.0 {
            for part in 0..burst {
                let now = at(now_s + f64::from(part) * 0.05);
                shard.observe(k, now, SERVICE, 1.0, CALM);
                shard.outcome(k, now, Outcome::Refused { retry_after_s: 10 });
            }
            now_s += gap_s;
        }
        let is = shard.standing(k, at(now_s)) == Some(Standing3::Suspect);
        assert_eq!(is, suspect, "{name}");
        // It stops: forgotten after its term, at the latest ten minutes.
        assert_eq!(shard.standing(k, at(now_s + 601.0)), Some(Standing3::Anonymous), "{name}");
    }
}

#[test]
fn far_more_than_usual_under_pressure_makes_suspect_after_a_second() {
    for (suspect_rate, rate_per_s, until_s, suspect) in
        [(20.0, 200, 0.8, false), (20.0, 200, 2.0, true), (20.0, 5, 20.0, false), (CALM, 1000, 20.0, false)]
    {
        let mut shard = SourceShard::new(config());
        let mut n = 0;
        while f64::from(n) / f64::from(rate_per_s) < until_s {
            shard.observe(key(1), at(f64::from(n) / f64::from(rate_per_s)), SERVICE, 1.0, suspect_rate);
            n += 1;
        }
        let is = shard.standing(key(1), at(until_s)) == Some(Standing3::Suspect);
        assert_eq!(is, suspect, "{rate_per_s} a second for {until_s} s over {suspect_rate}");
    }
}

#[test]
fn abuse_makes_suspect_and_known_must_be_earned() {
    let mut shard = SourceShard::new(config());
    shard.abuse(key(1), at(0.0), 5.0);
    assert_eq!(shard.standing(key(1), at(0.0)), Some(Standing3::Anonymous));
    shard.abuse(key(1), at(1.0), 6.0);
    assert_eq!(shard.standing(key(1), at(1.0)), Some(Standing3::Suspect));
    assert_eq!(shard.standing(key(1), at(62.0)), Some(Standing3::Anonymous));
    for second in 0..10 {
        let view = shard.observe(key(2), at(f64::from(second)), SERVICE, 1.0, CALM);
        let known = if second >= 5 { Standing3::Known } else { Standing3::Anonymous };
        assert_eq!(view.standing_hint, known, "second {second}");
        shard.outcome(key(2), at(f64::from(second)), Outcome::Good);
    }
}

#[test]
fn going_round_many_services_does_not_wash_a_source_clean() {
    let mut shard = SourceShard::new(config());
    let mut pace = 0.0_f32;
    for n in 0..800_u16 {
        pace = pace.max(shard.observe(key(1), at(f64::from(n) * 0.01), ServiceId(n % 10), 1.0, CALM).pace_per_s);
    }
    assert!(pace > 10.0, "{pace}");
}

#[test]
fn sessions_behind_a_prefix_raise_its_share() {
    let mut shard = SourceShard::new(config());
    shard.observe(key(1), at(0.0), SERVICE, 1.0, CALM);
    for n in 0..20 {
        shard.note_session(key(1), SourceKey::of_bytes(7, 9, &[n]), at(1.0));
    }
    let scale = |s: &mut SourceShard, t| s.observe(key(1), at(t), SERVICE, 1.0, CALM).share_scale;
    assert!((10.0..40.0).contains(&scale(&mut shard, 2.0)));
    assert_eq!(scale(&mut shard, 1500.0), 1.0);
}

proptest! {
    /// The fair level gives out the capacity, and one flooder cannot move it however much it asks.
    #[test]
    fn one_flooder_counts_as_one(rates in proptest::collection::vec(0.1_f32..20.0, 1..200), part in 0.1_f32..0.9, flood in 1e3_f32..1e7) {
        let mut demand = DemandHistogram::default();
        for rate in &rates {
            // A source at a rate sends that many requests in a span of one second.
            let tier = &mut demand.tiers[Standing::Anonymous.index()];
            let bucket = usize::from(pace_bucket(*rate));
            tier.cost[bucket] += rate;
            tier.sources[bucket] += 1.0;
        }
        let capacity = demand.total() * part;
        let tier = |d: &DemandHistogram| d.tiers[Standing::Anonymous.index()].clone();
        let level = tier(&demand).water_level(0, capacity);
        let served: f32 = rates.iter().map(|r| r.min(level)).sum();
        // Within the width of the buckets (the lightest is wide).
        prop_assert!((served - capacity).abs() <= 0.2 * capacity + 0.7 * rates.len() as f32, "{served} of {capacity}");
        let mut flooded = demand.clone();
        for _ in 0..1000 {
            flooded.add(Standing::Anonymous, flood, flood, flood / 1000.0);
        }
        let count = flooded.tiers[Standing::Anonymous.index()].sources.iter().sum::<f32>();
        prop_assert!(count <= rates.len() as f32 + 1.0 + 1e-2);
        let moved = tier(&flooded).water_level(0, capacity + level.min(1e6));
        prop_assert!(moved >= level * 0.75, "{level} became {moved}");
        // Nor can it close the door to anyone lighter.
        let before = thresholds(&demand, capacity)[Standing::Anonymous.index()];
        let after = thresholds(&flooded, capacity)[Standing::Anonymous.index()];
        prop_assert_eq!(before.open_below, after.open_below);
        prop_assert_eq!(before.lots, after.lots);
    }

    #[test]
    fn buckets_hold_their_pace(pace in 0.0_f32..1e5) {
        let bucket = pace_bucket(pace);
        prop_assert!(pace <= pace_of_bucket(bucket) * 1.0001);
        prop_assert!(bucket == 0 || pace >= pace_of_bucket(bucket - 1) * 0.9999);
    }

    /// A refused client drains nobody: no charge exists unless every budget allows the cost.
    #[test]
    fn all_budgets_are_checked_before_any_is_charged(used in proptest::collection::vec(0.0_f32..10.0, 1..4)) {
        let budgets: Vec<_> = used.iter().enumerate().map(|(n, used)| Budget {
            key: key(n as u32), rate_per_s: 1.0, burst: 5.0, used: *used, used_age_s: 0.0,
        }).collect();
        let mut charged = Vec::new();
        match check_all(SERVICE, 1.0, &budgets) {
            Ok(charges) => {
                prop_assert!(used.iter().all(|u| *u <= 4.0));
                charges.commit(|key, _, _, cost| charged.push((key, cost)));
                prop_assert_eq!(charged, budgets.iter().map(|b| (b.key, 1.0)).collect::<Vec<_>>());
            }
            Err(reason) => {
                prop_assert_eq!(reason, Reason::FairShare);
                prop_assert!(used.iter().any(|u| *u > 4.0));
            }
        }
    }
}
