//! The large test data: as many accounts and parcels as a real estate has, the same each time, beside the small ones.
//!
//! They are there to make stores large, so nobody can sign in as their owners. Each store is filled in one transaction, or
//! not at all.

use crate::bounds::{LARGE_ACCOUNTS, LARGE_PARCELS, LARGE_ROWS_AT_ONCE, PARCELS_SEEDED, USERS};
use crate::ids;
use crate::seed;
use crate::service::Service;
use crate::store::{DATABASE_VARIABLE, Database, Place, Store, Tx};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `seed`.
#[derive(Args, Debug)]
pub struct Seed {
    /// Folder of the databases; no service may be running on it.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep the stores in PostgreSQL, a schema a service; keys stay in the folder.
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub database: Option<Database>,
    /// How much.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    pub size: Size,
}

/// How much test data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Size {
    /// What each service makes at its first start: a thousand users.
    Small,
    /// A million accounts and ten million rows of parcels and their scans more.
    Large,
}

/// How many of each.
#[derive(Clone, Copy)]
pub(crate) struct Large {
    pub(crate) accounts: u32,
    pub(crate) parcels: u32,
}

/// Scans of each parcel of the large test data.
const SCANS: u32 = 3;

pub(crate) async fn run(options: &Seed) -> anyhow::Result<ExitCode> {
    let began = std::time::Instant::now();
    crate::estate::make_folder(&options.data)?;
    let place = Place { dir: &options.data, database: options.database.as_ref() };
    for service in Service::ALL {
        crate::estate::open(place, service).await?.close().await;
    }
    let mut words = format!("{USERS} users");
    if options.size == Size::Large {
        let large = Large { accounts: LARGE_ACCOUNTS, parcels: LARGE_PARCELS };
        let rows = fill(place, large).await?;
        words = format!("{words}, and {rows} rows of the large test data");
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {words}, in {} s", options.data.display(), began.elapsed().as_secs())?;
    Ok(ExitCode::SUCCESS)
}

/// Fills the stores of a folder; those that are full already stay as they are. The rows that were added.
pub(crate) async fn fill(place: impl Into<Place<'_>>, large: Large) -> anyhow::Result<u64> {
    let place = place.into();
    let bank = crate::estate::open(place, Service::Bank).await?;
    let added = accounts(&bank, large.accounts).await.context("accounts")?;
    bank.close().await;
    let store = crate::estate::open(place, Service::Parcels).await?;
    let added = added + parcels(&store, large.parcels).await.context("parcels")?;
    store.close().await;
    Ok(added)
}

async fn there(tx: &mut Tx, sql: &'static str, id: &str) -> anyhow::Result<bool> {
    let there: Option<i64> = sqlx::query_scalar(sql).bind(id).fetch_optional(&mut **tx).await?;
    Ok(there.is_some())
}

/// Balances from 0 to 20,000 €, no two neighbours alike.
fn cents(n: u32) -> i64 {
    i64::from(n.wrapping_mul(2_654_435_761) % 2_000_001)
}

async fn accounts(store: &Store, count: u32) -> anyhow::Result<u64> {
    let mut tx = store.begin().await?;
    if count == 0 || there(&mut tx, "SELECT 1 FROM account WHERE id = $1", &format!("large-{:08}", 0)).await? {
        return Ok(0);
    }
    let journal: i64 = sqlx::query_scalar(
        "INSERT INTO journal (at_ms, kind, reference) VALUES ($1, 'opening', 'large test data') RETURNING id",
    )
    .bind(seed::today_ms())
    .fetch_one(&mut *tx)
    .await?;
    for from in (0..count).step_by(LARGE_ROWS_AT_ONCE) {
        let to = count.min(from + u32::try_from(LARGE_ROWS_AT_ONCE)?);
        let row = |n: u32| (format!("large-{n:08}"), format!("holder{n:08}"), ids::iban(USERS + n, 1), cents(n));
        let rows: Vec<_> = (from..to).map(row).collect();
        let sql = "INSERT INTO account (id, owner, iban, label, balance_cents, floor_cents)
                   SELECT value->>0, value->>1, value->>2, 'Compte courant', CAST(value->>3 AS BIGINT), 0 FROM json_each($1)";
        seed::insert(&mut tx, sql, &rows).await?;
    }
    sqlx::query(
        "INSERT INTO entry (journal, account, amount_cents, balance_cents)
         SELECT $1, id, balance_cents, balance_cents FROM account WHERE id LIKE 'large-%' AND balance_cents <> 0 ORDER BY id",
    )
    .bind(journal)
    .execute(&mut *tx)
    .await?;
    let total: i64 = sqlx::query_scalar("SELECT sum(balance_cents) FROM account WHERE id LIKE 'large-%'")
        .fetch_one(&mut *tx)
        .await?;
    let world: i64 = sqlx::query_scalar(
        "UPDATE account SET balance_cents = balance_cents - $1 WHERE id = 'world' RETURNING balance_cents",
    )
    .bind(total)
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO entry (journal, account, amount_cents, balance_cents) VALUES ($1, 'world', $2, $3)")
        .bind(journal)
        .bind(-total)
        .bind(world)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(u64::from(count) * 2)
}

async fn parcels(store: &Store, count: u32) -> anyhow::Result<u64> {
    let mut tx = store.begin().await?;
    let known = "SELECT 1 FROM parcel WHERE id = $1";
    if count == 0 || there(&mut tx, known, &ids::parcel(PARCELS_SEEDED)).await? {
        return Ok(0);
    }
    let today = seed::today_ms();
    for from in (0..count).step_by(LARGE_ROWS_AT_ONCE) {
        let to = count.min(from + u32::try_from(LARGE_ROWS_AT_ONCE)?);
        let numbers = || (from..to).map(|n| PARCELS_SEEDED + n);
        // Taken in during the month before.
        let entry = |n: u32| today - i64::from(n % 30 + 1) * 86_400_000 + i64::from(n % 86_400) * 1000;
        let rows: Vec<_> = numbers().map(|n| (ids::parcel(n), entry(n))).collect();
        seed::insert(
            &mut tx,
            "INSERT INTO parcel SELECT value->>0, 'Colissimo', CAST(value->>1 AS BIGINT), 'FR' FROM json_each($1)",
            &rows,
        )
        .await?;
        let scans: Vec<_> = numbers()
            .flat_map(|n| {
                let id = ids::parcel(n);
                (0..SCANS).map(move |k| {
                    let code = ["DR1", "PC1", "ET1"][k as usize];
                    let town = seed::TOWNS[(n + k) as usize % seed::TOWNS.len()].0;
                    (format!("large-{n:08}-{k}"), id.clone(), code, town, entry(n) + i64::from(k) * 7_200_000)
                })
            })
            .collect();
        let sql = "INSERT INTO scan SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT), CAST(value->>4 AS BIGINT), zeroblob(0) FROM json_each($1)";
        seed::insert(&mut tx, sql, &scans).await?;
    }
    tx.commit().await?;
    Ok(u64::from(count) * u64::from(1 + SCANS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn large_test_data_are_the_same_each_time_and_keep_what_must_hold() {
        let digest = async |dir: &Path| {
            let store = Store::open_existing(dir, Service::Bank).await.unwrap().unwrap();
            let digest: (i64, i64, String) =
                sqlx::query_as("SELECT count(*), sum(balance_cents), max(iban) FROM account WHERE id LIKE 'large-%'")
                    .fetch_one(&store.reader)
                    .await
                    .unwrap();
            digest
        };
        let large = Large { accounts: 25_000, parcels: 12_000 };
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &two] {
            assert_eq!(fill(dir.path(), large).await.unwrap(), 50_000 + 48_000);
        }
        assert_eq!(fill(one.path(), large).await.unwrap(), 0, "full already");
        assert_eq!(digest(one.path()).await, digest(two.path()).await);
        assert_eq!(digest(one.path()).await.0, 25_000);
        let findings = crate::verify::verify(one.path(), None, None).await.unwrap();
        let broken: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }
}
