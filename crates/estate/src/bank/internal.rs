//! What the rails ask of the bank: holds, debits, credits, and giving back, each under an id that the rails made, so that
//! asking again does no harm. For holders of the estate's key, and never through the front.
//!
//! A lane of its own: it waits for none of the workers that the bank's users wait for.

use super::holds::{self, Wanted};
use super::{Bank, approvals};
use crate::bounds::{HOLD_LIFE_S_MAX, INTERNAL_CENTS_MAX};
use crate::estate_key::Door;
use crate::ids;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::seed;
use crate::store::{Tx, now_ms};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

pub(super) fn routes(bank: Bank) -> Router {
    let door = Door::new(bank.key.clone());
    let routes = Router::new()
        .route("/internal/holds", post(hold))
        .route("/internal/debits", post(debit))
        .route("/internal/credits", post(credit))
        .route("/internal/reversals", post(reverse))
        .route("/internal/approvals", post(approvals::decided))
        .route("/internal/balances", post(balance))
        .route("/internal/accounts/{name}", get(account))
        .with_state(bank);
    door.before(routes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    id: String,
    account: String,
    #[serde(default)]
    amount_cents: i64,
    kind: Kind,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    keep_cents: i64,
    #[serde(default)]
    expires_s: i64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Card,
    Cash,
    Payment,
    Instant,
    InstantCredit,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Cash => "cash",
            Self::Payment => "payment",
            Self::Instant => "instant",
            Self::InstantCredit => "instant-credit",
        }
    }
}

impl Ask {
    fn wanted(&self, amount_cents_min: i64) -> Result<Wanted<'_>, Problem> {
        let wrong = [
            (!ids::plain(&self.id, 8, 64, "-_"), "id takes 8 to 64 letters, digits, - and _".to_owned()),
            (
                !(amount_cents_min..=INTERNAL_CENTS_MAX).contains(&self.amount_cents),
                format!("amount_cents takes {amount_cents_min} to {INTERNAL_CENTS_MAX}"),
            ),
            (!(0..=HOLD_LIFE_S_MAX).contains(&self.expires_s), format!("expires_s takes 0 to {HOLD_LIFE_S_MAX}")),
            (!(0..=INTERNAL_CENTS_MAX).contains(&self.keep_cents), "keep_cents takes 0 or more".to_owned()),
            (self.reference.len() > 140, "reference takes 140 bytes".to_owned()),
        ];
        if let Some((_, words)) = wrong.into_iter().find(|(wrong, _)| *wrong) {
            return Err(Problem::invalid(words));
        }
        let now = now_ms();
        let expires_ms = now + self.expires_s * 1000;
        let (id, account, reference) = (&self.id, &self.account, &self.reference);
        Ok(Wanted { id, account, amount_cents: self.amount_cents, kind: self.kind.text(), reference, now, expires_ms })
    }
}

async fn hold(State(bank): State<Bank>, body: Json<Ask>) -> Result<Response, Problem> {
    let wanted = body.value.wanted(1)?;
    let mut tx = bank.kit.store.begin().await?;
    holds::hold(&mut tx, &wanted).await?;
    answer(tx, &wanted, "pending").await
}

async fn debit(State(bank): State<Bank>, body: Json<Ask>) -> Result<Response, Problem> {
    let wanted = body.value.wanted(1)?;
    let mut tx = bank.kit.store.begin().await?;
    holds::debit(&mut tx, &wanted, body.value.forced).await?;
    answer(tx, &wanted, "booked").await
}

/// `account` is an IBAN here, or an account of the bank's own as `suspense`.
async fn credit(State(bank): State<Bank>, body: Json<Ask>) -> Result<Response, Problem> {
    let mut wanted = body.value.wanted(1)?;
    let mut tx = bank.kit.store.begin().await?;
    let account: Option<String> = sqlx::query_scalar("SELECT id FROM account WHERE iban = $1 OR id = $1")
        .bind(wanted.account)
        .fetch_optional(&mut *tx)
        .await?;
    let account = account.ok_or_else(|| Problem::not_found("account"))?;
    wanted.account = &account;
    holds::credit(&mut tx, &wanted).await?;
    answer(tx, &wanted, "booked").await
}

async fn reverse(State(bank): State<Bank>, body: Json<Ask>) -> Result<Response, Problem> {
    let wanted = body.value.wanted(0)?;
    let mut tx = bank.kit.store.begin().await?;
    let status = holds::keep(&mut tx, &wanted, body.value.keep_cents).await?;
    answer(tx, &wanted, status).await
}

/// Commits, and only then answers.
async fn answer(mut tx: Tx, wanted: &Wanted<'_>, status: &str) -> Result<Response, Problem> {
    let available = holds::available_cents(&mut tx, wanted.account, wanted.now).await?;
    tx.commit().await?;
    Ok(private(json!({"id": wanted.id, "status": status, "available_cents": available})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Balance {
    account: String,
}

async fn balance(State(bank): State<Bank>, body: Json<Balance>) -> Result<Response, Problem> {
    let mut reader = bank.kit.store.reader.acquire().await?;
    let available_cents = holds::available_cents(&mut reader, &body.value.account, now_ms()).await?;
    let available_cents = available_cents.ok_or_else(|| Problem::not_found("account"))?;
    Ok(private(json!({"available_cents": available_cents})))
}

async fn account(State(bank): State<Bank>, Path(name): Path<String>) -> Result<Response, Problem> {
    let mut reader = bank.kit.store.reader.acquire().await?;
    let row: Option<(String, String, Option<String>)> =
        sqlx::query_as("SELECT id, owner, iban FROM account WHERE id = $1 OR iban = $1")
            .bind(&name)
            .fetch_optional(&mut *reader)
            .await?;
    let (id, owner, iban) = row.ok_or_else(|| Problem::not_found("account"))?;
    let available_cents = holds::available_cents(&mut reader, &id, now_ms()).await?;
    let name = ids::user_number(&owner).map(seed::name).map(|(given, family)| format!("{given} {family}"));
    Ok(private(json!({"account": id, "iban": iban, "name": name, "available_cents": available_cents})))
}
