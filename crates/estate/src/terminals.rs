//! The command line's word on terminals of counters: which there are, and that one is no longer to be believed.
//!
//! A terminal that is revoked keeps what it did before: entries of its journal signed earlier, by its own clock, are still taken once;
//! later ones are refused, and it is given no more identifiers. There is no way back: a new terminal takes a new name.

use crate::estate;
use crate::service::Service;
use crate::store::{DATABASE_VARIABLE, Database, Place, Store, now_ms, rfc3339};
use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `terminals`.
#[derive(Args, Debug)]
pub struct Terminals {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// See [`Terminals`].
#[derive(Debug, Subcommand)]
pub enum What {
    /// Print each terminal: its name, when it registered, whether it is revoked, how many entries of it are here.
    List {
        /// Folder of the counter's database; the service may be running.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The store is in PostgreSQL.
        #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
        database: Option<Database>,
    },
    /// Take back a terminal's key, for good: what it signs from now on is refused.
    Revoke {
        /// The terminal, as `list` prints it.
        #[arg(value_name = "OFFICE/TERMINAL")]
        terminal: String,
        /// Folder of the counter's database; the service may be running.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The store is in PostgreSQL.
        #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
        database: Option<Database>,
    },
}

type Row = (String, String, i64, Option<i64>, i64);

/// Does what is asked.
///
/// # Errors
/// When there is no such store or no such terminal.
pub(crate) async fn run(options: &Terminals) -> anyhow::Result<ExitCode> {
    let (data, database) = match &options.what {
        What::List { data, database } | What::Revoke { data, database, .. } => (data, database),
    };
    let place = Place { dir: data, database: database.as_ref() };
    // A wrong folder is not made into a counter.
    ensure!(
        Store::open_existing(place, Service::Counter).await?.is_some(),
        "{}: there is no counter here; --data takes the folder that `estate counter` was given",
        data.display()
    );
    let store = estate::open(place, Service::Counter).await?;
    let done = match &options.what {
        What::List { .. } => list(&store).await,
        What::Revoke { terminal, .. } => revoke(&store, terminal).await,
    };
    store.close().await;
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT t.office, t.terminal, t.registered_ms, t.revoked_ms,
         (SELECT count(*) FROM journal_entry e WHERE e.office = t.office AND e.terminal = t.terminal)
         FROM terminal t ORDER BY t.office, t.terminal",
    )
    .fetch_all(&store.reader)
    .await?;
    let mut out = std::io::stdout().lock();
    for (office, terminal, registered_ms, revoked_ms, entries) in rows {
        let state = revoked_ms.map_or_else(|| "in force".to_owned(), |ms| format!("revoked {}", rfc3339(ms)));
        writeln!(out, "{office}/{terminal}  registered {}  {state}  {entries} entries", rfc3339(registered_ms))?;
    }
    Ok(out.flush()?)
}

async fn revoke(store: &Store, name: &str) -> anyhow::Result<()> {
    let Some((office, terminal)) = name.split_once('/') else {
        bail!("{name:?}: takes OFFICE/TERMINAL, as `terminals list` prints them");
    };
    let mut tx = store.begin().await?;
    // The first time counts: what was refused stays refused, what was taken stays taken.
    let revoked: Option<i64> = sqlx::query_scalar(
        "UPDATE terminal SET revoked_ms = coalesce(revoked_ms, $1) WHERE office = $2 AND terminal = $3 RETURNING revoked_ms",
    )
    .bind(now_ms())
    .bind(office)
    .bind(terminal)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(revoked_ms) = revoked else { bail!("{name}: there is no such terminal; see `terminals list`") };
    tx.commit().await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name} is revoked since {}", rfc3339(revoked_ms))?;
    Ok(out.flush()?)
}
