//! `guichet bench`: Guichet and its peers as plain proxies, side by side in one run.
//!
//! The proxy has one core, the load and the service behind it another; rounds are interleaved, so that what else the
//! machine does hits all alike; ratios are taken within a round. CPU time is the scheduler's, of every thread of the proxy.

mod case;
mod client;
mod connections;
mod h2load;
mod instructions;
mod measure;
mod origin;
mod page;
mod plain;
mod report;
mod tls;
mod usage;

pub use report::{ProtectTime, Report};

use anyhow::{Context, bail};
use case::Case;
use guichet_core::bounds::BENCH_ROUNDS_MAX as ROUNDS_MAX;
use plain::{Ground, PlainFront};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fronts that can be benched, in the order of the tables.
pub const FRONTS: [&str; 4] = ["nginx", "haproxy", "envoy", "guichet"];
/// Guichet without signatures, and with as many mitigations in force as a service can have, so that each request is looked at:
/// what the features of requests cost.
const VARIANTS: [&str; 2] = ["guichet-unsigned", "guichet-mitigating"];
/// Arguments of `guichet bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// Interleaved rounds; medians are over these.
    #[arg(long, default_value_t = 4)]
    pub rounds: usize,
    /// One short round with few connections: shows that everything works, not how fast it is.
    #[arg(long)]
    pub quick: bool,
    /// Count the instructions of a request with valgrind instead of CPU time: only Guichet, and slow, but the same on a
    /// busy machine.
    #[arg(long)]
    pub instructions: bool,
    /// Fronts to compare.
    #[arg(long, value_delimiter = ',', default_values_t = FRONTS.map(String::from))]
    pub fronts: Vec<String>,
    /// Only these measurements (default: all).
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Where the figures are written as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The page to render with the figures: docs/benchmarks.md.
    #[arg(long)]
    pub write: Option<PathBuf>,
    /// The date that the page bears.
    #[arg(long, default_value = "undated")]
    pub date: String,
    /// The guichet binary (default: this program).
    #[arg(long)]
    pub guichet_exe: Option<PathBuf>,
    /// The scenario in which time to protection is measured, where the program was built with it.
    #[arg(long, default_value = "drills/reenactment.toml")]
    pub scenario: PathBuf,
}

/// Measures the time from flood to protection in a scenario, for each of the fronts.
pub type TimeToProtect<'a> = &'a dyn Fn(&Path, &[String]) -> anyhow::Result<Vec<ProtectTime>>;

/// How long and how much a measurement is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    warm_up: Duration,
    window: Duration,
    idle_connections: usize,
}

/// Runs the bench without a drill.
///
/// # Errors
/// As [`bench_with`].
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    bench_with(args, None)
}

