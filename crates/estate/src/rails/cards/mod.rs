//! Cards and cash machines: each message is written down before the bank is asked, and answered once.
//!
//! The bank decides. Where it does not answer, the rails stand in within small limits a card, and advise the bank of what they
//! approved. A message that was answered before has the same answer again; one that never was is reversed.

mod decide;
pub(crate) mod iso;
pub(crate) mod listener;

use super::advices::{self, Bell};
use super::core::{Away, Core, Said};
use crate::bounds::{CARD_UNANSWERED_MS_MAX, HOLD_LIFE_S_MAX};
use crate::kit::Kit;
use crate::problem::Problem;
use crate::store::{Store, Tx, now_ms};
use crate::verify::{Invariant, zero};
use serde_json::json;

pub(super) const SCHEMA: &str = "
CREATE TABLE card_message (
  n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, operation TEXT NOT NULL UNIQUE, what TEXT NOT NULL,
  pan TEXT NOT NULL, account TEXT NOT NULL, amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),
  kept_cents INTEGER NOT NULL CHECK (kept_cents BETWEEN 0 AND amount_cents), terminal TEXT NOT NULL, merchant TEXT NOT NULL,
  body_hash BLOB NOT NULL, code TEXT, via TEXT, at_ms INTEGER NOT NULL, CHECK ((code IS NULL) = (via IS NULL))
) STRICT;
CREATE INDEX card_message_card ON card_message (pan, at_ms);
CREATE INDEX card_message_unanswered ON card_message (at_ms) WHERE code IS NULL;
CREATE TABLE card_stopped (pan TEXT PRIMARY KEY REFERENCES card (pan), at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

pub(super) const INVARIANTS: [Invariant; 3] = [
    zero(
        "the bank is advised of each card payment that was approved without it",
        "SELECT count(*) FROM card_message m WHERE code = '00' AND via IN ('stand-in', 'terminal') AND what IN ('purchase', 'cash', 'online', 'captured')
         AND at_ms > (SELECT max(at_ms) - 72000000 FROM card_message)
         AND 1 <> (SELECT count(*) FROM advice WHERE operation = m.operation AND path = '/internal/debits')",
    ),
    zero(
        "the bank is advised of all that is given back to cards",
        "SELECT count(*) FROM card_message m WHERE kept_cents < amount_cents AND what <> 'captured' AND at_ms > (SELECT max(at_ms) - 72000000 FROM card_message)
         AND NOT EXISTS (SELECT 1 FROM advice WHERE operation = m.operation AND path = '/internal/reversals')",
    ),
    zero(
        "no card is over its limits for payments without the bank",
        "SELECT count(*) FROM card_message WHERE via = 'stand-in' AND code = '00' AND amount_cents > 15000",
    ),
];

/// What a terminal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// To pay.
    Purchase,
    /// To take cash.
    Cash,
    /// To pay online, by somebody who proved to be the card's holder.
    Online,
    /// To hold money that is taken later.
    Hold,
    /// To know what can be spent.
    Balance,
}

impl What {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Cash => "cash",
            Self::Online => "online",
            Self::Hold => "hold",
            Self::Balance => "balance",
        }
    }

    /// The kind of operation that it is at the bank.
    fn kind(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Online => "payment",
            Self::Purchase | Self::Hold | Self::Balance => "card",
        }
    }
}

/// One demand of a terminal.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Names the message: no other has the same.
    pub(super) key: String,
    pub(super) what: What,
    pub(super) pan: String,
    /// More than zero, but for a balance.
    pub(super) amount_cents: i64,
    pub(super) terminal: String,
    pub(super) merchant: String,
    /// Of all that was asked.
    pub(super) body_hash: [u8; 32],
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// As ISO 8583 has it: 00 is yes.
    pub(super) code: String,
    /// Number of the approval.
    pub(super) approval: Option<String>,
    /// What can be spent, where that was asked and told.
    pub(super) available_cents: Option<i64>,
}

impl Decision {
    fn new(code: &str, n: i64) -> Self {
        let approval = (code == "00").then(|| format!("{:06}", n % 1_000_000));
        Self { code: code.to_owned(), approval, available_cents: None }
    }
}

