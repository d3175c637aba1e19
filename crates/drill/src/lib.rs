//! Drills: real floods on loopback that score a front against its peers and against an oracle.
//!
//! A scenario says who comes, from where, when and with what in mind; the load generator plays it through real sockets
//! against a front with the reference estate behind it; the scoreboard says what real clients got of what a front that
//! knows who is who would have given them. Traffic goes to loopback only, and every run is bounded in count and time.

mod args;
pub mod bench;
pub mod capacity;
pub mod certs;
mod disk;
mod expect;
mod faults;
pub mod front;
pub mod fronts;
pub mod load;
pub mod ops;
pub mod oracle;
pub mod plan;
mod progress;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod score;
pub mod services;
pub mod status;
pub mod target;
pub mod visitors;

pub use args::DrillArgs;

use anyhow::{Context, bail};
use front::Front;
use scenario::{RawScenario, Scenario};
use score::Scoreboard;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status where an expectation of the scenario failed.
const EXPECTATION_FAILED: u8 = 1;
/// Exit status for a scenario or a command line that can't be used.
const BAD_INPUT: u8 = 2;

/// Runs `guichet drill`. Exit status 0: done and every expectation held; 1: one did not; 2: bad input.
///
/// # Errors
/// When something could not be run to its end.
pub fn run(args: &DrillArgs, fronts: &[Box<dyn Front>]) -> anyhow::Result<ExitCode> {
    if args.schema {
        println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(RawScenario))?);
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.scenario.as_deref().unwrap_or_else(|| Path::new(""));
    let scenario = match Scenario::read(path) {
        Ok(scenario) => Arc::new(scenario),
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_INPUT));
        }
    };
    let seed = args.seed.unwrap_or(scenario.seed);
    if args.check {
        return check(path, &scenario, seed);
    }
    let chosen = match choose(args, fronts) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(BAD_INPUT));
        }
    };
    let board = play(args, &scenario, seed, &chosen, None)?;
    print!("{}", report::table::render(&board));
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&board)?;
        std::fs::write(file, text + "\n").with_context(|| format!("{}: can't write", file.display()))?;
    }
    if let Some(file) = &args.report {
        std::fs::write(file, report::html::render(&board))
            .with_context(|| format!("{}: can't write", file.display()))?;
        println!("report: {}", file.display());
    }
    Ok(if board.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXPECTATION_FAILED) })
}

/// `--check`: the scenario, its capacity file and the room it needs.
fn check(path: &Path, scenario: &Scenario, seed: u64) -> anyhow::Result<ExitCode> {
    let found = capacity::Capacity::read(&scenario.capacity)
        .and_then(|_| Ok(plan::Plan::draw(scenario, seed)?))
        .and_then(|plan| load::make_room(scenario).map(|()| plan));
    match found {
        Ok(plan) => {
            println!(
                "{}: fine; {} s a front, {} real requests by {} persons, {} waves of attack, at most {} connections",
                path.display(),
                scenario.phases.total_ms() / 1000,
                plan.requests.len(),
                plan.persons.len(),
                scenario.waves.len(),
                scenario.connections_max()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{}: {error:#}", path.display());
            Ok(ExitCode::from(BAD_INPUT))
        }
    }
}

/// Plays a scenario against fronts and says when each protected; for the bench.
///
/// # Errors
/// A scenario or a front that can't be used, and what [`run`] has.
pub fn times_to_protect(
    scenario: &Path,
    names: &[String],
    fronts: &[Box<dyn Front>],
    guichet_exe: Option<&Path>,
) -> anyhow::Result<Vec<bench::ProtectTime>> {
    let checked = Arc::new(Scenario::read(scenario).map_err(|problems| anyhow::anyhow!("{problems}"))?);
    let args = DrillArgs::of(scenario, names);
    let chosen = choose(&args, fronts)?;
    let board = play(&args, &checked, checked.seed, &chosen, guichet_exe)?;
    let time = |score: &score::FrontScore| bench::ProtectTime {
        front: score.front.clone(),
        time_to_protect_ms: score.time_to_protect_ms,
    };
    Ok(board.fronts.iter().map(time).collect())
}

fn choose<'a>(args: &DrillArgs, fronts: &'a [Box<dyn Front>]) -> anyhow::Result<Vec<&'a dyn Front>> {
    let mut chosen: Vec<&dyn Front> = Vec::new();
    let mut missing = Vec::new();
    for name in &args.fronts {
        let Some(front) = fronts.iter().find(|f| f.name() == name) else {
            let known: Vec<_> = fronts.iter().map(|f| f.name()).collect();
            bail!("--fronts: {name:?} is not known; choose from {}", known.join(","));
        };
        if chosen.iter().any(|c| c.name() == name) {
            bail!("--fronts: {name} stands twice; name each front once");
        }
        missing.extend(front.missing().map(|mend| format!("{name} is missing here: {mend}")));
        chosen.push(front.as_ref());
    }
    if chosen.is_empty() {
        bail!("--fronts: no front; give at least one");
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(chosen)
}

fn play(
    args: &DrillArgs,
    scenario: &Arc<Scenario>,
    seed: u64,
    chosen: &[&dyn Front],
    guichet_exe: Option<&Path>,
) -> anyhow::Result<Scoreboard> {
    // Dropped, and with it removed, at the end of this function.
    let scratch = tempfile::Builder::new().prefix("guichet-drill-").tempdir()?;
    let dir = match &args.keep {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("{}: can't make the directory", dir.display()))?;
            dir.canonicalize()?
        }
        None => scratch.path().to_owned(),
    };
    let guichet_exe = match (guichet_exe, std::env::var_os("GUICHET_EXE")) {
        (Some(exe), _) => exe.to_owned(),
        (None, Some(exe)) => exe.into(),
        (None, None) => std::env::current_exe()?,
    };
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(&stop)?;
    let settings = runner::Settings { guichet_exe, base_port: args.base_port, dir, stop };
    let scores = runner::drill(scenario, seed, chosen, &settings)?;
    let failed = scores.iter().flat_map(|score| expect::broken(scenario, score)).collect();
    let expected = scenario.expects.iter().filter(|e| scores.iter().any(|s| s.front == e.front)).count();
    let phases = scenario.phases;
    Ok(Scoreboard {
        scenario: scenario.name.clone(),
        seed,
        fronts: scores,
        description: scenario.description.clone(),
        phases_ms: [phases.before_ms, phases.attack_ms, phases.after_ms],
        expected,
        failed,
        notes: vec![
            "Load, front and estate share this machine's processors; latency counts from the intended moment."
                .to_owned(),
        ],
    })
}

/// Ctrl-C and TERM end the run in order: the load stops, then what was started is stopped.
fn stop_on_signal(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The thread waits for as long as the program lives; there is nothing to clean up in it.
    std::thread::Builder::new().name("drill-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            stop.store(true, Ordering::Relaxed);
        });
    })?;
    Ok(())
}
