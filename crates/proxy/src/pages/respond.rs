//! A refusal as an answer: pre-rendered pieces, headers that are shared, one allocation for the body.

use std::sync::LazyLock;

use bytes::Bytes;
use guichet_core::Reason;
use guichet_core::bounds::PAGE_SERVICE_NAME_BYTES_MAX;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::advice::proxy_error;
use super::negotiate::{Kind, Language, kind_for, language_for};
use super::render::{self, Pieces, escape_html};
use crate::body::Body;
use crate::config::ClientKind;
use crate::record::Reference;

/// The header of RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What a refusal looks at.
#[derive(Debug, Clone, Copy)]
pub struct RefusalContext<'a> {
    /// The request's `Accept`.
    pub accept: Option<&'a [u8]>,
    /// The request's `Accept-Language`.
    pub accept_language: Option<&'a [u8]>,
    /// What the service is for.
    pub kind: ClientKind,
    /// The reference code.
    pub reference: Reference,
    /// The service's name, shown above the page; empty where there is none.
    pub service_name: &'a str,
    /// Whether the request was a HEAD: then there is no body.
    pub head: bool,
    /// The methods of the route, for [`Reason::MethodNotAllowed`].
    pub allow: Option<&'a HeaderValue>,
}

impl<'a> RefusalContext<'a> {
    /// The context of a request with these headers and method.
    #[must_use]
    pub fn of_request(
        method: &http::Method,
        headers: &'a HeaderMap,
        kind: ClientKind,
        reference: Reference,
        service_name: &'a str,
    ) -> Self {
        let bytes = |name| headers.get(name).map(HeaderValue::as_bytes);
        Self {
            accept: bytes(http::header::ACCEPT),
            accept_language: bytes(http::header::ACCEPT_LANGUAGE),
            kind,
            reference,
            service_name,
            head: *method == http::Method::HEAD,
            allow: None,
        }
    }
}

/// One reason in one language and kind.
struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    pieces: Pieces,
}

/// All answers, by reason's position, language, kind.
static PREPARED: LazyLock<Vec<Prepared>> = LazyLock::new(|| {
    let mut all = Vec::with_capacity(Reason::ALL.len() * 4);
    for reason in Reason::ALL {
        for language in Language::ALL {
            all.extend(Kind::ALL.map(|kind| prepare(*reason, language, kind)));
        }
    }
    all
});

/// Position in [`PREPARED`] of a reason's first answer, by the reason's code.
static FIRST: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let last = Reason::ALL.iter().map(|reason| reason.code()).max().unwrap_or(0);
    let mut first = vec![0; usize::from(last) + 1];
    for (at, reason) in Reason::ALL.iter().enumerate() {
        first[usize::from(reason.code())] = (at * Language::ALL.len() * Kind::ALL.len()) as u16;
    }
    first
});

/// Renders everything now, so that the first refusal is as quick as the rest.
pub fn warm() {
    LazyLock::force(&PREPARED);
    LazyLock::force(&FIRST);
}

/// The value of `Proxy-Status` for a reason: which kind of fault, never which rule.
#[must_use]
pub fn proxy_status(reason: Reason) -> HeaderValue {
    value(&format!("guichet; error={}", proxy_error(reason)))
}

/// The answer to a request that is refused or failed.
#[must_use]
pub fn refusal(reason: Reason, context: &RefusalContext<'_>) -> Response<Body> {
    let language = language_for(context.accept_language);
    let kind = kind_for(context.accept, context.kind);
    let at = usize::from(FIRST[usize::from(reason.code())]) + language as usize * Kind::ALL.len() + kind as usize;
    let prepared = &PREPARED[at];
    let body = body(&prepared.pieces, kind, context);

    let mut response = Response::new(Body::Empty);
    *response.status_mut() = prepared.status;
    *response.headers_mut() = prepared.headers.clone();
    if reason == Reason::MethodNotAllowed {
        let none = HeaderValue::from_static("");
        response.headers_mut().insert(ALLOW, context.allow.cloned().unwrap_or(none));
    }
    if context.head {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    } else {
        *response.body_mut() = Body::Full(Some(body));
    }
    response
}

fn body(pieces: &Pieces, kind: Kind, context: &RefusalContext<'_>) -> Bytes {
    let length = pieces.before_service.len() + pieces.between.len() + pieces.after_reference.len();
    // A name may grow sixfold by escaping; names that need it are rare, and then the body is moved once.
    let mut out = Vec::with_capacity(length + PAGE_SERVICE_NAME_BYTES_MAX + Reference::LENGTH);
    out.extend_from_slice(&pieces.before_service);
    if kind == Kind::Html {
        let name = context.service_name;
        escape_html(&mut out, &name[..name.floor_char_boundary(PAGE_SERVICE_NAME_BYTES_MAX)]);
    }
    out.extend_from_slice(&pieces.between);
    out.extend_from_slice(context.reference.as_bytes());
    out.extend_from_slice(&pieces.after_reference);
    out.into()
}

fn prepare(reason: Reason, language: Language, kind: Kind) -> Prepared {
    let mut headers = HeaderMap::with_capacity(16);
    let content_type = match kind {
        Kind::Html => "text/html; charset=utf-8",
        Kind::Problem => "application/problem+json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(PROXY_STATUS, proxy_status(reason));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(seconds) = reason.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if kind == Kind::Html {
        headers.insert(CONTENT_SECURITY_POLICY, value(&render::CONTENT_SECURITY_POLICY));
    }
    // The table of reasons holds statuses only, which a test of the core proves.
    let status = StatusCode::from_u16(render::status(reason)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Prepared { status, headers, pieces: render::render(reason, language, kind) }
}

/// Text of ours as a header value; what cannot be one is left out rather than ending the process.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("guichet"))
}
