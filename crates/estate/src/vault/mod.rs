//! The document vault: each document is its owner's alone; a deposit is acknowledged with its SHA-256 once it is on the
//! disk; each reading checks that hash.

use crate::bounds::{DOCUMENT_BYTES_MAX, DOCUMENTS_BYTES_PER_USER_MAX, DOCUMENTS_PER_USER_MAX, PER_USER_SEEDED, USERS};
use crate::credentials;
use crate::ids;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Check, Invariant, zero};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE document (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
  received_ms INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE INDEX document_owner ON document (owner, received_ms);
"];

pub(crate) const INVARIANTS: &[Invariant] = &[
    Invariant { name: "each document has the size and the hash of its receipt", check: Check::Code(|tx| Box::pin(altered(tx))) },
    zero(
        "each document has an owner who exists",
        "SELECT count(*) FROM document WHERE owner NOT IN (SELECT user FROM credential)",
    ),
    zero(
        "each receipt that was given tells of a document of its owner",
        "SELECT count(*) FROM idempotency i WHERE route = 'documents' AND status < 300 AND NOT EXISTS (SELECT 1 FROM document d
         WHERE d.id = i.answer->>'id' AND d.owner = i.caller AND d.sha256 = i.answer->>'sha256')",
    ),
];

/// The first document that is not what its receipt says.
async fn altered(tx: &mut sqlx::SqliteConnection) -> anyhow::Result<Option<String>> {
    let mut after = String::new();
    // One at a time: together they would not fit in memory.
    loop {
        let next: Option<(String, i64, String, Vec<u8>)> =
            sqlx::query_as("SELECT id, size_bytes, sha256, content FROM document WHERE id > ? ORDER BY id LIMIT 1")
                .bind(&after)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((id, size, sha256, content)) = next else { return Ok(None) };
        if i64::try_from(content.len()).ok() != Some(size) || hex::encode(Sha256::digest(&content)) != sha256 {
            return Ok(Some(format!("{id} is not what its receipt says")));
        }
        after = id;
    }
}

#[derive(Clone)]
struct Vault {
    kit: Kit,
    sessions: Sessions,
}

/// Test data: three documents for each user.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let mut rows = Vec::new();
    for n in 0..USERS {
        for k in 1..=PER_USER_SEEDED {
            let (name, text) = seed::document(n, k);
            let sha256 = hex::encode(hash(text.as_bytes()));
            rows.push((format!("doc-{n:04}-{k}"), ids::user(n), name, text.len(), sha256, seed::today_ms(), text));
        }
    }
    let sql = "INSERT INTO document SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,
        CAST(value->>6 AS BLOB) FROM json_each(?)";
    seed::insert(tx, sql, &rows).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let state = Vault { kit: kit.clone(), sessions: kit.sessions(Life::DAY) };
    let deposit = kit.op_with_body("deposit", DOCUMENT_BYTES_MAX, post(deposit));
    let routes = Router::new()
        .route("/login", kit.op("login", post(login)))
        .route("/documents", kit.op("list", get(list)).merge(deposit))
        .route("/documents/{id}", kit.op("read", get(read)));
    kit.finish_api(routes.with_state(state))
}

async fn login(State(vault): State<Vault>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = vault.sessions.life_s();
    sign_in(
        &vault.kit,
        &vault.sessions,
        &headers,
        &body.value,
        StatusCode::OK,
        |user, _| json!({"user": user.name, "expires_in_s": life}),
    )
    .await
}

async fn list(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.sessions.require(&headers).await?;
    let rows: Vec<(String, String, i64, String, i64)> = sqlx::query_as(
        "SELECT id, name, size_bytes, sha256, received_ms FROM document WHERE owner = ? ORDER BY received_ms DESC, id LIMIT ?",
    )
    .bind(&user.name)
    .bind(DOCUMENTS_PER_USER_MAX)
    .fetch_all(&vault.kit.store.reader)
    .await?;
    let documents: Vec<_> = rows
        .iter()
        .map(|(id, name, size, sha256, at)| {
            json!({"id": id, "name": name, "size_bytes": size, "sha256": sha256, "received_at": rfc3339(*at)})
        })
        .collect();
    Ok(private(json!({"documents": documents})))
}

async fn read(State(vault): State<Vault>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.sessions.require(&headers).await?;
    // Another's document is as unknown as one that does not exist.
    let row: Option<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT name, sha256, content FROM document WHERE id = ? AND owner = ?")
            .bind(&id)
            .bind(&user.name)
            .fetch_optional(&vault.kit.store.reader)
            .await?;
    let (name, sha256, content) = row.ok_or_else(|| Problem::not_found("document"))?;
    if hex::encode(Sha256::digest(&content)) != sha256 {
        return Err(Problem::internal(&format!("document {id} does not have the hash of its receipt")));
    }
    let headers = [
        // Whatever it was said to be: a browser must not run what someone else may have put in.
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::HeaderName::from_static("x-content-sha256"), sha256),
    ];
    Ok((headers, content).into_response())
}

async fn deposit(State(vault): State<Vault>, headers: HeaderMap, content: Bytes) -> Result<Response, Problem> {
    let user = vault.sessions.require(&headers).await?;
    let name = headers.get("x-document-name").and_then(|value| value.to_str().ok()).unwrap_or("");
    if !ids::plain(name, 1, 100, "._- ") || name.starts_with('.') {
        let detail = "x-document-name takes 1 to 100 letters, digits, spaces, dots, - and _, and no dot first";
        return Err(Problem::malformed(detail));
    }
    if content.is_empty() {
        return Err(Problem::invalid("an empty document can't be kept"));
    }
    let sha256 = hex::encode(Sha256::digest(&content));
    let body_hash = hash(format!("{name}\n{sha256}").as_bytes());
    let demand = Demand { caller: &user.name, route: "documents", key: key(&headers)?, body_hash };
    let mut turn = match vault.kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let (count, bytes): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(sum(size_bytes), 0) FROM document WHERE owner = ?")
            .bind(&user.name)
            .fetch_one(&mut *turn.tx)
            .await?;
    let size = i64::try_from(content.len()).map_err(|error| Problem::internal(&error))?;
    if count >= DOCUMENTS_PER_USER_MAX || bytes + size > DOCUMENTS_BYTES_PER_USER_MAX {
        let detail =
            format!("a vault holds {DOCUMENTS_PER_USER_MAX} documents and {DOCUMENTS_BYTES_PER_USER_MAX} bytes");
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "vault-full", detail));
    }
    let id = format!("doc-{}", uuid::Uuid::new_v4().simple());
    let now = now_ms();
    sqlx::query("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(&id)
        .bind(&user.name)
        .bind(name)
        .bind(size)
        .bind(&sha256)
        .bind(now)
        .bind(&content[..])
        .execute(&mut *turn.tx)
        .await?;
    let receipt = json!({"id": id, "name": name, "sha256": sha256, "size_bytes": size, "received_at": rfc3339(now)});
    turn.finish(StatusCode::CREATED, &receipt).await
}
