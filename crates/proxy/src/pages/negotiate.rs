//! Which language, which kind: `Accept-Language` and `Accept` with their weights (RFC 9110, 12.5). Pure, total,
//! bounded.

use guichet_core::bounds::{ACCEPT_BYTES_MAX, ACCEPT_MEMBERS_MAX};

use crate::config::ClientKind;

/// The languages of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English, also for those who ask for neither.
    English,
    /// French.
    French,
}

impl Language {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// The tag in `lang` and `Content-Language`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A page.
    Html,
    /// A problem document.
    Problem,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::Html, Self::Problem];
}

/// The language for an `Accept-Language`: the heavier of the two, the earlier of equals, English where neither is
/// wanted.
#[must_use]
pub fn language_for(accept_language: Option<&[u8]>) -> Language {
    let mut best = (0, Language::English);
    for (range, weight) in members(accept_language.unwrap_or_default()) {
        let primary = range.split(|b| *b == b'-').next().unwrap_or_default();
        let language = match primary {
            b"*" => Language::English,
            tag if tag.eq_ignore_ascii_case(b"en") => Language::English,
            tag if tag.eq_ignore_ascii_case(b"fr") => Language::French,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// The kind for an `Accept`; the service's own kind decides where the header does not.
#[must_use]
pub fn kind_for(accept: Option<&[u8]>, service: ClientKind) -> Kind {
    let own = match service {
        ClientKind::Browser => Kind::Html,
        ClientKind::Api => Kind::Problem,
    };
    let Some(accept) = accept.filter(|value| !value.trim_ascii().is_empty()) else { return own };
    let (mut html, mut problem) = (Weight::default(), Weight::default());
    for (range, weight) in members(accept) {
        let (main, sub) = split_range(range);
        let is = |text: &[u8], word: &[u8]| text.eq_ignore_ascii_case(word);
        let ends_in_json = sub.len() > 5 && sub[sub.len() - 5..].eq_ignore_ascii_case(b"+json");
        match () {
            () if is(main, b"*") && is(sub, b"*") => {
                html.add(0, weight);
                problem.add(0, weight);
            }
            () if is(main, b"text") && is(sub, b"*") => html.add(1, weight),
            () if is(main, b"application") && is(sub, b"*") => problem.add(1, weight),
            () if is(main, b"text") && is(sub, b"html") => html.add(2, weight),
            () if is(main, b"application") && is(sub, b"xhtml+xml") => html.add(2, weight),
            () if is(main, b"application") && (is(sub, b"json") || ends_in_json) => problem.add(2, weight),
            () => {}
        }
    }
    match (html.weight, problem.weight) {
        // Neither is wanted: a program that asks for pictures, events, protocol buffers.
        (0, 0) => Kind::Problem,
        (h, p) if h > p => Kind::Html,
        (h, p) if p > h => Kind::Problem,
        _ if html.precision > problem.precision => Kind::Html,
        _ if problem.precision > html.precision => Kind::Problem,
        _ => own,
    }
}

/// The weight of the most precise range that matched, the heaviest among equally precise ones.
#[derive(Default)]
struct Weight {
    precision: u8,
    weight: u16,
}

impl Weight {
    fn add(&mut self, precision: u8, weight: u16) {
        if precision > self.precision {
            *self = Self { precision, weight };
        } else if precision == self.precision {
            self.weight = self.weight.max(weight);
        }
    }
}

fn split_range(range: &[u8]) -> (&[u8], &[u8]) {
    match range.iter().position(|b| *b == b'/') {
        Some(at) => (&range[..at], &range[at + 1..]),
        None => (range, &[]),
    }
}

/// The members of a weighted list with their weights in thousandths. What is malformed counts as not sent; what is
/// beyond the bounds is not looked at.
fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    value[..value.len().min(ACCEPT_BYTES_MAX)].split(|b| *b == b',').take(ACCEPT_MEMBERS_MAX).filter_map(|member| {
        let mut parts = member.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().filter(|range| !range.is_empty())?;
        let mut weight = 1000;
        for part in parts {
            if let [b'q' | b'Q', b'=', number @ ..] = part {
                weight = thousandths(number)?;
            }
        }
        Some((range, weight))
    })
}

/// `0`, `0.8`, `1.000`: at most three decimals, at most one.
fn thousandths(number: &[u8]) -> Option<u16> {
    let (whole, decimals) = match number {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let mut sum = u16::from(whole - b'0') * 1000;
    for (digit, unit) in decimals.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum += u16::from(digit - b'0') * unit;
    }
    (sum <= 1000).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn languages() {
        let check = |header: Option<&str>, wanted| {
            assert_eq!(language_for(header.map(str::as_bytes)), wanted, "{header:?}");
        };
        use Language::{English, French};
        check(None, English);
        check(Some(""), English);
        check(Some("fr"), French);
        check(Some("fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7"), French);
        check(Some("en-GB,en;q=0.9,fr;q=0.8"), English);
        check(Some("de-DE,de;q=0.9,fr;q=0.3"), French);
        check(Some("de, es"), English);
        check(Some("FR-ca"), French);
        check(Some("fr;q=0, en;q=0.1"), English);
        check(Some("fr;q=0"), English);
        check(Some("en;q=0.5, fr;q=0.50"), English);
        check(Some("fr;q=0.5, en;q=0.5"), French);
        check(Some("*;q=0.9, fr;q=0.8"), English);
        check(Some("fr;q=1.001, en;q=0.1"), English);
        check(Some("fr; q=0.8 , en;q=0.2"), French);
        check(Some("french"), English);
        check(Some("fro"), English);
        check(Some(";;;,,,=;q=,fr"), French);
    }

    #[test]
    fn kinds() {
        let check = |header: Option<&str>, browser, api| {
            let header = header.map(str::as_bytes);
            assert_eq!(kind_for(header, ClientKind::Browser), browser, "{header:?} of a browser's service");
            assert_eq!(kind_for(header, ClientKind::Api), api, "{header:?} of a program's service");
        };
        use Kind::{Html, Problem};
        check(None, Html, Problem);
        check(Some(""), Html, Problem);
        check(Some("*/*"), Html, Problem);
        check(Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Html, Html);
        check(Some("application/json"), Problem, Problem);
        check(Some("application/problem+json"), Problem, Problem);
        check(Some("application/vnd.api+json"), Problem, Problem);
        check(Some("application/json, text/plain, */*"), Problem, Problem);
        check(Some("application/json;q=0.5, text/html"), Html, Html);
        check(Some("text/html;q=0.5, application/json;q=0.9"), Problem, Problem);
        check(Some("text/html, application/json"), Html, Problem);
        check(Some("image/avif,image/webp,*/*;q=0.8"), Html, Problem);
        check(Some("image/png"), Problem, Problem);
        check(Some("text/event-stream"), Problem, Problem);
        check(Some("application/grpc"), Problem, Problem);
        check(Some("text/*"), Html, Html);
        check(Some("application/*"), Problem, Problem);
        check(Some("TEXT/HTML"), Html, Html);
        check(Some("text/html;q=0, */*"), Problem, Problem);
        check(Some("garbage"), Problem, Problem);
    }

    proptest! {
        #[test]
        fn anything_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert!(Language::ALL.contains(&language_for(Some(&bytes))));
            prop_assert!(Kind::ALL.contains(&kind_for(Some(&bytes), ClientKind::Browser)));
        }
    }
}
