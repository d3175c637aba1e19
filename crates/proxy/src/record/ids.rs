//! Request ids: 128 bits, unique for all practical purposes, not secret.

use std::cell::Cell;
use std::fmt;

/// Identifies one request in logs, traces and reference codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Reads an id that a trusted proxy sent: 32 hexadecimal digits, or a UUID with its hyphens. Anything else is
    /// `None`, and the caller makes an id of its own.
    #[must_use]
    pub fn from_trusted(value: &[u8]) -> Option<Self> {
        let hyphens: &[usize] = match value.len() {
            32 => &[],
            36 => &[8, 13, 18, 23],
            _ => return None,
        };
        let mut id = [0_u8; 16];
        let mut digits = 0;
        for (at, byte) in value.iter().enumerate() {
            if hyphens.contains(&at) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = char::from(*byte).to_digit(16)? as u8;
            id[digits / 2] = (id[digits / 2] << 4) | digit;
            digits += 1;
        }
        Some(Self(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 32]))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal of at most 16 bytes, into a buffer of the caller.
pub(super) fn hex<'a>(bytes: &[u8], out: &'a mut [u8; 32]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in bytes.iter().take(16).enumerate() {
        out[2 * at] = DIGITS[usize::from(byte >> 4)];
        out[2 * at + 1] = DIGITS[usize::from(byte & 15)];
    }
    let length = 2 * bytes.len().min(16);
    std::str::from_utf8(&out[..length]).unwrap_or_default()
}

/// The ids of one worker. The seed is an argument, so that tests repeat; the generator is xoshiro256++ (Blackman and
/// Vigna), its state filled by SplitMix64. Fast and well spread; not meant to be unguessable.
#[derive(Debug)]
pub struct RequestIds {
    state: Cell<[u64; 4]>,
}

impl RequestIds {
    /// A sequence that differs by seed and by worker.
    #[must_use]
    pub fn new(seed: u64, worker: usize) -> Self {
        let mut x = seed ^ (worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        let mut next = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self { state: Cell::new([next(), next(), next(), next()]) }
    }

    /// 64 fresh bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        let mut s = self.state.get();
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        self.state.set(s);
        result
    }

    /// A number from 0 (included) to 1 (excluded).
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A fresh request id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId(self.sixteen())
    }

    /// A fresh trace id; never all zeros, which W3C Trace Context calls invalid.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        let mut id = self.sixteen();
        if id == [0; 16] {
            id[15] = 1;
        }
        id
    }

    /// A fresh span id; never all zeros.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        self.bits().max(1).to_be_bytes()
    }

    fn sixteen(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.bits().to_be_bytes());
        id[8..].copy_from_slice(&self.bits().to_be_bytes());
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn trusted_ids_are_32_digits_or_a_uuid() {
        let check = |text: &str, wanted: Option<&str>| {
            let read = RequestId::from_trusted(text.as_bytes()).map(|id| id.to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        };
        let id = "0123456789abcdef0123456789abcdef";
        check(id, Some(id));
        check("0123456789ABCDEF0123456789ABCDEF", Some(id));
        check("01234567-89ab-cdef-0123-456789abcdef", Some(id));
        check("01234567-89ab-cdef-0123x456789abcdef", None);
        check("0123456789abcdef0123456789abcde", None);
        check("0123456789abcdef0123456789abcdeg", None);
        check("", None);
        check("0123456789abcdef0123456789abc\r\nX", None);
    }

    #[test]
    fn sequences_repeat_by_seed_and_differ_by_worker() {
        let take = |seed, worker| {
            let ids = RequestIds::new(seed, worker);
            (0..100).map(|_| ids.request_id()).collect::<Vec<_>>()
        };
        assert_eq!(take(7, 0), take(7, 0));
        let all: HashSet<_> = (0..8).flat_map(|worker| take(7, worker)).chain(take(8, 0)).collect();
        assert_eq!(all.len(), 900);
    }

    #[test]
    fn shares_fill_the_unit_interval() {
        let ids = RequestIds::new(1, 0);
        let below = (0..10_000).map(|_| ids.share()).inspect(|s| assert!((0.0..1.0).contains(s))).filter(|s| *s < 0.25);
        assert!((2_200..2_800).contains(&below.count()));
    }
}
