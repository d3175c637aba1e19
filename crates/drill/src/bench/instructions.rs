//! Instructions a request of Guichet, counted by valgrind: the same figure however busy the machine is.

use super::case::Case;
use super::client::{self, Progress, Target};
use super::plain::{self, Ground};
use super::{h2load, tls};
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};

/// Requests of the two runs whose difference is taken, so that start and end cancel out.
const ASKED: [u64; 2] = [1_000, 16_000];
/// Connections; few, so that the load never waits long for the slow program.
const CONNECTIONS: usize = 8;
/// Longest that a run may take.
const RUN_MAX: Duration = Duration::from_secs(240);

/// Whether a case is about requests, so that they can be counted.
pub(crate) const fn counts(case: Case) -> bool {
    matches!(case, Case::H1Plain | Case::H1Tls | Case::H2One | Case::Refused)
}

/// The program under valgrind, which writes what it counted to `log` when the program ends.
pub(crate) fn under_valgrind(program: &Command, log: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    command.arg(format!("--log-file={}", log.display())).arg(program.get_program()).args(program.get_args());
    command
}

/// Instructions a request.
///
/// # Errors
/// When valgrind is missing, an answer is not the right one, or a run takes too long.
pub(crate) fn count(name: &str, case: Case, ground: &Ground) -> anyhow::Result<f64> {
    let [few, many] = ASKED;
    let (less, more) = (total(name, case, ground, few)?, total(name, case, ground, many)?);
    #[expect(clippy::cast_precision_loss, reason = "counts of a short run are far below 2^52")]
    let each = more.saturating_sub(less) as f64 / (many - few) as f64;
    Ok(each)
}

/// Instructions of a whole run that answers so many requests.
fn total(name: &str, case: Case, ground: &Ground, asked: u64) -> anyhow::Result<u64> {
    let front = plain::start(name, ground, false)?;
    let log = front.valgrind_log.clone().context("it was not started under valgrind")?;
    let target = match case {
        Case::H1Tls => front.served(Some(tls::client(&ground.tls, b"http/1.1")?)),
        Case::H2One => front.served(Some(tls::client(&ground.tls, b"h2")?)),
        Case::Refused => front.refused(),
        _ => front.served(None),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, ask(Rc::new(target), case, asked))?;
    front.stop();
    let text = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    refs(&text).with_context(|| format!("valgrind counted nothing: {text}"))
}

async fn ask(target: Rc<Target>, case: Case, asked: u64) -> anyhow::Result<()> {
    let progress = Progress::new(CONNECTIONS);
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (target, progress) = (Rc::clone(&target), Rc::clone(&progress));
        match case {
            Case::H2One => tasks.spawn_local(h2load::ask_on(target, connection, 1, progress)),
            _ => tasks.spawn_local(client::ask_on(target, connection, progress)),
        };
    }
    let until = Instant::now() + RUN_MAX;
    while progress.snapshot().iter().sum::<u64>() < asked {
        if Instant::now() > until {
            bail!("{asked} requests took longer than {RUN_MAX:?} under valgrind");
        }
        if let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(5), tasks.join_next()).await {
            ended.context("load")?.context("load")?;
        }
    }
    progress.stop();
    while let Some(ended) = tasks.join_next().await {
        ended.context("load")?.context("load")?;
    }
    Ok(())
}

/// The line `==7== I refs: 1,234`.
fn refs(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("refs:"))?;
    line.rsplit(':').next()?.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_valgrind_counted_is_read() {
        assert_eq!(refs("==7== Cachegrind\n==7== \n==7== I   refs:      1,234,567\n"), Some(1_234_567));
        assert_eq!(refs("==7== nothing"), None);
        let mut program = Command::new("guichet");
        program.args(["serve", "-c", "x"]);
        let wrapped = under_valgrind(&program, Path::new("/tmp/v.log"));
        assert_eq!(wrapped.get_args().last().unwrap(), "x");
        assert!(counts(Case::H1Plain) && !counts(Case::Handshake));
    }
}
