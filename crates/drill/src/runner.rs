//! One front after another: the estate and the front are started, the load runs, everything is ended, whatever happens.

use crate::capacity::Capacity;
use crate::certs;
use crate::faults::{Estate, Setting};
use crate::front::{Contracts, Front, FrontContext, Ports, ServiceTarget, TlsFiles};
use crate::load::{self, Job, Live, Targets};
use crate::oracle::{self, Arrival};
use crate::plan::{Plan, service_of};
use crate::progress;
use crate::scenario::{FaultKind, Scenario};
use crate::score::{self, FrontScore, Invariant};
use crate::services::{SERVICES, Service, host_of};
use crate::status::{self, Poll};
use crate::target::LoopbackAddr;
use anyhow::{Context, anyhow, bail};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a drill runs with.
pub struct Settings {
    /// The guichet binary, which holds the estate.
    pub guichet_exe: PathBuf,
    /// Ports of the estate are this plus 1 to 9, of the front this plus 21 to 24.
    pub base_port: u16,
    /// Where logs and certificates go.
    pub dir: PathBuf,
    /// Set when the drill is to end early.
    pub stop: Arc<AtomicBool>,
}

/// How long the estate may take until every service listens.
const ESTATE_WAIT: Duration = Duration::from_secs(90);
/// Between the end of one front's run and the beginning of the next: sockets close, logs are written.
const PAUSE: Duration = Duration::from_millis(500);

/// Drills every front in turn.
///
/// # Errors
/// When something can't be started, or when it was ended early.
pub fn drill(
    scenario: &Arc<Scenario>,
    seed: u64,
    fronts: &[&dyn Front],
    settings: &Settings,
) -> anyhow::Result<Vec<FrontScore>> {
    let capacity = Capacity::read(&scenario.capacity)?;
    let plan = Arc::new(Plan::draw(scenario, seed)?);
    load::make_room(scenario)?;
    let served = oracle_of(scenario, &plan, &capacity);
    let tls = certs::make(&settings.dir)?;
    let mut scores = Vec::new();
    for front in fronts {
        let dir = settings.dir.join(front.name());
        std::fs::create_dir_all(&dir).with_context(|| format!("{}: can't make the directory", dir.display()))?;
        let place = Place { scenario, settings, capacity: &capacity, tls: &tls, dir: &dir };
        let brought = place.run(*front, &plan)?;
        if settings.stop.load(Ordering::Relaxed) {
            bail!("ended early; everything that was started is stopped");
        }
        let mut score =
            score::front(front.name(), scenario, &plan, &served, &brought.harvest, brought.polls.as_deref());
        score.notes = brought.notes;
        score.invariants = place.verify(&plan, &brought.harvest)?;
        scores.push(score);
        std::thread::sleep(PAUSE);
    }
    Ok(scores)
}

/// What the oracle serves of a plan.
#[must_use]
pub fn oracle_of(scenario: &Scenario, plan: &Plan, capacity: &Capacity) -> Vec<bool> {
    let arrivals: Vec<Arrival<'_>> = plan
        .requests
        .iter()
        .map(|planned| Arrival {
            at_us: planned.at_us,
            service: SERVICES[service_of(scenario, plan, planned)].name,
            op: planned.op.name,
            deadline_us: scenario.real[plan.persons[planned.person as usize].population].deadline_ms * 1000,
        })
        .collect();
    oracle::served(capacity, &arrivals)
}

struct Place<'a> {
    scenario: &'a Arc<Scenario>,
    settings: &'a Settings,
    capacity: &'a Capacity,
    tls: &'a TlsFiles,
    dir: &'a Path,
}

/// What the run of a front brought.
struct Brought {
    harvest: load::Harvest,
    /// Looks at its status page, where it has one.
    polls: Option<Vec<Poll>>,
    notes: Vec<String>,
}

/// With faults, what is the same for everybody may be kept: a page from a minute ago is better than none. Without, kept answers
/// would only make a front without contracts look worse than it is against the attack.
fn contracts_of(scenario: &Scenario) -> Contracts {
    match (scenario.faults.is_empty(), scenario.contracts) {
        (false, _) => Contracts::Kept,
        (true, true) => Contracts::Pages,
        (true, false) => Contracts::None,
    }
}

