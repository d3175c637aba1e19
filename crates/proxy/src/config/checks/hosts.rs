//! Host names of services: well-formed, each of one service only, and covered by a certificate.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::checked::HostPattern;
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::tree::join;
use super::{Checker, values};

/// A host name or `*.suffix`.
pub(super) fn pattern(key: &str, given: &str, c: &mut Checker<'_>) -> Option<HostPattern> {
    let name = given.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if let Some(suffix) = name.strip_prefix("*.").filter(|suffix| values::is_host_name(suffix)) {
        return Some(HostPattern::Suffix(format!(".{suffix}")));
    }
    let bracketed = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    if values::is_host_name(name) || bracketed.is_some_and(|n| matches!(n.parse(), Ok(IpAddr::V6(_)))) {
        return Some(HostPattern::Exact(name.to_owned()));
    }
    let mend = if name.contains("://") || name.contains('/') {
        "write the host name alone, without scheme and path".to_owned()
    } else if let Some((host, _)) = name
        .split_once(':')
        .filter(|(host, port)| values::is_host_name(host) && port.bytes().all(|b| b.is_ascii_digit()))
    {
        format!("leave the port away: \"{host}\"")
    } else if name.contains('*') {
        "a star stands alone at the front: \"*.example.org\"".to_owned()
    } else {
        "write a host name such as \"www.example.org\" (in its xn-- form), or \"*.example.org\"".to_owned()
    };
    c.error(key, format!("{} is no host name", quoted(given)), mend);
    None
}

/// Tells hosts that are claimed twice.
pub(super) fn unique(raw: &raw::Config, c: &mut Checker<'_>) {
    let mut claimed: HashMap<String, String> = HashMap::new();
    for (service, one) in &raw.service {
        for (i, host) in one.hosts.iter().enumerate() {
            let key = format!("{}.hosts[{i}]", join("service", service));
            let plain = host.to_ascii_lowercase();
            let plain = plain.strip_suffix('.').unwrap_or(&plain).to_owned();
            match claimed.get(&plain) {
                Some(first) => {
                    let cause = format!("the host {} is claimed already", quoted(host));
                    c.found.error_with(On::Value, &key, first, cause, "leave it to one service");
                }
                None => drop(claimed.insert(plain, key)),
            }
        }
    }
}

/// Warns of hosts that no certificate covers; `names`: those that are covered, where that is known.
pub(super) fn covered(raw: &raw::Config, names: Option<&Vec<String>>, c: &mut Checker<'_>) {
    let Some(names) = names else { return };
    for (service, one) in &raw.service {
        for (i, host) in one.hosts.iter().enumerate() {
            let host = host.to_ascii_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host);
            // A star covers exactly one label.
            let parent = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            if !names.iter().any(|name| name == host || Some(name) == parent.as_ref()) {
                let key = format!("{}.hosts[{i}]", join("service", service));
                let cause = format!("no certificate covers {}: clients will refuse it over https", quoted(host));
                c.warn(&key, cause, "add a [[certificate]] that names it");
            }
        }
    }
}
