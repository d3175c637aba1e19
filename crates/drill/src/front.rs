//! What a front is to a drill: something that listens before the estate and can be started, asked where, and stopped.

use guichet_core::Criticality;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// A service of the estate, as a front has to know it.
#[derive(Clone, Debug)]
pub struct ServiceTarget {
    /// Its name: `portal`, `bank` ...
    pub name: String,
    /// The host name its clients use: `portal.localhost`.
    pub host: String,
    /// Where it listens, plain HTTP.
    pub upstream: SocketAddr,
    /// How much it matters.
    pub criticality: Criticality,
    /// Whether only partners with a client certificate may use it.
    pub partner_only: bool,
    /// The cookie that marks a session of this service, where it has sessions.
    pub session_cookie: Option<String>,
    /// Operations it does at once, as declared in the capacity file.
    pub workers: u32,
    /// Requests a second it can do, for the costs of a mix of its operations with equal shares.
    pub capacity_rps: f64,
}

/// PEM files made for one drill.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate authority of the server certificate.
    pub ca: PathBuf,
    /// Server certificate, with the names of every service.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Certificate authority of partners' certificates.
    pub partner_ca: PathBuf,
    /// A partner's client certificate.
    pub partner_cert: PathBuf,
    /// Its key.
    pub partner_key: PathBuf,
}

/// Ports of a front on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Plain HTTP, services by Host.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
    /// The front's own administration.
    pub admin: u16,
}

/// What fronts are told to serve instead of services that are away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contracts {
    /// Nothing.
    #[default]
    None,
    /// A page that names other ways, and a status page; no answer is kept, so that fronts without contracts can be compared.
    Pages,
    /// The same, and earlier answers where they are the same for everybody.
    Kept,
}

/// What a front gets to start with.
pub struct FrontContext<'a> {
    /// Scratch directory of this front; exists.
    pub dir: &'a Path,
    /// Certificates.
    pub tls: &'a TlsFiles,
    /// The services behind it.
    pub services: &'a [ServiceTarget],
    /// Ports to listen on.
    pub ports: Ports,
    /// Worker threads to use.
    pub workers: usize,
    /// The guichet binary.
    pub guichet_exe: &'a Path,
    /// What fronts are told to serve instead of services that are away, if they can.
    pub contracts: Contracts,
    /// Where the status page is to listen on 127.0.0.1, with contracts, of a front that has one.
    pub status_port: u16,
}

/// A front that can be drilled.
pub trait Front {
    /// The name used on the command line and in reports.
    fn name(&self) -> &'static str;

    /// What to install, where something is missing on this machine.
    fn missing(&self) -> Option<String>;

    /// Starts it and waits, bounded, until it listens.
    ///
    /// # Errors
    /// When it can't be configured or started, with what it said.
    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront>;
}

/// A front that runs. Its processes are killed on drop.
#[derive(Debug, Default)]
pub struct RunningFront {
    children: Vec<Child>,
    /// Plain HTTP, services by Host.
    pub http: Option<SocketAddr>,
    /// HTTPS, services by SNI and Host.
    pub https: Option<SocketAddr>,
    /// The status page, where it has one.
    pub status: Option<SocketAddr>,
    /// For `direct`: each service's own address, plain HTTP; wins over the others.
    pub per_service: BTreeMap<String, SocketAddr>,
}

impl RunningFront {
    /// A running front of these processes (none for `direct`).
    #[must_use]
    pub fn new(children: Vec<Child>) -> Self {
        Self { children, http: None, https: None, status: None, per_service: BTreeMap::new() }
    }

    /// The process ids, to read CPU and memory from.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// Asks every process to end, waits at most five seconds, then kills what is left.
    pub fn stop(mut self) {
        stop_children(&mut self.children);
    }
}

impl Drop for RunningFront {
    fn drop(&mut self) {
        stop_children(&mut self.children);
    }
}

/// How long a process may take to end after TERM.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// TERM, a bounded wait, then KILL, for processes that this program started. Empties the list.
pub(crate) fn stop_children(children: &mut Vec<Child>) {
    for child in children.iter() {
        terminate(child);
    }
    let until = Instant::now() + STOP_WAIT;
    for child in children.iter_mut() {
        while Instant::now() < until {
            if matches!(child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if !matches!(child.try_wait(), Ok(Some(_))) {
            // It may have ended in between: both failures mean that there is nothing left to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    children.clear();
}

fn terminate(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let Ok(pid) = i32::try_from(child.id()) else { return };
    // A process that ended already can't be signalled; it is reaped by the wait that follows.
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}
