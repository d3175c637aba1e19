//! Signing in at the portal through the identity service, as a person does it: from page to page, past the front.

use super::chromium::Browser;
use super::house::House;
use super::{WIDTHS, check};

#[test]
fn the_portal_is_entered_by_way_of_the_identity_service() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    let portal = format!("https://portal.localhost:{}", house.https);
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&format!("{portal}/connexion/identite"), width, language);
        assert_eq!(visit.status, 200);
        check(&mut browser, &house, "identity-sign-in", &visit, language, width);
    }
    assert_eq!(browser.evaluate("location.hostname"), "identity.localhost");
    browser.evaluate("document.querySelector('input[name=user]').value = 'user0002'");
    let visit = browser.submit("input[name=password]", "wrong");
    assert_eq!(visit.status, 401);
    check(&mut browser, &house, "identity-wrong", &visit, "en", 1200);
    browser.evaluate("document.querySelector('input[name=user]').value = 'user0002'");
    let visit = browser.submit("input[name=password]", "password-0002");
    let place = browser.evaluate("location.hostname + location.pathname");
    assert_eq!(place, "portal.localhost/compte", "{visit:?}");
    let text = browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned();
    assert!(text.contains("Chloé") && text.contains("user0002@example.invalid"), "{text}");
    check(&mut browser, &house, "identity-entered", &visit, "en", 1200);

    // Who is known there is not asked again.
    let visit = browser.open(&format!("{portal}/connexion/identite"), 320, "fr");
    assert_eq!((visit.status, browser.evaluate("location.pathname")), (200, "/compte".into()));
    let visit = browser.open(&format!("https://bank.localhost:{}/espace/identite", house.https), 320, "fr");
    let text = browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned();
    assert!(visit.status == 200 && text.contains("Compte courant"), "{text}");
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&format!("https://identity.localhost:{}/moi", house.https), width, language);
        assert_eq!(visit.status, 200);
        check(&mut browser, &house, "identity-me", &visit, language, width);
    }
}

#[test]
fn a_passkey_is_made_and_opens_the_portal() {
    let house = House::open("");
    let mut browser = Browser::start(house.dir.path());
    browser.add_authenticator();
    let me = format!("https://identity.localhost:{}/moi", house.https);
    browser.open(&me, 320, "en");
    browser.evaluate("document.querySelector('input[name=user]').value = 'user0004'");
    assert_eq!(browser.submit("input[name=password]", "password-0004").status, 200);
    browser.run_scripts(true);
    browser.open(&me, 320, "en");
    let visit = browser.press("#make-passkey button");
    let text = browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned();
    assert!(text.contains("Made on"), "{text}");
    check(&mut browser, &house, "identity-passkey", &visit, "en", 320);

    browser.call("Network.clearBrowserCookies", serde_json::json!({}));
    browser.run_scripts(true);
    let portal = format!("https://portal.localhost:{}/connexion/identite", house.https);
    let visit = browser.open(&portal, 320, "en");
    check(&mut browser, &house, "identity-by-passkey", &visit, "en", 320);
    browser.run_scripts(true);
    browser.evaluate("document.querySelector('#passkey-user').value = 'user0004'");
    let visit = browser.press("#use-passkey button");
    let place = browser.evaluate("location.hostname + location.pathname");
    assert_eq!(place, "portal.localhost/compte", "{visit:?}");
    let text = browser.evaluate("document.querySelector('main').innerText").as_str().unwrap().to_owned();
    assert!(text.contains("user0004@example.invalid"), "{text}");
}
