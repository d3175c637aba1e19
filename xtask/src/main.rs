//! Build tasks: `cargo xtask test|ci|tools|tidy|bench|drill|fuzz|docs`.
//!
//! Nothing here depends on the workspace's crates, so that a task starts at once and works while they do not compile.

mod fuzz;
mod packages;
mod process;
mod suite;
mod summary;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build tasks of Guichet")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The whole test suite, with what it needs installed.
    Test {
        /// Install nothing: only say what is missing.
        #[arg(long)]
        no_install: bool,
    },
    /// As `test`, the way CI runs it: what did not run is a failure.
    Ci,
    /// Only what the suite needs on this machine: installs it where it can, and says what is missing.
    Tools {
        /// Install nothing: only say what is missing.
        #[arg(long)]
        no_install: bool,
    },
    /// What ARCHITECTURE.md promises about the code.
    Tidy {
        /// Warnings fail too.
        #[arg(long)]
        strict: bool,
    },
    /// Benchmarks with the release build; arguments go to `guichet bench`.
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A drill with the release build; arguments go to `guichet drill`.
    Drill {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Coverage-guided fuzzing of the parsers.
    Fuzz(fuzz::Args),
    /// Draws docs/configuration.md from the configuration's schema.
    Docs,
}

fn main() -> ExitCode {
    // Cargo calls this program in place of rustc while fuzz targets are built.
    if std::env::var_os(fuzz::WRAPPER_VARIABLE).is_some() {
        return fuzz::wrap_rustc();
    }
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let root = root();
    match task {
        Task::Test { no_install } => suite::test(&root, !no_install, in_ci()),
        Task::Ci => suite::test(&root, true, true),
        Task::Tools { no_install } => Ok(tools::command(&root, !no_install)),
        Task::Tidy { strict } => tidy::command(&root, strict),
        Task::Bench { args } => guichet(&root, "bench", &args),
        Task::Drill { args } => guichet(&root, "drill", &args),
        Task::Fuzz(args) => fuzz::command(&root, &args),
        Task::Docs => docs(&root),
    }
}

/// The workspace's folder: the one that this was called in or below, else the one that it was built in.
fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let holds_xtask = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(holds_xtask).unwrap_or_else(|| built.parent().unwrap_or(built)).to_owned()
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty())
}

/// Cargo, in the workspace's folder.
fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args);
    command
}

/// Builds the release binary and runs a command of it on this terminal.
fn guichet(root: &Path, task: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    if !cargo(root, &["build", "--release", "--package", "guichet"]).status()?.success() {
        bail!("the release build failed");
    }
    let exe = target(root).join("release/guichet");
    let status = Command::new(&exe).arg(task).args(args).current_dir(root).status();
    let status = status.with_context(|| format!("cannot run {}", exe.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where cargo builds.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// The test that compares the page with the schema writes it where this variable is set.
fn docs(root: &Path) -> anyhow::Result<ExitCode> {
    let test = "config::tests::right::the_reference_lists_every_key_and_is_current";
    // The whole workspace, since a package alone has its dependencies built anew, with other features.
    let mut command = cargo(root, &["test", "--quiet", "--workspace", "--exclude", "guichet-fuzz", "--lib", test]);
    command.env("GUICHET_UPDATE_DOCS", "1");
    let ran = process::run(&mut command, Duration::from_secs(1200));
    if !ran.succeeded() || ran.counts.passed != 1 {
        bail!("docs/configuration.md could not be drawn: {}", ran.why());
    }
    println!("docs/configuration.md is current");
    Ok(ExitCode::SUCCESS)
}
