//! What a scenario expects of the status page.

use super::covers;
use crate::scenario::Expect;
use crate::score::FrontScore;

/// Every expectation about the status page that is broken, in words.
pub(super) fn broken(score: &FrontScore, expect: &Expect) -> Vec<String> {
    let times = [expect.status_right_ms_max, expect.status_back_ms_max, expect.status_wrong_ms_max];
    if times.iter().all(Option::is_none) && expect.status_up_share_min.is_none() {
        return Vec::new();
    }
    let front = &score.front;
    let Some(status) = &score.status else {
        return vec![format!("{front}: has no status page, and one is expected")];
    };
    let mut list = Vec::new();
    if let Some(least) = expect.status_up_share_min
        && status.up_share < least
    {
        let gap = status.gap_ms;
        list.push(format!(
            "{front}: {:.3} of {} looks found the status page, expected at least {least}; it was away for up to {gap} ms",
            status.up_share, status.looks
        ));
    }
    let judged = || status.faults.iter().filter(|fault| covers(&expect.scope, fault.service));
    if (expect.status_right_ms_max.is_some() || expect.status_back_ms_max.is_some()) && judged().next().is_none() {
        list.push(format!("{front}: no fault that the status page should tell of, though that is expected"));
    }
    for fault in judged() {
        let checks = [
            (expect.status_right_ms_max, fault.right_after_ms, "told of it"),
            (expect.status_back_ms_max, fault.back_after_ms, "told of its end"),
        ];
        for (most, got, what) in checks {
            let Some(most) = most else { continue };
            if got.is_none_or(|ms| ms > most) {
                let got = got.map_or("never".to_owned(), |ms| format!("after {ms} ms"));
                list.push(format!(
                    "{front}: {}: the status page {what} {got}, expected {most} ms at most",
                    fault.fault
                ));
            }
        }
    }
    if let Some(most) = expect.status_wrong_ms_max {
        for wrong in status.wrong.iter().filter(|wrong| wrong.for_ms > most && covers(&expect.scope, wrong.service)) {
            list.push(format!(
                "{front}: {}: the status page said for {} ms that it does not work as it should though it did, expected {most} ms at most",
                wrong.service, wrong.for_ms
            ));
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::AttackTally;
    use crate::scenario::{ExpectPhase, Scope};
    use crate::services::index_of;
    use crate::status::{StatusFault, StatusScore, StatusWrong};

    fn scored(status: Option<StatusScore>) -> FrontScore {
        FrontScore {
            front: "guichet".to_owned(),
            time_to_protect_ms: None,
            services: Vec::new(),
            steady: Vec::new(),
            operations: Vec::new(),
            visitors: Vec::new(),
            status,
            invariants: Vec::new(),
            attack: AttackTally::default(),
            notes: Vec::new(),
            series: Vec::new(),
        }
    }

    fn expected(change: impl Fn(&mut Expect)) -> Expect {
        let mut expect = Expect {
            front: "guichet".to_owned(),
            scope: Scope::All,
            phase: ExpectPhase::Steady,
            relative_min: None,
            p99_ms_max: None,
            refused_real_max: None,
            told_min: None,
            status_right_ms_max: None,
            status_back_ms_max: None,
            status_up_share_min: None,
            status_wrong_ms_max: None,
            refused_real_share_max: None,
            attack_reached_share_max: None,
            time_to_protect_ms_max: None,
        };
        change(&mut expect);
        expect
    }

    #[test]
    fn the_status_page_is_held_to_what_is_expected_of_it() {
        let status = StatusScore {
            looks: 100,
            up_share: 0.98,
            gap_ms: 700,
            faults: vec![StatusFault {
                service: "portal",
                fault: "portal killed".to_owned(),
                right_after_ms: Some(4000),
                back_after_ms: None,
            }],
            wrong: vec![StatusWrong { service: "bank", for_ms: 1500 }],
        };
        let score = scored(Some(status));
        let check = |change: &dyn Fn(&mut Expect), said: &str| {
            let list = broken(&score, &expected(change));
            assert_eq!(list.is_empty(), said.is_empty(), "{list:?}");
            assert!(list.iter().all(|line| line.contains(said)), "{list:?} {said}");
        };
        check(&|_| (), "");
        check(&|e| e.status_up_share_min = Some(0.98), "");
        check(&|e| e.status_up_share_min = Some(1.0), "0.980 of 100 looks");
        check(&|e| e.status_right_ms_max = Some(4000), "");
        check(&|e| e.status_right_ms_max = Some(3999), "after 4000 ms");
        check(&|e| e.status_back_ms_max = Some(60_000), "told of its end never");
        check(&|e| e.status_wrong_ms_max = Some(1500), "");
        check(&|e| e.status_wrong_ms_max = Some(0), "bank: the status page said for 1500 ms");
        let bank = Scope::Service(index_of("bank").unwrap_or(0));
        check(
            &|e| (e.scope, e.status_right_ms_max) = (bank.clone(), Some(1)),
            "no fault that the status page should tell of",
        );
        check(&|e| (e.scope, e.status_wrong_ms_max) = (Scope::Service(0), Some(0)), "");
        let none = scored(None);
        assert!(broken(&none, &expected(|_| ())).is_empty());
        assert!(broken(&none, &expected(|e| e.status_up_share_min = Some(0.5)))[0].contains("has no status page"));
    }
}
