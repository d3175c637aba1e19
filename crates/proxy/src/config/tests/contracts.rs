//! Contracts, channels and what is kept.

use std::time::Duration;

use guichet_core::Pressure;

use super::{GOOD, check, check_text, load_in, world};
use crate::config::{Config, Fallback};

/// [`GOOD`] with a contract for each of its services.
fn text() -> String {
    GOOD.replace(
        "path = \"/search\"\nmethods = [\"GET\"]\n",
        r#"path = "/search"
methods = ["GET"]
cache = { query = ["q", "page"], ttl_s = 30, vary = ["Accept-Language"] }
switch_off = { at_pressure = "elevated", name = { en = "Search", fr = "Recherche" } }

[service.portal.contract]
name = { en = "Web site", fr = "Site" }
ways = ["counter"]
needs = [{ service = "rails", instead = "counter" }]
fallback = "page"

[service.rails.contract]
name = { en = "Cards", fr = "Cartes" }
needs = []

[channel.counter]
name = { en = "Counter", fr = "Guichet" }
hours = { en = "9 to 5", fr = "de 9 h à 17 h" }
telephone = "36 39"
"#,
    )
}

fn good(text: &str) -> Config {
    load_in(&world(text)).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn a_contract_is_read_whole() {
    let config = good(&text());
    let portal = &config.services[0];
    let contract = portal.contract.as_ref().expect("a contract");
    assert_eq!(contract.title.fr, "Site");
    assert_eq!(contract.ways[0].title.fr, "Guichet");
    assert_eq!(contract.ways[0].telephone.as_deref(), Some("36 39"));
    assert_eq!(contract.needs[0].service, "rails");
    assert_eq!(contract.needs[0].instead.as_deref(), Some("counter"));
    assert_eq!(contract.fallback, Fallback::Page);
    assert_eq!((contract.down_after, contract.up_after), (Duration::from_secs(5), Duration::from_secs(10)));
    let route = &portal.routes[0];
    let cache = route.cache.as_ref().expect("kept");
    assert_eq!(cache.query, ["page", "q"], "sorted");
    assert_eq!(cache.vary, [http::header::ACCEPT_LANGUAGE]);
    assert_eq!(route.switch_off.as_ref().and_then(|off| off.at_pressure), Some(Pressure::Elevated));
    assert!(good(GOOD).services[0].contract.is_none());
}

#[test]
fn fallbacks() {
    let redirect = good(&text().replace("\"page\"\n", "\"https://elsewhere.example.org/\"\n"));
    let fallback = |config: &Config| config.services[0].contract.as_ref().unwrap().fallback.clone();
    assert_eq!(fallback(&redirect), Fallback::Redirect("https://elsewhere.example.org/".into()));
    let mut world = world(&text().replace("fallback = \"page\"", "fallback = \"down.html\""));
    world.files.insert("/etc/guichet/down.html".into(), b"<p>down".to_vec());
    let config = load_in(&world).unwrap_or_else(|report| panic!("{report}")).config;
    assert!(matches!(fallback(&config), Fallback::File(_, bytes) if bytes == "<p>down"));
}

#[test]
fn wrong_contracts_name_the_place_and_the_mend() {
    let at = "service.portal.contract";
    for (old, new, key, cause, mend) in [
        ("ways = [\"counter\"]", "ways = [»\"conter\"]", "ways[0]", "no channel 'conter'", "did you mean 'counter'?"),
        ("ways = [\"counter\"]", "ways = [\"counter\", »\"counter\"]", "ways[1]", "there twice", "take one"),
        ("service = \"rails\"", "service = »\"rail\"", "needs[0].service", "no service 'rail'", "'rails'"),
        ("[{ service = \"rails\", instead = \"counter\" }]", "[»\"rail\"]", "needs[0]", "no service 'rail'", "'rails'"),
        ("instead = \"counter\"", "instead = »\"sms\"", "needs[0].instead", "no channel 'sms'", "counter"),
        ("fallback = \"page\"", "fallback = »\"none.html\"", "fallback", "cannot read 'none.html'", "https://"),
        (
            "fallback = \"page\"",
            "fallback = »\"https://portal.example.org/x\"",
            "fallback",
            "round in a circle",
            "another way in",
        ),
        ("fallback = \"page\"", "fallback = »\"ftp://x\"", "fallback", "no address", "https://"),
        ("fr = \"Site\"", "fr = »\" \"", "name.fr", "nothing", "write the text"),
    ] {
        let text = text();
        assert_eq!(text.matches(old).count(), 1, "{old}");
        check_text(&text.replace(old, new), &format!("{at}.{key}"), cause, mend);
    }
    let circle = text().replace("needs = []", "needs = [»\"portal\"]");
    check_text(&circle, "service.rails.contract.needs[0]", "portal -> rails -> portal", "take one of these needs out");
    let itself = text().replace("needs = []", "needs = [»\"rails\"]");
    check_text(&itself, "service.rails.contract.needs[0]", "rails -> rails", "take one of these needs out");
}

#[test]
fn wrong_channels_and_stores() {
    for (old, new, key, cause, mend) in [
        ("telephone = \"36 39\"", "telephone = »\"call us\"", "channel.counter.telephone", "no telephone", "+33"),
        ("telephone = \"36 39\"", "url = »\"example.org\"", "channel.counter.url", "no address", "https://"),
        ("[channel.counter]", "[channel.»Counter]", "channel.Counter", "cannot be a name", "'counter'"),
        ("[\"q\", \"page\"]", "[\"q\", »\"q\"]", "service.portal.route[0].cache.query[1]", "there twice", "take one"),
        ("[\"q\", \"page\"]", "[»\"a=b\"]", "service.portal.route[0].cache.query[0]", "no name", "name alone"),
        (
            "[\"Accept-Language\"]",
            "[»\"Cookie\"]",
            "service.portal.route[0].cache.vary[0]",
            "one person",
            "take it out",
        ),
    ] {
        let text = text();
        let text = if old.starts_with("[channel") {
            text.replace("ways = [\"counter\"]\n", "").replace(", instead = \"counter\"", "")
        } else {
            text
        };
        assert_eq!(text.matches(old).count(), 1, "{old}");
        check_text(&text.replace(old, new), key, cause, mend);
    }
    check(
        "[log]",
        "[cache]\nbytes_max = »1000\n[log]",
        "cache.bytes_max",
        "more bytes than the whole store",
        "'answer_bytes_max'",
    );
}
