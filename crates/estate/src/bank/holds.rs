//! Money that is spoken for but not yet moved, and what the rails have moved: one row an operation, under the id that the
//! rails made.
//!
//! A hold is pending until it is booked, voided or out of date, each once. What an account can spend is its balance less its
//! holds. What was booked is never changed: giving back is an entry of its own.

use crate::bounds::HOLDS_EXPIRED_AT_ONCE_MAX;
use crate::ledger::{self, Movement, WORLD};
use crate::problem::Problem;
use crate::store::Tx;
use crate::verify::{Invariant, zero};
use http::StatusCode;

pub(super) const SCHEMA: &str = "
INSERT INTO account (id, owner, label) VALUES ('suspense', '', 'owed by customers or to be cleared');
CREATE TABLE operation (
  id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (id), paid_by TEXT REFERENCES account (id),
  amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0), kind TEXT NOT NULL, reference TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'booked', 'void', 'expired')), journal INTEGER REFERENCES journal (id),
  given_back_cents INTEGER NOT NULL DEFAULT 0 CHECK (given_back_cents BETWEEN 0 AND amount_cents),
  made_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  CHECK ((status = 'booked') = (journal IS NOT NULL)), CHECK ((status = 'booked') = (paid_by IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_pending ON operation (account, expires_ms) WHERE status = 'pending';
";

pub(super) const INVARIANTS: [Invariant; 3] = [
    zero(
        "each operation of the rails that is booked moved its money exactly once",
        "SELECT count(*) FROM operation o WHERE status = 'booked' AND 1 <> (SELECT count(*) FROM entry e
         WHERE e.journal = o.journal AND e.account = o.paid_by AND abs(e.amount_cents) = o.amount_cents)",
    ),
    zero(
        "what was given back of an operation is what was booked as given back",
        "SELECT count(*) FROM operation o WHERE given_back_cents <> coalesce((SELECT sum(e.amount_cents) FROM journal j
         JOIN entry e ON e.journal = j.id WHERE j.kind = 'correction' AND j.reference = o.id AND e.account = o.paid_by), 0)",
    ),
    zero(
        "no money moved for the rails without an operation",
        "SELECT count(*) FROM journal j WHERE kind IN ('card', 'cash', 'payment', 'instant', 'instant-credit') AND 1 <> (SELECT count(*) FROM operation WHERE journal = j.id)",
    ),
];

/// The account from which is paid what an account should have and has not.
pub(super) const SUSPENSE: &str = "suspense";

/// What the rails ask for.
pub(super) struct Wanted<'a> {
    pub(super) id: &'a str,
    pub(super) account: &'a str,
    /// More than zero.
    pub(super) amount_cents: i64,
    pub(super) kind: &'static str,
    pub(super) reference: &'a str,
    pub(super) now: i64,
    pub(super) expires_ms: i64,
}

/// An operation as it stands.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Operation {
    pub(super) account: String,
    pub(super) paid_by: Option<String>,
    pub(super) amount_cents: i64,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) given_back_cents: i64,
    pub(super) expires_ms: i64,
}

/// What an account can spend now.
///
/// # Errors
/// When the store fails; a missing account is `None`.
pub(super) async fn available_cents(
    connection: &mut sqlx::AnyConnection,
    account: &str,
    now: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT balance_cents - (SELECT coalesce(sum(amount_cents), 0) FROM operation
         WHERE account = $1 AND status = 'pending' AND expires_ms > $2) FROM account WHERE id = $1",
    )
    .bind(account)
    .bind(now)
    .fetch_optional(connection)
    .await
}

pub(super) async fn find(tx: &mut Tx, id: &str) -> Result<Option<Operation>, sqlx::Error> {
    sqlx::query_as(
        "SELECT account, paid_by, amount_cents, kind, status, given_back_cents, expires_ms FROM operation WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await
}

/// The same id must mean the same thing.
fn same(known: &Operation, wanted: &Wanted<'_>) -> Result<(), Problem> {
    if known.status == "void" {
        return Err(Problem::new(StatusCode::CONFLICT, "void", "this operation was reversed; it is not done any more"));
    }
    if known.account != wanted.account || known.kind != wanted.kind {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "this id was used for something else",
        ));
    }
    Ok(())
}

