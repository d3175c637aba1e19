//! The link verdict, hand-on and outside health.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::bounds;
use guichet_core::link::Limits;
use ipnet::IpNet;

use super::super::checked::{HandOn, HandOnAction, HandOnWay, Link, LinkInterface, OutsideHealth};
use super::super::problem::quoted;
use super::super::raw;
use super::{Checker, unique_names, values};

pub(super) fn link(raw: &raw::Config, c: &mut Checker<'_>) -> Option<Link> {
    let one = &raw.link;
    let own = values::networks("link.own", &one.own, c);
    for (i, _) in own.iter().enumerate().filter(|(_, network)| is_too_wide(network)) {
        let mend = "name the prefixes that are announced for this estate, none shorter than /8 or /16 of IPv6";
        c.error(&format!("link.own[{i}]"), "nobody owns that much", mend);
    }
    let procfs = PathBuf::from(&one.procfs);
    if !procfs.is_absolute() {
        c.error("link.procfs", format!("{} is no absolute path", quoted(&one.procfs)), "write \"/proc\"");
    }
    let spared = raw.mitigations.allow.iter().chain(raw.listener.iter().flat_map(|l| &l.trusted_proxies));
    let targets = targets(raw, &own, c);
    Some(Link {
        interfaces: interfaces(&one.interface, c),
        procfs,
        limits: Limits {
            line_full: one.line_full,
            host_full: one.host_full,
            losses_per_s: one.losses_per_s,
            demand_missing: one.demand_missing,
            hold: Duration::from_secs(one.hold_s),
            release: Duration::from_secs(one.release_s),
            ..Limits::default()
        },
        own,
        journal: (!one.journal.is_empty()).then(|| c.path(&one.journal)),
        targets: targets?,
        // Those that are no networks were told where they stand.
        spared: spared.filter_map(|text| crate::identify::network(text)).collect(),
        forwarded: raw.listener.iter().any(|listener| !listener.trusted_proxies.is_empty()),
    })
}

fn is_too_wide(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 8 } else { 16 }
}

fn interfaces(raw: &[raw::Interface], c: &mut Checker<'_>) -> Vec<LinkInterface> {
    let mut known = HashSet::new();
    for (i, interface) in raw.iter().enumerate() {
        let name = &interface.name;
        let key = format!("link.interface[{i}].name");
        // As the kernel has it: no name is longer, or has a slash or a space.
        if name.is_empty() || name.len() > 15 || name.contains(|ch: char| ch == '/' || ch.is_whitespace()) {
            let mend = "write the name that `ip link` shows, such as \"eth0\"";
            c.error(&key, format!("{} cannot be the name of an interface", quoted(name)), mend);
        } else if !known.insert(name) {
            c.error(&key, format!("the interface '{name}' is declared twice"), "keep one of the two");
        }
    }
    raw.iter()
        .map(|interface| LinkInterface {
            name: interface.name.clone(),
            rate_bits_s: interface.rate_mbit * 1_000_000,
            rate_packets_s: interface.packets_per_s,
            overhead_bytes: interface.overhead_bytes,
        })
        .collect()
}

