//! Tracking of parcels, in the shape that public tracking interfaces have: newest event first.
//!
//! Late scans take their place by the time of the event. What was delivered stays delivered, whatever comes in later.

use super::checked;
use crate::bounds::IDSHIPS_AT_ONCE_MAX;
use crate::ids;
use crate::kit::{Kit, Told};
use crate::problem::Problem;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// Codes of events, with their labels in French and English and the step of the way that they belong to.
const EVENTS: [(&str, &str, &str, u8); 21] = [
    ("DR1", "Déclaratif réceptionné", "Announced by the sender", 1),
    ("PC1", "Pris en charge", "Taken in charge", 2),
    ("PC2", "Pris en charge dans le pays d'expédition", "Taken in charge in the country of origin", 2),
    ("ET1", "En cours de traitement", "Being processed", 3),
    ("ET2", "En cours de traitement dans le pays d'expédition", "Being processed in the country of origin", 3),
    ("ET3", "En cours de traitement dans le pays de destination", "Being processed in the country of destination", 3),
    ("ET4", "En cours de traitement dans un pays de transit", "Being processed in transit", 3),
    ("EP1", "En attente de présentation", "Waiting to be presented", 3),
    ("DO1", "Entrée en douane", "Entered customs", 3),
    ("DO2", "Sortie de douane", "Left customs", 3),
    ("DO3", "Retenu en douane", "Held by customs", 3),
    ("PB1", "Problème en cours", "Problem being solved", 3),
    ("PB2", "Problème résolu", "Problem solved", 3),
    ("MD2", "Mis en distribution", "Out for delivery", 4),
    ("ND1", "Non distribuable", "Could not be delivered", 4),
    ("AG1", "En attente d'être retiré au guichet", "Waiting to be collected at a post office", 4),
    ("RE1", "Retourné à l'expéditeur", "Returned to the sender", 4),
    ("DI0", "Distribution prévue", "Delivery planned", 4),
    ("DI1", "Distribué", "Delivered", 5),
    ("DI2", "Distribué à l'expéditeur", "Delivered back to the sender", 5),
    ("DI3", "Retardé", "Delayed", 4),
];
const STEPS: [(&str, &str); 5] = [
    ("Annoncé", "Announced"),
    ("Pris en charge", "Taken in charge"),
    ("En cours d'acheminement", "On its way"),
    ("Arrivé sur le site de distribution", "At the delivery office"),
    ("Livré", "Delivered"),
];

/// The codes of events.
pub(crate) fn codes() -> [&'static str; EVENTS.len()] {
    EVENTS.map(|event| event.0)
}

/// The label of an event code, in French or else in English.
pub(crate) fn label(code: &str, french: bool) -> Option<&'static str> {
    EVENTS.iter().find(|event| event.0 == code).map(|event| if french { event.1 } else { event.2 })
}

/// The step (1 to 5) that a code belongs to.
pub(crate) fn step(code: &str) -> u8 {
    EVENTS.iter().find(|event| event.0 == code).map_or(1, |event| event.3)
}

