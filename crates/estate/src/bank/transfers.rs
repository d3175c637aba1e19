//! Transfers: asked for, confirmed with a code, booked.
//!
//! The code is kept only as HMAC(key, id | amount | currency | payee | code): any change of amount or payee voids it. The
//! text with the code is handed to the rails, which send it, once the transfer is durable; it also stands in an outbox of the
//! bank, for when the rails can't be reached.

use super::{Bank, approvals, holds, instant};
use crate::bounds::{
    BODY_BYTES_MAX, CODE_LIFE_MS, CODE_TRIES_MAX, PAYEE_NAME_CHARS_MAX, TRANSFER_CENTS_MAX,
    TRANSFERS_PENDING_PER_USER_MAX,
};
use crate::codes;
use crate::credentials::User;
use crate::ids;
use crate::kit::{Json, private};
use crate::ledger::{self, Movement, WORLD};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::store::{Tx, now_ms, rfc3339};
use axum::extract::{Path, State};
use axum::response::Response;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use sqlx::AnyPool;

pub(super) const SCHEMA: &str = "
CREATE TABLE transfer (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, payer TEXT NOT NULL REFERENCES account (id), payee_iban TEXT NOT NULL,
  amount_cents INTEGER NOT NULL CHECK (amount_cents > 0), reference TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'booked', 'void')),
  code_mac BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0, asked_ms INTEGER NOT NULL, journal INTEGER REFERENCES journal (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX transfer_pending ON transfer (owner, status, asked_ms);
CREATE TABLE outbox (transfer TEXT PRIMARY KEY REFERENCES transfer (id), text TEXT NOT NULL, code TEXT NOT NULL) STRICT, WITHOUT ROWID;
";
/// Whom the payer named.
pub(super) const PAYEE_SCHEMA: &str = "ALTER TABLE transfer ADD COLUMN payee_name TEXT NOT NULL DEFAULT ''";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) amount_cents: i64,
    pub(super) payee_iban: String,
    pub(super) payer_account: Option<String>,
    #[serde(default)]
    pub(super) reference: String,
    /// Whom the payer thinks the account is of.
    pub(super) payee_name: Option<String>,
    /// Where the payer says yes.
    #[serde(default)]
    pub(super) approve_in: Channel,
    /// The bank of the payee, where the transfer goes there at once.
    #[serde(skip)]
    pub(super) payee_bic: Option<String>,
}

/// Where a payer says yes to a transfer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Channel {
    /// With the code of a text message.
    #[default]
    Sms,
    /// In the application; by text message where that does not answer.
    App,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirm {
    pub(super) code: String,
    pub(super) amount_cents: i64,
    pub(super) payee_iban: String,
}

/// Makes the key of the codes, once.
pub(super) async fn make_secret(tx: &mut Tx) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    sqlx::query("INSERT INTO secret VALUES ('transfer-code', $1)").bind(&bytes[..]).execute(&mut **tx).await?;
    Ok(())
}

async fn code_mac(reader: &AnyPool, bound: (&str, i64, &str), code: &str) -> Result<Hmac<Sha256>, Problem> {
    let secret: Vec<u8> =
        sqlx::query_scalar("SELECT bytes FROM secret WHERE name = 'transfer-code'").fetch_one(reader).await?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|error| Problem::internal(&error))?;
    let (id, amount_cents, payee) = bound;
    mac.update(format!("{id}|{amount_cents}|EUR|{payee}|{code}").as_bytes());
    Ok(mac)
}

/// `POST /transfers`
pub(super) async fn ask(State(bank): State<Bank>, headers: HeaderMap, body: Json<Ask>) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    let key = key(&headers)?;
    begin(&bank, &user, &body.value, key, hash(&body.bytes)).await
}

/// As a page asks; gives the id of the transfer.
///
/// # Errors
/// As those of the interface for programs.
pub(super) async fn ask_as(
    bank: &Bank,
    user: &User,
    ask: &Ask,
    key: &str,
    body_hash: [u8; 32],
) -> Result<String, Problem> {
    let response = begin(bank, user, ask, key, body_hash).await?;
    let body = axum::body::to_bytes(response.into_body(), BODY_BYTES_MAX).await;
    let answer: serde_json::Value = body.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let id = answer["id"].as_str().ok_or_else(|| Problem::internal(&"a transfer has no id"))?;
    Ok(id.to_owned())
}

