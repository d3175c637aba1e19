//! The clerk's page: made on the terminal itself, without JavaScript, in French and English.

use super::desk::{Desk, Standing, Wanted};
use super::replay::State as LineState;
use crate::bounds::{STAMPS_AT_ONCE_MAX, TILL_SHOWN_MAX};
use crate::counter::journal::{Entry, Kind};
use crate::ids::plain;
use crate::money;
use crate::people::{Frame, errors_as_pages, page, same_site};
use crate::problem::Problem;
use crate::store::rfc3339;
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

/// Price of one stamp.
const STAMP_CENTS: i64 = 139;
/// Prices of a parcel, by the heaviest that it may be, in grams.
const PARCEL_CENTS: [(i64, i64); 4] = [(250, 549), (500, 759), (1000, 939), (5000, 1659)];

pub(super) fn router(desk: &Desk) -> Router {
    let pages = from_fn(|request: Request, next: Next| errors_as_pages("/", request, next));
    let routes = Router::new()
        .route("/", get(home).post(enter))
        .route("/recus/{sequence}", get(receipt))
        .route("/clotures/{sequence}", get(closing))
        .layer(axum::extract::DefaultBodyLimit::max(crate::bounds::BODY_BYTES_MAX))
        .layer(pages)
        .with_state(desk.clone());
    desk.kit.finish(routes)
}

struct Row {
    sequence: i64,
    what: &'static str,
    amount: String,
    reference: String,
    at: String,
    told: bool,
}

#[derive(Template)]
#[template(path = "till/home.html")]
struct Home {
    frame: Frame,
    office: String,
    terminal: String,
    line: LineState,
    cash: String,
    standing: Standing,
    key: String,
    stamp: String,
    parcels: Vec<(i64, String)>,
    rows: Vec<Row>,
    fault: &'static str,
}

fn what(kind: &str, frame: Frame) -> &'static str {
    match Kind::of(kind) {
        Some(Kind::Float) => frame.say("Fonds de caisse", "Cash brought"),
        Some(Kind::Stamps) => frame.say("Timbres", "Stamps"),
        Some(Kind::Parcel) => frame.say("Colis", "Parcel"),
        Some(Kind::Deposit) => frame.say("Versement", "Deposit"),
        Some(Kind::Withdrawal) => frame.say("Retrait", "Withdrawal"),
        Some(Kind::Plus) => frame.say("Correction en plus", "Correction, plus"),
        Some(Kind::Minus) => frame.say("Correction en moins", "Correction, minus"),
        Some(Kind::Closing) => frame.say("Clôture", "Closing"),
        None => "",
    }
}

async fn home_with(desk: &Desk, frame: Frame, fault: &'static str, status: StatusCode) -> Result<Response, Problem> {
    let standing = desk.standing().await?;
    let latest = desk.latest(TILL_SHOWN_MAX).await?;
    let told_to = latest.first().map_or(0, |entry| entry.sequence) - standing.untold;
    let row = |entry: Entry| Row {
        told: entry.sequence <= told_to,
        sequence: entry.sequence,
        what: what(&entry.kind, frame),
        amount: money::shown(entry.amount_cents, frame.fr),
        reference: entry.reference,
        at: rfc3339(entry.at_ms),
    };
    let home = Home {
        frame,
        office: desk.office.clone(),
        terminal: desk.terminal.clone(),
        line: desk.line.state(),
        cash: money::shown(standing.cash_cents, frame.fr),
        standing,
        key: format!("form-{}", uuid::Uuid::new_v4().simple()),
        stamp: money::shown(STAMP_CENTS, frame.fr),
        parcels: PARCEL_CENTS.map(|(grams, cents)| (grams, money::shown(cents, frame.fr))).to_vec(),
        rows: latest.into_iter().map(row).collect(),
        fault,
    };
    page(status, &home)
}

async fn home(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response, Problem> {
    home_with(&desk, Frame::of(&headers), "", StatusCode::OK).await
}

/// Any of the forms of the page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    key: String,
    kind: Kind,
    #[serde(default)]
    amount: String,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    count: String,
    #[serde(default)]
    grams: String,
}

