//! The load generator: real clients on one thread, attackers on another, so that what attackers cost does not delay the
//! measurement of the others more than the processors force it to.

mod answer;
mod attack;
mod h1;
mod h2;
mod headers;
mod pass;
mod real;
mod record;
mod tls;
mod wire;

pub use record::{AttackTally, Got, Live, Outcome, Record};

use crate::front::{RunningFront, TlsFiles};
use crate::plan::Plan;
use crate::scenario::{Scenario, Transport};
use crate::services::SERVICES;
use crate::target::{LoopbackAddr, NotLoopback};
use anyhow::{Context, anyhow, bail};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::ClientTls;
use tokio::time::Instant;

/// Where each service is reached under one front.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    http: Option<LoopbackAddr>,
    https: Option<LoopbackAddr>,
    per_service: Vec<Option<LoopbackAddr>>,
}

impl Targets {
    /// Checks every address of a running front.
    ///
    /// # Errors
    /// [`NotLoopback`] for an address that is not on this machine.
    pub fn new(front: &RunningFront) -> Result<Self, NotLoopback> {
        let per_service =
            SERVICES.iter().map(|s| front.per_service.get(s.name).copied().map(LoopbackAddr::new).transpose());
        Ok(Self {
            http: front.http.map(LoopbackAddr::new).transpose()?,
            https: front.https.map(LoopbackAddr::new).transpose()?,
            per_service: per_service.collect::<Result<_, _>>()?,
        })
    }

    /// The address for a service, and whether TLS is spoken there. A front that has no TLS at all (`direct`) is reached
    /// without it, so that its figures exist.
    #[must_use]
    pub fn find(&self, service: usize, transport: Transport) -> Option<(LoopbackAddr, bool)> {
        if let Some(own) = self.per_service.get(service).copied().flatten() {
            return Some((own, false));
        }
        match (transport, self.https) {
            (Transport::TlsHttp1 | Transport::TlsHttp2, Some(https)) => Some((https, true)),
            _ => self.http.map(|http| (http, false)),
        }
    }
}

/// What both threads of load work with.
struct Ground {
    scenario: Arc<Scenario>,
    plan: Arc<Plan>,
    targets: Targets,
    tls: Option<ClientTls>,
    live: Arc<Live>,
    /// When the run begins.
    origin: Instant,
}

/// One run against one front.
pub struct Job {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// Its schedule.
    pub plan: Arc<Plan>,
    /// Where the services are.
    pub targets: Targets,
    /// Certificates; without them nothing speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Figures while it runs, and its end.
    pub live: Arc<Live>,
}

/// What a run brought.
#[derive(Clone, Debug, Default)]
pub struct Harvest {
    /// One a planned request, in the plan's order; `None` where the run was cancelled before.
    pub records: Vec<Option<Record>>,
    /// The attack.
    pub attack: AttackTally,
}

/// After the run, this long at most until everything is ended.
const GRACE: Duration = Duration::from_secs(40);
/// Between making the threads and the first request.
pub(crate) const LEAD: Duration = Duration::from_millis(100);

/// Runs the load to its end. Takes the scenario's length and a little; never longer than that and 40 seconds.
///
/// # Errors
/// When a client can't be configured or a thread fails.
pub fn run(job: &Job) -> anyhow::Result<Harvest> {
    let origin = Instant::now() + LEAD;
    let (records, attack) = std::thread::scope(|scope| {
        let real = std::thread::Builder::new()
            .name("drill-real".to_owned())
            .spawn_scoped(scope, || on_own_runtime(job, origin, real::play))?;
        let attack = std::thread::Builder::new()
            .name("drill-attack".to_owned())
            .spawn_scoped(scope, || on_own_runtime(job, origin, attack::play))?;
        let panicked = |_| anyhow!("a thread of the load generator failed");
        let (real, attack) = (real.join().map_err(panicked), attack.join().map_err(panicked));
        anyhow::Ok((real??, attack??))
    })?;
    Ok(Harvest { records, attack })
}

fn on_own_runtime<T, F, Fut>(job: &Job, origin: Instant, play: F) -> anyhow::Result<T>
where
    F: FnOnce(Rc<Ground>) -> Fut,
    Fut: Future<Output = anyhow::Result<T>>,
{
    let ground = Rc::new(Ground {
        scenario: Arc::clone(&job.scenario),
        plan: Arc::clone(&job.plan),
        targets: job.targets.clone(),
        tls: job.tls.as_ref().map(ClientTls::read).transpose()?,
        live: Arc::clone(&job.live),
        origin,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let until = origin + Duration::from_millis(job.scenario.phases.total_ms()) + GRACE;
    let result = tasks.block_on(&runtime, async { tokio::time::timeout_at(until, play(ground)).await });
    // Whatever is still under way ends with the runtime.
    drop(tasks);
    runtime.shutdown_background();
    match result {
        Ok(result) => result,
        Err(_) => bail!("the load did not end {} s after its time", GRACE.as_secs()),
    }
}

/// Raises the limit of open files as far as it goes and checks that the scenario fits below it.
///
/// # Errors
/// When the scenario may hold more connections than this process may open.
pub fn make_room(scenario: &Scenario) -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("can't read the limit of open files")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("can't raise the limit of open files")?;
    }
    let (needed, room) = (scenario.connections_max(), (hard as usize).saturating_sub(200));
    let room = room.min(guichet_core::bounds::DRILL_CONNECTIONS_MAX);
    if needed > room {
        bail!(
            "the scenario may hold {needed} connections at once, {room} are possible here: use fewer sources or \
             connections_per_source, or raise the hard limit of open files (ulimit -Hn)"
        );
    }
    Ok(())
}
