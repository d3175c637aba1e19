//! What the clerk does: each operation one entry of the journal, durable before the receipt.

use super::replay::Line;
use crate::bounds::{CASH_OUT_OFFLINE_CENTS_MAX, TILL_DAY_ENTRIES_MAX};
use crate::counter::journal::{self, Entry, Kind};
use crate::counter::terminals::identifier;
use crate::kit::Kit;
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use ed25519_dalek::SigningKey;
use http::StatusCode;
use std::sync::Arc;
use tokio::sync::Notify;

pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE entry (
  sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, amount_cents INTEGER NOT NULL, reference TEXT NOT NULL, at_ms INTEGER NOT NULL,
  previous TEXT NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL, form TEXT NOT NULL UNIQUE, form_hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER entry_kept BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE given (number INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE told (id INTEGER PRIMARY KEY CHECK (id = 1), registered INTEGER NOT NULL DEFAULT 0, last INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO told (id) VALUES (1);
"];

const COLUMNS: &str = "sequence, kind, amount_cents, reference, at_ms, previous, hash, signature";

/// The terminal.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) kit: Kit,
    pub(super) office: String,
    pub(super) terminal: String,
    pub(super) key: Arc<SigningKey>,
    /// Wakes what tells the counter service.
    pub(super) bell: Arc<Notify>,
    pub(super) line: Line,
}

/// What the clerk wants to enter.
pub(super) struct Wanted<'a> {
    pub(super) kind: Kind,
    pub(super) amount_cents: i64,
    pub(super) reference: &'a str,
    /// The form: sent again, it is entered once.
    pub(super) form: &'a str,
}

/// How the till stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) cash_cents: i64,
    /// Entries that the counter service has not heard of.
    pub(super) untold: i64,
    /// Cents paid out that it has not heard of.
    pub(super) out_untold_cents: i64,
    /// S10 identifiers left.
    pub(super) identifiers: i64,
    /// Entries since the last closing.
    pub(super) today: i64,
}

fn refuse(code: &'static str, words: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, words)
}

impl Desk {
    /// How the till stands.
    pub(super) async fn standing(&self) -> Result<Standing, Problem> {
        let mut connection = self.kit.store.reader.acquire().await?;
        Ok(standing(&mut connection).await?)
    }

