//! The node, the admin listener, limits, log and traces.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use guichet_core::bounds;

use super::super::checked::{Admin, Limits, Log, LogFormat, LogTarget, Mitigations, Node, Secret, Trace};
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::suggest;
use super::{Checker, values};
use crate::signs::{Atlas, Crawler, Database};

const SEED_MEND: &str = "make one with `openssl rand -hex 32`";

pub(super) fn node(raw: &raw::Node, main: &Path, c: &mut Checker<'_>) -> Option<Node> {
    let workers = if raw.workers == 0 { c.world.cores().clamp(1, bounds::WORKERS_MAX) } else { raw.workers };
    Some(Node {
        workers,
        drain: Duration::from_secs(raw.drain_s),
        connections_max: raw.connections_max,
        requests_in_flight_max: raw.requests_in_flight_max,
        seed: seed(raw, main, c),
        orders_file: (!raw.orders_file.is_empty()).then(|| c.path(&raw.orders_file)),
    })
}

/// The seed from the file, from a file of its own, or from the environment. Its text is never part of a message.
fn seed(raw: &raw::Node, main: &Path, c: &mut Checker<'_>) -> Option<Secret> {
    if !raw.seed.is_empty() && !raw.seed_file.is_empty() {
        let cause = "both 'seed' and 'seed_file' are set".to_owned();
        c.found.error_with(On::Key, "node.seed_file", "node.seed", cause, "keep 'seed_file'");
        return None;
    }
    let (key, text) = if !raw.seed.is_empty() {
        if c.world.readable_by_others(main) == Some(true) {
            let mend = "move it to a 'seed_file' with mode 0600";
            c.found.warn(On::Key, "node.seed", "the seed is in a file that others can read", mend);
        }
        ("node.seed", raw.seed.clone())
    } else if !raw.seed_file.is_empty() {
        ("node.seed_file", seed_file(&raw.seed_file, c)?)
    } else {
        ("node", c.world.variable("GUICHET_SEED").filter(|v| !v.is_empty())?)
    };
    match values::hex_32(text.trim()) {
        Some(bytes) if bytes == [0; 32] => {
            c.error(key, "the seed is all zeros, which anybody can guess", SEED_MEND);
            None
        }
        Some(bytes) => Some(Secret(bytes)),
        None => {
            let from = if key == "node" { "the seed in $GUICHET_SEED" } else { "the seed" };
            let cause = format!("{from} is not 64 hexadecimal digits ({} characters)", text.trim().chars().count());
            c.error(key, cause, SEED_MEND);
            None
        }
    }
}

