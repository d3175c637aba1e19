//! The authorisation endpoint: what a client wants is checked, the person signs in, a code goes back.
//!
//! What is wrong about the client itself is told to the person, and nothing is sent anywhere; all else goes back to the client
//! (RFC 6749, 4.1.2.1), with the issuer's name (RFC 9207). Requests may be pushed beforehand (RFC 9126). PKCE with S256 is
//! required of everybody.

use super::clients::{self, Client};
use super::oauth::{self, Refusal};
use super::pages::{self, SignInForm};
use super::tokens::{self, SignedIn};
use super::{Identity, issuer, totp};
use crate::bounds::{PARAMETER_BYTES_MAX, PUSHED_LIFE_MS, PUSHED_MAX, TOKENS_PURGE_MAX};
use crate::credentials::User;
use crate::gate::NotTheOperation;
use crate::once::hash;
use crate::people::{Frame, same_site};
use crate::problem::Problem;
use crate::store::now_ms;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const SCHEMA: &str = "
CREATE TABLE pushed (hash BLOB PRIMARY KEY, client TEXT NOT NULL, parameters TEXT NOT NULL, expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX pushed_age ON pushed (expires_ms);
";

const PUSHED_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// An authorisation request as it comes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Parameters {
    response_type: Option<String>,
    client_id: Option<String>,
    redirect_uri: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    prompt: Option<String>,
    max_age: Option<String>,
    response_mode: Option<String>,
    request: Option<String>,
    request_uri: Option<String>,
    #[serde(default, skip_serializing)]
    client_secret: Option<String>,
}

/// A request that was found right.
pub(super) struct Wanted {
    pub(super) client: Client,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    pub(super) challenge: String,
    state: Option<String>,
    prompt: String,
    max_age_s: Option<i64>,
}

