//! What comes of right files: defaults, the example, the schema and the reference, differences.

use std::path::Path;
use std::time::Duration;

use guichet_core::Criticality;

use super::{GOOD, MAIN, PEMS, load_in, world};
use crate::config::{
    Balance, Change, Config, Credential, Effect, HostPattern, InMemory, Limits, Loaded, LogTarget, Protocol, load_from,
    reference_markdown, schema,
};

/// Behind this line the page is drawn from the schema.
const REFERENCE_BEGIN: &str = "<!-- drawn from the schema by `cargo xtask docs` -->\n\n";

fn good() -> Config {
    let Loaded { config, warnings } = load_in(&world(GOOD)).unwrap_or_else(|report| panic!("{report}"));
    assert!(warnings.is_empty(), "{warnings:#?}");
    config
}

fn with(old: &str, new: &str) -> Config {
    load_in(&world(&super::broken(old, new))).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn no_slot_is_kept_for_what_no_route_of_a_service_is() {
    let floors = |config: &Config| crate::setup::service_config(&config.services[0]).floors;
    assert_eq!(floors(&good()), [0; Criticality::COUNT], "all of it is ordinary");
    let critical = floors(&with("path = \"/search\"", "path = \"/search\"\ncriticality = \"critical\""));
    assert!(critical[Criticality::Critical.index()] > 0, "{critical:?}");
    assert_eq!(critical[Criticality::Important.index()], 0, "{critical:?}");
}

#[test]
fn a_right_file_fills_in_the_defaults() {
    let config = good();
    assert_eq!(config.node.workers, 2);
    assert_eq!(config.node.drain, Duration::from_secs(30));
    assert_eq!(config.node.connections_max, 50_000);
    assert!(config.node.seed.is_none());
    assert_eq!(config.listeners[1].protocol, Protocol::Https);
    assert_eq!(config.listeners[1].partner_ca.as_deref(), Some(Path::new("/etc/guichet/ca.pem")));
    assert_eq!(*config.limits, Limits::default());
    assert_eq!(config.log.target, LogTarget::Stdout);
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["portal", "rails"], "in the order of the file");
    let portal = &config.services[0];
    assert_eq!(config.upstreams[portal.upstream].name, "portal");
    assert_eq!(config.upstreams[1].servers[1].weight, 2);
    assert_eq!(config.upstreams[0].balance, Balance::PowerOfTwo);
    assert_eq!(portal.hosts, [HostPattern::Exact("portal.example.org".into())]);
    assert_eq!(portal.reserve[Criticality::Critical.index()], 0.1);
    assert_eq!(portal.reserve[Criticality::Important.index()], 0.2);
    assert_eq!(portal.routes[0].criticality, Criticality::Ordinary);
    assert_eq!(portal.routes[0].body_bytes_max, portal.body_bytes_max);
    assert_eq!(config.partners[0].credentials, [Credential::CommonName("atm".into())]);
    assert_eq!(config.partners[0].services, [1]);
}

#[test]
fn the_seed_comes_from_the_file_a_secret_file_or_the_environment_and_is_never_shown() {
    let hex = "0123456789abcdef".repeat(4);
    let inline = world(&GOOD.replace("drain_s = 30", &format!("seed = \"{hex}\"")));
    let mut file = world(&GOOD.replace("drain_s = 30", "seed_file = \"seed\""));
    file.files.insert("/etc/guichet/seed".into(), format!("{hex}\n").into_bytes());
    let mut environment = world(GOOD);
    environment.variables.insert("GUICHET_SEED".into(), hex.clone());
    for world in [&inline, &file, &environment] {
        let config = load_in(world).unwrap_or_else(|report| panic!("{report}")).config;
        let seed = config.node.seed.as_ref().expect("a seed");
        assert_eq!(seed.0[..4], [0x01, 0x23, 0x45, 0x67]);
        assert!(!format!("{config:?}").contains("0123"), "debug output shows the seed");
    }
    file.open_to_others.push("/etc/guichet/seed".into());
    let warnings = load_in(&file).expect("a warning only").warnings;
    assert!(warnings[0].mend.contains("chmod 600"), "{warnings:?}");
    let wrong = world(&GOOD.replace("drain_s = 30", "seed = \"topsecret\""));
    let report = load_in(&wrong).expect_err("not hexadecimal");
    assert!(!report.render(false).contains("topsecret"), "{report}");
    environment.variables.insert("GUICHET_SEED".into(), "topsecret".into());
    let report = load_in(&environment).expect_err("not hexadecimal");
    assert!(report.to_string().contains("GUICHET_SEED") && !report.to_string().contains("topsecret"), "{report}");
}

