//! Contracts: what visitors get when a service is dead, failing, shut, or switched off in part; and what is kept.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::house::{House, start_guichet};
use crate::status_line;
use crate::upstream::Upstream;

/// How the upstream behaves.
const WELL: u8 = 0;
/// It closes connections without a word.
const DEAD: u8 = 1;
/// It answers 500.
const FAILING: u8 = 2;

/// A service `news`, its behaviour, and the house before it.
struct News {
    upstream: Upstream,
    mode: Arc<AtomicU8>,
    house: House,
}

const CONTRACT: &str = r#"
[[service.news.route]]
path = "/kept"
cache = { query = ["page"], ttl_s = 1, vary = ["accept-language"] }

[[service.news.route]]
path = "/long"
cache = { query = ["page"], ttl_s = 600 }

[[service.news.route]]
path = "/search"
switch_off = { name = { en = "Search", fr = "Recherche" } }

[service.news.contract]
name = { en = "News of the bank", fr = "Actualités de la banque" }
ways = ["counter", "telephone"]
needs = [{ service = "identity", instead = "telephone" }]
stale = { if_error_s = 8, while_revalidate_s = 0 }
down_after_s = 1
up_after_s = 1

[channel.counter]
name = { en = "Post-office counter", fr = "Guichet de poste" }
hours = { en = "weekdays 9:00 to 18:00", fr = "en semaine, de 9 h à 18 h" }

[channel.telephone]
name = { en = "Telephone", fr = "Téléphone" }
telephone = "+33 1 23 45 67 89"
"#;

impl News {
    fn open(more: &str) -> Self {
        let mode = Arc::new(AtomicU8::new(WELL));
        let seen = mode.clone();
        let upstream = Upstream::start(move |head, stream| answer(seen.load(Ordering::Relaxed), head, stream));
        let house = House::open(&(upstream.service("news", "first_byte_ms = 3000", "") + CONTRACT + more));
        Self { upstream, mode, house }
    }

