//! What a request looks like: its features, and the words for them.

use std::borrow::Cow;
use std::net::IpAddr;

use guichet_core::demand::pace_bucket;
use guichet_core::signs::{Dimension, FeatureHash, FeatureHasher, Features, SignIn};
use guichet_core::{Reason, SourceView, Standing};
use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN, PRAGMA, RANGE, REFERER, USER_AGENT,
};
use http::request::Parts;
use ipnet::IpNet;

use super::agent::family;
use super::atlas::{Atlas, country_code, country_value};
use super::connection::source_features;
use super::target::{parameters, segments};
use crate::classify::Class;
use crate::connection::Connection;
use crate::identify::network_of;

/// Fields whose presence changes from one request of the same client to the next.
const CHANGING: [HeaderName; 15] = [
    COOKIE,
    REFERER,
    ORIGIN,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CACHE_CONTROL,
    PRAGMA,
    RANGE,
    AUTHORIZATION,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    HOST,
];
/// Header fields that enter the hash of their order.
const ORDERED: usize = 32;

/// A request, as far as it shows itself.
pub struct Looks<'a> {
    /// Makes values of texts.
    pub hash: FeatureHash,
    /// The head.
    pub head: &'a Parts,
    /// Its connection.
    pub connection: &'a Connection,
    /// The client's address.
    pub client: IpAddr,
    /// What it asks for.
    pub class: &'a Class,
    /// Tells where addresses are.
    pub atlas: &'a Atlas,
}

/// Values that are the same for all requests of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionSigns {
    tls: u32,
    http2: u32,
}

impl Looks<'_> {
    /// All that the request itself tells, whatever its source did before.
    #[must_use]
    pub fn outward(&self) -> Features {
        let connection = self.of_connection();
        // Behind a trusted proxy each request has a client of its own.
        let mut features = match &self.connection.looks {
            Some(looks) if looks.client == self.client => looks.features,
            _ => source_features(self.hash, self.atlas, self.client),
        };
        features.set(Dimension::Tls, connection.tls);
        features.set(Dimension::Http2, connection.http2);
        self.client(&mut features);
        self.wanted(&mut features);
        features
    }

    /// What it tells with what is known of its source. `cost`: in requests of mean cost.
    #[must_use]
    pub fn with_account(outward: Features, view: &SourceView, cost: f32) -> Features {
        let bucket = pace_bucket(view.pace_per_s / view.share_scale.max(1.0));
        outward
            .with(Dimension::Answer, u32::from(view.answers))
            .with(Dimension::Pace, 1 + u32::from(bucket / 8))
            .with(Dimension::Cost, 1 + cost.max(1.0).log2() as u32)
    }

    /// Family of its user agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        agent_of(&self.head.headers).0
    }

    fn route(&self) -> &str {
        self.class.route().map_or("(none)", |route| &route.path)
    }

    fn of_connection(&self) -> ConnectionSigns {
        *self.connection.signs.get_or_init(|| ConnectionSigns {
            tls: self.connection.tls.as_ref().map_or(0, |tls| self.hash.of(Dimension::Tls, tls.ja4.as_bytes())),
            http2: self.connection.h2_fingerprint.get().map_or(0, |h2| self.hash.of(Dimension::Http2, h2.as_bytes())),
        })
    }

    fn client(&self, features: &mut Features) {
        let headers = &self.head.headers;
        features.set(Dimension::HeaderOrder, header_order(self.hash.begin(Dimension::HeaderOrder), headers));
        let (name, version) = agent_of(headers);
        features.set(Dimension::Agent, self.hash.of(Dimension::Agent, name.as_bytes()));
        let mut exact = self.hash.begin(Dimension::AgentVersion);
        exact.add(name.as_bytes());
        exact.add(&version.to_be_bytes());
        features.set(Dimension::AgentVersion, exact.value());
        let cookies = match (
            self.class.session.is_some() || self.class.standing >= Standing::Session,
            headers.contains_key(COOKIE),
        ) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        features.set(Dimension::Cookies, cookies);
        features.set(Dimension::Referrer, self.referrer());
    }

    fn referrer(&self) -> u32 {
        let Some(referrer) = self.head.headers.get(REFERER).and_then(|field| field.to_str().ok()) else { return 1 };
        let host = referrer.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        let asked = self.head.uri.authority().map(http::uri::Authority::as_str);
        let asked = asked.or_else(|| self.head.headers.get(HOST).and_then(|field| field.to_str().ok()));
        if asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host)) { 2 } else { 3 }
    }

    fn wanted(&self, features: &mut Features) {
        features.set(Dimension::Method, self.hash.of(Dimension::Method, self.head.method.as_str().as_bytes()));
        // By its path: a position would be another route at another service, under the same words.
        features.set(Dimension::Route, self.hash.of(Dimension::Route, self.route().as_bytes()));
        let mut path = self.hash.begin(Dimension::Path);
        segments(self.head.uri.path()).for_each(|segment| path.add(segment.as_bytes()));
        features.set(Dimension::Path, path.value());
        let mut query = self.hash.begin(Dimension::Query);
        parameters(self.head.uri.query().unwrap_or_default()).for_each(|name| query.add(name.as_bytes()));
        features.set(Dimension::Query, query.value());
    }

    /// The words for a value of [`Looks::outward`], for people; `None` where the number itself says it all, or nothing is
    /// told.
    #[must_use]
    pub fn words(&self, dimension: Dimension) -> Option<String> {
        let headers = &self.head.headers;
        match dimension {
            Dimension::Narrow => prefix(self.client, 0).map(|network| network.to_string()),
            Dimension::Middle => prefix(self.client, 1).map(|network| network.to_string()),
            Dimension::Wide => prefix(self.client, 2).map(|network| network.to_string()),
            Dimension::Network | Dimension::Country => None,
            Dimension::Tls => self.connection.tls.as_ref().map(|tls| tls.ja4.clone()),
            Dimension::Http2 => self.connection.h2_fingerprint.get().cloned(),
            Dimension::HeaderOrder => {
                let names: Vec<_> = ordered(headers).map(|name| name.as_str()).collect();
                Some(names.join(","))
            }
            Dimension::Agent => Some(agent_of(headers).0.to_owned()),
            Dimension::AgentVersion => {
                let (name, version) = agent_of(headers);
                Some(format!("{name} {version}"))
            }
            Dimension::Method => Some(self.head.method.to_string()),
            Dimension::Route => Some(self.route().to_owned()),
            Dimension::Path => {
                let mut text: String = segments(self.head.uri.path()).flat_map(|segment| ["/", segment]).collect();
                if text.is_empty() {
                    text.push('/');
                }
                Some(text)
            }
            Dimension::Query => {
                let names: Vec<_> = parameters(self.head.uri.query().unwrap_or_default()).collect();
                Some(if names.is_empty() { "(none)".to_owned() } else { names.join("&") })
            }
            Dimension::Answer
            | Dimension::Pace
            | Dimension::Cookies
            | Dimension::Referrer
            | Dimension::Cost
            | Dimension::Ending => None,
        }
    }
}

