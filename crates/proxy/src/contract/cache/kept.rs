//! One answer that is kept, and what may be done with it. The rules of RFC 9111 are those of `http-cache-semantics`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};

use super::key::Lookup;
use crate::body::Body;
use crate::config::{Contract, RouteCache};

/// The header of RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// An answer that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers, without those of a connection.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// What RFC 9111 says about it.
    pub(crate) policy: CachePolicy,
    /// For how long it may be served beyond its time while the service fails.
    pub(crate) stale_if_error: Duration,
    /// For how long, while a newer one is fetched.
    pub(crate) stale_while_revalidate: Duration,
}

/// How old a kept answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Within its time.
    Fresh,
    /// Beyond it, and good while a newer one is fetched.
    Revalidate,
    /// Good only if there is nothing better.
    IfError,
    /// Not to be served any more.
    Over,
}

impl Kept {
    /// Keeps an answer, if the rules allow it. `body` is what it said, whole.
    #[must_use]
    pub(crate) fn new(
        lookup: &Lookup,
        rule: &RouteCache,
        contract: Option<&Contract>,
        response: &http::response::Parts,
        body: Bytes,
        now: SystemTime,
    ) -> Option<Self> {
        let directives = Directives::of(&response.headers);
        if !storable(response, &directives, rule) {
            return None;
        }
        let mut judged = Response::new(());
        *judged.status_mut() = response.status;
        *judged.headers_mut() = response.headers.clone();
        let says_so = directives.max_age || response.headers.contains_key(EXPIRES);
        if !says_so {
            let ttl = rule.ttl?;
            judged
                .headers_mut()
                .append(CACHE_CONTROL, HeaderValue::try_from(format!("max-age={}", ttl.as_secs())).ok()?);
        }
        let options = CacheOptions { shared: true, cache_heuristic: 0.0, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&lookup.request(), &judged, now, options);
        if !policy.is_storable() || policy.time_to_live(now).is_zero() {
            return None;
        }
        // A directive of the answer itself goes before what the contract says; some forbid stale answers altogether.
        let stale = |own: Option<u64>, usual: Option<Duration>| match own {
            Some(seconds) => Duration::from_secs(seconds.min(guichet_core::bounds::STALE_S_MAX)),
            None if directives.never_stale => Duration::ZERO,
            None => usual.unwrap_or_default(),
        };
        Some(Self {
            status: response.status,
            headers: response.headers.clone(),
            body,
            policy,
            stale_if_error: stale(directives.stale_if_error, contract.map(|c| c.stale_if_error)),
            stale_while_revalidate: stale(
                directives.stale_while_revalidate,
                contract.map(|c| c.stale_while_revalidate),
            ),
        })
    }

    /// How old it is now.
    #[must_use]
    pub(crate) fn freshness(&self, now: SystemTime) -> Freshness {
        if !self.policy.is_stale(now) {
            return Freshness::Fresh;
        }
        let beyond = self.beyond(now);
        if beyond < self.stale_while_revalidate {
            Freshness::Revalidate
        } else if beyond < self.stale_if_error {
            Freshness::IfError
        } else {
            Freshness::Over
        }
    }

    /// How far beyond its time it is.
    fn beyond(&self, now: SystemTime) -> Duration {
        // Asked about a time before it came, the policy tells the whole lifetime, less the age that it came with.
        let birth = SystemTime::UNIX_EPOCH;
        let lifetime = self.policy.time_to_live(birth) + self.policy.age(birth);
        self.policy.age(now).saturating_sub(lifetime)
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        // The policy keeps the headers once more.
        self.body.len() + 2 * fields + 512
    }

