//! The large test data: as many accounts and parcels as a real estate has, the same each time, beside the small ones.
//!
//! They are there to make stores large, so nobody can sign in as their owners. Each store is filled in one transaction, or
//! not at all.

use crate::bounds::{LARGE_ACCOUNTS, LARGE_PARCELS, PARCELS_SEEDED, USERS};
use crate::ids;
use crate::seed;
use crate::service::Service;
use crate::store::load::Value::{Number, Text, Word};
use crate::store::load::{Load, Table};
use crate::store::{DATABASE_VARIABLE, Database, Place, Store};
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

/// Fills the stores of a folder, both at once; those that are full already stay as they are. The rows that were added.
pub(crate) async fn fill(place: impl Into<Place<'_>>, large: Large) -> anyhow::Result<u64> {
    let place = place.into();
    let bank = async {
        let store = crate::estate::open(place, Service::Bank).await?;
        let added = accounts(place, &store, large.accounts).await.context("accounts")?;
        store.close().await;
        anyhow::Ok(added)
    };
    let parcels = async {
        let store = crate::estate::open(place, Service::Parcels).await?;
        let added = parcels(place, &store, large.parcels).await.context("parcels")?;
        store.close().await;
        anyhow::Ok(added)
    };
    let (accounts, parcels) = tokio::try_join!(bank, parcels)?;
    Ok(accounts + parcels)
}

/// Balances from 0 to 20,000 €, no two neighbours alike.
fn cents(n: u32) -> i64 {
    i64::from(n.wrapping_mul(2_654_435_761) % 2_000_001)
}

fn account(n: u32) -> String {
    format!("large-{n:08}")
}

async fn accounts(place: Place<'_>, store: &Store, count: u32) -> anyhow::Result<u64> {
    let mut load = Load::begin(place, store, Service::Bank).await?;
    let there = load.number("SELECT CAST(1 AS BIGINT) FROM account WHERE id = $1", &[], &[&account(0)]).await?;
    if count == 0 || there.is_some() {
        return Ok(0);
    }
    let opening = "INSERT INTO journal (at_ms, kind, reference) VALUES ($1, 'opening', 'large test data') RETURNING id";
    let journal = load.number(opening, &[seed::today_ms()], &[]).await?.context("no journal")?;
    let table = Table {
        name: "account",
        columns: &["id", "owner", "iban", "label", "balance_cents", "floor_cents"],
        bytes: None,
        numbered: false,
    };
    let row = |n| {
        let (owner, iban) = (format!("holder{n:08}"), ids::iban(USERS + n, 1));
        vec![Text(account(n)), Text(owner), Text(iban), Word("Compte courant"), Number(cents(n)), Number(0)]
    };
    load.rows(&table, (0..count).map(row)).await?;
    let last = load.number("SELECT CAST(coalesce(max(id), 0) AS BIGINT) FROM entry", &[], &[]).await?.unwrap_or(0);
    let table = Table {
        name: "entry",
        columns: &["id", "journal", "account", "amount_cents", "balance_cents"],
        bytes: None,
        numbered: true,
    };
    let paid = (0..count).filter(|n| cents(*n) != 0);
    let row = |(id, n)| vec![Number(id), Number(journal), Text(account(n)), Number(cents(n)), Number(cents(n))];
    load.rows(&table, (last + 1..).zip(paid).map(row)).await?;
    let total: i64 = (0..count).map(cents).sum();
    let world = "UPDATE account SET balance_cents = balance_cents - $1 WHERE id = 'world' RETURNING balance_cents";
    let world = load.number(world, &[total], &[]).await?.context("no account of the world")?;
    let entry =
        "INSERT INTO entry (journal, account, amount_cents, balance_cents) VALUES ($1, 'world', $2, $3) RETURNING id";
    load.number(entry, &[journal, -total, world], &[]).await?;
    load.commit().await?;
    Ok(u64::from(count) * 2)
}

