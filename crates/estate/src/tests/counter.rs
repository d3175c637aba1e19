//! Terminals at the counter service: what it takes of them, and what it does not.

use super::{Answer, Lab};
use crate::bounds::{ENTRIES_AT_ONCE_MAX, S10_RANGE, S10_RANGES_OPEN_MAX};
use crate::counter::journal::{Entry, Kind};
use crate::counter::terminals::{enrolment_code, identifier, range_text};
use crate::estate_key::EstateKey;
use crate::service::Service;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

struct Terminal<'a> {
    lab: &'a Lab,
    name: &'static str,
    key: SigningKey,
    journal: Vec<Entry>,
}

impl<'a> Terminal<'a> {
    fn new(lab: &'a Lab, name: &'static str, seed: u8) -> Self {
        Self { lab, name, key: SigningKey::from_bytes(&[seed; 32]), journal: Vec::new() }
    }

    async fn register(&self) -> Answer {
        let estate = EstateKey::load_or_make(&self.lab.kit.store.dir).unwrap();
        let key = STANDARD_NO_PAD.encode(self.key.verifying_key().as_bytes());
        let code = enrolment_code(&estate, "PARIS01", self.name);
        let body = json!({"office": "PARIS01", "terminal": self.name, "public_key": key, "enrolment_code": code});
        self.lab.post("/terminals", &[], &body).await
    }

    fn enter(&mut self, kind: Kind, amount_cents: i64, reference: &str) {
        let previous = self.journal.last().map(|entry| entry.hash.clone()).unwrap_or_default();
        let entry = Entry {
            sequence: i64::try_from(self.journal.len()).unwrap() + 1,
            kind: kind.name().to_owned(),
            amount_cents,
            reference: reference.to_owned(),
            at_ms: 1_790_000_000_000,
            previous,
            hash: String::new(),
            signature: String::new(),
        };
        self.journal.push(entry.seal("PARIS01", self.name, &self.key));
    }

    async fn send(&self, entries: &[Entry]) -> Answer {
        self.lab.post(&format!("/journals/PARIS01/{}", self.name), &[], &json!({"entries": entries})).await
    }

    async fn range(&self, number: i64, key: &SigningKey) -> Answer {
        let text = range_text("PARIS01", self.name, number);
        let signature = STANDARD_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
        let path = format!("/journals/PARIS01/{}/ranges", self.name);
        self.lab.post(&path, &[], &json!({"number": number, "signature": signature})).await
    }
}

#[tokio::test]
async fn a_terminal_registers_once_with_its_code() {
    let lab = Lab::new(Service::Counter).await;
    let terminal = Terminal::new(&lab, "T1", 1);
    terminal.register().await.right(201, "register");
    terminal.register().await.right(200, "register");
    Terminal::new(&lab, "T1", 2).register().await.wrong(409, "registered");
    let key = STANDARD_NO_PAD.encode(terminal.key.verifying_key().as_bytes());
    for (office, code, status, problem) in [
        ("PARIS01", "000000000000000000000000", 403, "enrolment"),
        ("paris", "", 422, "invalid"),
        ("PARIS01", "", 403, "enrolment"),
    ] {
        let body = json!({"office": office, "terminal": "T9", "public_key": key, "enrolment_code": code});
        lab.post("/terminals", &[], &body).await.wrong(status, problem);
    }
    let weak = json!({"office": "PARIS01", "terminal": "T9", "public_key": STANDARD_NO_PAD.encode([0; 32]), "enrolment_code": ""});
    lab.post("/terminals", &[], &weak).await.wrong(422, "invalid");
}

