//! Pages for people: signing in for a service, one's own page, one-time passwords. Made on the server, without JavaScript.

use super::authorize::{Parameters, Wanted, person, with_parameters};
use super::{Identity, keys, passkeys, totp};
use crate::credentials::User;
use crate::gate::NotTheOperation;
use crate::kit::Kit;
use crate::people::{Frame, errors_as_pages, page, same_site};
use crate::people_claims;
use crate::portal::pages::CSS;
use crate::problem::Problem;
use crate::store::rfc3339;
use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

pub(super) fn routes(kit: &Kit) -> Router<Identity> {
    let pages = from_fn(|request: Request, next: Next| errors_as_pages("/moi", request, next));
    let sign_in = get(super::authorize::ask).post(super::authorize::sign_in);
    Router::new()
        .route("/authorize", kit.op("authorize", sign_in))
        .route("/logout", kit.op("logout", get(logout).post(logout_now)))
        .route("/moi", kit.op("page", get(me)))
        .route("/moi/connexion", kit.op("page", post(me_sign_in)))
        .route("/moi/totp", kit.op("page", post(begin)))
        .route("/moi/totp/confirmation", kit.op("page", post(confirm)))
        .route("/moi/totp/fin", kit.op("page", post(end)))
        .route("/moi/cles", kit.op("page", post(make_passkey)))
        .route("/moi/cles/fin", kit.op("page", post(end_passkey)))
        .layer(pages)
}

/// The form of each step of a sign-in.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInForm {
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) password: String,
    /// Proof that the first step was taken.
    #[serde(default)]
    pub(super) half: String,
    #[serde(default)]
    pub(super) code: String,
    /// What a passkey answered, as JSON, and to what.
    #[serde(default)]
    pub(super) ceremony: String,
    #[serde(default)]
    pub(super) credential: String,
}

/// What the page of a sign-in asks for.
pub(super) struct Step {
    user: String,
    half: String,
    wrong: bool,
    wrong_passkey: bool,
}

impl Step {
    pub(super) fn password(user: &str) -> Self {
        Self { user: user.to_owned(), half: String::new(), wrong: false, wrong_passkey: false }
    }

    pub(super) fn wrong_password(user: &str) -> Self {
        Self { wrong: true, ..Self::password(user) }
    }

    pub(super) fn wrong_passkey() -> Self {
        Self { wrong_passkey: true, ..Self::password("") }
    }

    pub(super) fn code(half: &str, wrong: bool) -> Self {
        Self { half: half.to_owned(), wrong, ..Self::password("") }
    }
}

#[derive(Template)]
#[template(path = "identity/sign_in.html")]
struct SignIn {
    frame: Frame,
    step: Step,
    action: String,
    client: &'static str,
}

/// The page of a sign-in for a client.
pub(super) fn sign_in(
    frame: Frame,
    asked: &Parameters,
    wanted: &Wanted,
    step: Step,
    status: StatusCode,
) -> Result<Response, Problem> {
    // The same request again: nothing is kept for people who never sign in.
    let query = serde_json::to_value(asked).map_err(|error| Problem::internal(&error))?;
    let fields: Vec<(&str, &str)> = query
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    let action = with_parameters("/authorize", &fields);
    let mut response = page(status, &SignIn { frame, step, action, client: wanted.client.id })?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy(&wanted.redirect_uri)?);
    response.extensions_mut().insert(NotTheOperation);
    Ok(response)
}

/// As all pages', but that the form's answer may lead to the client: browsers look at where redirections go.
fn policy(redirect_uri: &str) -> Result<HeaderValue, Problem> {
    let style = STANDARD.encode(crate::once::hash(CSS.as_bytes()));
    let end = redirect_uri.find("://").map_or(redirect_uri.find(':').map(|at| at + 1), |at| {
        redirect_uri[at + 3..].find('/').map(|slash| at + 3 + slash)
    });
    let origin = redirect_uri.get(..end.unwrap_or(redirect_uri.len())).unwrap_or_default();
    let text = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'self'; connect-src 'self'; form-action 'self' {origin}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).map_err(|error| Problem::internal(&error))
}

