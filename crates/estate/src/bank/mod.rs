//! The online bank: accounts, statements, and transfers that are booked only with a code bound to amount and payee
//! (EU 2018/389, article 5).

mod alias_pages;
mod approvals;
mod holds;
mod instant;
mod internal;
mod messages;
mod pages;
mod payee;
mod transfers;

use crate::bounds::STATEMENT_ENTRIES_MAX;
use crate::credentials;
use crate::estate_key::EstateKey;
use crate::ids;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::ledger;
use crate::oidc::{self, Relying};
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use messages::Messages;
use serde_json::json;

pub(crate) const MIGRATIONS: &[&str] =
    &[ledger::SCHEMA, transfers::SCHEMA, holds::SCHEMA, transfers::PAYEE_SCHEMA, oidc::SCHEMA, instant::SCHEMA];

/// Beside those of the ledger.
pub(crate) const INVARIANTS: &[Invariant] = &ledger::with_ledger::<7, 14>([
    instant::INVARIANT,
    holds::INVARIANTS[0],
    holds::INVARIANTS[1],
    holds::INVARIANTS[2],
    zero(
        "each booked transfer moved its money exactly once",
        "SELECT count(*) FROM transfer t WHERE status = 'booked' AND 1 <> (SELECT count(*) FROM entry e
         WHERE e.journal = t.journal AND e.account = t.payer AND e.amount_cents = -t.amount_cents)",
    ),
    zero(
        "no money moved for a transfer that is not booked, or for two",
        "SELECT (SELECT count(*) FROM transfer WHERE status <> 'booked' AND journal IS NOT NULL)
         + (SELECT count(*) FROM journal j WHERE kind = 'transfer' AND 1 <> (SELECT count(*) FROM transfer WHERE journal = j.id))",
    ),
    zero(
        "each answer that was given tells of a transfer of its caller",
        "SELECT count(*) FROM idempotency i WHERE route = 'transfers' AND status < 300 AND NOT EXISTS (SELECT 1 FROM transfer t
         WHERE t.id = i.answer->>'id' AND t.owner = i.caller AND t.amount_cents = CAST(i.answer->>'amount_cents' AS BIGINT))",
    ),
]);

#[derive(Clone)]
pub(crate) struct Bank {
    pub(super) kit: Kit,
    pub(super) sessions: Sessions,
    pub(super) messages: Messages,
    pub(super) identity: Relying,
    pub(super) key: Option<EstateKey>,
}

/// Test data: a current account with 10,000 € and a savings account with 5,000 € for each user.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    transfers::make_secret(tx).await?;
    let mut accounts: Vec<ledger::Opening> = Vec::new();
    for n in 0..crate::bounds::USERS {
        for (k, label, cents) in [(1, "Compte courant", 1_000_000), (2, "Livret d'épargne", 500_000)] {
            accounts.push((ids::account(n, k), ids::user(n), Some(ids::iban(n, k)), label, cents));
        }
    }
    ledger::open_accounts(tx, &accounts, seed::today_ms()).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let key = EstateKey::load_or_make(&kit.store.dir);
    if let Err(error) = &key {
        eprintln!("guichet-estate: bank: {error:#}; the rails and the application get no answer");
    }
    let state = Bank {
        key: key.ok(),
        kit: kit.clone(),
        sessions: kit.sessions(Life::SHORT),
        messages: Messages::new(&kit.peers),
        identity: Relying::new(kit),
    };
    approvals::resume(&state);
    let routes = Router::new()
        .route("/login", kit.op("login", post(login)))
        .route("/accounts", kit.op("accounts", get(accounts)))
        .route("/accounts/{id}/statement", kit.op("statement", get(statement)))
        .route("/payees/verification", kit.op("payee", post(payee::verify)))
        .merge(pages::routes(kit))
        .route("/transfers", kit.op("transfer", post(transfers::ask)))
        .route("/transfers/{id}/sms", kit.op("outbox", get(transfers::outbox)))
        .route("/transfers/{id}/confirm", kit.op("confirm", post(transfers::confirm)));
    kit.finish_api(routes.with_state(state.clone()).merge(internal::routes(state)))
}

async fn login(State(bank): State<Bank>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = bank.sessions.life_s();
    sign_in(
        &bank.kit,
        &bank.sessions,
        &headers,
        &body.value,
        StatusCode::OK,
        |user, _| json!({"user": user.name, "expires_in_s": life}),
    )
    .await
}

async fn accounts(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    let mut reader = bank.kit.store.reader.acquire().await?;
    let rows: Vec<(String, String, String, i64)> =
        sqlx::query_as("SELECT id, iban, label, balance_cents FROM account WHERE owner = $1 ORDER BY id")
            .bind(&user.name)
            .fetch_all(&mut *reader)
            .await?;
    let mut list = Vec::with_capacity(rows.len());
    for (id, iban, label, balance_cents) in rows {
        let available_cents = holds::available_cents(&mut reader, &id, now_ms()).await?;
        list.push(json!({
            "id": id, "iban": iban, "label": label, "balance_cents": balance_cents, "available_cents": available_cents,
            "currency": "EUR",
        }));
    }
    Ok(private(json!({"accounts": list})))
}

async fn statement(State(bank): State<Bank>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    let account: Option<(String, i64)> =
        sqlx::query_as("SELECT iban, balance_cents FROM account WHERE id = $1 AND owner = $2")
            .bind(&id)
            .bind(&user.name)
            .fetch_optional(&bank.kit.store.reader)
            .await?;
    let (iban, balance_cents) = account.ok_or_else(|| Problem::not_found("account"))?;
    let rows: Vec<(i64, String, String, i64, i64)> = sqlx::query_as(
        "SELECT j.at_ms, j.kind, coalesce(o.reference, j.reference), e.amount_cents, e.balance_cents FROM entry e
         JOIN journal j ON j.id = e.journal LEFT JOIN operation o ON o.id = j.reference
         WHERE e.account = $1 ORDER BY e.id DESC LIMIT $2",
    )
    .bind(&id)
    .bind(STATEMENT_ENTRIES_MAX)
    .fetch_all(&bank.kit.store.reader)
    .await?;
    let entries: Vec<_> = rows
        .iter()
        .map(|(at, kind, reference, amount, after)| {
            json!({"at": rfc3339(*at), "kind": kind, "reference": reference, "amount_cents": amount, "balance_cents": after})
        })
        .collect();
    Ok(private(json!({"id": id, "iban": iban, "currency": "EUR", "balance_cents": balance_cents, "entries": entries})))
}
