//! What the first frames of a client tell of its program: SETTINGS, WINDOW_UPDATE, PRIORITY, order of pseudo-headers.
//!
//! Written in the form known from Akamai's paper "Passive Fingerprinting of HTTP/2 Clients" (2017):
//! `id:value;id:value|increment|stream:exclusive:dependency:weight,...|m,a,s,p`.

use std::fmt::Write as _;

use guichet_core::bounds::{H2_FINGERPRINT_BLOCK_BYTES_MAX, H2_FINGERPRINT_ENTRIES_MAX};

use super::{flag, kind};

/// Gathers the frames up to the end of the first header block.
#[derive(Debug, Default)]
pub struct Fingerprint {
    kind: Option<u8>,
    flags: u8,
    stream: u32,
    /// The payload of the frame that is gathered.
    payload: Vec<u8>,
    settings: String,
    settings_seen: bool,
    increment: u32,
    priorities: String,
    priorities_count: usize,
    block: Vec<u8>,
    block_seen: bool,
    whole: bool,
}

impl Fingerprint {
    /// A frame begins.
    pub fn frame(&mut self, frame_kind: u8, flags: u8, stream: u32) {
        let wanted = match frame_kind {
            kind::SETTINGS => flags & flag::ACK == 0 && !self.settings_seen,
            kind::WINDOW_UPDATE => stream == 0 && self.increment == 0,
            kind::PRIORITY => self.priorities_count < H2_FINGERPRINT_ENTRIES_MAX,
            kind::HEADERS => !self.block_seen,
            kind::CONTINUATION => self.block_seen,
            _ => false,
        };
        self.kind = (wanted && !self.whole).then_some(frame_kind);
        self.flags = flags;
        self.stream = stream;
        self.payload.clear();
    }

