//! What a sign-in leads to: a code, once; then tokens, and new ones for the refresh token, which changes each time.
//!
//! All that came from one sign-in is a family. A code or a refresh token that is shown twice was stolen by somebody: the whole
//! family ends (RFC 6749, 4.1.2; RFC 9700, 4.14).

use super::authorize::Wanted;
use super::oauth::{self, Refusal};
use super::{Identity, keys};
use crate::bounds::{
    ACCESS_TOKEN_LIFE_S, CODE_OIDC_LIFE_MS, FAMILIES_PER_USER_MAX, FAMILY_LIFE_MS, REFRESH_LIFE_MS, TOKENS_PURGE_MAX,
};
use crate::once::hash;
use crate::people_claims;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use axum::extract::{Form, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const SCHEMA: &str = "
CREATE TABLE family (
  id TEXT PRIMARY KEY, client TEXT NOT NULL, \"user\" TEXT NOT NULL, issuer TEXT NOT NULL, scope TEXT NOT NULL, nonce TEXT,
  amr TEXT NOT NULL, auth_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX family_user ON family (\"user\", auth_ms);
CREATE INDEX family_age ON family (expires_ms);
CREATE TABLE code (
  hash BLOB PRIMARY KEY, family TEXT NOT NULL REFERENCES family (id) ON DELETE CASCADE, redirect_uri TEXT NOT NULL,
  challenge TEXT NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX code_family ON code (family);
CREATE TABLE refresh (
  hash BLOB PRIMARY KEY, family TEXT NOT NULL REFERENCES family (id) ON DELETE CASCADE, expires_ms INTEGER NOT NULL, used_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_family ON refresh (family);
";

/// A random name of 256 bits, and its hash, which is what is kept.
pub(super) fn token() -> Result<(String, Vec<u8>), Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash(text.as_bytes()).to_vec();
    Ok((text, hash))
}

/// Who signed in, how and when.
pub(super) struct SignedIn<'a> {
    pub(super) user: &'a str,
    /// As RFC 8176 has it: `pwd`, `otp`, joined by spaces.
    pub(super) amr: &'a str,
    pub(super) at_ms: i64,
}

/// Begins a family and gives its code.
pub(super) async fn issue_code(
    identity: &Identity,
    issuer: &str,
    wanted: &Wanted,
    who: &SignedIn<'_>,
) -> Result<String, Problem> {
    let now = now_ms();
    let mut tx = identity.kit.store.begin().await?;
    sqlx::query("DELETE FROM family WHERE id IN (SELECT id FROM family WHERE expires_ms <= $1 LIMIT $2)")
        .bind(now)
        .bind(TOKENS_PURGE_MAX)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "DELETE FROM family WHERE id IN (SELECT id FROM family WHERE \"user\" = $1 ORDER BY auth_ms DESC, id LIMIT 9223372036854775807 OFFSET $2)",
    )
    .bind(who.user)
    .bind(FAMILIES_PER_USER_MAX - 1)
    .execute(&mut *tx)
    .await?;
    let family = uuid::Uuid::new_v4().simple().to_string();
    sqlx::query(
        "INSERT INTO family (id, client, \"user\", issuer, scope, nonce, amr, auth_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&family)
    .bind(wanted.client.id)
    .bind(who.user)
    .bind(issuer)
    .bind(&wanted.scope)
    .bind(&wanted.nonce)
    .bind(who.amr)
    .bind(who.at_ms)
    .bind(now + FAMILY_LIFE_MS)
    .execute(&mut *tx)
    .await?;
    let (code, hash) = token()?;
    sqlx::query("INSERT INTO code (hash, family, redirect_uri, challenge, expires_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(hash)
        .bind(family)
        .bind(&wanted.redirect_uri)
        .bind(&wanted.challenge)
        .bind(now + CODE_OIDC_LIFE_MS)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(code)
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Ask {
    grant_type: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Family {
    id: String,
    client: String,
    user: String,
    issuer: String,
    scope: String,
    nonce: Option<String>,
    amr: String,
    auth_ms: i64,
    expires_ms: i64,
    revoked_ms: Option<i64>,
}

async fn family(tx: &mut Tx, id: &str) -> Result<Family, Refusal> {
    let family = sqlx::query_as(
        "SELECT id, client, \"user\", issuer, scope, nonce, amr, auth_ms, expires_ms, revoked_ms FROM family WHERE id = $1",
    )
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    Ok(family)
}

async fn revoke_family(tx: &mut Tx, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE family SET revoked_ms = $1 WHERE id = $2 AND revoked_ms IS NULL")
        .bind(now_ms())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// `POST /token`
pub(super) async fn give(
    State(identity): State<Identity>,
    headers: HeaderMap,
    form: Result<Form<Ask>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Refusal> {
    let Form(ask) = form.map_err(|error| Refusal::new("invalid_request", error.body_text()))?;
    let client = oauth::client(&identity, &headers, ask.client_id.as_deref(), ask.client_secret.as_deref())?;
    keys::renew(&identity.kit.store).await?;
    let mut tx = identity.kit.store.begin().await?;
    let given = match ask.grant_type.as_deref() {
        Some("authorization_code") => by_code(&mut tx, &ask, client.id).await,
        Some("refresh_token") => by_refresh(&mut tx, &ask, client.id).await,
        Some(_) => Err(Refusal::new("unsupported_grant_type", "takes authorization_code and refresh_token")),
        None => Err(Refusal::new("invalid_request", "grant_type is missing")),
    };
    let (family, first) = match given {
        Ok(given) => given,
        Err(refusal) => {
            // A theft that was noticed stays noticed.
            tx.commit().await?;
            return Err(refusal);
        }
    };
    let mut answer = tokens(&identity, &family, first).await?;
    if family.scope.split(' ').any(|scope| scope == "offline_access") {
        let (token, hash) = token()?;
        sqlx::query("INSERT INTO refresh (hash, family, expires_ms) VALUES ($1, $2, $3)")
            .bind(hash)
            .bind(&family.id)
            .bind((now_ms() + REFRESH_LIFE_MS).min(family.expires_ms))
            .execute(&mut *tx)
            .await?;
        answer["refresh_token"] = json!(token);
    }
    tx.commit().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response())
}

fn wrong_grant() -> Refusal {
    Refusal::new("invalid_grant", "the code or token is unknown, used, out of date, revoked, or of another client")
}

/// The family of a code, which is used up.
async fn by_code(tx: &mut Tx, ask: &Ask, client: &str) -> Result<(Family, bool), Refusal> {
    let code = ask.code.as_deref().ok_or_else(|| Refusal::new("invalid_request", "code is missing"))?;
    let verifier =
        ask.code_verifier.as_deref().ok_or_else(|| Refusal::new("invalid_request", "code_verifier is missing"))?;
    let hashed = hash(code.as_bytes()).to_vec();
    let row: Option<(String, String, String, i64, Option<i64>)> =
        sqlx::query_as("SELECT family, redirect_uri, challenge, expires_ms, used_ms FROM code WHERE hash = $1")
            .bind(&hashed)
            .fetch_optional(&mut **tx)
            .await?;
    let (id, redirect_uri, challenge, expires_ms, used_ms) = row.ok_or_else(wrong_grant)?;
    let family = family(tx, &id).await?;
    if family.client != client {
        return Err(wrong_grant());
    }
    if used_ms.is_some() {
        revoke_family(tx, &id).await?;
        return Err(wrong_grant());
    }
    let proof = URL_SAFE_NO_PAD.encode(hash(verifier.as_bytes()));
    let right = proof == challenge && ask.redirect_uri.as_deref() == Some(redirect_uri.as_str());
    // Whoever shows it wrongly has used it up, too.
    sqlx::query("UPDATE code SET used_ms = $1 WHERE hash = $2").bind(now_ms()).bind(&hashed).execute(&mut **tx).await?;
    if !right || expires_ms <= now_ms() || family.revoked_ms.is_some() {
        return Err(wrong_grant());
    }
    Ok((family, true))
}

/// The family of a refresh token, which is used up.
async fn by_refresh(tx: &mut Tx, ask: &Ask, client: &str) -> Result<(Family, bool), Refusal> {
    let token =
        ask.refresh_token.as_deref().ok_or_else(|| Refusal::new("invalid_request", "refresh_token is missing"))?;
    let hashed = hash(token.as_bytes()).to_vec();
    let row: Option<(String, i64, Option<i64>)> =
        sqlx::query_as("SELECT family, expires_ms, used_ms FROM refresh WHERE hash = $1")
            .bind(&hashed)
            .fetch_optional(&mut **tx)
            .await?;
    let (id, expires_ms, used_ms) = row.ok_or_else(wrong_grant)?;
    let family = family(tx, &id).await?;
    if family.client != client {
        return Err(wrong_grant());
    }
    if used_ms.is_some() {
        revoke_family(tx, &id).await?;
        return Err(wrong_grant());
    }
    if expires_ms <= now_ms() || family.revoked_ms.is_some() {
        return Err(wrong_grant());
    }
    sqlx::query("UPDATE refresh SET used_ms = $1 WHERE hash = $2")
        .bind(now_ms())
        .bind(&hashed)
        .execute(&mut **tx)
        .await?;
    // The last one stays, so that its second showing is noticed; those before it are of no use.
    sqlx::query("DELETE FROM refresh WHERE family = $1 AND hash <> $2 AND used_ms IS NOT NULL AND expires_ms <= $3")
        .bind(&id)
        .bind(&hashed)
        .bind(now_ms())
        .execute(&mut **tx)
        .await?;
    Ok((family, false))
}

/// What an access token says.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Access {
    iss: String,
    pub(super) sub: String,
    aud: String,
    client_id: String,
    pub(super) scope: String,
    iat: i64,
    exp: i64,
    jti: String,
    /// The family, so that an end of it is one of its tokens too.
    sid: String,
}

async fn tokens(identity: &Identity, family: &Family, first: bool) -> Result<Value, Problem> {
    let now_s = now_ms() / 1000;
    let store = &identity.kit.store;
    let access = Access {
        iss: family.issuer.clone(),
        sub: family.user.clone(),
        aud: family.client.clone(),
        client_id: family.client.clone(),
        scope: family.scope.clone(),
        iat: now_s,
        exp: now_s + ACCESS_TOKEN_LIFE_S,
        jti: uuid::Uuid::new_v4().simple().to_string(),
        sid: family.id.clone(),
    };
    let mut id = people_claims::of(&family.user, &family.scope);
    id["iss"] = json!(family.issuer);
    id["aud"] = json!(family.client);
    id["iat"] = json!(now_s);
    id["exp"] = json!(now_s + ACCESS_TOKEN_LIFE_S);
    id["auth_time"] = json!(family.auth_ms / 1000);
    id["amr"] = json!(family.amr.split(' ').collect::<Vec<_>>());
    id["sid"] = json!(family.id);
    // A nonce answers a sign-in, not a renewal.
    if let (Some(nonce), true) = (&family.nonce, first) {
        id["nonce"] = json!(nonce);
    }
    Ok(json!({
        "access_token": keys::sign(store, "at+jwt", &access).await?,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_LIFE_S,
        "scope": family.scope,
        "id_token": keys::sign(store, "JWT", &id).await?,
    }))
}

/// The access token of a request, if it is one of ours, in date, and its family goes on.
pub(super) async fn access(identity: &Identity, headers: &HeaderMap) -> Result<Option<Access>, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = bearer.filter(|token| token.contains('.')) else { return Ok(None) };
    let Some(access) = keys::read::<Access>(&identity.kit.store, "at+jwt", token, false).await? else {
        return Ok(None);
    };
    let goes_on: Option<i64> = sqlx::query_scalar("SELECT 1 FROM family WHERE id = $1 AND revoked_ms IS NULL")
        .bind(&access.sid)
        .fetch_optional(&identity.kit.store.reader)
        .await?;
    Ok(goes_on.map(|_| access))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Revoke {
    token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// `POST /revoke` (RFC 7009): ends the family of a token of this client; a token that is not known is ended already.
pub(super) async fn revoke(
    State(identity): State<Identity>,
    headers: HeaderMap,
    form: Result<Form<Revoke>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Refusal> {
    let Form(ask) = form.map_err(|error| Refusal::new("invalid_request", error.body_text()))?;
    let client = oauth::client(&identity, &headers, ask.client_id.as_deref(), ask.client_secret.as_deref())?;
    let token = ask.token.ok_or_else(|| Refusal::new("invalid_request", "token is missing"))?;
    let access = keys::read::<Access>(&identity.kit.store, "at+jwt", &token, true).await?;
    let mut tx = identity.kit.store.begin().await?;
    let of_refresh: Option<String> = sqlx::query_scalar("SELECT family FROM refresh WHERE hash = $1")
        .bind(hash(token.as_bytes()).to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(id) = of_refresh.or(access.map(|access| access.sid)) {
        let of_client: Option<String> =
            sqlx::query_scalar("SELECT client FROM family WHERE id = $1").bind(&id).fetch_optional(&mut *tx).await?;
        if of_client.as_deref() == Some(client.id) {
            revoke_family(&mut tx, &id).await?;
            tx.commit().await?;
        }
    }
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response())
}
