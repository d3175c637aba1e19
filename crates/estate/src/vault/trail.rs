//! The trail: who did what with a user's documents, append-only, a chain of hashes a user, shown to the user.

use crate::bounds::{TRAIL_ENTRIES_PER_USER_MAX, TRAIL_PAGE_MAX, TRAIL_SAME_READ_MS};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Store, Tx, rfc3339};
use crate::verify::{Chain, Link};
use futures_util::TryStreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};

/// Something that was done.
pub(super) struct Act<'a> {
    /// Whose vault.
    pub(super) owner: &'a str,
    /// Who: a user's name, or `link:` and the link's id.
    pub(super) actor: &'a str,
    pub(super) action: &'static str,
    pub(super) document: &'a str,
    /// The version, and what else tells what was done.
    pub(super) detail: String,
}

/// One entry, as it is kept.
#[derive(sqlx::FromRow)]
pub(super) struct Entry {
    pub(super) owner: String,
    pub(super) number: i64,
    pub(super) at_ms: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) document: String,
    pub(super) detail: String,
    pub(super) previous: String,
    pub(super) hash: String,
}

impl Entry {
    /// The entry that follows number `number - 1`, whose hash is `previous`.
    pub(super) fn of(act: &Act<'_>, number: i64, previous: String, at_ms: i64) -> Self {
        let mut entry = Self {
            owner: act.owner.to_owned(),
            number,
            at_ms,
            actor: act.actor.to_owned(),
            action: act.action.to_owned(),
            document: act.document.to_owned(),
            detail: act.detail.clone(),
            previous,
            hash: String::new(),
        };
        entry.hash = entry.hashed();
        entry
    }

    fn hashed(&self) -> String {
        let told = json!([
            self.previous,
            self.owner,
            self.number,
            self.at_ms,
            self.actor,
            self.action,
            self.document,
            self.detail
        ]);
        hex::encode(hash(told.to_string().as_bytes()))
    }

    /// As users and exports see it: all that is hashed, so that anyone can follow the chain.
    pub(super) fn json(&self) -> Value {
        json!({
            "number": self.number, "at": rfc3339(self.at_ms), "at_ms": self.at_ms, "actor": self.actor, "action": self.action,
            "document": self.document, "detail": self.detail, "previous": self.previous, "hash": self.hash,
        })
    }
}

/// Adds an entry; durable with the transaction.
///
/// # Errors
/// 507 when the trail is full: then what was to be traced must not be done.
pub(super) async fn append(tx: &mut Tx, act: &Act<'_>, now: i64) -> Result<(), Problem> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM trail WHERE owner = $1 ORDER BY number DESC LIMIT 1")
            .bind(act.owner)
            .fetch_optional(&mut **tx)
            .await?;
    let (number, previous) = last.unwrap_or_default();
    if number >= TRAIL_ENTRIES_PER_USER_MAX {
        let detail =
            format!("the trail of this vault has {TRAIL_ENTRIES_PER_USER_MAX} entries, and nothing goes untraced");
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "trail-full", detail));
    }
    let entry = Entry::of(act, number + 1, previous, now);
    sqlx::query(
        "INSERT INTO trail (owner, number, at_ms, actor, action, document, detail, previous, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&entry.owner)
    .bind(entry.number)
    .bind(entry.at_ms)
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(&entry.document)
    .bind(&entry.detail)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the same reading by the owner stands in the trail since a moment: then it need not again, and a page that is
/// loaded over and over costs the disk nothing.
pub(super) async fn told_just_now(store: &Store, act: &Act<'_>, now: i64) -> Result<bool, Problem> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM trail
         WHERE owner = $1 AND document = $2 AND at_ms > $3 AND actor = $4 AND action = $5 AND detail = $6";
    let count: i64 = sqlx::query_scalar(sql)
        .bind(act.owner)
        .bind(act.document)
        .bind(now - TRAIL_SAME_READ_MS)
        .bind(act.actor)
        .bind(act.action)
        .bind(&act.detail)
        .fetch_one(&store.reader)
        .await?;
    Ok(act.actor == act.owner && count > 0)
}

/// Entries below number `before`, newest first, a page of them.
pub(super) async fn page(store: &Store, owner: &str, before: i64) -> Result<Vec<Entry>, Problem> {
    let sql = "SELECT owner, number, at_ms, actor, action, document, detail, previous, hash FROM trail
         WHERE owner = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
    Ok(sqlx::query_as(sql).bind(owner).bind(before).bind(TRAIL_PAGE_MAX).fetch_all(&store.reader).await?)
}

/// Entries above number `after`, oldest first, a page of them.
pub(super) async fn page_after(store: &Store, owner: &str, after: i64) -> Result<Vec<Entry>, Problem> {
    let sql = "SELECT owner, number, at_ms, actor, action, document, detail, previous, hash FROM trail
         WHERE owner = $1 AND number > $2 ORDER BY number LIMIT $3";
    Ok(sqlx::query_as(sql).bind(owner).bind(after).bind(TRAIL_PAGE_MAX).fetch_all(&store.reader).await?)
}

/// What is wrong with the trails first, if anything is.
pub(super) async fn broken(tx: &mut sqlx::AnyConnection) -> anyhow::Result<Option<String>> {
    let sql = "SELECT owner, number, at_ms, actor, action, document, detail, previous, hash FROM trail ORDER BY owner, number";
    let mut rows = sqlx::query_as::<_, Entry>(sql).fetch(&mut *tx);
    let mut chain = Chain::default();
    while let Some(entry) = rows.try_next().await? {
        let hashed = entry.hashed();
        let link = Link {
            chain: format!("trail of {}", entry.owner),
            place: entry.number,
            previous: entry.previous,
            hash: entry.hash,
            hashed,
        };
        if let Some(fault) = chain.follow(link) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}
