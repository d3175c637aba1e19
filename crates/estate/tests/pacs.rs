//! Instant transfers with another bank: every manner of answering it may have, banks and rails that are killed, and a foreign
//! client (pyiso20022) that writes and reads the messages by the published schemas.

mod support;

use guichet_iso20022::{Message, Payee, Report, Request, Status, Transfer};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{Estate, Running, ask, exchange, money, packages, port, verified, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guichet-estate");
const OTHER: &str = "OTHRDEFFXXX";
const ANNA: &str = "DE89370400440532013000";
const FULL: i64 = 1_000_000;

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

struct Participant {
    _running: Running,
    at: SocketAddr,
}

impl Participant {
    fn start(port: u16) -> Self {
        let at: SocketAddr = ([127, 0, 0, 1], port).into();
        let mut command = Command::new(PROGRAM);
        command.args(["participant", "--listen", &at.to_string(), "--bic", OTHER]);
        let running = Running::start(&mut command);
        running.line("the other bank", |line| (line == "ready").then_some(()));
        Self { _running: running, at }
    }

    fn manner(&self, answer: &str) {
        let (status, _, body) = ask(self.at, "POST", "/manner", "", &json!({"answer": answer}).to_string());
        assert_eq!(status, 200, "{body}");
    }

    /// What it knows: id, cents, whether settled, how often it was sent.
    fn known(&self) -> Vec<(String, i64, bool, i64)> {
        let (_, _, body) = ask(self.at, "GET", "/transfers", "", "");
        let told: Value = serde_json::from_str(&body).unwrap();
        let one = |it: &Value| {
            let text = it["id"].as_str().unwrap().to_owned();
            (
                text,
                it["amount_cents"].as_i64().unwrap(),
                it["settled"].as_bool().unwrap(),
                it["copies"].as_i64().unwrap(),
            )
        };
        told["transfers"].as_array().unwrap().iter().map(one).collect()
    }
}

/// The estate with its key and one other bank.
fn start(data: &Path, other: &Participant, what: &[&str]) -> Estate {
    let bank_at = format!("{OTHER}={}", other.at);
    Estate::start(&[what, &["--bank-at", &bank_at]].concat(), data)
}

fn inside(data: &Path) -> String {
    let key = std::fs::read_to_string(data.join("estate.key")).unwrap();
    format!("x-estate-key: {}\r\n", key.trim())
}

/// Orders a transfer as the bank does; the status of the answer.
fn order(rails: SocketAddr, data: &Path, id: &str, user: u32, cents: i64, accepted_ms: i64) -> u16 {
    let body = json!({
        "id": id, "account": guichet_estate::ids::account(user, 1), "payer_name": "Payer", "payer_iban": guichet_estate::ids::iban(user, 1),
        "payee_name": "Anna Autre", "payee_iban": ANNA, "payee_bic": OTHER, "amount_cents": cents, "reference": "r", "accepted_ms": accepted_ms,
    });
    ask(rails, "POST", "/internal/instant", &inside(data), &body.to_string()).0
}

/// Status and body of the answer to a message.
fn post(rails: SocketAddr, text: &str) -> (u16, String) {
    let head = "POST /pacs HTTP/1.1\r\nhost: x\r\ncontent-type: application/xml\r\n";
    let (status, _, body) = exchange(rails, head, text);
    (status, body)
}

fn incoming(id: &str, cents: i64, payee: Payee) -> Transfer {
    let now = now_ms();
    Transfer {
        message: format!("M-{id}"),
        made_ms: now,
        id: id.to_owned(),
        end_to_end: "E".into(),
        amount_cents: cents,
        accepted_ms: now,
        payer_name: "Anna Autre".into(),
        payer_iban: ANNA.into(),
        payer_bic: OTHER.into(),
        payee_name: "Somebody".into(),
        payee_bic: "GUICFRPPXXX".into(),
        payee,
        text: "Danke".into(),
    }
}

fn iban(user: u32) -> Payee {
    Payee::Iban(guichet_estate::ids::iban(user, 1))
}

fn sent(rails: SocketAddr, transfer: &Transfer) -> Report {
    let (status, body) = post(rails, &Message::Transfer(transfer.clone()).write().unwrap());
    assert_eq!(status, 200, "{body}");
    report(&body)
}

fn report(body: &str) -> Report {
    match Message::read(body.as_bytes()) {
        Ok(Message::Report(report)) => report,
        other => panic!("{other:?}: {body}"),
    }
}

#[test]
fn transfers_come_in_once_also_while_the_bank_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (bank_port, rails_port) = (port(), port());
    let (bank_at, rails_at) = (format!("127.0.0.1:{bank_port}"), format!("127.0.0.1:{rails_port}"));
    let peer = format!("bank={bank_at}");
    let rails = Estate::start(&["rails", "--listen", &rails_at, "--peer", &peer], data);
    let at = rails.at("rails");
    // Nobody has started the bank yet.
    for (n, payee) in [
        (1, iban(1)),
        (2, Payee::Telephone(guichet_estate::ids::telephone(1))),
        (3, Payee::Email("user0001@example.invalid".into())),
    ] {
        let transfer = incoming(&format!("in-{n}"), 100 * n, payee);
        let first = sent(at, &transfer);
        assert_eq!((first.status, first.original.as_str()), (Status::Settled, transfer.id.as_str()));
        assert_eq!(sent(at, &transfer), first, "the same message has the same answer");
        let asked = Request {
            message: "Q".into(),
            made_ms: 1,
            original_message: transfer.message.clone(),
            original: transfer.id,
        };
        assert_eq!(report(&post(at, &Message::Request(asked).write().unwrap()).1), first);
    }
    let known = incoming("in-1", 100, iban(1));
    let late = Transfer { accepted_ms: now_ms() - 7_500, ..incoming("in-late", 5, iban(1)) };
    for (transfer, reason) in [
        (Transfer { amount_cents: 999, ..known.clone() }, "DUPL"),
        (Transfer { id: "in-other".into(), ..known }, "DUPL"),
        (incoming("in-4", 5, Payee::Iban(ANNA.into())), "AC01"),
        (incoming("in-5", 5, Payee::Telephone("+33999999999".into())), "BE06"),
        (late, "AB05"),
        (Transfer { accepted_ms: now_ms() + 60_000, ..incoming("in-6", 5, iban(1)) }, "DT01"),
        (Transfer { payee_bic: OTHER.into(), ..incoming("in-7", 5, iban(1)) }, "RC04"),
        (incoming("in-8", 99_999_999_999, iban(1)), "AM02"),
    ] {
        let answer = sent(at, &transfer);
        assert_eq!((answer.status, answer.reason.as_str()), (Status::Rejected, reason), "{transfer:?}");
    }
    let asked = Request { message: "Q".into(), made_ms: 1, original_message: "X".into(), original: "X".into() };
    assert_eq!(report(&post(at, &Message::Request(asked).write().unwrap()).1).reason, "NOOR");
    let good = Message::Transfer(incoming("in-9", 5, iban(1))).write().unwrap();
    let bomb = good.replacen("?>", "?><!DOCTYPE a [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]>", 1);
    let (negative, long) = (good.replace("0.05", "-0.05"), format!("{good}{}", " ".repeat(70_000)));
    for (text, expected) in [
        ("", 400),
        ("{}", 400),
        (&good[..good.len() / 2], 400),
        (bomb.as_str(), 400),
        (long.as_str(), 413),
        (negative.as_str(), 200),
    ] {
        let (status, body) = post(at, text);
        assert_eq!(status, expected, "{body}");
        assert!(expected != 200 || report(&body).reason == "AM12", "{body}");
        assert!(expected == 200 || body.contains("urn:guichet-estate:problem:"), "{body}");
    }
    let (status, _, body) = ask(at, "POST", "/pacs", "", "{}");
    assert_eq!(status, 415, "{body}");
    // The rails are killed, then the bank comes: it learns of each once.
    drop(rails);
    let bank = Estate::start(&["bank", "--listen", &bank_at], data);
    let rails = Estate::start(&["rails", "--listen", &rails_at, "--peer", &peer], data);
    wait_for("the credits", || (money(bank.at("bank"), 1).0 == FULL + 600).then_some(()));
    drop((bank, rails));
    verified(data);
}

