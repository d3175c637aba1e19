//! Parcels and counters.

use super::{
    Doc, id, line, list, number, object, object_with, one_of, pattern, sha256, text, time, whole, with_example,
};
use crate::bounds::COUNTER_CENTS_MAX;
use crate::ids;
use crate::parcels::tracking;
use serde_json::{Value, json};

/// Its shape; the check digit is checked too.
fn s10() -> Value {
    with_example(pattern("^[A-Z]{2}[0-9]{9}[A-Z]{2}$"), ids::parcel(1))
}

pub(super) fn counter() -> Vec<Doc> {
    let place = || with_example(pattern("^[A-Z0-9]{1,12}$"), "PARIS1");
    let kind = one_of(&["deposit", "withdrawal", "stamps", "parcel"]);
    let amount = with_example(number(1, COUNTER_CENTS_MAX), 139);
    let said = [("office", place()), ("terminal", place()), ("kind", kind), ("amount_cents", amount)];
    let ask = object_with(&said, &[("reference", line(0, 35))]);
    let kept = [
        ("id", text()),
        ("sequence", number(1, i64::MAX)),
        ("currency", one_of(&["EUR"])),
        ("reference", text()),
        ("at", time()),
        ("previous", pattern("^([0-9a-f]{64})?$")),
        ("hash", sha256()),
    ];
    let entry = object(&said.into_iter().chain(kept).collect::<Vec<_>>());
    vec![
        Doc::new("operation", 201, entry.clone()).once().body(ask).links(&["receipt"]),
        Doc::new("receipt", 200, entry).path("id", id("op-0001")).problems(&[404]),
    ]
}

pub(super) fn parcels() -> Vec<Doc> {
    let scan_id = || with_example(pattern("^[A-Za-z0-9_-]{8,64}$"), "scan-0001");
    let code = || one_of(&tracking::codes());
    let scan = object(&[
        ("scan_id", scan_id()),
        ("parcel", s10()),
        ("code", code()),
        ("site", with_example(line(1, 60), "Paris Louvre")),
        ("event_at", with_example(time(), "2026-01-05T10:00:00Z")),
    ]);
    let recorded = object(&[
        ("scan_id", scan_id()),
        ("parcel", s10()),
        ("code", code()),
        ("label", text()),
        ("event_at", time()),
        ("recorded_at", time()),
    ]);
    vec![
        // The scan's own id is its idempotency key.
        Doc::new("scan", 201, recorded).body(scan).problems(&[404, 409]),
        Doc::new("tracking", 200, tracked())
            .path("id", s10())
            .query("lang", false, one_of(&["", "fr_FR", "en_GB"]))
            .problems(&[404]),
        quote(),
    ]
}

fn tracked() -> Value {
    let zoned = pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\+0000$");
    let maybe = json!({"anyOf": [zoned, {"type": "null"}]});
    let event = object(&[("code", one_of(&tracking::codes())), ("label", text()), ("date", zoned.clone())]);
    let step = object(&[
        ("id", number(1, 5)),
        ("shortLabel", text()),
        ("longLabel", json!({"type": ["string", "null"]})),
        ("date", maybe.clone()),
        ("country", text()),
        ("status", json!({"type": "boolean"})),
        ("type", whole()),
    ]);
    let choice = object(&[("deliveryChoice", whole())]);
    let context = object(&[("deliveryChoice", choice), ("originCountry", text()), ("arrivalCountry", text())]);
    let shipment = object(&[
        ("idShip", s10()),
        ("holder", whole()),
        ("product", text()),
        ("isFinal", json!({"type": "boolean"})),
        ("entryDate", zoned),
        ("deliveryDate", maybe.clone()),
        ("estimDate", maybe),
        ("url", text()),
        ("event", list(&event)),
        ("timeline", list(&step)),
        ("contextData", context),
    ]);
    object(&[("lang", one_of(&["fr_FR", "en_GB"])), ("scope", text()), ("returnCode", whole()), ("shipment", shipment)])
}

/// The sides together are bounded too, at 2,000 mm.
fn quote() -> Doc {
    let side = || with_example(number(10, 1500), 200);
    let ask = object(&[
        ("from_postcode", with_example(pattern("^[0-9]{5}$"), "75001")),
        ("to_country", one_of(&["FR", "BE", "CH", "DE", "ES", "GB", "IT", "LU"])),
        ("weight_g", with_example(number(1, 30_000), 750)),
        ("length_mm", side()),
        ("width_mm", side()),
        ("height_mm", side()),
    ]);
    let offer = object(&[
        ("product", one_of(&["small", "standard", "signature"])),
        ("price_cents", number(1, 1_000_000)),
        ("days", number(1, 30)),
        ("tracked", json!({"type": "boolean"})),
    ]);
    let offers = json!({"type": "array", "items": offer, "minItems": 2, "maxItems": 3});
    let answer = object(&[
        ("currency", one_of(&["EUR"])),
        ("charged_weight_g", number(1, 30_000)),
        ("zone", number(1, 3)),
        ("offers", offers),
    ]);
    Doc::new("quote", 200, answer).body(ask)
}
