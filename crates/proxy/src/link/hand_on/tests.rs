use std::sync::Arc;
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::bounds::{HAND_ON_ENDED_MAX, HAND_ON_ROUTES_MAX};
use proptest::prelude::*;

use super::book::{Book, State, Wanted};
use super::journal::{self, Outstanding};
use super::route::{Protocol, Route, Then};
use super::tell::{Untold, tell};
use crate::config::{HandOn, HandOnAction, HandOnWay};

fn route(to: &str, from: &str, protocol: Option<Protocol>, port: Option<u16>, then: Then) -> Route {
    let from = (!from.is_empty()).then(|| from.parse().unwrap());
    Route { to: to.parse().unwrap(), from, protocol, port, then }
}

fn blackhole(next_hop: &str) -> Then {
    Then::Blackhole { next_hop: next_hop.parse().unwrap() }
}

#[test]
fn only_what_is_ours_is_announced_and_nobody_who_is_allowed_is_named() {
    use Protocol::{Icmp, Tcp, Udp};
    let own = ["192.0.2.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap());
    let spared = ["198.51.100.0/24", "2001:db9::/32"].map(|text| text.parse().unwrap());
    let check = |to: &str, from: &str, protocol, port, then, refused: &str| {
        let route = route(to, from, protocol, port, then);
        match route.check(&own, &spared) {
            Ok(()) => assert_eq!(refused, "", "{route} is let through"),
            Err(why) => assert!(!refused.is_empty() && why.contains(refused), "{route}: {why}"),
        }
    };
    let (hole, hole6, discard) = (blackhole("10.0.0.1"), blackhole("fe80::1"), Then::Discard);
    check("192.0.2.10/32", "", None, None, hole, "");
    check("2001:db8::1/128", "", None, None, hole6, "");
    check("192.0.2.10/32", "203.0.113.0/24", Some(Tcp), Some(443), discard, "");
    check("192.0.2.10/32", "", Some(Udp), None, Then::Limit { bytes_per_s: 1000 }, "");
    check("192.0.2.10/32", "", Some(Icmp), None, discard, "");
    check("192.0.3.10/32", "", None, None, hole, "not in [link] own");
    check("192.0.0.0/16", "", None, None, hole, "not in [link] own");
    check("0.0.0.0/0", "", None, None, hole, "not in [link] own");
    check("::/0", "", None, None, hole6, "not in [link] own");
    check("192.0.2.10/32", "0.0.0.0/0", None, None, discard, "too much of the world");
    check("192.0.2.10/32", "200.0.0.0/7", None, None, discard, "too much of the world");
    check("2001:db8::1/128", "2002::/15", None, None, discard, "too much of the world");
    check("192.0.2.10/32", "198.51.100.7/32", None, None, discard, "allowed whatever it does");
    check("192.0.2.10/32", "198.51.0.0/16", None, None, discard, "allowed whatever it does");
    check("192.0.2.10/32", "192.0.2.0/28", None, None, discard, "our own");
    check("192.0.2.10/32", "2001:dba::/48", None, None, discard, "not of one kind");
    check("192.0.2.10/32", "", None, None, hole6, "not of one kind");
    check("192.0.2.10/32", "203.0.113.0/24", None, None, hole, "only the destination");
    check("192.0.2.10/32", "", None, None, discard, "a source or a protocol");
    check("192.0.2.10/32", "203.0.113.0/24", Some(Icmp), Some(80), discard, "needs tcp or udp");
}

#[test]
fn each_daemon_is_spoken_to_in_its_words() {
    let check = |route: Route, announce, gobgp: &str, exabgp: &str| {
        assert_eq!(route.gobgp(announce).join(" "), gobgp);
        assert_eq!(route.exabgp(announce), exabgp);
    };
    let hole = route("192.0.2.10/32", "", None, None, blackhole("10.0.0.1"));
    check(
        hole.clone(),
        true,
        "global rib add -a ipv4 192.0.2.10/32 nexthop 10.0.0.1 community 65535:666",
        "announce route 192.0.2.10/32 next-hop 10.0.0.1 community [65535:666]",
    );
    check(
        hole,
        false,
        "global rib del -a ipv4 192.0.2.10/32",
        "withdraw route 192.0.2.10/32 next-hop 10.0.0.1 community [65535:666]",
    );
    check(
        route("192.0.2.10/32", "203.0.113.0/24", Some(Protocol::Tcp), Some(443), Then::Discard),
        true,
        "global rib add -a ipv4-flowspec match destination 192.0.2.10/32 source 203.0.113.0/24 protocol tcp destination-port ==443 then discard",
        "announce flow route { match { destination 192.0.2.10/32; source 203.0.113.0/24; protocol =tcp; destination-port =443; } then { discard; } }",
    );
    check(
        route("2001:db8::1/128", "", Some(Protocol::Icmp), None, Then::Limit { bytes_per_s: 125_000 }),
        false,
        "global rib del -a ipv6-flowspec match destination 2001:db8::1/128 protocol 58 then rate-limit 125000",
        "withdraw flow route { match { destination 2001:db8::1/128; next-header =58; } then { rate-limit 125000; } }",
    );
}

fn target(confirm: bool, dry_run: bool) -> Arc<HandOn> {
    Arc::new(HandOn {
        name: "provider".into(),
        way: HandOnWay::Command(vec!["true".into()]),
        action: HandOnAction::Discard,
        propose_for: Vec::new(),
        ttl: Duration::from_secs(600),
        stay: Duration::from_secs(60),
        routes_max: 3,
        confirm,
        dry_run,
    })
}

fn wanted(target: &Arc<HandOn>, n: u8) -> Wanted {
    Wanted {
        target: target.clone(),
        route: route("192.0.2.10/32", &format!("203.0.113.{n}/32"), Some(Protocol::Tcp), None, Then::Discard),
        because: String::new(),
        with_verdict: true,
        stands: None,
        by_itself: true,
    }
}

fn at(s: u64) -> Moment {
    Moment(s * 1_000_000)
}

/// Does all that is due, with this outcome; how many announcements and withdrawals there were.
fn work(book: &mut Book, s: u64, outcome: &Result<(), Untold>) -> (usize, usize) {
    let jobs = book.due(at(s));
    for job in &jobs {
        book.done(job.id, job.announce, outcome.clone(), at(s));
    }
    let announced = jobs.iter().filter(|job| job.announce).count();
    (announced, jobs.len() - announced)
}

fn state(book: &Book, id: u32) -> State {
    book.find(id).unwrap().state
}

#[test]
fn a_route_waits_for_the_operator_stands_and_ends_by_itself() {
    let (mut book, target) = (Book::default(), target(true, false));
    let id = book.propose(wanted(&target, 1), at(0)).unwrap();
    assert_eq!(book.propose(wanted(&target, 1), at(1)), Ok(id), "the same is not proposed twice");
    assert_eq!(work(&mut book, 1, &Ok(())), (0, 0), "nothing is told before it is confirmed");
    assert!(book.outstanding().is_empty());
    assert!(book.confirm(id, at(2)));
    assert_eq!(book.outstanding().len(), 1, "in the journal before the target is told");
    assert_eq!(work(&mut book, 2, &Ok(())), (1, 0));
    assert_eq!(state(&book, id), State::Standing);
    book.tick(at(601), true, |_| true);
    assert_eq!(state(&book, id), State::Standing);
    assert!(book.confirm(id, at(601)), "asked for again, it stands as long again");
    book.tick(at(1200), true, |_| true);
    assert_eq!(state(&book, id), State::Standing);
    book.tick(at(1201), true, |_| true);
    assert_eq!(book.outstanding().len(), 1, "until it is withdrawn in truth");
    assert_eq!(work(&mut book, 1201, &Ok(())), (0, 1));
    assert_eq!(state(&book, id), State::Ended);
    assert!(book.outstanding().is_empty() && book.is_settled());
}

#[test]
fn a_route_ends_with_the_verdict_but_stays_for_a_while_and_goes_with_its_permission() {
    let (mut book, target) = (Book::default(), target(false, false));
    let id = book.propose(wanted(&target, 1), at(0)).unwrap();
    assert_eq!(work(&mut book, 0, &Ok(())), (1, 0), "the configuration waives the operator's word");
    book.tick(at(59), false, |_| true);
    assert_eq!(state(&book, id), State::Standing);
    book.tick(at(60), false, |_| true);
    assert_eq!(work(&mut book, 60, &Ok(())), (0, 1));
    let id = book.propose(wanted(&target, 2), at(61)).unwrap();
    work(&mut book, 61, &Ok(()));
    book.tick(at(62), true, |_| false);
    assert_eq!(state(&book, id), State::Withdrawing, "a reload took the permission away");
}

#[test]
fn what_fails_is_withdrawn_where_it_may_have_been_heard_and_tried_again() {
    let (mut book, target) = (Book::default(), target(false, false));
    let failed = |maybe| Err(Untold { why: "away".into(), maybe });
    let id = book.propose(wanted(&target, 1), at(0)).unwrap();
    work(&mut book, 0, &failed(false));
    assert_eq!(state(&book, id), State::Ended, "nobody heard it");
    let id = book.propose(wanted(&target, 2), at(0)).unwrap();
    work(&mut book, 0, &failed(true));
    assert_eq!(state(&book, id), State::Withdrawing);
    let mut tries = 0;
    for s in 1..=600 {
        tries += work(&mut book, s, &failed(true)).1;
    }
    assert!((10..20).contains(&tries), "{tries} tries in ten minutes");
    assert_eq!(book.outstanding().len(), 1);
    assert!(book.troubles()[0].contains("could not be withdrawn at provider: away"), "{:?}", book.troubles());
    assert_eq!(work(&mut book, 700, &Ok(())), (0, 1));
    assert!(book.troubles().is_empty() && book.outstanding().is_empty());
}

#[test]
fn an_order_to_withdraw_beats_an_announcement_under_way() {
    let (mut book, target) = (Book::default(), target(false, false));
    let id = book.propose(wanted(&target, 1), at(0)).unwrap();
    let jobs = book.due(at(0));
    assert_eq!(jobs.len(), 1);
    assert!(book.withdraw(id, "operator", at(0)));
    assert!(book.due(at(0)).is_empty(), "one thing at a time");
    book.done(id, true, Ok(()), at(1));
    assert_eq!(work(&mut book, 1, &Ok(())), (0, 1));
    assert_eq!(state(&book, id), State::Ended);
    let again = book.propose(wanted(&target, 1), at(2));
    assert!(again.is_err(), "what the operator took back does not come back by itself");
    let by_hand = Wanted { by_itself: false, ..wanted(&target, 1) };
    assert!(book.propose(by_hand, at(2)).is_ok());
    book.withdraw_all("end", at(3));
    work(&mut book, 3, &Ok(()));
    assert!(book.propose(wanted(&target, 1), at(604)).is_ok(), "after a while it may");
}

#[test]
fn targets_and_tables_have_their_bounds() {
    let (mut book, one) = (Book::default(), target(true, false));
    for n in 0..3 {
        book.propose(wanted(&one, n), at(0)).unwrap();
    }
    let error = book.propose(wanted(&one, 3), at(0)).unwrap_err();
    assert!(error.contains("3 routes (routes_max)"), "{error}");
    let wide = Arc::new(HandOn { routes_max: usize::MAX, name: "wide".into(), ..(*one).clone() });
    let many = |n: usize| Wanted {
        route: route("192.0.2.10/32", &format!("10.{}.{}.0/24", n / 256, n % 256), None, None, Then::Discard),
        ..wanted(&wide, 0)
    };
    for n in 0..HAND_ON_ROUTES_MAX - 3 {
        book.propose(many(n), at(0)).unwrap();
    }
    assert!(book.propose(many(HAND_ON_ROUTES_MAX), at(0)).is_err());
    book.tick(at(600), true, |_| true);
    assert_eq!(book.views(at(600)).len(), HAND_ON_ENDED_MAX, "proposals are forgotten after ten minutes");
}

#[test]
fn the_journal_tells_the_next_start_what_to_withdraw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-on.json");
    assert_eq!(journal::read(&path), Ok(Vec::new()));
    let target = target(false, false);
    let mut book = Book::default();
    book.propose(wanted(&target, 1), at(0)).unwrap();
    book.propose(
        Wanted { route: route("2001:db8::1/128", "", None, None, blackhole("fe80::1")), ..wanted(&target, 0) },
        at(0),
    )
    .unwrap();
    let outstanding: Vec<Outstanding> = book.outstanding();
    journal::write(&path, &outstanding).unwrap();
    let left = journal::read(&path).unwrap();
    assert_eq!(left, outstanding);
    let mut book = Book::after(left, |_| target.clone(), at(0));
    assert_eq!(book.outstanding(), outstanding, "still in the journal until they are gone");
    assert_eq!(work(&mut book, 0, &Ok(())), (0, 2));
    assert!(book.outstanding().is_empty());
    std::fs::write(&path, "[{\"half\"").unwrap();
    assert!(journal::read(&path).unwrap_err().contains("cannot be read"));
    let nowhere = folder.path().join("no/such/folder/file");
    assert!(journal::write(&nowhere, &[]).unwrap_err().contains("cannot be written"));
}

