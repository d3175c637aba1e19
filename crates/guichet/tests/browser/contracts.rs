//! The pages of contracts as people see them: away, shut, read-only, a feature off, and no room; on small screens, in both languages.

use std::time::{Duration, Instant};

use crate::chromium::Browser;
use crate::house::House;
use crate::{WIDTHS, check};

const CONTRACTS: &str = r#"
[channel.counter]
name = { en = "Post office", fr = "Bureau de poste" }
hours = { en = "weekdays 9 to 5", fr = "en semaine, de 9 h à 17 h" }
address = { en = "A place with averyveryverylongnameindeedthatdoesnotfitonsmallscreens", fr = "Un lieu au nomtrèstrèstrèslongquinetientpassurlespetitsécrans" }
telephone = "+33 1 23 45 67 89"
url = "https://example.org/a/rather/long/address/of/a/page/that/lists/all/post/offices"
note = { en = "Bring an identity document.", fr = "Munissez-vous d'une pièce d'identité." }

[service.portal.contract]
name = { en = "Web site", fr = "Site web" }
ways = ["counter"]
needs = [{ service = "identity", instead = "counter" }]

[[service.portal.route]]
path = "/recherche"
switch_off = { name = { en = "Search", fr = "Recherche" } }

[service.vault.contract]
name = { en = "Document store", fr = "Coffre-fort numérique" }
ways = ["counter"]

[service.identity.contract]
name = { en = "Digital identity", fr = "Identité numérique" }
"#;

/// Opens a page in both languages and at all widths until its contract's words are on it, and looks at it.
fn look(browser: &mut Browser, house: &House, (name, url): (&str, &str), words: [&str; 2]) {
    for (language, wanted) in ["en", "fr"].into_iter().zip(words) {
        for width in WIDTHS {
            let until = Instant::now() + Duration::from_secs(60);
            let visit = loop {
                let visit = browser.open(url, width, language);
                let text = browser.text();
                if text.contains(wanted) {
                    assert_eq!(visit.status, 503, "{name}");
                    for part in ["+33 1 23 45 67 89", "G-"] {
                        assert!(text.contains(part), "{part} in {text}");
                    }
                    break visit;
                }
                assert!(Instant::now() < until, "{wanted} in {text}");
                std::thread::sleep(Duration::from_millis(300));
            };
            check(browser, house, name, &visit, language, width);
        }
    }
}

#[test]
fn contracts_are_pages_that_can_be_read() {
    let house = House::open(CONTRACTS);
    let mut browser = Browser::start(house.dir.path());
    let url = |service: &str, path: &str| format!("https://{service}.localhost:{}{path}", house.https);
    house.ordered(&["switch-off", "portal", "/recherche", "--for", "1h"]);
    let off = ["Search is switched off", "Recherche\u{a0}: fonction désactivée"];
    look(&mut browser, &house, ("contract-off", &url("portal", "/recherche?q=a")), off);

    // What is sent to a service that can only be read; the form was loaded before.
    browser.open(&url("portal", "/connexion"), 320, "fr");
    browser.evaluate("document.querySelector('input[name=user]').value = 'user0001'");
    house.ordered(&["service", "portal", "read-only", "--for", "1h"]);
    std::thread::sleep(Duration::from_millis(500));
    let visit = browser.submit("input[name=password]", "password-0001");
    assert_eq!(visit.status, 503);
    check(&mut browser, &house, "contract-read-only", &visit, "fr", 320);
    let text = browser.text();
    assert!(text.contains("consultation seule") && text.contains("Bureau de poste"), "{text}");

    house.ordered(&["service", "identity", "shut", "--for", "1h"]);
    house.ordered(&["service", "vault", "fallback", "--for", "1h"]);
    house.ordered(&["service", "portal", "shut", "--for", "1h"]);
    let shut = ["Web site is closed for now", "Site web\u{a0}: service fermé"];
    look(&mut browser, &house, ("contract-shut", &url("portal", "/")), shut);
    let text = browser.text();
    assert!(text.contains("Identité numérique") && !text.contains("identity"), "names, no ids: {text}");
    let away = ["Document store is closed for now", "Coffre-fort numérique\u{a0}: service fermé"];
    look(&mut browser, &house, ("contract-away", &url("vault", "/")), away);
}
