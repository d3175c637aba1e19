//! The store of one service: an SQLite file, or a schema of its own in a PostgreSQL database. Either way what was
//! acknowledged is on the disk, transactions that write wait for each other's turn, and a few readers can't write.
//!
//! SQLite: write-ahead log, `synchronous=FULL`, `BEGIN IMMEDIATE`. PostgreSQL: each such transaction begins by taking the
//! schema's advisory lock, also against other processes, so that none needs to be tried again.

pub(crate) mod dialect;
pub(crate) mod load;
pub(crate) mod roles;

use crate::bounds::{POOL_WAIT_MAX, READERS};
use crate::service::Service;
use anyhow::{Context, ensure};
pub use dialect::{DATABASE_VARIABLE, Database};
use sqlx::AnyPool;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, Connection as _, Executor as _, Transaction};
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

/// A transaction of the writer.
pub(crate) type Tx = Transaction<'static, Any>;

/// The tables that several services have, each in its own store.
pub(crate) const COMMON: &str = "
CREATE TABLE credential (\"user\" TEXT PRIMARY KEY, phc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE session (
  token_hash BLOB PRIMARY KEY, \"user\" TEXT NOT NULL, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX \"session_user\" ON session (\"user\", created_ms);
CREATE TABLE idempotency (
  caller TEXT NOT NULL, route TEXT NOT NULL, key TEXT NOT NULL, body_hash BLOB NOT NULL, status INTEGER NOT NULL,
  answer TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (caller, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (at_ms);
CREATE TABLE secret (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Where stores are: a data folder, and the database if there is one. Keys are in the folder in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) database: Option<&'a Database>,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Place<'a> {
    fn from(dir: &'a P) -> Self {
        Self { dir: dir.as_ref(), database: None }
    }
}

impl Place<'_> {
    /// Where the store of this name is, for messages.
    fn tell(self, name: &str) -> String {
        match self.database {
            Some(database) => format!("{} (schema {name})", database.place()),
            None => self.dir.join(format!("{name}.sqlite3")).display().to_string(),
        }
    }

    /// How to reach the store of a name; in PostgreSQL as the user `role`, if users have roles.
    fn connect(self, name: &str, role: &str, mode: &str) -> anyhow::Result<AnyConnectOptions> {
        sqlx::any::install_default_drivers();
        let url = match self.database {
            Some(database) => database.url(role, self.dir)?,
            None => {
                let path = std::path::absolute(self.dir)?.join(format!("{name}.sqlite3"));
                let path = path.to_str().context("the data folder's name is no UTF-8")?;
                let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
                format!("sqlite://{path}?mode={mode}")
            }
        };
        Ok(AnyConnectOptions::from_str(&url)?)
    }

    /// A pool whose connections say `greeting` first. SQLite's never break; PostgreSQL's are tried before use.
    fn pool(self, count: u32, greeting: String) -> AnyPoolOptions {
        AnyPoolOptions::new()
            .max_connections(count)
            .acquire_timeout(POOL_WAIT_MAX)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(self.database.is_some())
            .before_acquire(|connection, _| Box::pin(is_out_of_transactions(connection)))
            .after_connect(move |connection, _| {
                let greeting = sqlx::AssertSqlSafe(greeting.clone());
                Box::pin(async move { connection.execute(sqlx::raw_sql(greeting)).await.map(|_| ()) })
            })
    }
}

/// Whether a connection can begin a transaction. SQLite ends one by itself where the disk is full; the driver counts it on, since
/// its own ROLLBACK then fails, and would refuse every later one: such a connection is given up.
async fn is_out_of_transactions(connection: &mut sqlx::AnyConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // Or a rollback was asked for and is still to be done: it is when this is answered.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Whether a schema of PostgreSQL has the estate's tables.
const THERE: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = $1 AND c.relname = 'schema_version'";

const TLS: &str = "no connection that sslmode allows: does the server speak TLS, and is its certificate for this host, and by sslrootcert?";

/// Why a server of PostgreSQL did not let us in, and what mends it.
fn refused(error: sqlx::Error, place: &str) -> anyhow::Error {
    let cause = error.to_string();
    let mend = match &error {
        sqlx::Error::Io(why) if why.kind() == std::io::ErrorKind::NotFound => {
            "a file that --database names is not there: sslrootcert, sslcert, sslkey or the server's socket"
        }
        sqlx::Error::Tls(_) => TLS,
        _ if cause.contains("certificate") => TLS,
        _ => "is the server up, and are user, password and database of --database right?",
    };
    anyhow::Error::new(error).context(format!("{place}: can't connect: {mend}"))
}

/// The database of one service.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    writer: AnyPool,
    /// For queries that change nothing.
    pub(crate) reader: AnyPool,
    /// The data folder: for keys that are kept beside the stores.
    pub(crate) dir: Arc<Path>,
    /// The number of the lock that writers take; PostgreSQL only.
    lock: Option<i64>,
}

impl Store {
    /// Opens the store of a service, and makes it if need be.
    ///
    /// `migrations` are the service's steps, oldest first. At first start the transaction comes back open, so that the
    /// test data go in with the tables or not at all; the caller commits it.
    ///
    /// # Errors
    /// When the folder, the file or the database can't be used, or the store was written by a newer version.
    pub(crate) async fn open(
        place: impl Into<Place<'_>>,
        service: Service,
        migrations: &[&'static str],
    ) -> anyhow::Result<(Self, Option<Tx>)> {
        Self::open_named(place, service.name(), migrations).await
    }

    /// As [`Store::open`], for what is no service.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) async fn open_named(
        place: impl Into<Place<'_>>,
        name: &str,
        migrations: &[&'static str],
    ) -> anyhow::Result<(Self, Option<Tx>)> {
        let place = place.into();
        let schema = place.database.map(|_| name);
        let options = place.connect(name, name, "rwc")?;
        let greet = |writes| dialect::greeting(schema, writes);
        let told = place.tell(name);
        if schema.is_some() {
            // A pool would try again and again, and not say why.
            let tried = sqlx::AnyConnection::connect_with(&options).await.map_err(|error| refused(error, &told))?;
            tried.close().await.with_context(|| told.clone())?;
        }
        let writer = place.pool(1, greet(true)).connect_with(options.clone()).await;
        let writer = writer.with_context(|| format!("{told}: can't open"))?;
        let reader = place.pool(READERS, greet(false)).connect_lazy_with(options);
        let lock = schema.map(lock_number);
        let store = Self { writer, reader, dir: Arc::from(place.dir), lock };

        let mut tx = store.begin().await?;
        let version = store.version(&mut tx, name).await.with_context(|| told.clone())?;
        let known = i64::try_from(migrations.len())?;
        ensure!(version <= known, "{told}: version {version}, made by a newer program than this one (version {known})");
        if version == known {
            return Ok((store, None));
        }
        let common = (version == 0).then_some(COMMON);
        let steps = common.iter().chain(migrations.iter().skip(usize::try_from(version)?));
        for (step, sql) in steps.enumerate() {
            let sql = if schema.is_some() { dialect::tables(sql) } else { (*sql).to_owned() };
            let made = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await;
            made.with_context(|| format!("{told}: step {} from version {version}", step + 1))?;
        }
        let keep = match schema {
            Some(_) => format!("UPDATE schema_version SET known = {known}"),
            None => format!("PRAGMA user_version = {known}"),
        };
        sqlx::raw_sql(sqlx::AssertSqlSafe(keep)).execute(&mut *tx).await?;
        if version == 0 {
            return Ok((store, Some(tx)));
        }
        tx.commit().await?;
        Ok((store, None))
    }

    /// How many migrations the store has had; a schema of PostgreSQL is made if need be.
    async fn version(&self, tx: &mut Tx, name: &str) -> anyhow::Result<i64> {
        if self.lock.is_none() {
            return Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut **tx).await?);
        }
        let there: i64 = sqlx::query_scalar(THERE).bind(name).fetch_one(&mut **tx).await?;
        if there == 0 {
            let schema: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = $1")
                .bind(name)
                .fetch_one(&mut **tx)
                .await?;
            // An empty one was made for this service's role.
            let make = if schema == 0 { format!("CREATE SCHEMA \"{name}\"; ") } else { String::new() };
            let make = sqlx::AssertSqlSafe(make + dialect::PRELUDE);
            let failed = "can't make the schema; `guichet estate roles` makes all, with a role for each service";
            sqlx::raw_sql(make).execute(&mut **tx).await.context(failed)?;
        }
        Ok(sqlx::query_scalar("SELECT known FROM schema_version").fetch_one(&mut **tx).await?)
    }

    /// Opens the store of a service to read it as it is, whatever version wrote it; `None` where there is none.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(crate) async fn open_existing(place: impl Into<Place<'_>>, service: Service) -> anyhow::Result<Option<Self>> {
        let (place, name) = (place.into(), service.name());
        if place.database.is_none() && !place.dir.join(format!("{name}.sqlite3")).is_file() {
            return Ok(None);
        }
        let schema = place.database.map(|_| name);
        let options = place.connect(name, roles::VERIFY, "rw")?;
        if schema.is_some() {
            let mut tried =
                sqlx::AnyConnection::connect_with(&options).await.map_err(|error| refused(error, &place.tell(name)))?;
            let there: i64 = sqlx::query_scalar(THERE).bind(name).fetch_one(&mut tried).await?;
            tried.close().await?;
            if there == 0 {
                return Ok(None);
            }
        }
        let pool = place.pool(1, dialect::greeting(schema, false)).connect_with(options).await;
        let pool = pool.with_context(|| format!("{}: can't open", place.tell(name)))?;
        Ok(Some(Self { writer: pool.clone(), reader: pool, dir: Arc::from(place.dir), lock: schema.map(lock_number) }))
    }

    /// Whether it is in PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        self.lock.is_some()
    }

    /// Begins a transaction that may write; others wait their turn.
    pub(crate) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let Some(lock) = self.lock else { return self.writer.begin_with("BEGIN IMMEDIATE").await };
        let mut tx = self.writer.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Begins a transaction that sees one state and changes nothing.
    pub(crate) async fn snapshot(&self) -> Result<Tx, sqlx::Error> {
        match self.lock {
            Some(_) => self.reader.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
            None => self.reader.begin().await,
        }
    }

    /// Closes both pools, the log being written back.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Whether a store has no room left on its disk; the cause goes to standard error.
