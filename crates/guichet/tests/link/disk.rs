//! A full disk: kept answers, the log and the journal of notices cannot be written. Nobody is refused for it, it is reported
//! as degraded, and it is over when there is room again.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::net::{Net, Running, Side, wait_for};

const GUICHET: &str = env!("CARGO_BIN_EXE_guichet");
const PATIENCE: Duration = Duration::from_secs(60);

/// A service whose page takes a hundredth of the disk.
const SERVICE: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * 20000
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Handler).serve_forever()
"#;

const CONFIG: &str = r#"
[node]
workers = 1
drain_s = 1
[admin]
listen = "127.0.0.1:8444"
[[listener]]
name = "http"
address = "127.0.0.1:8080"
protocol = "http"
[log]
access = "DISK/access.log"
[cache]
directory = "DISK/cache"
[notices]
directory = "DISK/notices"
listen = "127.0.0.1:8448"
url = "http://127.0.0.1:8448"
[channel.counter]
name = { en = "Counter", fr = "Guichet" }
[upstream.small]
servers = ["127.0.0.1:9000"]
[service.small]
hosts = ["127.0.0.1"]
upstream = "small"
[service.small.contract]
name = { en = "Small", fr = "Petit" }
ways = ["counter"]
[[service.small.route]]
path = "/"
cache = { query = ["n"], ttl_s = 60 }
"#;

/// Statuses of requests for ten pages, each of which is to be kept.
fn ask(net: &Net, from: u32) -> String {
    let url = format!("http://127.0.0.1:8080/?n=[{from}-{}]", from + 9);
    net.run(Side::Door, "curl", &["-s", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code} ", &url]).1
}

fn degraded(net: &Net) -> Option<String> {
    let (good, text) = net.run(Side::Door, GUICHET, &["status", "--json"]);
    let status: Value = serde_json::from_str(&text).ok().filter(|_| good)?;
    Some(status["degraded"].to_string())
}

fn open_a_notice(net: &Net) -> (bool, String) {
    let words = ["notice", "open", "--title-en", "Full", "--title-fr", "Plein", "--text-en", "x", "--text-fr", "y"];
    net.run(Side::Door, GUICHET, &[&words[..], &["--service", "small"]].concat())
}

#[test]
fn a_full_disk_refuses_nobody_and_is_told() {
    let net = Net::new(8);
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let config = dir.path().join("guichet.toml");
    std::fs::write(&config, CONFIG.replace("DISK", disk.to_str().unwrap())).unwrap();
    let service = net.python(Side::Door, SERVICE, &dir.path().join("service.log"));
    // The small disk is in a mount namespace of Guichet's own, and gone with it, however it ends.
    let script = "mount -t tmpfs -o size=2m guichet-test \"$1\" && exec \"$2\" serve -c \"$3\"";
    let (at, file) = (disk.to_str().unwrap(), config.to_str().unwrap());
    let arguments = ["-m", "sh", "-c", script, "sh", at, GUICHET, file];
    let guichet: Running = net.start(Side::Door, "unshare", &arguments, &dir.path().join("guichet.log"));
    let log = || std::fs::read_to_string(dir.path().join("guichet.log")).unwrap_or_default();
    wait_for("Guichet", PATIENCE, || ask(&net, 0).starts_with("200").then_some(()));
    assert_eq!(ask(&net, 10), "200 ".repeat(10), "{}", log());

    // Its root as seen from here leads into its namespace.
    let inside = Path::new("/proc").join(guichet.0.id().to_string()).join("root");
    let ballast = inside.join(disk.strip_prefix("/").unwrap()).join("ballast");
    let full = std::fs::write(&ballast, vec![0; 4 * 1024 * 1024]);
    assert!(full.is_err(), "the disk is smaller than that");
    let told = wait_for("a word about it", PATIENCE, || {
        assert_eq!(ask(&net, 20), "200 ".repeat(10), "{}", log());
        let (good, text) = open_a_notice(&net);
        // A notice that is not on the disk was not said: the operator learns it at once.
        assert!(!good, "{text}");
        degraded(&net).filter(|text| text.contains("kept answers") && text.contains("journal cannot be written"))
    });
    let (_, page) = net.run(Side::Door, "curl", &["-s", "--max-time", "30", "http://127.0.0.1:8448/index.en.html"]);
    assert!(page.contains("</html>") && !page.contains("Full"), "{told}: {page}");

    std::fs::remove_file(&ballast).unwrap();
    wait_for("the end of it", PATIENCE, || {
        assert_eq!(ask(&net, 30), "200 ".repeat(10), "{}", log());
        let (good, _) = open_a_notice(&net);
        degraded(&net).filter(|text| good && text == "[]")
    });
    assert!(!log().contains("panicked"), "{}", log());
    drop((guichet, service));
}
