//! Services and their routes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Criticality;

use super::super::checked::{ClientKind, HostPattern, Route, Service, SessionRule};
use super::super::contract::Channel;
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::suggest;
use super::super::tree::join;
use super::{Checker, hosts, values};

pub(super) fn services(raw: &raw::Config, channels: &[Arc<Channel>], c: &mut Checker<'_>) -> Option<Vec<Arc<Service>>> {
    let mut services = Vec::new();
    for (name, one) in &raw.service {
        let at = join("service", name);
        values::name(On::Key, &at, name, c);
        services.push(service(&at, name, one, raw, channels, c).map(Arc::new));
    }
    services.into_iter().collect()
}

fn service(
    at: &str,
    name: &str,
    raw: &raw::Service,
    all: &raw::Config,
    channels: &[Arc<Channel>],
    c: &mut Checker<'_>,
) -> Option<Service> {
    let hosts: Vec<HostPattern> = raw
        .hosts
        .iter()
        .enumerate()
        .filter_map(|(i, host)| hosts::pattern(&format!("{at}.hosts[{i}]"), host, c))
        .collect();
    let upstream = upstream_of(at, raw, all, c);
    concurrency(&format!("{at}.concurrency"), &raw.concurrency, c);
    let reserve = reserve(&format!("{at}.reserve"), &raw.reserve, c);
    let session = raw.session.as_ref().map(|session| session_rule(&format!("{at}.session"), session, c));
    let contract = raw.contract.as_ref();
    let contract =
        contract.map(|one| super::contract::contract(&format!("{at}.contract"), &hosts, one, all, channels, c));
    let routes = routes(at, raw, c);
    if raw.partner_only && !all.partner.iter().any(|p| p.services.is_empty() || p.services.iter().any(|s| s == name)) {
        let cause = "only partners may come in, and no [[partner]] counts here: everybody is refused";
        c.warn(&format!("{at}.partner_only"), cause, format!("add [[partner]] with services = [\"{name}\"]"));
    }
    Some(Service {
        name: name.to_owned(),
        hosts,
        upstream: upstream?,
        criticality: raw.criticality.into(),
        partner_only: raw.partner_only,
        concurrency_initial: raw.concurrency.initial,
        concurrency_min: raw.concurrency.min,
        concurrency_max: raw.concurrency.max,
        queue_length: raw.queue.length,
        queue_wait: Duration::from_millis(raw.queue.wait_ms),
        reserve,
        body_bytes_max: raw.body_bytes_max,
        known_after: Duration::from_secs(raw.known_after_s),
        session,
        client_kind: client_kind(raw.client_kind),
        waiting_room: raw.waiting_room,
        passes: raw.passes,
        mitigations: values::mode(raw.mitigations.mode),
        collateral_max: raw.mitigations.collateral_max,
        contract,
        routes,
    })
}

fn upstream_of(at: &str, raw: &raw::Service, all: &raw::Config, c: &mut Checker<'_>) -> Option<usize> {
    let position = all.upstream.get_index_of(&raw.upstream);
    // An upstream that was taken out for another problem is declared all the same.
    if position.is_none() && !c.found.is_given(&join("upstream", &raw.upstream)) {
        let names: Vec<&str> = all.upstream.keys().map(String::as_str).collect();
        let cause = format!("there is no upstream {}", quoted(&raw.upstream));
        c.error(&format!("{at}.upstream"), cause, suggest::mend(&raw.upstream, &names, "upstreams declared"));
    }
    position
}

fn concurrency(at: &str, raw: &raw::Concurrency, c: &mut Checker<'_>) {
    if raw.min > raw.max {
        let cause = format!("'min' ({}) is above 'max' ({})", raw.min, raw.max);
        c.error(&format!("{at}.min"), cause, format!("write at most {}", raw.max));
    } else if !(raw.min..=raw.max).contains(&raw.initial) {
        let cause = format!("'initial' ({}) is not within 'min' and 'max'", raw.initial);
        c.error(&format!("{at}.initial"), cause, format!("write a number from {} to {}", raw.min, raw.max));
    }
}

fn reserve(at: &str, raw: &raw::Reserve, c: &mut Checker<'_>) -> [f64; Criticality::COUNT] {
    let mut floors = [0.0; Criticality::COUNT];
    floors[Criticality::Critical.index()] = raw.critical;
    floors[Criticality::Important.index()] = raw.important;
    floors[Criticality::Ordinary.index()] = raw.ordinary;
    floors[Criticality::Sheddable.index()] = raw.sheddable;
    let sum: f64 = floors.iter().sum();
    if sum >= 1.0 {
        let cause = format!("the floors add up to {sum:.2}: nothing is left to share");
        let told = format!(
            "lower them until the sum is below 1 (critical {}, important {}, ordinary {}, sheddable {}; \
             those not written have their defaults)",
            raw.critical, raw.important, raw.ordinary, raw.sheddable
        );
        c.error(at, cause, told);
    }
    floors
}

