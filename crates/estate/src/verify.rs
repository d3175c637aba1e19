//! What must hold in the estate's stores at any time: checked after each drill, and after a service was killed.
//!
//! Each service brings its own invariants as a table. They are read in one snapshot a store, so a store may be verified while
//! its service works. [`verify`] changes nothing; opening a store whose service was killed completes its write-ahead log, as
//! the service itself would.

use crate::bounds::{ACKNOWLEDGED_LINE_BYTES_MAX, ACKNOWLEDGED_MAX};
use crate::service::Service;
use crate::store::{Database, Place, Store, Tx};
use crate::{app, bank, counter, identity, parcels, portal, rails, staff, vault};
use anyhow::{Context, bail};
use serde::Serialize;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::Path;
use std::pin::Pin;

/// What a check in code gives: what is wrong first, or nothing.
pub(crate) type Checking<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Option<String>>> + Send + 'a>>;

/// How an invariant is checked.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// A query for a number, which must be 0.
    Zero(&'static str),
    /// A query for the text of what is wrong, which must give no row or NULL.
    Nothing(&'static str),
    /// Code that reads the store.
    Code(for<'a> fn(&'a mut sqlx::AnyConnection) -> Checking<'a>),
}

/// One thing that must hold.
#[derive(Clone, Copy)]
pub(crate) struct Invariant {
    /// What holds, in words.
    pub(crate) name: &'static str,
    pub(crate) check: Check,
}

pub(crate) const fn zero(name: &'static str, sql: &'static str) -> Invariant {
    Invariant { name, check: Check::Zero(sql) }
}

/// What is asked of SQLite; PostgreSQL sees to it by itself.
const SQLITE: &[Invariant] = &[
    Invariant {
        name: "the store is whole",
        check: Check::Nothing(
            "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT 1",
        ),
    },
    zero("nothing refers to what is not there", "SELECT count(*) FROM pragma_foreign_key_check"),
];

/// What holds in every store.
const COMMON: &[Invariant] = &[zero(
    "sessions belong to users that exist",
    "SELECT count(*) FROM session WHERE \"user\" NOT IN (SELECT \"user\" FROM credential)",
)];

/// Whether one invariant holds.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The service whose store it is.
    pub service: &'static str,
    /// What should hold.
    pub name: String,
    /// Whether it does.
    pub ok: bool,
    /// What is wrong, or how much was looked at; may be empty.
    pub detail: String,
}

fn invariants(service: Service) -> &'static [Invariant] {
    match service {
        Service::Portal => portal::INVARIANTS,
        Service::App => app::INVARIANTS,
        Service::Identity => identity::INVARIANTS,
        Service::Vault => vault::INVARIANTS,
        Service::Bank => bank::INVARIANTS,
        Service::Rails => rails::INVARIANTS,
        Service::Counter => counter::INVARIANTS,
        Service::Parcels => parcels::INVARIANTS,
        Service::Staff => staff::INVARIANTS,
    }
}

/// Checks every store of a data folder.
///
/// `acknowledged` is a file of what clients were told is done: lines of `SERVICE ROUTE KEY`, the key being the client's own
/// (idempotency key, scan id, terminal and trace number). Each must be there exactly once, and whole.
///
/// # Errors
/// When the folder holds no store, a store can't be read, or the file of acknowledged operations is malformed. A broken
/// invariant is no error: it is a finding.
pub async fn verify(
    data: &Path,
    database: Option<&Database>,
    acknowledged: Option<&Path>,
) -> anyhow::Result<Vec<Finding>> {
    let mut told = acknowledged.map(read_acknowledged).transpose()?.unwrap_or_default();
    let mut findings = Vec::new();
    let place = Place { dir: data, database };
    for service in Service::ALL {
        let Some(store) = Store::open_existing(place, service).await? else {
            if told.contains_key(service.name()) {
                bail!(
                    "{}: there is no store of {}, though operations were acknowledged",
                    data.display(),
                    service.name()
                );
            }
            continue;
        };
        let mut tx = store.snapshot().await.with_context(|| format!("{}: can't read the store", service.name()))?;
        let own: &[Invariant] = if store.is_postgres() { &[] } else { SQLITE };
        for invariant in own.iter().chain(COMMON).chain(invariants(service)) {
            findings.push(check(service, invariant, &mut tx).await?);
        }
        if let Some(keys) = told.remove(service.name()) {
            findings.push(acknowledged_once(service, &keys, &mut tx).await?);
        }
        tx.rollback().await?;
        store.close().await;
    }
    if findings.is_empty() {
        bail!("{}: no store of the estate is in this folder", data.display());
    }
    Ok(findings)
}