#[test]
fn the_payer_pays_once_or_has_the_money_back_at_ten_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let other = Participant::start(port());
    let estate = start(data, &other, &["all", "--base-port", "0"]);
    let (rails, bank) = (estate.at("rails"), estate.at("bank"));
    let id = |n: u32| format!("tr-{n:032x}");
    assert_eq!(ask(rails, "POST", "/internal/instant", "", "{}").0, 404, "without the key there is nothing");
    assert_eq!(order(rails, data, &id(90), 9, 100, now_ms() - 8_000), 410, "too late to begin");

    // Accepted, and ordered again.
    assert_eq!(order(rails, data, &id(1), 1, 1_000, now_ms()), 200);
    wait_for("the transfer", || (money(bank, 1) == (FULL - 1_000, FULL - 1_000)).then_some(()));
    assert_eq!(order(rails, data, &id(1), 1, 1_000, now_ms()), 200);
    // More than there is: nothing is sent.
    assert_eq!(order(rails, data, &id(91), 9, FULL, now_ms()), 200);
    assert_eq!(order(rails, data, &id(92), 9, 1, now_ms()), 200);
    wait_for("the small one has no funds", || other.known().iter().any(|it| it.0 == id(91)).then_some(()));
    // Rejected: the hold goes.
    other.manner("reject");
    assert_eq!(order(rails, data, &id(2), 2, 2_000, now_ms()), 200);
    wait_for("the refusal", || other.known().iter().any(|it| it.0 == id(2)).then_some(()));
    wait_for("the hold is gone", || (money(bank, 2) == (FULL, FULL)).then_some(()));
    // Silent, and accepted when asked; lost; late. All at once, since each takes seconds.
    other.manner("quiet");
    assert_eq!(order(rails, data, &id(3), 3, 3_000, now_ms()), 200);
    wait_for("it has the third", || other.known().iter().any(|it| it.0 == id(3)).then_some(()));
    other.manner("lose");
    assert_eq!(order(rails, data, &id(4), 4, 4_000, now_ms()), 200);
    wait_for("the fourth is held", || (money(bank, 4) == (FULL, FULL - 4_000)).then_some(()));
    // Sent after it was held: give it the moment that it takes.
    std::thread::sleep(Duration::from_millis(1_000));
    other.manner("late");
    let begun = now_ms();
    assert_eq!(order(rails, data, &id(5), 5, 5_000, begun), 200);
    wait_for("it has the fifth", || other.known().iter().any(|it| it.0 == id(5)).then_some(()));
    assert_eq!(money(bank, 5), (FULL, FULL - 5_000), "held meanwhile");
    wait_for("the third is paid", || (money(bank, 3) == (FULL - 3_000, FULL - 3_000)).then_some(()));
    wait_for("the fourth is given back", || (money(bank, 4) == (FULL, FULL)).then_some(()));
    wait_for("the fifth is given back", || (money(bank, 5) == (FULL, FULL)).then_some(()));
    assert!(now_ms() - begun >= 10_000, "not before ten seconds");
    // The bank that accepted late is paid, and not by the payer.
    let suspense = || {
        let (status, _, body) = ask(bank, "GET", "/internal/accounts/suspense", &inside(data), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["available_cents"].as_i64().unwrap()
    };
    wait_for("suspense pays the fifth", || (suspense() == -5_000).then_some(()));
    assert_eq!(money(bank, 5), (FULL, FULL));
    assert!(other.known().iter().all(|it| it.3 == 1), "nothing was sent twice: {:?}", other.known());
    drop(estate);
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

/// As [`exchange`], for a server that is killed meanwhile: `None` without an answer.
fn attempt<T>(what: impl FnOnce() -> T + std::panic::UnwindSafe) -> Option<T> {
    std::panic::catch_unwind(what).ok()
}

#[test]
fn killed_at_any_moment_money_is_there_once() {
    let seed = std::env::var("GUICHET_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| now_ms().unsigned_abs());
    println!("GUICHET_SEED={seed} replays this run's choices");
    let mut state = seed;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let other = Participant::start(port());
    let mut ordered: Vec<(String, i64)> = Vec::new();
    for round in 0..3 {
        other.manner(["accept", "quiet", "accept"][round]);
        let estate = start(data, &other, &["all", "--base-port", "0"]);
        let rails = estate.at("rails");
        let mut salt = draw(&mut state);
        let receiving = std::thread::spawn(move || {
            let mut last = None;
            for n in 0..10_000 {
                let cents = i64::try_from(draw(&mut salt) % 200 + 1).unwrap();
                let transfer = incoming(&format!("k-{round}-{n}"), cents, iban(20));
                match attempt(|| sent(rails, &transfer)) {
                    Some(answer) => last = Some((transfer, answer)),
                    None => return (n, Some(transfer), last),
                }
            }
            (10_000, None, last)
        });
        let until = std::time::Instant::now() + Duration::from_millis(300 + draw(&mut state) % 900);
        while std::time::Instant::now() < until {
            let id = format!("tr-{:032x}", draw(&mut state));
            let cents = i64::try_from(draw(&mut state) % 200 + 1).unwrap();
            assert_eq!(order(rails, data, &id, 21, cents, now_ms()), 200);
            ordered.push((id, cents));
        }
        drop(estate);
        let (_, unanswered, last) = receiving.join().unwrap();
        // What had no answer is sent again, and what had one has the same.
        let estate = start(data, &other, &["all", "--base-port", "0"]);
        if let Some(transfer) = unanswered {
            sent(estate.at("rails"), &transfer);
        }
        if let Some((transfer, answer)) = last {
            assert_eq!(sent(estate.at("rails"), &transfer), answer);
        }
        drop(estate);
    }
    let estate = start(data, &other, &["all", "--base-port", "0"]);
    let bank = estate.at("bank");
    // Each that the other bank settled is paid once, by the payer or from suspense; no other is.
    let settled = || other.known().iter().filter(|it| it.2).map(|it| it.1).sum::<i64>();
    assert!(settled() > 0, "nothing was sent");
    assert!(other.known().iter().all(|it| it.3 == 1), "sent twice");
    wait_for("the books agree", || {
        let (status, _, body) = ask(bank, "GET", "/internal/accounts/suspense", &inside(data), "");
        assert_eq!(status, 200, "{body}");
        let suspense = serde_json::from_str::<Value>(&body).unwrap()["available_cents"].as_i64().unwrap();
        let (balance, available) = money(bank, 21);
        (balance == available && FULL - balance - suspense == settled()).then_some(())
    });
    drop(estate);
    verified(data);
}

#[test]
fn a_foreign_client_writes_and_reads_by_the_published_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["all", "--base-port", "0"], dir.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pacs_client.py");
    let ours = Message::Transfer(incoming("ours", 1_250, iban(1))).write().unwrap();
    let file = dir.path().join("ours.xml");
    std::fs::write(&file, ours).unwrap();
    let ran = Command::new("python3")
        .arg(script)
        .arg(packages("python", "pyiso20022"))
        .arg(format!("http://{}/pacs", estate.at("rails")))
        .arg(guichet_estate::ids::iban(30, 1))
        .arg(file)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    wait_for("the credit", || (money(estate.at("bank"), 30).0 == FULL + 1_250).then_some(()));
}

/// A person at the bank's pages.
struct Person {
    bank: SocketAddr,
    session: String,
}

impl Person {
    fn of(bank: SocketAddr, user: u32) -> Self {
        let body = format!("{{\"user\":\"user{user:04}\",\"password\":\"password-{user:04}\"}}");
        let (_, head, _) = ask(bank, "POST", "/login", "", &body);
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        Self { bank, session: format!("cookie: {}\r\naccept-language: en\r\n", cookie.split(';').next().unwrap()) }
    }

    fn page(&self, path: &str) -> String {
        let (status, _, body) = exchange(self.bank, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}", self.session), "");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Sends a form; status, where it leads, and the page.
    fn send(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{kind}{}", self.session);
        let (status, head, page) = exchange(self.bank, &head, &body.join("&"));
        let place = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default().to_owned();
        (status, place, page)
    }

    /// Fills in the form of a transfer; status, and where it leads.
    fn ask(&self, payer: u32, payee: &str, amount: &str) -> (u16, String, String) {
        let form = self.page("/espace/virement");
        let key = form.split("name=\"key\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let account = guichet_estate::ids::account(payer, 1);
        let name = ("name", "Anna Autre");
        self.send("/espace/virement", &[("key", &key), ("payer", &account), name, ("iban", payee), ("amount", amount)])
    }

    /// From the form to the code; the page of the transfer.
    fn pay(&self, payer: u32, payee: &str, amount: &str) -> String {
        let (status, place, page) = self.ask(payer, payee, amount);
        assert_eq!(status, 303, "{page}");
        let id = place.rsplit('/').next().unwrap();
        let (_, _, message) = ask(self.bank, "GET", &format!("/transfers/{id}/sms"), &self.session, "");
        let code = serde_json::from_str::<Value>(&message).unwrap()["code"].as_str().unwrap().to_owned();
        let page = self.page(&place);
        let value =
            |name: &str| page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap().split('"').next().unwrap();
        let fields = [("amount_cents", value("amount_cents")), ("payee_iban", value("payee_iban")), ("code", &code)];
        let (status, _, page) = self.send(&place, &fields);
        assert_eq!(status, 303, "{page}");
        place
    }
}

#[test]
fn a_person_pays_to_an_alias_here_and_at_another_bank_and_has_aliases_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let other = Participant::start(port());
    let estate = start(data, &other, &["all", "--base-port", "0"]);
    let (bank, rails) = (estate.at("bank"), estate.at("rails"));
    let person = Person::of(bank, 40);

    // Here: at once, by telephone and by e-mail.
    for (payee, cents) in [("+33 6 00 00 00 41", 100), ("User0041@example.invalid", 300)] {
        let place = person.pay(40, payee, &format!("{}.00", cents / 100));
        assert!(person.page(&place).contains("The transfer is done"));
    }
    assert_eq!(money(bank, 41).0, FULL + 400);
    // At the other bank: accepted, then refused.
    let place = person.pay(40, "+4915100000001", "10");
    wait_for("the transfer", || person.page(&place).contains("The transfer is done").then_some(()));
    assert_eq!(money(bank, 40), (FULL - 1_400, FULL - 1_400));
    other.manner("reject");
    let place = person.pay(40, "anna@autre.example", "20");
    wait_for("the refusal", || person.page(&place).contains("was not carried out").then_some(()));
    assert_eq!(money(bank, 40), (FULL - 1_400, FULL - 1_400));
    let (status, _, page) = person.ask(40, "nobody@nowhere.example", "1");
    assert!(status == 422 && page.contains("Nobody has this alias"), "{status} {page}");

    // A directory is not for reading.
    let curious = Person::of(bank, 44);
    let last = (0..=60).map(|_| curious.ask(44, "nobody@nowhere.example", "1").0).collect::<Vec<_>>();
    assert!(last[..60].iter().all(|status| *status == 422) && last[60] == 429, "{last:?}");

    // An alias of one's own: proved with the code of an e-mail, used by the other bank, ended.
    let own = guichet_estate::ids::iban(40, 1);
    let alias = ("alias", "moi@ici.example");
    let change =
        |what: &str, more: &[(&str, &str)]| person.send("/espace/alias", &[&[("what", what), alias], more].concat());
    let send = |id: &str| sent(rails, &incoming(id, 700, Payee::Email("moi@ici.example".into()))).status;
    assert_eq!(send("a-1"), Status::Rejected);
    let (status, _, page) = change("claim", &[("iban", &own)]);
    assert!(status == 200 && page.contains("A code was sent to moi@ici.example"), "{page}");
    let mails: Vec<_> = std::fs::read_dir(data.join("mail/new")).unwrap().collect();
    assert_eq!(mails.len(), 1);
    let mail = std::fs::read_to_string(mails[0].as_ref().unwrap().path()).unwrap();
    let code = mail.split("ici.example : ").nth(1).unwrap()[..6].to_owned();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(change("confirm", &[("code", wrong)]).0, 422);
    assert_eq!(
        Person::of(bank, 42).send("/espace/alias", &[("what", "confirm"), alias, ("code", &code)]).0,
        422,
        "another's"
    );
    assert_eq!(send("a-2"), Status::Rejected, "not before it is proved");
    let (status, _, page) = change("confirm", &[("code", &code)]);
    assert!(status == 200 && page.contains("moi@ici.example"), "{page}");
    assert_eq!(send("a-3"), Status::Settled);
    wait_for("the credit", || (money(bank, 40).0 == FULL - 1_400 + 700).then_some(()));
    assert_eq!(Person::of(bank, 42).send("/espace/alias", &[("what", "end"), alias]).0, 200);
    assert_eq!(send("a-4"), Status::Settled, "nobody ends another's");
    assert_eq!(change("end", &[]).0, 200);
    assert_eq!(send("a-5"), Status::Rejected);
    let theirs = guichet_estate::ids::iban(43, 1);
    assert_eq!(change("claim", &[("iban", &theirs)]).0, 422, "to one's own account only");
    // As many as there may be.
    let claims: Vec<u16> = (0..5)
        .map(|n| {
            let alias = format!("x{n}@ici.example");
            person.send("/espace/alias", &[("what", "claim"), ("alias", &alias), ("iban", &own)]).0
        })
        .collect();
    assert_eq!(claims, [200, 200, 200, 422, 422]);
    drop(estate);
    verified(data);
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
