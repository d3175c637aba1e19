//! The bank's pages: a person signs in, makes a transfer, and confirms it with the code that comes to the telephone.

use super::chromium::Browser;
use super::house::{House, curl};
use super::{WIDTHS, check};
use std::time::{Duration, Instant};

/// The code in the latest message to the first user's telephone that tells this amount.
pub(crate) fn code(telephone: &str, amount: &str) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = curl(&["-s", &format!("{telephone}/messages?to=%2B33600000001")]);
        let messages: Vec<serde_json::Value> = serde_json::from_slice(&answer.stdout).unwrap_or_default();
        let texts = messages.iter().filter_map(|message| message["text"].as_str());
        if let Some(text) = texts.into_iter().find(|text| text.contains(amount)) {
            return text.split("Code : ").nth(1).expect("a code")[..6].to_owned();
        }
        assert!(Instant::now() < until, "no message came: {messages:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn fill(browser: &mut Browser, values: &[(&str, &str)]) {
    for (name, value) in values {
        let field = format!("document.querySelector('input[name={name}]:not([type=radio])')");
        browser.evaluate(&format!("{field}.value = {}; true", serde_json::json!(value)));
    }
}

pub(crate) fn text(browser: &mut Browser) -> String {
    browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned()
}

#[test]
fn a_transfer_is_made_with_the_code_on_the_telephone() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    let bank = format!("https://bank.localhost:{}", house.https);
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&format!("{bank}/espace"), width, language);
        check(&mut browser, &house, "bank-login", &visit, language, width);
    }
    browser.open(&format!("{bank}/espace"), 320, "fr");
    fill(&mut browser, &[("user", "user0001")]);
    let visit = browser.submit("input[name=password]", "wrong");
    assert_eq!(visit.status, 401);
    check(&mut browser, &house, "bank-wrong", &visit, "fr", 320);
    fill(&mut browser, &[("user", "user0001")]);
    browser.submit("input[name=password]", "password-0001");
    assert!(text(&mut browser).contains("10\u{202f}000,00\u{a0}€"), "{}", text(&mut browser));
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        for (name, path) in [("accounts", ""), ("account", "/comptes/acc-0001-1"), ("form", "/virement")] {
            let visit = browser.open(&format!("{bank}/espace{path}"), width, language);
            assert_eq!(visit.status, 200, "{path}");
            check(&mut browser, &house, &format!("bank-{name}"), &visit, language, width);
        }
    }

    // What is wrong is said, and what was typed stays.
    browser.open(&format!("{bank}/espace/virement"), 320, "fr");
    fill(&mut browser, &[("name", "Chloe Martin"), ("iban", "FR14 2004 1010 0505 0001 3M02 607"), ("amount", "12,50")]);
    let visit = browser.submit("input[name=reference]", "Loyer");
    assert_eq!((visit.status, browser.evaluate("document.querySelector('#iban').ariaInvalid")), (422, "true".into()));
    assert_eq!(browser.evaluate("document.querySelector('#amount').value"), "12,50");
    check(&mut browser, &house, "bank-fault", &visit, "fr", 320);

    // To user 2, whose name is spelt otherwise: the payer is told the right one, and goes on.
    let iban = guichet_estate::ids::iban(2, 1);
    fill(&mut browser, &[("name", "Chloe Martn"), ("iban", &iban), ("amount", "12,50")]);
    let visit = browser.submit("input[name=reference]", "");
    assert_eq!(visit.status, 200, "{}", text(&mut browser));
    let asked = text(&mut browser);
    assert!(asked.contains("12,50\u{a0}€") && asked.contains("Chloé Martin"), "{asked}");
    check(&mut browser, &house, "bank-confirm", &visit, "fr", 320);
    let code = code(&house.telephone, "12,50 EUR");
    let other = if code == "000000" { "000001" } else { "000000" };
    let visit = browser.submit("input[name=code]", other);
    assert_eq!(visit.status, 403);
    check(&mut browser, &house, "bank-wrong-code", &visit, "fr", 320);
    let visit = browser.submit("input[name=code]", &code);
    assert!(text(&mut browser).contains("Le virement est fait"), "{}", text(&mut browser));
    check(&mut browser, &house, "bank-done", &visit, "fr", 320);
    browser.open(&format!("{bank}/espace/comptes/acc-0001-1"), 320, "en");
    let statement = text(&mut browser);
    assert!(statement.contains("Transfer \u{2212}€12.50") && statement.contains("€9,987.50"), "{statement}");
    // Another's account is not there, signed in or not.
    let visit = browser.open(&format!("{bank}/espace/comptes/acc-0002-1"), 320, "en");
    assert_eq!(visit.status, 404);
}
