//! Reading cookies without allocating.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// The value of the first cookie of this name over all Cookie fields.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok()).find_map(|field| in_field(field, name))
}

fn in_field<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

/// Adds a cookie of the door's own: for all of the site, not for scripts, for this many seconds.
pub fn set_own(headers: &mut HeaderMap, name: &str, value: &str, life_s: u64, over_tls: bool) {
    let secure = if over_tls { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={life_s}{secure}");
    // What the door signs can be sent.
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.append(SET_COOKIE, cookie);
    }
}

/// Name, value and path-independent meaning of a Set-Cookie field: `None` if it deletes the cookie or is not of `name`.
#[must_use]
pub fn issued<'a>(set_cookie: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = set_cookie.split(';');
    let (key, value) = parts.next()?.trim().split_once('=')?;
    if key != name || value.is_empty() {
        return None;
    }
    let deletes = parts.any(|attribute| {
        attribute.trim().split_once('=').is_some_and(|(k, v)| {
            k.trim().eq_ignore_ascii_case("max-age") && v.trim().parse::<i64>().is_ok_and(|age_s| age_s <= 0)
        })
    });
    (!deletes).then(|| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cookie_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "xsid=no; sid=\"one\"".parse().unwrap());
        headers.append(COOKIE, "other=1;sid=two".parse().unwrap());
        assert_eq!(cookie(&headers, "sid"), Some("one"));
        assert_eq!(cookie(&headers, "other"), Some("1"));
        assert_eq!(cookie(&headers, "id"), None);
    }

    #[test]
    fn a_deleted_cookie_is_not_issued() {
        for (field, expected) in [
            ("sid=abc; Path=/; HttpOnly", Some("abc")),
            ("sid=abc; Max-Age=3600", Some("abc")),
            ("sid=; Path=/", None),
            ("sid=abc; max-age=0", None),
            ("sid=abc; Max-Age=-1", None),
            ("sidx=abc", None),
            ("", None),
        ] {
            assert_eq!(issued(field, "sid"), expected, "{field}");
        }
    }
}
