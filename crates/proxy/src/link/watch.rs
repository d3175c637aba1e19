//! The thread: looks once a second, judges, says what changed, and keeps the routes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use guichet_core::Pressure;
use guichet_core::link::{Judge, Sample, ServiceSample};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::hand_on::{self, Ordered};
use super::read::Reader;
use super::view::LinkView;
use super::{Link, outside};
use crate::admin::AdminSource;
use crate::clock;
use crate::record::metrics::Registry;
use crate::setup::Setup;

/// How often the kernel's figures are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long routes may take to be withdrawn at the end.
const END_WITHIN: Duration = Duration::from_secs(15);

/// What the thread starts from.
struct Start {
    link: Arc<Link>,
    setups: watch::Receiver<Arc<Setup>>,
    registry: Arc<Registry>,
    source: Arc<dyn AdminSource>,
}

/// The running thread.
pub(crate) struct LinkThread {
    stop: watch::Sender<bool>,
    done: std::sync::mpsc::Receiver<()>,
}

impl LinkThread {
    /// Starts; what the journal says is outstanding is withdrawn first.
    ///
    /// # Errors
    /// An address of `[health]` cannot be bound, or the thread not started.
    pub(crate) fn start(
        link: Arc<Link>,
        setups: watch::Receiver<Arc<Setup>>,
        registry: Arc<Registry>,
        source: Arc<dyn AdminSource>,
    ) -> anyhow::Result<Self> {
        let start = Start { link, setups, registry, source };
        let health = start.setups.borrow().config.health.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outside = outside::Outside::bind(&health)?;
        let (stop, stopped) = watch::channel(false);
        let (finished, done) = std::sync::mpsc::channel();
        let orders = start.link.hand_on.open();
        std::thread::Builder::new().name("guichet-link".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let outside = outside.answer(start.link.clone(), start.source.clone());
            local.spawn_local(outside);
            local.block_on(&runtime, run(&start, orders, stopped));
            // Nobody listening for the end is no error.
            let _ = finished.send(());
        })?;
        Ok(Self { stop, done })
    }

    /// Asks for the end: routes are withdrawn from now on.
    pub(crate) fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the end of what [`Self::begin_stop`] began; whether it came in time.
    pub(crate) fn stop(self) -> bool {
        self.begin_stop();
        self.done.recv_timeout(END_WITHIN).is_ok()
    }
}

async fn run(start: &Start, orders: Option<mpsc::Receiver<Ordered>>, stopped: watch::Receiver<bool>) {
    let keeper = async {
        match orders {
            Some(orders) => hand_on::keep(&start.link, start.setups.clone(), orders, stopped.clone(), END_WITHIN).await,
            // The thread was started twice, which nobody does; without orders there is nothing to keep.
            None => drop(stopped.clone().wait_for(|stop| *stop).await),
        }
    };
    tokio::select! {
        () = keeper => {}
        () = look(start) => {}
    }
}

/// Looks for ever.
async fn look(start: &Start) {
    let mut judge = Judge::default();
    let mut since_unix_s = clock::unix_s();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let setup = start.setups.borrow().clone();
        let config = &setup.config.link;
        judge.set_limits(config.limits.clone());
        let figures = Reader::new(&config.procfs).read(&config.interfaces);
        let sample = Sample { at: clock::now(), services: services(&setup, &start.registry), ..figures.sample };
        note_missing(&start.link, figures.missing);
        let before = judge.verdict().since;
        let changed = judge.take(sample);
        let verdict = judge.verdict();
        if verdict.since != before {
            since_unix_s = clock::unix_s();
        }
        if changed {
            start.link.changes.fetch_add(1, Relaxed);
            eprintln!("guichet: link: {verdict}");
        }
        start.link.view.store(Arc::new(LinkView::new(verdict, since_unix_s)));
    }
}

/// Remembers what cannot be read, and says what is new of it.
fn note_missing(link: &Link, missing: Vec<String>) {
    let mut known = link.missing.lock();
    for new in missing.iter().filter(|what| !known.contains(what)) {
        eprintln!("guichet: warning: the link verdict does not see all: {new}");
    }
    *known = missing;
}

fn services(setup: &Setup, registry: &Registry) -> Vec<ServiceSample> {
    let posture = setup.admission.posture.load();
    let now = clock::now();
    let all = setup.config.services.iter().zip(&posture.services).enumerate();
    all.map(|(position, (service, rules))| {
        let (in_flight, queued) = setup.admission.levels(position);
        let pool = &setup.pools[service.upstream];
        ServiceSample {
            name: service.name.clone(),
            in_flight: u64::from(in_flight),
            limit: u64::from(rules.limit),
            queued: queued as u64,
            pressure: match rules.pressure {
                Pressure::Calm => 0.0,
                Pressure::Elevated => 0.5,
                Pressure::Pressed => 1.0,
            },
            servers: pool.upstream().servers.len() as u64,
            servers_well: pool.healthy_servers(now) as u64,
            requests: setup.service_slots.get(position).map_or(0, |slot| registry.requests_of(*slot)),
        }
    })
    .collect()
}
