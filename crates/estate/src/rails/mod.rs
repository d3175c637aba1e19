//! The rails: card authorisations, text messages, instant transfers. For partners; the front lets nobody else in. They
//! need no other service of the estate.

pub(crate) mod advices;
pub(crate) mod cards;
pub(crate) mod core;
pub(crate) mod gateway;
pub(crate) mod pacs;
mod payments;

use crate::bounds::{
    CARD_CENTS_MAX, CARD_DAY_CENTS_MAX, CARD_DAY_COUNT_MAX, SMS_PER_TELEPHONE_MAX, SMS_PURGE_MAX, SMS_QUEUED_MAX,
    TRANSFER_CENTS_MAX, USERS,
};
use crate::ids;
use crate::kit::{Json, Kit};
use crate::ledger::{self, Movement, Unbooked, WORLD};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::seed;
use crate::store::{Tx, now_ms};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const MIGRATIONS: &[&str] = &[
    ledger::SCHEMA,
    "CREATE TABLE card (pan TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (id)) STRICT, WITHOUT ROWID;
     CREATE TABLE alias (telephone TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (id)) STRICT, WITHOUT ROWID;
     CREATE TABLE authorisation (
       id INTEGER PRIMARY KEY AUTOINCREMENT, terminal TEXT NOT NULL, stan TEXT NOT NULL, pan TEXT NOT NULL,
       amount_cents INTEGER NOT NULL, merchant TEXT NOT NULL, code TEXT NOT NULL, body_hash BLOB NOT NULL,
       at_ms INTEGER NOT NULL, UNIQUE (terminal, stan)
     ) STRICT;
     CREATE INDEX authorisation_card ON authorisation (pan, at_ms);
     CREATE TABLE sms (id TEXT PRIMARY KEY, recipient TEXT NOT NULL, text TEXT NOT NULL, queued_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE INDEX sms_age ON sms (queued_ms);",
    gateway::SCHEMA,
    advices::SCHEMA,
    cards::SCHEMA,
    gateway::RECIPIENT_SCHEMA,
    payments::SCHEMA,
    pacs::SCHEMA,
];
/// Beside those of the ledger.
pub(crate) const INVARIANTS: &[Invariant] = &ledger::with_ledger::<14, 21>([
    pacs::INVARIANTS[0],
    pacs::INVARIANTS[1],
    pacs::INVARIANTS[2],
    pacs::INVARIANTS[3],
    payments::INVARIANTS[0],
    payments::INVARIANTS[1],
    cards::INVARIANTS[0],
    cards::INVARIANTS[1],
    cards::INVARIANTS[2],
    zero(
        "each approved card payment took its money exactly once",
        "SELECT abs((SELECT count(*) FROM authorisation WHERE code = '00') - (SELECT count(*) FROM journal WHERE kind IN ('card', 'cash')))
         + abs((SELECT coalesce(sum(amount_cents), 0) FROM authorisation WHERE code = '00')
           + (SELECT coalesce(sum(amount_cents), 0) FROM entry e JOIN journal j ON j.id = e.journal
              WHERE j.kind IN ('card', 'cash') AND e.account <> 'world'))",
    ),
    zero(
        "each card answer that was given tells of an authorisation with that result",
        "SELECT count(*) FROM idempotency i WHERE route IN ('authorisations', 'withdrawals') AND status < 300 AND NOT EXISTS (
           SELECT 1 FROM authorisation a WHERE a.id = CAST(i.answer->>'authorisation' AS INTEGER) AND a.code = i.answer->>'code'
           AND a.terminal = i.caller)",
    ),
    zero(
        "each settled instant transfer moved money exactly once, no rejected one did",
        "SELECT count(*) FROM idempotency i WHERE route = 'instant' AND status < 300
         AND CASE i.answer->>'status' WHEN 'ACSC' THEN 1 ELSE 0 END <> (SELECT count(*) FROM journal j WHERE j.kind = 'instant' AND j.reference = i.answer->>'id')",
    ),
    zero(
        "each text message that was taken and is not out of date is there",
        "SELECT count(*) FROM idempotency i WHERE route = 'sms-codes' AND status < 300
         AND at_ms > (SELECT coalesce(max(at_ms), 0) - 240000 FROM idempotency) AND NOT EXISTS (SELECT 1 FROM sms s WHERE s.id = i.answer->>'id')",
    ),
    zero(
        "no instant transfer was booked twice",
        "SELECT count(*) FROM (SELECT 1 FROM journal WHERE kind = 'instant' GROUP BY reference HAVING count(*) > 1) s",
    ),
]);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// A text message that could not be handed on for this long is of no use any more.
const SMS_LIFE_MS: i64 = 5 * 60 * 1000;

