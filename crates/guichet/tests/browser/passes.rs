//! People in doubt earn their way in: with scripts, without, and with a code.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chromium::Browser;
use crate::house::{House, Process};
use crate::upstream::{Upstream, answer_after};
use crate::{WIDTHS, check};

/// A house whose portal asks everybody for a pass, a browser, and the portal's address.
fn doubted() -> (House, Browser, String) {
    let house = House::open("");
    house.ordered(&["mitigations", "add", "portal", "challenge", "method=GET", "--for", "10m"]);
    let browser = Browser::start(house.dir.path());
    let portal = format!("https://portal.localhost:{}", house.https);
    (house, browser, portal)
}

/// Waits until the browser shows the portal's own page for a parcel.
fn wait_for_portal(browser: &mut Browser) {
    let until = Instant::now() + Duration::from_secs(90);
    let shown = "location.pathname == '/suivi' && !!document.querySelector('form input[name=id]')";
    while browser.evaluate(shown) != json!(true) {
        assert!(Instant::now() < until, "still at {}", browser.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(browser.evaluate("location.search"), "?id=CG100000003FR", "one goes on where one wanted to");
}

#[test]
fn a_browser_with_scripts_calculates_and_goes_on() {
    let (_house, mut browser, portal) = doubted();
    browser.run_scripts(true);
    let visit = browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "fr");
    assert_eq!(visit.status, 403);
    wait_for_portal(&mut browser);
    assert_eq!(visit.complaints, Vec::<String>::new(), "the page's policy allows what it does");
    // The pass goes on counting.
    browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "fr");
    wait_for_portal(&mut browser);
}

#[test]
fn the_page_can_be_read_and_waiting_needs_no_script() {
    let (house, mut browser, portal) = doubted();
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&format!("{portal}/suivi?id=CG100000003FR"), width, language);
        assert_eq!(visit.status, 403);
        check(&mut browser, &house, "challenge", &visit, language, width);
    }
    browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "fr");
    let visit = browser.press("form[action$=wait] button");
    assert_eq!(visit.status, 200);
    check(&mut browser, &house, "waiting", &visit, "fr", 320);
    // The page goes on by itself.
    wait_for_portal(&mut browser);
}

#[test]
fn a_code_from_a_person_lets_in_and_a_wrong_one_says_so() {
    let (house, mut browser, portal) = doubted();
    browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "fr");
    let visit = browser.submit("#code", "AAAA-AAAA-AAAA-AAAA");
    assert_eq!(visit.status, 403);
    check(&mut browser, &house, "wrong-code", &visit, "fr", 320);
    let text = browser.evaluate("document.querySelector('[role=alert]').innerText");
    assert!(text.as_str().unwrap().contains("pas valable"), "{text}");
    let code = house.ordered(&["pass", "issue", "--uses", "1"]);
    browser.submit("#code", code.split_whitespace().next().unwrap());
    wait_for_portal(&mut browser);
    // Used up: nobody else gets in with it. Where a mitigation refuses, a code is the only way.
    house.ordered(&["mitigations", "add", "portal", "refuse", "method=GET", "--for", "10m"]);
    browser.call("Network.clearBrowserCookies", json!({}));
    let visit = browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "en");
    assert_eq!(visit.status, 429);
    check(&mut browser, &house, "mitigated", &visit, "en", 320);
    assert_eq!(browser.evaluate("document.querySelectorAll('form').length"), json!(1));
    let visit = browser.submit("#code", code.split_whitespace().next().unwrap());
    assert_eq!(visit.status, 403);
    let code = house.ordered(&["pass", "issue", "--uses", "1"]);
    browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "en");
    browser.submit("#code", code.split_whitespace().next().unwrap());
    wait_for_portal(&mut browser);
}

/// Hundreds of people a second, each from an address of its own, each asking once: more than the service can take.
fn crowd(house: &House) -> Process {
    let list = house.dir.path().join("crowd");
    let mut text = String::new();
    for n in 0..40_000_u32 {
        let (address, port) = (format!("127.{}.{}.{}", 40 + n / 62_500, n / 250 % 250, 1 + n % 250), house.https);
        text += &format!(
            "url = \"https://small.localhost:{port}/\"\noutput = \"/dev/null\"\ninterface = \"{address}\"\ninsecure\nmax-time = 10\n\
             resolve = \"small.localhost:{port}:127.0.0.1\"\nuser-agent = \"Mozilla/5.0 (X11; rv:146.0) Firefox/146.0\"\nnext\n"
        );
    }
    std::fs::write(&list, text).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--parallel", "--parallel-max", "150", "--config"]).arg(list);
    Process(curl.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap())
}

#[test]
fn a_crowd_waits_in_its_turn_and_is_let_in() {
    let upstream = Upstream::start(answer_after(Duration::from_millis(100)));
    let small = "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 8, wait_ms = 200 }\n";
    let limits = "\n[limits]\nconnections_per_network = 4096\n";
    let house = House::open(&(upstream.service("small", "", small) + limits));
    let crowd = crowd(&house);
    let mut browser = Browser::start(house.dir.path());
    let url = format!("https://small.localhost:{}/somewhere", house.https);
    // It opens by itself.
    let until = Instant::now() + Duration::from_secs(60);
    while !house.admin_get("/metrics").1.contains("service=\"small\",reason=\"waiting_room\"") {
        assert!(Instant::now() < until, "{}\n{}", house.log(), house.admin_get("/metrics").1);
        std::thread::sleep(Duration::from_millis(200));
    }
    let visit = browser.open(&url, 320, "fr");
    let title = browser.evaluate("document.querySelector('h1').innerText");
    assert!(title.as_str().unwrap().contains("salle d'attente"), "{title}");
    assert_eq!(visit.status, 503);
    check(&mut browser, &house, "room", &visit, "fr", 320);
    let text = browser.evaluate("document.querySelector('[role=status]').innerText");
    assert!(text.as_str().unwrap().contains("Devant vous"), "{text}");
    let visit = browser.open(&url, 1200, "en");
    check(&mut browser, &house, "room", &visit, "en", 1200);
    // A program is told the same in its own terms, and a place that it invented is none.
    let program = ["--insecure", "-H", "Accept: application/json"];
    let json = house.get("small", "/", &program);
    assert!(json.contains("\"ahead\":") && json.contains("guichet-room="), "{json}");
    let invented = house.get("small", "/.well-known/guichet/room?place=AAAA", &program);
    assert!(invented.starts_with("HTTP/2 503"), "{invented}");
    // When the others have gone, it is its turn; the page goes on by itself, and keeps where one wanted to go.
    drop(crowd);
    let until = Instant::now() + Duration::from_secs(90);
    while browser.evaluate("location.pathname") != json!("/somewhere") || browser.text() != "done" {
        assert!(Instant::now() < until, "{} {}", browser.evaluate("location.href"), browser.text());
        std::thread::sleep(Duration::from_millis(200));
    }
}
