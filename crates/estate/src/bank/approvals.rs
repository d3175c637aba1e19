//! Approval of a transfer in the application, which falls back to the text message: where the application can't be reached, or its
//! user does not answer within some seconds, the code goes out as if nobody had asked it.
//!
//! The code is made and bound at the start in any case, so that nothing is missing when the application is.

use super::{Bank, instant, transfers};
use crate::bounds::{APPROVAL_PATIENCE, CODE_LIFE_MS};
use crate::estate_key::HEADER;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::service::Service;
use crate::store::now_ms;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

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
        let waits: Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("SELECT 1 FROM transfer WHERE id = $1 AND status = 'pending'")
                .bind(&message.id)
                .fetch_optional(&bank.kit.store.reader)
                .await;
        drop(place);
        // A store that does not answer is no reason to keep the code back.
        if !matches!(waits, Ok(None)) {
            bank.messages.hand_over(message.id, message.telephone, message.text);
        }
    });
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