#[tokio::test]
async fn a_journal_is_taken_in_order_once_and_unchanged_or_not_at_all() {
    let lab = Lab::new(Service::Counter).await;
    let mut terminal = Terminal::new(&lab, "T1", 1);
    terminal.enter(Kind::Float, 10_000, "");
    terminal.send(&terminal.journal).await.wrong(404, "not-found");
    terminal.register().await;
    for n in 1..=5 {
        terminal.enter(Kind::Stamps, 139 * n, "");
    }
    let all = terminal.journal.clone();
    terminal.send(&all[1..]).await.wrong(409, "gap");
    assert_eq!(terminal.send(&all[..2]).await.right(200, "journal").json()["last"], 2);
    assert_eq!(terminal.send(&all[..4]).await.right(200, "journal").json()["last"], 4);
    // One that was changed, signed by another key, or put in another place: nothing of what comes with it is taken.
    let other = SigningKey::from_bytes(&[9; 32]);
    for wrong in [
        Entry { amount_cents: 1, ..all[5].clone() },
        all[5].clone().seal("PARIS01", "T1", &other),
        Entry { previous: String::new(), ..all[5].clone() }.seal("PARIS01", "T1", &terminal.key),
        Entry { kind: "gift".into(), ..all[5].clone() }.seal("PARIS01", "T1", &terminal.key),
    ] {
        terminal.send(&[all[4].clone(), wrong]).await.wrong(422, "entry");
    }
    // A journal that goes another way from an entry that is here.
    let fork = Entry { amount_cents: 1, ..all[3].clone() }.seal("PARIS01", "T1", &terminal.key);
    terminal.send(&[fork]).await.wrong(409, "forked");
    assert_eq!(terminal.send(&all).await.right(200, "journal").json()["last"], 6);
    terminal.send(&[]).await.wrong(422, "invalid");
    let many = vec![all[0].clone(); ENTRIES_AT_ONCE_MAX + 1];
    terminal.send(&many).await.wrong(422, "invalid");
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query("UPDATE terminal SET revoked_ms = 1").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    // What is here already is told once more; what is signed later is refused.
    assert_eq!(terminal.send(&all).await.right(200, "journal").json()["last"], 6);
    terminal.enter(Kind::Stamps, 139, "");
    terminal.send(&terminal.journal).await.wrong(403, "revoked");
    terminal.range(1, &terminal.key).await.wrong(403, "revoked");
}

#[tokio::test]
async fn identifiers_are_given_ahead_and_never_twice() {
    let lab = Lab::new(Service::Counter).await;
    let (mut one, two) = (Terminal::new(&lab, "T1", 1), Terminal::new(&lab, "T2", 2));
    one.register().await;
    two.register().await;
    one.range(1, &two.key).await.wrong(403, "signature");
    let first = one.range(1, &one.key).await.right(200, "range").json();
    assert_eq!(one.range(1, &one.key).await.json(), first, "the same number is the same range");
    let second = two.range(1, &two.key).await.json();
    assert_eq!(second["first"].as_i64().unwrap(), first["first"].as_i64().unwrap() + S10_RANGE);
    one.range(3, &one.key).await.wrong(409, "range");
    for number in 2..=S10_RANGES_OPEN_MAX {
        one.range(number, &one.key).await.right(200, "range");
    }
    one.range(S10_RANGES_OPEN_MAX + 1, &one.key).await.wrong(409, "range");
    // Parcels with one's own identifiers, each once.
    let own = identifier(first["first"].as_i64().unwrap()).unwrap();
    one.enter(Kind::Parcel, 549, &own);
    one.send(&one.journal).await.right(200, "journal");
    for reference in [own, identifier(second["first"].as_i64().unwrap()).unwrap(), "RR473124829GB".to_owned()] {
        let kept = one.journal.len();
        one.enter(Kind::Parcel, 549, &reference);
        one.send(&one.journal).await.wrong(422, "entry");
        one.journal.truncate(kept);
    }
}

/// Batches are lost, repeated and overtake each other; acknowledgements are lost as well. In the end everything is there once.
#[tokio::test]
async fn any_line_however_bad_leads_to_the_whole_journal_once() {
    let seed: u64 = std::env::var("GUICHET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    println!("GUICHET_SEED={seed} replays this run");
    let mut state = seed;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let lab = Lab::new(Service::Counter).await;
    let mut terminal = Terminal::new(&lab, "T1", 1);
    terminal.register().await;
    for n in 0..60 {
        let kind = [Kind::Stamps, Kind::Deposit, Kind::Float][draw(3)];
        terminal.enter(kind, 100 + n, "");
    }
    let all = terminal.journal.clone();
    for _ in 0..120 {
        let from = draw(all.len());
        let to = (from + 1 + draw(9)).min(all.len());
        let answer = terminal.send(&all[from..to]).await;
        assert!(answer.status == 200 || answer.status == 409, "{}", answer.text());
    }
    terminal.send(&all).await.right(200, "journal");
    let (count, cents): (i64, i64) = sqlx::query_as("SELECT count(*), sum(amount_cents) FROM journal_entry")
        .fetch_one(&lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!((count, cents), (60, all.iter().map(|entry| entry.amount_cents).sum()));
}
