//! Terminals that work offline: who they are, what they did, and the ranges of S10 identifiers that they were given ahead.
//!
//! The journal of a terminal is taken as it is, in order, each entry once; the service never changes an entry, and never makes
//! one. Whatever does not fit is refused as a whole, and told, for a person to look at.

use super::journal::{self, Entry, Kind};
use crate::bounds::{ENTRIES_AT_ONCE_MAX, S10_RANGE, S10_RANGES_OPEN_MAX, TERMINALS_MAX};
use crate::estate_key::EstateKey;
use crate::ids;
use crate::kit::{Json, Kit, private};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use crate::verify::{Check, Invariant, zero};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::TryStreamExt as _;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;

pub(super) const SCHEMA: &str = "
CREATE TABLE terminal (
  office TEXT NOT NULL, terminal TEXT NOT NULL, public_key TEXT NOT NULL, registered_ms INTEGER NOT NULL, revoked_ms INTEGER,
  PRIMARY KEY (office, terminal)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal_entry (
  office TEXT NOT NULL, terminal TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, amount_cents INTEGER NOT NULL,
  reference TEXT NOT NULL, at_ms INTEGER NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL,
  received_ms INTEGER NOT NULL, PRIMARY KEY (office, terminal, sequence), FOREIGN KEY (office, terminal) REFERENCES terminal (office, terminal)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX journal_entry_parcel ON journal_entry (reference) WHERE kind = 'parcel';
CREATE TRIGGER journal_entry_kept BEFORE UPDATE ON journal_entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_entry_stays BEFORE DELETE ON journal_entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE s10_range (
  first INTEGER PRIMARY KEY, count INTEGER NOT NULL, office TEXT NOT NULL, terminal TEXT NOT NULL, number INTEGER NOT NULL,
  given_ms INTEGER NOT NULL, UNIQUE (office, terminal, number), FOREIGN KEY (office, terminal) REFERENCES terminal (office, terminal)
) STRICT;
";

pub(super) const INVARIANTS: [Invariant; 3] = [
    Invariant {
        name: "each journal that a terminal sent is whole, in order, signed and unchanged",
        check: Check::Code(|tx| Box::pin(broken_journal(tx))),
    },
    zero(
        "no S10 identifier was given to two terminals",
        "SELECT count(*) FROM s10_range a JOIN s10_range b ON b.first > a.first AND b.first < a.first + a.count",
    ),
    zero(
        "each parcel at a counter has an identifier that its terminal was given",
        "SELECT count(*) FROM journal_entry e WHERE kind = 'parcel' AND NOT EXISTS (SELECT 1 FROM s10_range r
         WHERE r.office = e.office AND r.terminal = e.terminal
         AND CAST(substr(e.reference, 3, 8) AS INTEGER) BETWEEN r.first AND r.first + r.count - 1)",
    ),
];

/// Where the serial numbers of counters begin.
const SERIAL_FIRST: i64 = 20_000_000;
/// After which none is left of eight digits.
const SERIAL_LAST: i64 = 99_999_999;

async fn broken_journal(tx: &mut sqlx::AnyConnection) -> anyhow::Result<Option<String>> {
    let terminals: Vec<(String, String, String)> =
        sqlx::query_as("SELECT office, terminal, public_key FROM terminal ORDER BY office, terminal")
            .fetch_all(&mut *tx)
            .await?;
    for (office, terminal, key) in terminals {
        let Some(key) = public_key(&key) else { return Ok(Some(format!("{office}/{terminal}: has no key"))) };
        let mut entries = sqlx::query_as::<_, Entry>(
            "SELECT sequence, kind, amount_cents, reference, at_ms, previous, hash, signature FROM journal_entry
             WHERE office = $1 AND terminal = $2 ORDER BY sequence",
        )
        .bind(&office)
        .bind(&terminal)
        .fetch(&mut *tx);
        let (mut next, mut previous) = (1, String::new());
        while let Some(entry) = entries.try_next().await? {
            let place = format!("{office}/{terminal} {}", entry.sequence);
            if entry.sequence != next {
                return Ok(Some(format!("{place}: should be number {next}")));
            }
            if let Err(fault) = entry.check(&office, &terminal, &previous, &key) {
                return Ok(Some(format!("{place}: {fault}")));
            }
            (next, previous) = (next + 1, entry.hash);
        }
    }
    Ok(None)
}

pub(super) fn public_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
}

