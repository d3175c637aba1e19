//! One request in, one answer out; no state.

use std::net::SocketAddr;

use bytes::Bytes;
use guichet_core::bounds::ADMIN_BODY_BYTES_MAX;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::json;

use super::source::AdminSource;
use super::{contracts, hand_on, host, orders};
use crate::record::metrics::CONTENT_TYPE as METRICS_TYPE;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Guichet admin</title></head>\n<body>\n\
<main>\n<h1>Guichet admin</h1>\n<ul>\n<li><a href=\"/status\">Status</a> (JSON)</li>\n\
<li><a href=\"/mitigations\">Mitigations</a> (JSON)</li>\n<li><a href=\"/allow\">Whom they never touch</a> (JSON)</li>\n\
<li><a href=\"/notices\">Notices</a> (JSON)</li>\n\
<li><a href=\"/contracts\">Services and their contracts</a> (JSON)</li>\n\
<li><a href=\"/hand-on\">What is handed on</a> (JSON)</li>\n\
<li><a href=\"/metrics\">Metrics</a> (Prometheus)</li>\n<li><a href=\"/health/live\">Liveness</a></li>\n\
<li><a href=\"/health/ready\">Readiness</a></li>\n</ul>\n</main>\n</body>\n</html>\n";

/// Answers a request, once its body is read where it is an order.
pub(super) async fn answer<B>(
    request: Request<B>,
    listen: SocketAddr,
    source: &dyn AdminSource,
) -> Response<Full<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if !(orders::PATHS.contains(&path) || contracts::PATHS.contains(&path))
        || !host::allowed(&head.uri, &head.headers, listen)
    {
        return look(&head.method, &head.uri, &head.headers, listen, source);
    }
    if head.method != Method::POST {
        let detail = "orders are given by POST; see docs/mitigations.md";
        let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    let Ok(body) = Limited::new(body, ADMIN_BODY_BYTES_MAX).collect().await else {
        let detail = format!("the order could not be read, or has more than {ADMIN_BODY_BYTES_MAX} bytes");
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "Too large", &detail);
    };
    reply(orders::obey(head.uri.path(), &head.headers, &body.to_bytes(), source).await)
}

fn reply(reply: orders::Reply) -> Response<Full<Bytes>> {
    match reply {
        Ok(value) => respond(StatusCode::OK, JSON, format!("{value:#}\n")),
        Err((status, title, detail)) => problem(status, title, &detail),
    }
}

/// Answers a question. HEAD is GET without the body, which hyper leaves out.
fn look(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    listen: SocketAddr,
    source: &dyn AdminSource,
) -> Response<Full<Bytes>> {
    if !host::allowed(uri, headers, listen) {
        let detail = "the Host of the request is neither a loopback name or address nor the address of the admin listener; \
                      use http://127.0.0.1 with its port, or the address in [admin] listen";
        return problem(StatusCode::MISDIRECTED_REQUEST, "Host not allowed", detail);
    }
    let known = matches!(
        uri.path(),
        "/" | "/metrics"
            | "/status"
            | "/health/live"
            | "/health/ready"
            | "/mitigations"
            | "/mitigations/dropped"
            | "/allow"
            | "/explain"
            | "/notices"
            | "/hand-on"
            | "/contracts"
    );
    if !known {
        return problem(
            StatusCode::NOT_FOUND,
            "Not found",
            "there are /metrics, /health/live, /health/ready, /status, /mitigations, /allow, /contracts, /notices, /hand-on and /explain?code=",
        );
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let detail = "this is answered to GET and HEAD only; orders have paths of their own, see docs/mitigations.md";
        let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match uri.path() {
        "/metrics" => respond(StatusCode::OK, METRICS_TYPE, source.metrics()),
        "/status" => {
            let ready = source.ready();
            let mut status = serde_json::to_value(source.status()).unwrap_or_default();
            status["state"] = ready.map_or_else(|why| json!(why), |()| json!("ready"));
            respond(StatusCode::OK, JSON, format!("{status:#}\n"))
        }
        "/mitigations" => reply(Ok(orders::mitigations(source))),
        "/mitigations/dropped" => reply(Ok(orders::dropped(source))),
        "/notices" => reply(orders::notices(source)),
        "/allow" => reply(Ok(orders::allowed(source))),
        "/hand-on" => reply(Ok(hand_on::list(source))),
        "/contracts" => reply(Ok(contracts::list(source))),
        "/explain" => reply(orders::explain(uri.query().unwrap_or_default(), source)),
        "/health/live" => respond(StatusCode::OK, JSON, "{\"status\":\"live\"}\n"),
        "/health/ready" => match source.ready() {
            Ok(()) => respond(StatusCode::OK, JSON, "{\"status\":\"ready\"}\n"),
            Err(why) => {
                let body = json!({ "status": "not_ready", "reason": why, "detail": why.text() });
                respond(StatusCode::SERVICE_UNAVAILABLE, JSON, format!("{body}\n"))
            }
        },
        _ => respond(StatusCode::OK, "text/html; charset=utf-8", INDEX),
    }
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Response<Full<Bytes>> {
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    respond(status, PROBLEM, format!("{body}\n"))
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
