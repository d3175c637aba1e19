//! What every peer lets a source and a service have, worked out once, so that peers differ in what they can do and not in
//! the numbers they were given.

use super::contracts;
use super::template::Scope;
use crate::front::{Contracts, FrontContext, ServiceTarget};
use anyhow::Context;

/// Connections of one source. Twice what browsers open to the nine names of the estate at once (six each for HTTP/1.1).
const CONNECTIONS_PER_SOURCE: u32 = 64;
/// New connections of one source in ten seconds: an app that opens one a request is still served.
const CONNECTIONS_PER_SOURCE_PER_10S: u32 = 200;
/// Requests a second of a source without a session, and how many at once.
const ANONYMOUS_RATE: u32 = 20;
const ANONYMOUS_BURST: u32 = 60;
/// The same for a source that shows a session.
const SESSION_RATE: u32 = 50;
const SESSION_BURST: u32 = 100;
/// Sign-ins, searches and quotes a second of one source: nobody does ten in ten seconds, offices behind one address may.
const COSTLY_RATE: u32 = 1;
const COSTLY_BURST: u32 = 10;
/// Errors in ten seconds after which strangers are slowed, and after which a source is refused for a minute.
const ERRORS_PER_10S: u32 = 50;
const BAN_ERRORS_PER_10S: u32 = 300;
/// Full TLS handshakes a second that one core is let do: 60 % of about 3,500 (OpenSSL 3.0, P-256).
const TLS_RATE_PER_WORKER: usize = 2000;
/// Longest that a request waits at the front for a slot.
const QUEUE_MS: u32 = 1000;
/// Milliseconds that a service may take for an answer where there is a page to give instead: visitors leave after two seconds.
const ANSWER_WITH_PAGE_MS: u32 = 1500;

/// Values that all templates may use.
fn base(context: &FrontContext<'_>) -> Scope {
    let fd_limit = fd_limit();
    // Two descriptors a connection, and some for listeners and files.
    let connections_max = (fd_limit.saturating_sub(200) / 2).min(50_000);
    let mut scope = Scope::default();
    scope
        .set("dir", context.dir.display())
        .set("workers", context.workers.max(1))
        .set("http", context.ports.http)
        .set("https", context.ports.https)
        .set("admin", context.ports.admin)
        .set("cert", context.tls.cert.display())
        .set("key", context.tls.key.display())
        .set("partner_ca", context.tls.partner_ca.display())
        .set("root", if nix::unistd::geteuid().is_root() { "yes" } else { "" })
        .set("fd_limit", fd_limit)
        .set("connections_max", connections_max)
        .set("connections_public", connections_max * 9 / 10)
        .set("connections_shed", connections_max * 9 / 10)
        .set("connections_per_worker", (fd_limit.saturating_sub(100)).max(512))
        .set("connections_per_source", CONNECTIONS_PER_SOURCE)
        .set("connections_per_10s", CONNECTIONS_PER_SOURCE_PER_10S)
        .set("tls_rate", TLS_RATE_PER_WORKER * context.workers.max(1))
        .set("anonymous_rate", ANONYMOUS_RATE)
        .set("anonymous_burst", ANONYMOUS_BURST)
        .set("anonymous_per_5s", ANONYMOUS_RATE * 5)
        .set("session_rate", SESSION_RATE)
        .set("session_burst", SESSION_BURST)
        .set("session_per_5s", SESSION_RATE * 5)
        .set("costly_rate", COSTLY_RATE)
        .set("costly_burst", COSTLY_BURST)
        .set("costly_per_10s", COSTLY_RATE * 10)
        .set("errors_per_10s", ERRORS_PER_10S)
        .set("ban_errors_per_10s", BAN_ERRORS_PER_10S)
        .set("queue_ms", QUEUE_MS);
    // With contracts, a page comes before the visitor leaves; without, nothing better would come than the late answer.
    let answer_ms = if context.contracts == Contracts::None { 15_000 } else { ANSWER_WITH_PAGE_MS };
    scope.set("away", "").set("kept", "").set("answer_ms", answer_ms).set("answer_s", f64::from(answer_ms) / 1000.0);
    let kept = context.contracts == Contracts::Kept;
    let of = |keep: fn(&ServiceTarget) -> bool| {
        context.services.iter().filter(|s| keep(s)).map(|s| service(s, kept)).collect()
    };
    scope
        .list("services", of(|_| true))
        .list("public", of(|s| !s.partner_only))
        .list("partners", of(|s| s.partner_only))
        .list("sessions", of(|s| !s.partner_only && s.session_cookie.is_some()));
    let partner_hosts: Vec<_> =
        context.services.iter().filter(|s| s.partner_only).map(|s| format!("\"{}\"", s.host)).collect();
    scope.set("partner_hosts", partner_hosts.join(", "));
    scope
}

