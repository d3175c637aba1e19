//! Whose account an alias (a telephone or an e-mail address) stands for. An alias is its owner's who has proved it with a code that
//! was sent there; one alias stands for one account, and whoever proves it last has it.

use super::{OWN_BIC, Pacs};
use crate::bounds::{
    ALIAS_CLAIMS_MAX, ALIAS_LOOKUPS_MAX, ALIASES_PER_OWNER_MAX, CODE_LIFE_MS, CODE_TRIES_MAX, MAILS_WAITING_MAX,
};
use crate::codes;
use crate::kit::{Json, private};
use crate::once::hash;
use crate::problem::Problem;
use crate::store::{Tx, now_ms};
use axum::extract::State;
use axum::response::Response;
use guichet_iso20022::{email_fits, iban_checked, telephone_fits};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

const HOUR_MS: i64 = 3600 * 1000;

/// Test data: each telephone, and an e-mail address for each owner.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    let telephones = "INSERT INTO directory (alias, iban, owner, made_ms)
         SELECT a.telephone, c.iban, c.owner, 0 FROM alias a JOIN account c ON c.id = a.account WHERE c.iban IS NOT NULL";
    let addresses = "INSERT INTO directory (alias, iban, owner, made_ms)
         SELECT c.owner || '@example.invalid', c.iban, c.owner, 0 FROM alias a JOIN account c ON c.id = a.account WHERE c.iban IS NOT NULL";
    sqlx::query(telephones).execute(&mut **tx).await?;
    sqlx::query(addresses).execute(&mut **tx).await?;
    Ok(())
}

/// An alias as the directory has it: spaces left out, addresses in small letters; `None` for what is neither.
fn alias(text: &str) -> Option<String> {
    if text.len() > 300 {
        return None;
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    (telephone_fits(&text) || email_fits(&text)).then_some(text)
}

fn wanted(text: &str) -> Result<String, Problem> {
    alias(text).ok_or_else(|| Problem::invalid("alias takes a telephone as +33600000001 or an e-mail address"))
}

/// The IBAN of an alias.
pub(super) async fn find(tx: &mut Tx, alias: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT iban FROM directory WHERE alias = $1").bind(alias).fetch_optional(&mut **tx).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookUp {
    /// Who asks.
    owner: String,
    alias: String,
}

/// `POST /internal/lookups`: account and bank of an alias, here or at another bank.
pub(super) async fn look_up(State(pacs): State<Pacs>, body: Json<LookUp>) -> Result<Response, Problem> {
    let alias = wanted(&body.value.alias)?;
    count_lookup(&pacs, &body.value.owner).await?;
    let own: Option<String> = sqlx::query_scalar("SELECT iban FROM directory WHERE alias = $1")
        .bind(&alias)
        .fetch_optional(&pacs.kit.store.reader)
        .await?;
    if let Some(iban) = own {
        return Ok(private(json!({"alias": alias, "iban": iban, "bic": OWN_BIC, "own": true})));
    }
    let path = format!("/aliases/{}", alias.replace('+', "%2B"));
    for (bic, address) in pacs.kit.peers.banks() {
        let asked = pacs.kit.peers.call_bank(*address, "GET", &path, "application/json", "").await;
        let Some(answer) = asked.ok().filter(|answer| answer.status.is_success()) else { continue };
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(iban) = told["iban"].as_str().and_then(iban_checked) {
            return Ok(private(json!({"alias": alias, "iban": iban, "bic": bic, "own": false})));
        }
    }
    Err(Problem::not_found("alias"))
}

async fn count_lookup(pacs: &Pacs, owner: &str) -> Result<(), Problem> {
    let now = now_ms();
    let mut tx = pacs.kit.store.begin().await?;
    let asked: i64 = sqlx::query_scalar(
        "INSERT INTO alias_lookup (owner, since_ms, asked) VALUES ($1, $2, 1) ON CONFLICT (owner) DO UPDATE SET
         asked = CASE WHEN alias_lookup.since_ms <= $3 THEN 1 ELSE alias_lookup.asked + 1 END,
         since_ms = CASE WHEN alias_lookup.since_ms <= $3 THEN $2 ELSE alias_lookup.since_ms END RETURNING asked",
    )
    .bind(owner)
    .bind(now)
    .bind(now - HOUR_MS)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    if asked > ALIAS_LOOKUPS_MAX {
        let words = "too many aliases were looked up within an hour; an IBAN works";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "lookups", words);
        return Err(Problem { retry_after_s: Some(600), ..problem });
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    owner: String,
    alias: String,
    iban: String,
}

impl Pacs {
    fn code_mac(&self, owner: &str, alias: &str, iban: &str, code: &str) -> Result<String, Problem> {
        let key = self.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
        Ok(key.derive(&format!("code of an alias\n{owner}\n{alias}\n{iban}\n{code}")))
    }
}

/// `POST /internal/aliases`: sends a code to the alias. The bank says whose account it is.
pub(super) async fn claim(State(pacs): State<Pacs>, body: Json<Claim>) -> Result<Response, Problem> {
    let Claim { owner, iban, .. } = &body.value;
    let alias = wanted(&body.value.alias)?;
    let mut tx = pacs.kit.store.begin().await?;
    let own: Option<i64> = sqlx::query_scalar("SELECT 1 FROM account WHERE iban = $1 AND owner = $2")
        .bind(iban)
        .bind(owner)
        .fetch_optional(&mut *tx)
        .await?;
    if own.is_none() {
        return Err(Problem::invalid("instant transfers reach current accounts, and iban is none of this owner"));
    }
    let now = now_ms();
    sqlx::query("DELETE FROM alias_claim WHERE owner = $1 AND asked_ms <= $2")
        .bind(owner)
        .bind(now - CODE_LIFE_MS)
        .execute(&mut *tx)
        .await?;
    let (claims, held): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM alias_claim WHERE owner = $1), (SELECT count(*) FROM directory WHERE owner = $1 AND alias <> $2)",
    )
    .bind(owner)
    .bind(&alias)
    .fetch_one(&mut *tx)
    .await?;
    if claims >= ALIAS_CLAIMS_MAX || held >= ALIASES_PER_OWNER_MAX {
        let words = "this person has as many aliases, or codes under way, as one may have";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "aliases", words));
    }
    let code = codes::six_digits()?;
    let mac = pacs.code_mac(owner, &alias, iban, &code)?;
    // A claim that waits keeps its tries: asking again gives no new ones.
    let put = sqlx::query(
        "INSERT INTO alias_claim (owner, alias, iban, code_mac, asked_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(owner)
    .bind(&alias)
    .bind(iban)
    .bind(mac)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if put.rows_affected() == 1 {
        let text = format!("Code pour recevoir de l'argent par {alias} : {code}. Ne le donnez à personne.");
        if telephone_fits(&alias) {
            super::super::queue(&mut tx, &alias, &text).await?;
        } else {
            mail(&pacs.kit.store.dir, &alias, &text).map_err(|error| Problem::internal(&error))?;
        }
    }
    tx.commit().await?;
    Ok(private(json!({"alias": alias, "status": "challenge"})))
}

