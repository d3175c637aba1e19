use std::collections::{BTreeMap, BTreeSet};

use guichet_core::bounds::{METRIC_LISTENERS_MAX, METRIC_SERVICES_MAX, METRIC_UPSTREAM_SERVERS_MAX};
use guichet_core::{Criticality, Reason, Standing};

use super::super::entry::entry_for_test;
use super::*;

/// One sample: labels and value.
type Sample = (BTreeMap<String, String>, f64);

/// A strict reader of the text format: HELP, TYPE, then the samples of that family and no other; no family twice, no
/// sample twice; counters end in `_total`; histograms have growing buckets that end in +Inf and agree with `_count`.
fn parse(text: &str) -> BTreeMap<String, Vec<Sample>> {
    assert!(text.ends_with('\n'));
    let (mut all, mut kinds) = (BTreeMap::<String, Vec<Sample>>::new(), BTreeMap::new());
    let (mut family, mut kind, mut help_of) = (String::new(), String::new(), None);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            assert!(!help.is_empty() && !kinds.contains_key(name), "{line}");
            help_of = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, this) = rest.split_once(' ').expect(line);
            assert_eq!(help_of.take().as_deref(), Some(name), "HELP stands before TYPE: {line}");
            assert!(matches!(this, "counter" | "gauge" | "histogram"), "{line}");
            assert_eq!(this == "counter", name.ends_with("_total"), "{line}");
            (family, kind) = (name.to_owned(), this.to_owned());
            kinds.insert(family.clone(), kind.clone());
            all.entry(family.clone()).or_default();
        } else {
            let (name, labels, value) = sample(line);
            let suffix =
                name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} outside its family {family}"));
            let fits = match kind.as_str() {
                "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
                _ => suffix.is_empty(),
            };
            assert!(fits, "{line}");
            let samples = all.entry(name).or_default();
            assert!(!samples.iter().any(|(known, _)| *known == labels), "twice: {line}");
            samples.push((labels, value));
        }
    }
    for (name, _) in kinds.iter().filter(|(_, kind)| *kind == "histogram") {
        check_histogram(&all, name);
    }
    all
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let value = match value {
        "+Inf" => f64::INFINITY,
        other => other.parse().expect(line),
    };
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}').expect(line);
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect(line);
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next().expect(line) {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next().expect(line).1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("escape {other} in {line}"),
                }),
                (_, letter) => value.push(letter),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), labels, value)
}

fn check_histogram(all: &BTreeMap<String, Vec<Sample>>, name: &str) {
    for (labels, count) in all.get(&format!("{name}_count")).into_iter().flatten() {
        let mut before = (f64::NEG_INFINITY, 0.0);
        for (bucket, value) in &all[&format!("{name}_bucket")] {
            let mut others = bucket.clone();
            let end = others.remove("le").expect("buckets have an end");
            if others != *labels {
                continue;
            }
            let end = if end == "+Inf" { f64::INFINITY } else { end.parse::<f64>().unwrap() };
            assert!(end > before.0 && *value >= before.1, "{name} {bucket:?}");
            before = (end, *value);
        }
        assert_eq!(before, (f64::INFINITY, *count), "{name}");
    }
}

fn value(all: &BTreeMap<String, Vec<Sample>>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.get(name)?.iter().find(|(labels, _)| *labels == wanted).map(|(_, value)| *value)
}

#[test]
fn workers_are_added_up() {
    let registry = Registry::new("1.2.3", 3);
    let (portal, bank) = (registry.service("portal"), registry.service("bank"));
    let https = registry.listener("https");
    let workers: Vec<_> = (0..3).map(|at| registry.worker(at).unwrap()).collect();
    for (at, worker) in workers.iter().enumerate() {
        let mut entry = entry_for_test();
        entry.service_slot = portal;
        entry.duration_us = 20_000;
        for _ in 0..=at {
            worker.request(&entry);
        }
        entry.service_slot = bank;
        entry.status = 429;
        entry.reason = Some(Reason::FairShare);
        entry.attempts = 0;
        entry.standing = Standing::Suspect;
        entry.lane = Criticality::Important;
        worker.request(&entry);
        worker.connection_opened(https);
        worker.connection_opened(https);
        worker.connection_closed(https);
        worker.connection_refused(https, Reason::HandshakeTimeout);
    }
    let all = parse(&registry.expose());
    let check = |name: &str, labels: &[(&str, &str)], wanted: f64| {
        assert_eq!(value(&all, name, labels), Some(wanted), "{name} {labels:?}");
    };
    check("guichet_build_info", &[("version", "1.2.3")], 1.0);
    check("guichet_requests_total", &[("service", "portal"), ("class", "2xx")], 6.0);
    check("guichet_requests_total", &[("service", "bank"), ("class", "4xx")], 3.0);
    check("guichet_refusals_total", &[("service", "bank"), ("reason", "fair_share")], 3.0);
    let standing = [("service", "bank"), ("standing", "suspect"), ("outcome", "refused")];
    check("guichet_requests_by_standing_total", &standing, 3.0);
    let lane = [("service", "portal"), ("lane", "ordinary"), ("outcome", "forwarded")];
    check("guichet_requests_by_lane_total", &lane, 6.0);
    check("guichet_request_duration_seconds_count", &[("service", "portal")], 6.0);
    check("guichet_request_duration_seconds_sum", &[("service", "portal")], 0.12);
    check("guichet_request_duration_seconds_bucket", &[("service", "portal"), ("le", "0.01")], 0.0);
    check("guichet_request_duration_seconds_bucket", &[("service", "portal"), ("le", "0.025")], 6.0);
    check("guichet_connections", &[("listener", "https")], 3.0);
    check("guichet_connections_refused_total", &[("listener", "https"), ("reason", "handshake_timeout")], 3.0);
    assert_eq!(
        value(&all, "guichet_request_duration_seconds_count", &[("service", "bank")]),
        None,
        "refusals are not timed"
    );
    assert_eq!(registry.connections_open(), [("https".to_owned(), 3)]);
}

