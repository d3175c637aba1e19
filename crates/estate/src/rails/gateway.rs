//! Text messages on their way out: from the durable queue of the rails to a message centre (SMSC) over SMPP 3.4.
//!
//! A message is handed over at least once: where the centre's answer was lost it is handed over again, which does no harm
//! to a code, while a lost message would. What is too old to be of use is not sent. Losing the centre loses nothing but
//! time: the gateway connects again, with growing pauses.

use super::SMS_LIFE_MS;
use crate::bounds::{
    SMS_PURGE_MAX, SMS_TRIES_MAX, SMSC_ANSWER_MAX, SMSC_CONNECT_MAX, SMSC_PAUSE_MAX, SMSC_PAUSE_MIN, SMSC_POLL,
    SMSC_RECEIPTS_MAX, SMSC_WINDOW,
};
use crate::store::{Store, Tx, now_ms};
use anyhow::Context;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use rusmpp::pdus::{BindTransceiver, DeliverSmResp, SubmitSm};
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{
    DataCoding, IntermediateNotification, MCDeliveryReceipt, Npi, RegisteredDelivery, SmeOriginatedAcknowledgement, Ton,
};
use rusmpp::{CommandStatus, Pdu};
use rusmppc::{Client, ConnectionBuilder, Event};
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// What has become of a message, and what the centre calls it.
pub(super) const SCHEMA: &str = "
ALTER TABLE sms ADD COLUMN state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'delivered', 'failed'));
ALTER TABLE sms ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sms ADD COLUMN centre_id TEXT;
CREATE INDEX sms_queued ON sms (queued_ms) WHERE state = 'queued';
CREATE INDEX sms_centre ON sms (centre_id) WHERE centre_id IS NOT NULL;
";
/// Who has how many messages that wait.
pub(super) const RECIPIENT_SCHEMA: &str = "CREATE INDEX sms_recipient ON sms (recipient) WHERE state = 'queued'";
/// Name by which the gateway binds.
const SYSTEM_ID: &str = "guichet-rails";
/// The sender that telephones show.
const SENDER: &str = "Guichet";

