//! Serve: the node as a process. Starts the workers and the brain, reloads, drains, ends.

mod brain;
mod handing;
mod notices;
mod reload;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use guichet_core::Pressure;
use guichet_core::bounds::WORKERS_MAX;
use guichet_notices::Notices;
use tokio::sync::{mpsc, watch};

use crate::admin::AdminServer;
use crate::admit::Sources;
use crate::config::{self, Config, Protocol};
use crate::contract::{self, Contracts};
use crate::kernel::KernelThread;
use crate::link::{Link, LinkThread};
use crate::listen;
use crate::listen::caps::ConnectionCaps;
use crate::listen::tls::CertificateStore;
use crate::record::access_log::{AccessLog, LogWriter};
use crate::record::metrics::Registry;
use crate::record::trace::{SpanExporter, SpanSink};
use crate::record::{Recorder, RequestIds};
use crate::setup::{Setup, known_after};
use crate::signs::{Crawler, Dns, Signs, look_up};
use crate::worker::{self, Opened, Tally, WorkerStart};
use status::NodeStatus;

/// Reports of the workers that may wait for the brain; more are dropped.
const REPORTS_WAITING_MAX: usize = 4 * WORKERS_MAX;
/// How long the log writer and the exporter have to write what is queued at the end.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Sums since start, for the demo's live line.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Requests that ended.
    pub requests: u64,
    /// Answered by a service.
    pub served: u64,
    /// Refused for the client's fault or for load.
    pub refused: u64,
    /// Failed for the service's fault or ours.
    pub failed: u64,
    /// Open connections.
    pub connections: u64,
    /// Services under pressure now.
    pub pressed: Vec<String>,
}

/// A running node.
pub struct Node {
    file: PathBuf,
    setups: watch::Sender<Arc<Setup>>,
    shutdown: watch::Sender<bool>,
    workers: Vec<JoinHandle<std::io::Result<()>>>,
    tallies: Vec<Arc<Tally>>,
    registry: Arc<Registry>,
    sources: Arc<Sources>,
    seed: [u8; 32],
    certificates: Option<Arc<CertificateStore>>,
    status: Arc<NodeStatus>,
    admin: AdminServer,
    link: LinkThread,
    kernel: Option<KernelThread>,
    log: LogWriter,
    spans: Option<SpanExporter>,
    notices: Option<Arc<Notices>>,
}

/// Runs `guichet serve` on a configuration file, to its end.
///
/// # Errors
/// The configuration or the machine does not allow a start; the error names the place and the mend.
pub fn serve_file(path: &Path) -> anyhow::Result<()> {
    let node = Node::start_file(path)?;
    node.say_open();
    node.run()
}

impl Node {
    /// Loads a configuration and starts serving. Nothing is bound before all of it is found good.
    ///
    /// # Errors
    /// See [`serve_file`].
    pub fn start_file(path: &Path) -> anyhow::Result<Self> {
        let loaded = match config::load(path) {
            Ok(loaded) => loaded,
            Err(report) => bail!("the configuration cannot be used\n{}", report.render(false)),
        };
        for warning in &loaded.warnings {
            eprintln!("guichet: warning: {warning}");
        }
        Self::start(path, loaded.config)
    }

    fn start(path: &Path, config: Config) -> anyhow::Result<Self> {
        let seed = seed(&config)?;
        let count = config.node.workers.clamp(1, WORKERS_MAX);
        let registry = Registry::new(env!("CARGO_PKG_VERSION"), count);
        let (log, writer) = AccessLog::open(&config.log).context("open the access log")?;
        registry.set_log(log.counters());
        let (spans, exporter) = traces(&config, &registry)?;
        let certificates = certificates(&config)?;
        if let Some(store) = &certificates {
            registry.set_certificates(store.expiries());
        }
        let keyed = u64::from_le_bytes([seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7]]);
        let sources = Arc::new(Sources::new(keyed, known_after(&config)));
        let (signs, inboxes) = Signs::new(keyed);
        let signs = Arc::new(signs);
        registry.set_signs(signs.clone());
        let link = Link::shown_by(&registry);
        let contracts = Arc::new(Contracts::new(&config.cache, config.node.orders_file.clone()));
        registry.set_contracts(contracts.clone());
        let setup = Arc::new(Setup::new(config, &seed, sources.clone(), signs.clone(), contracts, &registry, None)?);
        raise_file_limit(setup.config.node.connections_max);
        crate::pages::warm();

