//! Files read by the staff: each reading needs a case reference, and its audit entry is on the disk, its signed head in a
//! second place, before a byte of the file leaves. No entry, no access. In the test estate every user is an agent too.
//!
//! A password opens single files only. What is more (many files at once, the audit, a lock-down) takes a passkey, whose
//! privilege is short; many files take two people.

mod audit;
mod bulk;
mod lockdown;
mod passkeys;
mod tables;

use crate::bounds::FILE_READS_PER_HOUR_MAX;
use crate::ids;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::once::hash;
use crate::people::{Frame, page};
use crate::problem::Problem;
use crate::sessions::{Life, Sessions};
use crate::store::{Store, Tx, now_ms};
use askama::Template;
use audit::{Act, Heads};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
pub(crate) use tables::{INVARIANTS, MIGRATIONS, seed};
use webauthn_rs::prelude::Webauthn;

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone)]
struct Staff {
    kit: Kit,
    sessions: Sessions,
    heads: Option<Heads>,
    webauthn: Option<Arc<Webauthn>>,
}

impl Staff {
    fn heads(&self) -> Result<&Heads, Problem> {
        self.heads.as_ref().ok_or_else(|| Problem::internal(&"the audit can't be signed: nothing is read"))
    }

    async fn agent(&self, headers: &HeaderMap) -> Result<String, Problem> {
        Ok(self.sessions.require(headers).await?.name)
    }

    /// The agent of a request whose session has the privilege of a passkey, still.
    ///
    /// # Errors
    /// 401 without a session, 403 without the privilege.
    async fn privileged(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let agent = self.agent(headers).await?;
        let token = self.sessions.token(headers).unwrap_or("");
        let count: i64 = sqlx::query_scalar(
            "SELECT CAST(count(*) AS BIGINT) FROM privilege WHERE token_hash = $1 AND agent = $2 AND until_ms > $3",
        )
        .bind(&hash(token.as_bytes())[..])
        .bind(&agent)
        .bind(now_ms())
        .fetch_one(&self.kit.store.reader)
        .await?;
        if count != 1 {
            let detail = "this takes a sign-in by passkey, a few minutes ago at most";
            return Err(Problem::new(StatusCode::FORBIDDEN, "passkey-needed", detail));
        }
        Ok(agent)
    }

    async fn is_officer(&self, agent: &str) -> Result<bool, Problem> {
        let count: i64 = sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM officer WHERE agent = $1")
            .bind(agent)
            .fetch_one(&self.kit.store.reader)
            .await?;
        Ok(count == 1)
    }
}

/// Checks that the audit can be signed, and that it is the one that was signed last.
pub(crate) async fn ready(store: &Store) -> anyhow::Result<()> {
    Heads::open(&store.dir)?.check(store).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    // Whether both can be had was checked at the start; where not, what needs them is refused.
    let say = |error: anyhow::Error| eprintln!("guichet-estate: staff: {error:#}");
    let state = Staff {
        kit: kit.clone(),
        sessions: kit.sessions(Life::SHORT),
        heads: Heads::open(&kit.store.dir).map_err(say).ok(),
        webauthn: crate::relying_party::of(kit.service).map_err(say).ok().map(Arc::new),
    };
    let routes = Router::new()
        .route("/login", kit.op("login", post(login)))
        .route("/files/{id}", kit.op("file", get(file)))
        .route("/passkeys/registration/start", kit.op("passkey", post(passkeys::register_start)))
        .route("/passkeys/registration/finish", kit.op("passkey", post(passkeys::register_finish)))
        .route("/passkeys/sign-in/start", kit.op("passkey", post(passkeys::sign_in_start)))
        .route("/passkeys/sign-in/finish", kit.op("passkey", post(passkeys::sign_in_finish)))
        .route("/exports", kit.op("export", get(bulk::list).post(bulk::ask)))
        .route("/exports/{id}/approval", kit.op("export", post(bulk::approve)))
        .route("/exports/{id}/package", kit.op("export", get(bulk::package)))
        .route("/lockdown", kit.op("lockdown", get(lockdown::show).post(lockdown::ask).delete(lockdown::end)))
        .route("/lockdown/agreement", kit.op("lockdown", post(lockdown::agree)))
        .route("/audit", kit.op("audit", get(audit_page)))
        .route("/audit/head", kit.op("audit", get(audit_head)))
        .route("/agents", kit.op("page", get(agents)))
        .route("/agents.js", kit.other(get(script)));
    kit.finish_api(routes.with_state(state))
}

