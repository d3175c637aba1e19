//! Errors as RFC 9457 problem details, by whose fault they are.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// An answer that is not the right one. API services send it as `application/problem+json`; the portal turns it into a
/// page, for which it also travels as an extension of the response.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable, for programs.
    pub(crate) code: &'static str,
    /// For people who call the interface: what is wrong and what would be right.
    pub(crate) detail: String,
    pub(crate) retry_after_s: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// The request can't be read at all.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request can be read, and asks for something that can't be.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no such {what} here"))
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "a session is needed: sign in first")
    }

    /// The user's name or password is wrong; which of both is not said.
    pub(crate) fn wrong_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "the user's name or the password is wrong")
    }

    /// Too much at once: come back later.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }

    /// The disk of the store is full: what is there can be read, and nothing was changed. Not 507, which says that this user's
    /// share is used up.
    pub(crate) fn no_room() -> Self {
        let detail = "the store has no room left; nothing was changed, and what is there can be read";
        Self { retry_after_s: Some(30), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-room", detail) }
    }

    /// Our fault. The cause goes to standard error, not to the client.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        eprintln!("guichet-estate: internal error: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service made a mistake; nothing was changed")
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if crate::store::full(&error) {
            return Self::no_room();
        }
        if crate::store::away(&error) {
            return Self::busy("the service waits for its store");
        }
        Self::internal(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:guichet-estate:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Session"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
