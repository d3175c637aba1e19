use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use guichet_core::bounds::ADMIN_CONNECTIONS_MAX;
use serde_json::Value;

use super::server::Deadlines;
use super::*;
use crate::contract::Contracts;
use crate::record::metrics::Registry;
use crate::signs::Signs;

struct Fake(AtomicU8, Arc<Signs>);

impl Default for Fake {
    fn default() -> Self {
        Self(AtomicU8::new(0), Arc::new(Signs::new(1).0))
    }
}

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

    fn issue_code(&self, uses: u16, ends_s: u64) -> String {
        format!("{uses}-{ends_s}")
    }

    fn signs(&self) -> Arc<Signs> {
        self.1.clone()
    }

    fn contracts(&self) -> Option<Arc<Contracts>> {
        None
    }

    fn contract_views(&self) -> Vec<ContractView> {
        Vec::new()
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

/// Gives an order; the answer's status and body.
fn order(server: &AdminServer, path: &str, header: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let (status, _, body) = talk(
        server,
        &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {length}\r\n\r\n{body}"),
    );
    (status, body)
}

#[test]
fn orders_need_their_header_and_make_sense() {
    const HEADER: &str = "X-Guichet-Order: 1\r\n";
    let (source, server) = start();
    let check = |path: &str, header: &str, body: &str, status, part: &str| {
        let (got, answer) = order(&server, path, header, body);
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(answer.contains(part), "{path} {body}: {answer}");
    };
    let network = r#"{"network":"192.0.2.0/24","for_s":60,"because":"a feed"}"#;
    check("/allow/add", "", network, 403, "x-guichet-order");
    check("/allow/add", HEADER, network, 200, "192.0.2.0/24");
    check("/allow/add", HEADER, r#"{"network":"nowhere"}"#, 400, "192.0.2.0/24");
    check("/allow/add", HEADER, r#"{"network":"192.0.2.1","for_s":0}"#, 400, "for_s");
    check("/allow/add", HEADER, "{", 400, "cannot be read");
    check("/allow/add", HEADER, r#"{"network":"192.0.2.1","forr_s":5}"#, 400, "forr_s");
    check("/allow/add", HEADER, &" ".repeat(20_000), 413, "16384");
    check("/allow/remove", HEADER, r#"{"network":"198.51.100.0/24"}"#, 404, "configuration");
    check("/mitigations/pin", HEADER, r#"{"id":1,"step":"destroy"}"#, 400, "deprioritise");
    let add = |service: &str, step: &str, parts: &str| {
        format!(r#"{{"service":"{service}","step":"{step}","signature":{parts}}}"#)
    };
    check("/mitigations/add", HEADER, &add("nowhere", "limit", r#"[["agent","x"]]"#), 400, "portal");
    check("/mitigations/add", HEADER, &add("portal", "stop", r#"[["agent","x"]]"#), 400, "deprioritise");
    check("/mitigations/add", HEADER, &add("portal", "limit", "[]"), 400, "one to 4");
    check("/mitigations/add", HEADER, &add("portal", "limit", r#"[["colour","red"]]"#), 400, "header_order");
    check("/mitigations/add", HEADER, &add("portal", "limit", r#"[["cookies","many"]]"#), 400, "session");
    check("/mitigations/add", HEADER, &add("portal", "limit", r#"[["source","here"]]"#), 400, "192.0.2.7");
    check("/passes/issue", HEADER, r#"{"uses":3,"for_s":60}"#, 200, "\"uses\": 5");
    check("/passes/issue", HEADER, r#"{"uses":9999}"#, 400, "500");
    check("/passes/issue", HEADER, r#"{"uses":0}"#, 400, "500");
    check("/passes/issue", HEADER, r#"{"for_s":9999999}"#, 400, "30 days");
    let held: Value = serde_json::from_str(&get(&server, "/allow").2).unwrap();
    assert_eq!(held["by_order"][0]["because"], "a feed");
    assert!(source.1.allowed.allows([192, 0, 2, 7].into(), crate::clock::now()));
    check("/allow/remove", HEADER, r#"{"network":"192.0.2.0/24"}"#, 200, "removed");
    assert!(!source.1.allowed.allows([192, 0, 2, 7].into(), crate::clock::now()));
    let (status, head, _) = talk(&server, "GET /allow/add HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 405 && head.contains("allow: post"), "{head}");
    let evil = format!("POST /allow/add HTTP/1.1\r\nHost: evil.example\r\n{HEADER}Content-Length: 2\r\n\r\n{{}}");
    assert_eq!(talk(&server, &evil).0, 421);
}

#[test]
fn a_reference_code_is_explained() {
    use crate::signs::Refusal;
    let (source, server) = start();
    let id = crate::record::RequestId([7; 16]);
    let reference = crate::record::Reference::new(guichet_core::Reason::Mitigated, id);
    let path = format!("/explain?code={reference}");
    let unknown: Value = serde_json::from_str(&get(&server, &path).2).unwrap();
    assert_eq!((&unknown["reason"], &unknown["refusal"]), (&Value::from("mitigated"), &Value::Null));
    let id_part = crate::record::parse_reference(reference.as_str()).unwrap().id_part;
    let standing = guichet_core::Standing::Newcomer;
    source.1.refusals.note(&Refusal { id_part, mitigation: 9, service: 0, standing, unix_s: 1_790_000_000 });
    let known: Value = serde_json::from_str(&get(&server, &path).2).unwrap();
    assert_eq!(known["refusal"]["service"], "portal");
    assert_eq!(known["refusal"]["standing"], "newcomer");
    assert_eq!(get(&server, "/explain?code=G-108-0000000").0, 400);
    assert_eq!(get(&server, "/explain").0, 400);
}
