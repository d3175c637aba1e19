//! Pages: how they are made, which language, which headers.

use super::text::{EN, FR, Text};
use crate::kit::Page;
use crate::once::hash;
use crate::problem::Problem;
use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::LazyLock;

pub(crate) static CSS: &str = include_str!("../../templates/portal/style.css");

/// Nothing but our own style and icon; forms go here only. The style is allowed by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(hash(CSS.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The language that the reader prefers of the two.
pub(super) fn language(headers: &HeaderMap) -> &'static Text {
    if prefers_english(headers) { &EN } else { &FR }
}

/// Whether the reader prefers English to French: by the weights of `Accept-Language`, French if there is no saying.
pub(crate) fn prefers_english(headers: &HeaderMap) -> bool {
    let line = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let weight = |wanted: &str| {
        line.split(',')
            .take(32)
            .filter_map(|part| {
                let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
                let primary = tag.trim().split('-').next()?.to_ascii_lowercase();
                let q = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
                (primary == wanted && q.is_finite()).then_some(q)
            })
            .fold(0.0, f32::max)
    };
    weight("en") > weight("fr")
}

/// A page as an answer, with the headers of all pages.
pub(super) fn page(status: StatusCode, template: &impl Template, cache: &'static str) -> Result<Response, Problem> {
    let text = template.render().map_err(|error| Problem::internal(&error))?;
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-language, host"));
    response.extensions_mut().insert(Page);
    Ok(response)
}

/// The entity tag of some bytes.
pub(super) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &hex::encode(hash(bytes))[..24])
}

/// Whether the client has what the tag stands for.
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let line = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    line.split(',').any(|part| part.trim().trim_start_matches("W/") == tag || part.trim() == "*")
}

#[derive(Template)]
#[template(path = "portal/error.html")]
struct ErrorPage {
    t: &'static Text,
    css: &'static str,
    here: &'static str,
    title: &'static str,
    words: &'static str,
    ways: bool,
}

/// Turns problems into pages for people.
pub(super) async fn errors_as_pages(request: Request, next: Next) -> Response {
    let t = language(request.headers());
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let (title, words) = match problem.status {
        StatusCode::NOT_FOUND => t.not_found,
        StatusCode::FORBIDDEN => t.forbidden,
        StatusCode::SERVICE_UNAVAILABLE => t.busy,
        status if status.is_server_error() => t.internal,
        _ if problem.code == "sign-in" => t.sign_in_failed,
        _ => t.bad_request,
    };
    let ways = problem.status.is_server_error();
    let template = ErrorPage { t, css: CSS, here: "", title, words, ways };
    let Ok(mut error) = page(problem.status, &template, "no-store") else { return response };
    if let Some(after) = response.headers().get(header::RETRY_AFTER) {
        error.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_with_more_weight() {
        for (line, lang) in [
            ("", "fr"),
            ("en", "en"),
            ("en-GB,en;q=0.9,fr;q=0.8", "en"),
            ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
            ("de,en;q=0.3", "en"),
            ("en;q=0.2, fr;q=0.7", "fr"),
            ("en;q=NaN", "fr"),
            ("en;q=x", "fr"),
            ("de", "fr"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, line.parse().unwrap());
            assert_eq!(language(&headers).lang, lang, "{line}");
        }
    }
}