fn agent_of(headers: &HeaderMap) -> (&str, u32) {
    headers.get(USER_AGENT).map_or(("(none)", 0), |field| family(field.as_bytes()))
}

fn ordered(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    headers.keys().filter(|name| !CHANGING.contains(name)).take(ORDERED)
}

fn header_order(mut hasher: FeatureHasher, headers: &HeaderMap) -> u32 {
    ordered(headers).for_each(|name| hasher.add(name.as_str().as_bytes()));
    hasher.value()
}

/// The network of an address: level 0 narrow, 1 middle, 2 wide.
pub(super) fn prefix(address: IpAddr, level: usize) -> Option<IpNet> {
    let (v4_bits, v6_bits) = [(Some(32), 64), (None, 56), (Some(24), 48)][level];
    (v4_bits.is_some() || address.is_ipv6()).then(|| network_of(address, v4_bits.unwrap_or_default(), v6_bits))
}

pub(super) fn prefix_value(hash: FeatureHash, dimension: Dimension, prefix: IpNet) -> u32 {
    match prefix.addr() {
        IpAddr::V4(v4) => hash.of(dimension, &v4.octets()),
        IpAddr::V6(v6) => hash.of(dimension, &v6.octets()),
    }
}

/// The value of a dimension for words of the operator's.
///
/// # Errors
/// What can be given for it.
pub fn value_of(hash: FeatureHash, dimension: Dimension, words: &str) -> Result<u32, String> {
    match dimension {
        Dimension::Tls | Dimension::Http2 | Dimension::Agent | Dimension::Method | Dimension::Route => {
            Ok(hash.of(dimension, words.as_bytes()))
        }
        Dimension::AgentVersion => {
            let (name, version) = words.rsplit_once(' ').ok_or("a name and a number, as in 'Chrome 143'")?;
            let version: u32 = version.parse().map_err(|_| "a name and a number, as in 'Chrome 143'")?;
            let mut exact = hash.begin(dimension);
            exact.add(name.as_bytes());
            exact.add(&version.to_be_bytes());
            Ok(exact.value())
        }
        Dimension::HeaderOrder => {
            let mut hasher = hash.begin(dimension);
            words.split(',').for_each(|name| hasher.add(name.trim().as_bytes()));
            Ok(hasher.value())
        }
        Dimension::Path => {
            let mut hasher = hash.begin(dimension);
            segments(words).for_each(|segment| hasher.add(segment.as_bytes()));
            Ok(hasher.value())
        }
        Dimension::Query => {
            let mut hasher = hash.begin(dimension);
            parameters(words).for_each(|name| hasher.add(name.as_bytes()));
            Ok(hasher.value())
        }
        Dimension::Narrow | Dimension::Middle | Dimension::Wide => {
            let address = words.split('/').next().unwrap_or_default();
            let address: IpAddr = address.parse().map_err(|_| "an address, as in 192.0.2.7")?;
            let level = dimension.index();
            let prefix = prefix(address, level).ok_or("an IPv6 address")?;
            Ok(prefix_value(hash, dimension, prefix))
        }
        Dimension::Answer | Dimension::Pace | Dimension::Cookies | Dimension::Referrer | Dimension::Cost => {
            (1..8).find(|value| fixed_words(dimension, *value).as_deref() == Some(words)).ok_or_else(|| {
                let known: Vec<_> = (1..8).filter_map(|value| fixed_words(dimension, value)).collect();
                format!("one of: {}", known.join(", "))
            })
        }
        Dimension::Network => {
            let number = words.strip_prefix("AS").unwrap_or(words);
            let number = number.parse().ok().filter(|number| *number != 0);
            number.ok_or_else(|| "the number of an autonomous system, as in AS64500".to_owned())
        }
        Dimension::Country => country_value(words).ok_or_else(|| "two letters of a country, as in FR".to_owned()),
        Dimension::Ending => Err("nothing yet: use another dimension".to_owned()),
    }
}

