//! Transfers of our payers to accounts at other banks.
//!
//! `holding`: the bank is asked for the money. `sent`: durable before the first byte leaves. `accepted`: the payer pays.
//! `rejected`, `void`: the payer has the money back, since the other bank said no, or said nothing for ten seconds. `late`: it said yes
//! after that, and is paid from `suspense`.

use super::{OWN_BIC, Pacs};
use crate::bounds::{
    INSTANT_CONFIRMED_MS, INSTANT_CUT_OFF_MS, INSTANT_GONE_MS, INSTANT_OVER_MS, INSTANT_TARGET, INSTANTS_ASKED_MAX,
    TRANSFER_CENTS_MAX,
};
use crate::ids;
use crate::kit::{Json, private};
use crate::peers::PeerError;
use crate::problem::Problem;
use crate::rails::advices;
use crate::rails::core::{Away, Said};
use crate::store::{Tx, now_ms};
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use guichet_iso20022::{Message, Payee, Report, Request, Status, Transfer, iban_checked};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Between two questions about a transfer.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// Of the operation at the bank, and the TxId among banks.
    id: String,
    account: String,
    payer_name: String,
    payer_iban: String,
    payee_name: String,
    payee_iban: String,
    payee_bic: String,
    amount_cents: i64,
    reference: String,
    /// When the payer said yes: from then the seconds are counted.
    accepted_ms: i64,
}

impl Order {
    fn transfer(&self, now: i64) -> Result<Transfer, Problem> {
        let line = |text: &str, min: usize, max: usize| {
            (min..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        let payee = iban_checked(&self.payee_iban);
        super::super::first_fault(&[
            (!ids::plain(&self.id, 8, 35, "-"), "id takes 8 to 35 letters, digits and -"),
            (!line(&self.payer_name, 1, 140) || !line(&self.payee_name, 1, 140), "names take 1 to 140 characters"),
            (!line(&self.reference, 0, 140), "reference takes 140 characters"),
            (!(1..=TRANSFER_CENTS_MAX).contains(&self.amount_cents), "amount_cents takes 1 to 1000000"),
            (iban_checked(&self.payer_iban).is_none() || payee.is_none(), "payer_iban and payee_iban take IBANs"),
        ])?;
        // The ids are drawn from the order's: whoever sends it again sends the same message.
        Ok(Transfer {
            message: self.id.clone(),
            made_ms: now,
            id: self.id.clone(),
            end_to_end: "NOTPROVIDED".to_owned(),
            amount_cents: self.amount_cents,
            accepted_ms: self.accepted_ms,
            payer_name: self.payer_name.clone(),
            payer_iban: self.payer_iban.clone(),
            payer_bic: OWN_BIC.to_owned(),
            payee_name: self.payee_name.clone(),
            payee_bic: self.payee_bic.clone(),
            payee: Payee::Iban(payee.unwrap_or_default()),
            text: self.reference.clone(),
        })
    }
}

/// `POST /internal/instant`: the same again changes nothing.
pub(super) async fn order(State(pacs): State<Pacs>, body: Json<Order>) -> Result<Response, Problem> {
    let (order, now) = (&body.value, now_ms());
    let transfer = order.transfer(now)?;
    if !pacs.kit.peers.banks().contains_key(&order.payee_bic) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-bank", "this bank can't be reached"));
    }
    let mut tx = pacs.kit.store.begin().await?;
    let known: Option<String> =
        sqlx::query_scalar("SELECT state FROM pacs_out WHERE id = $1").bind(&order.id).fetch_optional(&mut *tx).await?;
    if let Some(state) = known {
        return Ok(private(json!({"id": order.id, "state": state})));
    }
    if now > order.accepted_ms + INSTANT_CUT_OFF_MS || order.accepted_ms > now + INSTANT_OVER_MS {
        return Err(Problem::new(StatusCode::GONE, "late", "the time for this transfer is over; nothing was sent"));
    }
    let Ok(place) = std::sync::Arc::clone(&pacs.places).try_acquire_owned() else {
        return Err(Problem::busy("too many instant transfers are under way"));
    };
    let text = Message::Transfer(transfer).write().map_err(|error| Problem::internal(&error))?;
    sqlx::query(
        "INSERT INTO pacs_out (id, account, amount_cents, bic, transfer, message, state, accepted_ms, next_ms)
         VALUES ($1, $2, $3, $4, $5, $1, 'holding', $6, $7)",
    )
    .bind(&order.id)
    .bind(&order.account)
    .bind(order.amount_cents)
    .bind(&order.payee_bic)
    .bind(&text)
    .bind(order.accepted_ms)
    .bind(order.accepted_ms + INSTANT_CONFIRMED_MS)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let (driver, id) = (pacs.clone(), order.id.clone());
    tokio::spawn(async move {
        if let Err(problem) = drive(&driver, &id).await {
            // What it left is taken up by the reconciliation.
            eprintln!("guichet-estate: rails: instant transfer {id}: {}", problem.detail);
        }
        drop(place);
    });
    Ok(private(json!({"id": order.id, "state": "holding"})))
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    account: String,
    amount_cents: i64,
    bic: String,
    transfer: String,
    message: String,
    state: String,
    accepted_ms: i64,
}

async fn find(tx: &mut Tx, id: &str) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, account, amount_cents, bic, transfer, message, state, accepted_ms FROM pacs_out WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await
}

