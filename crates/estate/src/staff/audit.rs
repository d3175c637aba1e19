//! The audit: a chain of hashes whose head is signed and kept in a second place before anything leaves.
//!
//! Who can change the store can make a new chain of it; the signed heads, best in a folder of another machine or owner
//! (`GUICHET_STAFF_HEADS`), show that: at each start the last of them must be found in the store.

use crate::bounds::{AUDIT_PAGE_MAX, HEADS_TAIL_BYTES_MAX};
use crate::key_file;
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms, rfc3339};
use crate::verify::{Chain, Link};
use anyhow::{Context as _, ensure};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What was done, to be written down.
pub(super) struct Act<'a> {
    pub(super) agent: &'a str,
    /// The file, or what else it was done to.
    pub(super) file: &'a str,
    pub(super) case: &'a str,
    pub(super) verdict: &'a str,
}

type Row = (i64, i64, String, String, String, String, String, String);

/// A head of the audit: how many entries, the hash of the last, signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) entries: i64,
    pub(super) hash: String,
    pub(super) at: String,
    pub(super) key: String,
    pub(super) signature: String,
}

impl Head {
    fn signed_text(entries: i64, hash: &str, at: &str) -> String {
        format!("guichet staff audit head 1\n{entries}\n{hash}\n{at}\n")
    }

    /// Whether the signature is that of its text by `key`.
    pub(super) fn holds(&self, key: &SigningKey) -> bool {
        let signature = hex::decode(&self.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        let text = Self::signed_text(self.entries, &self.hash, &self.at);
        signature.is_some_and(|signature| key.verifying_key().verify(text.as_bytes(), &signature).is_ok())
    }
}

/// Signs heads and keeps them in the second place.
#[derive(Clone)]
pub(super) struct Heads {
    key: Arc<SigningKey>,
    file: Arc<Mutex<std::fs::File>>,
}

pub(super) fn heads_folder(dir: &Path) -> PathBuf {
    std::env::var_os("GUICHET_STAFF_HEADS").map_or_else(|| dir.join("staff-heads"), PathBuf::from)
}

impl Heads {
    /// Opens the second place; makes key and folder where there are none.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let folder = heads_folder(dir);
        let place = folder.display().to_string();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("{place}: can't make the folder of signed heads"))?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .read(true)
            .mode(0o600)
            .open(folder.join("heads.jsonl"));
        let file = file.with_context(|| format!("{place}: can't write signed heads"))?;
        Ok(Self {
            key: Arc::new(key_file::signing_key(&dir.join("staff-audit.key"), "the key of the audit")?),
            file: Arc::new(Mutex::new(file)),
        })
    }

    pub(super) fn sign(&self, entries: i64, hash: &str) -> Head {
        let at = rfc3339(now_ms());
        let signature = self.key.sign(Head::signed_text(entries, hash, &at).as_bytes());
        Head {
            entries,
            hash: hash.to_owned(),
            at,
            key: hex::encode(self.key.verifying_key().as_bytes()),
            signature: hex::encode(signature.to_bytes()),
        }
    }

    /// Signs a head and has it on the disk of the second place before this returns.
    async fn keep(&self, entries: i64, hash: &str) -> Result<(), Problem> {
        let line = serde_json::to_string(&self.sign(entries, hash)).map_err(|error| Problem::internal(&error))?;
        let file = Arc::clone(&self.file);
        let kept = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(file, "{line}")?;
            file.sync_data()
        });
        kept.await.map_err(|error| Problem::internal(&error))?.map_err(|error| Problem::internal(&error))
    }

    /// Checks that the last head that was signed is in the store.
    pub(super) async fn check(&self, store: &Store) -> anyhow::Result<()> {
        let Some(last) = self.last()? else { return Ok(()) };
        ensure!(last.holds(&self.key), "the last signed head of the audit does not bear the signature of this service");
        let hash: Option<String> = sqlx::query_scalar("SELECT hash FROM audit WHERE id = $1")
            .bind(last.entries)
            .fetch_optional(&store.reader)
            .await?;
        ensure!(
            hash.as_deref() == Some(last.hash.as_str()),
            "the audit was cut or changed: entry {} is not the one that was signed at {}; keep the store as it is and find out why",
            last.entries,
            last.at
        );
        Ok(())
    }

    fn last(&self) -> anyhow::Result<Option<Head>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(HEADS_TAIL_BYTES_MAX)))?;
        let mut text = String::new();
        (&mut *file).take(HEADS_TAIL_BYTES_MAX).read_to_string(&mut text)?;
        // A line without its end was cut by a crash, before anything left for it.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let Some(line) = whole.lines().next_back() else { return Ok(None) };
        Ok(Some(serde_json::from_str(line).context("the last signed head can't be read")?))
    }
}

/// Adds entries, commits, and keeps the signed head: only then may what they tell of be done. Gives the number of the last.
pub(super) async fn record(mut tx: Tx, heads: &Heads, acts: &[Act<'_>], now: i64) -> Result<i64, Problem> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetch_optional(&mut *tx).await?;
    let (mut id, mut previous) = last.unwrap_or_default();
    for act in acts {
        let hashed = entry_hash(&previous, now, act.agent, act.file, act.case, act.verdict);
        id = sqlx::query_scalar(
            "INSERT INTO audit (at_ms, agent, file, case_reference, verdict, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(now)
        .bind(act.agent)
        .bind(act.file)
        .bind(act.case)
        .bind(act.verdict)
        .bind(&previous)
        .bind(&hashed)
        .fetch_one(&mut *tx)
        .await?;
        previous = hashed;
    }
    tx.commit().await?;
    heads.keep(id, &previous).await?;
    Ok(id)
}

fn entry_hash(previous: &str, at_ms: i64, agent: &str, file: &str, case: &str, verdict: &str) -> String {
    hex::encode(hash(json!([previous, at_ms, agent, file, case, verdict]).to_string().as_bytes()))
}

/// Entries below number `before`, newest first, a page of them.
pub(super) async fn page(store: &Store, before: i64) -> Result<Vec<Value>, Problem> {
    let sql = "SELECT id, at_ms, agent, file, case_reference, verdict, previous, hash FROM audit
         WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(before).bind(AUDIT_PAGE_MAX).fetch_all(&store.reader).await?;
    let told = |(id, at_ms, agent, file, case, verdict, previous, hash): &Row| {
        json!({
            "id": id, "at": rfc3339(*at_ms), "at_ms": at_ms, "agent": agent, "file": file, "case": case,
            "verdict": verdict, "previous": previous, "hash": hash,
        })
    };
    Ok(rows.iter().map(told).collect())
}

/// Number and hash of the last entry.
pub(super) async fn last(store: &Store) -> Result<(i64, String), Problem> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetch_optional(&store.reader).await?;
    Ok(last.unwrap_or_default())
}

pub(super) async fn broken_chain(tx: &mut sqlx::AnyConnection) -> anyhow::Result<Option<String>> {
    let sql = "SELECT id, at_ms, agent, file, case_reference, verdict, previous, hash FROM audit ORDER BY id";
    let mut rows = sqlx::query_as::<_, Row>(sql).fetch(&mut *tx);
    let mut chain = Chain::default();
    while let Some((place, at_ms, agent, file, case, verdict, previous, hash)) = rows.try_next().await? {
        let hashed = entry_hash(&previous, at_ms, &agent, &file, &case, &verdict);
        if let Some(fault) = chain.follow(Link { chain: "audit".to_owned(), place, previous, hash, hashed }) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}
