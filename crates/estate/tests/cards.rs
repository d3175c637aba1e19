//! Cards and cash machines over ISO 8583, with a foreign client (pyiso8583), a bank that is killed, and rails that are.

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Estate, PATIENCE, Running, ask, money, packages, port, verified, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guichet-estate");

/// The foreign client on one connection.
struct Terminal {
    running: Running,
    input: ChildStdin,
    trace: u32,
}

impl Terminal {
    fn connect(cards: SocketAddr) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cards_client.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(packages("python", "iso8583")).arg(cards.port().to_string());
        let (running, input) = Running::with_input(&mut command);
        Self { running, input, trace: 0 }
    }

    /// Sends one message and gives the answer; null where the connection ended.
    fn send(&mut self, message: &Value) -> Value {
        writeln!(self.input, "{message}").unwrap();
        self.running.line("an answer", |line| serde_json::from_str(line).ok())
    }

    /// A new message of user `user`'s card; fields are added or replaced.
    fn message(&mut self, kind: &str, user: u32, cents: u32, fields: &[(&str, &str)]) -> Value {
        self.trace += 1;
        let mut message = json!({
            "t": kind, "2": guichet_estate::ids::card(user), "3": "000000", "4": format!("{cents:012}"), "7": "1126204500",
            "11": format!("{:06}", self.trace), "12": "204500", "13": "1126", "22": "051", "32": "12345",
            "37": format!("RRN{:09}", self.trace), "41": "T0000001", "42": "MERCHANT0000001", "49": "978",
            "55": "9F2608AABBCCDDEEFF0011",
        });
        for (number, value) in fields {
            message[*number] = json!(value);
        }
        message
    }

    /// Sends a new message and checks the code of the answer, and that it is an answer to this message.
    fn check(&mut self, message: &Value, code: &str) -> Value {
        let answer = self.send(message);
        let kind = message["t"].as_str().unwrap();
        let function = (kind.as_bytes()[2] + 1) as char;
        assert_eq!(answer["t"], format!("{}{function}0", &kind[..2]), "{answer}");
        assert_eq!(answer["39"], code, "{message} {answer}");
        for number in ["2", "4", "7", "11", "32", "37", "41", "42", "49"] {
            assert_eq!(answer[number], message[number], "{number}: {answer}");
        }
        // An advice that stands for itself has a number; one that completes another has not.
        let numbered = code == "00" && matches!(&kind[..3], "010" | "012" | "020")
            || kind == "0220" && message.get("90").is_none();
        assert_eq!(answer["38"].is_string(), numbered, "{answer}");
        answer
    }
}

/// What names a message in data element 90 of another.
fn original(message: &Value) -> String {
    let part = |number: &str| message[number].as_str().unwrap().to_owned();
    let sender: u64 = message["32"].as_str().unwrap_or("0").parse().unwrap();
    format!("{}{}{}{sender:011}{:011}", part("t"), part("11"), part("7"), 0)
}

