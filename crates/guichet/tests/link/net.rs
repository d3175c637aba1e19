//! Two network namespaces with a wire between them: the door's and the world's. They, and all that runs in them, end
//! with the test. Nothing here can send a packet to anywhere else: neither namespace has another interface.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The door's address on the wire.
pub(crate) const DOOR: &str = "10.77.0.1";
/// The world's.
pub(crate) const WORLD: &str = "10.77.0.2";
/// What a whole test may take; programs that it started end by then, whatever happens.
const LONGEST_S: &str = "300";

/// Which side of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Door,
    World,
}

/// The namespaces.
pub(crate) struct Net {
    door: String,
    world: String,
}

/// A program in a namespace, ended on drop.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), signal);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> std::process::ExitStatus {
        wait_for("the end of a program", limit, || self.0.try_wait().unwrap())
    }
}

/// Fails with what to install where a program is missing.
pub(crate) fn need(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    assert!(
        folders.any(|folder| folder.join(program).is_file()),
        "{program} is not on this machine: apt-get install {package}, or `cargo xtask test`, which installs it"
    );
}

fn ip(arguments: &[&str]) -> Output {
    Command::new("ip").args(arguments).output().expect("ip can be run")
}

fn ip_must(arguments: &[&str]) {
    let output = ip(arguments);
    assert!(
        output.status.success(),
        "`ip {}` failed: {}\nThis test makes network namespaces of its own: it needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN, and a kernel that has them.",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Net {
    /// Both namespaces, with a wire of `mbit` towards the door.
    pub(crate) fn new(mbit: u32) -> Self {
        need("ip", "iproute2");
        need("tc", "iproute2");
        sweep();
        static MADE: AtomicU16 = AtomicU16::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("guichet-{}-{n}{side}", std::process::id());
        let net = Self { door: name('d'), world: name('w') };
        for name in [&net.door, &net.world] {
            ip_must(&["netns", "add", name]);
            ip_must(&["-n", name, "link", "set", "lo", "up"]);
        }
        let wire = ["link", "add", "line0", "type", "veth", "peer", "name", "line0", "netns"];
        ip_must(&[&["-n", &net.door], &wire[..], &[&net.world]].concat());
        for (name, address) in [(&net.door, DOOR), (&net.world, WORLD)] {
            ip_must(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", "line0"]);
            ip_must(&["-n", name, "link", "set", "line0", "up"]);
        }
        // Towards the door the line is narrow, with a queue as routers of providers have them.
        let rate = format!("{mbit}mbit");
        let shape = ["qdisc", "add", "dev", "line0", "root", "tbf", "rate", &rate, "burst", "32kb", "latency", "100ms"];
        let tc = Command::new("tc").args(["-n", &net.world]).args(shape).output().expect("tc can be run");
        assert!(tc.status.success(), "tc tbf: {}", String::from_utf8_lossy(&tc.stderr));
        net
    }

    /// Programs that are started from now on at the door ask this name server, once, for a second.
    pub(crate) fn ask_names_at(&self, server: &str) {
        let folder = self.resolver_folder();
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        std::fs::write(folder.join("resolv.conf"), text).unwrap();
    }

    /// What `ip netns exec` shows to programs in place of the files of /etc.
    fn resolver_folder(&self) -> std::path::PathBuf {
        Path::new("/etc/netns").join(&self.door)
    }

    fn name(&self, side: Side) -> &str {
        if side == Side::Door { &self.door } else { &self.world }
    }

    /// A program on one side, which ends by itself in any case.
    pub(crate) fn command(&self, side: Side, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(side), "timeout", "--foreground", "-k", "1", LONGEST_S, program]);
        command.stdin(Stdio::null());
        command
    }

    /// Starts a program whose output goes to a file.
    pub(crate) fn start(&self, side: Side, program: &str, arguments: &[&str], log: &Path) -> Running {
        // Without `timeout` between, so that signals reach it; it ends with its namespace or its guard.
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(side), program]).args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Running(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Runs a program to its end: whether it succeeded, and what it said.
    pub(crate) fn run(&self, side: Side, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = self.command(side, program).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    /// Python on one side, until it ends or is dropped.
    pub(crate) fn python(&self, side: Side, script: &str, log: &Path) -> Running {
        need("python3", "python3");
        self.start(side, "python3", &["-c", script], log)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.door, &self.world] {
            remove(name);
        }
        // Where there is none, nothing was changed.
        let _ = std::fs::remove_dir_all(self.resolver_folder());
    }
}

/// Ends what is left in a namespace that is ours, and removes it.
fn remove(name: &str) {
    let pids = ip(&["netns", "pids", name]).stdout;
    for pid in String::from_utf8_lossy(&pids).split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = ip(&["netns", "del", name]);
}

/// Removes namespaces of tests that were killed before they could.
fn sweep() {
    let all = ip(&["netns", "list"]).stdout;
    for name in String::from_utf8_lossy(&all).lines().filter_map(|line| line.split_whitespace().next()) {
        let owner = name.strip_prefix("guichet-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            remove(name);
        }
    }
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