/// Moves a transfer on, and says whether it was still where it was thought to be.
async fn step(tx: &mut Tx, row: &Row, to: &str, reason: &str, settled_ms: Option<i64>) -> Result<bool, sqlx::Error> {
    let moved =
        sqlx::query("UPDATE pacs_out SET state = $1, reason = $2, settled_ms = $3 WHERE id = $4 AND state = $5")
            .bind(to)
            .bind(reason)
            .bind(settled_ms)
            .bind(&row.id)
            .bind(&row.state)
            .execute(&mut **tx)
            .await?;
    Ok(moved.rows_affected() == 1)
}

async fn give_back(tx: &mut Tx, row: &Row) -> Result<(), Problem> {
    let body = json!({"id": row.id, "account": row.account, "kind": "instant", "keep_cents": 0});
    advices::put(tx, &row.id, "/internal/reversals", &body).await
}

async fn pay(tx: &mut Tx, id: &str, account: &str, amount_cents: i64) -> Result<(), Problem> {
    let body = json!({"id": id, "account": account, "amount_cents": amount_cents, "kind": "instant", "forced": true});
    advices::put(tx, id, "/internal/debits", &body).await
}

/// From the order to what became of it, or to the end of its time.
async fn drive(pacs: &Pacs, id: &str) -> Result<(), Problem> {
    let mut tx = pacs.kit.store.begin().await?;
    let Some(row) = find(&mut tx, id).await? else { return Ok(()) };
    drop(tx);
    let left = |ms: i64| Duration::from_millis(u64::try_from(row.accepted_ms + ms - now_ms()).unwrap_or(0));
    let (asked_until, over) = (Instant::now() + left(INSTANT_CONFIRMED_MS), Instant::now() + left(INSTANT_OVER_MS));
    if let Some(reason) = hold(pacs, &row).await {
        return refuse(pacs, id, reason).await;
    }
    let mut tx = pacs.kit.store.begin().await?;
    let sent = step(&mut tx, &row, "sent", "", None).await?;
    tx.commit().await?;
    if !sent {
        return Ok(());
    }
    let sending = send(pacs, &row.bic, row.transfer.clone());
    let heard = converse(asked_until, sending, || ask(pacs, &row));
    match heard.await {
        Heard::Said(report) => settle(pacs, &report).await?,
        Heard::NotSent => return refuse(pacs, id, "AB08").await,
        Heard::Silence => {}
    }
    sleep_until(over).await;
    void(pacs, id).await
}

