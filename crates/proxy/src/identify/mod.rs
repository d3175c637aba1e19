//! Identify: who is asking? Nothing here depends on what is asked for.

mod address;
mod cookies;
mod partner;
mod session;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;

pub use address::{client_address, network, network_of, trusted};
pub use cookies::{cookie, issued, set_own};
pub use partner::{KEY_HEADER, PartnerIndex};
pub use session::{PROOF_COOKIE, SessionSigner};

use crate::ahead::ClientBody;
use crate::config::Partner;
use crate::connection::Connection;

/// A request on a connection that may exist: what `listen` hands on.
pub struct Accepted {
    /// Where it came in.
    pub connection: Rc<Connection>,
    /// Head of the request.
    pub head: Parts,
    /// Body, not yet read.
    pub body: ClientBody,
}

/// A request and who asks.
pub struct Identified {
    /// What came in.
    pub accepted: Accepted,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    /// Whether the request came through a trusted proxy, so that its forwarding headers may be passed on.
    pub via_trusted_proxy: bool,
    /// Who it proved to be.
    pub partner: Option<Arc<Partner>>,
}

/// Finds out who asks.
#[must_use]
pub fn identify(accepted: Accepted, partners: &PartnerIndex) -> Identified {
    let connection = &accepted.connection;
    let peer = connection.client.ip().to_canonical();
    let client = client_address(peer, &connection.listener, &accepted.head.headers);
    let via_trusted_proxy = trusted(peer, &connection.listener.trusted_proxies);
    let partner = partners.find(connection.tls.as_ref(), &accepted.head.headers).cloned();
    Identified { accepted, client, via_trusted_proxy, partner }
}
