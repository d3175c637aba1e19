//! The scanner against itself, cut differently, and against the parser that hyper uses.

use guichet_core::Reason;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::scanner::Verdict;
use super::testing::{BOUNDS, feed, take_request};

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n"), 1 => Just("")]
}

fn field() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        6 => Just("Host: h".to_owned()),
        2 => Just("host:other".to_owned()),
        3 => (0u8..30).prop_map(|n| format!("Content-Length: {n}")),
        2 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => Just("Transfer-Encoding:\tChunked ".to_owned()),
        1 => Just("Transfer-Encoding: gzip, chunked".to_owned()),
        1 => Just("Upgrade: x".to_owned()),
        1 => Just(" folded".to_owned()),
        1 => Just("Space : x".to_owned()),
        1 => "[ -~]{0,12}",
        4 => "[A-Za-z-]{1,8}: ?[ -~]{0,30}",
    ];
    (line, line_end()).prop_map(|(line, end)| line + end)
}

fn request() -> impl Strategy<Value = String> {
    let first = prop_oneof![
        8 => "(GET|POST|PUT) /[a-z?=]{0,20} HTTP/1\\.1",
        1 => "GET http://(h|other)/[a-z]{0,4} HTTP/1\\.1",
        1 => "(GET|OPTIONS) (\\*|/x y|x|/[a-z]{70}) HTTP/1\\.[0-2]",
        1 => "[ -~]{0,20}",
        1 => Just("\r\nGET / HTTP/1.1".to_owned()),
    ];
    let body = prop_oneof![
        3 => Just(String::new()),
        3 => "[a-z]{0,30}",
        4 => Just("5;x=y\r\nabcde\r\n0\r\n\r\n".to_owned()),
        2 => Just("1\r\na\r\n000\r\nA: b\r\nC:d\r\n\r\n".to_owned()),
        1 => Just("5\r\nabcdef\r\n0\r\n\r\n".to_owned()),
        1 => Just("0\r\nHost: x\r\n\r\n".to_owned()),
    ];
    (first, line_end(), proptest::collection::vec(field(), 0..7), line_end(), body)
        .prop_map(|(first, end, fields, last, body)| first + end + "Host: h\r\n" + &fields.concat() + last + &body)
}

/// A request that is well formed throughout.
fn good_request() -> impl Strategy<Value = String> {
    let framing = prop_oneof![
        Just(("", String::new())),
        "[a-z]{1,29}".prop_map(|body| ("length", body)),
        "(5|0x5|0)\r\n[a-z]{4,6}(\r\n0\r\n(Host: x\r\n)?\r\n)?".prop_map(|body| ("chunked", body)),
        proptest::collection::vec("[a-z]{1,20}", 0..3).prop_map(|pieces| {
            let chunks: String = pieces.iter().map(|p| format!("{:x};e\r\n{p}\r\n", p.len())).collect();
            ("chunked", chunks + "0\r\nA: b\r\n\r\n")
        }),
    ];
    let fields = proptest::collection::vec("X-[a-z]{1,5}:[ \t]?[!-~]{0,10}\r\n", 0..4);
    ("(GET|POST|BREW) /[a-z?={}]{0,20}", fields, framing, any::<bool>()).prop_map(
        |(line, fields, (kind, body), upgrade)| {
            let length = match kind {
                "length" => format!("content-length: {}\r\n", body.len()),
                "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                _ => String::new(),
            };
            let upgrade = if upgrade { "Upgrade: x\r\n" } else { "" };
            format!("{line} HTTP/1.1\r\nHost: h\r\n{upgrade}{length}{}\r\n{body}", fields.concat())
        },
    )
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let requests = proptest::collection::vec(prop_oneof![4 => good_request(), 1 => request()], 1..5);
    // One byte may be changed, anywhere.
    (requests, proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>()))).prop_map(
        |(requests, spoil)| {
            let mut bytes = requests.concat().into_bytes();
            if let Some((at, byte)) = spoil {
                *at.get_mut(&mut bytes) = byte;
            }
            bytes
        },
    )
}

/// The streams above are of use only if many requests get through, and not all.
#[test]
fn the_streams_reach_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut heads, mut refused, mut broken) = (0, 0, 0);
    for _ in 0..500 {
        let told = feed(&stream().new_tree(&mut runner).unwrap().current(), &[]);
        heads += told.heads;
        refused += u32::from(matches!(told.refused, Some(Verdict::RefusedHead(_))));
        broken += u32::from(matches!(told.refused, Some(Verdict::BrokenBody(_))));
    }
    assert!(heads > 500 && refused > 50 && broken > 20, "{heads} {refused} {broken}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any split of the bytes into reads gives the same verdict.
    #[test]
    fn splits_agree(bytes in stream(), pieces in proptest::collection::vec(1usize..40, 1..8)) {
        let whole = feed(&bytes, &[]);
        prop_assert_eq!(&feed(&bytes, &[1]), &whole);
        prop_assert_eq!(&feed(&bytes, &pieces), &whole);
        prop_assert!(bytes.starts_with(&whole.passed), "nothing is added or changed");
    }

    /// What the guard passes, hyper's parser takes for as many requests as the guard did, framed alike.
    #[test]
    fn what_passes_is_read_alike(bytes in stream()) {
        let told = feed(&bytes, &[]);
        let mut rest: &[u8] = &told.passed;
        for head in 0..told.heads {
            let (method, target, after) = take_request(rest);
            prop_assert!(!method.is_empty() && method != "CONNECT");
            prop_assert!(target.len() <= BOUNDS.target_bytes_max);
            prop_assert!(target.parse::<http::Uri>().is_ok(), "{}", target);
            prop_assert!(head + 1 == told.heads || !after.is_empty());
            rest = after;
        }
        prop_assert_eq!(rest, &b""[..], "what is left after the last request belongs to it");
    }

    /// Nothing makes it panic or hold without bound.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), pieces in proptest::collection::vec(1usize..90, 1..4)) {
        prop_assert_eq!(feed(&bytes, &pieces), feed(&bytes, &[]));
    }
}

#[test]
fn bounds_hold_to_the_byte() {
    let head = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(bytes - 1));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let check = |text: String, expected: Option<Reason>| {
        let told = feed(text.as_bytes(), &[7]);
        assert_eq!(told.refused, expected.map(Verdict::RefusedHead), "{text}");
        assert_eq!(told.heads, u64::from(expected.is_none()), "{text}");
    };
    check(head(BOUNDS.head_bytes_max), None);
    check(head(BOUNDS.head_bytes_max + 1), Some(Reason::HeadTooLarge));
    check(target(BOUNDS.target_bytes_max), None);
    check(target(BOUNDS.target_bytes_max + 1), Some(Reason::UriTooLong));
    check(fields(BOUNDS.header_fields_max), None);
    check(fields(BOUNDS.header_fields_max + 1), Some(Reason::HeadTooLarge));
}

/// Found by fuzzing: the codec reads only so many fields of a trailer, so no more may pass.
#[test]
fn a_trailer_has_so_many_fields_and_no_more() {
    use guichet_core::bounds::TRAILER_FIELDS_MAX;
    for (fields, passes) in [(TRAILER_FIELDS_MAX, true), (TRAILER_FIELDS_MAX + 1, false)] {
        let trailer = "a: b\r\n".repeat(fields);
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n");
        for pieces in [&[][..], &[1]] {
            let told = feed(bytes.as_bytes(), pieces);
            assert_eq!(told.refused.is_none(), passes, "{fields} {told:?}");
            assert_eq!(told.passed.len() == bytes.len(), passes, "{fields}");
        }
    }
}
