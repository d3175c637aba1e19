//! An attacker's tool is found by itself, met, listed, explained, held, and let go by order; people go on.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{House, Process};
use crate::upstream::{Upstream, answer_after};

/// Room for about a hundred requests a second.
const SMALL: &str = "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 8, wait_ms = 200 }\n";
pub(crate) const LIMITS: &str = "\n[limits]\nconnections_per_source = 512\nhandshakes_per_source = 100000\n";
pub(crate) const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
];

pub(crate) fn curl(house: &House, source: &str, arguments: &[&str], path: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--insecure", "--http1.1", "--max-time", "10", "--interface", source])
        .args(["--resolve", &format!("small.localhost:{}:127.0.0.1", house.https)])
        .args(arguments)
        .arg(format!("https://small.localhost:{}{path}", house.https));
    curl
}

/// People, until enough of them were seen in calm.
fn people(house: &House) {
    for n in 0..90 {
        let agent = format!("User-Agent: {}", AGENTS[n % AGENTS.len()]);
        let arguments = ["-o", "/dev/null", "-H", &agent, "-H", "Accept-Language: fr", "-w", "%{http_code}"];
        let output = curl(house, &format!("127.0.1.{}", 1 + n), &arguments, &format!("/page/{}", n % 7));
        let output = { output }.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "calm serves people");
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Thousands of requests of one tool, from several addresses; ends by itself, or when dropped.
fn flood(house: &House) -> Vec<Process> {
    let tool = |n: u32| -> Child {
        let arguments = ["--parallel", "--parallel-max", "60", "-H", "User-Agent: Floodmaker/1.0", "-H", "X-Tool: 1"];
        let mut tool = curl(house, &format!("127.0.9.{n}"), &arguments, "/search?q=[1-20000]");
        tool.stdout(Stdio::null()).stderr(Stdio::null()).args(["--max-time", "90"]).spawn().unwrap()
    };
    (1..=3).map(|n| Process(tool(n))).collect()
}

/// Waits until there is a mitigation that fits.
pub(crate) fn mitigation(house: &House, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (good, text) = house.order(&["mitigations", "list", "--json"]);
        assert!(good, "{text}");
        let all: Value = serde_json::from_str(&text).unwrap();
        if let Some(found) = all["mitigations"].as_array().unwrap().iter().find(|m| fits(m)) {
            return found.clone();
        }
        assert!(
            Instant::now() < until,
            "no such mitigation in {all}\n{}\n{}",
            house.log(),
            house.admin_get("/metrics").1
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_tool_is_found_met_explained_and_let_go_by_order() {
    let upstream = Upstream::start(answer_after(Duration::from_millis(40)));
    let house = House::open(&(upstream.service("small", "", SMALL) + LIMITS));
    people(&house);
    let flooding = flood(&house);

    // Found and met: one of its marks is in the signature, and nobody would be hit by it.
    let acts = |m: &Value| m["service"] == "small" && m["step"] != "observe";
    let found = mitigation(&house, acts);
    let text = found["signature"].to_string();
    let marks = ["ja4", "Floodmaker", "x-tool", "127.0.9", "/search", "\"q\""];
    assert!(marks.iter().any(|mark| text.contains(mark)), "{found}");
    let id = found["id"].to_string();
    assert!(house.log().contains(&format!("mitigation {id} at small: found")), "{}", house.log());

    // Held at the harshest step, the tool is refused, with a reference that is explained.
    let (good, text) = house.order(&["mitigations", "pin", &id, "refuse", "--for", "10m"]);
    assert!(good, "{text}");
    let line = house.logged(|line| line["reason"] == "mitigated" && line["service"] == "small");
    assert_eq!(line["mitigation"].to_string(), id, "{line}");
    let (good, text) = house.order(&["explain", line["reference"].as_str().unwrap()]);
    assert!(good && text.contains("mitigated") && text.contains(&format!("mitigation {id} at small")), "{text}");
    let (good, text) = house.order(&["mitigations", "show", &id]);
    assert!(good && text.contains("held") && text.contains("collateral"), "{text}");
    let (good, text) = house.order(&["mitigations", "list"]);
    assert!(good && text.contains("refuse (held)"), "{text}");

    // Whoever is allowed gets in, tool or not; and a wrong order says what is wrong.
    let (good, text) = house.order(&["allow", "add", "127.0.9.77", "--because", "a feed of ours"]);
    assert!(good, "{text}");
    let (good, text) = house.order(&["allow", "list"]);
    assert!(good && text.contains("127.0.9.77/32") && text.contains("a feed of ours"), "{text}");
    for wrong in [
        &["mitigations", "pin", "99999", "refuse"][..],
        &["mitigations", "pin", &id, "destroy"],
        &["allow", "add", "nowhere"],
        &["allow", "remove", "192.0.2.0/24"],
        &["explain", "G-000-0000000"],
    ] {
        let (good, text) = house.order(wrong);
        assert!(!good && text.starts_with("guichet: "), "{wrong:?}: {text}");
    }
    drop(flooding);
    let tool = ["-o", "/dev/null", "-H", "User-Agent: Floodmaker/1.0", "-H", "X-Tool: 1", "-w", "%{http_code}"];
    let from = |source: &str| {
        let output = curl(&house, source, &tool, "/search?q=1").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Refused though the flood is over, since it is held: by its ClientHello while the service is pressed, and by an
    // answer later.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let status = from("127.0.9.78");
        assert!(status == "429" || status == "000" && Instant::now() < until, "{status}");
        if status == "429" {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let until = Instant::now() + Duration::from_secs(30);
    while from("127.0.9.77") != "200" {
        assert!(Instant::now() < until, "an allowed address is served");
        std::thread::sleep(Duration::from_millis(200));
    }

    // Forbidden: it ends at once, and whoever looks like it is served again.
    let (good, text) = house.order(&["mitigations", "forbid", &id]);
    assert!(good, "{text}");
    let until = Instant::now() + Duration::from_secs(30);
    while from("127.0.9.79") != "200" {
        assert!(Instant::now() < until, "nobody is refused any more");
        std::thread::sleep(Duration::from_millis(200));
    }
    // What is listed is brought up to date ten times a second.
    let until = Instant::now() + Duration::from_secs(10);
    while !house.ordered(&["mitigations", "list", "--ended"]).contains("(operator)") {
        assert!(Instant::now() < until, "{}", house.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_dry_run_finds_and_tells_and_does_nothing() {
    let upstream = Upstream::start(answer_after(Duration::from_millis(40)));
    let dry = SMALL.to_owned() + "mitigations = { mode = \"dry-run\" }\n";
    let house = House::open(&(upstream.service("small", "", &dry) + LIMITS));
    people(&house);
    let _flooding = flood(&house);
    let found = mitigation(&house, |m| m["step"] != "observe");
    assert_eq!(found["dry_run"], true);
    let (good, text) = house.order(&["mitigations", "pin", &found["id"].to_string(), "refuse"]);
    assert!(good, "{text}");
    std::thread::sleep(Duration::from_secs(1));
    let (_, metrics) = house.admin_get("/metrics");
    let line = metrics.lines().find(|line| line.starts_with("guichet_mitigations{service=\"small\",step=\"refuse\"}"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
    assert!(!metrics.contains("reason=\"mitigated\""), "nobody is refused for it");
}

#[test]
fn programs_are_never_asked_for_a_pass_where_a_route_is_theirs() {
    let upstream = Upstream::start(answer_after(Duration::ZERO));
    let route = "[[service.small.route]]\npath = \"/feed\"\nclient_kind = \"api\"\n";
    let house = House::open(&upstream.service("small", "", route));
    house.ordered(&["mitigations", "add", "small", "challenge", "method=GET"]);
    let ask = |path: &str, accept: &str| {
        let accept = format!("Accept: {accept}");
        let output = curl(&house, "127.0.9.80", &["-i", "-H", &accept], path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let page = ask("/page", "text/html");
    assert!(page.starts_with("HTTP/1.1 403") && page.contains("<form id=\"work\""), "{page}");
    for accept in ["text/html", "application/json"] {
        let fed = ask("/feed/today.xml", accept);
        assert!(fed.starts_with("HTTP/1.1 200"), "{fed}");
    }
    // What is refused there is refused with a document, whatever the program says that it takes.
    house.ordered(&["mitigations", "add", "small", "refuse", "path=/feed/today.xml"]);
    let refused = ask("/feed/today.xml", "*/*");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("application/problem+json"), "{refused}");
    assert!(!refused.contains("puzzle"), "a program is not asked to earn a pass: {refused}");
}
