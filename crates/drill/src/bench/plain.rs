//! The proxies of the bench: plain, one worker, pinned to a core of their own.

use super::client::Target;
use super::{instructions, tls};
use crate::front::{Ports, RunningFront, TlsFiles};
use crate::fronts::install::{self, Peer};
use crate::fronts::{allowances, guichet, haproxy, process, template::Scope};
use anyhow::{Context, bail};
use guichet_core::bounds::MITIGATIONS_PER_SERVICE_MAX;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

const NGINX: &str = include_str!("../../../../drills/peers/plain/nginx.conf.in");
const HAPROXY: &str = include_str!("../../../../drills/peers/plain/haproxy.cfg.in");
const ENVOY: &str = include_str!("../../../../drills/peers/plain/envoy.yaml.in");

/// Sources (lanes) of refused connections, and how many connections each may have.
pub(crate) const LANES: usize = 16;
pub(crate) const CAP: usize = 4;

/// What all fronts of a bench share.
pub(crate) struct Ground {
    pub(crate) dir: PathBuf,
    pub(crate) tls: TlsFiles,
    pub(crate) origin: SocketAddr,
    pub(crate) guichet_exe: PathBuf,
    /// The core of the proxies.
    pub(crate) core: usize,
    /// Whether programs run under valgrind, which counts their instructions.
    pub(crate) counted: bool,
}

/// A proxy that runs.
pub(crate) struct PlainFront {
    running: RunningFront,
    pub(crate) pids: Vec<u32>,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    name: String,
    /// Where valgrind writes what it counted.
    pub(crate) valgrind_log: Option<PathBuf>,
}

/// Keeps this thread, and those it starts, on one core; gives the core left for proxies.
///
/// # Errors
/// Where fewer than two cores may be used.
pub(crate) fn take_core() -> anyhow::Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|n| allowed.is_set(*n).unwrap_or(false)).collect();
    let [proxy, own, ..] = cores[..] else { bail!("the bench needs two cores: one for the proxy, one for the load") };
    pin(own)?;
    Ok(proxy)
}

fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("core {core}"))
}

/// Starts a proxy, with a small cap of connections a source where asked.
///
/// # Errors
/// When it is missing, finds fault with its configuration or does not start.
pub(crate) fn start(name: &str, ground: &Ground, capped: bool) -> anyhow::Result<PlainFront> {
    let dir = ground.dir.join(format!("{name}{}", if capped { "-capped" } else { "" }));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let ports = free_ports()?;
    let (command, log) = prepare(name, ground, &dir, ports, capped)?;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (http, https, admin) = (at(ports.http), at(ports.https), at(ports.admin));
    let valgrind_log = ground.counted.then(|| dir.join("valgrind.log"));
    let command = match &valgrind_log {
        Some(log) => instructions::under_valgrind(&command, log),
        None => command,
    };
    let child = on_core(ground.core, command, &log)?;
    // The other ports of a capped front would count this look as a connection; it is gone before the cap is filled.
    let running = process::wait_listening(child, &[http, https], &log).with_context(|| name.to_owned())?;
    if is_guichet(name) {
        guichet::wait_ready(admin)?;
    }
    if name == "guichet-mitigating" {
        mitigate(&ground.guichet_exe, admin)?;
    }
    let pids = running.pids();
    Ok(PlainFront { running, pids, http, https, admin, name: name.to_owned(), valgrind_log })
}

fn is_guichet(name: &str) -> bool {
    name.starts_with("guichet")
}

/// Puts as many mitigations in force as a service can have, none of which matches what the bench asks.
fn mitigate(exe: &Path, admin: SocketAddr) -> anyhow::Result<()> {
    for n in 0..MITIGATIONS_PER_SERVICE_MAX {
        let (admin, signature) = (admin.to_string(), format!("agent=nobody{n}"));
        let order = ["mitigations", "add", "bench", "deprioritise", &signature, "--admin", &admin];
        process::check(exe, &order.map(OsStr::new))?;
    }
    Ok(())
}

