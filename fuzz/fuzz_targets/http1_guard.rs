//! Arbitrary bytes on an HTTP/1 connection: any cut gives the same verdict, and what the guard passes is read alike by
//! the parser that hyper uses. The first byte says how the rest is cut.
#![no_main]

/// Under the name by which the shared functions know it.
mod scanner {
    pub use guichet_proxy::listen::guard_http1::{HeadBounds, Phase, Scanner, Verdict};
}
#[path = "../../crates/proxy/src/listen/guard_http1/testing.rs"]
mod testing;

use libfuzzer_sys::fuzz_target;
use testing::{BOUNDS, feed, take_request};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = feed(bytes, &[]);
    let cut = usize::from(*cut);
    assert_eq!(feed(bytes, &[1 + cut % 16, 1 + cut / 16]), whole);
    assert!(bytes.starts_with(&whole.passed), "something was added or changed");
    let mut rest: &[u8] = &whole.passed;
    for _ in 0..whole.heads {
        let (method, target, after) = take_request(rest);
        assert!(!method.is_empty() && method != "CONNECT");
        assert!(target.len() <= BOUNDS.target_bytes_max);
        assert!(target.parse::<http::Uri>().is_ok(), "{target}");
        rest = after;
    }
    assert_eq!(rest, b"", "what is left after the last request belongs to it");
});
