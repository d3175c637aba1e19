//! Attacking populations: their waves, each with the variant of its turn.

use super::super::raw::RawVariant;
use super::super::{Behaviour, Headers, TlsProfile, Transport, Wave};
use super::{Checker, ms};
use crate::ops::Op;
use crate::services;
use guichet_core::bounds::DRILL_VARIANTS_MAX;

impl Checker<'_, '_> {
    /// The waves of one attacker: one, or one for each turn of an attacker that adapts.
    pub(super) fn waves(&mut self) -> Vec<Wave> {
        let raw = self.raw;
        self.not_for(
            "attackers",
            &[
                ("service", raw.service.is_some()),
                ("start", !raw.start.is_empty()),
                ("ops", !raw.ops.is_empty()),
                ("requests_per_session", raw.requests_per_session.is_some()),
                ("think_ms", raw.think_ms.is_some()),
                ("people", raw.people.is_some()),
                ("returning_share", raw.returning_share.is_some()),
                ("deadline_ms", raw.deadline_ms.is_some()),
            ],
        );
        let (from_ms, until_ms) = self.window((0.0, self.phases.attack_ms as f64 / 1000.0));
        let Some(first) = self.variant(&RawVariant::default(), "", from_ms, until_ms) else { return Vec::new() };
        let Some(adapt) = &raw.adapt else { return vec![first] };
        if !(0.5..=600.0).contains(&adapt.every_s) {
            self.bad("adapt.every_s", format!("{} s", adapt.every_s), "give 0.5 to 600");
            return Vec::new();
        }
        if adapt.variant.is_empty() || adapt.variant.len() > DRILL_VARIANTS_MAX {
            self.bad("adapt.variant", "no variant or too many", format!("give 1 to {DRILL_VARIANTS_MAX}"));
            return Vec::new();
        }
        let mut variants = vec![first];
        for (i, variant) in adapt.variant.iter().enumerate() {
            variants.extend(self.variant(variant, &format!("adapt.variant[{i}]."), from_ms, until_ms));
        }
        in_turn(&variants, ms(adapt.every_s), from_ms, until_ms)
    }

    fn variant(&mut self, variant: &RawVariant, field: &str, from_ms: u64, until_ms: u64) -> Option<Wave> {
        let raw = self.raw;
        let raw_sources = variant.sources.as_ref().unwrap_or(&raw.sources);
        let sources = self.sources(&format!("{field}sources"), raw_sources)?;
        let shape = self.shape(&raw.arrivals, raw_sources.count)?;
        let behaviour = variant.behaviour.or(raw.behaviour).unwrap_or(Behaviour::Flood);
        let mut look = self.look(Transport::TlsHttp1, Headers::Go, TlsProfile::Go);
        look.transport = variant.transport.unwrap_or(look.transport);
        look.headers = variant.headers.unwrap_or(look.headers);
        look.tls = variant.tls.unwrap_or(look.tls);
        let names = variant.targets.as_ref().unwrap_or(&raw.targets);
        let targets = self.targets(&format!("{field}targets"), names);
        let wave = Wave {
            name: raw.name.clone(),
            from_ms,
            until_ms,
            offset_ms: 0,
            length_ms: until_ms - from_ms,
            shape,
            behaviour,
            targets,
            cache_busting: variant.cache_busting.unwrap_or(raw.cache_busting),
            connections_per_source: raw.connections_per_source.unwrap_or(1),
            passes_per_s: raw.passes_per_s.unwrap_or(0.0),
            drip_ms: raw.drip_ms.unwrap_or(1000),
            hold_ms: ms(raw.hold_s.unwrap_or(60.0)),
            burst: raw.burst.unwrap_or(100),
            sources,
            look,
        };
        self.wave_figures(&wave, field);
        Some(wave)
    }

    fn targets(&mut self, field: &str, names: &[String]) -> Vec<&'static Op> {
        let mut targets = Vec::new();
        for name in names {
            match name.split_once('/') {
                Some((service, op)) if services::index_of(service).is_some() => {
                    targets.extend(self.op(field, service, op));
                }
                _ => self.bad(field, format!("{name:?} is no target"), "write service/op, as portal/search"),
            }
        }
        if names.is_empty() {
            self.bad(field, "no target", "give at least one, as targets = [\"portal/search\"]");
        }
        targets
    }

    fn wave_figures(&mut self, wave: &Wave, field: &str) {
        if !(1..=64).contains(&wave.connections_per_source) {
            self.bad("connections_per_source", format!("{}", wave.connections_per_source), "give 1 to 64");
        }
        if !(10..=60_000).contains(&wave.drip_ms) {
            self.bad("drip_ms", format!("{}", wave.drip_ms), "give 10 to 60000");
        }
        if wave.hold_ms == 0 || wave.hold_ms > 600_000 {
            self.bad("hold_s", format!("{} ms", wave.hold_ms), "give up to 600 seconds");
        }
        if !(1..=1000).contains(&wave.burst) {
            self.bad("burst", format!("{}", wave.burst), "give 1 to 1000");
        }
        if !(0.0..=20.0).contains(&wave.passes_per_s) {
            self.bad("passes_per_s", format!("{}", wave.passes_per_s), "give 0 to 20");
        }
        if wave.passes_per_s > 0.0 && wave.behaviour != Behaviour::Flood {
            self.bad(&format!("{field}behaviour"), "only floods earn passes", "say behaviour = \"flood\"");
        }
        let h1_only = matches!(wave.behaviour, Behaviour::SlowHeader | Behaviour::SlowBody | Behaviour::SlowRead);
        if h1_only && wave.look.transport == Transport::TlsHttp2 {
            self.bad(&format!("{field}transport"), "slow attacks here speak HTTP/1.1", "say http1 or tls-http1");
        }
        if wave.behaviour == Behaviour::RapidReset && wave.look.transport != Transport::TlsHttp2 {
            self.bad(&format!("{field}transport"), "rapid reset needs HTTP/2", "say transport = \"tls-http2\"");
        }
        if wave.behaviour == Behaviour::HandshakeFlood && wave.look.transport == Transport::Http1 {
            self.bad(&format!("{field}transport"), "a handshake flood needs TLS", "say tls-http1 or tls-http2");
        }
    }
}

/// Cuts the time of an adapting population into windows, each with the next variant.
fn in_turn(variants: &[Wave], every_ms: u64, from_ms: u64, until_ms: u64) -> Vec<Wave> {
    let mut waves = Vec::new();
    let mut at = from_ms;
    while at < until_ms {
        let number = waves.len();
        let end = (at + every_ms).min(until_ms);
        let mut wave = variants[number % variants.len()].clone();
        wave.name = format!("{}#{}", wave.name, number + 1);
        (wave.from_ms, wave.until_ms, wave.offset_ms) = (at, end, at - from_ms);
        waves.push(wave);
        at = end;
    }
    waves
}
