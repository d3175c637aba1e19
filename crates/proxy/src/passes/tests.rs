use std::sync::Arc;

use http::HeaderMap;

use super::*;

const NOW: u64 = 1_790_000_000;

fn passes() -> Passes {
    Passes::new(&[7; 32], Arc::default(), 42)
}

fn headers(agent: &str, pass: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, agent.parse().unwrap());
    if let Some(pass) = pass {
        headers.insert(http::header::COOKIE, format!("a=b; {PASS_COOKIE}={pass}").parse().unwrap());
    }
    headers
}

fn holder<'a>(address: &str, headers: &'a HeaderMap) -> Holder<'a> {
    Holder::of("portal", address.parse().unwrap(), headers)
}

#[test]
fn work_earns_a_pass_that_counts_for_its_holder_and_its_budget() {
    let passes = passes();
    let bare = headers("Firefox", None);
    let asks = holder("192.0.2.7", &bare);
    let offer = passes.offer(&asks, 0, "/suivi".into(), NOW);
    let numbers = solve(&offer.puzzle, offer.bits).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(passes.for_work(&asks, &offer.puzzle, "1,2,3,4,5,6,7,8", NOW), None, "no solution");
    let other = holder("203.0.113.7", &bare);
    assert_eq!(passes.for_work(&other, &offer.puzzle, &numbers, NOW), None, "somebody else's puzzle");
    let late = NOW + u64::from(PUZZLE_LIFE_S);
    assert_eq!(passes.for_work(&asks, &offer.puzzle, &numbers, late), None, "too late");
    let pass = passes.for_work(&asks, &offer.puzzle, &numbers, NOW + 3).expect("a pass");
    assert_eq!(Some(pass), passes.for_work(&asks, &offer.puzzle, &numbers, NOW + 9), "the same one, however often");

    let text = passes.sign(&pass);
    let with = headers("Firefox", Some(&text));
    assert!(passes.shown(&holder("192.0.2.200", &with), &with, NOW + 10).is_some(), "the same network");
    assert!(passes.shown(&holder("192.0.3.7", &with), &with, NOW + 10).is_none(), "another network");
    let chrome = headers("Chrome", Some(&text));
    assert!(passes.shown(&holder("192.0.2.7", &chrome), &chrome, NOW + 10).is_none(), "another program");
    let bank = Holder { service: "bank", ..holder("192.0.2.7", &with) };
    assert!(passes.shown(&bank, &with, NOW + 10).is_none(), "another service");
    assert!(passes.shown(&holder("192.0.2.7", &with), &with, NOW + u64::from(PASS_LIFE_S)).is_none(), "over");
    let shown = (0..1_000).filter(|_| passes.shown(&holder("192.0.2.7", &with), &with, NOW + 20).is_some()).count();
    assert_eq!(shown, usize::from(PASS_BUDGET) - 1, "the budget, less the one shown before");
}

#[test]
fn waiting_earns_a_pass_too_and_many_places_earn_no_more_than_a_share() {
    let passes = passes();
    let bare = headers("Lynx", None);
    let asks = holder("2001:db8:1:2::7", &bare);
    let offer = passes.offer(&asks, 0, String::new(), NOW);
    let wait = u64::from(offer.wait_s);
    assert_eq!(passes.for_waiting(&asks, &offer.place, NOW + 1, 1_000), Err(Some(offer.wait_s - 1)));
    assert_eq!(passes.for_waiting(&asks, "nonsense", NOW + wait, 1_000), Err(None));
    let pass = passes.for_waiting(&asks, &offer.place, NOW + wait, 1_000).expect("it is due");
    let with = headers("Lynx", Some(&passes.sign(&pass)));
    assert!(passes.shown(&holder("2001:db8:1:ffff::1", &with), &with, NOW + wait).is_some());
    let places: Vec<_> = (0..200).map(|_| passes.offer(&asks, 0, String::new(), NOW).place).collect();
    let earned = places.iter().filter(|place| passes.for_waiting(&asks, place, NOW + wait, 1_000).is_ok()).count();
    assert_eq!(earned, 29, "thirty of one network at once, with the one before");
}

#[test]
fn codes_let_in_as_often_as_they_say_and_guessing_is_held_back() {
    let passes = passes();
    let signer = TokenSigner::new(&[7; 32]);
    let counts = &passes.counts;
    let code = Passes::code(&signer, counts, 2, NOW + 7200, 99);
    let bare = headers("Safari", None);
    let asks = holder("192.0.2.7", &bare);
    assert!(passes.for_code(&asks, &code, NOW, 1_000).is_some());
    assert!(passes.for_code(&asks, &code.to_lowercase(), NOW, 1_000).is_some());
    assert_eq!(passes.for_code(&asks, &code, NOW, 1_000), None, "used up");
    let fresh = Passes::code(&signer, counts, 1, NOW + 7200, 99);
    assert_ne!(code, fresh);
    (0..20).for_each(|_| assert_eq!(passes.for_code(&asks, "AAAA-AAAA-AAAA-AAAA", NOW, 1_000), None));
    assert_eq!(passes.for_code(&asks, &fresh, NOW, 1_000), None, "tried too often");
    assert!(passes.for_code(&asks, &fresh, NOW, 60_000).is_some(), "a minute later");
    let ended = Passes::code(&signer, counts, 1, NOW, 99);
    assert_eq!(passes.for_code(&holder("198.51.100.1", &bare), &ended, NOW + 3600, 1_000), None);
}