/// What peers are told to serve instead of services that are away: a page that names other ways, written into their folder, and
/// answers that are the same for everybody, of peers that can keep them.
///
/// # Errors
/// When the page can't be written.
pub(crate) fn scope(context: &FrontContext<'_>) -> anyhow::Result<Scope> {
    let mut scope = base(context);
    let page = context.dir.join(".away.html");
    if context.contracts != Contracts::None {
        std::fs::write(&page, contracts::away_page()).with_context(|| page.display().to_string())?;
        scope.set("away", page.display());
    }
    if context.contracts == Contracts::Kept {
        scope.set("kept", "yes");
    }
    Ok(scope)
}

fn service(service: &ServiceTarget, kept: bool) -> Scope {
    let workers = service.workers.max(1);
    // Half a set of operations waits at the service, so that no worker is idle between two; more would near its knee.
    let slots = workers + workers.div_ceil(2);
    let capacity = service.capacity_rps.clamp(1.0, 1e6);
    let requests_in = |seconds: f64| whole(capacity * seconds).max(4);
    let mut scope = Scope::default();
    scope
        .set("name", &service.name)
        .set("host", &service.host)
        .set("upstream", service.upstream)
        .set("upstream_ip", service.upstream.ip())
        .set("upstream_port", service.upstream.port())
        .set("cookie", service.session_cookie.as_deref().unwrap_or_default())
        .set("cached", if kept && service.name == "portal" { "yes" } else { "" })
        .set("workers_service", workers)
        .set("slots", slots)
        // nginx has no queue of its own: the service's has to do, up to twice its slots.
        .set("max_conns", slots * 2)
        .set("anonymous_total_rate", whole(capacity * 0.7).max(1))
        .set("anonymous_total_burst", requests_in(0.35))
        .set("holder_total_rate", whole(capacity).max(1))
        .set("holder_total_burst", requests_in(1.0))
        .set("queue_stranger", requests_in(0.5))
        .set("queue_known", requests_in(1.0))
        .set("slots_stranger", workers)
        .set("requests_stranger", workers + requests_in(0.5))
        // A partners' service gives all its slots to partners.
        .set("slots_high", if service.partner_only { slots } else { workers.div_ceil(2) })
        .set("requests_high", slots + requests_in(1.0))
        .set("adaptive_max", workers + requests_in(0.5))
        // Mean cost of an operation, from what the service declares.
        .set("min_rtt_s", format!("{:.6}", (f64::from(workers) / capacity).clamp(0.001, 10.0)));
    scope
}

/// Rounds up to a whole number; the argument is bounded by the clamp on the capacity.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1e6 by the clamp above")]
fn whole(value: f64) -> u32 {
    value.clamp(0.0, 1e6).ceil() as u32
}

/// The hard limit of descriptors, which peers are given.
pub(crate) fn fd_limit() -> u64 {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.map_or(1024, |(_, hard)| hard.min(200_000))
}
