//! One worker: a thread with a single-threaded runtime, its own counters, pools and connections.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guichet_core::bounds::AHEAD_BYTES_MAX;
use guichet_core::signs::{Dimension, InForce, Step};
use guichet_core::{Reason, Window};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};

use crate::ahead::AheadBudget;
use crate::body::Body;
use crate::clock;
use crate::config::Listener;
use crate::connection::Connection;
use crate::desk::Desk;
use crate::kernel::{Noted, Notes};
use crate::listen::caps::ConnectionCaps;
use crate::listen::client_hello::ClientHelloInfo;
use crate::listen::tls::ListenerTls;
use crate::listen::{WorkerContext, run_listener};
use crate::pipeline;
use crate::record::Recorder;
use crate::record::metrics::{ListenerSlot, Registry};
use crate::setup::{Setup, WorkerSetup};
use crate::signs::{ConnectionLooks, Word};

/// How often a worker hands its counters to the brain.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// How often those who waited in vain are told.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
/// How often a draining worker looks whether it is done.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// Sums of one worker since start, written by it alone.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    pub(crate) served: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Tally {
    fn add(field: &AtomicU64) {
        // One writer: a plain load and store are enough, and cheaper than an atomic addition.
        field.store(field.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// What a worker counted, for the brain.
pub(crate) struct Report {
    pub(crate) worker: usize,
    pub(crate) generation: u64,
    pub(crate) window: Window,
    pub(crate) words: Vec<Word>,
    pub(crate) noted: Noted,
}

/// What a worker is given at its start.
pub(crate) struct WorkerStart {
    pub(crate) index: usize,
    pub(crate) seed: u64,
    pub(crate) setups: watch::Receiver<Arc<Setup>>,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) recorder: Recorder,
    pub(crate) tally: Arc<Tally>,
    pub(crate) caps: Arc<ConnectionCaps>,
    pub(crate) sockets: Vec<Opened>,
}

/// A listener bound for one worker.
pub(crate) struct Opened {
    pub(crate) listener: Arc<crate::config::Listener>,
    pub(crate) socket: std::net::TcpListener,
    pub(crate) tls: Option<Arc<ListenerTls>>,
}

/// One worker. Serves the requests of its connections: the [`Desk`] of `listen`.
pub struct Worker {
    setup: RefCell<Rc<WorkerSetup>>,
    recorder: Recorder,
    tally: Arc<Tally>,
    /// Bounded by the listeners of the configuration; they change by restart only.
    listener_slots: HashMap<String, ListenerSlot>,
    ahead: AheadBudget,
    notes: RefCell<Notes>,
}

impl Worker {
    pub(crate) fn ahead(&self) -> &AheadBudget {
        &self.ahead
    }

    pub(crate) fn setup(&self) -> Rc<WorkerSetup> {
        self.setup.borrow().clone()
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn listener_slot(&self, name: &str) -> ListenerSlot {
        self.listener_slots.get(name).copied().unwrap_or(ListenerSlot::OTHER)
    }

    /// A client was let in whom nothing speaks against, though something is done about others.
    pub(crate) fn note_good(&self, connection: &Connection) {
        if self.notes.borrow().is_on() {
            self.notes.borrow_mut().note_good(connection.socket_peer.ip());
        }
    }

    /// A mitigation refused a request of this connection, by whose address it is known.
    pub(crate) fn note_refused(&self, connection: &Connection, client: IpAddr, mitigation: u32) {
        let peer = connection.socket_peer.ip().to_canonical();
        // Never who sent it on for somebody else.
        if peer == client.to_canonical() && connection.listener.is_direct() {
            self.notes.borrow_mut().note_refused(peer, mitigation);
        }
    }

    /// Counts a request that ended.
    pub(crate) fn tally(&self, reason: Option<Reason>, status: u16) {
        Tally::add(&self.tally.requests);
        match reason {
            None if status < 500 => Tally::add(&self.tally.served),
            None => Tally::add(&self.tally.failed),
            Some(reason) => match reason.fault() {
                guichet_core::Fault::Upstream | guichet_core::Fault::Ours => Tally::add(&self.tally.failed),
                guichet_core::Fault::Client | guichet_core::Fault::Operator | guichet_core::Fault::Load => {
                    Tally::add(&self.tally.refused);
                }
            },
        }
    }

    /// A client broke a protocol: its account is told, and signatures look at it.
    pub(crate) fn note_abuse(&self, client: IpAddr, reason: Reason, looks: Option<&ConnectionLooks>) {
        let setup = self.setup();
        if !setup.shared.admission.sources.connection_ended(client, reason, clock::now()) {
            return;
        }
        setup.admission.note_incident(reason, || match looks {
            Some(looks) => Cow::Borrowed(looks),
            None => Cow::Owned(setup.shared.look(None, client.to_canonical())),
        });
    }

    /// What is done about connections that look like this: nothing about who is spared, known or allowed.
    fn connection_mitigation(&self, looks: &ConnectionLooks) -> Option<InForce> {
        let setup = self.setup.borrow();
        let shared = &setup.shared;
        let posture = shared.admission.posture.load();
        let now = clock::now();
        let found = posture.connection_mitigation(&looks.features).copied()?;
        let spared = looks.spared
            || shared.admission.sources.is_known(looks.client, now)
            || shared.signs.allowed.allows(looks.client, now);
        (!spared).then_some(found)
    }

    /// A mitigation refused a connection for what it looks like.
    fn note_turned_away(&self, looks: &ConnectionLooks, mitigation: u32) {
        if looks.direct {
            self.notes.borrow_mut().note_refused(looks.client, mitigation);
        }
    }

    /// Whether a handshake is worth its price: while a service or this node is short, not for one who misbehaved lately, nor for one
    /// whom a mitigation of the service that is asked for refuses by what the connection alone tells.
    fn may_handshake(&self, hello: &ClientHelloInfo, looks: &ConnectionLooks) -> Result<(), Reason> {
        let setup = self.setup.borrow();
        let admission = &setup.shared.admission;
        let posture = admission.posture.load();
        if !posture.is_short(posture.pressure()) {
            return Ok(());
        }
        let (now, address) = (clock::now(), looks.client);
        let signs = &setup.shared.signs;
        let suspect = admission.sources.is_suspect(address, now);
        let service = hello.sni.as_deref().and_then(|name| setup.shared.hosts.find(name));
        let rules = service.and_then(|at| posture.services.get(at)).filter(|rules| !rules.mitigations.is_empty());
        let Some(rules) = rules else { return if suspect { Err(Reason::Suspect) } else { Ok(()) } };
        let features = &looks.features;
        // Where signatures tell programs apart, an address is no reason by itself: others may live behind it.
        let told = |m: &&InForce| m.tells_who && m.signature.parts().any(|(d, _)| d == Dimension::Tls);
        let bears = |m: &InForce| m.signature.parts().all(|(d, v)| !d.of_connection() || features.get(d) == v);
        let mut marks = rules.mitigations.iter().filter(told).peekable();
        if suspect && (marks.peek().is_none() || marks.any(bears)) {
            return Err(Reason::Suspect);
        }
        let refuses = |m: &&InForce| m.step == Step::Refuse && m.signature.of_connection();
        let refuses = rules.mitigations.iter().filter(refuses).find(|m| m.signature.matches(features));
        let spared = || admission.sources.is_known(address, now) || signs.allowed.allows(address, now);
        match refuses.filter(|_| posture.is_short(rules.pressure)) {
            Some(mitigation) if !spared() => {
                self.note_turned_away(looks, mitigation.id);
                Err(Reason::Mitigated)
            }
            _ => Ok(()),
        }
    }
}

impl Desk for Worker {
    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + 'static {
        pipeline::serve(self, connection, request)
    }

    fn connection_refused(&self, source: SocketAddr, listener: &str, reason: Reason, looks: Option<&ConnectionLooks>) {
        self.recorder.metrics().connection_refused(self.listener_slot(listener), reason);
        self.note_abuse(source.ip(), reason, looks);
    }

    fn look(
        &self,
        hello: Option<&ClientHelloInfo>,
        client: SocketAddr,
        listener: &Listener,
    ) -> Option<Arc<ConnectionLooks>> {
        let mut looks = self.setup.borrow().shared.look(hello, client.ip().to_canonical());
        looks.direct = listener.is_direct();
        Some(Arc::new(looks))
    }

    fn may_connect(&self, hello: Option<&ClientHelloInfo>, looks: Option<&ConnectionLooks>) -> Result<(), Reason> {
        let Some(looks) = looks else { return Ok(()) };
        if let Some(refuses) = self.connection_mitigation(looks).filter(|m| m.step >= Step::Refuse) {
            self.note_turned_away(looks, refuses.id);
            // It goes on being noted, or the mitigation would end while the attack goes on.
            self.setup.borrow().admission.note_incident(Reason::Mitigated, || Cow::Borrowed(looks));
            return Err(Reason::Mitigated);
        }
        hello.map_or(Ok(()), |hello| self.may_handshake(hello, looks))
    }

    fn stalls(&self, looks: &ConnectionLooks, ending: Reason, noted: bool) -> bool {
        if noted {
            self.setup.borrow().admission.note_incident(ending, || Cow::Borrowed(looks));
        }
        self.connection_mitigation(looks).is_some_and(|m| m.step >= Step::Limit)
    }

    fn closes_stalled(&self) -> bool {
        let setup = self.setup.borrow();
        let posture = setup.shared.admission.posture.load();
        posture.connections.iter().any(|m| m.step >= Step::Limit)
    }

    fn connection_opened(&self, connection: &Connection) {
        self.recorder.metrics().connection_opened(self.listener_slot(&connection.listener.name));
    }

    fn connection_closed(&self, connection: &Connection) {
        self.recorder.metrics().connection_closed(self.listener_slot(&connection.listener.name));
    }

    fn streams_max(&self) -> u32 {
        let setup = self.setup.borrow();
        let posture = setup.shared.admission.posture.load();
        posture.services.iter().map(|rules| rules.h2_streams_per_connection).min().unwrap_or(u32::MAX)
    }
}

/// Runs a worker until it is shut down and its connections have ended, or `drain` is over. Must be called on the
/// worker's own thread.
pub(crate) fn run(start: WorkerStart) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, work(start))
}

