//! What is known of a connection, from `listen` on.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use guichet_core::{Moment, Reason};

use crate::config::Listener;

/// A connection that may exist. Lives on one worker, shared by its requests.
#[derive(Debug)]
pub struct Connection {
    /// Unique on this node since start.
    pub id: u64,
    /// The client's address: of the socket, or of a trusted PROXY header.
    pub client: SocketAddr,
    /// The other end of the socket.
    pub socket_peer: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// When it was accepted.
    pub opened: Moment,
    /// What TLS told, if it is TLS.
    pub tls: Option<TlsInfo>,
    /// HTTP/2 fingerprint (SETTINGS | WINDOW_UPDATE | PRIORITY | pseudo-header order), once seen.
    pub h2_fingerprint: std::cell::OnceCell<String>,
    /// What it looks like, as [`crate::desk::Desk::look`] told.
    pub looks: Option<Arc<crate::signs::ConnectionLooks>>,
    /// Features that are the same for all its requests, once looked at.
    pub signs: std::cell::OnceCell<crate::signs::ConnectionSigns>,
    /// Set by the protocol guards: the current request is malformed and must be refused with this reason, then closed.
    pub violation: Cell<Option<Reason>>,
    /// Requests begun on this connection.
    pub requests: Cell<u64>,
    /// Requests (streams) in flight on this connection.
    pub in_flight: Cell<u32>,
}

/// What TLS told.
#[derive(Debug, Clone, Default)]
pub struct TlsInfo {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: &'static str,
    /// Negotiated suite, as rustls names it.
    pub cipher: String,
    /// The name asked for, lower case.
    pub sni: Option<String>,
    /// JA4 of the ClientHello.
    pub ja4: String,
    /// Whether HTTP/2 was negotiated.
    pub h2: bool,
    /// SHA-256 (DER) of the verified client certificate.
    pub client_certificate_sha256: Option<[u8; 32]>,
    /// Common name of the verified client certificate.
    pub client_common_name: Option<String>,
}