/// The amount of a form, in cents.
fn amount_cents(typed: &Typed) -> Option<i64> {
    match typed.kind {
        Kind::Stamps => {
            let count: i64 = typed.count.trim().parse().ok()?;
            (1..=STAMPS_AT_ONCE_MAX).contains(&count).then_some(count * STAMP_CENTS)
        }
        Kind::Parcel => {
            let grams: i64 = typed.grams.trim().parse().ok()?;
            PARCEL_CENTS.iter().find(|(heaviest, _)| *heaviest == grams).map(|(_, cents)| *cents)
        }
        // An empty till is counted too.
        Kind::Closing if typed.amount.trim().trim_start_matches('0').trim_matches(['.', ',', '0']).is_empty() => {
            Some(0)
        }
        _ => money::cents(&typed.amount).ok(),
    }
}

async fn enter(State(desk): State<Desk>, headers: HeaderMap, Form(typed): Form<Typed>) -> Result<Response, Problem> {
    same_site(&headers)?;
    let frame = Frame::of(&headers);
    if !plain(&typed.key, 8, 64, "-_") {
        return Err(Problem::malformed("the key of the form is no key"));
    }
    let Some(amount_cents) = amount_cents(&typed) else {
        let words = frame.say("Ce montant ou ce nombre n'est pas possible.", "This amount or number is not possible.");
        return home_with(&desk, frame, words, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let reference = if typed.kind == Kind::Parcel { "" } else { typed.reference.trim() };
    match desk.enter(&Wanted { kind: typed.kind, amount_cents, reference, form: &typed.key }).await {
        Ok(entry) if typed.kind == Kind::Closing => {
            Ok(Redirect::to(&format!("/clotures/{}", entry.sequence)).into_response())
        }
        Ok(entry) => Ok(Redirect::to(&format!("/recus/{}", entry.sequence)).into_response()),
        Err(problem) => {
            let words = match problem.code {
                "cash" => frame.say("Il n'y a pas assez dans la caisse.", "There is not enough in the till."),
                "offline-cash" => frame.say(
                    "Trop d'espèces sont sorties sans que le centre le sache : attendez la liaison.",
                    "Too much cash went out that the centre has not heard of: wait for the line.",
                ),
                "identifiers" => frame.say(
                    "Plus aucun numéro de colis : attendez la liaison.",
                    "No parcel number is left: wait for the line.",
                ),
                "day" => frame.say("La journée est pleine : clôturez-la.", "The day is full: close it."),
                "invalid" => {
                    frame.say("Ce montant ou ce motif n'est pas possible.", "This amount or reference is not possible.")
                }
                _ => return Err(problem),
            };
            home_with(&desk, frame, words, problem.status).await
        }
    }
}

#[derive(Template)]
#[template(path = "till/receipt.html")]
struct Receipt {
    frame: Frame,
    office: String,
    terminal: String,
    what: &'static str,
    amount: String,
    at: String,
    entry: Entry,
}

async fn receipt(State(desk): State<Desk>, Path(sequence): Path<i64>, headers: HeaderMap) -> Result<Response, Problem> {
    let entry = desk.entry(sequence).await?;
    let frame = Frame::of(&headers);
    let receipt = Receipt {
        frame,
        office: desk.office.clone(),
        terminal: desk.terminal.clone(),
        what: what(&entry.kind, frame),
        amount: money::shown(entry.amount_cents, frame.fr),
        at: rfc3339(entry.at_ms),
        entry,
    };
    page(StatusCode::OK, &receipt)
}

#[derive(Template)]
#[template(path = "till/closing.html")]
struct Closing {
    frame: Frame,
    statement: String,
}

/// The statement of a closed day; as text for who asks for text, to lay beside the service's.
async fn closing(State(desk): State<Desk>, Path(sequence): Path<i64>, headers: HeaderMap) -> Result<Response, Problem> {
    let entry = desk.entry(sequence).await?;
    if entry.kind != Kind::Closing.name() {
        return Err(Problem::not_found("closing"));
    }
    let statement = desk.statement(&entry).await?;
    if headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/plain") {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], statement).into_response());
    }
    page(StatusCode::OK, &Closing { frame: Frame::of(&headers), statement })
}
