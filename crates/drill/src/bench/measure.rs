//! One measurement: load for a while, CPU time of the proxy before and after, divided by what was done between.

use super::case::Case;
use super::client::{self, Progress, Target};
use super::connections;
use super::plain::{CAP, Ground, LANES, PlainFront};
use super::{Effort, h2load, tls, usage};
use anyhow::{Context, bail};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};

/// Kept connections under load.
const CONNECTIONS: usize = 64;
/// Connections with ten streams each: about as many requests at once as with one stream each.
const CONNECTIONS_OF_TEN: usize = 8;
/// Handshakes under way at once.
const HANDSHAKES: usize = 16;

/// CPU microseconds a unit, or bytes a connection.
///
/// # Errors
/// When anything that the load saw was not right.
pub(crate) fn measure(case: Case, front: &PlainFront, ground: &Ground, effort: Effort) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let target = Rc::new(target(case, front, ground)?);
        match case {
            Case::IdlePlain | Case::IdleTls => {
                connections::idle_bytes(&target, &front.pids, effort.idle_connections).await
            }
            Case::RefusedConnection => {
                // Held until the measurement is over. Nothing fills a front that closes at each request.
                let _held = match front.closing() {
                    (_, true) => Vec::new(),
                    (_, false) => connections::hold(&target, LANES, CAP).await?,
                };
                under_load(case, target, front, effort).await
            }
            Case::H1Plain | Case::H1Tls | Case::H2One | Case::H2Ten | Case::Handshake | Case::Refused => {
                under_load(case, target, front, effort).await
            }
        }
    })
}

fn target(case: Case, front: &PlainFront, ground: &Ground) -> anyhow::Result<Target> {
    Ok(match case {
        Case::H1Plain | Case::IdlePlain => front.served(None),
        Case::H1Tls | Case::Handshake | Case::IdleTls => front.served(Some(tls::client(&ground.tls, b"http/1.1")?)),
        Case::H2One | Case::H2Ten => front.served(Some(tls::client(&ground.tls, b"h2")?)),
        Case::Refused => front.refused(),
        Case::RefusedConnection => front.closing().0,
    })
}

async fn under_load(case: Case, target: Rc<Target>, front: &PlainFront, effort: Effort) -> anyhow::Result<f64> {
    let connections = match case {
        Case::H1Plain | Case::H1Tls | Case::H2One | Case::Refused => CONNECTIONS,
        Case::H2Ten => CONNECTIONS_OF_TEN,
        Case::Handshake => HANDSHAKES,
        Case::RefusedConnection => LANES,
        Case::IdlePlain | Case::IdleTls => bail!("idle connections are no load"),
    };
    let progress = Progress::new(connections);
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let (target, progress) = (Rc::clone(&target), Rc::clone(&progress));
        match case {
            Case::H2One => tasks.spawn_local(h2load::ask_on(target, connection, 1, progress)),
            Case::H2Ten => tasks.spawn_local(h2load::ask_on(target, connection, 10, progress)),
            Case::Handshake => tasks.spawn_local(connections::handshakes(target, connection, progress)),
            Case::RefusedConnection => {
                tasks.spawn_local(connections::refused(target, connection, front.closing().1, progress))
            }
            Case::H1Plain | Case::H1Tls | Case::Refused | Case::IdlePlain | Case::IdleTls => {
                tasks.spawn_local(client::ask_on(target, connection, progress))
            }
        };
    }
    wait(&mut tasks, effort.warm_up).await?;
    let (before, done_before) = (usage::cpu_time(&front.pids)?, progress.snapshot());
    wait(&mut tasks, effort.window).await?;
    let since = || -> Vec<u64> { progress.snapshot().iter().zip(&done_before).map(|(now, then)| now - then).collect() };
    // On a machine that is busy with other things, a short window may be too short for some; a stall lasts.
    let until = Instant::now() + client::PATIENCE;
    while since().contains(&0) && Instant::now() < until {
        wait(&mut tasks, effort.warm_up).await?;
    }
    let (after, done) = (usage::cpu_time(&front.pids)?, since());
    progress.stop();
    if let Some(stalled) = done.iter().position(|done| *done == 0) {
        bail!("connection {stalled} of {connections} stalled");
    }
    let total: u64 = done.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
    let each = after.saturating_sub(before).as_secs_f64() * 1e6 / total as f64;
    Ok(each)
}

/// Lets the load go on for a while; ends early with the first failure of any of it.
async fn wait(tasks: &mut JoinSet<anyhow::Result<()>>, time: Duration) -> anyhow::Result<()> {
    match tokio::time::timeout(time, tasks.join_next()).await {
        Err(_elapsed) => Ok(()),
        Ok(None) => bail!("there is no load"),
        Ok(Some(ended)) => {
            ended.context("load")?.context("load")?;
            bail!("a connection of the load ended before its time")
        }
    }
}
