//! The command line of `guichet drill`.

use std::path::PathBuf;

/// Plays a real flood on loopback against one or several fronts and scores them.
#[derive(Clone, Debug, clap::Args)]
pub struct DrillArgs {
    /// The scenario (TOML), as drills/reenactment.toml.
    #[arg(required_unless_present = "schema")]
    pub scenario: Option<PathBuf>,
    /// Fronts to drill, in this order.
    #[arg(long, value_delimiter = ',', default_value = "guichet")]
    pub fronts: Vec<String>,
    /// Write the scores here, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report here: one HTML file that opens offline.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Draw the schedule from this seed instead of the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Keep logs, configurations and certificates in this directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// First port: the estate takes this plus 1 to 9, the front this plus 21 to 23.
    #[arg(long, default_value_t = BASE_PORT, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    pub base_port: u16,
    /// Only check the scenario.
    #[arg(long)]
    pub check: bool,
    /// Print the JSON schema of scenarios.
    #[arg(long)]
    pub schema: bool,
}

/// First port where none is given.
const BASE_PORT: u16 = 19_100;

impl DrillArgs {
    /// Drills these fronts in this scenario, with nothing written but what is printed.
    pub(crate) fn of(scenario: &std::path::Path, fronts: &[String]) -> Self {
        Self {
            scenario: Some(scenario.to_owned()),
            fronts: fronts.to_vec(),
            json: None,
            report: None,
            seed: None,
            keep: None,
            base_port: BASE_PORT,
            check: false,
            schema: false,
        }
    }
}
