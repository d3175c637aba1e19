//! Codes by text message, from the bank over the rails to a telephone: with a message centre that is not ours (the npm
//! package `smpp`), and with the test telephone of the demo.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Estate, PATIENCE, Running, ask, packages, wait_for};

/// The message centre of others, on a port (0: any that is free).
fn peer(port: u16) -> (Running, u16) {
    let modules = packages("npm", "smpp");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smsc_peer.cjs");
    let running = Running::start(Command::new("node").arg(script).arg(&modules).arg(port.to_string()));
    let port = running.line("the message centre", |line| line.strip_prefix("listening ")?.parse().ok());
    (running, port)
}

fn estate(data: &Path, arguments: &[&str]) -> Estate {
    Estate::start(&[&["all", "--base-port", "0"], arguments].concat(), data)
}

const PAYEE: &str = "FR1420041010050500013M02606";

/// Asks for a transfer of user 1 and gives its id, with the session.
fn transfer(bank: SocketAddr, cents: u32, key: &str) -> (String, String) {
    let body = "{\"user\":\"user0001\",\"password\":\"password-0001\"}";
    let (status, head, _) = ask(bank, "POST", "/login", "", body);
    assert_eq!(status, 200, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let session = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    let body = format!("{{\"amount_cents\":{cents},\"payee_iban\":\"{PAYEE}\"}}");
    let (status, _, answer) = ask(bank, "POST", "/transfers", &format!("{session}idempotency-key: {key}\r\n"), &body);
    assert_eq!(status, 202, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    (answer["id"].as_str().unwrap().to_owned(), session)
}

fn confirm(bank: SocketAddr, id: &str, session: &str, cents: u32, code: &str) -> (u16, String) {
    let body = format!("{{\"code\":\"{code}\",\"amount_cents\":{cents},\"payee_iban\":\"{PAYEE}\"}}");
    let (status, _, answer) = ask(bank, "POST", &format!("/transfers/{id}/confirm"), session, &body);
    (status, answer)
}

/// The code in a text, which also tells amount and payee.
fn code_in(text: &str, euros: &str) -> String {
    assert!(text.contains(euros) && text.contains(PAYEE) && text.ends_with("Ne le donnez à personne."), "{text}");
    text.split("Code : ").nth(1).unwrap()[..6].to_owned()
}

#[test]
fn a_transfer_is_confirmed_with_the_code_that_a_foreign_message_centre_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let (centre, port) = peer(support::port());
    let data = dir.path().join("data");
    let estate = estate(&data, &["--message-centre", &format!("127.0.0.1:{port}")]);
    let message = |centre: &Running| -> Value { centre.line("a message", |line| serde_json::from_str(line).ok()) };
    let (id, session) = transfer(estate.at("bank"), 1234, "key-foreign-1");
    let first = message(&centre);
    assert_eq!((first["to"].as_str(), first["from"].as_str()), (Some("33600000001"), Some("Guichet")));
    assert_eq!((first["coding"].as_u64(), first["receipt"].as_u64()), (Some(3), Some(1)), "Latin-1, receipt asked for");
    let code = code_in(first["text"].as_str().unwrap(), "12,34 EUR");
    // Bound to amount and payee: another amount is a wrong code.
    assert_eq!(confirm(estate.at("bank"), &id, &session, 1235, &code).0, 403);
    let (status, answer) = confirm(estate.at("bank"), &id, &session, 1234, &code);
    assert!(status == 200 && answer.contains("booked"), "{status} {answer}");
    assert_eq!(confirm(estate.at("bank"), &id, &session, 1234, &code).0, 409, "a code is used once");

    // The centre goes away: the bank and the rails go on, and the message waits.
    drop(centre);
    let (id, session) = transfer(estate.at("bank"), 200, "key-foreign-2");
    let euro = "{\"to\":\"+33600000009\",\"text\":\"Code 000042 : 5 €\"}";
    let once = "idempotency-key: key-foreign-3\r\n";
    assert_eq!(ask(estate.at("rails"), "POST", "/sms-codes", once, euro).0, 202);
    assert_eq!(ask(estate.at("rails"), "POST", "/sms-codes", once, euro).0, 202, "repeated, and sent once");
    let (centre, _) = peer(port);
    let mut late = [message(&centre), message(&centre)];
    late.sort_by_key(|message| message["to"].to_string());
    let code = code_in(late[0]["text"].as_str().unwrap(), "2,00 EUR");
    assert_eq!(confirm(estate.at("bank"), &id, &session, 200, &code).0, 200);
    assert_eq!((late[1]["text"].as_str(), late[1]["coding"].as_u64()), (Some("Code 000042 : 5 €"), Some(8)), "UCS-2");

    // Delivered, as the receipts say; nothing was sent twice.
    let until = Instant::now() + PATIENCE;
    while states(&data) != [("delivered".to_owned(), 3)] {
        assert!(Instant::now() < until, "{:?}", states(&data));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(estate);
    assert!(centre.lines.try_recv().is_err());
}

#[test]
fn a_message_that_is_refused_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (centre, port) = peer(0);
    let data = dir.path().join("data");
    let estate = estate(&data, &["--message-centre", &format!("127.0.0.1:{port}")]);
    for (n, telephone) in ["+33690000001", "+33680000001", "+33600000001"].into_iter().enumerate() {
        let body = format!("{{\"to\":\"{telephone}\",\"text\":\"Code {n:06}\"}}");
        let once = format!("idempotency-key: key-refused-{n}\r\n");
        assert_eq!(ask(estate.at("rails"), "POST", "/sms-codes", &once, &body).0, 202);
    }
    wait_for("one failed, two delivered", || {
        (states(&data) == [("delivered".to_owned(), 2), ("failed".to_owned(), 1)]).then_some(())
    });
    let taken = || centre.line("a message", |line| serde_json::from_str::<Value>(line).ok());
    let mut texts = [taken()["text"].to_string(), taken()["text"].to_string()];
    texts.sort_unstable();
    assert_eq!(texts, ["\"Code 000001\"", "\"Code 000002\""], "each once");
}

/// How many messages are in which state.
fn states(data: &Path) -> Vec<(String, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = support::store(data, "rails").await;
        let sql = "SELECT state, count(*) FROM sms GROUP BY state ORDER BY state";
        sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
    })
}

