//! Who gets in when not everyone can: from what each tier asks, by pace of its sources, to a rule for each tier.
//!
//! First come the light sources, by standing: each standing has a head start, up to which it counts as light. Then all
//! others, the light before the heavy, whatever their standing: one session that floods must not take the place of
//! people who are new. Where the light ones alone are too many, lots are drawn, so that some are served whole rather
//! than all in part; where a heavier class does not fit, its sources and all heavier ones get the same share each.

use crate::bounds::DEMAND_BUCKETS;
use crate::demand::{NEWCOMER_HANDICAP, TierDemand, handicap, head_start};
use crate::{DemandHistogram, Standing, TierRule};

/// The tiers that thresholds hold, in the order in which they are served.
const ORDER: [Standing; 4] = [Standing::Session, Standing::Proven, Standing::Known, Standing::Anonymous];
/// The tiers with a rule that follows from the demand.
const HELD: [Standing; 5] =
    [Standing::Session, Standing::Proven, Standing::Known, Standing::Anonymous, Standing::Newcomer];
/// Lots there are.
const LOTS: f32 = 65_536.0;

/// The rules by which about `budget_per_s` of the demand gets in. `demand` holds rates. Partners are always let in, and
/// what they ask is taken off first. Suspects get what nobody else wants.
#[must_use]
pub fn thresholds(demand: &DemandHistogram, budget_per_s: f32) -> [TierRule; Standing::COUNT] {
    let mut rules = [TierRule::CLOSED; Standing::COUNT];
    rules[Standing::Partner.index()] = TierRule::OPEN;
    let mut left = (budget_per_s - demand.tiers[Standing::Partner.index()].total()).max(0.0);
    for tier in ORDER {
        let rule = &mut rules[tier.index()];
        if !open_light(&demand.tiers[tier.index()], usize::from(head_start(tier)), &mut left, rule) {
            return rules;
        }
    }
    let heavy = beyond_head_start(demand);
    let cut = open_while_fits(&heavy, 1, &mut left);
    let level = cut.map_or(f32::INFINITY, |class| heavy.water_level(class, left));
    for tier in HELD {
        let rule = &mut rules[tier.index()];
        match cut {
            Some(class) => share_from(rule, bucket_of(tier, class), level),
            None => *rule = TierRule::OPEN,
        }
    }
    if cut == Some(usize::from(NEWCOMER_HANDICAP)) {
        // The light ones among the newcomers are too many by themselves, as in a crowd: lots for them as well.
        let lots = (LOTS * left / heavy.cost[usize::from(NEWCOMER_HANDICAP)]).min(LOTS) as u32;
        rules[Standing::Newcomer.index()] = TierRule { lots, ..TierRule::CLOSED };
    }
    if cut.is_none() {
        let suspects = &demand.tiers[Standing::Suspect.index()];
        let rule = &mut rules[Standing::Suspect.index()];
        match open_while_fits(suspects, 0, &mut left) {
            Some(bucket) => share_from(rule, bucket, suspects.water_level(bucket, left)),
            None => *rule = TierRule::OPEN,
        }
    }
    rules
}

/// Opens the buckets up to `last` while they fit; of the one that does not, as many lots as fit. Whether all fitted.
fn open_light(demand: &TierDemand, last: usize, left: &mut f32, rule: &mut TierRule) -> bool {
    for b in 0..=last {
        rule.open_below = b as u8;
        let cost = demand.cost[b];
        if cost > *left {
            rule.lots = (LOTS * *left / cost) as u32;
            *left = 0.0;
            return false;
        }
        *left -= cost;
    }
    rule.open_below = last as u8 + 1;
    true
}

/// Demand of all tiers together by how many buckets it is beyond the head start of its tier; class 0 is left empty. Who
/// came with a surge is as many classes further.
fn beyond_head_start(demand: &DemandHistogram) -> TierDemand {
    let mut heavy = TierDemand::default();
    for tier in HELD {
        let of_tier = &demand.tiers[tier.index()];
        for b in 0..DEMAND_BUCKETS {
            let class = class_of(tier, b).min(DEMAND_BUCKETS - 1);
            if class > 0 {
                heavy.cost[class] += of_tier.cost[b];
                heavy.sources[class] += of_tier.sources[b];
            }
        }
    }
    heavy
}

/// How heavy a bucket counts for a tier.
fn class_of(tier: Standing, bucket: usize) -> usize {
    bucket.saturating_sub(usize::from(head_start(tier))) + usize::from(handicap(tier))
}

/// The first bucket of a tier that is in `class` or heavier.
fn bucket_of(tier: Standing, class: usize) -> usize {
    (class + usize::from(head_start(tier))).saturating_sub(usize::from(handicap(tier)))
}

/// Takes the buckets from `first` on off what is left while they fit; the first that does not.
fn open_while_fits(demand: &TierDemand, first: usize, left: &mut f32) -> Option<usize> {
    for b in first..DEMAND_BUCKETS {
        if demand.cost[b] > *left {
            return Some(b);
        }
        *left -= demand.cost[b];
    }
    None
}

/// Opens the buckets below `bucket`, and gives those from there on the same share each.
fn share_from(rule: &mut TierRule, bucket: usize, level: f32) {
    *rule = TierRule { open_below: bucket.min(DEMAND_BUCKETS) as u8, ..TierRule::CLOSED };
    if level.is_finite() && level > 0.0 {
        (rule.share_per_s, rule.share_burst) = (level, 1.0 + level);
    }
}
