//! HTTP/2 by prior knowledge: a real client, and abuse by raw frames.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use guichet_core::Reason;

use crate::http1::connect;
use crate::support::{Door, Setup};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const ENHANCE_YOUR_CALM: u32 = 0xb;
/// `:method GET, :scheme http, :path /, :authority h` from the static table, and one literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];
/// The same for `/hang`.
const HANG: &[u8] = &[0x82, 0x86, 0x04, 5, b'/', b'h', b'a', b'n', b'g', 0x41, 1, b'h'];
const LARGE: &[u8] = &[0x82, 0x86, 0x04, 6, b'/', b'l', b'a', b'r', b'g', b'e', 0x41, 1, b'h'];
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'h'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn open(door: &Door) -> TcpStream {
    let mut stream = connect(door);
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).unwrap();
    stream
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The next frame; `None` at the end of the connection.
fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    Some(Frame { kind: header[3], flags: header[4], stream: id, payload })
}

#[track_caller]
fn read_until(stream: &mut TcpStream, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        match read_frame(stream) {
            Some(frame) if wanted(&frame) => return frame,
            Some(_) => {}
            None => break,
        }
    }
    panic!("no {what}");
}

/// Sends abuse and expects a GOAWAY of ENHANCE_YOUR_CALM, the end of the connection, and the reason told.
#[track_caller]
fn check(change: fn(&mut guichet_proxy::config::Limits), abuse: &[u8], expected: Reason) {
    let door = Setup::default().limits(change).start();
    let mut stream = open(&door);
    // A good request first: the connection works.
    stream.write_all(&frame(1, 5, 1, GET)).unwrap();
    read_until(&mut stream, "answer", |f| f.kind == 0 && f.stream == 1 && f.flags & 1 != 0);
    // Writing may fail once the door has had enough.
    let _ = stream.write_all(abuse);
    let goaway = read_until(&mut stream, "GOAWAY", |f| f.kind == 7);
    let code = u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap());
    assert_eq!(code, ENHANCE_YOUR_CALM, "{expected:?}");
    let mut left = Vec::new();
    let _ = stream.read_to_end(&mut left);
    door.log.wait_for(expected);
    door.log.wait("close", |log| log.closed.load(Ordering::SeqCst) == 1);
    assert_eq!(door.log.reasons(), [expected]);
}

#[test]
fn rapid_reset() {
    let abuse: Vec<u8> = (0..40u32)
        .flat_map(|n| [frame(1, 5, 3 + 2 * n, HANG), frame(3, 0, 3 + 2 * n, &8u32.to_be_bytes())].concat())
        .collect();
    check(|l| l.h2_resets_per_10s = 10, &abuse, Reason::H2RapidReset);
}

#[test]
fn continuation_flood() {
    let mut abuse = frame(1, 1, 3, GET);
    for _ in 0..20 {
        abuse.extend(frame(9, 0, 3, &[0x0f, 0x2f, 1, b'x']));
    }
    check(|l| l.h2_continuations_max = 8, &abuse, Reason::H2ContinuationFlood);
    let mut abuse = frame(1, 1, 3, GET);
    for _ in 0..4 {
        abuse.extend(frame(9, 0, 3, &[0x82; 4000]));
    }
    check(|l| l.head_bytes_max = 8192, &abuse, Reason::H2ContinuationFlood);
}

#[test]
fn ping_flood() {
    check(|l| l.h2_pings_per_10s = 10, &frame(6, 0, 0, &[0; 8]).repeat(20), Reason::H2PingFlood);
}

#[test]
fn settings_flood() {
    check(|l| l.h2_settings_per_10s = 10, &frame(4, 0, 0, &[]).repeat(20), Reason::H2SettingsFlood);
}

#[test]
fn priority_flood() {
    check(|l| l.h2_priorities_per_10s = 10, &frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(20), Reason::H2PriorityFlood);
    check(|l| l.h2_priorities_per_10s = 10, &frame(0x77, 0, 0, &[1]).repeat(20), Reason::H2PriorityFlood);
}

#[test]
fn empty_frames() {
    let abuse = [frame(1, 4, 3, POST), frame(0, 0, 3, &[]).repeat(20)].concat();
    check(|l| l.h2_empty_frames_per_10s = 10, &abuse, Reason::H2EmptyFrames);
}

#[test]
fn window_games() {
    let tiny = frame(8, 0, 0, &1u32.to_be_bytes());
    check(|l| l.h2_window_updates_per_10s = 1000, &tiny.repeat(20), Reason::H2WindowGames);
    let usual = frame(8, 0, 0, &100u32.to_be_bytes());
    check(|l| l.h2_window_updates_per_10s = 50, &usual.repeat(60), Reason::H2WindowGames);
}

#[test]
fn a_frame_inside_a_header_block() {
    let abuse = [frame(1, 1, 3, GET), frame(6, 0, 0, &[0; 8])].concat();
    check(|_| {}, &abuse, Reason::H2Protocol);
}

#[test]
fn a_shut_window_ends_the_connection() {
    let limits = |l: &mut guichet_proxy::config::Limits| {
        l.body_grace = Duration::from_millis(200);
        l.read_rate_bytes_s_min = 1_000_000;
    };
    let door = Setup::default().limits(limits).start();
    let mut stream = connect(&door);
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]), &frame(1, 5, 1, LARGE)].concat()).unwrap();
    let mut left = Vec::new();
    let _ = stream.read_to_end(&mut left);
    door.log.wait_for(Reason::H2WindowGames);
    door.log.wait("close", |log| log.closed.load(Ordering::SeqCst) == 1);
}