/// The words for a value that needs no memory of what came.
#[must_use]
pub(super) fn fixed_words(dimension: Dimension, value: u32) -> Option<Cow<'static, str>> {
    let words: &[&str] = match dimension {
        Dimension::Answer => &["none yet", "well", "a client error or two", "client errors"],
        Dimension::Pace => &["light", "brisk", "heavy", "very heavy", "extreme", "extreme"],
        Dimension::Cookies => &["none", "some", "session"],
        Dimension::Referrer => &["none", "here", "elsewhere"],
        Dimension::Network => return (value != 0).then(|| format!("AS{value}").into()),
        Dimension::Country => return country_code(value).map(Cow::from),
        Dimension::Ending => {
            if let Some(sign_in) = SignIn::of_ending(value) {
                return Some(sign_in.name().into());
            }
            let reason = Reason::ALL.iter().find(|reason| u32::from(reason.code()) == value);
            return reason.map(|reason| reason.label().into());
        }
        Dimension::Cost => &["ordinary", "double", "fourfold", "eightfold", "sixteenfold"],
        Dimension::Narrow
        | Dimension::Middle
        | Dimension::Wide
        | Dimension::Tls
        | Dimension::Http2
        | Dimension::HeaderOrder
        | Dimension::Agent
        | Dimension::AgentVersion
        | Dimension::Method
        | Dimension::Route
        | Dimension::Path
        | Dimension::Query => &[],
    };
    words.get((value as usize).checked_sub(1)?).map(|words| Cow::from(*words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let check = |address: &str, wanted: [Option<&str>; 3]| {
            let address = address.parse().unwrap();
            for (level, wanted) in wanted.into_iter().enumerate() {
                assert_eq!(
                    prefix(address, level).map(|network| network.to_string()).as_deref(),
                    wanted,
                    "{address} {level}"
                );
            }
        };
        check("192.0.2.77", [Some("192.0.2.77/32"), None, Some("192.0.2.0/24")]);
        check(
            "2001:db8:1:2345::9",
            [Some("2001:db8:1:2345::/64"), Some("2001:db8:1:2300::/56"), Some("2001:db8:1::/48")],
        );
    }

    #[test]
    fn the_order_of_fields_counts_and_what_changes_does_not() {
        let hash = FeatureHash::new(1);
        let of = |names: &[&'static str]| {
            let mut headers = HeaderMap::new();
            names.iter().for_each(|name| {
                headers.append(*name, "x".parse().unwrap());
            });
            header_order(hash.begin(Dimension::HeaderOrder), &headers)
        };
        assert_eq!(of(&["accept", "user-agent"]), of(&["accept", "cookie", "user-agent", "referer"]));
        assert_ne!(of(&["accept", "user-agent"]), of(&["user-agent", "accept"]));
        assert_ne!(of(&["accept", "user-agent"]), of(&["accept"]));
    }
}
