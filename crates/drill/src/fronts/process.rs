//! Starting a peer: its configuration checked by the peer itself, its output in a log, and a bounded wait until it listens.

use crate::front::{FrontContext, RunningFront};
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a front may take until it listens. Envoy takes about two seconds on a busy machine.
const START_WAIT: Duration = Duration::from_secs(30);
/// How often that is looked at.
const START_POLL: Duration = Duration::from_millis(50);
/// What is quoted of a log in an error.
const LOG_TAIL_BYTES: u64 = 2000;

/// Addresses of a front on the ports of its context.
pub(crate) fn addresses(context: &FrontContext<'_>) -> [SocketAddr; 3] {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    [at(context.ports.http), at(context.ports.https), at(context.ports.admin)]
}

/// Runs the peer's own check of its configuration.
///
/// # Errors
/// What the peer said, when it finds fault.
pub(crate) fn check(exe: &Path, args: &[&OsStr]) -> anyhow::Result<()> {
    let output = Command::new(exe)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} can't be run", exe.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{} finds fault with its configuration:\n{}", exe.display(), String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// Starts a command with its output in `log`, without input, and with all descriptors that the limit allows.
///
/// # Errors
/// When the log can't be made or the command not started.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    raise_fd_limit();
    let file = File::create(log).with_context(|| format!("log {}", log.display()))?;
    let copy = file.try_clone().context("log")?;
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    command.spawn().with_context(|| format!("{} can't be started", command.get_program().display()))
}

/// Waits until all of `listening` accept connections.
///
/// # Errors
/// When the process ends before, or it takes too long; the process is stopped then.
pub(crate) fn wait_listening(child: Child, listening: &[SocketAddr], log: &Path) -> anyhow::Result<RunningFront> {
    // From here on, leaving early stops the process.
    let mut child = Some(child);
    let until = Instant::now() + START_WAIT;
    let mut open = 0;
    while open < listening.len() {
        if let Some(process) = child.as_mut()
            && let Some(status) = process.try_wait()?
        {
            bail!("it ended at once ({status}): {}", tail(log));
        }
        if TcpStream::connect_timeout(&listening[open], START_POLL).is_ok() {
            open += 1;
        } else if Instant::now() >= until {
            drop(RunningFront::new(child.into_iter().collect()));
            bail!("it did not listen on {} within {START_WAIT:?}: {}", listening[open], tail(log));
        } else {
            std::thread::sleep(START_POLL);
        }
    }
    Ok(RunningFront::new(child.into_iter().collect()))
}

/// The end of a log, for errors.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(log {}: {error})", log.display()))
}

/// Raises this process's soft limit of descriptors to the hard one; children inherit it (Envoy doesn't raise its own).
pub(crate) fn raise_fd_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it isn't allowed, the old limit holds and the peer says so itself.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
