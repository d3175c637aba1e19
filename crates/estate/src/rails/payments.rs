//! Card payments online, as 3-D Secure has them: the merchant asks, the holder of the card gets a code by text message, and only
//! with it the payment is decided. The code is bound to amount and merchant, which stand in the text: any change voids it.
//!
//! The proof for the merchant (CAVV) is bound to the same, and worth nothing for another payment.

use super::cards::{Ask, Cards, What};
use super::{SMS_LIFE_MS, first_fault, line};
use crate::bounds::{CARD_CENTS_MAX, CODE_TRIES_MAX, PAYMENTS_PENDING_PER_CARD_MAX};
use crate::codes;
use crate::estate_key::EstateKey;
use crate::kit::{Json, Kit, private};
use crate::once::{Demand, Taken, hash, key};
use crate::problem::Problem;
use crate::store::{Tx, now_ms, rfc3339};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

pub(super) const SCHEMA: &str = "
CREATE TABLE payment (
  id TEXT PRIMARY KEY, pan TEXT NOT NULL REFERENCES card (pan), amount_cents INTEGER NOT NULL CHECK (amount_cents > 0), merchant TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('challenge', 'proven', 'void')), code_mac TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  asked_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_card ON payment (pan, asked_ms) WHERE status = 'challenge';
";

pub(super) const INVARIANTS: [Invariant; 2] = [
    zero(
        "no payment online was decided without the code of its holder",
        "SELECT count(*) FROM card_message m WHERE what = 'online' AND NOT EXISTS (SELECT 1 FROM payment p
         WHERE p.status = 'proven' AND m.key = 'online-' || p.id AND m.amount_cents = p.amount_cents)",
    ),
    zero(
        "each answer to a payment online tells of a payment",
        "SELECT count(*) FROM idempotency i WHERE route = 'payments' AND status < 300 AND NOT EXISTS (SELECT 1 FROM payment p
         WHERE p.id = i.answer->>'id' AND p.amount_cents = CAST(i.answer->>'amount_cents' AS BIGINT))",
    ),
];

#[derive(Clone)]
struct Payments {
    kit: Kit,
    cards: Cards,
    key: Option<EstateKey>,
}

pub(super) fn routes(kit: &Kit) -> Router {
    Router::new()
        .route("/payments", kit.op("payment", post(ask)))
        .route("/payments/{id}/confirm", kit.op("payment-code", post(confirm)))
        .with_state(Payments {
            kit: kit.clone(),
            cards: Cards::new(kit),
            key: EstateKey::load_or_make(&kit.store.dir).ok(),
        })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    pan: String,
    amount_cents: i64,
    currency: String,
    merchant: String,
}

impl Payments {
    fn mac(&self, what: &str, id: &str, amount_cents: i64, merchant: &str, code: &str) -> Result<String, Problem> {
        let key = self.key.as_ref().ok_or_else(|| Problem::internal(&"there is no estate key"))?;
        Ok(key.derive(&format!("{what}\n{id}\n{amount_cents}\nEUR\n{merchant}\n{code}")))
    }
}

/// `POST /payments`
async fn ask(State(payments): State<Payments>, headers: HeaderMap, body: Json<Wanted>) -> Result<Response, Problem> {
    let Wanted { pan, amount_cents, currency, merchant } = &body.value;
    first_fault(&[
        (!super::digits(pan, 12, 19), "pan takes 12 to 19 digits"),
        (!(1..=CARD_CENTS_MAX).contains(amount_cents), "amount_cents takes 1 to 150000"),
        (currency != "EUR", "currency takes EUR"),
        (!line(merchant, 40), "merchant takes 1 to 40 characters on one line"),
        (
            !super::gateway::fits(&text(*amount_cents, merchant, "000000")),
            "merchant has letters that no telephone takes",
        ),
    ])?;
    let demand = Demand { caller: "merchant", route: "payments", key: key(&headers)?, body_hash: hash(&body.bytes) };
    let mut turn = match payments.kit.once(demand).await? {
        Taken::Before(response) => return Ok(response),
        Taken::Now(turn) => turn,
    };
    // A card that is stopped is not told from one that nobody has.
    let telephone: Option<String> = sqlx::query_scalar(
        "SELECT a.telephone FROM card c JOIN alias a ON a.account = c.account
         WHERE c.pan = $1 AND NOT EXISTS (SELECT 1 FROM card_stopped s WHERE s.pan = c.pan)",
    )
    .bind(pan)
    .fetch_optional(&mut *turn.tx)
    .await?;
    let no_card = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-card", "this card can't pay online");
    let telephone = telephone.ok_or_else(no_card)?;
    let (id, code, now) = (format!("pay-{}", uuid::Uuid::new_v4().simple()), codes::six_digits()?, now_ms());
    let mac = payments.mac("code of a payment", &id, *amount_cents, merchant, &code)?;
    void_old(&mut turn.tx, pan, now).await?;
    sqlx::query(
        "INSERT INTO payment (id, pan, amount_cents, merchant, status, code_mac, asked_ms) VALUES ($1, $2, $3, $4, 'challenge', $5, $6)",
    )
    .bind(&id)
    .bind(pan)
    .bind(amount_cents)
    .bind(merchant)
    .bind(mac)
    .bind(now)
    .execute(&mut *turn.tx)
    .await?;
    super::queue(&mut turn.tx, &telephone, &text(*amount_cents, merchant, &code)).await?;
    let answer = json!({
        "id": id, "status": "challenge", "amount_cents": amount_cents, "currency": "EUR", "merchant": merchant,
        "telephone_end": &telephone[telephone.len() - 2..], "expires_at": rfc3339(now + SMS_LIFE_MS),
        "confirm": format!("/payments/{id}/confirm"),
    });
    turn.finish(StatusCode::ACCEPTED, &answer).await
}