/// What lets a terminal of an office register: whoever sets it up has it from the head office.
pub(crate) fn enrolment_code(key: &EstateKey, office: &str, terminal: &str) -> String {
    key.derive(&format!("counter terminal {office} {terminal}"))[..24].to_owned()
}

pub(super) fn routes(kit: &Kit) -> Router<Kit> {
    Router::new()
        .route("/terminals", kit.op("register", post(register)))
        .route("/journals/{office}/{terminal}", kit.op("journal", get(last).post(take)))
        .route("/journals/{office}/{terminal}/ranges", kit.op("range", post(range)))
        .route("/journals/{office}/{terminal}/statement", kit.op("closing", get(statement)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    office: String,
    terminal: String,
    public_key: String,
    enrolment_code: String,
}

/// `POST /terminals`: the first key that comes with the right code is the terminal's, for good.
async fn register(State(kit): State<Kit>, body: Json<Register>) -> Result<Response, Problem> {
    let Register { office, terminal, public_key: key, enrolment_code: code } = &body.value;
    if !journal::name_fits(office) || !journal::name_fits(terminal) {
        return Err(Problem::invalid("office and terminal take 1 to 12 capitals and digits"));
    }
    if public_key(key).is_none() {
        return Err(Problem::invalid("public_key takes an Ed25519 key of 32 bytes, base64 without padding"));
    }
    let estate = EstateKey::load_or_make(&kit.store.dir).map_err(|error| Problem::internal(&error))?;
    if hash(code.as_bytes()) != hash(enrolment_code(&estate, office, terminal).as_bytes()) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "enrolment", "this code is not that of this terminal"));
    }
    let mut tx = kit.store.begin().await?;
    let put = sqlx::query(
        "INSERT INTO terminal (office, terminal, public_key, registered_ms) SELECT $1, $2, $3, $4
         WHERE (SELECT count(*) FROM terminal) < $5 ON CONFLICT DO NOTHING",
    )
    .bind(office)
    .bind(terminal)
    .bind(key)
    .bind(now_ms())
    .bind(TERMINALS_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let known = find(&kit, office, terminal).await;
    match known {
        Ok((known, None)) if known == *key => {
            let status = if put.rows_affected() == 1 { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, axum::Json(json!({"office": office, "terminal": terminal, "status": "registered"})))
                .into_response())
        }
        Ok(_) => Err(Problem::new(StatusCode::CONFLICT, "registered", "this terminal has another key, or was revoked")),
        Err(_) => Err(Problem::busy("there are as many terminals as there may be")),
    }
}

/// The key of a terminal, and when it was revoked.
async fn find(kit: &Kit, office: &str, terminal: &str) -> Result<(String, Option<i64>), Problem> {
    let row: Option<(String, Option<i64>)> =
        sqlx::query_as("SELECT public_key, revoked_ms FROM terminal WHERE office = $1 AND terminal = $2")
            .bind(office)
            .bind(terminal)
            .fetch_optional(&kit.store.reader)
            .await?;
    row.ok_or_else(|| Problem::not_found("terminal"))
}

async fn key_in_force(kit: &Kit, office: &str, terminal: &str) -> Result<VerifyingKey, Problem> {
    let (key, revoked_ms) = find(kit, office, terminal).await?;
    if revoked_ms.is_some() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "revoked", "the key of this terminal was revoked"));
    }
    public_key(&key).ok_or_else(|| Problem::internal(&"a terminal has no key"))
}

async fn last_entry(tx: &mut Tx, office: &str, terminal: &str) -> Result<(i64, String), Problem> {
    let last: Option<(i64, String)> = sqlx::query_as(
        "SELECT sequence, hash FROM journal_entry WHERE office = $1 AND terminal = $2 ORDER BY sequence DESC LIMIT 1",
    )
    .bind(office)
    .bind(terminal)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(last.unwrap_or_default())
}