    /// The latest entries, newest first.
    pub(super) async fn latest(&self, count: i64) -> Result<Vec<Entry>, Problem> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM entry ORDER BY sequence DESC LIMIT $1"));
        Ok(sqlx::query_as(sql).bind(count).fetch_all(&self.kit.store.reader).await?)
    }

    /// One entry.
    pub(super) async fn entry(&self, sequence: i64) -> Result<Entry, Problem> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM entry WHERE sequence = $1"));
        let entry = sqlx::query_as(sql).bind(sequence).fetch_optional(&self.kit.store.reader).await?;
        entry.ok_or_else(|| Problem::not_found("entry"))
    }

    /// The statement of the day that a closing closed.
    pub(super) async fn statement(&self, closing: &Entry) -> Result<String, Problem> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM entry WHERE sequence <= $1 AND sequence >
             (SELECT coalesce(max(sequence), 0) FROM entry WHERE kind = 'closing' AND sequence < $1) ORDER BY sequence"
        ));
        let day: Vec<Entry> = sqlx::query_as(sql).bind(closing.sequence).fetch_all(&self.kit.store.reader).await?;
        let before: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(CASE kind WHEN 'withdrawal' THEN -amount_cents WHEN 'minus' THEN -amount_cents WHEN 'closing' THEN 0
             ELSE amount_cents END), 0) FROM entry WHERE sequence < $1",
        )
        .bind(day.first().map_or(1, |entry| entry.sequence))
        .fetch_one(&self.kit.store.reader)
        .await?;
        Ok(journal::statement(&self.office, &self.terminal, before, &day))
    }

    /// Writes an entry, once for a form, and gives it.
    ///
    /// # Errors
    /// When it may not be like that, there is not enough cash, too much went out untold, or no identifier is left.
    pub(super) async fn enter(&self, wanted: &Wanted<'_>) -> Result<Entry, Problem> {
        let form_hash =
            hash(format!("{}\n{}\n{}", wanted.kind.name(), wanted.amount_cents, wanted.reference).as_bytes());
        let mut tx = self.kit.store.begin().await?;
        let known: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT sequence, form_hash FROM entry WHERE form = $1")
            .bind(wanted.form)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some((sequence, known)) = known {
            drop(tx);
            if known != form_hash {
                return Err(refuse("form", "this form was entered already, with something else in it"));
            }
            return self.entry(sequence).await;
        }
        let standing = standing(&mut tx).await?;
        self.check(wanted, &standing)?;
        let reference = match wanted.kind {
            Kind::Parcel => next_identifier(&mut tx).await?,
            _ => wanted.reference.to_owned(),
        };
        if !journal::fits(wanted.kind, wanted.amount_cents, &reference) {
            return Err(Problem::invalid("amount or reference may not be like that"));
        }
        let last: Option<(i64, String)> =
            sqlx::query_as("SELECT sequence, hash FROM entry ORDER BY sequence DESC LIMIT 1")
                .fetch_optional(&mut *tx)
                .await?;
        let (sequence, previous) = last.unwrap_or_default();
        let entry = Entry {
            sequence: sequence + 1,
            kind: wanted.kind.name().to_owned(),
            amount_cents: wanted.amount_cents,
            reference,
            at_ms: now_ms(),
            previous,
            hash: String::new(),
            signature: String::new(),
        };
        let entry = entry.seal(&self.office, &self.terminal, &self.key);
        write(&mut tx, &entry, wanted.form, &form_hash).await?;
        tx.commit().await?;
        self.bell.notify_one();
        Ok(entry)
    }

    fn check(&self, wanted: &Wanted<'_>, standing: &Standing) -> Result<(), Problem> {
        let out_cents = if wanted.kind.sign() < 0 { wanted.amount_cents } else { 0 };
        if out_cents > standing.cash_cents {
            return Err(refuse("cash", "there is not enough cash in the till"));
        }
        if standing.out_untold_cents.saturating_add(out_cents) > CASH_OUT_OFFLINE_CENTS_MAX && out_cents > 0 {
            return Err(refuse("offline-cash", "too much cash went out that the counter service has not heard of"));
        }
        if standing.today >= TILL_DAY_ENTRIES_MAX && wanted.kind != Kind::Closing {
            return Err(refuse("day", "this day has as many entries as it may: close it first"));
        }
        Ok(())
    }
}

async fn standing(connection: &mut sqlx::AnyConnection) -> Result<Standing, sqlx::Error> {
    let (cash_cents, untold, out_untold_cents, today): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT
           coalesce(sum(CASE kind WHEN 'withdrawal' THEN -amount_cents WHEN 'minus' THEN -amount_cents WHEN 'closing' THEN 0 ELSE amount_cents END), 0),
           coalesce(sum(sequence > (SELECT last FROM told)), 0),
           coalesce(sum(CASE WHEN sequence > (SELECT last FROM told) AND kind IN ('withdrawal', 'minus') THEN amount_cents ELSE 0 END), 0),
           coalesce(sum(sequence > (SELECT coalesce(max(sequence), 0) FROM entry WHERE kind = 'closing')), 0)
         FROM entry",
    )
    .fetch_one(&mut *connection)
    .await?;
    let identifiers: i64 =
        sqlx::query_scalar("SELECT coalesce(sum(count - used), 0) FROM given").fetch_one(&mut *connection).await?;
    Ok(Standing { cash_cents, untold, out_untold_cents, identifiers, today })
}

/// The next S10 identifier of those that this terminal was given.
async fn next_identifier(tx: &mut Tx) -> Result<String, Problem> {
    let serial: Option<i64> = sqlx::query_scalar(
        "UPDATE given SET used = used + 1 WHERE number = (SELECT min(number) FROM given WHERE used < count) RETURNING first + used - 1",
    )
    .fetch_optional(&mut **tx)
    .await?;
    let serial =
        serial.ok_or_else(|| refuse("identifiers", "no identifier is left: parcels wait for the counter service"))?;
    identifier(serial).ok_or_else(|| Problem::internal(&"a serial number of another length"))
}

async fn write(tx: &mut Tx, entry: &Entry, form: &str, form_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO entry (sequence, kind, amount_cents, reference, at_ms, previous, hash, signature, form, form_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(entry.sequence)
    .bind(&entry.kind)
    .bind(entry.amount_cents)
    .bind(&entry.reference)
    .bind(entry.at_ms)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .bind(&entry.signature)
    .bind(form)
    .bind(form_hash)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
