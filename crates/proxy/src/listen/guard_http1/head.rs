//! One request head, line by line, as strictly as RFC 9112 allows, and stricter where parsers disagree.

use guichet_core::Reason;
use guichet_core::bounds::{EMPTY_LINES_BEFORE_REQUEST_MAX, METHOD_BYTES_MAX};

use super::scanner::HeadBounds;

/// How the body of a message is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// A range of bytes of the head.
type Span = (usize, usize);

/// What the lines so far said. Offsets count from the start of the head.
#[derive(Debug, Default)]
pub(super) struct Head {
    line_at: usize,
    searched: usize,
    empty_lines: u8,
    begun: bool,
    http10: bool,
    fields: usize,
    content_length: Option<u64>,
    chunked: bool,
    host: Option<Span>,
    authority: Option<Span>,
    upgrade: bool,
}

/// What became of the head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done { bytes: usize, framing: Framing, upgrade: bool },
}

impl Head {
    /// Looks at `data`, which starts where the head starts and may have grown since the last call.
    pub(super) fn scan(&mut self, data: &[u8], bounds: &HeadBounds) -> Result<Progress, Reason> {
        self.first_byte(data)?;
        let window = &data[..data.len().min(bounds.head_bytes_max)];
        while let Some(found) = memchr::memchr(b'\n', &window[self.searched..]) {
            let lf = self.searched + found;
            let line_at = self.line_at;
            self.searched = lf + 1;
            self.line_at = lf + 1;
            if lf == line_at || data[lf - 1] != b'\r' {
                return Err(Reason::BareLineFeed);
            }
            let line = (line_at, lf - 1);
            if line.0 == line.1 {
                if self.begun {
                    return self.finish(data, lf + 1);
                }
                self.empty_lines += 1;
                if self.empty_lines > EMPTY_LINES_BEFORE_REQUEST_MAX {
                    return Err(Reason::MalformedHead);
                }
                self.first_byte(data)?;
            } else if self.begun {
                self.field(data, line, bounds)?;
            } else {
                self.request_line(data, line, bounds)?;
            }
        }
        self.searched = window.len();
        if data.len() < bounds.head_bytes_max {
            return Ok(Progress::More);
        }
        Err(if self.begun { Reason::HeadTooLarge } else { Reason::UriTooLong })
    }

    /// Judges what cannot begin a request at once, so that a stray client is told at its first byte.
    fn first_byte(&self, data: &[u8]) -> Result<(), Reason> {
        match data.get(self.line_at) {
            Some(b'\n') if !self.begun => Err(Reason::BareLineFeed),
            Some(b) if !self.begun && *b != b'\r' && !is_token(*b) => Err(Reason::MalformedHead),
            _ => Ok(()),
        }
    }

