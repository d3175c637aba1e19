//! A whole house for a test: the estate and Guichet before it, as the real processes, on loopback, ended on drop.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const GUICHET: &str = env!("CARGO_BIN_EXE_guichet");
/// Services in the order of their ports (estate base + n, from 1).
pub(crate) const SERVICES: [&str; 9] =
    ["portal", "app", "identity", "vault", "bank", "rails", "counter", "parcels", "staff"];

/// A child that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), signal);
    }

    /// Waits for its end; fails the test if it does not come within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < until, "process {} did not end within {limit:?}", self.0.id());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct House {
    pub(crate) guichet: Process,
    /// Ends with the house.
    pub(crate) estate: Process,
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) admin: u16,
    /// The page of the test telephone, to which all text messages go.
    pub(crate) telephone: String,
    pub(crate) config: PathBuf,
    /// Keeps the estate's ports ours.
    _ports: TcpListener,
    /// Last, so that nobody writes there any more when it is removed.
    pub(crate) dir: tempfile::TempDir,
}

impl House {
    /// Starts all of it; `extra` is appended to the configuration.
    pub(crate) fn open(extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        write_certificates(dir.path());
        let (estate_base, ports) = free_range();
        let [http, https, admin] = free_ports();
        let (estate, telephone) = start_estate(dir.path(), estate_base);
        let config = dir.path().join("guichet.toml");
        std::fs::write(&config, config_text(dir.path(), http, https, admin, estate_base, extra)).expect("write config");
        let guichet = start_guichet(&config, dir.path());
        let house = Self { guichet, estate, http, https, admin, telephone, config, _ports: ports, dir };
        house.wait_ready();
        house
    }

