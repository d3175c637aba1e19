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

/// A certificate for 127.0.0.1, its key, and the authority that made it; PEM all three.
fn certificate() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    (certificate.pem(), key.serialize_pem(), authority.pem())
}

#[test]
fn over_tls_only_the_right_server_is_taken_and_nothing_goes_in_the_clear() {
    let mut postgres = Postgres::start();
    let url = postgres.url();
    let dir = tempfile::tempdir().unwrap();
    let (shown, key, right) = certificate();
    let (_, _, wrong) = certificate();
    for (name, text) in [("right.pem", right), ("wrong.pem", wrong)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let with = |url: &str, mode: &str, authority: &str| {
        let file = dir.path().join(authority);
        format!("{url}?sslmode={mode}&sslrootcert={}", file.display())
    };
    let refused = |url: &str, expected: &[&str]| {
        let output = program(&["seed", "--database", url], dir.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{url}");
        for words in expected {
            assert!(error.contains(words), "{words:?} is not in {error}");
        }
        assert!(!error.contains("only-for-this-test"), "{error}");
    };
    // A server without TLS: who asks for it does not go on in the clear.
    for mode in ["require", "verify-full"] {
        refused(&with(&url, mode, "right.pem"), &["127.0.0.1", "does the server speak TLS", "does not support TLS"]);
    }
    postgres.take_tls_only(&shown, &key);
    refused(&with(&url, "verify-full", "wrong.pem"), &["127.0.0.1", "is its certificate", "invalid peer certificate"]);
    refused(
        &with(&url.replace("127.0.0.1", "localhost"), "verify-full", "right.pem"),
        &["localhost", "is its certificate"],
    );
    refused(&with(&url, "verify-full", "absent.pem"), &["127.0.0.1", "sslrootcert"]);
    // This server takes nothing in the clear.
    refused(&with(&url, "disable", "right.pem"), &["127.0.0.1", "no encryption"]);

    let right = with(&url, "verify-full", "right.pem");
    let schemas = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'schema_version'";
    assert_eq!(number(&right, schemas), 0, "what was refused left nothing");
    let seeded = program(&["seed", "--database", &right], dir.path());
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    let estate = Estate::start(&["all", "--base-port", "0", "--database", &right], dir.path());
    let (status, _, body) = ask(estate.at("bank"), "GET", "/", "", "");
    assert_eq!(status, 200, "{body}");
    let login = r#"{"user":"user0001","password":"password-0001"}"#;
    assert!(ask(estate.at("bank"), "POST", "/login", "", login).0 < 300);
    let plain = "SELECT count(*) FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s USING (pid)
                 WHERE a.client_port IS NOT NULL AND s.ssl IS NOT TRUE";
    assert_eq!(number(&right, plain), 0, "a connection is in the clear");
    let services = "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE s.ssl";
    assert!(number(&right, services) >= 9);
}

/// What a statement gives as some user: an error's words, or how many rows it had to do with.
fn as_user(url: &str, sql: &str) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    })
}

#[test]
fn with_a_role_for_each_service_none_reads_what_another_has() {
    let postgres = Postgres::start();
    let admin = postgres.url();
    let dir = tempfile::tempdir().unwrap();
    // As somebody who may make roles and schemas here, and is no superuser.
    as_user(&admin, "CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'kept'; GRANT CREATE ON DATABASE postgres TO keeper")
        .unwrap();
    let at = admin.split_once('@').unwrap().1;
    let keeper = format!("postgres://keeper:kept@{at}");
    let services = format!("postgres://guichet_{{service}}@{at}");
    let ran = |arguments: &[&str]| {
        let output = program(arguments, dir.path());
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), told)
    };
    let (done, told) = ran(&["roles", "--database", &services]);
    assert!(!done && told.contains("{service} is for the services"), "{told}");
    for time in ["first", "again"] {
        let (done, told) = ran(&["roles", "--database", &keeper]);
        assert!(done && told.contains(&services), "{time}: {told}");
    }
    let passwords = std::fs::read_to_string(dir.path().join("roles.pgpass")).unwrap();
    let url = |role: &str| {
        let line = passwords.lines().find_map(|line| line.strip_prefix(&format!("*:*:*:guichet_{role}:")));
        format!("postgres://guichet_{role}:{}@{at}", line.unwrap())
    };

    let estate = Estate::start(&["all", "--base-port", "0", "--database", &services], dir.path());
    let login = r#"{"user":"user0001","password":"password-0001"}"#;
    for service in ["bank", "vault", "staff"] {
        assert!(ask(estate.at(service), "POST", "/login", "", login).0 < 300, "{service}");
    }
    let (whole, table) = ran(&["verify", "--database", &services]);
    assert!(whole && table.contains(", 0 broken"), "{table}");

    let names = ["portal", "app", "identity", "vault", "bank", "rails", "counter", "parcels", "staff"];
    for service in names {
        let own = url(service);
        as_user(&own, &format!("SELECT * FROM {service}.session")).unwrap();
        for other in names.into_iter().filter(|other| *other != service) {
            for sql in
                [format!("SELECT * FROM {other}.session"), format!("INSERT INTO {other}.secret VALUES ('a', '')")]
            {
                let refused = as_user(&own, &sql).unwrap_err();
                assert!(refused.contains("permission denied"), "{service}: {sql}: {refused}");
            }
        }
        let made = as_user(&own, "CREATE SCHEMA of_its_own").unwrap_err();
        assert!(made.contains("permission denied"), "{service}: {made}");
    }
    let reader = url("verify");
    as_user(&reader, "SELECT * FROM vault.document").unwrap();
    for sql in
        ["DELETE FROM vault.document", "UPDATE bank.account SET balance_cents = 0", "CREATE TABLE bank.more (n INT)"]
    {
        let refused = as_user(&reader, sql).unwrap_err();
        assert!(refused.contains("permission denied"), "{sql}: {refused}");
    }
    // A database in which one user had all is not taken over by halves.
    let other = postgres.fresh("of_one_user");
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(program(&["seed", "--database", &other], elsewhere.path()).status.success());
    let (done, told) = ran(&["roles", "--database", &other]);
    assert!(!done && told.contains("the schema belongs to estate"), "{told}");
}
