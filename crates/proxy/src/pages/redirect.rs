//! The way from http to https.

use http::header::{CACHE_CONTROL, LOCATION};
use http::uri::Authority;
use http::{HeaderValue, Response, StatusCode};

use crate::body::Body;

/// Sends a client to the same place over https: 308, so that the method stays. `host` is the request's host with or
/// without a port, `port` that of the https listener, `target` the path and query as sent. `None` where the host or
/// the target cannot be part of a URL; the caller refuses that with `BadHost`.
#[must_use]
pub fn redirect_to_https(host: &str, port: u16, target: &str) -> Option<Response<Body>> {
    let authority: Authority = host.parse().ok()?;
    // `user@host` would send a person to a place that looks like another.
    if authority.as_str().contains('@') || authority.host().is_empty() || !target.starts_with('/') {
        return None;
    }
    // A URL is printable ASCII; whoever sends other bytes means something that this door does not guess.
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let host = authority.host();
    let location = match port {
        443 => format!("https://{host}{target}"),
        other => format!("https://{host}:{other}{target}"),
    };
    let location = HeaderValue::from_str(&location).ok()?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    // Short, because a configuration may change and browsers keep permanent redirects for long.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let check = |host: &str, port, target: &str, wanted: Option<&str>| {
            let response = redirect_to_https(host, port, target);
            let location = response.as_ref().map(|r| r.headers()[LOCATION].to_str().unwrap().to_owned());
            assert_eq!(location.as_deref(), wanted, "{host} {target}");
        };
        check("portal.localhost", 8443, "/suivi?id=1", Some("https://portal.localhost:8443/suivi?id=1"));
        check("portal.localhost:8080", 443, "/", Some("https://portal.localhost/"));
        check("[::1]:8080", 8443, "/", Some("https://[::1]:8443/"));
        check("127.0.0.1", 8443, "//evil.example/", Some("https://127.0.0.1:8443//evil.example/"));
        check("bank@evil.example", 443, "/", None);
        check("a b", 443, "/", None);
        check("a\r\nset-cookie: x", 443, "/", None);
        check("portal.localhost", 443, "/\r\nset-cookie: x", None);
        check("portal.localhost", 443, "/\u{480}", None);
        check("portal.localhost", 443, "/a b", None);
        check("portal.localhost", 443, "*", None);
        check("portal.localhost", 443, "evil.example", None);
        check("", 443, "/", None);
        check("host/path", 443, "/", None);
    }
}
