//! The client's address behind trusted proxies.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::config::Listener;

/// Entries of X-Forwarded-For looked at, from the right; an attacker may send thousands.
const HOPS_CAP: usize = 32;

/// The client's address: `peer`, or what trusted proxies wrote into X-Forwarded-For.
///
/// Believed only if the connection itself comes from a trusted network. With `trusted_hops` = n, the n-th entry from the
/// right; else the first entry from the right that is not itself a trusted proxy. Anything that does not parse ends the
/// search at the last address that did: never further left, where the client itself may have written.
#[must_use]
pub fn client_address(peer: IpAddr, listener: &Listener, headers: &HeaderMap) -> IpAddr {
    if !trusted(peer, &listener.trusted_proxies) {
        return peer;
    }
    let mut last = peer;
    let mut hops = 0;
    for field in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(field) = field.to_str() else { return last };
        for entry in field.rsplit(',') {
            let Some(address) = parse(entry.trim()) else { return last };
            hops += 1;
            last = address;
            let found = if listener.trusted_hops > 0 {
                hops == listener.trusted_hops
            } else {
                !trusted(address, &listener.trusted_proxies)
            };
            if found || hops >= HOPS_CAP {
                return last;
            }
        }
    }
    last
}

/// Whether `address` is in one of the networks.
#[must_use]
pub fn trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// A network or a single address, as people write it; without the bits that its length leaves out.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    parsed.ok().map(|network| network.trunc())
}

/// The network of an address: its first `v4_bits`, or its first `v6_bits`.
#[must_use]
pub fn network_of(address: IpAddr, v4_bits: u8, v6_bits: u8) -> IpNet {
    let bits = if address.is_ipv4() { v4_bits } else { v6_bits };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_matches('"');
    if let Some(inner) = bare.strip_prefix('[') {
        return inner.split(']').next()?.parse().ok();
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    // "192.0.2.1:4711", as some balancers write it
    let (host, port) = bare.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    host.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Protocol, ProxyProtocol};

    fn listener(trusted: &[&str], hops: usize) -> Listener {
        Listener {
            name: "t".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: Protocol::Http,
            redirect_to_https_port: None,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: trusted.iter().map(|n| n.parse().unwrap()).collect(),
            trusted_hops: hops,
            partner_ca: None,
            http2: true,
            backlog: 16,
        }
    }

    #[test]
    fn believes_only_what_trusted_proxies_wrote() {
        let by_network: &[&str] = &["10.0.0.0/8"];
        for (trusted, hops, peer, field, expected) in [
            (&[][..], 0, "192.0.2.9", "1.2.3.4", "192.0.2.9"),
            (by_network, 0, "192.0.2.9", "1.2.3.4", "192.0.2.9"),
            (by_network, 0, "10.0.0.1", "1.2.3.4", "1.2.3.4"),
            (by_network, 0, "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            (by_network, 0, "10.0.0.1", "6.6.6.6, rubbish, 10.0.0.2", "10.0.0.2"),
            (by_network, 2, "10.0.0.1", "6.6.6.6, 1.2.3.4, 5.5.5.5", "1.2.3.4"),
            (by_network, 0, "10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            (by_network, 0, "10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
            (by_network, 0, "10.0.0.1", "", "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", field.parse().unwrap());
            let got = client_address(peer.parse().unwrap(), &listener(trusted, hops), &headers);
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{peer} {field}");
        }
    }

    #[test]
    fn ten_thousand_entries_cost_no_more_than_the_cap() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", vec!["10.0.0.3"; 10_000].join(",").parse().unwrap());
        let got = client_address("10.0.0.1".parse().unwrap(), &listener(&["10.0.0.0/8"], 0), &headers);
        assert_eq!(got, "10.0.0.3".parse::<IpAddr>().unwrap());
    }
}
