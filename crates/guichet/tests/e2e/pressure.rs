//! Overload, drain, and what changes while it runs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::house::{House, write_certificates};
use crate::upstream::{Upstream, answer_after};

/// One slot and a queue of one: what more comes at once is refused.
const TINY: &str = "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 1, wait_ms = 200 }\n";

#[test]
fn what_no_queue_holds_gets_a_503_whose_reference_is_in_the_log() {
    let upstream = Upstream::start(answer_after(Duration::from_millis(300)));
    let house = House::open(
        &(upstream.service("tiny", "", TINY)
            + "\n[limits]\nconnections_per_source = 256\nhandshakes_per_source = 256\n"),
    );
    let url = format!("https://tiny.localhost:{}/slow?n=[1-200]", house.https);
    let resolve = format!("tiny.localhost:{}:127.0.0.1", house.https);
    let bodies = house.dir.path().join("bodies");
    std::fs::create_dir(&bodies).unwrap();
    let output = Command::new("curl")
        .args(["-s", "--insecure", "--http2", "--parallel", "--parallel-max", "200"])
        .args(["--max-time", "15", "--resolve", &resolve, "-H", "Accept: text/html", "-H", "Accept-Language: en"])
        .args(["-w", "%{http_code} %header{retry-after} %{errormsg}\n", "-o"])
        .arg(bodies.join("#1.html"))
        .arg(&url)
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = |status: &str| lines.lines().filter(|line| line.starts_with(status)).count();
    assert!(count("200") >= 1, "some are served: {lines}");
    let refused: Vec<_> = lines.lines().filter(|line| line.starts_with("503") || line.starts_with("429")).collect();
    assert!(refused.iter().any(|line| line.starts_with("503")), "{lines}");
    assert!(count("200") + refused.len() == 200, "served or refused, nothing else: {lines}");
    for line in refused {
        let after = line.split_once(' ').unwrap().1.trim();
        assert!(after.parse::<u32>().is_ok_and(|s| s > 0), "Retry-After in {line:?}");
    }
    // Refusals are sampled in the log; those that are there carry the very code that a visitor saw.
    let line = house.logged(|line| line["status"] == 503 && line["service"] == "tiny");
    let reference = line["reference"].as_str().expect("a reference");
    let seen = std::fs::read_dir(&bodies)
        .unwrap()
        .any(|file| std::fs::read_to_string(file.unwrap().path()).is_ok_and(|page| page.contains(reference)));
    assert!(seen, "{reference} stands on a page");
}

#[test]
fn terminate_lets_a_slow_request_finish() {
    let upstream = Upstream::start(answer_after(Duration::from_secs(2)));
    let mut house = House::open(&upstream.service("slow", "", ""));
    let url = format!("https://slow.localhost:{}/", house.https);
    let resolve = format!("slow.localhost:{}:127.0.0.1", house.https);
    let client = Command::new("curl")
        .args(["-s", "--insecure", "-w", " %{http_code}", "--max-time", "15", "--resolve", &resolve, &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while upstream.heads().is_empty() {
        assert!(Instant::now() < until, "the request reaches the service");
        std::thread::sleep(Duration::from_millis(10));
    }
    house.guichet.signal(Signal::SIGTERM);
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done 200");
    assert!(house.guichet.wait(Duration::from_secs(15)).success(), "{}", house.log());
}

#[test]
fn a_certificate_replaced_on_disk_is_served_without_a_restart() {
    let house = House::open("");
    assert!(house.get("portal", "/", &[]).contains(" 200"));
    let before = std::fs::read(house.dir.path().join("ca.pem")).unwrap();
    // Another authority: curl, which trusts only what is in ca.pem now, is content when the new certificate is served.
    write_certificates(house.dir.path());
    assert_ne!(before, std::fs::read(house.dir.path().join("ca.pem")).unwrap());
    let until = Instant::now() + Duration::from_secs(15);
    while !house.get("portal", "/", &[]).contains(" 200") {
        assert!(Instant::now() < until, "{}", house.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_estate_that_is_killed_leaves_truthful_pages() {
    let mut house = House::open("");
    assert!(house.get("portal", "/", &[]).contains(" 200"));
    house.estate.signal(Signal::SIGKILL);
    let _ = house.estate.wait(Duration::from_secs(5));
    for (accept, kind) in [("Accept: text/html", "text/html"), ("Accept: application/json", "application/problem+json")]
    {
        let answer = house.get("portal", "/", &["-H", accept, "-H", "Accept-Language: fr"]);
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(" 502") || status.contains(" 503"), "{answer}");
        assert!(answer.contains(kind) && answer.contains("G-"), "{answer}");
        assert!(!answer.contains("x-estate-op"), "{answer}");
    }
    assert_eq!(house.admin_get("/health/ready").0, 200, "the door itself is well");
}
