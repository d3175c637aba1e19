//! The load generator against small servers of its own, over real sockets on loopback.

mod support;

use guichet_drill::certs;
use guichet_drill::front::RunningFront;
use guichet_drill::load::{Outcome, Targets};
use guichet_drill::score;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Server, plain, play, right};

const BANK: &str = r#"
name = "bank"
description = "customers of the bank"
phases = { before_s = 0, attack_s = 2, after_s = 0 }
[[population]]
name = "customers"
kind = "visitor"
service = "bank"
start = ["login"]
ops = { accounts = 2, statement = 1 }
requests_per_session = [2, 4]
think_ms = { mean = 60, min = 20, max = 120 }
arrivals = { per_s = 12 }
returning_share = 0.5
sources = { range = "127.20.0.0/16", count = 40 }
transport = "http1"
deadline_ms = 2000
"#;

fn bank(seen: &support::Seen) -> String {
    let known = seen.header("cookie").is_some_and(|c| c.contains("bank_session="));
    match seen.path.as_str() {
        "/login" => {
            let user = &seen.body[9..17];
            right("login", 200, &format!("set-cookie: bank_session={user}; HttpOnly; Path=/\r\n"))
        }
        _ if !known => plain(401, ""),
        "/accounts" => right("accounts", 200, ""),
        _ => right("statement", 200, ""),
    }
}

