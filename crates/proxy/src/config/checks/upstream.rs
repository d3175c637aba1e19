//! Upstreams: pools of servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::checked::{Balance, HashOn, Health, Server, Upstream, UpstreamProtocol};
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::tree::join;
use super::{Checker, tls_files, values};

pub(super) fn upstreams(raw: &raw::Config, c: &mut Checker<'_>) -> Option<Vec<Arc<Upstream>>> {
    let mut upstreams = Vec::new();
    for (name, one) in &raw.upstream {
        let at = join("upstream", name);
        values::name(On::Key, &at, name, c);
        if !raw.service.values().any(|service| service.upstream == *name) {
            c.found.warn(On::Key, &at, format!("no service uses the upstream '{name}'"), "take it out, or use it");
        }
        upstreams.push(upstream(&at, name, one, c).map(Arc::new));
    }
    upstreams.into_iter().collect()
}

fn upstream(at: &str, name: &str, raw: &raw::Upstream, c: &mut Checker<'_>) -> Option<Upstream> {
    let servers = servers(at, &raw.servers, c);
    let protocol = match raw.protocol {
        raw::UpstreamProtocol::Http1 => UpstreamProtocol::Http1,
        raw::UpstreamProtocol::H2c => UpstreamProtocol::H2c,
        raw::UpstreamProtocol::Https => UpstreamProtocol::Https,
        raw::UpstreamProtocol::H2 => UpstreamProtocol::H2,
    };
    tls(at, raw, c);
    let balance = balance(at, raw, c);
    let health = raw.health.as_ref().map(|health| check_health(&format!("{at}.health"), health, c));
    Some(Upstream {
        name: name.to_owned(),
        servers,
        protocol,
        server_name: (!raw.server_name.is_empty()).then(|| raw.server_name.clone()),
        ca: (!raw.ca.is_empty()).then(|| c.path(&raw.ca)),
        balance: balance?,
        connect: Duration::from_millis(raw.connect_ms),
        first_byte: Duration::from_millis(raw.first_byte_ms),
        idle: Duration::from_millis(raw.idle_ms),
        keepalive_idle: Duration::from_secs(raw.keepalive_idle_s),
        keepalive_per_worker_max: raw.keepalive_per_worker_max,
        retry_attempts_max: raw.retry.attempts_max,
        retry_budget_ratio: raw.retry.budget_ratio,
        retry_budget_min_per_s: raw.retry.budget_min_per_s,
        outlier_consecutive_failures: raw.outlier.consecutive_failures,
        outlier_ejection: Duration::from_secs(raw.outlier.ejection_s),
        outlier_ejected_share_max: raw.outlier.ejected_share_max,
        health,
    })
}

fn servers(at: &str, raw: &[raw::Server], c: &mut Checker<'_>) -> Vec<Server> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut servers = Vec::new();
    for (i, server) in raw.iter().enumerate() {
        let (key, address, weight) = match server {
            raw::Server::Address(address) => (format!("{at}.servers[{i}]"), address, 1),
            raw::Server::Weighted(server) => (format!("{at}.servers[{i}].address"), &server.address, server.weight),
        };
        if let Some(mend) = values::host_port_flaw(address) {
            c.error(&key, format!("{} is no server", quoted(address)), mend);
            continue;
        }
        let plain = address.to_ascii_lowercase();
        if let Some(first) = seen.insert(plain.clone(), key.clone()) {
            let cause = format!("the server {} is there twice", quoted(address));
            let mend = format!("name it once: {{ address = \"{plain}\", weight = 2 }}");
            c.found.error_with(On::Value, &key, &first, cause, mend);
        }
        servers.push(Server { address: plain, weight });
    }
    servers
}

fn tls(at: &str, raw: &raw::Upstream, c: &mut Checker<'_>) {
    let speaks_tls = matches!(raw.protocol, raw::UpstreamProtocol::Https | raw::UpstreamProtocol::H2);
    let (name_key, ca_key) = (format!("{at}.server_name"), format!("{at}.ca"));
    for (key, given) in [(&name_key, &raw.server_name), (&ca_key, &raw.ca)] {
        if !given.is_empty() && !speaks_tls {
            let mend = "set protocol = \"https\" or \"h2\", or take it out";
            c.error(key, "this is for TLS, and the protocol is cleartext", mend);
        }
    }
    if !raw.server_name.is_empty() && rustls::pki_types::ServerName::try_from(raw.server_name.as_str()).is_err() {
        let cause = format!("{} is no name that a certificate can have", quoted(&raw.server_name));
        c.error(&name_key, cause, "write a host name without a port");
    }
    if !raw.ca.is_empty() && speaks_tls {
        tls_files::authorities(&ca_key, &raw.ca, c);
    }
}

fn balance(at: &str, raw: &raw::Upstream, c: &mut Checker<'_>) -> Option<Balance> {
    let key = format!("{at}.hash_on");
    let on = match raw.hash_on.split_once(':') {
        None if raw.hash_on == "source" => Some(HashOn::Source),
        None if raw.hash_on == "path" => Some(HashOn::Path),
        Some(("header", name)) => match name.parse() {
            Ok(name) => Some(HashOn::Header(name)),
            Err(_) => {
                let mend = "write it as in requests: hash_on = \"header:x-account\"";
                c.error(&key, format!("{} is no header name", quoted(name)), mend);
                return None;
            }
        },
        Some(("cookie", name)) if values::is_token(name) => Some(HashOn::Cookie(name.to_owned())),
        _ => None,
    };
    let Some(on) = on else {
        let cause = format!("'hash_on' cannot be {}", quoted(&raw.hash_on));
        c.error(&key, cause, "write source, path, header:NAME or cookie:NAME");
        return None;
    };
    match raw.balance {
        raw::Balance::ConsistentHash => Some(Balance::ConsistentHash(on)),
        raw::Balance::P2c => {
            if c.found.is_given(&key) {
                let cause = "'hash_on' has no effect with balance = \"p2c\"";
                c.warn(&key, cause, "set balance = \"consistent-hash\", or take it out");
            }
            Some(Balance::PowerOfTwo)
        }
    }
}

fn check_health(at: &str, raw: &raw::Health, c: &mut Checker<'_>) -> Health {
    // A query is fine here: the check is a request, not a prefix.
    let path = raw.path.split('?').next().unwrap_or_default();
    if let Some((cause, mend)) = values::path_flaw(path) {
        c.error(&format!("{at}.path"), cause, mend);
    }
    if raw.timeout_ms > raw.interval_ms {
        let cause = "a check would still run when the next begins";
        let mend = format!("write at most {}, which is 'interval_ms'", raw.interval_ms);
        c.error(&format!("{at}.timeout_ms"), cause, mend);
    }
    Health {
        path: raw.path.clone(),
        interval: Duration::from_millis(raw.interval_ms),
        timeout: Duration::from_millis(raw.timeout_ms),
        healthy_after: raw.healthy_after,
        unhealthy_after: raw.unhealthy_after,
        status: raw.status,
    }
}