#[test]
fn the_example_is_clean() {
    let example = include_str!("../../../../../guichet.example.toml");
    let mut world = InMemory::with(MAIN, example);
    world.now_unix_s = 1_800_000_000;
    for (path, content) in [("example.pem", &PEMS.cert), ("example.key", &PEMS.key), ("partners.pem", &PEMS.cert)] {
        world.files.insert(Path::new("/etc/guichet/tls").join(path), content.as_bytes().to_vec());
    }
    world.files.insert("/etc/guichet/seed".into(), "5a".repeat(32).into_bytes());
    let loaded = load_from(&world, Path::new(MAIN)).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    assert_eq!(loaded.config.services.len(), 2);
}

#[test]
fn the_reference_lists_every_key_and_is_current() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let mut committed = std::fs::read_to_string(&page).expect("docs/configuration.md");
    let drawn = reference_markdown();
    if std::env::var_os("GUICHET_UPDATE_DOCS").is_some() {
        let head = committed.find(REFERENCE_BEGIN).expect("the line that begins the reference") + REFERENCE_BEGIN.len();
        committed.truncate(head);
        committed.push_str(&drawn);
        std::fs::write(&page, &committed).expect("docs/configuration.md can be written");
    }
    assert!(
        committed.split(REFERENCE_BEGIN).nth(1) == Some(drawn.as_str()),
        "docs/configuration.md is not what the schema says: run `cargo xtask docs`"
    );
    let mut keys = 0;
    each_key(&schema(), &mut |key| {
        keys += 1;
        assert!(drawn.contains(&format!("`{key}`")) || drawn.contains(key), "{key} is not in the reference");
    });
    assert!(keys > 100, "{keys} keys: the schema was not walked");
}

fn each_key(schema: &serde_json::Value, see: &mut dyn FnMut(&str)) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        for (key, property) in properties {
            see(key);
            assert!(property.get("description").is_some(), "{key} is not explained: give its field a comment");
        }
    }
    for part in schema.get("$defs").and_then(|d| d.as_object()).into_iter().flatten() {
        each_key(part.1, see);
    }
}

#[test]
fn differences_say_what_needs_a_restart() {
    let old = good();
    assert_eq!(Config::diff(&old, &good()), []);
    let reload = |what: &str| Change { what: what.into(), effect: Effect::Reload };
    let restart = |what: &str| Change { what: what.into(), effect: Effect::Restart };
    for (old_text, new_text, expected) in [
        ("workers = 2", "workers = 3", vec![restart("node.workers")]),
        ("drain_s = 30", "drain_s = 31", vec![reload("node.drain_s")]),
        ("127.0.0.1:8444", "127.0.0.1:8445", vec![restart("admin.listen")]),
        ("0.0.0.0:8080", "0.0.0.0:8081", vec![restart("listener plain address, protocol or backlog")]),
        (
            "name = \"plain\"",
            "name = \"open\"",
            vec![restart("listener plain (removed)"), restart("listener open (added)")],
        ),
        ("partner_ca =", "http2 = false\npartner_ca =", vec![reload("listener tls")]),
        ("header_ms = 8000", "header_ms = 9000", vec![reload("limits")]),
        ("length = 64", "length = 65", vec![reload("service.portal")]),
        ("127.0.0.1:9101", "127.0.0.1:9102", vec![reload("upstream.portal")]),
        ("CN=atm", "CN=atm2", vec![reload("partner.atm")]),
        // Positions move when an upstream is added before others; that alone changes no service.
        (
            "[upstream.portal]",
            "[upstream.first]\nservers = [\"x:1\"]\n[service.first]\nhosts = [\"x.example.org\"]\nupstream = \"first\"\n[upstream.portal]",
            vec![reload("upstream.first (added)"), reload("service.first (added)")],
        ),
    ] {
        assert_eq!(Config::diff(&old, &with(old_text, new_text)), expected, "{new_text}");
    }
}
