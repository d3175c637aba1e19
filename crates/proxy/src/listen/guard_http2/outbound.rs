//! The frames that go out: where one ends, so that a frame of the guard's own can go in between.

use std::collections::VecDeque;

use guichet_core::bounds::{H2_SETTINGS_OUTSTANDING_MAX, H2_STREAMS_MAX};
use smallvec::SmallVec;

use super::{FRAME_HEADER_BYTES, FrameHeader, flag, kind};

/// Follows the outbound bytes.
#[derive(Debug, Default)]
pub struct Outbound {
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    payload_left: usize,
    /// Inside a header block nothing may come between its frames.
    in_block: bool,
    settings_sent: u64,
    /// SETTINGS awaiting their acknowledgement, oldest first: whether each is the guard's own.
    awaited: VecDeque<bool>,
    /// Streams whose answer began or that were reset, since this was last taken.
    answered: SmallVec<[u32; 4]>,
}

impl Outbound {
    /// Follows bytes that were written. Tells whether DATA was among them.
    pub fn wrote(&mut self, mut bytes: &[u8]) -> bool {
        let mut data = false;
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let count = self.payload_left.min(bytes.len());
                self.payload_left -= count;
                bytes = &bytes[count..];
                data |= self.header[3] == kind::DATA;
                continue;
            }
            let count = (FRAME_HEADER_BYTES - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..self.header_bytes + count].copy_from_slice(&bytes[..count]);
            self.header_bytes += count;
            bytes = &bytes[count..];
            if self.header_bytes == FRAME_HEADER_BYTES {
                self.frame(FrameHeader::read(self.header));
            }
        }
        data
    }

    fn frame(&mut self, frame: FrameHeader) {
        self.header_bytes = 0;
        self.payload_left = frame.length;
        if matches!(frame.kind, kind::HEADERS | kind::RST_STREAM) && self.answered.len() < H2_STREAMS_MAX as usize {
            self.answered.push(frame.stream);
        }
        match frame.kind {
            kind::HEADERS | kind::CONTINUATION => self.in_block = frame.flags & flag::END_HEADERS == 0,
            kind::SETTINGS if frame.flags & flag::ACK == 0 => {
                self.settings_sent += 1;
                self.awaited.push_back(false);
            }
            _ => {}
        }
    }

    /// Streams whose answer began, or that were reset from our side.
    pub fn take_answered(&mut self) -> SmallVec<[u32; 4]> {
        std::mem::take(&mut self.answered)
    }

    /// Whether another frame may go in here.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0 && !self.in_block
    }

    /// Whether SETTINGS of the guard's own may be sent: after hyper's first, within the bound.
    #[must_use]
    pub fn may_send_settings(&self) -> bool {
        self.settings_sent > 0 && self.awaited.len() < H2_SETTINGS_OUTSTANDING_MAX
    }

    /// SETTINGS of the guard's own were sent.
    pub fn sent_own_settings(&mut self) {
        self.awaited.push_back(true);
    }

    /// Whether an acknowledgement of the guard's own SETTINGS is awaited.
    #[must_use]
    pub fn awaits_own(&self) -> bool {
        self.awaited.contains(&true)
    }

    /// An acknowledgement came: whether it is for the guard, and hyper must not see it.
    pub fn acknowledged(&mut self) -> bool {
        self.awaited.pop_front().unwrap_or(false)
    }
}