/// Asks the bank for the money; why not, if not.
async fn hold(pacs: &Pacs, row: &Row) -> Option<&'static str> {
    let transfer = Message::read(row.transfer.as_bytes());
    let reference = match transfer {
        Ok(Message::Transfer(it)) => it.payee_name.chars().take(35).collect::<String>(),
        Ok(_) | Err(_) => String::new(),
    };
    let body = json!({
        "id": row.id, "account": row.account, "amount_cents": row.amount_cents, "kind": "instant", "reference": reference,
        "expires_s": crate::bounds::HOLD_LIFE_S_MAX,
    });
    match pacs.core.ask("/internal/holds", &body).await {
        Ok(Said::Done(_)) => None,
        Ok(Said::NoFunds) => Some("AM04"),
        Ok(Said::NoAccount) => Some("AC02"),
        Ok(Said::Void | Said::No(_)) => Some("MS03"),
        Err(Away) => Some("AB06"),
    }
}

/// Nothing was sent, or the other bank said no: what the bank may hold is given back.
async fn refuse(pacs: &Pacs, id: &str, reason: &str) -> Result<(), Problem> {
    let mut tx = pacs.kit.store.begin().await?;
    let Some(row) = find(&mut tx, id).await? else { return Ok(()) };
    if matches!(row.state.as_str(), "holding" | "sent")
        && step(&mut tx, &row, "rejected", reason, Some(now_ms())).await?
    {
        give_back(&mut tx, &row).await?;
        tx.commit().await?;
        pacs.bell.notify_one();
    }
    Ok(())
}

/// The time is over: the payer has the money back, whatever the other bank says later.
async fn void(pacs: &Pacs, id: &str) -> Result<(), Problem> {
    let mut tx = pacs.kit.store.begin().await?;
    let Some(row) = find(&mut tx, id).await? else { return Ok(()) };
    if row.state == "sent" && step(&mut tx, &row, "void", "AB05", None).await? {
        give_back(&mut tx, &row).await?;
        tx.commit().await?;
        pacs.bell.notify_one();
    }
    Ok(())
}

/// Takes what the other bank says of a transfer of ours; whatever is settled stays so.
pub(super) async fn settle(pacs: &Pacs, report: &Report) -> Result<(), Problem> {
    let mut tx = pacs.kit.store.begin().await?;
    let now = now_ms();
    let Some(row) = find(&mut tx, &report.original).await?.filter(|row| row.message == report.original_message) else {
        return Ok(());
    };
    match (row.state.as_str(), report.status) {
        ("sent", Status::Settled | Status::Accepted) if step(&mut tx, &row, "accepted", "", Some(now)).await? => {
            pay(&mut tx, &row.id, &row.account, row.amount_cents).await?;
        }
        // Known to nobody is not refused while the message may still be on its way.
        ("sent" | "void", Status::Rejected) if report.reason == "NOOR" && now < row.accepted_ms + INSTANT_GONE_MS => {
            return Ok(());
        }
        ("sent", Status::Rejected) if step(&mut tx, &row, "rejected", &report.reason, Some(now)).await? => {
            give_back(&mut tx, &row).await?;
        }
        ("void", Status::Rejected) => {
            step(&mut tx, &row, "void", &report.reason, Some(now)).await?;
        }
        ("void", Status::Settled | Status::Accepted) if step(&mut tx, &row, "late", "AB05", Some(now)).await? => {
            eprintln!("guichet-estate: rails: instant transfer {} was accepted late; suspense pays it", row.id);
            pay(&mut tx, &format!("late-{}", row.id), "suspense", row.amount_cents).await?;
        }
        _ => return Ok(()),
    }
    tx.commit().await?;
    pacs.bell.notify_one();
    Ok(())
}

/// What came back of one message.
#[derive(Debug)]
pub(super) enum Reply {
    /// The other bank's word.
    Said(Report),
    /// Nobody is there: nothing was sent.
    NotSent,
    /// Nothing, or nothing of use: it may have arrived.
    Nothing,
}

/// What the other bank said of a transfer in its time.
#[derive(Debug)]
pub(super) enum Heard {
    Said(Report),
    NotSent,
    Silence,
}