    fn get(&self, path: &str, arguments: &[&str]) -> String {
        let mut all = vec!["--insecure", "--path-as-is"];
        all.extend_from_slice(arguments);
        self.house.get("news", path, &all)
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// Asks until the answer fits.
    fn until(&self, path: &str, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path, &[]);
            if fits(&answer) {
                return answer;
            }
            assert!(Instant::now() < until, "{what}: {answer}\n{}", self.house.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How often the upstream was asked for a target.
    fn asked(&self, target: &str) -> Vec<String> {
        let begin = format!("GET {target} ");
        self.upstream.heads().into_iter().filter(|head| head.starts_with(&begin)).collect()
    }
}

/// What the upstream says, by path.
fn answer(mode: u8, head: &str, mut stream: TcpStream) {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (status, fields, body) = match mode {
        DEAD => return,
        FAILING => ("500 Internal Server Error", "", "broken".to_owned()),
        _ => match path {
            "/long/private" => ("200 OK", "cache-control: private\r\n", "mine".to_owned()),
            "/long/cookie" => ("200 OK", "set-cookie: a=b\r\n", "mine".to_owned()),
            "/long/vary" => ("200 OK", "vary: cookie\r\n", "mine".to_owned()),
            "/long/star" => ("200 OK", "vary: *\r\n", "mine".to_owned()),
            "/long/tagged" => ("200 OK", "etag: \"v1\"\r\nvary: accept-encoding\r\n", "tagged".to_owned()),
            "/long/slow" => {
                std::thread::sleep(Duration::from_millis(1500));
                ("200 OK", "", "slow".to_owned())
            }
            _ => ("200 OK", "content-type: text/plain\r\n", format!("well {target}")),
        },
    };
    let length = body.len();
    let body = if head.starts_with("HEAD") { String::new() } else { body };
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

fn is(answer: &str, status: u16) -> bool {
    status_line(answer).split(' ').nth(1) == Some(&status.to_string())
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[test]
fn a_dead_service_gives_kept_answers_then_its_page_and_comes_back_by_itself() {
    let news = News::open("");
    let first = news.get("/kept", &[]);
    assert!(is(&first, 200) && field(&first, "cache-status") == Some("guichet; fwd=uri-miss; stored"), "{first}");
    news.set(DEAD);
    // From the first failed request on, nobody gets a bare error.
    let page = news.get("/elsewhere", &["-H", "Accept: text/html"]);
    assert!(is(&page, 502), "{page}");
    for part in ["News of the bank cannot be reached", "Post-office counter", "tel:+33123456789", "weekdays 9:00"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let stale = news.until("/kept", "a kept answer", |answer| {
        is(answer, 200) && field(answer, "cache-status").is_some_and(|line| line.contains("ttl=-"))
    });
    assert!(stale.ends_with("well /kept"), "{stale}");
    assert!(field(&stale, "age").and_then(|age| age.parse::<u64>().ok()).is_some_and(|age| age >= 1), "{stale}");
    let down = news.until("/elsewhere", "down", |answer| is(answer, 503));
    assert!(down.contains("Since") && down.contains("<time"), "{down}");
    let french = news.get("/elsewhere", &["-H", "Accept-Language: fr"]);
    assert!(french.contains("injoignable") && french.contains("Guichet de poste"), "{french}");
    let (_, states) = news.house.admin_get("/contracts");
    assert!(states.contains("\"state\": \"stale\""), "{states}");
    let problem = news.get("/elsewhere", &["-H", "Accept: application/json"]);
    assert_eq!(field(&problem, "content-type"), Some("application/problem+json"), "{problem}");
    let body: serde_json::Value = serde_json::from_str(problem.split("\r\n\r\n").nth(1).unwrap()).expect("JSON");
    assert_eq!(body["ways"][1]["telephone"], "+33 1 23 45 67 89", "{body}");
    assert_eq!(body["state"], "stale", "{body}");
    assert!(body["instance"].as_str().is_some_and(|text| text.contains("G-507-")), "{body}");
    let line = news.house.logged(|line| line["contract"] == "stale");
    assert_eq!(line["status"], 200);
    // Beyond what the contract allows, a kept answer is not served any more.
    news.until("/kept", "too old", |answer| is(answer, 503));
    news.set(WELL);
    news.until("/elsewhere", "back by itself", |answer| is(answer, 200));
    let until = Instant::now() + Duration::from_secs(30);
    let open = |list: &str| list.lines().any(|line| line.split_whitespace().take(2).eq(["news", "open"]));
    while !open(&news.house.ordered(&["service", "list"])) {
        assert!(Instant::now() < until, "open again: {}", news.house.order(&["service", "list"]).1);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn errors_count_as_failures_and_the_service_is_spared_while_it_is_down() {
    let news = News::open("");
    assert!(is(&news.get("/long/a", &[]), 200));
    news.set(FAILING);
    // An error for one page is the service's own answer.
    assert!(is(&news.get("/elsewhere", &[]), 500));
    // Those that last are the contract's page, first because it is failing, then because it is down.
    news.until("/elsewhere", "failing", |answer| is(answer, 503) && answer.contains("Post-office counter"));
    news.until("/elsewhere", "down", |_| news.house.admin_get("/contracts").1.contains("\"state\": \"stale\""));
    let asked = news.asked("/elsewhere").len();
    for _ in 0..20 {
        assert!(is(&news.get("/elsewhere", &[]), 503));
    }
    assert_eq!(news.asked("/elsewhere").len(), asked, "visitors do not reach it");
    let kept = news.get("/long/a", &[]);
    assert!(is(&kept, 200) && kept.ends_with("well /long/a"), "{kept}");
    news.set(WELL);
    news.until("/elsewhere", "back", |answer| is(answer, 200));
}

#[test]
fn operators_put_a_service_in_a_state_and_it_ends() {
    let news = News::open("");
    let told = news.house.ordered(&["service", "news", "read-only", "--for", "1h", "--because", "works on the ledger"]);
    assert!(told.contains("news is read-only until"), "{told}");
    let posted = news.until("/post", "read-only", |_| is(&news.get("/post", &["-X", "POST", "-d", "a=1"]), 503));
    assert!(is(&posted, 200), "reading goes on: {posted}");
    let refused = news.get("/post", &["-d", "a=1"]);
    for part in ["you can read, not change", "Expected until", "Post-office counter", "G-604-"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(!refused.contains("ledger"), "why is for operators: {refused}");
    assert_eq!(news.house.logged(|line| line["contract"] == "read-only")["reason"], "read_only");
    // It outlives a reload.
    news.house.guichet.signal(Signal::SIGHUP);
    news.house.admin_get("/status");
    assert!(is(&news.get("/post", &["-d", "a=1"]), 503));
    let list = news.house.ordered(&["service", "list"]);
    assert!(list.contains("works on the ledger"), "{list}");
    news.house.ordered(&["service", "news", "shut", "--for", "8s"]);
    news.until("/x", "shut", |answer| is(answer, 503) && answer.contains("is closed for now"));
    news.until("/x", "the order ended by itself", |answer| is(answer, 200));
    let (good, text) = news.house.order(&["service", "news", "measured"]);
    assert!(!good && text.contains("no order holds"), "{text}");
    let (good, text) = news.house.order(&["service", "nws", "shut", "--for", "1h"]);
    assert!(!good && text.contains("must be one of"), "{text}");

    news.house.ordered(&["switch-off", "news", "/search", "--for", "1h"]);
    let off = news.until("/search?q=a", "off", |answer| is(answer, 503));
    assert!(off.contains("Search is switched off") && off.contains("Post-office counter"), "{off}");
    assert!(is(&news.get("/x", &[]), 200), "the rest goes on");
    news.house.ordered(&["switch-off", "news", "/search", "--on"]);
    news.until("/search?q=a", "on again", |answer| is(answer, 200));
}

#[test]
fn orders_outlive_a_restart_and_a_damaged_file_orders_nothing() {
    let mut news = News::open("");
    news.house.ordered(&["service", "news", "read-only", "--for", "1h", "--because", "works"]);
    news.house.ordered(&["switch-off", "news", "/search", "--for", "1h"]);
    let restart = |news: &mut News, before: &dyn Fn(&std::path::Path)| {
        news.house.guichet.signal(Signal::SIGKILL);
        news.house.guichet.wait(Duration::from_secs(10));
        before(&news.house.dir.path().join("orders"));
        news.house.guichet = start_guichet(&news.house.config, news.house.dir.path());
        news.until("/x", "served again", |answer| is(answer, 200));
    };
    restart(&mut news, &|_| {});
    news.until("/search?q=a", "off still", |answer| is(answer, 503) && answer.contains("Search is switched off"));
    assert!(is(&news.get("/x", &["-d", "a=1"]), 503), "read-only still");
    assert!(news.house.ordered(&["service", "list"]).contains("works"));

    restart(&mut news, &|file| {
        let mut bytes = std::fs::read(file).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(file, bytes).unwrap();
    });
    assert!(is(&news.get("/x", &["-d", "a=1"]), 200));
    let (_, status) = news.house.admin_get("/status");
    assert!(status.contains("none of them holds") && status.contains("orders.damaged"), "{status}");
    news.house.ordered(&["service", "news", "shut", "--for", "1h"]);
    assert!(!news.house.admin_get("/status").1.contains("none of them holds"), "the next order heals it");
}

#[test]
fn a_service_that_needs_another_says_so() {
    let news = News::open("");
    news.house.ordered(&["service", "identity", "shut", "--for", "1h"]);
    let until = Instant::now() + Duration::from_secs(20);
    while !news.house.admin_get("/contracts").1.contains("\"degraded\"") {
        assert!(Instant::now() < until, "{}", news.house.admin_get("/contracts").1);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is(&news.get("/x", &[]), 200), "degraded is not shut");
    news.house.ordered(&["service", "news", "fallback", "--for", "1h"]);
    let page = news.until("/x", "fallback", |answer| is(answer, 503));
    assert!(page.contains("needs identity") && page.contains("Instead of identity: Telephone."), "{page}");
}

#[test]
fn a_thousand_who_ask_at_once_are_one_request() {
    let news = News::open("\n[limits]\nconnections_per_source = 512\nhandshakes_per_source = 512\n");
    let output = news.get(
        "/long/slow?other=[1-1000]",
        &["--http2", "--parallel", "--parallel-immediate", "--parallel-max", "300", "-w", "\nSTATUS %{http_code}\n"],
    );
    let good = output.matches("STATUS 200").count();
    assert_eq!(good, 1000, "{}", &output[output.len().saturating_sub(2000)..]);
    assert_eq!(news.asked("/long/slow").len(), 1, "{:?}", news.upstream.heads());
    let (_, metrics) = news.house.admin_get("/metrics");
    let collapsed = metrics.lines().find_map(|line| line.strip_prefix("guichet_cache_collapsed_total "));
    assert!(collapsed.and_then(|count| count.parse::<f64>().ok()).is_some_and(|count| count > 10.0), "{collapsed:?}");
}

#[test]
fn nothing_but_the_key_reaches_a_kept_answer() {
    let news = News::open("");
    let dirty = [
        "-H",
        "Cookie: lang=xx",
        "-H",
        "X-Forwarded-Host: evil.example",
        "-H",
        "X-Original-URL: /admin",
        "-H",
        "Accept-Encoding: gzip",
        "-H",
        "Range: bytes=0-1",
        "-H",
        "If-None-Match: \"x\"",
        "-H",
        "X-HTTP-Method-Override: DELETE",
    ];
    let first = news.get("/long/a?utm=1&page=2", &dirty);
    assert!(is(&first, 200) && first.ends_with("well /long/a?page=2"), "{first}");
    let sent = news.asked("/long/a?page=2");
    for word in ["lang=xx", "evil", "x-original", "gzip", "range", "none-match", "override"] {
        assert!(!sent[0].to_ascii_lowercase().contains(word), "{word}: {}", sent[0]);
    }
    for query in ["?page=2&utm=2", "?x=%00&page=2", "?page=2&&&", "?y&page=2"] {
        assert_eq!(
            field(&news.get(&format!("/long/a{query}"), &[]), "cache-status").map(|s| &s[..12]),
            Some("guichet; hit")
        );
    }
    assert_eq!(news.asked("/long/a?page=2").len(), 1);
    let head = news.get("/long/a?page=2", &["-I"]);
    assert!(is(&head, 200) && field(&head, "content-length") == Some("19"), "{head}");
    news.get("/long/b", &["-I"]);
    assert!(news.get("/long/b", &[]).contains("well /long/b"), "a HEAD keeps nothing");

    for path in ["/long/private", "/long/cookie", "/long/vary", "/long/star"] {
        for _ in 0..2 {
            assert!(news.get(path, &[]).ends_with("mine"));
        }
        assert_eq!(news.asked(path).len(), 2, "{path} is not kept");
    }
    for _ in 0..2 {
        assert!(is(&news.get("/long/c", &["-H", "Authorization: Bearer x"]), 200));
    }
    assert_eq!(news.asked("/long/c").len(), 2, "who authorises asks for itself");
    let fat = news.get("/long/fat", &["-X", "GET", "-d", "a=1"]);
    assert!(is(&fat, 200) && field(&fat, "cache-status").is_none(), "a body is in no key: {fat}");
    for odd in ["/long//d", "/long/../long/d", "/long/%2e/d"] {
        news.get(odd, &[]);
        assert!(!news.get(odd, &[]).to_ascii_lowercase().contains("guichet; hit"), "{odd} is not kept");
    }
    news.get("/long/tagged", &[]);
    let same = news.get("/long/tagged", &["-H", "If-None-Match: W/\"v1\""]);
    assert!(is(&same, 304) && field(&same, "etag") == Some("\"v1\""), "{same}");
    let other = news.get("/long/tagged", &["-H", "If-None-Match: \"v0\""]);
    assert!(is(&other, 200) && other.ends_with("tagged"), "{other}");
    assert_eq!(news.asked("/long/tagged").len(), 1);
    for (language, times) in [("en", 1), ("fr", 2), ("en", 2)] {
        news.get("/kept/l", &["-H", &format!("Accept-Language: {language}")]);
        assert!(news.asked("/kept/l").len() >= times, "answers in {language} are their own");
    }
}

#[test]
fn kept_answers_outlive_a_restart_and_corrupt_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut news = News::open(&format!("\n[cache]\ndirectory = \"{}\"\n", dir.path().display()));
    for path in ["/long/a", "/long/b"] {
        assert!(is(&news.get(path, &[]), 200));
    }
    let files = || -> Vec<_> {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "kept")).collect()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while files().len() < 2 {
        assert!(Instant::now() < until, "written: {:?}", files());
        std::thread::sleep(Duration::from_millis(50));
    }
    news.house.guichet.signal(Signal::SIGKILL);
    news.house.guichet.wait(Duration::from_secs(10));
    let spoiled = files().into_iter().find(|path| std::fs::read(path).unwrap().ends_with(b"well /long/b")).unwrap();
    let mut bytes = std::fs::read(&spoiled).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&spoiled, bytes).unwrap();
    std::fs::write(dir.path().join("half.kept.new"), b"half").unwrap();
    news.set(DEAD);
    news.house.guichet = start_guichet(&news.house.config, news.house.dir.path());
    let kept = news.until("/long/a", "kept over the restart", |answer| is(answer, 200));
    assert!(kept.ends_with("well /long/a"), "{kept}");
    assert!(news.get("/long/b", &[]).contains("Post-office counter"), "the spoiled one is gone");
    assert!(!spoiled.exists() && !dir.path().join("half.kept.new").exists());
    let (_, metrics) = news.house.admin_get("/metrics");
    assert!(metrics.contains("guichet_cache_disk_corrupt_total 1\n"), "{metrics}");
}
