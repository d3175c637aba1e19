//! Whether the status page was there, right, and in time.

use super::{Claim, Poll};
use crate::load::Got;
use crate::scenario::{Fault, FaultKind, Scenario};
use crate::score::Point;
use crate::services::SERVICES;
use serde::Serialize;

/// How the status page of a front did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatusScore {
    /// Looks at the page, some four a second.
    pub looks: u64,
    /// Of these, the share that found it whole, for people and for programs.
    pub up_share: f64,
    /// The longest time without it, milliseconds.
    pub gap_ms: u64,
    /// One a fault that people notice.
    pub faults: Vec<StatusFault>,
    /// Services of which it said for a while that they do not work though they did.
    pub wrong: Vec<StatusWrong>,
}

/// When the page was right about a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusFault {
    /// The faulty service.
    pub service: &'static str,
    /// The service and what is wrong with it, as `portal killed`.
    pub fault: String,
    /// From its onset until the page says, and goes on saying to the end of it, that the service does not work as it should;
    /// null if it never does.
    pub right_after_ms: Option<u64>,
    /// From its end until the page says, and goes on saying, that the service works; null if it does not before
    /// the next fault or the end of the run.
    pub back_after_ms: Option<u64>,
}

/// A wrong claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusWrong {
    /// The service.
    pub service: &'static str,
    /// For how long the page said so, milliseconds.
    pub for_ms: u64,
}

/// What people got lately is what they got in this time before a look: the page judges ten seconds, and takes five good ones to
/// change its mind.
const LATELY_MS: u64 = 15_000;
/// Fewer requests than this in that time tell nothing.
const REQUESTS_MIN: u64 = 5;

/// Scores what was seen of the page.
pub(crate) fn score(scenario: &Scenario, points: &[Point], polls: &[Poll]) -> StatusScore {
    let total_ms = scenario.phases.total_ms();
    let up = polls.iter().filter(|poll| poll.claims.is_some()).count();
    let judged = scenario.faults.iter().filter(|fault| noticed(fault));
    let faults = judged.map(|fault| {
        let next = scenario.faults.iter().filter(|other| other.service == fault.service && noticed(other));
        let next_ms = next.map(|other| other.from_ms).filter(|ms| *ms >= fault.until_ms).min().unwrap_or(total_ms);
        StatusFault {
            service: SERVICES[fault.service].name,
            fault: format!("{} {}", SERVICES[fault.service].name, fault.kind.name()),
            right_after_ms: settled(polls, fault.service, fault.from_ms, fault.until_ms, |c| c != Claim::Works),
            back_after_ms: settled(polls, fault.service, fault.until_ms, next_ms, |c| c == Claim::Works),
        }
    });
    StatusScore {
        looks: polls.len() as u64,
        up_share: up as f64 / polls.len().max(1) as f64,
        gap_ms: gap_ms(polls),
        faults: faults.collect(),
        wrong: (0..SERVICES.len()).filter_map(|service| wrong(scenario, points, polls, service)).collect(),
    }
}

/// Whether people notice a fault: what only comes later is still right.
fn noticed(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Killed | FaultKind::Frozen | FaultKind::DiskFull => true,
        FaultKind::Errors(share) | FaultKind::HalfDead(share) => share >= 0.1,
        FaultKind::Slow(_) => false,
    }
}

/// How long after `from_ms` the page began to say what is `right` and went on to say it until `until_ms`.
fn settled(polls: &[Poll], service: usize, from_ms: u64, until_ms: u64, right: impl Fn(Claim) -> bool) -> Option<u64> {
    let mut since = None;
    for poll in polls.iter().filter(|poll| (from_ms..until_ms).contains(&poll.at_ms)) {
        // A page that is gone for a moment unsays nothing; that is counted apart.
        let Some(claims) = &poll.claims else { continue };
        match claims.of(service) {
            Some(claim) if right(claim) => since = since.or(Some(poll.at_ms - from_ms)),
            _ => since = None,
        }
    }
    since
}

/// The longest time between two looks that found the page.
fn gap_ms(polls: &[Poll]) -> u64 {
    let (mut seen_ms, mut most) = (polls.first().map_or(0, |poll| poll.at_ms), 0);
    let mut missed = false;
    for poll in polls {
        if poll.claims.is_none() {
            missed = true;
            most = most.max(poll.at_ms - seen_ms);
            continue;
        }
        if missed {
            most = most.max(poll.at_ms - seen_ms);
        }
        (seen_ms, missed) = (poll.at_ms, false);
    }
    most
}

