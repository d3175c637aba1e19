//! The `guichet` command: the front door, its checks, its demo and its drills.

mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Idle connections are what hoarders make: jemalloc holds the least memory for them of what was measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The front door that stays open: a reverse proxy with admission control.
#[derive(Parser)]
#[command(name = "guichet", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the front door.
    Serve {
        /// Configuration file; `conf.d/*.toml` beside it is read too.
        #[arg(short, long, default_value = "/etc/guichet/guichet.toml")]
        config: PathBuf,
    },
    /// Check a configuration: exit 0 if it is good, 1 if not, naming file, line, cause and mend.
    Check {
        /// Configuration file; `conf.d/*.toml` beside it is read too.
        #[arg(short, long, default_value = "/etc/guichet/guichet.toml")]
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
    /// Start the reference estate on loopback and Guichet before it.
    Demo(demo::DemoArgs),
    /// Flood a front on loopback and score what real clients got.
    Drill(guichet_drill::DrillArgs),
    /// The reference postal bank.
    Estate(guichet_estate::Cli),
    /// Measure the data plane beside its peers (`cargo xtask bench`).
    #[command(hide = true)]
    Bench(guichet_drill::bench::BenchArgs),
    /// Install the peers that drills and bench compare with.
    #[command(hide = true)]
    Peers {
        /// `install`
        action: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { config } => guichet_proxy::serve::serve_file(&config),
        Command::Check { config, json } => return guichet_proxy::config::check_command(&config, json),
        Command::Schema { markdown } => {
            print!("{}", guichet_proxy::config::schema_text(markdown));
            Ok(())
        }
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Drill(arguments) => return guichet_drill::run(arguments),
        Command::Estate(cli) => guichet_estate::run(cli),
        Command::Bench(arguments) => guichet_drill::bench::bench(arguments),
        Command::Peers { action } if action == "install" => guichet_drill::fronts::install_peers(),
        Command::Peers { action } => {
            Err(anyhow::anyhow!("unknown action {action:?}: there is only `guichet peers install`"))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guichet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
