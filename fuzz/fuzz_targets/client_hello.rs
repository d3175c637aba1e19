//! Arbitrary bytes as a TLS ClientHello: the verdict does not depend on how they were cut, lists stay within their
//! bounds, and the fingerprint has its form.
#![no_main]

use guichet_core::bounds::{CLIENT_HELLO_ALPN_MAX, CLIENT_HELLO_LIST_MAX, SERVER_NAME_BYTES_MAX};
use guichet_proxy::listen::client_hello::{Parsed, parse};
use guichet_proxy::listen::ja4::ja4;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    // Every cut of short inputs, some of long ones.
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        match parse(&bytes[..cut]) {
            Parsed::Need(more) => assert!(more > 0),
            told => assert_eq!(told, whole, "cut at {cut}"),
        }
    }
    let Parsed::Done(hello) = whole else { return };
    for list in [&hello.cipher_suites, &hello.extensions, &hello.versions, &hello.signature_algorithms, &hello.groups] {
        assert!(list.len() <= CLIENT_HELLO_LIST_MAX);
    }
    assert!(hello.alpn.len() <= CLIENT_HELLO_ALPN_MAX);
    assert!(hello.sni.is_none() || hello.sni_present);
    if let Some(name) = &hello.sni {
        assert!(!name.is_empty() && name.len() <= SERVER_NAME_BYTES_MAX && !name.contains(char::is_uppercase));
    }
    let fingerprint = ja4(&hello);
    assert!(fingerprint.len() == 36 && fingerprint.is_ascii(), "{fingerprint}");
});
