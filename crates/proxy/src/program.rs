//! Runs a program of the operator's, without a shell, for a bounded time and with bounded output.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Why a program did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened, in one line.
    pub(crate) why: String,
    /// Whether it began, and so may have done it all the same.
    pub(crate) begun: bool,
}

/// Runs a program to its end; what it wrote, up to `bytes_most`. It is killed with its children when the time is over.
///
/// # Errors
/// It did not start, did not end in time, or did not succeed.
pub(crate) async fn run(
    argv: &[String],
    arguments: &[String],
    input: Option<String>,
    within: Duration,
    bytes_most: usize,
) -> Result<Vec<u8>, Failure> {
    let Some((program, first)) = argv.split_first() else {
        return Err(Failure { why: "there is no command".into(), begun: false });
    };
    let mut command = Command::new(program);
    command.args(first).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).process_group(0);
    let started = command.spawn().map_err(|error| Failure { why: format!("{program}: {error}"), begun: false })?;
    let group = started.id();
    match tokio::time::timeout(within, finish(started, input, bytes_most as u64)).await {
        Ok(Ok(out)) => Ok(out),
        Ok(Err(why)) => Err(Failure { why: format!("{program}: {why}"), begun: true }),
        Err(_) => {
            if let Some(group) = group.and_then(|id| i32::try_from(id).ok()) {
                // It may have ended just now: then there is nobody to kill.
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
            }
            Err(Failure { why: format!("no answer within {} s", within.as_secs()), begun: true })
        }
    }
}

async fn finish(mut child: Child, input: Option<String>, most: u64) -> Result<Vec<u8>, String> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not read what it is given decides that by itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async {
        if let Some(stdout) = stdout {
            let _ = stdout.take(most).read_to_end(&mut out).await;
        }
    };
    let read_err = async {
        if let Some(stderr) = stderr {
            let _ = stderr.take(most).read_to_end(&mut err).await;
        }
    };
    let ((), (), ()) = tokio::join!(write, read_out, read_err);
    let status = child.wait().await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(if err.is_empty() { &out } else { &err });
    let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    if status.success() && !said.starts_with("error") {
        return Ok(out);
    }
    Err(format!("{status}: {said}"))
}
