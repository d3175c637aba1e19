//! A request as it will be sent: made once, sent by each attempt.

use std::net::IpAddr;
use std::rc::Rc;

use base64::Engine as _;
use guichet_core::Reason;
use http::header::{self, CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use http::{Method, Request, Uri, Version};
use hyper::upgrade::OnUpgrade;

use super::inbound::{Inbound, InboundBody};
use super::{Job, balance, headers};
use crate::ahead::ClientBody;
use crate::config::{Balance, Upstream, UpstreamProtocol};

/// A request that is ready to be sent, as often as need be.
pub(super) struct Plan {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    pub(super) inbound: Rc<Inbound>,
    /// The client's side of an upgrade that was asked for.
    pub(super) upgrade: Option<OnUpgrade>,
    /// The upgrade came as an extended CONNECT (RFC 8441), so a switch is answered with 200.
    pub(super) by_connect: bool,
    /// Key for consistent hashing, where the pool wants one.
    pub(super) key: Option<u64>,
    /// Whether asking twice does the same as asking once.
    pub(super) repeatable: bool,
}

/// A request that cannot be sent, with what the operator reads.
pub(super) type Unsendable = (Reason, String);

impl Plan {
    /// `random` becomes the key of a WebSocket handshake that HTTP/2 does without.
    pub(super) fn new(
        upstream: &Upstream,
        job: &Job,
        mut request: Request<ClientBody>,
        random: (u64, u64),
    ) -> Result<Self, Unsendable> {
        let h2 = matches!(upstream.protocol, UpstreamProtocol::H2c | UpstreamProtocol::H2);
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, incoming) = request.into_parts();
        let protocol = parts.extensions.remove::<hyper::ext::Protocol>();

        let by_connect = parts.method == Method::CONNECT;
        let host = authority(&parts.uri, &parts.headers);
        let key = key(upstream, job.arrival.client, parts.uri.path(), &parts.headers);
        let repeatable = job.idempotent || parts.method.is_idempotent();
        if by_connect {
            if h2 {
                return Err((Reason::ConnectRefused, "extended CONNECT needs an HTTP/1.1 upstream".into()));
            }
            let Some(protocol) = protocol else { return Err((Reason::ConnectRefused, "plain CONNECT".into())) };
            connect_to_upgrade(&mut parts, protocol.as_str(), random);
        }
        let upgrading = !h2 && parts.version != Version::HTTP_10 && headers::asks_upgrade(&parts.headers);

        let inbound = Inbound::new(incoming, job.body, job.connection.clone(), expects(&mut parts, h2));
        check_length(&inbound, job)?;

        headers::settle_length(&mut parts.headers);
        headers::prepare_request(&mut parts.headers, &job.arrival, &host, upgrading, parts.version);
        for cookie in job.cookies_hidden {
            headers::strip_cookie(&mut parts.headers, cookie);
        }
        if !h2 {
            headers::join_cookies(&mut parts.headers);
            headers::name_te(&mut parts.headers);
        }
        let uri = target(upstream, &parts.uri, &host, &mut parts.headers)?;
        Ok(Self {
            method: parts.method,
            uri,
            headers: parts.headers,
            inbound,
            upgrade: upgrading.then_some(on_upgrade),
            by_connect,
            key,
            repeatable,
        })
    }

    /// The request for one attempt.
    pub(super) fn request(&self) -> Request<InboundBody> {
        let mut request = Request::new(self.inbound.body());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(gate) = self.inbound.gate() {
            let gate = gate.clone();
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == http::StatusCode::CONTINUE {
                    gate.open();
                }
            });
        }
        request
    }
}

/// What was asked for: the target's authority before the Host field (RFC 9112, 3.2.2).
fn authority(uri: &Uri, headers: &HeaderMap) -> String {
    match uri.authority() {
        // Nobody's password goes further than here.
        Some(authority) => authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
    }
}

fn key(upstream: &Upstream, client: IpAddr, path: &str, headers: &HeaderMap) -> Option<u64> {
    match &upstream.balance {
        Balance::PowerOfTwo => None,
        Balance::ConsistentHash(on) => Some(balance::hash_key(on, client, path, headers)),
    }
}

/// The handshake that an HTTP/1.1 server knows, for a WebSocket that came over HTTP/2 (RFC 8441, 5).
fn connect_to_upgrade(parts: &mut http::request::Parts, protocol: &str, random: (u64, u64)) {
    parts.method = Method::GET;
    if let Ok(value) = HeaderValue::from_str(protocol) {
        parts.headers.insert(UPGRADE, value);
    }
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random.0.to_le_bytes());
    nonce[8..].copy_from_slice(&random.1.to_le_bytes());
    let nonce = base64::engine::general_purpose::STANDARD.encode(nonce);
    if let Ok(value) = HeaderValue::from_str(&nonce) {
        parts.headers.insert(header::SEC_WEBSOCKET_KEY, value);
    }
    parts.version = Version::HTTP_2;
}

/// Whether the client waits for 100 (Continue) and the upstream can be asked for it. HTTP/2 upstreams are not asked:
/// the codec does not show their 1xx.
fn expects(parts: &mut http::request::Parts, h2: bool) -> bool {
    let asked = parts.headers.get(EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if asked && (h2 || parts.version == Version::HTTP_10) {
        parts.headers.remove(EXPECT);
        return false;
    }
    asked
}

/// A body that says at once that it is too large is not begun.
fn check_length(inbound: &Rc<Inbound>, job: &Job) -> Result<(), Unsendable> {
    let announced = http_body::Body::size_hint(&inbound.body()).lower();
    if announced > job.body.bytes_max {
        return Err((Reason::BodyTooLarge, format!("{announced} bytes announced, {} allowed", job.body.bytes_max)));
    }
    Ok(())
}

/// The target in the form that the upstream's protocol wants, and `Host` where it belongs.
fn target(upstream: &Upstream, uri: &Uri, host: &str, headers: &mut HeaderMap) -> Result<Uri, Unsendable> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    match upstream.protocol {
        UpstreamProtocol::Http1 | UpstreamProtocol::Https => {
            let mut hosts = headers.get_all(HOST).iter();
            let same = hosts.next().is_some_and(|value| value.as_bytes() == host.as_bytes()) && hosts.next().is_none();
            if !same {
                let value =
                    HeaderValue::from_str(host).map_err(|_| (Reason::BadHost, "invalid authority".to_owned()))?;
                headers.insert(HOST, value);
            }
        }
        UpstreamProtocol::H2c | UpstreamProtocol::H2 => {
            headers.remove(HOST);
            let authority: Authority =
                host.parse().map_err(|_| (Reason::BadHost, "no valid authority to send on".to_owned()))?;
            parts.authority = Some(authority);
            parts.scheme =
                Some(if upstream.protocol == UpstreamProtocol::H2 { UriScheme::HTTPS } else { UriScheme::HTTP });
        }
    }
    Uri::from_parts(parts).map_err(|e| (Reason::MalformedHead, format!("target: {e}")))
}
