//! Another bank of the scheme of instant transfers, for tests and the demo: it takes them, tells what became of them, and sends some to
//! ours. It can be told to be silent, late or unwilling. What it knows is in memory, and ends with it.

use crate::bounds::PARTICIPANT_TRANSFERS_MAX;
use crate::cli::parent_gone;
use crate::rails::pacs::OWN_BIC;
use crate::store::now_ms;
use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::{Args, ValueEnum};
use guichet_iso20022::{MESSAGE_BYTES_MAX, Message, Payee, Report, Status, Transfer};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Its customers: telephone, e-mail address, name, IBAN.
const CUSTOMERS: [(&str, &str, &str, &str); 2] = [
    ("+4915100000001", "anna@autre.example", "Anna Autre", "DE89370400440532013000"),
    ("+4915100000002", "otto@autre.example", "Otto Autre", "DE75512108001245126199"),
];

/// Options of `participant`.
#[derive(Args, Debug)]
pub struct Participant {
    /// Loopback address and port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Its BIC.
    #[arg(long, value_name = "BIC", default_value = "OTHRDEFFXXX")]
    pub bic: String,
    /// Where the rails of our bank are, to send transfers to them.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub rails: Option<SocketAddr>,
    /// How it answers; `POST /manner` changes it.
    #[arg(long, value_enum, default_value_t = Answer::Accept)]
    pub answer: Answer,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// How it answers a transfer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Takes it, and says so.
    #[default]
    Accept,
    /// Refuses it: the account is closed (AC04).
    Reject,
    /// Takes it, says nothing, and tells it when asked.
    Quiet,
    /// Takes it, and says nothing to anybody before the payer has the money back.
    Late,
    /// Loses it: it was never there.
    Lose,
}

struct Known {
    transfer: Transfer,
    status: Status,
    /// Before this it says nothing of it, in milliseconds since 1970.
    silent_until_ms: i64,
    copies: u32,
}

#[derive(Default)]
struct Memory {
    answer: Answer,
    known: BTreeMap<String, Known>,
}

#[derive(Clone)]
struct Bank {
    bic: String,
    rails: Option<SocketAddr>,
    memory: Arc<Mutex<Memory>>,
}

impl Bank {
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a late answer is kept back, from the payer's order.
const LATE_MS: i64 = 11_000;

/// Is the other bank, until SIGINT or SIGTERM.
///
/// # Errors
/// When an address is no loopback address or is taken, or the BIC is none.
pub async fn run(options: &Participant) -> anyhow::Result<ExitCode> {
    let (listen, bic) = (options.listen, &options.bic);
    ensure!(guichet_iso20022::bic_fits(bic), "{bic:?} is no BIC: --bic takes 8 or 11 capitals and digits");
    for address in [Some(listen), options.rails].into_iter().flatten() {
        ensure!(address.ip().is_loopback(), "{address}: the other bank is on loopback addresses only");
    }
    let parent = options.exit_with_parent.then(std::os::unix::process::parent_id);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
    let memory = Memory { answer: options.answer, ..Memory::default() };
    let bank = Bank { bic: bic.clone(), rails: options.rails, memory: Arc::new(Mutex::new(memory)) };
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "participant http://{}\nready", listener.local_addr()?)?;
        out.flush()?;
    }
    let routes = Router::new()
        .route("/pacs", post(take))
        .route("/aliases/{alias}", get(alias))
        .route("/transfers", get(transfers))
        .route("/manner", post(manner))
        .route("/send", post(send))
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .with_state(bank);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(crate::server::serve(listener, routes, stopped));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = parent_gone(parent) => {}
    }
    let _ = stop.send(true);
    let _ = serving.await;
    Ok(ExitCode::SUCCESS)
}