#[tokio::test]
async fn programs_are_run_without_a_shell_and_their_failure_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let route = route("192.0.2.10/32", "203.0.113.0/24", Some(Protocol::Tcp), Some(443), Then::Discard);
    let command = |argv: &[&str]| HandOnWay::Command(argv.iter().map(|word| (*word).to_owned()).collect());
    tell(&command(&["tee", &out]), true, &route, 7, 60).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(told["event"], "announce");
    assert_eq!(told["source"], "203.0.113.0/24");
    assert_eq!((told["id"].as_u64(), told["port"].as_u64(), told["for_s"].as_u64()), (Some(7), Some(443), Some(60)));
    let error = tell(&command(&["sh", "-c", "echo no room >&2; exit 3"]), true, &route, 7, 60).await.unwrap_err();
    assert!(error.why.contains("no room") && error.maybe, "{error:?}");
    let error = tell(&command(&["/no/such/program"]), true, &route, 7, 60).await.unwrap_err();
    assert!(!error.maybe, "{error:?}");
    tell(&command(&["echo", "$(touch", &format!("{out}2)")]), true, &route, 7, 60).await.unwrap();
    assert!(!std::path::Path::new(&format!("{out}2")).exists());
}

#[derive(Debug, Clone)]
enum Step {
    Propose(u8),
    Confirm(u32),
    Withdraw(u32),
    Work(u8),
    Tick(u64, bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8).prop_map(Step::Propose),
        (0..12_u32).prop_map(Step::Confirm),
        (0..12_u32).prop_map(Step::Withdraw),
        (0..3_u8).prop_map(Step::Work),
        (0..400_u64, any::<bool>()).prop_map(|(s, full)| Step::Tick(s, full)),
    ]
}

