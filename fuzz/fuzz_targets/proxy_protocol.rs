//! Arbitrary bytes as a PROXY header: the verdict does not depend on how they were cut, and no byte is counted that is
//! not there.
#![no_main]

use guichet_core::bounds::{PROXY_V1_BYTES_MAX, PROXY_V2_BYTES_MAX};
use guichet_proxy::listen::proxy_protocol::{Parsed, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    for cut in 0..bytes.len().min(600) {
        match parse(&bytes[..cut]) {
            Parsed::Need(more) => {
                assert!(more > 0);
                if let Parsed::Done(_, used) = whole {
                    assert!(cut + more <= used, "asked for more than the header has");
                }
            }
            told => assert_eq!(told, whole, "cut at {cut}"),
        }
    }
    if let Parsed::Done(_, used) = whole {
        assert!(used <= bytes.len() && used <= PROXY_V1_BYTES_MAX.max(PROXY_V2_BYTES_MAX));
        assert_eq!(parse(&bytes[..used]), whole, "what follows the header counts");
    }
});
