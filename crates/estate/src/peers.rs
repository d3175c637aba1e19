//! The other services, as one service reaches them: inside the estate, never through the public front.
//!
//! What one service asks of another goes straight to its listener, so that an answer depends on that service alone.

use crate::bounds::{PEER_ANSWER_BYTES_MAX, PEER_CALL_MAX, PEER_CONNECT_MAX};
use crate::service::Service;
use axum::body::{Body, Bytes};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where the services of this estate are, and how to ask them.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    addresses: Arc<BTreeMap<Service, SocketAddr>>,
    /// Other banks of the instant transfers' scheme, by BIC.
    banks: Arc<BTreeMap<String, SocketAddr>>,
    client: Client<HttpConnector, Body>,
}

/// Why another service gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerError {
    /// This estate has no such service: it was started without an address for it.
    Unknown,
    /// It can't be reached, or broke off.
    Unreachable,
    /// It did not answer within [`PEER_CALL_MAX`].
    Late,
    /// Its answer is longer than [`PEER_ANSWER_BYTES_MAX`].
    TooLong,
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "is not part of this estate",
            Self::Unreachable => "can't be reached",
            Self::Late => "did not answer in time",
            Self::TooLong => "answered with too much",
        })
    }
}

/// What another service answered.
#[derive(Clone, Debug)]
pub(crate) struct PeerAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Peers {
    /// Services that are not in `addresses` can't be asked.
    pub(crate) fn new(addresses: impl IntoIterator<Item = (Service, SocketAddr)>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PEER_CONNECT_MAX));
        connector.set_nodelay(true);
        Self {
            addresses: Arc::new(addresses.into_iter().collect()),
            banks: Arc::default(),
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(8).build(connector),
        }
    }

    /// With the other banks that take instant transfers.
    pub(crate) fn with_banks(mut self, banks: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        self.banks = Arc::new(banks.into_iter().collect());
        self
    }

    /// The other banks of the scheme.
    pub(crate) fn banks(&self) -> &BTreeMap<String, SocketAddr> {
        &self.banks
    }

    /// Asks another bank. With [`PeerError::Unreachable`] nothing was sent; with [`PeerError::Late`] it may have been.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub(crate) async fn call_bank(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
        kind: &str,
        body: impl Into<Body>,
    ) -> Result<PeerAnswer, PeerError> {
        let request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        let request = request.header("content-type", kind).body(body.into()).map_err(|_| PeerError::Unreachable)?;
        let asked = async {
            let failed = |error: hyper_util::client::legacy::Error| {
                if error.is_connect() { PeerError::Unreachable } else { PeerError::Late }
            };
            let (head, body) = self.client.request(request).await.map_err(failed)?.into_parts();
            let body = Limited::new(body, PEER_ANSWER_BYTES_MAX).collect().await.map_err(|_| PeerError::Late)?;
            Ok(PeerAnswer { status: head.status, body: body.to_bytes() })
        };
        tokio::time::timeout(PEER_CALL_MAX, asked).await.map_err(|_| PeerError::Late)?
    }

    /// Where a service is, if this estate has it.
    pub(crate) fn address(&self, service: Service) -> Option<SocketAddr> {
        self.addresses.get(&service).copied()
    }

    /// Asks another service. The path begins with a slash; the whole answer is read, within bounds of size and time.
    ///
    /// # Errors
    /// When there is no whole answer. An answer that says no is an answer.
    pub(crate) async fn call(
        &self,
        service: Service,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Result<PeerAnswer, PeerError> {
        let address = self.addresses.get(&service).ok_or(PeerError::Unknown)?;
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // What can't be made into a request was never sent.
        let request = request.body(body.into()).map_err(|_| PeerError::Unreachable)?;
        let asked = async {
            let response = self.client.request(request).await.map_err(|_| PeerError::Unreachable)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, PEER_ANSWER_BYTES_MAX).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() { PeerError::TooLong } else { PeerError::Unreachable }
            })?;
            Ok(PeerAnswer { status: head.status, body: body.to_bytes() })
        };
        tokio::time::timeout(PEER_CALL_MAX, asked).await.map_err(|_| PeerError::Late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::{get, post};

    #[tokio::test]
    async fn answers_are_whole_and_failures_are_told_apart() {
        let routes = Router::new()
            .route("/echo", post(async |body: String| (StatusCode::ACCEPTED, body)))
            .route("/long", get(async || vec![b'x'; PEER_ANSWER_BYTES_MAX + 1]));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        // Nobody listens there: it was bound, and is free again.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peers = Peers::new([(Service::Rails, address), (Service::Vault, gone)]);
        let answer =
            peers.call(Service::Rails, "POST", "/echo", &[("content-type", "text/plain")], "hello").await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (202, &b"hello"[..]));
        for (service, path, expected) in [
            (Service::Rails, "/long", PeerError::TooLong),
            (Service::Vault, "/", PeerError::Unreachable),
            (Service::Bank, "/", PeerError::Unknown),
        ] {
            assert_eq!(peers.call(service, "GET", path, &[], "").await.err(), Some(expected), "{service:?} {path}");
        }
    }
}
