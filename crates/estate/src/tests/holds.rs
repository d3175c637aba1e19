//! What the rails ask of the bank.

use super::{Answer, Lab};
use crate::service::Service;
use crate::verify::Check;
use crate::{bank, ids, ledger};
use serde_json::{Value, json};

struct Core {
    lab: Lab,
    key: String,
}

impl Core {
    async fn new() -> Self {
        let lab = Lab::new(Service::Bank).await;
        let key = std::fs::read_to_string(lab.kit.store.dir.join("estate.key")).unwrap().trim().to_owned();
        Self { lab, key }
    }

    async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.lab.post(&format!("/internal/{path}"), &[("x-estate-key", &self.key)], body).await
    }

    /// What user 1's current account can spend.
    async fn available(&self) -> i64 {
        let answer = self.ask("balances", &json!({"account": "acc-0001-1"})).await;
        answer.json()["available_cents"].as_i64().unwrap()
    }

    async fn fault(&self) -> Option<String> {
        for invariant in bank::INVARIANTS {
            let Check::Zero(sql) = invariant.check else { continue };
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.lab.kit.store.reader).await.unwrap();
            if count != 0 {
                return Some(format!("{}: {count} against it", invariant.name));
            }
        }
        None
    }
}

fn card(id: &str, cents: i64) -> Value {
    json!({"id": id, "account": "acc-0001-1", "amount_cents": cents, "kind": "card", "reference": "Boulangerie", "expires_s": 3600})
}

#[tokio::test]
async fn only_those_with_the_key_and_from_within_are_answered() {
    let core = Core::new().await;
    let body = card("card-0001", 100);
    for headers in [
        &[][..],
        &[("x-estate-key", "0000")],
        &[("x-estate-key", core.key.as_str()), ("x-forwarded-for", "192.0.2.1")],
        &[("x-estate-key", core.key.as_str()), ("via", "1.1 guichet")],
    ] {
        core.lab.post("/internal/debits", headers, &body).await.wrong(404, "not-found");
        core.lab.get("/internal/accounts/acc-0001-1", headers).await.wrong(404, "not-found");
    }
    assert_eq!(core.available().await, 1_000_000);
    let iban = ids::iban(1, 1);
    let account = core.lab.get(&format!("/internal/accounts/{iban}"), &[("x-estate-key", &core.key)]).await.json();
    assert_eq!(account["account"], "acc-0001-1");
    assert_eq!((&account["name"], &account["available_cents"]), (&json!("Bruno Martin"), &json!(1_000_000)));
}

#[tokio::test]
async fn holds_are_resolved_once() {
    let core = Core::new().await;
    for _ in 0..2 {
        assert_eq!(core.ask("holds", &card("card-0001", 600_000)).await.json()["status"], "pending");
    }
    assert_eq!(core.available().await, 400_000);
    core.ask("holds", &card("card-0002", 400_001)).await.wrong(422, "insufficient-funds");
    core.ask("debits", &card("card-0003", 400_001)).await.wrong(422, "insufficient-funds");
    // A transfer can't have it either.
    let cookie = core.lab.cookie("/login", 1).await;
    let transfer = json!({"amount_cents": 400_001, "payee_iban": "FR1420041010050500013M02606"});
    let headers = [("cookie", cookie.as_str()), ("idempotency-key", "key-00000001")];
    core.lab.post("/transfers", &headers, &transfer).await.wrong(422, "insufficient-funds");
    // Taken, and less than was held.
    for _ in 0..2 {
        assert_eq!(core.ask("debits", &card("card-0001", 500_000)).await.json()["status"], "booked");
    }
    assert_eq!(core.available().await, 500_000);
    // Given back in two parts, each once; never more than was taken.
    for (keep, left) in [(200_000, 800_000), (200_000, 800_000), (0, 1_000_000), (0, 1_000_000)] {
        let mut body = card("card-0001", 0);
        body["keep_cents"] = json!(keep);
        assert_eq!(core.ask("reversals", &body).await.status, 200);
        assert_eq!(core.available().await, left);
    }
    let mut more = card("card-0001", 0);
    more["keep_cents"] = json!(1);
    core.ask("reversals", &more).await.wrong(422, "invalid");
    // Voided before it came.
    assert_eq!(core.ask("reversals", &card("card-0009", 0)).await.json()["status"], "void");
    core.ask("debits", &card("card-0009", 100)).await.wrong(409, "void");
    core.ask("holds", &card("card-0009", 100)).await.wrong(409, "void");
    // An id means one thing.
    let mut other = card("card-0001", 100);
    other["account"] = json!("acc-0002-1");
    core.ask("debits", &other).await.wrong(422, "key-reused");
    assert_eq!((core.fault().await, ledger::fault(&core.lab.kit.store).await), (None, None));
}

