//! Real populations: visitors, apps, crowds, partners, counters.

use super::super::raw::RawKind;
use super::super::{Headers, RealPopulation, TlsProfile, Transport};
use super::{Checker, service_names};
use crate::ops::Op;
use crate::services;

impl Checker<'_, '_> {
    /// The population, if its figures can be read at all.
    pub(super) fn real(&mut self) -> Option<RealPopulation> {
        let raw = self.raw;
        self.not_for(
            "real clients",
            &[
                ("behaviour", raw.behaviour.is_some()),
                ("targets", !raw.targets.is_empty()),
                ("cache_busting", raw.cache_busting),
                ("connections_per_source", raw.connections_per_source.is_some()),
                ("drip_ms", raw.drip_ms.is_some()),
                ("hold_s", raw.hold_s.is_some()),
                ("burst", raw.burst.is_some()),
                ("passes_per_s", raw.passes_per_s.is_some()),
                ("adapt", raw.adapt.is_some()),
            ],
        );
        let name = raw.service.clone().unwrap_or_default();
        let Some(service) = services::index_of(&name) else {
            self.bad("service", format!("{name:?} is no service"), service_names());
            return None;
        };
        let partner = matches!(raw.kind, RawKind::Partner | RawKind::Counter);
        if services::SERVICES[service].partner_only != partner {
            let mend = "partners and counters use rails and counter, everybody else the other services";
            self.bad("service", format!("{name} is not for this kind"), mend);
        }
        if partner && raw.transport == Some(Transport::Http1) {
            self.bad("transport", "a client certificate needs TLS", "say tls-http1 or tls-http2");
        }
        let before = self.phases.before_ms as f64 / 1000.0;
        let end = self.phases.total_ms() as f64 / 1000.0 - before;
        let default = if raw.kind == RawKind::Crowd { (0.0, end) } else { (-before, end) };
        let (from_ms, until_ms) = self.window(default);
        let sources = self.sources("sources", &raw.sources)?;
        let shape = self.shape(&raw.arrivals, raw.sources.count)?;
        let start = raw.start.iter().filter_map(|op| self.op("start", &name, op)).collect();
        let ops = self.weights(&name);
        let (session, think, deadline_ms) = self.real_figures();
        let (headers, transport) = match raw.kind {
            RawKind::App => (Headers::App, Transport::TlsHttp2),
            RawKind::Partner | RawKind::Counter => (Headers::Partner, Transport::TlsHttp1),
            RawKind::Visitor | RawKind::Crowd | RawKind::Attacker => (Headers::Browsers, Transport::TlsHttp2),
        };
        Some(RealPopulation {
            name: raw.name.clone(),
            kind: raw.kind,
            service,
            from_ms,
            until_ms,
            start,
            ops,
            requests_per_session: session,
            think_ms: think,
            people: raw.people,
            returning_share: raw.returning_share.unwrap_or(0.5),
            deadline_ms,
            shape,
            sources,
            look: self.look(transport, headers, TlsProfile::Browser),
        })
    }

    fn weights(&mut self, service: &str) -> Vec<(&'static Op, f64)> {
        let raw = self.raw;
        let mut list = Vec::new();
        for (name, weight) in &raw.ops {
            if !(weight.is_finite() && *weight > 0.0) {
                self.bad(&format!("ops.{name}"), format!("weight {weight}"), "give a weight above 0");
            }
            if let Some(op) = self.op(&format!("ops.{name}"), service, name) {
                list.push((op, *weight));
            }
        }
        if list.is_empty() && self.finder.found.is_empty() {
            self.bad("ops", "no operation", "give at least one, as ops = { home = 1 }");
        }
        list
    }

    fn real_figures(&mut self) -> ([u32; 2], [f64; 3], u64) {
        let raw = self.raw;
        let session = raw.requests_per_session.unwrap_or([3, 8]);
        if session[0] == 0 || session[0] > session[1] || session[1] > 1000 {
            self.bad("requests_per_session", format!("{session:?}"), "give [least, most], 1 to 1000");
        }
        let think = raw.think_ms.clone().unwrap_or_default();
        if !(think.min >= 0.0 && think.min <= think.mean && think.mean <= think.max && think.max <= 600_000.0) {
            self.bad("think_ms", format!("{think:?}"), "keep min <= mean <= max");
        }
        if raw.people.is_some_and(|p| p == 0 || p > 10_000) {
            self.bad("people", "0 or more than 10000", "give 1 to 10000");
        }
        if raw.returning_share.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
            self.bad("returning_share", "is a share", "give 0 to 1");
        }
        let deadline_ms = raw.deadline_ms.unwrap_or(2000);
        if !(10..=30_000).contains(&deadline_ms) {
            self.bad("deadline_ms", format!("{deadline_ms}"), "give 10 to 30000");
        }
        (session, [think.mean, think.min, think.max], deadline_ms)
    }
}
