//! Passkeys: WebAuthn with user verification required. An agent's first one is registered with the password's session, each
//! further one takes the privilege that a passkey gives.

use super::Staff;
use super::audit::{self, Act};
use crate::bounds::{CEREMONIES_PER_AGENT_MAX, CEREMONY_LIFE_MS, PASSKEYS_PER_AGENT_MAX, PRIVILEGE_MS};
use crate::credentials::User;
use crate::kit::{Json, private};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use webauthn_rs::prelude::{
    Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Uuid,
    Webauthn,
};

impl Staff {
    fn webauthn(&self) -> Result<&Webauthn, Problem> {
        self.webauthn.as_deref().ok_or_else(|| Problem::internal(&"there is no relying party"))
    }

    async fn passkeys(&self, agent: &str) -> Result<Vec<Passkey>, Problem> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT passkey FROM passkey WHERE agent = $1 ORDER BY made_ms, id")
            .bind(agent)
            .fetch_all(&self.kit.store.reader)
            .await?;
        let read = |text: &String| serde_json::from_str(text).map_err(|error| Problem::internal(&error));
        rows.iter().map(read).collect()
    }

    /// Keeps the state of a ceremony that was begun, and gives its id.
    async fn begin(&self, agent: &str, kind: &'static str, state: &impl Serialize) -> Result<String, Problem> {
        let state = serde_json::to_string(state).map_err(|error| Problem::internal(&error))?;
        let id = format!("ceremony-{}", uuid::Uuid::new_v4().simple());
        let now = now_ms();
        let mut tx = self.kit.store.begin().await?;
        sqlx::query(
            "DELETE FROM ceremony WHERE made_ms <= $1 OR id IN
             (SELECT id FROM ceremony WHERE agent = $2 ORDER BY made_ms DESC, id LIMIT 1000 OFFSET $3)",
        )
        .bind(now - CEREMONY_LIFE_MS)
        .bind(agent)
        .bind(CEREMONIES_PER_AGENT_MAX - 1)
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO ceremony (id, agent, kind, state, made_ms) VALUES ($1, $2, $3, $4, $5)")
            .bind(&id)
            .bind(agent)
            .bind(kind)
            .bind(state)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(id)
    }
}

/// Takes the state of a ceremony, which works once.
async fn take<T: DeserializeOwned>(
    tx: &mut Tx,
    id: &str,
    kind: &'static str,
    now: i64,
) -> Result<(String, T), Problem> {
    let row: Option<(String, String)> =
        sqlx::query_as("DELETE FROM ceremony WHERE id = $1 AND kind = $2 AND made_ms > $3 RETURNING agent, state")
            .bind(id)
            .bind(kind)
            .bind(now - CEREMONY_LIFE_MS)
            .fetch_optional(&mut **tx)
            .await?;
    let (agent, state) = row.ok_or_else(refused)?;
    Ok((agent, serde_json::from_str(&state).map_err(|error| Problem::internal(&error))?))
}

fn refused() -> Problem {
    // What was wrong is not told.
    Problem::new(StatusCode::UNAUTHORIZED, "passkey-refused", "the passkey was not accepted; begin again")
}