#[test]
fn a_person_keeps_cookies_address_and_connection() {
    let server = Server::start(|seen, _| bank(seen));
    let (_, plan, harvest) = play(BANK, server.targets(), None);
    assert!(plan.requests.len() > 30, "{} requests", plan.requests.len());
    for (planned, record) in plan.requests.iter().zip(&harvest.records) {
        let record = record.unwrap();
        assert_eq!((record.outcome, record.met_refusal), (Outcome::Right, false), "{planned:?}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), plan.requests.len());
    let mut address_of: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for request in &seen {
        assert_eq!(request.header("host"), Some("bank.localhost"));
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/5.0")));
        if let Some(cookie) = request.header("cookie") {
            address_of.entry(cookie.to_owned()).or_default().insert(request.peer);
        }
    }
    assert!(address_of.len() > 3);
    for (cookie, addresses) in address_of {
        assert_eq!(addresses.len(), 1, "{cookie} came from {addresses:?}");
        assert!(addresses.iter().all(|a| a.to_string().starts_with("127.20.")));
    }
}

#[test]
fn without_a_session_a_person_logs_in_first() {
    // Nobody starts with a login here, so the first request of each person has to make one.
    let text = BANK.replace("start = [\"login\"]", "").replace("returning_share = 0.5", "returning_share = 0");
    let server = Server::start(|seen, _| bank(seen));
    let (_, plan, harvest) = play(&text, server.targets(), None);
    assert!(harvest.records.iter().all(|r| r.unwrap().outcome == Outcome::Right));
    let logins = server.seen().iter().filter(|s| s.path == "/login").count();
    // Two requests of one person that are under way at once may both log in.
    assert!(logins >= plan.persons.len() && logins <= plan.requests.len(), "{logins} logins");
}

const HOME: &str = r#"
name = "home"
description = "visitors of the portal"
phases = { before_s = 0, attack_s = 2, after_s = 0 }
[[population]]
name = "visitors"
kind = "visitor"
service = "portal"
ops = { home = 1 }
people = 4
arrivals = { per_s = 40 }
sources = { range = "127.20.0.0/16", count = 40 }
transport = "http1"
deadline_ms = 3000
"#;

#[test]
fn a_stall_shows_in_the_latency_of_all_who_came_meanwhile() {
    let begin: Arc<Mutex<Option<Instant>>> = Arc::new(Mutex::new(None));
    let server = Server::start(move |_, _| {
        let begin = *begin.lock().unwrap().get_or_insert_with(Instant::now);
        let since = begin.elapsed();
        let (from, until) = (Duration::from_millis(500), Duration::from_millis(1500));
        if (from..until).contains(&since) {
            std::thread::sleep(until - since);
        }
        right("home", 200, "")
    });
    let (scenario, plan, harvest) = play(HOME, server.targets(), None);
    let score = score::front("stalls", &scenario, &plan, &vec![true; plan.requests.len()], &harvest, None);
    let row = score.services.iter().find(|r| r.phase == "attack").unwrap();
    assert_eq!(row.ok, row.offered);
    assert!(row.p99_ms.unwrap() > 800.0, "{row:?}");
    // Four persons who waited for their answers would have noticed the stall four times; the schedule notices it for
    // everybody who came in that second (forty a second, less those near its end).
    let slow = harvest.records.iter().filter(|r| r.unwrap().latency_us > 400_000).count();
    assert!(slow >= 12, "only {slow} slow answers");
}

#[test]
fn a_refusal_is_retried_once_as_told_and_remembered() {
    let server = Server::start(
        |_, before| {
            if before % 2 == 0 { plain(503, "retry-after: 1\r\n") } else { right("home", 200, "") }
        },
    );
    let text = HOME.replace("per_s = 40", "per_s = 1").replace("people = 4", "people = 1").replace("seed", "");
    let (_, plan, harvest) = play(&text, server.targets(), None);
    assert!(!plan.requests.is_empty());
    let record = harvest.records[0].unwrap();
    assert!(record.met_refusal);
    let seen = server.seen();
    assert!(seen.len() <= 2 * plan.requests.len(), "at most one retry");
    if plan.requests.len() == 1 {
        assert_eq!(record.outcome, Outcome::Right);
        assert!(record.latency_us >= 1_000_000, "{record:?}");
        assert!(seen[1].at - seen[0].at >= Duration::from_millis(950));
    }
}

#[test]
fn refusals_and_fallback_pages_are_no_right_answers() {
    for (answer, outcome) in [
        (plain(503, "retry-after: 30\r\n"), Outcome::Refused(503)),
        (plain(200, ""), Outcome::Refused(200)),
        (right("search", 200, ""), Outcome::Refused(200)),
        ("nonsense\r\n\r\n".to_owned(), Outcome::Broken),
        (String::new(), Outcome::Late),
    ] {
        let text =
            HOME.replace("per_s = 40", "per_s = 5").replace("3000", "700").replace("attack_s = 2", "attack_s = 1");
        let shown = answer.clone();
        let server = Server::start(move |_, _| answer.clone());
        let (_, plan, harvest) = play(&text, server.targets(), None);
        assert!(!plan.requests.is_empty());
        for record in &harvest.records {
            assert_eq!(record.unwrap().outcome, outcome, "{shown:?}");
        }
    }
}

#[test]
fn nobody_listening_is_counted_and_harms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut front = RunningFront::new(Vec::new());
    front.http = Some(listener.local_addr().unwrap());
    drop(listener);
    let text = format!("{HOME}{}", attacker("flood", "targets = [\"portal/search\"]", 200.0));
    let (_, _, harvest) = play(&text, Targets::new(&front).unwrap(), None);
    assert!(harvest.records.iter().all(|r| r.unwrap().outcome == Outcome::Broken));
    assert!(harvest.attack.sent > 100);
    assert_eq!(harvest.attack.errors, harvest.attack.sent);
}

fn attacker(behaviour: &str, keys: &str, per_s: f64) -> String {
    format!(
        "[[population]]\nname = \"bots\"\nkind = \"attacker\"\nbehaviour = \"{behaviour}\"\n{keys}\narrivals = {{ per_s = {per_s} }}\n\
         sources = {{ range = \"127.90.0.0/16\", count = 100 }}\n{}",
        if keys.contains("transport") { "" } else { "transport = \"http1\"\n" }
    )
}

fn alone(attacker: &str) -> String {
    format!("name = \"a\"\ndescription = \"d\"\nphases = {{ before_s = 0, attack_s = 2, after_s = 0 }}\n{attacker}")
}

#[test]
fn a_flood_comes_from_its_sources_at_its_rate_with_random_queries() {
    let server = Server::start(|_, _| right("search", 200, ""));
    let keys = "targets = [\"portal/search\"]\ncache_busting = true\nheaders = \"go\"";
    let (_, _, harvest) = play(&alone(&attacker("flood", keys, 300.0)), server.targets(), None);
    let seen = server.seen();
    assert!((300..=600).contains(&seen.len()), "{} requests for 600 planned", seen.len());
    assert!(harvest.attack.answered_2xx > 250, "{:?}", harvest.attack);
    let addresses: BTreeSet<_> = seen.iter().map(|s| s.peer).collect();
    assert_eq!(addresses.len(), 100);
    let paths: BTreeSet<_> = seen.iter().map(|s| s.path.clone()).collect();
    assert_eq!(paths.len(), seen.len(), "each request has a query of its own");
    assert!(seen.iter().all(|s| s.header("user-agent") == Some("Go-http-client/1.1")));
    // Keep-alive: a source does not connect anew for each request.
    assert!(harvest.attack.connections <= 110, "{:?}", harvest.attack);
}

#[test]
fn an_adapting_attacker_changes_its_looks() {
    let server = Server::start(|_, _| right("search", 200, ""));
    let keys = "targets = [\"portal/search\"]\nheaders = \"go\"";
    let text = alone(&attacker("flood", keys, 100.0))
        + "[population.adapt]\nevery_s = 1\n[[population.adapt.variant]]\nheaders = \"python\"\ntargets = [\"bank/login\"]\n\
           sources = { range = \"127.91.0.0/16\", count = 10 }\n";
    play(&text, server.targets(), None);
    let looks: BTreeSet<_> = server
        .seen()
        .iter()
        .map(|s| {
            (s.peer.to_string()[..6].to_owned(), s.header("user-agent").unwrap()[..2].to_owned(), s.method.clone())
        })
        .collect();
    let expected = [("127.90", "Go", "GET"), ("127.91", "py", "POST")];
    assert_eq!(looks, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).into());
}

