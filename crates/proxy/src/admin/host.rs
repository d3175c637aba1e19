//! Which `Host` is answered. A page on the internet can make a browser send requests here under a name that its owner
//! points at this machine (DNS rebinding); it cannot make the browser use a loopback name or our own address.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Whether a request with this target and these headers may be answered at this listener: loopback names and
/// addresses, and the address listened on; any address where all are listened on, since an address cannot be rebound.
pub(super) fn allowed(uri: &Uri, headers: &HeaderMap, listen: SocketAddr) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let named = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    let header_fits = named.is_some_and(|authority| authority_allowed(&authority, listen));
    header_fits && uri.authority().is_none_or(|authority| authority_allowed(authority, listen))
}

fn authority_allowed(authority: &Authority, listen: SocketAddr) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse::<IpAddr>().is_ok_and(|address| {
        address.to_canonical().is_loopback() || address == listen.ip() || listen.ip().is_unspecified()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |listen: &str, target: &str, hosts: &[&str], wanted| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let is = allowed(&target.parse().unwrap(), &headers, listen.parse().unwrap());
            assert_eq!(is, wanted, "{hosts:?} {target} at {listen}");
        };
        let local = "127.0.0.1:8444";
        check(local, "/", &["127.0.0.1:8444"], true);
        check(local, "/", &["localhost:8444"], true);
        check(local, "/", &["LOCALHOST"], true);
        check(local, "/", &["[::1]:8444"], true);
        check(local, "/", &["127.9.9.9"], true);
        check(local, "/", &["[::ffff:127.0.0.1]"], true);
        check(local, "/", &["evil.example:8444"], false);
        check(local, "/", &["localhost.evil.example"], false);
        check(local, "/", &["127.0.0.1.evil.example"], false);
        check(local, "/", &["192.0.2.1"], false);
        check(local, "/", &["user@localhost"], false);
        check(local, "/", &[], false);
        check(local, "/", &["localhost", "evil.example"], false);
        check(local, "http://evil.example/", &["localhost"], false);
        check(local, "http://localhost/", &["localhost"], true);
        check("192.0.2.1:8444", "/", &["192.0.2.1:8444"], true);
        check("192.0.2.1:8444", "/", &["192.0.2.2:8444"], false);
        check("0.0.0.0:8444", "/", &["192.0.2.2:8444"], true);
        check("0.0.0.0:8444", "/", &["evil.example:8444"], false);
    }
}
