//! The terminal at a post-office counter, as a clerk uses it: with the counter service, without it, and killed itself.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use support::{Estate, Running, exchange, port, verified, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guichet-estate");

struct Till {
    /// Killed when dropped.
    _running: Running,
    at: SocketAddr,
}

impl Till {
    fn start(dir: &Path, counter: SocketAddr) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["till", "--listen", "127.0.0.1:0", "--counter", &counter.to_string(), "--data"]);
        command.arg(dir.join("till")).arg("--enrolment").arg(dir.join("estate"));
        let running = Running::start(&mut command);
        let at = running.line("the till", |line| line.strip_prefix("till http://")?.parse().ok());
        running.line("the till", |line| (line == "ready").then_some(()));
        Self { _running: running, at }
    }

    fn get(&self, path: &str, accept: &str) -> (u16, String) {
        let (status, _, body) = exchange(
            self.at,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept-language: en\r\naccept: {accept}\r\n"),
            "",
        );
        (status, body)
    }

    /// Sends a form; status, and where it leads.
    fn enter(&self, key: &str, fields: &str) -> (u16, Option<String>, String) {
        let head =
            "POST / HTTP/1.1\r\nhost: x\r\naccept-language: en\r\ncontent-type: application/x-www-form-urlencoded\r\n";
        let (status, head, body) = exchange(self.at, head, &format!("key={key}&{fields}"));
        (status, head.lines().find_map(|line| line.strip_prefix("location: ")).map(str::to_owned), body)
    }

    fn sell(&self, key: &str, fields: &str) -> String {
        let (status, place, body) = self.enter(key, fields);
        assert_eq!(status, 303, "{body}");
        place.unwrap()
    }

    fn wait(&self, words: &str) {
        wait_for(words, || self.get("/", "text/html").1.contains(words).then_some(()));
    }
}

#[test]
fn a_client_is_served_with_everything_down_and_the_service_learns_of_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("estate");
    let counter = |port: u16| Estate::start(&["counter", "--listen", &format!("127.0.0.1:{port}")], &data);
    let place = port();
    let service = counter(place);
    let address = service.at("counter");
    let till = Till::start(dir.path(), address);
    till.wait("parcel numbers: 200");
    assert_eq!(till.sell("form-00000001", "kind=float&amount=200"), "/recus/1");
    till.wait("to be told: 0");
    drop(service);

    // Everything is down.
    assert_eq!(till.sell("form-00000002", "kind=stamps&count=10"), "/recus/2");
    assert_eq!(till.sell("form-00000002", "kind=stamps&count=10"), "/recus/2", "sent again, sold once");
    assert_eq!(till.enter("form-00000002", "kind=stamps&count=11").0, 409);
    let parcel = till.sell("form-00000003", "kind=parcel&grams=500");
    let receipt = till.get(&parcel, "text/html").1;
    let id = receipt.split("CC2").nth(1).map(|rest| format!("CC2{}", &rest[..10])).unwrap();
    assert_eq!(guichet_estate::ids::s10(&id), Ok(id.clone()));
    till.sell("form-00000004", "kind=deposit&reference=FR1420041010050500013M02606&amount=1500");
    till.sell("form-00000005", "kind=withdrawal&reference=FR1420041010050500013M02606&amount=1400");
    for (key, fields, words) in [
        ("form-00000006", "kind=withdrawal&reference=X&amount=101", "has not heard of"),
        ("form-00000007", "kind=withdrawal&reference=X&amount=2900", "not enough in the till"),
        ("form-00000008", "kind=stamps&count=0", "not possible"),
        ("form-00000009", "kind=parcel&grams=501", "not possible"),
        ("form-00000010", "kind=deposit&reference=X&amount=-5", "not possible"),
        ("form-00000011", "kind=deposit&reference=X&amount=3000.01", "not possible"),
    ] {
        let (status, _, body) = till.enter(key, fields);
        assert!((status == 409 || status == 422) && body.contains(words), "{fields}: {status} {body}");
    }
    till.wait("Line down");
    till.sell("form-00000012", "kind=minus&reference=2+%3A+deux+de+trop&amount=2.78");
    let closing = till.sell("form-00000013", "kind=closing&amount=318.71");
    let (status, printed) = till.get(&closing, "text/plain");
    assert!(status == 200 && printed.contains("expected: 318.71") && printed.contains("difference: 0.00"), "{printed}");

    let service = counter(place);
    till.wait("to be told: 0");
    let path = format!("/journals/PARIS01/T1/statement?closing={}", closing.rsplit('/').next().unwrap());
    let (status, _, told) = exchange(service.at("counter"), &format!("GET {path} HTTP/1.1\r\nhost: x\r\n"), "");
    assert_eq!((status, told), (200, printed), "both sides print the same");
    // The cap is on what is untold.
    till.sell("form-00000014", "kind=withdrawal&reference=X&amount=150");
    drop((till, service));
    verified(&data);
}

