//! The loop that makes the filter what was decided: differences are sent, and every so often what it says of itself is
//! held against them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::handover::HandedOver;
use ipnet::IpNet;
use tokio::sync::watch;

use super::{Entry, Filter, Kernel, Nftables, network_of};
use crate::clock;
use crate::config::Config;

/// How quickly things are done.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// The least time between two changes: a flood makes many at once.
    pub(super) change: Duration,
    /// How often the filter is asked what it drops.
    pub(super) look: Duration,
    /// A filter that failed is tried again after this long.
    pub(super) retry: Duration,
}

const PACE: Pace =
    Pace { change: Duration::from_millis(200), look: Duration::from_secs(30), retry: Duration::from_secs(5) };
/// How long the end may take.
const END_WITHIN: Duration = Duration::from_secs(6);

/// The thread that keeps the filter.
pub(crate) struct KernelThread {
    stop: watch::Sender<bool>,
    done: std::sync::mpsc::Receiver<()>,
}

impl KernelThread {
    /// Starts it, where the configuration has a filter that is more than told.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(config: &Config, kernel: &Arc<Kernel>) -> anyhow::Result<Option<Self>> {
        let Some(filter) = config.kernel_filter.as_ref().filter(|filter| !filter.dry_run) else { return Ok(None) };
        let ports = config.listeners.iter().map(|listener| listener.address.port()).collect();
        let mut filter = Nftables::new(filter.command.clone(), filter.table.clone(), ports);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let (finished, done) = std::sync::mpsc::channel();
        let kernel = kernel.clone();
        std::thread::Builder::new().name("guichet-kernel".into()).spawn(move || {
            runtime.block_on(keep(&mut filter, &kernel, stopped, PACE));
            // Nobody listening for the end is no error.
            let _ = finished.send(());
        })?;
        Ok(Some(Self { stop, done }))
    }

    /// Ends it: nothing is dropped any more. Whether it came to its end in time.
    pub(crate) fn stop(self) -> bool {
        self.stop.send_replace(true);
        self.done.recv_timeout(END_WITHIN).is_ok()
    }
}

/// What the filter drops, as far as we know, and until when it was told to.
type Enforced = HashMap<IpNet, Moment>;

/// Keeps the filter as decided until it is told to stop; then it is empty.
pub(super) async fn keep(filter: &mut impl Filter, kernel: &Kernel, mut stopped: watch::Receiver<bool>, pace: Pace) {
    let mut wanted = kernel.held.subscribe();
    let work = async {
        loop {
            let outcome = enforce(filter, kernel, &mut wanted, pace).await;
            kernel.note_trouble(outcome.err());
            tokio::time::sleep(pace.retry).await;
        }
    };
    tokio::select! {
        () = work => {}
        // An end of the sender is an end too.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    if let Err(trouble) = filter.close().await {
        eprintln!("guichet: warning: kernel filter: it was not emptied: {trouble}; its entries end by themselves");
    }
}

/// Makes it ready, and follows what is decided until something fails.
async fn enforce(
    filter: &mut impl Filter,
    kernel: &Kernel,
    wanted: &mut watch::Receiver<Arc<Vec<HandedOver>>>,
    pace: Pace,
) -> Result<(), String> {
    filter.open().await?;
    kernel.note_trouble(None);
    let mut enforced = Enforced::new();
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + pace.look, pace.look);
    wanted.mark_changed();
    loop {
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return Ok(()) },
            _ = looks.tick() => {
                let listed = filter.list().await?;
                // Whoever took an entry out or put one in by hand has not told the brain: what it decided holds.
                let now = clock::now();
                let unknown: Vec<IpNet> = listed.iter().filter(|one| !enforced.contains_key(*one)).copied().collect();
                filter.change(&unknown, &[]).await?;
                enforced.retain(|network, until| *until > now && listed.contains(network));
            }
        }
        let held = wanted.borrow_and_update().clone();
        let (lifted, added) = difference(&mut enforced, &held, clock::now());
        filter.change(&lifted, &added).await?;
        tokio::time::sleep(pace.change).await;
    }
}

/// What is to be told to the filter, so that it drops what is `held`; `enforced` becomes that.
fn difference(enforced: &mut Enforced, held: &[HandedOver], now: Moment) -> (Vec<IpNet>, Vec<Entry>) {
    // What is over ends in the filter by itself.
    enforced.retain(|_, until| *until > now);
    let wanted: HashMap<IpNet, Moment> =
        held.iter().filter(|held| held.until > now).map(|held| (network_of(held.source), held.until)).collect();
    let lifted = enforced.iter().filter(|(network, until)| wanted.get(*network) != Some(*until));
    let lifted: Vec<IpNet> = lifted.map(|(network, _)| *network).collect();
    let added = wanted.iter().filter(|(network, until)| enforced.get(*network) != Some(*until));
    let added = added.map(|(network, until)| (*network, until.since(now))).collect();
    *enforced = wanted;
    (lifted, added)
}