fn report(message: &str, original: &str, status: Status, reason: &str) -> Response {
    let report = Message::Report(Report {
        message: uuid::Uuid::new_v4().simple().to_string(),
        made_ms: now_ms(),
        original_message: message.to_owned(),
        original: original.to_owned(),
        end_to_end: String::new(),
        status,
        reason: reason.to_owned(),
        words: String::new(),
    });
    match report.write() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/xml")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As long as a client may wait.
async fn silence() -> Response {
    tokio::time::sleep(Duration::from_secs(8)).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

async fn take(State(bank): State<Bank>, body: Bytes) -> Response {
    match Message::read(&body) {
        Ok(Message::Transfer(transfer)) => {
            let (message, id) = (transfer.message.clone(), transfer.id.clone());
            match bank.decide(transfer) {
                Some((status, reason)) => report(&message, &id, status, reason),
                None => silence().await,
            }
        }
        Ok(Message::Request(it)) => {
            let told = {
                let memory = bank.memory();
                memory.known.get(&it.original).map(|known| (known.status, known.silent_until_ms))
            };
            match told {
                Some((_, until)) if now_ms() < until => silence().await,
                Some((Status::Rejected, _)) => report(&it.original_message, &it.original, Status::Rejected, "AC04"),
                Some((status, _)) => report(&it.original_message, &it.original, status, ""),
                None => report(&it.original_message, &it.original, Status::Rejected, "NOOR"),
            }
        }
        Ok(Message::Report(_)) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

impl Bank {
    /// What it says of a transfer, or that it says nothing.
    fn decide(&self, transfer: Transfer) -> Option<(Status, &'static str)> {
        let mut memory = self.memory();
        let answer = memory.answer;
        if let Some(known) = memory.known.get_mut(&transfer.id) {
            known.copies += 1;
            return Some((known.status, ""));
        }
        if answer == Answer::Lose || memory.known.len() >= PARTICIPANT_TRANSFERS_MAX {
            return None;
        }
        let here = match &transfer.payee {
            Payee::Iban(iban) => CUSTOMERS.iter().any(|customer| customer.3 == iban),
            Payee::Telephone(alias) => CUSTOMERS.iter().any(|customer| customer.0 == alias),
            Payee::Email(alias) => CUSTOMERS.iter().any(|customer| customer.1 == alias),
        };
        let (status, reason) = match (here, answer) {
            (false, _) => (Status::Rejected, "AC01"),
            (true, Answer::Reject) => (Status::Rejected, "AC04"),
            (true, _) => (Status::Settled, ""),
        };
        let silent_until_ms = if answer == Answer::Late { transfer.accepted_ms + LATE_MS } else { 0 };
        memory.known.insert(transfer.id.clone(), Known { transfer, status, silent_until_ms, copies: 1 });
        matches!(answer, Answer::Accept | Answer::Reject).then_some((status, reason))
    }
}

async fn alias(Path(alias): Path<String>) -> Response {
    match CUSTOMERS.iter().find(|customer| customer.0 == alias || customer.1 == alias) {
        Some((_, _, name, iban)) => Json(json!({"alias": alias, "iban": iban, "name": name})).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /transfers`: what it knows, with how often each was sent.
async fn transfers(State(bank): State<Bank>) -> Response {
    let memory = bank.memory();
    let known: Vec<_> = memory
        .known
        .values()
        .map(|it| {
            json!({
                "id": it.transfer.id, "amount_cents": it.transfer.amount_cents, "payer": it.transfer.payer_name,
                "settled": it.status == Status::Settled, "copies": it.copies,
            })
        })
        .collect();
    Json(json!({"transfers": known})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manner {
    answer: Answer,
}

/// `POST /manner`: how it answers from now on.
async fn manner(State(bank): State<Bank>, Json(manner): Json<Manner>) -> Response {
    bank.memory().answer = manner.answer;
    Json(json!({"answer": manner.answer})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    /// Of whom it is; an IBAN, a telephone or an e-mail address.
    to: String,
    amount_cents: i64,
    /// The same again is the same transfer.
    id: String,
}

/// `POST /send`: one of its customers pays somebody at our bank.
async fn send(State(bank): State<Bank>, Json(it): Json<Send>) -> Response {
    let Some(rails) = bank.rails else {
        return (StatusCode::CONFLICT, "this bank was started without --rails\n").into_response();
    };
    let payee = match &it.to {
        to if guichet_iso20022::telephone_fits(to) => Payee::Telephone(to.clone()),
        to if guichet_iso20022::email_fits(to) => Payee::Email(to.clone()),
        to => Payee::Iban(to.clone()),
    };
    let now = now_ms();
    let transfer = Message::Transfer(Transfer {
        message: it.id.clone(),
        made_ms: now,
        id: it.id,
        end_to_end: "NOTPROVIDED".to_owned(),
        amount_cents: it.amount_cents,
        accepted_ms: now,
        payer_name: CUSTOMERS[0].2.to_owned(),
        payer_iban: CUSTOMERS[0].3.to_owned(),
        payer_bic: bank.bic.clone(),
        payee_name: "?".to_owned(),
        payee_bic: OWN_BIC.to_owned(),
        payee,
        text: String::new(),
    });
    let Ok(text) = transfer.write() else { return StatusCode::UNPROCESSABLE_ENTITY.into_response() };
    let peers = crate::peers::Peers::new([]);
    match peers.call_bank(rails, "POST", "/pacs", "application/xml", text).await {
        Ok(answer) => match Message::read(&answer.body) {
            Ok(Message::Report(report)) => Json(
                json!({"id": report.original, "settled": report.status == Status::Settled, "reason": report.reason}),
            )
            .into_response(),
            _ => (answer.status, answer.body).into_response(),
        },
        Err(error) => (StatusCode::BAD_GATEWAY, format!("our bank {error}\n")).into_response(),
    }
}
