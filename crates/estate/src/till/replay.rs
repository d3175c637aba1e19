//! Telling the counter service, in the background and in order: who this terminal is, what it did, and asking it for identifiers
//! ahead. What was told is told again until it is acknowledged; the service takes each entry once.

use super::desk::Desk;
use crate::bounds::{ENTRIES_AT_ONCE_MAX, REPLAY_PAUSE_MAX, REPLAY_PAUSE_MIN, S10_LEFT_MIN};
use crate::counter::journal::Entry;
use crate::counter::terminals::range_text;
use crate::service::Service;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How the line to the counter service is.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

/// See [`Line`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not reached, for now.
    #[default]
    Down,
    /// All is told.
    Up,
    /// The service refuses what it is told: a person must look.
    Refused(String),
}

impl Line {
    pub(super) fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Tells until the terminal stops.
pub(super) async fn run(desk: Desk, enrolment_code: Option<String>, mut stop: watch::Receiver<bool>) {
    let mut pause = REPLAY_PAUSE_MIN;
    loop {
        let told = tokio::select! {
            told = tell(&desk, enrolment_code.as_deref()) => told,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let more = matches!(told, Ok(true));
        let state = match told {
            Ok(_) => State::Up,
            Err(state) => state,
        };
        pause = if state == State::Up { REPLAY_PAUSE_MIN } else { (pause * 2).min(REPLAY_PAUSE_MAX) };
        let up = state == State::Up;
        desk.line.set(state);
        if more {
            continue;
        }
        // Woken by a new entry only while there is somebody to tell.
        tokio::select! {
            () = desk.bell.notified(), if up => {}
            () = tokio::time::sleep(if up { REPLAY_PAUSE_MAX } else { pause }) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn down(_: sqlx::Error) -> State {
    State::Refused("the terminal's own store failed".to_owned())
}

async fn ask(desk: &Desk, path: &str, body: &Value) -> Result<Value, State> {
    let headers = [("content-type", "application/json")];
    let asked = desk.kit.peers.call(Service::Counter, "POST", path, &headers, body.to_string()).await;
    let answer = asked.map_err(|_| State::Down)?;
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status.as_u16() {
        200 | 201 => Ok(told),
        400..=499 if answer.status.as_u16() != 408 && answer.status.as_u16() != 429 => {
            Err(State::Refused(told["detail"].as_str().unwrap_or("the counter service refuses").to_owned()))
        }
        _ => Err(State::Down),
    }
}

/// Tells what is to be told next; whether there may be more.
async fn tell(desk: &Desk, enrolment_code: Option<&str>) -> Result<bool, State> {
    let store = &desk.kit.store;
    let (registered, last): (i64, i64) =
        sqlx::query_as("SELECT registered, last FROM told").fetch_one(&store.reader).await.map_err(down)?;
    if registered == 0 {
        let key = STANDARD_NO_PAD.encode(desk.key.verifying_key().as_bytes());
        let code = enrolment_code.unwrap_or_default();
        let body = json!({"office": desk.office, "terminal": desk.terminal, "public_key": key, "enrolment_code": code});
        ask(desk, "/terminals", &body).await?;
        note(desk, "UPDATE told SET registered = 1", 1).await?;
    }
    let journal = format!("/journals/{}/{}", desk.office, desk.terminal);
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT sequence, kind, amount_cents, reference, at_ms, previous, hash, signature FROM entry
         WHERE sequence > $1 ORDER BY sequence LIMIT $2",
    )
    .bind(last)
    .bind(i64::try_from(ENTRIES_AT_ONCE_MAX).unwrap_or(1))
    .fetch_all(&store.reader)
    .await
    .map_err(down)?;
    // What was done is told first: a terminal that is given nothing any more is still believed for what it did before.
    let Some(newest) = entries.last().map(|entry| entry.sequence) else {
        return identifiers(desk, &journal).await;
    };
    let answer = ask(desk, &journal, &json!({"entries": entries})).await?;
    // Only what the service says that it has.
    let acknowledged = answer["last"].as_i64().filter(|acknowledged| *acknowledged >= newest);
    acknowledged.ok_or(State::Down)?;
    note(desk, "UPDATE told SET last = max(last, $1)", newest).await?;
    Ok(true)
}

/// Asks for identifiers ahead where few are left.
async fn identifiers(desk: &Desk, journal: &str) -> Result<bool, State> {
    let store = &desk.kit.store;
    let standing = desk.standing().await.map_err(|_| State::Down)?;
    if standing.identifiers < S10_LEFT_MIN {
        let number: i64 =
            sqlx::query_scalar("SELECT count(*) + 1 FROM given").fetch_one(&store.reader).await.map_err(down)?;
        let text = range_text(&desk.office, &desk.terminal, number);
        let signature = STANDARD_NO_PAD.encode(desk.key.sign(text.as_bytes()).to_bytes());
        let range = ask(desk, &format!("{journal}/ranges"), &json!({"number": number, "signature": signature})).await?;
        keep_range(desk, number, &range).await?;
        return Ok(true);
    }
    alive(desk).await
}

/// Nothing is to be told: whether somebody is there.
async fn alive(desk: &Desk) -> Result<bool, State> {
    let answer = desk.kit.peers.call(Service::Counter, "GET", "/health", &[], "").await.map_err(|_| State::Down)?;
    if answer.status.is_success() { Ok(false) } else { Err(State::Down) }
}

async fn note(desk: &Desk, sql: &'static str, number: i64) -> Result<(), State> {
    let mut tx = desk.kit.store.begin().await.map_err(down)?;
    let query = sqlx::query(sql);
    let query = if sql.contains("$1") { query.bind(number) } else { query };
    query.execute(&mut *tx).await.map_err(down)?;
    tx.commit().await.map_err(down)
}

async fn keep_range(desk: &Desk, number: i64, range: &Value) -> Result<(), State> {
    let (Some(first), Some(count)) = (range["first"].as_i64(), range["count"].as_i64().filter(|count| *count > 0))
    else {
        return Err(State::Down);
    };
    let mut tx = desk.kit.store.begin().await.map_err(down)?;
    sqlx::query("INSERT INTO given (number, first, count) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(number)
        .bind(first)
        .bind(count)
        .execute(&mut *tx)
        .await
        .map_err(down)?;
    tx.commit().await.map_err(down)
}
