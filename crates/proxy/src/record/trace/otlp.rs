//! Spans, and the JSON encoding of OTLP (opentelemetry-proto, `ExportTraceServiceRequest`): ids in hexadecimal,
//! 64-bit numbers as strings. Attribute names are those of the OpenTelemetry semantic conventions for HTTP servers.

use guichet_core::bounds::{LOG_PATH_BYTES_MAX, LOG_TEXT_BYTES_MAX};
use serde_json::{Value, json};

use super::super::ids::hex;
use super::super::{Entry, Escaped};

/// One finished request, owned, so that it can leave its worker. Its texts are bounded.
#[derive(Debug, Clone)]
pub(super) struct Span {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    parent_id: Option<[u8; 8]>,
    began_ns: u64,
    ended_ns: u64,
    name: String,
    failed: bool,
    attributes: Vec<Value>,
}

impl Span {
    /// The span of a request; `None` if it has no trace.
    pub(super) fn of(entry: &Entry<'_>) -> Option<Self> {
        let trace = entry.trace?;
        let began_ns = u64::try_from(entry.began_unix_ms).unwrap_or(0).saturating_mul(1_000_000);
        let method = Escaped::new(entry.method.as_bytes(), 32).to_string();
        let name = if entry.route.is_empty() { method.clone() } else { format!("{method} {}", entry.route) };
        let mut attributes = vec![
            text("http.request.method", &method),
            text("url.path", &Escaped::new(entry.path.as_bytes(), LOG_PATH_BYTES_MAX).to_string()),
            text("url.scheme", if entry.tls { "https" } else { "http" }),
            text("network.protocol.name", "http"),
            text("network.protocol.version", entry.protocol.trim_start_matches("HTTP/").trim_end_matches(".0")),
            number("http.response.body.size", entry.bytes_out),
            text("guichet.request_id", &entry.request_id.to_string()),
            text("guichet.lane", entry.lane.name()),
            text("guichet.standing", entry.standing.name()),
            number("guichet.attempts", u64::from(entry.attempts)),
            number("guichet.queue_us", entry.queue_us),
        ];
        if entry.status != 0 {
            attributes.push(number("http.response.status_code", u64::from(entry.status)));
        }
        let optional = [
            ("http.route", entry.route),
            ("guichet.service", entry.service),
            ("server.address", entry.upstream),
            ("guichet.partner", entry.partner.unwrap_or_default()),
            ("guichet.reason", entry.reason.map_or("", |reason| reason.label())),
            ("error.type", entry.reason.map_or("", |reason| reason.label())),
        ];
        for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
            attributes.push(text(key, &Escaped::new(value.as_bytes(), LOG_TEXT_BYTES_MAX).to_string()));
        }
        Some(Self {
            trace_id: trace.trace_id,
            span_id: trace.span_id,
            parent_id: trace.parent_id,
            began_ns,
            ended_ns: began_ns.saturating_add(entry.duration_us.saturating_mul(1_000)),
            name,
            // The conventions: of a server span only what is the server's fault is an error.
            failed: entry.status == 0 || entry.status >= 500,
            attributes,
        })
    }

    fn to_json(&self) -> Value {
        let mut span = json!({
            "traceId": hex(&self.trace_id, &mut [0; 32]),
            "spanId": hex(&self.span_id, &mut [0; 32]),
            "name": self.name,
            "kind": 2,
            "startTimeUnixNano": self.began_ns.to_string(),
            "endTimeUnixNano": self.ended_ns.to_string(),
            "attributes": self.attributes,
            "status": { "code": if self.failed { 2 } else { 0 } },
        });
        if let Some(parent) = self.parent_id {
            span["parentSpanId"] = json!(hex(&parent, &mut [0; 32]));
        }
        span
    }
}

/// The body of one export request.
pub(super) fn export_request(spans: &[Span], version: &str) -> Vec<u8> {
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "guichet"), text("service.version", version)] },
        "scopeSpans": [{
            "scope": { "name": "guichet", "version": version },
            "spans": spans.iter().map(Span::to_json).collect::<Vec<_>>(),
        }],
    }]});
    body.to_string().into_bytes()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
