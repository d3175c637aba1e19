//! Passes for programs: work, waiting, budgets, and who is never asked.

use std::time::{Duration, Instant};

use guichet_proxy::passes::solve;
use serde_json::{Value, json};

use crate::house::House;
use crate::upstream::{Upstream, answer_after};

const JSON: [&str; 4] = ["-H", "Accept: application/json", "-H", "User-Agent: PostalApp/8.4"];

fn doubt(house: &House, service: &str) {
    house.ordered(&["mitigations", "add", service, "challenge", "method=GET"]);
}

/// Status, head and body of an answer.
fn get(house: &House, service: &str, path: &str, arguments: &[&str]) -> (u16, String, Value) {
    let answer = house.get(service, path, arguments);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

fn solved(work: &Value) -> String {
    let puzzle = work["puzzle"].as_str().unwrap();
    let numbers = solve(puzzle, work["bits"].as_u64().unwrap() as u8);
    json!({ "puzzle": puzzle, "numbers": numbers }).to_string()
}

#[test]
fn a_program_solves_a_puzzle_and_shows_its_pass() {
    let house = House::open("");
    doubt(&house, "portal");
    let (status, head, problem) = get(&house, "portal", "/", &JSON);
    assert_eq!((status, problem["status"].as_u64()), (403, Some(403)), "{head}");
    assert!(head.contains("application/problem+json") && head.contains("retry-after"), "{head}");
    let submit = problem["work"]["submit"].as_str().unwrap();
    let order = solved(&problem["work"]);
    let kind = ["-H", "Content-Type: application/json", "-d", &order];
    let (status, head, earned) = get(&house, "portal", submit, &[&JSON[..], &kind].concat());
    assert_eq!(status, 200, "{head} {earned}");
    assert!(head.contains("set-cookie: guichet-pass=") && head.contains("secure"), "{head}");
    let pass = format!("Guichet-Pass: {}", earned["pass"].as_str().unwrap());
    let (status, head, _) = get(&house, "portal", "/", &[&JSON[..], &["-H", &pass]].concat());
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("x-estate-op: home"), "the service itself answers: {head}");

    // Bound to the program, the service and the budget; and the service never sees it.
    let other = ["-H", "Accept: application/json", "-H", "User-Agent: Other/1.0", "-H", &pass];
    assert_eq!(get(&house, "portal", "/", &other).0, 403);
    let requests = earned["requests"].as_u64().unwrap();
    let url = format!("/?n=[1-{}]", requests + 20);
    let many = [&JSON[..], &["-H", &pass, "-o", "/dev/null", "-w", "%{http_code}\n"]].concat();
    let answers = house.get("portal", &url, &many);
    let served = answers.lines().filter(|line| *line == "200").count() as u64;
    assert!(answers.lines().filter(|line| *line == "403").count() >= 20, "the budget ends: {served} served");
    assert!(served >= requests - 5 && served <= requests, "{served} of {requests}");
    let wrong = json!({ "puzzle": problem["work"]["puzzle"], "numbers": [1, 2, 3, 4, 5, 6, 7, 8] }).to_string();
    let kind = ["-H", "Content-Type: application/json", "-d", &wrong];
    let (status, _, anew) = get(&house, "portal", submit, &[&JSON[..], &kind].concat());
    assert!(status == 403 && anew["work"]["puzzle"] != problem["work"]["puzzle"], "a new puzzle: {anew}");
}

