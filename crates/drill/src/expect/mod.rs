//! Expectations: what a scenario says must hold.

mod status;

use crate::scenario::{Expect, ExpectPhase, Scenario, Scope};
use crate::score::{FrontScore, ServiceScore};
use crate::services::{SERVICES, index_of};

/// Every expectation that a front's scores break, in words.
#[must_use]
pub(crate) fn broken(scenario: &Scenario, score: &FrontScore) -> Vec<String> {
    let mut list = Vec::new();
    for broken in score.invariants.iter().filter(|invariant| !invariant.ok) {
        list.push(format!("{}: {}: does not hold: {} ({})", score.front, broken.service, broken.name, broken.detail));
    }
    for expect in scenario.expects.iter().filter(|e| e.front == score.front) {
        if let Some(most) = expect.time_to_protect_ms_max
            && score.time_to_protect_ms.is_none_or(|ms| ms > most)
        {
            let got = score.time_to_protect_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
            list.push(format!("{}: time to protect: {got}, expected at most {most} ms", score.front));
        }
        if let Some(least) = expect.told_min {
            list.extend(untold(score, expect, least));
        }
        list.extend(status::broken(score, expect));
        if let Some(most) = expect.attack_reached_share_max {
            let got = score.attack.reached as f64 / score.attack.sent.max(1) as f64;
            if got > most {
                list.push(format!(
                    "{}: {got:.3} of the attack reached a service, expected at most {most}",
                    score.front
                ));
            }
        }
        if let Some(most) = expect.refused_real_share_max {
            let of_scope = rows(score, expect).filter(|row| in_scope(&expect.scope, row));
            let (refused, of) = of_scope.fold((0, 0), |sum, row| (sum.0 + row.refused_real, sum.1 + row.offered));
            if refused as f64 > most * of as f64 {
                let share =
                    format!("{refused} of {of} real requests met a refusal, expected a share of at most {most}");
                list.push(format!("{}: {share}", score.front));
            }
        }
        for row in rows(score, expect).filter(|row| in_scope(&expect.scope, row)) {
            list.extend(faults(expect, row).into_iter().map(|fault| {
                format!("{}: {} ({}, {}): {fault}", score.front, row.service, row.criticality, row.phase)
            }));
        }
    }
    list
}

/// Faulty services in scope whose visitors were left without a word.
fn untold(score: &FrontScore, expect: &Expect, least: f64) -> Vec<String> {
    let during = score.visitors.iter().filter(|row| row.phase == "during" && row.service != "others");
    let mut in_scope = during.filter(|row| covers(&expect.scope, row.service)).peekable();
    if in_scope.peek().is_none() {
        return vec![format!("{}: nobody asked a faulty service, expected {least} to be told something", score.front)];
    }
    let few = in_scope.filter_map(|row| row.told().filter(|told| *told < least).map(|told| (row, told)));
    few.map(|(row, told)| {
        let front = &score.front;
        format!(
            "{front}: {}: {told:.3} of its visitors were told something of use, expected at least {least}",
            row.fault
        )
    })
    .collect()
}

fn rows<'a>(score: &'a FrontScore, expect: &Expect) -> Box<dyn Iterator<Item = &'a ServiceScore> + 'a> {
    let named = |phase: &'static str| score.services.iter().filter(move |row| row.phase == phase);
    match expect.phase {
        ExpectPhase::Before => Box::new(named("before")),
        ExpectPhase::Attack => Box::new(named("attack")),
        ExpectPhase::After => Box::new(named("after")),
        ExpectPhase::Steady => Box::new(score.steady.iter()),
    }
}

fn in_scope(scope: &Scope, row: &ServiceScore) -> bool {
    covers(scope, row.service)
}

fn covers(scope: &Scope, service: &str) -> bool {
    match scope {
        Scope::All => true,
        Scope::Service(index) => index_of(service) == Some(*index),
        Scope::Criticality(level) => index_of(service).is_some_and(|i| SERVICES[i].criticality == *level),
    }
}

fn faults(expect: &Expect, row: &ServiceScore) -> Vec<String> {
    let mut list = Vec::new();
    if let (Some(least), Some(got)) = (expect.relative_min, row.relative)
        && got < least
    {
        list.push(format!("relative goodput {got}, expected at least {least}"));
    }
    if let Some(most) = expect.p99_ms_max {
        match row.p99_ms {
            Some(got) if got > most => list.push(format!("p99 {got} ms, expected at most {most} ms")),
            None if row.offered > 0 => list.push(format!("no right answer at all, expected p99 of at most {most} ms")),
            Some(_) | None => {}
        }
    }
    if let Some(most) = expect.refused_real_max
        && row.refused_real > most
    {
        list.push(format!("{} real requests met a refusal, expected at most {most}", row.refused_real));
    }
    list
}