#[test]
fn the_telephone_of_the_demo_shows_the_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut estate = estate(&dir.path().join("data"), &["--telephone", "127.0.0.1:0"]);
    let telephone = estate.at("telephone");
    let (id, session) = transfer(estate.at("bank"), 999, "key-telephone");
    let until = Instant::now() + PATIENCE;
    let messages = loop {
        let (status, _, body) = ask(telephone, "GET", "/messages?to=%2B33600000001", "", "");
        assert_eq!(status, 200);
        let messages: Vec<Value> = serde_json::from_str(&body).unwrap();
        if !messages.is_empty() {
            break messages;
        }
        assert!(Instant::now() < until, "no message came");
        std::thread::sleep(Duration::from_millis(50));
    };
    let code = code_in(messages[0]["text"].as_str().unwrap(), "9,99 EUR");
    let (_, head, page) = ask(telephone, "GET", "/?to=+33600000001", "accept-language: en\r\n", "");
    assert!(page.contains("<html lang=\"en\">") && page.contains(&code), "{page}");
    assert!(head.contains("default-src 'none'"), "{head}");
    let (_, _, other) = ask(telephone, "GET", "/?to=33600000002", "", "");
    assert!(other.contains("<html lang=\"fr\">") && !other.contains(&code), "{other}");
    assert_eq!(confirm(estate.at("bank"), &id, &session, 999, &code).0, 200);

    // It ends with the estate.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(estate.running.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let until = Instant::now() + PATIENCE;
    while estate.running.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