#[test]
fn a_program_waits_and_critical_services_partners_and_sessions_are_never_asked() {
    let house = House::open("");
    for service in ["portal", "rails", "bank"] {
        doubt(&house, service);
    }
    let (_, _, problem) = get(&house, "portal", "/", &JSON);
    let collect = problem["waiting"]["collect"].as_str().unwrap();
    let (status, head, early) = get(&house, "portal", collect, &JSON);
    assert!(status == 202 && early["wait_s"].as_u64() > Some(0), "{head} {early}");
    let until = Instant::now() + Duration::from_secs(60);
    let earned = loop {
        let (status, _, answer) = get(&house, "portal", collect, &JSON);
        if status == 200 {
            break answer;
        }
        assert!(Instant::now() < until, "{answer}");
        std::thread::sleep(Duration::from_millis(500));
    };
    let pass = format!("Guichet-Pass: {}", earned["pass"].as_str().unwrap());
    assert_eq!(get(&house, "portal", "/", &[&JSON[..], &["-H", &pass]].concat()).0, 200);

    let dir = house.dir.path();
    let (cert, key) = (dir.join("partner.pem"), dir.join("partner-key.pem"));
    let partner = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let (status, head, _) = get(&house, "rails", "/", &[&JSON[..], &partner].concat());
    assert!(status != 403 && status != 429, "partners are never asked: {head}");

    // A session that the door saw the bank issue.
    let jar = dir.join("jar");
    let jar = jar.to_str().unwrap();
    let form = ["-c", jar, "-b", jar, "-d", "user=user0001&password=password-0001", "-H", "User-Agent: Firefox"];
    let (status, head, _) = get(&house, "portal", "/connexion", &form);
    assert!(status == 303 && head.contains("guichet-session="), "{head}");
    let (status, head, _) = get(&house, "portal", "/compte", &["-b", jar, "-H", "User-Agent: Firefox"]);
    assert_eq!(status, 200, "sessions are never asked: {head}");
}

#[test]
fn the_desk_answers_what_it_must_and_nothing_else() {
    let house = House::open("");
    let at = |path: &str, arguments: &[&str]| get(&house, "portal", &format!("/.well-known/guichet/{path}"), arguments);
    let (status, head, _) = at("worker.js", &[]);
    assert!(status == 200 && head.contains("text/javascript") && head.contains("nosniff"), "{head}");
    assert_eq!(at("nothing", &[]).0, 404);
    let (status, head, _) = at("work", &[]);
    assert!(status == 405 && head.contains("allow: post"), "{head}");
    let (status, head, _) = at("check.js", &["-X", "POST", "-d", "x"]);
    assert_eq!(status, 405, "{head}");
    for body in ["", "puzzle=x&numbers=y", "%", &"a".repeat(20_000)] {
        assert_eq!(at("work", &[&JSON[..], &["-d", body]].concat()).0, 403, "{}", body.len());
    }
    for to in ["//evil.example", "https://evil.example/", "/\\evil.example"] {
        let (status, head, _) = at(&format!("wait?place=x&to={to}"), &["-H", "Accept: text/html"]);
        assert!(status == 200 && !head.contains("evil"), "{head}");
    }
}

#[test]
fn the_desk_works_whatever_the_service_takes_and_the_service_never_sees_a_pass() {
    let upstream = Upstream::start(answer_after(Duration::ZERO));
    let keys = "body_bytes_max = 10\n[[service.narrow.route]]\npath = \"/\"\nmethods = [\"GET\"]\n";
    let house = House::open(&upstream.service("narrow", "", keys));
    doubt(&house, "narrow");
    let get =
        |path: &str, arguments: &[&str]| get(&house, "narrow", path, &[&["--insecure"], &JSON[..], arguments].concat());
    let (status, head, problem) = get("/page", &[]);
    assert_eq!(status, 403, "{head}");
    let order = solved(&problem["work"]);
    let kind = ["-H", "Content-Type: application/json", "-d", &order];
    let (status, head, earned) = get(problem["work"]["submit"].as_str().unwrap(), &kind);
    assert_eq!(status, 200, "the service takes no POST, and no body as long as this: {head}");
    let pass = earned["pass"].as_str().unwrap();
    for shown in [format!("Guichet-Pass: {pass}"), format!("Cookie: a=b; guichet-pass={pass}")] {
        let (status, head, _) = get("/page", &["-H", &shown]);
        assert_eq!(status, 200, "{head}");
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads.iter().all(|head| !head.to_lowercase().contains("guichet-pass")), "{heads:?}");
    let line =
        house.logged(|line| line["service"] == "narrow" && line["status"] == 200 && line["upstream"].is_string());
    assert_eq!((&line["standing"], &line["pass"]), (&"proven".into(), &"work".into()), "{line}");
    let (_, metrics) = house.admin_get("/metrics");
    for (event, count) in [("earned_work", 1), ("shown", 2), ("used_up", 0)] {
        let wanted = format!("guichet_passes_total{{event=\"{event}\"}} {count}\n");
        assert!(metrics.contains(&wanted), "{wanted} in {metrics}");
    }
}
