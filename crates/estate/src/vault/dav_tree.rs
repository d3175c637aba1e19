//! A vault as a tree of folders and documents, by paths: what the WebDAV side does to the store.

use super::Vault;
use super::keep::{self, CARDS, Card, Opened, Place};
use super::trail::{self, Act};
use crate::bounds::{DOCUMENTS_BYTES_PER_USER_MAX, FOLDERS_PER_USER_MAX, VAULT_PATH_BYTES_MAX};
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use dav_server::davpath::DavPath;
use dav_server::fs::{FsError, FsResult};
use http::StatusCode;

/// The tree of one user.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) vault: Vault,
    pub(super) owner: String,
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Folder { path: String, made_ms: i64 },
    Document(Card),
}

impl Node {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Folder { path, .. } => path,
            Self::Document(card) => &card.path,
        }
    }
}

/// A path of the protocol as the store has it: empty for the top, else as `/a/b`.
pub(super) fn plain(path: &DavPath) -> FsResult<String> {
    let text = std::str::from_utf8(path.as_bytes()).map_err(|_| FsError::Forbidden)?;
    let text = text.trim_end_matches('/');
    if text.len() > VAULT_PATH_BYTES_MAX {
        return Err(FsError::PathTooLong);
    }
    Ok(text.to_owned())
}

/// Folder and name of a path that is not the top.
pub(super) fn split(path: &str) -> FsResult<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/').ok_or(FsError::Forbidden)?;
    if !keep::name_fits(name) {
        return Err(FsError::Forbidden);
    }
    Ok((parent, name))
}

/// As the protocol tells what went wrong.
pub(super) fn fault(problem: Problem) -> FsError {
    match problem.status {
        StatusCode::NOT_FOUND => FsError::NotFound,
        StatusCode::INSUFFICIENT_STORAGE => FsError::InsufficientStorage,
        StatusCode::PAYLOAD_TOO_LARGE => FsError::TooLarge,
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => FsError::Forbidden,
        _ => FsError::GeneralFailure,
    }
}

pub(super) fn store_fault(error: sqlx::Error) -> FsError {
    fault(error.into())
}

impl Tree {
    pub(super) async fn begin(&self) -> FsResult<Tx> {
        self.vault.kit.store.begin().await.map_err(store_fault)
    }

    pub(super) async fn find(&self, path: &str) -> FsResult<Node> {
        if path.is_empty() {
            return Ok(Node::Folder { path: String::new(), made_ms: 0 });
        }
        let reader = &self.vault.kit.store.reader;
        let made_ms: Option<i64> = sqlx::query_scalar("SELECT made_ms FROM folder WHERE owner = $1 AND path = $2")
            .bind(&self.owner)
            .bind(path)
            .fetch_optional(reader)
            .await
            .map_err(store_fault)?;
        if let Some(made_ms) = made_ms {
            return Ok(Node::Folder { path: path.to_owned(), made_ms });
        }
        let card: Option<Card> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{CARDS} AND d.path = $2")))
            .bind(&self.owner)
            .bind(path)
            .fetch_optional(reader)
            .await
            .map_err(store_fault)?;
        card.map(Node::Document).ok_or(FsError::NotFound)
    }

