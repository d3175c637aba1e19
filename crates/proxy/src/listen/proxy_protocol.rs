//! PROXY protocol, versions 1 and 2: the header by which a trusted load balancer tells the client's address.
//!
//! Pure and incremental: [`parse`] looks at the bytes that came so far and never needs to be told what it saw before.
//! Source: the specification of HAProxy, "The PROXY protocol, versions 1 & 2". Nothing here decides *whom* to believe;
//! that is the accept loop's, from the listener's trusted networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use guichet_core::bounds::{PROXY_V1_BYTES_MAX, PROXY_V2_BYTES_MAX, PROXY_V2_TLVS_MAX};

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEADER_BYTES: usize = 16;

/// What a PROXY header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the balancer's own (LOCAL, UNKNOWN, UNSPEC or a family without addresses): the socket's
    /// addresses count.
    Local,
    /// The client's address, and the address that it connected to.
    Addresses {
        /// Who connected to the balancer.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// At least this many further bytes are needed to tell more.
    Need(usize),
    /// A whole header, and how many bytes it took.
    Done(ProxyHeader, usize),
    /// The bytes do not begin a PROXY header at all.
    Absent,
    /// They begin one, and it is malformed or over its bounds.
    Bad,
}

/// Reads a PROXY header from the start of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.is_empty() {
        return Parsed::Need(1);
    }
    if begins(bytes, V1_PREFIX) {
        return if bytes.len() < V1_PREFIX.len() {
            Parsed::Need(V1_PREFIX.len() - bytes.len())
        } else {
            parse_v1(bytes)
        };
    }
    if begins(bytes, V2_SIGNATURE) {
        return if bytes.len() < V2_HEADER_BYTES {
            Parsed::Need(V2_HEADER_BYTES - bytes.len())
        } else {
            parse_v2(bytes)
        };
    }
    Parsed::Absent
}

