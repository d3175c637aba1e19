//! Pages of the services for people: the headers that each has, the check on forms, and errors as pages.

use crate::kit::Page;
use crate::once::hash;
use crate::portal::pages::{CSS, prefers_english};
use crate::problem::Problem;
use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::LazyLock;

/// Our own style by its hash and our own script file, nothing else; forms go here only.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(hash(CSS.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What stands on every page.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) fr: bool,
    pub(crate) css: &'static str,
}

impl Frame {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { fr: !prefers_english(headers), css: CSS }
    }

    /// One of two texts.
    pub(crate) fn say<'a>(&self, fr: &'a str, en: &'a str) -> &'a str {
        if self.fr { fr } else { en }
    }
}

/// A page as an answer; nobody keeps it.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let text = template.render().map_err(|error| Problem::internal(&error))?;
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
    response.extensions_mut().insert(Page);
    Ok(response)
}

/// Refuses forms that another site had a browser send.
pub(crate) fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", "this form was sent by another site"));
    }
    Ok(())
}

#[derive(Template)]
#[template(path = "people/error.html")]
struct ErrorPage {
    frame: Frame,
    title: &'static str,
    words: String,
    home: &'static str,
}

/// Turns the problems of pages into pages; `home` is where people go on from.
pub(crate) async fn errors_as_pages(home: &'static str, request: Request, next: Next) -> Response {
    let frame = Frame::of(request.headers());
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let (fr, en) = match problem.status {
        StatusCode::UNAUTHORIZED => ("Connectez-vous d'abord", "Sign in first"),
        StatusCode::FORBIDDEN => ("Ce n'est pas permis", "This is not allowed"),
        StatusCode::NOT_FOUND => ("Il n'y a rien ici", "There is nothing here"),
        StatusCode::PAYLOAD_TOO_LARGE => ("Ce fichier est trop grand", "This file is too large"),
        StatusCode::INSUFFICIENT_STORAGE => ("Il n'y a plus de place", "There is no room left"),
        status if status.is_server_error() => ("Une erreur est survenue chez nous", "We made a mistake"),
        _ => ("Cette demande n'a pas été faite", "This was not done"),
    };
    let template = ErrorPage { frame, title: if frame.fr { fr } else { en }, words: problem.detail.clone(), home };
    let Ok(mut error) = page(problem.status, &template) else { return response };
    if let Some(after) = response.headers().get(header::RETRY_AFTER) {
        error.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    error
}
