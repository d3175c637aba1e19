//! JA4, the fingerprint of a TLS client, from its ClientHello.
//!
//! Source: FoxIO, technical details of JA4 (the TLS client part, published under BSD-3-Clause). Only this part is
//! implemented here; the other members of the family have another licence.

use std::fmt::Write as _;

use super::client_hello::{ClientHelloInfo, is_grease};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The fingerprint of a hello that came over TCP: always 36 characters.
#[must_use]
pub fn ja4(hello: &ClientHelloInfo) -> String {
    let ciphers = without_grease(&hello.cipher_suites);
    let extensions = without_grease(&hello.extensions);
    let mut text = String::with_capacity(36);
    let _ = write!(
        text,
        "t{}{}{:02}{:02}",
        version(hello),
        if hello.sni_present { 'd' } else { 'i' },
        ciphers.len().min(99),
        extensions.len().min(99)
    );
    text.extend(alpn(hello.alpn.first().map_or(&[], Vec::as_slice)));
    text.push('_');
    text.push_str(&short_hash(&sorted_list(ciphers)));
    text.push('_');
    let hashed: Vec<u16> = extensions.into_iter().filter(|e| *e != SERVER_NAME && *e != ALPN).collect();
    let mut last = sorted_list(hashed);
    let signatures = without_grease(&hello.signature_algorithms);
    if !last.is_empty() && !signatures.is_empty() {
        last.push('_');
        last.push_str(&list(&signatures));
    }
    text.push_str(&short_hash(&last));
    text
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    values.iter().copied().filter(|v| !is_grease(*v)).collect()
}

fn version(hello: &ClientHelloInfo) -> &'static str {
    let highest = hello.versions.iter().copied().filter(|v| !is_grease(*v)).max();
    match highest.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol, or of its hexadecimal form where either is not alphanumeric.
fn alpn(first: &[u8]) -> [char; 2] {
    let (Some(&a), Some(&z)) = (first.first(), first.last()) else { return ['0', '0'] };
    if a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric() {
        return [char::from(a), char::from(z)];
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    [digit(a >> 4), digit(z & 0x0f)]
}

fn sorted_list(mut values: Vec<u16>) -> String {
    values.sort_unstable();
    list(&values)
}

fn list(values: &[u16]) -> String {
    let mut text = String::with_capacity(values.len() * 5);
    for (position, value) in values.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{value:04x}");
    }
    text
}

/// The first 12 hexadecimal digits of the SHA-256; zeros for an empty list.
fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref()[..6].iter().fold(String::with_capacity(12), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::client_hello::tests::{message, records};
    use crate::listen::client_hello::{Parsed, parse};

    fn hex_list(text: &str) -> Vec<u16> {
        text.split(',').filter(|part| !part.is_empty()).map(|part| u16::from_str_radix(part, 16).unwrap()).collect()
    }

    /// Goes through the wire form, so that the reader is tested with the fingerprint.
    fn check(ciphers: &str, extensions: &str, signatures: &str, alpn: &[&[u8]], versions: &str, expected: &str) {
        let extensions = hex_list(extensions);
        let info = ClientHelloInfo {
            legacy_version: 0x0303,
            cipher_suites: hex_list(ciphers),
            sni_present: extensions.contains(&0),
            sni: extensions.contains(&0).then(|| "example.localhost".to_owned()),
            alpn: alpn.iter().map(|p| p.to_vec()).collect(),
            versions: hex_list(versions),
            signature_algorithms: hex_list(signatures),
            groups: if extensions.contains(&10) { vec![29] } else { vec![] },
            extensions,
        };
        let Parsed::Done(read) = parse(&records(&message(&info), 16_000)) else { panic!("{expected}") };
        assert_eq!(*read, info);
        assert_eq!(ja4(&read), expected);
    }

    const CHROME_CIPHERS: &str = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
    const CHROME_SIGNATURES: &str = "0403,0804,0401,0503,0805,0501,0806,0601";

    #[test]
    fn published_vectors() {
        // The worked example of the technical details.
        check(
            CHROME_CIPHERS,
            "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015",
            CHROME_SIGNATURES,
            &[b"h2", b"http/1.1"],
            "0304,0303",
            "t13d1516h2_8daaf6152771_e5627efa2ab1",
        );
        // The same without signature algorithms (hash given in the technical details). Extension 000d then is there
        // with an empty list.
        check(
            CHROME_CIPHERS,
            "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015",
            "",
            &[b"h2", b"http/1.1"],
            "0304,0303",
            "t13d1516h2_8daaf6152771_6d807ffa2a79",
        );
        // Chrome 143 on Android, as a public fingerprinting service reported it, with GREASE put back in.
        check(
            &format!("2a2a,{CHROME_CIPHERS}"),
            "fafa,002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,000d,001b,1a1a",
            CHROME_SIGNATURES,
            &[b"h2", b"http/1.1"],
            "8a8a,0304,0303",
            "t13d1516h2_8daaf6152771_d8a2da3f94cd",
        );
    }

    #[test]
    fn empty_lists_are_zeros() {
        check("", "", "", &[], "", "t12i000000_000000000000_000000000000");
        check("", "0000,0010", "", &[b"h2"], "", "t12d0002h2_000000000000_000000000000");
    }

    #[test]
    fn application_protocols() {
        let table: [(&[u8], [char; 2]); 8] = [
            (b"h2", ['h', '2']),
            (b"http/1.1", ['h', '1']),
            (b"x", ['x', 'x']),
            (b"", ['0', '0']),
            (&[0xab], ['a', 'b']),
            (&[0xab, 0xcd], ['a', 'd']),
            (&[0x30, 0xab], ['3', 'b']),
            (&[0x30, 0xab, 0xcd, 0x31], ['0', '1']),
        ];
        for (protocol, expected) in table {
            assert_eq!(alpn(protocol), expected, "{protocol:?}");
        }
    }
}
