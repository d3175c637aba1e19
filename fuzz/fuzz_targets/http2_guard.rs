//! Arbitrary frames in both directions of an HTTP/2 connection: any cut gives the same verdict. The first byte says how
//! the rest is cut.
#![no_main]

use std::time::Duration;

use guichet_core::{Moment, Reason};
use guichet_proxy::listen::guard_http2::{AbuseBounds, Inbound, Outbound};
use libfuzzer_sys::fuzz_target;

const BOUNDS: AbuseBounds = AbuseBounds {
    resets: 5,
    empty_frames: 4,
    continuations: 3,
    block_bytes: 300,
    settings: 4,
    pings: 6,
    priorities: 5,
    window_updates: 250,
};

/// What was told of a whole stream of bytes.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    ended: Option<Reason>,
    acknowledgements: Vec<usize>,
    requests: u64,
    last_stream: u32,
    fingerprint: Option<String>,
    progress: bool,
    in_block: bool,
    partial_header: usize,
    upload: Option<Moment>,
}

fn inbound(bytes: &[u8], piece: usize) -> Told {
    let now = Moment(1_000_000);
    let mut guard = Inbound::new(BOUNDS, now);
    let (mut at, mut ended, mut acknowledgements) = (0, None, Vec::new());
    'pieces: for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            match guard.read(rest, now) {
                Ok(passed) => {
                    assert!(passed.bytes > 0 && passed.bytes <= rest.len(), "no way on");
                    at += passed.bytes;
                    rest = &rest[passed.bytes..];
                    if passed.settings_ack {
                        acknowledgements.push(at);
                    }
                }
                Err(reason) => {
                    ended = Some(reason);
                    break 'pieces;
                }
            }
        }
    }
    Told {
        ended,
        acknowledgements,
        requests: guard.requests(),
        last_stream: guard.last_stream(),
        fingerprint: guard.take_fingerprint(),
        progress: guard.take_progress(),
        // After an end the rest of the piece was not looked at.
        in_block: ended.is_none() && guard.block_begun().is_some(),
        partial_header: if ended.is_none() { guard.partial_header() } else { 0 },
        upload: guard.upload_deadline(Duration::from_secs(5), 100),
    }
}

fn outbound(bytes: &[u8], piece: usize) -> (bool, bool, bool, Vec<u32>) {
    let mut guard = Outbound::default();
    let mut data = false;
    for piece in bytes.chunks(piece) {
        data |= guard.wrote(piece);
    }
    (data, guard.at_boundary(), guard.may_send_settings(), guard.take_answered().to_vec())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (piece, whole) = (1 + usize::from(*cut) % 40, bytes.len().max(1));
    let told = inbound(bytes, whole);
    assert_eq!(inbound(bytes, piece), told);
    assert_eq!(inbound(bytes, 1), told);
    if let Some(fingerprint) = &told.fingerprint {
        assert!(fingerprint.is_ascii() && fingerprint.matches('|').count() == 3, "{fingerprint}");
    }
    assert_eq!(outbound(bytes, piece), outbound(bytes, whole));
});
