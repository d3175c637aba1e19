//! Approval of a transfer in the application, and the text message that comes where it is not given.

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Estate, ask, verified, wait_for};

const PAYEE: &str = "FR1420041010050500013M02606";

fn session(address: SocketAddr, path: &str) -> String {
    let body = "{\"user\":\"user0001\",\"password\":\"password-0001\"}";
    let (_, head, _) = ask(address, "POST", path, "", body);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    format!("cookie: {}\r\n", cookie.split(';').next().unwrap())
}

fn transfer(bank: SocketAddr, key: &str, cents: u32) -> String {
    let session = session(bank, "/login");
    let body =
        json!({"amount_cents": cents, "payee_iban": PAYEE, "payee_name": "Le Port", "approve_in": "app"}).to_string();
    let (status, _, answer) = ask(bank, "POST", "/transfers", &format!("{session}idempotency-key: {key}\r\n"), &body);
    assert_eq!(status, 202, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned()
}

fn balance(bank: SocketAddr) -> i64 {
    let (_, _, body) = ask(bank, "GET", "/accounts", &session(bank, "/login"), "");
    serde_json::from_str::<Value>(&body).unwrap()["accounts"][0]["balance_cents"].as_i64().unwrap()
}

/// What the telephone of user 1 got.
fn texts(telephone: SocketAddr) -> Vec<String> {
    let (_, _, body) = ask(telephone, "GET", "/messages?to=%2B33600000001", "", "");
    let messages: Vec<Value> = serde_json::from_str(&body).unwrap();
    messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

/// The question about a transfer, in the application.
fn question(app: SocketAddr, id: &str) -> Value {
    let session = session(app, "/v1/sessions");
    wait_for("the question", || {
        let (_, _, body) = ask(app, "GET", "/v1/home", &session, "");
        let home: Value = serde_json::from_str(&body).unwrap();
        home["approvals"].as_array().unwrap().iter().find(|approval| approval["id"] == id).cloned()
    })
}

fn decide(app: SocketAddr, id: &str, decision: &str) -> (u16, String) {
    let body = format!("{{\"decision\":\"{decision}\"}}");
    let (status, _, answer) = ask(app, "POST", &format!("/v1/approvals/{id}"), &session(app, "/v1/sessions"), &body);
    (status, answer)
}

#[test]
fn a_transfer_is_approved_or_refused_in_the_application_and_by_code_where_it_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["all", "--base-port", "0", "--telephone", "127.0.0.1:0"], dir.path());
    let (bank, app, telephone) = (estate.at("bank"), estate.at("app"), estate.at("telephone"));
    let silent = transfer(bank, "key-approval-0", 700);
    let yes = transfer(bank, "key-approval-1", 1234);
    let shown = question(app, &yes);
    assert_eq!((&shown["merchant"], &shown["amount_cents"]), (&json!("Le Port"), &json!(1234)));
    let (status, answer) = decide(app, &yes, "approve");
    assert!(status == 200 && answer.contains("approved"), "{status} {answer}");
    assert_eq!(balance(bank), 1_000_000 - 1234);
    assert_eq!(decide(app, &yes, "approve").0, 200, "the same again");
    assert_eq!(decide(app, &yes, "refuse").0, 409);
    let no = transfer(bank, "key-approval-2", 500);
    question(app, &no);
    assert_eq!(decide(app, &no, "refuse").0, 200);
    // Nobody decides about the first: its code comes, and books it; then the application comes too late.
    let text = wait_for("a text message", || texts(telephone).into_iter().next());
    assert!(text.contains("7,00 EUR") && text.contains(PAYEE), "{text}");
    let code = &text.split("Code : ").nth(1).unwrap()[..6];
    let body = json!({"code": code, "amount_cents": 700, "payee_iban": PAYEE}).to_string();
    let (status, _, answer) =
        ask(bank, "POST", &format!("/transfers/{silent}/confirm"), &session(bank, "/login"), &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(decide(app, &silent, "refuse").0, 410);
    assert_eq!(balance(bank), 1_000_000 - 1234 - 700);
    assert_eq!(texts(telephone).len(), 1, "those that were decided had none");
    drop(estate);
    verified(dir.path());
}

#[test]
fn without_the_application_the_code_comes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let rails = Estate::start(&["rails", "--listen", "127.0.0.1:0", "--telephone", "127.0.0.1:0"], data);
    let rails_peer = format!("rails={}", rails.at("rails"));
    // Nobody listens there: it was bound, and is free again.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app_peer = format!("app={gone}");
    let bank = Estate::start(&["bank", "--listen", "127.0.0.1:0", "--peer", &rails_peer, "--peer", &app_peer], data);
    transfer(bank.at("bank"), "key-approval-3", 4321);
    let text = wait_for("a text message", || texts(rails.at("telephone")).into_iter().next());
    assert!(text.contains("43,21 EUR"), "{text}");
}

#[test]
fn a_bank_that_starts_again_sends_the_code_that_waited() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let rails = Estate::start(&["rails", "--listen", "127.0.0.1:0", "--telephone", "127.0.0.1:0"], data);
    let app = Estate::start(&["app", "--listen", "127.0.0.1:0"], data);
    let (rails_peer, app_peer) = (format!("rails={}", rails.at("rails")), format!("app={}", app.at("app")));
    let start =
        || Estate::start(&["bank", "--listen", "127.0.0.1:0", "--peer", &rails_peer, "--peer", &app_peer], data);
    let bank = start();
    let id = transfer(bank.at("bank"), "key-approval-4", 2468);
    question(app.at("app"), &id);
    // Killed while the application has the question: nobody is left who knows that a message waits.
    drop(bank);
    assert!(texts(rails.at("telephone")).is_empty());
    let _bank = start();
    let text = wait_for("a text message", || texts(rails.at("telephone")).into_iter().next());
    assert!(text.contains("24,68 EUR"), "{text}");
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
