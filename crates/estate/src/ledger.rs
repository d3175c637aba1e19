//! Double-entry book-keeping: each transaction's entries sum to zero, the journal is append-only (triggers see to it), an
//! account that has a floor never goes below it.

use crate::problem::Problem;
use crate::store::Tx;
use crate::verify::{Invariant, zero};
use http::StatusCode;

/// The tables.
pub(crate) const SCHEMA: &str = "
CREATE TABLE account (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, iban TEXT UNIQUE, label TEXT NOT NULL,
  balance_cents INTEGER NOT NULL DEFAULT 0, floor_cents INTEGER,
  CHECK (floor_cents IS NULL OR balance_cents >= floor_cents)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_owner ON account (owner);
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, reference TEXT NOT NULL) STRICT;
CREATE TABLE entry (
  id INTEGER PRIMARY KEY AUTOINCREMENT, journal INTEGER NOT NULL REFERENCES journal (id),
  account TEXT NOT NULL REFERENCES account (id), amount_cents INTEGER NOT NULL CHECK (amount_cents <> 0),
  balance_cents INTEGER NOT NULL
) STRICT;
CREATE INDEX entry_account ON entry (account, id);
CREATE INDEX entry_journal ON entry (journal);
CREATE TRIGGER journal_kept BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entry_kept BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
";

/// The account of all that is outside the bank; it has no floor.
pub(crate) const WORLD: &str = "world";

/// One movement between two accounts.
pub(crate) struct Movement<'a> {
    pub(crate) kind: &'static str,
    pub(crate) reference: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// More than zero.
    pub(crate) amount_cents: i64,
    pub(crate) at_ms: i64,
}

/// Why a movement was not booked.
#[derive(Debug)]
pub(crate) enum Unbooked {
    /// The account that pays has not enough.
    Funds,
    /// The store failed.
    Store(sqlx::Error),
}

impl From<sqlx::Error> for Unbooked {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Unbooked> for Problem {
    fn from(unbooked: Unbooked) -> Self {
        match unbooked {
            Unbooked::Funds => insufficient(),
            Unbooked::Store(error) => error.into(),
        }
    }
}

/// The refusal for want of money.
pub(crate) fn insufficient() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "insufficient-funds", "the account has not enough for this")
}

/// Books a movement and gives its number in the journal.
///
/// # Errors
/// When the paying account has not enough (checked before anything is written), or the store fails.
pub(crate) async fn book(tx: &mut Tx, movement: &Movement<'_>) -> Result<i64, Unbooked> {
    let &Movement { kind, reference, from, to, amount_cents, at_ms } = movement;
    debug_assert!(amount_cents > 0 && from != to);
    let (balance, floor): (i64, Option<i64>) =
        sqlx::query_as("SELECT balance_cents, floor_cents FROM account WHERE id = $1")
            .bind(from)
            .fetch_one(&mut **tx)
            .await?;
    let after = balance.checked_sub(amount_cents).ok_or(Unbooked::Funds)?;
    if floor.is_some_and(|floor| after < floor) {
        return Err(Unbooked::Funds);
    }
    let journal: i64 =
        sqlx::query_scalar("INSERT INTO journal (at_ms, kind, reference) VALUES ($1, $2, $3) RETURNING id")
            .bind(at_ms)
            .bind(kind)
            .bind(reference)
            .fetch_one(&mut **tx)
            .await?;
    for (account, amount) in [(from, -amount_cents), (to, amount_cents)] {
        let balance: i64 = sqlx::query_scalar(
            "UPDATE account SET balance_cents = balance_cents + $1 WHERE id = $2 RETURNING balance_cents",
        )
        .bind(amount)
        .bind(account)
        .fetch_one(&mut **tx)
        .await?;
        sqlx::query("INSERT INTO entry (journal, account, amount_cents, balance_cents) VALUES ($1, $2, $3, $4)")
            .bind(journal)
            .bind(account)
            .bind(amount)
            .bind(balance)
            .execute(&mut **tx)
            .await?;
    }
    Ok(journal)
}

/// One account at first start: id, owner, IBAN, label, opening balance in cents.
pub(crate) type Opening = (String, String, Option<String>, &'static str, i64);

/// Opens accounts, their money coming from [`WORLD`] in one journal entry; they can't go below zero.
pub(crate) async fn open_accounts(tx: &mut Tx, accounts: &[Opening], at_ms: i64) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO account (id, owner, label) VALUES ($1, '', 'outside the bank')")
        .bind(WORLD)
        .execute(&mut **tx)
        .await?;
    let sql = "INSERT INTO account SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT), 0 FROM json_each($1)";
    crate::seed::insert(tx, sql, accounts).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO journal (at_ms, kind, reference) VALUES ({at_ms}, 'opening', 'opening balances');
         INSERT INTO entry (journal, account, amount_cents, balance_cents)
           SELECT (SELECT max(id) FROM journal), id, balance_cents, balance_cents FROM account WHERE balance_cents <> 0;
         UPDATE account SET balance_cents = -(SELECT coalesce(sum(balance_cents), 0) FROM account) WHERE id = '{WORLD}';
         INSERT INTO entry (journal, account, amount_cents, balance_cents)
           SELECT (SELECT max(id) FROM journal), id, balance_cents, balance_cents FROM account WHERE id = '{WORLD}' AND balance_cents <> 0;"
    )))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What must hold in a ledger at any time.
pub(crate) const INVARIANTS: [Invariant; 7] = [
    zero(
        "each transaction sums to zero",
        "SELECT count(*) FROM (SELECT 1 FROM entry GROUP BY journal HAVING sum(amount_cents) <> 0) s",
    ),
    zero("no money came or went: all balances sum to zero", "SELECT coalesce(sum(balance_cents), 0) FROM account"),
    zero(
        "a balance is the sum of its entries",
        "SELECT count(*) FROM account a
         WHERE balance_cents <> coalesce((SELECT sum(amount_cents) FROM entry WHERE account = a.id), 0)",
    ),
    zero(
        "each entry tells the balance that it left",
        "SELECT count(*) FROM (SELECT balance_cents, sum(amount_cents) OVER (PARTITION BY account ORDER BY id) AS so_far FROM entry) s
         WHERE balance_cents <> so_far",
    ),
    zero("no account is below its floor", "SELECT count(*) FROM account WHERE balance_cents < floor_cents"),
    zero("no transaction is empty", "SELECT count(*) FROM journal WHERE id NOT IN (SELECT journal FROM entry)"),
    zero(
        "the journal has no gap",
        "SELECT coalesce(max(id), 0) - count(*) FROM journal",
    ),
];

/// The invariants of a ledger, then those of the service that keeps it.
pub(crate) const fn with_ledger<const OWN: usize, const ALL: usize>(own: [Invariant; OWN]) -> [Invariant; ALL] {
    let mut all = [INVARIANTS[0]; ALL];
    let mut n = 0;
    while n < ALL {
        all[n] = if n < INVARIANTS.len() { INVARIANTS[n] } else { own[n - INVARIANTS.len()] };
        n += 1;
    }
    all
}

/// The first thing that does not hold and should; for tests.
#[cfg(test)]
pub(crate) async fn fault(store: &crate::store::Store) -> Option<String> {
    for invariant in INVARIANTS {
        let crate::verify::Check::Zero(sql) = invariant.check else { continue };
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&store.reader).await.unwrap();
        if count != 0 {
            return Some(format!("{}: {count} against it", invariant.name));
        }
    }
    None
}
