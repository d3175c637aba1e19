//! The listen stage over real sockets on loopback.

mod http1;
mod smuggling;
mod support;
