//! Files read by the staff: each reading needs a case reference, and its audit entry is on the disk before a byte of the
//! file leaves. No entry, no access. Entries are chained by hash. In the test estate every user is an agent too.

use crate::bounds::{FILE_READS_PER_HOUR_MAX, USERS};
use crate::credentials;
use crate::ids;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::once::hash;
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, now_ms};
use crate::verify::{Chain, Check, Invariant, Link};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE file (id TEXT PRIMARY KEY, subject TEXT NOT NULL, notes TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, agent TEXT NOT NULL, file TEXT NOT NULL,
  case_reference TEXT NOT NULL, verdict TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_agent ON audit (agent, at_ms);
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
"];
pub(crate) const INVARIANTS: &[Invariant] = &[Invariant {
    name: "the audit is whole, in order and unchanged",
    check: Check::Code(|tx| Box::pin(broken_chain(tx))),
}];

type AuditRow = (i64, i64, String, String, String, String, String, String);

async fn broken_chain(tx: &mut sqlx::SqliteConnection) -> anyhow::Result<Option<String>> {
    let sql = "SELECT id, at_ms, agent, file, case_reference, verdict, previous, hash FROM audit ORDER BY id";
    let mut rows = sqlx::query_as::<_, AuditRow>(sql).fetch(&mut *tx);
    let mut chain = Chain::default();
    while let Some((place, at_ms, agent, file, case, verdict, previous, hash)) = rows.try_next().await? {
        let hashed = entry_hash(&previous, at_ms, &agent, &file, &case, &verdict);
        if let Some(fault) = chain.follow(Link { chain: "audit".to_owned(), place, previous, hash, hashed }) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

fn entry_hash(previous: &str, at_ms: i64, agent: &str, file: &str, case: &str, verdict: &str) -> String {
    hex::encode(hash(json!([previous, at_ms, agent, file, case, verdict]).to_string().as_bytes()))
}

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone)]
struct Staff {
    kit: Kit,
    sessions: Sessions,
}

/// Test data: one file about each user.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let files: Vec<_> = (0..USERS)
        .map(|n| {
            let (given, family) = seed::name(n);
            let town = seed::TOWNS[n as usize % seed::TOWNS.len()].0;
            (
                format!("file-{n:04}"),
                format!("{given} {family} ({})", ids::user(n)),
                format!("Client du bureau de {town}."),
            )
        })
        .collect();
    seed::insert(tx, "INSERT INTO file SELECT value->>0, value->>1, value->>2 FROM json_each(?)", &files).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let state = Staff { kit: kit.clone(), sessions: kit.sessions(Life::SHORT) };
    let routes =
        Router::new().route("/login", kit.op("login", post(login))).route("/files/{id}", kit.op("file", get(file)));
    kit.finish_api(routes.with_state(state))
}

async fn login(State(staff): State<Staff>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = staff.sessions.life_s();
    sign_in(
        &staff.kit,
        &staff.sessions,
        &headers,
        &body.value,
        StatusCode::OK,
        |user, _| json!({"agent": user.name, "expires_in_s": life}),
    )
    .await
}

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    case: String,
}

async fn file(
    State(staff): State<Staff>,
    Path(id): Path<String>,
    Query(Case { case }): Query<Case>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let agent = staff.sessions.require(&headers).await?.name;
    if !ids::plain(&case, 6, 32, "-") || case.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Problem::malformed("a file is read for a case: ?case= takes 6 to 32 capitals, digits and -"));
    }
    if !ids::plain(&id, 1, 32, "-") {
        return Err(Problem::not_found("file"));
    }
    let row: Option<(String, String)> = sqlx::query_as("SELECT subject, notes FROM file WHERE id = ?")
        .bind(&id)
        .fetch_optional(&staff.kit.store.reader)
        .await?;
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let reads: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit WHERE agent = ? AND at_ms > ? AND verdict = 'read'")
            .bind(&agent)
            .bind(now - HOUR_MS)
            .fetch_one(&mut *tx)
            .await?;
    let verdict = match &row {
        _ if reads >= FILE_READS_PER_HOUR_MAX => "over-quota",
        Some(_) => "read",
        None => "unknown",
    };
    let audit = record(&mut tx, &agent, &id, &case, verdict, now).await?;
    // Durable from here on; only now may the file leave.
    tx.commit().await?;
    match row {
        _ if verdict == "over-quota" => {
            let detail = format!("an agent reads {FILE_READS_PER_HOUR_MAX} files an hour at most");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "over-quota", detail);
            Err(Problem { retry_after_s: Some(600), ..problem })
        }
        Some((subject, notes)) => {
            Ok(private(json!({"id": id, "subject": subject, "notes": notes, "case": case, "audit": audit})))
        }
        None => Err(Problem::not_found("file")),
    }
}

/// Adds an entry to the audit, chained to the one before, and gives its number.
async fn record(tx: &mut Tx, agent: &str, file: &str, case: &str, verdict: &str, now: i64) -> Result<i64, Problem> {
    let previous: Option<String> =
        sqlx::query_scalar("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetch_optional(&mut **tx).await?;
    let previous = previous.unwrap_or_default();
    let hashed = entry_hash(&previous, now, agent, file, case, verdict);
    let done = sqlx::query(
        "INSERT INTO audit (at_ms, agent, file, case_reference, verdict, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(now)
    .bind(agent)
    .bind(file)
    .bind(case)
    .bind(verdict)
    .bind(previous)
    .bind(hashed)
    .execute(&mut **tx)
    .await?;
    Ok(done.last_insert_rowid())
}