#[test]
fn cards_work_as_a_foreign_client_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["all", "--base-port", "0", "--cards", "127.0.0.1:0"], dir.path());
    let bank = estate.at("bank");
    let mut terminal = Terminal::connect(estate.at("cards"));
    let full = 1_000_000;
    let echo = json!({"t": "0800", "7": "1126204500", "11": "000900", "70": "301"});
    let answer = terminal.send(&echo);
    assert_eq!((&answer["t"], &answer["39"], &answer["70"]), (&json!("0810"), &json!("00"), &json!("301")));

    // Paid once, however often it is sent.
    let paid = terminal.message("0200", 1, 1250, &[]);
    let first = terminal.check(&paid, "00");
    let mut repeat = paid.clone();
    repeat["t"] = json!("0201");
    assert_eq!(terminal.send(&repeat)["38"], first["38"]);
    let mut other = paid.clone();
    other["4"] = json!("000000009999");
    assert_eq!(terminal.send(&other)["39"], "94", "the same name for something else");
    assert_eq!(money(bank, 1), (full - 1250, full - 1250));
    let cash = terminal.message("0200", 1, 4000, &[("3", "010000")]);
    terminal.check(&cash, "00");
    let balance = terminal.message("0200", 1, 0, &[("3", "310000")]);
    assert_eq!(terminal.check(&balance, "00")["54"], format!("0002978C{:012}", full - 5250));

    // Part of the cash came out: the rest is given back; then all of the payment is.
    let rest = format!("{:012}{}", 1500, "0".repeat(30));
    let partial = terminal.message("0420", 1, 4000, &[("90", &original(&cash)), ("95", &rest)]);
    terminal.check(&partial, "00");
    let reversal = terminal.message("0400", 1, 1250, &[("90", &original(&paid))]);
    terminal.check(&reversal, "00");
    terminal.check(&reversal, "00");
    wait_for("what is given back", || (money(bank, 1).0 == full - 1500).then_some(()));

    // Held first, taken later, and less of it.
    let hold = terminal.message("0100", 2, 9000, &[]);
    terminal.check(&hold, "00");
    assert_eq!(money(bank, 2), (full, full - 9000));
    let much = terminal.message("0220", 2, 9001, &[("90", &original(&hold))]);
    terminal.check(&much, "13");
    let capture = terminal.message("0220", 2, 7000, &[("90", &original(&hold))]);
    terminal.check(&capture, "00");
    wait_for("what was held is taken", || (money(bank, 2) == (full - 7000, full - 7000)).then_some(()));
    // The terminal approved by itself.
    let advice = terminal.message("0220", 2, 500, &[]);
    terminal.check(&advice, "00");
    wait_for("the advice", || (money(bank, 2).0 == full - 7500).then_some(()));

    // No.
    for (cents, fields, code) in [
        (100, vec![("2", "4970100999999990")], "14"),
        (150_001, vec![], "61"),
        (0, vec![], "13"),
        (100, vec![("49", "840")], "12"),
        (100, vec![("3", "990000")], "12"),
    ] {
        let message = terminal.message("0200", 3, cents, &fields);
        terminal.check(&message, code);
    }
    let mut nameless = terminal.message("0200", 3, 100, &[]);
    nameless.as_object_mut().unwrap().remove("41");
    let answer = terminal.send(&nameless);
    assert_eq!((&answer["39"], &answer["44"]), (&json!("30"), &json!("DE 41")));
    // Reversed before it came: it does not come any more.
    let late = terminal.message("0200", 3, 100, &[]);
    let early = terminal.message("0420", 3, 100, &[("90", &original(&late))]);
    terminal.check(&early, "25");
    terminal.check(&late, "94");
    let stolen = json!({"pan": guichet_estate::ids::card(4)}).to_string();
    assert_eq!(ask(estate.at("rails"), "POST", "/stopped-cards", "", &stolen).0, 200);
    let used = terminal.message("0200", 4, 100, &[]);
    terminal.check(&used, "41");
    assert_eq!(money(bank, 3).0, full);
    drop(estate);
    verified(dir.path());
}

#[test]
fn the_rails_stand_in_for_a_bank_that_was_killed_and_it_learns_of_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let bank_at = |port: u16| Estate::start(&["bank", "--listen", &format!("127.0.0.1:{port}")], data);
    let place = port();
    let bank = bank_at(place);
    let address = bank.at("bank");
    let peer = format!("bank={address}");
    let rails_start =
        || Estate::start(&["rails", "--listen", "127.0.0.1:0", "--cards", "127.0.0.1:0", "--peer", &peer], data);
    let rails = rails_start();
    let mut terminal = Terminal::connect(rails.at("cards"));
    let before = terminal.message("0200", 5, 2000, &[]);
    terminal.check(&before, "00");
    drop(bank);

    let without = terminal.message("0200", 5, 10_000, &[]);
    terminal.check(&without, "00");
    let large = terminal.message("0200", 5, 15_001, &[]);
    terminal.check(&large, "61");
    let balance = terminal.message("0200", 5, 0, &[("3", "310000")]);
    terminal.check(&balance, "91");
    let again = terminal.message("0200", 5, 15_000, &[("3", "010000")]);
    terminal.check(&again, "00");
    let over = terminal.message("0200", 5, 10_000, &[]);
    terminal.check(&over, "61");
    let undone = terminal.message("0420", 5, 15_000, &[("90", &original(&again))]);
    terminal.check(&undone, "00");
    // The rails are killed as well; what they promised is kept.
    drop(rails);
    let rails = rails_start();
    let mut terminal = Terminal::connect(rails.at("cards"));
    let mut repeat = without.clone();
    repeat["t"] = json!("0201");
    assert_eq!(terminal.send(&repeat)["39"], "00");
    let bank = bank_at(place);
    wait_for("the advices", || (money(bank.at("bank"), 5).0 == 1_000_000 - 12_000).then_some(()));
    terminal.trace = 100;
    let online = terminal.message("0200", 5, 20_000, &[]);
    wait_for("the bank is asked again", || {
        let mut message = online.clone();
        terminal.trace += 1;
        message["11"] = json!(format!("{:06}", terminal.trace));
        (terminal.send(&message)["39"] == "00").then_some(())
    });
    assert_eq!(money(bank.at("bank"), 5).0, 1_000_000 - 32_000);
    drop((bank, rails));
    verified(data);
}