/// For how long the page said of a service that nothing ails that it does not work, while people got what they came for.
fn wrong(scenario: &Scenario, points: &[Point], polls: &[Poll], service: usize) -> Option<StatusWrong> {
    let mut own: Vec<(u64, bool)> = points
        .iter()
        .filter(|point| point.service == service)
        .map(|point| (point.at_us / 1000, point.record.got == Got::Right))
        .collect();
    own.sort_unstable_by_key(|(at_ms, _)| *at_ms);
    let ails = |at_ms: u64| {
        let faults = || scenario.faults.iter().filter(|fault| fault.service == service);
        faults().any(|fault| (fault.from_ms..fault.until_ms + LATELY_MS).contains(&at_ms))
    };
    let mut for_ms = 0;
    for (poll, next) in polls.iter().zip(polls.iter().skip(1)) {
        let least = match poll.claims.as_ref().and_then(|claims| claims.of(service)) {
            // Where hardly anybody met a refusal, "with difficulty" is wrong; where nearly all were served, "down" is.
            Some(Claim::Disturbed) => 0.99,
            Some(Claim::Down) => 0.9,
            Some(Claim::Works) | None => continue,
        };
        if ails(poll.at_ms) {
            continue;
        }
        let from = own.partition_point(|(at_ms, _)| *at_ms < poll.at_ms.saturating_sub(LATELY_MS));
        let until = own.partition_point(|(at_ms, _)| *at_ms < poll.at_ms);
        let lately = &own[from..until.max(from)];
        let right = lately.iter().filter(|(_, right)| *right).count();
        if lately.len() as u64 >= REQUESTS_MIN && right as f64 >= least * lately.len() as f64 {
            for_ms += next.at_ms - poll.at_ms;
        }
    }
    (for_ms > 0).then_some(StatusWrong { service: SERVICES[service].name, for_ms })
}

#[cfg(test)]
mod tests {
    use super::super::Claims;
    use super::*;

    /// Looks every 500 ms: what each says of the portal; `None`: the page was gone.
    fn polls(said: &[Option<Claim>]) -> Vec<Poll> {
        let one = |(i, claim): (usize, &Option<Claim>)| Poll {
            at_ms: i as u64 * 500,
            claims: claim.map(|claim| Claims::of_services(&[(0, claim)])),
        };
        said.iter().enumerate().map(one).collect()
    }

    #[test]
    fn right_is_what_is_said_to_the_end() {
        use Claim::{Disturbed, Down, Works};
        let ills = |claim| claim != Works;
        for (said, expected) in [
            (vec![Some(Works), Some(Works), Some(Down), Some(Down)], Some(1000)),
            (vec![Some(Down), Some(Down), Some(Down), Some(Disturbed)], Some(0)),
            // What is taken back was not yet right.
            (vec![Some(Down), Some(Works), Some(Works), Some(Down)], Some(1500)),
            (vec![Some(Down), Some(Down), Some(Down), Some(Works)], None),
            (vec![Some(Works); 4], None),
            // A page that is gone for a moment is no other page.
            (vec![Some(Works), Some(Down), None, Some(Down)], Some(500)),
            (vec![None; 4], None),
        ] {
            assert_eq!(settled(&polls(&said), 0, 0, 2000, ills), expected, "{said:?}");
        }
        let all = polls(&[Some(Works), Some(Down), Some(Down), Some(Works), Some(Works)]);
        assert_eq!(settled(&all, 0, 500, 1500, ills), Some(0), "only within the fault");
        assert_eq!(settled(&all, 0, 1000, 5000, |claim| claim == Works), Some(500));
        assert_eq!(settled(&all, 1, 0, 5000, ills), None, "a service that is not on the page");
    }

    #[test]
    fn a_gap_lasts_from_the_last_page_to_the_next() {
        let here = Some(Claim::Works);
        for (said, gap) in [
            (vec![here, here, here], 0),
            (vec![here, None, here], 1000),
            (vec![here, None, None, here, None], 1500),
            (vec![None, None, here], 1000),
            (vec![here, None, None], 1000),
            (vec![], 0),
        ] {
            assert_eq!(gap_ms(&polls(&said)), gap, "{said:?}");
        }
    }
}
