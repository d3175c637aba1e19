//! Instant transfers with other banks, over ISO 20022: `POST /pacs` takes their messages, [`outbound`] sends ours.
//!
//! A transfer has ten seconds from the payer's order. Silence is no answer: the other bank is asked what became of it, under the
//! same ids, and the transfer is never sent under others. At ten seconds the payer has the money back; a bank that accepted after
//! that is paid from the account `suspense`, for a person to look at.

pub(crate) mod directory;
mod inbound;
pub(crate) mod outbound;
#[cfg(test)]
mod tests;

use super::advices::Bell;
use super::core::Core;
use crate::bounds::INSTANTS_AT_ONCE_MAX;
use crate::estate_key::{Door, EstateKey};
use crate::kit::Kit;
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::routing::post;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The bank of this estate, among banks.
pub(crate) const OWN_BIC: &str = "GUICFRPPXXX";

/// Whether a BIC, of 8 or of 11 characters, is that of this estate's bank.
pub(crate) fn is_own(bic: &str) -> bool {
    OWN_BIC == bic || OWN_BIC.strip_suffix("XXX") == Some(bic)
}

pub(crate) const SCHEMA: &str = "
CREATE TABLE directory (alias TEXT PRIMARY KEY, iban TEXT NOT NULL, owner TEXT NOT NULL, made_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX directory_owner ON directory (owner);
INSERT INTO directory (alias, iban, owner, made_ms)
  SELECT a.telephone, c.iban, c.owner, 0 FROM alias a JOIN account c ON c.id = a.account WHERE c.iban IS NOT NULL;
CREATE TABLE alias_lookup (owner TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, asked INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE alias_claim (
  owner TEXT NOT NULL, alias TEXT NOT NULL, iban TEXT NOT NULL, code_mac TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  asked_ms INTEGER NOT NULL, PRIMARY KEY (owner, alias)
) STRICT, WITHOUT ROWID;
CREATE TABLE pacs_in (
  sender TEXT NOT NULL, id TEXT NOT NULL, message TEXT NOT NULL, body_hash BLOB NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('ACSC', 'RJCT')), iban TEXT NOT NULL, amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
  operation TEXT NOT NULL UNIQUE, answer TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (sender, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pacs_in_message ON pacs_in (sender, message);
CREATE TABLE pacs_out (
  id TEXT PRIMARY KEY, account TEXT NOT NULL, amount_cents INTEGER NOT NULL CHECK (amount_cents > 0), bic TEXT NOT NULL,
  transfer TEXT NOT NULL, message TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('holding', 'sent', 'accepted', 'rejected', 'void', 'late')),
  reason TEXT NOT NULL DEFAULT '', accepted_ms INTEGER NOT NULL, next_ms INTEGER NOT NULL, settled_ms INTEGER,
  CHECK (settled_ms IS NULL OR state IN ('accepted', 'rejected', 'void', 'late'))
) STRICT, WITHOUT ROWID;
CREATE INDEX pacs_out_open ON pacs_out (next_ms) WHERE settled_ms IS NULL;
";

// Advices are kept for a day after the bank has them, and thrown away when newer ones come.
pub(crate) const INVARIANTS: [Invariant; 4] = [
    zero(
        "each instant transfer that was accepted from another bank is credited exactly once",
        "SELECT count(*) FROM pacs_in p WHERE at_ms > (SELECT coalesce(max(at_ms), 0) - 80000000 FROM advice)
         AND CASE status WHEN 'ACSC' THEN 1 ELSE 0 END <> (SELECT count(*) FROM advice a WHERE a.operation = p.operation AND a.path = '/internal/credits')",
    ),
    zero(
        "each instant transfer that another bank accepted is paid exactly once, by the payer or from suspense",
        "SELECT count(*) FROM pacs_out p WHERE accepted_ms > (SELECT coalesce(max(at_ms), 0) - 80000000 FROM advice)
         AND (CASE WHEN state IN ('accepted', 'late') THEN 1 ELSE 0 END) <> (SELECT count(*) FROM advice a WHERE a.path = '/internal/debits'
         AND a.operation IN (p.id, 'late-' || p.id))",
    ),
    zero(
        "each instant transfer that was not carried out gave its money back",
        "SELECT count(*) FROM pacs_out p WHERE accepted_ms > (SELECT coalesce(max(at_ms), 0) - 80000000 FROM advice)
         AND state IN ('rejected', 'void', 'late') AND NOT EXISTS (SELECT 1 FROM advice a WHERE a.operation = p.id AND a.path = '/internal/reversals')",
    ),
    zero(
        "no instant transfer was both paid and given back to its payer",
        "SELECT count(*) FROM pacs_out p WHERE EXISTS (SELECT 1 FROM advice a WHERE a.operation = p.id AND a.path = '/internal/reversals')
         AND EXISTS (SELECT 1 FROM advice a WHERE a.operation = p.id AND a.path = '/internal/debits')",
    ),
];

/// What both directions need.
#[derive(Clone)]
pub(crate) struct Pacs {
    kit: Kit,
    core: Core,
    bell: Bell,
    key: Option<EstateKey>,
    places: Arc<Semaphore>,
}

impl Pacs {
    pub(crate) fn new(kit: &Kit) -> Self {
        Self {
            kit: kit.clone(),
            core: Core::new(kit),
            bell: kit.bell.clone(),
            key: EstateKey::load_or_make(&kit.store.dir).ok(),
            places: Arc::new(Semaphore::new(INSTANTS_AT_ONCE_MAX)),
        }
    }
}

pub(super) fn routes(kit: &Kit) -> Router {
    let pacs = Pacs::new(kit);
    let inside = Router::new()
        .route("/internal/instant", post(outbound::order))
        .route("/internal/lookups", post(directory::look_up))
        .route("/internal/aliases", post(directory::claim))
        .route("/internal/aliases/confirm", post(directory::confirm))
        .route("/internal/aliases/end", post(directory::end))
        .route("/internal/aliases/list", post(directory::list));
    let inside = Door::new(pacs.key.clone()).before(inside.with_state(pacs.clone()));
    Router::new().route("/pacs", kit.op("pacs", post(inbound::take))).with_state(pacs).merge(inside)
}