/// A few numbers from a seed (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One message over a connection of its own; `None` without an answer.
fn exchange(cards: SocketAddr, message: &guichet_iso8583::Message) -> Option<guichet_iso8583::Message> {
    let mut stream = TcpStream::connect(cards).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&guichet_iso8583::frame(&message.encode().unwrap())).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    guichet_iso8583::Message::decode(&bytes).ok()
}

fn sale(user: u32, trace: u32, cents: u64, kind: &str) -> guichet_iso8583::Message {
    guichet_iso8583::Message::new(kind)
        .with(2, guichet_estate::ids::card(user))
        .with(3, "000000")
        .with(4, format!("{cents:012}"))
        .with(7, "1126204500")
        .with(11, format!("{trace:06}"))
        .with(41, format!("K{user:07}"))
        .with(49, "978")
}

#[test]
fn killed_at_any_moment_each_payment_is_there_once_or_not_at_all() {
    let seed = std::env::var("GUICHET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("GUICHET_SEED={seed} replays this run's choices");
    let mut state = seed;
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["all", "--base-port", "0", "--cards", "127.0.0.1:0"];
    // By user: cents that were approved.
    let mut approved: BTreeMap<u32, u64> = BTreeMap::new();
    // By user: the next trace number, and what had no answer yet.
    let mut open: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
    for _ in 0..3 {
        let estate = Estate::start(&arguments, dir.path());
        let cards = estate.at("cards");
        let workers: Vec<_> = (10..14_u32)
            .map(|user| {
                let (mut trace, pending) = open.get(&user).copied().map_or((0, None), |(t, cents)| (t, Some(cents)));
                let mut state = draw(&mut state);
                std::thread::spawn(move || {
                    let mut sum = 0;
                    let mut retry = pending;
                    // Bounded: the estate is killed long before.
                    for _ in 0..10_000 {
                        let (cents, kind) = match retry.take() {
                            Some(cents) => (cents, "0201"),
                            None => {
                                trace += 1;
                                (draw(&mut state) % 200 + 1, "0200")
                            }
                        };
                        match exchange(cards, &sale(user, trace, cents, kind)) {
                            Some(answer) if answer.get(39) == Some("00") => sum += cents,
                            Some(_) => {}
                            None => return (user, trace, Some(cents), sum),
                        }
                    }
                    (user, trace, None, sum)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300 + draw(&mut state) % 700));
        drop(estate);
        for worker in workers {
            let (user, trace, pending, sum) = worker.join().unwrap();
            *approved.entry(user).or_default() += sum;
            match pending {
                Some(cents) => open.insert(user, (trace, cents)),
                None => open.remove(&user),
            };
        }
    }
    // What had no answer is asked for again, then the books are compared.
    let estate = Estate::start(&arguments, dir.path());
    for (&user, &(trace, cents)) in &open {
        let answer = exchange(estate.at("cards"), &sale(user, trace, cents, "0201")).expect("an answer");
        if answer.get(39) == Some("00") {
            *approved.entry(user).or_default() += cents;
        }
    }
    assert!(approved.values().sum::<u64>() > 0, "nothing was paid");
    for (&user, &cents) in &approved {
        wait_for("the books agree", || {
            (money(estate.at("bank"), user).0 == 1_000_000 - i64::try_from(cents).unwrap()).then_some(())
        });
    }
    drop(estate);
    verified(dir.path());
}

#[test]
fn what_is_no_message_ends_its_connection_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["rails", "--listen", "127.0.0.1:0", "--cards", "127.0.0.1:0"], dir.path());
    let cards = estate.at("cards");
    // Half of a message, and somebody who never goes on.
    let mut half = TcpStream::connect(cards).unwrap();
    half.write_all(&[0, 100, b'0', b'2']).unwrap();
    for bytes in [
        &b"\x00\x04zzzz"[..],
        b"\xff\xff",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x00\x14\x30\x32\x30\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        let mut stream = TcpStream::connect(cards).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Closed or reset, without an answer.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{bytes:?}");
    }
    // Without a bank in this estate the rails stand in.
    let answer = exchange(cards, &sale(20, 1, 100, "0200")).unwrap();
    assert_eq!(answer.get(39), Some("00"));
    // An answer is not answered; the message after it is.
    let mut stream = TcpStream::connect(cards).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let answers = [sale(20, 2, 100, "0210"), sale(20, 3, 100, "0200")];
    for message in answers {
        stream.write_all(&guichet_iso8583::frame(&message.encode().unwrap())).unwrap();
    }
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    let answer = guichet_iso8583::Message::decode(&bytes).unwrap();
    assert_eq!((answer.get(11), answer.get(39)), (Some("000003"), Some("00")));
}

fn terminal(arguments: &[&str]) -> (bool, String) {
    let run = Command::new(PROGRAM).arg("terminal").args(arguments).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr))
}

