//! The page of the clerk at a post-office counter, while nothing else works.

use super::chromium::Browser;
use super::house::{GUICHET, Process};
use super::{WIDTHS, look};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_clerk_serves_clients_with_everything_down() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there: it was bound, and is free again.
    let counter = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new(GUICHET)
        .args(["estate", "till", "--listen", "127.0.0.1:0", "--counter", &counter.to_string(), "--data"])
        .arg(dir.path().join("till"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let _till = Process(child);
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    let url = lines.into_iter().find_map(|line| line.strip_prefix("till ").map(str::to_owned)).expect("the till");
    // Plain HTTP on this machine: there is no certificate to trust.
    std::fs::write(dir.path().join("key.sha256"), "").unwrap();
    let mut browser = Browser::start(dir.path());
    let fill = |browser: &mut Browser, kind: &str, name: &str, value: &str| {
        let field = format!("form:has(input[value={kind}]) input[name={name}]");
        browser.evaluate(&format!("document.querySelector('{field}').value = ''; true"));
        browser.submit(&field, value)
    };
    browser.open(&url, 320, "en");
    let visit = fill(&mut browser, "float", "amount", "100");
    look(&mut browser, "till-receipt", &visit, "en", 320);
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&url, width, language);
        look(&mut browser, "till", &visit, language, width);
    }
    let visit = fill(&mut browser, "stamps", "count", "3");
    assert_eq!((visit.status, browser.evaluate("location.pathname")), (200, "/recus/2".into()));
    browser.open(&url, 1200, "en");
    // No number was ever given to it: that is said, and nothing is entered.
    let visit = fill(&mut browser, "stamps", "count", "many");
    assert_eq!(visit.status, 422);
    look(&mut browser, "till-fault", &visit, "en", 1200);
    browser.open(&url, 1200, "en");
    let visit = fill(&mut browser, "closing", "amount", "104.17");
    let text = browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned();
    assert!(text.contains("expected: 104.17") && text.contains("difference: 0.00"), "{text}");
    look(&mut browser, "till-closing", &visit, "en", 1200);
    let visit = browser.open(&format!("{url}/clotures/3"), 320, "fr");
    look(&mut browser, "till-closing", &visit, "fr", 320);
}