/// Puts an e-mail into the folder `mail` (a Maildir) of the data folder, from where the post takes it.
fn mail(dir: &Path, to: &str, text: &str) -> anyhow::Result<()> {
    let folder = dir.join("mail");
    for name in ["tmp", "new", "cur"] {
        crate::estate::make_folder(&folder.join(name))?;
    }
    anyhow::ensure!(std::fs::read_dir(folder.join("new"))?.count() < MAILS_WAITING_MAX, "too many e-mails wait");
    let name = format!("{}.{}.guichet", now_ms(), uuid::Uuid::new_v4().simple());
    let message = format!(
        "From: ne-pas-repondre@example.invalid\r\nTo: {to}\r\nSubject: Code\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    );
    let draft = folder.join("tmp").join(&name);
    std::fs::write(&draft, message)?;
    std::fs::rename(draft, folder.join("new").join(name))?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirm {
    owner: String,
    alias: String,
    code: String,
}

type Claimed = (String, String, i64, i64);

/// `POST /internal/aliases/confirm`
pub(super) async fn confirm(State(pacs): State<Pacs>, body: Json<Confirm>) -> Result<Response, Problem> {
    let Confirm { owner, code, .. } = &body.value;
    let alias = wanted(&body.value.alias)?;
    let mut tx = pacs.kit.store.begin().await?;
    let claimed: Option<Claimed> =
        sqlx::query_as("SELECT iban, code_mac, tries, asked_ms FROM alias_claim WHERE owner = $1 AND alias = $2")
            .bind(owner)
            .bind(&alias)
            .fetch_optional(&mut *tx)
            .await?;
    let gone = || Problem::new(StatusCode::GONE, "void", "this code is no longer valid; ask again");
    let (iban, kept, tries, asked_ms) = claimed.ok_or_else(gone)?;
    let now = now_ms();
    if tries >= CODE_TRIES_MAX || asked_ms <= now - CODE_LIFE_MS {
        return Err(gone());
    }
    let mac = pacs.code_mac(owner, &alias, &iban, code)?;
    if hash(mac.as_bytes()) != hash(kept.as_bytes()) {
        sqlx::query("UPDATE alias_claim SET tries = tries + 1 WHERE owner = $1 AND alias = $2")
            .bind(owner)
            .bind(&alias)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        return Err(Problem::new(StatusCode::FORBIDDEN, "wrong-code", "this is not the code that was sent"));
    }
    sqlx::query(
        "INSERT INTO directory (alias, iban, owner, made_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (alias) DO UPDATE SET iban = $2, owner = $3, made_ms = $4",
    )
    .bind(&alias)
    .bind(&iban)
    .bind(owner)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM alias_claim WHERE owner = $1 AND alias = $2")
        .bind(owner)
        .bind(&alias)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(private(json!({"alias": alias, "iban": iban, "status": "registered"})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    owner: String,
    alias: String,
}

/// `POST /internal/aliases/end`: an alias stands for nothing any more. The same again changes nothing.
pub(super) async fn end(State(pacs): State<Pacs>, body: Json<End>) -> Result<Response, Problem> {
    let alias = wanted(&body.value.alias)?;
    let mut tx = pacs.kit.store.begin().await?;
    sqlx::query("DELETE FROM directory WHERE owner = $1 AND alias = $2")
        .bind(&body.value.owner)
        .bind(&alias)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(private(json!({"alias": alias, "status": "ended"})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    owner: String,
}

/// `POST /internal/aliases/list`
pub(super) async fn list(State(pacs): State<Pacs>, body: Json<Whose>) -> Result<Response, Problem> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT alias, iban FROM directory WHERE owner = $1 ORDER BY alias LIMIT $2")
            .bind(&body.value.owner)
            .bind(ALIASES_PER_OWNER_MAX)
            .fetch_all(&pacs.kit.store.reader)
            .await?;
    let rows: Vec<Value> = rows.into_iter().map(|(alias, iban)| json!({"alias": alias, "iban": iban})).collect();
    Ok(private(json!({"aliases": rows})))
}
