//! An own reader of the TLS ClientHello, over records and fragments, before any cryptography is paid for.
//!
//! Pure and incremental: [`parse`] looks at all bytes that came so far. It takes out what is needed to choose, to
//! fingerprint and to refuse; whether the hello is acceptable in every other respect is for rustls, which reads the
//! same bytes afterwards. Sources: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301, RFC 8701 (GREASE).

use guichet_core::bounds::{
    CLIENT_HELLO_ALPN_MAX, CLIENT_HELLO_BYTES_MAX, CLIENT_HELLO_LIST_MAX, CLIENT_HELLO_RECORDS_MAX,
    SERVER_NAME_BYTES_MAX, TLS_RECORD_BYTES_MAX,
};

const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What a ClientHello tells. Lists are in the order of the wire and still hold GREASE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHelloInfo {
    /// The version field of the hello itself (`legacy_version`).
    pub legacy_version: u16,
    /// Cipher suites.
    pub cipher_suites: Vec<u16>,
    /// Extension types.
    pub extensions: Vec<u16>,
    /// Whether there is a server name extension, even an unreadable one.
    pub sni_present: bool,
    /// The host name asked for, lower case, without a final dot.
    pub sni: Option<String>,
    /// Application protocols.
    pub alpn: Vec<Vec<u8>>,
    /// `supported_versions`.
    pub versions: Vec<u16>,
    /// `signature_algorithms`.
    pub signature_algorithms: Vec<u16>,
    /// `supported_groups`.
    pub groups: Vec<u16>,
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// At least this many further bytes are needed.
    Need(usize),
    /// A whole ClientHello.
    Done(Box<ClientHelloInfo>),
    /// Not TLS, not a ClientHello, malformed, or over the bounds.
    Bad,
}

/// GREASE values (RFC 8701): `0x0a0a`, `0x1a1a` ... `0xfafa`.
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Reads a ClientHello from the start of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut joined = Vec::new();
    match handshake_message(bytes, &mut joined) {
        Gathered::Need(n) => Parsed::Need(n),
        Gathered::Bad => Parsed::Bad,
        // The body starts behind type (1) and length (3).
        Gathered::Whole(body) => hello(body).map_or(Parsed::Bad, |info| Parsed::Done(Box::new(info))),
        Gathered::Joined => hello(&joined[4..]).map_or(Parsed::Bad, |info| Parsed::Done(Box::new(info))),
    }
}

enum Gathered<'a> {
    Need(usize),
    Bad,
    /// The message lies in one record: its body, borrowed.
    Whole(&'a [u8]),
    /// The message was put together in the buffer, header included.
    Joined,
}

/// Finds the first handshake message, over records.
fn handshake_message<'a>(bytes: &'a [u8], joined: &mut Vec<u8>) -> Gathered<'a> {
    let mut at = 0;
    for record in 0..CLIENT_HELLO_RECORDS_MAX {
        let rest = &bytes[at..];
        // What can be judged early is: a stray client is told at its first byte.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE_RECORD) || rest.get(1).is_some_and(|major| *major != 3) {
            return Gathered::Bad;
        }
        if rest.len() < RECORD_HEADER_BYTES {
            return Gathered::Need(RECORD_HEADER_BYTES - rest.len());
        }
        let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        if length == 0 || length > TLS_RECORD_BYTES_MAX {
            return Gathered::Bad;
        }
        let payload = &rest[RECORD_HEADER_BYTES..];
        let present = &payload[..length.min(payload.len())];
        if record == 0 && present.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Gathered::Bad;
        }
        if let Some(total) = message_bytes(joined, present) {
            if total > CLIENT_HELLO_BYTES_MAX {
                return Gathered::Bad;
            }
            if joined.is_empty() && present.len() >= total {
                // A record that holds more than the hello would be a second message before our answer.
                return if length == total { Gathered::Whole(&present[4..total]) } else { Gathered::Bad };
            }
        }
        if payload.len() < length {
            return Gathered::Need(length - payload.len());
        }
        joined.extend_from_slice(present);
        match message_bytes(joined, &[]) {
            Some(total) if joined.len() == total => return Gathered::Joined,
            Some(total) if joined.len() > total => return Gathered::Bad,
            _ => {}
        }
        at += RECORD_HEADER_BYTES + length;
    }
    Gathered::Bad
}

