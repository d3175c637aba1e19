//! Pages for people, made on the server and usable without JavaScript: accounts, statements, transfers.

use super::instant::Found;
use super::payee::{self, Verified};
use super::transfers::{self, Ask, Channel, Confirm};
use super::{Bank, alias_pages, holds, instant};
use crate::bounds::{PAYEE_NAME_CHARS_MAX, STATEMENT_ENTRIES_MAX};
use crate::credentials::User;
use crate::gate::NotTheOperation;
use crate::identity::clients::RETURN_PATH;
use crate::ids;
use crate::kit::{Kit, SignIn};
use crate::money;
use crate::oidc::Returned;
use crate::once::hash;
use crate::people::{Frame, errors_as_pages, page, same_site};
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

pub(super) fn routes(kit: &Kit) -> Router<Bank> {
    let pages = from_fn(|request: Request, next: Next| errors_as_pages("/espace", request, next));
    Router::new()
        .route("/espace", kit.op("page", get(home)))
        .route("/espace/connexion", kit.op("page", post(login)))
        .route("/espace/identite", kit.op("page", get(sign_in)))
        .route(RETURN_PATH, kit.op("page", get(signed_in)))
        .route("/espace/deconnexion", kit.op("page", post(logout)))
        .route("/espace/comptes/{id}", kit.op("page", get(account)))
        .route("/espace/comptes/{id}/releve.csv", kit.op("page", get(csv)))
        .route("/espace/virement", kit.op("page", get(form).post(ask)))
        .route("/espace/alias", kit.op("page", get(alias_pages::aliases).post(alias_pages::change)))
        .route("/espace/virements/{id}", kit.op("page", get(transfer).post(confirm)))
        .layer(pages)
}

#[derive(Template)]
#[template(path = "bank/login.html")]
struct Login {
    frame: Frame,
    user: String,
    wrong: bool,
}

pub(super) struct AccountRow {
    pub(super) id: String,
    pub(super) iban: String,
    pub(super) label: String,
    balance: String,
    available: String,
}

#[derive(Template)]
#[template(path = "bank/home.html")]
struct Home {
    frame: Frame,
    rows: Vec<AccountRow>,
}

/// Whom the pages are for; who is not signed in is sent to the form.
pub(super) async fn user(bank: &Bank, headers: &HeaderMap) -> Result<Result<User, Response>, Problem> {
    if let Some(user) = bank.sessions.find(headers).await? {
        return Ok(Ok(user));
    }
    let mut away = Redirect::to("/espace").into_response();
    away.extensions_mut().insert(NotTheOperation);
    Ok(Err(away))
}

pub(super) async fn account_rows(bank: &Bank, user: &User, fr: bool) -> Result<Vec<AccountRow>, Problem> {
    let mut reader = bank.kit.store.reader.acquire().await?;
    let rows: Vec<(String, String, String, i64)> =
        sqlx::query_as("SELECT id, iban, label, balance_cents FROM account WHERE owner = $1 ORDER BY id")
            .bind(&user.name)
            .fetch_all(&mut *reader)
            .await?;
    let mut accounts = Vec::with_capacity(rows.len());
    for (id, iban, label, balance) in rows {
        let available = holds::available_cents(&mut reader, &id, now_ms()).await?.unwrap_or_default();
        let (balance, available) = (money::shown(balance, fr), money::shown(available, fr));
        accounts.push(AccountRow { id, iban, label, balance, available });
    }
    Ok(accounts)
}

async fn home(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    let frame = Frame::of(&headers);
    let Some(user) = bank.sessions.find(&headers).await? else {
        return page(StatusCode::OK, &Login { frame, user: String::new(), wrong: false });
    };
    page(StatusCode::OK, &Home { frame, rows: account_rows(&bank, &user, frame.fr).await? })
}

async fn login(State(bank): State<Bank>, headers: HeaderMap, Form(form): Form<SignIn>) -> Result<Response, Problem> {
    same_site(&headers)?;
    let Some(user) = bank.kit.passwords.find(&form.user, &form.password).await? else {
        let user = form.user.chars().take(64).collect();
        return page(StatusCode::UNAUTHORIZED, &Login { frame: Frame::of(&headers), user, wrong: true });
    };
    bank.sessions.enter(&user, &headers, "/espace").await
}

/// To the identity service.
async fn sign_in(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    bank.identity.begin(&headers).await
}

/// Back from it. A transfer still takes a code of its own.
async fn signed_in(
    State(bank): State<Bank>,
    Query(returned): Query<Returned>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    bank.identity.enter(&bank.sessions, &returned, &headers, "/espace").await
}

async fn logout(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    bank.sessions.leave(&headers, "/espace").await
}

struct EntryRow {
    at: String,
    what: &'static str,
    reference: String,
    amount: String,
    balance: String,
}

#[derive(Template)]
#[template(path = "bank/account.html")]
struct Account {
    frame: Frame,
    row: AccountRow,
    entries: Vec<EntryRow>,
}