    fn wait_ready(&self) {
        assert!(self.telephone.starts_with("http://127."), "the estate has a telephone");
        let until = Instant::now() + Duration::from_secs(20);
        while self.admin_get("/health/ready").0 != 200 {
            assert!(Instant::now() < until, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("guichet.log")).unwrap_or_default()
    }

    /// The first line of the access log that fits; waits for it, since a thread of its own writes.
    pub(crate) fn logged(&self, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
            // The last line may be half written.
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(line) = lines.into_iter().find(|line| fits(line)) {
                return line;
            }
            assert!(Instant::now() < until, "no such line in {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn admin_get(&self, path: &str) -> (u16, String) {
        let output = curl(&["-s", "-w", "\n%{http_code}", &format!("http://127.0.0.1:{}{path}", self.admin)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    /// curl to a service over https with further arguments; head and body as text.
    pub(crate) fn get(&self, service: &str, path: &str, arguments: &[&str]) -> String {
        let url = format!("https://{service}.localhost:{}{path}", self.https);
        let resolve = format!("{service}.localhost:{}:127.0.0.1", self.https);
        let ca = self.dir.path().join("ca.pem");
        let mut all = vec!["-s", "-i", "--max-time", "20", "--resolve", &resolve, "--cacert", ca.to_str().unwrap()];
        all.extend_from_slice(arguments);
        all.push(&url);
        let output = curl(&all);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl House {
    /// A command of the operator to this house's node: whether it succeeded, and what it said.
    pub(crate) fn order(&self, arguments: &[&str]) -> (bool, String) {
        let admin = format!("127.0.0.1:{}", self.admin);
        let output = Command::new(GUICHET).args(arguments).args(["--admin", &admin]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    /// The same, where it must succeed.
    pub(crate) fn ordered(&self, arguments: &[&str]) -> String {
        let (good, text) = self.order(arguments);
        assert!(good, "{arguments:?}: {text}");
        text
    }
}

pub(crate) fn curl(arguments: &[&str]) -> Output {
    Command::new("curl").args(arguments).output().expect("curl is installed (apt-get install curl)")
}

/// The estate, and where its telephone is.
fn start_estate(dir: &Path, base: u16) -> (Process, String) {
    let mut child = Command::new(GUICHET)
        .args(["estate", "all", "--base-port", &base.to_string(), "--data"])
        .arg(dir.join("estate"))
        .args(["--telephone", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(dir.join("estate.log")).unwrap())
        .spawn()
        .expect("start the estate");
    let stdout = child.stdout.take().unwrap();
    let process = Process(child);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut telephone = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(page) = line.strip_prefix("telephone ") {
                page.clone_into(&mut telephone);
            }
            if line.trim() == "ready" {
                let _ = tell.send(telephone.clone());
            }
        }
    });
    let telephone = told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
        panic!("estate not ready: {}", std::fs::read_to_string(dir.join("estate.log")).unwrap_or_default())
    });
    (process, telephone)
}

pub(crate) fn start_guichet(config: &Path, dir: &Path) -> Process {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("guichet.log")).unwrap();
    let child = Command::new(GUICHET)
        .args(["serve", "-c"])
        .arg(config)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("start guichet");
    Process(child)
}

/// Free ports, from a block that this test has to itself until it ends. They lie below what the system gives out for port 0:
/// what is drawn here and opened later can't be taken in between by a connection, or by another test.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static BLOCK: OnceLock<(u16, TcpListener)> = OnceLock::new();
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    const PORTS: u16 = 20;
    let (base, _lock) = BLOCK.get_or_init(|| {
        let bases = (0..300u16).map(|attempt| 12_000 + (std::process::id() as u16 % 300 + attempt) % 300 * PORTS);
        let mut locked = bases.filter_map(|base| Some((base, TcpListener::bind(("127.0.0.1", base)).ok()?)));
        locked.next().expect("no block of ports is free")
    });
    std::array::from_fn(|_| {
        loop {
            let n = DRAWN.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(n < PORTS, "a test draws fewer than {PORTS} ports");
            if TcpListener::bind(("127.0.0.1", base + n)).is_ok() {
                return base + n;
            }
        }
    })
}

/// Nine free ports in a row, and a lock on them; the base is one less than the first. They lie below what the system
/// gives out for port 0, and the lock, a socket on the port before them, keeps other tests off until the house is gone.
pub(crate) fn free_range() -> (u16, TcpListener) {
    for attempt in 0..1000u16 {
        let base = 20_000 + (std::process::id() as u16 % 1000 + attempt) % 1000 * 10;
        let Ok(lock) = TcpListener::bind(("127.0.0.1", base)) else { continue };
        if (1..=9).all(|n| TcpListener::bind(("127.0.0.1", base + n)).is_ok()) {
            return (base, lock);
        }
    }
    panic!("no nine free ports in a row")
}

/// A CA, a certificate for all services, and a partner's certificate under its own CA.
pub(crate) fn write_certificates(dir: &Path) {
    use base64::Engine as _;
    use rcgen::PublicKeyData as _;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use sha2::Digest as _;
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    };
    let leaf = |issuer: &Issuer<'_, KeyPair>, name: &str, hosts: Vec<String>| {
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        (certificate, key.serialize_pem(), key.subject_public_key_info())
    };
    let (ca, issuer) = authority("test CA");
    let hosts = SERVICES.iter().map(|s| format!("{s}.localhost")).collect();
    let (cert, key, public_key) = leaf(&issuer, "portal.localhost", hosts);
    let (partner_ca, partner_issuer) = authority("partner CA");
    let (partner, partner_key, _) = leaf(&partner_issuer, "cash-machines", vec![]);
    for (name, text) in [
        ("ca.pem", ca),
        ("cert.pem", cert),
        ("key.pem", key),
        ("partner-ca.pem", partner_ca),
        ("partner.pem", partner),
        ("partner-key.pem", partner_key),
        // By which a browser can be told to trust this key: it knows none of these authorities.
        ("key.sha256", base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(public_key))),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// The configuration of a house: the estate's nine services behind two listeners.
pub(crate) fn config_text(dir: &Path, http: u16, https: u16, admin: u16, estate_base: u16, extra: &str) -> String {
    use std::fmt::Write as _;
    let at = |name: &str| dir.join(name).display().to_string();
    let mut text = format!(
        r#"[node]
workers = 2
drain_s = 10
orders_file = "orders"

[admin]
listen = "127.0.0.1:{admin}"

[[listener]]
name = "https"
address = "127.0.0.1:{https}"
protocol = "https"
partner_ca = "{partner_ca}"

[[listener]]
name = "http"
address = "127.0.0.1:{http}"
protocol = "http"
redirect_to_https = true
https_port = {https}

[[certificate]]
cert = "{cert}"
key = "{key}"

[log]
access = "{log}"

[[partner]]
name = "cash-machines"
subject = "CN=cash-machines"
"#,
        partner_ca = at("partner-ca.pem"),
        cert = at("cert.pem"),
        key = at("key.pem"),
        log = at("access.log"),
    );
    for (n, service) in SERVICES.iter().enumerate() {
        let port = estate_base + 1 + n as u16;
        let (criticality, partner_only) = match *service {
            "rails" | "counter" => ("critical", true),
            "identity" | "bank" | "staff" => ("important", false),
            _ => ("ordinary", false),
        };
        write!(
            text,
            r#"
[upstream.{service}]
servers = ["127.0.0.1:{port}"]

[service.{service}]
hosts = ["{service}.localhost"]
upstream = "{service}"
criticality = "{criticality}"
partner_only = {partner_only}
"#
        )
        .unwrap();
        if !partner_only {
            writeln!(text, r#"session = {{ cookie = "{service}_session" }}"#).unwrap();
        }
    }
    text.push_str(extra);
    text
}