/// Test data: for each user an account with 10,000 €, a card and a telephone.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    let users = || 0..USERS;
    let accounts: Vec<ledger::Opening> = users()
        .map(|n| (ids::account(n, 1), ids::user(n), Some(ids::iban(n, 1)), "Compte courant", 1_000_000))
        .collect();
    ledger::open_accounts(tx, &accounts, seed::today_ms()).await?;
    let cards: Vec<_> = users().map(|n| (ids::card(n), ids::account(n, 1))).collect();
    seed::insert(tx, "INSERT INTO card SELECT value->>0, value->>1 FROM json_each($1)", &cards).await?;
    let aliases: Vec<_> = users().map(|n| (ids::telephone(n), ids::account(n, 1))).collect();
    seed::insert(tx, "INSERT INTO alias SELECT value->>0, value->>1 FROM json_each($1)", &aliases).await?;
    pacs::directory::seed(tx).await
}

/// What the rails do besides answering: hand text messages over, take cards, advise the bank.
pub(crate) fn tasks(
    kit: &Kit,
    centre: Option<SocketAddr>,
    cards: Option<TcpListener>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let store = &kit.store;
    let (core, bell) = (core::Core::new(kit), kit.bell.clone());
    let advising = advices::run(store.clone(), core.clone(), bell.clone(), stopped.clone());
    let reconciling = pacs::outbound::reconcile(pacs::Pacs::new(kit), stopped.clone());
    let mut tasks = vec![tokio::spawn(advising), tokio::spawn(reconciling)];
    if let Some(centre) = centre {
        tasks.push(tokio::spawn(gateway::run(store.clone(), centre, stopped.clone())));
    }
    if let Some(listener) = cards {
        let cards = cards::Cards { kit: kit.clone(), core, bell };
        tasks.push(tokio::spawn(cards::listener::serve(listener, cards, stopped.clone())));
    }
    tasks
}

pub(crate) fn router(kit: &Kit) -> Router {
    let routes = Router::new()
        .route("/authorisations", kit.op("card", post(card)))
        .route("/withdrawals", kit.op("cash", post(cash)))
        .route("/stopped-cards", kit.op("stop", post(stop_card)))
        .route("/sms-codes", kit.op("sms", post(sms)))
        .route("/instant", kit.op("instant", post(instant)));
    kit.finish_api(routes.with_state(kit.clone()).merge(payments::routes(kit)).merge(pacs::routes(kit)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    pan: String,
    amount_cents: i64,
    currency: String,
    terminal: String,
    stan: String,
    merchant: String,
}

impl Card {
    fn check(&self) -> Result<(), Problem> {
        let upper = |text: &str| !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let faults = [
            (!digits(&self.pan, 12, 19), "pan takes 12 to 19 digits"),
            (self.amount_cents < 1, "amount_cents takes 1 or more"),
            (self.currency != "EUR", "currency takes EUR"),
            (
                !ids::plain(&self.terminal, 1, 16, "") || !upper(&self.terminal),
                "terminal takes 1 to 16 capitals and digits",
            ),
            (!digits(&self.stan, 6, 6), "stan takes 6 digits"),
            (!line(&self.merchant, 40), "merchant takes 1 to 40 characters on one line"),
        ];
        first_fault(&faults)
    }
}

fn digits(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn line(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn first_fault(faults: &[(bool, &str)]) -> Result<(), Problem> {
    faults.iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, text)| Err(Problem::invalid(*text)))
}

/// `POST /authorisations`: response codes of ISO 8583: 00 approved, 14 no such card, 41 stopped, 51 no funds, 61 over its limits.
async fn card(State(kit): State<Kit>, body: Json<Card>) -> Result<Response, Problem> {
    authorisation(&kit, &body, "authorisations", "card").await
}

/// `POST /withdrawals`: as a card payment, at a cash machine.
async fn cash(State(kit): State<Kit>, body: Json<Card>) -> Result<Response, Problem> {
    authorisation(&kit, &body, "withdrawals", "cash").await
}

async fn authorisation(
    kit: &Kit,
    body: &Json<Card>,
    route: &'static str,
    kind: &'static str,
) -> Result<Response, Problem> {
    let ask = &body.value;
    ask.check()?;
    let key = format!("{}-{}", ask.terminal, ask.stan);
    // Cash is another thing than a payment of the same shape.
    let body_hash = if kind == "card" { hash(&body.bytes) } else { hash(&[kind.as_bytes(), &body.bytes].concat()) };
    // Terminal and trace number are the key: kept for good in `authorisation`, and with the answer for a day.
    let demand = Demand { caller: &ask.terminal, route, key: &key, body_hash };
    let mut turn = match kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let before: Option<(i64, String, Vec<u8>)> =
        sqlx::query_as("SELECT id, code, body_hash FROM authorisation WHERE terminal = $1 AND stan = $2")
            .bind(&ask.terminal)
            .bind(&ask.stan)
            .fetch_optional(&mut *turn.tx)
            .await?;
    let (id, code) = match before {
        Some((id, code, hash)) if hash == body_hash => (id, code),
        Some(_) => {
            let detail = "this terminal used this stan for something else";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail));
        }
        None => authorise(&mut turn.tx, ask, kind, &body_hash).await?,
    };
    let approved = code == "00";
    turn.finish(StatusCode::OK, &json!({"approved": approved, "code": code, "authorisation": format!("{id:06}")})).await
}