fn targets(raw: &raw::Config, own: &[IpNet], c: &mut Checker<'_>) -> Option<Vec<Arc<HandOn>>> {
    unique_names("hand_on", raw.hand_on.iter().map(|target| target.name.as_str()), c);
    let mut targets = Vec::new();
    for (i, one) in raw.hand_on.iter().enumerate() {
        let at = format!("hand_on[{i}]");
        values::name(super::On::Value, &format!("{at}.name"), &one.name, c);
        if own.is_empty() {
            let mend = "write the own prefixes into [link] own: nothing else is announced";
            c.error(&format!("{at}.name"), "there is nothing that could be announced", mend);
        }
        if raw.link.journal.is_empty() && !one.dry_run {
            let mend = "name a file in [link] journal, or set dry_run = true";
            c.error(&format!("{at}.name"), "after a crash nobody would know what to withdraw", mend);
        }
        let (way, action) = (way(&at, one, c), action(&at, one, c));
        let propose_for = values::networks(&format!("{at}.propose_for"), &one.propose_for, c);
        for (n, network) in propose_for.iter().enumerate() {
            if !own.iter().any(|mine| mine.contains(network)) {
                let cause = format!("{network} is not in [link] own");
                c.error(&format!("{at}.propose_for[{n}]"), cause, "declare it there, if it is yours");
            }
        }
        if !one.confirm && !one.dry_run && one.action == raw::HandOnAction::Blackhole && !propose_for.is_empty() {
            let cause = "own addresses are taken off the net without anybody being asked";
            c.warn(&format!("{at}.confirm"), cause, "leave it true, unless you mean it");
        }
        targets.push(way.zip(action).map(|(way, action)| {
            Arc::new(HandOn {
                name: one.name.clone(),
                way,
                action,
                propose_for,
                ttl: Duration::from_secs(one.ttl_s),
                stay: Duration::from_secs(one.stay_s),
                routes_max: one.routes_max,
                confirm: one.confirm,
                dry_run: one.dry_run,
            })
        }));
    }
    targets.into_iter().collect()
}

fn action(at: &str, one: &raw::HandOn, c: &mut Checker<'_>) -> Option<HandOnAction> {
    match one.action {
        raw::HandOnAction::Discard => Some(HandOnAction::Discard),
        raw::HandOnAction::Limit => Some(HandOnAction::Limit(one.limit_kbit * 1000 / 8)),
        raw::HandOnAction::Blackhole => match one.next_hop.parse::<IpAddr>() {
            Ok(address) => Some(HandOnAction::Blackhole(address)),
            Err(_) => {
                let cause = format!("{} is no address that a blackhole can point at", quoted(&one.next_hop));
                c.error(&format!("{at}.next_hop"), cause, "write the next hop that the provider gave for blackholes");
                None
            }
        },
    }
}

fn way(at: &str, one: &raw::HandOn, c: &mut Checker<'_>) -> Option<HandOnWay> {
    let argv = |usual: &str| if one.command.is_empty() { vec![usual.to_owned()] } else { one.command.clone() };
    match one.kind {
        raw::HandOnKind::Gobgp => Some(HandOnWay::Gobgp(argv("gobgp"))),
        raw::HandOnKind::Exabgp => Some(HandOnWay::Exabgp(argv("exabgpcli"))),
        raw::HandOnKind::Command if one.command.is_empty() || one.command[0].is_empty() => {
            let mend = "name the program and its arguments: command = [\"/usr/local/bin/tell-provider\"]";
            c.error(&format!("{at}.command"), "there is no command", mend);
            None
        }
        raw::HandOnKind::Command => Some(HandOnWay::Command(one.command.clone())),
        raw::HandOnKind::Webhook => webhook(at, one, c),
    }
}

fn webhook(at: &str, one: &raw::HandOn, c: &mut Checker<'_>) -> Option<HandOnWay> {
    let url: Option<http::Uri> = one.url.parse().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    if url.is_none() {
        let cause = format!("{} is nothing that can be posted to", quoted(&one.url));
        c.error(&format!("{at}.url"), cause, "write a URL, such as \"https://provider.example.net/blackhole\"");
    }
    let key = format!("{at}.secret_file");
    let secret = match c.world.read(&c.path(&one.secret_file), bounds::PEM_BYTES_MAX) {
        Ok(bytes) => bytes.trim_ascii().to_vec(),
        Err(error) => {
            let cause = format!("cannot read {}: {error}", quoted(&one.secret_file));
            c.error(&key, cause, "make one with `openssl rand -hex 32`");
            return None;
        }
    };
    if secret.len() < 16 {
        c.error(&key, "the secret is shorter than 16 bytes", "make one with `openssl rand -hex 32`");
        return None;
    }
    Some(HandOnWay::Webhook { url: url?, secret })
}

pub(super) fn health(raw: &raw::OutsideHealth, c: &mut Checker<'_>) -> OutsideHealth {
    let mut address = |key: &str, given: &str| (!given.is_empty()).then(|| values::address(key, given, c)).flatten();
    OutsideHealth { listen: address("health.listen", &raw.listen), agent: address("health.agent", &raw.agent) }
}