/// What arrived on each connection: the moments and the bytes of each read.
type Arrivals = Arc<Mutex<Vec<Vec<(Instant, Vec<u8>)>>>>;

/// A server that only listens to what comes.
fn listening_only() -> (Targets, Arrivals) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut front = RunningFront::new(Vec::new());
    front.http = Some(listener.local_addr().unwrap());
    let log: Arrivals = Arc::default();
    let shared = Arc::clone(&log);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let log = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mine = {
                    let mut log = log.lock().unwrap();
                    log.push(Vec::new());
                    log.len() - 1
                };
                let mut buf = [0; 4096];
                while let Ok(n) = stream.read(&mut buf) {
                    if n == 0 {
                        return;
                    }
                    log.lock().unwrap()[mine].push((Instant::now(), buf[..n].to_vec()));
                }
            });
        }
    });
    (Targets::new(&front).unwrap(), log)
}

#[test]
fn slow_heads_and_bodies_dribble() {
    for (behaviour, target) in [("slow-header", "portal/home"), ("slow-body", "parcels/quote")] {
        let (targets, log) = listening_only();
        let keys = format!("targets = [\"{target}\"]\ndrip_ms = 100");
        let (_, _, harvest) = play(&alone(&attacker(behaviour, &keys, 10.0)), targets, None);
        let log = log.lock().unwrap();
        assert!(log.len() >= 10, "{behaviour}: {} connections", log.len());
        assert!(harvest.attack.connections >= log.len() as u64);
        let first = &log[0];
        assert!(first.len() >= 8, "{behaviour}: {} pieces", first.len());
        let text: Vec<u8> = first.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let text = String::from_utf8(text).unwrap();
        if behaviour == "slow-header" {
            assert!(text.starts_with("GET / HTTP/1.1\r\nHost: portal.localhost\r\n"), "{text}");
            assert!(!text.contains("\r\n\r\n"), "the head never ends: {text}");
        } else {
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /quotes ") && head.contains("Content-Length: 1000000"), "{head}");
            assert!((5..100).contains(&body.len()), "{body}");
        }
    }
}

#[test]
fn slow_readers_leave_answers_lying_about() {
    let page = "x".repeat(1_000_000);
    let server = Server::start(move |_, _| {
        format!("HTTP/1.1 200 X\r\nx-estate-op: search\r\ncontent-length: {}\r\n\r\n{page}", page.len())
    });
    let keys = "targets = [\"portal/search\"]\ndrip_ms = 100";
    play(&alone(&attacker("slow-read", keys, 5.0)), server.targets(), None);
    // Of 64 requests sent at once, the server could not even write away the answers of a few.
    let mut per_peer: BTreeMap<_, usize> = BTreeMap::new();
    for seen in server.seen() {
        *per_peer.entry(seen.peer).or_default() += 1;
    }
    assert!(per_peer.len() >= 5);
    assert!(per_peer.values().all(|n| *n < 16), "{per_peer:?}");
}

#[test]
fn hoards_sit_there() {
    let server = Server::start(|_, _| right("home", 200, ""));
    let keys = "targets = [\"portal/home\"]\nconnections_per_source = 2";
    let (_, _, harvest) = play(&alone(&attacker("hoard", keys, 50.0)), server.targets(), None);
    assert!(harvest.attack.connections >= 60, "{:?}", harvest.attack);
    assert_eq!(server.seen().len() as u64, harvest.attack.connections, "one request each");
    assert_eq!(harvest.attack.cut, 0);
}

/// Type and stream of each frame that was read.
type Frames = Arc<Mutex<Vec<(u8, u32)>>>;

/// A TLS server that speaks just enough HTTP/2 to be attacked; returns the types of the frames it read.
fn h2_listener(files: &guichet_drill::front::TlsFiles) -> (Targets, Frames) {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, frames) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut front = RunningFront::new(Vec::new());
    front.https = Some(listener.local_addr().unwrap());
    let log = Arc::clone(&frames);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, log) = (Arc::clone(&config), Arc::clone(&log));
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, stream);
                let _ = tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
                let mut bytes = Vec::new();
                let mut buf = [0; 8192];
                while let Ok(n) = tls.read(&mut buf) {
                    if n == 0 {
                        break;
                    }
                    bytes.extend_from_slice(&buf[..n]);
                }
                log.lock().unwrap().extend(frames_of(&bytes));
            });
        }
    });
    (Targets::new(&front).unwrap(), frames)
}

