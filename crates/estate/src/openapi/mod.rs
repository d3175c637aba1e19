//! The description of each interface for programs (OpenAPI 3.1), at `/openapi.json`.
//!
//! It is drawn from the table of operations in `service.rs` and from the bounds that the handlers keep, so that neither can
//! drift; an operation without a description fails a test, and what the description says is held against the real services
//! by `tests/openapi.rs`.

mod money;
mod parcels;
mod people;

use crate::bounds::PASSWORD_BYTES_MAX;
use crate::service::{Op, Service};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// What is said of one operation, beyond its route.
struct Doc {
    op: &'static str,
    /// Whether it takes a session.
    session: bool,
    /// Whether it takes an idempotency key in a header.
    once: bool,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Status, content by media type.
    answer: (u16, Value),
    /// What may go wrong, beyond [`ALWAYS`] and what follows from the other fields.
    problems: &'static [u16],
    /// Operations that take the `id` of the answer.
    links: &'static [&'static str],
}

/// Whatever is asked: not readable, too slow, too large, too much at once.
const ALWAYS: [u16; 4] = [400, 408, 413, 503];

impl Doc {
    fn new(op: &'static str, status: u16, answer: Value) -> Self {
        let answer = (status, json!({"application/json": {"schema": answer}}));
        Self { op, session: false, once: false, parameters: Vec::new(), body: None, answer, problems: &[], links: &[] }
    }

    /// Takes a JSON body of this shape; an example may stand in the schema.
    fn body(mut self, schema: Value) -> Self {
        self.body = Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}));
        self
    }

    fn session(mut self) -> Self {
        self.session = true;
        self
    }

    fn once(mut self) -> Self {
        self.once = true;
        self
    }

    fn path(mut self, name: &str, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        self
    }

    fn query(mut self, name: &str, required: bool, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "required": required, "schema": schema}));
        self
    }

    fn problems(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }

    fn links(mut self, links: &'static [&'static str]) -> Self {
        self.links = links;
        self
    }

    /// The operation object.
    fn draw(self, op: &Op) -> Value {
        let mut parameters = self.parameters;
        if self.once {
            parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        }
        let mut problems: Vec<u16> = ALWAYS.iter().chain(self.problems).copied().collect();
        if self.session {
            problems.push(401);
        }
        if self.once {
            problems.extend([409, 422]);
        }
        if self.body.as_ref().is_some_and(|body| body["content"].get("application/json").is_some()) {
            problems.extend([415, 422]);
        }
        let mut responses: Map<String, Value> = problems.into_iter().map(problem).collect();
        let (status, content) = self.answer;
        let links: Map<String, Value> = self.links.iter().map(|&to| (to.to_owned(), link(to))).collect();
        let answer = json!({"description": op.what, "content": content, "links": links});
        responses.insert(status.to_string(), answer);
        let mut drawn = json!({
            "operationId": op.name, "summary": op.what, "parameters": parameters, "responses": responses,
        });
        if let Some(body) = self.body {
            drawn["requestBody"] = body;
        }
        if self.session {
            drawn["security"] = json!([{"bearer": []}, {"cookie": []}]);
        }
        drawn
    }
}

fn link(to: &str) -> Value {
    json!({"operationId": to, "parameters": {"path.id": "$response.body#/id"}})
}

fn problem(status: u16) -> (String, Value) {
    let words = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("error");
    let mut response = json!({
        "description": words,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    if status == 503 {
        response["headers"] = json!({"retry-after": {"required": true, "schema": {"type": "integer", "minimum": 1}}});
    }
    (status.to_string(), response)
}

/// An object of these fields and no others, all of them required.
fn object(fields: &[(&str, Value)]) -> Value {
    object_with(fields, &[])
}

/// As [`object`], with fields that may be absent.
fn object_with(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let all = required.iter().chain(optional);
    let properties: Map<String, Value> = all.map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "properties": properties, "required": names, "additionalProperties": false})
}

fn list(of: &Value) -> Value {
    json!({"type": "array", "items": of})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// A text on one line: no control characters.
fn line(chars_min: usize, chars_max: usize) -> Value {
    pattern(&format!("^[^\\u0000-\\u001f\\u007f-\\u009f]{{{chars_min},{chars_max}}}$"))
}

fn one_of(values: &[&str]) -> Value {
    json!({"type": "string", "enum": values})
}

fn number(min: i64, max: i64) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max})
}

