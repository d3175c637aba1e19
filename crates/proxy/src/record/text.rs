//! Text of clients made safe for logs: it cannot end a line, close a quote, move a terminal's cursor or turn the
//! direction of writing, and it has a bound.

use std::fmt::{self, Write as _};

/// Shows bytes as printable ASCII: everything else, and `"` and `\`, becomes `\xNN`. Where the bound cuts, `\+`
/// follows. A backslash in the output is therefore always an escape, and the output needs no further escaping
/// between quotes.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    bytes_max: usize,
    spaces: bool,
}

impl<'a> Escaped<'a> {
    /// At most `bytes_max` bytes of output, the mark of the cut not counted.
    #[must_use]
    pub const fn new(bytes: &'a [u8], bytes_max: usize) -> Self {
        Self { bytes, bytes_max, spaces: true }
    }

    /// The same for a field that stands without quotes: spaces are escaped, too.
    #[must_use]
    pub const fn word(bytes: &'a [u8], bytes_max: usize) -> Self {
        Self { bytes, bytes_max, spaces: false }
    }

    fn is_plain(&self, byte: u8) -> bool {
        match byte {
            b'"' | b'\\' => false,
            b' ' => self.spaces,
            _ => byte.is_ascii_graphic(),
        }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let plain = rest.iter().position(|b| !self.is_plain(*b)).unwrap_or(rest.len());
            let fits = plain.min(self.bytes_max - written);
            f.write_str(std::str::from_utf8(&rest[..fits]).unwrap_or_default())?;
            written += fits;
            rest = &rest[fits..];
            if fits < plain || (!rest.is_empty() && written + 4 > self.bytes_max) {
                return f.write_str("\\+");
            }
            if let Some((byte, after)) = rest.split_first() {
                write!(f, "\\x{byte:02X}")?;
                written += 4;
                rest = after;
            }
        }
        Ok(())
    }
}

impl serde::Serialize for Escaped<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = self.bytes.len() <= self.bytes_max && self.bytes.iter().all(|b| self.is_plain(*b));
        match std::str::from_utf8(self.bytes) {
            // Nearly all texts: spared the way through `Display`.
            Ok(text) if plain => serializer.serialize_str(text),
            Ok(_) | Err(_) => serializer.collect_str(self),
        }
    }
}

/// Appends formatted text.
pub(super) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Writes a value as one unquoted word of a log line, `-` where there is none.
pub(super) fn word_or_dash(out: &mut String, value: Option<&str>, bytes_max: usize) {
    match value {
        Some(text) if !text.is_empty() => put(out, format_args!("{}", Escaped::word(text.as_bytes(), bytes_max))),
        Some(_) | None => out.push('-'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        let check = |bytes: &[u8], max, wanted: &str| {
            assert_eq!(Escaped::new(bytes, max).to_string(), wanted, "{bytes:?}");
        };
        check(b"", 8, "");
        check(b"/a b?c", 8, "/a b?c");
        check(b"a\r\nb", 80, "a\\x0D\\x0Ab");
        check(b"\"\\", 80, "\\x22\\x5C");
        check("é\u{2028}\u{202e}".as_bytes(), 80, "\\xC3\\xA9\\xE2\\x80\\xA8\\xE2\\x80\\xAE");
        check(b"\x1b[2J\x7f\x9b", 80, "\\x1B[2J\\x7F\\x9B");
        check(b"abcdef", 6, "abcdef");
        check(b"abcdefg", 6, "abcdef\\+");
        check(b"abc\n", 6, "abc\\+");
        check(b"ab\nc", 6, "ab\\x0A\\+");
        assert_eq!(Escaped::word(b"a b", 80).to_string(), "a\\x20b");
    }

    proptest! {
        #[test]
        fn output_is_bounded_and_printable(bytes in proptest::collection::vec(any::<u8>(), 0..300), max in 0_usize..64) {
            let out = Escaped::new(&bytes, max).to_string();
            prop_assert!(out.len() <= max + 2);
            prop_assert!(out.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'));
        }
    }
}
