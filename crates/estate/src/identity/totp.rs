//! The second step of a sign-in: one-time passwords by time (RFC 6238), with codes for the day on which the telephone is lost.
//!
//! The secret is drawn from the estate's key and a number in the store: neither alone gives it away. A step is accepted once.

use super::pages::{SignInForm, Step};
use super::{Identity, passkeys};
use crate::bounds::{SECOND_STEP_MS, TOTP_REST_MS, TOTP_TRIES_MAX};
use crate::credentials::User;
use crate::once::hash;
use crate::problem::Problem;
use crate::store::now_ms;
use http::StatusCode;
use totp_rs::{Builder, Secret, Totp};

pub(super) const SCHEMA: &str = "
CREATE TABLE totp (
  \"user\" TEXT PRIMARY KEY, salt TEXT NOT NULL, confirmed_ms INTEGER, last_step INTEGER NOT NULL DEFAULT 0, fails INTEGER NOT NULL DEFAULT 0,
  rests_until_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE recovery (hash BLOB PRIMARY KEY, \"user\" TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX recovery_user ON recovery (\"user\");
CREATE TABLE session_how (token_hash BLOB PRIMARY KEY REFERENCES session (token_hash) ON DELETE CASCADE, amr TEXT NOT NULL) STRICT, WITHOUT ROWID;
";
const RECOVERY_CODES: usize = 8;

/// Where a sign-in is.
pub(super) enum Steps {
    /// It is done: who, and how.
    Done(User, &'static str),
    /// A page comes next, or again.
    Again(Step, StatusCode),
}

/// Takes one step of a sign-in.
pub(super) async fn steps(identity: &Identity, form: &SignInForm) -> Result<Steps, Problem> {
    if !form.credential.is_empty() {
        return Ok(match passkeys::sign_in(identity, &form.ceremony, &form.credential).await? {
            Some(user) => Steps::Done(user, passkeys::AMR),
            None => Steps::Again(Step::wrong_passkey(), StatusCode::UNAUTHORIZED),
        });
    }
    if !form.half.is_empty() {
        let Some(user) = half_done(identity, &form.half)? else {
            return Ok(Steps::Again(Step::password(""), StatusCode::UNAUTHORIZED));
        };
        return Ok(match check(identity, &user.name, &form.code).await? {
            true => Steps::Done(user, "pwd otp"),
            false => Steps::Again(Step::code(&form.half, true), StatusCode::UNAUTHORIZED),
        });
    }
    let user = match identity.kit.passwords.check(&form.user, &form.password).await {
        Ok(user) => user,
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let user: String = form.user.chars().take(64).collect();
            return Ok(Steps::Again(Step::wrong_password(&user), StatusCode::UNAUTHORIZED));
        }
        Err(problem) => return Err(problem),
    };
    Ok(match is_on(identity, &user.name).await? {
        true => Steps::Again(Step::code(&half(identity, &user.name)?, false), StatusCode::OK),
        false => Steps::Done(user, "pwd"),
    })
}

fn half_mac(identity: &Identity, told: &str) -> Result<String, Problem> {
    let key = identity.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
    Ok(key.derive(&format!("second step of a sign-in {told}")))
}

/// Proof that the first step was taken.
fn half(identity: &Identity, user: &str) -> Result<String, Problem> {
    let told = format!("{user}.{}", now_ms() + SECOND_STEP_MS);
    Ok(format!("{told}.{}", half_mac(identity, &told)?))
}

fn half_done(identity: &Identity, half: &str) -> Result<Option<User>, Problem> {
    let Some((told, mac)) = half.rsplit_once('.') else { return Ok(None) };
    let right = hash(mac.as_bytes()) == hash(half_mac(identity, told)?.as_bytes());
    let (user, until) = told.split_once('.').unwrap_or_default();
    let in_time = until.parse::<i64>().is_ok_and(|until| until > now_ms());
    Ok(if right && in_time { User::from_name(user) } else { None })
}

/// Whether this user's sign-in takes a second step.
pub(super) async fn is_on(identity: &Identity, user: &str) -> Result<bool, Problem> {
    let on: Option<i64> = sqlx::query_scalar("SELECT 1 FROM totp WHERE \"user\" = $1 AND confirmed_ms IS NOT NULL")
        .bind(user)
        .fetch_optional(&identity.kit.store.reader)
        .await?;
    Ok(on.is_some())
}

fn totp(identity: &Identity, user: &str, salt: &str) -> Result<Totp, Problem> {
    let key = identity.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
    let secret = hex::decode(key.derive(&format!("one-time passwords of {user} {salt}"))).unwrap_or_default();
    let secret = secret.get(..20).ok_or_else(|| Problem::internal(&"no secret"))?;
    let built = Builder::new().with_secret(Secret::from(secret.to_vec())).with_skew(1).build();
    built.map_err(|error| Problem::internal(&error))
}

#[derive(sqlx::FromRow)]
struct Row {
    salt: String,
    confirmed_ms: Option<i64>,
    last_step: i64,
    fails: i64,
    rests_until_ms: i64,
}

/// Begins: a new secret, as text for the telephone. One that is confirmed is not replaced.
pub(super) async fn begin(identity: &Identity, user: &str) -> Result<String, Problem> {
    let salt = uuid::Uuid::new_v4().simple().to_string();
    let mut tx = identity.kit.store.begin().await?;
    sqlx::query("DELETE FROM totp WHERE \"user\" = $1 AND confirmed_ms IS NULL").bind(user).execute(&mut *tx).await?;
    let put = sqlx::query("INSERT INTO totp (\"user\", salt) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(user)
        .bind(&salt)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    if put.rows_affected() == 0 {
        return Err(Problem::new(StatusCode::CONFLICT, "decided", "one-time passwords are on already: end them first"));
    }
    Ok(totp(identity, user, &salt)?.secret().to_base32())
}

/// Confirms with a first password, and gives the codes for the day on which the telephone is lost; they are shown once.
/// Sessions that took one step end for all that takes two, but for the one in which it was confirmed.
pub(super) async fn confirm(
    identity: &Identity,
    user: &str,
    code: &str,
    session: &str,
) -> Result<Option<Vec<String>>, Problem> {
    if !check(identity, user, code).await? {
        return Ok(None);
    }
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    let mut tx = identity.kit.store.begin().await?;
    sqlx::query("UPDATE totp SET confirmed_ms = $1 WHERE \"user\" = $2")
        .bind(now_ms())
        .bind(user)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO session_how (token_hash, amr) VALUES ($1, 'pwd otp')
         ON CONFLICT (token_hash) DO UPDATE SET amr = excluded.amr",
    )
    .bind(hash(session.as_bytes()).to_vec())
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM recovery WHERE \"user\" = $1").bind(user).execute(&mut *tx).await?;
    for _ in 0..RECOVERY_CODES {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
        let code = hex::encode(bytes);
        sqlx::query("INSERT INTO recovery (hash, \"user\") VALUES ($1, $2)")
            .bind(hash(code.as_bytes()).to_vec())
            .bind(user)
            .execute(&mut *tx)
            .await?;
        codes.push(code);
    }
    tx.commit().await?;
    Ok(Some(codes))
}

/// Ends one-time passwords.
pub(super) async fn end(identity: &Identity, user: &str) -> Result<(), Problem> {
    let mut tx = identity.kit.store.begin().await?;
    sqlx::query("DELETE FROM totp WHERE \"user\" = $1").bind(user).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM recovery WHERE \"user\" = $1").bind(user).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Whether a code is right: that of a step which was not used, or one for the lost telephone, which is then used up. After
/// too many wrong ones none is right for a while, and that is not told.
pub(super) async fn check(identity: &Identity, user: &str, code: &str) -> Result<bool, Problem> {
    let code = code.trim();
    let mut tx = identity.kit.store.begin().await?;
    let row: Option<Row> =
        sqlx::query_as("SELECT salt, confirmed_ms, last_step, fails, rests_until_ms FROM totp WHERE \"user\" = $1")
            .bind(user)
            .fetch_optional(&mut *tx)
            .await?;
    let Some(row) = row else { return Ok(false) };
    let now = now_ms();
    if row.rests_until_ms > now {
        return Ok(false);
    }
    let totp = totp(identity, user, &row.salt)?;
    let step = u64::try_from(now / 1000).ok().and_then(|now_s| totp.check(code, now_s));
    let step = step.and_then(|step| i64::try_from(step).ok()).filter(|step| *step > row.last_step);
    let recovered = step.is_none() && row.confirmed_ms.is_some() && {
        let used = sqlx::query("DELETE FROM recovery WHERE hash = $1 AND \"user\" = $2")
            .bind(hash(code.as_bytes()).to_vec())
            .bind(user)
            .execute(&mut *tx)
            .await?;
        used.rows_affected() == 1
    };
    let right = step.is_some() || recovered;
    let fails = if right { 0 } else { row.fails + 1 };
    let (fails, rests_until) = if fails >= TOTP_TRIES_MAX { (0, now + TOTP_REST_MS) } else { (fails, 0) };
    sqlx::query("UPDATE totp SET last_step = $1, fails = $2, rests_until_ms = $3 WHERE \"user\" = $4")
        .bind(step.unwrap_or(row.last_step))
        .bind(fails)
        .bind(rests_until)
        .bind(user)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(right)
}
