//! What a client learns from an answer.

use super::record::Got;
use crate::ops::Op;
use guichet_core::bounds::{DRILL_COOKIE_BYTES_MAX, DRILL_PAGE_BYTES_MAX};
use std::time::Duration;

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: u16,
    /// Value of `x-estate-op`; empty where a front answered by itself.
    pub(crate) op: String,
    /// Cookies that were set: name and value (empty value: removed).
    pub(crate) cookies: Vec<(String, String)>,
    /// `Retry-After` in seconds.
    pub(crate) retry_after: Option<Duration>,
    /// Whether its page goes on to the waiting room by itself.
    pub(crate) stays: bool,
    /// Whether it is a contract's page or document, which names other ways.
    pub(crate) contract: bool,
    /// Whether it was kept from before and says how old it is.
    pub(crate) aged: bool,
    /// Whether what kept it says that it is still good (`Cache-Status` with a `ttl` that is not negative, RFC 9211).
    pub(crate) fresh: bool,
    /// Whether the connection ends after it.
    pub(crate) close: bool,
    /// The beginning of what a front that refuses says by itself; empty otherwise.
    pub(crate) page: Vec<u8>,
}

impl Answer {
    /// Whether this is the service's own right answer to the operation.
    pub(crate) fn is_right(&self, op: &Op) -> bool {
        self.op == op.name && op.statuses.contains(&self.status)
    }

    /// What its reader got to see.
    pub(crate) fn got(&self, op: &Op) -> Got {
        match self.is_right(op) {
            true if self.aged && !self.fresh => Got::Stale,
            true => Got::Right,
            false if self.contract => Got::Fallback,
            false => Got::Error,
        }
    }

    /// Whether the service itself answered, whatever it said: no front asks for a password.
    pub(crate) fn is_of_service(&self) -> bool {
        !self.op.is_empty() || self.status == 401
    }

    /// Whether a front lets the client wait in its waiting room: it keeps a place, or says that places are given out in a
    /// moment. The page of either goes on by itself.
    pub(crate) fn is_waiting_room(&self) -> bool {
        self.status == 503 && (self.stays || self.cookies.iter().any(|(name, _)| name == "guichet-room"))
    }

    /// Keeps a piece of the body where the front refused by itself: it may say what can be done.
    pub(crate) fn piece(&mut self, bytes: &[u8]) {
        if self.status >= 400 && self.op.is_empty() {
            let room = DRILL_PAGE_BYTES_MAX.saturating_sub(self.page.len());
            self.page.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Takes note of a header.
    pub(crate) fn header(&mut self, name: &str, value: &[u8]) {
        let text = || String::from_utf8_lossy(value).trim().to_owned();
        if name.eq_ignore_ascii_case("x-estate-op") {
            self.op = text();
        } else if name.eq_ignore_ascii_case("set-cookie") {
            self.cookies.extend(cookie(&text()));
        } else if name.eq_ignore_ascii_case("retry-after") {
            self.retry_after = text().parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("refresh") {
            self.stays = text().contains("/.well-known/guichet/room");
        } else if name.eq_ignore_ascii_case("guichet-contract") {
            self.contract = true;
        } else if name.eq_ignore_ascii_case("age") {
            self.aged = true;
        } else if name.eq_ignore_ascii_case("cache-status") {
            let ttl = text()
                .rsplit_once("ttl=")
                .and_then(|(_, ttl)| ttl.split([';', ',']).next()?.trim().parse::<i64>().ok());
            self.aged |= text().contains("detail=stale");
            self.fresh |= ttl.is_some_and(|ttl| ttl >= 0);
        } else if name.eq_ignore_ascii_case("connection") {
            self.close |= text().split(',').any(|token| token.trim().eq_ignore_ascii_case("close"));
        }
    }
}

fn cookie(text: &str) -> Option<(String, String)> {
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let gone = parts.any(|p| p.trim().eq_ignore_ascii_case("max-age=0"));
    let value = if gone { "" } else { value.trim() };
    (!name.trim().is_empty() && value.len() <= DRILL_COOKIE_BYTES_MAX)
        .then(|| (name.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read() {
        for (text, expected) in [
            ("bank_session=abc; HttpOnly; Path=/", Some(("bank_session", "abc"))),
            ("a=b=c", Some(("a", "b=c"))),
            ("a=b; Max-Age=0", Some(("a", ""))),
            ("nonsense", None),
            ("=b", None),
        ] {
            let got = cookie(text);
            assert_eq!(got.as_ref().map(|(n, v)| (n.as_str(), v.as_str())), expected, "{text}");
        }
    }

    #[test]
    fn what_a_visitor_got_is_told_apart() {
        let op = crate::ops::find("portal", "home").unwrap();
        let check = |status, headers: &[(&str, &str)], expected| {
            let mut answer = Answer { status, ..Answer::default() };
            headers.iter().for_each(|(name, value)| answer.header(name, value.as_bytes()));
            assert_eq!(answer.got(op), expected, "{status} {headers:?}");
        };
        check(200, &[("x-estate-op", "home")], Got::Right);
        check(200, &[("x-estate-op", "home"), ("Age", "7")], Got::Stale);
        check(200, &[("x-estate-op", "home"), ("age", "1"), ("cache-status", "guichet; hit; ttl=1")], Got::Right);
        check(
            200,
            &[("x-estate-op", "home"), ("age", "9"), ("cache-status", "guichet; hit; ttl=-7; detail=x")],
            Got::Stale,
        );
        check(200, &[("x-estate-op", "home"), ("cache-status", "nginx; hit; detail=stale")], Got::Stale);
        check(200, &[("x-estate-op", "home"), ("cache-status", "")], Got::Right);
        check(503, &[("guichet-contract", "fallback")], Got::Fallback);
        check(503, &[("retry-after", "3")], Got::Error);
        check(502, &[("age", "1")], Got::Error);
    }

    #[test]
    fn a_fallback_page_is_not_a_right_answer() {
        let op = crate::ops::find("portal", "home").unwrap();
        let answer = |status, name: &str| Answer { status, op: name.to_owned(), ..Answer::default() };
        assert!(answer(200, "home").is_right(op));
        assert!(!answer(200, "").is_right(op));
        assert!(!answer(200, "search").is_right(op));
        assert!(!answer(503, "home").is_right(op));
    }
}
