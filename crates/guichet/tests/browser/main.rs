//! Pages as a visitor sees them, through Guichet, in a real browser in which no script runs. With
//! `GUICHET_PICTURES=DIR` a picture of each page is left there.

mod bank;
mod chromium;
mod contracts;
#[expect(dead_code, reason = "this test needs a part of the house")]
#[path = "../e2e/house.rs"]
mod house;
mod identity;
mod notices;
#[expect(dead_code, reason = "this test needs a part of it")]
#[path = "../e2e/opened_demo.rs"]
mod opened_demo;
mod passes;
mod till;
#[expect(dead_code, reason = "this test needs a part of it")]
#[path = "../e2e/upstream.rs"]
mod upstream;
mod walk;

use std::time::Duration;

use chromium::{Browser, Visit};
use house::House;
use serde_json::json;
use upstream::{Upstream, answer_after};

/// Widths at which pages must be readable without scrolling sideways: 320 pixels is what WCAG 1.4.10 asks for.
const WIDTHS: [u32; 2] = [320, 1200];

/// What holds for each page that comes through the front, ours and the estate's.
fn check(browser: &mut Browser, house: &House, name: &str, visit: &Visit, language: &str, width: u32) {
    let own = format!("localhost:{}/", house.https);
    for url in &visit.requests {
        assert!(url.starts_with("data:") || url.contains(&own), "{name} asks a third party: {url}");
    }
    look(browser, name, visit, language, width);
}

/// What holds for any page. No script, but those for passkeys and for passes, without which pages work too.
fn look(browser: &mut Browser, name: &str, visit: &Visit, language: &str, width: u32) {
    if let Some(dir) = std::env::var_os("GUICHET_PICTURES") {
        browser.picture(&std::path::Path::new(&dir).join(format!("{name}-{language}-{width}.png")));
    }
    let measured = browser.evaluate(
        "({ lang: document.documentElement.lang, h1: document.querySelectorAll('h1').length, \
         main: document.querySelectorAll('main').length, scripts: document.querySelectorAll('script:not([src=\"/identite.js\"]):not([src=\"alive.js\"]):not([src$=\"/guichet/check.js\"])').length, \
         title: document.title.length > 0, seen: innerWidth, \
         sideways: document.documentElement.scrollWidth > document.documentElement.clientWidth, \
         unlabelled: [...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length, \
         cut: [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length })",
    );
    let wanted = json!({
        "lang": language, "h1": 1, "main": 1, "scripts": 0, "title": true, "seen": width, "sideways": false,
        "unlabelled": 0, "cut": 0,
    });
    assert_eq!(measured, wanted, "{name} {language} {width}");
    assert_eq!(visit.complaints, Vec::<String>::new(), "{name} {language}");
    assert_eq!(browser.barriers(), Vec::<String>::new(), "{name} {language} {width}");
}

#[test]
fn the_portal_is_readable_at_all_widths_in_both_languages() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        for (name, path) in
            [("home", "/"), ("track", "/suivi"), ("search", "/recherche?q=colis"), ("login", "/connexion")]
        {
            let url = format!("https://portal.localhost:{}{path}", house.https);
            let visit = browser.open(&url, width, language);
            assert_eq!((visit.status, visit.protocol.as_str()), (200, "h2"), "{url}");
            check(&mut browser, &house, name, &visit, language, width);
        }
    }
}

#[test]
fn a_page_with_barriers_is_told_from_one_without() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    browser.open(&format!("https://portal.localhost:{}/connexion", house.https), 320, "fr");
    browser.evaluate("document.querySelector('label[for=user]').remove(); document.documentElement.lang = ''; true");
    let found = browser.barriers().join("\n");
    assert!(found.contains("label: ") && found.contains("html-has-lang: "), "{found}");
}

#[test]
fn forms_work_without_scripts() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    let portal = format!("https://portal.localhost:{}", house.https);
    browser.open(&format!("{portal}/"), 320, "fr");
    let visit = browser.submit("form input[name=id]", "CG100000003FR");
    assert_eq!(visit.status, 200);
    assert!(browser.evaluate("location.search").as_str().unwrap().contains("id=CG100000003FR"));
    let text = browser.evaluate("document.querySelector('main').innerText");
    assert!(text.as_str().unwrap().contains("CG100000003FR"), "{text}");
    check(&mut browser, &house, "tracked", &visit, "fr", 320);

    browser.open(&format!("{portal}/connexion"), 320, "fr");
    browser.evaluate("document.querySelector('input[name=user]').value = 'user0001'");
    let visit = browser.submit("input[name=password]", "password-0001");
    assert_eq!(browser.evaluate("location.pathname"), "/compte");
    check(&mut browser, &house, "account", &visit, "fr", 320);
}

/// Opens a page in both languages and at all widths, and looks at what a refusal must be.
fn check_refusal(browser: &mut Browser, house: &House, (name, service, status): (&str, &str, u64)) {
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&format!("https://{service}.localhost:{}/", house.https), width, language);
        assert_eq!(visit.status, status, "{name}");
        check(browser, house, name, &visit, language, width);
        let text = browser.text();
        assert!(text.contains("G-"), "{name}: a reference in {text}");
    }
}

// Two houses for four refusals: who meets ten within seconds and goes on is suspect, as it should be.
#[test]
fn refusals_are_pages_that_can_be_read() {
    let mut house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    check_refusal(&mut browser, &house, ("partners", "rails", 403));
    house.estate.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = house.estate.wait(Duration::from_secs(5));
    check_refusal(&mut browser, &house, ("gone", "vault", 502));
}

#[test]
fn a_full_service_has_a_page_that_can_be_read() {
    // Far longer than this test looks, also on a machine that does other things besides.
    let upstream = Upstream::start(answer_after(Duration::from_secs(120)));
    let tiny = "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 1, wait_ms = 100 }\n";
    let house = House::open(&upstream.service("tiny", "first_byte_ms = 120000", tiny));
    // Slow requests of somebody else take all slots that ordinary ones may have, for as long as this test looks: one that
    // is refused proves it.
    let (url, resolve) =
        (format!("https://tiny.localhost:{}/", house.https), format!("tiny.localhost:{}:127.0.0.1", house.https));
    let mut slow: Vec<_> = (0..8)
        .map(|_| {
            let mut curl = std::process::Command::new("curl");
            curl.args([
                "-s",
                "--insecure",
                "--interface",
                "127.9.9.9",
                "--max-time",
                "120",
                "--resolve",
                &resolve,
                &url,
            ]);
            house::Process(curl.stdout(std::process::Stdio::null()).spawn().unwrap())
        })
        .collect();
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while !slow.iter_mut().any(|curl| curl.0.try_wait().unwrap().is_some()) {
        assert!(std::time::Instant::now() < until, "the slots are taken");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut browser = Browser::start(house.dir.path());
    check_refusal(&mut browser, &house, ("unknown", "nobody", 421));
    check_refusal(&mut browser, &house, ("overload", "tiny", 503));
    drop(slow);
}
