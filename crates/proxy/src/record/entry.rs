//! What there is to say about one request.

use std::net::IpAddr;

use guichet_core::{Criticality, Moment, Reason, Standing};

use super::metrics::{ListenerSlot, ServiceSlot};
use super::trace::TraceContext;
use super::{Reference, RequestId};

/// One request, from its head to the end of its answer. It borrows what it tells: nothing is copied unless a line or
/// a span is wanted. Spans of time are in microseconds.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Identifies the request in log, trace and reference code.
    pub request_id: RequestId,
    /// The trace it belongs to.
    pub trace: Option<&'a TraceContext>,
    /// When the head was complete.
    pub began: Moment,
    /// The same in wall time: milliseconds since 1970.
    pub began_unix_ms: i64,
    /// The client, as far as trusted proxies tell; masked in the log on demand, and in no metric.
    pub client: IpAddr,
    /// Listener, by name.
    pub listener: &'a str,
    /// Listener, in the metrics.
    pub listener_slot: ListenerSlot,
    /// Service, by name; empty where none was found.
    pub service: &'a str,
    /// Service, in the metrics; [`ServiceSlot::NONE`] where none was found.
    pub service_slot: ServiceSlot,
    /// Path prefix of the route; empty for the service's own.
    pub route: &'a str,
    /// Method, as sent.
    pub method: &'a str,
    /// Path, as sent, without the query: queries carry what belongs to the person who asks.
    pub path: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'static str,
    /// Whether the client came over TLS.
    pub tls: bool,
    /// Status sent; 0 where the connection ended without one.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were written.
    pub bytes_out: u64,
    /// From the head to the end of the answer.
    pub duration_us: u64,
    /// Waited for a slot.
    pub queue_us: u64,
    /// From admission to the first byte of the upstream's answer, if it came.
    pub first_byte_us: Option<u64>,
    /// The server that answered, as configured; empty where none was asked.
    pub upstream: &'a str,
    /// How many times a server was asked; 0: the door answered by itself.
    pub attempts: u32,
    /// The lane it was admitted in, or refused from.
    pub lane: Criticality,
    /// What was known of the client.
    pub standing: Standing,
    /// Partner, by name.
    pub partner: Option<&'a str>,
    /// Why it was refused or failed.
    pub reason: Option<Reason>,
    /// How the answer came about, where the service's contract gave it.
    pub contract: Option<&'static str>,
    /// The mitigation that it matched.
    pub mitigation: Option<u32>,
    /// How the pass that it showed was come by.
    pub pass: Option<&'static str>,
    /// TLS fingerprint.
    pub ja4: Option<&'a str>,
    /// User-Agent, as sent.
    pub user_agent: Option<&'a [u8]>,
}

impl Entry<'_> {
    /// Whether the door refused it before any server was asked. Such lines are sampled and capped, because an
    /// attacker decides how many there are; lines of admitted requests are bounded by the capacity behind the door.
    #[must_use]
    pub const fn refused(&self) -> bool {
        self.reason.is_some() && self.attempts == 0
    }

    /// The code on the visitor's page, if there was one.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        self.reason.map(|reason| Reference::new(reason, self.request_id))
    }
}

/// An entry for tests: a good GET of the portal.
#[cfg(test)]
pub(super) fn entry_for_test() -> Entry<'static> {
    Entry {
        request_id: RequestId(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"),
        trace: None,
        began: Moment(5_000_000),
        began_unix_ms: 1_790_000_000_123,
        client: IpAddr::from([192, 0, 2, 77]),
        listener: "https",
        listener_slot: ListenerSlot::OTHER,
        service: "portal",
        service_slot: ServiceSlot::NONE,
        route: "/suivi",
        method: "GET",
        path: "/suivi/6A1",
        protocol: "HTTP/2.0",
        tls: true,
        status: 200,
        bytes_in: 0,
        bytes_out: 5120,
        duration_us: 12_345,
        queue_us: 1_500,
        first_byte_us: Some(9_870),
        upstream: "127.0.0.1:9101",
        attempts: 1,
        lane: Criticality::Ordinary,
        standing: Standing::Known,
        partner: None,
        reason: None,
        contract: None,
        mitigation: None,
        pass: None,
        ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1"),
        user_agent: Some(b"Mozilla/5.0"),
    }
}
