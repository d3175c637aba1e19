//! Arbitrary cookies, forwarding headers and session proofs: no panic, no allocation without bound, and nobody is
//! believed who must not be. Lines: X-Forwarded-For, Cookie, Set-Cookie, proof.
#![no_main]

use std::net::IpAddr;

use guichet_proxy::config::{Listener, Protocol, ProxyProtocol};
use guichet_proxy::identify::{SessionSigner, client_address, cookie, issued, trusted};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fn listener(trusted_hops: usize) -> Listener {
    Listener {
        name: "t".into(),
        address: ([127, 0, 0, 1], 0).into(),
        protocol: Protocol::Http,
        redirect_to_https_port: None,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")],
        trusted_hops,
        partner_ca: None,
        http2: true,
        backlog: 16,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|b| *b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-forwarded-for", line()), ("cookie", line())] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    addresses(&headers);
    let given = cookie(&headers, "sid");
    assert!(given.is_none_or(|value| !value.contains(';')));
    let Ok(set_cookie) = std::str::from_utf8(line()) else { return };
    let set = issued(set_cookie, "sid");
    let Ok(proof) = std::str::from_utf8(line()) else { return };
    let signer = SessionSigner::new(&[7; 32]);
    for value in [given, set].into_iter().flatten() {
        // Nobody guesses a signature of 128 bits.
        assert!(!signer.verify("bank", value, proof, 1_000));
        let Some(own) = signer.prove("bank", value, 2_000) else { continue };
        assert!(signer.verify("bank", value, &own, 1_999) && !signer.verify("bank", value, &own, 2_000));
        assert!(!signer.verify("vault", value, &own, 1_000));
    }
});

fn addresses(headers: &HeaderMap) {
    let (inside, outside): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [192, 0, 2, 9].into());
    for hops in [0, 1, 2] {
        let listener = listener(hops);
        assert_eq!(client_address(outside, &listener, headers), outside, "believed a stranger");
        let told = client_address(inside, &listener, headers);
        let written = headers.get("x-forwarded-for").is_some_and(|v| !v.is_empty());
        assert!(told == inside || written);
        assert!(trusted(inside, &listener.trusted_proxies));
    }
}