fn seed_file(given: &str, c: &mut Checker<'_>) -> Option<String> {
    let path = c.path(given);
    match c.world.read(&path, bounds::PEM_BYTES_MAX) {
        Ok(bytes) => {
            if c.world.readable_by_others(&path) == Some(true) {
                let mend = format!("chmod 600 {}", path.display());
                c.warn("node.seed_file", "others than its owner can read the seed file", mend);
            }
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Err(error) => {
            c.error("node.seed_file", format!("cannot read {}: {error}", quoted(given)), SEED_MEND);
            None
        }
    }
}

pub(super) fn mitigations(raw: &raw::Mitigations, c: &mut Checker<'_>) -> Mitigations {
    let allow = values::networks("mitigations.allow", &raw.allow, c);
    for i in allow.iter().enumerate().filter(|(_, network)| network.prefix_len() == 0).map(|(i, _)| i) {
        let cause = "everybody is allowed: no mitigation will ever do anything";
        c.warn(&format!("mitigations.allow[{i}]"), cause, "name only the networks of those you know");
    }
    let mut crawlers = Vec::new();
    for (i, crawler) in raw.crawler.iter().enumerate() {
        if crawler.agent.is_empty() {
            c.error(
                &format!("mitigations.crawler[{i}].agent"),
                "a crawler needs the name in its user agent",
                "such as \"Googlebot\"",
            );
        }
        let domains: Vec<String> =
            crawler.domains.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
        for (n, _) in domains.iter().enumerate().filter(|(_, domain)| !domain.contains('.')) {
            let mend = "name a domain that only its owner can give names in, such as \"googlebot.com\"";
            c.error(&format!("mitigations.crawler[{i}].domains[{n}]"), "anybody can have a name in it", mend);
        }
        crawlers.push(Crawler { agent: crawler.agent.clone(), domains });
    }
    let dns = (!raw.dns.is_empty()).then(|| values::address("mitigations.dns", &raw.dns, c)).flatten();
    let atlas = Atlas {
        asn: database("mitigations.asn_database", &raw.asn_database, "ASN", c),
        country: database("mitigations.country_database", &raw.country_database, "Country", c),
    };
    let connections = values::mode(raw.connections.mode);
    Mitigations { allow, crawlers, dns, atlas, connections, connections_collateral_max: raw.connections.collateral_max }
}

/// Reads a database of addresses. `kind`: what its own name of itself must say.
fn database(key: &str, given: &str, kind: &str, c: &mut Checker<'_>) -> Option<Database> {
    if given.is_empty() {
        return None;
    }
    let path = c.path(given);
    let bytes = match c.world.read(&path, bounds::ADDRESS_DATABASE_BYTES_MAX) {
        Ok(bytes) if bytes.len() > bounds::ADDRESS_DATABASE_BYTES_MAX => {
            let mend = format!("use one of at most {} MiB", bounds::ADDRESS_DATABASE_BYTES_MAX >> 20);
            c.error(key, format!("{} is too large", quoted(given)), mend);
            return None;
        }
        Ok(bytes) => bytes,
        Err(error) => {
            c.error(key, format!("cannot read {}: {error}", quoted(given)), "name a file that Guichet can read");
            return None;
        }
    };
    match Database::read(bytes) {
        Ok(database) if database.kind().contains(kind) => Some(database),
        Ok(database) => {
            let cause = format!("{} is a database of another kind: {}", quoted(given), quoted(database.kind()));
            c.error(key, cause, format!("name one such as GeoLite2-{kind}.mmdb"));
            None
        }
        Err(error) => {
            let cause = format!("{} is no MaxMind DB: {error}", quoted(given));
            c.error(key, cause, format!("name one such as GeoLite2-{kind}.mmdb"));
            None
        }
    }
}

pub(super) fn admin(raw: &raw::Admin, c: &mut Checker<'_>) -> Option<Admin> {
    let listen = values::address("admin.listen", &raw.listen, c)?;
    if !listen.ip().is_loopback() {
        let cause = "the admin listener can be reached from other machines, and asks nobody who he is";
        c.warn("admin.listen", cause, "listen on 127.0.0.1 or [::1], and reach it through SSH");
    }
    Some(Admin { listen })
}

/// The operator's way in must not be shadowed by a public listener.
pub(super) fn admin_apart(raw: &raw::Config, c: &mut Checker<'_>) {
    let Ok(admin) = raw.admin.listen.parse::<SocketAddr>() else { return };
    for (i, listener) in raw.listener.iter().enumerate() {
        if listener.address.parse().is_ok_and(|address| overlap(admin, address)) {
            let cause = format!("the admin listener and the listener '{}' are on the same port", listener.name);
            let other = format!("listener[{i}].address");
            c.found.error_with(On::Value, "admin.listen", &other, cause, "give one of them another port");
        }
    }
}

/// Whether two listeners would take connections from each other.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wide = |ip: IpAddr| ip.is_unspecified();
    let same_kind = a.is_ipv4() == b.is_ipv4();
    a.port() != 0 && a.port() == b.port() && same_kind && (a.ip() == b.ip() || wide(a.ip()) || wide(b.ip()))
}

pub(super) fn limits(raw: &raw::Limits, node: &raw::Node, c: &mut Checker<'_>) -> Option<Limits> {
    if raw.client_hello_ms > raw.handshake_ms {
        let cause = "'client_hello_ms' is longer than 'handshake_ms', of which it is a part";
        c.error("limits.client_hello_ms", cause, format!("write at most {}", raw.handshake_ms));
    }
    if raw.target_bytes_max >= raw.head_bytes_max {
        let cause = "'target_bytes_max' leaves no room in 'head_bytes_max'";
        c.error("limits.target_bytes_max", cause, format!("write less than {}", raw.head_bytes_max));
    }
    if raw.connections_per_source > raw.connections_per_network {
        let cause = "one source may hold more connections than its whole network";
        let mend = format!("write at most {}, which is 'connections_per_network'", raw.connections_per_network);
        c.error("limits.connections_per_source", cause, mend);
    }
    if raw.connections_per_network as usize >= node.connections_max {
        let cause = "one network can take every connection of the node";
        let mend = format!("write much less than {}, which is 'node.connections_max'", node.connections_max);
        c.warn("limits.connections_per_network", cause, mend);
    }
    Some(Limits::from(raw))
}