async fn authorise(tx: &mut Tx, ask: &Card, kind: &'static str, body_hash: &[u8]) -> Result<(i64, String), Problem> {
    let now = now_ms();
    let code = decide(tx, ask, kind, now).await?;
    let id = sqlx::query_scalar(
        "INSERT INTO authorisation (terminal, stan, pan, amount_cents, merchant, code, body_hash, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
    )
    .bind(&ask.terminal)
    .bind(&ask.stan)
    .bind(&ask.pan)
    .bind(ask.amount_cents)
    .bind(&ask.merchant)
    .bind(code)
    .bind(body_hash)
    .bind(now)
    .fetch_one(&mut **tx)
    .await?;
    Ok((id, code.to_owned()))
}

/// The response code; with 00 the money has moved.
async fn decide(tx: &mut Tx, ask: &Card, kind: &'static str, now: i64) -> Result<&'static str, Problem> {
    let account: Option<String> =
        sqlx::query_scalar("SELECT account FROM card WHERE pan = $1").bind(&ask.pan).fetch_optional(&mut **tx).await?;
    let Some(account) = account else { return Ok("14") };
    let stopped: Option<i64> = sqlx::query_scalar("SELECT at_ms FROM card_stopped WHERE pan = $1")
        .bind(&ask.pan)
        .fetch_optional(&mut **tx)
        .await?;
    if stopped.is_some() {
        return Ok("41");
    }
    let (count, cents): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(amount_cents), 0) FROM authorisation WHERE pan = $1 AND code = '00' AND at_ms > $2",
    )
    .bind(&ask.pan)
    .bind(now - DAY_MS)
    .fetch_one(&mut **tx)
    .await?;
    // The first limit keeps the sum of the second from overflowing.
    if ask.amount_cents > CARD_CENTS_MAX || count >= CARD_DAY_COUNT_MAX || cents + ask.amount_cents > CARD_DAY_CENTS_MAX
    {
        return Ok("61");
    }
    let (amount_cents, reference) = (ask.amount_cents, ask.merchant.as_str());
    let movement = Movement { kind, reference, from: &account, to: WORLD, amount_cents, at_ms: now };
    match ledger::book(tx, &movement).await {
        Ok(_) => Ok("00"),
        Err(Unbooked::Funds) => Ok("51"),
        Err(Unbooked::Store(error)) => Err(error.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    pan: String,
}

/// `POST /stopped-cards`: from now on the card pays nothing; a card stays stopped, since a new one is sent.
async fn stop_card(State(kit): State<Kit>, body: Json<Stop>) -> Result<Response, Problem> {
    let mut tx = kit.store.begin().await?;
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM card WHERE pan = $1").bind(&body.value.pan).fetch_optional(&mut *tx).await?;
    if known.is_none() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-card", "there is no such card"));
    }
    sqlx::query("INSERT INTO card_stopped (pan, at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(&body.value.pan)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(crate::kit::private(json!({"status": "stopped"})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sms {
    to: String,
    text: String,
}

fn telephone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| digits(rest, 8, 15))
}

