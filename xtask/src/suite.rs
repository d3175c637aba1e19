//! The whole test suite, in the order in which a failure is cheapest to learn of.
//!
//! Dependencies are compiled for development (tests, lints, fuzz targets) and for release (the binary), and no third time;
//! in CI, whose time is bounded, for development only.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::process::{self, Counts, Ran};
use crate::summary::{Reports, State, Summary};
use crate::{cargo, fuzz, target, tidy, tools};

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Seconds that each fuzz target runs.
const FUZZ_S: u64 = 10;
/// A short drill of everything at once.
const SMOKE_SCENARIOS: [(&str, &str); 2] =
    [("smoke drill", "drills/smoke.toml"), ("smoke drill with a fault", "drills/smoke-fault.toml")];

pub(crate) fn test(root: &Path, install: bool, ci: bool) -> anyhow::Result<ExitCode> {
    let mut suite = Suite { root, ci, summary: Summary::default() };
    suite.tools(install);
    suite.ran("rustfmt", cargo(root, &["fmt", "--all", "--check"]), minutes(3), Reports::Nothing);
    suite.tidy();
    suite.tests();
    suite.ran(
        "doc tests",
        cargo(root, &["test", "--workspace", "--exclude", "guichet-fuzz", "--doc"]),
        minutes(15),
        Reports::AnyTests,
    );
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    suite.ran("clippy", cargo(root, &clippy), minutes(20), Reports::Nothing);
    suite.deny();
    suite.fuzz();
    suite.smoke_drills();
    Ok(suite.summary.close(ci))
}

struct Suite<'a> {
    root: &'a Path,
    ci: bool,
    summary: Summary,
}

impl Suite<'_> {
    /// Runs one program as one step.
    fn ran(&mut self, name: &str, mut command: Command, limit: Duration, reports: Reports) -> Ran {
        println!("==> {name}");
        if self.ci {
            // Nothing is built twice here: incremental builds would only fill the disk.
            command.env("CARGO_INCREMENTAL", "0");
        }
        let started = Instant::now();
        let ran = process::run(&mut command, limit);
        self.summary.add_ran(name, &ran, started.elapsed(), reports);
        ran
    }

    fn tools(&mut self, install: bool) {
        println!("==> tools");
        let started = Instant::now();
        let missing = tools::ensure(self.root, install);
        for tool in &missing {
            println!("missing: {}: {}", tool.name, tool.mend);
        }
        let state = match missing.as_slice() {
            [] => State::Passed,
            missing => {
                let told: Vec<_> = missing.iter().map(|m| format!("{} ({})", m.name, m.mend)).collect();
                State::NotRun(told.join("; "))
            }
        };
        self.summary.add("tools", state, started.elapsed(), None);
    }

    fn tidy(&mut self) {
        println!("==> tidy");
        let started = Instant::now();
        let state = match tidy::check(self.root) {
            Ok(findings) => {
                findings.iter().for_each(|finding| println!("{finding}"));
                match findings.iter().filter(|f| f.hard).count() {
                    0 => State::Passed,
                    count => State::Failed(format!("{count} findings")),
                }
            }
            Err(error) => State::Failed(format!("{error:#}")),
        };
        self.summary.add("tidy", state, started.elapsed(), None);
    }

    /// Unit, property, socket and end-to-end tests in one run; the latter are also counted apart, so that a missing
    /// suite is seen.
    fn tests(&mut self) {
        let nextest = tools::has_cargo("nextest");
        let args: &[&str] = if nextest {
            &["nextest", "run", "--no-fail-fast", "--status-level", "all", "--run-ignored", "all"]
        } else {
            &["test", "--no-fail-fast", "--lib", "--bins", "--tests"]
        };
        let mut command = cargo(self.root, args);
        command.args(["--workspace", "--exclude", "guichet-fuzz"]);
        if !nextest {
            // Measurements are ignored elsewhere; here, what does not run is a failure.
            command.args(["--", "--include-ignored"]);
        }
        let ran = self.ran("tests", command, minutes(40), Reports::Tests);
        let state = match (ran.counts.end_to_end, ran.succeeded()) {
            (0, _) => State::NotRun("no end-to-end test of the guichet binary passed (crates/guichet/tests)".into()),
            (_, true) => State::Passed,
            (_, false) => State::Failed("see tests".into()),
        };
        println!("{} of these were end-to-end tests of the binary", ran.counts.end_to_end);
        self.summary.add("end-to-end (of these)", state, Duration::ZERO, Some(Counts::default()));
    }

    /// Tidy has checked licences and sources; advisories need cargo-deny and its database.
    fn deny(&mut self) {
        if tools::has_cargo("deny") {
            self.ran(
                "cargo-deny",
                cargo(self.root, &["deny", "--offline", "check", "bans", "licenses", "sources"]),
                minutes(5),
                Reports::Nothing,
            );
        } else {
            let state = State::Optional("cargo install cargo-deny (tidy checked licences and sources)".into());
            self.summary.add("cargo-deny", state, Duration::ZERO, None);
        }
    }

    fn fuzz(&mut self) {
        println!("==> fuzz build");
        let started = Instant::now();
        let targets = match fuzz::targets(self.root).and_then(|targets| Ok((targets, fuzz::build(self.root)?))) {
            Ok((targets, built)) => {
                self.summary.add_ran("fuzz build", &built, started.elapsed(), Reports::Nothing);
                if built.succeeded() { targets } else { Vec::new() }
            }
            Err(error) => {
                self.summary.add("fuzz build", State::Failed(format!("{error:#}")), started.elapsed(), None);
                Vec::new()
            }
        };
        for name in targets {
            println!("==> fuzz {name}");
            let started = Instant::now();
            match fuzz::run(self.root, &name, FUZZ_S) {
                Ok(ran) => self.summary.add_ran(&format!("fuzz {name}"), &ran, started.elapsed(), Reports::Nothing),
                Err(error) => {
                    let state = State::Failed(format!("{error:#}"));
                    self.summary.add(&format!("fuzz {name}"), state, started.elapsed(), None);
                }
            }
        }
    }

    /// What `cargo build --release` makes; in CI the program that the end-to-end tests run: it behaves the same, nothing is
    /// measured there, and optimising everything once more takes longer than all drills.
    fn program(&mut self) -> (Ran, PathBuf) {
        let folder = target(self.root);
        if self.ci {
            // All targets: else features differ from those of the tests, and dependencies are built anew.
            let debug = cargo(self.root, &["build", "--workspace", "--exclude", "guichet-fuzz", "--all-targets"]);
            (self.ran("program", debug, minutes(15), Reports::Nothing), folder.join("debug/guichet"))
        } else {
            let release = cargo(self.root, &["build", "--release", "--package", "guichet"]);
            (self.ran("release build", release, minutes(30), Reports::Nothing), folder.join("release/guichet"))
        }
    }

    /// With the program as it is now: an older one would tell of older code.
    fn smoke_drills(&mut self) {
        let (ran, exe) = self.program();
        let built = ran.succeeded();
        for (name, scenario) in SMOKE_SCENARIOS {
            if !built || !self.root.join(scenario).is_file() || !exe.is_file() {
                let needs = format!("{scenario} and a build of the program");
                self.summary.add(name, State::NotRun(needs), Duration::ZERO, None);
                continue;
            }
            let mut drill = Command::new(&exe);
            drill.current_dir(self.root).args(["drill", scenario, "--fronts", "guichet"]);
            self.ran(name, drill, minutes(6), Reports::Nothing);
        }
    }
}
