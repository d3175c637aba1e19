//! The two shapes of a line. Every text that a client can influence goes through [`Escaped`].

use std::net::IpAddr;

use guichet_core::bounds::{LOG_PATH_BYTES_MAX, LOG_TEXT_BYTES_MAX};
use jiff::Timestamp;
use serde::Serialize;

use super::super::ids::hex;
use super::super::text::{put, word_or_dash};
use super::super::{Entry, Escaped};
use crate::identify::network_of;

/// Most lines fit; longer ones grow once.
const LINE_BYTES_USUAL: usize = 640;

/// The fields of a JSON line. Their names are an interface: documented in docs/observability.md, never renamed.
#[derive(Serialize)]
struct Fields<'a> {
    time: Shown<Timestamp>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    client: Shown<IpAddr>,
    listener: Escaped<'a>,
    service: Option<Escaped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Escaped<'a>>,
    method: Escaped<'a>,
    path: Escaped<'a>,
    protocol: &'static str,
    tls: bool,
    status: u16,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    queue_ms: f64,
    first_byte_ms: Option<f64>,
    upstream: Option<Escaped<'a>>,
    attempts: u32,
    lane: &'static str,
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partner: Option<Escaped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mitigation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<Escaped<'a>>,
    user_agent: Option<Escaped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

/// Serialises by `Display`, without a String in between.
struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// One JSON object and a line feed.
pub(super) fn json(entry: &Entry<'_>, mask: bool) -> Vec<u8> {
    let (mut digits, mut trace_digits) = ([0; 32], [0; 32]);
    let reference = entry.reference();
    let fields = Fields {
        time: Shown(timestamp(entry)),
        request_id: hex(&entry.request_id.0, &mut digits),
        reference: reference.as_ref().map(|reference| reference.as_str()),
        client: Shown(client(entry, mask)),
        listener: word(entry.listener.as_bytes()),
        service: Some(entry.service).filter(|t| !t.is_empty()).map(|t| word(t.as_bytes())),
        route: Some(entry.route).filter(|t| !t.is_empty()).map(|t| word(t.as_bytes())),
        method: Escaped::new(entry.method.as_bytes(), 32),
        path: Escaped::new(entry.path.as_bytes(), LOG_PATH_BYTES_MAX),
        protocol: entry.protocol,
        tls: entry.tls,
        status: entry.status,
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        duration_ms: ms(entry.duration_us),
        queue_ms: ms(entry.queue_us),
        first_byte_ms: entry.first_byte_us.map(ms),
        upstream: Some(entry.upstream).filter(|t| !t.is_empty()).map(|t| word(t.as_bytes())),
        attempts: entry.attempts,
        lane: entry.lane.name(),
        standing: entry.standing.name(),
        partner: entry.partner.map(|t| word(t.as_bytes())),
        reason: entry.reason.map(|reason| reason.label()),
        reason_code: entry.reason.map(|reason| reason.code()),
        contract: entry.contract,
        mitigation: entry.mitigation,
        pass: entry.pass,
        ja4: entry.ja4.map(|t| word(t.as_bytes())),
        user_agent: entry.user_agent.map(word),
        trace_id: entry.trace.map(|trace| hex(&trace.trace_id, &mut trace_digits)),
    };
    let mut line = Vec::with_capacity(LINE_BYTES_USUAL);
    // Neither the fields nor writing to memory can fail.
    let _ = serde_json::to_writer(&mut line, &fields);
    line.push(b'\n');
    line
}

/// The combined format of web servers, with Guichet's fields behind it. The referer is never logged: it may hold what
/// belongs to the person who asks.
pub(super) fn combined(entry: &Entry<'_>, mask: bool) -> Vec<u8> {
    let mut line = String::with_capacity(LINE_BYTES_USUAL);
    put(&mut line, format_args!("{} - ", client(entry, mask)));
    word_or_dash(&mut line, entry.partner, LOG_TEXT_BYTES_MAX);
    put(
        &mut line,
        format_args!(
            " [{}] \"{} {} {}\" {} {} \"-\" \"",
            timestamp(entry).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            Escaped::word(entry.method.as_bytes(), 32),
            Escaped::word(entry.path.as_bytes(), LOG_PATH_BYTES_MAX),
            entry.protocol,
            entry.status,
            entry.bytes_out
        ),
    );
    match entry.user_agent {
        Some(agent) => put(&mut line, format_args!("{}\"", word(agent))),
        None => line.push_str("-\""),
    }
    put(&mut line, format_args!(" {} service=", entry.request_id));
    word_or_dash(&mut line, Some(entry.service), LOG_TEXT_BYTES_MAX);
    line.push_str(" upstream=");
    word_or_dash(&mut line, Some(entry.upstream), LOG_TEXT_BYTES_MAX);
    put(
        &mut line,
        format_args!(
            " lane={} standing={} reason={} duration_ms={} queue_ms={} reference={}",
            entry.lane.name(),
            entry.standing.name(),
            entry.reason.map_or("-", |reason| reason.label()),
            ms(entry.duration_us),
            ms(entry.queue_us),
            entry.reference().as_ref().map_or("-", |reference| reference.as_str())
        ),
    );
    line.push('\n');
    line.into_bytes()
}

fn word(bytes: &[u8]) -> Escaped<'_> {
    Escaped::new(bytes, LOG_TEXT_BYTES_MAX)
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn timestamp(entry: &Entry<'_>) -> Timestamp {
    Timestamp::from_millisecond(entry.began_unix_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn client(entry: &Entry<'_>, mask: bool) -> IpAddr {
    if mask { masked(entry.client) } else { entry.client }
}

/// The last octet (v4), or the last 80 bits (v6), zeroed.
fn masked(address: IpAddr) -> IpAddr {
    match address {
        // An IPv4 address in the clothes of an IPv6 one: its own last octet, which is the last of the other, too.
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => network_of(address, 24, 120).addr(),
        IpAddr::V4(_) | IpAddr::V6(_) => network_of(address, 24, 48).addr(),
    }
}