fn frames_of(bytes: &[u8]) -> Vec<(u8, u32)> {
    let mut rest = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface");
    let mut frames = Vec::new();
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        frames.push((rest[3], u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]])));
        rest = &rest[9 + length.min(rest.len() - 9)..];
    }
    frames
}

#[test]
fn rapid_reset_opens_and_resets_streams() {
    let dir = tempfile::tempdir().unwrap();
    let files = certs::make(dir.path()).unwrap();
    let (targets, frames) = h2_listener(&files);
    let keys = "targets = [\"portal/search\"]\ntransport = \"tls-http2\"\nburst = 20";
    let (_, _, harvest) = play(&alone(&attacker("rapid-reset", keys, 20.0)), targets, Some(files));
    std::thread::sleep(Duration::from_millis(300));
    let frames = frames.lock().unwrap();
    let count = |kind| frames.iter().filter(|(k, _)| *k == kind).count();
    assert!(count(1) >= 200, "{} HEADERS", count(1));
    assert_eq!(count(1), count(3), "as many RST_STREAM as HEADERS");
    assert!(harvest.attack.sent >= count(1) as u64);
    // Each HEADERS is followed by the reset of the same odd stream.
    let pairs: Vec<_> = frames.iter().filter(|(k, _)| *k == 1 || *k == 3).collect();
    assert!(pairs.chunks(2).all(|p| p[0].0 == 1 && p[1].0 == 3 && p[0].1 == p[1].1 && p[0].1 % 2 == 1));
}

#[test]
fn handshakes_are_begun_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let files = certs::make(dir.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut front = RunningFront::new(Vec::new());
    front.https = Some(listener.local_addr().unwrap());
    let hellos = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&hellos);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buf = [0; 4096];
            if let Ok(n) = stream.read(&mut buf) {
                log.lock().unwrap().push(buf[..n].to_vec());
                // The beginning of a ServerHello record; what follows does not matter to an attacker.
                let _ = stream.write_all(&[22, 3, 3, 0, 4, 2, 0, 0, 0]);
            }
        }
    });
    let keys = "targets = [\"identity/login\"]\ntransport = \"tls-http1\"";
    let attack = alone(&attacker("handshake-flood", keys, 100.0));
    let (_, _, harvest) = play(&attack, Targets::new(&front).unwrap(), Some(files));
    let hellos = hellos.lock().unwrap();
    assert!(hellos.len() >= 100, "{}", hellos.len());
    assert!(harvest.attack.answered_2xx >= 90, "{:?}", harvest.attack);
    for hello in hellos.iter() {
        assert_eq!((hello[0], hello[5]), (22, 1), "a ClientHello");
        assert!(hello.windows(18).any(|w| w == b"identity.localhost"), "with the name of the target");
    }
}

#[test]
fn the_allowance_of_the_scenario_ends_the_attack() {
    let server = Server::start(|_, _| right("search", 200, ""));
    let text = alone(&attacker("flood", "targets = [\"portal/search\"]", 100.0));
    let scenario = support::scenario(&text);
    let mut small = scenario;
    small.limits.attack_requests_max = 50;
    let small = Arc::new(small);
    let job = guichet_drill::load::Job {
        plan: Arc::new(guichet_drill::plan::Plan::draw(&small, 1).unwrap()),
        scenario: small,
        targets: server.targets(),
        tls: None,
        live: Arc::default(),
    };
    let harvest = guichet_drill::load::run(&job).unwrap();
    assert_eq!(harvest.attack.sent, 50);
    assert!(server.seen().len() <= 50);
}

#[test]
fn a_cancelled_run_ends_soon() {
    let server = Server::start(|_, _| right("home", 200, ""));
    let text = HOME.replace("attack_s = 2", "attack_s = 300");
    let scenario = Arc::new(support::scenario(&text));
    let live: Arc<guichet_drill::load::Live> = Arc::default();
    let job = guichet_drill::load::Job {
        plan: Arc::new(guichet_drill::plan::Plan::draw(&scenario, 1).unwrap()),
        scenario,
        targets: server.targets(),
        tls: None,
        live: Arc::clone(&live),
    };
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        live.cancel();
    });
    let begin = Instant::now();
    let harvest = guichet_drill::load::run(&job).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(harvest.records.iter().any(Option::is_none) && harvest.records.iter().any(Option::is_some));
}
