//! Documents as programs ask for them.

use super::Vault;
use super::keep::{self, CARDS, Card, Opened, Place, Receipt};
use super::trail;
use crate::bounds::DOCUMENTS_PER_USER_MAX;
use crate::ids;
use crate::kit::{Json, SignIn, private, sign_in};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn login(
    State(vault): State<Vault>,
    headers: HeaderMap,
    body: Json<SignIn>,
) -> Result<Response, Problem> {
    let life = vault.sessions.life_s();
    let answer = |user: &crate::credentials::User, _: &str| json!({"user": user.name, "expires_in_s": life});
    sign_in(&vault.kit, &vault.sessions, &headers, &body.value, StatusCode::OK, answer).await
}

/// The living documents of a user, newest first.
pub(super) async fn cards(vault: &Vault, owner: &str) -> Result<Vec<Card>, Problem> {
    let sql = format!("{CARDS} ORDER BY v.received_ms DESC, d.id LIMIT $2");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(owner).bind(DOCUMENTS_PER_USER_MAX);
    Ok(query.fetch_all(&vault.kit.store.reader).await?)
}

pub(super) fn card_json(card: &Card) -> Value {
    json!({
        "id": card.id, "name": card.name, "folder": card.parent, "path": card.path, "version": card.current,
        "size_bytes": card.size_bytes, "sha256": card.sha256, "received_at": rfc3339(card.received_ms),
    })
}

pub(super) async fn list(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let documents: Vec<_> = cards(&vault, &user.name).await?.iter().map(card_json).collect();
    Ok(private(json!({"documents": documents})))
}

#[derive(Deserialize)]
pub(super) struct Which {
    version: Option<i64>,
}

pub(super) async fn read(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let opened = keep::read(&vault.kit.store, vault.master()?, &user.name, &id, which.version, now_ms()).await?;
    Ok(content(opened))
}

/// A document as an answer.
pub(super) fn content(opened: Opened) -> Response {
    let headers = [
        // Whatever it was said to be: a browser must not run what someone else may have put in.
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, disposition(&opened.card.name)),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::HeaderName::from_static("x-content-sha256"), opened.sha256),
        (header::HeaderName::from_static("x-document-version"), opened.version.to_string()),
    ];
    (headers, opened.content).into_response()
}

/// The name to save a file under: as it is where it is plain, else as RFC 8187 writes it.
pub(super) fn disposition(name: &str) -> String {
    if ids::plain(name, 1, 255, "._- ") {
        return format!("attachment; filename=\"{name}\"");
    }
    let escaped: String = name
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("attachment; filename*=UTF-8''{escaped}")
}

/// Checks the name that a program or a form gives a document.
pub(super) fn plain_name(name: &str) -> Result<&str, Problem> {
    if !ids::plain(name, 1, 100, "._- ") || name.starts_with('.') {
        let detail = "x-document-name takes 1 to 100 letters, digits, spaces, dots, - and _, and no dot first";
        return Err(Problem::malformed(detail));
    }
    Ok(name)
}

fn receipt_json(name: &str, receipt: &Receipt, now: i64) -> Value {
    json!({
        "id": receipt.id, "name": name, "version": receipt.version, "sha256": receipt.sha256, "path": receipt.path,
        "size_bytes": receipt.size_bytes, "received_at": rfc3339(now),
    })
}

pub(super) async fn deposit(
    State(vault): State<Vault>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let name = plain_name(headers.get("x-document-name").and_then(|value| value.to_str().ok()).unwrap_or(""))?;
    deposit_as(&vault, &user.name, name, &content, key(&headers)?).await
}

/// Deposits once for a key; the answer leaves when the document is on the disk.
pub(super) async fn deposit_as(
    vault: &Vault,
    owner: &str,
    name: &str,
    content: &[u8],
    key: &str,
) -> Result<Response, Problem> {
    if content.is_empty() {
        return Err(Problem::invalid("an empty document can't be kept"));
    }
    let body_hash = hash(format!("{name}\n{}", hex::encode(hash(content))).as_bytes());
    let mut turn = match vault.kit.once(Demand { caller: owner, route: "documents", key, body_hash }).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let now = now_ms();
    let place = Place { owner, parent: "", name };
    let receipt = keep::create(&mut turn.tx, vault.master()?, &place, content, now).await?;
    turn.finish(StatusCode::CREATED, &receipt_json(name, &receipt, now)).await
}

pub(super) async fn revise(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    if content.is_empty() {
        return Err(Problem::invalid("an empty document can't be kept"));
    }
    let body_hash = hash(format!("{id}\n{}", hex::encode(hash(&content))).as_bytes());
    let demand = Demand { caller: &user.name, route: "versions", key: key(&headers)?, body_hash };
    let mut turn = match vault.kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    let now = now_ms();
    let receipt = keep::revise(&mut turn.tx, vault.master()?, &user.name, &id, &content, now).await?;
    let name = receipt.path.rsplit('/').next().unwrap_or("").to_owned();
    turn.finish(StatusCode::OK, &receipt_json(&name, &receipt, now)).await
}

pub(super) async fn erase(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let mut tx = vault.kit.store.begin().await?;
    keep::erase(&mut tx, &user.name, &id, now_ms()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn versions(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let rows: Vec<(i64, i64, String, i64, Option<i64>)> = sqlx::query_as(
        "SELECT v.number, v.size_bytes, v.sha256, v.received_ms, v.shredded_ms FROM version v
         JOIN document d ON d.id = v.document
         WHERE d.id = $1 AND d.owner = $2 AND d.erased_ms IS NULL AND v.shredded_ms IS NULL ORDER BY v.number DESC",
    )
    .bind(&id)
    .bind(&user.name)
    .fetch_all(&vault.kit.store.reader)
    .await?;
    if rows.is_empty() {
        return Err(Problem::not_found("document"));
    }
    let versions: Vec<_> = rows
        .iter()
        .map(|(number, size, sha256, at, _)| {
            json!({"version": number, "size_bytes": size, "sha256": sha256, "received_at": rfc3339(*at)})
        })
        .collect();
    Ok(private(json!({"id": id, "versions": versions})))
}

#[derive(Deserialize)]
pub(super) struct Before {
    before: Option<i64>,
}

pub(super) async fn trail(
    State(vault): State<Vault>,
    Query(Before { before }): Query<Before>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let entries = trail::page(&vault.kit.store, &user.name, before.unwrap_or(i64::MAX)).await?;
    let next = entries.last().map(|entry| entry.number).filter(|number| *number > 1);
    let entries: Vec<_> = entries.iter().map(trail::Entry::json).collect();
    Ok(private(json!({"owner": user.name, "entries": entries, "next_before": next})))
}
