//! The estate on a real PostgreSQL: each service in a schema of its own, the same invariants, and clear words where the
//! server can't be used. (That it survives being killed there is in `verify.rs`.)

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::Connection as _;
use support::postgres::Postgres;
use support::{Estate, ask, wait_for};

fn program(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guichet-estate")).args(arguments).arg("--data").arg(data).output().unwrap()
}

/// The first number that a query gives.
fn number(url: &str, sql: &'static str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    })
}

#[test]
fn services_keep_what_must_hold_and_share_nothing() {
    let mut postgres = Postgres::start();
    let url = postgres.url();
    let dir = tempfile::tempdir().unwrap();
    let seeded = program(&["seed", "--database", &url], dir.path());
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    let verified = || {
        let output = program(&["verify", "--database", &url], dir.path());
        let (table, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{table}{error}");
    };
    verified();
    assert!(!dir.path().join("bank.sqlite3").exists(), "no file beside the database");
    let schemas = "SELECT count(DISTINCT table_schema) FROM information_schema.tables WHERE table_name = 'session'";
    assert_eq!(number(&url, schemas), 9);
    assert_eq!(number(&url, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"), 0);

    let estate = Estate::start(&["all", "--base-port", "0", "--database", &url], dir.path());
    let bank = estate.at("bank");
    let login = r#"{"user":"user0001","password":"password-0001"}"#;
    let (status, head, _) = ask(bank, "POST", "/login", "", login);
    assert!(status < 300, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    let cookie = format!("cookie: {cookie}\r\n");
    let (status, _, accounts) = ask(bank, "GET", "/accounts", &cookie, "");
    assert!(status == 200 && serde_json::from_str::<Value>(&accounts).is_ok(), "{accounts}");
    let transfer = r#"{"amount_cents":100,"payee_iban":"FR1420041010050500013M02606"}"#;
    let once = format!("{cookie}idempotency-key: on-postgres-1\r\n");
    let first = ask(bank, "POST", "/transfers", &once, transfer);
    assert!(first.0 < 300, "{}", first.2);
    assert_eq!(ask(bank, "POST", "/transfers", &once, transfer).2, first.2, "the same key again");
    // The journal can't be changed, whoever holds the connection.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("DELETE FROM bank.journal").execute(&mut connection).await.unwrap_err().to_string()
    });
    assert!(refused.contains("append-only"), "{refused}");

    // The server goes: a problem, not a hang; it comes back: so does the service, by itself.
    postgres.kill();
    let (status, head, body) = ask(bank, "GET", "/accounts", &cookie, "");
    assert!(status == 503 && head.contains("application/problem+json"), "{status} {body}");
    postgres.start_again();
    wait_for("the bank to come back", || (ask(bank, "GET", "/accounts", &cookie, "").0 == 200).then_some(()));
    assert_eq!(ask(bank, "POST", "/transfers", &once, transfer).2, first.2, "it was kept");
    drop(estate);
    verified();
}

#[test]
fn a_server_that_can_not_be_used_is_named_without_the_password() {
    let mut postgres = Postgres::start();
    let dir = tempfile::tempdir().unwrap();
    let right = postgres.url();
    let secret = right.split([':', '@']).nth(2).unwrap().to_owned();
    let check = |url: &str, expected: &[&str]| {
        let output = program(&["bank", "--listen", "127.0.0.1:0", "--database", url], dir.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{url}");
        for words in expected {
            assert!(error.contains(words), "{words:?} is not in {error}");
        }
        assert!(!error.contains(&secret), "{error}");
    };
    check(&right.replace(&secret, "wrong-one"), &["127.0.0.1", "schema bank", "password"]);
    check(&format!("{}nowhere", right.trim_end_matches("postgres")), &["127.0.0.1", "nowhere"]);
    check("mysql://a@b/c", &["postgres://user@host"]);
    postgres.kill();
    check(&right, &["127.0.0.1", "is the server up"]);
}
