//! Sharing by a link: whoever has it reads one document, without an account, until it expires, is used up or is ended.
//!
//! The token is known to those who have the link only: the store keeps its hash. Each reading by a link stands in the
//! owner's trail before a byte leaves.

use super::trail::{self, Act};
use super::{Vault, documents, keep, secret, too_many};
use crate::bounds::{LINK_LIFE_S_MAX, LINK_USES_MAX, LINKS_PER_DOCUMENT_MAX};
use crate::kit::{Json, private};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

/// What a link may do.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    /// Seconds that it lives.
    pub(super) expires_in_s: i64,
    /// How often it may be used.
    pub(super) uses_max: i64,
}

/// A living link: id, owner, document.
pub(super) type Living = (String, String, String);

pub(super) async fn make(
    State(vault): State<Vault>,
    Path(document): Path<String>,
    headers: HeaderMap,
    body: Json<Terms>,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let (id, token) = make_link(&vault, &user.name, &document, body.value).await?;
    let expires = rfc3339(now_ms() + body.value.expires_in_s * 1000);
    let told =
        json!({"id": id, "path": format!("/partage/{token}"), "expires_at": expires, "uses_max": body.value.uses_max});
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(told)).into_response())
}

/// Makes a link and gives its id and its token; the token is not kept.
pub(super) async fn make_link(
    vault: &Vault,
    owner: &str,
    document: &str,
    terms: Terms,
) -> Result<(String, String), Problem> {
    let Terms { expires_in_s, uses_max } = terms;
    if !(60..=LINK_LIFE_S_MAX).contains(&expires_in_s) || !(1..=LINK_USES_MAX).contains(&uses_max) {
        let detail = format!("expires_in_s takes 60 to {LINK_LIFE_S_MAX}, uses_max 1 to {LINK_USES_MAX}");
        return Err(Problem::invalid(detail));
    }
    let (token, now) = (secret()?, now_ms());
    let id = format!("link-{}", uuid::Uuid::new_v4().simple());
    let mut tx = vault.kit.store.begin().await?;
    let (mine, living): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT CAST(count(*) AS BIGINT) FROM document WHERE id = $1 AND owner = $2 AND erased_ms IS NULL),
         (SELECT CAST(count(*) AS BIGINT) FROM link WHERE document = $1 AND ended_ms IS NULL AND expires_ms > $3 AND uses < uses_max)",
    )
    .bind(document)
    .bind(owner)
    .bind(now)
    .fetch_one(&mut *tx)
    .await?;
    if mine != 1 {
        return Err(Problem::not_found("document"));
    }
    if living >= LINKS_PER_DOCUMENT_MAX {
        return Err(too_many("links of one document", LINKS_PER_DOCUMENT_MAX));
    }
    // The trail keeps what the ended ones did.
    sqlx::query(
        "DELETE FROM link WHERE document = $1 AND (ended_ms IS NOT NULL OR expires_ms <= $2 OR uses >= uses_max)",
    )
    .bind(document)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO link (id, token_hash, owner, document, made_ms, expires_ms, uses_max, uses) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
    )
    .bind(&id)
    .bind(&hash(token.as_bytes())[..])
    .bind(owner)
    .bind(document)
    .bind(now)
    .bind(now + expires_in_s * 1000)
    .bind(uses_max)
    .execute(&mut *tx)
    .await?;
    let detail = format!("{id}, until {}, {uses_max} times", rfc3339(now + expires_in_s * 1000));
    trail::append(&mut tx, &Act { owner, actor: owner, action: "share", document, detail }, now).await?;
    tx.commit().await?;
    Ok((id, token))
}

pub(super) async fn list(
    State(vault): State<Vault>,
    Path(document): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT id, made_ms, expires_ms, uses_max, uses FROM link
         WHERE document = $1 AND owner = $2 AND ended_ms IS NULL AND expires_ms > $3 AND uses < uses_max ORDER BY made_ms, id",
    )
    .bind(&document)
    .bind(&user.name)
    .bind(now_ms())
    .fetch_all(&vault.kit.store.reader)
    .await?;
    let links: Vec<_> = rows
        .iter()
        .map(|(id, made, expires, max, uses)| {
            json!({"id": id, "made_at": rfc3339(*made), "expires_at": rfc3339(*expires), "uses_max": max, "uses": uses})
        })
        .collect();
    Ok(private(json!({"links": links})))
}

pub(super) async fn end(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    end_link(&vault, &user.name, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn end_link(vault: &Vault, owner: &str, id: &str) -> Result<(), Problem> {
    let now = now_ms();
    let mut tx = vault.kit.store.begin().await?;
    let document: Option<String> = sqlx::query_scalar(
        "UPDATE link SET ended_ms = $1 WHERE id = $2 AND owner = $3 AND ended_ms IS NULL RETURNING document",
    )
    .bind(now)
    .bind(id)
    .bind(owner)
    .fetch_optional(&mut *tx)
    .await?;
    let document = document.ok_or_else(|| Problem::not_found("link"))?;
    trail::append(
        &mut tx,
        &Act { owner, actor: owner, action: "unshare", document: &document, detail: id.to_owned() },
        now,
    )
    .await?;
    Ok(tx.commit().await?)
}

fn gone() -> Problem {
    // Unknown, expired, used up and ended are not told apart: a token that was guessed tells nothing.
    Problem::new(StatusCode::NOT_FOUND, "link-gone", "this link is unknown, has expired, was used up or was ended")
}

/// What a token stands for, without using it up.
pub(super) async fn look(vault: &Vault, token: &str) -> Result<Living, Problem> {
    let found: Option<Living> = sqlx::query_as(
        "SELECT id, owner, document FROM link WHERE token_hash = $1 AND ended_ms IS NULL AND expires_ms > $2 AND uses < uses_max",
    )
    .bind(&hash(token.as_bytes())[..])
    .bind(now_ms())
    .fetch_optional(&vault.kit.store.reader)
    .await?;
    found.ok_or_else(gone)
}

/// Uses a link once and gives the document. By POST: what only looks at a link, as messengers do, does not use it up.
pub(super) async fn fetch(State(vault): State<Vault>, Path(token): Path<String>) -> Result<Response, Problem> {
    let (id, owner, document) = look(&vault, &token).await?;
    let opened = keep::open(&vault.kit.store, vault.master()?, &owner, &document, None).await?;
    let now = now_ms();
    let mut tx = vault.kit.store.begin().await?;
    let used = sqlx::query(
        "UPDATE link SET uses = uses + 1 WHERE id = $1 AND ended_ms IS NULL AND expires_ms > $2 AND uses < uses_max",
    )
    .bind(&id)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if used.rows_affected() != 1 {
        return Err(gone());
    }
    let (actor, detail) = (format!("link:{id}"), format!("version {}", opened.version));
    let act = Act { owner: &owner, actor: &actor, action: "read", document: &document, detail };
    trail::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(documents::content(opened))
}
