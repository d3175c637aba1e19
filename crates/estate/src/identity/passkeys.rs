//! Passkeys: WebAuthn with user verification required. One stands for both steps of a sign-in.
//!
//! A ceremony that was begun travels with the browser, sealed: whoever does not finish one leaves nothing here, and nobody's
//! flood ends another's. One that was finished is remembered for as long as its seal is good, so that it works once.

use super::Identity;
use crate::bounds::{
    CEREMONIES_DONE_MAX, CEREMONY_LIFE_MS, PASSKEYS_PER_PERSON_MAX, SIGN_IN_FRESH_MS, TOKENS_PURGE_MAX,
    USER_NAME_BYTES_MAX,
};
use crate::credentials::User;
use crate::kit::{Json, private};
use crate::once::hash;
use crate::people::same_site;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use webauthn_rs::prelude::{
    Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Uuid,
    Webauthn,
};

pub(super) const SCHEMA: &str = "
CREATE TABLE passkey (
  id TEXT PRIMARY KEY, \"user\" TEXT NOT NULL, passkey TEXT NOT NULL, made_ms INTEGER NOT NULL, used_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_user ON passkey (\"user\", made_ms);
CREATE TABLE ceremony_done (hash BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX ceremony_done_age ON ceremony_done (expires_ms);
";

/// How somebody signed in who used a passkey: more than one factor, and the person was there (RFC 8176).
pub(super) const AMR: &str = "mfa user";

const MAKING: &str = "registration";
const SIGNING: &str = "sign-in";
const NONCE_BYTES: usize = 12;
/// What is sealed is padded to a multiple of this, so that its length tells nothing.
const PADDED_BYTES: usize = 1024;
/// As long as the names of passkeys that devices make.
const DECOY_BYTES: usize = 16;

/// A ceremony under way.
#[derive(Deserialize, Serialize)]
struct Begun<T> {
    user: String,
    until_ms: i64,
    state: T,
}

/// With it the mark by which it is known.
type Opened<T> = (Begun<T>, [u8; 32]);

/// What a browser shows at the end of a ceremony.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    pub(super) ceremony: String,
    /// As JSON.
    pub(super) credential: String,
}

/// A passkey as its owner sees it.
#[derive(sqlx::FromRow)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) made_ms: i64,
    pub(super) used_ms: Option<i64>,
}

fn refused() -> Problem {
    // What was wrong is not told.
    Problem::new(StatusCode::UNAUTHORIZED, "passkey-refused", "the passkey was not accepted; begin again")
}

impl Identity {
    fn webauthn(&self) -> Result<&Webauthn, Problem> {
        self.webauthn.as_deref().ok_or_else(|| Problem::internal(&"there is no relying party"))
    }

    fn cipher(&self) -> Result<Aes256Gcm, Problem> {
        let key = self.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
        let bytes = hex::decode(key.derive("identity passkey ceremonies")).unwrap_or_default();
        Aes256Gcm::new_from_slice(&bytes).map_err(|error| Problem::internal(&error))
    }

    fn seal<T: Serialize>(&self, kind: &'static str, user: &str, state: T) -> Result<String, Problem> {
        let begun = Begun { user: user.to_owned(), until_ms: now_ms() + CEREMONY_LIFE_MS, state };
        seal(&self.cipher()?, kind, &begun)
    }

    fn open<T: DeserializeOwned>(&self, kind: &'static str, sealed: &str) -> Result<Option<Opened<T>>, Problem> {
        Ok(open(&self.cipher()?, kind, sealed, now_ms()))
    }

    /// A passkey that nobody has, the same each time: who asks can't tell who has none, nor who is nobody.
    fn decoy(&self, user: &str) -> Result<Passkey, Problem> {
        let key = self.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
        let id = hash(key.derive(&format!("identity passkey of nobody: {user}")).as_bytes());
        // The public key is the curve's base point, to which nobody's device answers.
        let decoy = json!({"cred": {
            "cred_id": URL_SAFE_NO_PAD.encode(&id[..DECOY_BYTES]),
            "cred": {"type_": "ES256", "key": {"EC_EC2": {
                "curve": "SECP256R1", "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            }}},
            "counter": 0, "transports": null, "user_verified": true, "backup_eligible": false, "backup_state": false,
            "registration_policy": "required", "extensions": {}, "attestation": {"data": "None", "metadata": "None"},
            "attestation_format": "none",
        }});
        serde_json::from_value(decoy).map_err(|error| Problem::internal(&error))
    }

    async fn passkeys(&self, user: &str) -> Result<Vec<Passkey>, Problem> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT passkey FROM passkey WHERE \"user\" = $1 ORDER BY made_ms, id")
                .bind(user)
                .fetch_all(&self.kit.store.reader)
                .await?;
        rows.iter().map(|text| serde_json::from_str(text).map_err(|error| Problem::internal(&error))).collect()
    }
}

fn seal<T: Serialize>(cipher: &Aes256Gcm, kind: &'static str, begun: &Begun<T>) -> Result<String, Problem> {
    let mut text = serde_json::to_vec(begun).map_err(|error| Problem::internal(&error))?;
    text.resize(text.len().next_multiple_of(PADDED_BYTES), b' ');
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| Problem::internal(&error))?;
    let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: &text, aad: kind.as_bytes() });
    let sealed = sealed.map_err(|_| Problem::internal(&"the cipher refused"))?;
    Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
}