#[test]
fn killed_in_the_middle_of_its_work_it_has_each_receipt_that_it_gave_and_no_other_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("estate");
    let service = Estate::start(&["counter", "--listen", "127.0.0.1:0"], &data);
    let address = service.at("counter");
    let mut given = 0;
    let mut pending: Option<u32> = None;
    let mut form = 0;
    for round in 0..4_u64 {
        let till = Till::start(dir.path(), address);
        let at = till.at;
        let seller = std::thread::spawn(move || {
            let mut receipts = 0;
            let (mut form, mut pending) = (form, pending);
            // Bounded: the terminal is killed long before.
            for _ in 0..100_000 {
                let number = pending.unwrap_or_else(|| {
                    form += 1;
                    form
                });
                let sold = std::panic::catch_unwind(|| {
                    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
                    exchange(at, head, &format!("key=form-{number:08}&kind=stamps&count=1")).0
                });
                match sold {
                    Ok(303) => {
                        receipts += 1;
                        pending = None;
                    }
                    Ok(status) => panic!("status {status}"),
                    Err(_) => return (form, Some(number), receipts),
                }
            }
            (form, None, receipts)
        });
        std::thread::sleep(std::time::Duration::from_millis(150 + round * 90));
        drop(till);
        let (sold_form, sold_pending, receipts) = seller.join().unwrap();
        (form, pending) = (sold_form, sold_pending);
        given += receipts;
    }
    // What had no receipt is sent again, under its own key.
    let till = Till::start(dir.path(), address);
    if let Some(number) = pending {
        till.sell(&format!("form-{number:08}"), "kind=stamps&count=1");
        given += 1;
    }
    assert!(given > 20, "{given} receipts");
    till.wait("to be told: 0");
    let (_, _, last) = exchange(address, "GET /journals/PARIS01/T1 HTTP/1.1\r\nhost: x\r\n", "");
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["last"].as_i64(), Some(given));
    drop((till, service));
    verified(&data);
}

#[test]
fn a_terminal_that_the_service_does_not_know_says_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("estate");
    let service = Estate::start(&["counter", "--listen", "127.0.0.1:0"], &data);
    let mut command = Command::new(PROGRAM);
    command.args(["till", "--listen", "127.0.0.1:0", "--counter", &service.at("counter").to_string(), "--data"]);
    command.arg(dir.path().join("till"));
    let running = Running::start(&mut command);
    let at = running.line("the till", |line| line.strip_prefix("till http://")?.parse().ok());
    let till = Till { _running: running, at };
    till.wait("The centre refuses the journal");
    till.sell("form-00000001", "kind=stamps&count=2");
    for (arguments, words) in [
        (&["--listen", "192.0.2.1:1", "--counter", "127.0.0.1:1"][..], "this machine alone"),
        (&["--listen", "127.0.0.1:0", "--counter", "192.0.2.1:1"], "loopback"),
        (&["--listen", "127.0.0.1:0", "--counter", "127.0.0.1:1", "--office", "paris"], "--office"),
    ] {
        let run =
            Command::new(PROGRAM).arg("till").args(arguments).arg("--data").arg(dir.path().join("x")).output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && told.contains(words), "{arguments:?}: {told}");
    }
}

#[test]
fn a_revoked_terminal_is_believed_for_what_it_did_before_and_for_nothing_after() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("estate");
    let place = port();
    let counter = || Estate::start(&["counter", "--listen", &format!("127.0.0.1:{place}")], &data);
    let terminals = |arguments: &[&str]| {
        let ran = Command::new(PROGRAM).arg("terminals").args(arguments).arg("--data").arg(&data).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        (ran.status.success(), told)
    };
    assert!(!terminals(&["list"]).0, "a folder without a counter is none");
    let service = counter();
    let till = Till::start(dir.path(), service.at("counter"));
    till.wait("parcel numbers: 200");
    till.sell("form-00000001", "kind=stamps&count=1");
    till.wait("to be told: 0");
    drop(service);
    // Signed before, told after.
    till.sell("form-00000002", "kind=stamps&count=2");
    let (ok, told) = terminals(&["list"]);
    assert!(ok && told.contains("PARIS01/T1") && told.contains("in force") && told.contains("1 entries"), "{told}");
    for (name, words) in [("PARIS01/T9", "no such terminal"), ("T1", "OFFICE/TERMINAL")] {
        let (ok, told) = terminals(&["revoke", name]);
        assert!(!ok && told.contains(words), "{told}");
    }
    let (ok, told) = terminals(&["revoke", "PARIS01/T1"]);
    assert!(ok && told.contains("is revoked since"), "{told}");
    assert_eq!(terminals(&["revoke", "PARIS01/T1"]), (true, told), "once is for good");
    till.sell("form-00000003", "kind=stamps&count=3");
    let service = counter();
    till.wait("this terminal was revoked before it was signed");
    let (_, _, last) = exchange(service.at("counter"), "GET /journals/PARIS01/T1 HTTP/1.1\r\nhost: x\r\n", "");
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["last"].as_i64(), Some(2), "each of those before is there once, none after");
    assert!(terminals(&["list"]).1.contains("revoked 20"));
    drop((till, service));
    verified(&data);
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
