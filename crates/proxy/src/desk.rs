//! The seam between the protocol drivers of `listen` and the rest of the pipeline.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use guichet_core::Reason;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::config::Listener;
use crate::connection::Connection;
use crate::listen::client_hello::ClientHelloInfo;
use crate::signs::ConnectionLooks;

/// What serves requests and hears of connections that ended in refusal. One per worker, not `Send`.
pub trait Desk: 'static {
    /// Answers one request. Never fails: failures are answers. The future may be dropped when the client goes away.
    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + 'static;

    /// A connection was refused or ended for a reason before or between requests (`source` is the best known client
    /// address, `looks` what [`Desk::look`] told if it came that far). Must not block.
    fn connection_refused(&self, source: SocketAddr, listener: &str, reason: Reason, looks: Option<&ConnectionLooks>);

    /// Looks at a connection to a listener, before any cryptography is paid for, and with the ClientHello where there is one.
    fn look(
        &self,
        hello: Option<&ClientHelloInfo>,
        client: SocketAddr,
        listener: &Listener,
    ) -> Option<Arc<ConnectionLooks>> {
        let _ = (hello, client, listener);
        None
    }

    /// Whether a connection may go on, before any cryptography is paid for: by its ClientHello, where it has one, and by
    /// what [`Desk::look`] told of it.
    ///
    /// # Errors
    /// Why not.
    fn may_connect(&self, hello: Option<&ClientHelloInfo>, looks: Option<&ConnectionLooks>) -> Result<(), Reason> {
        let _ = (hello, looks);
        Ok(())
    }

    /// A connection keeps the door waiting (`ending`: what it will end for, if it goes on like this; `noted`: whether it is
    /// to be noted, about once a second for each). True: it is to be closed now.
    fn stalls(&self, looks: &ConnectionLooks, ending: Reason, noted: bool) -> bool {
        let _ = (looks, ending, noted);
        false
    }

    /// Whether connections that stall may have to be closed at present.
    fn closes_stalled(&self) -> bool {
        false
    }

    /// A connection opened (after TLS) or closed.
    fn connection_opened(&self, connection: &Connection);
    /// See [`Desk::connection_opened`].
    fn connection_closed(&self, connection: &Connection);

    /// How many streams a connection may have at once now (shrinks under load).
    fn streams_max(&self) -> u32;
}
