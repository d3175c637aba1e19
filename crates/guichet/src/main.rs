//! The `guichet` command: the front door, its checks, its demo and its drills.

mod contracts;
mod demo;
mod hand_on;
mod notice;
mod operator;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Idle connections are what hoarders make: jemalloc holds the least memory for them of what was measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The front door that stays open: a reverse proxy with admission control.
#[derive(Parser)]
#[command(name = "guichet", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the front door.
    Serve {
        /// Configuration file; `conf.d/*.toml` beside it is read too.
        #[arg(short, long, value_name = "FILE", default_value = "/etc/guichet/guichet.toml")]
        config: PathBuf,
    },
    /// Check a configuration: exit 0 if it is good, 1 if not, naming file, line, cause and mend.
    Check {
        /// Configuration file; `conf.d/*.toml` beside it is read too.
        #[arg(short, long, value_name = "FILE", default_value = "/etc/guichet/guichet.toml")]
        config: PathBuf,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of the configuration.
    Schema {
        /// Print the reference as Markdown instead.
        #[arg(long)]
        markdown: bool,
    },
    /// See and steer what is done about attackers.
    Mitigations {
        #[command(flatten)]
        node: operator::Node,
        #[command(subcommand)]
        action: operator::Mitigations,
    },
    /// See and say whom no mitigation touches.
    Allow {
        #[command(flatten)]
        node: operator::Node,
        #[command(subcommand)]
        action: operator::Allow,
    },
    /// Give out codes that let somebody in who is in doubt.
    Pass {
        #[command(flatten)]
        node: operator::Node,
        #[command(subcommand)]
        action: operator::Pass,
    },
    /// Say where the trouble is (the line, this host, a service, or elsewhere), and what is done about it.
    Status {
        #[command(flatten)]
        node: operator::Node,
    },
    /// See and order what others are asked to stop before it gets here.
    HandOn {
        #[command(flatten)]
        node: operator::Node,
        #[command(subcommand)]
        action: hand_on::HandOn,
    },
    /// See how services stand, and put one in a state: `service portal read-only --until 18:00 --because "..."`.
    Service {
        #[command(flatten)]
        node: operator::Node,
        #[command(flatten)]
        order: contracts::ServiceOrder,
    },
    /// Switch a costly feature off for a while, so that the rest of its service lives: `switch-off portal /search --for 2h`.
    SwitchOff {
        #[command(flatten)]
        node: operator::Node,
        #[command(flatten)]
        order: contracts::Switch,
    },
    /// Say what a reference code on a visitor's page means.
    Explain {
        #[command(flatten)]
        node: operator::Node,
        /// Such as G-108-7K3QX9M.
        code: String,
    },
    /// The status page: say what is wrong and what is known, draw it, verify it.
    Notice {
        #[command(flatten)]
        node: operator::Node,
        /// Configuration of a node that is not running: its journal is used directly.
        #[arg(short, long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        action: Box<notice::Action>,
    },
    /// Start the reference estate on loopback and Guichet before it.
    Demo(demo::DemoArgs),
    /// Flood a front on loopback and score what real clients got.
    Drill(guichet_drill::DrillArgs),
    /// The reference postal bank.
    Estate(guichet_estate::Cli),
    /// Measure the data plane beside its peers (`cargo xtask bench`).
    #[command(hide = true)]
    Bench(guichet_drill::bench::BenchArgs),
    /// Install the peers that drills and bench compare with, and say where each is.
    #[command(hide = true)]
    Peers {
        #[command(subcommand)]
        action: PeersAction,
    },
}

#[derive(Subcommand)]
enum PeersAction {
    /// Install them, as root on Debian; elsewhere say what to install.
    Install {
        /// nginx, haproxy, envoy; all where none is named.
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("guichet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Serve { config } => guichet_proxy::serve::serve_file(&config).map(done),
        Command::Check { config, json } => check(&config, json),
        Command::Schema { markdown: true } => write_out(&guichet_proxy::config::reference_markdown()),
        Command::Schema { markdown: false } => {
            write_out(&format!("{}\n", serde_json::to_string_pretty(&guichet_proxy::config::schema())?))
        }
        Command::Mitigations { node, action } => operator::mitigations(&node, &action),
        Command::Allow { node, action } => operator::allow(&node, &action),
        Command::Pass { node, action } => operator::pass(&node, &action),
        Command::Status { node } => hand_on::status(&node),
        Command::HandOn { node, action } => hand_on::hand_on(&node, &action),
        Command::Service { node, order } => contracts::service(&node, &order),
        Command::SwitchOff { node, order } => contracts::switch(&node, &order),
        Command::Explain { node, code } => operator::explain(&node, &code),
        Command::Notice { node, config, action } => notice::run(&node, config.as_deref(), *action),
        Command::Demo(arguments) => demo::run(&arguments).map(done),
        Command::Drill(arguments) => guichet_drill::run(&arguments, &fronts()),
        Command::Estate(cli) => guichet_estate::run(cli),
        Command::Bench(arguments) => bench(&arguments).map(done),
        Command::Peers { action: PeersAction::Install { names } } => {
            guichet_drill::fronts::install_peers(&names).map(done)
        }
    }
}

fn check(config: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let colour = out.is_terminal();
    Ok(ExitCode::from(guichet_proxy::config::check(config, json, colour, &mut out)?))
}

/// The data plane side by side, and then the time from flood to protection, which wants a scenario and all cores.
fn bench(arguments: &guichet_drill::bench::BenchArgs) -> anyhow::Result<()> {
    let drill = |scenario: &Path, names: &[String]| {
        guichet_drill::times_to_protect(scenario, names, &fronts(), arguments.guichet_exe.as_deref())
    };
    let wanted = !arguments.quick && arguments.only.is_empty();
    guichet_drill::bench::bench_with(arguments, wanted.then_some(&drill))
}

fn write_out(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn fronts() -> Vec<Box<dyn guichet_drill::front::Front>> {
    guichet_drill::fronts::NAMES.into_iter().filter_map(guichet_drill::fronts::by_name).collect()
}
