//! What the rails decide by themselves: which messages never reach the bank, and what is approved while it is away.

use super::{Ask, Decision, What};
use crate::bounds::{
    CARD_CENTS_MAX, CARD_DAY_CENTS_MAX, CARD_DAY_COUNT_MAX, STAND_IN_CENTS_MAX, STAND_IN_DAY_CENTS_MAX,
    STAND_IN_DAY_COUNT_MAX,
};
use crate::once::hash;
use crate::problem::Problem;
use crate::rails::advices;
use crate::store::{Tx, now_ms};
use serde_json::json;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// What becomes of a new message.
pub(super) enum First {
    Refused(Decision),
    AskTheBank { operation: String, account: String },
}

/// Writes a new message down, with its answer where the bank need not be asked.
pub(super) async fn first(tx: &mut Tx, ask: &Ask) -> Result<First, Problem> {
    let (account, code) = before_the_bank(tx, ask).await?;
    let (n, operation) = put(tx, ask, &account, code.map(|code| (code, "rails"))).await?;
    Ok(match code {
        Some(code) => First::Refused(Decision::new(code, n)),
        None => First::AskTheBank { operation, account },
    })
}

/// The account of a card, and why the bank need not be asked.
async fn before_the_bank(tx: &mut Tx, ask: &Ask) -> Result<(String, Option<&'static str>), Problem> {
    let account: Option<String> =
        sqlx::query_scalar("SELECT account FROM card WHERE pan = $1").bind(&ask.pan).fetch_optional(&mut **tx).await?;
    let Some(account) = account else { return Ok((String::new(), Some("14"))) };
    let stopped: Option<i64> = sqlx::query_scalar("SELECT at_ms FROM card_stopped WHERE pan = $1")
        .bind(&ask.pan)
        .fetch_optional(&mut **tx)
        .await?;
    if stopped.is_some() {
        return Ok((account, Some("41")));
    }
    let limits = (CARD_CENTS_MAX, CARD_DAY_CENTS_MAX, CARD_DAY_COUNT_MAX);
    let over = ask.what != What::Balance && !within(tx, ask, limits, "%").await?;
    Ok((account, over.then_some("61")))
}

/// Whether one payment more is within limits of amount, sum and count in 24 hours, among the messages decided by `via`.
async fn within(tx: &mut Tx, ask: &Ask, limits: (i64, i64, i64), via: &str) -> Result<bool, Problem> {
    let (one_max, sum_max, count_max) = limits;
    let (count, cents): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(kept_cents), 0) FROM card_message
         WHERE pan = $1 AND at_ms > $2 AND code = '00' AND what <> 'balance' AND via LIKE $3",
    )
    .bind(&ask.pan)
    .bind(now_ms() - DAY_MS)
    .bind(via)
    .fetch_one(&mut **tx)
    .await?;
    // The first limit keeps the sum of the last from overflowing.
    Ok(ask.amount_cents <= one_max && count < count_max && cents + ask.amount_cents <= sum_max)
}

/// Decides while the bank is away. What is approved is advised to the bank; what is not may have been done by it, its answer
/// being lost, and is reversed.
pub(super) async fn stand_in(tx: &mut Tx, ask: &Ask, operation: &str, account: &str) -> Result<&'static str, Problem> {
    if ask.what == What::Balance {
        return Ok("91");
    }
    let limits = (STAND_IN_CENTS_MAX, STAND_IN_DAY_CENTS_MAX, STAND_IN_DAY_COUNT_MAX);
    if within(tx, ask, limits, "stand-in").await? {
        let advised = match ask.what {
            What::Purchase | What::Cash | What::Online => {
                advise_debit(tx, operation, account, ask.amount_cents, ask.what.kind()).await
            }
            // Nothing is taken before it is captured.
            What::Hold | What::Balance => Ok(()),
        };
        return Ok(if advised.is_ok() { "00" } else { "91" });
    }
    let body = json!({"id": operation, "account": account, "kind": ask.what.kind(), "keep_cents": 0});
    advices::put(tx, operation, "/internal/reversals", &body).await?;
    Ok("61")
}

/// Has the bank book what was promised.
pub(super) async fn advise_debit(
    tx: &mut Tx,
    operation: &str,
    account: &str,
    amount_cents: i64,
    kind: &str,
) -> Result<(), Problem> {
    let body = json!({"id": operation, "account": account, "amount_cents": amount_cents, "kind": kind, "forced": true});
    advices::put(tx, operation, "/internal/debits", &body).await
}

/// Writes down what a terminal approved without asking.
pub(super) async fn note(tx: &mut Tx, ask: &Ask) -> Result<Decision, Problem> {
    let (account, code) = before_the_bank(tx, ask).await?;
    // Promised is promised: limits and stopped cards come too late; a card that nobody has can't be charged.
    let code = if code == Some("14") { "14" } else { "00" };
    let (n, operation) = put(tx, ask, &account, Some((code, "terminal"))).await?;
    if code == "00" && ask.what != What::Hold {
        advise_debit(tx, &operation, &account, ask.amount_cents, ask.what.kind()).await?;
    }
    Ok(Decision::new(code, n))
}

/// A message that is reversed before it comes: when it comes, it is one that was seen.
pub(super) async fn refuse_when_it_comes(tx: &mut Tx, key: &str) -> Result<(), Problem> {
    let ask = Ask {
        key: key.to_owned(),
        what: What::Balance,
        pan: String::new(),
        amount_cents: 0,
        terminal: String::new(),
        merchant: String::new(),
        body_hash: [0; 32],
    };
    put(tx, &ask, "", Some(("94", "reversal"))).await?;
    Ok(())
}

async fn put(tx: &mut Tx, ask: &Ask, account: &str, answer: Option<(&str, &str)>) -> Result<(i64, String), Problem> {
    let operation = format!("card-{}", &hex::encode(hash(ask.key.as_bytes()))[..40]);
    let (code, via) = answer.unzip();
    let n: i64 = sqlx::query_scalar(
        "INSERT INTO card_message (key, operation, what, pan, account, amount_cents, kept_cents, terminal, merchant, body_hash, code, via, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11, $12) RETURNING n",
    )
    .bind(&ask.key)
    .bind(&operation)
    .bind(ask.what.text())
    .bind(&ask.pan)
    .bind(account)
    .bind(ask.amount_cents)
    .bind(&ask.terminal)
    .bind(&ask.merchant)
    .bind(&ask.body_hash[..])
    .bind(code)
    .bind(via)
    .bind(now_ms())
    .fetch_one(&mut **tx)
    .await?;
    Ok((n, operation))
}
