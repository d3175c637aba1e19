//! The frames that come in: counted per kind of abuse, in windows of ten seconds.

use std::time::Duration;

use guichet_core::bounds::{H2_STREAMS_MAX, H2_TINY_WINDOW_WEIGHT};
use guichet_core::{Moment, Reason};

use super::fingerprint::Fingerprint;
use super::{FRAME_HEADER_BYTES, FrameHeader, flag, kind};
use crate::config::Limits;

/// Length of the client's connection preface.
const PREFACE_BYTES: usize = 24;
const WINDOW: Duration = Duration::from_secs(10);

/// Bounds on abuse: counts in ten seconds, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented under the same name in the configuration reference")]
pub struct AbuseBounds {
    pub resets: u32,
    pub empty_frames: u32,
    /// Of one header block.
    pub continuations: u32,
    /// Bytes of one header block.
    pub block_bytes: usize,
    pub settings: u32,
    pub pings: u32,
    pub priorities: u32,
    pub window_updates: u32,
}

impl From<&Limits> for AbuseBounds {
    fn from(limits: &Limits) -> Self {
        Self {
            resets: limits.h2_resets_per_10s,
            empty_frames: limits.h2_empty_frames_per_10s,
            continuations: limits.h2_continuations_max,
            block_bytes: limits.head_bytes_max,
            settings: limits.h2_settings_per_10s,
            pings: limits.h2_pings_per_10s,
            priorities: limits.h2_priorities_per_10s,
            window_updates: limits.h2_window_updates_per_10s,
        }
    }
}

/// Kinds of abuse that are counted over time.
#[derive(Debug, Clone, Copy)]
enum Abuse {
    Resets,
    EmptyFrames,
    Settings,
    Pings,
    Priorities,
    WindowUpdates,
}

impl Abuse {
    const COUNT: usize = 6;

    const fn bound(self, bounds: &AbuseBounds) -> u32 {
        match self {
            Self::Resets => bounds.resets,
            Self::EmptyFrames => bounds.empty_frames,
            Self::Settings => bounds.settings,
            Self::Pings => bounds.pings,
            Self::Priorities => bounds.priorities,
            Self::WindowUpdates => bounds.window_updates,
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Resets => Reason::H2RapidReset,
            Self::EmptyFrames => Reason::H2EmptyFrames,
            Self::Settings => Reason::H2SettingsFlood,
            Self::Pings => Reason::H2PingFlood,
            Self::Priorities => Reason::H2PriorityFlood,
            Self::WindowUpdates => Reason::H2WindowGames,
        }
    }
}

/// A request whose body still comes, and whose answer has not begun.
#[derive(Debug)]
struct Upload {
    stream: u32,
    begun: Moment,
    bytes: u64,
}

/// What became of some inbound bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// How many of the bytes were followed.
    pub bytes: usize,
    /// They end with the header of an acknowledgement of SETTINGS, which has no payload.
    pub settings_ack: bool,
}

/// Follows the inbound bytes of one connection, from the preface on.
#[derive(Debug)]
pub struct Inbound {
    bounds: AbuseBounds,
    preface_left: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    frame: FrameHeader,
    payload_left: usize,
    window_begun: Moment,
    counts: [u32; Abuse::COUNT],
    uploads: Vec<Upload>,
    in_block: bool,
    block_begun: Moment,
    continuations: u32,
    block_bytes: usize,
    increment: u32,
    requests: u64,
    progress: bool,
    last_stream: u32,
    fingerprint: Option<Box<Fingerprint>>,
}

impl Inbound {
    /// At the start of a connection.
    #[must_use]
    pub fn new(bounds: AbuseBounds, now: Moment) -> Self {
        Self {
            bounds,
            preface_left: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_bytes: 0,
            frame: FrameHeader { length: 0, kind: kind::DATA, flags: 0, stream: 0 },
            payload_left: 0,
            window_begun: now,
            counts: [0; Abuse::COUNT],
            uploads: Vec::new(),
            block_begun: now,
            in_block: false,
            continuations: 0,
            block_bytes: 0,
            increment: 0,
            requests: 0,
            progress: false,
            last_stream: 0,
            fingerprint: Some(Box::default()),
        }
    }

    /// Header blocks begun: requests and trailers.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The highest stream that the client opened.
    #[must_use]
    pub fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// When the header block that is not whole yet began.
    #[must_use]
    pub fn block_begun(&self) -> Option<Moment> {
        let unfinished = self.in_block || (self.frame.kind == kind::HEADERS && self.payload_left > 0);
        unfinished.then_some(self.block_begun)
    }

