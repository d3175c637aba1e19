//! The one place that decides about a request before it asks for a slot.
//!
//! Every budget is checked before any is charged: [`check_all`] only reads, and only the [`Charges`] it returns can
//! take from the shares. A refused client drains nobody.

use core::time::Duration;

use crate::bounds::BUDGETS_PER_REQUEST_MAX;
use crate::demand::pace_bucket;
use crate::source::Standing3;
use crate::{Ask, Criticality, Moment, Priority, Reason, Rules, ServiceId, SourceKey, SourceView, Standing};

/// One share that a request must fit in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Whose.
    pub key: SourceKey,
    /// Requests a second that it regains.
    pub rate_per_s: f32,
    /// Requests that may come at once.
    pub burst: f32,
    /// Used and not yet regained, as of `used_age_s` ago.
    pub used: f32,
    /// Seconds since `used` was set.
    pub used_age_s: f32,
}

impl Budget {
    fn allows(&self, cost: f32) -> bool {
        // The generic cell rate algorithm, told as a leaking level: its drain follows a rate that changes at once.
        let used = (self.used - self.rate_per_s * self.used_age_s).max(0.0);
        used + cost <= self.burst.max(cost)
    }
}

/// Shares that were all found to fit, and are charged together or not at all.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "commit the charges once the request has its slot or its place in the queue"]
pub struct Charges {
    service: ServiceId,
    cost: f32,
    budgets: [Option<(SourceKey, f32)>; BUDGETS_PER_REQUEST_MAX],
}

impl Charges {
    /// Charges nobody.
    pub const fn none(service: ServiceId) -> Self {
        Self { service, cost: 0.0, budgets: [None; BUDGETS_PER_REQUEST_MAX] }
    }

    /// Whether there is nothing to charge, so that no lock need be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.budgets.iter().all(Option::is_none)
    }

    /// Charges each share: `charge(key, service, rate_per_s, cost)`, to be passed on to
    /// [`crate::SourceShard::charge`] of the shard of the key. Between check and commit another worker may have used
    /// the same share: it overshoots by at most one request a worker.
    pub fn commit(self, mut charge: impl FnMut(SourceKey, ServiceId, f32, f32)) {
        for (key, rate_per_s) in self.budgets.into_iter().flatten() {
            charge(key, self.service, rate_per_s, self.cost);
        }
    }
}

/// Checks every budget; charges none.
///
/// # Errors
/// [`Reason::FairShare`] when one does not allow the cost. More than [`BUDGETS_PER_REQUEST_MAX`] budgets are an error
/// of the caller; those beyond are checked, not charged.
pub fn check_all(service: ServiceId, cost: f32, budgets: &[Budget]) -> Result<Charges, Reason> {
    if budgets.iter().any(|b| !b.allows(cost)) {
        return Err(Reason::FairShare);
    }
    let mut charges = Charges { cost, ..Charges::none(service) };
    for (place, budget) in charges.budgets.iter_mut().zip(budgets) {
        *place = Some((budget.key, budget.rate_per_s));
    }
    Ok(charges)
}

/// What is known of a request when it is decided upon.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The service it is for.
    pub service: ServiceId,
    /// The greater of what the service and the route declare.
    pub criticality: Criticality,
    /// Standing that was proved otherwise than by the account of the source: partner, session, pass.
    pub proved: Option<Standing>,
    /// The account of its source: the session's or partner's own where there is one, else the narrow prefix.
    pub view: &'a SourceView,
    /// Accounts of the wider prefixes, narrow to wide; only looked at where nothing was proved.
    pub wide: &'a [SourceView],
    /// Bid of a pass; 0 without one.
    pub bid: u8,
    /// Requests of mean cost that this one counts for.
    pub cost: f32,
    /// How long the client lets it wait, if it said so.
    pub wait_max: Option<Duration>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Offer it to the lanes; commit the charges if they admit it or let it wait.
    Offer(Ask, Charges),
    /// Refuse it, without touching any lane.
    Refuse(Reason),
}

/// The standing that counts: a session or pass whose own account is suspect is suspect; a partner never is. Who proved
/// nothing and is not known counts as a newcomer if its source was born in a surge.
#[must_use]
pub fn effective_standing(proved: Option<Standing>, view: &SourceView, now: Moment, rules: &Rules) -> Standing {
    match (proved, view.standing_hint) {
        (Some(Standing::Partner), _) => Standing::Partner,
        (_, Standing3::Suspect) => Standing::Suspect,
        (Some(proved), hint) => proved.max(hint.standing()),
        (None, Standing3::Anonymous) if rules.surges.bore(now, view.age) => Standing::Newcomer,
        (None, hint) => hint.standing(),
    }
}

/// Decides about one request by the rules of its service.
#[must_use]
pub fn decide(asking: &Asking<'_>, now: Moment, rules: &Rules) -> Decision {
    let standing = effective_standing(asking.proved, asking.view, now, rules);
    let pace_bucket = pace_bucket(asking.view.pace_per_s / asking.view.share_scale.max(1.0));
    let lot = asking.view.key.lot(rules.lot_epoch);
    let exempt = standing == Standing::Partner || asking.criticality == Criticality::Critical;
    let tier = rules.tier(standing);
    let open = exempt || tier.opens(pace_bucket, lot);
    let mut charges = Charges::none(asking.service);
    if !open {
        if tier.share_per_s <= 0.0 {
            return Decision::Refuse(rules.refusal(standing));
        }
        match check_shares(asking, rules, standing) {
            Ok(all) => charges = all,
            Err(reason) => return Decision::Refuse(reason),
        }
    }
    let wait = asking.wait_max.map_or(rules.queue_wait_max, |w| w.min(rules.queue_wait_max));
    let ask = Ask {
        priority: Priority::new(asking.criticality, standing, pace_bucket, asking.bid),
        criticality: asking.criticality,
        standing,
        pace_bucket,
        lot,
        by_share: !open,
        deadline: now.after(wait),
    };
    Decision::Offer(ask, charges)
}

/// The share of the source itself and, where nothing was proved, those of its wider prefixes.
fn check_shares(asking: &Asking<'_>, rules: &Rules, standing: Standing) -> Result<Charges, Reason> {
    let tier = rules.tier(standing);
    let budget = |view: &SourceView, factor: f32| {
        let scale = factor * view.share_scale.max(1.0);
        Budget {
            key: view.key,
            rate_per_s: tier.share_per_s * scale,
            burst: tier.share_burst * scale,
            used: view.used,
            used_age_s: view.used_age_s,
        }
    };
    let mut budgets = [budget(asking.view, 1.0); BUDGETS_PER_REQUEST_MAX];
    let mut count = 1;
    if asking.proved.is_none() {
        let mut factor = rules.wide_share_factor;
        for view in asking.wide.iter().take(BUDGETS_PER_REQUEST_MAX - 1) {
            budgets[count] = budget(view, factor);
            factor *= 4.0;
            count += 1;
        }
    }
    check_all(asking.service, asking.cost, &budgets[..count])
}