    fn request_line(&mut self, data: &[u8], (from, to): Span, bounds: &HeadBounds) -> Result<(), Reason> {
        let line = &data[from..to];
        if line.contains(&b'\r') {
            return Err(Reason::BareLineFeed);
        }
        let method_end = memchr::memchr(b' ', line).ok_or(Reason::MalformedHead)?;
        let target_end = memchr::memrchr(b' ', line).ok_or(Reason::MalformedHead)?;
        let method = &line[..method_end];
        if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.iter().all(|b| is_token(*b)) {
            return Err(Reason::MalformedHead);
        }
        // With one space only (HTTP/0.9) the target would lie before the method's end.
        if target_end <= method_end {
            return Err(Reason::MalformedHead);
        }
        self.http10 = match &line[target_end + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Reason::MalformedHead),
        };
        if method == b"CONNECT" {
            return Err(Reason::ConnectRefused);
        }
        let target = (from + method_end + 1, from + target_end);
        if target.1 - target.0 > bounds.target_bytes_max {
            return Err(Reason::UriTooLong);
        }
        self.target(data, target, method == b"OPTIONS")?;
        self.begun = true;
        Ok(())
    }

    /// Origin form, absolute form, or `*` for OPTIONS; only bytes that every parser takes alike.
    fn target(&mut self, data: &[u8], (from, to): Span, options: bool) -> Result<(), Reason> {
        let target = &data[from..to];
        let mut path_at = 0;
        if !target.starts_with(b"/") {
            if target == b"*" && options {
                return Ok(());
            }
            let scheme_end = scheme_bytes(target).ok_or(Reason::MalformedHead)?;
            let authority_end = memchr::memchr3(b'/', b'?', b'#', &target[scheme_end..])
                .map_or(target.len(), |found| scheme_end + found);
            if !is_host(&target[scheme_end..authority_end]) {
                return Err(Reason::BadHost);
            }
            self.authority = Some((from + scheme_end, from + authority_end));
            path_at = authority_end;
        }
        let path = &target[path_at..];
        let query_at = memchr::memchr(b'?', path).unwrap_or(path.len());
        let visible = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'#' | b'<' | b'>');
        let plain = path[..query_at].iter().all(|b| visible(*b) && *b != b'`')
            && path[query_at..].iter().all(|b| visible(*b) && *b != b'"');
        if plain { Ok(()) } else { Err(Reason::MalformedHead) }
    }

    fn field(&mut self, data: &[u8], (from, to): Span, bounds: &HeadBounds) -> Result<(), Reason> {
        self.fields += 1;
        if self.fields > bounds.header_fields_max {
            return Err(Reason::HeadTooLarge);
        }
        let (name, value) = field_syntax(&data[from..to])?;
        let value = (from + value.0, from + value.1);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let repeated = self.host.replace(value).is_some();
                if repeated || !is_host(&data[value.0..value.1]) {
                    return Err(Reason::BadHost);
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if is_alike(name, b"content-length") => {
                let length = parse_length(&data[value.0..value.1]).filter(|_| name[7] == b'-');
                let repeated = self.content_length.replace(length.ok_or(Reason::AmbiguousLength)?).is_some();
                if repeated || self.chunked {
                    return Err(Reason::AmbiguousLength);
                }
            }
            17 if is_alike(name, b"transfer-encoding") => self.transfer_encoding(name, &data[value.0..value.1])?,
            _ => {}
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reason> {
        if self.http10 || self.chunked || self.content_length.is_some() || name[8] != b'-' {
            return Err(Reason::AmbiguousLength);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reason::UnsupportedCoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn finish(&self, data: &[u8], bytes: usize) -> Result<Progress, Reason> {
        match (self.host, self.authority) {
            (None, _) if !self.http10 => return Err(Reason::BadHost),
            (Some(host), Some(authority))
                if !data[host.0..host.1].eq_ignore_ascii_case(&data[authority.0..authority.1]) =>
            {
                return Err(Reason::BadHost);
            }
            _ => {}
        }
        let framing = match (self.chunked, self.content_length) {
            (true, _) => Framing::Chunked,
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        Ok(Progress::Done { bytes, framing, upgrade: self.upgrade })
    }
}

/// Checks one field line and gives its name and where its value lies, without the white space around it.
pub(super) fn field_syntax(line: &[u8]) -> Result<(&[u8], Span), Reason> {
    // Written so that the compiler makes a vector loop of it: most of a head passes here.
    let plain = line.iter().fold(true, |plain, b| plain & ((*b >= 0x20) & (*b != 0x7f) | (*b == b'\t')));
    if !plain {
        return Err(if line.contains(&b'\r') { Reason::BareLineFeed } else { Reason::MalformedHead });
    }
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Reason::ObsoleteFold);
    }
    let colon = memchr::memchr(b':', line).ok_or(Reason::MalformedHead)?;
    let name = &line[..colon];
    if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
        return Err(Reason::MalformedHead);
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let value = &line[colon + 1..];
    let leading = value.iter().take_while(|b| blank(b)).count();
    let trailing = value[leading..].iter().rev().take_while(|b| blank(b)).count();
    Ok((name, (colon + 1 + leading, line.len() - trailing)))
}

/// The same name, or one that some programs take for it (they read `_` as `-`).
pub(super) fn is_alike(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name.iter().zip(lower).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

/// Digits only: no sign, no list, no white space.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

fn scheme_bytes(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    })
}

/// A name, IPv4 or bracketed IPv6 address, with an optional port. No user information, no lists, no escapes.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, rest) = if host.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', host) else { return false };
        let inner = &host[1..end];
        let parsed = std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        if !parsed {
            return false;
        }
        (inner, &host[end + 1..])
    } else {
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        let (name, rest) = host.split_at(end);
        if !name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            return false;
        }
        (name, rest)
    };
    let port_good = match rest {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0u32, |sum, d| sum * 10 + u32::from(d - b'0')) <= 65_535
        }
        _ => false,
    };
    !name.is_empty() && name.len() <= guichet_core::bounds::SERVER_NAME_BYTES_MAX && port_good
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        table[b] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        b += 1;
    }
    table
};

/// `tchar` of RFC 9110.
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}
