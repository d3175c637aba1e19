//! Rails, counter and parcels: what partners send.

use super::{Answer, Lab};
use crate::service::Service;
use crate::{bounds, ids, ledger};
use serde_json::{Value, json};

fn card(n: u32, stan: &str, cents: i64) -> Value {
    json!({"pan": ids::card(n), "amount_cents": cents, "currency": "EUR", "terminal": "T0001", "stan": stan, "merchant": "Boulangerie"})
}

async fn keyed(lab: &Lab, path: &str, key: &str, body: &Value) -> Answer {
    lab.post(path, &[("idempotency-key", key)], body).await
}

#[tokio::test]
async fn cards_are_approved_within_their_limits_exactly_once() {
    let lab = Lab::new(Service::Rails).await;
    let unknown = json!({"pan": "4970100999999990", "amount_cents": 1, "currency": "EUR", "terminal": "T0001", "stan": "000009", "merchant": "X"});
    for (body, code) in [
        (card(1, "000001", 1000), "00"),
        (card(1, "000002", bounds::CARD_CENTS_MAX + 1), "61"),
        (card(1, "000003", i64::MAX), "61"),
        (unknown, "14"),
    ] {
        let answer = lab.post("/authorisations", &[], &body).await.right(200, "card").json();
        assert_eq!((answer["code"].as_str(), answer["approved"].as_bool()), (Some(code), Some(code == "00")), "{body}");
    }
    let first = lab.post("/authorisations", &[], &card(1, "000001", 1000)).await.right(200, "card");
    assert_eq!(first.headers["idempotent-replayed"], "true");
    lab.post("/authorisations", &[], &card(1, "000001", 1001)).await.wrong(422, "key-reused");
    // What is remembered beyond the day of the keys gives the same answer.
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query("DELETE FROM idempotency").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let later = lab.post("/authorisations", &[], &card(1, "000001", 1000)).await.right(200, "card");
    assert_eq!(later.text(), first.text());
    lab.post("/authorisations", &[], &card(1, "000001", 1001)).await.wrong(422, "key-reused");

    // 1,500 € three times, then a fourth is over the sum of a day.
    for (stan, code) in [("000011", "00"), ("000012", "00"), ("000013", "00"), ("000014", "61")] {
        let answer = lab.post("/authorisations", &[], &card(2, stan, bounds::CARD_CENTS_MAX)).await.json();
        assert_eq!(answer["code"], code, "{stan}");
    }
    let moved: i64 = sqlx::query_scalar("SELECT 1000000 - balance_cents FROM account WHERE id = 'acc-0001-1'")
        .fetch_one(&lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!(moved, 1000);
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
}

#[tokio::test]
async fn a_stopped_card_pays_nothing_and_cash_counts_as_payments_do() {
    let lab = Lab::new(Service::Rails).await;
    let code = async |path: &str, op: &str, stan: &str| {
        let answer = lab.post(path, &[], &card(6, stan, bounds::CARD_CENTS_MAX)).await.right(200, op).json();
        answer["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code("/withdrawals", "cash", "000001").await, "00");
    assert_eq!(code("/withdrawals", "cash", "000001").await, "00", "the same again");
    lab.post("/authorisations", &[], &card(6, "000001", bounds::CARD_CENTS_MAX)).await.wrong(422, "key-reused");
    assert_eq!(code("/authorisations", "card", "000002").await, "00");
    assert_eq!(code("/withdrawals", "cash", "000003").await, "00");
    assert_eq!(code("/withdrawals", "cash", "000004").await, "61");
    for _ in 0..2 {
        lab.post("/stopped-cards", &[], &json!({"pan": ids::card(6)})).await.right(200, "stop");
    }
    assert_eq!(code("/withdrawals", "cash", "000005").await, "41");
    lab.post("/stopped-cards", &[], &json!({"pan": "4970100999999990"})).await.wrong(422, "no-such-card");
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
}

#[tokio::test]
async fn wrong_partner_requests_are_refused() {
    let lab = Lab::new(Service::Rails).await;
    for (field, value) in [
        ("pan", json!("497010000000000x")),
        ("pan", json!("1")),
        ("amount_cents", json!(0)),
        ("amount_cents", json!("1")),
        ("currency", json!("USD")),
        ("terminal", json!("t0001")),
        ("terminal", json!("")),
        ("stan", json!("1")),
        ("stan", json!("12345\n")),
        ("merchant", json!("")),
        ("merchant", json!("a\u{0}b")),
        ("extra", json!(1)),
    ] {
        let mut body = card(1, "000001", 100);
        body[field] = value;
        lab.post("/authorisations", &[], &body).await.wrong(422, "invalid");
    }
    for body in [
        json!({"to": "0600", "text": "x"}),
        json!({"to": "+33600000001", "text": ""}),
        json!({"to": "+33600000001", "text": "x".repeat(161)}),
    ] {
        keyed(&lab, "/sms-codes", "key-00000001", &body).await.wrong(422, "invalid");
    }
    for (payer, payee, cents) in [(1, 1, 100), (1, 2, 0), (1, 2, -1), (1, 2, 1_000_001)] {
        let body =
            json!({"payer_alias": ids::telephone(payer), "payee_alias": ids::telephone(payee), "amount_cents": cents});
        keyed(&lab, "/instant", "key-00000001", &body).await.wrong(422, "invalid");
    }
    lab.post(
        "/instant",
        &[],
        &json!({"payer_alias": "+33600000001", "payee_alias": "+33600000002", "amount_cents": 1}),
    )
    .await
    .wrong(400, "malformed");
}

#[tokio::test]
async fn instant_transfers_conserve_money_under_concurrency() {
    let lab = Lab::new(Service::Rails).await;
    let pay = |payer: u32, payee: u32, cents: i64, key: String| {
        let lab = lab.clone();
        tokio::spawn(async move {
            let body = json!({"payer_alias": ids::telephone(payer), "payee_alias": ids::telephone(payee), "amount_cents": cents});
            let answer = keyed(&lab, "/instant", &key, &body).await.right(200, "instant").json();
            answer["status"].as_str().unwrap().to_owned()
        })
    };
    let tasks: Vec<_> = (0..30).map(|n| pay(n % 3, (n + 1) % 3, 400_000, format!("key-instant-{n}"))).collect();
    let mut settled = 0;
    for task in tasks {
        settled += i64::from(task.await.unwrap() == "ACSC");
    }
    let booked: i64 = sqlx::query_scalar("SELECT count(*) FROM journal WHERE kind = 'instant'")
        .fetch_one(&lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!(booked, settled);
    assert!(settled >= 3);
    assert_eq!(ledger::fault(&lab.kit.store).await, None);
    for (payer, payee, cents, reason) in [(900, 901, 1_000_001 - 1, None), (900, 901, 1, Some("AM04"))] {
        let body =
            json!({"payer_alias": ids::telephone(payer), "payee_alias": ids::telephone(payee), "amount_cents": cents});
        let answer = keyed(&lab, "/instant", &format!("key-last-{cents}"), &body).await.json();
        assert_eq!(answer["reason"].as_str(), reason, "{answer}");
    }
    let nobody = json!({"payer_alias": "+33699999999", "payee_alias": ids::telephone(1), "amount_cents": 1});
    assert_eq!(keyed(&lab, "/instant", "key-nobody", &nobody).await.right(200, "instant").json()["reason"], "BE06");
}

#[tokio::test]
async fn text_messages_are_queued_once() {
    let lab = Lab::new(Service::Rails).await;
    let body = json!({"to": "+33600000001", "text": "Votre code : 123456"});
    let first = keyed(&lab, "/sms-codes", "key-00000001", &body).await.right(202, "sms");
    assert_eq!(keyed(&lab, "/sms-codes", "key-00000001", &body).await.right(202, "sms").text(), first.text());
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sms").fetch_one(&lab.kit.store.reader).await.unwrap();
    assert_eq!(count, 1);
    // One telephone can't fill the queue of all.
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < $1)
         INSERT INTO sms (id, recipient, text, queued_ms) SELECT 'sms-' || n, '+33600000001', 'x', $2 FROM n",
    )
    .bind(bounds::SMS_PER_TELEPHONE_MAX)
    .bind(crate::store::now_ms())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    keyed(&lab, "/sms-codes", "key-00000002", &body).await.wrong(429, "telephone");
    let other = json!({"to": "+33600000002", "text": "Votre code : 123456"});
    keyed(&lab, "/sms-codes", "key-00000003", &other).await.right(202, "sms");
}

/// Asks for a payment of user 4 and gives its id with the code that its holder got.
async fn payment(lab: &Lab, key: &str, cents: i64) -> (String, String) {
    let body = json!({"pan": ids::card(4), "amount_cents": cents, "currency": "EUR", "merchant": "Librairie"});
    let asked = keyed(lab, "/payments", key, &body).await.right(202, "payment").json();
    assert_eq!(keyed(lab, "/payments", key, &body).await.json(), asked);
    let texts: Vec<String> = sqlx::query_scalar("SELECT text FROM sms WHERE recipient = $1 ORDER BY queued_ms, id")
        .bind(ids::telephone(4))
        .fetch_all(&lab.kit.store.reader)
        .await
        .unwrap();
    let amount = format!("{},{:02} EUR à Librairie", cents / 100, cents % 100);
    let text = texts.iter().find(|text| text.contains(&amount)).unwrap_or_else(|| panic!("{texts:?}"));
    let code = text.split("Code : ").nth(1).unwrap()[..6].to_owned();
    (asked["id"].as_str().unwrap().to_owned(), code)
}

#[tokio::test]
async fn a_payment_online_takes_the_code_that_its_holder_got_for_it() {
    let lab = Lab::new(Service::Rails).await;
    let (id, code) = payment(&lab, "key-payment-1", 1234).await;
    let path = format!("/payments/{id}/confirm");
    let said =
        |code: &str, cents: i64, merchant: &str| json!({"code": code, "amount_cents": cents, "merchant": merchant});
    for (code, cents, merchant) in
        [("x", 1234, "Librairie"), (code.as_str(), 1235, "Librairie"), (&code, 1234, "Autre")]
    {
        lab.post(&path, &[], &said(code, cents, merchant)).await.wrong(403, "wrong-code");
    }
    // Without the bank the rails stand in; the same again has the same answer.
    let done = lab.post(&path, &[], &said(&code, 1234, "Librairie")).await.right(200, "payment-code").json();
    assert_eq!((&done["status"], &done["code"]), (&json!("approved"), &json!("00")));
    assert!(done["cavv"].as_str().unwrap().len() == 28 && done["approval"].is_string());
    assert_eq!(lab.post(&path, &[], &said(&code, 1234, "Librairie")).await.json(), done);
    let advised: i64 =
        sqlx::query_scalar("SELECT count(*) FROM advice WHERE path = '/internal/debits' AND body LIKE '%payment%'")
            .fetch_one(&lab.kit.store.reader)
            .await
            .unwrap();
    assert_eq!(advised, 1);
    // Too many wrong codes, too late, too many at once.
    let (id, code) = payment(&lab, "key-payment-2", 200).await;
    let path = format!("/payments/{id}/confirm");
    for _ in 0..bounds::CODE_TRIES_MAX {
        lab.post(&path, &[], &said("000000x", 200, "Librairie")).await.wrong(403, "wrong-code");
    }
    lab.post(&path, &[], &said(&code, 200, "Librairie")).await.wrong(410, "void");
    let (first, code) = payment(&lab, "key-payment-3", 300).await;
    for n in 0..bounds::PAYMENTS_PENDING_PER_CARD_MAX {
        payment(&lab, &format!("key-payment-more-{n}"), 400 + n).await;
    }
    lab.post(&format!("/payments/{first}/confirm"), &[], &said(&code, 300, "Librairie")).await.wrong(410, "void");
    for (field, value, status, problem) in [
        ("pan", json!("4970100999999990"), 422, "no-such-card"),
        ("amount_cents", json!(150_001), 422, "invalid"),
        ("currency", json!("USD"), 422, "invalid"),
        ("merchant", json!(""), 422, "invalid"),
    ] {
        let mut body = json!({"pan": ids::card(4), "amount_cents": 1, "currency": "EUR", "merchant": "Librairie"});
        body[field] = value;
        keyed(&lab, "/payments", "key-payment-wrong", &body).await.wrong(status, problem);
    }
    lab.post("/payments/pay-none/confirm", &[], &said("000000", 1, "x")).await.wrong(404, "not-found");
}

#[tokio::test]
async fn counter_operations_are_chained_without_gaps() {
    let lab = Lab::new(Service::Counter).await;
    let body =
        json!({"office": "PARIS1", "terminal": "G1", "kind": "deposit", "amount_cents": 500, "reference": "livret"});
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (lab, body) = (lab.clone(), body.clone());
            // Each twice: a terminal that does not hear sends again.
            tokio::spawn(async move { keyed(&lab, "/operations", &format!("key-op-{}", n / 2), &body).await })
        })
        .collect();
    let mut chain = std::collections::BTreeMap::new();
    for task in tasks {
        let answer = task.await.unwrap();
        if answer.status == 409 {
            answer.wrong(409, "in-progress");
            continue;
        }
        let entry = answer.right(201, "operation").json();
        chain.insert(entry["sequence"].as_i64().unwrap(), entry);
    }
    assert_eq!(chain.keys().copied().collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let mut previous = String::new();
    for entry in chain.values() {
        assert_eq!(entry["previous"], previous.as_str());
        entry["hash"].as_str().unwrap().clone_into(&mut previous);
        let id = entry["id"].as_str().unwrap();
        assert_eq!(&lab.get(&format!("/operations/{id}"), &[]).await.right(200, "receipt").json(), entry);
    }
    assert_eq!(lab.get("/operations/op-0999", &[]).await.right(200, "receipt").json()["sequence"], 1000);
    lab.get("/operations/op-1000", &[]).await.wrong(404, "not-found");
    for (field, value) in [
        ("office", json!("paris")),
        ("terminal", json!("")),
        ("kind", json!("gift")),
        ("amount_cents", json!(0)),
        ("amount_cents", json!(300_001)),
        ("reference", json!("x".repeat(36))),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        keyed(&lab, "/operations", "key-wrong", &wrong).await.wrong(422, "invalid");
    }
}

#[tokio::test]
async fn a_receipt_that_was_changed_is_not_given_out() {
    let lab = Lab::new(Service::Counter).await;
    let mut tx = lab.kit.store.begin().await.unwrap();
    assert!(sqlx::query("UPDATE operation SET amount_cents = 1").execute(&mut *tx).await.is_err());
    tx.rollback().await.unwrap();
    lab.behind("DROP TRIGGER operation_kept; UPDATE operation SET amount_cents = 1 WHERE id = 'op-0001'").await;
    lab.get("/operations/op-0001", &[]).await.wrong(500, "internal");
}

fn scan(id: &str, parcel: &str, code: &str, at: &str) -> Value {
    json!({"scan_id": id, "parcel": parcel, "code": code, "site": "Lyon", "event_at": at})
}

#[tokio::test]
async fn late_scans_take_their_place_and_never_reopen_what_is_delivered() {
    let lab = Lab::new(Service::Parcels).await;
    // Parcel 4 has all five steps and is delivered.
    let id = ids::parcel(4);
    let late = scan("scan-late-1", &id, "PB1", "2026-01-05T10:00:00+01:00");
    let first = lab.post("/scans", &[], &late).await.right(201, "scan");
    assert_eq!(first.json()["event_at"], "2026-01-05T09:00:00Z");
    assert_eq!(lab.post("/scans", &[], &late).await.right(201, "scan").text(), first.text());
    lab.post("/scans", &[], &scan("scan-late-1", &id, "PB2", "2026-01-05T10:00:00Z")).await.wrong(422, "key-reused");
    let after = scan("scan-after", &id, "ET1", &crate::store::rfc3339(crate::store::now_ms()));
    lab.post("/scans", &[], &after).await.right(201, "scan");

    let tracking = lab.get(&format!("/tracking/{id}?lang=en_GB"), &[]).await.right(200, "tracking").json();
    let events = tracking["shipment"]["event"].as_array().unwrap();
    assert_eq!((tracking["shipment"]["isFinal"].as_bool(), events.len()), (Some(true), 7));
    assert_eq!((&events[0]["code"], &events[6]["code"]), (&json!("ET1"), &json!("PB1")), "by the time of the event");
    let dates: Vec<_> = events.iter().map(|event| event["date"].as_str().unwrap()).collect();
    assert!(dates.is_sorted_by(|a, b| a >= b) && dates.iter().all(|date| date.len() == 24), "{dates:?}");
    assert_eq!(tracking["shipment"]["timeline"][4]["status"], true);
    assert_eq!(tracking["lang"], "en_GB");
}

#[tokio::test]
async fn wrong_scans_trackings_and_quotes_are_refused() {
    let lab = Lab::new(Service::Parcels).await;
    let (id, at) = (ids::parcel(0), "2026-01-05T10:00:00Z");
    for (body, status, code) in [
        (scan("short", &id, "ET1", at), 422, "invalid"),
        (scan("scan-0001", "CG100000004FR", "ET1", at), 400, "malformed"),
        (scan("scan-0001", "nothing", "ET1", at), 400, "malformed"),
        (scan("scan-0001", &ids::parcel(5000), "ET1", at), 404, "not-found"),
        (scan("scan-0001", &id, "XX9", at), 422, "invalid"),
        (scan("scan-0001", &id, "ET1", "yesterday"), 422, "invalid"),
        (scan("scan-0001", &id, "ET1", "2126-01-05T10:00:00Z"), 422, "invalid"),
    ] {
        lab.post("/scans", &[], &body).await.wrong(status, code);
    }
    for n in 0..bounds::SCANS_PER_PARCEL_MAX {
        let answer = lab.post("/scans", &[], &scan(&format!("scan-full-{n}"), &id, "ET1", at)).await;
        // The parcel had one already.
        assert_eq!(answer.status, if n < bounds::SCANS_PER_PARCEL_MAX - 1 { 201 } else { 409 });
    }
    for (path, status, code) in [
        ("/tracking/CG100000004FR", 400, "malformed"),
        ("/tracking/x", 400, "malformed"),
        ("/tracking/CG100000003FR?lang=xx", 400, "malformed"),
        ("/tracking/%ff", 400, "refused"),
    ] {
        lab.get(path, &[]).await.wrong(status, code);
    }
    lab.get(&format!("/tracking/{}", ids::parcel(2000)), &[]).await.wrong(404, "not-found");

    let right = json!({"from_postcode": "75001", "to_country": "FR", "weight_g": 900, "length_mm": 200, "width_mm": 150, "height_mm": 100});
    let offers = lab.post("/quotes", &[], &right).await.right(200, "quote").json();
    let price = |body: &Value| body["offers"][0]["price_cents"].as_i64().unwrap();
    assert_eq!((offers["offers"].as_array().unwrap().len(), price(&offers)), (3, 752));
    let abroad = {
        let mut body = right.clone();
        body["to_country"] = json!("ES");
        body
    };
    assert!(price(&lab.post("/quotes", &[], &abroad).await.json()) > price(&offers));
    for (field, value) in [
        ("from_postcode", json!("7500")),
        ("to_country", json!("XX")),
        ("weight_g", json!(0)),
        ("weight_g", json!(30_001)),
        ("length_mm", json!(1501)),
        ("height_mm", json!(9)),
        ("width_mm", json!(-1)),
    ] {
        let mut wrong = right.clone();
        wrong[field] = value;
        lab.post("/quotes", &[], &wrong).await.wrong(422, "invalid");
    }
    let huge = json!({"from_postcode": "75001", "to_country": "FR", "weight_g": 900, "length_mm": 1500, "width_mm": 500, "height_mm": 100});
    lab.post("/quotes", &[], &huge).await.wrong(422, "invalid");
}
