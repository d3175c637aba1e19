//! One person's day in the demo, from the web site to the counter: what it is there to show.

use super::bank::{code, fill, text};
use super::chromium::Browser;
use super::house::write_certificates;
use super::opened_demo::OpenedDemo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;
use std::time::{Duration, Instant};

/// The demo's own children: the estate, the till and the other bank, each a process.
fn kill_estate(demo: &OpenedDemo) {
    let found =
        Command::new("pgrep").args(["-P", &demo.process.0.id().to_string(), "-f", "estate all"]).output().unwrap();
    let ids: Vec<i32> =
        String::from_utf8_lossy(&found.stdout).split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 1, "one process is the estate");
    kill(Pid::from_raw(ids[0]), Signal::SIGKILL).unwrap();
}

#[test]
fn a_person_goes_through_the_demo_and_is_served_at_the_counter_when_all_else_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    std::fs::create_dir(&data).unwrap();
    // The demo goes on with the key that it finds, which the browser is told to trust.
    write_certificates(&data);
    let mut demo = OpenedDemo::open(&data, None);
    let mut browser = Browser::start(&data);
    let at = |service: &str, path: &str| format!("https://{service}.localhost:{}{path}", demo.https);

    // The digital identity opens the portal, the document store and the bank, with one password.
    browser.open(&at("portal", "/connexion/identite"), 320, "fr");
    fill(&mut browser, &[("user", "user0001")]);
    browser.submit("input[name=password]", "password-0001");
    let place = browser.evaluate("location.hostname + location.pathname");
    assert_eq!(place, "portal.localhost/compte", "{}", browser.text());
    let visit = browser.open(&at("vault", "/coffre/identite"), 320, "fr");
    assert_eq!((visit.status, browser.evaluate("location.pathname")), (200, "/coffre".into()));
    assert!(text(&mut browser).contains("releve-de-compte.txt"), "{}", text(&mut browser));
    let visit = browser.open(&at("bank", "/espace/identite"), 320, "fr");
    assert_eq!(visit.status, 200);
    assert!(text(&mut browser).contains("Compte courant"), "{}", text(&mut browser));

    // A transfer, confirmed with the code that comes to the telephone.
    browser.open(&at("bank", "/espace/virement"), 320, "fr");
    let iban = guichet_estate::ids::iban(2, 1);
    fill(&mut browser, &[("name", "Chloé Martin"), ("iban", &iban), ("amount", "12,50")]);
    browser.submit("input[name=reference]", "Loyer");
    let code = code(&format!("http://127.0.0.1:{}", demo.telephone), "12,50 EUR");
    browser.submit("input[name=code]", &code);
    assert!(text(&mut browser).contains("Le virement est fait"), "{}", text(&mut browser));

    // A parcel, and a card at a terminal.
    browser.open(&at("portal", "/"), 320, "fr");
    browser.submit("form input[name=id]", "CG100000003FR");
    assert!(text(&mut browser).contains("CG100000003FR"), "{}", text(&mut browser));
    for (what, amount) in [("pay", "12.50"), ("withdraw", "40")] {
        let receipt = demo.card(what, amount);
        assert!(receipt.contains("EUR, approved"), "{receipt}");
    }

    // All services are gone at once: the web site says which other ways there are, and at one of them somebody is served.
    kill_estate(&demo);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        // A page that nobody looked at before: the others are kept for a minute.
        browser.open(&at("portal", "/recherche?q=guichet"), 320, "fr");
        // Nobody has asked the bank since: that it is gone as well is known by its checks.
        let page = browser.text();
        let (works, gone) = page.split_once("Ce qui ne fonctionne pas").unwrap_or((&page, ""));
        if works.contains("Guichet de poste")
            && !works.contains("Ce qui fonctionne")
            && gone.contains("Banque en ligne")
        {
            break;
        }
        assert!(Instant::now() < until, "{}", browser.text());
        std::thread::sleep(Duration::from_millis(300));
    }
    let till = format!("http://127.0.0.1:{}", demo.till);
    browser.open(&till, 320, "fr");
    let visit = browser.submit("form:has(input[value=stamps]) input[name=count]", "3");
    assert_eq!((visit.status, browser.evaluate("location.pathname")), (200, "/recus/1".into()), "{}", browser.text());
    demo.process.signal(Signal::SIGINT);
    demo.process.wait(Duration::from_secs(30));
}