/// Opens what [`seal`] made for the same kind, if it is in time.
fn open<T: DeserializeOwned>(cipher: &Aes256Gcm, kind: &'static str, sealed: &str, now: i64) -> Option<Opened<T>> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let text = cipher.decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: kind.as_bytes() }).ok()?;
    let begun: Begun<T> = serde_json::from_slice(&text).ok()?;
    (begun.until_ms > now).then(|| (begun, hash(&bytes)))
}

/// Marks a ceremony as done; `false` if it was before.
async fn first_time(tx: &mut Tx, mark: [u8; 32], until_ms: i64) -> Result<bool, Problem> {
    sqlx::query(
        "DELETE FROM ceremony_done WHERE hash IN (SELECT hash FROM ceremony_done WHERE expires_ms <= $1 LIMIT $2)",
    )
    .bind(now_ms())
    .bind(TOKENS_PURGE_MAX)
    .execute(&mut **tx)
    .await?;
    let many: i64 = sqlx::query_scalar("SELECT count(*) FROM ceremony_done").fetch_one(&mut **tx).await?;
    if many >= CEREMONIES_DONE_MAX {
        return Err(Problem::busy("too many sign in by passkeys right now; come back in a moment"));
    }
    let put = sqlx::query("INSERT INTO ceremony_done (hash, expires_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(mark.to_vec())
        .bind(until_ms)
        .execute(&mut **tx)
        .await?;
    Ok(put.rows_affected() == 1)
}

/// Who is signed in, if that was a moment ago: whoever finds an open browser makes no way in of their own, and ends none.
///
/// # Errors
/// 401 without a session, 403 when its sign-in is too old.
pub(super) async fn just_signed_in(identity: &Identity, headers: &HeaderMap) -> Result<User, Problem> {
    let (user, _, since_ms) = identity.find_with_age(headers).await?.ok_or_else(Problem::unauthenticated)?;
    if now_ms() - since_ms > SIGN_IN_FRESH_MS {
        let minutes = SIGN_IN_FRESH_MS / 60_000;
        let words = format!("this takes a sign-in of the last {minutes} minutes: sign out, and in again");
        return Err(Problem::new(StatusCode::FORBIDDEN, "sign-in-again", words));
    }
    Ok(user)
}

/// `POST /passkeys/registration/start`
pub(super) async fn register_start(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = just_signed_in(&identity, &headers).await?;
    let known = identity.passkeys(&user.name).await?;
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash(format!("guichet identity {}", user.name).as_bytes())[..16]);
    let exclude = known.iter().map(|passkey| passkey.cred_id().clone()).collect();
    let webauthn = identity.webauthn()?;
    let begun = webauthn.start_passkey_registration(Uuid::from_bytes(bytes), &user.name, &user.name, Some(exclude));
    let (challenge, state) = begun.map_err(|error| Problem::internal(&error))?;
    Ok(private(json!({"ceremony": identity.seal(MAKING, &user.name, state)?, "options": challenge})))
}