async fn parcels(place: Place<'_>, store: &Store, count: u32) -> anyhow::Result<u64> {
    let mut load = Load::begin(place, store, Service::Parcels).await?;
    let known = "SELECT CAST(1 AS BIGINT) FROM parcel WHERE id = $1";
    if count == 0 || load.number(known, &[], &[&ids::parcel(PARCELS_SEEDED)]).await?.is_some() {
        return Ok(0);
    }
    let today = seed::today_ms();
    let numbers = || (0..count).map(|n| PARCELS_SEEDED + n);
    // Taken in during the month before.
    let entry = |n: u32| today - i64::from(n % 30 + 1) * 86_400_000 + i64::from(n % 86_400) * 1000;
    let table =
        Table { name: "parcel", columns: &["id", "product", "entry_ms", "to_country"], bytes: None, numbered: false };
    let row = |n| vec![Text(ids::parcel(n)), Word("Colissimo"), Number(entry(n)), Word("FR")];
    load.rows(&table, numbers().map(row)).await?;
    let table = Table {
        name: "scan",
        columns: &["id", "parcel", "code", "site", "event_ms", "recorded_ms", "body_hash"],
        bytes: Some("body_hash"),
        numbered: false,
    };
    let row = |(n, k): (u32, u32)| {
        let (id, code) = (format!("large-{n:08}-{k}"), ["DR1", "PC1", "ET1"][k as usize]);
        let town = seed::TOWNS[(n + k) as usize % seed::TOWNS.len()].0;
        let at = entry(n) + i64::from(k) * 7_200_000;
        vec![Text(id), Text(ids::parcel(n)), Word(code), Word(town), Number(at), Number(at), Word("")]
    };
    let scans = numbers().flat_map(|n| (0..SCANS).map(move |k| (n, k)));
    load.rows(&table, scans.map(row)).await?;
    load.commit().await?;
    Ok(u64::from(count) * u64::from(1 + SCANS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::postgres::Postgres;
    use futures_util::TryStreamExt as _;
    use sha2::{Digest as _, Sha256};

    const LARGE: Large = Large { accounts: 12_000, parcels: 11_000 };

    /// How many rows a query gives, and a hash of them: each is one text.
    async fn digest(place: Place<'_>, service: Service, sql: &'static str) -> (usize, String) {
        let store = Store::open_existing(place, service).await.unwrap().unwrap();
        let (mut count, mut hash) = (0, Sha256::new());
        {
            let mut rows = sqlx::query_scalar::<_, String>(sql).fetch(&store.reader);
            while let Some(row) = rows.try_next().await.unwrap() {
                count += 1;
                hash.update(row.as_bytes());
                hash.update(b"\n");
            }
        }
        store.close().await;
        (count, hex::encode(hash.finalize()))
    }

    async fn digests(place: Place<'_>) -> Vec<(usize, String)> {
        let queries = [
            (
                Service::Bank,
                "SELECT id || '|' || owner || '|' || coalesce(iban, '') || '|' || label || '|' || balance_cents || '|' ||
                 coalesce(floor_cents, -1) FROM account ORDER BY id",
            ),
            (
                Service::Bank,
                "SELECT id || '|' || journal || '|' || account || '|' || amount_cents || '|' || balance_cents
                 FROM entry ORDER BY id",
            ),
            (Service::Parcels, "SELECT id || '|' || product || '|' || entry_ms || '|' || to_country FROM parcel ORDER BY id"),
            (
                Service::Parcels,
                "SELECT id || '|' || parcel || '|' || code || '|' || site || '|' || event_ms || '|' || recorded_ms || '|' ||
                 length(body_hash) FROM scan ORDER BY id",
            ),
        ];
        let mut all = Vec::new();
        for (service, sql) in queries {
            all.push(digest(place, service, sql).await);
        }
        all
    }

    async fn holds(place: Place<'_>) {
        let findings = crate::verify::verify(place.dir, place.database, None).await.unwrap();
        let broken: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[tokio::test]
    async fn large_test_data_are_the_same_in_both_databases_and_keep_what_must_hold() {
        let (dir, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
        let url = postgres.url();
        let database: Database = url.parse().unwrap();
        let files = Place::from(dir.path());
        let server = Place { dir: keys.path(), database: Some(&database) };
        let made = async |sql: &'static str| -> Vec<String> {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        };
        // References, indexes and triggers, and whether they are on.
        let shape = async || {
            let mut all = made(
                "SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1",
            )
            .await;
            all.extend(
                made("SELECT indexdef FROM pg_indexes WHERE schemaname IN ('bank', 'parcels') ORDER BY 1").await,
            );
            all.extend(
                made("SELECT tgname || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1").await,
            );
            all
        };
        for place in [files, server] {
            for service in [Service::Bank, Service::Parcels] {
                crate::estate::open(place, service).await.unwrap().close().await;
            }
        }
        let before = shape().await;
        for place in [files, server] {
            assert_eq!(fill(place, LARGE).await.unwrap(), 24_000 + 44_000);
            assert_eq!(fill(place, LARGE).await.unwrap(), 0, "full already");
            holds(place).await;
        }
        assert_eq!(shape().await, before, "what was put off is back");
        let (one, other) = (digests(files).await, digests(server).await);
        assert!(one[0].0 > 12_000 && one[2].0 > 11_000 && one[3].0 > 33_000, "{one:?}");
        assert_eq!(one, other);
    }

    #[tokio::test]
    async fn large_test_data_are_the_same_each_time() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &two] {
            fill(dir.path(), Large { accounts: 3000, parcels: 1000 }).await.unwrap();
        }
        assert_eq!(digests(Place::from(one.path())).await, digests(Place::from(two.path())).await);
    }
}
