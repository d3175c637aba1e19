//! The lock-down: a switch that stops all reading but of the audit. The security officer turns it alone, others by two; it
//! ends by itself, or by the officer's hand.

use super::Staff;
use super::audit::{self, Act};
use crate::bounds::{LOCKDOWN_ASKED_MS, LOCKDOWN_MINUTES_MAX};
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::store::{Tx, now_ms, rfc3339};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

/// Whether nothing may be read now.
pub(super) async fn active(tx: &mut Tx, now: i64) -> Result<bool, Problem> {
    let count: i64 = sqlx::query_scalar(
        "SELECT CAST(count(*) AS BIGINT) FROM lockdown WHERE since_ms IS NOT NULL AND until_ms > $1 AND ended_ms IS NULL",
    )
    .bind(now)
    .fetch_one(&mut **tx)
    .await?;
    Ok(count > 0)
}

pub(super) fn refusal() -> Problem {
    let detail = "nothing is read until the lock-down ends; GET /lockdown says when that is";
    Problem::new(StatusCode::LOCKED, "locked-down", detail)
}

/// Who asked, why, when; since when and until when it holds, once a second person agreed.
type Row = (String, String, i64, Option<i64>, Option<i64>);

pub(super) async fn show(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    staff.agent(&headers).await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT agent, reason, asked_ms, since_ms, until_ms FROM lockdown WHERE ended_ms IS NULL
         AND (until_ms > $1 OR (since_ms IS NULL AND asked_ms > $2)) ORDER BY asked_ms DESC LIMIT 1",
    )
    .bind(now_ms())
    .bind(now_ms() - LOCKDOWN_ASKED_MS)
    .fetch_optional(&staff.kit.store.reader)
    .await?;
    let Some((agent, reason, asked, since, until)) = row else { return Ok(private(json!({"state": "open"}))) };
    let state = if since.is_some() { "locked-down" } else { "asked" };
    Ok(private(json!({
        "state": state, "asked_by": agent, "reason": reason, "asked_at": rfc3339(asked),
        "since": since.map(rfc3339), "until": until.map(rfc3339),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    reason: String,
    minutes: i64,
}

pub(super) async fn ask(
    State(staff): State<Staff>,
    headers: HeaderMap,
    body: Json<Wanted>,
) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    let Wanted { reason, minutes } = body.value;
    if !(1..=LOCKDOWN_MINUTES_MAX).contains(&minutes) || reason.is_empty() || reason.len() > 200 {
        return Err(Problem::invalid(format!("minutes takes 1 to {LOCKDOWN_MINUTES_MAX}, reason 1 to 200 bytes")));
    }
    let alone = staff.is_officer(&agent).await?;
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    // One at a time: what was asked before and came to nothing goes; the audit keeps it.
    sqlx::query("DELETE FROM lockdown WHERE since_ms IS NULL OR until_ms <= $1 OR ended_ms IS NOT NULL")
        .bind(now)
        .execute(&mut *tx)
        .await?;
    if active(&mut tx, now).await? {
        return Err(Problem::new(StatusCode::CONFLICT, "locked-down", "there is a lock-down already"));
    }
    let (since, until) = (alone.then_some(now), alone.then_some(now + minutes * 60_000));
    sqlx::query(
        "INSERT INTO lockdown (id, agent, reason, minutes, asked_ms, since_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(format!("lock-{}", uuid::Uuid::new_v4().simple()))
    .bind(&agent)
    .bind(&reason)
    .bind(minutes)
    .bind(now)
    .bind(since)
    .bind(until)
    .execute(&mut *tx)
    .await?;
    let verdict = if alone { "lockdown" } else { "lockdown-asked" };
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: "", case: "", verdict }], now).await?;
    let state = if alone { "locked-down" } else { "asked" };
    Ok((StatusCode::CREATED, private(json!({"state": state, "until": until.map(rfc3339)}))).into_response())
}

pub(super) async fn agree(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let done = sqlx::query(
        "UPDATE lockdown SET since_ms = $1, until_ms = $1 + minutes * 60000
         WHERE since_ms IS NULL AND asked_ms > $2 AND agent <> $3",
    )
    .bind(now)
    .bind(now - LOCKDOWN_ASKED_MS)
    .bind(&agent)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() != 1 {
        let detail = "nobody else has asked for a lock-down in the last minutes; two people make one";
        return Err(Problem::new(StatusCode::CONFLICT, "second-person", detail));
    }
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: "", case: "", verdict: "lockdown" }], now).await?;
    Ok(private(json!({"state": "locked-down"})))
}

pub(super) async fn end(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    if !staff.is_officer(&agent).await? {
        let detail = "the security officer ends a lock-down, or it ends by itself";
        return Err(Problem::new(StatusCode::FORBIDDEN, "officer-needed", detail));
    }
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let done = sqlx::query("UPDATE lockdown SET ended_ms = $1 WHERE ended_ms IS NULL AND until_ms > $1")
        .bind(now)
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() == 0 {
        return Err(Problem::not_found("lock-down"));
    }
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: "", case: "", verdict: "lockdown-ended" }], now)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
