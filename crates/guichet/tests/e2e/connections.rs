//! Connections that fail or stall: what those who make them have in common is found, and refused before any cryptography
//! is paid for, while people and partners go on. And addresses are told apart by who runs their network.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{House, Process, curl};
use crate::upstream::{Upstream, answer_after};

const LIMITS: &str = "\n[limits]\nconnections_per_source = 512\nconnections_per_network = 4096\nhandshakes_per_source = 100000\n\
                      client_hello_ms = 60000\nhandshake_ms = 60000\nfirst_request_ms = 60000\n";

/// People sign in and read at a human pace, until enough of it was seen.
fn people(house: &House) {
    let one = |n: u32| {
        let jar = house.dir.path().join(format!("jar-{n}"));
        let jar = jar.to_str().unwrap();
        let form = format!("user=user{n:04}&password=password-{n:04}");
        let login = house.get("portal", "/connexion", &["-c", jar, "--data", &form]);
        assert!(login.contains("guichet-session="), "{login}");
        let read = ["-b", jar, "-o", "/dev/null", "--rate", "4/s"];
        let read = house.get("portal", "/compte?n=[1-50]", &read);
        assert!(!read.contains("curl:"), "{read}");
    };
    std::thread::scope(|scope| {
        for n in 10..26 {
            scope.spawn(move || one(n));
        }
    });
}