/// Bytes of the handshake message with its header, once the header is known.
fn message_bytes(joined: &[u8], present: &[u8]) -> Option<usize> {
    let mut header = joined.iter().chain(present).copied().skip(1);
    let (a, b, c) = (header.next()?, header.next()?, header.next()?);
    Some(4 + u32::from_be_bytes([0, a, b, c]) as usize)
}

/// A cursor that never reads past its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn vector8(&mut self) -> Option<Reader<'a>> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(Reader)
    }

    fn vector16(&mut self) -> Option<Reader<'a>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Reader)
    }

    /// The rest as 16-bit values, within the bound on lists.
    fn list16(&self) -> Option<Vec<u16>> {
        if !self.0.len().is_multiple_of(2) || self.0.len() / 2 > CLIENT_HELLO_LIST_MAX {
            return None;
        }
        Some(self.0.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect())
    }
}

fn hello(body: &[u8]) -> Option<ClientHelloInfo> {
    let mut reader = Reader(body);
    let legacy_version = reader.u16()?;
    reader.take(32)?;
    let session_id = reader.vector8()?;
    if session_id.0.len() > 32 {
        return None;
    }
    let mut info = ClientHelloInfo { legacy_version, ..ClientHelloInfo::default() };
    info.cipher_suites = reader.vector16()?.list16()?;
    reader.vector8()?;
    // TLS 1.2 hellos may end here.
    if reader.0.is_empty() {
        return Some(info);
    }
    let mut extensions = reader.vector16()?;
    if !reader.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector16()?;
        if info.extensions.len() == CLIENT_HELLO_LIST_MAX || info.extensions.contains(&kind) {
            return None;
        }
        info.extensions.push(kind);
        extension(&mut info, kind, data)?;
    }
    Some(info)
}

fn extension(info: &mut ClientHelloInfo, kind: u16, mut data: Reader<'_>) -> Option<()> {
    match kind {
        0 => {
            info.sni_present = true;
            info.sni = server_name(data);
        }
        10 => info.groups = data.vector16()?.list16()?,
        13 => info.signature_algorithms = data.vector16()?.list16()?,
        16 => {
            let mut names = data.vector16()?;
            while !names.0.is_empty() && info.alpn.len() < CLIENT_HELLO_ALPN_MAX {
                info.alpn.push(names.vector8()?.0.to_vec());
            }
        }
        43 => info.versions = data.vector8()?.list16()?,
        _ => {}
    }
    Some(())
}

