//! The public website: pages made on the server, usable without JavaScript.
//!
//! It keeps what the parcel service last told of each item in its own store, so that tracking is answered, with its age,
//! when that service is gone.

mod live;
pub(crate) mod pages;
mod text;

use crate::bounds::{PARCELS_SEEDED, SEARCH_CHARS_MAX, SEARCH_RESULTS_MAX};
use crate::credentials;
use crate::delivery;
use crate::estate_key::EstateKey;
use crate::gate::NotTheOperation;
use crate::identity::clients::RETURN_PATH;
use crate::ids::{self, S10Error};
use crate::kit::{Kit, SignIn};
use crate::oidc::{self, Relying, Returned};
use crate::parcels::tracking::{self, label};
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, rfc3339};
use crate::verify::{Invariant, zero};
use askama::Template;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use live::{Freshness, Tracking};
use pages::{CSS, errors_as_pages, etag, has, language, page};
use serde::Deserialize;
use text::{TOPICS, Text};

pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE step (parcel TEXT NOT NULL, owner TEXT NOT NULL, code TEXT NOT NULL, site TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX step_parcel ON step (parcel, at_ms);
CREATE INDEX step_owner ON step (owner);
CREATE TABLE topic (lang TEXT NOT NULL, title TEXT NOT NULL, words TEXT NOT NULL, folded TEXT NOT NULL) STRICT;
", live::SCHEMA, oidc::SCHEMA];
const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b2f82"/><path d="M6 22V12a10 10 0 0 1 20 0v10z" fill="#ffcb1f"/><path d="M10 22v-9a6 6 0 0 1 12 0v9z" fill="#071d52"/><rect x="4" y="22" width="24" height="4" rx="1.5" fill="#fff"/></svg>"##;

pub(crate) const INVARIANTS: &[Invariant] = &[zero(
    "no parcel belongs to two people",
    "SELECT count(*) FROM (SELECT 1 FROM step GROUP BY parcel HAVING count(DISTINCT owner) > 1) s",
)];

#[derive(Clone)]
struct Portal {
    kit: Kit,
    sessions: Sessions,
    tracking: Tracking,
    identity: Relying,
    /// From which delivery codes are drawn.
    key: Option<EstateKey>,
}

/// Test data: steps of items, help pages, post offices.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let today = seed::today_ms();
    let steps: Vec<_> = (0..PARCELS_SEEDED)
        .flat_map(|n| {
            let row = move |e: seed::Event| (ids::parcel(n), ids::user(ids::parcel_owner(n)), e.code, e.site, e.at_ms);
            seed::parcel_events(n, today).into_iter().map(row)
        })
        .collect();
    let sql = "INSERT INTO step SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT) FROM json_each($1)";
    seed::insert(tx, sql, &steps).await?;
    let mut topics = Vec::new();
    for [titre, texte, title, words] in TOPICS {
        topics.push(("fr", titre.to_owned(), texte.to_owned()));
        topics.push(("en", title.to_owned(), words.to_owned()));
    }
    for (town, postcode) in seed::TOWNS {
        topics.push((
            "fr",
            format!("Bureau de poste {town}"),
            format!("{postcode}. Ouvert du lundi au samedi, de 9 h à 18 h."),
        ));
        topics.push((
            "en",
            format!("Post office {town}"),
            format!("{postcode}. Open Monday to Saturday, 9 am to 6 pm."),
        ));
    }
    let folded = |(lang, title, words)| (lang, fold(&format!("{title} {words}")), title, words);
    let topics: Vec<(&str, String, String, String)> = topics.into_iter().map(folded).collect();
    seed::insert(tx, "INSERT INTO topic SELECT value->>0, value->>2, value->>3, value->>1 FROM json_each($1)", &topics)
        .await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let state = Portal {
        kit: kit.clone(),
        sessions: kit.sessions(Life::DAY),
        tracking: Tracking::new(&kit.peers),
        identity: Relying::new(kit),
        key: EstateKey::load_or_make(&kit.store.dir).ok(),
    };
    let routes = Router::new()
        .route("/", kit.op("home", get(home)))
        .route("/suivi", kit.op("track", get(track)))
        .route("/recherche", kit.op("search", get(search)))
        .route("/connexion", kit.op("login", get(login_form).post(login)))
        .route("/connexion/identite", kit.op("sign-in", get(sign_in)))
        .route(RETURN_PATH, kit.op("signed-in", get(signed_in)))
        .route("/compte", kit.op("account", get(account)))
        .route("/deconnexion", kit.op("logout", post(logout)))
        .route("/favicon.svg", kit.other(get(icon)));
    kit.finish(routes.with_state(state)).layer(middleware::from_fn(errors_as_pages))
}

