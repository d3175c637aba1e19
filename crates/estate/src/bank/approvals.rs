//! Approval of a transfer in the application, which falls back to the text message: where the application can't be reached, or its
//! user does not answer within some seconds, the code goes out as if nobody had asked it.
//!
//! The code is made and bound at the start in any case, so that nothing is missing when the application is.

use super::{Bank, instant, transfers};
use crate::bounds::{APPROVAL_PATIENCE, BANK_SMS_AT_ONCE_MAX, CODE_LIFE_MS};
use crate::credentials::User;
use crate::estate_key::HEADER;
use crate::ids;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::service::Service;
use crate::store::now_ms;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The text message that waits.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) telephone: String,
    pub(super) text: String,
}

/// Asks the application, while the client has its answer already.
pub(super) fn ask(bank: &Bank, message: Message, question: Value) {
    // As many at once as text messages; beyond, the message goes at once.
    let Some(place) = bank.messages.place() else {
        return bank.messages.hand_over(message.id, message.telephone, message.text);
    };
    let bank = bank.clone();
    tokio::spawn(async move {
        if put(&bank, &question).await {
            tokio::time::sleep(APPROVAL_PATIENCE).await;
        }
        let waits = still_waits(&bank, &message.id).await;
        drop(place);
        // A store that does not answer is no reason to keep the code back.
        if waits.unwrap_or(true) {
            bank.messages.hand_over(message.id, message.telephone, message.text);
        }
    });
}

/// Takes up the messages that waited when this bank ended, with an application or with the rails. Which went out is the rails'
/// to know: under the same id a message is sent once.
pub(super) fn resume(bank: &Bank) {
    let bank = bank.clone();
    tokio::spawn(async move {
        if let Err(error) = take_up(&bank).await {
            eprintln!("guichet-estate: bank: messages that waited stay in the outbox: {error}");
        }
    });
}

async fn take_up(bank: &Bank) -> Result<(), sqlx::Error> {
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
        "SELECT t.id, t.owner, t.asked_ms, o.text FROM outbox o JOIN transfer t ON t.id = o.transfer
         WHERE t.status = 'pending' AND t.asked_ms > $1 ORDER BY t.asked_ms, t.id LIMIT $2",
    )
    .bind(now_ms() - CODE_LIFE_MS)
    .bind(BANK_SMS_AT_ONCE_MAX as i64)
    .fetch_all(&bank.kit.store.reader)
    .await?;
    let patience_ms = APPROVAL_PATIENCE.as_millis() as i64;
    for (id, owner, asked_ms, text) in rows {
        let Some(user) = User::from_name(&owner) else { continue };
        // Whether the application was asked is not written down: each has the time to answer.
        let left_ms = (asked_ms + patience_ms - now_ms()).clamp(0, patience_ms);
        tokio::time::sleep(Duration::from_millis(left_ms.unsigned_abs())).await;
        if still_waits(bank, &id).await? {
            bank.messages.hand_over(id, ids::telephone(user.n), text);
        }
    }
    Ok(())
}

/// Whether nobody has decided about a transfer.
async fn still_waits(bank: &Bank, id: &str) -> Result<bool, sqlx::Error> {
    let waits: Option<i64> =
        sqlx::query_scalar("SELECT CAST(1 AS BIGINT) FROM transfer WHERE id = $1 AND status = 'pending'")
            .bind(id)
            .fetch_optional(&bank.kit.store.reader)
            .await?;
    Ok(waits.is_some())
}

/// Whether the application has the question.
async fn put(bank: &Bank, question: &Value) -> bool {
    let Some(key) = &bank.key else { return false };
    let headers = [("content-type", "application/json"), (HEADER, key.text())];
    let asked = bank.kit.peers.call(Service::App, "POST", "/internal/approvals", &headers, question.to_string()).await;
    asked.is_ok_and(|answer| answer.status.is_success())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    id: String,
    user: String,
    amount_cents: i64,
    payee_iban: String,
    approved: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    payer: String,
    payee_iban: String,
    amount_cents: i64,
    reference: String,
    status: String,
    asked_ms: i64,
    instant_ms: Option<i64>,
}

/// `POST /internal/approvals`: what the user decided in the application, about what it showed: another amount or payee is refused.
/// The same again changes nothing.
pub(super) async fn decided(State(bank): State<Bank>, body: Json<Decided>) -> Result<Response, Problem> {
    let said = &body.value;
    let mut tx = bank.kit.store.begin().await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT payer, payee_iban, amount_cents, reference, status, asked_ms, instant_ms FROM transfer WHERE id = $1 AND owner = $2",
    )
    .bind(&said.id)
    .bind(&said.user)
    .fetch_optional(&mut *tx)
    .await?;
    let row = row.ok_or_else(|| Problem::not_found("transfer"))?;
    if row.amount_cents != said.amount_cents || row.payee_iban != said.payee_iban {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-code",
            "this is not the amount or the payee of the transfer",
        ));
    }
    let mut handed_on = false;
    let status = match (row.status.as_str(), said.approved) {
        ("void", true) if row.instant_ms.is_some() => "booked",
        ("void", false) if row.instant_ms.is_some() => return Err(gone()),
        ("booked", true) => "booked",
        ("void", false) => "void",
        ("pending", _) if row.asked_ms <= now_ms() - CODE_LIFE_MS => return Err(gone()),
        ("pending", true) => {
            let (id, payer, payee) = (&said.id, &row.payer, &row.payee_iban);
            let journal = transfers::book(&mut tx, id, payer, payee, row.amount_cents, &row.reference).await?;
            handed_on = journal.is_none();
            "booked"
        }
        ("pending", false) => {
            sqlx::query("UPDATE transfer SET status = 'void' WHERE id = $1").bind(&said.id).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM outbox WHERE transfer = $1").bind(&said.id).execute(&mut *tx).await?;
            "void"
        }
        _ => return Err(gone()),
    };
    tx.commit().await?;
    if handed_on {
        instant::hand_on(&bank, &said.id);
    }
    Ok(private(json!({"id": said.id, "status": status})))
}

fn gone() -> Problem {
    Problem::new(StatusCode::GONE, "void", "this transfer was decided otherwise, or waited too long")
}
