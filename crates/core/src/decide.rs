//! The one place that decides about a request before it asks for a slot.
//!
//! Every budget is checked before any is charged: [`check_all`] only reads, and only the [`Charges`] it returns can
//! take from the shares. A refused client drains nobody.

use core::time::Duration;

use crate::bounds::BUDGETS_PER_REQUEST_MAX;
use crate::demand::pace_bucket;
use crate::signs::{InForce, Step};
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
    /// The mitigation in force that it matches; `None` also for whom the operator allows.
    pub mitigation: Option<&'a InForce>,
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

/// The standing that counts under a mitigation. It only ever touches strangers, and nothing critical: whoever is vouched
/// for keeps what was earned. Those that match come after everyone else; where the signature does not tell who asks,
/// they come as newcomers do. Who looks like an attacker and earned a pass comes like anybody unknown, not before them: an
/// attacker can pay for passes too.
#[must_use]
pub fn mitigated_standing(standing: Standing, criticality: Criticality, mitigation: Option<&InForce>) -> Standing {
    match mitigation {
        Some(m) if standing <= Standing::Anonymous && criticality != Criticality::Critical => {
            if m.tells_who {
                Standing::Suspect
            } else {
                standing.min(Standing::Newcomer)
            }
        }
        Some(m) if standing == Standing::Proven && m.tells_who && criticality != Criticality::Critical => {
            Standing::Anonymous
        }
        _ => standing,
    }
}

/// Whether the waiting room holds a request: of a stranger who came after it opened, for nothing critical. What it asks is
/// then no demand on the service: it counts behind everything else.
#[must_use]
pub fn waits_in_room(
    standing: Standing,
    criticality: Criticality,
    view: &SourceView,
    now: Moment,
    rules: &Rules,
) -> bool {
    let stranger = matches!(standing, Standing::Newcomer | Standing::Anonymous);
    let held = |room: &crate::room::RoomRules| view.age < now.since(room.opened);
    stranger && criticality != Criticality::Critical && rules.room.as_ref().is_some_and(held)
}

/// Share of one source under a mitigation at [`Step::Limit`]: a page and a click within eight seconds.
const LIMIT_SHARE_PER_S: f32 = 0.5;
const LIMIT_BURST: f32 = 5.0;

/// What a mitigation leaves of a request: a refusal, or a cap on the share of its source.
fn mitigate(asking: &Asking<'_>, standing: Standing) -> Result<Option<(f32, f32)>, Reason> {
    let Some(mitigation) = asking.mitigation else { return Ok(None) };
    if asking.criticality == Criticality::Critical
        || !matches!(standing, Standing::Proven) && standing > Standing::Anonymous
    {
        return Ok(None);
    }
    let earned = standing == Standing::Proven;
    match mitigation.step {
        Step::Observe | Step::Deprioritise => Ok(None),
        Step::Challenge if earned => Ok(None),
        Step::Challenge => Err(Reason::ChallengeNeeded),
        Step::Limit if !earned && mitigation.challenges => Err(Reason::ChallengeNeeded),
        Step::Refuse if !earned => Err(Reason::Mitigated),
        // Whoever earned a pass is held to a share where others are refused.
        Step::Limit | Step::Refuse => Ok(Some((LIMIT_SHARE_PER_S, LIMIT_BURST))),
    }
}

/// Decides about one request by the rules of its service.
#[must_use]
pub fn decide(asking: &Asking<'_>, now: Moment, rules: &Rules) -> Decision {
    let known = effective_standing(asking.proved, asking.view, now, rules);
    let cap = match mitigate(asking, known) {
        Ok(cap) => cap,
        Err(reason) => return Decision::Refuse(reason),
    };
    let standing = mitigated_standing(known, asking.criticality, asking.mitigation);
    if known != Standing::Proven && waits_in_room(standing, asking.criticality, asking.view, now, rules) {
        // Who was here before it opened goes on, as do sessions and those who were let in.
        return Decision::Refuse(Reason::WaitingRoom);
    }
    let pace_bucket = pace_bucket(asking.view.pace_per_s / asking.view.share_scale.max(1.0));
    let lot = asking.view.key.lot(rules.lot_epoch);
    let exempt = standing == Standing::Partner || asking.criticality == Criticality::Critical;
    let tier = rules.tier(standing);
    let open = exempt || tier.opens(pace_bucket, lot);
    let mut charges = Charges::none(asking.service);
    if !open && tier.share_per_s <= 0.0 {
        return Decision::Refuse(rules.refusal(standing));
    }
    if !open || cap.is_some() {
        match check_shares(asking, rules, standing, cap) {
            Ok(all) => charges = all,
            Err(_) if cap.is_some() => return Decision::Refuse(Reason::Mitigated),
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

/// The share of the source itself, capped by a mitigation, and, where nothing was proved, those of its wider prefixes.
fn check_shares(
    asking: &Asking<'_>,
    rules: &Rules,
    standing: Standing,
    cap: Option<(f32, f32)>,
) -> Result<Charges, Reason> {
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
    if let Some((rate_per_s, burst)) = cap {
        let scale = asking.view.share_scale.max(1.0);
        budgets[0].rate_per_s = budgets[0].rate_per_s.min(rate_per_s * scale);
        budgets[0].burst = budgets[0].burst.min(burst * scale);
    }
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
