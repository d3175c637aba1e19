//! Real BGP daemons: the provider's is GoBGP in the world's namespace; the door's is GoBGP or ExaBGP.

use std::time::Duration;

use crate::door::{Door, PATIENCE};
use crate::net::{DOOR, Net, Running, Side, WORLD, need, wait_for};

/// The provider's router, and what it learned.
pub(crate) struct Peer {
    _daemon: Running,
}

fn gobgp_config(own_as: u32, router: &str, local: &str, other: &str, other_as: u32, passive: bool) -> String {
    let families = ["ipv4-unicast", "ipv4-flowspec", "ipv6-unicast", "ipv6-flowspec"];
    let families: String = families
        .iter()
        .map(|family| format!("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n"))
        .collect();
    format!(
        r#"
[global.config]
as = {own_as}
router-id = "{router}"
local-address-list = ["{local}"]
[[neighbors]]
[neighbors.config]
neighbor-address = "{other}"
peer-as = {other_as}
[neighbors.timers.config]
connect-retry = 5
hold-time = 90
idle-hold-time-after-reset = 1
[neighbors.transport.config]
passive-mode = {passive}
{families}"#
    )
}

fn gobgpd(net: &Net, side: Side, config: &str, dir: &std::path::Path) -> Running {
    need("gobgpd", "gobgpd");
    need("gobgp", "gobgpd");
    let name = if side == Side::Door { "gobgp-door" } else { "gobgp-world" };
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let arguments = ["-f", &file, "--api-hosts", "127.0.0.1:50051", "--log-plain"];
    net.start(side, "gobgpd", &arguments, &dir.join(format!("{name}.log")))
}

impl Peer {
    /// The provider's router, which waits for the door's.
    pub(crate) fn start(door: &Door) -> Self {
        let config = gobgp_config(65002, "10.77.0.2", WORLD, DOOR, 65001, true);
        Self { _daemon: gobgpd(&door.net, Side::World, &config, door.dir.path()) }
    }

    /// What it learned, as its command prints it.
    pub(crate) fn learned(&self, door: &Door, family: &str) -> String {
        let (_, text) = door.net.run(Side::World, "gobgp", &["global", "rib", "-a", family]);
        text
    }

    /// Waits until it knows a route with all these parts in one line, or until it knows none.
    pub(crate) fn wait(&self, door: &Door, family: &str, parts: &[&str], there: bool) {
        let mut last = String::new();
        let look = || {
            last = self.learned(door, family);
            let found = last.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            (found == there).then_some(())
        };
        let come = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_for("it", PATIENCE, look)));
        assert!(come.is_ok(), "{parts:?} there: {there} wanted, but {family} is\n{last}\n{}", door.log());
    }
}

/// The door's own GoBGP, with a session that is up.
pub(crate) fn own_gobgp(door: &Door) -> Running {
    let config = gobgp_config(65001, "10.77.0.1", DOOR, WORLD, 65002, false);
    let daemon = gobgpd(&door.net, Side::Door, &config, door.dir.path());
    wait_established(door);
    daemon
}

fn wait_established(door: &Door) {
    wait_for("a BGP session", PATIENCE, || {
        let (_, text) = door.net.run(Side::World, "gobgp", &["neighbor", DOOR]);
        text.to_lowercase().contains("bgp state = established").then_some(())
    });
}

/// The pipes of this test's ExaBGP, in the only folder where its command looks; removed on drop.
pub(crate) struct Pipes(pub(crate) String);

impl Pipes {
    pub(crate) fn make() -> Self {
        let pipes = Self(format!("guichet-{}", std::process::id()));
        std::fs::create_dir_all("/run/exabgp").expect("/run/exabgp can be made by root");
        for file in pipes.files() {
            let made = std::process::Command::new("mkfifo").args(["-m", "600", &file]).status();
            assert!(made.is_ok_and(|status| status.success()), "mkfifo {file}");
        }
        pipes
    }

    fn files(&self) -> [String; 2] {
        ["in", "out"].map(|end| format!("/run/exabgp/{}.{end}", self.0))
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        for file in self.files() {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// The door's own ExaBGP, which takes commands by its pipes.
pub(crate) fn own_exabgp(door: &Door, pipes: &Pipes) -> Running {
    need("exabgp", "exabgp");
    need("exabgpcli", "exabgp");
    let config = format!(
        r#"
neighbor {WORLD} {{
  router-id 10.77.0.1;
  local-address {DOOR};
  local-as 65001;
  peer-as 65002;
  hold-time 90;
  family {{
    ipv4 unicast;
    ipv4 flow;
  }}
}}
"#
    );
    let file = door.file("exabgp.conf");
    std::fs::write(&file, config).unwrap();
    let location = format!("exabgp.api.pipename={}", pipes.0);
    let arguments = [
        location.as_str(),
        "exabgp.daemon.user=root",
        "exabgp.daemon.daemonize=false",
        "exabgp.log.destination=stderr",
        "exabgp.tcp.bind=",
        "exabgp",
        file.to_str().unwrap(),
    ];
    let running = door.net.start(Side::Door, "env", &arguments, &door.file("exabgp.log"));
    wait_established(door);
    // It answers commands a moment after its session is up.
    std::thread::sleep(Duration::from_millis(500));
    running
}
