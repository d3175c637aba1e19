//! Paths and queries without what changes from one request to the next.

/// Segments of a path that count.
const SEGMENTS: usize = 8;
/// Parameters of a query that count.
const PARAMETERS: usize = 8;
/// A longer segment or name is taken for an identifier.
const WORD_BYTES: usize = 24;

/// The segments of a path, with `#` for numbers and identifiers: `/colis/6A123/etat` is `colis`, `#`, `etat`.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty()).take(SEGMENTS).map(word)
}

/// The names of a query's parameters in their order, with `#` for those that look drawn: their values are the client's
/// own affair.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS);
    pairs.map(|pair| word(pair.split('=').next().unwrap_or_default()))
}

fn word(text: &str) -> &str {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let version = text.len() <= 3 && text.starts_with('v');
    if text.len() > WORD_BYTES || (digits > 0 && !version) { "#" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_lose_what_changes() {
        let path =
            |path: &str, wanted: &str| assert_eq!(segments(path).collect::<Vec<_>>().join("/"), wanted, "{path}");
        path("/", "");
        path("/colis/6A12345678901/etat", "colis/#/etat");
        path("//suivi//v2/idships/LU1", "suivi/v2/idships/#");
        path("/a/b/c/d/e/f/g/h/i/j", "a/b/c/d/e/f/g/h");
        path("/0b9c2c1e-1f0e-4a3b-9b7d-2c5d1e6f7a8b", "#");
        let query =
            |query: &str, wanted: &str| assert_eq!(parameters(query).collect::<Vec<_>>().join("&"), wanted, "{query}");
        query("", "");
        query("q=hiver&page=2", "q&page");
        query("q=hiver&x81f2=1", "q&#");
        query(&"a=1&".repeat(50), "a&a&a&a&a&a&a&a");
    }
}
