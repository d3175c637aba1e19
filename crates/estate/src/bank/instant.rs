//! Transfers to an alias, and those to other banks that are carried out at once: the bank has the payer's yes, the rails do the rest.
//!
//! What became of one stands in the operation that the rails made at this bank under the transfer's id: booked, or void.

use super::Bank;
use crate::bounds::INSTANT_CUT_OFF_MS;
use crate::estate_key::HEADER;
use crate::ids;
use crate::peers::{PeerAnswer, PeerError};
use crate::problem::Problem;
use crate::seed;
use crate::service::Service;
use crate::store::now_ms;
use crate::verify::{Invariant, zero};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const SCHEMA: &str =
    "ALTER TABLE transfer ADD COLUMN payee_bic TEXT; ALTER TABLE transfer ADD COLUMN instant_ms INTEGER;";

pub(super) const INVARIANT: Invariant = zero(
    "an instant transfer moved its payer's money once at most, and as much as the payer said",
    "SELECT count(*) FROM transfer t JOIN operation o ON o.id = t.id WHERE t.instant_ms IS NULL OR o.account <> t.payer
     OR (o.status IN ('pending', 'booked') AND o.amount_cents <> t.amount_cents)",
);

/// Between two tries to reach the rails.
const PAUSE: Duration = Duration::from_millis(300);
/// After this, what the rails do not know of they will not do.
const UNKNOWN_AFTER_MS: i64 = 30_000;

/// Whose account an alias stands for.
pub(super) struct Found {
    pub(super) iban: String,
    /// Of another bank; `None` for ours.
    pub(super) bic: Option<String>,
}

/// Asks the rails, with the estate's key.
///
/// # Errors
/// When there is no answer.
pub(super) async fn ask_rails(bank: &Bank, path: &str, body: &Value) -> Result<PeerAnswer, PeerError> {
    let key = bank.key.as_ref().ok_or(PeerError::Unknown)?;
    let headers = [("content-type", "application/json"), (HEADER, key.text())];
    bank.kit.peers.call(Service::Rails, "POST", path, &headers, body.to_string()).await
}

/// Looks an alias up; `None` where nobody has it.
///
/// # Errors
/// When the rails can't be asked.
pub(super) async fn find(bank: &Bank, owner: &str, alias: &str) -> Result<Option<Found>, Problem> {
    let away = |_| Problem::busy("aliases can't be looked up at the moment; an IBAN works");
    let answer = ask_rails(bank, "/internal/lookups", &json!({"owner": owner, "alias": alias})).await.map_err(away)?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => return Ok(None),
        StatusCode::TOO_MANY_REQUESTS => {
            let words = "too many aliases were looked up within an hour; an IBAN works";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "lookups", words));
        }
        _ => return Err(Problem::busy("aliases can't be looked up at the moment; an IBAN works")),
    }
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let iban = told["iban"].as_str().and_then(ids::iban_checked);
    let bic = told["bic"].as_str().filter(|_| told["own"] != true).map(str::to_owned);
    Ok(iban.map(|iban| Found { iban, bic }))
}

#[derive(sqlx::FromRow)]
struct Row {
    owner: String,
    payer: String,
    payer_iban: String,
    payee_iban: String,
    payee_name: String,
    payee_bic: Option<String>,
    amount_cents: i64,
    reference: String,
    instant_ms: Option<i64>,
}

/// Hands a transfer that its payer confirmed to the rails, for as long as it can still be carried out. Its answer does not matter here:
/// the rails make the operation, or they do not.
pub(super) fn hand_on(bank: &Bank, id: &str) {
    let (bank, id) = (bank.clone(), id.to_owned());
    // As many at once as transfers may be confirmed within the seconds that it takes.
    tokio::spawn(async move {
        if let Err(problem) = try_to_hand_on(&bank, &id).await {
            eprintln!("guichet-estate: bank: instant transfer {id}: {}", problem.detail);
        }
    });
}

async fn try_to_hand_on(bank: &Bank, id: &str) -> Result<(), Problem> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT t.owner, t.payer, a.iban AS payer_iban, t.payee_iban, t.payee_name, t.payee_bic, t.amount_cents, t.reference, t.instant_ms
         FROM transfer t JOIN account a ON a.id = t.payer WHERE t.id = $1",
    )
    .bind(id)
    .fetch_optional(&bank.kit.store.reader)
    .await?;
    let Some((row, accepted_ms)) = row.and_then(|row| row.instant_ms.map(|ms| (row, ms))) else { return Ok(()) };
    let payer = ids::user_number(&row.owner).map(seed::name);
    let payer_name = payer.map_or_else(|| row.owner.clone(), |(given, family)| format!("{given} {family}"));
    let order = json!({
        "id": id, "account": row.payer, "payer_name": payer_name, "payer_iban": row.payer_iban, "payee_name": row.payee_name,
        "payee_iban": row.payee_iban, "payee_bic": row.payee_bic, "amount_cents": row.amount_cents, "reference": row.reference,
        "accepted_ms": accepted_ms,
    });
    while now_ms() < accepted_ms + INSTANT_CUT_OFF_MS {
        match ask_rails(bank, "/internal/instant", &order).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) if answer.status.is_client_error() => {
                return Err(Problem::invalid(format!("the rails refuse it with status {}", answer.status)));
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(Problem::busy("the rails can't be reached; it is not carried out"))
}

/// What became of a transfer that was handed on: `booked`, `not-done`, or `sent` while nobody knows.
pub(super) async fn outcome(bank: &Bank, id: &str, instant_ms: i64) -> Result<&'static str, Problem> {
    let status: Option<String> = sqlx::query_scalar("SELECT status FROM operation WHERE id = $1")
        .bind(id)
        .fetch_optional(&bank.kit.store.reader)
        .await?;
    Ok(match status.as_deref() {
        Some("booked") => "booked",
        Some("pending" | "expired") => "sent",
        Some(_) => "not-done",
        None if now_ms() < instant_ms + UNKNOWN_AFTER_MS => "sent",
        None => "not-done",
    })
}