async fn last(State(kit): State<Kit>, Path((office, terminal)): Path<(String, String)>) -> Result<Response, Problem> {
    find(&kit, &office, &terminal).await?;
    let mut tx = kit.store.begin().await?;
    let (last, hash) = last_entry(&mut tx, &office, &terminal).await?;
    Ok(private(json!({"last": last, "hash": hash})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    entries: Vec<Entry>,
}

/// `POST /journals/{office}/{terminal}`: takes entries that follow what is here; what is here already must be the same.
async fn take(
    State(kit): State<Kit>,
    Path((office, terminal)): Path<(String, String)>,
    body: Json<Sent>,
) -> Result<Response, Problem> {
    let entries = &body.value.entries;
    if entries.is_empty() || entries.len() > ENTRIES_AT_ONCE_MAX {
        return Err(Problem::invalid(format!("entries takes 1 to {ENTRIES_AT_ONCE_MAX}")));
    }
    let mut tx = kit.store.begin().await?;
    // Within the transaction: what is revoked now is revoked for this.
    let (key, revoked_ms): (String, Option<i64>) =
        sqlx::query_as("SELECT public_key, revoked_ms FROM terminal WHERE office = $1 AND terminal = $2")
            .bind(&office)
            .bind(&terminal)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Problem::not_found("terminal"))?;
    let key = public_key(&key).ok_or_else(|| Problem::internal(&"a terminal has no key"))?;
    let (mut last, mut previous) = last_entry(&mut tx, &office, &terminal).await?;
    for entry in entries {
        if entry.sequence <= last {
            let known: Option<String> = sqlx::query_scalar(
                "SELECT hash FROM journal_entry WHERE office = $1 AND terminal = $2 AND sequence = $3",
            )
            .bind(&office)
            .bind(&terminal)
            .bind(entry.sequence)
            .fetch_optional(&mut *tx)
            .await?;
            if known.as_deref() != Some(entry.hash.as_str()) {
                let words =
                    format!("entry {} is here already, and is another: this journal was forked", entry.sequence);
                return Err(Problem::new(StatusCode::CONFLICT, "forked", words));
            }
            continue;
        }
        if entry.sequence != last + 1 {
            let words = format!("entry {} comes after {last}: send those between first", entry.sequence);
            return Err(Problem::new(StatusCode::CONFLICT, "gap", words));
        }
        if revoked_ms.is_some_and(|revoked_ms| entry.at_ms >= revoked_ms) {
            // What it did before is kept.
            tx.commit().await?;
            let words = format!("entry {}: this terminal was revoked before it was signed", entry.sequence);
            return Err(Problem::new(StatusCode::FORBIDDEN, "revoked", words));
        }
        if let Err(fault) = entry.check(&office, &terminal, &previous, &key) {
            let words = format!("entry {}: it {fault}", entry.sequence);
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "entry", words));
        }
        put(&mut tx, &office, &terminal, entry).await?;
        entry.hash.clone_into(&mut previous);
        last = entry.sequence;
    }
    tx.commit().await?;
    Ok(private(json!({"last": last, "hash": previous})))
}

