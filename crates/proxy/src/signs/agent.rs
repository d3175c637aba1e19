//! Families and versions of user agents: enough to tell programs apart, never to trust what they say.

/// Bytes of a product name that count.
const FAMILY_BYTES_CAP: usize = 32;
/// Marks of browsers, the more particular first: all of them also carry those that come later.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "HeadlessChrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Family and major version of a user agent; the family is a part of the text or a known name, the version 0 where
/// none is told.
#[must_use]
pub(super) fn family(agent: &[u8]) -> (&str, u32) {
    let text = match std::str::from_utf8(agent) {
        Ok(text) => text,
        Err(_) => return ("(not text)", 0),
    };
    if text.is_empty() {
        return ("(empty)", 0);
    }
    if text.starts_with("Mozilla/") {
        if let Some((_, bot)) = text.split_once("compatible; ") {
            return product(bot);
        }
        let known = BROWSERS.iter().find_map(|(mark, name)| Some((*name, text.split_once(mark)?.1)));
        if let Some((name, rest)) = known {
            return (name, major(rest));
        }
        return ("Mozilla", 0);
    }
    product(text)
}

/// The first product of a text: `curl/8.5.0` is curl 8.
fn product(text: &str) -> (&str, u32) {
    let end = text.find(['/', ' ', ';', '(']).unwrap_or(text.len());
    let version = text[end..].strip_prefix('/').map_or(0, major);
    let mut cut = end.min(FAMILY_BYTES_CAP);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    (&text[..cut], version)
}

fn major(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).take(6);
    digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        let check = |agent: &str, wanted: (&str, u32)| assert_eq!(family(agent.as_bytes()), wanted, "{agent}");
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        check(&format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} Chrome/143.0.0.0 Safari/537.36"), ("Chrome", 143));
        check(
            &format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/143.0.0.0 Safari/537.36 Edg/143.0.1"),
            ("Edge", 143),
        );
        check("Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0", ("Firefox", 146));
        check(
            "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile Safari/604.1",
            ("Safari", 19),
        );
        check("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ("Googlebot", 2));
        check("curl/8.5.0", ("curl", 8));
        check("Go-http-client/2.0", ("Go-http-client", 2));
        check("python-requests", ("python-requests", 0));
        check("", ("(empty)", 0));
        check("Mozilla/5.0", ("Mozilla", 0));
        check("x/99999999999999999999", ("x", 999_999));
        assert_eq!(family(b"\xff\xfe"), ("(not text)", 0));
        let long = "é".repeat(40);
        assert_eq!(family(long.as_bytes()).0.len(), 32);
    }
}
