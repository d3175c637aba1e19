//! What is outstanding, in a file: written before anything is announced, so that the next start can withdraw it.

use std::io::Write as _;
use std::path::Path;

use guichet_core::bounds::{HAND_ON_JOURNAL_BYTES_MAX, HAND_ON_ROUTES_MAX};
use serde::{Deserialize, Serialize};

use super::route::Route;

/// A route that may stand at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outstanding {
    /// Name of the target.
    pub(super) target: String,
    /// The route.
    pub(super) route: Route,
}

/// Reads what was outstanding; nothing where there is no file.
///
/// # Errors
/// The file is there and cannot be used.
pub(super) fn read(path: &Path) -> Result<Vec<Outstanding>, String> {
    let told = |what: &dyn std::fmt::Display| format!("the journal {} cannot be read: {what}", path.display());
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(&error)),
    };
    if length > HAND_ON_JOURNAL_BYTES_MAX as u64 {
        return Err(told(&"it is larger than any that is written"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let mut all: Vec<Outstanding> = serde_json::from_str(&text).map_err(|error| told(&error))?;
    all.truncate(HAND_ON_ROUTES_MAX);
    Ok(all)
}

/// Replaces the file whole; it is on the disk when this returns.
///
/// # Errors
/// It could not be written; the file is as it was.
pub(super) fn write(path: &Path, all: &[Outstanding]) -> Result<(), String> {
    let attempt = || -> std::io::Result<()> {
        let beside = path.with_extension("new");
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(all)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    };
    attempt().map_err(|error| format!("the journal {} cannot be written: {error}", path.display()))
}