/// A message as it stands.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    n: i64,
    operation: String,
    what: String,
    account: String,
    amount_cents: i64,
    kept_cents: i64,
    body_hash: Vec<u8>,
    code: Option<String>,
    via: Option<String>,
}

/// The business of cards.
#[derive(Clone)]
pub(crate) struct Cards {
    pub(super) kit: Kit,
    pub(super) core: Core,
    pub(super) bell: Bell,
}

impl Cards {
    pub(super) fn new(kit: &Kit) -> Self {
        Self { kit: kit.clone(), core: Core::new(kit), bell: kit.bell.clone() }
    }
}

async fn find(tx: &mut Tx, key: &str) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as(
        "SELECT n, operation, what, account, amount_cents, kept_cents, body_hash, code, via FROM card_message WHERE key = $1",
    )
    .bind(key)
    .fetch_optional(&mut **tx)
    .await
}

impl Cards {
    /// Answers a demand, once; the same again has the same answer.
    ///
    /// # Errors
    /// When the store fails; then the terminal has no answer, and reverses.
    pub(super) async fn authorise(&self, ask: &Ask) -> Result<Decision, Problem> {
        let mut tx = self.kit.store.begin().await?;
        let (operation, account) = match find(&mut tx, &ask.key).await? {
            Some(row) if row.body_hash != ask.body_hash => return Ok(Decision::new("94", row.n)),
            Some(Row { code: Some(code), n, .. }) => return Ok(Decision::new(&code, n)),
            // Asked before, and never answered: asked again, under the same id.
            Some(row) => (row.operation, row.account),
            None => match decide::first(&mut tx, ask).await? {
                decide::First::Refused(decision) => {
                    tx.commit().await?;
                    return Ok(decision);
                }
                decide::First::AskTheBank { operation, account } => (operation, account),
            },
        };
        // Durable before the bank is asked: what it does can be undone after a crash.
        tx.commit().await?;
        let said = self.ask_the_bank(ask, &operation, &account).await;
        let mut tx = self.kit.store.begin().await?;
        let row = find(&mut tx, &ask.key).await?.ok_or_else(|| Problem::internal(&"a card message is gone"))?;
        if let Some(code) = row.code {
            // Answered meanwhile, on another connection, or reversed.
            return Ok(Decision::new(&code, row.n));
        }
        let (code, via) = match said {
            Ok(Said::Done(_)) => ("00", "bank"),
            Ok(Said::NoFunds) => ("51", "bank"),
            Ok(Said::NoAccount) => ("14", "bank"),
            Ok(Said::Void) => ("94", "bank"),
            Ok(Said::No(_)) => ("96", "bank"),
            Err(Away) => (decide::stand_in(&mut tx, ask, &operation, &account).await?, "stand-in"),
        };
        sqlx::query("UPDATE card_message SET code = $1, via = $2 WHERE n = $3")
            .bind(code)
            .bind(via)
            .bind(row.n)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.bell.notify_one();
        let told = match (ask.what, said) {
            (What::Balance, Ok(Said::Done(available))) => available,
            _ => None,
        };
        Ok(Decision { available_cents: told, ..Decision::new(code, row.n) })
    }

    async fn ask_the_bank(&self, ask: &Ask, operation: &str, account: &str) -> Result<Said, Away> {
        let body = json!({
            "id": operation, "account": account, "amount_cents": ask.amount_cents, "kind": ask.what.kind(),
            "reference": ask.merchant,
        });
        match ask.what {
            What::Purchase | What::Cash | What::Online => self.core.ask("/internal/debits", &body).await,
            What::Hold => {
                let mut body = body;
                body["expires_s"] = json!(HOLD_LIFE_S_MAX);
                self.core.ask("/internal/holds", &body).await
            }
            What::Balance => self.core.ask("/internal/balances", &json!({"account": account})).await,
        }
    }

