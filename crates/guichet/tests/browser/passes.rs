//! People in doubt earn their way in: with scripts, without, and with a code.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chromium::Browser;
use crate::house::{GUICHET, House};
use crate::{WIDTHS, check};

fn guichet(house: &House, arguments: &[&str]) -> String {
    let admin = format!("127.0.0.1:{}", house.admin);
    let output = Command::new(GUICHET).args(arguments).args(["--admin", &admin]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A house whose portal asks everybody for a pass, a browser, and the portal's address.
fn doubted() -> (House, Browser, String) {
    let house = House::open("");
    guichet(&house, &["mitigations", "add", "portal", "challenge", "method=GET", "--for", "10m"]);
    let browser = Browser::start(house.dir.path());
    let portal = format!("https://portal.localhost:{}", house.https);
    (house, browser, portal)
}

/// Waits until the browser shows the portal's own page for a parcel.
fn wait_for_portal(browser: &mut Browser) {
    let until = Instant::now() + Duration::from_secs(90);
    let shown = "location.pathname == '/suivi' && !!document.querySelector('form input[name=id]')";
    while browser.evaluate(shown) != json!(true) {
        let text = || "document.body && document.body.innerText";
        assert!(Instant::now() < until, "still at {}", browser.evaluate(text()));
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
    let code = guichet(&house, &["pass", "issue", "--uses", "1"]);
    browser.submit("#code", code.split_whitespace().next().unwrap());
    wait_for_portal(&mut browser);
    // Used up: nobody else gets in with it.
    browser.call("Network.clearBrowserCookies", json!({}));
    browser.open(&format!("{portal}/suivi?id=CG100000003FR"), 320, "en");
    let visit = browser.submit("#code", code.split_whitespace().next().unwrap());
    assert_eq!(visit.status, 403);
}
