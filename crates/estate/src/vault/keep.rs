//! Keeping documents: put in, read, made anew, destroyed. Each takes effect together with its entry in the trail.

use super::seal::{Key, WRAPPED_BYTES, user_place, version_place};
use super::trail::{self, Act};
use crate::bounds::{
    DOCUMENT_BYTES_MAX, DOCUMENTS_BYTES_PER_USER_MAX, DOCUMENTS_PER_USER_MAX, VAULT_NAME_BYTES_MAX,
    VAULT_PATH_BYTES_MAX, VERSIONS_PER_DOCUMENT_MAX,
};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Store, Tx};
use http::StatusCode;

/// A document without its content.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) name: String,
    /// Its folder: empty for the top one, else as `/a/b`.
    pub(super) parent: String,
    /// Folder and name, unique in the vault; the name has a mark where another document has it already.
    pub(super) path: String,
    pub(super) current: i64,
    pub(super) size_bytes: i64,
    pub(super) sha256: String,
    /// When this version was received.
    pub(super) received_ms: i64,
}

/// The columns of a [`Card`], of living documents in their current version.
pub(super) const CARDS: &str = "SELECT d.id, d.name, d.parent, d.path, d.current, v.size_bytes, v.sha256, v.received_ms
 FROM document d JOIN version v ON v.document = d.id AND v.number = d.current WHERE d.erased_ms IS NULL AND d.owner = $1";

/// Where a new document goes.
pub(super) struct Place<'a> {
    pub(super) owner: &'a str,
    pub(super) parent: &'a str,
    pub(super) name: &'a str,
}

/// What a deposit is acknowledged with.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) version: i64,
    pub(super) sha256: String,
    pub(super) size_bytes: i64,
    pub(super) path: String,
}

/// A version, opened and checked.
pub(super) struct Opened {
    pub(super) card: Card,
    pub(super) version: i64,
    pub(super) sha256: String,
    pub(super) content: Vec<u8>,
}

/// The key of a user, made when it is first needed.
async fn user_key(tx: &mut Tx, master: &Key, owner: &str, now: i64) -> Result<Key, Problem> {
    let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT wrapped FROM user_key WHERE owner = $1")
        .bind(owner)
        .fetch_optional(&mut **tx)
        .await?;
    if let Some(wrapped) = known {
        return master.unwrap(&user_place(owner), &wrapped).map_err(|_| unopened(owner));
    }
    let key = Key::random()?;
    sqlx::query("INSERT INTO user_key (owner, wrapped, master, made_ms) VALUES ($1, $2, $3, $4)")
        .bind(owner)
        .bind(master.wrap(&user_place(owner), &key)?)
        .bind(master.name())
        .bind(now)
        .execute(&mut **tx)
        .await?;
    Ok(key)
}

fn unopened(what: &str) -> Problem {
    Problem::internal(&format!("{what} does not open: its key or its content was altered"))
}

/// 507 when the vault has no room for `more` bytes and, if `new`, for another document.
pub(super) async fn room(tx: &mut Tx, owner: &str, more: i64, new: bool) -> Result<(), Problem> {
    let documents: i64 =
        sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM document WHERE owner = $1 AND erased_ms IS NULL")
            .bind(owner)
            .fetch_one(&mut **tx)
            .await?;
    let bytes = usage(&mut **tx, owner).await?;
    if (new && documents >= DOCUMENTS_PER_USER_MAX) || bytes + more > DOCUMENTS_BYTES_PER_USER_MAX {
        let detail =
            format!("a vault holds {DOCUMENTS_PER_USER_MAX} documents and {DOCUMENTS_BYTES_PER_USER_MAX} bytes");
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "vault-full", detail));
    }
    Ok(())
}

/// Bytes of all living versions of a user.
pub(super) async fn usage<'e>(on: impl sqlx::AnyExecutor<'e>, owner: &str) -> Result<i64, Problem> {
    let sql =
        "SELECT CAST(coalesce(sum(v.size_bytes), 0) AS BIGINT) FROM version v JOIN document d ON d.id = v.document
         WHERE d.owner = $1 AND v.shredded_ms IS NULL";
    Ok(sqlx::query_scalar(sql).bind(owner).fetch_one(on).await?)
}