fn text(amount_cents: i64, merchant: &str, code: &str) -> String {
    let (euros, cents) = (amount_cents / 100, amount_cents % 100);
    format!("Paiement de {euros},{cents:02} EUR à {merchant}. Code : {code}. Ne le donnez à personne.")
}

async fn void_old(tx: &mut Tx, pan: &str, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE payment SET status = 'void' WHERE pan = $1 AND status = 'challenge' AND (asked_ms <= $2 OR id NOT IN
         (SELECT id FROM payment WHERE pan = $1 AND status = 'challenge' ORDER BY asked_ms DESC, id LIMIT $3))",
    )
    .bind(pan)
    .bind(now - SMS_LIFE_MS)
    .bind(PAYMENTS_PENDING_PER_CARD_MAX - 1)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    code: String,
    amount_cents: i64,
    merchant: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    pan: String,
    amount_cents: i64,
    merchant: String,
    status: String,
    code_mac: String,
    tries: i64,
    asked_ms: i64,
}

/// `POST /payments/{id}/confirm`: the same again has the same answer.
async fn confirm(
    State(payments): State<Payments>,
    Path(id): Path<String>,
    body: Json<Confirm>,
) -> Result<Response, Problem> {
    let row = prove(&payments, &id, &body.value).await?;
    // Proven is durable: whatever happens now, the holder need not prove it again, and the decision is made once.
    let ask = Ask {
        key: format!("online-{id}"),
        what: What::Online,
        pan: row.pan,
        amount_cents: row.amount_cents,
        terminal: String::new(),
        merchant: row.merchant.clone(),
        body_hash: hash(id.as_bytes()),
    };
    let decision = payments.cards.authorise(&ask).await?;
    let approved = decision.code == "00";
    let proof = payments.mac("proof of a payment", &id, row.amount_cents, &row.merchant, "")?;
    let proof = hex::decode(proof).unwrap_or_default();
    let cavv = approved.then(|| STANDARD.encode(proof.get(..20).unwrap_or_default()));
    let status = if approved { "approved" } else { "refused" };
    Ok(private(json!({
        "id": id, "status": status, "code": decision.code, "approval": decision.approval, "cavv": cavv,
    })))
}

/// Checks the code, against what the merchant says that it confirms.
async fn prove(payments: &Payments, id: &str, said: &Confirm) -> Result<Row, Problem> {
    let mut tx = payments.kit.store.begin().await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT pan, amount_cents, merchant, status, code_mac, tries, asked_ms FROM payment WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let row = row.ok_or_else(|| Problem::not_found("payment"))?;
    let gone = || Problem::new(StatusCode::GONE, "void", "the code of this payment is no longer valid; ask again");
    let old = row.status == "challenge" && row.asked_ms <= now_ms() - SMS_LIFE_MS;
    if row.status == "void" || row.tries >= CODE_TRIES_MAX || old {
        return Err(gone());
    }
    let mac = payments.mac("code of a payment", id, said.amount_cents, &said.merchant, &said.code)?;
    let right = hash(mac.as_bytes()) == hash(row.code_mac.as_bytes());
    let tries = if right { row.tries } else { row.tries + 1 };
    let status = match (right, row.status.as_str()) {
        (true, _) | (_, "proven") => "proven",
        _ if tries >= CODE_TRIES_MAX => "void",
        _ => "challenge",
    };
    sqlx::query("UPDATE payment SET status = $1, tries = $2 WHERE id = $3")
        .bind(status)
        .bind(tries)
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    if right {
        return Ok(row);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong-code", "the code does not fit this amount and this merchant"))
}