/// Hands messages over until the estate stops.
pub(crate) async fn run(store: Store, centre: SocketAddr, mut stop: watch::Receiver<bool>) {
    let mut pause = SMSC_PAUSE_MIN;
    let mut told = false;
    loop {
        let handed = tokio::select! {
            ended = session(&store, centre) => ended,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match handed {
            // It worked for a while: the next outage begins anew.
            Ended::AfterWork(error) => {
                eprintln!("guichet-estate: rails: lost the message centre at {centre}: {error:#}; messages wait");
                (pause, told) = (SMSC_PAUSE_MIN, true);
            }
            Ended::Unbound(error) if !told => {
                eprintln!("guichet-estate: rails: no message centre at {centre}: {error:#}; messages wait");
                told = true;
            }
            Ended::Unbound(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        pause = (pause * 2).min(SMSC_PAUSE_MAX);
    }
}

/// How a session with the centre ended.
enum Ended {
    /// It never came about.
    Unbound(anyhow::Error),
    /// It was bound, and broke off.
    AfterWork(anyhow::Error),
}

async fn session(store: &Store, centre: SocketAddr) -> Ended {
    let (client, mut receipts) = match bind(centre).await {
        Ok(bound) => bound,
        Err(error) => return Ended::Unbound(error),
    };
    let Err(error) = hand_over(store, &client, &mut receipts).await;
    // Gone already, mostly.
    let _ = client.close().await;
    Ended::AfterWork(error)
}

/// Receipts as they come, for the loop that hands messages over: it knows when the message of a receipt is marked as sent,
/// which may be later than the receipt. One that finds no room is lost, and its message stays marked as sent.
type Receipts = mpsc::Receiver<(String, &'static str)>;

async fn bind(centre: SocketAddr) -> anyhow::Result<(Client, Receipts)> {
    let stream =
        tokio::time::timeout(SMSC_CONNECT_MAX, TcpStream::connect(centre)).await.context("connect: late")??;
    stream.set_nodelay(true)?;
    let (client, mut events) = ConnectionBuilder::new()
        .enquire_link_interval(Duration::from_secs(10))
        .enquire_link_response_timeout(SMSC_ANSWER_MAX)
        .response_timeout(SMSC_ANSWER_MAX)
        .connected(stream);
    let answering = client.clone();
    let (tell, receipts) = mpsc::channel(SMSC_RECEIPTS_MAX);
    // Ends when the connection does.
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let Event::Incoming(command) = event else { continue };
            if let Some(Pdu::DeliverSm(receipt)) = command.pdu() {
                if let Some(receipt) = receipt_of(&String::from_utf8_lossy(receipt.short_message().as_ref())) {
                    let _ = tell.try_send(receipt);
                }
                let _ = answering.deliver_sm_resp(command.sequence_number(), DeliverSmResp::default()).await;
            }
        }
    });
    let who = BindTransceiver::builder()
        .system_id(COctetString::from_str(SYSTEM_ID)?)
        .password(COctetString::empty())
        .system_type(COctetString::empty())
        .build();
    client.bind_transceiver(who).await.context("bind")?;
    Ok((client, receipts))
}

/// Number, recipient, text and age of a message.
type Waiting = (String, String, String, i64);

/// Hands over what waits, a window at once, until the connection breaks.
async fn hand_over(
    store: &Store,
    client: &Client,
    receipts: &mut Receipts,
) -> Result<std::convert::Infallible, anyhow::Error> {
    loop {
        take_receipts(store, receipts).await?;
        let waiting: Vec<Waiting> = sqlx::query_as(
            "SELECT id, recipient, text, queued_ms FROM sms WHERE state = 'queued' AND queued_ms > $1 AND tries < $2
             ORDER BY queued_ms, id LIMIT $3",
        )
        .bind(now_ms() - SMS_LIFE_MS)
        .bind(SMS_TRIES_MAX)
        .bind(SMSC_WINDOW)
        .fetch_all(&store.reader)
        .await?;
        if client.is_closed() {
            anyhow::bail!("the connection was closed");
        }
        if waiting.is_empty() {
            tokio::time::sleep(SMSC_POLL).await;
            continue;
        }
        let answers = join_all(waiting.iter().map(|message| submit(client, message))).await;
        let mut tx = store.begin().await?;
        let mut broken = None;
        for ((id, ..), answer) in waiting.iter().zip(answers) {
            match answer {
                Handed::Sent(centre_id) => mark(&mut tx, id, "sent", Some(centre_id)).await?,
                Handed::Refused => mark(&mut tx, id, "failed", None).await?,
                Handed::Later => mark(&mut tx, id, "queued", None).await?,
                // Whether the centre has it is not known: it is handed over again, and that counts against nobody.
                Handed::Unknown(error) => broken = Some(error),
            }
        }
        give_up(&mut tx).await?;
        tx.commit().await?;
        if let Some(error) = broken {
            return Err(error);
        }
    }
}

/// What became of handing one message over.
enum Handed {
    /// The centre has it, and calls it this.
    Sent(String),
    /// The centre will never take it: the others go on.
    Refused,
    /// The centre can't take it now.
    Later,
    /// There is no answer: the connection is of no use any more.
    Unknown(anyhow::Error),
}

async fn mark(tx: &mut Tx, id: &str, state: &str, centre_id: Option<String>) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE sms SET state = $1, centre_id = $2, tries = tries + 1 WHERE id = $3")
        .bind(state)
        .bind(centre_id)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What was tried too often or is too old to be of use failed.
async fn give_up(tx: &mut Tx) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE sms SET state = 'failed' WHERE id IN (SELECT id FROM sms WHERE state = 'queued' AND (queued_ms <= $1 OR tries >= $2)
         ORDER BY queued_ms LIMIT $3)",
    )
    .bind(now_ms() - SMS_LIFE_MS)
    .bind(SMS_TRIES_MAX)
    .bind(SMS_PURGE_MAX)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn submit(client: &Client, message: &Waiting) -> Handed {
    match message_of(message) {
        Err(error) => {
            eprintln!("guichet-estate: rails: message {} can't be put into the protocol: {error:#}", message.0);
            Handed::Refused
        }
        Ok(command) => match client.submit_sm(command).await {
            Ok(answer) => Handed::Sent(answer.message_id().to_string()),
            Err(rusmppc::error::Error::UnexpectedResponse { response }) => match response.status() {
                CommandStatus::EsmeRthrottled | CommandStatus::EsmeRmsgqful | CommandStatus::EsmeRsyserr => {
                    Handed::Later
                }
                status => {
                    eprintln!("guichet-estate: rails: the message centre refuses message {}: {status:?}", message.0);
                    Handed::Refused
                }
            },
            Err(error) => Handed::Unknown(error.into()),
        },
    }
}

