//! Configuration: raw (what the files say) -> checked (what makes sense).
//!
//! One file, plus `conf.d/*.toml` beside it. Loading goes through four steps, and every problem of a step is told, not
//! only the first:
//!
//! 1. `gather` reads the files within their bounds and parses them into one `tree` that remembers places;
//! 2. `shape` holds the tree against the schema drawn from the `raw` types: keys, kinds, bounds, choices;
//! 3. `checks` turns the raw values into [`Config`]: references, uniqueness, addresses, certificates;
//! 4. warnings are handed on with the configuration; one error refuses all of it.

mod checked;
mod checks;
mod contract;
mod diff;
mod findings;
mod gather;
mod problem;
mod raw;
mod schema;
mod shape;
mod sources;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;

use std::io::Write;
use std::path::Path;

use serde::Deserialize;

pub use checked::*;
pub use contract::*;
pub use diff::{Change, Effect};
pub use problem::{Problem, Report, Severity};
pub use schema::{reference_markdown, schema};
pub use sources::{InMemory, Machine, Surroundings};

use findings::Findings;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should look at all the same.
    pub warnings: Vec<Problem>,
}

/// Loads `path` and the `conf.d/*.toml` beside it.
///
/// # Errors
/// Everything that is wrong, with its places; warnings are among it.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    load_from(&Machine, path)
}

/// As [`load`], from a world of the caller's choice. Never panics, whatever the bytes.
///
/// # Errors
/// As [`load`].
pub fn load_from(world: &dyn Surroundings, path: &Path) -> Result<Loaded, Report> {
    let mut found = Findings::default();
    let config = read(world, path, &mut found);
    let refused = found.has_errors();
    let report = found.into_report();
    match config {
        Some(config) if !refused => Ok(Loaded { config, warnings: report.problems }),
        _ => Err(report),
    }
}

/// Runs the steps; `None` or an error found: no configuration.
fn read(world: &dyn Surroundings, path: &Path, found: &mut Findings) -> Option<Config> {
    let mut tree = gather::gather(world, path, found)?;
    found.know_places(tree::index(&tree));
    let start = sources::Place { file: 0, start: 0, end: 0 };
    shape::conform(&mut tree, tree::Places { key: start, value: start }, found);
    let raw = match raw::Config::deserialize(tree::into_toml(tree)) {
        Ok(raw) => raw,
        // The schema is drawn from the same types, so nothing should be left to find here; if there is, it is told.
        Err(error) => {
            if !found.has_errors() {
                let cause = problem::printable(error.message());
                let mend = "compare the file with the reference".to_owned();
                found.whole_file(Severity::Error, path.to_owned(), cause, mend);
            }
            return None;
        }
    };
    checks::check(&raw, world, path, found)
}

/// Checks a configuration for `guichet check`: writes what is wrong, or that nothing is, and gives the exit code.
///
/// 0: it can be used (warnings are printed); 1: it cannot. With `json` one JSON object is written. `colour` should be
/// true only where `out` is a terminal.
///
/// # Errors
/// Those of writing to `out`.
pub fn check(path: &Path, json: bool, colour: bool, out: &mut dyn Write) -> std::io::Result<u8> {
    let loaded = load(path);
    let (report, good) = match loaded {
        Ok(Loaded { config, warnings }) => (Report { problems: warnings, omitted: 0 }, Some(config)),
        Err(report) => (report, None),
    };
    if json {
        writeln!(out, "{:#}", report.to_json())?;
        return Ok(u8::from(good.is_none()));
    }
    write!(out, "{}", report.render(colour))?;
    let warnings = report.problems.len() - report.errors();
    match &good {
        Some(config) => writeln!(
            out,
            "{}: good: {}, {}, {}, {}; {}",
            path.display(),
            counted(config.listeners.len(), "listener"),
            counted(config.services.len(), "service"),
            counted(config.upstreams.len(), "upstream"),
            counted(config.partners.len(), "partner"),
            counted(warnings, "warning"),
        )?,
        None => {
            let errors = counted(report.errors(), "error");
            writeln!(out, "{}: refused: {errors}, {}", path.display(), counted(warnings, "warning"))?;
        }
    }
    Ok(u8::from(good.is_none()))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
