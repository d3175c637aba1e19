//! The tables of the vault, the test data in them, and what must hold there.

use super::seal::{self, Key, user_place, version_place};
use super::trail::{self, Act, Entry};
use crate::bounds::{PER_USER_SEEDED, USERS};
use crate::once::hash;
use crate::store::{Store, Tx};
use crate::verify::{Check, Invariant, zero};
use crate::{credentials, ids, seed};
use anyhow::{Context as _, ensure};
use std::collections::HashSet;
use std::path::Path;

pub(crate) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE document (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
  received_ms INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE INDEX document_owner ON document (owner, received_ms);
",
    "
DROP INDEX document_owner;
ALTER TABLE document RENAME TO document_unsealed;
CREATE TABLE user_key (owner TEXT PRIMARY KEY, wrapped BLOB NOT NULL, master TEXT NOT NULL, made_ms INTEGER NOT NULL) STRICT;
CREATE TABLE folder (
  owner TEXT NOT NULL, path TEXT NOT NULL, parent TEXT NOT NULL, made_ms INTEGER NOT NULL, PRIMARY KEY (owner, path)
) STRICT;
CREATE TABLE document (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, parent TEXT NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL,
  current INTEGER NOT NULL, made_ms INTEGER NOT NULL, erased_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX document_path ON document (owner, path) WHERE erased_ms IS NULL;
CREATE INDEX document_parent ON document (owner, parent);
CREATE TABLE version (
  document TEXT NOT NULL REFERENCES document (id), number INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL, received_ms INTEGER NOT NULL, wrapped_key BLOB NOT NULL, sealed BLOB NOT NULL,
  sealed_sha256 TEXT NOT NULL, shredded_ms INTEGER, PRIMARY KEY (document, number)
) STRICT;
CREATE TABLE property (
  owner TEXT NOT NULL, path TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, prefix TEXT NOT NULL,
  xml BLOB NOT NULL, PRIMARY KEY (owner, path, namespace, name)
) STRICT;
CREATE TABLE link (
  id TEXT PRIMARY KEY, token_hash BLOB NOT NULL UNIQUE, owner TEXT NOT NULL, document TEXT NOT NULL REFERENCES document (id),
  made_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, uses_max INTEGER NOT NULL, uses INTEGER NOT NULL, ended_ms INTEGER
) STRICT;
CREATE INDEX link_document ON link (document);
CREATE TABLE app_password (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, label TEXT NOT NULL, secret_hash BLOB NOT NULL UNIQUE, made_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX app_password_owner ON app_password (owner);
CREATE TABLE trail (
  owner TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  document TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (owner, number)
) STRICT;
CREATE INDEX trail_document ON trail (owner, document, at_ms);
CREATE TRIGGER trail_kept BEFORE UPDATE ON trail BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END;
CREATE TRIGGER trail_stays BEFORE DELETE ON trail BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END;
",
    crate::oidc::SCHEMA,
];

pub(crate) const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "each sealed document is as it was sealed, and of the size of its receipt",
        check: Check::Code(|tx| Box::pin(altered(tx))),
    },
    Invariant { name: "the trails are whole, in order and unchanged", check: Check::Code(|tx| Box::pin(trail::broken(tx))) },
    zero(
        "each document has an owner who exists",
        "SELECT count(*) FROM document WHERE owner NOT IN (SELECT \"user\" FROM credential)",
    ),
    zero(
        "each living document has its current version",
        "SELECT count(*) FROM document d WHERE erased_ms IS NULL AND NOT EXISTS (SELECT 1 FROM version v
         WHERE v.document = d.id AND v.number = d.current AND v.shredded_ms IS NULL)",
    ),
    zero(
        "nothing of an erased document can be opened",
        "SELECT count(*) FROM version v JOIN document d ON d.id = v.document WHERE d.erased_ms IS NOT NULL
         AND (v.shredded_ms IS NULL OR length(v.sealed) > 0 OR v.wrapped_key <> zeroblob(60))",
    ),
    zero(
        "each version is in the trail of its owner",
        "SELECT count(*) FROM version v JOIN document d ON d.id = v.document WHERE NOT EXISTS (SELECT 1 FROM trail t
         WHERE t.owner = d.owner AND t.document = d.id AND t.detail = 'version ' || v.number || ', ' || v.sha256)",
    ),
    zero(
        "each receipt that was given tells of a document of its owner",
        "SELECT count(*) FROM idempotency i WHERE route = 'documents' AND status < 300 AND NOT EXISTS (SELECT 1 FROM document d
         JOIN version v ON v.document = d.id WHERE d.id = i.answer->>'id' AND d.owner = i.caller AND v.number = 1
         AND v.sha256 = i.answer->>'sha256')",
    ),
];

/// The first version that is not as it was sealed. Opening it takes the master key, which the check does not have: a
/// document that was altered in the store is told from the hash of what was sealed.
async fn altered(tx: &mut sqlx::AnyConnection) -> anyhow::Result<Option<String>> {
    let mut after = (String::new(), 0_i64);
    // One at a time: together they would not fit in memory.
    loop {
        let next: Option<(String, i64, i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT document, number, size_bytes, sealed_sha256, sealed FROM version
             WHERE (document, number) > ($1, $2) AND shredded_ms IS NULL ORDER BY document, number LIMIT 1",
        )
        .bind(&after.0)
        .bind(after.1)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((id, number, size, sha256, sealed)) = next else { return Ok(None) };
        // A nonce of 12 bytes, a tag of 16.
        if i64::try_from(sealed.len()).ok() != Some(size + 28) || hex::encode(hash(&sealed)) != sha256 {
            return Ok(Some(format!("version {number} of {id} is not as it was sealed")));
        }
        after = (id, number);
    }
}