/// Small letters without accents, so that `colis à récupérer` is found by `recuperer`.
fn fold(text: &str) -> String {
    let plain = |c: char| match c {
        'à' | 'â' | 'ä' => 'a',
        'ç' => 'c',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'î' | 'ï' => 'i',
        'ô' | 'ö' => 'o',
        'ù' | 'û' | 'ü' => 'u',
        '’' => '\'',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).map(plain).collect()
}

/// The port that the client used, as `:8443`, for links to the other services under `.localhost`.
fn port(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    port.parse::<u16>().map(|port| format!(":{port}")).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "portal/home.html")]
struct Home {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    port: String,
}

async fn home(headers: HeaderMap) -> Result<Response, Problem> {
    let home = Home { t: language(&headers), css: CSS, here: "home", port: port(&headers) };
    let text = home.render().map_err(|error| Problem::internal(&error))?;
    let tag = etag(text.as_bytes());
    let tagged = [(header::ETAG, HeaderValue::from_str(&tag).map_err(|error| Problem::internal(&error))?)];
    if has(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, tagged).into_response());
    }
    Ok((tagged, page(StatusCode::OK, &home, "public, max-age=60, stale-if-error=86400")?).into_response())
}

async fn icon(headers: HeaderMap) -> Response {
    let tag = etag(ICON.as_bytes());
    let fields = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "public, max-age=86400".to_owned())];
    if has(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

/// One step of an item, in words.
struct Step {
    label: &'static str,
    site: String,
    iso: String,
    at: String,
}

impl Step {
    fn new(t: &Text, code: &str, site: String, at_ms: i64) -> Self {
        let iso = rfc3339(at_ms);
        let at = day_and_hour(t, at_ms);
        Self { label: label(code, t.lang == "fr").unwrap_or("—"), site, iso, at }
    }
}

fn day_and_hour(t: &Text, at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let shape = if t.lang == "fr" { "%d/%m/%Y à %H:%M (UTC)" } else { "%Y-%m-%d at %H:%M (UTC)" };
    time.strftime(shape).to_string()
}

#[derive(Template)]
#[template(path = "portal/track.html")]
struct Track {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    id: String,
    fault: Option<(&'static str, &'static str)>,
    steps: Vec<Step>,
    /// Whether the parcel service can't be asked, so that there may be news that are not shown.
    old: bool,
    known_at: String,
}

#[derive(Deserialize)]
struct TrackQuery {
    #[serde(default)]
    id: String,
}

async fn track(
    State(portal): State<Portal>,
    Query(query): Query<TrackQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let t = language(&headers);
    let mut answer = Track {
        t,
        css: CSS,
        here: "track",
        id: String::new(),
        fault: None,
        steps: Vec::new(),
        old: false,
        known_at: String::new(),
    };
    if query.id.is_empty() {
        return page(StatusCode::OK, &answer, "public, max-age=60, stale-if-error=86400");
    }
    let id = match ids::s10(&query.id) {
        Ok(id) => id,
        Err(error) => {
            answer.fault = Some(if error == S10Error::Shape { t.parcel_shape } else { t.parcel_check });
            answer.id = query.id.chars().take(40).collect();
            return page(StatusCode::BAD_REQUEST, &answer, "no-store");
        }
    };
    let freshness = portal.refresh(&id).await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT code, site, at_ms FROM step WHERE parcel = $1 ORDER BY at_ms DESC, code LIMIT 64")
            .bind(&id)
            .fetch_all(&portal.kit.store.reader)
            .await?;
    answer.id = id;
    let Some(newest) = rows.first() else {
        // Without the parcel service, an item that is not kept here may well exist.
        let (fault, status) = match freshness {
            Freshness::Told { .. } | Freshness::Unknown => (t.parcel_unknown, StatusCode::NOT_FOUND),
            Freshness::Kept { .. } => (t.parcel_unasked, StatusCode::SERVICE_UNAVAILABLE),
        };
        answer.fault = Some(fault);
        return page(status, &answer, "no-store");
    };
    answer.old = matches!(freshness, Freshness::Kept { .. });
    answer.known_at = day_and_hour(
        t,
        match freshness {
            Freshness::Told { at_ms } | Freshness::Kept { at_ms: Some(at_ms) } => at_ms,
            // Never asked for, or no longer known there: as old as its last step.
            Freshness::Kept { at_ms: None } | Freshness::Unknown => newest.2,
        },
    );
    answer.steps = rows.into_iter().map(|(code, site, at)| Step::new(t, &code, site, at)).collect();
    page(StatusCode::OK, &answer, "public, max-age=30, stale-if-error=86400")
}

#[derive(Template)]
#[template(path = "portal/search.html")]
struct Search {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    q: String,
    found: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct SearchQuery {
    #[serde(default)]
    q: String,
}

async fn search(
    State(portal): State<Portal>,
    Query(query): Query<SearchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let t = language(&headers);
    let q = query.q.trim().to_owned();
    if q.chars().count() > SEARCH_CHARS_MAX {
        let (title, words) = t.search_long;
        let found = vec![(title.to_owned(), words.to_owned())];
        let q = q.chars().take(SEARCH_CHARS_MAX).collect();
        return page(StatusCode::BAD_REQUEST, &Search { t, css: CSS, here: "search", q, found }, "no-store");
    }
    let mut found = Vec::new();
    if !q.is_empty() {
        // instr and not LIKE: what people type has no wildcards.
        found = sqlx::query_as(
            "SELECT title, words FROM topic WHERE lang = $1 AND instr(folded, $2) > 0 ORDER BY title LIMIT $3",
        )
        .bind(t.lang)
        .bind(fold(&q))
        .bind(SEARCH_RESULTS_MAX)
        .fetch_all(&portal.kit.store.reader)
        .await?;
    }
    page(StatusCode::OK, &Search { t, css: CSS, here: "search", q, found }, "public, max-age=30")
}

#[derive(Template)]
#[template(path = "portal/login.html")]
struct Login {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    user: String,
    wrong: bool,
}

async fn login_form(headers: HeaderMap) -> Result<Response, Problem> {
    let form = Login { t: language(&headers), css: CSS, here: "account", user: String::new(), wrong: false };
    page(StatusCode::OK, &form, "no-store")
}

/// Refuses forms that another site had a browser send.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", "this form was sent by another site"));
    }
    Ok(())
}