fn session_rule(at: &str, raw: &raw::Session, c: &mut Checker<'_>) -> SessionRule {
    if !values::is_token(&raw.cookie) {
        let cause = format!("{} is no cookie name", quoted(&raw.cookie));
        c.error(&format!("{at}.cookie"), cause, "write the name that the service sets, without = or ;");
    }
    for (i, path) in raw.issued_on.iter().enumerate() {
        if let Some((cause, mend)) = values::path_flaw(path) {
            c.error(&format!("{at}.issued_on[{i}]"), cause, mend);
        }
    }
    SessionRule { cookie: raw.cookie.clone(), issued_on: raw.issued_on.clone(), life: Duration::from_secs(raw.life_s) }
}

const fn client_kind(raw: raw::ClientKind) -> ClientKind {
    match raw {
        raw::ClientKind::Browser => ClientKind::Browser,
        raw::ClientKind::Api => ClientKind::Api,
    }
}

fn routes(at: &str, service: &raw::Service, c: &mut Checker<'_>) -> Vec<Route> {
    let mut seen: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut routes = Vec::new();
    for (i, raw) in service.route.iter().enumerate() {
        let key = format!("{at}.route[{i}]");
        if let Some((cause, mend)) = values::path_flaw(&raw.path) {
            c.error(&format!("{key}.path"), cause, mend);
        }
        let same_path = seen.entry(raw.path.as_str()).or_default();
        let meets = |other: &&usize| {
            let other = &service.route[**other].methods;
            other.is_empty() || raw.methods.is_empty() || other.iter().any(|m| raw.methods.contains(m))
        };
        if let Some(first) = same_path.iter().find(meets) {
            let cause = format!("another route has the path {} for the same methods", quoted(&raw.path));
            let (path_key, other) = (format!("{key}.path"), format!("{at}.route[{first}].path"));
            c.found.error_with(On::Value, &path_key, &other, cause, "join the two, or give them different methods");
        }
        same_path.push(i);
        routes.push(Route {
            path: raw.path.clone(),
            methods: methods(&key, &raw.methods, c),
            criticality: raw.criticality.unwrap_or(service.criticality).into(),
            cost: raw.cost,
            deadline: raw.deadline_ms.map(Duration::from_millis),
            body_bytes_max: raw.body_bytes_max.unwrap_or(service.body_bytes_max),
            idempotent: raw.idempotent,
            client_kind: client_kind(raw.client_kind.unwrap_or(service.client_kind)),
            cache: raw.cache.as_ref().map(|cache| super::contract::route_cache(&format!("{key}.cache"), cache, c)),
            switch_off: raw
                .switch_off
                .as_ref()
                .map(|off| super::contract::switch_off(&format!("{key}.switch_off"), off, c)),
            sign_in_failed: raw.sign_in.as_ref().map(|sign_in| failed(&format!("{key}.sign_in"), sign_in, c)),
        });
    }
    routes
}

fn failed(at: &str, raw: &raw::SignIn, c: &mut Checker<'_>) -> Vec<u16> {
    for (i, status) in raw.failed.iter().enumerate() {
        if !(200..500).contains(status) {
            let cause = format!("{status} does not say that a sign-in failed");
            c.error(&format!("{at}.failed[{i}]"), cause, "write a status from 200 to 499, such as 401");
        }
    }
    raw.failed.clone()
}

fn methods(at: &str, raw: &[String], c: &mut Checker<'_>) -> Vec<http::Method> {
    let mut methods = Vec::new();
    for (i, text) in raw.iter().enumerate() {
        let key = format!("{at}.methods[{i}]");
        if !values::is_token(text) || text.len() > 32 {
            c.error(&key, format!("{} is no method", quoted(text)), "write methods such as \"GET\" or \"POST\"");
        } else if text.bytes().any(|b| b.is_ascii_lowercase()) {
            let cause = format!("{} is no method: methods are in capitals", quoted(text));
            c.error(&key, cause, format!("write \"{}\"", text.to_ascii_uppercase()));
        } else if let Ok(method) = text.parse() {
            methods.push(method);
        }
    }
    methods
}

impl From<raw::Criticality> for Criticality {
    fn from(raw: raw::Criticality) -> Self {
        match raw {
            raw::Criticality::Sheddable => Self::Sheddable,
            raw::Criticality::Ordinary => Self::Ordinary,
            raw::Criticality::Important => Self::Important,
            raw::Criticality::Critical => Self::Critical,
        }
    }
}
