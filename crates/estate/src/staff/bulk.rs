//! Many files at once: one agent asks, another approves, the package is fetched once, and each file in it is in the audit
//! before the package leaves.

use super::audit::{self, Act};
use super::{Staff, case_checked, lockdown, over_quota, reads};
use crate::bounds::{EXPORT_FILES_MAX, EXPORT_LIFE_MS, EXPORTS_PER_AGENT_MAX, FILE_READS_PER_HOUR_MAX};
use crate::ids;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::io::{Cursor, Write as _};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    case: String,
    reason: String,
    files: Vec<String>,
}

pub(super) async fn ask(
    State(staff): State<Staff>,
    headers: HeaderMap,
    body: Json<Wanted>,
) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    let Wanted { case, reason, mut files } = body.value;
    case_checked(&case)?;
    files.sort_unstable();
    files.dedup();
    let named = files.iter().all(|file| ids::plain(file, 1, 32, "-"));
    if files.is_empty() || files.len() > EXPORT_FILES_MAX || !named || reason.is_empty() || reason.len() > 200 {
        return Err(Problem::invalid(format!(
            "files takes 1 to {EXPORT_FILES_MAX} names of files, reason 1 to 200 bytes"
        )));
    }
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    // The audit keeps those that are over.
    sqlx::query("DELETE FROM bulk WHERE expires_ms <= $1 OR fetched_ms IS NOT NULL")
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let waiting: i64 = sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM bulk WHERE agent = $1")
        .bind(&agent)
        .fetch_one(&mut *tx)
        .await?;
    if waiting >= EXPORTS_PER_AGENT_MAX {
        let detail = format!("{EXPORTS_PER_AGENT_MAX} exports of one agent wait at most");
        return Err(Problem::new(StatusCode::CONFLICT, "too-many", detail));
    }
    let id = format!("bulk-{}", uuid::Uuid::new_v4().simple());
    sqlx::query(
        "INSERT INTO bulk (id, agent, case_reference, reason, files, asked_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&id)
    .bind(&agent)
    .bind(&case)
    .bind(&reason)
    .bind(json!(files).to_string())
    .bind(now)
    .bind(now + EXPORT_LIFE_MS)
    .execute(&mut *tx)
    .await?;
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: &id, case: &case, verdict: "bulk-asked" }], now)
        .await?;
    let told = json!({"id": id, "files": files.len(), "expires_at": rfc3339(now + EXPORT_LIFE_MS)});
    Ok((StatusCode::CREATED, private(told)).into_response())
}

type Row = (String, String, String, String, String, i64, Option<String>);

pub(super) async fn list(State(staff): State<Staff>, headers: HeaderMap) -> Result<Response, Problem> {
    staff.privileged(&headers).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, agent, case_reference, reason, files, expires_ms, approver FROM bulk
         WHERE expires_ms > $1 AND fetched_ms IS NULL ORDER BY asked_ms, id LIMIT 200",
    )
    .bind(now_ms())
    .fetch_all(&staff.kit.store.reader)
    .await?;
    let told = |(id, agent, case, reason, files, expires, approver): &Row| {
        let files: Vec<String> = serde_json::from_str(files).unwrap_or_default();
        json!({
            "id": id, "asked_by": agent, "case": case, "reason": reason, "files": files, "expires_at": rfc3339(*expires),
            "approved_by": approver,
        })
    };
    Ok(private(json!({"exports": rows.iter().map(told).collect::<Vec<_>>()})))
}

pub(super) async fn approve(
    State(staff): State<Staff>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT agent, case_reference FROM bulk WHERE id = $1 AND expires_ms > $2 AND approver IS NULL")
            .bind(&id)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
    let (asker, case) = row.ok_or_else(|| Problem::not_found("export that waits for approval"))?;
    if asker == agent {
        let detail = "who asked for an export does not approve it: that takes a second person";
        return Err(Problem::new(StatusCode::FORBIDDEN, "second-person", detail));
    }
    sqlx::query("UPDATE bulk SET approver = $1 WHERE id = $2").bind(&agent).bind(&id).execute(&mut *tx).await?;
    audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: &id, case: &case, verdict: "bulk-approved" }], now)
        .await?;
    Ok(private(json!({"id": id, "approved_by": agent})))
}

pub(super) async fn package(
    State(staff): State<Staff>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let agent = staff.privileged(&headers).await?;
    let mut tx = staff.kit.store.begin().await?;
    let now = now_ms();
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT case_reference, files FROM bulk WHERE id = $1 AND agent = $2 AND approver IS NOT NULL AND fetched_ms IS NULL
         AND expires_ms > $3",
    )
    .bind(&id)
    .bind(&agent)
    .bind(now)
    .fetch_optional(&mut *tx)
    .await?;
    let (case, files) = row.ok_or_else(|| Problem::not_found("approved export of yours that was not fetched yet"))?;
    let files: Vec<String> = serde_json::from_str(&files).map_err(|error| Problem::internal(&error))?;
    let count = i64::try_from(files.len()).map_err(|error| Problem::internal(&error))?;
    let refused = if lockdown::active(&mut tx, now).await? {
        Some(("locked-down", lockdown::refusal()))
    } else if reads(&mut tx, &agent, now).await? + count > FILE_READS_PER_HOUR_MAX {
        Some(("over-quota", over_quota()))
    } else {
        None
    };
    if let Some((verdict, problem)) = refused {
        // The package stays: it may be fetched when the hour or the lock-down is over.
        audit::record(tx, staff.heads()?, &[Act { agent: &agent, file: &id, case: &case, verdict }], now).await?;
        return Err(problem);
    }
    // Once: who asks again finds it fetched. Nobody writes between the look and this.
    sqlx::query("UPDATE bulk SET fetched_ms = $1 WHERE id = $2").bind(now).bind(&id).execute(&mut *tx).await?;
    let (mut found, mut acts) = (Vec::new(), Vec::new());
    for file in &files {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT subject, notes FROM file WHERE id = $1").bind(file).fetch_optional(&mut *tx).await?;
        let verdict = if row.is_some() { "bulk" } else { "unknown" };
        acts.push(Act { agent: &agent, file, case: &case, verdict });
        found.extend(row.map(|(subject, notes)| json!({"id": file, "subject": subject, "notes": notes})));
    }
    acts.push(Act { agent: &agent, file: &id, case: &case, verdict: "bulk-fetched" });
    audit::record(tx, staff.heads()?, &acts, now).await?;
    let bytes = archive(&id, &case, &found).map_err(|error| Problem::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.zip\"")),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

fn archive(id: &str, case: &str, files: &[serde_json::Value]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    archive.start_file("manifest.json", options)?;
    write!(archive, "{}", json!({"id": id, "case": case, "files": files.len()}))?;
    for file in files {
        archive.start_file(format!("{}.json", file["id"].as_str().unwrap_or("file")), options)?;
        write!(archive, "{file}")?;
    }
    Ok(archive.finish()?.into_inner())
}