impl From<&raw::Limits> for Limits {
    fn from(raw: &raw::Limits) -> Self {
        Self {
            connections_per_source: raw.connections_per_source,
            connections_per_network: raw.connections_per_network,
            handshakes_per_source: raw.handshakes_per_source,
            client_hello: Duration::from_millis(raw.client_hello_ms),
            handshake: Duration::from_millis(raw.handshake_ms),
            header: Duration::from_millis(raw.header_ms),
            idle: Duration::from_millis(raw.idle_ms),
            first_request: Duration::from_millis(raw.first_request_ms),
            body_rate_bytes_s_min: raw.body_rate_bytes_s_min,
            body_grace: Duration::from_millis(raw.body_grace_ms),
            read_rate_bytes_s_min: raw.read_rate_bytes_s_min,
            head_bytes_max: raw.head_bytes_max,
            header_fields_max: raw.header_fields_max,
            target_bytes_max: raw.target_bytes_max,
            requests_per_connection_max: raw.requests_per_connection_max,
            h2_streams_max: raw.h2_streams_max,
            h2_resets_per_10s: raw.h2_resets_per_10s,
            h2_empty_frames_per_10s: raw.h2_empty_frames_per_10s,
            h2_continuations_max: raw.h2_continuations_max,
            h2_settings_per_10s: raw.h2_settings_per_10s,
            h2_pings_per_10s: raw.h2_pings_per_10s,
            h2_priorities_per_10s: raw.h2_priorities_per_10s,
            h2_window_updates_per_10s: raw.h2_window_updates_per_10s,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&raw::Limits::default())
    }
}

pub(super) fn log(raw: &raw::Log, c: &mut Checker<'_>) -> Option<Log> {
    let target = match raw.access.as_str() {
        "off" => LogTarget::Off,
        "stdout" => LogTarget::Stdout,
        "stderr" => LogTarget::Stderr,
        path if path.contains('/') && !path.ends_with('/') => LogTarget::File(c.path(path)),
        other => {
            let mend = match suggest::nearest(other, ["stdout", "stderr", "off"]) {
                Some(near) => format!("did you mean '{near}'?"),
                None if other.ends_with('/') => "name a file in that folder".to_owned(),
                None => format!("write stdout, stderr, off, or a file with its folder: \"./{}\"", other.trim()),
            };
            c.error("log.access", format!("'access' cannot be {}", quoted(other)), mend);
            return None;
        }
    };
    let format = match raw.format {
        raw::LogFormat::Json => LogFormat::Json,
        raw::LogFormat::Combined => LogFormat::Combined,
    };
    Some(Log {
        target,
        format,
        mask_addresses: raw.mask_addresses,
        refused_sample: raw.refused_sample,
        refused_per_s_max: raw.refused_per_s_max,
    })
}

pub(super) fn trace(raw: &raw::Trace, c: &mut Checker<'_>) -> Option<Trace> {
    if raw.otlp_endpoint.is_empty() {
        return Some(Trace { otlp_endpoint: None, sample: raw.sample });
    }
    let uri: Option<http::Uri> = raw.otlp_endpoint.parse().ok();
    let flaw = match &uri {
        Some(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none() => None,
        Some(uri) if uri.scheme_str() == Some("https") => {
            Some("run a collector beside Guichet, and name it with http: traces are sent in cleartext")
        }
        _ => Some("write the base URL, such as \"http://127.0.0.1:4318\""),
    };
    if let Some(mend) = flaw {
        let cause = format!("{} is no endpoint that traces can be sent to", quoted(&raw.otlp_endpoint));
        c.error("trace.otlp_endpoint", cause, mend);
        return None;
    }
    Some(Trace { otlp_endpoint: Some(raw.otlp_endpoint.trim_end_matches('/').to_owned()), sample: raw.sample })
}