    /// Leaves `keep_cents` of what the message `key` took and gives the rest back; a message that has not come yet is refused
    /// when it comes. The code of the answer.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn reverse(&self, key: &str, keep_cents: i64) -> Result<&'static str, Problem> {
        let mut tx = self.kit.store.begin().await?;
        let Some(row) = find(&mut tx, key).await? else {
            decide::refuse_when_it_comes(&mut tx, key).await?;
            tx.commit().await?;
            return Ok("25");
        };
        if keep_cents > row.amount_cents {
            return Ok("13");
        }
        let taken = row.code.as_deref().is_none_or(|code| code == "00");
        if taken && keep_cents < row.kept_cents {
            undo(&mut tx, &row, keep_cents).await?;
            tx.commit().await?;
            self.bell.notify_one();
        }
        Ok("00")
    }

    /// Takes money that was held by the message `key`, or as much of it as `amount_cents`. The code of the answer.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn capture(&self, key: &str, amount_cents: i64) -> Result<&'static str, Problem> {
        let mut tx = self.kit.store.begin().await?;
        let Some(row) = find(&mut tx, key).await? else { return Ok("25") };
        match (row.what.as_str(), row.code.as_deref()) {
            ("captured", Some("00")) if row.kept_cents == amount_cents => return Ok("00"),
            ("hold", Some("00")) if amount_cents <= row.kept_cents => {}
            ("hold" | "captured", Some("00")) => return Ok("13"),
            _ => return Ok("12"),
        }
        sqlx::query("UPDATE card_message SET what = 'captured', kept_cents = $1 WHERE n = $2")
            .bind(amount_cents)
            .bind(row.n)
            .execute(&mut *tx)
            .await?;
        decide::advise_debit(&mut tx, &row.operation, &row.account, amount_cents, "card").await?;
        tx.commit().await?;
        self.bell.notify_one();
        Ok("00")
    }

    /// Writes down what a terminal approved by itself; a hold waits for its capture, the rest is advised to the bank.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn take_note(&self, ask: &Ask) -> Result<Decision, Problem> {
        let mut tx = self.kit.store.begin().await?;
        match find(&mut tx, &ask.key).await? {
            Some(row) if row.body_hash != ask.body_hash => return Ok(Decision::new("94", row.n)),
            Some(row) => return Ok(Decision::new(row.code.as_deref().unwrap_or("96"), row.n)),
            None => {}
        }
        let decision = decide::note(&mut tx, ask).await?;
        tx.commit().await?;
        self.bell.notify_one();
        Ok(decision)
    }
}

/// Gives back all but `keep_cents` of a message.
async fn undo(tx: &mut Tx, row: &Row, keep_cents: i64) -> Result<(), Problem> {
    let (code, via) = (row.code.as_deref().unwrap_or("91"), row.via.as_deref().unwrap_or("nobody"));
    sqlx::query("UPDATE card_message SET kept_cents = $1, code = $2, via = $3 WHERE n = $4")
        .bind(keep_cents)
        .bind(code)
        .bind(via)
        .bind(row.n)
        .execute(&mut **tx)
        .await?;
    if row.what == What::Balance.text() {
        return Ok(());
    }
    let kind = match row.what.as_str() {
        "cash" => "cash",
        "online" => "payment",
        _ => "card",
    };
    let body = json!({"id": row.operation, "account": row.account, "kind": kind, "keep_cents": keep_cents});
    advices::put(tx, &row.operation, "/internal/reversals", &body).await
}

/// Reverses what was asked and not answered for long: a crash came between.
pub(super) async fn give_up(store: &Store) -> Result<(), sqlx::Error> {
    let old: Vec<String> =
        sqlx::query_scalar("SELECT key FROM card_message WHERE code IS NULL AND at_ms <= $1 LIMIT 32")
            .bind(now_ms() - CARD_UNANSWERED_MS_MAX)
            .fetch_all(&store.reader)
            .await?;
    for key in old {
        let mut tx = store.begin().await?;
        if let Some(row) = find(&mut tx, &key).await?
            && row.code.is_none()
            && undo(&mut tx, &row, 0).await.is_ok()
        {
            tx.commit().await?;
        }
    }
    Ok(())
}
