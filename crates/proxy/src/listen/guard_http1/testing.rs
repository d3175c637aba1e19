//! What the scanner's tests and its fuzz target share: feeding it in pieces, and reading what it passed by httparse.

use super::scanner::{HeadBounds, Phase, Scanner, Verdict};

/// Small ones, so that short inputs reach them.
pub(super) const BOUNDS: HeadBounds = HeadBounds { head_bytes_max: 400, header_fields_max: 6, target_bytes_max: 60 };

/// What became of a whole stream of bytes: what passed, how many heads, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) passed: Vec<u8>,
    pub(super) heads: u64,
    pub(super) phase: Phase,
    pub(super) refused: Option<Verdict>,
}

/// Feeds the bytes in pieces of these lengths, as the IO does: what is held comes again with more behind it.
pub(super) fn feed(bytes: &[u8], pieces: &[usize]) -> Told {
    let mut scanner = Scanner::new(BOUNDS);
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    let mut lengths = pieces.iter().copied().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = lengths.next().unwrap_or(rest.len()).clamp(1, rest.len());
        held.extend_from_slice(&rest[..count]);
        rest = &rest[count..];
        loop {
            let scan = scanner.scan(&held);
            passed.extend(held.drain(..scan.pass));
            match scan.verdict {
                // As if each upgrade were declined at once.
                Verdict::Upgrade => scanner.upgrade_declined(),
                Verdict::More if scanner.phase() == Phase::Upgrade => scanner.upgrade_declined(),
                Verdict::More => break,
                refused => {
                    return Told { passed, heads: scanner.heads(), phase: scanner.phase(), refused: Some(refused) };
                }
            }
        }
        assert!(held.len() <= BOUNDS.head_bytes_max.max(guichet_core::bounds::TRAILER_BYTES_MAX), "held within bounds");
    }
    Told { passed, heads: scanner.heads(), phase: scanner.phase(), refused: None }
}

/// Takes one request off what the guard passed, as hyper's parser reads it: method, target, and the bytes that follow
/// its head and body.
pub(super) fn take_request(bytes: &[u8]) -> (String, String, &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { panic!("{:?}", bytes.escape_ascii()) };
    let value = |name: &str| {
        let mut all = request.headers.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value);
        let first = all.next();
        assert_eq!(all.next(), None, "{name} twice");
        first.map(|v| String::from_utf8_lossy(v).into_owned())
    };
    let rest = &bytes[head..];
    let rest = match (value("content-length"), value("transfer-encoding")) {
        (Some(length), None) => rest.get(length.parse().unwrap()..).unwrap_or_default(),
        (None, Some(_)) => after_chunks(rest),
        (None, None) => rest,
        both => panic!("{both:?}"),
    };
    (request.method.unwrap().to_owned(), request.path.unwrap().to_owned(), rest)
}

fn after_chunks(mut rest: &[u8]) -> &[u8] {
    loop {
        match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((line, 0))) => {
                let trailer = &rest[line..];
                let mut fields = [httparse::EMPTY_HEADER; 16];
                let Ok(httparse::Status::Complete((end, _))) = httparse::parse_headers(trailer, &mut fields) else {
                    return &[];
                };
                return &trailer[end..];
            }
            Ok(httparse::Status::Complete((line, size))) => {
                rest = rest.get(line + size as usize + 2..).unwrap_or_default();
            }
            _ => return &[],
        }
    }
}