/// A document to be sealed: id, owner, name, time, content.
type Unsealed = (String, String, String, i64, Vec<u8>);

/// Test data: three documents for each user.
pub(crate) async fn seed(tx: &mut Tx, dir: &Path) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let master = seal::load_or_make(dir)?;
    let today = seed::today_ms();
    for n in 0..USERS {
        let documents: Vec<Unsealed> = (1..=PER_USER_SEEDED)
            .map(|k| {
                let (name, text) = seed::document(n, k);
                (format!("doc-{n:04}-{k}"), ids::user(n), name, today, text.into_bytes())
            })
            .collect();
        seal_all(tx, &master, &documents).await?;
    }
    Ok(())
}

/// Seals documents of one user, who has none yet. Names may stand twice; paths may not, and then have the id in front.
async fn seal_all(tx: &mut Tx, master: &Key, documents: &[Unsealed]) -> anyhow::Result<()> {
    let Some((_, owner, _, made_ms, _)) = documents.first() else { return Ok(()) };
    let failed = |problem: crate::problem::Problem| anyhow::anyhow!(problem.detail);
    let user = Key::random().map_err(failed)?;
    sqlx::query("INSERT INTO user_key (owner, wrapped, master, made_ms) VALUES ($1, $2, $3, $4)")
        .bind(owner)
        .bind(master.wrap(&user_place(owner), &user).map_err(failed)?)
        .bind(master.name())
        .bind(made_ms)
        .execute(&mut **tx)
        .await?;
    let places = |columns: usize| {
        let row = |n: usize| {
            let marks: Vec<_> = (1..=columns).map(|k| format!("${}", n * columns + k)).collect();
            format!("({})", marks.join(", "))
        };
        (0..documents.len()).map(row).collect::<Vec<_>>().join(", ")
    };
    let cards = format!("INSERT INTO document (id, owner, parent, path, name, current, made_ms) VALUES {}", places(7));
    let versions = format!(
        "INSERT INTO version (document, number, size_bytes, sha256, received_ms, wrapped_key, sealed, sealed_sha256) VALUES {}",
        places(8)
    );
    let entries = format!(
        "INSERT INTO trail (owner, number, at_ms, actor, action, document, detail, previous, hash) VALUES {}",
        places(9)
    );
    let mut cards = sqlx::query(sqlx::AssertSqlSafe(cards));
    let mut versions = sqlx::query(sqlx::AssertSqlSafe(versions));
    let mut entries = sqlx::query(sqlx::AssertSqlSafe(entries));
    let (mut previous, mut names) = (String::new(), HashSet::new());
    for (number, (id, owner, name, at_ms, content)) in (1_i64..).zip(documents) {
        let sha256 = hex::encode(hash(content));
        let (key, place) = (Key::random().map_err(failed)?, version_place(owner, id, 1, &sha256));
        let sealed = key.seal(&place, content).map_err(failed)?;
        let wrapped = user.wrap(&place, &key).map_err(failed)?;
        let detail = format!("version 1, {sha256}");
        let entry =
            Entry::of(&Act { owner, actor: owner, action: "deposit", document: id, detail }, number, previous, *at_ms);
        previous = entry.hash.clone();
        let path = if names.insert(name) { format!("/{name}") } else { format!("/{id}-{name}") };
        cards = cards.bind(id).bind(owner).bind("").bind(path).bind(name).bind(1_i64).bind(at_ms);
        versions = versions.bind(id).bind(1_i64).bind(i64::try_from(content.len())?).bind(sha256).bind(at_ms);
        versions = versions.bind(wrapped).bind(sealed.clone()).bind(hex::encode(hash(&sealed)));
        entries = entries.bind(entry.owner).bind(entry.number).bind(entry.at_ms).bind(entry.actor).bind(entry.action);
        entries = entries.bind(entry.document).bind(entry.detail).bind(entry.previous).bind(entry.hash);
    }
    cards.execute(&mut **tx).await?;
    versions.execute(&mut **tx).await?;
    entries.execute(&mut **tx).await?;
    Ok(())
}

/// Checks that the master key is there and is the one of this store, and seals what an older version kept unsealed.
pub(crate) async fn ready(store: &Store) -> anyhow::Result<()> {
    let master = seal::load_or_make(&store.dir)?;
    let known: Option<String> =
        sqlx::query_scalar("SELECT master FROM user_key LIMIT 1").fetch_optional(&store.reader).await?;
    if let Some(known) = known {
        ensure!(
            known == master.name(),
            "the vault's key is not the one that this store was sealed with: restore that one"
        );
    }
    loop {
        let mut tx = store.begin().await?;
        let owner: Option<String> =
            sqlx::query_scalar("SELECT owner FROM document_unsealed LIMIT 1").fetch_optional(&mut *tx).await?;
        let Some(owner) = owner else { return Ok(()) };
        let documents: Vec<Unsealed> = sqlx::query_as(
            "SELECT id, owner, name, received_ms, content FROM document_unsealed WHERE owner = $1 ORDER BY received_ms, id",
        )
        .bind(&owner)
        .fetch_all(&mut *tx)
        .await?;
        ensure!(documents.len() <= 3000, "{owner} has more documents than a vault may hold");
        seal_all(&mut tx, &master, &documents).await.with_context(|| format!("documents of {owner}"))?;
        sqlx::query("DELETE FROM document_unsealed WHERE owner = $1").bind(&owner).execute(&mut *tx).await?;
        tx.commit().await?;
    }
}