/// Runs the bench and prints, writes and renders what it found.
///
/// # Errors
/// For arguments that make no sense, where a front is missing or can't be started, when a single answer is not the right
/// one, and where a result can't be written.
pub fn bench_with(args: &BenchArgs, time_to_protect: Option<TimeToProtect<'_>>) -> anyhow::Result<()> {
    let (cases, rounds) = plan(args)?;
    let effort = if args.quick {
        Effort { warm_up: Duration::from_millis(100), window: Duration::from_millis(300), idle_connections: 300 }
    } else {
        Effort { warm_up: Duration::from_millis(300), window: Duration::from_secs(3), idle_connections: 10_000 }
    };
    // First: the drill wants all cores.
    // Variants are for comparing requests with requests; a drill of one would say nothing about the peers.
    let has_variant = args.instructions || args.fronts.iter().any(|front| VARIANTS.contains(&front.as_str()));
    let measure = time_to_protect.filter(|_| !has_variant);
    let protect = measure.map(|measure| measure(&args.scenario, &args.fronts)).transpose()?;
    let scratch = tempfile::tempdir().context("scratch folder")?;
    crate::fronts::process::raise_fd_limit();
    let core = plain::take_core()?;
    let guichet_exe = args.guichet_exe.clone().map_or_else(std::env::current_exe, Ok)?;
    let ground = Ground {
        dir: scratch.path().to_owned(),
        tls: tls::certificates(scratch.path())?,
        origin: origin::start()?,
        guichet_exe,
        core,
        counted: args.instructions,
    };
    let mut report = Report::new(args, rounds, &ground.guichet_exe, protect.unwrap_or_default());
    for round in 0..rounds {
        for (position, name) in rotated(&args.fronts, round).enumerate() {
            eprintln!("round {} of {rounds}: {name} ({} of {})", round + 1, position + 1, args.fronts.len());
            measure_front(name, &cases, &ground, effort, &mut report).with_context(|| format!("bench of {name}"))?;
        }
    }
    print!("{}", report.table());
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.write {
        std::fs::write(path, page::render(&report)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn plan(args: &BenchArgs) -> anyhow::Result<(Vec<Case>, usize)> {
    let known = [&FRONTS[..], &VARIANTS].concat();
    if let Some(unknown) = args.fronts.iter().find(|f| !known.contains(&f.as_str())) {
        bail!("--fronts: `{unknown}` can't be benched; known: {}", known.join(", "));
    }
    if args.instructions && args.fronts.iter().any(|front| !front.starts_with("guichet")) {
        bail!("--instructions: only Guichet's are counted; write --fronts guichet,{}", VARIANTS.join(","));
    }
    if args.fronts.is_empty() || !(1..=ROUNDS_MAX).contains(&args.rounds) {
        bail!("--fronts needs at least one, and --rounds is 1 to {ROUNDS_MAX}");
    }
    let names = Case::ALL.map(Case::name);
    if let Some(unknown) = args.only.iter().find(|o| !names.contains(&o.as_str())) {
        bail!("--only: `{unknown}` is not measured; known: {}", names.join(", "));
    }
    let counted = |case: &Case| !args.instructions || instructions::counts(*case);
    let wanted = |case: &Case| args.only.is_empty() || args.only.iter().any(|o| o == case.name());
    let rounds = if args.quick { 1 } else { args.rounds };
    Ok((Case::ALL.into_iter().filter(counted).filter(wanted).collect(), rounds))
}

/// Every front is first in some round, so that none always has the machine as the one before left it.
fn rotated(fronts: &[String], round: usize) -> impl Iterator<Item = &String> {
    fronts.iter().cycle().skip(round % fronts.len().max(1)).take(fronts.len())
}

fn measure_front(
    name: &str,
    cases: &[Case],
    ground: &Ground,
    effort: Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    if ground.counted {
        for case in cases {
            report.add(*case, name, instructions::count(name, *case, ground).with_context(|| case.name())?);
        }
        return Ok(());
    }
    let mut running: Option<PlainFront> = None;
    for case in cases {
        if case.wants_fresh()
            && let Some(front) = running.take()
        {
            front.stop();
        }
        let front = match running.take() {
            Some(front) => front,
            None => plain::start(name, ground, case.wants_cap())?,
        };
        let figure = measure::measure(*case, &front, ground, effort).with_context(|| case.name())?;
        report.add(*case, name, figure);
        running = Some(front);
    }
    if let Some(front) = running {
        front.stop();
    }
    Ok(())
}

/// Certificates for tests of fronts.
#[cfg(test)]
pub(crate) fn test_certificates(dir: &Path) -> crate::front::TlsFiles {
    tls::certificates(dir).expect("certificates in a scratch folder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    #[test]
    fn arguments_are_checked() {
        for (line, expected) in [
            ("", Ok((9, 4))),
            ("--quick --rounds 7", Ok((9, 1))),
            ("--only h1-plain,idle-tls --rounds 2", Ok((2, 2))),
            ("--only h3", Err("`h3` is not measured")),
            ("--fronts nginx,apache", Err("`apache` can't be benched")),
            ("--instructions --fronts guichet,guichet-unsigned --rounds 1", Ok((4, 1))),
            ("--instructions", Err("only Guichet's are counted")),
            ("--rounds 0", Err("--rounds is 1 to 32")),
            ("--rounds 33", Err("--rounds is 1 to 32")),
        ] {
            let args = Line::parse_from(["bench"].into_iter().chain(line.split_whitespace())).args;
            match (plan(&args).map(|(cases, rounds)| (cases.len(), rounds)), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{line}"),
                (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{line}: {got}"),
                (got, _) => panic!("{line}: {got:?}"),
            }
        }
    }

    #[test]
    fn every_front_comes_first_in_turn() {
        let fronts = ["a", "b", "c"].map(String::from);
        let order = |round| rotated(&fronts, round).cloned().collect::<Vec<_>>().concat();
        assert_eq!([order(0), order(1), order(2), order(3)], ["abc", "bca", "cab", "abc"].map(String::from));
    }

    /// The whole bench, short, with the peers that are no part of this repository's build.
    #[test]
    fn a_quick_bench_of_the_peers_works() {
        let dir = tempfile::tempdir().unwrap();
        let (json, page) = (dir.path().join("bench.json"), dir.path().join("bench.md"));
        let line = ["bench", "--quick", "--fronts", "nginx,haproxy,envoy", "--date", "2026-01-05"];
        let mut args = Line::parse_from(line).args;
        (args.json, args.write) = (Some(json.clone()), Some(page.clone()));
        // Pins its thread: not the one that other tests share.
        std::thread::spawn(move || bench(&args)).join().unwrap().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        for case in found["cases"].as_array().unwrap() {
            for front in case["fronts"].as_array().unwrap() {
                let median = front["median"].as_f64().unwrap();
                // So few idle connections may fit into memory that was there before.
                let least = if case["unit"] == "bytes" { 0.0 } else { 1.0 };
                assert!((least..1e6).contains(&median), "{case}");
            }
        }
        assert_eq!(found["cases"].as_array().unwrap().len(), Case::ALL.len());
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("2026-01-05") && page.contains("| haproxy |"), "{page}");
    }
}
