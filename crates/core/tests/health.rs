//! Whether a service is up: examples, and what holds whatever is seen.

use std::time::Duration;

use guichet_core::{Health, HealthMachine, Moment, Patience, Seen};
use proptest::prelude::*;

const PATIENCE: Patience = Patience { down_after: Duration::from_secs(5), up_after: Duration::from_secs(10) };
const GOOD: Seen = Seen { good: 10, bad: 0, checked: None };
const BAD: Seen = Seen { good: 0, bad: 10, checked: None };
const ONE_BAD: Seen = Seen { good: 0, bad: 1, checked: None };
const FEW_BAD: Seen = Seen { good: 95, bad: 5, checked: None };
const MIXED: Seen = Seen { good: 7, bad: 3, checked: None };
const NOTHING: Seen = Seen { good: 0, bad: 0, checked: None };
const CHECK_GOOD: Seen = Seen { good: 0, bad: 0, checked: Some(true) };
const CHECK_BAD: Seen = Seen { good: 0, bad: 0, checked: Some(false) };

/// Plays what was seen, a second each, and holds the health after each against what is expected.
fn check(name: &str, script: &[(Seen, u64, Health)]) {
    let mut machine = HealthMachine::new(Moment(0));
    let mut now_s = 0;
    for (step, (seen, seconds, expected)) in script.iter().enumerate() {
        for _ in 0..*seconds {
            now_s += 1;
            machine.note(Moment(now_s * 1_000_000), *seen, &PATIENCE);
        }
        assert_eq!(machine.health(), *expected, "{name}, step {step}, at {now_s} s");
    }
}

#[test]
fn states_are_left_only_for_lasting_evidence() {
    use Health::{Down, Failing, Recovering, Up};
    check("a bad moment", &[(GOOD, 5, Up), (BAD, 4, Failing), (GOOD, 1, Failing), (BAD, 5, Failing), (BAD, 1, Down)]);
    check("half-dead is failing, not down", &[(GOOD, 5, Up), (MIXED, 1, Up), (MIXED, 99, Failing), (GOOD, 7, Up)]);
    check("one failure among few is none", &[(GOOD, 5, Up), (ONE_BAD, 1, Up), (GOOD, 5, Up), (ONE_BAD, 1, Up)]);
    check("a few in a hundred are no alarm", &[(FEW_BAD, 100, Up)]);
    check("mixed does not end a run", &[(BAD, 3, Failing), (MIXED, 2, Failing), (BAD, 1, Down)]);
    check("silence is no run", &[(BAD, 1, Failing), (NOTHING, 60, Up), (BAD, 5, Failing), (BAD, 1, Down)]);
    check("checks count where nobody asks", &[(CHECK_BAD, 6, Down), (CHECK_GOOD, 1, Recovering), (CHECK_GOOD, 10, Up)]);
    check("back", &[(BAD, 6, Down), (NOTHING, 100, Down), (GOOD, 1, Recovering), (GOOD, 9, Recovering), (GOOD, 1, Up)]);
    check("back in the night", &[(BAD, 6, Down), (CHECK_GOOD, 1, Recovering), (NOTHING, 10, Up)]);
    check("one failure is no relapse", &[(BAD, 6, Down), (GOOD, 1, Recovering), (ONE_BAD, 1, Recovering)]);
    check(
        "relapses make it slower to believe",
        &[
            (BAD, 6, Down),
            (GOOD, 1, Recovering),
            (BAD, 1, Down),
            (GOOD, 1, Recovering),
            (BAD, 1, Down),
            (GOOD, 1, Down),
            (GOOD, 1, Recovering),
            (MIXED, 1, Recovering),
            (GOOD, 9, Recovering),
            (GOOD, 1, Up),
        ],
    );
}

#[test]
fn who_is_let_in_after_it_was_down_becomes_more_by_degrees() {
    let mut machine = HealthMachine::new(Moment(0));
    let at = |ms: u64| Moment(ms * 1000);
    assert!(machine.share(at(0)) >= 1.0);
    for s in 1..=6 {
        machine.note(at(s * 1000), BAD, &PATIENCE);
    }
    assert_eq!((machine.health(), machine.share(at(6_000))), (Health::Down, 0.0));
    machine.note(at(7_000), CHECK_GOOD, &PATIENCE);
    let shares = [7_000, 7_400, 7_800, 8_200, 9_000].map(|ms| (machine.share(at(ms)) * 8.0).round());
    assert_eq!(shares, [1.0, 2.0, 4.0, 8.0, 8.0]);
    machine.note(at(9_000), BAD, &PATIENCE);
    assert_eq!(machine.share(at(9_000)), 0.0, "a relapse shuts all out");
}

fn seen() -> impl Strategy<Value = Seen> {
    let checked = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    (0..20_u64, 0..20_u64, checked).prop_map(|(good, bad, checked)| Seen { good, bad, checked })
}

proptest! {
    /// Down needs `down_after` of failures, Up needs `up_after` without them, and nothing skips Recovering.
    #[test]
    fn no_state_is_skipped_or_left_early(script in prop::collection::vec((seen(), 1..4000_u64), 1..200)) {
        let mut machine = HealthMachine::new(Moment(0));
        let (mut now_ms, mut before) = (0_u64, Health::Up);
        let (mut bad_since, mut recovering_since): (Option<u64>, Option<u64>) = (None, None);
        for (seen, pause_ms) in script {
            now_ms += pause_ms;
            let mostly_bad = seen.bad > (seen.good + seen.bad) / 2 || (seen.good + seen.bad == 0 && seen.checked == Some(false));
            if mostly_bad && bad_since.is_none() { bad_since = Some(now_ms); }
            let after = machine.note(Moment(now_ms * 1000), seen, &PATIENCE);
            match (before, after) {
                (Health::Up | Health::Failing, Health::Recovering) | (Health::Down, Health::Up | Health::Failing) => prop_assert!(false, "{before:?} -> {after:?}"),
                (Health::Up | Health::Failing, Health::Down) => {
                    prop_assert!(mostly_bad);
                    prop_assert!(now_ms - bad_since.unwrap_or(now_ms) >= 5000);
                }
                (Health::Recovering, Health::Up) => {
                    prop_assert!(!mostly_bad);
                    prop_assert!(now_ms - recovering_since.unwrap_or(now_ms) >= 10_000);
                }
                (Health::Down, Health::Recovering) => recovering_since = Some(now_ms),
                _ => {}
            }
            let mostly_good = seen.good + seen.bad > 0 && seen.bad <= (seen.good + seen.bad) / 10;
            if !matches!(after, Health::Up | Health::Failing) || mostly_good || (seen.good + seen.bad == 0 && seen.checked == Some(true)) { bad_since = None; }
            prop_assert!((0.0..=1.0).contains(&machine.share(Moment(now_ms * 1000))));
            before = after;
        }
    }
}
