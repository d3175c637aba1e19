//! Codes by text message, from the bank over the rails to a telephone: with a message centre that is not ours (the npm
//! package `smpp`), and with the test telephone of the demo.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of the test; killed when dropped. What it prints comes line by line.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start a program");
        let out = child.stdout.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The first line for which `read` gives something.
    fn line<T>(&self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if let Some(found) = read(&line) {
                return found;
            }
        }
    }
}

/// The message centre of others, on a port (0: any that is free).
fn peer(port: u16) -> (Running, u16) {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
    let modules = cache.join("guichet/npm/node_modules");
    assert!(
        modules.join("smpp").is_dir(),
        "the npm package smpp is missing: `cargo xtask test` installs it, or: npm install --prefix {} smpp@0.5.1",
        modules.parent().unwrap().display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smsc_peer.cjs");
    let running = Running::start(Command::new("node").arg(script).arg(&modules).arg(port.to_string()));
    let port = running.line("the message centre", |line| line.strip_prefix("listening ")?.parse().ok());
    (running, port)
}

struct Estate {
    running: Running,
    bank: SocketAddr,
    rails: SocketAddr,
    telephone: Option<SocketAddr>,
}

fn estate(data: &Path, arguments: &[&str]) -> Estate {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
    let running = Running::start(command.args(["all", "--base-port", "0", "--data"]).arg(data).args(arguments));
    let (mut bank, mut rails, mut telephone) = (None, None, None);
    loop {
        let line = running.line("the estate", |line| Some(line.to_owned()));
        match line.split_once(" http://") {
            Some(("bank", address)) => bank = address.parse().ok(),
            Some(("rails", address)) => rails = address.parse().ok(),
            Some(("telephone", address)) => telephone = address.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    Estate { running, bank: bank.unwrap(), rails: rails.unwrap(), telephone }
}

/// Status, head and body of an answer.
fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
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
    let (centre, port) = peer(0);
    let data = dir.path().join("data");
    let estate = estate(&data, &["--message-centre", &format!("127.0.0.1:{port}")]);
    let message = |centre: &Running| -> Value { centre.line("a message", |line| serde_json::from_str(line).ok()) };
    let (id, session) = transfer(estate.bank, 1234, "key-foreign-1");
    let first = message(&centre);
    assert_eq!((first["to"].as_str(), first["from"].as_str()), (Some("33600000001"), Some("Guichet")));
    assert_eq!((first["coding"].as_u64(), first["receipt"].as_u64()), (Some(3), Some(1)), "Latin-1, receipt asked for");
    let code = code_in(first["text"].as_str().unwrap(), "12,34 EUR");
    // Bound to amount and payee: another amount is a wrong code.
    assert_eq!(confirm(estate.bank, &id, &session, 1235, &code).0, 403);
    let (status, answer) = confirm(estate.bank, &id, &session, 1234, &code);
    assert!(status == 200 && answer.contains("booked"), "{status} {answer}");
    assert_eq!(confirm(estate.bank, &id, &session, 1234, &code).0, 409, "a code is used once");

    // The centre goes away: the bank and the rails go on, and the message waits.
    drop(centre);
    let (id, session) = transfer(estate.bank, 200, "key-foreign-2");
    let euro = "{\"to\":\"+33600000009\",\"text\":\"Code 000042 : 5 €\"}";
    let once = "idempotency-key: key-foreign-3\r\n";
    assert_eq!(ask(estate.rails, "POST", "/sms-codes", once, euro).0, 202);
    assert_eq!(ask(estate.rails, "POST", "/sms-codes", once, euro).0, 202, "repeated, and sent once");
    let (centre, _) = peer(port);
    let mut late = [message(&centre), message(&centre)];
    late.sort_by_key(|message| message["to"].to_string());
    let code = code_in(late[0]["text"].as_str().unwrap(), "2,00 EUR");
    assert_eq!(confirm(estate.bank, &id, &session, 200, &code).0, 200);
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

/// How many messages are in which state.
fn states(data: &Path) -> Vec<(String, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection as _;
        let url = format!("sqlite://{}/rails.sqlite3", data.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let sql = "SELECT state, count(*) FROM sms GROUP BY state ORDER BY state";
        sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
    })
}

#[test]
fn the_telephone_of_the_demo_shows_the_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut estate = estate(&dir.path().join("data"), &["--telephone", "127.0.0.1:0"]);
    let telephone = estate.telephone.unwrap();
    let (id, session) = transfer(estate.bank, 999, "key-telephone");
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
    assert_eq!(confirm(estate.bank, &id, &session, 999, &code).0, 200);

    // It ends with the estate.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(estate.running.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let until = Instant::now() + PATIENCE;
    while estate.running.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
