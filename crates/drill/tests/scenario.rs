//! Scenarios: what is refused and how it is said; that the shipped ones are fine; that a schedule follows from its seed.

use guichet_drill::plan::Plan;
use guichet_drill::scenario::{Kind, Scenario};
use std::path::Path;

const GOOD: &str = r#"name = "t"
description = "d"
mixed_sources = false
phases = { before_s = 1, attack_s = 2, after_s = 1 }
[limits]
attack_per_s_max = 500
attack_requests_max = 900
[[population]]
name = "visitors"
kind = "visitor"
service = "portal"
ops = { home = 5, search = 1 }
arrivals = { per_s = 20 }
sources = { range = "127.20.0.0/16", count = 10 }
[[population]]
name = "bots"
kind = "attacker"
targets = ["portal/search"]
arrivals = { per_s = 100 }
sources = { range = "127.90.0.0/16", count = 10 }
[[expect]]
service = "portal"
relative_min = 0.9
"#;

fn checked(text: &str) -> Scenario {
    Scenario::parse(text, Path::new("test.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Replaces `from` by `to` in a good scenario and expects one problem that names line, field, cause and mend.
fn check(from: &str, to: &str, line: usize, field: &str, cause: &str, mend: &str) {
    assert!(GOOD.contains(from), "the table is out of date: {from}");
    let text = GOOD.replacen(from, to, 1);
    let problems = Scenario::parse(&text, Path::new("drills/t.toml")).expect_err(to);
    let said = problems.to_string();
    let problem = &problems.list[0];
    assert_eq!((problem.line, problem.field.as_str()), (line, field), "{said}");
    assert!(problem.cause.contains(cause) && problem.mend.contains(mend), "{said}");
    assert!(said.starts_with(&format!("drills/t.toml:{line}: ")), "{said}");
}

#[test]
fn a_good_scenario_is_taken() {
    let scenario = checked(GOOD);
    assert_eq!((scenario.real.len(), scenario.waves.len(), scenario.expects.len()), (1, 1, 1));
    assert_eq!((scenario.waves[0].from_ms, scenario.waves[0].until_ms), (1000, 3000));
}

#[test]
fn wrong_figures_are_refused() {
    let p = "phases = { before_s = 1, attack_s = 2, after_s = 1 }";
    check(p, "phases = { before_s = 1, attack_s = 0, after_s = 1 }", 4, "phases.attack_s", "0 s", "1 to 600");
    check(p, "phases = { before_s = -1, attack_s = 2, after_s = 1 }", 4, "phases.before_s", "-1 s", "0 to 600");
    check(p, "phases = { before_s = 300, attack_s = 300, after_s = 1 }", 4, "phases", "601 s", "600 s");
    check("attack_per_s_max = 500", "attack_per_s_max = 50000", 6, "limits.attack_per_s_max", "50000", "20000");
    check("attack_per_s_max = 500", "attack_per_s_max = 99", 6, "limits.attack_per_s_max", "reaches 100", "lower");
    check(
        "attack_requests_max = 900",
        "attack_requests_max = 100",
        7,
        "limits.attack_requests_max",
        "makes 200",
        "shorten",
    );
    check(
        "arrivals = { per_s = 20 }",
        "arrivals = { per_s = -1 }",
        13,
        "population[0].arrivals",
        "-1 a second",
        "0 to",
    );
    check("arrivals = { per_s = 20 }", "arrivals = { }", 13, "population[0].arrivals", "no rate", "per_source_per_s");
    check("per_s = 20 }", "per_s = 20, per_source_per_s = 1 }", 13, "population[0].arrivals", "or two", "one of");
    check("per_s = 20 }", "per_s = 20, shape = \"pulse\" }", 13, "population[0].arrivals", "pulse", "on_s");
    check(
        "per_s = 20 }",
        "per_s = 20, on_s = 1 }",
        13,
        "population[0].arrivals",
        "belong to a pulse",
        "leave them out",
    );
    check("search = 1 }", "search = 0 }", 12, "population[0].ops.search", "weight 0", "above 0");
    check(
        "service = \"portal\"\nops",
        "deadline_ms = 5\nservice = \"portal\"\nops",
        11,
        "population[0].deadline_ms",
        "5",
        "10 to",
    );
    check(
        "service = \"portal\"\nops",
        "from_s = 9\nservice = \"portal\"\nops",
        11,
        "population[0].from_s",
        "from 9",
        "before until",
    );
    check("relative_min = 0.9", "relative_min = 9", 23, "expect[0].relative_min", "share", "0 to 1");
    check("relative_min = 0.9", "", 21, "expect[0]", "expects nothing", "relative_min");
}

#[test]
fn wrong_names_are_refused() {
    check("service = \"portal\"\nops", "service = \"portail\"\nops", 11, "population[0].service", "portail", "portal");
    check(
        "service = \"portal\"\nops",
        "service = \"rails\"\nops",
        11,
        "population[0].service",
        "not for this kind",
        "partners",
    );
    check("home = 5", "hom = 5", 12, "population[0].ops.hom", "no operation", "home");
    check("portal/search\"", "portal/serch\"", 18, "population[1].targets", "serch", "search");
    check("portal/search\"", "example.org\"", 18, "population[1].targets", "no target", "service/op");
    check("name = \"bots\"", "name = \"visitors\"", 16, "population[1].name", "stands twice", "its own");
    check(
        "service = \"portal\"\nrelative",
        "service = \"all\"\nrelative",
        22,
        "expect[0].service",
        "not known",
        "portal",
    );
    check("name = \"t\"", "nmae = \"t\"", 1, "", "unknown field", "docs/drills.md");
    check("kind = \"visitor\"", "kind = \"vistor\"", 10, "", "unknown variant", "docs/drills.md");
    check("description = \"d\"", "description = ", 2, "", "", "docs/drills.md");
    check(
        "targets = [\"portal/search\"]",
        "targets = [\"portal/search\"]\nthink_ms = {}",
        19,
        "population[1].think_ms",
        "no meaning",
        "leave it out",
    );
    check("ops = { home = 5", "burst = 3\nops = { home = 5", 12, "population[0].burst", "no meaning", "leave it out");
}

#[test]
fn nothing_but_loopback_and_its_own_networks() {
    check("127.90.0.0/16", "198.51.100.0/24", 20, "population[1].sources", "not within 127.0.0.0/8", "loopback");
    check("127.90.0.0/16", "0.0.0.0/0", 20, "population[1].sources", "not within 127.0.0.0/8", "loopback");
    check("127.90.0.0/16", "127.20.0.0/16", 20, "population[1].sources", "shares a /24", "mixed_sources");
    check("count = 10 }\n[[pop", "count = 70000 }\n[[pop", 14, "population[0].sources", "70000", "20000");
    let mixed = GOOD.replace("127.90.0.0", "127.20.0.0").replace("mixed_sources = false", "mixed_sources = true");
    checked(&mixed);
}

#[test]
fn behaviours_need_their_transport() {
    let bots = "targets = [\"portal/search\"]";
    for (behaviour, transport, cause) in [
        ("rapid-reset", "http1", "needs HTTP/2"),
        ("handshake-flood", "http1", "needs TLS"),
        ("slow-header", "tls-http2", "HTTP/1.1"),
    ] {
        let to = format!("{bots}\nbehaviour = \"{behaviour}\"\nburst = 1\ntransport = \"{transport}\"");
        check(bots, &to, 21, "population[1].transport", cause, "say");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = GOOD.replace("home = 5", "hom = 5").replace("127.90.0.0/16", "10.0.0.0/8").replace("0.9", "9");
    let problems = Scenario::parse(&text, Path::new("t.toml")).unwrap_err();
    assert_eq!(problems.list.len(), 3, "{problems}");
}

#[test]
fn an_adapting_attacker_is_cut_into_windows() {
    let bots = "targets = [\"portal/search\"]";
    let adapt = "sources = { range = \"127.90.0.0/16\", count = 10 }\n";
    let text = GOOD.replace(bots, &format!("{bots}\nfrom_s = 0\nuntil_s = 1.5")).replace(
        adapt,
        &format!(
            "{adapt}[population.adapt]\nevery_s = 0.5\n[[population.adapt.variant]]\ntargets = [\"bank/login\"]\n"
        ),
    );
    let scenario = checked(&text);
    let windows: Vec<_> = scenario
        .waves
        .iter()
        .map(|w| (w.name.as_str(), w.from_ms, w.until_ms, w.offset_ms, w.targets[0].service))
        .collect();
    assert_eq!(
        windows,
        [
            ("bots#1", 1000, 1500, 0, "portal"),
            ("bots#2", 1500, 2000, 500, "bank"),
            ("bots#3", 2000, 2500, 1000, "portal")
        ]
    );
    // One after the other, not at once: ten connections, and the visitors'.
    assert!(scenario.connections_max() < 10 + 300, "{}", scenario.connections_max());
}

#[test]
fn a_schedule_follows_from_its_seed() {
    let scenario = checked(GOOD);
    let plan = Plan::draw(&scenario, 7).unwrap();
    assert_eq!(plan, Plan::draw(&scenario, 7).unwrap());
    assert_ne!(plan, Plan::draw(&scenario, 8).unwrap());
    assert!(plan.requests.len() > 50);
    assert!(plan.requests.windows(2).all(|w| w[0].at_us <= w[1].at_us));
    assert!(plan.requests.iter().all(|r| r.at_us < 4_000_000));
    // Each person leaves at the end of a session, and only then.
    let last = plan.requests.iter().rposition(|r| r.person == plan.requests[0].person).unwrap();
    assert!(plan.requests[last].leaves);
    // Another population does not reshuffle this one.
    let more = GOOD.replace(
        "[[expect]]",
        "[[population]]\nname = \"app\"\nkind = \"app\"\nservice = \"app\"\nops = { home = 1 }\n\
        arrivals = { per_s = 3 }\nsources = { range = \"127.30.0.0/16\", count = 5 }\n[[expect]]",
    );
    let both = checked(&more);
    let wider = Plan::draw(&both, 7).unwrap();
    let first: Vec<_> =
        wider.requests.iter().filter(|r| wider.persons[r.person as usize].population == 0).cloned().collect();
    assert_eq!(first, plan.requests);
}

#[test]
fn some_come_back_and_some_are_new() {
    let scenario = checked(&GOOD.replace("attack_s = 2", "attack_s = 40").replace("= 900", "= 9000"));
    let plan = Plan::draw(&scenario, 7).unwrap();
    let mut sessions = vec![0; plan.persons.len()];
    for request in plan.requests.iter().filter(|r| r.leaves) {
        sessions[request.person as usize] += 1;
    }
    let back = sessions.iter().filter(|n| **n > 1).count();
    assert!(back > 20 && back < plan.persons.len(), "{back} of {}", plan.persons.len());
}

#[test]
fn shipped_scenarios_are_fine() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") || path.ends_with("capacity.toml") {
            continue;
        }
        let scenario = Scenario::read(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|s| s.to_str()));
        assert!(scenario.expects.iter().any(|e| e.front == "guichet"), "{} expects nothing", path.display());
        assert!(scenario.real.iter().all(|p| p.kind != Kind::Attacker));
        // The critical work has to go on in every one of them.
        assert!(
            scenario.real.iter().any(|p| p.kind == Kind::Partner)
                && scenario.real.iter().any(|p| p.kind == Kind::Counter)
        );
        assert!(scenario.connections_max() < 19_000, "{} connections", scenario.connections_max());
        Plan::draw(&scenario, scenario.seed).unwrap();
        count += 1;
    }
    assert!(count >= 12, "{count} scenarios");
}

#[test]
fn the_reenactment_fits_six_minutes_for_five_fronts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/reenactment.toml");
    let scenario = Scenario::read(&path).unwrap();
    assert!(scenario.phases.total_ms() * 5 <= 300_000);
    let starts: Vec<_> = scenario.waves.iter().map(|w| w.from_ms).collect();
    assert!(starts.iter().min() != starts.iter().max(), "two waves");
}

#[test]
fn the_schema_names_every_key_of_a_scenario() {
    let schema = serde_json::to_string(&schemars::schema_for!(guichet_drill::scenario::RawScenario)).unwrap();
    for key in [
        "population",
        "per_source_per_s",
        "cache_busting",
        "adapt",
        "time_to_protect_ms_max",
        "rapid-reset",
        "tls-http2",
    ] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
}
