//! Transfers that the bank asks the user to approve here. What is decided is told to the bank before the user is answered: the
//! bank books or voids, once, however often it is told.

use super::App;
use crate::bounds::APPROVALS_WAITING_PER_USER_MAX;
use crate::estate_key::{Door, HEADER};
use crate::ids;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::service::Service;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

pub(super) const SCHEMA: &str = "
ALTER TABLE approval ADD COLUMN payee_iban TEXT;
ALTER TABLE approval ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: String,
    user: String,
    amount_cents: i64,
    payee_iban: String,
    payee_name: String,
}

pub(super) fn routes(app: App) -> Router {
    let door = Door::new(app.key.clone());
    door.before(Router::new().route("/internal/approvals", post(put)).with_state(app))
}

/// `POST /internal/approvals`: for the bank alone. The same again changes nothing.
async fn put(State(app): State<App>, body: Json<Question>) -> Result<Response, Problem> {
    let Question { id, user, amount_cents, payee_iban, payee_name } = &body.value;
    if ids::user_number(user).is_none() || !ids::plain(id, 8, 64, "-_") || payee_name.chars().count() > 140 {
        return Err(Problem::invalid("this is no question that a user could answer"));
    }
    let payee = if payee_name.is_empty() { payee_iban } else { payee_name };
    let mut tx = app.kit.store.begin().await?;
    // Those of the test data stay; of transfers the newest wait.
    sqlx::query(
        "DELETE FROM approval WHERE id IN (SELECT id FROM approval WHERE owner = $1 AND payee_iban IS NOT NULL
         ORDER BY rank DESC LIMIT 9223372036854775807 OFFSET $2)",
    )
    .bind(user)
    .bind(APPROVALS_WAITING_PER_USER_MAX - 1)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO approval (id, owner, merchant, amount_cents, status, payee_iban, rank) VALUES ($1, $2, $3, $4, 'waiting', $5,
         (SELECT coalesce(max(rank), 0) + 1 FROM approval WHERE owner = $2)) ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(user)
    .bind(payee)
    .bind(amount_cents)
    .bind(payee_iban)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(private(json!({"id": id, "status": "waiting"})))
}

/// Tells the bank what a user decided about a transfer.
///
/// # Errors
/// When the bank can't be reached (the code by text message comes then), or has decided otherwise.
pub(super) async fn tell_bank(
    app: &App,
    user: &str,
    (id, amount_cents, payee_iban): (&str, i64, &str),
    approved: bool,
) -> Result<(), Problem> {
    let away = || Problem::busy("the bank can't be reached: a code comes by text message");
    let key = app.key.as_ref().ok_or_else(away)?;
    let headers = [("content-type", "application/json"), (HEADER, key.text())];
    let body =
        json!({"id": id, "user": user, "amount_cents": amount_cents, "payee_iban": payee_iban, "approved": approved});
    let told = app.kit.peers.call(Service::Bank, "POST", "/internal/approvals", &headers, body.to_string()).await;
    match told.map_err(|_| away())?.status {
        status if status.is_success() => Ok(()),
        StatusCode::UNPROCESSABLE_ENTITY => Err(crate::ledger::insufficient()),
        status if status.is_client_error() => {
            Err(Problem::new(StatusCode::GONE, "void", "this transfer was decided otherwise, or waited too long"))
        }
        _ => Err(away()),
    }
}
