//! What people use: application, identity, vault; and what the staff read.

use super::{
    Doc, id, list, login, number, object, object_with, one_of, pattern, sha256, text, time, whole, with_example,
};
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
    let mut approve = Doc::new("approve", 200, decided)
        .session()
        .path("id", id("apr-0001-1"))
        .body(decision)
        .problems(&[404, 409, 410]);
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
    let addresses = [
        "issuer",
        "login_endpoint",
        "authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "token_endpoint",
        "revocation_endpoint",
        "userinfo_endpoint",
        "end_session_endpoint",
        "jwks_uri",
    ];
    let lists = [
        "response_types_supported",
        "response_modes_supported",
        "grant_types_supported",
        "code_challenge_methods_supported",
        "token_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_methods_supported",
        "id_token_signing_alg_values_supported",
        "subject_types_supported",
        "prompt_values_supported",
        "scopes_supported",
        "claims_supported",
        "bearer_methods_supported",
        "ui_locales_supported",
    ];
    let yes_or_no = [
        "authorization_response_iss_parameter_supported",
        "request_parameter_supported",
        "request_uri_parameter_supported",
    ];
    let fields = addresses.map(|name| (name, text())).into_iter();
    let fields = fields.chain(lists.map(|name| (name, list(&text()))));
    let fields: Vec<_> = fields.chain(yes_or_no.map(|name| (name, json!({"type": "boolean"})))).collect();
    let discovery = object(&fields);
    let session = object(&[("access_token", token()), ("token_type", one_of(&["Bearer"])), ("expires_in", whole())]);
    // What is told follows the scope of an access token; a session of the plain sign-in is told name and address.
    let by_scope =
        ["given_name", "family_name", "preferred_username", "birthdate", "gender", "birthplace", "birthcountry"];
    let by_scope: Vec<_> = by_scope.map(|name| (name, text())).into_iter().chain([("email", text())]).collect();
    let claims = object_with(&[("sub", text())], &by_scope);
    vec![
        Doc::new("discovery", 200, discovery),
        login(200, session).problems(&[401, 403]),
        Doc::new("userinfo", 200, claims).session(),
    ]
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
