//! Faults in scenarios: what is refused, and what the report tells of those who came meanwhile.

use guichet_drill::load::{AttackTally, Got, Harvest, Outcome, Record};
use guichet_drill::plan::Plan;
use guichet_drill::report;
use guichet_drill::scenario::{FaultKind, Scenario};
use guichet_drill::score::{self, Scoreboard};
use guichet_drill::services::index_of;
use guichet_drill::status::{Claim, Claims, Poll};
use std::path::Path;

const TEXT: &str = concat!(
    r#"
name = "dark"
description = "a portal that is killed"
phases = { before_s = 2, attack_s = 6, after_s = 2 }
[[fault]]
service = "portal"
kind = "killed"
from_s = 1
until_s = 4
"#,
    include_str!("scenarios/populations.toml")
);

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(text, Path::new("test.toml")).map_err(|problems| problems.to_string())
}

#[test]
fn faults_are_checked() {
    let scenario = parse(TEXT).unwrap();
    let fault = scenario.faults[0];
    assert_eq!((fault.kind, fault.from_ms, fault.until_ms), (FaultKind::Killed, 3000, 6000));
    let kind = |kind: &str| parse(&TEXT.replace("kind = \"killed\"", kind)).map(|scenario| scenario.faults[0].kind);
    for (text, expected) in [
        ("kind = \"frozen\"", FaultKind::Frozen),
        ("kind = \"slow\"\nadded_ms = 300", FaultKind::Slow(300)),
        ("kind = \"errors\"", FaultKind::Errors(1.0)),
        ("kind = \"half-dead\"", FaultKind::HalfDead(0.5)),
        ("kind = \"disk-full\"", FaultKind::DiskFull),
        ("kind = \"half-dead\"\nshare = 1", FaultKind::HalfDead(1.0)),
    ] {
        assert_eq!(kind(text), Ok(expected), "{text}");
    }
    let check = |from: &str, to: &str, words: &[&str]| {
        let told = parse(&TEXT.replacen(from, to, 1)).expect_err(to);
        for word in words {
            assert!(told.contains(word), "{word:?} is not in {told}");
        }
    };
    check("service = \"portal\"", "service = \"post\"", &["fault[0].service", "not known", "one of portal"]);
    check("kind = \"killed\"", "kind = \"slow\"", &["fault[0].added_ms", "by how much", "1 to 60000"]);
    check("kind = \"killed\"", "kind = \"slow\"\nadded_ms = 0", &["fault[0].added_ms", "0 ms"]);
    check("kind = \"killed\"", "kind = \"killed\"\nadded_ms = 5", &["fault[0].added_ms", "is for slow"]);
    check("kind = \"killed\"", "kind = \"frozen\"\nshare = 0.5", &["fault[0].share", "leave it out"]);
    check("kind = \"killed\"", "kind = \"errors\"\nshare = 1.5", &["fault[0].share", "no share"]);
    check("until_s = 4", "until_s = 9", &["fault[0].until_s", "9 s", "to 8"]);
    check("until_s = 4", "until_s = 1", &["fault[0].until_s", "give 1.5"]);
    check("from_s = 1", "from_s = -3", &["fault[0].from_s", "give -2"]);
    let second = "[[fault]]\nservice = \"portal\"\nkind = \"frozen\"\nfrom_s = 3\nuntil_s = 5\n[[population]]";
    check("[[population]]", second, &["fault[1]", "another fault at the same time"]);
    let later = TEXT.replacen("[[population]]", &second.replace("from_s = 3", "from_s = 4"), 1);
    assert_eq!(parse(&later).unwrap().faults.len(), 2, "one after the other");
    let many = "[[fault]]\nservice = \"bank\"\nkind = \"killed\"\nfrom_s = 0\nuntil_s = 1\n".repeat(16);
    check("[[population]]", &format!("{many}[[population]]"), &["17 faults", "at most 16"]);
    let expect = |more: &str| parse(&format!("{TEXT}[[expect]]\n{more}"));
    assert_eq!(expect("told_min = 0.5").unwrap().expects[0].told_min, Some(0.5));
    assert!(expect("told_min = 2").unwrap_err().contains("told_min"));
    assert_eq!(expect("status_right_ms_max = 10000").unwrap().expects[0].status_right_ms_max, Some(10_000));
    assert!(expect("status_up_share_min = 1.5").unwrap_err().contains("status_up_share_min"));
    assert!(expect("phase = \"after\"").unwrap_err().contains("one of status_*"));
}

