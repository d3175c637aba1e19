//! From host and path to service and route.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{HostPattern, Route, Service};

/// Finds the service of a host. Built once per configuration; look-ups do not allocate.
#[derive(Debug, Default)]
pub struct HostIndex {
    exact: HashMap<String, usize>,
    /// Longest suffix first, so that the most specific wins.
    suffixes: Vec<(String, usize)>,
}

impl HostIndex {
    /// An index of the services' hosts.
    #[must_use]
    pub fn new(services: &[Arc<Service>]) -> Self {
        let mut index = Self::default();
        for (position, service) in services.iter().enumerate() {
            for host in &service.hosts {
                match host {
                    HostPattern::Exact(name) => {
                        index.exact.insert(name.clone(), position);
                    }
                    HostPattern::Suffix(suffix) => index.suffixes.push((suffix.clone(), position)),
                }
            }
        }
        index.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        index
    }

    /// Position of the service of `host` (without port, any case, a trailing dot allowed).
    #[must_use]
    pub fn find(&self, host: &str) -> Option<usize> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase());
        }
        self.find_lower(host)
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        if let Some(position) = self.exact.get(host) {
            return Some(*position);
        }
        self.suffixes
            .iter()
            .find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()))
            .map(|(_, position)| *position)
    }
}

/// The host of an authority: no port, no brackets; `None` if it is not one.
#[must_use]
pub fn host_of(authority: &str) -> Option<&str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return (port.is_empty() || valid_port(port.strip_prefix(':')?)).then_some(host);
    }
    match authority.split_once(':') {
        Some((host, port)) => (!host.is_empty() && valid_port(port)).then_some(host),
        None => (!authority.is_empty()).then_some(authority),
    }
}

fn valid_port(port: &str) -> bool {
    port.is_empty() || (port.len() <= 5 && port.parse::<u16>().is_ok())
}

/// Position of the route of `path`: the longest declared path that is a prefix of it by whole segments.
///
/// Compared with the path as it came: no decoding, so that a route and the service can't disagree on what was asked;
/// an encoded spelling of a path gets the service's own properties, which are never laxer than those of its routes.
#[must_use]
pub fn route_of(routes: &[Route], path: &str) -> Option<usize> {
    routes
        .iter()
        .enumerate()
        .filter(|(_, route)| covers(&route.path, path))
        .max_by_key(|(_, route)| route.path.len())
        .map(|(position, _)| position)
}

/// Whether `prefix` covers `path` by whole segments.
#[must_use]
pub fn covers(prefix: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_authorities() {
        for (authority, expected) in [
            ("bank.localhost:8443", Some("bank.localhost")),
            ("bank.localhost", Some("bank.localhost")),
            ("bank.localhost:", Some("bank.localhost")),
            ("[::1]:8443", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1", None),
            ("[::1]x", None),
            ("", None),
            (":80", None),
            ("bank:99999", None),
            ("bank:80:80", None),
        ] {
            assert_eq!(host_of(authority), expected, "{authority}");
        }
    }

    #[test]
    fn prefixes_cover_whole_segments() {
        for (prefix, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/", "/a/b", true),
            ("/a/", "/a", false),
            ("/", "/anything", true),
        ] {
            assert_eq!(covers(prefix, path), expected, "{prefix} {path}");
        }
    }
}