/// Why a request is not right, and who is told.
enum Fault {
    /// The person: it can't be said where an answer would go.
    Person(&'static str),
    /// The client, by way of the browser.
    Client { redirect_uri: String, state: Option<String>, error: &'static str, words: &'static str },
}

/// Checks a request whose parameters are all here.
fn check(parameters: &Parameters) -> Result<Wanted, Fault> {
    let long = [
        &parameters.client_id,
        &parameters.redirect_uri,
        &parameters.scope,
        &parameters.state,
        &parameters.nonce,
        &parameters.code_challenge,
    ];
    if long.into_iter().flatten().any(|value| value.len() > PARAMETER_BYTES_MAX) {
        return Err(Fault::Person("a parameter of the request is too long"));
    }
    let client = parameters.client_id.as_deref().and_then(clients::find);
    let client = client.ok_or(Fault::Person("the service that sent you here is not known"))?;
    let redirect_uri = parameters.redirect_uri.clone().filter(|uri| client.allows(uri));
    let redirect_uri =
        redirect_uri.ok_or(Fault::Person("the service that sent you here gave an address that is not its own"))?;
    let state = parameters.state.clone();
    let fault =
        |error, words| Err(Fault::Client { redirect_uri: redirect_uri.clone(), state: state.clone(), error, words });
    if parameters.request.is_some() {
        return fault("request_not_supported", "request objects are not taken; push the request instead");
    }
    if parameters.response_type.as_deref() != Some("code") {
        return fault("unsupported_response_type", "response_type takes code");
    }
    if parameters.response_mode.as_deref().is_some_and(|mode| mode != "query") {
        return fault("invalid_request", "response_mode takes query");
    }
    let scope: Vec<&str> = parameters.scope.as_deref().unwrap_or_default().split(' ').collect();
    if !scope.contains(&"openid") {
        return fault("invalid_scope", "scope must have openid");
    }
    let challenge = parameters.code_challenge.clone().unwrap_or_default();
    let is_s256 = challenge.len() == 43 && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if parameters.code_challenge_method.as_deref() != Some("S256") || !is_s256 {
        return fault("invalid_request", "code_challenge is needed (RFC 7636), with code_challenge_method=S256");
    }
    let max_age_s = match parameters.max_age.as_deref().map(str::parse::<i64>) {
        None => None,
        Some(Ok(seconds)) if seconds >= 0 => Some(seconds),
        Some(_) => return fault("invalid_request", "max_age takes seconds"),
    };
    let prompt = parameters.prompt.clone().unwrap_or_default();
    if prompt.split(' ').any(|word| word == "none") && prompt != "none" {
        return fault("invalid_request", "prompt=none stands alone");
    }
    // Scopes that are not known are left out, as the standard has it.
    let scope = SCOPES.into_iter().filter(|known| scope.contains(known)).collect::<Vec<_>>().join(" ");
    Ok(Wanted { client, redirect_uri, scope, nonce: parameters.nonce.clone(), challenge, state, prompt, max_age_s })
}

/// The parameters of a request, pushed ones looked up; a pushed request is used up by its code.
async fn complete(identity: &Identity, asked: Parameters) -> Result<Result<Parameters, Fault>, Problem> {
    let Some(uri) = &asked.request_uri else {
        return Ok(Ok(asked));
    };
    let gone = Fault::Person("this request is not known any more: go back, and start again");
    let Some(token) = uri.strip_prefix(PUSHED_PREFIX) else { return Ok(Err(gone)) };
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT client, parameters FROM pushed WHERE hash = $1 AND expires_ms > $2")
            .bind(hash(token.as_bytes()).to_vec())
            .bind(now_ms())
            .fetch_optional(&identity.kit.store.reader)
            .await?;
    Ok(match row {
        Some((client, parameters)) if asked.client_id.as_deref() == Some(client.as_str()) => {
            Ok(serde_json::from_str(&parameters).map_err(|error| Problem::internal(&error))?)
        }
        Some(_) | None => Err(gone),
    })
}

/// `POST /par` (RFC 9126)
pub(super) async fn push(
    State(identity): State<Identity>,
    headers: HeaderMap,
    form: Result<Form<Parameters>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Refusal> {
    let Form(asked) = form.map_err(|error| Refusal::new("invalid_request", error.body_text()))?;
    let client = oauth::client(&identity, &headers, asked.client_id.as_deref(), asked.client_secret.as_deref())?;
    if asked.request_uri.is_some() {
        return Err(Refusal::new("invalid_request", "a pushed request has no request_uri"));
    }
    let asked = Parameters { client_id: Some(client.id.to_owned()), ..asked };
    if let Err(fault) = check(&asked) {
        return Err(match fault {
            Fault::Person(words) => Refusal::new("invalid_request", words),
            Fault::Client { error, words, .. } => Refusal::new(error, words),
        });
    }
    let (token, hash) = tokens::token()?;
    let now = now_ms();
    let mut tx = identity.kit.store.begin().await?;
    sqlx::query("DELETE FROM pushed WHERE hash IN (SELECT hash FROM pushed WHERE expires_ms <= $1 LIMIT $2)")
        .bind(now)
        .bind(TOKENS_PURGE_MAX)
        .execute(&mut *tx)
        .await?;
    let put = sqlx::query(
        "INSERT INTO pushed (hash, client, parameters, expires_ms) SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM pushed) < $5",
    )
    .bind(hash)
    .bind(client.id)
    .bind(serde_json::to_string(&asked).map_err(|error| Problem::internal(&error))?)
    .bind(now + PUSHED_LIFE_MS)
    .bind(PUSHED_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if put.rows_affected() == 0 {
        return Err(Problem::busy("too many requests wait").into());
    }
    let body = json!({"request_uri": format!("{PUSHED_PREFIX}{token}"), "expires_in": PUSHED_LIFE_MS / 1000});
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

/// An address with further parameters, which may be of any kind.
pub(crate) fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = uri.to_owned();
    for (n, (name, value)) in parameters.iter().enumerate() {
        text.push(if n == 0 && !uri.contains('?') { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

fn back(redirect_uri: &str, state: Option<&str>, issuer: &str, answer: &[(&str, &str)]) -> Result<Response, Problem> {
    let mut parameters = answer.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", issuer));
    let location = with_parameters(redirect_uri, &parameters);
    let location = HeaderValue::from_str(&location).map_err(|error| Problem::internal(&error))?;
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

fn told(fault: Fault, issuer: &str) -> Result<Response, Problem> {
    match fault {
        Fault::Person(words) => Err(Problem::malformed(words)),
        Fault::Client { redirect_uri, state, error, words } => {
            let mut answer =
                back(&redirect_uri, state.as_deref(), issuer, &[("error", error), ("error_description", words)])?;
            answer.extensions_mut().insert(NotTheOperation);
            Ok(answer)
        }
    }
}

/// `GET /authorize`
pub(super) async fn ask(
    State(identity): State<Identity>,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let issuer = issuer(&headers);
    let wanted = match complete(&identity, asked.clone()).await?.and_then(|whole| check(&whole)) {
        Ok(wanted) => wanted,
        Err(fault) => return told(fault, &issuer),
    };
    let session = identity.find_with_age(&headers).await?;
    let young = |since_ms: i64| wanted.max_age_s.is_none_or(|max| now_ms() - since_ms <= max.saturating_mul(1000));
    match session {
        Some((user, amr, since_ms)) if wanted.prompt != "login" && young(since_ms) => {
            let who = SignedIn { user: &user.name, amr: &amr, at_ms: since_ms };
            finish(&identity, &issuer, &asked, &wanted, &who).await
        }
        _ if wanted.prompt == "none" => {
            let error = [("error", "login_required"), ("error_description", "the person is not signed in")];
            back(&wanted.redirect_uri, wanted.state.as_deref(), &issuer, &error)
        }
        _ => pages::sign_in(Frame::of(&headers), &asked, &wanted, pages::Step::password(""), StatusCode::OK),
    }
}

async fn finish(
    identity: &Identity,
    issuer: &str,
    asked: &Parameters,
    wanted: &Wanted,
    who: &SignedIn<'_>,
) -> Result<Response, Problem> {
    if let Some(token) = asked.request_uri.as_deref().and_then(|uri| uri.strip_prefix(PUSHED_PREFIX)) {
        let mut tx = identity.kit.store.begin().await?;
        let used = sqlx::query("DELETE FROM pushed WHERE hash = $1")
            .bind(hash(token.as_bytes()).to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        if used.rows_affected() == 0 {
            return Err(Problem::malformed("this request was used already: go back, and start again"));
        }
    }
    let code = tokens::issue_code(identity, issuer, wanted, who).await?;
    back(&wanted.redirect_uri, wanted.state.as_deref(), issuer, &[("code", &code)])
}

/// `POST /authorize`: the form of the sign-in page.
pub(super) async fn sign_in(
    State(identity): State<Identity>,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
    Form(form): Form<SignInForm>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let issuer = issuer(&headers);
    let wanted = match complete(&identity, asked.clone()).await?.and_then(|whole| check(&whole)) {
        Ok(wanted) => wanted,
        Err(fault) => return told(fault, &issuer),
    };
    let frame = Frame::of(&headers);
    let (user, amr) = match totp::steps(&identity, &form).await? {
        totp::Steps::Done(user, amr) => (user, amr),
        totp::Steps::Again(step, status) => return pages::sign_in(frame, &asked, &wanted, step, status),
    };
    let (token, since_ms) = identity.open_as(&user, amr).await?;
    let who = SignedIn { user: &user.name, amr, at_ms: since_ms };
    let mut answer = finish(&identity, &issuer, &asked, &wanted, &who).await?;
    let cookie = identity.sessions.set_cookie(&token, &headers)?;
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// Who is signed in, for the pages of this service.
pub(super) async fn person(identity: &Identity, headers: &HeaderMap) -> Result<Option<User>, Problem> {
    Ok(identity.find_with_age(headers).await?.map(|(user, ..)| user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stay_what_they_are() {
        let uri = with_parameters("https://a.example/b", &[("state", "a&b=c #é"), ("iss", "https://x")]);
        assert_eq!(uri, "https://a.example/b?state=a%26b%3Dc%20%23%C3%A9&iss=https%3A%2F%2Fx");
        assert_eq!(with_parameters("https://a.example/b?c=d", &[("e", "f")]), "https://a.example/b?c=d&e=f");
    }
}