/// Holds money. The same id again changes nothing.
///
/// # Errors
/// Without enough money, for an id that was voided or means something else, or when the store fails.
pub(super) async fn hold(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<(), Problem> {
    if let Some(known) = find(tx, wanted.id).await? {
        return same(&known, wanted);
    }
    let available = available_cents(tx, wanted.account, wanted.now).await?;
    if available.ok_or_else(|| Problem::not_found("account"))? < wanted.amount_cents {
        return Err(ledger::insufficient());
    }
    // Holds that nobody came for stop being looked at; what they were for may still be booked, as any debit.
    sqlx::query(
        "UPDATE operation SET status = 'expired' WHERE id IN
         (SELECT id FROM operation WHERE status = 'pending' AND expires_ms <= $1 LIMIT $2)",
    )
    .bind(wanted.now)
    .bind(HOLDS_EXPIRED_AT_ONCE_MAX)
    .execute(&mut **tx)
    .await?;
    put(tx, wanted, "pending", None).await?;
    Ok(())
}

/// Books a debit at once, or the hold of the same id; the same again changes nothing. A `forced` one was promised to someone
/// while the bank was away: it is booked in any case, from [`SUSPENSE`] where the account has not enough.
///
/// # Errors
/// As [`hold`]; a forced one is refused only where it was voided, means something else, or has no account.
pub(super) async fn debit(tx: &mut Tx, wanted: &Wanted<'_>, forced: bool) -> Result<(), Problem> {
    let known = find(tx, wanted.id).await?;
    let mut own_hold_cents = 0;
    if let Some(known) = &known {
        same(known, wanted)?;
        if known.status == "booked" {
            return Ok(());
        }
        if known.status == "pending" && known.expires_ms > wanted.now {
            own_hold_cents = known.amount_cents;
        }
    }
    let available = available_cents(tx, wanted.account, wanted.now).await?;
    let enough = available.ok_or_else(|| Problem::not_found("account"))? + own_hold_cents >= wanted.amount_cents;
    if !enough && !forced {
        return Err(ledger::insufficient());
    }
    let from = if enough { wanted.account } else { SUSPENSE };
    let &Wanted { kind, id, amount_cents, now, .. } = wanted;
    let movement = Movement { kind, reference: id, from, to: WORLD, amount_cents, at_ms: now };
    let journal = ledger::book(tx, &movement).await?;
    if known.is_some() {
        sqlx::query(
            "UPDATE operation SET status = 'booked', amount_cents = $1, journal = $2, paid_by = $3 WHERE id = $4",
        )
        .bind(amount_cents)
        .bind(journal)
        .bind(from)
        .bind(id)
        .execute(&mut **tx)
        .await?;
        return Ok(());
    }
    put(tx, wanted, "booked", Some((journal, from))).await?;
    Ok(())
}

/// Money that comes in for an account; the same again changes nothing.
///
/// # Errors
/// Where there is no such account, or the id means something else, or the store fails.
pub(super) async fn credit(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<(), Problem> {
    if let Some(known) = find(tx, wanted.id).await? {
        return same(&known, wanted);
    }
    let &Wanted { kind, id, account, amount_cents, now, .. } = wanted;
    let movement = Movement { kind, reference: id, from: WORLD, to: account, amount_cents, at_ms: now };
    let journal = ledger::book(tx, &movement).await?;
    put(tx, wanted, "booked", Some((journal, account))).await?;
    Ok(())
}

/// Leaves `keep_cents` of an operation and gives the rest back: a hold is made smaller or voided, what was booked is given
/// back by a correction. An operation that is not known is voided before it comes. The same again changes nothing.
///
/// # Errors
/// For a credit, when more should be kept than there is, or when the store fails.
pub(super) async fn keep(tx: &mut Tx, wanted: &Wanted<'_>, keep_cents: i64) -> Result<&'static str, Problem> {
    let Some(known) = find(tx, wanted.id).await? else {
        available_cents(tx, wanted.account, wanted.now).await?.ok_or_else(|| Problem::not_found("account"))?;
        put(tx, wanted, "void", None).await?;
        return Ok("void");
    };
    if known.kind.ends_with("-credit") {
        return Err(Problem::invalid("money that came in is not given back by this"));
    }
    let given_back = known.amount_cents - keep_cents;
    if given_back < known.given_back_cents {
        return Err(Problem::invalid("more would be kept than is left of this operation"));
    }
    match (known.status.as_str(), known.paid_by.as_deref()) {
        ("pending", _) if keep_cents > 0 => {
            sqlx::query("UPDATE operation SET amount_cents = $1 WHERE id = $2")
                .bind(keep_cents)
                .bind(wanted.id)
                .execute(&mut **tx)
                .await?;
            Ok("pending")
        }
        ("pending" | "expired", _) => {
            sqlx::query("UPDATE operation SET status = 'void' WHERE id = $1")
                .bind(wanted.id)
                .execute(&mut **tx)
                .await?;
            Ok("void")
        }
        ("booked", Some(paid_by)) => {
            let amount_cents = given_back - known.given_back_cents;
            if amount_cents > 0 {
                let (reference, at_ms) = (wanted.id, wanted.now);
                let kind = "correction";
                ledger::book(tx, &Movement { kind, reference, from: WORLD, to: paid_by, amount_cents, at_ms }).await?;
                sqlx::query("UPDATE operation SET given_back_cents = $1 WHERE id = $2")
                    .bind(given_back)
                    .bind(wanted.id)
                    .execute(&mut **tx)
                    .await?;
            }
            Ok("booked")
        }
        _ => Ok("void"),
    }
}

async fn put(
    tx: &mut Tx,
    wanted: &Wanted<'_>,
    status: &'static str,
    booked: Option<(i64, &str)>,
) -> Result<(), sqlx::Error> {
    let (journal, paid_by) = booked.unzip();
    sqlx::query(
        "INSERT INTO operation (id, account, paid_by, amount_cents, kind, reference, status, journal, made_ms, expires_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(wanted.id)
    .bind(wanted.account)
    .bind(paid_by)
    .bind(wanted.amount_cents)
    .bind(wanted.kind)
    .bind(wanted.reference)
    .bind(status)
    .bind(journal)
    .bind(wanted.now)
    .bind(wanted.expires_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
