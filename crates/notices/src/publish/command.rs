//! A command of the operator's that takes the page somewhere, such as rsync in a script.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::bounds::SAID_BYTES_MAX;
use crate::edition::Edition;

/// How long it may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Runs the command with the path of a folder that holds the edition; the folder is gone afterwards.
///
/// # Errors
/// It cannot be run, does not end in time, or ends badly: with what it said last.
pub async fn publish(words: &[String], edition: &Edition) -> Result<(), String> {
    let [program, arguments @ ..] = words else { return Err("there is no command".to_owned()) };
    let folder = Folder::make(edition)?;
    let mut command = Command::new(program);
    command.args(arguments).arg(&folder.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let output = tokio::time::timeout(WITHIN, child.wait_with_output()).await;
    let output = output.map_err(|_| format!("it did not end within {} s", WITHIN.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = &output.stderr[output.stderr.len().saturating_sub(SAID_BYTES_MAX)..];
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(said).trim()))
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn make(edition: &Edition) -> Result<Self, String> {
        let name = format!("guichet-notices-{}-{}", std::process::id(), edition.drawn_at.as_nanosecond());
        let folder = Self(std::env::temp_dir().join(name));
        let made = std::fs::create_dir(&folder.0).and_then(|()| super::folder::write(&folder.0, edition));
        made.map_err(|error| format!("{}: {error}", folder.0.display()))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