/// Sends once; on silence asks until there is a word or the time is over.
pub(super) async fn converse<F: Future<Output = Reply>>(
    until: Instant,
    sending: impl Future<Output = Reply>,
    ask: impl Fn() -> F,
) -> Heard {
    let patience = until.min(Instant::now() + INSTANT_TARGET);
    match timeout_at(patience, sending).await {
        Ok(Reply::Said(report)) if report.status != Status::Pending => return Heard::Said(report),
        Ok(Reply::NotSent) => return Heard::NotSent,
        Ok(Reply::Said(_) | Reply::Nothing) | Err(_) => {}
    }
    while Instant::now() < until {
        if let Ok(Reply::Said(report)) = timeout_at(until, ask()).await
            && report.status != Status::Pending
            && report.reason != "NOOR"
        {
            return Heard::Said(report);
        }
        sleep_until(until.min(Instant::now() + PAUSE)).await;
    }
    Heard::Silence
}

async fn send(pacs: &Pacs, bic: &str, text: String) -> Reply {
    let Some(address) = pacs.kit.peers.banks().get(bic) else { return Reply::NotSent };
    match pacs.kit.peers.call_bank(*address, "POST", "/pacs", "application/xml", text).await {
        Ok(answer) => match Message::read(&answer.body) {
            Ok(Message::Report(report)) if answer.status.is_success() => Reply::Said(report),
            _ => Reply::Nothing,
        },
        Err(PeerError::Unreachable | PeerError::Unknown) => Reply::NotSent,
        Err(PeerError::Late | PeerError::TooLong) => Reply::Nothing,
    }
}

/// pacs.028
async fn ask(pacs: &Pacs, row: &Row) -> Reply {
    let request = Message::Request(Request {
        message: uuid::Uuid::new_v4().simple().to_string(),
        made_ms: now_ms(),
        original_message: row.message.clone(),
        original: row.id.clone(),
    });
    let Ok(text) = request.write() else { return Reply::Nothing };
    match send(pacs, &row.bic, text).await {
        // What another transfer became is no answer.
        Reply::Said(report) if report.original == row.id => Reply::Said(report),
        _ => Reply::Nothing,
    }
}

/// Takes up what a crash left, ends what is over, and asks about what was voided until the other bank has said its word.
pub(crate) async fn reconcile(pacs: Pacs, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            turned = turn(&pacs) => if let Err(problem) = turned {
                eprintln!("guichet-estate: rails: instant transfers: {}", problem.detail);
            },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Asks about one transfer, and takes the answer.
async fn learn(pacs: &Pacs, row: &Row) {
    if row.state != "holding"
        && let Reply::Said(report) = ask(pacs, row).await
        && let Err(problem) = settle(pacs, &report).await
    {
        eprintln!("guichet-estate: rails: instant transfer {}: {}", row.id, problem.detail);
    }
}

async fn turn(pacs: &Pacs) -> Result<(), Problem> {
    let now = now_ms();
    let due: Vec<Row> = sqlx::query_as(
        "SELECT id, account, amount_cents, bic, transfer, message, state, accepted_ms FROM pacs_out
         WHERE settled_ms IS NULL AND next_ms <= $1 ORDER BY next_ms LIMIT $2",
    )
    .bind(now)
    .bind(INSTANTS_ASKED_MAX)
    .fetch_all(&pacs.kit.store.reader)
    .await?;
    join_all(due.iter().map(|row| learn(pacs, row))).await;
    for row in &due {
        let over = now_ms() >= row.accepted_ms + INSTANT_OVER_MS;
        match row.state.as_str() {
            "holding" if over => refuse(pacs, &row.id, "AB06").await?,
            "sent" if over => void(pacs, &row.id).await?,
            _ => {}
        }
        // The longer nobody knows, the seldomer it is asked.
        let pause = (now - row.accepted_ms).clamp(1_000, 60_000) / 4;
        let mut tx = pacs.kit.store.begin().await?;
        sqlx::query("UPDATE pacs_out SET next_ms = $1 WHERE id = $2 AND settled_ms IS NULL")
            .bind(now + pause)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}
