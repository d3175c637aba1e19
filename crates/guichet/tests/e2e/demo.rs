//! The demo, as somebody meets it who has just cloned the project: started, looked at, ended with Ctrl-C.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sqlx::Connection as _;

use crate::house::{GUICHET, SERVICES, curl, free_ports, free_range};
use crate::opened_demo::OpenedDemo;
use crate::postgres::Postgres;

/// Over both versions of HTTP, by the addresses that the demo told.
fn every_service_answers(https: u16, told: &str) {
    for service in SERVICES {
        let url = format!("https://{service}.localhost:{https}/");
        assert!(told.contains(&url), "{url} in {told}");
        let resolve = format!("{service}.localhost:{https}:127.0.0.1");
        for (version, said) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
            let answer = curl(&["-s", "-k", "-i", version, "--max-time", "20", "--resolve", &resolve, &url]);
            let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
            assert!(answer.starts_with(said) && answer.contains("x-estate-op: "), "{service}: {answer}");
        }
    }
}

/// A transfer, and its code on the telephone; `jar` is a file for cookies.
fn a_code_reaches_the_telephone(https: u16, telephone: u16, jar: &Path) {
    let bank = |path: &str, body: &str| {
        let answer = curl(&[
            "-s",
            "-k",
            "--resolve",
            &format!("bank.localhost:{https}:127.0.0.1"),
            "-c",
            jar.to_str().unwrap(),
            "-b",
            jar.to_str().unwrap(),
            "-H",
            "content-type: application/json",
            "-H",
            "idempotency-key: demo-0001",
            "-d",
            body,
            &format!("https://bank.localhost:{https}{path}"),
        ]);
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    assert!(bank("/login", "{\"user\":\"user0001\",\"password\":\"password-0001\"}").contains("user0001"));
    let asked = bank("/transfers", "{\"amount_cents\":4200,\"payee_iban\":\"FR1420041010050500013M02606\"}");
    assert!(asked.contains("pending"), "{asked}");
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let page = curl(&["-s", &format!("http://127.0.0.1:{telephone}/?to=33600000001")]);
        if String::from_utf8_lossy(&page.stdout).contains("42,00 EUR") {
            break;
        }
        assert!(Instant::now() < until, "no message on the telephone");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A person opens the vault, and looks where a parcel is.
fn the_vault_opens_and_a_parcel_is_found(https: u16, jar: &Path) {
    let ask = |service: &str, path: &str, more: &[&str]| {
        let resolve = format!("{service}.localhost:{https}:127.0.0.1");
        let url = format!("https://{service}.localhost:{https}{path}");
        let jar = jar.to_str().unwrap();
        let mut arguments = vec!["-s", "-k", "--resolve", &resolve, "-c", jar, "-b", jar];
        arguments.extend(more);
        arguments.push(&url);
        let answer = curl(&arguments);
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    let json = ["-H", "content-type: application/json", "-d", "{\"user\":\"user0001\",\"password\":\"password-0001\"}"];
    assert!(ask("vault", "/login", &json).contains("user0001"));
    let documents = ask("vault", "/documents", &[]);
    assert!(documents.contains("releve-de-compte.txt"), "{documents}");
    let found = ask("portal", "/suivi?id=CG100000003FR", &["-H", "accept-language: fr"]);
    assert!(found.contains("CG100000003FR") && found.contains("<time"), "{found}");
}

#[test]
fn the_demo_opens_every_service_shows_the_code_and_ends_without_a_trace() {
    opens_and_ends(None);
}

#[test]
fn the_demo_keeps_its_stores_in_postgresql() {
    let output =
        Command::new(GUICHET).args(["demo", "--database", "postgres://a:hidden@127.0.0.1/b"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("needs --data") && !error.contains("hidden"), "{error}");
    let postgres = Postgres::start();
    let url = postgres.url();
    opens_and_ends(Some(&url));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept: i64 = runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM bank.transfer").fetch_one(&mut connection).await.unwrap()
    });
    assert_eq!(kept, 1, "the transfer that was asked for in the demo");
}

/// A demo from its start to its end, as it is by itself or with a database.
fn opens_and_ends(database: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = OpenedDemo::open(&dir.path().join("demo"), database);
    let OpenedDemo { https, http, telephone, cards, till, status, ref data, ref told, .. } = demo;
    assert!(database.is_none_or(|url| !told.contains(url) && told.contains("Its stores are in postgres://")), "{told}");
    assert_eq!(data.join("estate/bank.sqlite3").exists(), database.is_none());
    every_service_answers(https, told);
    // With the demo's own authority nothing has to be ignored.
    let (ca, resolve) = (data.join("ca.pem"), format!("portal.localhost:{http}:127.0.0.1"));
    let follow = format!("portal.localhost:{https}:127.0.0.1");
    let answer = curl(&[
        "-s",
        "-L",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{url_effective}",
        "--cacert",
        ca.to_str().unwrap(),
        "--resolve",
        &resolve,
        "--resolve",
        &follow,
        &format!("http://portal.localhost:{http}/suivi"),
    ]);
    assert_eq!(String::from_utf8_lossy(&answer.stdout), format!("200 https://portal.localhost:{https}/suivi"));

    a_code_reaches_the_telephone(https, telephone, &dir.path().join("jar"));
    the_vault_opens_and_a_parcel_is_found(https, &dir.path().join("jar"));

    // As the demo says it: a card pays, past the front.
    assert!(told.contains(&format!("guichet estate terminal pay --amount 12.50 --rails 127.0.0.1:{cards}")), "{told}");
    for (what, amount) in [("pay", "12.50"), ("withdraw", "40")] {
        let receipt = demo.card(what, amount);
        assert!(receipt.contains("EUR, approved"), "{receipt}");
    }

    let counter = curl(&["-s", "-H", "accept-language: en", &format!("http://127.0.0.1:{till}/")]);
    let counter = String::from_utf8_lossy(&counter.stdout);
    assert!(told.contains(&format!("http://127.0.0.1:{till}/")) && counter.contains("PARIS01"), "{told} {counter}");

    let page = curl(&["-s", &format!("http://127.0.0.1:{status}/index.en.html")]);
    let page = String::from_utf8_lossy(&page.stdout);
    assert!(
        told.contains(&format!("http://127.0.0.1:{status}/")) && page.contains("All services work"),
        "{told} {page}"
    );

    demo.process.signal(Signal::SIGINT);
    assert!(demo.process.wait(Duration::from_secs(30)).success());
    for port in demo.ports() {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} is still open");
    }
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_starts() {
    let [https, http, admin] = free_ports();
    let (base, _ports) = free_range();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let output = Command::new(GUICHET)
        .args(["demo", "--https-port", &https.to_string(), "--http-port", &http.to_string()])
        .args(["--admin", &format!("127.0.0.1:{admin}"), "--telephone-port", &port])
        .args(["--estate-base-port", &base.to_string(), "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(&port) && told.contains("--telephone-port"), "{told}");
    assert!(!data.exists(), "nothing was written");
}
