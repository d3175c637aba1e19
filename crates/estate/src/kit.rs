//! What each service is built from, and what all of them answer alike.

use crate::bounds::{BODY_BYTES_MAX, DOCUMENT_BYTES_MAX};
use crate::capacity::ServiceCapacity;
use crate::credentials::{Passwords, User};
use crate::gate::{Gate, Operation};
use crate::once::{Demand, Taken, Turn, UnderWay};
use crate::peers::Peers;
use crate::problem::Problem;
use crate::service::Service;
use crate::sessions::{Life, Sessions};
use crate::store::Store;
use askama::Template;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;

/// The parts of one service.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) service: Service,
    pub(crate) store: Store,
    pub(crate) passwords: Passwords,
    pub(crate) peers: Peers,
    /// Wakes what the service does besides answering.
    pub(crate) bell: Arc<tokio::sync::Notify>,
    gate: Arc<Gate>,
    under_way: UnderWay,
}

impl Kit {
    pub(crate) fn new(service: Service, store: Store, capacity: ServiceCapacity, peers: Peers) -> Self {
        let passwords = Passwords::new(&store);
        let bell = Arc::default();
        Self { service, passwords, peers, bell, gate: Gate::new(capacity), under_way: UnderWay::default(), store }
    }

    pub(crate) fn sessions(&self, life: Life) -> Sessions {
        Sessions::new(&self.store, self.service, life)
    }

    /// A route that is the operation `name`, with a body of the usual size at most.
    pub(crate) fn op<S: Clone + Send + Sync + 'static>(
        &self,
        name: &'static str,
        route: MethodRouter<S>,
    ) -> MethodRouter<S> {
        self.op_with_body(name, BODY_BYTES_MAX, route)
    }

    /// A route that is the operation `name`.
    pub(crate) fn op_with_body<S: Clone + Send + Sync + 'static>(
        &self,
        name: &'static str,
        body_bytes_max: usize,
        route: MethodRouter<S>,
    ) -> MethodRouter<S> {
        debug_assert!(self.service.ops().iter().any(|op| op.name == name), "{name} is not in the table of service.rs");
        Operation::new(&self.gate, name, body_bytes_max).route(route)
    }

    /// A route that costs a worker and is no operation.
    pub(crate) fn other<S: Clone + Send + Sync + 'static>(&self, route: MethodRouter<S>) -> MethodRouter<S> {
        Operation::other(&self.gate).route(route)
    }

    /// Adds what all services have: health, errors as problems, body limits, headers for safety.
    pub(crate) fn finish(&self, routes: Router) -> Router {
        let store = self.store.clone();
        // Health is asked by the front's checks: it must not wait behind a flood, or the front would take a flooded
        // server for a dead one. It reads from the store, so that it does not say yes for a service that can't work.
        let health = get(move || async move {
            sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&store.reader).await.map_err(Problem::from)?;
            Ok::<_, Problem>("ok\n")
        });
        let nothing_here = self.other(any(async || Problem::not_found("page")));
        routes
            .route("/health", health)
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path does not take this method")
            })
            .fallback_service(nothing_here)
            .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX))
            .layer(axum::middleware::map_response(safe_headers))
            .layer(axum::middleware::map_request(with_host))
    }

    /// As [`Kit::finish`], for services that are programs' business: with a description at `/`, and one for programs.
    pub(crate) fn finish_api(&self, routes: Router) -> Router {
        let about = get(about).with_state(self.service);
        let document = crate::openapi::document(self.service);
        let openapi = get(async move || axum::Json(document.clone()));
        self.finish(routes.route("/", self.op("about", about)).route("/openapi.json", self.other(openapi)))
    }

    /// Takes the turn of something that must be done exactly once.
    pub(crate) async fn once<'a>(&self, demand: Demand<'a>) -> Result<Taken<'a>, Problem> {
        Turn::take(&self.store, &self.under_way, demand).await
    }
}

/// HTTP/2 names the host in the target and not in a header: handlers find it in the header in any case.
async fn with_host(mut request: Request) -> Request {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let (Some(host), false) = (authority, request.headers().contains_key(header::HOST)) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Marks a response that is a page for people, whatever its status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page;

/// Marks a response whose error is told already, in words that another standard asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told;

/// Makes problems of what the framework refused by itself (a path that is no UTF-8, a form of the wrong shape), and adds
/// the headers that keep browsers from guessing.
async fn safe_headers(mut response: Response) -> Response {
    let status = response.status();
    let told = |response: &Response| {
        let extensions = response.extensions();
        extensions.get::<Problem>().is_some()
            || extensions.get::<Page>().is_some()
            || extensions.get::<Told>().is_some()
    };
    if (status.is_client_error() || status.is_server_error()) && !told(&response) {
        response = Problem::new(status, "refused", "the request is not one that this path takes").into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    service: Service,
}

async fn about(State(service): State<Service>, headers: HeaderMap) -> Result<Response, Problem> {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accepts.contains("text/html") {
        let page = About { service }.render().map_err(|error| Problem::internal(&error))?;
        return Ok(Html(page).into_response());
    }
    let operations: Vec<_> =
        service.ops().iter().map(|op| json!({"name": op.name, "route": op.route, "what": op.what})).collect();
    Ok(axum::Json(json!({"service": service.name(), "what": service.what(), "operations": operations})).into_response())
}

/// A JSON body of a known shape; also gives the bytes, for their hash.
pub(crate) struct Json<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if kind.split(';').next().unwrap_or("").trim() != "application/json" {
            let detail = "the body must be JSON, with content-type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|_| Problem::malformed("the body broke off"))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::invalid(error.to_string()),
            _ => Problem::malformed(error.to_string()),
        })?;
        Ok(Self { value, bytes })
    }
}

/// What every sign-in takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Signs in and answers with the cookie; `answer` makes the body from user and token.
pub(crate) async fn sign_in(
    kit: &Kit,
    sessions: &Sessions,
    headers: &HeaderMap,
    body: &SignIn,
    status: StatusCode,
    answer: impl FnOnce(&User, &str) -> serde_json::Value,
) -> Result<Response, Problem> {
    let user = kit.passwords.check(&body.user, &body.password).await?;
    let token = sessions.open(&user).await?;
    let cookie = sessions.set_cookie(&token, headers)?;
    let private = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((status, [(header::SET_COOKIE, cookie), private], axum::Json(answer(&user, &token))).into_response())
}

/// A JSON answer that only its asker may keep.
pub(crate) fn private(value: serde_json::Value) -> Response {
    ([(header::CACHE_CONTROL, "private, no-store")], axum::Json(value)).into_response()
}