#[test]
fn the_terminal_of_the_demo_pays_withdraws_and_undoes() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["all", "--base-port", "0", "--cards", "127.0.0.1:0"], dir.path());
    let rails = estate.at("cards").to_string();
    let (ok, told) = terminal(&["pay", "--amount", "12.50", "--rails", &rails]);
    assert!(ok && told.starts_with("12.50 EUR, approved (00)\napproval "), "{told}");
    let reference = told.split("--original ").nth(1).unwrap().trim();
    assert!(terminal(&["withdraw", "--amount", "40", "--rails", &rails]).0);
    let (ok, told) = terminal(&["balance", "--rails", &rails]);
    assert!(ok && told.contains("can be spent: 9947.50 EUR"), "{told}");
    let (ok, told) = terminal(&["undo", "--original", reference, "--rails", &rails]);
    assert!(ok && told.starts_with("Undone"), "{told}");
    wait_for("the money", || (money(estate.at("bank"), 1).0 == 996_000).then_some(()));
    for (arguments, words) in [
        (&["pay", "--amount", "2000"][..], "over the limits"),
        (&["pay", "--amount", "1", "--card", "4970100999999990"], "no such card"),
        (&["pay", "--amount", "1", "--card", "12x"], "data element 2"),
        (&["undo", "--original", "0200-999999-1126204500"], "no such operation"),
        (&["undo", "--original", "yesterday"], "takes what the terminal printed"),
    ] {
        let (ok, told) = terminal(&[arguments, &["--rails", &rails]].concat());
        assert!(!ok && told.contains(words), "{arguments:?}: {told}");
    }
    for (arguments, words) in [
        (&["pay"][..], "--amount"),
        (&["pay", "--amount", "0"], "the amount is nothing"),
        (&["pay", "--amount", "1", "--rails", "192.0.2.1:8583"], "loopback"),
        (&["pay", "--amount", "1", "--rails", "127.0.0.1:1"], "is the demo running"),
    ] {
        let (ok, told) = terminal(arguments);
        assert!(!ok && told.contains(words), "{arguments:?}: {told}");
    }
}

#[test]
fn the_terminal_reverses_what_has_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rails = listener.local_addr().unwrap().to_string();
    let payer = std::thread::spawn(move || terminal(&["pay", "--amount", "5", "--patience", "1", "--rails", &rails]));
    let read = |stream: &mut TcpStream| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).unwrap();
        guichet_iso8583::Message::decode(&bytes).unwrap()
    };
    let (mut first, _) = listener.accept().unwrap();
    let sale = read(&mut first);
    let (mut second, _) = listener.accept().unwrap();
    let reversal = read(&mut second);
    let named = format!("0200{}{}", sale.get(11).unwrap(), sale.get(7).unwrap());
    assert_eq!((reversal.kind.as_str(), &reversal.get(90).unwrap()[..20]), ("0420", named.as_str()));
    let answer = guichet_iso8583::Message::new("0430").with(11, reversal.get(11).unwrap()).with(39, "00");
    second.write_all(&guichet_iso8583::frame(&answer.encode().unwrap())).unwrap();
    let (ok, told) = payer.join().unwrap();
    assert!(!ok && told.contains("No answer") && told.contains("nothing is taken"), "{told}");
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