async fn begin(bank: &Bank, user: &User, ask: &Ask, key: &str, body_hash: [u8; 32]) -> Result<Response, Problem> {
    let Ask { amount_cents, payee_iban, payer_account, reference, payee_name, approve_in, payee_bic } = ask;
    if !(1..=TRANSFER_CENTS_MAX).contains(amount_cents) {
        return Err(Problem::invalid(format!("amount_cents takes 1 to {TRANSFER_CENTS_MAX}")));
    }
    let payee = ids::iban_checked(payee_iban).ok_or_else(|| Problem::invalid("payee_iban is no valid IBAN"))?;
    if reference.chars().count() > 140 || reference.chars().any(char::is_control) {
        return Err(Problem::invalid("reference takes 140 characters at most, on one line"));
    }
    let payee_name = payee_name.as_deref().unwrap_or_default();
    if !payee_name.is_empty() && !super::payee::name_fits(payee_name) {
        return Err(Problem::invalid(format!(
            "payee_name takes {PAYEE_NAME_CHARS_MAX} characters at most, on one line"
        )));
    }
    let demand = Demand { caller: &user.name, route: "transfers", key, body_hash };
    let mut turn = match bank.kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let payer = payer_account.clone().unwrap_or_else(|| ids::account(user.n, 1));
    let known: Option<String> = sqlx::query_scalar("SELECT iban FROM account WHERE id = $1 AND owner = $2")
        .bind(&payer)
        .bind(&user.name)
        .fetch_optional(&mut *turn.tx)
        .await?;
    let payer_iban = known.ok_or_else(|| Problem::invalid("payer_account is none of yours"))?;
    if payer_iban == payee {
        return Err(Problem::invalid("payer and payee are the same account"));
    }
    enough(&mut turn.tx, &payer, *amount_cents).await?;
    let id = format!("tr-{}", uuid::Uuid::new_v4().simple());
    let now = now_ms();
    let amount_cents = *amount_cents;
    let payee_bic = payee_bic.as_deref();
    let pending =
        Pending { id: &id, payer: &payer, payee: &payee, payee_name, payee_bic, amount_cents, reference, now };
    let text = make_pending(bank, &mut turn.tx, user, &pending).await?;
    let answer = json!({
        "id": id, "status": "pending", "amount_cents": amount_cents, "currency": "EUR", "payee_iban": payee,
        "expires_at": rfc3339(now + CODE_LIFE_MS), "confirm": format!("/transfers/{id}/confirm"),
    });
    let response = turn.finish(StatusCode::ACCEPTED, &answer).await?;
    let message = approvals::Message { id, telephone: ids::telephone(user.n), text };
    match approve_in {
        Channel::Sms => bank.messages.hand_over(message.id, message.telephone, message.text),
        Channel::App => {
            let question = json!({
                "id": message.id, "user": user.name, "amount_cents": amount_cents, "payee_iban": payee,
                "payee_name": payee_name,
            });
            approvals::ask(bank, message, question);
        }
    }
    Ok(response)
}

/// What the account holds for cards is not there for transfers.
async fn enough(tx: &mut Tx, payer: &str, amount_cents: i64) -> Result<(), Problem> {
    let available = holds::available_cents(tx, payer, now_ms()).await?;
    if available.is_some_and(|available| available >= amount_cents) { Ok(()) } else { Err(ledger::insufficient()) }
}

struct Pending<'a> {
    id: &'a str,
    payer: &'a str,
    payee: &'a str,
    payee_name: &'a str,
    payee_bic: Option<&'a str>,
    amount_cents: i64,
    reference: &'a str,
    now: i64,
}