/// Whether the bytes so far agree with `pattern`.
fn begins(bytes: &[u8], pattern: &[u8]) -> bool {
    let length = bytes.len().min(pattern.len());
    bytes[..length] == pattern[..length]
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    let looked_at = &bytes[..bytes.len().min(PROXY_V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', looked_at) else {
        return if bytes.len() >= PROXY_V1_BYTES_MAX { Parsed::Bad } else { Parsed::Need(1) };
    };
    // The prefix holds no LF, so `end` is past it.
    if looked_at[end - 1] != b'\r' {
        return Parsed::Bad;
    }
    let Ok(line) = std::str::from_utf8(&looked_at[V1_PREFIX.len()..end - 1]) else { return Parsed::Bad };
    match v1_line(line) {
        Some(header) => Parsed::Done(header, end + 1),
        None => Parsed::Bad,
    }
}

fn v1_line(line: &str) -> Option<ProxyHeader> {
    // What follows UNKNOWN is to be ignored, whatever it is.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(ProxyHeader::Local);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Some(ProxyHeader::Addresses {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    })
}

/// A decimal port without sign or leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let (version, command) = (bytes[12] >> 4, bytes[12] & 0x0f);
    let (family, transport) = (bytes[13] >> 4, bytes[13] & 0x0f);
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let total = V2_HEADER_BYTES + length;
    if version != 2 || command > 1 || family > 3 || transport > 2 || total > PROXY_V2_BYTES_MAX {
        return Parsed::Bad;
    }
    if bytes.len() < total {
        return Parsed::Need(total - bytes.len());
    }
    if command == 0 {
        return Parsed::Done(ProxyHeader::Local, total);
    }
    let payload = &bytes[V2_HEADER_BYTES..total];
    let address_bytes = match family {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if payload.len() < address_bytes {
        return Parsed::Bad;
    }
    let (addresses, tlvs) = payload.split_at(address_bytes);
    // For UNSPEC the layout of what follows is unknown, so it is skipped by its length alone.
    if family != 0 && !tlvs_are_whole(tlvs) {
        return Parsed::Bad;
    }
    // Only TCP carries HTTP; other transports are treated as "no address known".
    let header = match (family, transport) {
        (1, 1) => v2_addresses::<4>(addresses),
        (2, 1) => v2_addresses::<16>(addresses),
        _ => ProxyHeader::Local,
    };
    Parsed::Done(header, total)
}

fn v2_addresses<const N: usize>(bytes: &[u8]) -> ProxyHeader {
    let address = |at: usize| -> IpAddr {
        let part = &bytes[at..at + N];
        match <[u8; 4]>::try_from(part) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            Err(_) => {
                let mut v6 = [0; 16];
                v6.copy_from_slice(part);
                IpAddr::V6(Ipv6Addr::from(v6))
            }
        }
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    ProxyHeader::Addresses {
        source: SocketAddr::new(address(0), port(2 * N)),
        destination: SocketAddr::new(address(N), port(2 * N + 2)),
    }
}

/// TLVs are skipped, but they must fit: type (1), length (2), value.
fn tlvs_are_whole(mut rest: &[u8]) -> bool {
    for _ in 0..PROXY_V2_TLVS_MAX {
        if rest.is_empty() {
            return true;
        }
        let [_, high, low, value @ ..] = rest else { return false };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if value.len() < length {
            return false;
        }
        rest = &value[length..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn addresses(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn version_1() {
        let whole = |line: &str, header| (line.to_owned(), Parsed::Done(header, line.len()));
        let bad = |line: &str| (line.to_owned(), Parsed::Bad);
        let table = [
            whole("PROXY TCP4 192.0.2.1 198.51.100.2 5 443\r\n", addresses("192.0.2.1:5", "198.51.100.2:443")),
            whole("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", addresses("[2001:db8::1]:65535", "[::1]:0")),
            whole("PROXY UNKNOWN\r\n", ProxyHeader::Local),
            whole("PROXY UNKNOWN ff ff 1 2\r\n", ProxyHeader::Local),
            bad("PROXY UNKNOWNX\r\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 5 443\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 5 443 \r\n"),
            bad("PROXY TCP4  192.0.2.1 198.51.100.2 5 443\r\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 05 443\r\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 +5 443\r\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 70000 443\r\n"),
            bad("PROXY TCP4 192.0.2.1 198.51.100.2 5\r\n"),
            bad("PROXY TCP4 ::1 198.51.100.2 5 443\r\n"),
            bad("PROXY TCP6 192.0.2.1 ::1 5 443\r\n"),
            bad("PROXY UDP4 192.0.2.1 198.51.100.2 5 443\r\n"),
            bad("PROXY \r\n"),
            bad("PROXY \n"),
            bad(&format!("PROXY UNKNOWN {}", "x".repeat(120))),
            ("GET / HTTP/1.1\r\n".to_owned(), Parsed::Absent),
            ("PROPFIND / HTTP/1.1\r\n".to_owned(), Parsed::Absent),
            (String::new(), Parsed::Need(1)),
            ("PRO".to_owned(), Parsed::Need(3)),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn version_1_at_its_bound() {
        let filled = |total: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(total - 16));
        let at = filled(PROXY_V1_BYTES_MAX);
        assert_eq!(at.len(), PROXY_V1_BYTES_MAX);
        assert_eq!(parse(at.as_bytes()), Parsed::Done(ProxyHeader::Local, PROXY_V1_BYTES_MAX));
        assert_eq!(parse(filled(PROXY_V1_BYTES_MAX + 1).as_bytes()), Parsed::Bad);
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0, 5, 1, 187];
        let with_tlv = |tlv: &[u8]| v2(1, 0x11, &[&v4[..], tlv].concat());
        let mut v6 = [0u8; 36];
        v6[15] = 1;
        v6[31] = 2;
        v6[33] = 7;
        v6[35] = 9;
        let mut wrong_version = v2(1, 0x11, &v4);
        wrong_version[12] = 0x11;
        let table: Vec<(Vec<u8>, Option<ProxyHeader>)> = vec![
            (v2(1, 0x11, &v4), Some(addresses("192.0.2.1:5", "198.51.100.2:443"))),
            (v2(1, 0x21, &v6), Some(addresses("[::1]:7", "[::2]:9"))),
            (with_tlv(&[4, 0, 1, 9]), Some(addresses("192.0.2.1:5", "198.51.100.2:443"))),
            (v2(0, 0x00, &[]), Some(ProxyHeader::Local)),
            (v2(0, 0x11, &v4), Some(ProxyHeader::Local)),
            (v2(1, 0x00, &[1, 2, 3]), Some(ProxyHeader::Local)),
            (v2(1, 0x31, &[0; 216]), Some(ProxyHeader::Local)),
            (v2(1, 0x12, &v4), Some(ProxyHeader::Local)),
            (with_tlv(&[4, 0, 2, 9]), None),
            (with_tlv(&[4, 0]), None),
            (with_tlv(&[4, 0, 0].repeat(PROXY_V2_TLVS_MAX + 1)), None),
            (v2(1, 0x11, &v4[..11]), None),
            (v2(2, 0x11, &v4), None),
            (v2(1, 0x41, &v4), None),
            (v2(1, 0x13, &v4), None),
            (v2(1, 0x00, &[0; PROXY_V2_BYTES_MAX]), None),
            (wrong_version, None),
        ];
        for (bytes, expected) in table {
            let expected = expected.map_or(Parsed::Bad, |header| Parsed::Done(header, bytes.len()));
            assert_eq!(parse(&bytes), expected, "{bytes:?}");
        }
    }

    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let port = any::<u16>();
        prop_oneof![
            (any::<[u8; 4]>(), any::<[u8; 4]>(), port, port).prop_map(|(a, b, p, q)| {
                format!("PROXY TCP4 {} {} {p} {q}\r\n", Ipv4Addr::from(a), Ipv4Addr::from(b)).into_bytes()
            }),
            any::<[u8; 36]>().prop_map(|a| v2(1, 0x21, &a)),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(|tail| [&V2_SIGNATURE[..], &tail].concat()),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(|tail| [V1_PREFIX, &tail].concat()),
            proptest::collection::vec(any::<u8>(), 0..80),
        ]
    }

    proptest! {
        /// The verdict does not depend on how the bytes arrived, and `Need` never asks past the end of a header.
        #[test]
        fn prefixes_agree_with_the_whole(bytes in any_header()) {
            let whole = parse(&bytes);
            for cut in 0..bytes.len() {
                match (parse(&bytes[..cut]), whole) {
                    (Parsed::Need(n), Parsed::Done(_, used)) => prop_assert!(n >= 1 && cut + n <= used),
                    (Parsed::Need(n), _) => prop_assert!(n >= 1),
                    (settled, whole) => prop_assert_eq!(settled, whole),
                }
            }
        }
    }
}
