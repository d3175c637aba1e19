//! Signing in through the identity service, for the services that rely on it: authorisation code with PKCE, the request pushed
//! beforehand, the ID token checked by keys that are kept. While the identity service is gone nobody new comes in this way, and
//! whoever is in stays: sessions are the relying service's own, and tokens are checked without asking.

use crate::bounds::{JWKS_FRESH_MS, SIGN_IN_LIFE_MS, SIGN_INS_UNDER_WAY_MAX, TOKENS_PURGE_MAX};
use crate::credentials::User;
use crate::estate_key::EstateKey;
use crate::identity::clients::{self, RETURN_PATH};
use crate::kit::Kit;
use crate::once::hash;
use crate::peers::PeerAnswer;
use crate::problem::Problem;
use crate::service::Service;
use crate::sessions::Sessions;
use crate::store::now_ms;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

pub(crate) const SCHEMA: &str = "
CREATE TABLE sign_in (state_hash BLOB PRIMARY KEY, nonce TEXT NOT NULL, verifier TEXT NOT NULL, issuer TEXT NOT NULL, expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_age ON sign_in (expires_ms);
CREATE TABLE identity_keys (id INTEGER PRIMARY KEY CHECK (id = 1), jwks TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE told_by_identity (\"user\" TEXT PRIMARY KEY, claims TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// A service that relies on the identity service.
#[derive(Clone)]
pub(crate) struct Relying {
    kit: Kit,
    key: Option<EstateKey>,
}

/// What comes back in the address.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    error: String,
}

fn random() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn away() -> Problem {
    let words = "the identity service can't be reached: sign in with the password of this service, or come back later";
    Problem::busy(words)
}

fn failed(words: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "sign-in", format!("the sign-in did not come about: {words}; start again"))
}

impl Relying {
    pub(crate) fn new(kit: &Kit) -> Self {
        let key = EstateKey::load_or_make(&kit.store.dir);
        if let Err(error) = &key {
            eprintln!("guichet-estate: {}: {error:#}; nobody signs in through identity", kit.service.name());
        }
        Self { kit: kit.clone(), key: key.ok() }
    }

    fn cookie(&self) -> String {
        format!("{}_sign_in", self.kit.service.name())
    }

    /// Where the person's browser finds this service and the identity service: behind the front both are under `.localhost`,
    /// at the same port; without it each has its own address.
    fn places(&self, headers: &HeaderMap) -> Result<(String, String), Problem> {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
        let (name, port) =
            host.split_once(':').map_or((host, String::new()), |(name, port)| (name, format!(":{port}")));
        if !port.is_empty() && port[1..].parse::<u16>().is_err() {
            return Err(Problem::malformed("the host of this request is none of ours"));
        }
        let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        let scheme = if tls { "https" } else { "http" };
        if name == format!("{}.localhost", self.kit.service.name()) {
            return Ok((format!("{scheme}://{host}"), format!("{scheme}://identity.localhost{port}")));
        }
        let identity = self.kit.peers.address(Service::Identity).ok_or_else(away)?;
        if name == "127.0.0.1" {
            return Ok((format!("http://{host}"), format!("http://{identity}")));
        }
        Err(Problem::malformed("the host of this request is none of ours"))
    }

    /// Asks the identity service as if by its public name, so that it calls itself by that.
    async fn ask(&self, issuer: &str, method: &str, path: &str, form: &[(&str, &str)]) -> Result<PeerAnswer, Problem> {
        let (scheme, host) = issuer.split_once("://").unwrap_or(("http", issuer));
        let headers =
            [("host", host), ("x-forwarded-proto", scheme), ("content-type", "application/x-www-form-urlencoded")];
        let body = crate::identity::with_parameters("", form);
        let body = body.trim_start_matches('?').to_owned();
        self.kit.peers.call(Service::Identity, method, path, &headers, body).await.map_err(|_| away())
    }

    /// Sends the browser to the identity service.
    ///
    /// # Errors
    /// When that can't be reached, or refuses.
    pub(crate) async fn begin(&self, headers: &HeaderMap) -> Result<Response, Problem> {
        let (here, issuer) = self.places(headers)?;
        let client = self.kit.service.name();
        let secret = clients::secret(self.key.as_ref().ok_or_else(away)?, client);
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(hash(verifier.as_bytes()));
        let redirect_uri = format!("{here}{RETURN_PATH}");
        let form = [
            ("client_id", client),
            ("client_secret", &secret),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("redirect_uri", &redirect_uri),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let answer = self.ask(&issuer, "POST", "/par", &form).await?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(request_uri) = told["request_uri"].as_str().filter(|_| answer.status == StatusCode::CREATED) else {
            return Err(if answer.status.is_server_error() {
                away()
            } else {
                failed("the identity service refuses it")
            });
        };
        self.keep(&state, &nonce, &verifier, &issuer).await?;
        let location = crate::identity::with_parameters(
            &format!("{issuer}/authorize"),
            &[("client_id", client), ("request_uri", request_uri)],
        );
        let secure = if here.starts_with("https") { "; Secure" } else { "" };
        // The state is in the browser that began, and in no other: nobody can be signed in as somebody else.
        let cookie = format!(
            "{}={state}; Path={RETURN_PATH}; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.cookie(),
            SIGN_IN_LIFE_MS / 1000
        );
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| Problem::internal(&error));
        let headers = [
            (header::LOCATION, value(&location)?),
            (header::SET_COOKIE, value(&cookie)?),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Ok((StatusCode::SEE_OTHER, headers).into_response())
    }

    async fn keep(&self, state: &str, nonce: &str, verifier: &str, issuer: &str) -> Result<(), Problem> {
        let now = now_ms();
        let mut tx = self.kit.store.begin().await?;
        sqlx::query(
            "DELETE FROM sign_in WHERE state_hash IN (SELECT state_hash FROM sign_in
             WHERE expires_ms <= $1 OR (SELECT count(*) FROM sign_in) >= $2 ORDER BY expires_ms LIMIT $3)",
        )
        .bind(now)
        .bind(SIGN_INS_UNDER_WAY_MAX)
        .bind(TOKENS_PURGE_MAX)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO sign_in (state_hash, nonce, verifier, issuer, expires_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(hash(state.as_bytes()).to_vec())
        .bind(nonce)
        .bind(verifier)
        .bind(issuer)
        .bind(now + SIGN_IN_LIFE_MS)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Takes what came back: who it is. What the identity service told of the person is kept.
    ///
    /// # Errors
    /// When it is not the answer to a sign-in that this browser began, or the identity service does not stand by it.
    async fn finish(&self, returned: &Returned, headers: &HeaderMap) -> Result<User, Problem> {
        let cookie = format!("{}=", self.cookie());
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let began = lines.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(&cookie));
        if returned.state.is_empty() || began != Some(returned.state.as_str()) {
            return Err(failed("it was begun elsewhere, or too long ago"));
        }
        let (here, issuer) = self.places(headers)?;
        let mut tx = self.kit.store.begin().await?;
        // Once: a second showing finds nothing.
        let row: Option<(String, String, String)> = sqlx::query_as(
            "DELETE FROM sign_in WHERE state_hash = $1 AND expires_ms > $2 RETURNING nonce, verifier, issuer",
        )
        .bind(hash(returned.state.as_bytes()).to_vec())
        .bind(now_ms())
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        let (nonce, verifier, began_at) = row.ok_or_else(|| failed("it is over already, or took too long"))?;
        // Whose answer it is (RFC 9207).
        if returned.iss != began_at || issuer != began_at {
            return Err(failed("another service answered"));
        }
        if !returned.error.is_empty() {
            return Err(failed("the identity service said no"));
        }
        let client = self.kit.service.name();
        let secret = clients::secret(self.key.as_ref().ok_or_else(away)?, client);
        let redirect_uri = format!("{here}{RETURN_PATH}");
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("client_secret", &secret),
            ("code", &returned.code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", &verifier),
        ];
        let answer = self.ask(&issuer, "POST", "/token", &form).await?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(token) = told["id_token"].as_str().filter(|_| answer.status == StatusCode::OK) else {
            return Err(if answer.status.is_server_error() { away() } else { failed("the code was not taken") });
        };
        let claims =
            self.read(token, "JWT", client, Some(&issuer)).await?.ok_or_else(|| failed("the token is not right"))?;
        if claims["nonce"] != nonce.as_str() {
            return Err(failed("the token is for another sign-in"));
        }
        let user = claims["sub"].as_str().and_then(User::from_name);
        let user = user.ok_or_else(|| failed("this person is not known here"))?;
        let mut tx = self.kit.store.begin().await?;
        sqlx::query(
            "INSERT INTO told_by_identity (\"user\", claims, at_ms) VALUES ($1, $2, $3)
             ON CONFLICT (\"user\") DO UPDATE SET claims = excluded.claims, at_ms = excluded.at_ms",
        )
        .bind(&user.name)
        .bind(claims.to_string())
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(user)
    }

    /// As [`Relying::finish`], and opens a session.
    ///
    /// # Errors
    /// As [`Relying::finish`].
    pub(crate) async fn enter(
        &self,
        sessions: &Sessions,
        returned: &Returned,
        headers: &HeaderMap,
        to: &str,
    ) -> Result<Response, Problem> {
        let user = self.finish(returned, headers).await?;
        let mut response = sessions.enter(&user, headers, to).await?;
        response.headers_mut().append(header::SET_COOKIE, self.end_cookie()?);
        Ok(response)
    }

    /// What the identity service told of a user at the last sign-in through it.
    pub(crate) async fn told(&self, user: &User) -> Result<Option<Value>, Problem> {
        let text: Option<String> = sqlx::query_scalar("SELECT claims FROM told_by_identity WHERE \"user\" = $1")
            .bind(&user.name)
            .fetch_optional(&self.kit.store.reader)
            .await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The claims of a token of the identity service that is for `audience` and in date. Its keys are those that are kept;
    /// they are asked for again when they are old or do not have the token's.
    pub(crate) async fn read(
        &self,
        token: &str,
        typ: &str,
        audience: &str,
        issuer: Option<&str>,
    ) -> Result<Option<Value>, Problem> {
        let Ok(head) = jsonwebtoken::decode_header(token.as_bytes()) else { return Ok(None) };
        // An ID token is no access token, nor the other way round.
        let Some(kid) = head.kid.filter(|_| head.typ.as_deref() == Some(typ)) else { return Ok(None) };
        let kept: Option<(String, i64)> = sqlx::query_as("SELECT jwks, at_ms FROM identity_keys WHERE id = 1")
            .fetch_optional(&self.kit.store.reader)
            .await?;
        let age = kept.as_ref().map_or(i64::MAX, |(_, at)| now_ms() - at);
        let kept: Option<JwkSet> = kept.and_then(|(text, _)| serde_json::from_str(&text).ok());
        let mut keys = kept;
        let known = keys.as_ref().is_some_and(|keys| keys.find(&kid).is_some());
        // A token with a made-up key must not have the identity service asked each time.
        if age > JWKS_FRESH_MS || !known && age > JWKS_FRESH_MS / 60 {
            keys = self.fetch_keys().await.or(keys);
        }
        let Some(key) = keys.as_ref().and_then(|keys| keys.find(&kid)) else { return Ok(None) };
        let Ok(key) = DecodingKey::from_jwk(key) else { return Ok(None) };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.leeway = 5;
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
        }
        Ok(jsonwebtoken::decode::<Value>(token.as_bytes(), &key, &validation).ok().map(|token| token.claims))
    }

    async fn fetch_keys(&self) -> Option<JwkSet> {
        let answer = self.kit.peers.call(Service::Identity, "GET", "/jwks", &[], "").await.ok()?;
        let keys: JwkSet = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == StatusCode::OK)?;
        let text = String::from_utf8(answer.body.to_vec()).ok()?;
        let mut tx = self.kit.store.begin().await.ok()?;
        sqlx::query(
            "INSERT INTO identity_keys (id, jwks, at_ms) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET jwks = excluded.jwks, at_ms = excluded.at_ms",
        )
        .bind(text)
        .bind(now_ms())
        .execute(&mut *tx)
        .await
        .ok()?;
        tx.commit().await.ok()?;
        Some(keys)
    }

    /// Removes the mark of a sign-in from the browser.
    fn end_cookie(&self) -> Result<HeaderValue, Problem> {
        let text = format!("{}=; Path={RETURN_PATH}; HttpOnly; SameSite=Lax; Max-Age=0", self.cookie());
        HeaderValue::from_str(&text).map_err(|error| Problem::internal(&error))
    }
}
