//! What contracts give in place of an answer: older ones, another way in, a page of one's own, a feature less.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::house::House;
use crate::upstream::Upstream;

fn is(answer: &str, status: u16) -> bool {
    crate::status_line(answer).split(' ').nth(1) == Some(&status.to_string())
}

fn until(what: &str, house: &House, mut fits: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !fits() {
        assert!(Instant::now() < until, "{what}: {}\n{}", house.admin_get("/contracts").1, house.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn say(stream: &mut TcpStream, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

#[test]
fn an_answer_beyond_its_time_is_served_at_once_while_a_slow_service_gives_a_newer_one() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let upstream = Upstream::start(move |_head, mut stream| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        if n > 1 {
            std::thread::sleep(Duration::from_secs(3));
        }
        say(&mut stream, &format!("edition {n}"));
    });
    let contract = r#"
[[service.slow.route]]
path = "/"
cache = { ttl_s = 1 }

[service.slow.contract]
name = { en = "Slow", fr = "Lent" }
stale = { while_revalidate_s = 600 }
"#;
    let house = House::open(&(upstream.service("slow", "", "") + contract));
    let get = || house.get("slow", "/", &["--insecure"]);
    assert!(get().ends_with("edition 1"));
    std::thread::sleep(Duration::from_millis(1200));
    // The service needs three seconds now; nobody waits for it, and it is asked once.
    for _ in 0..5 {
        let stale = get();
        assert!(is(&stale, 200) && stale.ends_with("edition 1"), "{stale}");
        assert!(stale.contains("detail=stale-while-revalidate"), "{stale}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one fetch behind it");
    until("a newer one", &house, || get().ends_with("edition 2"));
}

#[test]
fn browsers_are_sent_to_another_way_in_or_get_the_operators_own_page() {
    let upstream = Upstream::start(|_head, stream| drop(stream));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("away.html");
    std::fs::write(&file, "<!DOCTYPE html><title>Away</title><p>Our own words.</p>").unwrap();
    let contract = format!(
        "\n[service.one.contract]\nname = {{ en = \"One\", fr = \"Un\" }}\nfallback = \"https://elsewhere.example/in\"\n\
         \n[service.two.contract]\nname = {{ en = \"Two\", fr = \"Deux\" }}\nfallback = \"{}\"\n",
        file.display()
    );
    let house = House::open(&(upstream.service("one", "", "") + &upstream.service("two", "", "") + &contract));
    let get = |service: &str, more: &[&str]| {
        let mut all = vec!["--insecure", "-H", "Accept: text/html"];
        all.extend_from_slice(more);
        house.get(service, "/x", &all)
    };
    let sent = get("one", &[]);
    assert!(is(&sent, 302) && sent.to_ascii_lowercase().contains("location: https://elsewhere.example/in"), "{sent}");
    let posted = get("one", &["-d", "a=1"]);
    assert!(is(&posted, 502) && posted.contains("One cannot be reached"), "what was sent goes nowhere else: {posted}");
    let own = get("two", &[]);
    assert!(is(&own, 502) && own.ends_with("<p>Our own words.</p>"), "{own}");
    let program = house.get("two", "/x", &["--insecure", "-H", "Accept: application/json"]);
    assert!(program.contains("application/problem+json"), "{program}");
}

#[test]
fn a_costly_feature_goes_off_under_pressure_and_comes_back_when_it_is_calm() {
    let upstream = Upstream::start(|_head, mut stream| {
        std::thread::sleep(Duration::from_millis(200));
        say(&mut stream, "well");
    });
    let tiny =
        "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 8, wait_ms = 500 }\npasses = false\n";
    let more = r#"
[[service.shop.route]]
path = "/search"
switch_off = { at_pressure = "pressed", name = { en = "Search", fr = "Recherche" } }

[service.shop.contract]
name = { en = "Shop", fr = "Boutique" }

[limits]
connections_per_source = 512
handshakes_per_source = 512
"#;
    let house = House::open(&(upstream.service("shop", "", tiny) + more));
    let search = || house.get("shop", "/search?q=a", &["--insecure", "-H", "Accept: text/html"]);
    assert!(is(&search(), 200));
    let crowd = ["--insecure", "--http2", "--parallel", "--parallel-immediate", "--parallel-max", "100"];
    let mut off = String::new();
    for _ in 0..10 {
        house.get("shop", "/v/[1-200]", &crowd);
        off = search();
        if off.contains("Search is switched off") {
            break;
        }
    }
    assert!(is(&off, 503) && off.contains("Search is switched off"), "{off}\n{}", house.admin_get("/contracts").1);
    until("on again", &house, || is(&search(), 200));
}
