//! What ran and what did not: the closing table.

use std::process::ExitCode;
use std::time::Duration;

use crate::process::{Counts, Ran};

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It ran and is good.
    Passed,
    /// It ran and is bad: why.
    Failed(String),
    /// It did not run: what it needs.
    NotRun(String),
    /// It did not run, and need not: what it would need.
    Optional(String),
}

/// Whether a step's program reports tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reports {
    /// It does not: the step counts as one.
    Nothing,
    /// It does, and there must be some.
    Tests,
    /// It does, and there may be none.
    AnyTests,
}

/// A step of the suite.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) took: Duration,
    /// Tests, for steps that run tests; other steps count as one.
    pub(crate) tests: Option<Counts>,
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) steps: Vec<Step>,
}

impl Summary {
    pub(crate) fn add(&mut self, name: &str, state: State, took: Duration, tests: Option<Counts>) {
        let said = match &state {
            State::Passed => "passed".to_owned(),
            State::Failed(why) => format!("FAILED: {why}"),
            State::NotRun(needs) => format!("NOT RUN: {needs}"),
            State::Optional(needs) => format!("not run (optional): {needs}"),
        };
        println!("==> {name}: {said} ({:.1} s)\n", took.as_secs_f64());
        self.steps.push(Step { name: name.to_owned(), state, took, tests });
    }

    /// A step that was one program, which reports tests or not.
    pub(crate) fn add_ran(&mut self, name: &str, ran: &Ran, took: Duration, reports: Reports) {
        let state = match ran.succeeded() {
            true if reports == Reports::Tests && ran.counts.passed == 0 => State::NotRun("it has no tests".into()),
            true => State::Passed,
            false => State::Failed(ran.why()),
        };
        self.add(name, state, took, (reports != Reports::Nothing).then_some(ran.counts));
    }

    /// Passed, failed and skipped over all steps: tests where a step counts them, else the step itself.
    fn totals(&self) -> Counts {
        let mut total = Counts::default();
        for step in &self.steps {
            let tests = step.tests.unwrap_or_default();
            total.passed += tests.passed;
            total.failed += tests.failed;
            total.skipped += tests.skipped;
            match &step.state {
                State::Passed => total.passed += u64::from(step.tests.is_none()),
                // A step can fail though no test did: it did not compile, or ran into its limit.
                State::Failed(_) => total.failed += u64::from(tests.failed == 0),
                State::NotRun(_) => total.skipped += 1,
                State::Optional(_) => {}
            }
        }
        total
    }

    /// Prints the table; fails where anything failed, and in CI also where anything did not run.
    pub(crate) fn close(&self, ci: bool) -> ExitCode {
        println!("{:<28} {:>9} {:>7} {:>7} {:>7}  outcome", "step", "seconds", "passed", "failed", "skipped");
        for step in &self.steps {
            let number = |pick: fn(Counts) -> u64| step.tests.map_or_else(|| "-".to_owned(), |c| pick(c).to_string());
            let (passed, failed, skipped) = (number(|c| c.passed), number(|c| c.failed), number(|c| c.skipped));
            let outcome = match &step.state {
                State::Passed => "passed".to_owned(),
                State::Failed(why) => format!("FAILED: {why}"),
                State::NotRun(needs) => format!("NOT RUN: {needs}"),
                State::Optional(needs) => format!("optional, not run: {needs}"),
            };
            let took = step.took.as_secs_f64();
            println!("{:<28} {took:>9.1} {passed:>7} {failed:>7} {skipped:>7}  {outcome}", step.name);
        }
        let total = self.totals();
        let took: Duration = self.steps.iter().map(|s| s.took).sum();
        println!("\nin {:.0} s", took.as_secs_f64());
        if total.skipped > 0 {
            println!("{} did not run{}", total.skipped, if ci { ", which fails in CI" } else { "" });
        }
        // Alone on a line: programs read this one.
        println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
        if self.is_good(ci) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_good(&self, ci: bool) -> bool {
        let total = self.totals();
        total.failed == 0 && total.passed > 0 && !(ci && total.skipped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_fails_in_ci_only_and_what_failed_everywhere() {
        let tests = |passed, failed, skipped| Some(Counts { passed, failed, skipped, end_to_end: 0 });
        for (state, counts, here, ci) in [
            (State::Passed, tests(3, 0, 0), true, true),
            (State::Passed, None, true, true),
            (State::Passed, tests(3, 0, 1), true, false),
            (State::NotRun("x".into()), None, true, false),
            (State::Optional("x".into()), None, true, true),
            (State::Failed("x".into()), tests(3, 1, 0), false, false),
            (State::Failed("did not compile".into()), tests(0, 0, 0), false, false),
        ] {
            let mut summary = Summary::default();
            summary.add("first", State::Passed, Duration::ZERO, None);
            summary.add("second", state.clone(), Duration::ZERO, counts);
            assert_eq!((summary.is_good(false), summary.is_good(true)), (here, ci), "{state:?} {counts:?}");
        }
        assert!(!Summary::default().is_good(false), "nothing ran");
    }
}
