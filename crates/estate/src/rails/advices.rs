//! What the bank must be told of, in order and until it has it: payments that were approved without it, and what is given back.
//!
//! Each advice names an operation by its id, so that sending it again does no harm. What was promised to someone is never
//! decided again: the bank books it.

use super::core::{Away, Core, Said};
use crate::bounds::{ADVICE_PAUSE_MAX, ADVICE_PAUSE_MIN, ADVICES_AT_ONCE_MAX, ADVICES_PURGE_MAX, ADVICES_WAITING_MAX};
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

pub(super) const SCHEMA: &str = "
CREATE TABLE advice (
  n INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, path TEXT NOT NULL, body TEXT NOT NULL, at_ms INTEGER NOT NULL,
  done_ms INTEGER, outcome TEXT, CHECK ((done_ms IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX advice_waiting ON advice (n) WHERE done_ms IS NULL;
CREATE INDEX advice_operation ON advice (operation);
CREATE INDEX advice_done ON advice (done_ms) WHERE done_ms IS NOT NULL;
";

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Wakes the task that sends.
pub(crate) type Bell = Arc<Notify>;

/// Writes an advice; it is sent once the transaction is durable.
///
/// # Errors
/// When as many wait as may, or the store fails.
pub(super) async fn put(tx: &mut Tx, operation: &str, path: &str, body: &Value) -> Result<(), Problem> {
    let now = now_ms();
    sqlx::query("DELETE FROM advice WHERE n IN (SELECT n FROM advice WHERE done_ms <= $1 ORDER BY done_ms LIMIT $2)")
        .bind(now - DAY_MS)
        .bind(ADVICES_PURGE_MAX)
        .execute(&mut **tx)
        .await?;
    let put = sqlx::query(
        "INSERT INTO advice (operation, path, body, at_ms) SELECT $1, $2, $3, $4
         WHERE (SELECT count(*) FROM advice WHERE done_ms IS NULL) < $5",
    )
    .bind(operation)
    .bind(path)
    .bind(body.to_string())
    .bind(now)
    .bind(ADVICES_WAITING_MAX)
    .execute(&mut **tx)
    .await?;
    if put.rows_affected() == 0 {
        return Err(Problem::busy("too many advices wait for the bank"));
    }
    Ok(())
}

/// Sends advices until the estate stops.
pub(crate) async fn run(store: Store, core: Core, bell: Bell, mut stop: watch::Receiver<bool>) {
    let mut pause = ADVICE_PAUSE_MIN;
    loop {
        let sent = tokio::select! {
            sent = send(&store, &core) => sent,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        pause = match sent {
            Ok(Sent::All) => {
                tokio::select! {
                    () = bell.notified() => {}
                    // What was unanswered for long is looked for now and then.
                    () = tokio::time::sleep(ADVICE_PAUSE_MAX) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                ADVICE_PAUSE_MIN
            }
            Ok(Sent::Some) => ADVICE_PAUSE_MIN,
            Ok(Sent::Away) | Err(_) => {
                if let Err(error) = sent {
                    eprintln!("guichet-estate: rails: advices: {error}");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                (pause * 2).min(ADVICE_PAUSE_MAX)
            }
        };
    }
}

enum Sent {
    /// None waits any more.
    All,
    /// More may wait.
    Some,
    /// The bank does not answer.
    Away,
}

async fn send(store: &Store, core: &Core) -> Result<Sent, sqlx::Error> {
    super::cards::give_up(store).await?;
    let waiting: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT n, path, body FROM advice WHERE done_ms IS NULL ORDER BY n LIMIT $1")
            .bind(ADVICES_AT_ONCE_MAX)
            .fetch_all(&store.reader)
            .await?;
    if waiting.is_empty() {
        return Ok(Sent::All);
    }
    let mut outcomes = Vec::with_capacity(waiting.len());
    let mut away = false;
    for (n, path, body) in &waiting {
        // One after the other: a reversal must not overtake what it reverses.
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match core.insist(path, &body).await {
            Ok(said) => outcomes.push((*n, outcome(said))),
            Err(Away) => {
                away = true;
                break;
            }
        }
    }
    let mut tx = store.begin().await?;
    for (n, outcome) in outcomes {
        sqlx::query("UPDATE advice SET done_ms = $1, outcome = $2 WHERE n = $3")
            .bind(now_ms())
            .bind(outcome)
            .bind(n)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(if away { Sent::Away } else { Sent::Some })
}

fn outcome(said: Said) -> &'static str {
    match said {
        Said::Done(_) => "done",
        Said::Void => "void",
        Said::NoFunds => "no funds",
        Said::NoAccount => "no account",
        Said::No(status) => {
            eprintln!("guichet-estate: rails: the bank refuses an advice with status {status}; it waits for a person");
            "refused"
        }
    }
}
