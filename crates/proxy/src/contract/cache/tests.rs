//! What is kept, for how long, within which bounds, and what becomes of it on disk.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::{Freshness, Kept, Key, Lookup, Slot, Store};
use crate::config::{Cache, Contract, Fallback, RouteCache, Words};

fn rule(ttl_s: Option<u64>) -> RouteCache {
    RouteCache {
        query: vec!["page".into()],
        ttl: ttl_s.map(Duration::from_secs),
        vary: vec![http::header::ACCEPT_LANGUAGE],
    }
}

fn contract() -> Contract {
    Contract {
        title: Words::default(),
        ways: Vec::new(),
        needs: Vec::new(),
        fallback: Fallback::Page,
        stale_if_error: Duration::from_secs(100),
        stale_while_revalidate: Duration::from_secs(10),
        read_only: false,
        failures: vec![500],
        patience: Duration::ZERO,
        down_after: Duration::from_secs(1),
        up_after: Duration::from_secs(1),
    }
}

fn lookup() -> Lookup {
    Lookup { key: "k".into(), target: "/a".parse().unwrap(), headers: HeaderMap::new(), get: true }
}

/// Keeps an answer with these fields, if it may be kept. Line ends separate fields.
fn keep(status: u16, fields: &str, ttl_s: Option<u64>, now: SystemTime) -> Option<Kept> {
    let mut response = Response::builder().status(status);
    for line in fields.lines() {
        let (name, value) = line.split_once(": ").expect("name: value");
        response = response.header(name, value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Kept::new(&lookup(), &rule(ttl_s), Some(&contract()), &head, Bytes::from_static(b"body"), now)
}

#[test]
fn what_is_kept() {
    let now = SystemTime::now();
    for (status, fields, ttl_s, kept) in [
        (200, "", Some(60), true),
        (200, "", None, false),
        (200, "cache-control: max-age=60", None, true),
        (200, "cache-control: public", None, false),
        (200, "cache-control: public", Some(60), true),
        (200, "cache-control: max-age=0", Some(60), false),
        (200, "cache-control: no-store", Some(60), false),
        (200, "cache-control: No-Cache, max-age=60", Some(60), false),
        (200, "cache-control: private, max-age=60", Some(60), false),
        (200, "cache-control: public, max-age=60\nset-cookie: a=b", Some(60), false),
        (200, "vary: accept-language, accept-encoding", Some(60), true),
        (200, "vary: host, x-forwarded-proto", Some(60), true),
        (200, "vary: cookie", Some(60), false),
        (200, "vary: accept-language\nvary: user-agent", Some(60), false),
        (200, "vary: *", Some(60), false),
        (200, "content-type: text/event-stream", Some(60), false),
        (206, "content-range: bytes 0-1/2", Some(60), false),
        (304, "", Some(60), false),
        (404, "", Some(60), true),
        (301, "location: /b", Some(60), true),
        (500, "cache-control: max-age=60", Some(60), false),
        (503, "cache-control: max-age=60", Some(60), false),
        (200, "expires: Thu, 01 Jan 1970 00:00:00 GMT", Some(60), false),
        (200, "cache-control: max-age=60\nage: 70", Some(60), false),
    ] {
        assert_eq!(keep(status, fields, ttl_s, now).is_some(), kept, "{status} {fields:?} {ttl_s:?}");
    }
}

#[test]
fn how_long_it_is_served() {
    use Freshness::{Fresh, IfError, Over, Revalidate};
    let born = SystemTime::now();
    for (fields, ages) in [
        ("cache-control: max-age=60", vec![(0, Fresh), (59, Fresh), (61, Revalidate), (71, IfError), (161, Over)]),
        ("cache-control: max-age=60\nage: 50", vec![(9, Fresh), (11, Revalidate), (21, IfError), (111, Over)]),
        ("cache-control: max-age=60, must-revalidate", vec![(59, Fresh), (61, Over)]),
        ("cache-control: s-maxage=60", vec![(59, Fresh), (61, Over)]),
        ("cache-control: s-maxage=60, stale-if-error=5", vec![(61, IfError), (66, Over)]),
        ("cache-control: max-age=60, stale-if-error=0, stale-while-revalidate=0", vec![(61, Over)]),
        ("cache-control: max-age=60, stale-while-revalidate=1000", vec![(900, Revalidate), (1061, Over)]),
    ] {
        let kept = keep(200, fields, None, born).expect("kept");
        for (age_s, expected) in ages {
            let then = born + Duration::from_secs(age_s);
            assert_eq!(kept.freshness(then), expected, "{fields}, {age_s} s later");
        }
    }
}

#[test]
fn age_is_told_and_conditions_are_answered() {
    let born = SystemTime::now();
    let fields = "cache-control: max-age=60\netag: W/\"a\"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let kept = keep(200, fields, None, born).expect("kept");
    let later = born + Duration::from_secs(30);
    let plain = kept.answer(&HeaderMap::new(), false, later, None);
    assert_eq!(plain.headers()[AGE], "30");
    assert_eq!(plain.headers()["cache-status"], "guichet; hit; ttl=30");
    let stale = kept.answer(&HeaderMap::new(), false, born + Duration::from_secs(100), Some("why"));
    assert_eq!(stale.headers()["cache-status"], "guichet; hit; ttl=-40; detail=why");
    for (name, value, status) in [
        ("if-none-match", "\"a\"", 304),
        ("if-none-match", "\"x\", W/\"a\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"b\"", 200),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT", 200),
        ("if-modified-since", "yesterday", 200),
    ] {
        let mut asked = HeaderMap::new();
        asked.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        assert_eq!(kept.answer(&asked, false, later, None).status(), status, "{name}: {value}");
    }
}

fn config(bytes_max: u64, entries_max: usize) -> Cache {
    Cache { bytes_max, entries_max, answer_bytes_max: 64 * 1024, directory: None, directory_bytes_max: 1 << 20 }
}

fn sized(bytes: usize) -> Kept {
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
    let now = SystemTime::now();
    Kept::new(&lookup(), &rule(None), None, &head, vec![b'x'; bytes].into(), now).expect("kept")
}

fn is_kept(store: &Store, key: &str) -> bool {
    matches!(store.get(&Key::from(key)), Some(Slot::Kept(..)))
}

#[test]
fn bytes_and_entries_are_bounded_and_what_is_asked_for_again_stays() {
    let store = Store::open(&config(4 << 20, 100_000));
    for round in 0..3 {
        for n in 0..20 {
            let key = format!("page {n}");
            if !is_kept(&store, &key) {
                assert!(round < 2, "{key} is lost before the flood");
                store.keep(key.as_str().into(), sized(8 * 1024));
            }
        }
    }
    // A flood of made-up queries, each asked for once, twenty times the size of the store.
    for n in 0..10_000 {
        store.keep(format!("made up {n}").as_str().into(), sized(8 * 1024));
        if n % 50 == 0 {
            (0..20).for_each(|n| drop(store.get(&format!("page {n}").as_str().into())));
        }
        assert!(store.held().0 <= 4 << 20, "{:?}", store.held());
    }
    let left = (0..20).filter(|n| is_kept(&store, &format!("page {n}"))).count();
    assert!(left >= 18, "{left} of 20 pages outlive the flood");

    let store = Store::open(&config(4 << 20, 100));
    for n in 0..1000 {
        store.keep(format!("k{n}").as_str().into(), sized(10));
        store.note_unkept(format!("u{n}").as_str().into());
    }
    assert!(store.held().1 <= 100, "{:?}", store.held());
    let none = Store::open(&config(0, 100));
    none.keep("a".into(), sized(10));
    assert!(!none.is_open() && none.get(&"a".into()).is_none());
}

#[test]
fn what_is_not_kept_is_remembered_and_hides_nothing() {
    let store = Store::open(&config(1 << 20, 100));
    store.note_unkept("a".into());
    assert!(matches!(store.get(&"a".into()), Some(Slot::Unkept(_))));
    store.keep("a".into(), sized(10));
    store.note_unkept("a".into());
    assert!(is_kept(&store, "a"), "an answer that may still be served is better than none");
}

fn until(what: &str, good: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !good() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn the_folder_gives_back_what_was_written_and_keeps_to_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Cache { directory: Some(dir.path().join("kept")), directory_bytes_max: 64 * 1024, ..config(4 << 20, 1000) };
    let store = Store::open(&config);
    for n in 0..20_u64 {
        store.keep(format!("k{n}").as_str().into(), sized(8 * 1024));
        until("written", || count(&store.counts.disk_written) == n + 1);
    }
    let files = || std::fs::read_dir(dir.path().join("kept")).unwrap().map(|file| file.unwrap());
    let bytes: u64 = files().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= 64 * 1024, "{bytes}");
    drop(store);
    let again = Store::open(&config);
    until("taken in", || count(&again.counts.disk_loaded) as usize == files().count());
    assert!(is_kept(&again, "k19") && !is_kept(&again, "k0"));
    let Some(Slot::Kept(kept, _)) = again.get(&"k19".into()) else { panic!("kept") };
    assert_eq!((kept.body.len(), kept.freshness(SystemTime::now())), (8 * 1024, Freshness::Fresh));
}

#[test]
fn no_bytes_of_a_file_are_believed_that_were_not_written() {
    let kept = sized(100);
    let good = super::disk::encode(&"key".into(), &kept).unwrap();
    assert_eq!(super::disk::decode(&good).expect("as written").0, "key");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(super::disk::decode(&bad).is_none(), "byte {at}");
        assert!(super::disk::decode(&good[..at]).is_none(), "cut at {at}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_degrades_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder should be: whoever runs this, nothing can be written there.
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let store: Arc<Store> = Store::open(&Cache { directory: Some(blocked.clone()), ..config(1 << 20, 100) });
    until("told", || store.degraded().is_some());
    store.keep("a".into(), sized(10));
    assert!(is_kept(&store, "a"), "memory goes on");
    until("counted", || count(&store.counts.disk_lost) == 1);
    std::fs::remove_file(&blocked).unwrap();
    store.keep("b".into(), sized(10));
    until("well again", || store.degraded().is_none());
}