async fn login(
    State(portal): State<Portal>,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let Some(user) = portal.kit.passwords.find(&form.user, &form.password).await? else {
        let user = form.user.chars().take(64).collect();
        let again = Login { t: language(&headers), css: CSS, here: "account", user, wrong: true };
        return page(StatusCode::UNAUTHORIZED, &again, "no-store");
    };
    portal.sessions.enter(&user, &headers, "/compte").await
}

/// `GET /connexion/identite`: to the identity service.
async fn sign_in(State(portal): State<Portal>, headers: HeaderMap) -> Result<Response, Problem> {
    portal.identity.begin(&headers).await
}

/// Back from the identity service.
async fn signed_in(
    State(portal): State<Portal>,
    Query(returned): Query<Returned>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    portal.identity.enter(&portal.sessions, &returned, &headers, "/compte").await
}

#[derive(Template)]
#[template(path = "portal/account.html")]
struct Account {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    name: String,
    /// Identifier, last step, and the code for the carrier while it is on its way.
    parcels: Vec<(String, Step, Option<String>)>,
    /// What the identity service told, in words; empty for who signed in here.
    told: Vec<String>,
}

async fn account(State(portal): State<Portal>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(user) = portal.sessions.find(&headers).await? else {
        let mut response = Redirect::to("/connexion").into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(NotTheOperation);
        return Ok(response);
    };
    let t = language(&headers);
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT parcel, code, site, at_ms FROM step s WHERE owner = $1 AND at_ms =
         (SELECT max(at_ms) FROM step l WHERE l.parcel = s.parcel AND l.owner = s.owner) ORDER BY parcel LIMIT 50",
    )
    .bind(&user.name)
    .fetch_all(&portal.kit.store.reader)
    .await?;
    let parcels = rows
        .into_iter()
        .map(|(id, code, site, at)| {
            let told = (tracking::step(&code) < 5).then(|| Some(delivery::code(portal.key.as_ref()?, &id))).flatten();
            (id, Step::new(t, &code, site, at), told)
        })
        .collect();
    let (given, family) = seed::name(user.n);
    let told = portal.identity.told(&user).await?.unwrap_or_default();
    let told = ["given_name", "family_name", "birthdate", "email"].map(|claim| told[claim].as_str().map(str::to_owned));
    let told = told.into_iter().flatten().collect();
    let account = Account { t, css: CSS, here: "account", name: format!("{given} {family}"), parcels, told };
    page(StatusCode::OK, &account, "private, no-store")
}

async fn logout(State(portal): State<Portal>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    portal.sessions.leave(&headers, "/").await
}