async fn login(State(staff): State<Staff>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = staff.sessions.life_s();
    let answer = |user: &crate::credentials::User, _: &str| json!({"agent": user.name, "expires_in_s": life});
    sign_in(&staff.kit, &staff.sessions, &headers, &body.value, StatusCode::OK, answer).await
}

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    case: String,
}

/// A case reference: why somebody reads.
fn case_checked(case: &str) -> Result<(), Problem> {
    if !ids::plain(case, 6, 32, "-") || case.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Problem::malformed("a file is read for a case: a case has 6 to 32 capitals, digits and -"));
    }
    Ok(())
}

/// Readings of an agent in the last hour.
async fn reads(tx: &mut Tx, agent: &str, now: i64) -> Result<i64, Problem> {
    let sql =
        "SELECT CAST(count(*) AS BIGINT) FROM audit WHERE agent = $1 AND at_ms > $2 AND verdict IN ('read', 'bulk')";
    Ok(sqlx::query_scalar(sql).bind(agent).bind(now - HOUR_MS).fetch_one(&mut **tx).await?)
}

async fn file(
    State(staff): State<Staff>,
    Path(id): Path<String>,
    Query(Case { case }): Query<Case>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let agent = staff.agent(&headers).await?;
    case_checked(&case)?;
    if !ids::plain(&id, 1, 32, "-") {
        return Err(Problem::not_found("file"));
    }
    let row: Option<(String, String)> = sqlx::query_as("SELECT subject, notes FROM file WHERE id = $1")
        .bind(&id)
        .fetch_optional(&staff.kit.store.reader)
        .await?;
    // Within the transaction of the entry: after a lock-down began, no reading that began before it gets through.
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let verdict = match &row {
        _ if lockdown::active(&mut tx, now).await? => "locked-down",
        _ if reads(&mut tx, &agent, now).await? >= FILE_READS_PER_HOUR_MAX => "over-quota",
        Some(_) => "read",
        None => "unknown",
    };
    let act = Act { agent: &agent, file: &id, case: &case, verdict };
    let audit = audit::record(tx, staff.heads()?, &[act], now).await?;
    // Durable from here on; only now may the file leave.
    match (verdict, row) {
        ("locked-down", _) => Err(lockdown::refusal()),
        ("over-quota", _) => Err(over_quota()),
        (_, Some((subject, notes))) => {
            Ok(private(json!({"id": id, "subject": subject, "notes": notes, "case": case, "audit": audit})))
        }
        (_, None) => Err(Problem::not_found("file")),
    }
}

fn over_quota() -> Problem {
    let detail = format!("an agent reads {FILE_READS_PER_HOUR_MAX} files an hour at most");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "over-quota", detail);
    Problem { retry_after_s: Some(600), ..problem }
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn audit_page(
    State(staff): State<Staff>,
    Query(Before { before }): Query<Before>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    staff.privileged(&headers).await?;
    let entries = audit::page(&staff.kit.store, before.unwrap_or(i64::MAX)).await?;
    Ok(private(json!({"entries": entries})))
}

/// The head of the audit, signed now: to be kept by whoever wants to hold the service to it.
async fn audit_head(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    staff.agent(&headers).await?;
    let (entries, hash) = audit::last(&staff.kit.store).await?;
    Ok(private(json!(staff.heads()?.sign(entries, &hash))))
}

#[derive(Template)]
#[template(path = "staff/agents.html")]
struct Agents {
    frame: Frame,
    agent: Option<String>,
}

async fn agents(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    let agent = staff.sessions.find(&headers).await?.map(|user| user.name);
    page(StatusCode::OK, &Agents { frame: Frame::of(&headers), agent })
}

async fn script() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (kind, include_str!("../../templates/staff/agents.js")).into_response()
}
