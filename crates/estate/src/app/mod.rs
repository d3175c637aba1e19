//! The interface behind the mobile application: a session, a home screen, one's parcels, approvals of payments.

mod approvals;

use crate::bounds::{PARCELS_SEEDED, PER_USER_SEEDED, USERS};
use crate::credentials::{self, User};
use crate::estate_key::EstateKey;
use crate::ids;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::oidc::{self, Relying};
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE parcel (id TEXT PRIMARY KEY, owner TEXT NOT NULL, code TEXT NOT NULL, site TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX parcel_owner ON parcel (owner);
CREATE TABLE approval (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, merchant TEXT NOT NULL, amount_cents INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('waiting', 'approved', 'refused')), decided_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_owner ON approval (owner);
", oidc::SCHEMA, approvals::SCHEMA];

pub(crate) const INVARIANTS: &[Invariant] = &[zero(
    "an approval has a moment of decision if and only if it was decided",
    "SELECT count(*) FROM approval WHERE (status = 'waiting') <> (decided_ms IS NULL)",
)];

#[derive(Clone)]
struct App {
    kit: Kit,
    sessions: Sessions,
    identity: Relying,
    key: Option<EstateKey>,
}

impl App {
    /// The user of a request: by an access token of the identity service, or by a session of this one.
    async fn user(&self, headers: &HeaderMap) -> Result<User, Problem> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if let Some(token) = bearer.filter(|token| token.contains('.')) {
            let claims = self.identity.read(token, "at+jwt", self.kit.service.name(), None).await?.unwrap_or_default();
            return claims["sub"].as_str().and_then(User::from_name).ok_or_else(Problem::unauthenticated);
        }
        self.sessions.require(headers).await
    }
}

/// Test data: the last known step of each parcel, three approvals that wait for each user.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let today = seed::today_ms();
    let parcels: Vec<_> = (0..PARCELS_SEEDED)
        .filter_map(|n| {
            let last = seed::parcel_events(n, today).pop()?;
            Some((ids::parcel(n), ids::user(ids::parcel_owner(n)), last.code, last.site, last.at_ms))
        })
        .collect();
    let sql = "INSERT INTO parcel SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT) FROM json_each($1)";
    seed::insert(tx, sql, &parcels).await?;
    let approvals: Vec<_> = (0..USERS)
        .flat_map(|n| (1..=PER_USER_SEEDED).map(move |k| (format!("apr-{n:04}-{k}"), ids::user(n), 1000 * k + n)))
        .collect();
    let sql = "INSERT INTO approval SELECT value->>0, value->>1, 'Librairie du Port', CAST(value->>2 AS BIGINT), 'waiting', NULL, NULL, 0 FROM json_each($1)";
    seed::insert(tx, sql, &approvals).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let key = EstateKey::load_or_make(&kit.store.dir).ok();
    let state = App { kit: kit.clone(), sessions: kit.sessions(Life::DAY), identity: Relying::new(kit), key };
    let routes = Router::new()
        .route("/v1/sessions", kit.op("login", post(login)))
        .route("/v1/home", kit.op("home", get(home)))
        .route("/v1/parcels/{id}", kit.op("parcel", get(parcel)))
        .route("/v1/approvals/{id}", kit.op("approve", post(approve)));
    kit.finish_api(routes.with_state(state.clone()).merge(approvals::routes(state)))
}

async fn login(State(app): State<App>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = app.sessions.life_s();
    sign_in(
        &app.kit,
        &app.sessions,
        &headers,
        &body.value,
        StatusCode::CREATED,
        |_, token| json!({"token": token, "token_type": "Bearer", "expires_in_s": life}),
    )
    .await
}

type ParcelRow = (String, String, String, i64);

fn parcel_json((id, code, site, at): &ParcelRow) -> serde_json::Value {
    json!({"id": id, "code": code, "site": site, "at": rfc3339(*at), "is_final": code == "DI1"})
}

async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = app.user(&headers).await?;
    let parcels: Vec<ParcelRow> =
        sqlx::query_as("SELECT id, code, site, at_ms FROM parcel WHERE owner = $1 ORDER BY at_ms DESC LIMIT 50")
            .bind(&user.name)
            .fetch_all(&app.kit.store.reader)
            .await?;
    let approvals: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT id, merchant, amount_cents FROM approval WHERE owner = $1 AND status = 'waiting' ORDER BY id LIMIT 50",
    )
    .bind(&user.name)
    .fetch_all(&app.kit.store.reader)
    .await?;
    let approvals: Vec<_> = approvals
        .iter()
        .map(|(id, merchant, cents)| json!({"id": id, "merchant": merchant, "amount_cents": cents, "currency": "EUR"}))
        .collect();
    let (given, family) = seed::name(user.n);
    let parcels: Vec<_> = parcels.iter().map(parcel_json).collect();
    Ok(private(
        json!({"user": user.name, "name": format!("{given} {family}"), "parcels": parcels, "approvals": approvals}),
    ))
}

async fn parcel(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = app.user(&headers).await?;
    let id = ids::s10(&id)
        .map_err(|_| Problem::malformed("this is no S10 identifier: two letters, nine digits, two letters"))?;
    let row: Option<ParcelRow> =
        sqlx::query_as("SELECT id, code, site, at_ms FROM parcel WHERE id = $1 AND owner = $2")
            .bind(&id)
            .bind(&user.name)
            .fetch_optional(&app.kit.store.reader)
            .await?;
    Ok(private(parcel_json(&row.ok_or_else(|| Problem::not_found("parcel"))?)))
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Approve,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    decision: Choice,
}

/// `POST /v1/approvals/{id}`: decided once; the same decision again is the same answer, another one is refused.
async fn approve(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let user = app.user(&headers).await?;
    let decision = match body.as_ref() {
        [] => Choice::Approve,
        json => serde_json::from_slice::<Decision>(json).map_err(|error| Problem::invalid(error.to_string()))?.decision,
    };
    let status = if decision == Choice::Approve { "approved" } else { "refused" };
    let question: Option<(i64, Option<String>)> = sqlx::query_as(
        "SELECT amount_cents, payee_iban FROM approval WHERE id = $1 AND owner = $2 AND status = 'waiting'",
    )
    .bind(&id)
    .bind(&user.name)
    .fetch_optional(&app.kit.store.reader)
    .await?;
    if let Some((amount_cents, Some(payee_iban))) = &question {
        let about = (id.as_str(), *amount_cents, payee_iban.as_str());
        approvals::tell_bank(&app, &user.name, about, decision == Choice::Approve).await?;
    }
    let mut tx = app.kit.store.begin().await?;
    let before: Option<(String, Option<i64>)> =
        sqlx::query_as("SELECT status, decided_ms FROM approval WHERE id = $1 AND owner = $2")
            .bind(&id)
            .bind(&user.name)
            .fetch_optional(&mut *tx)
            .await?;
    let decided = match before.ok_or_else(|| Problem::not_found("approval"))? {
        (before, Some(decided)) if before == status => decided,
        (before, Some(_)) => {
            return Err(Problem::new(StatusCode::CONFLICT, "decided", format!("this approval was {before} already")));
        }
        (_, None) => {
            let now = now_ms();
            sqlx::query("UPDATE approval SET status = $1, decided_ms = $2 WHERE id = $3")
                .bind(status)
                .bind(now)
                .bind(&id)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            now
        }
    };
    Ok(private(json!({"id": id, "status": status, "decided_at": rfc3339(decided)})))
}
