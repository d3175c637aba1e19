//! One SQLite file a service: write-ahead log, `synchronous=FULL` (what was acknowledged is on the disk), one writer
//! whose transactions are `BEGIN IMMEDIATE`, a few readers that can't write.

use crate::bounds::{POOL_WAIT_MAX, READERS};
use crate::service::Service;
use anyhow::{Context, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A transaction of the writer.
pub(crate) type Tx = Transaction<'static, Sqlite>;

/// The tables that several services have, each in its own file.
pub(crate) const COMMON: &str = "
CREATE TABLE credential (user TEXT PRIMARY KEY, phc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE session (
  token_hash BLOB PRIMARY KEY, user TEXT NOT NULL, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user, created_ms);
CREATE TABLE idempotency (
  caller TEXT NOT NULL, route TEXT NOT NULL, key TEXT NOT NULL, body_hash BLOB NOT NULL, status INTEGER NOT NULL,
  answer TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (caller, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (at_ms);
CREATE TABLE secret (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// The database of one service.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    writer: SqlitePool,
    /// For queries that change nothing.
    pub(crate) reader: SqlitePool,
    /// The data folder: for keys that are kept beside the stores.
    pub(crate) dir: Arc<Path>,
}

impl Store {
    /// Opens the file of a service under `dir`, and makes it if need be.
    ///
    /// `migrations` are the service's steps, oldest first. At first start the transaction comes back open, so that the
    /// test data go in with the tables or not at all; the caller commits it.
    ///
    /// # Errors
    /// When the folder or the file can't be used, or the file was written by a newer version.
    pub(crate) async fn open(
        dir: &Path,
        service: Service,
        migrations: &[&'static str],
    ) -> anyhow::Result<(Self, Option<Tx>)> {
        Self::open_named(dir, service.name(), migrations).await
    }

    /// As [`Store::open`], for what is no service.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) async fn open_named(
        dir: &Path,
        name: &str,
        migrations: &[&'static str],
    ) -> anyhow::Result<(Self, Option<Tx>)> {
        let path = dir.join(format!("{name}.sqlite3"));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = |count: u32| {
            SqlitePoolOptions::new()
                .max_connections(count)
                .acquire_timeout(POOL_WAIT_MAX)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let place = path.display();
        let writer = pool(1).connect_with(options.clone()).await.with_context(|| format!("{place}: can't open"))?;
        let reader = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let store = Self { writer, reader, dir: Arc::from(dir) };

        let mut tx = store.begin().await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
        let known = i64::try_from(migrations.len())?;
        ensure!(
            version <= known,
            "{place}: version {version}, made by a newer program than this one (version {known})"
        );
        if version == known {
            return Ok((store, None));
        }
        if version == 0 {
            sqlx::raw_sql(COMMON).execute(&mut *tx).await.context("common tables")?;
        }
        for (step, sql) in migrations.iter().enumerate().skip(usize::try_from(version)?) {
            sqlx::raw_sql(*sql).execute(&mut *tx).await.with_context(|| format!("{place}: migration {}", step + 1))?;
        }
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}"))).execute(&mut *tx).await?;
        if version == 0 {
            return Ok((store, Some(tx)));
        }
        tx.commit().await?;
        Ok((store, None))
    }

    /// Opens the file of a service to read it as it is, whatever version wrote it; `None` where there is none.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub(crate) async fn open_existing(dir: &Path, service: Service) -> anyhow::Result<Option<Self>> {
        let path = dir.join(format!("{}.sqlite3", service.name()));
        if !path.is_file() {
            return Ok(None);
        }
        let options =
            SqliteConnectOptions::new().filename(&path).busy_timeout(Duration::from_secs(5)).pragma("query_only", "ON");
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(POOL_WAIT_MAX);
        let pool = pool.connect_with(options).await.with_context(|| format!("{}: can't open", path.display()))?;
        Ok(Some(Self { writer: pool.clone(), reader: pool, dir: Arc::from(dir) }))
    }

    /// Begins a transaction that may write; others wait their turn.
    pub(crate) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Closes both pools, the log being written back.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Milliseconds since 1970, by the clock of this machine.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A time as RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_its_data_and_refuses_a_newer_file() {
        let dir = tempfile::tempdir().unwrap();
        let steps: [&'static str; 2] =
            ["CREATE TABLE thing (n INTEGER) STRICT", "ALTER TABLE thing ADD COLUMN m INTEGER"];
        let (store, fresh) = Store::open(dir.path(), Service::Bank, &steps[..1]).await.unwrap();
        fresh.unwrap().rollback().await.unwrap();
        store.close().await;
        // Rolled back: it is a first start again.
        let (store, fresh) = Store::open(dir.path(), Service::Bank, &steps[..1]).await.unwrap();
        let mut tx = fresh.unwrap();
        sqlx::query("INSERT INTO thing VALUES (7)").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let written = sqlx::query("INSERT INTO thing VALUES (8)").execute(&store.reader).await;
        assert!(written.is_err(), "a reader can't write");
        store.close().await;

        let (store, fresh) = Store::open(dir.path(), Service::Bank, &steps).await.unwrap();
        assert!(fresh.is_none(), "a migration is no first start");
        let row: (i64, Option<i64>) = sqlx::query_as("SELECT n, m FROM thing").fetch_one(&store.reader).await.unwrap();
        assert_eq!(row, (7, None));
        let sync: i64 = {
            let mut tx = store.begin().await.unwrap();
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *tx).await.unwrap()
        };
        assert_eq!(sync, 2, "FULL");
        store.close().await;
        let error = Store::open(dir.path(), Service::Bank, &steps[..1]).await.err().unwrap().to_string();
        assert!(error.contains("newer program"), "{error}");
    }
}
