//! The reference postal bank as a program of its own.

use clap::Parser as _;

fn main() -> anyhow::Result<std::process::ExitCode> {
    guichet_estate::cli::run(guichet_estate::Cli::parse())
}
