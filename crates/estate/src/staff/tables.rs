//! The tables of the staff service, its test data, and what must hold.

use super::audit;
use crate::bounds::USERS;
use crate::store::Tx;
use crate::verify::{Check, Invariant, zero};
use crate::{credentials, ids, seed};

pub(crate) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE file (id TEXT PRIMARY KEY, subject TEXT NOT NULL, notes TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, agent TEXT NOT NULL, file TEXT NOT NULL,
  case_reference TEXT NOT NULL, verdict TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_agent ON audit (agent, at_ms);
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
",
    "
CREATE TABLE passkey (id TEXT PRIMARY KEY, agent TEXT NOT NULL, passkey TEXT NOT NULL, made_ms INTEGER NOT NULL) STRICT;
CREATE INDEX passkey_agent ON passkey (agent);
CREATE TABLE ceremony (
  id TEXT PRIMARY KEY, agent TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, made_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE privilege (token_hash BLOB PRIMARY KEY, agent TEXT NOT NULL, until_ms INTEGER NOT NULL) STRICT;
CREATE TABLE bulk (
  id TEXT PRIMARY KEY, agent TEXT NOT NULL, case_reference TEXT NOT NULL, reason TEXT NOT NULL, files TEXT NOT NULL,
  asked_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, approver TEXT, fetched_ms INTEGER
) STRICT;
CREATE TABLE lockdown (
  id TEXT PRIMARY KEY, agent TEXT NOT NULL, reason TEXT NOT NULL, minutes INTEGER NOT NULL, asked_ms INTEGER NOT NULL,
  since_ms INTEGER, until_ms INTEGER, ended_ms INTEGER
) STRICT;
CREATE TABLE officer (agent TEXT PRIMARY KEY) STRICT;
INSERT INTO officer (agent) VALUES ('user0000');
",
];

pub(crate) const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "the audit is whole, in order and unchanged",
        check: Check::Code(|tx| Box::pin(audit::broken_chain(tx))),
    },
    zero("no bulk export was approved by who asked for it", "SELECT count(*) FROM bulk WHERE approver = agent"),
    zero(
        "no package left without approval",
        "SELECT count(*) FROM bulk WHERE fetched_ms IS NOT NULL AND approver IS NULL",
    ),
];

/// Test data: one file about each user. The security officer is the first user.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let files: Vec<_> = (0..USERS)
        .map(|n| {
            let (given, family) = seed::name(n);
            let town = seed::TOWNS[n as usize % seed::TOWNS.len()].0;
            let subject = format!("{given} {family} ({})", ids::user(n));
            (format!("file-{n:04}"), subject, format!("Client du bureau de {town}."))
        })
        .collect();
    for some in files.chunks(500) {
        let rows: Vec<_> =
            (0..some.len()).map(|n| format!("(${}, ${}, ${})", 3 * n + 1, 3 * n + 2, 3 * n + 3)).collect();
        let sql = format!("INSERT INTO file (id, subject, notes) VALUES {}", rows.join(", "));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (id, subject, notes) in some {
            query = query.bind(id).bind(subject).bind(notes);
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}