        let (setups, setups_seen) = watch::channel(setup.clone());
        let (shutdown, shut_down) = watch::channel(false);
        let notices = notices::start(&setup.config, setups_seen.clone(), registry.clone())?;
        let counters = log.counters();
        let status =
            NodeStatus::starting(&registry, setups_seen.clone(), count, counters, notices.clone(), link.clone());
        registry.set_reload(true, reload::unix_s());
        let admin = AdminServer::start(setup.config.admin.listen, status.clone())
            .with_context(|| format!("open the admin listener on {}", setup.config.admin.listen))?;

        let (reports, reported) = mpsc::channel(REPORTS_WAITING_MAX);
        let inbox = brain::Inbox { reports: reported, orders: inboxes.orders, setups: setups_seen.clone() };
        start_brain(inbox, inboxes.asked, count, registry.clone(), setup.clone())?;
        let caps = ConnectionCaps::new(setup.config.node.connections_max);
        let mut bound = bind_all(&setup.config, certificates.as_deref(), count)?;
        let mut workers = Vec::new();
        let mut tallies = Vec::new();
        for index in (0..count).rev() {
            let Some(metrics) = registry.worker(index) else { bail!("the counters of worker {index} are taken") };
            let ids = RequestIds::new(getrandom::u64()?, index);
            let tally = Arc::new(Tally::default());
            tallies.push(tally.clone());
            let start = WorkerStart {
                index,
                seed: getrandom::u64()?,
                setups: setups_seen.clone(),
                shutdown: shut_down.clone(),
                reports: reports.clone(),
                registry: registry.clone(),
                recorder: Recorder::new(metrics, log.clone(), spans.clone(), ids, setup.config.trace.sample),
                tally,
                caps: caps.clone(),
                sockets: bound.pop().unwrap_or_default(),
            };
            let thread = std::thread::Builder::new().name(format!("guichet-{index}"));
            workers.push(thread.spawn(move || worker::run(start)).context("start a worker")?);
        }
        status.open.store(true, Ordering::Relaxed);
        let link = LinkThread::start(link, setups.subscribe(), registry.clone(), status.clone())?;
        let kernel = KernelThread::start(&setup.config, &signs.kernel)?;
        let (file, log, spans) = (path.to_owned(), writer, exporter);
        Ok(Self {
            file,
            setups,
            shutdown,
            workers,
            tallies,
            registry,
            sources,
            seed,
            certificates,
            status,
            admin,
            link,
            kernel,
            log,
            spans,
            notices,
        })
    }

    /// Says where it is open, for who started it by hand and for the journal.
    fn say_open(&self) {
        let setup = self.setups.borrow();
        for listener in &setup.config.listeners {
            eprintln!("guichet: open on {} ({})", listener.address, listener.name);
        }
        if let Some((notices, address)) = self.notices.as_ref().and_then(|n| Some((n, n.local_addr()?))) {
            eprintln!("guichet: status page on http://{address}/, signed with {}", notices.public_key());
        }
        eprintln!("guichet: metrics, health and status on http://{}/", setup.config.admin.listen);
    }

    /// Runs until TERM or INT.
    ///
    /// # Errors
    /// Where signals cannot be waited for, or a worker failed.
    pub fn run(self) -> anyhow::Result<()> {
        self.run_with(Duration::from_secs(3600), |_| {})
    }

    /// Runs until TERM or INT, and tells what happened every `interval`.
    ///
    /// # Errors
    /// See [`Node::run`].
    pub fn run_with(mut self, interval: Duration, tell: impl FnMut(&Totals)) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let watched = runtime.block_on(tokio::task::LocalSet::new().run_until(self.watch(interval, tell)));
        self.stop().and(watched)
    }

    /// Sums since start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for tally in &self.tallies {
            totals.requests += tally.requests.load(Ordering::Relaxed);
            totals.served += tally.served.load(Ordering::Relaxed);
            totals.refused += tally.refused.load(Ordering::Relaxed);
            totals.failed += tally.failed.load(Ordering::Relaxed);
        }
        totals.connections = self.registry.connections_open().iter().map(|(_, open)| open).sum();
        let setup = self.setups.borrow();
        let posture = setup.admission.posture.load();
        let pressed = setup.config.services.iter().zip(&posture.services);
        totals.pressed =
            pressed.filter(|(_, r)| r.pressure == Pressure::Pressed).map(|(s, _)| s.name.clone()).collect();
        totals
    }

    /// Lets requests under way finish, and ends everything.
    fn stop(self) -> anyhow::Result<()> {
        self.status.draining.store(true, Ordering::Relaxed);
        self.link.begin_stop();
        self.shutdown.send_replace(true);
        let mut outcome = Ok(());
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => outcome = Err(anyhow::Error::new(error).context("a worker failed")),
                Err(_) => outcome = Err(anyhow::anyhow!("a worker panicked")),
            }
        }
        if !self.link.stop() {
            outcome = outcome.and(Err(anyhow::anyhow!(
                "not everything that was handed on could be withdrawn; the next start tries again"
            )));
        }
        if !self.kernel.is_none_or(KernelThread::stop) {
            eprintln!("guichet: warning: kernel filter: it was not emptied in time; its entries end by themselves");
        }
        self.admin.stop(FLUSH_TIME);
        if let Some(spans) = self.spans {
            spans.stop(FLUSH_TIME);
        }
        self.log.stop(FLUSH_TIME);
        outcome
    }
}