/// `POST /sms-codes`: queued durably; the oldest go away unsent after five minutes, as codes are void by then.
async fn sms(State(kit): State<Kit>, headers: HeaderMap, body: Json<Sms>) -> Result<Response, Problem> {
    let Sms { to, text } = &body.value;
    first_fault(&[
        (!telephone(to), "to takes + and 8 to 15 digits"),
        (!line(text, 160), "text takes 1 to 160 characters on one line"),
        (!gateway::fits(text), "text takes 127 characters where one is beyond Latin-1"),
    ])?;
    let demand = Demand { caller: "partner", route: "sms-codes", key: key(&headers)?, body_hash: hash(&body.bytes) };
    let mut turn = match kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let id = queue(&mut turn.tx, to, text).await?;
    turn.finish(StatusCode::ACCEPTED, &json!({"id": id, "status": "queued"})).await
}

/// Puts a text message into the queue, and gives its id. The oldest that are of no use any more make room.
///
/// # Errors
/// When too many wait for this telephone, or for all.
async fn queue(tx: &mut Tx, to: &str, text: &str) -> Result<String, Problem> {
    let now = now_ms();
    sqlx::query("DELETE FROM sms WHERE id IN (SELECT id FROM sms WHERE queued_ms <= $1 ORDER BY queued_ms LIMIT $2)")
        .bind(now - SMS_LIFE_MS)
        .bind(SMS_PURGE_MAX)
        .execute(&mut **tx)
        .await?;
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM sms WHERE recipient = $1 AND state = 'queued'")
        .bind(to)
        .fetch_one(&mut **tx)
        .await?;
    if waiting >= SMS_PER_TELEPHONE_MAX {
        let problem =
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "telephone", "too many messages wait for this telephone");
        return Err(Problem { retry_after_s: Some(30), ..problem });
    }
    let id = format!("sms-{}", uuid::Uuid::new_v4().simple());
    let queued = sqlx::query(
        "INSERT INTO sms (id, recipient, text, queued_ms) SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM sms) < $5",
    )
    .bind(&id)
    .bind(to)
    .bind(text)
    .bind(now)
    .bind(SMS_QUEUED_MAX)
    .execute(&mut **tx)
    .await?;
    if queued.rows_affected() == 0 {
        return Err(Problem::busy("too many messages wait to be sent"));
    }
    Ok(id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instant {
    payer_alias: String,
    payee_alias: String,
    amount_cents: i64,
}

/// `POST /instant`: status ACSC (settled) or RJCT with a reason of ISO 20022.
async fn instant(State(kit): State<Kit>, headers: HeaderMap, body: Json<Instant>) -> Result<Response, Problem> {
    let Instant { payer_alias, payee_alias, amount_cents } = &body.value;
    first_fault(&[
        (!telephone(payer_alias), "payer_alias takes + and 8 to 15 digits"),
        (!telephone(payee_alias), "payee_alias takes + and 8 to 15 digits"),
        (payer_alias == payee_alias, "payer and payee are the same"),
        (!(1..=TRANSFER_CENTS_MAX).contains(amount_cents), "amount_cents takes 1 to 1000000"),
    ])?;
    let demand = Demand { caller: "partner", route: "instant", key: key(&headers)?, body_hash: hash(&body.bytes) };
    let mut turn = match kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let mut accounts = Vec::with_capacity(2);
    for alias in [payer_alias, payee_alias] {
        let account: Option<String> = sqlx::query_scalar("SELECT account FROM alias WHERE telephone = $1")
            .bind(alias)
            .fetch_optional(&mut *turn.tx)
            .await?;
        accounts.extend(account);
    }
    let id = format!("ip-{}", uuid::Uuid::new_v4().simple());
    let rejected = |reason: &str| json!({"id": id, "status": "RJCT", "reason": reason});
    let answer = match accounts.as_slice() {
        [from, to] => {
            let amount_cents = *amount_cents;
            let movement = Movement { kind: "instant", reference: &id, from, to, amount_cents, at_ms: now_ms() };
            match ledger::book(&mut turn.tx, &movement).await {
                Ok(_) => json!({"id": id, "status": "ACSC"}),
                Err(Unbooked::Funds) => rejected("AM04"),
                Err(Unbooked::Store(error)) => return Err(error.into()),
            }
        }
        // No such alias, on either side.
        _ => rejected("BE06"),
    };
    turn.finish(StatusCode::OK, &answer).await
}