struct PasskeyRow {
    id: String,
    made: String,
    used: Option<String>,
}

#[derive(Template)]
#[template(path = "identity/me.html")]
struct Me {
    frame: Frame,
    claims: Vec<(&'static str, String)>,
    totp: bool,
    passkeys: Vec<PasskeyRow>,
    /// A secret that was just made.
    secret: Option<String>,
    /// Codes for the day on which the telephone is lost.
    recovery: Vec<String>,
    wrong: bool,
}

/// Who is signed in; else the page on which to do so.
async fn inside(identity: &Identity, headers: &HeaderMap) -> Result<Result<User, Response>, Problem> {
    if let Some(user) = person(identity, headers).await? {
        return Ok(Ok(user));
    }
    let frame = Frame::of(headers);
    let form = SignIn { frame, step: Step::password(""), action: "/moi/connexion".to_owned(), client: "" };
    let mut response = page(StatusCode::OK, &form)?;
    response.extensions_mut().insert(NotTheOperation);
    Ok(Err(response))
}

async fn my_page(identity: &Identity, frame: Frame, user: &User) -> Result<Me, Problem> {
    let told = people_claims::of(&user.name, "profile email");
    let name = |claim: &str| match claim {
        "given_name" => frame.say("Prénom", "Given name"),
        "family_name" => frame.say("Nom de naissance", "Family name at birth"),
        "birthdate" => frame.say("Date de naissance", "Date of birth"),
        "birthplace" => frame.say("Commune de naissance (code INSEE)", "Place of birth (INSEE code)"),
        "birthcountry" => frame.say("Pays de naissance (code INSEE)", "Country of birth (INSEE code)"),
        "email" => frame.say("Adresse électronique", "E-mail address"),
        _ => "",
    };
    let claims = ["given_name", "family_name", "birthdate", "birthplace", "birthcountry", "email"];
    let claims = claims.map(|claim| (name(claim), told[claim].as_str().unwrap_or_default().to_owned())).to_vec();
    let totp = totp::is_on(identity, &user.name).await?;
    let row =
        |card: passkeys::Card| PasskeyRow { id: card.id, made: rfc3339(card.made_ms), used: card.used_ms.map(rfc3339) };
    let passkeys = passkeys::cards(identity, &user.name).await?.into_iter().map(row).collect();
    Ok(Me { frame, claims, totp, passkeys, secret: None, recovery: Vec::new(), wrong: false })
}

async fn me(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    match inside(&identity, &headers).await? {
        Ok(user) => page(StatusCode::OK, &my_page(&identity, Frame::of(&headers), &user).await?),
        Err(sign_in) => Ok(sign_in),
    }
}

async fn me_sign_in(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(form): Form<SignInForm>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let (user, amr) = match totp::steps(&identity, &form).await? {
        totp::Steps::Done(user, amr) => (user, amr),
        totp::Steps::Again(step, status) => {
            let frame = Frame::of(&headers);
            return page(status, &SignIn { frame, step, action: "/moi/connexion".to_owned(), client: "" });
        }
    };
    let (token, _) = identity.open_as(&user, amr).await?;
    let cookie = identity.sessions.set_cookie(&token, &headers)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/moi")).into_response())
}

async fn begin(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match inside(&identity, &headers).await? {
        Ok(user) => user,
        Err(sign_in) => return Ok(sign_in),
    };
    let secret = totp::begin(&identity, &user.name).await?;
    let me = my_page(&identity, Frame::of(&headers), &user).await?;
    page(StatusCode::OK, &Me { secret: Some(secret), ..me })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

async fn confirm(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(form): Form<Code>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match inside(&identity, &headers).await? {
        Ok(user) => user,
        Err(sign_in) => return Ok(sign_in),
    };
    let frame = Frame::of(&headers);
    let session = identity.sessions.token(&headers).unwrap_or_default();
    match totp::confirm(&identity, &user.name, &form.code, session).await? {
        Some(recovery) => {
            let me = my_page(&identity, frame, &user).await?;
            page(StatusCode::OK, &Me { recovery, ..me })
        }
        None => {
            let me = my_page(&identity, frame, &user).await?;
            page(StatusCode::UNPROCESSABLE_ENTITY, &Me { wrong: true, ..me })
        }
    }
}

async fn end(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(form): Form<Code>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match inside(&identity, &headers).await? {
        Ok(user) => user,
        Err(sign_in) => return Ok(sign_in),
    };
    // Whoever finds an open browser can't take the second step away.
    if !totp::check(&identity, &user.name, &form.code).await? {
        let me = my_page(&identity, Frame::of(&headers), &user).await?;
        return page(StatusCode::UNPROCESSABLE_ENTITY, &Me { wrong: true, ..me });
    }
    totp::end(&identity, &user.name).await?;
    Ok(Redirect::to("/moi").into_response())
}

/// The form that the script sends at the end of a ceremony.
async fn make_passkey(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(shown): Form<passkeys::Shown>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = passkeys::just_signed_in(&identity, &headers).await?;
    passkeys::register(&identity, &user, &shown).await?;
    Ok(Redirect::to("/moi").into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: String,
}

async fn end_passkey(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(which): Form<Which>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = passkeys::just_signed_in(&identity, &headers).await?;
    passkeys::end(&identity, &user, &which.id).await?;
    Ok(Redirect::to("/moi").into_response())
}

/// The browser's part of passkeys.
pub(super) async fn script() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (kind, include_str!("../../templates/identity/identite.js")).into_response()
}

#[derive(Default, Deserialize)]
struct Logout {
    id_token_hint: Option<String>,
    post_logout_redirect_uri: Option<String>,
    client_id: Option<String>,
    state: Option<String>,
}

#[derive(Deserialize)]
struct Hint {
    sub: String,
    aud: String,
}

#[derive(Template)]
#[template(path = "identity/logout.html")]
struct LogoutPage {
    frame: Frame,
    done: bool,
}

/// `GET /logout` (OpenID Connect RP-Initiated Logout 1.0): at once for who shows a token of the person that is signed in; else
/// the person is asked.
async fn logout(
    State(identity): State<Identity>,
    Query(asked): Query<Logout>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hint = match &asked.id_token_hint {
        Some(token) => keys::read::<Hint>(&identity.kit.store, "JWT", token, true).await?,
        None => None,
    };
    let here = person(&identity, &headers).await?;
    let sure = match (&hint, &here) {
        (Some(hint), Some(user)) => hint.sub == user.name,
        (_, None) => true,
        (None, Some(_)) => false,
    };
    if !sure {
        return page(StatusCode::OK, &LogoutPage { frame: Frame::of(&headers), done: false });
    }
    identity.sessions.close(&headers).await?;
    let client = hint.as_ref().map(|hint| hint.aud.as_str()).or(asked.client_id.as_deref());
    let client = client.and_then(super::clients::find);
    let cookie = identity.sessions.set_cookie("", &headers)?;
    let mut response = match (client, &asked.post_logout_redirect_uri) {
        (Some(client), Some(uri)) if hint.is_some() && client.allows_end(uri) => {
            let state = asked.state.as_deref().filter(|state| state.len() <= 1024);
            let location = state.map_or(uri.clone(), |state| with_parameters(uri, &[("state", state)]));
            Redirect::to(&location).into_response()
        }
        _ => page(StatusCode::OK, &LogoutPage { frame: Frame::of(&headers), done: true })?,
    };
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

async fn logout_now(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    same_site(&headers)?;
    identity.sessions.close(&headers).await?;
    let cookie = identity.sessions.set_cookie("", &headers)?;
    let mut response = page(StatusCode::OK, &LogoutPage { frame: Frame::of(&headers), done: true })?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}