/// Voids what is too old or too many, then writes the transfer and the text with its code, which it gives.
async fn make_pending(bank: &Bank, tx: &mut Tx, user: &User, pending: &Pending<'_>) -> Result<String, Problem> {
    let &Pending { id, payer, payee, payee_name, payee_bic, amount_cents, reference, now } = pending;
    let voided: Vec<String> = sqlx::query_scalar(
        "UPDATE transfer SET status = 'void' WHERE owner = $1 AND status = 'pending' AND (asked_ms <= $2 OR id NOT IN
         (SELECT id FROM transfer WHERE owner = $1 AND status = 'pending' ORDER BY asked_ms DESC, id LIMIT $3)) RETURNING id",
    )
    .bind(&user.name)
    .bind(now - CODE_LIFE_MS)
    .bind(TRANSFERS_PENDING_PER_USER_MAX - 1)
    .fetch_all(&mut **tx)
    .await?;
    for id in voided {
        sqlx::query("DELETE FROM outbox WHERE transfer = $1").bind(id).execute(&mut **tx).await?;
    }
    let code = codes::six_digits()?;
    let mac = code_mac(&bank.kit.store.reader, (id, amount_cents, payee), &code).await?;
    sqlx::query(
        "INSERT INTO transfer (id, owner, payer, payee_iban, payee_name, amount_cents, reference, status, code_mac, asked_ms, payee_bic)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10)",
    )
    .bind(id)
    .bind(&user.name)
    .bind(payer)
    .bind(payee)
    .bind(payee_name)
    .bind(amount_cents)
    .bind(reference)
    .bind(&mac.finalize().into_bytes()[..])
    .bind(now)
    .bind(payee_bic)
    .execute(&mut **tx)
    .await?;
    let (euros, cents) = (amount_cents / 100, amount_cents % 100);
    let text = format!("Virement de {euros},{cents:02} EUR vers {payee}. Code : {code}. Ne le donnez à personne.");
    sqlx::query("INSERT INTO outbox VALUES ($1, $2, $3)").bind(id).bind(&text).bind(code).execute(&mut **tx).await?;
    Ok(text)
}

/// `GET /transfers/{id}/sms`
pub(super) async fn outbox(
    State(bank): State<Bank>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    let message: Option<(String, String)> = sqlx::query_as(
        "SELECT text, code FROM outbox JOIN transfer ON id = transfer WHERE id = $1 AND owner = $2 AND asked_ms > $3",
    )
    .bind(&id)
    .bind(&user.name)
    .bind(now_ms() - CODE_LIFE_MS)
    .fetch_optional(&bank.kit.store.reader)
    .await?;
    let (text, code) = message.ok_or_else(|| Problem::not_found("message"))?;
    Ok(private(json!({"text": text, "code": code})))
}

/// A transfer as its page shows it.
#[derive(sqlx::FromRow)]
pub(super) struct Shown {
    pub(super) payee_iban: String,
    pub(super) payee_name: String,
    pub(super) amount_cents: i64,
    pub(super) reference: String,
    pub(super) status: String,
    pub(super) instant_ms: Option<i64>,
}

/// A transfer of a user; one whose code is out of date is void.
///
/// # Errors
/// When the user has no such transfer, or the store fails.
pub(super) async fn of(bank: &Bank, user: &User, id: &str) -> Result<Shown, Problem> {
    let shown: Option<Shown> = sqlx::query_as(
        "SELECT payee_iban, payee_name, amount_cents, reference, instant_ms,
         CASE WHEN status = 'pending' AND asked_ms <= $1 THEN 'void' ELSE status END AS status
         FROM transfer WHERE id = $2 AND owner = $3",
    )
    .bind(now_ms() - CODE_LIFE_MS)
    .bind(id)
    .bind(&user.name)
    .fetch_optional(&bank.kit.store.reader)
    .await?;
    let mut shown = shown.ok_or_else(|| Problem::not_found("transfer"))?;
    if let Some(instant_ms) = shown.instant_ms {
        shown.status = instant::outcome(bank, id, instant_ms).await?.to_owned();
    }
    Ok(shown)
}

type Row = (String, String, i64, String, String, Vec<u8>, i64, i64);

/// `POST /transfers/{id}/confirm`
pub(super) async fn confirm(
    State(bank): State<Bank>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Json<Confirm>,
) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    Ok(private(confirm_as(&bank, &user, &id, &body.value).await?))
}

