//! Pages for people, made on the server and usable without JavaScript: documents, deposit, sharing, the trail.

use super::keep::{self, CARDS, Card};
use super::links::{self, Terms};
use super::text::action_words;
use super::{Vault, documents, trail};
use crate::bounds::DOCUMENT_BYTES_MAX;
use crate::gate::NotTheOperation;
use crate::identity::clients::RETURN_PATH;
use crate::kit::{Kit, SignIn};
use crate::oidc::Returned;
use crate::once;
use crate::people::{Frame, errors_as_pages, page, same_site};
use crate::problem::Problem;
use crate::store::{now_ms, rfc3339};
use askama::Template;
use axum::Router;
use axum::extract::{Form, Multipart, Path, Query, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

/// Bytes of a deposit form besides the document.
const FORM_BYTES_MORE: usize = 4096;

pub(super) fn routes(kit: &Kit) -> Router<Vault> {
    let pages = from_fn(|request: Request, next: Next| errors_as_pages("/coffre", request, next));
    Router::new()
        .route("/coffre", kit.op("page", get(home)))
        .route("/coffre/connexion", kit.op("page", post(login)))
        .route("/coffre/identite", kit.op("page", get(sign_in)))
        .route(RETURN_PATH, kit.op("page", get(signed_in)))
        .route("/coffre/deconnexion", kit.op("page", post(logout)))
        .route("/coffre/depot", kit.op_with_body("page", DOCUMENT_BYTES_MAX + FORM_BYTES_MORE, post(deposit)))
        .route("/coffre/trace", kit.op("page", get(trail_page)))
        .route("/coffre/{id}", kit.op("page", get(document)))
        .route("/coffre/{id}/partage", kit.op("page", post(share)))
        .route("/coffre/{id}/effacer", kit.op("page", post(erase)))
        .route("/coffre/liens/{id}/fin", kit.op("page", post(end_link)))
        .layer(pages)
}

#[derive(Template)]
#[template(path = "vault/login.html")]
struct Login {
    frame: Frame,
    user: String,
    wrong: bool,
}

struct Row {
    id: String,
    name: String,
    path: String,
    size_bytes: i64,
    sha256: String,
    at: String,
}

#[derive(Template)]
#[template(path = "vault/home.html")]
struct Home {
    frame: Frame,
    key: String,
    rows: Vec<Row>,
}

async fn home(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    let frame = Frame::of(&headers);
    let Some(user) = vault.sessions.find(&headers).await? else {
        return page(StatusCode::OK, &Login { frame, user: String::new(), wrong: false });
    };
    let row = |card: Card| Row {
        id: card.id,
        name: card.name,
        path: card.path,
        size_bytes: card.size_bytes,
        sha256: card.sha256,
        at: rfc3339(card.received_ms),
    };
    let rows = documents::cards(&vault, &user.name).await?.into_iter().map(row).collect();
    // Sent again, the same form deposits once.
    page(StatusCode::OK, &Home { frame, key: format!("form-{}", uuid::Uuid::new_v4().simple()), rows })
}

async fn login(State(vault): State<Vault>, headers: HeaderMap, Form(form): Form<SignIn>) -> Result<Response, Problem> {
    same_site(&headers)?;
    let Some(user) = vault.kit.passwords.find(&form.user, &form.password).await? else {
        let user = form.user.chars().take(64).collect();
        return page(StatusCode::UNAUTHORIZED, &Login { frame: Frame::of(&headers), user, wrong: true });
    };
    vault.sessions.enter(&user, &headers, "/coffre").await
}

/// To the identity service.
async fn sign_in(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    vault.identity.begin(&headers).await
}

/// Back from it.
async fn signed_in(
    State(vault): State<Vault>,
    Query(returned): Query<Returned>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    vault.identity.enter(&vault.sessions, &returned, &headers, "/coffre").await
}

async fn logout(State(vault): State<Vault>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    vault.sessions.leave(&headers, "/coffre").await
}

async fn deposit(State(vault): State<Vault>, headers: HeaderMap, mut form: Multipart) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = vault.user(&headers).await?;
    let broken = |_| Problem::malformed("the form can't be read");
    let (mut key, mut file) = (None, None);
    // Two parts are known; the body is bounded as a whole.
    while let Some(part) = form.next_field().await.map_err(broken)? {
        match part.name() {
            Some("key") => key = Some(part.text().await.map_err(broken)?),
            Some("file") => {
                let name = part.file_name().unwrap_or("").to_owned();
                file = Some((name, part.bytes().await.map_err(broken)?));
            }
            _ => return Err(Problem::malformed("the form has a part that is not known")),
        }
    }
    let (Some(key), Some((name, content))) = (key, file) else {
        return Err(Problem::malformed("the form lacks the file or its key"));
    };
    let mut sent = HeaderMap::new();
    let value = http::HeaderValue::from_str(&key).map_err(|_| Problem::malformed("the key of the form is no key"))?;
    sent.insert("idempotency-key", value);
    let key = once::key(&sent)?;
    if !keep::name_fits(&name) {
        return Err(Problem::malformed("this file has a name that no document may have"));
    }
    documents::deposit_as(&vault, &user.name, &name, &content, key).await?;
    Ok(Redirect::to("/coffre").into_response())
}