pub(super) async fn register_start(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    let agent = staff.agent(&headers).await?;
    let known = staff.passkeys(&agent).await?;
    if !known.is_empty() {
        staff.privileged(&headers).await?;
    }
    let max = usize::try_from(PASSKEYS_PER_AGENT_MAX).unwrap_or(usize::MAX);
    if known.len() >= max {
        return Err(Problem::new(StatusCode::CONFLICT, "too-many", format!("an agent has {max} passkeys at most")));
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash(format!("guichet staff {agent}").as_bytes())[..16]);
    let exclude = known.iter().map(|passkey| passkey.cred_id().clone()).collect();
    let begun = staff.webauthn()?.start_passkey_registration(Uuid::from_bytes(bytes), &agent, &agent, Some(exclude));
    let (challenge, state) = begun.map_err(|error| Problem::internal(&error))?;
    let ceremony = staff.begin(&agent, "registration", &state).await?;
    Ok(private(json!({"ceremony": ceremony, "options": challenge})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made<T> {
    ceremony: String,
    credential: T,
}

pub(super) async fn register_finish(
    State(staff): State<Staff>,
    headers: HeaderMap,
    body: Json<Made<RegisterPublicKeyCredential>>,
) -> Result<Response, Problem> {
    let agent = staff.agent(&headers).await?;
    let now = now_ms();
    let mut tx = staff.kit.store.begin().await?;
    let (asker, state): (String, PasskeyRegistration) =
        take(&mut tx, &body.value.ceremony, "registration", now).await?;
    let made = staff.webauthn()?.finish_passkey_registration(&body.value.credential, &state);
    let (Ok(passkey), true) = (made, asker == agent) else {
        tx.commit().await?;
        return Err(refused());
    };
    let text = serde_json::to_string(&passkey).map_err(|error| Problem::internal(&error))?;
    sqlx::query(
        "INSERT INTO passkey (id, agent, passkey, made_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
    )
    .bind(hex::encode(passkey.cred_id()))
    .bind(&agent)
    .bind(text)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: "", case: "", verdict: "passkey-made" }], now)
        .await?;
    Ok((StatusCode::CREATED, private(json!({"agent": agent}))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    agent: String,
}

pub(super) async fn sign_in_start(State(staff): State<Staff>, body: Json<Who>) -> Result<Response, Problem> {
    let passkeys = staff.passkeys(&body.value.agent).await?;
    if passkeys.is_empty() {
        return Err(refused());
    }
    let begun = staff.webauthn()?.start_passkey_authentication(&passkeys);
    let (challenge, state) = begun.map_err(|error| Problem::internal(&error))?;
    let ceremony = staff.begin(&body.value.agent, "sign-in", &state).await?;
    Ok(private(json!({"ceremony": ceremony, "options": challenge})))
}

pub(super) async fn sign_in_finish(
    State(staff): State<Staff>,
    headers: HeaderMap,
    body: Json<Made<PublicKeyCredential>>,
) -> Result<Response, Problem> {
    let now = now_ms();
    let mut tx = staff.kit.store.begin().await?;
    let (agent, state): (String, PasskeyAuthentication) = take(&mut tx, &body.value.ceremony, "sign-in", now).await?;
    // Used up, whatever comes of it.
    tx.commit().await?;
    let done = staff.webauthn()?.finish_passkey_authentication(&body.value.credential, &state);
    let known = staff.passkeys(&agent).await?;
    let used = done.ok().filter(|done| done.user_verified());
    let used = used.and_then(|done| known.into_iter().find_map(|mut key| key.update_credential(&done).map(|_| key)));
    let (Some(passkey), Some(user)) = (used, User::from_name(&agent)) else { return Err(refused()) };
    let token = staff.sessions.open(&user).await?;
    let text = serde_json::to_string(&passkey).map_err(|error| Problem::internal(&error))?;
    let mut tx = staff.kit.store.begin().await?;
    sqlx::query("UPDATE passkey SET passkey = $1 WHERE id = $2")
        .bind(text)
        .bind(hex::encode(passkey.cred_id()))
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM privilege WHERE until_ms <= $1").bind(now).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO privilege (token_hash, agent, until_ms) VALUES ($1, $2, $3)")
        .bind(&hash(token.as_bytes())[..])
        .bind(&agent)
        .bind(now + PRIVILEGE_MS)
        .execute(&mut *tx)
        .await?;
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: "", case: "", verdict: "passkey-sign-in" }], now)
        .await?;
    let cookie = staff.sessions.set_cookie(&token, &headers)?;
    let told = json!({"agent": agent, "privilege_s": PRIVILEGE_MS / 1000});
    Ok(([(header::SET_COOKIE, cookie)], private(told)).into_response())
}
