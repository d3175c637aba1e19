//! The program as it is used: started, asked over real sockets, ended by a signal.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running estate; killed when dropped, in case a test fails.
struct Running {
    child: Child,
    addresses: Vec<(String, SocketAddr)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn estate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(arguments: &[&str]) -> Running {
    let mut running = Running { child: estate(arguments).spawn().unwrap(), addresses: Vec::new() };
    for line in BufReader::new(running.child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "ready" {
            return running;
        }
        let (name, url) = line.split_once(" http://").unwrap();
        running.addresses.push((name.to_owned(), url.parse().unwrap()));
    }
    let mut told = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    panic!("it ended before it was ready: {told}");
}

/// Sends bytes and reads until the server closes.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\r\n"))
}

/// The exit code, within a bound of time.
fn ended(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not end");
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn all_services_answer_over_sockets_and_end_on_a_signal_and_keep_what_they_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let capacity = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/capacity.toml");
    let arguments =
        ["all", "--base-port", "0", "--data", dir.path().to_str().unwrap(), "--capacity", capacity.to_str().unwrap()];
    let body = r#"{"office":"PARIS1","terminal":"G1","kind":"stamps","amount_cents":139}"#;
    let operation = format!(
        "POST /operations HTTP/1.1\r\nhost: counter\r\nconnection: close\r\ncontent-type: application/json\r\n\
         idempotency-key: key-00000001\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut receipts = Vec::new();
    for end in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = start(&arguments);
        let names: Vec<_> = running.addresses.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["portal", "app", "identity", "vault", "bank", "rails", "counter", "parcels", "staff"]);
        for (name, address) in &running.addresses {
            let answer = get(*address, "/");
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-estate-op: "), "{name}: {answer}");
        }
        let answer = exchange(running.addresses[6].1, &operation);
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("x-estate-op: operation"), "{answer}");
        receipts.push(answer.split("\r\n\r\n").nth(1).unwrap().to_owned());
        signal(&running.child, end);
        assert_eq!(ended(&mut running.child), Some(0));
    }
    assert_eq!(receipts[0], receipts[1], "the second run remembers the first");
}

#[test]
fn a_slow_client_and_broken_http_do_not_hold_up_the_others_or_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let mut running = start(&["parcels", "--listen", "127.0.0.1:0", "--data", data]);
    let address = running.addresses[0].1;
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"POST /quotes HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").unwrap();
    let broken = exchange(address, "NOT HTTP\r\n\r\n");
    assert!(broken.starts_with("HTTP/1.1 400 "), "{broken}");
    assert!(get(address, "/tracking/CG100000003FR").contains("x-estate-op: tracking"));
    signal(&running.child, Signal::SIGTERM);
    assert_eq!(ended(&mut running.child), Some(0));
}

#[test]
fn what_is_wrong_is_said_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(&wrong, "[service.bank]\nworkers = 0\nqueue_max = 1\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap().to_string();
    let (data, wrong) = (data.to_str().unwrap(), wrong.to_str().unwrap());
    for (arguments, words) in [
        (vec!["all", "--base-port", "0", "--data", data, "--capacity", wrong], "workers is 0"),
        (vec!["bank", "--listen", "0.0.0.0:0", "--data", data], "loopback"),
        (vec!["bank", "--listen", &taken_at, "--data", data], "can't listen"),
        (vec!["bank", "--listen", "127.0.0.1:0", "--data", "/proc/nowhere"], "/proc/nowhere"),
        (vec!["all", "--base-port", "65530", "--data", data], "65526"),
    ] {
        let output = estate(&arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{arguments:?}: {told}");
    }
    assert!(!Path::new(data).exists(), "nothing was written");
}

#[test]
fn it_ends_with_its_parent_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_guichet-estate");
    let data = dir.path().to_str().unwrap();
    // A shell in between starts it, tells where it is, and ends.
    let script = format!(
        "'{program}' rails --listen 127.0.0.1:0 --data '{data}' --exit-with-parent > '{data}/out' & \
         for i in $(seq 200); do grep -q ready '{data}/out' && break; sleep 0.05; done; cat '{data}/out'"
    );
    let output = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let address: SocketAddr = told.lines().next().unwrap().strip_prefix("rails http://").unwrap().parse().unwrap();
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "it outlives its parent");
        std::thread::sleep(Duration::from_millis(50));
    }
}