/// Puts a new document in. A name that is taken gets a mark of its own in the path.
pub(super) async fn create(
    tx: &mut Tx,
    master: &Key,
    place: &Place<'_>,
    content: &[u8],
    now: i64,
) -> Result<Receipt, Problem> {
    let &Place { owner, parent, name } = place;
    fits(parent, name, content)?;
    room(tx, owner, size(content)?, true).await?;
    let id = format!("doc-{}", uuid::Uuid::new_v4().simple());
    let plain = format!("{parent}/{name}");
    let path = if taken(tx, owner, &plain).await? {
        let (stem, end) = name.rsplit_once('.').map_or((name, String::new()), |(stem, end)| (stem, format!(".{end}")));
        format!("{parent}/{stem}~{}{end}", &id[4..16])
    } else {
        plain
    };
    sqlx::query(
        "INSERT INTO document (id, owner, parent, path, name, current, made_ms) VALUES ($1, $2, $3, $4, $5, 1, $6)",
    )
    .bind(&id)
    .bind(owner)
    .bind(parent)
    .bind(&path)
    .bind(name)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    let sha256 = write_version(tx, master, owner, &id, 1, content, now).await?;
    let detail = format!("version 1, {sha256}");
    trail::append(tx, &Act { owner, actor: owner, action: "deposit", document: &id, detail }, now).await?;
    Ok(Receipt { id, version: 1, sha256, size_bytes: size(content)?, path })
}

