//! The whole house, with the real binary, real sockets and curl as the client.

mod connections;
mod contracts;
mod contracts_failing;
mod contracts_ways;
mod demo;
mod house;
mod mitigations;
mod notices;
mod opened_demo;
mod passes;
#[path = "../../../estate/tests/support/postgres.rs"]
#[expect(dead_code, reason = "tests of the estate use the rest")]
mod postgres;
mod pressure;
mod sign_ins;
mod upstream;
#[path = "../../../estate/tests/support/wait.rs"]
mod wait;
mod wire;

use std::time::Duration;

use house::{GUICHET, House, curl, start_guichet};
use nix::sys::signal::Signal;

fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or("").trim()
}

#[test]
fn serves_the_estate_over_h1_h2_and_redirects_http() {
    let house = House::open("");
    let h1 = house.get("portal", "/", &["--http1.1"]);
    assert_eq!(status_line(&h1), "HTTP/1.1 200 OK", "{h1}");
    assert!(h1.to_lowercase().contains("x-estate-op: home"), "{h1}");
    let h2 = house.get("portal", "/", &["--http2"]);
    assert_eq!(status_line(&h2), "HTTP/2 200", "{h2}");
    let prior = curl(&[
        "-s",
        "-i",
        "--http2-prior-knowledge",
        "-H",
        "Host: portal.localhost",
        &format!("http://127.0.0.1:{}/x", house.http),
    ]);
    assert!(String::from_utf8_lossy(&prior.stdout).starts_with("HTTP/2 308"), "{prior:?}");
    let plain =
        curl(&["-s", "-i", "-H", "Host: portal.localhost", &format!("http://127.0.0.1:{}/suivi?id=1", house.http)]);
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(plain.starts_with("HTTP/1.1 308"), "{plain}");
    assert!(plain.contains(&format!("https://portal.localhost:{}/suivi?id=1", house.https)), "{plain}");
    for service in ["app", "identity", "vault", "bank", "parcels", "staff"] {
        let answer = house.get(service, "/nowhere-at-all", &[]);
        assert!(status_line(&answer).contains(" 404") || status_line(&answer).contains(" 401"), "{service}: {answer}");
    }
}

#[test]
fn critical_services_open_to_partners_only() {
    let house = House::open("");
    let stranger = house.get("rails", "/instant", &["-X", "POST", "-H", "Accept: application/json"]);
    assert!(status_line(&stranger).contains(" 403"), "{stranger}");
    assert!(stranger.contains("application/problem+json"), "{stranger}");
    let (cert, key) = (house.dir.path().join("partner.pem"), house.dir.path().join("partner-key.pem"));
    let partner = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap(), "-X", "POST"];
    let answer = house.get("rails", "/nowhere", &partner);
    assert!(status_line(&answer).contains(" 404"), "the partner reaches the service itself: {answer}");
}

#[test]
fn refusals_are_pages_in_the_visitors_language_and_problems_for_programs() {
    let house = House::open("");
    let page = |arguments: &[&str]| {
        let mut all = vec!["-s", "-i", "-H", "Host: nobody.localhost", "--insecure"];
        all.extend_from_slice(arguments);
        let url = format!("https://127.0.0.1:{}/", house.https);
        all.push(&url);
        String::from_utf8_lossy(&curl(&all).stdout).into_owned()
    };
    let french = page(&["-H", "Accept: text/html", "-H", "Accept-Language: fr-FR,fr;q=0.9,en;q=0.5"]);
    assert!(french.contains(" 421") && french.contains("lang=\"fr\""), "{french}");
    let english = page(&["-H", "Accept: text/html", "-H", "Accept-Language: en"]);
    assert!(english.contains("lang=\"en\""), "{english}");
    let problem = page(&["-H", "Accept: application/json"]);
    assert!(problem.contains("application/problem+json"), "{problem}");
}

#[test]
fn a_session_counts_only_with_the_proof_of_this_door() {
    let house = House::open("");
    let jar = house.dir.path().join("jar");
    let jar = jar.to_str().unwrap();
    let form = ["-c", jar, "-b", jar, "--data", "user=user0007&password=password-0007"];
    let login = house.get("portal", "/connexion", &form);
    assert!(login.contains("guichet-session="), "{login}");
    let account = house.get("portal", "/compte", &["-b", jar]);
    assert!(status_line(&account).contains(" 200"), "{account}");
    let _ = house.get(
        "portal",
        "/compte",
        &["-b", "portal_session=invented; guichet-session=ffffffff.AAAAAAAAAAAAAAAAAAAAAA"],
    );
    std::thread::sleep(Duration::from_millis(500));
    let log = std::fs::read_to_string(house.dir.path().join("access.log")).unwrap();
    let standing: Vec<_> = log
        .lines()
        .filter(|l| l.contains("/compte"))
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["standing"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(standing, ["session", "anonymous"], "{log}");
}

#[test]
fn metrics_health_and_status_tell_what_happens() {
    let house = House::open("");
    let _ = house.get("portal", "/", &[]);
    assert_eq!(house.admin_get("/health/live").0, 200);
    let until = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let (status, metrics) = house.admin_get("/metrics");
        assert_eq!(status, 200);
        let counted = metrics
            .lines()
            .any(|l| l.starts_with("guichet_requests_total") && l.contains("service=\"portal\"") && !l.ends_with(" 0"));
        if counted {
            let clients = metrics.lines().filter(|l| !l.starts_with("guichet_upstream"));
            assert!(metrics.contains("guichet_certificate_expiry_seconds{name=\"portal.localhost\"}"), "{metrics}");
            assert!(clients.clone().all(|l| !l.contains("127.0.0.")), "no client addresses in labels");
            break;
        }
        assert!(std::time::Instant::now() < until, "{metrics}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (_, status) = house.admin_get("/status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["services"].as_array().is_some_and(|s| s.len() == 9), "{status}");
}

#[test]
fn hangup_reloads_and_a_bad_file_keeps_the_old() {
    let house = House::open("");
    let good = std::fs::read_to_string(&house.config).unwrap();
    std::fs::write(
        &house.config,
        good.replace("hosts = [\"portal.localhost\"]", "hosts = [\"portal.localhost\", \"www.localhost\"]"),
    )
    .unwrap();
    house.guichet.signal(Signal::SIGHUP);
    let answers = |host: &str| {
        let url = format!("https://127.0.0.1:{}/", house.https);
        let head = format!("Host: {host}");
        let output = curl(&["-s", "-o", "/dev/null", "-w", "%{http_code}", "--insecure", "-H", &head, &url]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while answers("www.localhost") != "200" {
        assert!(std::time::Instant::now() < until, "{}", house.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(&house.config, good.replace("criticality", "criticalty")).unwrap();
    house.guichet.signal(Signal::SIGHUP);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !house.admin_get("/metrics").1.contains("guichet_config_reload_success 0") {
        assert!(std::time::Instant::now() < until, "{}", house.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(answers("www.localhost"), "200", "the old configuration stays in force");
}

#[test]
fn terminate_drains_and_exits_zero() {
    let mut house = House::open("");
    house.guichet.signal(Signal::SIGTERM);
    let status = house.guichet.wait(Duration::from_secs(15));
    assert!(status.success(), "{status:?} {}", house.log());
    let again = start_guichet(&house.config, house.dir.path());
    drop(again);
}

#[test]
fn check_names_file_line_and_mend() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("guichet.toml");
    std::fs::write(&file, "[node]\nworkerz = 2\n").unwrap();
    let output = std::process::Command::new(GUICHET).args(["check", "-c"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("guichet.toml:2") && text.contains("workers"), "{text}");
}
