//! Counter operations: exactly once, in a journal whose entries are chained by hash for each terminal, so that none can be
//! changed or taken out without all later ones showing it. A receipt is checked before it is given out.

pub(crate) mod journal;
pub(crate) mod terminals;

use crate::bounds::{COUNTER_CENTS_MAX, USERS};
use crate::ids::plain;
use crate::kit::{Json, Kit, private};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::seed;
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Chain, Check, Invariant, Link, zero};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE operation (
  id TEXT PRIMARY KEY, office TEXT NOT NULL, terminal TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
  amount_cents INTEGER NOT NULL, reference TEXT NOT NULL, at_ms INTEGER NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
  UNIQUE (office, terminal, sequence)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER operation_kept BEFORE UPDATE ON operation BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER operation_stays BEFORE DELETE ON operation BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
", terminals::SCHEMA];

pub(crate) const INVARIANTS: &[Invariant] = &[
    terminals::INVARIANTS[0],
    terminals::INVARIANTS[1],
    terminals::INVARIANTS[2],
    Invariant { name: "each terminal's journal is whole, in order and unchanged", check: Check::Code(|tx| Box::pin(broken_chain(tx))) },
    zero(
        "each receipt that was given tells of an operation in the journal",
        "SELECT count(*) FROM idempotency i WHERE route = 'operations' AND status < 300 AND NOT EXISTS (SELECT 1 FROM operation o
         WHERE o.id = i.answer->>'id' AND o.office || '/' || o.terminal = i.caller AND o.hash = i.answer->>'hash')",
    ),
];

async fn broken_chain(tx: &mut sqlx::AnyConnection) -> anyhow::Result<Option<String>> {
    let mut entries =
        sqlx::query_as::<_, Entry>("SELECT * FROM operation ORDER BY office, terminal, sequence").fetch(&mut *tx);
    let mut chain = Chain::default();
    while let Some(entry) = entries.try_next().await? {
        let hashed = entry.expected();
        let Entry { office, terminal, sequence, previous, hash, .. } = entry;
        let link = Link { chain: format!("{office}/{terminal}"), place: sequence, previous, hash, hashed };
        if let Some(fault) = chain.follow(link) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Deposit,
    Withdrawal,
    Stamps,
    Parcel,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Stamps => "stamps",
            Self::Parcel => "parcel",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    office: String,
    terminal: String,
    kind: Kind,
    amount_cents: i64,
    #[serde(default)]
    reference: String,
}

/// One entry of the journal, its hash covering all the rest.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
struct Entry {
    id: String,
    office: String,
    terminal: String,
    sequence: i64,
    kind: String,
    amount_cents: i64,
    reference: String,
    at_ms: i64,
    previous: String,
    #[serde(skip)]
    hash: String,
}

impl Entry {
    /// SHA-256 over the entry as JSON with its names in the order of the alphabet, however serde_json is built: names and
    /// escapes leave no two entries with one text.
    fn hashed(&self) -> String {
        let told = BTreeMap::from([
            ("id", json!(self.id)),
            ("office", json!(self.office)),
            ("terminal", json!(self.terminal)),
            ("sequence", json!(self.sequence)),
            ("kind", json!(self.kind)),
            ("amount_cents", json!(self.amount_cents)),
            ("reference", json!(self.reference)),
            ("at_ms", json!(self.at_ms)),
            ("previous", json!(self.previous)),
        ]);
        hex::encode(hash(json!(told).to_string().as_bytes()))
    }

    /// What the hash should be for the entry to be as it was written: entries of before 27 November 2026 have their names
    /// in the order of the declaration above, unless serde_json was built without `preserve_order`.
    fn expected(&self) -> String {
        let hashed = self.hashed();
        if hashed == self.hash {
            return hashed;
        }
        let older = serde_json::to_string(self).map(|told| hex::encode(hash(told.as_bytes())));
        older.ok().filter(|older| *older == self.hash).unwrap_or(hashed)
    }

    fn answer(&self) -> Value {
        json!({
            "id": self.id, "office": self.office, "terminal": self.terminal, "sequence": self.sequence, "kind": self.kind,
            "amount_cents": self.amount_cents, "currency": "EUR", "reference": self.reference, "at": rfc3339(self.at_ms),
            "previous": self.previous, "hash": self.hash,
        })
    }
}

/// Test data: one operation for each number of a user, in one chain.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    let mut previous = String::new();
    let mut rows = Vec::new();
    for n in 0..USERS {
        let mut entry = Entry {
            id: format!("op-{n:04}"),
            office: "SEED".into(),
            terminal: "T0".into(),
            sequence: i64::from(n) + 1,
            kind: Kind::Stamps.name().into(),
            amount_cents: 139 + i64::from(n),
            reference: String::new(),
            at_ms: seed::today_ms() + i64::from(n) * 60_000,
            previous,
            hash: String::new(),
        };
        entry.hash = entry.hashed();
        previous = entry.hash.clone();
        rows.push((json!(entry), entry.hash));
    }
    let sql = "INSERT INTO operation SELECT value->0->>'id', value->0->>'office', value->0->>'terminal',
        CAST(value->0->>'sequence' AS BIGINT), value->0->>'kind', CAST(value->0->>'amount_cents' AS BIGINT), value->0->>'reference',
        CAST(value->0->>'at_ms' AS BIGINT), value->0->>'previous', value->>1 FROM json_each($1)";
    seed::insert(tx, sql, &rows).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let routes = Router::new()
        .route("/operations", kit.op("operation", post(operation)))
        .route("/operations/{id}", kit.op("receipt", get(receipt)))
        .merge(terminals::routes(kit));
    kit.finish_api(routes.with_state(kit.clone()))
}

