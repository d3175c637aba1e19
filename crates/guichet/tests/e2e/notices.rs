//! The status page with the real binary: services die and come back, the operator speaks, the page goes out.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::house::{GUICHET, House, curl, free_ports, start_guichet};
use crate::upstream::{Upstream, answer_after};

/// What is appended to a house's configuration: a status page, other ways, and a contract of the portal.
fn with_page(port: u16, extra: &str) -> String {
    format!(
        r#"
[notices]
directory = "notices"
listen = "127.0.0.1:{port}"
url = "https://status.example"
sender = "status@example.org"
settle_s = 2
sign_of_life_s = 5
valid_s = 60
components = ["portal", "vault"]
folder = "site/page"
{extra}
[channel.counter]
name = {{ en = "Post office", fr = "Bureau de poste" }}
hours = {{ en = "9 to 5", fr = "de 9 h à 17 h" }}
telephone = "36 39"

[service.portal.contract]
name = {{ en = "Web site", fr = "Site web" }}
ways = ["counter"]
"#
    )
}

fn fetch(port: u16, path: &str) -> String {
    let answer = curl(&["-s", "--max-time", "20", &format!("http://127.0.0.1:{port}/{path}")]);
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

fn summary(port: u16) -> Value {
    serde_json::from_str(&fetch(port, "api/v2/summary.json")).unwrap_or_default()
}

/// Waits until something holds; `again` is done before each look.
fn wait(what: &str, within: Duration, mut again: impl FnMut(), holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    loop {
        again();
        if holds() {
            return began.elapsed();
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A generous bound for a loaded machine; what is promised is 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

fn restart_estate(house: &mut House) {
    let text = std::fs::read_to_string(&house.config).unwrap();
    let at = text.split("[upstream.portal]\nservers = [\"127.0.0.1:").nth(1).unwrap();
    let first: u16 = at.split('"').next().unwrap().parse().unwrap();
    let child = Command::new(GUICHET)
        .args(["estate", "all", "--base-port", &(first - 1).to_string(), "--data"])
        .arg(house.dir.path().join("estate"))
        .args(["--telephone", "127.0.0.1:0"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    house.estate = crate::house::Process(child);
}

#[test]
fn a_dead_service_is_on_the_page_and_comes_off_it_by_itself() {
    let [port] = free_ports();
    let mut house = House::open(&with_page(port, ""));
    let visit = |house: &House| drop(house.get("portal", "/", &["--max-time", "3"]));
    wait("all works", PATIENCE, || {}, || summary(port)["status"]["indicator"] == "none");
    assert!(fetch(port, "").contains("Tous les services fonctionnent"));
    assert_eq!(summary(port)["components"][0]["name"], "Site web");

    house.estate.signal(Signal::SIGKILL);
    let _ = house.estate.wait(Duration::from_secs(10));
    let down = |port| summary(port)["components"][0]["status"] == "major_outage";
    let took = wait("the portal is down", PATIENCE, || visit(&house), || down(port));
    eprintln!("on the page after {took:?}");
    let open = || summary(port)["incidents"].as_array().map_or(0, Vec::len);
    wait("a notice opened by itself", PATIENCE, || visit(&house), || open() >= 1);
    // It says what else works, in both languages, and whose words these are.
    let (_, metrics) = house.admin_get("/metrics");
    for figure in [
        "guichet_notices_age_seconds ",
        "guichet_notices_published_total{place=\"the folder ",
        "guichet_notices_publish_failed_total{place=\"the folder ",
    ] {
        assert!(metrics.contains(figure), "{figure}: {metrics}");
    }
    let revisions = metrics.lines().find_map(|line| line.strip_prefix("guichet_notices_revisions_total "));
    assert!(revisions.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 1), "{revisions:?}");
    let (fr, en) = (fetch(port, ""), fetch(port, "index.en.html"));
    assert!(
        fr.contains("Bureau de poste") && fr.contains("de 9 h à 17 h") && fr.contains("Constat automatique"),
        "{fr}"
    );
    assert!(en.contains("Web site: does not answer") && en.contains("href=\"tel:3639\""), "{en}");
    let draft = house.ordered(&["notice", "list"]);
    assert!(draft.contains("portal") && draft.contains("down") && draft.contains("not confirmed"), "{draft}");

    restart_estate(&mut house);
    wait(
        "all works again",
        PATIENCE,
        || visit(&house),
        || summary(port)["status"]["indicator"] == "none" && open() == 0,
    );
    let all: Value = serde_json::from_str(&fetch(port, "api/v2/incidents.json")).unwrap();
    let portal =
        all["incidents"].as_array().unwrap().iter().find(|one| one["name"].as_str().unwrap().contains("Site web"));
    let portal = portal.unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!(portal["status"], "resolved", "nothing is left to clean up: {portal:#}");
    assert!(portal["incident_updates"].as_array().unwrap().iter().all(|update| update["by"] == "measurement"));
}

#[test]
fn the_operator_speaks_and_nothing_that_was_said_is_lost() {
    let [port] = free_ports();
    let mut house = House::open(&with_page(port, ""));
    let said = house.ordered(&[
        "notice",
        "open",
        "--title-fr",
        "Panne",
        "--title-en",
        "Outage",
        "--text-fr",
        "Nous <cherchons>.",
        "--service",
        "vault",
        "--impact",
        "major",
    ]);
    assert!(said.contains("notice 1: it is on the page"), "{said}");
    house.ordered(&[
        "notice",
        "update",
        "1",
        "--text-en",
        "We know.",
        "--stage",
        "identified",
        "--data-en",
        "Nothing was read.",
        "--evidence-en",
        "Access log.",
    ]);
    wait(
        "both are on the page",
        PATIENCE,
        || {},
        || {
            let page = fetch(port, "index.en.html");
            page.contains("We know.") && page.contains("&#60;cherchons&#62;") && page.contains("Nothing was read.")
        },
    );
    let (good, why) = house.order(&["notice", "update", "7", "--text-en", "?"]);
    assert!(!good && why.contains("no notice 7"), "{why}");
    let (good, why) = house.order(&["notice", "open", "--title-en", "x", "--text-en", "y", "--service", "nowhere"]);
    assert!(!good && why.contains("\"nowhere\"") && why.contains("portal"), "{why}");
    // While the node runs, nobody else writes its journal.
    let config = house.config.display().to_string();
    let direct = |arguments: &[&str]| {
        let output = Command::new(GUICHET).args(["notice", "-c", &config]).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (good, why) = direct(&["resolve", "1"]);
    assert!(!good && why.contains("in use"), "{why}");

    // Killed in the middle of everything, it has all of it; and without it, its journal takes orders.
    house.guichet.signal(Signal::SIGKILL);
    let _ = house.guichet.wait(Duration::from_secs(10));
    let (good, shown) = direct(&["show", "1"]);
    assert!(good && shown.contains("We know.") && shown.contains("Nous <cherchons>."), "{shown}");
    let (good, text) = direct(&["resolve", "1", "--text-en", "Mended."]);
    assert!(good, "{text}");
    let drawn = house.dir.path().join("drawn");
    let (good, text) = direct(&["render", drawn.to_str().unwrap()]);
    assert!(good && std::fs::read_to_string(drawn.join("index.en.html")).unwrap().contains("Mended."), "{text}");
    house.guichet = start_guichet(&house.config, house.dir.path());
    wait("it goes on where it was", PATIENCE, || {}, || fetch(port, "index.en.html").contains("Mended."));
    signed_and_published(&house);
}

/// What is published is signed: the key that the node names at its start verifies it.
fn signed_and_published(house: &House) {
    let log = house.log();
    let key = log.lines().find_map(|line| line.split("signed with ").nth(1)).unwrap_or_else(|| panic!("{log}"));
    let site = house.dir.path().join("site/page");
    let verify = || {
        let output = Command::new(GUICHET).args(["notice", "verify", site.to_str().unwrap(), "--key", key]).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    wait(
        "it is published",
        PATIENCE,
        || {},
        || std::fs::read_to_string(site.join("index.en.html")).is_ok_and(|page| page.contains("Mended.")),
    );
    let (good, text) = verify();
    assert!(good && text.contains("are as they were signed"), "{text}");
    let page = std::fs::canonicalize(&site).unwrap().join("index.html");
    std::fs::write(&page, "tout va bien").unwrap();
    let altered = Command::new(GUICHET)
        .args(["notice", "verify", page.parent().unwrap().to_str().unwrap(), "--key", key])
        .output()
        .unwrap();
    assert!(!altered.status.success(), "a page that was changed is told from one that was signed");
}

#[test]
fn the_page_answers_while_services_and_listeners_are_gone() {
    let [port] = free_ports();
    // The node drains for as long as somebody waits for this.
    let upstream = Upstream::start(answer_after(Duration::from_secs(8)));
    let slow = upstream.service("slow", "first_byte_ms = 60000", "");
    let mut house = House::open(&format!("{}{slow}", with_page(port, "")));
    house.estate.signal(Signal::SIGKILL);
    let _ = house.estate.wait(Duration::from_secs(10));
    let url = format!("https://slow.localhost:{}/", house.https);
    let resolve = format!("slow.localhost:{}:127.0.0.1", house.https);
    let mut waiting = Command::new("curl").args(["-sk", "--resolve", &resolve, &url]).spawn().unwrap();
    wait("somebody waits", PATIENCE, || {}, || !upstream.heads().is_empty());
    house.guichet.signal(Signal::SIGTERM);
    let refused = || std::net::TcpStream::connect(("127.0.0.1", house.https)).is_err();
    wait("the listeners are closed", PATIENCE, || {}, refused);
    let page = fetch(port, "");
    assert!(page.contains("<h1") && page.contains("Bureau de poste"), "{page}");
    assert!(refused(), "all this while");
    let _ = waiting.wait();
    assert!(house.guichet.wait(Duration::from_secs(60)).success());
}
