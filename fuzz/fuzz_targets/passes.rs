//! Arbitrary tokens, codes and solutions: no panic, and nobody gets in who was not let in. Lines: cookie, code, puzzle,
//! numbers.
#![no_main]

use std::sync::Arc;

use guichet_proxy::passes::{Code, Holder, PASS_COOKIE, Passes, TokenSigner, Use, solves};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NOW_S: u32 = 1_790_000_000;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|b| *b == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
    let mut line = || lines.next().unwrap_or_default();
    let signer = TokenSigner::new(&[7; 32]);
    let shown = line();
    for usage in [Use::Puzzle, Use::Place, Use::Pass, Use::Room] {
        // Nobody guesses a signature of 128 bits.
        assert!(signer.verify(shown, usage, 5, NOW_S).is_none());
    }
    if let Ok(field) = HeaderValue::from_str(&format!("{PASS_COOKIE}={shown}")) {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", field);
        let passes = Passes::new(&[7; 32], Arc::default(), 42);
        let holder = Holder::of("portal", [192, 0, 2, 7].into(), &headers);
        assert!(passes.shown(&holder, &headers, u64::from(NOW_S)).is_none());
    }
    if let Some(code) = Code::read(line(), &signer, u64::from(NOW_S)) {
        panic!("guessed a signature of 44 bits: {code:?}");
    }
    let puzzle = line();
    let numbers: Vec<u32> = line().split(',').filter_map(|number| number.parse().ok()).collect();
    assert!(!solves(puzzle, 30, &numbers));
});
