//! What a drill writes: the JSON that others read, the table, the page.

use guichet_drill::load::{AttackTally, Got, Harvest, Outcome, Record};
use guichet_drill::plan::Plan;
use guichet_drill::report;
use guichet_drill::scenario::Scenario;
use guichet_drill::score::{self, Invariant, Scoreboard};
use std::path::Path;

const TEXT: &str = concat!(
    r#"
name = "t & u"
description = "visitors <and> partners"
phases = { before_s = 2, attack_s = 6, after_s = 2 }
"#,
    include_str!("scenarios/populations.toml")
);

fn checked(text: &str) -> Scenario {
    Scenario::parse(text, Path::new("test.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn board() -> Scoreboard {
    let scenario = checked(TEXT);
    let plan = Plan::draw(&scenario, 1).unwrap();
    let oracle = vec![true; plan.requests.len()];
    let fronts = ["direct", "guichet"].map(|name| {
        let records = plan
            .requests
            .iter()
            .map(|r| {
                let down = name == "direct" && (2_000_000..8_000_000).contains(&r.at_us);
                let outcome = if down { Outcome::Refused(503) } else { Outcome::Right };
                let got = if down { Got::Error } else { Got::Right };
                Some(Record { outcome, latency_us: 5_000, got, met_refusal: down })
            })
            .collect();
        let attack =
            AttackTally { sent: 77, sent_per_s: vec![0, 0, 70, 7, 0, 0, 0, 0, 0, 0], ..AttackTally::default() };
        let mut score = score::front(name, &scenario, &plan, &oracle, &Harvest { records, attack }, None);
        let holds = |service: &str, name: &str, ok, detail: &str| Invariant {
            service: service.to_owned(),
            name: name.to_owned(),
            ok,
            detail: detail.to_owned(),
        };
        score.invariants = vec![
            holds(
                "rails",
                "no money came or went",
                name != "direct",
                if name == "direct" { "7 against it" } else { "" },
            ),
            holds("rails", "what was acknowledged is there exactly once", true, "120 looked for"),
        ];
        score
    });
    Scoreboard {
        scenario: scenario.name,
        seed: 1,
        fronts: fronts.into(),
        description: scenario.description,
        phases_ms: [2000, 6000, 2000],
        expected: 1,
        failed: vec!["guichet: something".to_owned()],
        notes: vec!["a note".to_owned()],
    }
}

#[test]
fn json_has_the_agreed_shape() {
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&board()).unwrap()).unwrap();
    assert_eq!((json["scenario"].as_str(), json["seed"].as_u64()), (Some("t & u"), Some(1)));
    let fronts = json["fronts"].as_array().unwrap();
    let names: Vec<_> = fronts.iter().map(|f| f["front"].as_str().unwrap()).collect();
    assert_eq!(names, ["direct", "guichet"]);
    assert!(fronts[0]["time_to_protect_ms"].is_null());
    assert_eq!(fronts[1]["time_to_protect_ms"], 0);
    for front in fronts {
        let rows = front["services"].as_array().unwrap();
        let phases: Vec<_> =
            rows.iter().map(|r| (r["service"].as_str().unwrap(), r["phase"].as_str().unwrap())).collect();
        let expected: Vec<_> =
            ["portal", "rails"].iter().flat_map(|s| ["before", "attack", "after"].map(|p| (*s, p))).collect();
        assert_eq!(phases, expected);
        for row in rows {
            for key in ["offered", "ok", "goodput", "oracle", "relative", "refused_real"] {
                assert!(row[key].is_number(), "{key} in {row}");
            }
            for key in ["p50_ms", "p99_ms"] {
                assert!(row[key].is_number() == (row["ok"].as_u64() > Some(0)), "{key} in {row}");
            }
        }
        assert_eq!(rows[3]["criticality"], "critical");
        assert_eq!(front["attack"]["sent"], 77);
        assert_eq!(front["steady"].as_array().unwrap().len(), 2);
        let operations = front["operations"].as_array().unwrap();
        let done: Vec<_> =
            operations.iter().map(|o| (o["service"].as_str().unwrap(), o["operation"].as_str().unwrap())).collect();
        assert_eq!(done, [("portal", "home"), ("rails", "card")]);
        assert_eq!(
            (operations[1]["what"].as_str(), operations[1]["phase"].as_str()),
            (Some("pay by card"), Some("attack"))
        );
        assert_eq!(operations[1]["offered"], rows[4]["offered"], "one operation is all there is of this service");
        assert_eq!(front["invariants"][0]["ok"].as_bool(), Some(front["front"] != "direct"));
    }
    let attack = &fronts[0]["services"][1];
    assert_eq!((attack["ok"].as_u64(), attack["relative"].as_f64()), (Some(0), Some(0.0)));
    assert_eq!(attack["offered"], attack["refused_real"]);
}

#[test]
fn the_table_has_fronts_as_columns() {
    let text = report::table::render(&board());
    for part in ["direct", "guichet", "portal", "rails", "never", "0.0 %", "100.0 %", "guichet: something"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    for part in [
        "pay by card",
        "after direct: 1 invariants of the estate hold, 1 broken",
        "after guichet: 2 invariants of the estate hold, 0 broken; acknowledged and there exactly once: rails 120",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let boxed: Vec<_> = text.lines().filter(|l| l.starts_with(['┌', '│', '├', '└'])).collect();
    let tables: Vec<_> = boxed.split_inclusive(|l| l.starts_with('└')).collect();
    assert_eq!(tables.len(), 2, "services, and what people came for: {text}");
    for table in tables {
        let widths: std::collections::BTreeSet<_> = table.iter().map(|l| l.chars().count()).collect();
        assert_eq!(widths.len(), 1, "{text}");
    }
}

#[test]
fn the_page_claims_only_what_was_asked() {
    for (expected, failed, says) in [
        (0, vec![], "expects nothing of these fronts"),
        (2, vec![], "Every expectation of the scenario held"),
        (2, vec!["guichet: rails is down".to_owned()], "guichet: rails is down"),
    ] {
        let page = report::html::render(&Scoreboard { expected, failed, ..board() });
        assert!(page.contains(says), "{says}");
        assert_eq!(page.contains("expectation of the scenario held"), says.contains("held"));
    }
}

#[test]
fn the_page_holds_everything_and_needs_nothing() {
    let page = report::html::render(&board());
    for front in ["direct", "guichet"] {
        assert!(page.matches(front).count() >= 5, "{front}");
    }
    assert!(page.contains("t &amp; u") && page.contains("visitors &lt;and&gt; partners"));
    assert!(!page.contains("<and>"));
    for outside in ["http://", "https://", "<script", "<link", "url(", "@import", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("no: 7 against it") && page.contains("yes: 120 looked for") && page.contains("pay by card"));
    // Goodput and latency for each of two services, and the attack: each with title and description.
    assert_eq!(page.matches("role=\"img\"").count(), 5);
    assert_eq!(page.matches("<desc id=").count(), 5);
    let ids: Vec<_> = page.match_indices(" id=\"").map(|(at, _)| page[at + 5..].split('"').next().unwrap()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "ids are unique");
    for (open, close) in [("<table", "</table>"), ("<svg", "</svg>"), ("<section", "</section>"), ("<tr>", "</tr>")] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
    assert!(page.contains("prefers-color-scheme:dark"));
}
