//! Contracts before a service counts as down: half-dead, frozen, failing now and then, or full.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::house::House;
use crate::upstream::Upstream;

/// How the upstream behaves.
const WELL: u8 = 0;
/// Every second request is never answered; the health check is.
const HALF_DEAD: u8 = 1;
/// It accepts and says nothing, the health check included, until it goes on.
const FROZEN: u8 = 2;
/// It answers 500, or 503.
const ERROR_500: u8 = 3;
const ERROR_503: u8 = 4;
/// It takes a third of a second.
const BUSY: u8 = 5;

/// A service `news` with a contract.
struct News {
    mode: Arc<AtomicU8>,
    house: House,
}

impl News {
    fn open(service_keys: &str, contract_keys: &str) -> Self {
        let mode = Arc::new(AtomicU8::new(WELL));
        let (seen, count) = (mode.clone(), Arc::new(AtomicUsize::new(0)));
        let upstream = Upstream::start(move |head, stream| answer(&seen, &count, head, stream));
        let contract = format!(
            r#"
[upstream.news.health]
path = "/health"
interval_ms = 500
timeout_ms = 500

[[service.news.route]]
path = "/kept"
cache = {{ ttl_s = 1 }}

[service.news.contract]
name = {{ en = "News of the bank", fr = "Actualités de la banque" }}
ways = ["counter"]
{contract_keys}

[channel.counter]
name = {{ en = "Post-office counter", fr = "Guichet de poste" }}

[limits]
connections_per_source = 512
handshakes_per_source = 512
"#
        );
        let house = House::open(&(upstream.service("news", "", service_keys) + &contract));
        Self { mode, house }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn get(&self, path: &str, arguments: &[&str]) -> String {
        // Far less than the upstream's own deadline of 15 seconds.
        let mut all = vec!["--insecure", "--max-time", "8"];
        all.extend_from_slice(arguments);
        self.house.get("news", path, &all)
    }

    /// Asks with four visitors at once, so many times each.
    fn crowd(&self, times: usize) -> Vec<String> {
        std::thread::scope(|scope| {
            let ask = |n: usize| {
                let accept = if n.is_multiple_of(2) { "Accept: text/html" } else { "Accept: application/json" };
                (0..times).map(|i| self.get(&format!("/v/{n}/{i}"), &["-H", accept])).collect::<Vec<_>>()
            };
            let visitors: Vec<_> = (0..4).map(|n| scope.spawn(move || ask(n))).collect();
            visitors.into_iter().flat_map(|visitor| visitor.join().expect("a visitor")).collect()
        })
    }

    fn until(&self, what: &str, fits: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !fits() {
            assert!(Instant::now() < until, "{what}: {}\n{}", self.house.admin_get("/contracts").1, self.house.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn state(&self) -> String {
        let list: serde_json::Value = serde_json::from_str(&self.house.admin_get("/contracts").1).unwrap_or_default();
        list["services"]["news"]["state"].as_str().or(find(&list, "news")).unwrap_or_default().to_owned()
    }
}

/// The state of a service, wherever in the document it stands.
fn find<'v>(value: &'v serde_json::Value, service: &str) -> Option<&'v str> {
    match value {
        serde_json::Value::Object(members) => {
            let named = members.get("service").and_then(|name| name.as_str()) == Some(service);
            let own = members.get("state").filter(|_| named).and_then(|state| state.as_str());
            own.or_else(|| members.values().find_map(|member| find(member, service)))
        }
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, service)),
        _ => None,
    }
}

fn answer(mode: &AtomicU8, count: &AtomicUsize, head: &str, mut stream: TcpStream) {
    let health = head.contains(" /health ");
    let now = mode.load(Ordering::SeqCst);
    let hangs = match now {
        HALF_DEAD => !health && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2),
        FROZEN => true,
        _ => false,
    };
    let until = Instant::now() + Duration::from_secs(60);
    while hangs && mode.load(Ordering::SeqCst) == now && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    if hangs && now == HALF_DEAD {
        return;
    }
    if now == BUSY {
        std::thread::sleep(Duration::from_millis(300));
    }
    let status = match now {
        _ if health => "200 OK",
        ERROR_500 => "500 Internal Server Error",
        ERROR_503 => "503 Service Unavailable",
        _ => "200 OK",
    };
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwell");
}

