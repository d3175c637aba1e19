//! The seam between the protocol drivers of `listen` and the rest of the pipeline.

use std::rc::Rc;

use guichet_core::Reason;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::connection::Connection;

/// What serves requests and hears of connections that ended in refusal. One per worker, not `Send`.
pub trait Desk: 'static {
    /// Answers one request. Never fails: failures are answers. The future may be dropped when the client goes away.
    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + 'static;

    /// A connection was refused or ended for a reason before or between requests (`source` is the best known client
    /// address). Must not block.
    fn connection_refused(&self, source: std::net::SocketAddr, listener: &str, reason: Reason);

    /// A connection opened (after TLS) or closed.
    fn connection_opened(&self, connection: &Connection);
    /// See [`Desk::connection_opened`].
    fn connection_closed(&self, connection: &Connection);

    /// How many streams a connection may have at once now (shrinks under load).
    fn streams_max(&self) -> u32;
}
