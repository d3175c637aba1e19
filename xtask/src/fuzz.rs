//! Coverage-guided fuzzing with libFuzzer on the stable toolchain.
//!
//! LLVM's coverage pass is asked for with plain `-C` options, and only for the workspace's crates: cargo calls this
//! program in place of rustc for those (`RUSTC_WORKSPACE_WRAPPER`), so that dependencies are shared with the ordinary
//! development build and no second target folder is filled.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::{self, Ran};
use crate::{cargo, target};

/// Set while cargo calls this program in place of rustc.
pub(crate) const WRAPPER_VARIABLE: &str = "GUICHET_FUZZ_RUSTC";

/// What the coverage pass needs, as libFuzzer reads it.
const COVERAGE: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Copt-level=1",
    "-Cdebug-assertions=on",
    "--cfg=fuzzing",
];

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Run a target once, on this file: to look at a failure.
    #[arg(long, requires = "target")]
    replay: Option<PathBuf>,
    /// Only this target, such as `config`.
    target: Option<String>,
}

/// Called by cargo as `xtask rustc ARGS`: adds the coverage pass, except for build scripts and cargo's own questions.
pub(crate) fn wrap_rustc() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(rustc) = args.next() else {
        eprintln!("error: {WRAPPER_VARIABLE} is for cargo only");
        return ExitCode::FAILURE;
    };
    let args: Vec<_> = args.collect();
    let names: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut command = Command::new(rustc);
    command.args(&args).env_remove(WRAPPER_VARIABLE);
    if is_covered(&names) {
        command.args(COVERAGE);
    }
    match command.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot run rustc: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a call of rustc compiles code that is fuzzed.
fn is_covered(args: &[String]) -> bool {
    let after = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1)).map(String::as_str);
    match after("--crate-name") {
        None | Some("___" | "build_script_build") => false,
        Some(_) => after("--crate-type") != Some("proc-macro"),
    }
}

/// The names of the targets: binaries of `fuzz/Cargo.toml`, without `fuzz_`.
pub(crate) fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).context("fuzz/Cargo.toml")?;
    let manifest: toml::Table = text.parse().context("fuzz/Cargo.toml")?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array).context("fuzz/Cargo.toml has no [[bin]]")?;
    let names = bins.iter().filter_map(|bin| bin.get("name")?.as_str()?.strip_prefix("fuzz_"));
    Ok(names.map(str::to_owned).collect())
}

/// Builds all targets, instrumented.
pub(crate) fn build(root: &Path) -> anyhow::Result<Ran> {
    let mut command = cargo(root, &["build", "--package", "guichet-fuzz", "--bins"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper(root)?).env(WRAPPER_VARIABLE, "1");
    Ok(process::run(&mut command, BUILD_LIMIT))
}

/// A copy of this program: cargo may link the original anew while it runs.
fn wrapper(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("xtask");
    std::fs::create_dir_all(&folder)?;
    let copy = folder.join("rustc-with-coverage");
    std::fs::copy("/proc/self/exe", &copy).with_context(|| copy.display().to_string())?;
    Ok(copy)
}

/// Runs one built target.
pub(crate) fn run(root: &Path, name: &str, seconds: u64) -> anyhow::Result<Ran> {
    let fuzz = root.join("fuzz");
    let (corpus, artifacts, seeds) =
        (fuzz.join("corpus").join(name), fuzz.join("artifacts").join(name), fuzz.join("seeds").join(name));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(exe(root, name));
    command
        .current_dir(root)
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    let started = Instant::now();
    // One input may take its 10 seconds, and reading the corpus some more.
    let ran = process::run(&mut command, Duration::from_secs(seconds + 60));
    if !ran.succeeded() {
        println!("\nfuzz target {name} failed after {:.0} s: {}", started.elapsed().as_secs_f64(), ran.why());
        if let Some(input) = newest(&artifacts) {
            let shown = input.strip_prefix(root).unwrap_or(&input).display().to_string();
            println!("input:  {shown}\nreplay: cargo xtask fuzz {name} --replay {shown}");
        }
    }
    Ok(ran)
}

pub(crate) fn command(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let all = targets(root)?;
    let chosen = match &args.target {
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no fuzz target {name}; those declared are {}", all.join(", ")),
        None => all,
    };
    let built = build(root)?;
    if !built.succeeded() {
        bail!("the fuzz targets could not be built: {}", built.why());
    }
    if let (Some(input), [name]) = (&args.replay, chosen.as_slice()) {
        if !input.is_file() {
            bail!("there is no file {}", input.display());
        }
        let input = input.canonicalize()?;
        let status = Command::new(exe(root, name)).arg(input).current_dir(root).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut failed = Vec::new();
    for name in &chosen {
        println!("\n==> fuzz {name} for {} s", args.seconds);
        if !run(root, name, args.seconds)?.succeeded() {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        println!("\n{} fuzz targets ran for {} s each and found nothing", chosen.len(), args.seconds);
        return Ok(ExitCode::SUCCESS);
    }
    bail!("these targets failed: {}", failed.join(", "))
}

fn exe(root: &Path, name: &str) -> PathBuf {
    target(root).join("debug").join(format!("fuzz_{name}"))
}

/// The newest file of a folder.
fn newest(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    files.max_by_key(|f| f.metadata().and_then(|m| m.modified()).ok()).map(|f| f.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_scripts_and_questions_are_left_alone() {
        let covered = |line: &str| is_covered(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(covered("--crate-name guichet_proxy --edition=2024 --crate-type lib"));
        assert!(!covered("--crate-name build_script_build --crate-type bin"));
        assert!(!covered("- --crate-name ___ --print=file-names"));
        assert!(!covered("--crate-name macros --crate-type proc-macro"));
        assert!(!covered("-vV"));
    }

    #[test]
    fn the_targets_are_those_of_the_manifest_and_have_seeds() {
        let root = crate::root();
        let targets = targets(&root).expect("targets");
        assert!(targets.contains(&"config".to_owned()));
        for name in targets {
            let seeds = root.join("fuzz/seeds").join(&name);
            let any = std::fs::read_dir(&seeds).is_ok_and(|mut files| files.next().is_some());
            assert!(any, "{} is empty: a target starts from something", seeds.display());
        }
    }
}