/// Takes a new passkey.
///
/// # Errors
/// 401 when the ceremony was not this person's, is over, or went wrong; 409 when there are too many.
pub(super) async fn register(identity: &Identity, user: &User, shown: &Shown) -> Result<(), Problem> {
    let begun = identity.open::<PasskeyRegistration>(MAKING, &shown.ceremony)?;
    let (begun, mark) = begun.filter(|(begun, _)| begun.user == user.name).ok_or_else(refused)?;
    let made: RegisterPublicKeyCredential = serde_json::from_str(&shown.credential).map_err(|_| refused())?;
    let made = identity.webauthn()?.finish_passkey_registration(&made, &begun.state).map_err(|_| refused())?;
    let mut tx = identity.kit.store.begin().await?;
    if !first_time(&mut tx, mark, begun.until_ms).await? {
        return Err(refused());
    }
    let many: i64 = sqlx::query_scalar("SELECT count(*) FROM passkey WHERE \"user\" = $1")
        .bind(&user.name)
        .fetch_one(&mut *tx)
        .await?;
    if many >= PASSKEYS_PER_PERSON_MAX {
        let words = format!("a person has {PASSKEYS_PER_PERSON_MAX} passkeys at most; end one first");
        return Err(Problem::new(StatusCode::CONFLICT, "too-many", words));
    }
    let put = sqlx::query(
        "INSERT INTO passkey (id, \"user\", passkey, made_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(hex::encode(made.cred_id()))
    .bind(&user.name)
    .bind(serde_json::to_string(&made).map_err(|error| Problem::internal(&error))?)
    .bind(now_ms())
    .execute(&mut *tx)
    .await?;
    // Whoever shows a passkey that is somebody's already gets nothing.
    if put.rows_affected() == 0 {
        return Err(refused());
    }
    Ok(tx.commit().await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    user: String,
}

/// `POST /passkeys/sign-in/start`
pub(super) async fn sign_in_start(State(identity): State<Identity>, body: Json<Who>) -> Result<Response, Problem> {
    let user = &body.value.user;
    if user.len() > USER_NAME_BYTES_MAX {
        return Err(refused());
    }
    let mut known = identity.passkeys(user).await?;
    if known.is_empty() {
        known.push(identity.decoy(user)?);
    }
    let begun = identity.webauthn()?.start_passkey_authentication(&known);
    let (challenge, state) = begun.map_err(|error| Problem::internal(&error))?;
    Ok(private(json!({"ceremony": identity.seal(SIGNING, &body.value.user, state)?, "options": challenge})))
}

/// Who signs in by what a browser shows; nobody, if it is not right.
pub(super) async fn sign_in(identity: &Identity, ceremony: &str, credential: &str) -> Result<Option<User>, Problem> {
    let Some((begun, mark)) = identity.open::<PasskeyAuthentication>(SIGNING, ceremony)? else { return Ok(None) };
    let Ok(shown) = serde_json::from_str::<PublicKeyCredential>(credential) else { return Ok(None) };
    let done = identity.webauthn()?.finish_passkey_authentication(&shown, &begun.state);
    let Some(done) = done.ok().filter(|done| done.user_verified()) else { return Ok(None) };
    let mut tx = identity.kit.store.begin().await?;
    if !first_time(&mut tx, mark, begun.until_ms).await? {
        return Ok(None);
    }
    // As it is now: one that was ended since the ceremony began opens nothing.
    let id = hex::encode(done.cred_id());
    let kept: Option<String> = sqlx::query_scalar("SELECT passkey FROM passkey WHERE id = $1 AND \"user\" = $2")
        .bind(&id)
        .bind(&begun.user)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(kept) = kept else { return Ok(None) };
    let mut passkey: Passkey = serde_json::from_str(&kept).map_err(|error| Problem::internal(&error))?;
    if passkey.update_credential(&done).is_none() {
        return Ok(None);
    }
    sqlx::query("UPDATE passkey SET passkey = $1, used_ms = $2 WHERE id = $3")
        .bind(serde_json::to_string(&passkey).map_err(|error| Problem::internal(&error))?)
        .bind(now_ms())
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(User::from_name(&begun.user))
}

/// A person's passkeys, oldest first.
pub(super) async fn cards(identity: &Identity, user: &str) -> Result<Vec<Card>, Problem> {
    let rows = sqlx::query_as("SELECT id, made_ms, used_ms FROM passkey WHERE \"user\" = $1 ORDER BY made_ms, id");
    Ok(rows.bind(user).fetch_all(&identity.kit.store.reader).await?)
}

/// Ends one of a person's passkeys.
///
/// # Errors
/// 404 when this person has none of that name.
pub(super) async fn end(identity: &Identity, user: &User, id: &str) -> Result<(), Problem> {
    let mut tx = identity.kit.store.begin().await?;
    let ended = sqlx::query("DELETE FROM passkey WHERE id = $1 AND \"user\" = $2")
        .bind(id)
        .bind(&user.name)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    if ended.rows_affected() == 0 {
        return Err(Problem::not_found("passkey"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_opens_for_its_kind_in_time_and_unaltered() {
        let cipher = Aes256Gcm::new(&[7; 32].into());
        let begun = Begun { user: "user0001".to_owned(), until_ms: 1000, state: 5 };
        let sealed = seal(&cipher, MAKING, &begun).unwrap();
        let opens = |cipher: &Aes256Gcm, kind, sealed: &str, now| open::<i64>(cipher, kind, sealed, now).is_some();
        assert!(opens(&cipher, MAKING, &sealed, 999));
        assert!(!opens(&cipher, MAKING, &sealed, 1000), "late");
        assert!(!opens(&cipher, SIGNING, &sealed, 999), "of another kind");
        assert!(!opens(&Aes256Gcm::new(&[8; 32].into()), MAKING, &sealed, 999), "by another key");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(!opens(&cipher, MAKING, std::str::from_utf8(&altered).unwrap(), 999), "altered at {at}");
        }
        assert!(!opens(&cipher, MAKING, &sealed[..10], 999) && !opens(&cipher, MAKING, "", 999));
    }
}