fn is(answer: &str, status: u16) -> bool {
    crate::status_line(answer).split(' ').nth(1) == Some(&status.to_string())
}

/// Whether it is the page or the document of the contract, and names the other way.
fn names_ways(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("guichet-contract: fallback") && answer.contains("Post-office counter")
}

#[test]
fn nobody_meets_a_bare_error_at_a_service_that_is_half_dead_and_then_frozen() {
    let news = News::open("", "down_after_s = 4\nup_after_s = 1");
    assert!(news.crowd(4).iter().all(|answer| is(answer, 200)));

    // Its health check says that all is well.
    news.set(HALF_DEAD);
    let answers = news.crowd(5);
    let served = answers.iter().filter(|answer| is(answer, 200)).count();
    for answer in &answers {
        assert!(is(answer, 200) || names_ways(answer), "{answer}");
    }
    assert!(served > 0 && served < answers.len(), "{served} of {}", answers.len());
    assert!(news.house.log().contains("news is degraded, by measurement"), "{}", news.house.log());

    // Frozen: pages, long before it counts as down; what was sent is not said to be lost or done.
    news.set(FROZEN);
    let answers = news.crowd(2);
    for answer in &answers {
        assert!(names_ways(answer) && (is(answer, 504) || is(answer, 503)), "{answer}");
    }
    news.until("down", || {
        news.get("/x", &[]);
        news.state() == "stale"
    });
    let posted = news.get("/x", &["-d", "a=1"]);
    assert!(is(&posted, 503) && names_ways(&posted) && posted.contains("check whether it arrived"), "{posted}");

    // And back: by degrees, by itself.
    news.set(WELL);
    news.until("served again", || is(&news.get("/x", &[]), 200));
    news.until("open again", || news.state() == "open");
    assert!(news.crowd(3).iter().all(|answer| is(answer, 200)));
}

#[test]
fn single_errors_give_what_was_kept_and_lasting_ones_the_page() {
    let news =
        News::open("", "down_after_s = 600\nstale = { if_error_s = 600, while_revalidate_s = 0, statuses = [500] }");
    assert!(is(&news.get("/kept", &[]), 200));
    std::thread::sleep(Duration::from_millis(1100));
    news.set(ERROR_503);
    for _ in 0..6 {
        let own = news.get("/kept", &[]);
        assert!(is(&own, 503) && !names_ways(&own), "this status is no failure here: {own}");
    }
    assert_eq!(news.state(), "open");
    news.set(ERROR_500);
    let kept = news.get("/kept", &[]);
    assert!(is(&kept, 200) && kept.ends_with("well") && kept.to_ascii_lowercase().contains("\nage:"), "{kept}");
    // What was sent keeps the status that the service gave, and nobody is asked to send it again.
    news.until("the page takes the place of errors that last", || names_ways(&news.get("/x", &[])));
    let posted = news.get("/x", &["-d", "a=1", "-H", "Accept: application/json"]);
    assert!(is(&posted, 500) && names_ways(&posted) && posted.contains("\"status\":500"), "{posted}");
    assert!(!posted.to_ascii_lowercase().contains("retry-after"), "{posted}");
    news.set(WELL);
    news.until("well", || news.state() == "open");
}

#[test]
fn who_finds_no_room_is_told_the_other_ways() {
    let tiny =
        "concurrency = { initial = 4, min = 4, max = 4 }\nqueue = { length = 1, wait_ms = 200 }\npasses = false\n";
    let news = News::open(tiny, "");
    news.set(BUSY);
    let output = news.get(
        "/v/[1-100]",
        &["--http2", "--parallel", "--parallel-immediate", "--parallel-max", "100", "-H", "Accept: text/html"],
    );
    let refused = output.matches("News of the bank: many people are here right now</h1>").count();
    assert!(refused > 10, "{}", &output[..output.len().min(3000)]);
    assert_eq!(output.matches("nothing was changed").count(), refused);
    assert!(output.matches("Post-office counter").count() >= refused);
    assert_eq!(news.house.logged(|line| line["contract"] == "full")["status"], 503);
}