    /// The answer to one request, with its age and how it came about. `detail`: why it is stale, if it is.
    #[must_use]
    pub(crate) fn answer(
        &self,
        asked: &HeaderMap,
        head: bool,
        now: SystemTime,
        detail: Option<&str>,
    ) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        headers.insert(AGE, HeaderValue::from(self.policy.age(now).as_secs()));
        let ttl = if self.policy.is_stale(now) {
            -i64::try_from(self.beyond(now).as_secs()).unwrap_or(i64::MAX)
        } else {
            i64::try_from(self.policy.time_to_live(now).as_secs()).unwrap_or(i64::MAX)
        };
        let detail = detail.map_or_else(String::new, |detail| format!("; detail={detail}"));
        if let Ok(value) = HeaderValue::try_from(format!("guichet; hit; ttl={ttl}{detail}")) {
            headers.append(CACHE_STATUS, value);
        }
        if self.status == StatusCode::OK && self.unchanged_for(asked) {
            headers.remove(CONTENT_LENGTH);
            headers.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        *response.status_mut() = self.status;
        if !head {
            *response.body_mut() = Body::full(self.body.clone());
        }
        response
    }

    /// The answer to the request that fetched it.
    #[must_use]
    pub(crate) fn first_answer(&self, asked: &HeaderMap, now: SystemTime) -> Response<Body> {
        let mut response = self.answer(asked, false, now, None);
        let own = self.headers.get_all(CACHE_STATUS).iter().cloned();
        response.headers_mut().remove(CACHE_STATUS);
        for value in own.chain([HeaderValue::from_static("guichet; fwd=uri-miss; stored")]) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
        if !self.headers.contains_key(AGE) {
            // It was made just now.
            response.headers_mut().remove(AGE);
        }
        response
    }

    /// Whether a conditional request has this answer already (RFC 9110, 13.1).
    fn unchanged_for(&self, asked: &HeaderMap) -> bool {
        let text =
            |headers: &HeaderMap, name| -> Option<String> { headers.get(name)?.to_str().ok().map(str::to_owned) };
        if asked.contains_key(IF_NONE_MATCH) {
            let Some(own) = text(&self.headers, ETAG) else { return false };
            let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
            return asked
                .get_all(IF_NONE_MATCH)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|tag| tag.trim() == "*" || weak(tag) == weak(&own));
        }
        let date = |text: String| jiff::fmt::rfc2822::parse(&text).ok().map(|zoned| zoned.timestamp());
        match (text(asked, IF_MODIFIED_SINCE).and_then(date), text(&self.headers, LAST_MODIFIED).and_then(date)) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }
}

/// What answers may vary by without being declared: it is in every key, or (the coding) in no request for a kept answer.
const IN_EVERY_KEY: [&str; 3] = ["host", "x-forwarded-proto", "accept-encoding"];

/// What RFC 9111 leaves to the cache, and this one does not do.
fn storable(response: &http::response::Parts, directives: &Directives, rule: &RouteCache) -> bool {
    let headers = &response.headers;
    // A part of an answer, or one for one person, is for nobody else. Answers that never end are not kept either.
    let whole = !matches!(response.status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    let events = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    // It was asked for without Accept-Encoding, so it is plain, and everybody takes that.
    let varies_as_declared = headers.get_all(VARY).iter().all(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
                IN_EVERY_KEY.iter().any(|known| name.eq_ignore_ascii_case(known))
                    || rule.vary.iter().any(|known| name.eq_ignore_ascii_case(known.as_str()))
            })
        })
    });
    whole
        && !events
        && varies_as_declared
        && !directives.never_kept
        && !headers.contains_key(SET_COOKIE)
        && !response.status.is_server_error()
}

/// The directives of `Cache-Control` that the crate does not tell of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Directives {
    max_age: bool,
    never_kept: bool,
    never_stale: bool,
    stale_if_error: Option<u64>,
    stale_while_revalidate: Option<u64>,
}

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut told = Self::default();
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || value.trim().trim_matches('"').parse::<u64>().ok();
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "private" | "no-cache" => told.never_kept = true,
                "must-revalidate" | "proxy-revalidate" => told.never_stale = true,
                "s-maxage" => (told.max_age, told.never_stale) = (true, true),
                "max-age" => told.max_age = true,
                "stale-if-error" => told.stale_if_error = seconds(),
                "stale-while-revalidate" => told.stale_while_revalidate = seconds(),
                _ => {}
            }
        }
        told
    }
}
