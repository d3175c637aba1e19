//! Who gets in when not everyone can: from what each tier asks, by pace of its sources, to a rule for each tier.
//!
//! Standing comes first and, within a standing, the light before the heavy. But before the heavy of any standing come
//! the sources at human pace of all of them: one session that floods must not take the place of people who are new.

use crate::bounds::DEMAND_BUCKETS;
use crate::demand::TierDemand;
use crate::{DemandHistogram, Standing, TierRule};

/// The tiers that thresholds hold, in the order in which they are served.
const ORDER: [Standing; 4] = [Standing::Session, Standing::Proven, Standing::Known, Standing::Anonymous];
/// Lots there are.
const LOTS: f32 = 65_536.0;

/// The rules by which about `budget_per_s` of the demand gets in. `demand` holds rates. Sources up to bucket
/// `pace_last` count as of human pace. Partners are always let in, and what they ask is taken off first.
#[must_use]
pub fn thresholds(demand: &DemandHistogram, budget_per_s: f32, pace_last: u8) -> [TierRule; Standing::COUNT] {
    let mut rules = [TierRule::CLOSED; Standing::COUNT];
    rules[Standing::Partner.index()] = TierRule::OPEN;
    let mut left = (budget_per_s - demand.tiers[Standing::Partner.index()].total()).max(0.0);
    let human_end = usize::from(pace_last) + 1;
    let mut whole = [false; Standing::COUNT];
    for tier in ORDER {
        whole[tier.index()] = open_by_lot(&demand.tiers[tier.index()], human_end, &mut left, &mut rules[tier.index()]);
    }
    for tier in ORDER {
        if whole[tier.index()] {
            open_by_share(&demand.tiers[tier.index()], human_end, &mut left, &mut rules[tier.index()]);
        }
    }
    let suspect = Standing::Suspect.index();
    open_by_share(&demand.tiers[suspect], 0, &mut left, &mut rules[suspect]);
    rules
}

/// Opens the buckets before `end` while they fit; of the one that does not, as many lots as fit. Whether all fitted.
fn open_by_lot(demand: &TierDemand, end: usize, left: &mut f32, rule: &mut TierRule) -> bool {
    for b in 0..end {
        rule.open_below = b as u8;
        let cost = demand.cost[b];
        if cost > *left {
            rule.lots = (LOTS * *left / cost) as u32;
            *left = 0.0;
            return false;
        }
        *left -= cost;
    }
    rule.open_below = end as u8;
    true
}

/// Opens the buckets from `start` on while they fit; those that do not get an even share of what is left.
fn open_by_share(demand: &TierDemand, start: usize, left: &mut f32, rule: &mut TierRule) {
    for b in start..DEMAND_BUCKETS {
        rule.open_below = b as u8;
        if demand.cost[b] > *left {
            let level = demand.water_level(b, *left);
            if level.is_finite() && level > 0.0 {
                rule.share_per_s = level;
                rule.share_burst = 1.0 + level;
            }
            *left = 0.0;
            return;
        }
        *left -= demand.cost[b];
    }
    *rule = TierRule::OPEN;
}
