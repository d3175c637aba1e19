//! What happens to header fields on the way to an upstream and back. Pure: maps in, maps out.
//!
//! Three rules. Fields that belong to one connection stay on it (RFC 9110, 7.6.1). A client cannot speak in the
//! door's name: whatever tells an upstream who the client is, is written here and nowhere else. Everything else is
//! passed on untouched and in order.

use std::fmt::Write as _;
use std::net::IpAddr;

use guichet_core::bounds::FORWARDED_HOPS_MAX;
use http::header::{
    self, CONNECTION, COOKIE, FORWARDED, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use smallvec::SmallVec;

use crate::passes::PASS_HEADER;

/// Header fields named at once for removal; more spill to the heap, and the head itself is bounded.
type Names = SmallVec<[HeaderName; 8]>;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How the client reached the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who asks and how the question came, as the earlier stages found it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The client itself, by trusted hops.
    pub client: IpAddr,
    /// The nearest sender: the client, or the trusted proxy in front of this door.
    pub peer: IpAddr,
    /// Whether `peer` is trusted, so that its forwarding fields are believed and kept.
    pub peer_trusted: bool,
    /// How the client came in.
    pub scheme: Scheme,
    /// Becomes `x-request-id`.
    pub request_id: HeaderValue,
}

/// Removes what belongs to the client's connection and what a client may not say, and writes what the upstream is
/// told of the client. `upgrade` keeps the fields of an upgrade; `host` is the authority that was asked for.
pub fn prepare_request(headers: &mut HeaderMap, arrival: &Arrival, host: &str, upgrade: bool, version: http::Version) {
    let upgrade_to = if upgrade { headers.get(UPGRADE).cloned() } else { None };
    let trailers = accepts_trailers(headers);
    let chain = if arrival.peer_trusted { trusted_chain(headers, arrival.client) } else { SmallVec::new() };
    let proto = trusted_proto(headers, arrival);
    let forwarded_host = arrival.peer_trusted.then(|| headers.get(X_FORWARDED_HOST).cloned()).flatten();

    strip_hop_by_hop(headers);
    strip_claims(headers, arrival.peer_trusted);

    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade_to {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    write_forwarding(headers, arrival, &chain, proto, host, forwarded_host);
    append_via(headers, version);
    headers.insert(X_REQUEST_ID, arrival.request_id.clone());
}

/// Removes what belongs to the upstream's connection. An answer that switches protocols keeps its `Upgrade`.
pub fn prepare_answer(headers: &mut HeaderMap, switching: bool) {
    let upgrade_to = if switching { headers.get(UPGRADE).cloned() } else { None };
    strip_hop_by_hop(headers);
    if let Some(protocol) = upgrade_to {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Removes from trailers what has no place there: framing, and what a client may not say. A server that merges
/// trailers into the head would otherwise believe it.
pub fn prepare_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_claims(trailers, false);
    for name in [header::CONTENT_LENGTH, header::HOST, header::AUTHORIZATION, COOKIE, header::CONTENT_TYPE, VIA] {
        remove(trailers, &name);
    }
}

/// Removes every cookie whose name equals `name`, or starts with it where it ends in `-`, from all `Cookie` fields.
/// A field that is left empty goes away.
pub fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let matches = |cookie: &str| {
        let found = cookie.split_once('=').map_or(cookie, |(n, _)| n).trim();
        if name.ends_with('-') { found.starts_with(name) } else { found == name }
    };
    let hit = headers.get_all(COOKIE).iter().any(|v| v.to_str().is_ok_and(|v| v.split(';').any(matches)));
    if !hit {
        return;
    }
    let kept: SmallVec<[HeaderValue; 4]> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let Ok(text) = value.to_str() else { return Some(value.clone()) };
            let rest: SmallVec<[&str; 8]> =
                text.split(';').map(str::trim).filter(|c| !c.is_empty() && !matches(c)).collect();
            if rest.is_empty() { None } else { HeaderValue::from_str(&rest.join("; ")).ok() }
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Joins the `Cookie` fields that HTTP/2 may have split (RFC 9113, 8.2.3), for an upstream that speaks HTTP/1.1.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(COOKIE).iter();
    if values.next().is_none() || values.next().is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Leaves one way to tell where the body ends. `listen` refuses requests with several; should one come through, the
/// upstream must still read the same message as this door did: chunks before a length (RFC 9112, 6.3).
pub fn settle_length(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        remove(headers, &header::CONTENT_LENGTH);
    } else if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(first) = headers.get(header::CONTENT_LENGTH).cloned()
    {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

/// Names `TE` in `Connection`, as HTTP/1.1 wants it of whoever sends it (RFC 9110, 10.1.4).
pub fn name_te(headers: &mut HeaderMap) {
    if headers.contains_key(TE) {
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Whether this is an HTTP/1.1 request to switch protocols.
#[must_use]
pub fn asks_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && has_token(headers, &CONNECTION, "upgrade")
}

/// Whether a comma-separated field holds a token.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    })
}

/// `TE: trailers`, also beside other codings and with a weight that is not zero.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|part| part.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"))
        })
    })
}

fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.contains_key(name) {
        headers.remove(name);
    }
}

/// RFC 9110, 7.6.1: what `Connection` names, and what is known to belong to one connection.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Names = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
        // Naming these in Connection would let a sender delete what the next hop needs to frame or route the message.
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRAILER | COOKIE))
        .filter(|name| !matches!(*name, header::AUTHORIZATION | header::CONTENT_TYPE | header::EXPECT))
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HTTP2_SETTINGS,
    ] {
        remove(headers, &name);
    }
}