proptest! {
    /// A target that is told counts what it holds: whatever is done, it holds nothing that the journal does not name,
    /// and nothing at all once everything was withdrawn.
    #[test]
    fn nothing_stands_that_the_journal_does_not_name(confirm in any::<bool>(), steps in proptest::collection::vec(any_step(), 0..80)) {
        let (mut book, target) = (Book::default(), target(confirm, false));
        let mut holds: Vec<Route> = Vec::new();
        let mut now = 0;
        let work = |book: &mut Book, now, how: u8, holds: &mut Vec<Route>| {
            for job in book.due(at(now)) {
                let heard = how < 2;
                if heard {
                    holds.retain(|route| *route != job.route);
                    if job.announce {
                        holds.push(job.route.clone());
                    }
                }
                let outcome = if how == 0 { Ok(()) } else { Err(Untold { why: String::new(), maybe: heard }) };
                book.done(job.id, job.announce, outcome, at(now));
            }
        };
        for step in steps {
            match step {
                Step::Propose(n) => drop(book.propose(wanted(&target, n), at(now))),
                Step::Confirm(id) => drop(book.confirm(id, at(now))),
                Step::Withdraw(id) => drop(book.withdraw(id, "operator", at(now))),
                Step::Work(how) => work(&mut book, now, how, &mut holds),
                Step::Tick(s, full) => {
                    now += s;
                    book.tick(at(now), full, |_| true);
                }
            }
            let named = book.outstanding();
            prop_assert!(holds.iter().all(|route| named.iter().any(|one| one.route == *route)));
            prop_assert!(named.len() <= target.routes_max);
        }
        book.withdraw_all("the node ends", at(now));
        work(&mut book, now + 100, 0, &mut holds);
        work(&mut book, now + 200, 0, &mut holds);
        prop_assert!(holds.is_empty() && book.outstanding().is_empty());
    }
}
