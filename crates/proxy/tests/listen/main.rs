//! The listen stage over real sockets on loopback.

mod accept;
mod http1;
mod http2;
mod smuggling;
mod support;
mod tls;