#[test]
fn gauges_show_what_was_set() {
    let registry = Registry::new("0", 1);
    let portal = registry.service("portal");
    let gauges = registry.admission(portal);
    gauges.set_limit(32.0);
    gauges.set_in_flight(7.0);
    gauges.set_queued(3.0);
    gauges.set_fair_rate(f64::INFINITY);
    gauges.set_pressure(0.25);
    registry.set_reload(true, 1_790_000_000);
    registry.set_reload(false, 1_790_000_999);
    registry.set_certificates(vec![("portal.pem".into(), 1_800_000_000), ("portal.pem".into(), 1)]);
    let server = registry.upstream("portal", "127.0.0.1:9101");
    registry.upstream_health(server).set_ejected(true);
    let worker = registry.worker(0).unwrap();
    worker.upstream_began(server, false);
    worker.upstream_began(server, true);
    worker.upstream_ended(server, true);
    worker.upstream_connected(server);
    let all = parse(&registry.expose());
    let check = |name: &str, labels: &[(&str, &str)], wanted: f64| {
        assert_eq!(value(&all, name, labels), Some(wanted), "{name} {labels:?}");
    };
    let service = [("service", "portal")];
    check("guichet_admission_limit", &service, 32.0);
    check("guichet_admission_in_flight", &service, 7.0);
    check("guichet_admission_queued", &service, 3.0);
    check("guichet_admission_fair_rate", &service, f64::INFINITY);
    check("guichet_admission_pressure", &service, 0.25);
    check("guichet_config_reload_success", &[], 0.0);
    check("guichet_config_last_reload_seconds", &[], 1_790_000_000.0);
    check("guichet_certificate_expiry_seconds", &[("name", "portal.pem")], 1.0);
    let at = [("upstream", "portal"), ("server", "127.0.0.1:9101")];
    check("guichet_upstream_requests_total", &at, 2.0);
    check("guichet_upstream_retries_total", &at, 1.0);
    check("guichet_upstream_failures_total", &at, 1.0);
    check("guichet_upstream_in_flight", &at, 1.0);
    check("guichet_upstream_connections", &at, 1.0);
    check("guichet_upstream_healthy", &at, 1.0);
    check("guichet_upstream_ejected", &at, 1.0);
    for process in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(value(&all, process, &[]).is_some_and(|value| value > 0.0), "{process}");
    }
    assert!(value(&all, "process_cpu_seconds_total", &[]).is_some());
}