type Entry = (i64, String, String, i64, i64);

async fn entries(bank: &Bank, user: &User, id: &str) -> Result<Vec<Entry>, Problem> {
    let rows = sqlx::query_as(
        "SELECT j.at_ms, j.kind, coalesce(o.reference, j.reference), e.amount_cents, e.balance_cents FROM entry e
         JOIN journal j ON j.id = e.journal JOIN account a ON a.id = e.account LEFT JOIN operation o ON o.id = j.reference
         WHERE e.account = $1 AND a.owner = $2 ORDER BY e.id DESC LIMIT $3",
    )
    .bind(id)
    .bind(&user.name)
    .bind(STATEMENT_ENTRIES_MAX)
    .fetch_all(&bank.kit.store.reader)
    .await?;
    Ok(rows)
}

fn what(kind: &str, frame: Frame) -> &'static str {
    match kind {
        "opening" => frame.say("Solde d'ouverture", "Opening balance"),
        "transfer" => frame.say("Virement", "Transfer"),
        "card" | "payment" => frame.say("Carte", "Card"),
        "cash" => frame.say("Retrait d'espèces", "Cash"),
        "instant" | "instant-credit" => frame.say("Virement instantané", "Instant transfer"),
        "correction" => frame.say("Annulation", "Reversal"),
        _ => frame.say("Opération", "Operation"),
    }
}

async fn account(State(bank): State<Bank>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let frame = Frame::of(&headers);
    let row = account_rows(&bank, &user, frame.fr).await?.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Problem::not_found("account"))?;
    let entry = |(at, kind, reference, amount, balance): Entry| EntryRow {
        at: rfc3339(at),
        what: what(&kind, frame),
        reference,
        amount: money::shown(amount, frame.fr),
        balance: money::shown(balance, frame.fr),
    };
    let entries = entries(&bank, &user, &id).await?.into_iter().map(entry).collect();
    page(StatusCode::OK, &Account { frame, row, entries })
}

/// A cell that spreadsheets take as text, whatever it begins with.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

async fn csv(State(bank): State<Bank>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = bank.sessions.require(&headers).await?;
    let mut text = String::from("date,kind,reference,amount_cents,balance_cents,currency\r\n");
    let entries = entries(&bank, &user, &id).await?;
    if entries.is_empty() {
        return Err(Problem::not_found("account"));
    }
    for (at, kind, reference, amount, balance) in entries {
        text.push_str(&format!("{},{kind},{},{amount},{balance},EUR\r\n", rfc3339(at), cell(&reference)));
    }
    let name = HeaderValue::from_static("attachment; filename=\"releve.csv\"");
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    let private = HeaderValue::from_static("private, no-store");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name), (header::CACHE_CONTROL, private)];
    Ok((headers, text).into_response())
}

/// What a person typed into the form of a transfer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    key: String,
    #[serde(default)]
    payer: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    iban: String,
    #[serde(default)]
    amount: String,
    #[serde(default)]
    reference: String,
    #[serde(default)]
    channel: String,
}

#[derive(Template)]
#[template(path = "bank/form.html")]
struct TransferForm {
    frame: Frame,
    rows: Vec<AccountRow>,
    typed: Typed,
    /// Field and words.
    fault: Option<(&'static str, &'static str)>,
}

impl TransferForm {
    fn at(&self, field: &str) -> bool {
        self.fault.is_some_and(|(at, _)| at == field)
    }
}

async fn form(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let frame = Frame::of(&headers);
    // Sent again, the same form asks for one transfer.
    let typed = Typed { key: format!("form-{}", uuid::Uuid::new_v4().simple()), ..Typed::default() };
    page(StatusCode::OK, &TransferForm { frame, rows: account_rows(&bank, &user, frame.fr).await?, typed, fault: None })
}

/// Whether a person wrote a telephone or an e-mail address where an IBAN may stand.
fn is_alias(text: &str) -> bool {
    text.trim_start().starts_with('+') || text.contains('@')
}

/// What is wrong with the form, if anything is: the field, and the words for it.
fn fault(typed: &Typed, found: Option<Found>, frame: Frame) -> Result<Ask, (&'static str, &'static str)> {
    let amount_cents = money::cents(&typed.amount)
        .map_err(|_| ("amount", frame.say("Écrivez un montant, comme 12,50.", "Write an amount, as 12.50.")))?;
    let by_iban = || ids::iban_checked(&typed.iban).map(|iban| Found { iban, bic: None });
    let Found { iban: payee_iban, bic: payee_bic } = match found {
        Some(found) => found,
        None if is_alias(&typed.iban) => {
            return Err(("iban", frame.say("Personne n'a cet alias.", "Nobody has this alias.")));
        }
        None => by_iban().ok_or((
            "iban",
            frame.say("Cet IBAN est faux : vérifiez chaque signe.", "This IBAN is wrong: check each character."),
        ))?,
    };
    if !payee::name_fits(&typed.name) {
        return Err(("name", frame.say("Écrivez le nom du bénéficiaire.", "Write the name of the payee.")));
    }
    Ok(Ask {
        amount_cents,
        payee_iban,
        payer_account: Some(typed.payer.clone()),
        reference: typed.reference.trim().to_owned(),
        payee_name: Some(typed.name.trim().to_owned()),
        payee_bic,
        approve_in: if typed.channel == "app" { Channel::App } else { Channel::Sms },
    })
}

