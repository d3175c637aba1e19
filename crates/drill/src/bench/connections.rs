//! Connections rather than requests: opened with a full handshake, refused over a cap, or held idle.

use super::client::{PATIENCE, Progress, Stream, Target, ask, connect, source};
use super::usage;
use anyhow::{Context, bail};
use guichet_core::bounds::BENCH_OPENING_MAX;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Time for a front to finish what it does after an answer, before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// A connection that wasn't closed by then is one that is held.
const HELD_AFTER: Duration = Duration::from_millis(300);
/// Connections that a source is tried with beyond its cap.
const FILL_TRIES: usize = 8;

/// Opens TLS connections one after the other, each with a full handshake that the front has finished before it ends.
///
/// # Errors
/// When a handshake fails.
pub(crate) async fn handshakes(target: Rc<Target>, lane: usize, progress: Rc<Progress>) -> anyhow::Result<()> {
    let config = target.tls.clone().context("handshakes need TLS")?;
    let mut number = lane;
    while !progress.stopped() {
        let once = async {
            let stream = connect(source(number * 64), target.to).await?;
            let mut stream = target.handshake(&config, stream).await?;
            // Said good-bye to, the front has to take our last message of the handshake first, and then hangs up.
            stream.shutdown().await?;
            // How it hangs up, with or without a good-bye of its own, is no matter here.
            let _ = stream.read(&mut [0; 256]).await;
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, once).await.context("no handshake in time")??;
        progress.count(lane);
        // Many sources in turn: ports of one would run out while the kernel remembers closed connections.
        number = (number + 16) % 512;
    }
    Ok(())
}

/// The source of a lane of refused connections.
fn refused_source(lane: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 41, 0, 1)) + u32::try_from(lane).unwrap_or(0))
}

/// Connections that are held, so that the next of each lane's source is over its cap.
///
/// The front may still count the look that was taken at it when it started, and refuse one of those to be held in its
/// place; so every lane goes on until it is refused, twice over.
///
/// # Errors
/// When one can't be opened, or a lane is never refused.
pub(crate) async fn hold(target: &Target, lanes: usize, cap: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(lanes * cap);
    for lane in 0..lanes {
        for _ in 0..cap {
            held.push(connect(refused_source(lane), target.to).await?);
        }
    }
    for _ in 0..2 {
        tokio::time::sleep(HELD_AFTER).await;
        for lane in 0..lanes {
            fill(target, lane, &mut held).await?;
        }
    }
    Ok(held)
}

/// Adds connections of a lane to those held until one is refused.
async fn fill(target: &Target, lane: usize, held: &mut Vec<TcpStream>) -> anyhow::Result<()> {
    for _ in 0..FILL_TRIES {
        let once = async {
            let mut stream = connect(refused_source(lane), target.to).await?;
            let open = tokio::time::timeout(HELD_AFTER, stream.read(&mut [0])).await;
            std::io::Result::Ok((stream, open))
        };
        match once.await {
            Ok((stream, Err(_elapsed))) => held.push(stream),
            Ok((_, Ok(Ok(0)))) => return Ok(()),
            Ok((_, Ok(Ok(_)))) => bail!("the front speaks first"),
            Ok((_, Ok(Err(error)))) | Err(error) if closed_on_us(&error) => return Ok(()),
            Ok((_, Ok(Err(error)))) | Err(error) => return Err(error).context("connection to be held"),
        }
    }
    bail!("the front refuses no connection of a source that has {} already", held.len())
}

/// Opens connections that have to be closed on us unanswered. `asks`: the front closes at the request only.
///
/// # Errors
/// When one is answered, or held open.
pub(crate) async fn refused(target: Rc<Target>, lane: usize, asks: bool, progress: Rc<Progress>) -> anyhow::Result<()> {
    let request = target.request();
    let mut buffer = [0; 64];
    while !progress.stopped() {
        let once = async {
            let mut stream = connect(refused_source(lane), target.to).await?;
            if asks {
                stream.write_all(&request).await?;
            }
            stream.read(&mut buffer).await
        };
        match tokio::time::timeout(PATIENCE, once).await.context("a connection over the cap was held open")? {
            Ok(0) => {}
            Ok(_) => bail!("a connection over the cap was answered"),
            Err(error) if closed_on_us(&error) => {}
            Err(error) => return Err(error).context("connection over the cap"),
        }
        progress.count(lane);
    }
    Ok(())
}

fn closed_on_us(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionReset | E::BrokenPipe | E::NotConnected | E::ConnectionAborted)
}

/// Resident bytes that each of `count` idle connections costs, after one request on each.
///
/// # Errors
/// When a connection can't be opened, or one did not live until the end: it is asked again then.
pub(crate) async fn idle_bytes(target: &Rc<Target>, pids: &[u32], count: usize) -> anyhow::Result<f64> {
    // What is allocated once, and not for each connection, is there before.
    let mut warm = open(target, 0, BENCH_OPENING_MAX).await?;
    tokio::time::sleep(SETTLE).await;
    let before = usage::resident_bytes(pids)?;
    let mut idle = open(target, BENCH_OPENING_MAX, count).await?;
    tokio::time::sleep(SETTLE).await;
    let after = usage::resident_bytes(pids)?;
    let request = target.request();
    let mut buffer = Vec::new();
    for stream in warm.iter_mut().chain(&mut idle) {
        let again = ask(stream, &request, &mut buffer, target.status);
        tokio::time::timeout(PATIENCE, again).await.context("an idle connection does not answer")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes and counts are far below 2^52")]
    let each = after.saturating_sub(before) as f64 / count.max(1) as f64;
    Ok(each)
}

async fn open(target: &Rc<Target>, first: usize, count: usize) -> anyhow::Result<Vec<Box<dyn Stream>>> {
    let mut opened = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    let mut next = first;
    while opened.len() < count {
        while next < first + count && opening.len() < BENCH_OPENING_MAX {
            let target = Rc::clone(target);
            opening.spawn_local(async move {
                let mut stream = target.open(source(next)).await?;
                ask(&mut stream, &target.request(), &mut Vec::new(), target.status).await?;
                anyhow::Ok(stream)
            });
            next += 1;
        }
        let stream = opening.join_next().await.context("nothing left to open")??;
        opened.push(stream.with_context(|| format!("idle connection {}", opened.len()))?);
    }
    Ok(opened)
}
