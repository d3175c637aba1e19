//! The guard of HTTP/1: a strict scanner of the inbound bytes, in front of hyper.
//!
//! Parsers disagree on malformed messages, and where a door and a service disagree, requests are smuggled. So the
//! guard judges framing by one strict reading, passes on only what every parser reads alike, and turns the rest away.
//!
//! [`Scanner`] is sans-IO: bytes in, verdict out. [`GuardedHttp1`] is the IO around it: it holds back a head until it
//! is judged, feeds hyper a well-formed request in place of a bad one (so that the desk answers the refusal in its
//! turn), and keeps the deadlines of the connection's phases.

mod chunked;
mod head;
mod io;
mod scanner;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use io::GuardedHttp1;
pub use scanner::{HeadBounds, Phase, Scan, Scanner, Verdict};
