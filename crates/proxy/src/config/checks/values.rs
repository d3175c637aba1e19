//! Single values: names, addresses, hexadecimal, hosts.

use std::net::SocketAddr;

use guichet_core::bounds;
use guichet_core::signs::SignsMode;
use ipnet::IpNet;

use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::Checker;
use crate::identify::network;

/// Checks a name that becomes part of logs and metric labels.
pub(super) fn name(on: On, key: &str, name: &str, c: &mut Checker<'_>) {
    let good = |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '-' || ch == '_';
    if name.is_empty() {
        c.found.error(on, key, "a name cannot be empty", "give it one: lower-case letters, digits, - and _");
    } else if name.len() > bounds::NAME_BYTES_MAX {
        let cause = format!("the name {} is too long", quoted(name));
        c.found.error(on, key, cause, format!("use at most {} characters", bounds::NAME_BYTES_MAX));
    } else if !name.chars().all(good) {
        let plain: String = name.to_lowercase().chars().map(|ch| if good(ch) { ch } else { '-' }).collect();
        let cause = format!("{} cannot be a name: it becomes a label of metrics", quoted(name));
        c.found.error(on, key, cause, format!("use lower-case letters, digits, - and _, such as '{plain}'"));
    }
}

/// An address to listen on.
pub(super) fn address(key: &str, given: &str, c: &mut Checker<'_>) -> Option<SocketAddr> {
    match given.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let mend = if given.parse::<std::net::IpAddr>().is_ok() {
                let bracketed = if given.contains(':') { format!("[{given}]") } else { given.to_owned() };
                format!("add the port: \"{bracketed}:8443\"")
            } else if let Some(port) = given.strip_prefix(':').or_else(|| given.strip_prefix("*:")) {
                format!("write the address too: \"0.0.0.0:{port}\" or \"[::]:{port}\"")
            } else if given.starts_with("localhost:") {
                format!("write the address: \"{}\"", given.replacen("localhost", "127.0.0.1", 1))
            } else {
                "write an address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\"".to_owned()
            };
            c.error(key, format!("{} is no address with a port", quoted(given)), mend);
            None
        }
    }
}

/// How signatures are used.
pub(super) const fn mode(given: raw::MitigationMode) -> SignsMode {
    match given {
        raw::MitigationMode::On => SignsMode::On,
        raw::MitigationMode::DryRun => SignsMode::DryRun,
        raw::MitigationMode::Off => SignsMode::Off,
    }
}

/// 32 bytes in hexadecimal.
pub(super) fn hex_32(given: &str) -> Option<[u8; 32]> {
    let given = given.as_bytes();
    if given.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(given.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

/// Whether a text can be a host name (labels of letters, digits, `-` and `_`).
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Why a `host:port` is none, if so.
pub(super) fn host_port_flaw(given: &str) -> Option<&'static str> {
    if given.contains("://") {
        return Some("leave the scheme away: \"host:port\"; what is spoken is said by `protocol`");
    }
    if let Ok(address) = given.parse::<SocketAddr>() {
        return (address.port() == 0).then_some("give the port that the server listens on");
    }
    let Some((host, port)) = given.rsplit_once(':') else {
        return Some("add the port: \"host:port\"");
    };
    if port.contains('/') {
        return Some("leave the path away: \"host:port\"");
    }
    if !port.parse::<u16>().is_ok_and(|p| p > 0) {
        return Some("give a port from 1 to 65535: \"host:port\"");
    }
    (!is_host_name(host)).then_some("write a host name or an address: \"host:port\" (IPv6 in brackets)")
}

/// Whether a text is a token of RFC 9110: a cookie name, a method.
pub(super) fn is_token(text: &str) -> bool {
    let extra = b"!#$%&'*+-.^_`|~";
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

/// What is wrong with a path prefix, if anything: cause and mend.
pub(super) fn path_flaw(path: &str) -> Option<(String, String)> {
    if !path.starts_with('/') {
        return Some((format!("{} does not begin with /", quoted(path)), format!("write \"/{}\"", path.trim())));
    }
    if path.contains(['?', '#']) {
        let cut = path.split(['?', '#']).next().unwrap_or("/");
        return Some((format!("{} is more than a path", quoted(path)), format!("write \"{cut}\"")));
    }
    if path.len() > bounds::TARGET_BYTES_MAX {
        return Some(("the path is longer than any request's".into(), "shorten it".into()));
    }
    if path.bytes().any(|b| b <= b' ' || b >= 0x7f) {
        let mend = "write other characters as %XX, as they come in requests";
        return Some((format!("{} has characters that no request path has", quoted(path)), mend.into()));
    }
    None
}

/// Networks, or single addresses.
pub(super) fn networks(at: &str, given: &[String], c: &mut Checker<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (i, text) in given.iter().enumerate() {
        match network(text) {
            Some(network) => networks.push(network),
            None => {
                let mend = "write an address with a prefix length, such as \"10.0.0.0/8\" or \"fd00::/8\"";
                c.error(&format!("{at}[{i}]"), format!("{} is no network", quoted(text)), mend);
            }
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port() {
        for good in ["127.0.0.1:80", "[::1]:80", "db.internal:5432", "a_b:1"] {
            assert_eq!(host_port_flaw(good), None, "{good}");
        }
        for bad in ["127.0.0.1", "x:0", "x:70000", "127.0.0.1:0", "http://x:1", "x:80/y", ":80", "a b:80", "::1:80"] {
            assert!(host_port_flaw(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn hexadecimal_of_32_bytes() {
        assert_eq!(hex_32(&"0F".repeat(32)), Some([15; 32]));
        for bad in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"\u{e9}".repeat(32)] {
            assert_eq!(hex_32(bad), None, "{bad}");
        }
    }
}
