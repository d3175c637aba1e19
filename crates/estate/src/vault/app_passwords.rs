//! Application passwords: for a program that mounts the vault, so that it does not hold the user's own password and can be
//! shut out alone. They are random, so their hash needs no slow function.

use super::trail::{self, Act};
use super::{Vault, secret, too_many};
use crate::bounds::APP_PASSWORDS_PER_USER_MAX;
use crate::credentials::User;
use crate::kit::{Json, private};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    label: String,
}

pub(super) async fn make(
    State(vault): State<Vault>,
    headers: HeaderMap,
    body: Json<Wanted>,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let label = body.value.label;
    if label.is_empty() || label.len() > 100 || label.chars().any(char::is_control) {
        return Err(Problem::invalid("label takes 1 to 100 bytes: which program is it for?"));
    }
    let (password, now) = (secret()?, now_ms());
    let id = format!("app-{}", uuid::Uuid::new_v4().simple());
    let mut tx = vault.kit.store.begin().await?;
    let count: i64 = sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM app_password WHERE owner = $1")
        .bind(&user.name)
        .fetch_one(&mut *tx)
        .await?;
    if count >= APP_PASSWORDS_PER_USER_MAX {
        return Err(too_many("application passwords", APP_PASSWORDS_PER_USER_MAX));
    }
    sqlx::query("INSERT INTO app_password (id, owner, label, secret_hash, made_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(&id)
        .bind(&user.name)
        .bind(&label)
        .bind(&hash(password.as_bytes())[..])
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let act = Act { owner: &user.name, actor: &user.name, action: "app-password", document: "", detail: id.clone() };
    trail::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    let told = json!({"id": id, "label": label, "password": password});
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(told)).into_response())
}

pub(super) async fn list(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT id, label, made_ms FROM app_password WHERE owner = $1 ORDER BY made_ms, id")
            .bind(&user.name)
            .fetch_all(&vault.kit.store.reader)
            .await?;
    let told: Vec<_> =
        rows.iter().map(|(id, label, at)| json!({"id": id, "label": label, "made_at": rfc3339(*at)})).collect();
    Ok(private(json!({"app_passwords": told})))
}

pub(super) async fn end(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let mut tx = vault.kit.store.begin().await?;
    let ended = sqlx::query("DELETE FROM app_password WHERE id = $1 AND owner = $2")
        .bind(&id)
        .bind(&user.name)
        .execute(&mut *tx)
        .await?;
    if ended.rows_affected() != 1 {
        return Err(Problem::not_found("application password"));
    }
    let act = Act { owner: &user.name, actor: &user.name, action: "app-password-end", document: "", detail: id };
    trail::append(&mut tx, &act, now_ms()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The user of a request with Basic authentication: by an application password, or the user's own.
pub(super) async fn basic(vault: &Vault, headers: &HeaderMap) -> Result<User, Problem> {
    let line = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let pair = line.and_then(|line| line.strip_prefix("Basic ")).and_then(|pair| STANDARD.decode(pair.trim()).ok());
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
    let (name, password) =
        pair.as_deref().and_then(|pair| pair.split_once(':')).ok_or_else(Problem::unauthenticated)?;
    if password.len() == 43 {
        let owner: Option<String> =
            sqlx::query_scalar("SELECT owner FROM app_password WHERE secret_hash = $1 AND owner = $2")
                .bind(&hash(password.as_bytes())[..])
                .bind(name)
                .fetch_optional(&vault.kit.store.reader)
                .await?;
        if let Some(user) = owner.as_deref().and_then(User::from_name) {
            return Ok(user);
        }
    }
    vault.kit.passwords.check(name, password).await
}
