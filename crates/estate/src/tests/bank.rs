use super::{Answer, Lab};
use crate::bounds::{CODE_TRIES_MAX, TRANSFERS_PENDING_PER_USER_MAX};
use crate::service::Service;
use crate::{ids, ledger};
use serde_json::{Value, json};

async fn ask(lab: &Lab, cookie: &str, key: &str, body: &Value) -> Answer {
    lab.post("/transfers", &[("cookie", cookie), ("idempotency-key", key)], body).await
}

async fn code(lab: &Lab, cookie: &str, id: &str) -> String {
    let sms = lab.get(&format!("/transfers/{id}/sms"), &[("cookie", cookie)]).await.right(200, "outbox").json();
    sms["code"].as_str().unwrap().to_owned()
}

async fn confirm(lab: &Lab, cookie: &str, id: &str, code: &str, cents: i64, iban: &str) -> Answer {
    let body = json!({"code": code, "amount_cents": cents, "payee_iban": iban});
    lab.post(&format!("/transfers/{id}/confirm"), &[("cookie", cookie)], &body).await
}

async fn balance(lab: &Lab, n: u32) -> i64 {
    sqlx::query_scalar("SELECT balance_cents FROM account WHERE id = $1")
        .bind(ids::account(n, 1))
        .fetch_one(&lab.kit.store.reader)
        .await
        .unwrap()
}

fn id_of(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_transfer_is_booked_with_its_code_and_only_once() {
    let lab = Lab::new(Service::Bank).await;
    let cookie = lab.cookie("/login", 1).await;
    let payee = ids::iban(2, 1);
    let body = json!({"amount_cents": 1234, "payee_iban": payee, "reference": "Loyer"});
    let asked = ask(&lab, &cookie, "key-00000001", &body).await.right(202, "transfer");
    let id = id_of(&asked);
    assert_eq!(balance(&lab, 1).await, 1_000_000, "nothing moves before the code");

    let again = ask(&lab, &cookie, "key-00000001", &body).await.right(202, "transfer");
    assert_eq!((again.text(), &again.headers["idempotent-replayed"]), (asked.text(), &"true".parse().unwrap()));
    let other = json!({"amount_cents": 1235, "payee_iban": payee});
    ask(&lab, &cookie, "key-00000001", &other).await.wrong(422, "key-reused");

    let code = code(&lab, &cookie, &id).await;
    confirm(&lab, &cookie, &id, &code, 1235, &payee).await.wrong(403, "wrong-code");
    confirm(&lab, &cookie, &id, &code, 1234, &ids::iban(3, 1)).await.wrong(403, "wrong-code");
    confirm(&lab, &cookie, &id, &code, 1234, &payee).await.right(200, "confirm");
    confirm(&lab, &cookie, &id, &code, 1234, &payee).await.wrong(409, "already-booked");
    assert_eq!((balance(&lab, 1).await, balance(&lab, 2).await), (998_766, 1_001_234));

    let statement =
        lab.get("/accounts/acc-0001-1/statement", &[("cookie", &cookie)]).await.right(200, "statement").json();
    assert_eq!(statement["entries"][0]["amount_cents"], -1234);
    assert_eq!(statement["entries"][0]["reference"], "Loyer");
    assert_eq!(statement["balance_cents"], statement["entries"][0]["balance_cents"]);
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
}

#[tokio::test]
async fn a_code_dies_after_a_few_wrong_tries_and_the_oldest_pending_gives_way() {
    let lab = Lab::new(Service::Bank).await;
    let cookie = lab.cookie("/login", 1).await;
    let payee = ids::iban(2, 1);
    let body = json!({"amount_cents": 100, "payee_iban": payee});
    let id = id_of(&ask(&lab, &cookie, "key-tries", &body).await);
    let right = code(&lab, &cookie, &id).await;
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..CODE_TRIES_MAX {
        confirm(&lab, &cookie, &id, wrong, 100, &payee).await.wrong(403, "wrong-code");
    }
    confirm(&lab, &cookie, &id, &right, 100, &payee).await.wrong(410, "void");

    let oldest = id_of(&ask(&lab, &cookie, "key-oldest", &body).await);
    let oldest_code = code(&lab, &cookie, &oldest).await;
    // A millisecond apart at least, since the oldest is found by its time.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    for n in 0..TRANSFERS_PENDING_PER_USER_MAX {
        ask(&lab, &cookie, &format!("key-later-{n}"), &body).await.right(202, "transfer");
    }
    confirm(&lab, &cookie, &oldest, &oldest_code, 100, &payee).await.wrong(410, "void");
    let pending: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&lab.kit.store.reader).await.unwrap();
    assert!(pending <= TRANSFERS_PENDING_PER_USER_MAX, "codes of void transfers are gone: {pending}");
}