/// A child inherits the core of the thread that starts it.
fn on_core(core: usize, mut command: Command, log: &Path) -> anyhow::Result<std::process::Child> {
    let start = move || -> anyhow::Result<_> {
        pin(core)?;
        process::spawn(&mut command, log)
    };
    std::thread::scope(|scope| scope.spawn(start).join())
        .map_err(|_| anyhow::anyhow!("the starting thread panicked"))?
}

fn prepare(name: &str, ground: &Ground, dir: &Path, ports: Ports, capped: bool) -> anyhow::Result<(Command, PathBuf)> {
    let scope = scope(ground, dir, ports, capped);
    let write = |file: &str, text: String| -> anyhow::Result<PathBuf> {
        let path = dir.join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    let (exe, args, check): (PathBuf, Vec<&OsStr>, &[&str]);
    let config;
    match name {
        "nginx" => {
            exe = install::ensure(Peer::Nginx)?;
            config = write("nginx.conf", scope.render(NGINX)?)?;
            args = vec![
                "-p".as_ref(),
                dir.as_os_str(),
                "-e".as_ref(),
                "stderr".as_ref(),
                "-c".as_ref(),
                config.as_os_str(),
            ];
            check = &["-t", "-q"];
        }
        "haproxy" => {
            exe = install::ensure(Peer::Haproxy)?;
            haproxy::concatenate(&ground.tls.cert, &ground.tls.key, &dir.join("haproxy.pem"))?;
            config = write("haproxy.cfg", scope.render(HAPROXY)?)?;
            args = vec!["-db".as_ref(), "-f".as_ref(), config.as_os_str()];
            check = &["-c", "-q"];
        }
        "envoy" => {
            exe = install::ensure(Peer::Envoy)?;
            config = write("envoy.yaml", scope.render(ENVOY)?)?;
            args =
                ["--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c"].iter().map(OsStr::new).collect();
            let mut command = Command::new(&exe);
            command.args(&args).arg(&config);
            process::check(&exe, &[&args[..], &[config.as_os_str(), "--mode".as_ref(), "validate".as_ref()]].concat())?;
            return Ok((command, dir.join("envoy.log")));
        }
        name if is_guichet(name) => {
            let mode = if name == "guichet-unsigned" { "off" } else { "on" };
            config = write("guichet.toml", guichet_toml(ground, ports, capped, mode))?;
            process::check(&ground.guichet_exe, &["check".as_ref(), "-c".as_ref(), config.as_os_str()])?;
            let mut command = Command::new(&ground.guichet_exe);
            command.args(["serve", "-c"]).arg(&config);
            return Ok((command, dir.join("guichet.log")));
        }
        _ => bail!("`{name}` can't be benched: nginx, haproxy, envoy or guichet"),
    }
    let check_args: Vec<&OsStr> = args.iter().copied().chain(check.iter().map(OsStr::new)).collect();
    process::check(&exe, &check_args)?;
    let mut command = Command::new(&exe);
    command.args(&args);
    Ok((command, dir.join("output.log")))
}

fn scope(ground: &Ground, dir: &Path, ports: Ports, capped: bool) -> Scope {
    let mut scope = Scope::default();
    scope
        .set("dir", dir.display())
        .set("pem", dir.join("haproxy.pem").display())
        .set("cert", ground.tls.cert.display())
        .set("key", ground.tls.key.display())
        .set("http", ports.http)
        .set("https", ports.https)
        .set("admin", ports.admin)
        .set("origin", ground.origin)
        .set("origin_port", ground.origin.port())
        .set("root", if nix::unistd::geteuid().is_root() { "yes" } else { "" })
        .set("fd_limit", allowances::fd_limit())
        .set("fd_limit_less", allowances::fd_limit().saturating_sub(100))
        .set("cap", if capped { CAP.to_string() } else { String::new() })
        .set("cap_total", CAP * LANES);
    scope
}

/// Guichet with all of its protection on, and with allowances that the load stays under.
fn guichet_toml(ground: &Ground, ports: Ports, capped: bool, signatures: &str) -> String {
    let Ports { http, https, admin } = ports;
    let per_source = if capped { CAP } else { 50_000 };
    let mut toml = format!(
        "[node]\nworkers = 1\ndrain_s = 1\nconnections_max = 50000\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [[listener]]\nname = \"http\"\naddress = \"127.0.0.1:{http}\"\nprotocol = \"http\"\nbacklog = 4096\n\n\
         [[listener]]\nname = \"https\"\naddress = \"127.0.0.1:{https}\"\nprotocol = \"https\"\nbacklog = 4096\n\
         partner_ca = {}\n\n\
         [limits]\nconnections_per_source = {per_source}\nconnections_per_network = 50000\nhandshakes_per_source = 50000\n\
         first_request_ms = 60000\nidle_ms = 60000\nrequests_per_connection_max = 1000000000\n\
         h2_window_updates_per_10s = 1000000000\n\n[log]\naccess = \"off\"\n\n",
        guichet::quoted(ground.tls.partner_ca.display())
    );
    guichet::certificate(&mut toml, &ground.tls.cert, &ground.tls.key);
    let origin = ground.origin;
    for (name, host, partner_only) in [("bench", tls::HOST, false), ("refused", tls::REFUSED_HOST, true)] {
        // Writing to a `String` can't fail.
        let _ = write!(
            toml,
            "[upstream.{name}]\nservers = [\"{origin}\"]\nkeepalive_per_worker_max = 128\n\n[service.{name}]\n\
             hosts = [\"{host}\"]\nupstream = \"{name}\"\npartner_only = {partner_only}\n\
             concurrency = {{ initial = 1024, min = 1024, max = 2048 }}\nqueue = {{ length = 1024, wait_ms = 5000 }}\n\
             mitigations = {{ mode = \"{signatures}\" }}\n\n"
        );
    }
    let partner = "[[partner]]\nname = \"bench\"\nsubject = \"CN=bench\"\nservices = [\"refused\"]\n";
    toml.push_str(partner);
    toml
}

/// Ports that were free a moment ago, below the range that connections of clients are given theirs from.
///
/// # Errors
/// When none is found.
pub(crate) fn free_ports() -> anyhow::Result<Ports> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000)?;
    let mut found = Vec::new();
    let mut held = Vec::new();
    for port in (first..31_000).chain(20_000..first) {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            found.push(port);
            held.push(listener);
        }
        if let [http, https, admin] = found[..] {
            return Ok(Ports { http, https, admin });
        }
    }
    bail!("no free ports between 20000 and 31000")
}

impl PlainFront {
    /// What requests that are served are sent to.
    pub(crate) fn served(&self, tls: Option<std::sync::Arc<rustls::ClientConfig>>) -> Target {
        let to = if tls.is_some() { self.https } else { self.http };
        Target { to, tls, host: tls::HOST, path: "/", status: 200 }
    }

    /// What is refused with a status: peers by a rule, Guichet by its admission (a service for partners only).
    pub(crate) fn refused(&self) -> Target {
        if is_guichet(&self.name) {
            return Target { to: self.http, tls: None, host: tls::REFUSED_HOST, path: "/", status: 403 };
        }
        Target { to: self.http, tls: None, host: tls::HOST, path: "/refused", status: 429 }
    }

    /// Where connections are refused, and whether only at the request.
    pub(crate) fn closing(&self) -> (Target, bool) {
        // nginx has no cap by source before there is a request.
        let asks = self.name == "nginx";
        let to = if asks { self.admin } else { self.http };
        (Target { to, tls: None, host: tls::HOST, path: "/", status: 0 }, asks)
    }

    /// Stops it and waits until it has ended.
    pub(crate) fn stop(self) {
        self.running.stop();
    }
}
