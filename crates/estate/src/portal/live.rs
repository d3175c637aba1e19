//! Tracking as the parcel service tells it now, and as it told it last.
//!
//! The portal asks the parcel service inside the estate, and keeps what it was told: so tracking is answered, with its age,
//! when that service is gone or flooded. Asking is bounded: few at once, none for an item that was asked for a moment ago,
//! and none for a while after the parcel service did not answer, so that its trouble never becomes the portal's.

use super::Portal;
use crate::bounds::{
    TRACKED_MAX, TRACKING_ASKED_AT_ONCE_MAX, TRACKING_FRESH_MS, TRACKING_PATIENCE_MAX, TRACKING_REST_MS,
    TRACKING_STEPS_MAX,
};
use crate::parcels::tracking::label;
use crate::peers::{PeerAnswer, Peers};
use crate::problem::Problem;
use crate::service::Service;
use crate::store::{Store, now_ms};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Semaphore;

/// When the parcel service was last asked for each item.
pub(super) const SCHEMA: &str =
    "CREATE TABLE asked (parcel TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

/// How fresh what the portal's store says of an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The parcel service said so at this moment, no longer than [`TRACKING_FRESH_MS`] ago.
    Told { at_ms: i64 },
    /// The parcel service can't be asked; it said so at this moment, if it ever was asked.
    Kept { at_ms: Option<i64> },
    /// The parcel service knows no such item.
    Unknown,
}

/// The way to the parcel service.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    peers: Peers,
    asking: Arc<Semaphore>,
    /// Not to be asked before this moment.
    rests_until_ms: Arc<AtomicI64>,
}

#[derive(Deserialize)]
struct Told {
    shipment: Shipment,
}

#[derive(Deserialize)]
struct Shipment {
    event: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    code: String,
    /// What it is, and in brackets where.
    label: String,
    date: String,
}

impl Tracking {
    pub(super) fn new(peers: &Peers) -> Self {
        let asking = Arc::new(Semaphore::new(TRACKING_ASKED_AT_ONCE_MAX));
        Self { peers: peers.clone(), asking, rests_until_ms: Arc::default() }
    }

    /// Brings the store up to date about an item, if the parcel service can be asked.
    ///
    /// # Errors
    /// When the portal's own store fails.
    pub(super) async fn refresh(&self, store: &Store, id: &str) -> Result<Freshness, Problem> {
        let asked: Option<i64> = sqlx::query_scalar("SELECT at_ms FROM asked WHERE parcel = $1")
            .bind(id)
            .fetch_optional(&store.reader)
            .await?;
        let now = now_ms();
        if let Some(at_ms) = asked.filter(|at_ms| now - at_ms < TRACKING_FRESH_MS) {
            return Ok(Freshness::Told { at_ms });
        }
        let kept = Freshness::Kept { at_ms: asked };
        if now < self.rests_until_ms.load(Ordering::Relaxed) {
            return Ok(kept);
        }
        // Those who find all places taken are served from what is kept.
        let Ok(_place) = self.asking.try_acquire() else { return Ok(kept) };
        let path = format!("/tracking/{id}?lang=fr_FR");
        let call = self.peers.call(Service::Parcels, "GET", &path, &[], "");
        let answer = match tokio::time::timeout(TRACKING_PATIENCE_MAX, call).await {
            Ok(Ok(answer)) if answer.status.as_u16() == 404 => return Ok(Freshness::Unknown),
            Ok(Ok(answer)) if answer.status.is_success() => answer,
            // It refused, can't be reached, or is late: left alone for a while.
            Ok(Ok(_) | Err(_)) | Err(_) => {
                self.rests_until_ms.store(now + TRACKING_REST_MS, Ordering::Relaxed);
                return Ok(kept);
            }
        };
        let Some(steps) = steps_of(&answer) else { return Ok(kept) };
        keep(store, id, &steps, now).await?;
        Ok(Freshness::Told { at_ms: now })
    }
}

/// Code, place and time of each event, or `None` for an answer that is none of the parcel service's.
fn steps_of(answer: &PeerAnswer) -> Option<Vec<(String, String, i64)>> {
    let told: Told = serde_json::from_slice(&answer.body).ok()?;
    let steps = told.shipment.event.into_iter().take(TRACKING_STEPS_MAX).map(|event| {
        let place = event.label.strip_prefix(label(&event.code, true)?)?;
        let site = place.strip_prefix(" (").and_then(|site| site.strip_suffix(')')).unwrap_or("").to_owned();
        let time = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", &event.date).ok()?;
        Some((event.code, site, time.as_millisecond()))
    });
    steps.collect()
}

/// Replaces what is known of an item. A full table takes no new items, and keeps those that it has up to date.
async fn keep(store: &Store, id: &str, steps: &[(String, String, i64)], now: i64) -> Result<(), Problem> {
    let mut tx = store.begin().await?;
    let owner: Option<String> = sqlx::query_scalar("SELECT owner FROM step WHERE parcel = $1 LIMIT 1")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    let kept = sqlx::query(
        "INSERT INTO asked (parcel, at_ms) SELECT $1, $2
         WHERE (SELECT count(*) FROM asked) < $3 OR EXISTS (SELECT 1 FROM asked WHERE parcel = $1)
         ON CONFLICT (parcel) DO UPDATE SET at_ms = excluded.at_ms",
    )
    .bind(id)
    .bind(now)
    .bind(TRACKED_MAX)
    .execute(&mut *tx)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("DELETE FROM step WHERE parcel = $1").bind(id).execute(&mut *tx).await?;
    for (code, site, at_ms) in steps {
        sqlx::query("INSERT INTO step (parcel, owner, code, site, at_ms) VALUES ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(owner.as_deref().unwrap_or(""))
            .bind(code)
            .bind(site)
            .bind(at_ms)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

impl Portal {
    /// See [`Tracking::refresh`].
    pub(super) async fn refresh(&self, id: &str) -> Result<Freshness, Problem> {
        self.tracking.refresh(&self.kit.store, id).await
    }
}
