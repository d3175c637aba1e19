//! Text messages with codes, handed to the rails: the bank needs no way of its own to telephones, and the rails none to
//! the bank.

use crate::bounds::{BANK_SMS_AT_ONCE_MAX, BANK_SMS_TRIES_MAX};
use crate::peers::{PeerError, Peers};
use crate::service::Service;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First pause between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to the rails.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    peers: Peers,
    places: Arc<Semaphore>,
}

impl Messages {
    pub(super) fn new(peers: &Peers) -> Self {
        Self { peers: peers.clone(), places: Arc::new(Semaphore::new(BANK_SMS_AT_ONCE_MAX)) }
    }

    /// A place among what is under way at once, if one is free.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Hands a message over while its client already has its answer. The transfer's id is the key, so that a message that is
    /// handed over again is sent once. Where the rails can't be reached, or too many messages wait for them, the message is
    /// read in the outbox.
    pub(super) fn hand_over(&self, id: String, telephone: String, text: String) {
        let Some(place) = self.place() else { return };
        let peers = self.peers.clone();
        tokio::spawn(async move {
            let body = json!({"to": telephone, "text": text}).to_string();
            let headers = [("content-type", "application/json"), ("idempotency-key", id.as_str())];
            let mut pause = PAUSE;
            for _ in 0..BANK_SMS_TRIES_MAX {
                match peers.call(Service::Rails, "POST", "/sms-codes", &headers, body.clone()).await {
                    Ok(answer) if answer.status.is_success() => break,
                    // It is wrong, and would be wrong again.
                    Ok(answer) if answer.status.is_client_error() && answer.status.as_u16() != 409 => {
                        eprintln!("guichet-estate: bank: the rails refuse a message with status {}", answer.status);
                        break;
                    }
                    // This estate has no rails.
                    Err(PeerError::Unknown) => break,
                    Ok(_) | Err(PeerError::Unreachable | PeerError::Late | PeerError::TooLong) => {}
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            drop(place);
        });
    }
}
