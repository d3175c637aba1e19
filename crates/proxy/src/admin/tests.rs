use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use guichet_core::bounds::ADMIN_CONNECTIONS_MAX;
use serde_json::Value;

use super::server::Deadlines;
use super::*;
use crate::record::metrics::Registry;

#[derive(Default)]
struct Fake(AtomicU8);

impl AdminSource for Fake {
    fn metrics(&self) -> String {
        Registry::new("0.0.0", 1).expose()
    }

    fn ready(&self) -> Result<(), NotReady> {
        match self.0.load(Relaxed) {
            0 => Err(NotReady::Starting),
            1 => Ok(()),
            2 => Err(NotReady::ConfigMissing),
            _ => Err(NotReady::Draining),
        }
    }

    fn status(&self) -> Status {
        let service = ServiceStatus { name: "portal".into(), limit: 32.0, ..ServiceStatus::default() };
        Status { version: "0.0.0", services: vec![service], ..Status::default() }
    }
}

fn start() -> (Arc<Fake>, AdminServer) {
    let source = Arc::new(Fake::default());
    let server = AdminServer::start(([127, 0, 0, 1], 0).into(), source.clone()).unwrap();
    (source, server)
}

/// Sends bytes and reads to the end: status, head, body.
fn talk(server: &AdminServer, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn get(server: &AdminServer, path: &str) -> (u16, String, String) {
    talk(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

#[test]
fn paths_answer_what_they_promise() {
    let (source, server) = start();
    source.0.store(1, Relaxed);
    let check = |path: &str, status, content_type: &str, part: &str| {
        let (got, head, body) = get(&server, path);
        assert_eq!(got, status, "{path}");
        assert!(head.contains(&format!("content-type: {content_type}")), "{path}: {head}");
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
        assert!(body.contains(part), "{path}: {body}");
    };
    check("/", 200, "text/html", "/metrics");
    check("/metrics", 200, "text/plain; version=0.0.4", "guichet_build_info{version=\"0.0.0\"} 1");
    check("/health/live", 200, "application/json", "live");
    check("/health/ready", 200, "application/json", "ready");
    check("/status", 200, "application/json", "\"portal\"");
    check("/status?x=1", 200, "application/json", "\"portal\"");
    check("/nothing", 404, "application/problem+json", "\"status\":404");
    assert!(server.stop(Duration::from_secs(5)));
}

#[test]
fn readiness_follows_the_state_and_liveness_does_not() {
    let (source, server) = start();
    for (state, status, reason) in
        [(0, 503, "starting"), (1, 200, "ready"), (2, 503, "config_missing"), (3, 503, "draining")]
    {
        source.0.store(state, Relaxed);
        let (got, _, body) = get(&server, "/health/ready");
        assert_eq!(got, status);
        assert!(body.contains(&format!("\"{reason}\"")), "{body}");
        assert_eq!(get(&server, "/health/live").0, 200);
        let status: Value = serde_json::from_str(&get(&server, "/status").2).unwrap();
        assert_eq!(status["state"], reason);
        assert_eq!(status["services"][0]["limit"], 32.0);
    }
}

#[test]
fn other_methods_and_hosts_are_refused() {
    let (_, server) = start();
    let (status, head, body) = talk(&server, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head") && body.contains("\"status\":405"), "{head} {body}");
    let (status, head, body) = talk(&server, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(status, 421);
    assert!(head.contains("application/problem+json") && !body.contains("guichet_"), "{body}");
    assert_eq!(talk(&server, "GET /metrics HTTP/1.1\r\n\r\n").0, 421);
    let (status, head, body) = talk(&server, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: "), "{head}");
}

#[test]
fn heads_are_bounded() {
    let (_, server) = start();
    let long = "x".repeat(2 * guichet_core::bounds::ADMIN_HEAD_BYTES_MAX);
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may answer and close before all is sent.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(get(&server, "/health/live").0, 200);
}

#[test]
fn silent_connections_are_ended_and_do_not_lock_the_operator_out() {
    let deadlines = Deadlines { head: Duration::from_millis(100), connection: Duration::from_secs(1) };
    let source = Arc::new(Fake::default());
    let server = AdminServer::start_with(([127, 0, 0, 1], 0).into(), source, deadlines).unwrap();
    // All slots are taken by connections that say nothing; the header deadline frees them for the one that waits.
    let silent: Vec<_> = (0..ADMIN_CONNECTIONS_MAX).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    assert_eq!(get(&server, "/health/live").0, 200);
    drop(silent);
}

#[test]
fn a_taken_address_is_named() {
    let (_, server) = start();
    let taken = server.local_addr();
    let error = AdminServer::start(taken, Arc::new(Fake::default())).err().unwrap();
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}
