//! Sessions: a random token in a cookie (or as a bearer token), its hash in the service's own store.

use crate::bounds::SESSIONS_PER_USER_MAX;
use crate::credentials::User;
use crate::once::hash;
use crate::problem::Problem;
use crate::service::Service;
use crate::store::{Store, now_ms};
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// From sign-in to the end, whatever happens, seconds.
    pub(crate) whole_s: i64,
    /// Without a request, seconds.
    pub(crate) idle_s: i64,
}

impl Life {
    /// For services where little is at stake.
    pub(crate) const DAY: Self = Self { whole_s: 8 * 3600, idle_s: 3600 };
    /// For money: five minutes without a request (EU 2018/389, article 4).
    pub(crate) const SHORT: Self = Self { whole_s: 3600, idle_s: 300 };
}

/// The sessions of one service.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: Store,
    cookie: String,
    life: Life,
}

impl Sessions {
    pub(crate) fn new(store: &Store, service: Service, life: Life) -> Self {
        Self { store: store.clone(), cookie: format!("{}_session", service.name()), life }
    }

    /// Seconds until a new session ends in any case.
    pub(crate) fn life_s(&self) -> i64 {
        self.life.whole_s
    }

    /// Opens a session and gives its token.
    pub(crate) async fn open(&self, user: &User) -> Result<String, Problem> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let now = now_ms();
        let mut tx = self.store.begin().await?;
        sqlx::query("DELETE FROM session WHERE \"user\" = $1 AND expires_ms <= $2")
            .bind(&user.name)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "DELETE FROM session WHERE token_hash IN
             (SELECT token_hash FROM session WHERE \"user\" = $1 ORDER BY created_ms DESC LIMIT 9223372036854775807 OFFSET $2)",
        )
        .bind(&user.name)
        .bind(SESSIONS_PER_USER_MAX - 1)
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO session VALUES ($1, $2, $3, $4, $5)")
            .bind(&hash(token.as_bytes())[..])
            .bind(&user.name)
            .bind(now)
            .bind(now)
            .bind(now + self.life.whole_s * 1000)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(token)
    }

    /// The user of a request, if it has a living session.
    pub(crate) async fn find(&self, headers: &HeaderMap) -> Result<Option<User>, Problem> {
        let Some(token) = self.token(headers) else { return Ok(None) };
        let token_hash = hash(token.as_bytes());
        let now = now_ms();
        let found: Option<(String, i64)> = sqlx::query_as(
            "SELECT \"user\", seen_ms FROM session WHERE token_hash = $1 AND expires_ms > $2 AND seen_ms > $3",
        )
        .bind(&token_hash[..])
        .bind(now)
        .bind(now - self.life.idle_s * 1000)
        .fetch_optional(&self.store.reader)
        .await?;
        let Some((name, seen_ms)) = found else { return Ok(None) };
        // Not at each request: a write for each reading would make every reading as dear as a write.
        if now - seen_ms > self.life.idle_s * 1000 / 5 {
            let mut tx = self.store.begin().await?;
            sqlx::query("UPDATE session SET seen_ms = $1 WHERE token_hash = $2")
                .bind(now)
                .bind(&token_hash[..])
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(User::from_name(&name))
    }

    /// The user of a request.
    ///
    /// # Errors
    /// 401 without a living session.
    pub(crate) async fn require(&self, headers: &HeaderMap) -> Result<User, Problem> {
        self.find(headers).await?.ok_or_else(Problem::unauthenticated)
    }

    /// Ends the session of a request, if it has one.
    pub(crate) async fn close(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = self.token(headers) else { return Ok(()) };
        let mut tx = self.store.begin().await?;
        sqlx::query("DELETE FROM session WHERE token_hash = $1")
            .bind(&hash(token.as_bytes())[..])
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Opens a session for somebody at a page, and leads on.
    pub(crate) async fn enter(&self, user: &User, headers: &HeaderMap, to: &str) -> Result<Response, Problem> {
        let token = self.open(user).await?;
        Ok(([(header::SET_COOKIE, self.set_cookie(&token, headers)?)], Redirect::to(to)).into_response())
    }

    /// Ends the session of somebody at a page, and leads on.
    pub(crate) async fn leave(&self, headers: &HeaderMap, to: &str) -> Result<Response, Problem> {
        self.close(headers).await?;
        Ok(([(header::SET_COOKIE, self.set_cookie("", headers)?)], Redirect::to(to)).into_response())
    }

    /// The `Set-Cookie` of a token; an empty token removes the cookie.
    pub(crate) fn set_cookie(&self, token: &str, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
        let age_s = if token.is_empty() { 0 } else { self.life.whole_s };
        // The front says whether the client came by TLS; a browser would not send a secure cookie back otherwise.
        let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        let secure = if tls { "; Secure" } else { "" };
        let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age_s}{secure}", self.cookie);
        HeaderValue::from_str(&text).map_err(|error| Problem::internal(&error))
    }

    /// The token of a request, if it has one.
    pub(crate) fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let cookies = || headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let named = |pair: &'a str| pair.trim().strip_prefix(self.cookie.as_str())?.strip_prefix('=');
        let token = bearer.or_else(|| cookies().flat_map(|line| line.split(';')).find_map(named))?;
        (token.len() == 43).then_some(token)
    }
}