/// A time as the interface writes it: with an offset, without fractions.
fn time(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

#[derive(Deserialize)]
pub(super) struct Language {
    #[serde(default)]
    lang: String,
}

/// Whether a language is French, if it is one of ours.
fn is_french(lang: &str) -> Option<bool> {
    match lang {
        "" | "fr_FR" => Some(true),
        "en_GB" | "en_US" => Some(false),
        _ => None,
    }
}

/// `GET /tracking/{id}`
pub(super) async fn tracking(
    State(kit): State<Kit>,
    Path(id): Path<String>,
    Query(Language { lang }): Query<Language>,
) -> Result<Response, Problem> {
    let french = is_french(&lang).ok_or_else(|| Problem::malformed("lang takes fr_FR, en_GB or en_US"))?;
    let id = checked(&id)?;
    let shipment = shipment(&kit, &id, french).await?.ok_or_else(|| Problem::not_found("parcel"))?;
    Ok((cached(), axum::Json(told(shipment, french))).into_response())
}

fn cached() -> [(header::HeaderName, &'static str); 1] {
    [(header::CACHE_CONTROL, "public, max-age=30, stale-if-error=86400")]
}

fn lang_of(french: bool) -> &'static str {
    if french { "fr_FR" } else { "en_GB" }
}

fn told(shipment: Value, french: bool) -> Value {
    json!({"lang": lang_of(french), "scope": "open", "returnCode": 200, "shipment": shipment})
}

/// `GET /suivi/v2/idships/{ids}`: as the clients of the public interface know it: several identifiers with commas between, a key in
/// a header, its own shape of errors.
pub(super) async fn idships(
    State(kit): State<Kit>,
    Path(list): Path<String>,
    Query(Language { lang }): Query<Language>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = headers.get("x-okapi-key").and_then(|key| key.to_str().ok());
    if !key.is_some_and(|key| ids::plain(key, 16, 128, "+/=-_")) {
        let body = json!({"code": "UNAUTHORIZED", "message": "X-Okapi-Key takes the key of an application"});
        return Ok(marked(StatusCode::UNAUTHORIZED, body));
    }
    let list: Vec<&str> = list.split(',').collect();
    let Some(french) = is_french(&lang).filter(|_| list.len() <= IDSHIPS_AT_ONCE_MAX) else {
        let words = format!("lang takes fr_FR or en_US, and {IDSHIPS_AT_ONCE_MAX} items are told at once");
        return Ok(marked(StatusCode::BAD_REQUEST, refused(400, "", &words, true)));
    };
    let mut answers = Vec::with_capacity(list.len());
    for told_id in &list {
        answers.push(match checked(told_id) {
            Err(problem) => refused(400, told_id, &problem.detail, french),
            Ok(id) => match shipment(&kit, &id, french).await? {
                Some(shipment) => told(shipment, french),
                None => refused(404, &id, "no item of this number is known", french),
            },
        });
    }
    if let [_] = list[..] {
        let answer = answers.remove(0);
        let status =
            answer["returnCode"].as_u64().and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        return Ok(match status {
            Some(StatusCode::OK) => (cached(), axum::Json(answer)).into_response(),
            status => marked(status.unwrap_or(StatusCode::BAD_REQUEST), answer),
        });
    }
    Ok((StatusCode::MULTI_STATUS, cached(), axum::Json(answers)).into_response())
}

fn refused(code: u16, id: &str, words: &str, french: bool) -> Value {
    let id: String = id.chars().take(40).collect();
    json!({"lang": lang_of(french), "scope": "open", "returnCode": code, "returnMessage": words, "idShip": id})
}

/// An error in the shape of this interface.
fn marked(status: StatusCode, body: Value) -> Response {
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response();
    response.extensions_mut().insert(Told);
    response
}

/// What is told of an item; nothing for one that is not known.
async fn shipment(kit: &Kit, id: &str, french: bool) -> Result<Option<Value>, Problem> {
    let parcel: Option<(String, i64, String)> =
        sqlx::query_as("SELECT product, entry_ms, to_country FROM parcel WHERE id = $1")
            .bind(id)
            .fetch_optional(&kit.store.reader)
            .await?;
    let Some((product, entry_ms, to_country)) = parcel else { return Ok(None) };
    let events: Vec<Scanned> = sqlx::query_as(
        "SELECT code, site, event_ms FROM scan WHERE parcel = $1 ORDER BY event_ms DESC, recorded_ms DESC, id",
    )
    .bind(id)
    .fetch_all(&kit.store.reader)
    .await?;
    let delivered = events.iter().rfind(|event| step(&event.0) == 5);
    Ok(Some(json!({
        "idShip": id,
        "holder": 4,
        "product": product,
        "isFinal": delivered.is_some(),
        "entryDate": time(entry_ms),
        "deliveryDate": delivered.map(|event| time(event.2)),
        "estimDate": delivered.is_none().then(|| time(entry_ms + 5 * 24 * 3_600_000)),
        "url": format!("//portal.localhost/suivi?id={id}"),
        "event": events.iter().map(|event| event_json(event, french)).collect::<Vec<_>>(),
        "timeline": timeline(&events, french, delivered.is_some()),
        "contextData": {"deliveryChoice": {"deliveryChoice": 0}, "originCountry": "FR", "arrivalCountry": to_country},
    })))
}

/// Code, site, time of the event.
type Scanned = (String, String, i64);

fn event_json((code, site, at): &Scanned, french: bool) -> Value {
    json!({"code": code, "label": format!("{} ({site})", label(code, french).unwrap_or(code)), "date": time(*at)})
}

/// The five steps of the way: each with the time of its first event, and whether it was reached.
fn timeline(events: &[Scanned], french: bool, delivered: bool) -> Vec<Value> {
    let reached = if delivered { 5 } else { events.iter().map(|event| step(&event.0)).max().unwrap_or(0) };
    (1..=5u8)
        .zip(STEPS)
        .map(|(id, (fr, en))| {
            // Newest first, so the last is the earliest.
            let first = events.iter().rfind(|event| step(&event.0) == id);
            json!({
                "id": id, "shortLabel": if french { fr } else { en },
                "longLabel": first.and_then(|event| label(&event.0, french)),
                "date": first.map(|event| time(event.2)), "country": "FR", "status": id <= reached, "type": 1,
            })
        })
        .collect()
}
