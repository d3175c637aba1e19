//! Guichet behind the narrow line: the real binary in the door's namespace, with one small service.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::net::{DOOR, Net, Running, Side, wait_for};

const GUICHET: &str = env!("CARGO_BIN_EXE_guichet");
/// What anything may take here: the machine may be busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Door {
    pub(crate) guichet: Running,
    service: Option<Running>,
    pub(crate) net: Net,
    pub(crate) dir: tempfile::TempDir,
}

/// A service that takes `SECONDS` for an answer.
const SERVICE: &str = r#"
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(SECONDS)
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
Server(("127.0.0.1", 9000), Handler).serve_forever()
"#;

impl Door {
    /// Starts it behind a line of `mbit`; `extra` is appended to the configuration.
    pub(crate) fn open(mbit: u32, service_s: f64, extra: &str) -> Self {
        Self::open_in(Net::new(mbit), mbit, service_s, extra, "127.0.0.1:9000")
    }

    /// The same in a network that is there already, with the service at `server`.
    pub(crate) fn open_in(net: Net, mbit: u32, service_s: f64, extra: &str, server: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = start_service(&net, dir.path(), service_s);
        // Other work on this machine must not be taken for ours: the processors' and the memory's figures are recorded ones.
        let proc = dir.path().join("proc");
        std::fs::create_dir(&proc).unwrap();
        std::os::unix::fs::symlink("/proc/self/net", proc.join("net")).unwrap();
        std::fs::write(proc.join("stat"), "cpu  100 0 100 1000 0 0 0 0 0 0\n").unwrap();
        std::fs::write(proc.join("meminfo"), "MemTotal: 1000 kB\nMemAvailable: 600 kB\n").unwrap();
        let text = format!(
            r#"
[node]
workers = 1
drain_s = 2
[admin]
listen = "127.0.0.1:8444"
[health]
listen = "{DOOR}:8480"
agent = "{DOOR}:8481"
[[listener]]
name = "http"
address = "{DOOR}:8080"
protocol = "http"
[limits]
connections_per_source = 512
connections_per_network = 1024
[log]
access = "off"
[upstream.small]
servers = ["{server}"]
health = {{ path = "/", interval_ms = 2000, timeout_ms = 2000 }}
[service.small]
hosts = ["{DOOR}"]
upstream = "small"
concurrency = {{ initial = 4, min = 4, max = 4 }}
queue = {{ length = 4, wait_ms = 500 }}
[link]
interface = [{{ name = "line0", rate_mbit = {mbit}, overhead_bytes = 0 }}]
procfs = "{proc}"
own = ["192.0.2.0/24", "2001:db8:7::/48"]
journal = "journal.json"
release_s = 5
{extra}"#,
            proc = proc.display(),
        );
        std::fs::write(dir.path().join("guichet.toml"), text).unwrap();
        let guichet = start(&net, dir.path());
        let door = Self { guichet, service: Some(service), net, dir };
        door.wait_for_verdict("nothing_wrong");
        door
    }

    /// Starts Guichet again, after it ended.
    pub(crate) fn start_again(&mut self) {
        self.guichet = start(&self.net, self.dir.path());
        wait_for("the node", PATIENCE, || self.status());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("guichet.log")).unwrap_or_default()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the operator: whether it succeeded, and what it said.
    pub(crate) fn order(&self, arguments: &[&str]) -> (bool, String) {
        self.net.run(Side::Door, GUICHET, arguments)
    }

    /// The same, where it must succeed.
    pub(crate) fn ordered(&self, arguments: &[&str]) -> String {
        let (good, text) = self.order(arguments);
        assert!(good, "{arguments:?}: {text}\n{}", self.log());
        text
    }

    /// What `guichet status --json` says.
    pub(crate) fn status(&self) -> Option<Value> {
        let (good, text) = self.order(&["status", "--json"]);
        good.then(|| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    pub(crate) fn wait_for_verdict(&self, wanted: &str) -> Value {
        let mut last = Value::Null;
        let look = || {
            last = self.status()?;
            (last["link"]["verdict"] == wanted).then(|| last["link"].clone())
        };
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_for(wanted, PATIENCE, look)));
        found.unwrap_or_else(|_| panic!("no verdict {wanted}: {last:#}\n{}", self.log()))
    }

    /// The routes in a state.
    pub(crate) fn routes(&self, state: &str) -> Vec<Value> {
        let text = self.ordered(&["hand-on", "list", "--json"]);
        let all: Value = serde_json::from_str(&text).unwrap();
        all["routes"].as_array().unwrap().iter().filter(|route| route["state"] == state).cloned().collect()
    }

    /// curl from one side: status and body.
    pub(crate) fn get(&self, side: Side, url: &str) -> (u16, String) {
        let (_, text) = self.net.run(side, "curl", &["-s", "--max-time", "20", "-w", "\n%{http_code}", url]);
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.trim().parse().unwrap_or(0), body.to_owned())
    }

    /// What an agent check is told.
    pub(crate) fn agent(&self) -> String {
        let script = format!(
            "import socket; s = socket.create_connection(('{DOOR}', 8481), 20); s.settimeout(20); print(s.recv(200).decode(), end='')"
        );
        self.net.run(Side::World, "python3", &["-c", &script]).1
    }

    pub(crate) fn end_service(&mut self) {
        self.service = None;
    }

    /// The service's process ends, and another begins: no connection to it stays.
    pub(crate) fn restart_service(&mut self) {
        self.service = None;
        self.service = Some(start_service(&self.net, self.dir.path(), 0.0));
    }
}

fn start_service(net: &Net, dir: &std::path::Path, service_s: f64) -> Running {
    net.python(Side::Door, &SERVICE.replace("SECONDS", &service_s.to_string()), &dir.join("service.log"))
}

fn start(net: &Net, dir: &std::path::Path) -> Running {
    let config = dir.join("guichet.toml");
    net.start(Side::Door, GUICHET, &["serve", "-c", config.to_str().unwrap()], &dir.join("guichet.log"))
}
