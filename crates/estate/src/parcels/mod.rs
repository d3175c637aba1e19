//! Parcels: scans, tracking, prices.

mod quotes;
pub(crate) mod tracking;

use crate::bounds::{CLOCK_AHEAD_MS_MAX, PARCELS_SEEDED, SCANS_PER_PARCEL_MAX};
use crate::ids::{self, S10Error};
use crate::kit::{Json, Kit};
use crate::once::{Demand, Taken, hash};
use crate::problem::Problem;
use crate::seed;
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE parcel (id TEXT PRIMARY KEY, product TEXT NOT NULL, entry_ms INTEGER NOT NULL, to_country TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE scan (
  id TEXT PRIMARY KEY, parcel TEXT NOT NULL REFERENCES parcel (id), code TEXT NOT NULL, site TEXT NOT NULL,
  event_ms INTEGER NOT NULL, recorded_ms INTEGER NOT NULL, body_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX scan_parcel ON scan (parcel, event_ms);
"];

pub(crate) const INVARIANTS: &[Invariant] = &[
    zero(
        "each scan that was acknowledged is there, for its parcel and with its code",
        "SELECT count(*) FROM idempotency i WHERE route = 'scans' AND status < 300 AND NOT EXISTS (SELECT 1 FROM scan s
         WHERE s.id = i.key AND s.parcel = i.answer->>'parcel' AND s.code = i.answer->>'code' AND s.body_hash = i.body_hash)",
    ),
    zero(
        "no scan was recorded long before it happened",
        "SELECT count(*) FROM scan WHERE event_ms > recorded_ms + 600000",
    ),
];

/// Test data: parcels with their first steps.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    let today = seed::today_ms();
    let events = |n| seed::parcel_events(n, today);
    let parcels: Vec<_> =
        (0..PARCELS_SEEDED).map(|n| (ids::parcel(n), events(n).first().map_or(today, |event| event.at_ms))).collect();
    seed::insert(
        tx,
        "INSERT INTO parcel SELECT value->>0, 'Colissimo', CAST(value->>1 AS BIGINT), 'FR' FROM json_each($1)",
        &parcels,
    )
    .await?;
    let scans: Vec<_> = (0..PARCELS_SEEDED)
        .flat_map(|n| {
            let numbered = events(n).into_iter().enumerate();
            numbered.map(move |(k, e)| (format!("seed-{n:05}-{k}"), ids::parcel(n), e.code, e.site, e.at_ms))
        })
        .collect();
    let sql = "INSERT INTO scan SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT), CAST(value->>4 AS BIGINT), zeroblob(0) FROM json_each($1)";
    seed::insert(tx, sql, &scans).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let routes = Router::new()
        .route("/scans", kit.op("scan", post(scan)))
        .route("/tracking/{id}", kit.op("tracking", get(tracking::tracking)))
        .route("/suivi/v2/idships/{ids}", kit.op("idships", get(tracking::idships)))
        .route("/quotes", kit.op("quote", post(quotes::quote)));
    kit.finish_api(routes.with_state(kit.clone()))
}

/// Checks an identifier that a client gave.
fn checked(id: &str) -> Result<String, Problem> {
    ids::s10(id).map_err(|error| {
        Problem::malformed(match error {
            S10Error::Shape => "this is no S10 identifier: two letters, nine digits, two letters",
            S10Error::Check => "the check digit of this S10 identifier is wrong: a digit was mistyped",
        })
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    scan_id: String,
    parcel: String,
    code: String,
    site: String,
    event_at: String,
}

/// `POST /scans`: the scanner makes `scan_id`, and sends until it has an answer.
async fn scan(State(kit): State<Kit>, body: Json<Scan>) -> Result<Response, Problem> {
    let Scan { scan_id, parcel, code, site, event_at } = &body.value;
    if !ids::plain(scan_id, 8, 64, "-_") {
        return Err(Problem::invalid("scan_id takes 8 to 64 letters, digits, - and _"));
    }
    let parcel = checked(parcel)?;
    let Some(label) = tracking::label(code, true) else {
        return Err(Problem::invalid("code is none of the codes of tracking events"));
    };
    if !(1..=60).contains(&site.chars().count()) || site.chars().any(char::is_control) {
        return Err(Problem::invalid("site takes 1 to 60 characters on one line"));
    }
    let event: jiff::Timestamp = event_at
        .parse()
        .map_err(|_| Problem::invalid("event_at takes a time with its offset, as 2026-01-05T10:00:00Z"))?;
    let (event_ms, now) = (event.as_millisecond(), now_ms());
    if event_ms > now + CLOCK_AHEAD_MS_MAX {
        return Err(Problem::invalid("event_at is in the future: the scanner's clock is wrong"));
    }
    let body_hash = hash(&body.bytes);
    let demand = Demand { caller: "partner", route: "scans", key: scan_id, body_hash };
    let mut turn = match kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    // Beyond the day for which answers are kept, the scan itself tells.
    let before: Option<(Vec<u8>, i64)> = sqlx::query_as("SELECT body_hash, recorded_ms FROM scan WHERE id = $1")
        .bind(scan_id)
        .fetch_optional(&mut *turn.tx)
        .await?;
    let recorded_ms = match before {
        Some((hash, at)) if hash == body_hash => at,
        Some(_) => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "this scan_id was used for another scan",
            ));
        }
        None => {
            record(&mut turn.tx, &body.value, &parcel, event_ms, now, &body_hash).await?;
            now
        }
    };
    let answer = json!({
        "scan_id": scan_id, "parcel": parcel, "code": code, "label": label, "event_at": rfc3339(event_ms),
        "recorded_at": rfc3339(recorded_ms),
    });
    turn.finish(StatusCode::CREATED, &answer).await
}

async fn record(
    tx: &mut Tx,
    scan: &Scan,
    parcel: &str,
    event_ms: i64,
    now: i64,
    body_hash: &[u8],
) -> Result<(), Problem> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM scan WHERE parcel = p.id) FROM parcel p WHERE id = $1")
            .bind(parcel)
            .fetch_optional(&mut **tx)
            .await?;
    match known {
        None => return Err(Problem::not_found("parcel")),
        Some(count) if count >= SCANS_PER_PARCEL_MAX => {
            let detail = format!("a parcel has {SCANS_PER_PARCEL_MAX} scans at most");
            return Err(Problem::new(StatusCode::CONFLICT, "too-many-scans", detail));
        }
        Some(_) => {}
    }
    sqlx::query("INSERT INTO scan VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(&scan.scan_id)
        .bind(parcel)
        .bind(&scan.code)
        .bind(&scan.site)
        .bind(event_ms)
        .bind(now)
        .bind(body_hash)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