/// Removes what only the door may say. Names are compared with `_` read as `-`, because CGI-like servers cannot tell
/// the two apart.
fn strip_claims(headers: &mut HeaderMap, trusted: bool) {
    let claims: Names = headers.keys().filter(|name| is_claim(name.as_str(), trusted)).cloned().collect();
    for name in &claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str, trusted: bool) -> bool {
    // Cheap way out: every name below starts with one of these letters.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'g' | b't' | b'c')) {
        return false;
    }
    let dashed;
    let name = if name.contains('_') {
        dashed = name.replace('_', "-");
        dashed.as_str()
    } else {
        name
    };
    if name.starts_with("x-guichet-") || name == PASS_HEADER {
        return true;
    }
    match name {
        // Written anew in any case.
        "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-real-ip" | "x-request-id" => {
            true
        }
        "x-forwarded"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-original-forwarded-for"
        | "x-original-url"
        | "x-original-host"
        | "x-rewrite-url"
        | "x-remote-ip"
        | "x-remote-addr"
        | "true-client-ip"
        | "cf-connecting-ip"
        | "client-ip" => !trusted,
        _ => name.starts_with("x-forwarded-") && !trusted,
    }
}

/// The addresses from the client on, as trusted proxies wrote them: whatever stands left of the client was claimed by
/// the client and is dropped. Empty when no chain names the client.
fn trusted_chain(headers: &HeaderMap, client: IpAddr) -> SmallVec<[IpAddr; 4]> {
    let mut hops: SmallVec<[IpAddr; 4]> = chain_of(headers, &X_FORWARDED_FOR, Some);
    if hops.is_empty() {
        hops = chain_of(headers, &FORWARDED, |entry| {
            entry.split(';').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                key.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
            })
        });
    }
    match hops.iter().rposition(|hop| *hop == client) {
        Some(at) => hops.split_off_from(at),
        None => SmallVec::new(),
    }
}

/// `split_off` for the small chains here.
trait SplitOff {
    fn split_off_from(self, at: usize) -> Self;
}

impl SplitOff for SmallVec<[IpAddr; 4]> {
    fn split_off_from(mut self, at: usize) -> Self {
        self.drain(..at);
        self
    }
}

/// The last [`FORWARDED_HOPS_MAX`] addresses of a list field, in order; entries that are not addresses are skipped.
fn chain_of<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    pick: impl Fn(&'a str) -> Option<&'a str>,
) -> SmallVec<[IpAddr; 4]> {
    let mut hops: SmallVec<[IpAddr; 4]> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|entry| parse_node(pick(entry.trim())?))
        .collect();
    let excess = hops.len().saturating_sub(FORWARDED_HOPS_MAX);
    hops.drain(..excess);
    hops
}

/// An address with or without brackets and port.
fn parse_node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn trusted_proto(headers: &HeaderMap, arrival: &Arrival) -> &'static str {
    let claimed = headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
    match (arrival.peer_trusted, claimed) {
        (true, Some(b"http")) => "http",
        (true, Some(b"https")) => "https",
        _ => arrival.scheme.name(),
    }
}

fn write_forwarding(
    headers: &mut HeaderMap,
    arrival: &Arrival,
    chain: &[IpAddr],
    proto: &'static str,
    host: &str,
    forwarded_host: Option<HeaderValue>,
) {
    let mut hops: SmallVec<[IpAddr; 4]> = SmallVec::from_slice(chain);
    if hops.is_empty() {
        hops.push(arrival.client);
    }
    if arrival.peer != arrival.client {
        hops.push(arrival.peer);
    }

    let mut list = String::with_capacity(hops.len() * 16);
    let mut forwarded = String::with_capacity(hops.len() * 24 + host.len() + 24);
    for (position, hop) in hops.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(list, "{separator}{hop}");
        let _ = match hop {
            IpAddr::V4(v4) => write!(forwarded, "{separator}for={v4}"),
            IpAddr::V6(v6) => write!(forwarded, "{separator}for=\"[{v6}]\""),
        };
        if position == 0 {
            let asked = forwarded_host.as_ref().and_then(|value| value.to_str().ok()).unwrap_or(host);
            if !asked.is_empty() && !asked.contains(['"', '\\']) {
                let _ = write!(forwarded, ";host=\"{asked}\"");
            }
            let _ = write!(forwarded, ";proto={proto}");
        }
    }
    // Strings become values without a copy; equal values are shared.
    if let Ok(chain) = HeaderValue::try_from(list) {
        let client =
            if hops.len() == 1 { Ok(chain.clone()) } else { HeaderValue::try_from(arrival.client.to_string()) };
        headers.insert(X_FORWARDED_FOR, chain);
        if let Ok(client) = client {
            headers.insert(X_REAL_IP, client);
        }
    }
    if let Ok(value) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, value);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    let asked = forwarded_host.or_else(|| match headers.get(header::HOST) {
        Some(value) if value.as_bytes() == host.as_bytes() => Some(value.clone()),
        _ => HeaderValue::from_str(host).ok(),
    });
    if let Some(value) = asked.filter(|value| !value.is_empty()) {
        headers.insert(X_FORWARDED_HOST, value);
    }
}

fn append_via(headers: &mut HeaderMap, version: http::Version) {
    headers.append(
        VIA,
        HeaderValue::from_static(match version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => "1.0 guichet",
            http::Version::HTTP_2 => "2.0 guichet",
            http::Version::HTTP_3 => "3.0 guichet",
            _ => "1.1 guichet",
        }),
    );
}
