//! The chunked coding, as strictly as RFC 9112 section 7.1 has it, without the optional white space.

use guichet_core::bounds::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX,
};

use super::head::{field_syntax, is_alike};

/// Where in the coding the bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        bytes: usize,
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// From the first byte after the last chunk's line; held until it is whole.
    Trailer {
        line_at: usize,
        searched: usize,
        fields: usize,
    },
}

/// One chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    place: Place,
    extension_bytes: usize,
}

/// What of the bytes may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes; the body goes on.
    More(usize),
    /// So many bytes, and the body is over.
    Done(usize),
    /// So many bytes; what follows them is wrong.
    Bad(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { place: Place::Size { digits: 0, size: 0 }, extension_bytes: 0 }
    }

    /// `data` starts with the first byte that has not passed yet.
    pub(super) fn scan(&mut self, data: &[u8]) -> Progress {
        let mut at = 0;
        while at < data.len() {
            if let Place::Data { left } = self.place {
                let count = left.min((data.len() - at) as u64);
                at += count as usize;
                self.place = if left == count { Place::DataCr } else { Place::Data { left: left - count } };
                continue;
            }
            if let Place::Trailer { .. } = self.place {
                return self.trailer(&data[at..], at);
            }
            match self.byte(data[at]) {
                Some(place) => self.place = place,
                None => return Progress::Bad(at),
            }
            at += 1;
        }
        Progress::More(at)
    }

    /// One byte of the framing; `None` where it is wrong.
    fn byte(&mut self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16)?;
                (digits < CHUNK_SIZE_DIGITS_MAX)
                    .then_some(Place::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
            }
            (Place::Size { digits: 1.., size }, b'\r') => Some(Place::SizeLf { size }),
            (Place::Size { digits: 1.., size }, b';') => Some(Place::Extension { bytes: 1, size }),
            (Place::Extension { size, .. }, b'\r') => Some(Place::SizeLf { size }),
            (Place::Extension { bytes, size }, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extension_bytes += 1;
                let room = bytes < CHUNK_EXTENSION_BYTES_MAX && self.extension_bytes < CHUNK_EXTENSIONS_BYTES_MAX;
                room.then_some(Place::Extension { bytes: bytes + 1, size })
            }
            (Place::SizeLf { size: 0 }, b'\n') => Some(Place::Trailer { line_at: 0, searched: 0, fields: 0 }),
            (Place::SizeLf { size }, b'\n') => Some(Place::Data { left: size }),
            (Place::DataCr, b'\r') => Some(Place::DataLf),
            (Place::DataLf, b'\n') => Some(Place::Size { digits: 0, size: 0 }),
            _ => None,
        }
    }

    /// `held` starts with the trailer; `before` bytes may pass whatever becomes of it.
    fn trailer(&mut self, held: &[u8], before: usize) -> Progress {
        let Place::Trailer { mut line_at, mut searched, mut fields } = self.place else { return Progress::Bad(before) };
        let window = &held[..held.len().min(TRAILER_BYTES_MAX)];
        while let Some(found) = memchr::memchr(b'\n', &window[searched..]) {
            let lf = searched + found;
            if lf == line_at || held[lf - 1] != b'\r' {
                return Progress::Bad(before);
            }
            if lf - 1 == line_at {
                return Progress::Done(before + lf + 1);
            }
            fields += 1;
            if fields > TRAILER_FIELDS_MAX || !is_good_trailer(&held[line_at..lf - 1]) {
                return Progress::Bad(before);
            }
            line_at = lf + 1;
            searched = lf + 1;
        }
        self.place = Place::Trailer { line_at, searched: window.len(), fields };
        if held.len() < TRAILER_BYTES_MAX { Progress::More(before) } else { Progress::Bad(before) }
    }
}

/// A well-formed field that does not try to change framing or routing after the fact.
fn is_good_trailer(line: &[u8]) -> bool {
    let forbidden = [&b"content-length"[..], b"transfer-encoding", b"host", b"connection", b"trailer", b"upgrade"];
    field_syntax(line).is_ok_and(|(name, _)| !forbidden.iter().any(|f| is_alike(name, f)))
}