/// `POST /operations`
async fn operation(State(kit): State<Kit>, headers: HeaderMap, body: Json<Ask>) -> Result<Response, Problem> {
    let Ask { office, terminal, kind, amount_cents, reference } = &body.value;
    let capitals = |text: &str| plain(text, 1, 12, "") && !text.bytes().any(|byte| byte.is_ascii_lowercase());
    if !capitals(office) || !capitals(terminal) {
        return Err(Problem::invalid("office and terminal take 1 to 12 capitals and digits"));
    }
    if !(1..=COUNTER_CENTS_MAX).contains(amount_cents) {
        return Err(Problem::invalid(format!("amount_cents takes 1 to {COUNTER_CENTS_MAX}")));
    }
    if reference.chars().count() > 35 || reference.chars().any(char::is_control) {
        return Err(Problem::invalid("reference takes 35 characters at most, on one line"));
    }
    let caller = format!("{office}/{terminal}");
    let demand = Demand { caller: &caller, route: "operations", key: key(&headers)?, body_hash: hash(&body.bytes) };
    let mut turn = match kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let last: Option<(i64, String)> = sqlx::query_as(
        "SELECT sequence, hash FROM operation WHERE office = $1 AND terminal = $2 ORDER BY sequence DESC LIMIT 1",
    )
    .bind(office)
    .bind(terminal)
    .fetch_optional(&mut *turn.tx)
    .await?;
    let (sequence, previous) = last.unwrap_or_default();
    let mut entry = Entry {
        id: format!("op-{}", uuid::Uuid::new_v4().simple()),
        office: office.clone(),
        terminal: terminal.clone(),
        sequence: sequence + 1,
        kind: kind.name().to_owned(),
        amount_cents: *amount_cents,
        reference: reference.clone(),
        at_ms: now_ms(),
        previous,
        hash: String::new(),
    };
    entry.hash = entry.hashed();
    sqlx::query("INSERT INTO operation VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(&entry.id)
        .bind(&entry.office)
        .bind(&entry.terminal)
        .bind(entry.sequence)
        .bind(&entry.kind)
        .bind(entry.amount_cents)
        .bind(&entry.reference)
        .bind(entry.at_ms)
        .bind(&entry.previous)
        .bind(&entry.hash)
        .execute(&mut *turn.tx)
        .await?;
    turn.finish(StatusCode::CREATED, &entry.answer()).await
}

/// `GET /operations/{id}`
async fn receipt(State(kit): State<Kit>, Path(id): Path<String>) -> Result<Response, Problem> {
    let entry: Option<Entry> =
        sqlx::query_as("SELECT * FROM operation WHERE id = $1").bind(&id).fetch_optional(&kit.store.reader).await?;
    let entry = entry.ok_or_else(|| Problem::not_found("operation"))?;
    if entry.expected() != entry.hash {
        return Err(Problem::internal(&format!("the journal was tampered with: {id}")));
    }
    Ok(private(entry.answer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_in_either_order_of_names_and_new_ones_are_written_in_one() {
        let mut entry = Entry {
            id: "op-1".into(),
            office: "A".into(),
            terminal: "T\"1".into(),
            sequence: 1,
            kind: "stamps".into(),
            amount_cents: 139,
            reference: "é".into(),
            at_ms: 7,
            previous: String::new(),
            hash: String::new(),
        };
        let sorted = r#"{"amount_cents":139,"at_ms":7,"id":"op-1","kind":"stamps","office":"A","previous":"","reference":"é","sequence":1,"terminal":"T\"1"}"#;
        let declared = r#"{"id":"op-1","office":"A","terminal":"T\"1","sequence":1,"kind":"stamps","amount_cents":139,"reference":"é","at_ms":7,"previous":""}"#;
        let sha256 = |text: &str| hex::encode(hash(text.as_bytes()));
        assert_eq!(entry.hashed(), sha256(sorted));
        for text in [sorted, declared] {
            entry.hash = sha256(text);
            assert_eq!(entry.expected(), entry.hash, "{text}");
            let changed = Entry { amount_cents: 140, ..entry.clone() };
            assert_ne!(changed.expected(), changed.hash, "{text}");
        }
    }
}
