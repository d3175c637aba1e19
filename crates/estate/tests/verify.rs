//! What must hold, checked on the real program: after it was killed in the middle of its work, and after somebody changed a
//! store behind its back.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::postgres::Postgres;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guichet-estate");
/// How often the estate is killed.
const ROUNDS: u64 = 4;
/// Clients that write at once.
const CLIENTS: u64 = 6;

/// A running estate; killed when dropped.
struct Running {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(data: &Path, more: &[&str]) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["all", "--base-port", "0", "--data"]).arg(data).args(more);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let mut running = Running { child, addresses: Vec::new() };
    for line in BufReader::new(out).lines() {
        let line = line.unwrap();
        if line == "ready" {
            return running;
        }
        running.addresses.push(line.split_once(" http://").unwrap().1.parse().unwrap());
    }
    panic!("it ended before it was ready");
}

fn verify(data: &Path, more: &[&str], acknowledged: Option<&Path>) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["verify", "--data"]).arg(data).args(more);
    if let Some(file) = acknowledged {
        command.arg("--acknowledged").arg(file);
    }
    command.output().unwrap()
}

/// The whole answer to one request; an error where the service went away meanwhile.
fn exchange(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    write!(stream, "{head}host: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> std::io::Result<String> {
    exchange(address, &format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n{headers}"), body)
}

/// A cookie of the session of one user.
fn sign_in(address: SocketAddr, user: u64) -> std::io::Result<String> {
    let body = format!("{{\"user\":\"user{user:04}\",\"password\":\"password-{user:04}\"}}");
    let answer = post(address, "/login", "", &body)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.ok_or_else(|| std::io::Error::other("no session"))?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// A few numbers from a seed (SplitMix64), so that a failing run can be told.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Writes to five services until they are gone, and notes what was acknowledged. Parcel `n` of the test data has this id.
fn write_until_gone(client: u64, addresses: &[SocketAddr], mut chance: Chance, told: &Mutex<BTreeSet<String>>) {
    const PARCELS: [&str; 2] = ["CG100000003FR", "CG100000017FR"];
    let user = client * 7 + 1;
    let (vault, bank, rails, counter, parcels) = (addresses[3], addresses[4], addresses[5], addresses[6], addresses[7]);
    let (Ok(vault_session), Ok(bank_session)) = (sign_in(vault, user), sign_in(bank, user)) else { return };
    // Bounded: the estate is killed long before.
    for _ in 0..100_000 {
        let draw = chance.next();
        let key = format!("key-{draw:016x}");
        let once = format!("idempotency-key: {key}\r\n");
        let (line, answer) = match draw % 5 {
            0 => {
                let head = format!(
                    "POST /documents HTTP/1.1\r\ncontent-type: text/plain\r\nx-document-name: d.txt\r\n{once}cookie: {vault_session}\r\n"
                );
                (format!("vault documents {key}"), exchange(vault, &head, &format!("document {draw}")))
            }
            1 => {
                let body = "{\"amount_cents\":1,\"payee_iban\":\"FR1420041010050500013M02606\"}";
                let headers = format!("{once}cookie: {bank_session}\r\n");
                (format!("bank transfers {key}"), post(bank, "/transfers", &headers, body))
            }
            2 => {
                let (payer, payee) = (user, user + 1 + draw / 5 % 500);
                let body = format!(
                    "{{\"payer_alias\":\"+336000{payer:05}\",\"payee_alias\":\"+336000{payee:05}\",\"amount_cents\":1}}"
                );
                (format!("rails instant {key}"), post(rails, "/instant", &once, &body))
            }
            3 => {
                let body = format!(
                    "{{\"office\":\"KILL\",\"terminal\":\"T{client}\",\"kind\":\"stamps\",\"amount_cents\":139}}"
                );
                (format!("counter operations {key}"), post(counter, "/operations", &once, &body))
            }
            _ => {
                let parcel = PARCELS[(draw / 5 % 2) as usize];
                let body = format!(
                    "{{\"scan_id\":\"{key}\",\"parcel\":\"{parcel}\",\"code\":\"ET1\",\"site\":\"Paris\",\"event_at\":\"2026-01-05T10:00:00Z\"}}"
                );
                (format!("parcels scans {key}"), post(parcels, "/scans", "", &body))
            }
        };
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 20") => {
                told.lock().unwrap().insert(line);
            }
            Ok(answer) if answer.starts_with("HTTP/1.1 4") => {}
            // Gone, or going.
            Ok(_) | Err(_) => return,
        }
    }
}

#[test]
fn what_was_acknowledged_survives_being_killed_at_any_moment() {
    killed(None);
}

#[test]
fn on_postgresql_it_survives_the_estate_and_the_server_being_killed() {
    killed(Some(Postgres::start()));
}

/// Kills the estate in each round; with a server, the server in each second one.
fn killed(mut postgres: Option<Postgres>) {
    let url = postgres.as_ref().map(Postgres::url);
    let more: Vec<&str> = url.as_deref().map_or_else(Vec::new, |url| vec!["--database", url]);
    let seed = std::env::var("GUICHET_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    eprintln!("seed {seed}: GUICHET_TEST_SEED={seed} draws the same requests and moments");
    let mut chance = Chance(seed);
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("acknowledged"));
    let told = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..ROUNDS {
        let mut running = start(&data, &more);
        let before = told.lock().unwrap().len();
        let wanted = before + 20 + (chance.next() % 200) as usize;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (addresses, told) = (running.addresses.clone(), Arc::clone(&told));
                let chance = Chance(chance.next());
                std::thread::spawn(move || write_until_gone(client, &addresses, chance, &told))
            })
            .collect();
        // Killed when so much was acknowledged: at a moment that no operation chose.
        let until = std::time::Instant::now() + Duration::from_secs(120);
        while told.lock().unwrap().len() < wanted {
            assert!(std::time::Instant::now() < until, "seed {seed}, round {round}: the estate acknowledges nothing");
            std::thread::sleep(Duration::from_micros(200));
        }
        match &mut postgres {
            Some(server) if round % 2 == 1 => server.kill(),
            Some(_) | None => {
                running.child.kill().unwrap();
                running.child.wait().unwrap();
            }
        }
        for client in clients {
            client.join().unwrap();
        }
        if let (Some(server), 1) = (&mut postgres, round % 2) {
            server.start_again();
        }
        let lines: Vec<String> = told.lock().unwrap().iter().cloned().collect();
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        let verified = verify(&data, &more, Some(&file));
        let table = String::from_utf8_lossy(&verified.stdout);
        assert_eq!(verified.status.code(), Some(0), "seed {seed}, round {round}:\n{table}");
        assert!(table.contains("acknowledged is there exactly once") && table.contains(", 0 broken"), "{table}");
    }
}