#[test]
fn nobody_is_charged_more_for_the_load_of_others() {
    let passes = passes();
    let bare = headers("Firefox", None);
    let asks = holder("192.0.2.7", &bare);
    for _ in 0..10_000 {
        assert!(passes.offer(&asks, 3, String::new(), NOW).bits > WORK_BITS_LEAST);
    }
    assert_eq!(passes.offer(&asks, 0, String::new(), NOW).bits, WORK_BITS_LEAST);
    assert_eq!(wait_url("p", "/a?b=c&d"), format!("{PATH}wait?place=p&to=/a%3Fb%3Dc%26d"));
}

#[test]
fn a_place_is_kept_for_whoever_still_looks_and_the_pass_lives_from_its_entry_on() {
    use guichet_core::Moment;
    use guichet_core::room::RoomRules;

    let passes = passes();
    let bare = headers("Firefox", None);
    let asks = holder("192.0.2.7", &bare);
    let opened = Moment(5_000_000);
    // Three hours in a line that does not move: each look is twenty minutes after the last.
    let waiting = RoomRules::empty(opened, 0);
    let (mut text, mut first) = (String::new(), None);
    for look in 0..10_u64 {
        let now_s = NOW + look * 1_200;
        let now = opened.after(std::time::Duration::from_secs(60 + look * 1_200));
        let RoomStanding::Waits(place, ..) = passes.in_room(&asks, &[&text], &waiting, (now_s, now)) else {
            panic!("nobody enters");
        };
        assert_eq!(place.is_new, look == 0);
        assert_eq!(*first.get_or_insert(place.place), place.place, "the same place");
        text = place.text;
    }
    let late_s = NOW + 9 * 1_200 + 600;
    let moved = RoomRules::empty(opened, 60_000);
    let now = opened.after(std::time::Duration::from_secs(12_000));
    let enter = |now_s| match passes.in_room(&asks, &[&text], &moved, (now_s, now)) {
        RoomStanding::Enters(pass) => pass,
        other => panic!("{other:?}"),
    };
    let (pass, again) = (enter(late_s), enter(late_s + 5));
    assert_eq!(pass.id, again.id, "one account, one budget");
    let shown_at = |now_s| {
        let with = headers("Firefox", Some(&passes.sign(&pass)));
        passes.shown(&holder("192.0.2.7", &with), &with, now_s).is_some()
    };
    assert!(shown_at(late_s + u64::from(PASS_LIFE_S) - 1) && !shown_at(late_s + u64::from(PASS_LIFE_S)));
    // Nobody else stands at that place, and it is no place of another opening.
    let stranger = holder("203.0.113.7", &bare);
    let other = passes.in_room(&stranger, &[&text], &waiting, (late_s, now));
    assert!(matches!(other, RoomStanding::Waits(ref place, ..) if place.is_new), "{other:?}");
    let reopened = RoomRules::empty(Moment(7_000_000), 60_000);
    let other = passes.in_room(&asks, &[&text], &reopened, (late_s, now));
    assert!(matches!(other, RoomStanding::Waits(ref place, ..) if place.is_new), "{other:?}");
}

#[test]
fn where_a_room_is_about_to_open_the_page_promises_no_place_and_comes_again_soon() {
    use super::page::Frame;
    use crate::body::Body;
    use crate::pages::{Kind, Language};

    let frame = |language, kind| Frame { language, kind, service_name: "Portal", reference: None, head: false };
    let said = |response: &http::Response<Body>| match response.body() {
        Body::Full(Some(text)) => String::from_utf8(text.to_vec()).unwrap(),
        _ => panic!("a page is one piece"),
    };
    for (language, stay, keep) in [
        (Language::English, "this page goes on by itself", "You keep your place"),
        (Language::French, "cette page continue d'elle-même", "Vous gardez votre place"),
    ] {
        let page = frame(language, Kind::Html).room(&RoomStanding::Soon, "/a?b=c", true);
        assert_eq!(page.status(), 503);
        assert_eq!(page.headers()["refresh"], format!("2;url={PATH}room?to=/a%3Fb%3Dc"));
        assert_eq!(page.headers()[http::header::RETRY_AFTER], "2");
        assert!(!page.headers().contains_key(http::header::SET_COOKIE), "there is no place yet");
        assert!(said(&page).contains(stay) && !said(&page).contains(keep), "{}", said(&page));
    }
    let document = frame(Language::English, Kind::Problem).room(&RoomStanding::Soon, "", true);
    let document: serde_json::Value = serde_json::from_str(&said(&document)).unwrap();
    assert_eq!((&document["retry_after_s"], &document["waiting"]["place"]), (&2.into(), &"".into()));
    assert_eq!(document["waiting"]["wait_s"], serde_json::Value::Null);
}
