//! Listen: may this connection exist?
//!
//! Accept, PROXY from trusted networks only, caps per source prefix, a look at the TLS ClientHello before any
//! cryptography is paid for, handshake and header deadlines; then HTTP/1 or HTTP/2 behind a guard each, and the
//! [`Desk`](crate::desk::Desk) for every request.
//!
//! Parsers ([`proxy_protocol`], [`client_hello`], [`guard_http1::Scanner`], [`guard_http2`]) are pure functions of
//! bytes.

mod accept;
pub mod caps;
pub mod client_hello;
mod client_io;
mod deadline;
mod drive;
pub mod guard_http1;
pub mod guard_http2;
mod idle;
pub mod ja4;
mod opening;
pub mod proxy_protocol;
mod stall;
pub mod tls;
mod watch;
mod worker;

pub use accept::{bind, run_listener};
pub use worker::WorkerContext;