    /// Payload of the present frame, in pieces.
    pub fn payload(&mut self, bytes: &[u8]) {
        if self.kind.is_some() {
            let room = H2_FINGERPRINT_BLOCK_BYTES_MAX - self.payload.len();
            self.payload.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The present frame ends.
    pub fn frame_end(&mut self) {
        match self.kind.take() {
            Some(kind::SETTINGS) => self.settings(),
            Some(kind::WINDOW_UPDATE) => {
                if let Ok(bytes) = <[u8; 4]>::try_from(self.payload.as_slice()) {
                    self.increment = u32::from_be_bytes(bytes) & 0x7fff_ffff;
                }
            }
            Some(kind::PRIORITY) => self.priority(),
            Some(frame_kind) => {
                self.block_seen = true;
                let (from, to) = block_span(frame_kind, self.flags, &self.payload);
                let room = H2_FINGERPRINT_BLOCK_BYTES_MAX - self.block.len();
                self.block.extend_from_slice(&self.payload[from..to.min(from + room)]);
                self.whole = self.flags & flag::END_HEADERS != 0;
            }
            None => {}
        }
    }

    fn settings(&mut self) {
        self.settings_seen = true;
        for entry in self.payload.chunks_exact(6).take(H2_FINGERPRINT_ENTRIES_MAX) {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            let separator = if self.settings.is_empty() { "" } else { ";" };
            let _ = write!(self.settings, "{separator}{id}:{value}");
        }
    }

    fn priority(&mut self) {
        let [a, b, c, d, weight] = self.payload[..] else { return };
        self.priorities_count += 1;
        let dependency = u32::from_be_bytes([a, b, c, d]);
        let separator = if self.priorities.is_empty() { "" } else { "," };
        let (exclusive, dependency) = (dependency >> 31, dependency & 0x7fff_ffff);
        let weight = u16::from(weight) + 1;
        let _ = write!(self.priorities, "{separator}{}:{exclusive}:{dependency}:{weight}", self.stream);
    }

    /// Whether the first header block was seen to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The fingerprint.
    #[must_use]
    pub fn text(&self) -> String {
        let priorities = if self.priorities.is_empty() { "0" } else { &self.priorities };
        format!("{}|{:02}|{priorities}|{}", self.settings, self.increment, pseudo_header_order(&self.block))
    }
}

/// Where the header block lies in the payload of a HEADERS or CONTINUATION frame.
fn block_span(frame_kind: u8, flags: u8, payload: &[u8]) -> (usize, usize) {
    if frame_kind != kind::HEADERS {
        return (0, payload.len());
    }
    let padded = flags & flag::PADDED != 0;
    let padding = if padded { payload.first().map_or(0, |b| usize::from(*b)) } else { 0 };
    let from = usize::from(padded) + if flags & flag::PRIORITY != 0 { 5 } else { 0 };
    let from = from.min(payload.len());
    (from, payload.len().saturating_sub(padding).max(from))
}

/// The order of the pseudo-headers at the start of an HPACK block, by the first letters of their names. They are
/// indexed in the static table by practically every client, so nothing has to be decoded but lengths.
fn pseudo_header_order(block: &[u8]) -> String {
    let mut order = String::new();
    let mut rest = block;
    // A block begins with at most four of them; table size updates may come first.
    for _ in 0..8 {
        let Some(&first) = rest.first() else { break };
        let index = if first & 0x80 != 0 {
            integer(&mut rest, 7)
        } else if first & 0x40 != 0 {
            integer(&mut rest, 6)
        } else if first & 0x20 != 0 {
            if integer(&mut rest, 5).is_none() {
                break;
            }
            continue;
        } else {
            integer(&mut rest, 4)
        };
        let letter = match index {
            Some(1) => 'a',
            Some(2 | 3) => 'm',
            Some(4 | 5) => 'p',
            Some(6 | 7) => 's',
            _ => break,
        };
        if !order.is_empty() {
            order.push(',');
        }
        order.push(letter);
        if first & 0x80 == 0 {
            let Some(length) = integer(&mut rest, 7) else { break };
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    order
}

/// An HPACK integer with a prefix of so many bits (RFC 7541 section 5.1); `None` where it is cut or absurd.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Option<usize> {
    let mask = (1usize << prefix_bits) - 1;
    let (first, mut tail) = rest.split_first()?;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14, 21] {
            let (byte, more) = tail.split_first()?;
            tail = more;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = tail;
                return Some(value);
            }
        }
        return None;
    }
    *rest = tail;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser() {
        let mut fingerprint = Fingerprint::default();
        let mut frame = |frame_kind: u8, flags: u8, stream: u32, payload: &[u8]| {
            fingerprint.frame(frame_kind, flags, stream);
            payload.chunks(3).for_each(|part| fingerprint.payload(part));
            fingerprint.frame_end();
            fingerprint.is_whole()
        };
        let settings = [&[0, 1, 0, 1, 0, 0][..], &[0, 2, 0, 0, 0, 0], &[0, 4, 0, 0x60, 0, 0], &[0, 6, 0, 4, 0, 0]];
        assert!(!frame(kind::SETTINGS, 0, 0, &settings.concat()));
        assert!(!frame(kind::SETTINGS, flag::ACK, 0, &[]));
        assert!(!frame(kind::WINDOW_UPDATE, 0, 0, &15_663_105u32.to_be_bytes()));
        assert!(!frame(kind::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()));
        assert!(!frame(kind::PRIORITY, 0, 3, &[0x80, 0, 0, 0, 200]));
        // m indexed, a literal with indexing (3 bytes of value), s indexed, p literal without indexing, then a header;
        // padded, with a priority, over two frames.
        let block = [0x82, 0x41, 3, b'a', b'b', b'c', 0x87, 0x04, 2, b'/', b'x', 0x90];
        let first = [&[2, 0, 0, 0, 0, 16][..], &block[..4], &[0, 0]].concat();
        assert!(!frame(kind::HEADERS, flag::PADDED | flag::PRIORITY, 1, &first));
        assert!(frame(kind::CONTINUATION, flag::END_HEADERS, 1, &block[4..]));
        assert_eq!(fingerprint.text(), "1:65536;2:0;4:6291456;6:262144|15663105|3:1:0:201|m,a,s,p");
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(Fingerprint::default().text(), "|00|0|");
        assert_eq!(pseudo_header_order(&[0xff; 40]), "");
        assert_eq!(pseudo_header_order(&[0x82, 0x44, 0x7f, 0x80]), "m,p");
        assert_eq!(pseudo_header_order(&[0x3f, 0xe1, 0x1f, 0x82, 0x84]), "m,p");
    }
}
