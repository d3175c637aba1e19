//! What other banks send: a transfer is decided here, by the rails' own directory, and credited by the bank as soon as it is there.
//!
//! The decision is durable before it is told; the same message again has the same answer.

use super::{Pacs, directory, is_own};
use crate::bounds::{INSTANT_AHEAD_MS, INSTANT_CUT_OFF_MS, INTERNAL_CENTS_MAX};
use crate::once::hash;
use crate::problem::Problem;
use crate::rails::advices;
use crate::store::{Tx, now_ms};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use guichet_iso20022::{Fault, Message, Payee, Refusal, Report, Request, Status, Transfer};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

/// `POST /pacs`
pub(super) async fn take(State(pacs): State<Pacs>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !matches!(kind.split(';').next().unwrap_or("").trim(), "application/xml" | "text/xml") {
        let detail = "the body must be XML, with content-type: application/xml";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
    }
    match Message::read(&body) {
        Ok(Message::Transfer(transfer)) => decided(&pacs, &transfer).await,
        Ok(Message::Request(request)) => told(&pacs, &request).await,
        Ok(Message::Report(report)) => {
            super::outbound::settle(&pacs, &report).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(Fault::Refused(refusal)) => answer(refused(&refusal)),
        Err(Fault::Unreadable(words)) => Err(Problem::malformed(words)),
    }
}

fn answer(report: Report) -> Result<Response, Problem> {
    let text = Message::Report(report).write().map_err(|error| Problem::internal(&error))?;
    Ok(xml(text))
}

fn xml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/xml; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], text)
        .into_response()
}

fn report(original_message: &str, original: &str, end_to_end: &str, why_not: Option<(&str, &str)>) -> Report {
    let (reason, words) = why_not.unwrap_or_default();
    Report {
        message: uuid::Uuid::new_v4().simple().to_string(),
        made_ms: now_ms(),
        original_message: original_message.to_owned(),
        original: original.to_owned(),
        end_to_end: end_to_end.to_owned(),
        status: if why_not.is_none() { Status::Settled } else { Status::Rejected },
        reason: reason.to_owned(),
        words: words.to_owned(),
    }
}

fn refused(it: &Refusal) -> Report {
    report(&it.message, &it.transaction, &it.end_to_end, Some((it.reason, &it.words)))
}

#[derive(sqlx::FromRow)]
struct Known {
    body_hash: Vec<u8>,
    answer: String,
}

async fn decided(pacs: &Pacs, it: &Transfer) -> Result<Response, Problem> {
    // As it was understood: another layout of the same message is the same message.
    let canonical = Message::Transfer(it.clone()).write().map_err(|error| Problem::internal(&error))?;
    let body_hash = hash(canonical.as_bytes());
    let mut tx = pacs.kit.store.begin().await?;
    let known: Option<Known> =
        sqlx::query_as("SELECT body_hash, answer FROM pacs_in WHERE sender = $1 AND (id = $2 OR message = $3)")
            .bind(&it.payer_bic)
            .bind(&it.id)
            .bind(&it.message)
            .fetch_optional(&mut *tx)
            .await?;
    match known {
        Some(known) if known.body_hash == body_hash => return Ok(xml(known.answer)),
        Some(_) => {
            let why = ("DUPL", "MsgId and TxId were used for something else");
            return answer(report(&it.message, &it.id, &it.end_to_end, Some(why)));
        }
        None => {}
    }
    let now = now_ms();
    let decision = decide(&mut tx, it, now).await?;
    let (iban, why_not) = match &decision {
        Ok(iban) => (iban.as_str(), None),
        Err(why_not) => ("", Some(*why_not)),
    };
    let report = report(&it.message, &it.id, &it.end_to_end, why_not);
    let status = if why_not.is_none() { "ACSC" } else { "RJCT" };
    let text = Message::Report(report).write().map_err(|error| Problem::internal(&error))?;
    let names = hash(format!("{}\n{}", it.payer_bic, it.id).as_bytes());
    let operation = format!("in-{}", &hex::encode(names)[..40]);
    sqlx::query(
        "INSERT INTO pacs_in (sender, id, message, body_hash, status, iban, amount_cents, operation, answer, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&it.payer_bic)
    .bind(&it.id)
    .bind(&it.message)
    .bind(&body_hash[..])
    .bind(status)
    .bind(iban)
    .bind(it.amount_cents)
    .bind(&operation)
    .bind(&text)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if why_not.is_none() {
        let reference: String = it.payer_name.chars().take(70).collect();
        let mut reference = format!("{reference} {}", it.text).trim().to_owned();
        while reference.len() > 140 {
            reference.pop();
        }
        let body = json!({
            "id": operation, "account": iban, "amount_cents": it.amount_cents, "kind": "instant-credit", "reference": reference,
        });
        advices::put(&mut tx, &operation, "/internal/credits", &body).await?;
    }
    tx.commit().await?;
    pacs.bell.notify_one();
    Ok(xml(text))
}

/// The IBAN to credit, or why not.
async fn decide(tx: &mut Tx, it: &Transfer, now: i64) -> Result<Result<String, (&'static str, &'static str)>, Problem> {
    if !is_own(&it.payee_bic) {
        return Ok(Err(("RC04", "CdtrAgt is another bank")));
    }
    if it.accepted_ms > now + INSTANT_AHEAD_MS {
        return Ok(Err(("DT01", "AccptncDtTm is in the future")));
    }
    if now > it.accepted_ms + INSTANT_CUT_OFF_MS {
        return Ok(Err(("AB05", "the time for this transfer is over")));
    }
    if it.amount_cents > INTERNAL_CENTS_MAX {
        return Ok(Err(("AM02", "more than one transfer may have")));
    }
    let iban = match &it.payee {
        Payee::Iban(iban) => {
            let known: Option<String> = sqlx::query_scalar("SELECT iban FROM account WHERE iban = $1")
                .bind(iban)
                .fetch_optional(&mut **tx)
                .await?;
            known.ok_or(("AC01", "there is no such account"))
        }
        Payee::Telephone(alias) | Payee::Email(alias) => {
            directory::find(tx, alias).await?.ok_or(("BE06", "nobody has this alias"))
        }
    };
    Ok(iban)
}

/// What became of a transfer that another bank asks about.
async fn told(pacs: &Pacs, it: &Request) -> Result<Response, Problem> {
    let known: Option<String> = sqlx::query_scalar("SELECT answer FROM pacs_in WHERE id = $1 AND message = $2")
        .bind(&it.original)
        .bind(&it.original_message)
        .fetch_optional(&pacs.kit.store.reader)
        .await?;
    match known {
        Some(text) => Ok(xml(text)),
        None => answer(report(&it.original_message, &it.original, "", Some(("NOOR", "this transfer has not come")))),
    }
}
