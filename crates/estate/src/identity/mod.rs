//! Who is who: passwords, sessions and claims, and a discovery document that says what this issuer offers. What OpenID
//! Connect has beyond that (authorisation codes, signed tokens) is not offered, and not announced.

use crate::credentials;
use crate::kit::{Json, Kit, SignIn, private, sign_in};
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::Tx;
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

pub(crate) const MIGRATIONS: &[&str] = &[
    "CREATE TABLE person (user TEXT PRIMARY KEY, given_name TEXT NOT NULL, family_name TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

pub(crate) const INVARIANTS: &[Invariant] = &[zero(
    "who can sign in is somebody, and who is somebody can sign in",
    "SELECT (SELECT count(*) FROM credential WHERE user NOT IN (SELECT user FROM person))
     + (SELECT count(*) FROM person WHERE user NOT IN (SELECT user FROM credential))",
)];

#[derive(Clone)]
struct Identity {
    kit: Kit,
    sessions: Sessions,
}

/// Test data: passwords and names.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let people: Vec<_> = seed::people().collect();
    seed::insert(tx, "INSERT INTO person SELECT value->>0, value->>1, value->>2 FROM json_each(?)", &people).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let state = Identity { kit: kit.clone(), sessions: kit.sessions(Life::DAY) };
    let routes = Router::new()
        .route("/.well-known/openid-configuration", kit.op("discovery", get(discovery)))
        .route("/login", kit.op("login", post(login)))
        .route("/userinfo", kit.op("userinfo", get(userinfo)));
    kit.finish_api(routes.with_state(state))
}

/// Where this service is, by the name that the client used, if that is one of ours.
fn issuer(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let known = name == "identity.localhost" || name == "127.0.0.1";
    let right = known && port.bytes().all(|byte| byte.is_ascii_digit());
    let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    format!("{}://{}", if tls { "https" } else { "http" }, if right { host } else { "identity.localhost" })
}

async fn discovery(headers: HeaderMap) -> Response {
    let issuer = issuer(&headers);
    let document = json!({
        "issuer": issuer,
        "login_endpoint": format!("{issuer}/login"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "subject_types_supported": ["public"],
        "scopes_supported": ["profile", "email"],
        "claims_supported": ["sub", "given_name", "family_name", "email"],
        "bearer_methods_supported": ["header"],
        "ui_locales_supported": ["fr", "en"],
    });
    ([(header::CACHE_CONTROL, "public, max-age=300"), (header::VARY, "host, x-forwarded-proto")], axum::Json(document))
        .into_response()
}

async fn login(State(identity): State<Identity>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let life = identity.sessions.life_s();
    sign_in(
        &identity.kit,
        &identity.sessions,
        &headers,
        &body.value,
        StatusCode::OK,
        |_, token| json!({"access_token": token, "token_type": "Bearer", "expires_in": life}),
    )
    .await
}

async fn userinfo(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    let user = identity.sessions.require(&headers).await?;
    let (given, family): (String, String) = sqlx::query_as("SELECT given_name, family_name FROM person WHERE user = ?")
        .bind(&user.name)
        .fetch_one(&identity.kit.store.reader)
        .await?;
    Ok(private(json!({
        "sub": user.name, "given_name": given, "family_name": family, "email": format!("{}@example.invalid", user.name),
    })))
}
