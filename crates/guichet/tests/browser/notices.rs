//! The status page as people see it: small screens, both languages, with and without scripts, and when its source is silent.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::chromium::Browser;
use crate::house::{House, free_ports};
use crate::{WIDTHS, look};

const PATIENCE: Duration = Duration::from_secs(90);

/// A house with a status page on this port, on which one service is about to die.
fn house(port: u16) -> House {
    House::open(&format!(
        r#"
[notices]
directory = "notices"
listen = "127.0.0.1:{port}"
url = "http://127.0.0.1:{port}"
sign_of_life_s = 5
valid_s = 15
components = ["portal", "vault"]

[channel.counter]
name = {{ en = "Post office", fr = "Bureau de poste" }}
hours = {{ en = "9 to 5", fr = "de 9 h à 17 h" }}
address = {{ en = "A place with averyveryverylongnameindeedthatdoesnotfitonsmallscreens", fr = "Un lieu au nomtrèstrèstrèslongquinetientpassurlespetitsécrans" }}
telephone = "36 39"
url = "https://example.org/a/rather/long/address/of/a/page/that/lists/all/post/offices"

[service.portal.contract]
name = {{ en = "Web site", fr = "Site web" }}
ways = ["counter"]
"#
    ))
}

/// Waits until an expression holds in the page.
fn wait(browser: &mut Browser, expression: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        if browser.evaluate(expression) == json!(true) {
            return;
        }
        assert!(Instant::now() < until, "{expression} did not come: {}", browser.text());
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn the_status_page_can_be_read_by_everybody_and_tells_when_its_source_is_silent() {
    let [port] = free_ports();
    let mut house = house(port);
    let mut browser = Browser::start(house.dir.path());
    let page = |language: &str| match language {
        "fr" => format!("http://127.0.0.1:{port}/"),
        _ => format!("http://127.0.0.1:{port}/index.en.html"),
    };
    house.ordered(&[
        "notice",
        "open",
        "--title-fr",
        "Une panne",
        "--text-fr",
        "Nous cherchons.",
        "--service",
        "vault",
        "--data-fr",
        "Rien n’a été lu.",
        "--evidence-fr",
        "Journal.",
    ]);
    house.estate.signal(Signal::SIGKILL);
    let _ = house.estate.wait(Duration::from_secs(10));
    let until = Instant::now() + PATIENCE;
    while !browser.text().contains("ne répond pas") {
        assert!(Instant::now() < until, "the portal's end was not seen");
        let _ = house.get("portal", "/", &["--max-time", "3"]);
        std::thread::sleep(Duration::from_millis(300));
        browser.open(&page("fr"), 320, "fr");
    }
    // Without scripts.
    for (language, width) in ["fr", "en"].into_iter().flat_map(|language| WIDTHS.map(|width| (language, width))) {
        let visit = browser.open(&page(language), width, language);
        assert_eq!(visit.status, 200);
        let own = format!("http://127.0.0.1:{port}/");
        assert!(visit.requests.iter().all(|url| url.starts_with(&own)), "a third party is asked: {:?}", visit.requests);
        look(&mut browser, "notices", &visit, language, width);
        let text = browser.text();
        for wanted in ["36 39", "Une panne", "Rien n’a été lu."] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert_eq!(browser.evaluate("getComputedStyle(document.getElementById('silent')).display"), "none");
    }

    // With scripts: the page was loaded once, its source goes, and it says so by itself.
    browser.run_scripts(true);
    let visit = browser.open(&page("fr"), 320, "fr");
    assert_eq!(visit.complaints, Vec::<String>::new(), "the page's policy allows its own script");
    let shown = "getComputedStyle(document.getElementById('silent')).display != 'none'";
    assert_eq!(browser.evaluate(shown), false);
    house.guichet.signal(Signal::SIGKILL);
    let _ = house.guichet.wait(Duration::from_secs(10));
    wait(&mut browser, shown);
    assert_eq!(browser.barriers(), Vec::<String>::new());
}
