//! What tests of the real program share: processes that end with the test, and requests over real sockets.
#![expect(dead_code, reason = "each test uses its part")]

pub(crate) mod postgres;
mod wait;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use sqlx::Connection as _;

pub(crate) use wait::*;

/// Where the program keeps its stores if no `--database` says so.
const DATABASE_VARIABLE: &str = "GUICHET_DATABASE";

/// A process of the test; killed when dropped. What it prints comes line by line.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::of(command.stdin(Stdio::null()))
    }

    /// As [`Running::start`], for a program that is told what to do.
    pub(crate) fn with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::of(command.stdin(Stdio::piped()));
        let input = running.child.stdin.take().expect("standard input");
        (running, input)
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start a program");
        let out = child.stdout.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The first line for which `read` gives something.
    pub(crate) fn line<T>(&self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if let Some(found) = read(&line) {
                return found;
            }
        }
    }
}

/// The folder into which the suite installs packages of PyPI (`python`) or npm (`npm`).
///
/// # Panics
/// When `package` is not in it, with what installs it.
pub(crate) fn packages(registry: &str, package: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
    let folder = cache.join("guichet").join(registry);
    let modules = if registry == "npm" { folder.join("node_modules") } else { folder };
    let missing = format!("{} is missing in {}: `cargo xtask test` installs it", package, modules.display());
    assert!(modules.join(package).exists(), "{missing}");
    modules
}

/// A started estate: where each of its services is.
pub(crate) struct Estate {
    pub(crate) running: Running,
    /// Name and address, in the order in which they were told; `cards` and `telephone` among them.
    pub(crate) places: Vec<(String, SocketAddr)>,
}

impl Estate {
    /// Starts the program with these arguments and waits until it is ready.
    pub(crate) fn start(arguments: &[&str], data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
        // A machine that does other things besides is no bank that is away.
        command.env("GUICHET_RAILS_PATIENCE_MS", "5000");
        let running = Running::start(command.args(arguments).arg("--data").arg(data));
        let mut places = Vec::new();
        loop {
            let line = running.line("the estate", |line| Some(line.to_owned()));
            let Some((name, url)) = line.split_once(' ') else { break };
            let address = url.split_once("://").expect("a URL").1;
            places.push((name.to_owned(), address.parse().unwrap()));
        }
        Self { running, places }
    }

    /// Where something of this name is.
    pub(crate) fn at(&self, name: &str) -> SocketAddr {
        self.places.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
    }
}

/// Status, head and body of the answer to a request of JSON.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}");
    exchange(address, &head, body)
}

/// Status, head and body of the answer to any request; the head ends with its last field.
pub(crate) fn exchange(address: SocketAddr, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}

/// The store of a service, to look or reach behind it.
pub(crate) async fn store(data: &Path, service: &str) -> sqlx::AnyConnection {
    sqlx::any::install_default_drivers();
    let url = match std::env::var(DATABASE_VARIABLE) {
        Ok(url) => format!("{url}?options=-csearch_path%3D{service}"),
        Err(_) => format!("sqlite://{}/{service}.sqlite3", data.display()),
    };
    sqlx::AnyConnection::connect(&url).await.unwrap()
}

/// Runs the tests of this program, but those in `but`, once more with the stores in PostgreSQL.
pub(crate) fn again_on_postgres(but: &[&str]) {
    postgres::again(DATABASE_VARIABLE, |test| !test.contains("on_postgres") && !but.contains(&test));
}

/// Balance and spendable money of a user's current account at the bank, as its interface tells the user.
pub(crate) fn money(bank: SocketAddr, user: u32) -> (i64, i64) {
    let body = format!("{{\"user\":\"user{user:04}\",\"password\":\"password-{user:04}\"}}");
    let (_, head, _) = ask(bank, "POST", "/login", "", &body);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let session = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    let (status, _, body) = ask(bank, "GET", "/accounts", &session, "");
    assert_eq!(status, 200, "{body}");
    let account = serde_json::from_str::<serde_json::Value>(&body).unwrap()["accounts"][0].clone();
    (account["balance_cents"].as_i64().unwrap(), account["available_cents"].as_i64().unwrap())
}

/// No invariant of the stores in this folder is broken.
pub(crate) fn verified(data: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
    let checked = command.args(["verify", "--data"]).arg(data).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
