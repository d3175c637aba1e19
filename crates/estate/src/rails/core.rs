//! The bank as the rails ask it: straight to its listener, with the estate's key, and not for long. A bank that did not answer
//! is left alone for a moment, so that a card waits for it once and not each time.

use crate::bounds::{CORE_PATIENCE, CORE_REST, PEER_CALL_MAX};
use crate::estate_key::{EstateKey, HEADER};
use crate::kit::Kit;
use crate::peers::Peers;
use crate::service::Service;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Says how long the rails wait for the bank, in milliseconds.
const PATIENCE_VARIABLE: &str = "GUICHET_RAILS_PATIENCE_MS";

/// The way to the bank.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    peers: Peers,
    key: Option<EstateKey>,
    patience: Duration,
    /// Until when the bank is left alone.
    rests_until: Arc<Mutex<Option<Instant>>>,
}

/// How long the bank is waited for: what the environment says, in milliseconds, as for tests on a slow machine.
fn patience() -> Duration {
    let told = std::env::var(PATIENCE_VARIABLE).ok().and_then(|told| told.parse().ok());
    told.map_or(CORE_PATIENCE, Duration::from_millis).min(PEER_CALL_MAX)
}

/// What the bank said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is done, or was done before; what the account can spend then, where that was told.
    Done(Option<i64>),
    /// The account has not enough.
    NoFunds,
    /// It has no such account.
    NoAccount,
    /// The operation was reversed before.
    Void,
    /// It refuses what it was asked, for a reason that asking again would not change.
    No(u16),
}

/// The bank gave no answer: whether it did what it was asked is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away;

impl Core {
    pub(crate) fn new(kit: &Kit) -> Self {
        let key = EstateKey::load_or_make(&kit.store.dir);
        if let Err(error) = &key {
            eprintln!("guichet-estate: rails: {error:#}; cards are decided without the bank");
        }
        Self { peers: kit.peers.clone(), key: key.ok(), patience: patience(), rests_until: Arc::default() }
    }

    /// Asks, unless the bank did not answer a moment ago.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Result<Said, Away> {
        let rests = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        if rests.is_some_and(|until| Instant::now() < until) {
            return Err(Away);
        }
        self.insist(path, body).await
    }

    /// As [`Core::ask`], whatever happened a moment ago.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn insist(&self, path: &str, body: &Value) -> Result<Said, Away> {
        let key = self.key.as_ref().ok_or(Away)?;
        let headers = [("content-type", "application/json"), (HEADER, key.text())];
        let asked = self.peers.call(Service::Bank, "POST", path, &headers, body.to_string());
        let answer = tokio::time::timeout(self.patience, asked).await;
        let said = match answer {
            Ok(Ok(answer)) => {
                let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                match (answer.status.as_u16(), told["code"].as_str()) {
                    (200..300, _) => Ok(Said::Done(told["available_cents"].as_i64())),
                    (422, Some("insufficient-funds")) => Ok(Said::NoFunds),
                    // Not the page: the account. Without the right key everything is an unknown page.
                    (404, Some("not-found")) if told["detail"].as_str().is_some_and(|it| it.contains("account")) => {
                        Ok(Said::NoAccount)
                    }
                    (409, Some("void")) => Ok(Said::Void),
                    (400 | 409 | 413 | 415 | 422, _) => Ok(Said::No(answer.status.as_u16())),
                    _ => Err(Away),
                }
            }
            Ok(Err(_)) | Err(_) => Err(Away),
        };
        let rests = said.is_err().then(|| Instant::now() + CORE_REST);
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = rests;
        said
    }
}