#[test]
fn slow_bodies_and_blocks_and_idle_connections() {
    let slow = |bytes: &[u8], expected: Reason| {
        let door = Setup::default()
            .limits(|l| {
                l.header = Duration::from_millis(150);
                l.idle = Duration::from_millis(150);
                l.first_request = Duration::from_millis(150);
                l.body_grace = Duration::from_millis(150);
                l.body_rate_bytes_s_min = 1000;
            })
            .start();
        let mut stream = open(&door);
        stream.write_all(bytes).unwrap();
        read_until(&mut stream, "GOAWAY", |f| f.kind == 7);
        assert!(read_frame(&mut stream).is_none());
        door.log.wait_for(expected);
    };
    slow(&[frame(1, 4, 1, POST), frame(0, 0, 1, b"ab")].concat(), Reason::BodyTooSlow);
    slow(&frame(1, 1, 1, GET), Reason::HeaderTimeout);
    slow(&frame(1, 5, 1, GET), Reason::IdleTimeout);
    slow(&[], Reason::IdleTimeout);
}

#[test]
fn the_bound_on_streams_shrinks_and_grows() {
    let door = Setup::default().start();
    door.log.streams_max.store(7, Ordering::SeqCst);
    let mut stream = open(&door);
    let streams_told = |frame: &Frame| {
        let settings = frame.kind == 4 && frame.flags & 1 == 0;
        let entries = frame.payload.chunks_exact(6).filter(|entry| entry[..2] == [0, 3]);
        entries.map(|e| u32::from_be_bytes(e[2..].try_into().unwrap())).next_back().filter(|_| settings)
    };
    // hyper's own, then the present bound.
    read_until(&mut stream, "own bound", |f| streams_told(f) == Some(100));
    read_until(&mut stream, "present bound", |f| streams_told(f) == Some(7));
    // Both are acknowledged, the second in pieces, with a request in between.
    stream.write_all(&frame(4, 1, 0, &[])).unwrap();
    let ack = frame(4, 1, 0, &[]);
    for part in [&frame(1, 5, 1, GET)[..], &ack[..3], &ack[3..7], &ack[7..], &frame(1, 5, 3, GET)] {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    read_until(&mut stream, "answer", |f| f.kind == 0 && f.stream == 3 && f.flags & 1 != 0);
    // It falls on a connection that is idle.
    door.log.streams_max.store(3, Ordering::SeqCst);
    read_until(&mut stream, "lower bound", |f| streams_told(f) == Some(3));
    stream.write_all(&[&ack[..], &frame(1, 5, 5, GET)].concat()).unwrap();
    read_until(&mut stream, "answer", |f| f.kind == 0 && f.stream == 5 && f.flags & 1 != 0);
    assert_eq!(door.log.good().len(), 3);
    assert_eq!(door.log.reasons(), []);
}

#[test]
fn the_fingerprint_reaches_the_desk() {
    let door = Setup::default().start();
    let mut stream = connect(&door);
    let settings = frame(4, 0, 0, &[0, 1, 0, 1, 0, 0, 0, 4, 0, 0x60, 0, 0]);
    let update = frame(8, 0, 0, &15_663_105u32.to_be_bytes());
    stream.write_all(&[PREFACE, &settings, &update, &frame(1, 5, 1, GET)].concat()).unwrap();
    read_until(&mut stream, "answer", |f| f.kind == 0 && f.flags & 1 != 0);
    assert_eq!(door.log.good()[0].h2_fingerprint.as_deref(), Some("1:65536;4:6291456|15663105|0|m,s,p,a"));
}

/// The `h2` crate as the client: many streams at once, bodies both ways, then a drain.
#[test]
fn a_real_client_and_a_drain() {
    let door = Setup::default().start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(door.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut answers = Vec::new();
        for n in 0..50 {
            let request = http::Request::post(format!("http://h/{n}")).body(()).unwrap();
            let mut ready = sender.clone().ready().await.unwrap();
            let (answer, mut body) = ready.send_request(request, false).unwrap();
            body.send_data(bytes::Bytes::from(vec![b'x'; 1000]), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            let mut body = answer.await.unwrap().into_body();
            let mut bytes = 0;
            while let Some(data) = body.data().await {
                bytes += data.unwrap().len();
            }
            assert!(bytes > 5);
        }
        // A request under way when the door drains is answered; then the door closes.
        let request = http::Request::get("http://h/wait").body(()).unwrap();
        let (answer, _) = sender.clone().send_request(request, true).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        door.drain();
        assert_eq!(answer.await.unwrap().status(), 200);
        drop(sender);
        driver.await.unwrap().unwrap();
    });
    assert_eq!(door.log.good().len(), 51);
    assert!(door.log.good().iter().take(50).all(|s| s.body == Some(Ok(vec![b'x'; 1000]))));
    door.log.wait("close", |log| log.closed.load(Ordering::SeqCst) == 1);
    assert!(TcpStream::connect(door.address).is_err(), "a drained door accepts nobody");
}