async fn work(mut start: WorkerStart) -> std::io::Result<()> {
    let setup = start.setups.borrow_and_update().clone();
    let listener_slots =
        start.sockets.iter().map(|o| (o.listener.name.clone(), start.registry.listener(&o.listener.name))).collect();
    let limits = setup.config.limits.clone();
    let workers = setup.config.node.workers.max(1);
    let hands_over = setup.config.kernel_filter.is_some();
    let worker = Rc::new(Worker {
        setup: RefCell::new(Rc::new(WorkerSetup::new(setup, start.seed))),
        recorder: start.recorder,
        tally: start.tally,
        listener_slots,
        ahead: AheadBudget::new(AHEAD_BYTES_MAX / workers),
        notes: RefCell::new(Notes::new(hands_over)),
    });
    let context = Rc::new(WorkerContext::new(worker.clone(), start.index as u16, limits, start.caps));
    for opened in start.sockets {
        let listening =
            run_listener(context.clone(), opened.listener, opened.socket, opened.tls, start.shutdown.clone());
        tokio::task::spawn_local(listening);
    }
    let mut interval = tokio::time::interval(REPORT_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            due = sweep.tick() => {
                let setup = worker.setup();
                setup.admission.note_late(due.elapsed());
                setup.admission.sweep(clock::now());
            }
            _ = interval.tick() => report(&worker, start.index, &start.reports),
            changed = start.setups.changed() => {
                if changed.is_err() {
                    break;
                }
                let setup = start.setups.borrow_and_update().clone();
                context.set_limits(setup.config.limits.clone());
                worker.setup.replace(Rc::new(WorkerSetup::new(setup, start.seed)));
            }
            _ = start.shutdown.wait_for(|down| *down) => break,
        }
    }
    drain(&worker, &context, start.index, &start.reports).await;
    Ok(())
}

fn report(worker: &Worker, index: usize, reports: &mpsc::Sender<Report>) {
    let setup = worker.setup();
    let window = setup.admission.take_window(clock::now());
    let words = setup.admission.take_words();
    // A brain that is behind loses a window; nobody waits for it.
    let noted = worker.notes.borrow_mut().take();
    let _ = reports.try_send(Report { worker: index, generation: setup.shared.generation, window, words, noted });
}

/// Lets requests under way finish, up to the configured time.
async fn drain(worker: &Worker, context: &WorkerContext<Worker>, index: usize, reports: &mpsc::Sender<Report>) {
    let until = tokio::time::Instant::now() + worker.setup().shared.config.node.drain;
    context.drain();
    while context.connections() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(DRAIN_INTERVAL).await;
        report(worker, index, reports);
    }
    context.close_all();
}