pub(crate) fn full(error: &sqlx::Error) -> bool {
    // PostgreSQL's disk_full; SQLite's FULL, IOERR_WRITE and IOERR_SHMSIZE.
    const CODES: [&str; 4] = ["53100", "13", "778", "4874"];
    let full = matches!(error, sqlx::Error::Database(told) if told.code().is_some_and(|code| CODES.contains(&&*code)));
    if full {
        eprintln!("guichet-estate: the disk of the store is full: {error}");
    }
    full
}

/// Whether a store did not answer, so that the same may work later; the cause goes to standard error.
pub(crate) fn away(error: &sqlx::Error) -> bool {
    let away = match error {
        sqlx::Error::PoolTimedOut => return true,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => true,
        // Connection lost, resources short, ended by an operator, a lock not had in time.
        sqlx::Error::Database(told) => told.code().is_some_and(|code| {
            code.len() == 5 && (["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "55P03")
        }),
        _ => false,
    };
    if away {
        eprintln!("guichet-estate: the store is away: {error}");
    }
    away
}

/// The advisory lock of a schema: a number of its name, the same in each program.
fn lock_number(name: &str) -> i64 {
    name.bytes().fold(0x6775_6963, |number: i64, byte| number.wrapping_mul(257).wrapping_add(i64::from(byte)))
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
    async fn a_full_disk_is_told_from_other_errors_and_what_it_leaves_behind_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let steps: [&'static str; 1] = ["CREATE TABLE thing (n INTEGER, b BLOB) STRICT"];
        let (store, fresh) = Store::open(dir.path(), Service::Bank, &steps).await.unwrap();
        fresh.unwrap().commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 20").fetch_all(&mut *tx).await.unwrap();
        let big = "INSERT INTO thing VALUES (1, zeroblob(1000000))";
        let error = sqlx::query(big).execute(&mut *tx).await.unwrap_err();
        assert!(full(&error), "{error}");
        assert_eq!(crate::problem::Problem::from(error).code, "no-room");
        let other = sqlx::query("INSERT INTO nothing VALUES (1)").execute(&mut *tx).await.unwrap_err();
        assert!(!full(&other), "{other}");
        let over = sqlx::query("ROLLBACK").execute(&mut *tx).await;
        assert!(over.is_err(), "SQLite has ended the transaction by itself, of which the driver does not learn");
        drop(tx);
        let mut tx = store.begin().await.expect("the next one is not held up");
        sqlx::query(big).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
    }

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
