//! What people use: application, identity, vault; and what the staff read.

use super::{Doc, id, list, login, number, object, one_of, pattern, sha256, text, time, whole, with_example};
use crate::bounds::DOCUMENT_BYTES_MAX;
use crate::ids;
use serde_json::{Value, json};

/// A session token, in an answer to a sign-in.
fn token() -> Value {
    pattern("^[A-Za-z0-9_-]{43}$")
}

pub(super) fn app() -> Vec<Doc> {
    let parcel = object(&[
        ("id", text()),
        ("code", text()),
        ("site", text()),
        ("at", time()),
        ("is_final", json!({"type": "boolean"})),
    ]);
    let approval =
        object(&[("id", text()), ("merchant", text()), ("amount_cents", whole()), ("currency", one_of(&["EUR"]))]);
    let home =
        object(&[("user", text()), ("name", text()), ("parcels", list(&parcel)), ("approvals", list(&approval))]);
    let session = [("token", token()), ("token_type", one_of(&["Bearer"])), ("expires_in_s", whole())];
    let decision = object(&[("decision", one_of(&["approve", "refuse"]))]);
    let decided = object(&[("id", text()), ("status", one_of(&["approved", "refused"])), ("decided_at", time())]);
    let s10 = with_example(pattern("^[A-Z]{2}[0-9]{9}[A-Z]{2}$"), ids::parcel(1));
    let mut approve =
        Doc::new("approve", 200, decided).session().path("id", id("apr-0001-1")).body(decision).problems(&[404, 409]);
    // Without a body it is an approval.
    if let Some(body) = &mut approve.body {
        body["required"] = json!(false);
    }
    vec![
        login(201, object(&session)),
        Doc::new("home", 200, home).session(),
        Doc::new("parcel", 200, parcel).session().path("id", s10).problems(&[404]),
        approve,
    ]
}

pub(super) fn identity() -> Vec<Doc> {
    let texts = || list(&text());
    let discovery = object(&[
        ("issuer", text()),
        ("login_endpoint", text()),
        ("userinfo_endpoint", text()),
        ("subject_types_supported", texts()),
        ("scopes_supported", texts()),
        ("claims_supported", texts()),
        ("bearer_methods_supported", texts()),
        ("ui_locales_supported", texts()),
    ]);
    let session = object(&[("access_token", token()), ("token_type", one_of(&["Bearer"])), ("expires_in", whole())]);
    let claims = object(&[("sub", text()), ("given_name", text()), ("family_name", text()), ("email", text())]);
    vec![Doc::new("discovery", 200, discovery), login(200, session), Doc::new("userinfo", 200, claims).session()]
}

pub(super) fn vault() -> Vec<Doc> {
    let receipt = [
        ("id", text()),
        ("name", text()),
        ("path", text()),
        ("version", number(1, i64::MAX)),
        ("size_bytes", number(1, i64::MAX)),
        ("sha256", sha256()),
        ("received_at", time()),
    ];
    let document = object(&[&receipt[..], &[("folder", text())]].concat());
    let bytes = json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}});
    let body = json!({
        "required": true, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
        "description": format!("1 to {DOCUMENT_BYTES_MAX} bytes"),
    });
    let one = || id("doc-0001-1");
    let mut read = Doc::new("read", 200, text()).session().path("id", one()).problems(&[404]);
    read = read.query("version", false, number(1, i64::MAX));
    read.answer.1.clone_from(&bytes);
    let mut deposit = Doc::new("deposit", 201, object(&receipt)).session().once().problems(&[507]).links(&["read"]);
    deposit.body = Some(body.clone());
    let name = with_example(pattern("^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,98}[A-Za-z0-9_-]$"), "facture.pdf");
    deposit.parameters.push(json!({"name": "X-Document-Name", "in": "header", "required": true, "schema": name}));
    let mut revise = Doc::new("revise", 200, object(&receipt)).session().once().path("id", one()).problems(&[404, 507]);
    revise.body = Some(body);
    let mut erase = Doc::new("erase", 204, text()).session().path("id", one()).problems(&[404]);
    erase.answer.1 = json!({});
    vec![
        login(200, object(&[("user", text()), ("expires_in_s", whole())])),
        Doc::new("list", 200, object(&[("documents", list(&document))])).session(),
        read,
        deposit,
        revise,
        erase,
    ]
}

pub(super) fn staff() -> Vec<Doc> {
    let file = object(&[("id", text()), ("subject", text()), ("notes", text()), ("case", text()), ("audit", whole())]);
    vec![
        login(200, object(&[("agent", text()), ("expires_in_s", whole())])),
        Doc::new("file", 200, file)
            .session()
            .path("id", id("file-0001"))
            .query("case", true, with_example(pattern("^[A-Z0-9-]{6,32}$"), "CASE-2026-001"))
            .problems(&[404, 429]),
    ]
}
