//! What makes an answer another one, and the request that is sent for it.
//!
//! A kept answer goes to everybody, so it may depend on nothing but its key. Therefore the request for it carries only what
//! is in the key: the host, the path, the declared query parameters, and the headers that the route lets answers vary by.
//! Whatever else a client sends can poison nothing, because the service never sees it.

use guichet_core::bounds::CACHE_KEY_BYTES_MAX;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use crate::config::{RouteCache, Service};

/// Bytes of one header's value in a key; a request with a longer one asks for itself.
const VARY_VALUE_BYTES_MAX: usize = 128;

/// The key of an answer.
pub(crate) type Key = std::sync::Arc<str>;

/// What a request may take from the store, and put there.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    /// The key.
    pub(crate) key: Key,
    /// What the service is asked: path and query.
    pub(crate) target: PathAndQuery,
    /// The headers that go with it.
    pub(crate) headers: HeaderMap,
    /// Whether it is a GET; a HEAD takes from the store and puts nothing there.
    pub(crate) get: bool,
}

impl Lookup {
    /// For a request to a route whose answers are kept; `None` if it can neither take nor give.
    #[must_use]
    pub(crate) fn of(service: &Service, rule: &RouteCache, head: &Parts, over_tls: bool) -> Option<Self> {
        if !matches!(head.method, Method::GET | Method::HEAD) || head.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let path = normal_path(head.uri.path())?;
        let query = declared_query(head.uri.query().unwrap_or_default(), &rule.query);
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let mut headers = HeaderMap::new();
        let host = head.uri.host().or_else(|| head.headers.get(HOST)?.to_str().ok()).unwrap_or_default();
        // Port and case tell nothing apart: what is behind a name is one site.
        let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let scheme = if over_tls { "https" } else { "http" };
        let mut key = format!("{}\n{scheme}://{host}{target}", service.name);
        for name in &rule.vary {
            let mut values = head.headers.get_all(name).iter();
            let value = values.next();
            if values.next().is_some() || value.is_some_and(|value| value.len() > VARY_VALUE_BYTES_MAX) {
                return None;
            }
            key.push('\n');
            if let Some(value) = value {
                key.push_str(value.to_str().ok()?.trim());
                headers.insert(name.clone(), value.clone());
            }
        }
        if key.len() > CACHE_KEY_BYTES_MAX {
            return None;
        }
        Some(Self { key: key.into(), target: target.parse().ok()?, headers, get: head.method == Method::GET })
    }

    /// The request for it, as the rules of RFC 9111 look at it.
    #[must_use]
    pub(crate) fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Makes the head of a request ask for what is kept, and for nothing that depends on who asks.
    pub(crate) fn strip(&self, head: &mut Parts) {
        let host = head.headers.get(HOST).cloned();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.path_and_query = Some(self.target.clone());
        head.uri = Uri::from_parts(uri).unwrap_or_else(|_| Uri::from(self.target.clone()));
        head.headers = self.headers.clone();
        if let Some(host) = host {
            head.headers.insert(HOST, host);
        }
        head.headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    }
}

/// The path, if it is one that every server understands alike: no dot segments, no empty ones, no backslash.
fn normal_path(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    let odd = path.contains("//") || path.contains('\\') || lower.contains("%2f") || lower.contains("%5c");
    let dots = lower.split('/').any(|segment| matches!(segment.replace("%2e", ".").as_str(), "." | ".."));
    (!odd && !dots && path.starts_with('/')).then(|| path.to_owned())
}

/// The declared parameters of a query, in the order of their names; those of one name in the order in which they came.
fn declared_query(query: &str, declared: &[String]) -> String {
    let mut kept: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| (pair.split('=').next().unwrap_or_default(), pair))
        .filter(|(name, _)| declared.iter().any(|known| known == name))
        .collect();
    kept.sort_by_key(|(name, _)| *name);
    kept.iter().map(|(_, pair)| *pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_parameters_count() {
        let declared = ["page", "q"].map(str::to_owned);
        for (query, kept) in [
            ("", ""),
            ("x=1&utm_source=y", ""),
            ("q=a&page=2&x=1", "page=2&q=a"),
            ("page=2&q=a", "page=2&q=a"),
            ("q=b&q=a", "q=b&q=a"),
            ("q", "q"),
            ("%71=a", ""),
        ] {
            assert_eq!(declared_query(query, &declared), kept, "{query}");
        }
    }

    #[test]
    fn paths_that_servers_read_differently_are_not_kept() {
        for odd in ["/a//b", "/a/../b", "/a/%2e%2E/b", "/a/./b", "/a%2fb", "/a\\b", "/a%5Cb", "a"] {
            assert_eq!(normal_path(odd), None, "{odd}");
        }
        for plain in ["/", "/a", "/a/b.html", "/a/..b", "/%20"] {
            assert_eq!(normal_path(plain).as_deref(), Some(plain));
        }
    }
}
