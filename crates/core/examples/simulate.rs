//! Plays a scenario on a simulated estate and prints what each population got.
//!
//! `cargo run --release -p guichet-core --example simulate -- --nodes 1000 --sources 10000000 --seconds 60`
//! Options: `--scenario NAME|all`, `--seed N`, `--flood N` (requests a second of attack at each node), `--threads N`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use guichet_core::sim::{Report, SCENARIOS, Scenario, play_node};

struct Args {
    nodes: u64,
    sources: u64,
    seconds: f64,
    seed: u64,
    flood: f64,
    threads: u64,
    scenario: String,
}

fn args() -> Result<Args, String> {
    let mut args =
        Args { nodes: 10, sources: 100_000, seconds: 60.0, seed: 1, flood: 2000.0, threads: 2, scenario: "all".into() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name}: a value must follow"))?;
        let bad = |e: &dyn std::fmt::Display| format!("{name} {value}: {e}");
        match name.as_str() {
            "--nodes" => args.nodes = value.parse().map_err(|e| bad(&e))?,
            "--sources" => args.sources = value.parse().map_err(|e| bad(&e))?,
            "--seconds" => args.seconds = value.parse().map_err(|e| bad(&e))?,
            "--seed" => args.seed = value.parse().map_err(|e| bad(&e))?,
            "--flood" => args.flood = value.parse().map_err(|e| bad(&e))?,
            "--threads" => args.threads = value.parse().map_err(|e| bad(&e))?,
            "--scenario" => args.scenario = value,
            _ => return Err(format!("{name}: no such option")),
        }
    }
    if args.nodes == 0 || args.threads == 0 || args.threads > 64 {
        return Err("--nodes and --threads: at least 1, threads at most 64".into());
    }
    Ok(args)
}

fn play(scenario: &Scenario, args: &Args) -> Report {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut report = Report::default();
                    loop {
                        let node = next.fetch_add(1, Ordering::Relaxed);
                        if node >= args.nodes {
                            return report;
                        }
                        report.merge(&play_node(scenario, node, args.seed));
                    }
                })
            })
            .collect();
        let mut report = Report::default();
        for thread in threads {
            report.merge(&thread.join().expect("a node's play does not panic"));
        }
        report
    })
}

#[expect(clippy::disallowed_methods, reason = "the example tells how long the play took; the core is not asked")]
fn main() -> Result<(), String> {
    let args = args()?;
    let names: Vec<&str> = if args.scenario == "all" { SCENARIOS.to_vec() } else { vec![args.scenario.as_str()] };
    for name in names {
        let per_node = (args.sources / args.nodes).max(1);
        let scenario = Scenario::named(name, per_node, args.seconds, args.flood)
            .ok_or_else(|| format!("{name}: no such scenario; there are {SCENARIOS:?}"))?;
        let start = Instant::now();
        let report = play(&scenario, &args);
        print!("{}", report.table(&scenario));
        println!(
            "{} nodes, {} sources, {} s, seed {}: {} requests played in {:.1} s; broken rules: {:?}\n",
            args.nodes,
            args.sources,
            scenario.seconds,
            args.seed,
            report.requests,
            start.elapsed().as_secs_f64(),
            report.broken
        );
    }
    Ok(())
}
