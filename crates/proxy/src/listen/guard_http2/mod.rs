//! The guard of HTTP/2: counts abuse of the protocol per connection, in front of hyper.
//!
//! [`Inbound`] and [`Outbound`] are sans-IO: they follow frame headers in both directions. [`Fingerprint`] gathers
//! what the first frames tell of the client. [`GuardedHttp2`] is the IO around them: over a bound it writes a GOAWAY
//! at a frame boundary and closes; when the bound on streams changes it tells the client by a SETTINGS frame of its
//! own, whose acknowledgement hyper never sees.

mod fingerprint;
mod inbound;
mod io;
mod outbound;

pub use fingerprint::Fingerprint;
pub use inbound::{AbuseBounds, Inbound, Passed};
pub(crate) use io::GuardedHttp2;
pub use outbound::Outbound;

/// Bytes of a frame header.
const FRAME_HEADER_BYTES: usize = 9;

/// Frame types (RFC 9113 section 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// Frame flags.
mod flag {
    pub(super) const ACK: u8 = 0x1;
    pub(super) const END_STREAM: u8 = 0x1;
    pub(super) const END_HEADERS: u8 = 0x4;
    pub(super) const PADDED: u8 = 0x8;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHeader {
    fn read(bytes: [u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    fn write(self) -> [u8; FRAME_HEADER_BYTES] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }
}

const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A GOAWAY that names the last stream.
fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    let header = FrameHeader { length: 8, kind: kind::GOAWAY, flags: 0, stream: 0 };
    [&header.write()[..], &last_stream.to_be_bytes(), &code.to_be_bytes()].concat()
}

/// SETTINGS with the bound on concurrent streams alone.
fn settings_of_streams(streams_max: u32) -> Vec<u8> {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let header = FrameHeader { length: 6, kind: kind::SETTINGS, flags: 0, stream: 0 };
    [&header.write()[..], &MAX_CONCURRENT_STREAMS.to_be_bytes(), &streams_max.to_be_bytes()].concat()
}