/// Books a transfer with its code.
///
/// # Errors
/// When there is no such transfer, its code is wrong or used up, or the account has not enough.
pub(super) async fn confirm_as(
    bank: &Bank,
    user: &User,
    id: &str,
    said: &Confirm,
) -> Result<serde_json::Value, Problem> {
    let mut tx = bank.kit.store.begin().await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT payer, payee_iban, amount_cents, reference, status, code_mac, tries, asked_ms FROM transfer
         WHERE id = $1 AND owner = $2",
    )
    .bind(id)
    .bind(&user.name)
    .fetch_optional(&mut *tx)
    .await?;
    let (payer, payee, amount_cents, reference, status, code_mac_kept, tries, asked_ms) =
        row.ok_or_else(|| Problem::not_found("transfer"))?;
    let now = now_ms();
    if status == "booked" {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "already-booked",
            "this transfer was booked; its code is used up",
        ));
    }
    if status == "void" || tries >= CODE_TRIES_MAX || asked_ms <= now - CODE_LIFE_MS {
        return Err(Problem::new(StatusCode::GONE, "void", "this transfer's code is no longer valid; ask again"));
    }
    // The code is checked against what the client says that it confirms: another amount or payee is a wrong code.
    let payee_said = ids::iban_checked(&said.payee_iban).unwrap_or_default();
    let mac = code_mac(&bank.kit.store.reader, (id, said.amount_cents, &payee_said), &said.code).await?;
    if mac.verify_slice(&code_mac_kept).is_err() {
        let tries = tries + 1;
        let dead = tries >= CODE_TRIES_MAX;
        if dead {
            sqlx::query("DELETE FROM outbox WHERE transfer = $1").bind(id).execute(&mut *tx).await?;
        }
        let status = if dead { "void" } else { "pending" };
        sqlx::query("UPDATE transfer SET tries = $1, status = $2 WHERE id = $3")
            .bind(tries)
            .bind(status)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-code",
            "the code does not fit this amount and this payee",
        ));
    }
    let journal = book(&mut tx, id, &payer, &payee, amount_cents, &reference).await?;
    tx.commit().await?;
    let Some(journal) = journal else {
        instant::hand_on(bank, id);
        return Ok(json!({"id": id, "status": "sent", "amount_cents": amount_cents, "payee_iban": payee}));
    };
    Ok(json!({"id": id, "status": "booked", "journal": journal, "amount_cents": amount_cents, "payee_iban": payee}))
}

/// Books a transfer to which its payer said yes, and gives its number in the journal. One that goes to another bank at once is marked
/// instead, for the rails to carry out ([`instant::hand_on`], once this is durable).
///
/// # Errors
/// When the account has not enough, or the store fails.
pub(super) async fn book(
    tx: &mut Tx,
    id: &str,
    payer: &str,
    payee: &str,
    amount_cents: i64,
    reference: &str,
) -> Result<Option<i64>, Problem> {
    enough(tx, payer, amount_cents).await?;
    // The row itself books nothing then: the operation that the rails make does.
    let marked = sqlx::query(
        "UPDATE transfer SET status = 'void', instant_ms = $1 WHERE id = $2 AND payee_bic IS NOT NULL AND status = 'pending'",
    )
    .bind(now_ms())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    if marked.rows_affected() == 1 {
        sqlx::query("DELETE FROM outbox WHERE transfer = $1").bind(id).execute(&mut **tx).await?;
        return Ok(None);
    }
    let payee_account: Option<String> =
        sqlx::query_scalar("SELECT id FROM account WHERE iban = $1").bind(payee).fetch_optional(&mut **tx).await?;
    let to = payee_account.as_deref().unwrap_or(WORLD);
    let movement = Movement { kind: "transfer", reference, from: payer, to, amount_cents, at_ms: now_ms() };
    let journal = ledger::book(tx, &movement).await?;
    sqlx::query("UPDATE transfer SET status = 'booked', journal = $1 WHERE id = $2")
        .bind(journal)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM outbox WHERE transfer = $1").bind(id).execute(&mut **tx).await?;
    Ok(Some(journal))
}