async fn check(service: Service, invariant: &Invariant, tx: &mut Tx) -> anyhow::Result<Finding> {
    let place = || format!("{}: {}", service.name(), invariant.name);
    let wrong = match invariant.check {
        Check::Zero(sql) => {
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut **tx).await.with_context(place)?;
            (count != 0).then(|| format!("{count} against it"))
        }
        Check::Nothing(sql) => {
            let text: Option<Option<String>> =
                sqlx::query_scalar(sql).fetch_optional(&mut **tx).await.with_context(place)?;
            text.flatten()
        }
        Check::Code(code) => code(&mut *tx).await.with_context(place)?,
    };
    let (ok, detail) = (wrong.is_none(), wrong.unwrap_or_default());
    Ok(Finding { service: service.name(), name: invariant.name.to_owned(), ok, detail })
}

/// By service: route and key of what was acknowledged.
type Acknowledged = BTreeMap<String, Vec<(String, String)>>;

fn read_acknowledged(file: &Path) -> anyhow::Result<Acknowledged> {
    let place = file.display();
    let opened = std::fs::File::open(file).with_context(|| format!("{place}: can't read"))?;
    let mut told = Acknowledged::new();
    for (n, line) in std::io::BufReader::new(opened).lines().enumerate() {
        let line = line.with_context(|| format!("{place}: line {}", n + 1))?;
        if n >= ACKNOWLEDGED_MAX || line.len() > ACKNOWLEDGED_LINE_BYTES_MAX {
            bail!(
                "{place}: line {}: takes {ACKNOWLEDGED_MAX} lines of {ACKNOWLEDGED_LINE_BYTES_MAX} bytes at most",
                n + 1
            );
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [service, route, key] = words[..] else {
            bail!("{place}: line {}: takes SERVICE ROUTE KEY, as `bank transfers drill-1`", n + 1);
        };
        if !Service::ALL.iter().any(|known| known.name() == service) {
            bail!("{place}: line {}: there is no service called {service:?}", n + 1);
        }
        told.entry(service.to_owned()).or_default().push((route.to_owned(), key.to_owned()));
    }
    Ok(told)
}

/// An answer that was given is kept with what it answers, under the client's key: it is there, or the operation is not.
/// That the operation itself is whole is what the service's own invariants say of all kept answers.
async fn acknowledged_once(service: Service, keys: &[(String, String)], tx: &mut Tx) -> anyhow::Result<Finding> {
    let mut missing = Vec::new();
    for (route, key) in keys {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM idempotency WHERE route = $1 AND key = $2 AND status < 300")
                .bind(route)
                .bind(key)
                .fetch_one(&mut **tx)
                .await?;
        if count != 1 {
            missing.push(format!("{route} {key}: {count} times"));
        }
    }
    let ok = missing.is_empty();
    let detail = match missing.first() {
        Some(first) => format!("{} of {} are not: {first}", missing.len(), keys.len()),
        None => format!("{} looked for", keys.len()),
    };
    let name = "what was acknowledged is there exactly once".to_owned();
    Ok(Finding { service: service.name(), name, ok, detail })
}

/// The findings as a table for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let mark = if finding.ok { "holds " } else { "BROKEN" };
        let line = format!("{mark}  {:<8}  {:<width$}  {}", finding.service, finding.name, finding.detail);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let broken = findings.iter().filter(|finding| !finding.ok).count();
    let _ = writeln!(out, "{} invariants, {broken} broken", findings.len());
    out
}

/// Follows chains of hashes, link by link.
#[derive(Default)]
pub(crate) struct Chain {
    last: Option<(String, i64, String)>,
}

impl Chain {
    /// Takes the next link, those of one chain in order; what is wrong with it, if anything is.
    pub(crate) fn follow(&mut self, link: Link) -> Option<String> {
        let (place, previous) = match &self.last {
            Some((chain, place, hash)) if *chain == link.chain => (place + 1, hash.as_str()),
            Some(_) | None => (1, ""),
        };
        let at = format!("{} {}", link.chain, link.place);
        if link.place != place {
            return Some(format!("{at}: should be number {place}: one is missing or stands twice"));
        }
        if link.previous != previous {
            return Some(format!("{at}: does not follow the one before it"));
        }
        if link.hash != link.hashed {
            return Some(format!("{at}: was changed after it was written"));
        }
        self.last = Some((link.chain, link.place, link.hash));
        None
    }
}

/// One link of a chain of hashes.
pub(crate) struct Link {
    pub(crate) chain: String,
    /// From 1.
    pub(crate) place: i64,
    pub(crate) previous: String,
    pub(crate) hash: String,
    /// The hash that its content has now.
    pub(crate) hashed: String,
}