    /// Bytes of a frame header that was begun and is not whole.
    #[must_use]
    pub fn partial_header(&self) -> usize {
        self.header_bytes
    }

    /// Whether a request or data came since this was last asked: PING and the like keep nothing alive.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// The fingerprint, once, when the first header block was seen.
    pub fn take_fingerprint(&mut self) -> Option<String> {
        self.fingerprint.take_if(|f| f.is_whole()).map(|f| f.text())
    }

    /// Follows bytes up to their end, or up to the end of an acknowledgement of SETTINGS.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn read(&mut self, bytes: &[u8], now: Moment) -> Result<Passed, Reason> {
        let mut at = self.preface_left.min(bytes.len());
        self.preface_left -= at;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if self.payload_left > 0 {
                let count = self.payload_left.min(rest.len());
                self.payload(&rest[..count]);
                self.payload_left -= count;
                at += count;
                if self.payload_left == 0 {
                    self.frame_end(now)?;
                }
                continue;
            }
            let count = (FRAME_HEADER_BYTES - self.header_bytes).min(rest.len());
            self.header[self.header_bytes..self.header_bytes + count].copy_from_slice(&rest[..count]);
            self.header_bytes += count;
            at += count;
            if self.header_bytes < FRAME_HEADER_BYTES {
                break;
            }
            self.header_bytes = 0;
            self.frame = FrameHeader::read(self.header);
            self.payload_left = self.frame.length;
            self.frame_begin(now)?;
            if self.payload_left == 0 {
                self.frame_end(now)?;
                if self.frame.kind == kind::SETTINGS && self.frame.flags & flag::ACK != 0 {
                    return Ok(Passed { bytes: at, settings_ack: true });
                }
            }
        }
        Ok(Passed { bytes: bytes.len(), settings_ack: false })
    }

    fn frame_begin(&mut self, now: Moment) -> Result<(), Reason> {
        let FrameHeader { length, kind, flags, stream } = self.frame;
        // Between the frames of a header block nothing else may come.
        if self.in_block != (kind == kind::CONTINUATION) {
            return Err(Reason::H2Protocol);
        }
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.frame(kind, flags, stream);
        }
        self.increment = 0;
        match kind {
            kind::DATA => {
                self.progress |= length > 0;
                self.uploaded(stream, length, flags);
                let empty = length == 0 || (flags & flag::PADDED != 0 && length == 1);
                self.empty(now, empty && flags & flag::END_STREAM == 0)
            }
            kind::HEADERS => {
                self.requests += 1;
                self.progress = true;
                self.last_stream = self.last_stream.max(stream);
                self.continuations = 0;
                self.block_bytes = length;
                self.in_block = flags & flag::END_HEADERS == 0;
                self.block_begun = now;
                self.upload_begins(stream, flags, now);
                self.empty(now, length == 0)?;
                self.block_within_bounds()
            }
            kind::CONTINUATION => {
                self.continuations += 1;
                self.block_bytes += length;
                self.in_block = flags & flag::END_HEADERS == 0;
                self.empty(now, length == 0)?;
                self.block_within_bounds()
            }
            kind::RST_STREAM => {
                self.answered(stream);
                self.count(now, Abuse::Resets, 1)
            }
            kind::SETTINGS => self.count(now, Abuse::Settings, 1),
            kind::PING => self.count(now, Abuse::Pings, 1),
            // Weighed at its end, by its increment.
            kind::WINDOW_UPDATE | kind::GOAWAY => Ok(()),
            // PRIORITY, its successor PRIORITY_UPDATE, and kinds that nobody knows.
            _ => self.count(now, Abuse::Priorities, 1),
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        if self.frame.kind == kind::WINDOW_UPDATE {
            // A longer frame is malformed, and hyper says so; the increment is its first four bytes however it is cut.
            let seen = self.frame.length - self.payload_left;
            for byte in bytes.iter().take(4_usize.saturating_sub(seen)) {
                self.increment = self.increment << 8 | u32::from(*byte);
            }
        }
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.payload(bytes);
        }
    }

    fn frame_end(&mut self, now: Moment) -> Result<(), Reason> {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.frame_end();
        }
        if self.frame.kind != kind::WINDOW_UPDATE {
            return Ok(());
        }
        let weight = if self.increment & 0x7fff_ffff <= 1 { H2_TINY_WINDOW_WEIGHT } else { 1 };
        self.count(now, Abuse::WindowUpdates, weight)
    }

    fn upload_begins(&mut self, stream: u32, flags: u8, now: Moment) {
        let ends = flags & flag::END_STREAM != 0;
        if ends || self.uploads.iter().any(|upload| upload.stream == stream) {
            self.uploads.retain(|upload| upload.stream != stream || !ends);
        } else if self.uploads.len() < H2_STREAMS_MAX as usize {
            self.uploads.push(Upload { stream, begun: now, bytes: 0 });
        }
    }

    fn uploaded(&mut self, stream: u32, length: usize, flags: u8) {
        if flags & flag::END_STREAM != 0 {
            self.answered(stream);
        } else if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.stream == stream) {
            upload.bytes += length as u64;
        }
    }

    /// The answer on a stream began, or the stream ended: its body has no floor any more.
    pub fn answered(&mut self, stream: u32) {
        self.uploads.retain(|upload| upload.stream != stream);
    }

    /// When the slowest body falls below the floor, if nothing more comes of it.
    #[must_use]
    pub fn upload_deadline(&self, grace: Duration, rate_bytes_s: u64) -> Option<Moment> {
        let rate = rate_bytes_s.max(1);
        let earned = |bytes: u64| Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        self.uploads.iter().map(|upload| upload.begun.after(grace.saturating_add(earned(upload.bytes)))).min()
    }

    fn block_within_bounds(&self) -> Result<(), Reason> {
        let within = self.continuations <= self.bounds.continuations && self.block_bytes <= self.bounds.block_bytes;
        if within { Ok(()) } else { Err(Reason::H2ContinuationFlood) }
    }

    fn empty(&mut self, now: Moment, empty: bool) -> Result<(), Reason> {
        if !empty {
            return Ok(());
        }
        self.count(now, Abuse::EmptyFrames, 1)
    }

    fn count(&mut self, now: Moment, abuse: Abuse, weight: u32) -> Result<(), Reason> {
        if now.since(self.window_begun) >= WINDOW {
            self.window_begun = now;
            self.counts = [0; Abuse::COUNT];
        }
        let count = &mut self.counts[abuse as usize];
        *count = count.saturating_add(weight);
        if *count > abuse.bound(&self.bounds) { Err(abuse.reason()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::guard_http2::Outbound;
    use proptest::prelude::*;

    const BOUNDS: AbuseBounds = AbuseBounds {
        resets: 3,
        empty_frames: 3,
        continuations: 3,
        block_bytes: 100,
        settings: 3,
        pings: 3,
        priorities: 3,
        window_updates: 300,
    };

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { length: payload.len(), kind, flags, stream };
        [&header.write()[..], payload].concat()
    }

    fn second(n: u64) -> Moment {
        Moment(n * 1_000_000)
    }

    /// The verdict on frames behind a preface, cut in pieces of so many bytes.
    fn verdict(frames: &[u8], piece: usize) -> Result<(u64, u32), Reason> {
        let mut inbound = Inbound::new(BOUNDS, second(0));
        let bytes = [&[0; PREFACE_BYTES][..], frames].concat();
        for part in bytes.chunks(piece) {
            let mut at = 0;
            while at < part.len() {
                at += inbound.read(&part[at..], second(1))?.bytes;
            }
        }
        Ok((inbound.requests(), inbound.last_stream()))
    }

    #[test]
    fn each_bound_holds_to_the_frame() {
        let check = |good: &[u8], last: &[u8], reason: Reason| {
            assert!(verdict(good, 5).is_ok(), "{reason:?}");
            assert_eq!(verdict(&[good, last].concat(), 5), Err(reason));
        };
        let often = |one: Vec<u8>, reason| check(&one.repeat(3), &one, reason);
        often(frame(kind::RST_STREAM, 0, 1, &[0; 4]), Reason::H2RapidReset);
        often(frame(kind::SETTINGS, 0, 0, &[]), Reason::H2SettingsFlood);
        often(frame(kind::PING, 0, 0, &[0; 8]), Reason::H2PingFlood);
        often(frame(kind::PRIORITY, 0, 1, &[0; 5]), Reason::H2PriorityFlood);
        often(frame(0x42, 0, 1, &[0; 5]), Reason::H2PriorityFlood);
        often(frame(kind::DATA, 0, 1, &[]), Reason::H2EmptyFrames);
        often(frame(kind::DATA, flag::PADDED, 1, &[0]), Reason::H2EmptyFrames);
        often(frame(kind::HEADERS, flag::END_HEADERS, 1, &[]), Reason::H2EmptyFrames);
        often(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), Reason::H2WindowGames);
        often(frame(kind::WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 0]), Reason::H2WindowGames);
        let update = frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 2]);
        check(&update.repeat(300), &update, Reason::H2WindowGames);
        let block = frame(kind::HEADERS, 0, 1, &[1]);
        let more = frame(kind::CONTINUATION, 0, 1, &[1]);
        check(&[&block[..], &more.repeat(3)].concat(), &more, Reason::H2ContinuationFlood);
        check(&block, &frame(kind::CONTINUATION, 0, 1, &[1; 100]), Reason::H2ContinuationFlood);
        check(&block, &frame(kind::DATA, 0, 1, &[1]), Reason::H2Protocol);
        check(&[], &more, Reason::H2Protocol);
        // The end of a stream is no empty frame.
        assert_eq!(verdict(&frame(kind::DATA, flag::END_STREAM, 1, &[]).repeat(50), 5), Ok((0, 0)));
    }

    #[test]
    fn counts_end_with_their_window() {
        let mut inbound = Inbound::new(BOUNDS, second(0));
        inbound.preface_left = 0;
        let ping = frame(kind::PING, 0, 0, &[0; 8]);
        for at in [1, 2, 3, 11, 12, 13, 24] {
            assert!(inbound.read(&ping, second(at)).is_ok(), "{at}");
        }
        assert!(inbound.read(&ping.repeat(3), second(25)).is_err());
    }

    #[test]
    fn bodies_have_a_floor_until_they_are_answered() {
        let mut inbound = Inbound::new(BOUNDS, second(0));
        inbound.preface_left = 0;
        let grace = Duration::from_secs(5);
        let mut read = |kind, flags, stream, payload: &[u8], expected: Option<u64>| {
            inbound.read(&frame(kind, flags, stream, payload), second(1)).unwrap();
            assert_eq!(inbound.upload_deadline(grace, 10), expected.map(second));
        };
        read(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &[1], None);
        read(kind::HEADERS, flag::END_HEADERS, 3, &[1], Some(6));
        read(kind::DATA, 0, 3, &[0; 20], Some(8));
        read(kind::HEADERS, flag::END_HEADERS, 5, &[1], Some(6));
        read(kind::DATA, flag::END_STREAM, 5, &[0; 20], Some(8));
        read(kind::RST_STREAM, 0, 3, &[0; 4], None);
        read(kind::HEADERS, flag::END_HEADERS, 7, &[1], Some(6));
        inbound.answered(7);
        assert_eq!(inbound.upload_deadline(grace, 10), None);
    }

    #[test]
    fn acknowledgements_are_told_apart() {
        let mut outbound = Outbound::default();
        assert!(outbound.at_boundary() && !outbound.may_send_settings());
        let settings = frame(kind::SETTINGS, 0, 0, &[0; 6]);
        assert!(!outbound.wrote(&settings[..4]));
        assert!(!outbound.at_boundary());
        outbound.wrote(&settings[4..]);
        assert!(outbound.at_boundary() && outbound.may_send_settings());
        outbound.sent_own_settings();
        assert!(outbound.awaits_own());
        outbound.wrote(&settings);
        assert_eq!([(); 4].map(|()| outbound.acknowledged()), [false, true, false, false]);
        // Within a header block nothing may go in between, and data is told.
        outbound.wrote(&frame(kind::HEADERS, 0, 1, &[1]));
        assert!(!outbound.at_boundary());
        outbound.wrote(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[1]));
        assert!(outbound.at_boundary());
        assert!(outbound.wrote(&frame(kind::DATA, 0, 1, &[1])));
        assert_eq!(outbound.take_answered().as_slice(), [1]);
        for _ in 0..10 {
            if outbound.may_send_settings() {
                outbound.sent_own_settings();
            }
        }
        assert_eq!((0..10).filter(|_| outbound.acknowledged()).count(), H2_SETTINGS_OUTSTANDING);
    }

    const H2_SETTINGS_OUTSTANDING: usize = guichet_core::bounds::H2_SETTINGS_OUTSTANDING_MAX;

    proptest! {
        /// Cuts do not matter, and nothing makes it panic.
        #[test]
        fn splits_agree(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), 0u32..9, proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            tail in proptest::collection::vec(any::<u8>(), 0..30),
            piece in 1usize..60,
        ) {
            let mut bytes: Vec<u8> = frames.iter().flat_map(|(k, f, s, p)| frame(*k, *f, *s, p)).collect();
            bytes.extend(tail);
            prop_assert_eq!(verdict(&bytes, piece), verdict(&bytes, usize::MAX >> 1));
        }
    }
}