#[test]
fn labels_are_bounded_whatever_is_registered_and_counted() {
    let registry = Registry::new("0", 1);
    let worker = registry.worker(0).unwrap();
    let mut entry = entry_for_test();
    for n in 0..2_000 {
        entry.service_slot = registry.service(&format!("service-{n}"));
        entry.status = n;
        worker.request(&entry);
        worker.connection_refused(registry.listener(&format!("listener-{n}")), Reason::ConnectionsFull);
        worker.upstream_connected(registry.upstream("pool", &format!("10.0.0.1:{n}")));
    }
    let all = parse(&registry.expose());
    let names = |family: &str, label: &str| {
        all[family].iter().map(|(labels, _)| labels[label].clone()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(names("guichet_requests_total", "service"), METRIC_SERVICES_MAX + 1);
    assert_eq!(names("guichet_requests_total", "class"), 6);
    assert_eq!(names("guichet_connections_refused_total", "listener"), METRIC_LISTENERS_MAX + 1);
    assert_eq!(names("guichet_upstream_connects_total", "server"), METRIC_UPSTREAM_SERVERS_MAX + 1);
    let overflow = all["guichet_requests_total"].iter().filter(|(labels, _)| labels["service"] == "other");
    let counted: f64 = overflow.map(|(_, value)| value).sum();
    assert_eq!(counted, 2_000.0 - METRIC_SERVICES_MAX as f64, "what has no place of its own is counted all the same");
    for (name, samples) in &all {
        for (labels, _) in samples {
            let known = [
                "service", "class", "reason", "standing", "lane", "outcome", "listener", "upstream", "server", "le",
                "name", "version", "step",
            ];
            assert!(labels.keys().all(|label| known.contains(&label.as_str())), "{name} {labels:?}");
            assert!(!labels.values().any(|value| value.contains("192.0.2.77")), "{name} shows a client's address");
        }
    }
}

#[test]
fn names_keep_their_places_over_reloads() {
    let registry = Registry::new("0", 1);
    let portal = registry.service("portal");
    assert_ne!(registry.service("bank"), portal);
    assert_eq!(registry.service("portal"), portal);
    assert_ne!(ServiceSlot::NONE, ServiceSlot::OTHER);
    assert_ne!(portal, ServiceSlot::NONE);
}

#[test]
fn what_a_reload_removed_keeps_its_counters_and_loses_its_gauges() {
    let registry = Registry::new("0", 1);
    let (portal, bank) = (registry.service("portal"), registry.service("bank"));
    let (old, new) = (registry.upstream("pool", "old"), registry.upstream("pool", "new"));
    let worker = registry.worker(0).unwrap();
    let mut entry = entry_for_test();
    for (service, server) in [(portal, old), (bank, new)] {
        entry.service_slot = service;
        worker.request(&entry);
        worker.upstream_began(server, false);
    }
    registry.set_live(vec![bank], vec![new]);
    let all = parse(&registry.expose());
    let check = |name: &str, label: &str, wanted: &[&str]| {
        let shown: Vec<_> = all[name].iter().map(|(labels, _)| labels[label].as_str()).collect();
        assert_eq!(shown, wanted, "{name}");
    };
    check("guichet_admission_limit", "service", &["bank"]);
    check("guichet_upstream_in_flight", "server", &["new"]);
    check("guichet_upstream_healthy", "server", &["new"]);
    check("guichet_requests_total", "service", &["portal", "bank"]);
    check("guichet_upstream_requests_total", "server", &["old", "new"]);
}

#[test]
fn a_workers_counters_have_one_holder() {
    let registry = Registry::new("0", 1);
    let first = registry.worker(0);
    assert!(first.is_some());
    assert!(registry.worker(0).is_none());
    assert!(registry.worker(1).is_none());
    drop(first);
    assert!(registry.worker(0).is_some());
}

#[test]
fn odd_names_do_not_break_the_format() {
    let registry = Registry::new("0", 1);
    let odd = "a\"b\\c\nd{e},f=\"g\"";
    let _slot = registry.service(odd);
    let all = parse(&registry.expose());
    assert_eq!(value(&all, "guichet_admission_limit", &[("service", odd)]), Some(0.0));
}

#[test]
fn every_metric_is_documented_and_the_dashboard_asks_for_none_that_is_not_there() {
    let all = parse(&Registry::new("0", 1).expose());
    let mut families: BTreeSet<String> = all.keys().cloned().collect();
    let document = include_str!("../../../../../docs/observability.md");
    for family in families.clone() {
        assert!(document.contains(&format!("| `{family}` |")), "docs/observability.md lacks {family}");
    }
    for histogram in
        ["guichet_request_duration_seconds", "guichet_queue_wait_seconds", "guichet_upstream_first_byte_seconds"]
    {
        families.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{histogram}{suffix}")));
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../packaging/grafana/guichet.json")).unwrap();
    let mut asked = BTreeSet::new();
    let mut expressions = Vec::new();
    collect_expressions(&dashboard, &mut expressions);
    for expression in &expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        asked.extend(words.filter(|w| w.starts_with("guichet_") || w.starts_with("process_")).map(str::to_owned));
    }
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&families).collect();
    assert!(unknown.is_empty(), "the dashboard asks for {unknown:?}");
}

/// Queries of panels and of variables.
fn collect_expressions(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match member.as_str() {
                    Some(text) if matches!(key.as_str(), "expr" | "query" | "definition") => out.push(text.to_owned()),
                    _ => collect_expressions(member, out),
                }
            }
        }
        serde_json::Value::Array(members) => members.iter().for_each(|member| collect_expressions(member, out)),
        _ => {}
    }
}