#[tokio::test]
async fn what_is_out_of_date_holds_nothing_and_what_was_promised_is_booked() {
    let core = Core::new().await;
    assert_eq!(core.ask("holds", &card("card-0001", 900_000)).await.status, 200);
    let mut tx = core.lab.kit.store.begin().await.unwrap();
    sqlx::query("UPDATE operation SET expires_ms = 0").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(core.available().await, 1_000_000);
    assert_eq!(core.ask("holds", &card("card-0002", 900_000)).await.status, 200);
    // The first was promised; the account has it no more: the bank pays, and it is owed.
    let mut forced = card("card-0001", 900_000);
    forced["forced"] = json!(true);
    for _ in 0..2 {
        assert_eq!(core.ask("debits", &forced).await.json()["status"], "booked");
    }
    let owed: i64 = sqlx::query_scalar("SELECT balance_cents FROM account WHERE id = 'suspense'")
        .fetch_one(&core.lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!((owed, core.available().await), (-900_000, 100_000));
    let credit = json!({"id": "ip-00000001", "account": ids::iban(1, 1), "amount_cents": 5, "kind": "instant-credit"});
    for _ in 0..2 {
        assert_eq!(core.ask("credits", &credit).await.status, 200);
    }
    assert_eq!(core.available().await, 100_005);
    for (path, field, value) in [
        ("holds", "id", json!("short")),
        ("holds", "amount_cents", json!(0)),
        ("debits", "amount_cents", json!(-1)),
        ("holds", "expires_s", json!(8 * 24 * 3600)),
        ("holds", "kind", json!("gift")),
        ("reversals", "keep_cents", json!(-1)),
        ("debits", "admin", json!(true)),
    ] {
        let mut body = card("card-0007", 100);
        body[field] = value;
        core.ask(path, &body).await.wrong(422, "invalid");
    }
    for path in ["holds", "debits", "credits", "reversals"] {
        let mut body = card("card-0008", 100);
        body["account"] = json!("acc-none");
        core.ask(path, &body).await.wrong(404, "not-found");
    }
    assert_eq!((core.fault().await, ledger::fault(&core.lab.kit.store).await), (None, None));
}

/// Whatever comes in whatever order, again and again: no money is lost, no account below nothing.
#[tokio::test]
async fn any_order_of_operations_keeps_the_books() {
    let seed = std::env::var("GUICHET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    println!("GUICHET_SEED={seed} replays this run");
    let mut state: u64 = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let core = Core::new().await;
    for _ in 0..400 {
        let id = format!("card-{:04}", draw(40));
        let mut body = card(&id, i64::try_from(draw(120_000)).unwrap() + 1);
        body["account"] = json!(ids::account(u32::try_from(draw(2)).unwrap(), 1));
        let path = ["holds", "debits", "debits", "reversals", "reversals"][usize::try_from(draw(5)).unwrap()];
        if path == "reversals" {
            body["keep_cents"] = json!(draw(3) * 20_000);
        }
        if path == "debits" && draw(3) == 0 {
            body["forced"] = json!(true);
        }
        let answer = core.ask(path, &body).await;
        assert!(answer.status == 200 || answer.status == 409 || answer.status == 422, "{path}: {}", answer.text());
    }
    assert_eq!((core.fault().await, ledger::fault(&core.lab.kit.store).await), (None, None));
    let booked: i64 = sqlx::query_scalar("SELECT count(*) FROM operation WHERE status = 'booked'")
        .fetch_one(&core.lab.kit.store.reader)
        .await
        .unwrap();
    assert!(booked > 5, "{booked} booked");
}