/// A look at a page that says that the portal is down from 5 s to 9.5 s, and the rails all the time; one in ten finds nothing.
fn poll(at_ms: u64) -> Poll {
    let portal = if (5_000..9_500).contains(&at_ms) { Claim::Down } else { Claim::Works };
    let claims = Claims::of_services(&[(0, portal), (index_of("rails").unwrap(), Claim::Down)]);
    Poll { at_ms, claims: (at_ms % 1000 != 300).then_some(claims) }
}

/// A run in which visitors of the portal see `got` while it is killed.
fn board(got: Got) -> Scoreboard {
    let scenario = parse(TEXT).unwrap();
    let plan = Plan::draw(&scenario, 1).unwrap();
    let record = |at_us: u64, portal: bool| {
        let hit = portal && (3_000_000..6_000_000).contains(&at_us);
        let got = if hit { got } else { Got::Right };
        let outcome = match got {
            Got::Right | Got::Stale => Outcome::Right,
            Got::Fallback | Got::Error => Outcome::Refused(503),
            Got::Nothing => Outcome::Broken,
        };
        Some(Record { outcome, latency_us: 5_000, got, met_refusal: outcome != Outcome::Right })
    };
    let records = plan.requests.iter().map(|r| record(r.at_us, r.op.service == "portal")).collect();
    let harvest = Harvest { records, attack: AttackTally::default() };
    // The page tells of it two seconds after its onset, and four after its end that it is over.
    let polls: Vec<Poll> = (0..100).map(|i| poll(i * 100)).collect();
    let score = score::front("guichet", &scenario, &plan, &vec![true; plan.requests.len()], &harvest, Some(&polls));
    Scoreboard {
        scenario: scenario.name,
        seed: 1,
        fronts: vec![score],
        description: scenario.description,
        phases_ms: [2000, 6000, 2000],
        expected: 0,
        failed: Vec::new(),
        notes: Vec::new(),
    }
}

#[test]
fn what_visitors_got_is_told_by_fault_and_phase() {
    for (got, column, told) in [
        (Got::Right, "right", 1.0),
        (Got::Stale, "stale", 1.0),
        (Got::Fallback, "fallback", 1.0),
        (Got::Error, "error", 0.0),
        (Got::Nothing, "nothing", 0.0),
    ] {
        let board = board(got);
        let json = serde_json::to_value(&board.fronts[0].visitors).unwrap();
        let rows: Vec<_> =
            json.as_array().unwrap().iter().map(|r| (r["service"].clone(), r["phase"].clone())).collect();
        let expected = ["before", "during", "after"].map(|phase| [("portal", phase), ("others", phase)]).concat();
        assert_eq!(rows, expected.iter().map(|(s, p)| ((*s).into(), (*p).into())).collect::<Vec<_>>());
        let during = &json[2];
        assert_eq!((&during["fault"], &during["service"]), (&"portal killed".into(), &"portal".into()));
        assert!(during["offered"].as_u64() > Some(0) && during[column] == during["offered"], "{column}: {during}");
        assert_eq!(board.fronts[0].visitors[2].told(), Some(told));
        for other in [0, 1, 3, 4, 5] {
            assert_eq!(json[other]["right"], json[other]["offered"], "{}", json[other]);
        }
        let (table, page) = (report::table::render(&board), report::html::render(&board));
        assert!(table.contains("What visitors got") && table.contains("portal killed"), "{table}");
        assert!(page.contains("What visitors got") && page.contains("100.0 %"), "{page}");
    }
}

#[test]
fn the_status_page_is_judged_by_what_it_said_and_when() {
    let board = board(Got::Fallback);
    let status = board.fronts[0].status.as_ref().unwrap();
    assert_eq!((status.looks, status.up_share, status.gap_ms), (100, 0.9, 200));
    assert_eq!(status.faults.len(), 1);
    let portal = &status.faults[0];
    assert_eq!((portal.right_after_ms, portal.back_after_ms), (Some(2000), Some(3500)), "{portal:?}");
    // Nothing ails the rails, and partners are served; what is said of the portal is excused by its fault.
    let wrong: Vec<_> = status.wrong.iter().map(|wrong| wrong.service).collect();
    assert_eq!(wrong, ["rails"]);
    assert!(status.wrong[0].for_ms > 4_000, "{:?}", status.wrong);
    let json = serde_json::to_value(&board).unwrap();
    assert_eq!(json["fronts"][0]["status"]["faults"][0]["right_after_ms"], 2000);
    let (table, page) = (report::table::render(&board), report::html::render(&board));
    for text in [&table, &page] {
        assert!(text.contains("at 90.0 % of 100 looks") && text.contains("it said of rails"), "{text}");
        assert!(text.contains("2.0 s") && text.contains("3.5 s"), "{text}");
    }
}