/// A mitigation of connections that fits; waits for it.
fn mitigation(house: &House, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let all: Value = serde_json::from_str(&house.ordered(&["mitigations", "list", "--json"])).unwrap();
        let mut those = all["mitigations"].as_array().unwrap().iter().filter(|m| m["service"] == "*");
        if let Some(found) = those.find(|m| fits(m)) {
            return found.clone();
        }
        assert!(Instant::now() < until, "no such mitigation in {all}\n{}", house.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ja4_of(mitigation: &Value) -> Option<&str> {
    let parts = mitigation["signature"].as_array()?;
    parts.iter().find(|part| part["dimension"] == "ja4")?["value"].as_str()
}

#[test]
fn a_program_whose_handshakes_all_fail_is_refused_by_its_hello_and_others_go_on() {
    let house = House::open(LIMITS);
    people(&house);
    let url = |service: &str| format!("https://{service}.localhost:{}/health?n=[1-30000]", house.https);
    let resolve = |service: &str| format!("{service}.localhost:{}:127.0.0.1", house.https);
    // It does not know the authority, so that each of its handshakes fails: and it shows a ClientHello of its own.
    let shake = |source: &str| {
        let mut shake = Command::new("curl");
        shake.args(["-s", "--http1.1", "--tls-max", "1.2", "--parallel", "--parallel-max", "8", "--max-time", "60"]);
        shake.args(["--interface", source, "--resolve", &resolve("portal"), &url("portal")]);
        Process(shake.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let flooding: Vec<_> = (1..=3).map(|n| shake(&format!("127.0.9.{n}"))).collect();
    let found = mitigation(&house, |m| m["step"] == "refuse");
    assert!(ja4_of(&found).is_some_and(|ja4| ja4.starts_with("t12")), "{found}");
    assert!(["handshake_failed", "mitigated"].contains(&found["evidence"]["ending"].as_str().unwrap()), "{found}");
    let told = format!("mitigation {} at *: found", found["id"]);
    assert!(house.log().contains(&told), "{}", house.log());

    // One of them that would do no harm is turned away as well; people, and who asks for what is critical, are not.
    let portal = |arguments: &[&str]| house.get("portal", "/", arguments);
    assert!(portal(&["--http1.1"]).starts_with("HTTP/1.1 200"));
    assert!(!portal(&["--http1.1", "--tls-max", "1.2"]).contains("HTTP/"), "refused before it is answered");
    let rails = house.get("rails", "/nowhere", &["--http1.1", "--tls-max", "1.2"]);
    assert!(rails.starts_with("HTTP/1.1 403"), "the door answers whoever asks for rails: {rails}");
    let (_, metrics) = house.admin_get("/metrics");
    let line = metrics.lines().find(|line| line.starts_with("guichet_mitigations{service=\"*\",step=\"refuse\"}"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
    let refused = metrics.lines().find(|l| {
        l.starts_with("guichet_connections_refused_total{listener=\"https\"") && l.contains("reason=\"mitigated\"")
    });
    assert!(refused.is_some(), "{metrics}");

    // Let go by order, and not found again at once.
    house.ordered(&["mitigations", "forbid", &found["id"].to_string()]);
    assert!(portal(&["--http1.1", "--tls-max", "1.2"]).starts_with("HTTP/1.1 200"));
    drop(flooding);
}

#[test]
fn hoarders_of_silent_connections_are_found_and_closed() {
    let house = House::open(LIMITS);
    people(&house);
    // Two hundred connections, held open and silent; says how many were refused, or closed from the other side.
    let hoard = "import socket, ssl, sys, time\n\
        context = ssl._create_unverified_context()\n\
        held, closed = [], 0\n\
        for n in range(200):\n\
        \x20   plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])), source_address=('127.0.9.%d' % (1 + n % 40), 0))\n\
        \x20   try:\n\
        \x20       held.append(context.wrap_socket(plain, server_hostname='portal.localhost'))\n\
        \x20   except OSError:\n\
        \x20       closed += 1\n\
        until = time.time() + 45\n\
        for one in held:\n\
        \x20   one.settimeout(max(0.01, until - time.time()))\n\
        \x20   try:\n\
        \x20       closed += one.recv(1) == b''\n\
        \x20   except TimeoutError:\n\
        \x20       pass\n\
        \x20   except OSError:\n\
        \x20       closed += 1\n\
        print('held', len(held), 'closed', closed)\n";
    let mut python = Command::new("python3");
    python.args(["-c", hoard, &house.https.to_string()]).stdout(Stdio::piped());
    let hoarding = python.spawn().expect("python3 is installed");
    let found = mitigation(&house, |m| m["step"] == "limit" || m["step"] == "refuse");
    assert_eq!(found["evidence"]["ending"], "idle_timeout", "{found}");
    let said = hoarding.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.starts_with("held ") && !said.starts_with("held 0 ") && said.contains("closed 200"),
        "long before their deadline of a minute: {said}\n{}",
        house.log()
    );
    assert!(house.get("portal", "/", &[]).starts_with("HTTP/2 200"));
}

/// Databases of the test's own, made by a writer of PyPI's.
fn databases(house: &House) -> (PathBuf, PathBuf) {
    let make = "import sys\n\
        from netaddr import IPSet\n\
        from mmdb_writer import MMDBWriter\n\
        def write(kind, path, of):\n\
        \x20   writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind, int_type='u32')\n\
        \x20   for network, record in of.items():\n\
        \x20       writer.insert_network(IPSet([network]), record)\n\
        \x20   writer.to_db_file(path)\n\
        write('Test-ASN', sys.argv[1], {'127.50.0.0/16': {'autonomous_system_number': 64500},\n\
        \x20   '127.51.0.0/16': {'autonomous_system_number': 64501}})\n\
        write('Test-Country', sys.argv[2], {'127.50.0.0/16': {'country': {'iso_code': 'FR'}},\n\
        \x20   '127.51.0.0/16': {'country': {'iso_code': 'DE'}}})\n";
    let paths = (house.dir.path().join("asn.mmdb"), house.dir.path().join("country.mmdb"));
    let home = std::env::var("HOME").unwrap();
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", format!("{home}/.cache/guichet/python"));
    let made = python.args(["-c", make]).arg(&paths.0).arg(&paths.1).output().expect("python3 is installed");
    assert!(made.status.success(), "mmdb_writer (cargo xtask test installs it): {made:?}");
    paths
}

#[test]
fn networks_and_countries_are_told_apart_where_there_are_databases() {
    let upstream = Upstream::start(answer_after(Duration::ZERO));
    let house = House::open(&upstream.service("small", "", ""));
    let (asn, country) = databases(&house);
    let text = std::fs::read_to_string(&house.config).unwrap();
    let with = |asn: &PathBuf| {
        format!(
            "{text}\n[mitigations]\nasn_database = \"{}\"\ncountry_database = \"{}\"\n",
            asn.display(),
            country.display()
        )
    };
    // A wrong kind of file is told, with the place and the mend.
    std::fs::write(&house.config, with(&country)).unwrap();
    let wrong = Command::new(crate::house::GUICHET).args(["check", "-c"]).arg(&house.config).output().unwrap();
    let wrong = String::from_utf8_lossy(&wrong.stderr).into_owned() + &String::from_utf8_lossy(&wrong.stdout);
    assert!(
        wrong.contains("asn_database") && wrong.contains("Test-Country") && wrong.contains("GeoLite2-ASN"),
        "{wrong}"
    );
    std::fs::write(&house.config, with(&asn)).unwrap();
    house.guichet.signal(nix::sys::signal::Signal::SIGHUP);
    let until = Instant::now() + Duration::from_secs(20);
    while !house.log().contains("configuration reloaded") {
        assert!(Instant::now() < until, "{}", house.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = |source: &str| {
        let url = format!("https://small.localhost:{}/", house.https);
        let resolve = format!("small.localhost:{}:127.0.0.1", house.https);
        let arguments = ["-s", "-k", "-o", "/dev/null", "-w", "%{http_code}", "--interface", source];
        let output = curl(&[&arguments[..], &["--resolve", &resolve, &url]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let all = || ["127.50.0.7", "127.51.0.7", "127.52.0.7"].map(&status);
    assert_eq!(all(), ["200", "200", "200"]);
    let add = |part: &str| {
        let added = house.ordered(&["mitigations", "add", "small", "refuse", part, "--json"]);
        serde_json::from_str::<Value>(&added).unwrap()["id"].to_string()
    };
    for (part, wanted, shown) in
        [("network=AS64500", ["429", "200", "200"], "AS64500"), ("country=de", ["200", "429", "200"], "country=DE")]
    {
        let id = add(part);
        assert_eq!(all(), wanted, "{part}");
        let until = Instant::now() + Duration::from_secs(10);
        while !house.ordered(&["mitigations", "list"]).contains(shown) {
            assert!(Instant::now() < until, "{}", house.log());
        }
        house.ordered(&["mitigations", "end", &id]);
    }
    assert_eq!(all(), ["200", "200", "200"]);
    let (good, text) = house.order(&["mitigations", "add", "small", "refuse", "network=Orange"]);
    assert!(!good && text.contains("AS64500"), "{text}");
}
