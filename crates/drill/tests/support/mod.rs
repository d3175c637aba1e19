//! A small server for tests of the load generator: HTTP/1.1, a thread a connection, answers made by a closure.

use guichet_drill::front::RunningFront;
use guichet_drill::load::{Harvest, Job, Live, Targets, run};
use guichet_drill::plan::Plan;
use guichet_drill::scenario::Scenario;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) peer: IpAddr,
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A running server; its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers each request with the bytes that `answer` makes (given how many came before it).
    pub(crate) fn start(answer: impl Fn(&Seen, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &log, answer.as_ref()));
            }
        });
        Self { addr, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// This server as every service's front, without TLS.
    pub(crate) fn targets(&self) -> Targets {
        let mut front = RunningFront::new(Vec::new());
        front.http = Some(self.addr);
        Targets::new(&front).unwrap()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, answer: &(dyn Fn(&Seen, usize) -> String + Send + Sync)) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let peer = stream.peer_addr().unwrap().ip();
    let mut buf = Vec::new();
    while let Some(seen) = next_request(&mut stream, &mut buf, peer) {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len() - 1
        };
        let text = answer(&seen, before);
        if stream.write_all(text.as_bytes()).is_err() || text.contains("connection: close") {
            return;
        }
    }
}

fn next_request(stream: &mut TcpStream, buf: &mut Vec<u8>, peer: IpAddr) -> Option<Seen> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buf[..end]).into_owned();
            let mut words = head.split_whitespace();
            let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
            let mut seen = Seen { peer, at: Instant::now(), method, path, head, body: String::new() };
            let length: usize = seen.header("content-length").map_or(0, |v| v.parse().unwrap());
            while buf.len() < end + 4 + length {
                let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
                buf.extend_from_slice(&chunk[..n]);
            }
            seen.body = String::from_utf8_lossy(&buf[end + 4..end + 4 + length]).into_owned();
            buf.drain(..end + 4 + length);
            return Some(seen);
        }
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        buf.extend_from_slice(&chunk[..n]);
    }
}

/// An answer with the estate's mark.
pub(crate) fn right(op: &str, status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nx-estate-op: {op}\r\n{headers}content-length: 2\r\n\r\nok")
}

/// An answer without it.
pub(crate) fn plain(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n")
}

/// Checks a scenario.
pub(crate) fn scenario(text: &str) -> Scenario {
    Scenario::parse(text, Path::new("test.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Plays a scenario against targets, and returns it with its plan and what came of it.
pub(crate) fn play(
    text: &str,
    targets: Targets,
    tls: Option<guichet_drill::front::TlsFiles>,
) -> (Arc<Scenario>, Arc<Plan>, Harvest) {
    let scenario = Arc::new(scenario(text));
    let plan = Arc::new(Plan::draw(&scenario, scenario.seed).unwrap());
    let job =
        Job { scenario: Arc::clone(&scenario), plan: Arc::clone(&plan), targets, tls, live: Arc::new(Live::default()) };
    let harvest = run(&job).unwrap();
    (scenario, plan, harvest)
}