    /// The folder in which `path` would stand must be there.
    pub(super) async fn parent_of<'a>(&self, path: &'a str) -> FsResult<(&'a str, &'a str)> {
        let (parent, name) = split(path)?;
        match self.find(parent).await? {
            Node::Folder { .. } => Ok((parent, name)),
            Node::Document(_) => Err(FsError::Forbidden),
        }
    }

    pub(super) async fn children(&self, path: &str) -> FsResult<Vec<Node>> {
        let reader = &self.vault.kit.store.reader;
        let folders: Vec<(String, i64)> =
            sqlx::query_as("SELECT path, made_ms FROM folder WHERE owner = $1 AND parent = $2 ORDER BY path")
                .bind(&self.owner)
                .bind(path)
                .fetch_all(reader)
                .await
                .map_err(store_fault)?;
        let cards: Vec<Card> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{CARDS} AND d.parent = $2 ORDER BY d.path")))
                .bind(&self.owner)
                .bind(path)
                .fetch_all(reader)
                .await
                .map_err(store_fault)?;
        let folders = folders.into_iter().map(|(path, made_ms)| Node::Folder { path, made_ms });
        Ok(folders.chain(cards.into_iter().map(Node::Document)).collect())
    }

    pub(super) async fn read(&self, id: &str) -> FsResult<Opened> {
        let master = self.vault.master().map_err(fault)?;
        keep::read(&self.vault.kit.store, master, &self.owner, id, None, now_ms()).await.map_err(fault)
    }

    /// Puts content at a path: a new document, or a new version of the one that stands there.
    pub(super) async fn put(&self, path: &str, content: &[u8]) -> FsResult<()> {
        let (parent, name) = self.parent_of(path).await?;
        let master = self.vault.master().map_err(fault)?;
        let mut tx = self.begin().await?;
        let id: Option<String> =
            sqlx::query_scalar("SELECT id FROM document WHERE owner = $1 AND path = $2 AND erased_ms IS NULL")
                .bind(&self.owner)
                .bind(path)
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_fault)?;
        let now = now_ms();
        if let Some(id) = id {
            keep::revise(&mut tx, master, &self.owner, &id, content, now).await.map_err(fault)?;
        } else {
            if keep::taken(&mut tx, &self.owner, path).await.map_err(fault)? {
                return Err(FsError::Forbidden);
            }
            let place = Place { owner: &self.owner, parent, name };
            keep::create(&mut tx, master, &place, content, now).await.map_err(fault)?;
        }
        tx.commit().await.map_err(store_fault)
    }

    pub(super) async fn make_folder(&self, path: &str) -> FsResult<()> {
        let (parent, _) = self.parent_of(path).await?;
        let mut tx = self.begin().await?;
        if keep::taken(&mut tx, &self.owner, path).await.map_err(fault)? {
            return Err(FsError::Exists);
        }
        let count: i64 = sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM folder WHERE owner = $1")
            .bind(&self.owner)
            .fetch_one(&mut *tx)
            .await
            .map_err(store_fault)?;
        if count >= FOLDERS_PER_USER_MAX {
            return Err(FsError::InsufficientStorage);
        }
        sqlx::query("INSERT INTO folder (owner, path, parent, made_ms) VALUES ($1, $2, $3, $4)")
            .bind(&self.owner)
            .bind(path)
            .bind(parent)
            .bind(now_ms())
            .execute(&mut *tx)
            .await
            .map_err(store_fault)?;
        tx.commit().await.map_err(store_fault)
    }

    /// Removes a folder that is empty, or destroys the keys of a document.
    pub(super) async fn remove(&self, path: &str) -> FsResult<()> {
        let node = self.find(path).await?;
        let mut tx = self.begin().await?;
        match &node {
            Node::Document(card) => keep::erase(&mut tx, &self.owner, &card.id, now_ms()).await.map_err(fault)?,
            Node::Folder { .. } if path.is_empty() => return Err(FsError::Forbidden),
            Node::Folder { .. } => {
                let sql = "DELETE FROM folder WHERE owner = $1 AND path = $2
                     AND NOT EXISTS (SELECT 1 FROM document WHERE owner = $1 AND parent = $2 AND erased_ms IS NULL)
                     AND NOT EXISTS (SELECT 1 FROM folder f WHERE f.owner = $1 AND f.parent = $2)";
                let done =
                    sqlx::query(sql).bind(&self.owner).bind(path).execute(&mut *tx).await.map_err(store_fault)?;
                if done.rows_affected() != 1 {
                    return Err(FsError::Exists);
                }
            }
        }
        sqlx::query("DELETE FROM property WHERE owner = $1 AND path = $2")
            .bind(&self.owner)
            .bind(path)
            .execute(&mut *tx)
            .await
            .map_err(store_fault)?;
        tx.commit().await.map_err(store_fault)
    }

    /// Moves a document, or a folder with all that is in it. Nothing may stand at the new path.
    pub(super) async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        let node = self.find(from).await?;
        if from.is_empty() || to == from || to.starts_with(&format!("{from}/")) {
            return Err(FsError::Forbidden);
        }
        let (parent, name) = self.parent_of(to).await?;
        let mut tx = self.begin().await?;
        if keep::taken(&mut tx, &self.owner, to).await.map_err(fault)? {
            return Err(FsError::Exists);
        }
        let document = match &node {
            Node::Document(card) => {
                sqlx::query("UPDATE document SET parent = $1, path = $2, name = $3 WHERE id = $4")
                    .bind(parent)
                    .bind(to)
                    .bind(name)
                    .bind(&card.id)
                    .execute(&mut *tx)
                    .await
                    .map_err(store_fault)?;
                card.id.clone()
            }
            Node::Folder { .. } => {
                self.move_inside(&mut tx, from, to, parent).await?;
                String::new()
            }
        };
        self.move_properties(&mut tx, from, to).await?;
        let act = Act {
            owner: &self.owner,
            actor: &self.owner,
            action: "move",
            document: &document,
            detail: format!("{from} -> {to}"),
        };
        trail::append(&mut tx, &act, now_ms()).await.map_err(fault)?;
        tx.commit().await.map_err(store_fault)
    }

    async fn move_inside(&self, tx: &mut Tx, from: &str, to: &str, parent: &str) -> FsResult<()> {
        let (start, rest) = lengths(from)?;
        let longest: i64 = sqlx::query_scalar(
            "SELECT CAST(coalesce(max(length(path)), 0) AS BIGINT) FROM document
             WHERE owner = $1 AND substr(path, 1, CAST($2 AS INTEGER)) = $3 AND erased_ms IS NULL",
        )
        .bind(&self.owner)
        .bind(start)
        .bind(format!("{from}/"))
        .fetch_one(&mut **tx)
        .await
        .map_err(store_fault)?;
        // Counted in signs, of which each may take four bytes.
        let rest_bytes_max = (longest - start).max(0).saturating_mul(4);
        if rest_bytes_max + i64::try_from(to.len()).unwrap_or(i64::MAX) > VAULT_PATH_BYTES_MAX as i64 {
            return Err(FsError::PathTooLong);
        }
        for sql in [
            "UPDATE document SET path = $1 || substr(path, CAST($2 AS INTEGER)), parent = $1 || substr(parent, CAST($2 AS INTEGER))
             WHERE owner = $3 AND substr(path, 1, CAST($4 AS INTEGER)) = $5 AND erased_ms IS NULL",
            "UPDATE folder SET path = $1 || substr(path, CAST($2 AS INTEGER)), parent = $1 || substr(parent, CAST($2 AS INTEGER))
             WHERE owner = $3 AND substr(path, 1, CAST($4 AS INTEGER)) = $5",
        ] {
            sqlx::query(sql)
                .bind(to)
                .bind(rest)
                .bind(&self.owner)
                .bind(start)
                .bind(format!("{from}/"))
                .execute(&mut **tx)
                .await
                .map_err(store_fault)?;
        }
        sqlx::query("UPDATE folder SET path = $1, parent = $2 WHERE owner = $3 AND path = $4")
            .bind(to)
            .bind(parent)
            .bind(&self.owner)
            .bind(from)
            .execute(&mut **tx)
            .await
            .map_err(store_fault)?;
        Ok(())
    }

    async fn move_properties(&self, tx: &mut Tx, from: &str, to: &str) -> FsResult<()> {
        let (start, rest) = lengths(from)?;
        sqlx::query(
            "UPDATE property SET path = $1 || substr(path, CAST($2 AS INTEGER)) WHERE owner = $3 AND (path = $4 OR substr(path, 1, CAST($5 AS INTEGER)) = $6)",
        )
        .bind(to)
        .bind(rest)
        .bind(&self.owner)
        .bind(from)
        .bind(start)
        .bind(format!("{from}/"))
        .execute(&mut **tx)
        .await
        .map_err(store_fault)?;
        Ok(())
    }

    /// Bytes in use, and all that may be.
    pub(super) async fn quota(&self) -> FsResult<(u64, u64)> {
        let used = keep::usage(&self.vault.kit.store.reader, &self.owner).await.map_err(fault)?;
        Ok((used.unsigned_abs(), DOCUMENTS_BYTES_PER_USER_MAX.unsigned_abs()))
    }
}

/// In signs, as SQL counts: the length of a path with a slash, and where what follows the path begins.
fn lengths(path: &str) -> FsResult<(i64, i64)> {
    let signs = i64::try_from(path.chars().count()).map_err(|_| FsError::PathTooLong)?;
    Ok((signs + 1, signs + 1))
}