#[tokio::test]
async fn one_customer_never_reaches_what_is_anothers() {
    let lab = Lab::new(Service::Bank).await;
    let (mine, theirs) = (lab.cookie("/login", 1).await, lab.cookie("/login", 2).await);
    let list = lab.get("/accounts", &[("cookie", &mine)]).await.right(200, "accounts").json();
    let ids: Vec<_> =
        list["accounts"].as_array().unwrap().iter().map(|account| account["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["acc-0001-1", "acc-0001-2"]);
    assert_eq!(list["accounts"][0]["iban"], ids::iban(1, 1));
    for id in ["acc-0002-1", "world", "nothing"] {
        lab.get(&format!("/accounts/{id}/statement"), &[("cookie", &mine)]).await.wrong(404, "not-found");
    }
    let body = json!({"amount_cents": 1, "payee_iban": ids::iban(3, 1), "payer_account": "acc-0002-1"});
    ask(&lab, &mine, "key-stranger", &body).await.wrong(422, "invalid");
    let body = json!({"amount_cents": 1, "payee_iban": ids::iban(3, 1)});
    let id = id_of(&ask(&lab, &mine, "key-own-one", &body).await);
    let code = code(&lab, &mine, &id).await;
    lab.get(&format!("/transfers/{id}/sms"), &[("cookie", &theirs)]).await.wrong(404, "not-found");
    confirm(&lab, &theirs, &id, &code, 1, &ids::iban(3, 1)).await.wrong(404, "not-found");
    // The same key of another caller is another key.
    let other = ask(&lab, &theirs, "key-own-one", &body).await.right(202, "transfer");
    assert_ne!(id_of(&other), id);
}

#[tokio::test]
async fn wrong_transfers_are_refused() {
    let lab = Lab::new(Service::Bank).await;
    let cookie = lab.cookie("/login", 1).await;
    let iban = ids::iban(2, 1);
    for (body, status, code) in [
        (json!({"amount_cents": 0, "payee_iban": iban}), 422, "invalid"),
        (json!({"amount_cents": -5, "payee_iban": iban}), 422, "invalid"),
        (json!({"amount_cents": 1_000_001, "payee_iban": iban}), 422, "invalid"),
        (json!({"amount_cents": 1.5, "payee_iban": iban}), 422, "invalid"),
        (json!({"amount_cents": i64::MAX, "payee_iban": iban}), 422, "invalid"),
        (json!({"amount_cents": 1, "payee_iban": "FR00"}), 422, "invalid"),
        (json!({"amount_cents": 1, "payee_iban": ids::iban(1, 1)}), 422, "invalid"),
        (json!({"amount_cents": 1, "payee_iban": iban, "reference": "a\nb"}), 422, "invalid"),
        (json!({"amount_cents": 1, "payee_iban": iban, "reference": "x".repeat(141)}), 422, "invalid"),
        (json!({"amount_cents": 1, "payee_iban": iban, "currency": "USD"}), 422, "invalid"),
        (
            json!({"amount_cents": 600_000, "payee_iban": iban, "payer_account": "acc-0001-2"}),
            422,
            "insufficient-funds",
        ),
    ] {
        ask(&lab, &cookie, "key-wrong-one", &body).await.wrong(status, code);
    }
    let body = json!({"amount_cents": 1, "payee_iban": iban});
    for key in ["short", "has a space", &"x".repeat(65)] {
        ask(&lab, &cookie, key, &body).await.wrong(400, "malformed");
    }
    lab.post("/transfers", &[("cookie", &cookie)], &body).await.wrong(400, "malformed");
    lab.post("/transfers", &[("idempotency-key", "key-without-session")], &body).await.wrong(401, "unauthenticated");
}

#[tokio::test]
async fn money_is_conserved_when_many_pay_at_once() {
    let lab = Lab::new(Service::Bank).await;
    // Each of four customers has three transfers of 6,000.00 € asked for: more than there is, so that some must fail.
    let mut asked = Vec::new();
    for n in 0..4 {
        let cookie = lab.cookie("/login", n).await;
        for k in 0..3 {
            let payee = ids::iban((n + 1) % 4, 1);
            let body = json!({"amount_cents": 600_000, "payee_iban": payee});
            let id = id_of(&ask(&lab, &cookie, &format!("key-many-{k}"), &body).await);
            let code = code(&lab, &cookie, &id).await;
            asked.push((cookie.clone(), id, code, payee));
        }
    }
    let tasks: Vec<_> = asked
        .into_iter()
        .flat_map(|one| [one.clone(), one])
        .map(|(cookie, id, code, payee)| {
            let lab = lab.clone();
            tokio::spawn(async move { confirm(&lab, &cookie, &id, &code, 600_000, &payee).await.status })
        })
        .collect();
    let mut booked = 0;
    for task in tasks {
        let status = task.await.unwrap();
        assert!([200, 409, 422].contains(&status), "{status}");
        booked += i64::from(status == 200);
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM journal WHERE kind = 'transfer'")
        .fetch_one(&lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!(rows, booked, "each acknowledged transfer once, and no other");
    assert!((4..=12).contains(&booked), "{booked}");
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
}

#[tokio::test]
async fn the_same_key_at_once_is_done_once() {
    let lab = Lab::new(Service::Bank).await;
    let cookie = lab.cookie("/login", 1).await;
    let body = json!({"amount_cents": 100, "payee_iban": ids::iban(2, 1)});
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (lab, cookie, body) = (lab.clone(), cookie.clone(), body.clone());
            tokio::spawn(async move { ask(&lab, &cookie, "key-at-once", &body).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            202 => drop(ids.insert(id_of(&answer))),
            _ => drop(answer.wrong(409, "in-progress")),
        }
    }
    assert_eq!(ids.len(), 1);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM transfer").fetch_one(&lab.kit.store.reader).await.unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn the_journal_is_append_only_and_the_fault_finder_finds() {
    let lab = Lab::new(Service::Bank).await;
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
    for sql in [
        "UPDATE entry SET amount_cents = 1 WHERE id = 1",
        "DELETE FROM entry WHERE id = 1",
        "DELETE FROM journal",
        "UPDATE account SET balance_cents = -1 WHERE id = 'acc-0001-1'",
    ] {
        let mut tx = lab.kit.store.begin().await.unwrap();
        assert!(sqlx::query(sql).execute(&mut *tx).await.is_err(), "{sql}");
    }
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query("UPDATE account SET balance_cents = balance_cents + 1 WHERE id = 'acc-0001-1'")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(ledger::fault(&lab.kit.store).await.is_some());
}
