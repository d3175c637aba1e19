//! HTTP/1 over cleartext.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use guichet_core::Reason;

use crate::support::{Door, Setup};

pub(crate) fn connect(door: &Door) -> TcpStream {
    let stream = TcpStream::connect(door.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends bytes and reads until the door closes.
pub(crate) fn exchange(door: &Door, bytes: &[u8]) -> String {
    let mut stream = connect(door);
    stream.write_all(bytes).unwrap();
    rest(&mut stream)
}

pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until what came ends with `end`.
pub(crate) fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    let mut bytes = [0; 4096];
    while !answer.ends_with(end) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    answer
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let door = Setup::default().start();
    let mut stream = connect(&door);
    for path in ["/a", "/b"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: portal.localhost\r\n\r\n").unwrap();
        let answer = until(&mut stream, &format!("seen {path}\n"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    // Pipelined, with bodies of both framings.
    stream
        .write_all(
            b"POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcPOST /d HTTP/1.1\r\nHost: h\r\n\
              Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nxyz\r\n0\r\nA: b\r\n\r\nGET /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let answer = rest(&mut stream);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    let seen = door.log.good();
    assert_eq!(seen.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["/a", "/b", "/c", "/d", "/e"]);
    assert_eq!(seen.iter().map(|s| s.method.as_str()).collect::<Vec<_>>(), ["GET", "GET", "POST", "POST", "GET"]);
    assert_eq!(seen[2].body, Some(Ok(b"abc".to_vec())));
    assert_eq!(seen[3].body, Some(Ok(b"xyz".to_vec())));
    assert!(seen.iter().all(|s| s.connection == seen[0].connection));
    door.log.wait("close", |log| log.closed.load(std::sync::atomic::Ordering::SeqCst) == 1);
    assert_eq!(door.log.reasons(), []);
}

#[test]
fn a_bad_request_is_refused_in_its_turn_and_the_connection_closes() {
    let door = Setup::default().start();
    let answer = exchange(
        &door,
        b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\nGET /bad HTTP/1.1\nHost: h\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    let good = answer.find("seen /wait").expect(&answer);
    let bad = answer.find("HTTP/1.1 400").expect(&answer);
    assert!(good < bad, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("refused bare_line_feed\n"), "{answer}");
    let seen = door.log.seen.lock().unwrap().clone();
    assert_eq!(seen.iter().map(|s| s.violation).collect::<Vec<_>>(), [None, Some(Reason::BareLineFeed)]);
}

#[test]
fn upgrades_pass_and_the_guard_steps_aside() {
    let door = Setup::default().start();
    let mut stream = connect(&door);
    // The bytes behind the head come early; they are no HTTP.
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n\0early\n").unwrap();
    let answer = until(&mut stream, "\0early\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"\n\n\0\x01 not http\n").unwrap();
    until(&mut stream, "\n\n\0\x01 not http\n");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "");
}

#[test]
fn an_upgrade_that_is_not_granted_is_followed_by_requests() {
    let door = Setup::default().start();
    let answer = exchange(
        &door,
        b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.contains("seen /a") && answer.ends_with("seen /b\n"), "{answer}");
}

#[test]
fn deadlines() {
    let door = Setup::default()
        .limits(|l| {
            l.first_request = Duration::from_millis(150);
            l.header = Duration::from_millis(150);
            l.idle = Duration::from_millis(150);
            l.body_grace = Duration::from_millis(150);
        })
        .start();
    // Nothing at all: reset, or at least closed, without an answer.
    let mut stream = connect(&door);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty());
    door.log.wait_for(Reason::IdleTimeout);
    // Half a head.
    let answer = exchange(&door, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.ends_with("refused header_timeout\n"), "{answer}");
    // Half a body.
    let answer = exchange(&door, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.ends_with("refused body_too_slow\n"), "{answer}");
    // Idle after a request.
    let answer = exchange(&door, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("seen /a\n"), "{answer}");
    door.log.wait("idle", |log| log.reasons().iter().filter(|r| **r == Reason::IdleTimeout).count() == 2);
    // A request under way is not idle.
    let answer = exchange(&door, b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("seen /wait\n"), "{answer}");
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let door = Setup::default().limits(|l| l.body_grace = Duration::from_millis(200)).start();
    let mut stream = connect(&door);
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    door.log.wait_for(Reason::ReadTooSlow);
    door.log.wait("close", |log| log.closed.load(std::sync::atomic::Ordering::SeqCst) == 1);
    door.log.wait("release", |_| door.caps.connections() == 0);
}