struct VersionRow {
    number: i64,
    at: String,
}

struct LinkRow {
    id: String,
    uses: i64,
    uses_max: i64,
    until: String,
}

#[derive(Template)]
#[template(path = "vault/document.html")]
struct Document {
    frame: Frame,
    card: Card,
    link: Option<String>,
    versions: Vec<VersionRow>,
    links: Vec<LinkRow>,
}

async fn card(vault: &Vault, owner: &str, id: &str) -> Result<Card, Problem> {
    let card: Option<Card> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{CARDS} AND d.id = $2")))
        .bind(owner)
        .bind(id)
        .fetch_optional(&vault.kit.store.reader)
        .await?;
    card.ok_or_else(|| Problem::not_found("document"))
}

async fn document_page(
    vault: &Vault,
    headers: &HeaderMap,
    owner: &str,
    id: &str,
    link: Option<String>,
) -> Result<Response, Problem> {
    let card = card(vault, owner, id).await?;
    let versions: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT number, received_ms FROM version WHERE document = $1 AND shredded_ms IS NULL ORDER BY number DESC",
    )
    .bind(id)
    .fetch_all(&vault.kit.store.reader)
    .await?;
    let links: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT id, uses, uses_max, expires_ms FROM link
         WHERE document = $1 AND ended_ms IS NULL AND expires_ms > $2 AND uses < uses_max ORDER BY made_ms, id",
    )
    .bind(id)
    .bind(now_ms())
    .fetch_all(&vault.kit.store.reader)
    .await?;
    let versions = versions.into_iter().map(|(number, at)| VersionRow { number, at: rfc3339(at) }).collect();
    let row = |(id, uses, uses_max, until)| LinkRow { id, uses, uses_max, until: rfc3339(until) };
    let links = links.into_iter().map(row).collect();
    page(StatusCode::OK, &Document { frame: Frame::of(headers), card, link, versions, links })
}

async fn document(State(vault): State<Vault>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    document_page(&vault, &headers, &user.name, &id, None).await
}

#[derive(Deserialize)]
struct ShareForm {
    days: i64,
    uses: i64,
}

async fn share(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<ShareForm>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = vault.user(&headers).await?;
    let terms = Terms { expires_in_s: form.days.saturating_mul(24 * 3600), uses_max: form.uses };
    let (_, token) = links::make_link(&vault, &user.name, &id, terms).await?;
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("vault.localhost");
    let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let link = format!("{}://{host}/partage/{token}", if tls { "https" } else { "http" });
    document_page(&vault, &headers, &user.name, &id, Some(link)).await
}

#[derive(Deserialize)]
struct Sure {
    sure: Option<String>,
}

async fn erase(
    State(vault): State<Vault>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Sure>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = vault.user(&headers).await?;
    if form.sure.as_deref() != Some("yes") {
        return Err(Problem::invalid("erasing is for ever: tick the box that says so"));
    }
    let mut tx = vault.kit.store.begin().await?;
    keep::erase(&mut tx, &user.name, &id, now_ms()).await?;
    tx.commit().await?;
    Ok(Redirect::to("/coffre").into_response())
}

async fn end_link(State(vault): State<Vault>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = vault.user(&headers).await?;
    links::end_link(&vault, &user.name, &id).await?;
    Ok(Redirect::to("/coffre").into_response())
}

struct TrailRow {
    number: i64,
    at: String,
    what: &'static str,
    actor: String,
    document: String,
    detail: String,
    hash: String,
}

#[derive(Template)]
#[template(path = "vault/trail.html")]
struct TrailPage {
    frame: Frame,
    rows: Vec<TrailRow>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn trail_page(
    State(vault): State<Vault>,
    Query(Before { before }): Query<Before>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = vault.user(&headers).await?;
    let frame = Frame::of(&headers);
    let entries = trail::page(&vault.kit.store, &user.name, before.unwrap_or(i64::MAX)).await?;
    let next = entries.last().map(|entry| entry.number).filter(|number| *number > 1);
    let row = |entry: trail::Entry| TrailRow {
        number: entry.number,
        at: rfc3339(entry.at_ms),
        what: action_words(&entry.action, frame.fr),
        actor: entry.actor,
        document: entry.document,
        detail: entry.detail,
        hash: entry.hash,
    };
    page(StatusCode::OK, &TrailPage { frame, rows: entries.into_iter().map(row).collect(), next })
}

#[derive(Template)]
#[template(path = "vault/shared.html")]
struct Shared {
    frame: Frame,
    card: Card,
    token: String,
}

/// What a link shares, before it is used: to look does not use it up.
pub(super) async fn shared(State(vault): State<Vault>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let looked = async {
        let (_, owner, id) = links::look(&vault, &token).await?;
        let shown = Shared { frame: Frame::of(&headers), card: card(&vault, &owner, &id).await?, token: token.clone() };
        page(StatusCode::OK, &shown)
    };
    let mut response = looked.await.unwrap_or_else(IntoResponse::into_response);
    // The operation is the document, not the page before it.
    response.extensions_mut().insert(NotTheOperation);
    response
}
