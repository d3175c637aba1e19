//! `traceparent` and `tracestate` as W3C Trace Context (Recommendation of 2021, and the level 2 flags) has them.
//! Pure, total, bounded: made to be fed by attackers.

use guichet_core::bounds::{TRACESTATE_BYTES_MAX, TRACESTATE_MEMBERS_MAX};

/// What a caller said of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace; not all zeros.
    pub trace_id: [u8; 16],
    /// The caller's span; not all zeros.
    pub parent_id: [u8; 8],
    /// Flags: 1 sampled, 2 random trace id; others are cleared, since nobody knows what they will mean.
    pub flags: u8,
}

impl Traceparent {
    /// The bit that says that the caller records this trace.
    pub const SAMPLED: u8 = 1;
    /// The bits that are passed on.
    const KNOWN_FLAGS: u8 = 3;
    /// Bytes of a version 00 header.
    pub const LENGTH: usize = 55;
}

/// Reads a `traceparent`; `None` where it is malformed, and then the request begins a new trace.
#[must_use]
pub fn parse_traceparent(value: &[u8]) -> Option<Traceparent> {
    let (known, more) = value.split_at_checked(Traceparent::LENGTH)?;
    if [2, 35, 52].iter().any(|at| known[*at] != b'-') {
        return None;
    }
    let [version] = hex_lower::<1>(&known[..2])?;
    // Version ff is forbidden; 00 ends here; a later one may go on behind a hyphen.
    let shape_fits = match version {
        0xff => false,
        0 => more.is_empty(),
        _ => more.is_empty() || more[0] == b'-',
    };
    let trace_id = hex_lower::<16>(&known[3..35])?;
    let parent_id = hex_lower::<8>(&known[36..52])?;
    let [flags] = hex_lower::<1>(&known[53..])?;
    let valid = shape_fits && trace_id != [0; 16] && parent_id != [0; 8];
    valid.then_some(Traceparent { trace_id, parent_id, flags: flags & Traceparent::KNOWN_FLAGS })
}

fn hex_lower<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(out)
}

/// Whether a `tracestate` may be passed on as it is: members `key=value` or `tenant@system=value`, at most 32 of them
/// in at most 512 bytes, no key twice.
#[must_use]
pub fn tracestate_is_valid(value: &[u8]) -> bool {
    if value.len() > TRACESTATE_BYTES_MAX {
        return false;
    }
    let mut keys = [&b""[..]; TRACESTATE_MEMBERS_MAX];
    let mut count = 0;
    for member in value.split(|b| *b == b',') {
        let member = trim_blank(member);
        if member.is_empty() {
            continue;
        }
        let Some(at) = member.iter().position(|b| *b == b'=') else { return false };
        let (key, rest) = (&member[..at], &member[at + 1..]);
        if count == keys.len() || keys[..count].contains(&key) || !key_is_valid(key) || !value_is_valid(rest) {
            return false;
        }
        keys[count] = key;
        count += 1;
    }
    count > 0
}

/// Without spaces and tabs around it; other white space may not stand in a field at all.
fn trim_blank(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn key_is_valid(key: &[u8]) -> bool {
    let part = |part: &[u8], length_max: usize, digit_first: bool| {
        let first = part.first().is_some_and(|b| b.is_ascii_lowercase() || (digit_first && b.is_ascii_digit()));
        let rest = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        first && part.len() <= length_max && part.iter().all(rest)
    };
    match key.iter().position(|b| *b == b'@') {
        Some(at) => part(&key[..at], 241, true) && part(&key[at + 1..], 14, false),
        None => part(key, 256, false),
    }
}

fn value_is_valid(value: &[u8]) -> bool {
    let printable = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'=');
    (1..=256).contains(&value.len()) && value.iter().all(printable)
}
