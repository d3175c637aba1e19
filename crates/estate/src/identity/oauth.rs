//! Errors as OAuth has them, and who a client is.

use super::Identity;
use super::clients::{self, Client};
use crate::kit::Told;
use crate::once::hash;
use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

/// A refusal at an endpoint for programs (RFC 6749, 5.2).
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// In OAuth's own words.
    Oauth(StatusCode, &'static str, String),
    /// Ours.
    Problem(Problem),
}

impl Refusal {
    pub(super) fn new(error: &'static str, words: impl Into<String>) -> Self {
        Self::Oauth(StatusCode::BAD_REQUEST, error, words.into())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Oauth(status, error, words) => {
                let body = axum::Json(json!({"error": error, "error_description": words}));
                let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
                if status == StatusCode::UNAUTHORIZED {
                    let basic = HeaderValue::from_static("Basic realm=\"identity\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
                }
                response.extensions_mut().insert(Told);
                response
            }
        }
    }
}

/// The client of a request: by Basic, or by `client_id` and `client_secret` in the form; a public one by its name.
///
/// # Errors
/// When it is unknown, or its secret is absent or wrong.
pub(super) fn client(
    identity: &Identity,
    headers: &HeaderMap,
    form_id: Option<&str>,
    form_secret: Option<&str>,
) -> Result<Client, Refusal> {
    let wrong = || {
        let words = "the client is unknown, or its secret is wrong".to_owned();
        Refusal::Oauth(StatusCode::UNAUTHORIZED, "invalid_client", words)
    };
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let (id, secret) = match basic {
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (id, secret) = decoded
                .as_deref()
                .and_then(|pair| pair.split_once(':'))
                .map_or_else(|| Err(wrong()), |(id, secret)| Ok((id.to_owned(), secret.to_owned())))?;
            // One way to prove oneself, not two (RFC 6749, 2.3).
            if form_secret.is_some() || form_id.is_some_and(|form_id| form_id != id) {
                return Err(Refusal::new("invalid_request", "the client proves itself in two ways"));
            }
            (id, Some(secret))
        }
        None => (form_id.unwrap_or_default().to_owned(), form_secret.map(str::to_owned)),
    };
    let client = clients::find(&id).ok_or_else(wrong)?;
    let right = match (&identity.key, secret) {
        (Some(key), Some(told)) => hash(told.as_bytes()) == hash(clients::secret(key, client.id).as_bytes()),
        (None, Some(_)) => false,
        (_, None) => !client.has_secret(),
    };
    // A public client has no secret that could be right.
    if right && (client.has_secret() || form_secret.is_none() && basic.is_none()) { Ok(client) } else { Err(wrong()) }
}