/// Changes a store as somebody with the file in hand could, triggers and all.
fn tamper(data: &Path, service: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection as _;
        let url = format!("sqlite://{}/{service}.sqlite3", data.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    {
        let running = start(&data, &[]);
        let (vault, counter, staff) = (running.addresses[3], running.addresses[6], running.addresses[8]);
        let session = sign_in(vault, 1).unwrap();
        let head = format!(
            "POST /documents HTTP/1.1\r\nx-document-name: d.txt\r\nidempotency-key: key-00000001\r\ncookie: {session}\r\n"
        );
        assert!(exchange(vault, &head, "mine").unwrap().starts_with("HTTP/1.1 201"));
        let body = "{\"office\":\"A\",\"terminal\":\"B\",\"kind\":\"stamps\",\"amount_cents\":139}";
        for n in 0..3 {
            let once = format!("idempotency-key: key-1000000{n}\r\n");
            assert!(post(counter, "/operations", &once, body).unwrap().starts_with("HTTP/1.1 201"));
        }
        let session = sign_in(staff, 1).unwrap();
        for file in ["file-0001", "file-0002"] {
            let head = format!("GET /files/{file}?case=CASE-2026-1 HTTP/1.1\r\ncookie: {session}\r\n");
            assert!(exchange(staff, &head, "").unwrap().starts_with("HTTP/1.1 200"));
        }
    }
    let clean = verify(&data, &[], None);
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    for (service, damage, words) in [
        (
            "bank",
            "UPDATE account SET balance_cents = balance_cents + 1 WHERE id = 'acc-0001-1'",
            "all balances sum to zero",
        ),
        (
            "rails",
            "UPDATE account SET balance_cents = balance_cents + CASE id WHEN 'acc-0001-1' THEN 1 ELSE -1 END WHERE id IN ('acc-0001-1', 'acc-0002-1')",
            "a balance is the sum of its entries",
        ),
        ("rails", "DROP TRIGGER entry_stays; DELETE FROM entry WHERE id = 3", "each transaction sums to zero"),
        (
            "vault",
            "UPDATE version SET sealed = CAST('other' AS BLOB) WHERE document IN (SELECT id FROM document WHERE name = 'd.txt')",
            "is not as it was sealed",
        ),
        ("vault", "UPDATE document SET owner = 'user0002' WHERE name = 'd.txt'", "each receipt that was given"),
        (
            "counter",
            "DROP TRIGGER operation_kept; UPDATE operation SET amount_cents = 1 WHERE office = 'A' AND sequence = 2",
            "A/B 2: was changed",
        ),
        (
            "counter",
            "DROP TRIGGER operation_stays; DELETE FROM operation WHERE office = 'A' AND sequence = 2",
            "one is missing",
        ),
        ("staff", "DROP TRIGGER audit_stays; DELETE FROM audit WHERE id = 1", "audit 2: should be number 1"),
        (
            "parcels",
            "INSERT INTO idempotency VALUES ('partner', 'scans', 'lost-scan', x'', 201, '{}', 1)",
            "each scan that was acknowledged",
        ),
        ("identity", "DELETE FROM person WHERE user = 'user0001'", "who can sign in is somebody"),
    ] {
        let copy = dir.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap) {
            // The stores only: beside them is a folder of signed heads, which `verify` does not read.
            if entry.path().is_dir() {
                continue;
            }
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        tamper(&copy, service, damage);
        let found = verify(&copy, &[], None);
        let table = String::from_utf8_lossy(&found.stdout);
        assert_eq!(found.status.code(), Some(1), "{service}: {damage}: {table}");
        let broken: Vec<_> = table.lines().filter(|line| line.starts_with("BROKEN")).collect();
        assert!(broken.iter().any(|line| line.contains(words)), "{damage}: {broken:?}");
        assert!(broken.iter().all(|line| line.contains(service)), "{damage}: {broken:?}");
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn what_can_not_be_verified_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("acknowledged"));
    let check = |lines: &str, words: &str| {
        std::fs::write(&file, lines).unwrap();
        let output = verify(&data, &[], Some(&file));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{lines:?}: {told}");
    };
    check("", "no store of the estate");
    check("bank transfers\n", "line 1: takes SERVICE ROUTE KEY");
    check("bank transfers k\nbanque transfers k\n", "line 2: there is no service called \"banque\"");
    check("bank transfers key-00000001\n", "there is no store of bank");
    drop(start(&data, &[]));
    std::fs::write(&file, "bank transfers key-00000001\n").unwrap();
    let output = verify(&data, &[], Some(&file));
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("1 of 1 are not: transfers key-00000001: 0 times"), "{table}");
}
