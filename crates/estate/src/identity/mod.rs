//! Who is who: an OpenID Provider. Passwords and one-time passwords, sessions, authorisation codes with PKCE, tokens signed by
//! keys that change, and claims as FranceConnect has them; beside it a plain sign-in for programs of the house.

mod authorize;
pub(crate) mod clients;
mod keys;
mod oauth;
mod pages;
mod passkeys;
mod tokens;
mod totp;

pub(crate) use authorize::with_parameters;

use crate::credentials::{self, User};
use crate::estate_key::EstateKey;
use crate::kit::{Json, Kit, SignIn, private};
use crate::once::hash;
use crate::people_claims;
use crate::problem::Problem;
use crate::seed;
use crate::sessions::{Life, Sessions};
use crate::store::{Tx, now_ms};
use crate::verify::{Invariant, zero};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use std::sync::Arc;
use webauthn_rs::prelude::Webauthn;

pub(crate) const MIGRATIONS: &[&str] = &[
    "CREATE TABLE person (\"user\" TEXT PRIMARY KEY, given_name TEXT NOT NULL, family_name TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    keys::SCHEMA,
    tokens::SCHEMA,
    authorize::SCHEMA,
    totp::SCHEMA,
    passkeys::SCHEMA,
];

pub(crate) const INVARIANTS: &[Invariant] = &[
    zero(
        "who can sign in is somebody, and who is somebody can sign in",
        "SELECT (SELECT count(*) FROM credential WHERE \"user\" NOT IN (SELECT \"user\" FROM person))
         + (SELECT count(*) FROM person WHERE \"user\" NOT IN (SELECT \"user\" FROM credential))",
    ),
    zero(
        "each sign-in at a client came from one code, and has one refresh token that is good at most",
        "SELECT (SELECT count(*) FROM family f WHERE 1 <> (SELECT count(*) FROM code WHERE family = f.id))
         + (SELECT count(*) FROM (SELECT 1 FROM refresh WHERE used_ms IS NULL GROUP BY family HAVING count(*) > 1) s)",
    ),
    zero(
        "nothing was given for a code that nobody showed",
        "SELECT count(*) FROM refresh r JOIN code c ON c.family = r.family WHERE c.used_ms IS NULL",
    ),
    zero(
        "one-time passwords and passkeys are of people who are there",
        "SELECT (SELECT count(*) FROM totp WHERE \"user\" NOT IN (SELECT \"user\" FROM person))
         + (SELECT count(*) FROM passkey WHERE \"user\" NOT IN (SELECT \"user\" FROM person))",
    ),
];

/// How somebody signed in who took one step (RFC 8176).
const PASSWORD_ALONE: &str = "pwd";

#[derive(Clone)]
struct Identity {
    kit: Kit,
    sessions: Sessions,
    key: Option<EstateKey>,
    webauthn: Option<Arc<Webauthn>>,
}

impl Identity {
    /// Opens a session that knows how its user signed in; its token, and when it began.
    async fn open_as(&self, user: &User, amr: &str) -> Result<(String, i64), Problem> {
        let token = self.sessions.open(user).await?;
        let mut tx = self.kit.store.begin().await?;
        sqlx::query("INSERT INTO session_how (token_hash, amr) VALUES ($1, $2)")
            .bind(hash(token.as_bytes()).to_vec())
            .bind(amr)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok((token, now_ms()))
    }

    /// Who is signed in, how, and since when. A session of the plain sign-in is one by password, and is none for people whose
    /// sign-in takes a second step.
    async fn find_with_age(&self, headers: &HeaderMap) -> Result<Option<(User, String, i64)>, Problem> {
        let (Some(user), Some(token)) = (self.sessions.find(headers).await?, self.sessions.token(headers)) else {
            return Ok(None);
        };
        let row: Option<(i64, Option<String>)> = sqlx::query_as(
            "SELECT s.created_ms, h.amr FROM session s LEFT JOIN session_how h ON h.token_hash = s.token_hash WHERE s.token_hash = $1",
        )
        .bind(hash(token.as_bytes()).to_vec())
        .fetch_optional(&self.kit.store.reader)
        .await?;
        let Some((since, amr)) = row else { return Ok(None) };
        let amr = amr.unwrap_or_else(|| PASSWORD_ALONE.to_owned());
        if amr == PASSWORD_ALONE && totp::is_on(self, &user.name).await? {
            return Ok(None);
        }
        Ok(Some((user, amr, since)))
    }
}

/// Test data: passwords and names.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    credentials::seed(tx).await?;
    let people: Vec<_> = seed::people().collect();
    seed::insert(tx, "INSERT INTO person SELECT value->>0, value->>1, value->>2 FROM json_each($1)", &people).await
}

pub(crate) fn router(kit: &Kit) -> Router {
    let key = EstateKey::load_or_make(&kit.store.dir);
    if let Err(error) = &key {
        eprintln!("guichet-estate: identity: {error:#}; clients with secrets get no tokens");
    }
    let webauthn = crate::relying_party::of(kit.service);
    if let Err(error) = &webauthn {
        eprintln!("guichet-estate: identity: {error:#}; nobody signs in by a passkey");
    }
    let state = Identity {
        kit: kit.clone(),
        sessions: kit.sessions(Life::DAY),
        key: key.ok(),
        webauthn: webauthn.ok().map(Arc::new),
    };
    let routes = Router::new()
        .route("/.well-known/openid-configuration", kit.op("discovery", get(discovery)))
        .route("/.well-known/oauth-authorization-server", kit.op("discovery", get(discovery)))
        .route("/jwks", kit.op("jwks", get(jwks)))
        .route("/par", kit.op("par", post(authorize::push)))
        .route("/token", kit.op("token", post(tokens::give)))
        .route("/revoke", kit.op("revoke", post(tokens::revoke)))
        .route("/passkeys/registration/start", kit.op("passkey", post(passkeys::register_start)))
        .route("/passkeys/sign-in/start", kit.op("passkey", post(passkeys::sign_in_start)))
        .route("/identite.js", kit.other(get(pages::script)))
        .merge(pages::routes(kit))
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
        "authorization_endpoint": format!("{issuer}/authorize"),
        "pushed_authorization_request_endpoint": format!("{issuer}/par"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "end_session_endpoint": format!("{issuer}/logout"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "subject_types_supported": ["public"],
        "prompt_values_supported": ["none", "login"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": [
            "sub", "given_name", "family_name", "preferred_username", "birthdate", "gender", "birthplace", "birthcountry",
            "email", "auth_time", "amr",
        ],
        "bearer_methods_supported": ["header"],
        "ui_locales_supported": ["fr", "en"],
    });
    ([(header::CACHE_CONTROL, "public, max-age=300"), (header::VARY, "host, x-forwarded-proto")], axum::Json(document))
        .into_response()
}

/// For programs of the house: one step. It is not enough for people who have chosen to take two.
async fn login(State(identity): State<Identity>, headers: HeaderMap, body: Json<SignIn>) -> Result<Response, Problem> {
    let user = identity.kit.passwords.check(&body.value.user, &body.value.password).await?;
    if totp::is_on(&identity, &user.name).await? {
        let words = "this person's sign-in takes a second step: it is done at /moi, or through a client";
        return Err(Problem::new(StatusCode::FORBIDDEN, "second-step", words));
    }
    let token = identity.sessions.open(&user).await?;
    let cookie = identity.sessions.set_cookie(&token, &headers)?;
    let told = json!({"access_token": token, "token_type": "Bearer", "expires_in": identity.sessions.life_s()});
    Ok(([(header::SET_COOKIE, cookie)], private(told)).into_response())
}

/// For an access token what its scope says; for a session of the plain sign-in the name and the address.
async fn userinfo(State(identity): State<Identity>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(access) = tokens::access(&identity, &headers).await? {
        return Ok(private(people_claims::of(&access.sub, &access.scope)));
    }
    let (user, ..) = identity.find_with_age(&headers).await?.ok_or_else(Problem::unauthenticated)?;
    let (given, family): (String, String) =
        sqlx::query_as("SELECT given_name, family_name FROM person WHERE \"user\" = $1")
            .bind(&user.name)
            .fetch_one(&identity.kit.store.reader)
            .await?;
    Ok(private(json!({
        "sub": user.name, "given_name": given, "family_name": family, "email": format!("{}@example.invalid", user.name),
    })))
}

async fn jwks(State(identity): State<Identity>) -> Result<Response, Problem> {
    let keys = keys::published(&identity.kit.store).await?;
    Ok(([(header::CACHE_CONTROL, "public, max-age=300")], axum::Json(keys)).into_response())
}