async fn ask(State(bank): State<Bank>, headers: HeaderMap, Form(typed): Form<Typed>) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let frame = Frame::of(&headers);
    if !ids::plain(&typed.key, 8, 64, "-_") {
        return Err(Problem::malformed("the key of the form is no key"));
    }
    let body_hash = hash(format!("{typed:?}").as_bytes());
    let found = if is_alias(&typed.iban) { instant::find(&bank, &user.name, &typed.iban).await? } else { None };
    let asked = match fault(&typed, found, frame) {
        Ok(wanted) => transfers::ask_as(&bank, &user, &wanted, &typed.key, body_hash).await,
        Err(fault) => return again(&bank, &user, frame, typed, fault).await,
    };
    match asked {
        Ok(id) => Ok(Redirect::to(&format!("/espace/virements/{id}")).into_response()),
        Err(problem) if problem.code == "insufficient-funds" => {
            let words = frame.say("Le compte n'a pas assez pour ce virement.", "The account has not enough for this.");
            again(&bank, &user, frame, typed, ("amount", words)).await
        }
        Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => {
            let words = frame.say(
                "Ce virement n'est pas possible : vérifiez le compte, le bénéficiaire et le montant (10 000 € au plus).",
                "This transfer is not possible: check account, payee and amount (at most €10,000).",
            );
            again(&bank, &user, frame, typed, ("iban", words)).await
        }
        Err(problem) => Err(problem),
    }
}

/// The form again, as it was typed, with what is wrong.
async fn again(
    bank: &Bank,
    user: &User,
    frame: Frame,
    mut typed: Typed,
    fault: (&'static str, &'static str),
) -> Result<Response, Problem> {
    // What was refused under the old key may be asked under a new one.
    typed.key = format!("form-{}", uuid::Uuid::new_v4().simple());
    for field in [&mut typed.name, &mut typed.iban, &mut typed.amount, &mut typed.reference] {
        *field = field.chars().take(PAYEE_NAME_CHARS_MAX).collect();
    }
    let rows = account_rows(bank, user, frame.fr).await?;
    page(StatusCode::UNPROCESSABLE_ENTITY, &TransferForm { frame, rows, typed, fault: Some(fault) })
}

#[derive(Template)]
#[template(path = "bank/transfer.html")]
struct Transfer {
    frame: Frame,
    id: String,
    payee_iban: String,
    payee_name: String,
    amount: String,
    amount_cents: i64,
    reference: String,
    status: String,
    verified: &'static str,
    right_name: String,
    wrong: bool,
}

async fn shown(bank: &Bank, user: &User, id: &str, frame: Frame, wrong: bool) -> Result<Transfer, Problem> {
    let row = transfers::of(bank, user, id).await?;
    let (verified, right_name) = match row.payee_name.as_str() {
        "" => (Verified::NotApplicable, String::new()),
        name => match payee::of(bank, &row.payee_iban, name).await {
            Verified::Close(right) => (Verified::Close(right.clone()), right),
            other => (other, String::new()),
        },
    };
    Ok(Transfer {
        frame,
        id: id.to_owned(),
        amount: money::shown(row.amount_cents, frame.fr),
        amount_cents: row.amount_cents,
        payee_iban: row.payee_iban,
        payee_name: row.payee_name,
        reference: row.reference,
        status: row.status,
        verified: verified.code(),
        right_name,
        wrong,
    })
}

async fn transfer(State(bank): State<Bank>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let shown = shown(&bank, &user, &id, Frame::of(&headers), false).await?;
    let mut response = page(StatusCode::OK, &shown)?;
    if shown.status == "sent" {
        response.headers_mut().insert("refresh", HeaderValue::from_static("2"));
    }
    Ok(response)
}

async fn confirm(
    State(bank): State<Bank>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Confirm>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let frame = Frame::of(&headers);
    // Amount and payee are those that the page showed: the code is bound to them.
    match transfers::confirm_as(&bank, &user, &id, &form).await {
        Ok(_) => Ok(Redirect::to(&format!("/espace/virements/{id}")).into_response()),
        Err(problem) if problem.code == "already-booked" => {
            Ok(Redirect::to(&format!("/espace/virements/{id}")).into_response())
        }
        Err(problem) if matches!(problem.code, "wrong-code" | "void") => {
            page(problem.status, &shown(&bank, &user, &id, frame, true).await?)
        }
        Err(problem) => Err(problem),
    }
}