fn whole() -> Value {
    json!({"type": "integer", "format": "int64"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn with_example(mut schema: Value, example: impl Into<Value>) -> Value {
    schema["examples"] = json!([example.into()]);
    schema
}

/// A name among ids of the estate, as `acc-0001-1`.
fn id(example: &str) -> Value {
    with_example(text(), example)
}

fn sha256() -> Value {
    pattern("^[0-9a-f]{64}$")
}

/// The sign-in of every service.
fn login(status: u16, answer: Value) -> Doc {
    let limited = json!({"type": "string", "maxLength": PASSWORD_BYTES_MAX});
    // Not the user whose session tests use: a user has a few sessions only.
    let body = object(&[
        ("user", with_example(limited.clone(), "user0002")),
        ("password", with_example(limited, "password-0002")),
    ]);
    Doc::new("login", status, answer).body(body).problems(&[401])
}

fn about() -> Doc {
    let operation = object(&[("name", text()), ("route", text()), ("what", text())]);
    let answer = object(&[("service", text()), ("what", text()), ("operations", list(&operation))]);
    let mut doc = Doc::new("about", 200, answer);
    doc.answer.1["text/html"] = json!({"schema": {"type": "string"}});
    doc
}

fn docs(service: Service) -> Vec<Doc> {
    let mut docs = match service {
        // Pages for people.
        Service::Portal => Vec::new(),
        Service::App => people::app(),
        Service::Identity => people::identity(),
        Service::Vault => people::vault(),
        Service::Bank => money::bank(),
        Service::Rails => money::rails(),
        Service::Counter => parcels::counter(),
        Service::Parcels => parcels::parcels(),
        Service::Staff => people::staff(),
    };
    docs.push(about());
    docs
}

/// The whole description of a service.
pub(crate) fn document(service: Service) -> Value {
    let mut paths = Map::new();
    for doc in docs(service) {
        let Some(op) = service.ops().iter().find(|op| op.name == doc.op) else { continue };
        let Some((method, path)) = op.route.split_once(' ') else { continue };
        let path = path.split('?').next().unwrap_or(path);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method.to_ascii_lowercase()] = doc.draw(op);
    }
    let cookie = format!("{}_session", service.name());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("Guichet reference estate: {}", service.name()),
            "summary": service.what(), "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": problem_schema()},
            "parameters": {"IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "required": true, "schema": pattern("^[A-Za-z0-9_-]{8,64}$"),
                "description": "made by the client for each operation, and kept for retries",
            }},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    })
}

/// RFC 9457.
fn problem_schema() -> Value {
    object(&[
        ("type", pattern("^urn:guichet-estate:problem:[a-z-]+$")),
        ("title", text()),
        ("status", number(400, 599)),
        ("detail", text()),
        ("code", pattern("^[a-z-]+$")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations without a description here: pages for people, WebDAV (RFC 4918 describes it), OpenID Connect (its discovery
    /// document does), what terminals of counters send (signed by keys that a generator has not), tracking and messages of
    /// banks as others have defined them, and those of vault and staff
    /// that stand for several routes each.
    const UNDESCRIBED: [&str; 23] = [
        "page",
        "dav",
        "shared",
        "share",
        "versions",
        "trail",
        "export",
        "password",
        "passkey",
        "lockdown",
        "audit",
        "authorize",
        "par",
        "token",
        "revoke",
        "jwks",
        "logout",
        "register",
        "journal",
        "range",
        "closing",
        "idships",
        "pacs",
    ];

    #[test]
    fn each_operation_of_each_interface_is_described_and_nothing_else_is() {
        for service in Service::ALL.into_iter().filter(|service| *service != Service::Portal) {
            let mut described: Vec<_> = docs(service).iter().map(|doc| doc.op).collect();
            let mut known = service.op_names();
            known.retain(|op| !UNDESCRIBED.contains(op));
            described.sort_unstable();
            known.sort_unstable();
            assert_eq!(described, known, "{}", service.name());
            let document = document(service);
            let drawn: usize =
                document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
            assert_eq!(drawn, known.len(), "{}: two operations on one route", service.name());
        }
    }
}