/// Puts a new version of a document in; the oldest goes where there are too many.
pub(super) async fn revise(
    tx: &mut Tx,
    master: &Key,
    owner: &str,
    id: &str,
    content: &[u8],
    now: i64,
) -> Result<Receipt, Problem> {
    let row: Option<(i64, String, String, String)> = sqlx::query_as(
        "SELECT current, parent, name, path FROM document WHERE id = $1 AND owner = $2 AND erased_ms IS NULL",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(&mut **tx)
    .await?;
    let (current, parent, name, path) = row.ok_or_else(|| Problem::not_found("document"))?;
    fits(&parent, &name, content)?;
    room(tx, owner, size(content)?, false).await?;
    let number = current + 1;
    let sha256 = write_version(tx, master, owner, id, number, content, now).await?;
    sqlx::query("UPDATE document SET current = $1 WHERE id = $2").bind(number).bind(id).execute(&mut **tx).await?;
    let detail = format!("version {number}, {sha256}");
    trail::append(tx, &Act { owner, actor: owner, action: "revise", document: id, detail }, now).await?;
    let old = number - VERSIONS_PER_DOCUMENT_MAX;
    if old >= 1 {
        shred(tx, id, old, now).await?;
        let detail = format!("version {old}, the oldest of {}", VERSIONS_PER_DOCUMENT_MAX + 1);
        trail::append(tx, &Act { owner, actor: owner, action: "shred", document: id, detail }, now).await?;
    }
    Ok(Receipt { id: id.to_owned(), version: number, sha256, size_bytes: size(content)?, path })
}

async fn write_version(
    tx: &mut Tx,
    master: &Key,
    owner: &str,
    id: &str,
    number: i64,
    content: &[u8],
    now: i64,
) -> Result<String, Problem> {
    let sha256 = hex::encode(hash(content));
    let (key, place) = (Key::random()?, version_place(owner, id, number, &sha256));
    let wrapped = user_key(tx, master, owner, now).await?.wrap(&place, &key)?;
    let sealed = key.seal(&place, content)?;
    sqlx::query(
        "INSERT INTO version (document, number, size_bytes, sha256, received_ms, wrapped_key, sealed, sealed_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(number)
    .bind(size(content)?)
    .bind(&sha256)
    .bind(now)
    .bind(wrapped)
    .bind(&sealed)
    .bind(hex::encode(hash(&sealed)))
    .execute(&mut **tx)
    .await?;
    Ok(sha256)
}

/// Destroys the key of one version. Zeros are written over it, since a row that is only removed may stay in the file; a
/// copy may stay in the write-ahead log until the next checkpoint.
async fn shred(tx: &mut Tx, id: &str, number: i64, now: i64) -> Result<(), Problem> {
    sqlx::query(
        "UPDATE version SET wrapped_key = $1, sealed = $2, shredded_ms = $3
         WHERE document = $4 AND number = $5 AND shredded_ms IS NULL",
    )
    .bind(vec![0; WRAPPED_BYTES])
    .bind(Vec::<u8>::new())
    .bind(now)
    .bind(id)
    .bind(number)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Destroys the keys of all versions of a document, and ends its links. Its trail stays.
pub(super) async fn erase(tx: &mut Tx, owner: &str, id: &str, now: i64) -> Result<(), Problem> {
    let erased = sqlx::query("UPDATE document SET erased_ms = $1 WHERE id = $2 AND owner = $3 AND erased_ms IS NULL")
        .bind(now)
        .bind(id)
        .bind(owner)
        .execute(&mut **tx)
        .await?;
    if erased.rows_affected() != 1 {
        return Err(Problem::not_found("document"));
    }
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT number FROM version WHERE document = $1 AND shredded_ms IS NULL")
            .bind(id)
            .fetch_all(&mut **tx)
            .await?;
    for number in &numbers {
        shred(tx, id, *number, now).await?;
    }
    sqlx::query("UPDATE link SET ended_ms = $1 WHERE document = $2 AND ended_ms IS NULL")
        .bind(now)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    let detail = format!("{} versions", numbers.len());
    trail::append(tx, &Act { owner, actor: owner, action: "erase", document: id, detail }, now).await
}

/// Hash of the content, key of the version as wrapped by the user's, sealed content, key of the user as wrapped by the master's.
type SealedRow = (String, Vec<u8>, Vec<u8>, Vec<u8>);

/// Opens a version (the current one without a number) and checks it against its receipt. Says nothing to the trail.
pub(super) async fn open(
    store: &Store,
    master: &Key,
    owner: &str,
    id: &str,
    version: Option<i64>,
) -> Result<Opened, Problem> {
    let card: Option<Card> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{CARDS} AND d.id = $2")))
        .bind(owner)
        .bind(id)
        .fetch_optional(&store.reader)
        .await?;
    // Another's document is as unknown as one that does not exist.
    let card = card.ok_or_else(|| Problem::not_found("document"))?;
    let number = version.unwrap_or(card.current);
    let row: Option<SealedRow> = sqlx::query_as(
        "SELECT v.sha256, v.wrapped_key, v.sealed, k.wrapped FROM version v JOIN user_key k ON k.owner = $1
         WHERE v.document = $2 AND v.number = $3 AND v.shredded_ms IS NULL",
    )
    .bind(owner)
    .bind(id)
    .bind(number)
    .fetch_optional(&store.reader)
    .await?;
    let (sha256, wrapped, sealed, user) = row.ok_or_else(|| Problem::not_found("version of this document"))?;
    let place = version_place(owner, id, number, &sha256);
    let opened = master.unwrap(&user_place(owner), &user).and_then(|user| user.unwrap(&place, &wrapped));
    let content = opened.and_then(|key| key.open(&place, &sealed)).map_err(|_| unopened(&format!("document {id}")))?;
    if hex::encode(hash(&content)) != sha256 {
        return Err(Problem::internal(&format!("document {id} does not have the hash of its receipt")));
    }
    Ok(Opened { card, version: number, sha256, content })
}

/// Opens a version for its owner; the reading is in the trail before the bytes leave.
pub(super) async fn read(
    store: &Store,
    master: &Key,
    owner: &str,
    id: &str,
    version: Option<i64>,
    now: i64,
) -> Result<Opened, Problem> {
    let opened = open(store, master, owner, id, version).await?;
    let detail = format!("version {}", opened.version);
    let act = Act { owner, actor: owner, action: "read", document: id, detail };
    if !trail::told_just_now(store, &act, now).await? {
        let mut tx = store.begin().await?;
        trail::append(&mut tx, &act, now).await?;
        tx.commit().await?;
    }
    Ok(opened)
}

pub(super) async fn taken(tx: &mut Tx, owner: &str, path: &str) -> Result<bool, Problem> {
    let count: i64 = sqlx::query_scalar(
        "SELECT (SELECT CAST(count(*) AS BIGINT) FROM document WHERE owner = $1 AND path = $2 AND erased_ms IS NULL)
              + (SELECT CAST(count(*) AS BIGINT) FROM folder WHERE owner = $1 AND path = $2)",
    )
    .bind(owner)
    .bind(path)
    .fetch_one(&mut **tx)
    .await?;
    Ok(count > 0)
}

fn size(content: &[u8]) -> Result<i64, Problem> {
    i64::try_from(content.len()).map_err(|error| Problem::internal(&error))
}

/// Whether a name may stand in a path.
pub(super) fn name_fits(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= VAULT_NAME_BYTES_MAX
        && !name.chars().any(|c| c.is_control() || c == '/' || c == '\\')
}

fn fits(parent: &str, name: &str, content: &[u8]) -> Result<(), Problem> {
    // Room for the mark that a name gets where it is taken.
    if !name_fits(name) || parent.len() + name.len() + 16 > VAULT_PATH_BYTES_MAX {
        return Err(Problem::malformed("this name is empty, too long, or has signs that no name may have"));
    }
    if content.len() > DOCUMENT_BYTES_MAX {
        let detail = format!("a document has {DOCUMENT_BYTES_MAX} bytes at most");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
    }
    Ok(())
}