impl Place<'_> {
    fn run(&self, front: &dyn Front, plan: &Arc<Plan>) -> anyhow::Result<Brought> {
        let base = self.settings.base_port;
        let ports = Ports { http: base + 21, https: base + 22, admin: base + 23 };
        let status_port = base + 24;
        ports_are_free((1..=9).map(|n| base + n).chain([ports.http, ports.https, ports.admin, status_port]))?;
        let mut estate = self.start_estate()?;
        let services = self.services();
        let context = FrontContext {
            dir: self.dir,
            tls: self.tls,
            services: &services,
            ports,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            contracts: contracts_of(self.scenario),
            status_port,
            guichet_exe: &self.settings.guichet_exe,
        };
        let running = front.start(&context).with_context(|| format!("{} did not start", front.name()))?;
        let targets = Targets::new(&running)?;
        let mut notes = Vec::new();
        if running.https.is_none() {
            notes.push(format!("{} has no TLS: its clients and attackers speak plain HTTP/1.1", front.name()));
        }
        let live = Arc::new(Live::sharing(Arc::clone(&self.settings.stop)));
        let job = Job {
            scenario: Arc::clone(self.scenario),
            plan: Arc::clone(plan),
            targets,
            tls: Some(self.tls.clone()),
            live: Arc::clone(&live),
        };
        let status = running.status.map(LoopbackAddr::new).transpose()?;
        let over = AtomicBool::new(false);
        let (harvest, faults, polls) = std::thread::scope(|scope| {
            let (faults, origin) = (&self.scenario.faults, Instant::now() + load::LEAD);
            let (estate, ended) = (&mut estate, &over);
            let fault_player = scope.spawn(move || estate.play(faults, origin, ended));
            let watcher = status.map(|page| scope.spawn(move || status::watch(page, origin, ended)));
            let harvest = progress::while_watched(front.name(), self.scenario.phases, &live, || load::run(&job));
            over.store(true, Ordering::Relaxed);
            (harvest, fault_player.join(), watcher.map(std::thread::ScopedJoinHandle::join))
        });
        let harvest = harvest?;
        faults.map_err(|_| anyhow!("the thread of the faults failed"))??;
        let polls = polls.transpose().map_err(|_| anyhow!("the thread that reads the status page failed"))?;
        running.stop();
        Ok(Brought { harvest, polls, notes })
    }

    /// Asks the estate, which has ended, whether what must hold in its stores does, and whether all that real clients were
    /// told is done is there.
    fn verify(&self, plan: &Plan, harvest: &load::Harvest) -> anyhow::Result<Vec<Invariant>> {
        let file = self.dir.join("acknowledged");
        let mut lines = BufWriter::new(File::create(&file)?);
        for (planned, record) in plan.requests.iter().zip(&harvest.records) {
            if let (Some((route, key)), true) = (planned.op.kept_as(planned.draw), record.is_some_and(|r| r.is_right()))
            {
                writeln!(lines, "{} {route} {key}", planned.op.service)?;
            }
        }
        lines.flush()?;
        let mut command = Command::new(&self.settings.guichet_exe);
        command.args(["estate", "verify", "--json", "--data"]).arg(self.dir.join("estate"));
        let output = command.arg("--acknowledged").arg(&file).stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        // Its exit status says that something is broken; the findings say what.
        serde_json::from_slice(&output.stdout).with_context(|| format!("guichet estate verify: {}", told.trim()))
    }

    fn start_estate(&self) -> anyhow::Result<Estate> {
        let base = self.settings.base_port;
        let data = self.dir.join("estate");
        // What an earlier drill left in a kept directory would answer this one's operations as repeated.
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::create_dir_all(&data)?;
        let log = File::create(self.dir.join("estate.log"))?;
        let orders = self.dir.join("faults");
        if orders.exists() {
            std::fs::remove_dir_all(&orders)?;
        }
        std::fs::create_dir_all(&orders)?;
        let full = self.scenario.faults.iter().filter(|fault| fault.kind == FaultKind::DiskFull);
        let on_disks = full.map(|fault| fault.service).collect();
        let setting = Setting { orders: &orders, data: &data, log: &log, on_disks };
        let mut estate = Estate::start(self.estate_commands(&data), &setting)?;
        let until = Instant::now() + ESTATE_WAIT;
        for service in &SERVICES {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, base + service.port_offset));
            while TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_err() {
                if estate.ended()? || Instant::now() > until || self.settings.stop.load(Ordering::Relaxed) {
                    let text = std::fs::read_to_string(self.dir.join("estate.log")).unwrap_or_default();
                    let tail = text.lines().rev().take(5).collect::<Vec<_>>().join(" / ");
                    bail!("the estate's {} does not listen on {addr}; its log ends with: {tail}", service.name);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(estate)
    }

    /// One process for all services; with faults, one for each, so that one can be killed and the others go on.
    fn estate_commands(&self, data: &Path) -> Vec<Command> {
        let address = |n: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.base_port + n));
        let command = |what: &str| {
            let mut command = Command::new(&self.settings.guichet_exe);
            command.args(["estate", what, "--data"]).arg(data).arg("--capacity").arg(&self.scenario.capacity);
            command
        };
        if self.scenario.faults.is_empty() {
            let mut all = command("all");
            all.arg("--base-port").arg(self.settings.base_port.to_string());
            return vec![all];
        }
        let one = |service: &Service| {
            let mut one = command(service.name);
            one.arg("--listen").arg(address(service.port_offset).to_string());
            for peer in SERVICES.iter().filter(|peer| peer.name != service.name) {
                one.arg("--peer").arg(format!("{}={}", peer.name, address(peer.port_offset)));
            }
            one
        };
        SERVICES.iter().map(one).collect()
    }

    fn services(&self) -> Vec<ServiceTarget> {
        SERVICES
            .iter()
            .map(|service| {
                let capacity = self.capacity.service.get(service.name);
                ServiceTarget {
                    name: service.name.to_owned(),
                    host: host_of(service.name),
                    upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.base_port + service.port_offset)),
                    criticality: service.criticality,
                    partner_only: service.partner_only,
                    session_cookie: service.has_sessions.then(|| format!("{}_session", service.name)),
                    workers: capacity.map_or(1, |c| c.workers),
                    capacity_rps: capacity.map_or(f64::INFINITY, crate::capacity::ServiceCapacity::rps),
                }
            })
            .collect()
    }
}

/// How long a port may take to become free: the front before may still be closing.
const PORT_WAIT: Duration = Duration::from_secs(10);

fn ports_are_free(ports: impl Iterator<Item = u16>) -> anyhow::Result<()> {
    let until = Instant::now() + PORT_WAIT;
    for port in ports {
        while let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            if Instant::now() > until {
                let mend = "end what uses it, or give another --base-port";
                bail!("port {port} on 127.0.0.1 is taken ({error}): {mend}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}