/// The first host name of the extension; `None` where it is not a name (rustls decides what becomes of those).
fn server_name(mut data: Reader<'_>) -> Option<String> {
    let mut names = data.vector16()?;
    while !names.0.is_empty() {
        let kind = names.u8()?;
        let name = names.vector16()?.0;
        if kind != 0 {
            continue;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > SERVER_NAME_BYTES_MAX || !name.iter().all(plain) {
            return None;
        }
        return Some(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector16(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
    }

    fn list16(values: &[u16]) -> Vec<u8> {
        vector16(&values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>())
    }

    /// A hello that says what `info` says, as a handshake message. Extensions without a field get no content.
    pub(crate) fn message(info: &ClientHelloInfo) -> Vec<u8> {
        let mut body = info.legacy_version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(list16(&info.cipher_suites));
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        for kind in &info.extensions {
            let data = match kind {
                0 => {
                    let name = info.sni.as_deref().unwrap_or_default().as_bytes();
                    vector16(&[&[0u8][..], &vector16(name)].concat())
                }
                10 => list16(&info.groups),
                13 => list16(&info.signature_algorithms),
                16 => {
                    let names: Vec<u8> = info.alpn.iter().flat_map(|n| [&[n.len() as u8][..], n].concat()).collect();
                    vector16(&names)
                }
                43 => list16(&info.versions)[1..].to_vec(),
                _ => Vec::new(),
            };
            extensions.extend(kind.to_be_bytes());
            extensions.extend(vector16(&data));
        }
        body.extend(vector16(&extensions));
        let length = (body.len() as u32).to_be_bytes();
        [&[CLIENT_HELLO, length[1], length[2], length[3]][..], &body].concat()
    }

    /// The message in records of at most `fragment` bytes.
    pub(crate) fn records(message: &[u8], fragment: usize) -> Vec<u8> {
        message.chunks(fragment).flat_map(|part| [&[HANDSHAKE_RECORD, 3, 1][..], &vector16(part)].concat()).collect()
    }

    fn example() -> ClientHelloInfo {
        ClientHelloInfo {
            legacy_version: 0x0303,
            cipher_suites: vec![0x1a1a, 0x1301, 0xc02b],
            extensions: vec![0x2a2a, 0, 16, 43, 10, 13, 23],
            sni_present: true,
            sni: Some("portal.localhost".into()),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x3a3a, 0x0304, 0x0303],
            signature_algorithms: vec![0x0403, 0x0804],
            groups: vec![0x4a4a, 29],
        }
    }

    #[test]
    fn whole_and_fragmented_hellos_read_the_same() {
        let message = message(&example());
        for fragment in [message.len(), 1000, 100, 7, 4] {
            let bytes = records(&message, fragment);
            let expected = if bytes.len() / (fragment + RECORD_HEADER_BYTES) < CLIENT_HELLO_RECORDS_MAX {
                Parsed::Done(Box::new(example()))
            } else {
                Parsed::Bad
            };
            assert_eq!(parse(&bytes), expected, "fragments of {fragment}");
        }
    }

    #[test]
    fn what_is_not_a_hello_is_told_early() {
        let good = records(&message(&example()), 4000);
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        let mut long = example();
        long.cipher_suites = vec![1; CLIENT_HELLO_LIST_MAX + 1];
        let mut repeated = example();
        repeated.extensions.push(0);
        let table: Vec<(&str, Vec<u8>)> = vec![
            ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("one stray byte", vec![b'G']),
            ("application data", changed(0, 23)),
            ("wrong major version", changed(1, 2)),
            ("server hello", changed(5, 2)),
            ("empty record", vec![22, 3, 1, 0, 0]),
            ("record too long", vec![22, 3, 1, 0x40, 1]),
            ("message too long", vec![22, 3, 1, 0x40, 0, 1, 1, 0, 0]),
            ("trailing bytes in the record", {
                let mut bytes = records(&[message(&example()), vec![0]].concat(), 4000);
                bytes.push(0);
                bytes
            }),
            ("inner length past the end", changed(9 + 2 + 32, 255)),
            ("too many cipher suites", records(&message(&long), 4000)),
            ("an extension twice", records(&message(&repeated), 4000)),
        ];
        for (what, bytes) in table {
            assert_eq!(parse(&bytes), Parsed::Bad, "{what}");
        }
        assert_eq!(parse(&[]), Parsed::Need(RECORD_HEADER_BYTES));
    }

    #[test]
    fn names_are_lower_case_and_plain() {
        let name = |text: &str| {
            let info = ClientHelloInfo { sni: Some(text.into()), extensions: vec![0], ..ClientHelloInfo::default() };
            let Parsed::Done(info) = parse(&records(&message(&info), 4000)) else { panic!("{text}") };
            assert!(info.sni_present);
            info.sni.clone()
        };
        assert_eq!(name("Bank.LocalHost.").as_deref(), Some("bank.localhost"));
        assert_eq!(name("bank\0.localhost"), None);
        assert_eq!(name("bänk"), None);
        assert_eq!(name(""), None);
        assert_eq!(name(&"a".repeat(SERVER_NAME_BYTES_MAX + 1)), None);
    }

    proptest! {
        /// Any prefix asks for more, and never for more than there is.
        #[test]
        fn prefixes_ask_for_more(fragment in 8usize..300) {
            let bytes = records(&message(&example()), fragment);
            for cut in 0..bytes.len() {
                match parse(&bytes[..cut]) {
                    Parsed::Need(n) => prop_assert!(n >= 1 && cut + n <= bytes.len()),
                    other => prop_assert!(false, "{cut}: {other:?}"),
                }
            }
        }

        /// Nothing makes it panic, and a verdict once given stays.
        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), aimed in any::<bool>()) {
            if aimed && bytes.len() > 9 {
                let length = (bytes.len() - 5) as u16;
                bytes[0] = 22;
                bytes[1] = 3;
                bytes[3..5].copy_from_slice(&length.to_be_bytes());
                bytes[5] = 1;
                bytes[6] = 0;
                bytes[7..9].copy_from_slice(&(length - 4).to_be_bytes());
            }
            let whole = parse(&bytes);
            for cut in 0..bytes.len() {
                match parse(&bytes[..cut]) {
                    Parsed::Need(_) => {}
                    settled => prop_assert_eq!(&settled, &whole),
                }
            }
        }
    }
}
