//! Bank and rails.

use super::{
    Doc, id, line, list, login, number, object, object_with, one_of, pattern, text, time, whole, with_example,
};
use crate::bounds::TRANSFER_CENTS_MAX;
use serde_json::{Value, json};

/// Its shape; the check digits are checked too.
fn iban() -> Value {
    with_example(pattern("^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"), "FR1420041010050500013M02606")
}

fn euro() -> Value {
    one_of(&["EUR"])
}

fn transfer_id() -> Value {
    pattern("^tr-[0-9a-f]{32}$")
}

pub(super) fn bank() -> Vec<Doc> {
    let account = [("id", text()), ("iban", iban()), ("currency", euro()), ("balance_cents", whole())];
    let listed: Vec<_> = account.iter().cloned().chain([("label", text()), ("available_cents", whole())]).collect();
    let entry = object(&[
        ("at", time()),
        ("kind", text()),
        ("reference", text()),
        ("amount_cents", whole()),
        ("balance_cents", whole()),
    ]);
    let statement: Vec<_> = account.into_iter().chain([("entries", list(&entry))]).collect();
    let amount = with_example(number(1, TRANSFER_CENTS_MAX), 100);
    let ask = object_with(
        &[("amount_cents", amount.clone()), ("payee_iban", iban())],
        &[
            ("payer_account", json!({"type": ["string", "null"], "examples": ["acc-0001-1"]})),
            ("reference", line(0, 140)),
            ("approve_in", one_of(&["sms", "app"])),
            ("payee_name", json!({"anyOf": [line(0, 140), {"type": "null"}]})),
        ],
    );
    let payee = object(&[("iban", iban()), ("name", with_example(line(1, 140), "Bruno Martin"))]);
    let verified =
        object(&[("result", one_of(&["MTCH", "CMTC", "NMTC", "NOAP"])), ("name", json!({"type": ["string", "null"]}))]);
    let pending = object(&[
        ("id", transfer_id()),
        ("status", one_of(&["pending"])),
        ("amount_cents", amount.clone()),
        ("currency", euro()),
        ("payee_iban", iban()),
        ("expires_at", time()),
        ("confirm", text()),
    ]);
    let confirm = object(&[
        ("code", text()),
        ("amount_cents", json!({"type": "integer", "format": "int64"})),
        ("payee_iban", text()),
    ]);
    let booked = object(&[
        ("id", transfer_id()),
        ("status", one_of(&["booked"])),
        ("journal", whole()),
        ("amount_cents", amount),
        ("payee_iban", iban()),
    ]);
    vec![
        login(200, object(&[("user", text()), ("expires_in_s", whole())])),
        Doc::new("accounts", 200, object(&[("accounts", list(&object(&listed)))])).session(),
        Doc::new("statement", 200, object(&statement)).session().path("id", id("acc-0001-1")).problems(&[404]),
        Doc::new("payee", 200, verified).session().body(payee),
        Doc::new("transfer", 202, pending).session().once().body(ask).links(&["outbox", "confirm"]),
        Doc::new("outbox", 200, object(&[("text", text()), ("code", pattern("^[0-9]{6}$"))]))
            .session()
            .path("id", id("tr-00000000000000000000000000000000"))
            .problems(&[404]),
        Doc::new("confirm", 200, booked)
            .session()
            .path("id", id("tr-00000000000000000000000000000000"))
            .body(confirm)
            .problems(&[403, 404, 409, 410]),
    ]
}

pub(super) fn rails() -> Vec<Doc> {
    let telephone = || with_example(pattern("^\\+[0-9]{8,15}$"), "+33600000001");
    let card = object(&[
        ("pan", with_example(pattern("^[0-9]{12,19}$"), crate::ids::card(1))),
        ("amount_cents", json!({"type": "integer", "minimum": 1, "maximum": i64::MAX, "examples": [100]})),
        ("currency", euro()),
        ("terminal", with_example(pattern("^[A-Z0-9]{1,16}$"), "T1")),
        ("stan", with_example(pattern("^[0-9]{6}$"), "000001")),
        ("merchant", with_example(line(1, 40), "Boulangerie")),
    ]);
    let code = one_of(&["00", "14", "51", "61"]);
    let approved = json!({"type": "boolean"});
    let result = object(&[("approved", approved), ("code", code), ("authorisation", pattern("^[0-9]{6,}$"))]);
    let sms = object(&[("to", telephone()), ("text", with_example(line(1, 160), "Code 000042"))]);
    let queued = object(&[("id", pattern("^sms-[0-9a-f]{32}$")), ("status", one_of(&["queued"]))]);
    let instant = object(&[
        ("payer_alias", telephone()),
        ("payee_alias", with_example(telephone(), "+33600000002")),
        ("amount_cents", with_example(number(1, TRANSFER_CENTS_MAX), 100)),
    ]);
    let settled = object_with(
        &[("id", pattern("^ip-[0-9a-f]{32}$")), ("status", one_of(&["ACSC", "RJCT"]))],
        &[("reason", one_of(&["AM04", "BE06"]))],
    );
    let payment = object(&[
        ("pan", with_example(pattern("^[0-9]{12,19}$"), crate::ids::card(1))),
        ("amount_cents", with_example(number(1, crate::bounds::CARD_CENTS_MAX), 100)),
        ("currency", euro()),
        ("merchant", with_example(line(1, 40), "Librairie du Port")),
    ]);
    let payment_id = || pattern("^pay-[0-9a-f]{32}$");
    let challenge = object(&[
        ("id", payment_id()),
        ("status", one_of(&["challenge"])),
        ("amount_cents", whole()),
        ("currency", euro()),
        ("merchant", text()),
        ("telephone_end", pattern("^[0-9]{2}$")),
        ("expires_at", time()),
        ("confirm", text()),
    ]);
    let said = object(&[
        ("code", text()),
        ("amount_cents", json!({"type": "integer", "format": "int64"})),
        ("merchant", text()),
    ]);
    let none_or = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let decided = object(&[
        ("id", payment_id()),
        ("status", one_of(&["approved", "refused"])),
        ("code", pattern("^[0-9]{2}$")),
        ("approval", none_or(pattern("^[0-9]{6}$"))),
        ("cavv", none_or(text())),
    ]);
    vec![
        Doc::new("payment", 202, challenge).once().body(payment).problems(&[429]).links(&["payment-code"]),
        Doc::new("payment-code", 200, decided)
            .path("id", id("pay-00000000000000000000000000000000"))
            .body(said)
            .problems(&[403, 404, 410]),
        // Terminal and trace number are its idempotency key.
        Doc::new("card", 200, result).body(card).problems(&[409]),
        Doc::new("sms", 202, queued).once().body(sms).problems(&[429]),
        Doc::new("instant", 200, settled).once().body(instant),
    ]
}