/// A message as the protocol has it.
fn message_of((_, recipient, text, queued_ms): &Waiting) -> anyhow::Result<SubmitSm> {
    let (data_coding, bytes) = encoded(text);
    let left_s = ((queued_ms + SMS_LIFE_MS - now_ms()) / 1000).clamp(1, SMS_LIFE_MS / 1000);
    // A relative time: years, months, days, hours, minutes, seconds, tenths, quarters of an hour to UTC, R.
    let life = format!("00000000{:02}{:02}000R", left_s / 60, left_s % 60);
    let receipt = RegisteredDelivery::new(
        MCDeliveryReceipt::McDeliveryReceiptRequestedWhereFinalDeliveryOutcomeIsSuccessOrFailure,
        SmeOriginatedAcknowledgement::default(),
        IntermediateNotification::default(),
        0,
    );
    Ok(SubmitSm::builder()
        .source_addr_ton(Ton::Alphanumeric)
        .source_addr_npi(Npi::Unknown)
        .source_addr(COctetString::from_str(SENDER)?)
        .dest_addr_ton(Ton::International)
        .dest_addr_npi(Npi::Isdn)
        .destination_addr(COctetString::from_str(recipient.trim_start_matches('+'))?)
        .validity_period(rusmpp::types::EmptyOrFullCOctetString::from_str(&life)?)
        .registered_delivery(receipt)
        .data_coding(data_coding)
        .short_message(OctetString::from_vec(bytes)?)
        .build())
}

/// Latin-1 where it suffices, as it does for French; else UCS-2.
fn encoded(text: &str) -> (DataCoding, Vec<u8>) {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match latin {
        Some(bytes) => (DataCoding::Latin1, bytes),
        None => (DataCoding::Ucs2, text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    }
}

/// Whether a text fits in one message of the protocol.
pub(super) fn fits(text: &str) -> bool {
    encoded(text).1.len() <= crate::bounds::SMS_BYTES_MAX
}

/// Marks what the receipts that have come say, in one transaction.
async fn take_receipts(store: &Store, receipts: &mut Receipts) -> Result<(), sqlx::Error> {
    let come: Vec<_> = std::iter::from_fn(|| receipts.try_recv().ok()).take(SMSC_RECEIPTS_MAX).collect();
    if come.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for (centre_id, state) in come {
        sqlx::query("UPDATE sms SET state = $1 WHERE centre_id = $2")
            .bind(state)
            .bind(centre_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// `id:... stat:DELIVRD ...`, as SMPP 3.4 has it in appendix B: the centre's name of the message, and what became of it.
fn receipt_of(text: &str) -> Option<(String, &'static str)> {
    let word = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name));
    let state = match word("stat:")? {
        "DELIVRD" => "delivered",
        "EXPIRED" | "DELETED" | "UNDELIV" | "REJECTD" => "failed",
        // On its way still.
        _ => return None,
    };
    Some((word("id:")?.to_owned(), state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read() {
        let check = |text: &str, expected: Option<(&str, &'static str)>| {
            assert_eq!(receipt_of(text), expected.map(|(id, state)| (id.to_owned(), state)), "{text}");
        };
        check(
            "id:a-1 sub:001 dlvrd:001 submit date:2601010000 stat:DELIVRD err:000 text:Code",
            Some(("a-1", "delivered")),
        );
        check("id:7 stat:UNDELIV", Some(("7", "failed")));
        check("id:7 stat:ENROUTE", None);
        check("stat:DELIVRD", None);
        check("hello", None);
    }

    #[test]
    fn texts_are_latin_where_they_can_be() {
        assert_eq!(encoded("à 5 €").0, DataCoding::Ucs2, "the euro sign is none of Latin-1");
        assert_eq!(encoded("é1"), (DataCoding::Latin1, vec![0xe9, b'1']));
        assert_eq!(encoded("€"), (DataCoding::Ucs2, vec![0x20, 0xac]));
        assert!(fits(&"é".repeat(160)) && fits(&"€".repeat(127)) && !fits(&"€".repeat(128)));
    }
}
