//! The telephone of the demo: a small message centre (SMPP 3.4) that keeps the latest messages, and a page that shows them.
//!
//! It stands for the telephone network, so that a transfer can be confirmed on one machine. It is no part of the bank: the
//! rails reach it as they reach any centre, over SMPP.

use crate::bounds::{
    SMSC_CONNECTIONS_MAX, SMSC_FRAME_BYTES_MAX, SMSC_IDLE_MAX, TELEPHONE_MESSAGES_MAX, TELEPHONE_MESSAGES_SHOWN_MAX,
};
use crate::store::{now_ms, rfc3339};
use anyhow::{Context, ensure};
use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, StatusCode, header};
use rusmpp::pdus::{BindTransceiverResp, DeliverSm, SubmitSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, MessageType};
use rusmpp::{Command, CommandStatus, Pdu};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::codec::Framed;

/// One message as it reached the telephone.
#[derive(Clone, Debug, Serialize)]
struct Message {
    id: u64,
    /// With its plus.
    to: String,
    from: String,
    text: String,
    at: String,
}

/// The latest messages of all telephones.
#[derive(Clone, Debug, Default)]
struct Messages(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    last_id: u64,
    messages: VecDeque<Message>,
}

impl Messages {
    fn add(&self, submitted: &SubmitSm) -> u64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last_id += 1;
        let message = Message {
            id: kept.last_id,
            to: format!("+{}", submitted.destination_addr.as_str()),
            from: submitted.source_addr.as_str().to_owned(),
            text: decoded(submitted),
            at: rfc3339(now_ms()),
        };
        kept.messages.push_front(message);
        kept.messages.truncate(TELEPHONE_MESSAGES_MAX);
        kept.last_id
    }

    /// The latest of one telephone, or of all where none is named; newest first.
    fn of(&self, telephone: &str) -> Vec<Message> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |message: &&Message| telephone.is_empty() || message.to == telephone;
        kept.messages.iter().filter(fits).take(TELEPHONE_MESSAGES_SHOWN_MAX).cloned().collect()
    }
}

fn decoded(submitted: &SubmitSm) -> String {
    let bytes: &[u8] = submitted.short_message().as_ref();
    match submitted.data_coding {
        DataCoding::Ucs2 => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// A telephone network of this process; it ends with `stop`.
#[derive(Debug)]
pub(crate) struct Telephone {
    /// Where the rails hand messages over.
    pub(crate) centre: SocketAddr,
    /// Where people read them.
    pub(crate) page: SocketAddr,
}

impl Telephone {
    /// Listens for the rails on a free port and for people on `page`; loopback only.
    ///
    /// # Errors
    /// When `page` is no loopback address or is taken.
    pub(crate) async fn start(page: SocketAddr, stop: &watch::Receiver<bool>) -> anyhow::Result<Self> {
        ensure!(page.ip().is_loopback(), "{page}: the telephone shows codes, and listens on loopback addresses only");
        let pages = TcpListener::bind(page).await.with_context(|| format!("telephone: can't listen on {page}"))?;
        let centre = TcpListener::bind((page.ip(), 0)).await.context("message centre: can't listen")?;
        let telephone = Self { centre: centre.local_addr()?, page: pages.local_addr()? };
        let messages = Messages::default();
        let routes = Router::new().route("/", get(show)).route("/messages", get(list)).with_state(messages.clone());
        tokio::spawn(crate::server::serve(pages, routes, stop.clone()));
        tokio::spawn(serve_centre(centre, messages, stop.clone()));
        Ok(telephone)
    }
}

async fn serve_centre(listener: TcpListener, messages: Messages, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(SMSC_CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned()) else { continue };
        let (messages, mut stop) = (messages.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, &messages) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

/// Speaks with one client until it goes, is silent for too long, or sends what can't be read.
async fn converse(stream: TcpStream, messages: &Messages) {
    let mut framed = Framed::new(stream, CommandCodec::new().with_max_length(SMSC_FRAME_BYTES_MAX));
    let (mut bound, mut receipts) = (false, 0);
    while let Ok(Some(Ok(command))) = tokio::time::timeout(SMSC_IDLE_MAX, framed.next()).await {
        let number = command.sequence_number();
        let mut answers = Vec::new();
        match command.pdu() {
            Some(Pdu::BindTransceiver(_)) => {
                bound = true;
                answers.push(Command::new(CommandStatus::EsmeRok, number, BindTransceiverResp::default()));
            }
            Some(Pdu::EnquireLink) => answers.push(Command::new(CommandStatus::EsmeRok, number, Pdu::EnquireLinkResp)),
            Some(Pdu::Unbind) => answers.push(Command::new(CommandStatus::EsmeRok, number, Pdu::UnbindResp)),
            Some(Pdu::SubmitSm(submitted)) if bound => {
                let id = messages.add(submitted).to_string();
                let Ok(message_id) = COctetString::from_str(&id) else { return };
                let taken = SubmitSmResp::builder().message_id(message_id).build();
                answers.push(Command::new(CommandStatus::EsmeRok, number, taken));
                receipts += 1;
                answers.extend(receipt(&id, submitted).map(|pdu| Command::new(CommandStatus::EsmeRok, receipts, pdu)));
            }
            Some(Pdu::SubmitSm(_)) => {
                answers.push(Command::new(CommandStatus::EsmeRinvbndsts, number, SubmitSmResp::default()));
            }
            // Answers to our receipts, and what a telephone network has no use for.
            Some(_) | None => {}
        }
        for answer in answers {
            if framed.send(answer).await.is_err() {
                return;
            }
        }
    }
}

/// What says that the telephone has the message.
fn receipt(id: &str, submitted: &SubmitSm) -> Option<DeliverSm> {
    let text = format!("id:{id} sub:001 dlvrd:001 stat:DELIVRD err:000 text:");
    let esm_class =
        EsmClass { message_type: MessageType::ShortMessageContainsMCDeliveryReceipt, ..EsmClass::default() };
    let receipt = DeliverSm::builder()
        .source_addr(submitted.destination_addr.clone())
        .destination_addr(submitted.source_addr.clone())
        .esm_class(esm_class)
        .short_message(OctetString::from_vec(text.into_bytes()).ok()?)
        .build();
    Some(receipt)
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    to: String,
}

/// A plus in a query is a space unless it is escaped, and people forget that.
fn telephone(which: &Which) -> String {
    let digits: String = which.to.chars().filter(char::is_ascii_digit).take(15).collect();
    if digits.is_empty() { String::new() } else { format!("+{digits}") }
}

#[derive(Template)]
#[template(path = "telephone.html")]
struct Page {
    french: bool,
    to: String,
    messages: Vec<Message>,
}

async fn show(State(messages): State<Messages>, Query(which): Query<Which>, headers: HeaderMap) -> Response {
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("fr");
    let to = telephone(&which);
    let page = Page { french: !language.trim_start().starts_with("en"), messages: messages.of(&to), to };
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ];
    match page.render() {
        Ok(text) => (fields, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn list(State(messages): State<Messages>, Query(which): Query<Which>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(messages.of(&telephone(&which)))).into_response()
}
