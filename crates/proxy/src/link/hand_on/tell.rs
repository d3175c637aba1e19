//! Tells a target: by a program with bounded time and output, or by a signed POST.

use std::process::Stdio;
use std::time::Duration;

use guichet_core::bounds::HAND_ON_ANSWER_BYTES_MAX;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::post;
use super::route::{Route, Then};
use crate::config::HandOnWay;

/// How long a target may take.
pub(super) const TELL_WITHIN: Duration = Duration::from_secs(10);

/// Why a target was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Untold {
    /// What happened.
    pub(super) why: String,
    /// Whether the target may have heard all the same.
    pub(super) maybe: bool,
}

/// Announces or withdraws a route.
pub(super) async fn tell(way: &HandOnWay, announce: bool, route: &Route, id: u32, for_s: u64) -> Result<(), Untold> {
    let document = || document(announce, route, id, for_s).to_string();
    let (argv, arguments, input) = match way {
        HandOnWay::Gobgp(argv) => (argv, route.gobgp(announce), None),
        HandOnWay::Exabgp(argv) => (argv, vec![route.exabgp(announce)], None),
        HandOnWay::Command(argv) => (argv, Vec::new(), Some(document())),
        HandOnWay::Webhook { url, secret } => {
            let posted = tokio::time::timeout(TELL_WITHIN, post::post(url, secret, document())).await;
            return posted.unwrap_or_else(|_| Err(late()));
        }
    };
    run(argv, &arguments, input, TELL_WITHIN).await
}

fn late() -> Untold {
    Untold { why: format!("no answer within {} s", TELL_WITHIN.as_secs()), maybe: true }
}

/// What programs and servers of the operator's are given. Field names are an interface.
fn document(announce: bool, route: &Route, id: u32, for_s: u64) -> Value {
    let (action, next_hop, bytes_per_s) = match route.then {
        Then::Blackhole { next_hop } => ("blackhole", Some(next_hop), None),
        Then::Discard => ("discard", None, None),
        Then::Limit { bytes_per_s } => ("limit", None, Some(bytes_per_s)),
    };
    json!({
        "event": if announce { "announce" } else { "withdraw" },
        "id": id,
        "action": action,
        "destination": route.to,
        "source": route.from,
        "protocol": route.protocol,
        "port": route.port,
        "next_hop": next_hop,
        "bytes_per_s": bytes_per_s,
        "for_s": for_s,
        "text": route.to_string(),
    })
}

/// Runs a program to its end, without a shell; it is killed with its children when the time is over.
async fn run(argv: &[String], arguments: &[String], input: Option<String>, within: Duration) -> Result<(), Untold> {
    let Some((program, first)) = argv.split_first() else {
        return Err(Untold { why: "there is no command".into(), maybe: false });
    };
    let mut command = Command::new(program);
    command.args(first).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).process_group(0);
    let started = command.spawn().map_err(|error| Untold { why: format!("{program}: {error}"), maybe: false })?;
    let group = started.id();
    match tokio::time::timeout(within, finish(started, input)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Untold { why: format!("{program}: {why}"), maybe: true }),
        Err(_) => {
            if let Some(group) = group.and_then(|id| i32::try_from(id).ok()) {
                // It may have ended just now: then there is nobody to kill.
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
            }
            Err(late())
        }
    }
}

async fn finish(mut child: tokio::process::Child, input: Option<String>) -> Result<(), String> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not read what it is given decides that by itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let most = HAND_ON_ANSWER_BYTES_MAX as u64;
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
        return Ok(());
    }
    Err(format!("{status}: {said}"))
}