async fn put(tx: &mut Tx, office: &str, terminal: &str, entry: &Entry) -> Result<(), Problem> {
    if entry.kind == Kind::Parcel.name() {
        let given: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM s10_range WHERE office = $1 AND terminal = $2 AND $3 BETWEEN first AND first + count - 1
             AND NOT EXISTS (SELECT 1 FROM journal_entry WHERE kind = 'parcel' AND reference = $4)",
        )
        .bind(office)
        .bind(terminal)
        .bind(entry.reference.get(2..10).and_then(|serial| serial.parse::<i64>().ok()))
        .bind(&entry.reference)
        .fetch_optional(&mut **tx)
        .await?;
        if given.is_none() {
            let words = format!("entry {}: its identifier was not given to this terminal, or is used", entry.sequence);
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "entry", words));
        }
    }
    sqlx::query(
        "INSERT INTO journal_entry (office, terminal, sequence, kind, amount_cents, reference, at_ms, previous, hash, signature, received_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(office)
    .bind(terminal)
    .bind(entry.sequence)
    .bind(&entry.kind)
    .bind(entry.amount_cents)
    .bind(&entry.reference)
    .bind(entry.at_ms)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .bind(&entry.signature)
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeAsked {
    /// Which of this terminal's ranges: the same number again is the same range.
    number: i64,
    signature: String,
}

/// What a terminal signs to be given a range.
pub(crate) fn range_text(office: &str, terminal: &str, number: i64) -> String {
    format!("guichet counter 1 range\n{office}\n{terminal}\n{number}")
}

/// `POST /journals/{office}/{terminal}/ranges`: serial numbers of S10 identifiers, given ahead and never twice.
async fn range(
    State(kit): State<Kit>,
    Path((office, terminal)): Path<(String, String)>,
    body: Json<RangeAsked>,
) -> Result<Response, Problem> {
    let key = key_in_force(&kit, &office, &terminal).await?;
    let RangeAsked { number, signature } = &body.value;
    let signature = STANDARD_NO_PAD.decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let text = range_text(&office, &terminal, *number);
    let signed = signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok());
    if !signed {
        return Err(Problem::new(StatusCode::FORBIDDEN, "signature", "this is not signed by the key of the terminal"));
    }
    let mut tx = kit.store.begin().await?;
    let known: Option<(i64, i64)> =
        sqlx::query_as("SELECT first, count FROM s10_range WHERE office = $1 AND terminal = $2 AND number = $3")
            .bind(&office)
            .bind(&terminal)
            .bind(number)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some((first, count)) = known {
        return Ok(private(json!({"number": number, "first": first, "count": count})));
    }
    let (given, used): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM s10_range WHERE office = $1 AND terminal = $2),
         (SELECT count(*) FROM journal_entry WHERE office = $1 AND terminal = $2 AND kind = 'parcel')",
    )
    .bind(&office)
    .bind(&terminal)
    .fetch_one(&mut *tx)
    .await?;
    if *number != given + 1 || given - used / S10_RANGE >= S10_RANGES_OPEN_MAX {
        let words = format!("the next range of this terminal is number {}, once those before are used", given + 1);
        return Err(Problem::new(StatusCode::CONFLICT, "range", words));
    }
    let top: Option<i64> = sqlx::query_scalar("SELECT max(first + count) FROM s10_range").fetch_one(&mut *tx).await?;
    let first = top.unwrap_or(SERIAL_FIRST);
    if first + S10_RANGE - 1 > SERIAL_LAST {
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "range", "no S10 identifiers are left"));
    }
    sqlx::query(
        "INSERT INTO s10_range (first, count, office, terminal, number, given_ms) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(first)
    .bind(S10_RANGE)
    .bind(&office)
    .bind(&terminal)
    .bind(number)
    .bind(now_ms())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(private(json!({"number": number, "first": first, "count": S10_RANGE})))
}

/// The S10 identifier of a serial number that a counter was given.
pub(crate) fn identifier(serial: i64) -> Option<String> {
    let digits = format!("{serial:08}");
    let check = ids::s10_check(&digits)?;
    Some(format!("CC{digits}{check}FR"))
}

#[derive(Deserialize)]
struct Day {
    /// The sequence number of the closing.
    closing: i64,
}

/// `GET /journals/{office}/{terminal}/statement?closing=`: as the terminal prints it.
async fn statement(
    State(kit): State<Kit>,
    Path((office, terminal)): Path<(String, String)>,
    Query(day): Query<Day>,
) -> Result<Response, Problem> {
    find(&kit, &office, &terminal).await?;
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT sequence, kind, amount_cents, reference, at_ms, previous, hash, signature FROM journal_entry
         WHERE office = $1 AND terminal = $2 AND sequence <= $3 AND sequence > (SELECT coalesce(max(sequence), 0) FROM journal_entry
           WHERE office = $1 AND terminal = $2 AND kind = 'closing' AND sequence < $3) ORDER BY sequence",
    )
    .bind(&office)
    .bind(&terminal)
    .bind(day.closing)
    .fetch_all(&kit.store.reader)
    .await?;
    if !entries.last().is_some_and(|entry| entry.kind == Kind::Closing.name() && entry.sequence == day.closing) {
        return Err(Problem::not_found("closing"));
    }
    let first = entries.first().map_or(1, |entry| entry.sequence);
    let before: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(CASE kind WHEN 'withdrawal' THEN -amount_cents WHEN 'minus' THEN -amount_cents WHEN 'closing' THEN 0
         ELSE amount_cents END), 0) FROM journal_entry WHERE office = $1 AND terminal = $2 AND sequence < $3",
    )
    .bind(&office)
    .bind(&terminal)
    .bind(first)
    .fetch_one(&kit.store.reader)
    .await?;
    let text = journal::statement(&office, &terminal, before, &entries);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "private, no-store")], text)
        .into_response())
}
