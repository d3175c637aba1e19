//! Taking everything out: a ZIP archive with the documents as they were put in, a manifest and the trail, all in open formats.

use super::trail;
use super::{Vault, documents, keep};
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde_json::json;
use std::io::{Cursor, Write as _};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

type Archive = ZipWriter<Cursor<Vec<u8>>>;

/// All of a user's documents in their current version. At most as large as a vault may be; few at once, others come back.
pub(super) async fn export(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let turn = vault.exports.clone().try_acquire_owned();
    let _turn = turn.map_err(|_| Problem::busy("other vaults are being exported; come back in a moment"))?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut told = Vec::new();
    let now = now_ms();
    let cards = documents::cards(&vault, &user.name).await?;
    let mut tx = vault.kit.store.begin().await?;
    let detail = format!("{} documents", cards.len());
    let act = trail::Act { owner: &user.name, actor: &user.name, action: "export", document: "", detail };
    trail::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    for card in &cards {
        let opened = match keep::open(&vault.kit.store, vault.master()?, &user.name, &card.id, Some(card.current)).await
        {
            Ok(opened) => opened,
            // Erased since the list was read, or altered: the archive says so, and has all that can be had.
            Err(problem) => {
                told.push(json!({"id": card.id, "path": card.path, "sha256": card.sha256, "missing": problem.code}));
                continue;
            }
        };
        let mut entry = documents::card_json(card);
        entry["file"] = format!("documents{}", card.path).into();
        told.push(entry);
        archive = add(archive, format!("documents{}", card.path), opened.content).await?;
    }
    let manifest = json!({
        "format": "guichet-vault-export 1", "owner": user.name, "exported_at": rfc3339(now), "documents": told,
    });
    archive = add(archive, "manifest.json".to_owned(), pretty(&manifest)?).await?;
    archive = add_trail(&vault, &user.name, archive).await?;
    let bytes = archive.finish().map_err(|error| Problem::internal(&error))?.into_inner();
    let name = format!("attachment; filename=\"coffre-{}.zip\"", user.name);
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// The trail, oldest first: JSON, a line an entry. `hash` is the SHA-256 of the JSON array of previous, owner, number, `at_ms`,
/// actor, action, document and detail.
async fn add_trail(vault: &Vault, owner: &str, mut archive: Archive) -> Result<Archive, Problem> {
    let failed = |error: zip::result::ZipError| Problem::internal(&error);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    archive.start_file("trail.jsonl", options).map_err(failed)?;
    let mut after = 0;
    loop {
        let entries = trail::page_after(&vault.kit.store, owner, after).await?;
        let Some(last) = entries.last() else { return Ok(archive) };
        after = last.number;
        for entry in &entries {
            writeln!(archive, "{}", entry.json()).map_err(|error| Problem::internal(&error))?;
        }
    }
}

fn pretty(value: &serde_json::Value) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec_pretty(value).map_err(|error| Problem::internal(&error))
}

/// Compressing is work for a thread of its own.
async fn add(mut archive: Archive, name: String, content: Vec<u8>) -> Result<Archive, Problem> {
    let done = tokio::task::spawn_blocking(move || {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file(name, options).map_err(std::io::Error::other)?;
        archive.write_all(&content)?;
        Ok::<_, std::io::Error>(archive)
    });
    done.await.map_err(|error| Problem::internal(&error))?.map_err(|error| Problem::internal(&error))
}
