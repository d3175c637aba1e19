//! Stolen passwords, tried too slowly to press anything: found by how sign-ins end, while people go on signing in.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::house::{House, Process};
use crate::mitigations::{AGENTS, LIMITS, curl, mitigation};
use crate::upstream::Upstream;

const RIGHT: &str = "X-Password: right";
const LOGIN: &str = "\n[[service.small.route]]\npath = \"/login\"\nsign_in = { failed = [401] }\n";

/// Lets in who knows the password.
fn service() -> Upstream {
    Upstream::start(|head, mut stream| {
        let right = head.to_ascii_lowercase().contains("x-password: right");
        let answer = if right || head.starts_with("GET") { "200 OK" } else { "401 Unauthorized" };
        let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone");
    })
}

/// The status of a sign-in of somebody with a browser.
fn sign_in(house: &House, n: usize, right: bool) -> String {
    let agent = format!("User-Agent: {}", AGENTS[n % AGENTS.len()]);
    let password = if right { RIGHT } else { "X-Password: mistyped" };
    let arguments = [
        "-o",
        "/dev/null",
        "-X",
        "POST",
        "-H",
        &agent,
        "-H",
        "Accept-Language: fr",
        "-H",
        password,
        "-w",
        "%{http_code}",
    ];
    let output = curl(house, &format!("127.0.2.{}", 1 + n % 200), &arguments, "/login").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Twenty guesses a second from each of three addresses, for at most 90 s.
fn guessing(house: &House) -> Vec<Process> {
    let tool = |n: u32| -> Child {
        let arguments = ["-X", "POST", "-H", "User-Agent: Guesser/1.0", "--rate", "20/s"];
        let mut tool = curl(house, &format!("127.0.9.{n}"), &arguments, "/login?n=[1-2000]");
        tool.stdout(Stdio::null()).stderr(Stdio::null()).args(["--max-time", "90"]).spawn().unwrap()
    };
    (1..=3).map(|n| Process(tool(n))).collect()
}

#[test]
fn guesses_are_found_by_how_they_end_and_people_sign_in_on() {
    let upstream = service();
    let house = House::open(&(upstream.service("small", "", LOGIN) + LIMITS));
    for n in 0..150 {
        // People mistype, too.
        let right = n % 12 != 5;
        assert_eq!(sign_in(&house, n, right), if right { "200" } else { "401" });
        std::thread::sleep(Duration::from_millis(25));
    }
    let guessing = guessing(&house);
    let found = mitigation(&house, |m| {
        m["evidence"]["ending"] == "failed_sign_ins"
            && matches!(m["step"].as_str(), Some("challenge" | "limit" | "refuse"))
    });
    let text = found["signature"].to_string();
    assert!(["Guesser", "header_order", "127.0.9"].iter().any(|mark| text.contains(mark)), "{found}");
    assert!(text.contains("/login"), "{found}");
    let (good, told) = house.order(&["mitigations", "show", &found["id"].to_string()]);
    assert!(good && told.contains("sign-ins"), "{told}");

    // Whoever guesses does not reach the service any more, but for one or two under way; people do.
    let guesses = || upstream.heads().iter().filter(|head| head.contains("Guesser")).count();
    std::thread::sleep(Duration::from_millis(500));
    let before = guesses();
    for n in 150..170 {
        assert_eq!(sign_in(&house, n, true), "200");
        std::thread::sleep(Duration::from_millis(50));
    }
    let more = guesses() - before;
    assert!(more <= 6, "{more} guesses more reached the service\n{}", house.log());
    drop(guessing);
}