fn seed(config: &Config) -> anyhow::Result<[u8; 32]> {
    if let Some(secret) = &config.node.seed {
        return Ok(secret.0);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("draw a random seed")?;
    Ok(seed)
}

fn traces(config: &Config, registry: &Registry) -> anyhow::Result<(Option<SpanSink>, Option<SpanExporter>)> {
    let Some(endpoint) = &config.trace.otlp_endpoint else { return Ok((None, None)) };
    let (sink, exporter) =
        SpanExporter::start(endpoint, env!("CARGO_PKG_VERSION")).context("trace.otlp_endpoint cannot be used")?;
    registry.set_trace(sink.counters());
    Ok((Some(sink), Some(exporter)))
}

fn certificates(config: &Config) -> anyhow::Result<Option<Arc<CertificateStore>>> {
    if config.listeners.iter().all(|listener| listener.protocol == Protocol::Http) {
        return Ok(None);
    }
    Ok(Some(CertificateStore::load(&config.certificates).context("load the certificates")?))
}

fn start_brain(
    inbox: brain::Inbox,
    asked: mpsc::Receiver<(std::net::IpAddr, Crawler)>,
    workers: usize,
    registry: Arc<Registry>,
    first: Arc<Setup>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // It ends when the last worker drops its sender; nothing waits for it.
    std::thread::Builder::new().name("guichet-brain".into()).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.spawn_local(look_up_crawlers(asked, first.clone()));
        local.spawn_local(contract::watch(inbox.setups.clone(), first.clone()));
        local.spawn_local(reload::check_health(inbox.setups.clone(), first));
        local.block_on(&runtime, brain::run(inbox, workers, registry));
    })?;
    Ok(())
}

/// Looks up those who claim to be crawlers, for as long as the node runs.
async fn look_up_crawlers(asked: mpsc::Receiver<(std::net::IpAddr, Crawler)>, setup: Arc<Setup>) {
    let dns = match setup.config.mitigations.dns {
        Some(server) => Dns::at(server),
        None => match Dns::of_system() {
            Ok(dns) => dns,
            Err(error) => {
                eprintln!("guichet: warning: no crawler can be verified: the system's DNS configuration: {error}");
                return;
            }
        },
    };
    look_up(&setup.signs.crawlers, asked, &dns).await;
}

/// Binds every listener once for each worker: all or nothing, before any worker starts.
fn bind_all(
    config: &Config,
    certificates: Option<&CertificateStore>,
    workers: usize,
) -> anyhow::Result<Vec<Vec<Opened>>> {
    let mut bound: Vec<Vec<Opened>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in &config.listeners {
        let tls = match (listener.protocol, certificates) {
            (Protocol::Https, Some(store)) => Some(
                store
                    .listener(listener)
                    .with_context(|| format!("prepare TLS for the listener {:?}", listener.name))?,
            ),
            (Protocol::Https, None) => {
                bail!("the listener {:?} speaks https but there is no certificate", listener.name)
            }
            (Protocol::Http, _) => None,
        };
        for opened in &mut bound {
            let socket = listen::bind(listener)
                .with_context(|| format!("open the listener {:?} on {}", listener.name, listener.address))?;
            opened.push(Opened { listener: listener.clone(), socket, tls: tls.clone() });
        }
    }
    Ok(bound)
}

/// Raises the bound on open files: each connection may need two. Where the machine gives less, accepting pauses at it.
fn raise_file_limit(connections_max: usize) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = (connections_max as u64).saturating_mul(2).saturating_add(1024);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted.min(hard)
    {
        // Refused where the system forbids it: then the soft limit stays, and accepting says so when it is met.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}
