//! Exactly once: the client makes a key before it sends, and may send again without harm.
//!
//! A key is bound to the caller, the route and a hash of what was asked. The answer is kept in the transaction that does
//! the work, so that both are durable or neither is.

use crate::bounds::{IDEMPOTENCY_LIFE_MS, IDEMPOTENCY_PURGE_MAX};
use crate::ids::plain;
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys whose work is under way; at most as many as a service has workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashSet<[u8; 32]>>>);

/// What is to be done once.
pub(crate) struct Demand<'a> {
    pub(crate) caller: &'a str,
    pub(crate) route: &'static str,
    pub(crate) key: &'a str,
    /// Hash of all that was asked.
    pub(crate) body_hash: [u8; 32],
}

/// The turn of a demand: its transaction, and the guard that lets others of the same key wait outside.
pub(crate) struct Turn<'a> {
    pub(crate) tx: Tx,
    demand: Demand<'a>,
    _guard: Guard,
}

/// Either this demand is to be done now, or it was done before.
pub(crate) enum Taken<'a> {
    /// To be done, then [`Turn::finish`]ed.
    Now(Turn<'a>),
    /// Done before: the answer it got then.
    Before(Response),
}

struct Guard(UnderWay, [u8; 32]);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// The idempotency key of a request.
///
/// # Errors
/// When it is absent or not as described in the message.
pub(crate) fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let text = headers.get("idempotency-key").ok_or_else(|| {
        Problem::malformed(
            "the header Idempotency-Key is missing: make a new one for each operation, keep it for retries",
        )
    })?;
    let text = text.to_str().unwrap_or("");
    if !plain(text, 8, 64, "-_") {
        return Err(Problem::malformed("Idempotency-Key takes 8 to 64 letters, digits, - and _"));
    }
    Ok(text)
}

/// SHA-256 of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl<'a> Turn<'a> {
    /// Begins the transaction of a demand.
    ///
    /// # Errors
    /// 409 while the same key is being served, 422 when the key was used for another body.
    pub(crate) async fn take(store: &Store, under_way: &UnderWay, demand: Demand<'a>) -> Result<Taken<'a>, Problem> {
        let mark = hash(format!("{}\n{}\n{}", demand.caller, demand.route, demand.key).as_bytes());
        if !under_way.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mark) {
            let detail = "the same Idempotency-Key is being served right now";
            let problem = Problem::new(StatusCode::CONFLICT, "in-progress", detail);
            return Err(Problem { retry_after_s: Some(1), ..problem });
        }
        let guard = Guard(under_way.clone(), mark);
        let mut tx = store.begin().await?;
        let known: Option<(Vec<u8>, i64, String)> = sqlx::query_as(
            "SELECT body_hash, status, answer FROM idempotency WHERE caller = $1 AND route = $2 AND key = $3 AND at_ms > $4",
        )
        .bind(demand.caller)
        .bind(demand.route)
        .bind(demand.key)
        .bind(now_ms() - IDEMPOTENCY_LIFE_MS)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((body_hash, status, answer)) = known else {
            return Ok(Taken::Now(Self { tx, demand, _guard: guard }));
        };
        if body_hash != demand.body_hash {
            let detail = "this key was used for something else; make a new key for a new operation";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail));
        }
        let mut response = answer_of(u16::try_from(status).unwrap_or(500), answer);
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(Taken::Before(response))
    }

    /// Keeps the answer, commits, and only then gives the answer out.
    ///
    /// # Errors
    /// When the store fails; then nothing was done.
    pub(crate) async fn finish(mut self, status: StatusCode, answer: &Value) -> Result<Response, Problem> {
        let text = answer.to_string();
        let now = now_ms();
        sqlx::query(
            "DELETE FROM idempotency WHERE (caller, route, key) IN
             (SELECT caller, route, key FROM idempotency WHERE at_ms <= $1 ORDER BY at_ms LIMIT $2)",
        )
        .bind(now - IDEMPOTENCY_LIFE_MS)
        .bind(IDEMPOTENCY_PURGE_MAX)
        .execute(&mut *self.tx)
        .await?;
        sqlx::query("INSERT INTO idempotency VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, route, key) DO UPDATE SET
             body_hash = excluded.body_hash, status = excluded.status, answer = excluded.answer, at_ms = excluded.at_ms")
            .bind(self.demand.caller)
            .bind(self.demand.route)
            .bind(self.demand.key)
            .bind(&self.demand.body_hash[..])
            .bind(i64::from(status.as_u16()))
            .bind(&text)
            .bind(now)
            .execute(&mut *self.tx)
            .await?;
        self.tx.commit().await?;
        Ok(answer_of(status.as_u16(), text))
    }
}

fn answer_of(status: u16, json: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], json).into_response()
}
