//! Active health checks: asks every server of the pools that want it, so that a dead one is left out before a visitor
//! meets it, and a recovered one comes back by itself.
//!
//! Each check makes a connection of its own: what is tested is the way a request would take. A server changes state only
//! after several like answers in a row.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use guichet_core::bounds::{UPSTREAM_HEAD_BYTES_MAX, UPSTREAM_HEADER_FIELDS_MAX, UPSTREAM_PROBED_MAX};
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::balance::Prng;
use super::connect;
use super::pool::LocalExecutor;
use super::shared::PoolShared;
use crate::config::{Health, UpstreamProtocol};

/// Counts like verdicts in a row and says when the state changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hysteresis {
    healthy: bool,
    /// Verdicts in a row that speak against the state.
    against: u32,
    healthy_after: u32,
    unhealthy_after: u32,
}

impl Hysteresis {
    pub(super) fn new(health: &Health, healthy: bool) -> Self {
        Self {
            healthy,
            against: 0,
            healthy_after: health.healthy_after.max(1),
            unhealthy_after: health.unhealthy_after.max(1),
        }
    }

    /// The state after one more verdict; `Some` only when it changed.
    pub(super) fn note(&mut self, good: bool) -> Option<bool> {
        if good == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if good { self.healthy_after } else { self.unhealthy_after } {
            return None;
        }
        self.healthy = good;
        self.against = 0;
        Some(good)
    }
}

/// Checks all servers of `pools` until `shutdown` is ready. One call serves the whole process; it runs in a `LocalSet`.
/// `seed` spreads the checks over their interval.
pub async fn run(pools: &[Arc<PoolShared>], seed: u64, shutdown: impl Future<Output = ()>) {
    let prng = Prng::new(seed);
    let checks: FuturesUnordered<_> = pools
        .iter()
        .filter_map(|pool| pool.upstream().health.clone().map(|health| (pool, health)))
        .flat_map(|(pool, health)| {
            let prng = &prng;
            (0..pool.upstream().servers.len())
                .map(move |server| watch(pool, server, health.clone(), Prng::new(prng.next())))
        })
        .collect();
    tokio::select! {
        () = checks.for_each(|()| std::future::ready(())), if !checks_empty(pools) => {}
        () = shutdown => {}
    }
}

fn checks_empty(pools: &[Arc<PoolShared>]) -> bool {
    pools.iter().all(|pool| pool.upstream().health.is_none())
}

/// Checks one server for as long as it is polled.
async fn watch(pool: &Arc<PoolShared>, server: usize, health: Health, prng: Prng) {
    let interval = health.interval.max(Duration::from_millis(10));
    // Spread over one interval, so that servers are not all asked at the same moment.
    tokio::time::sleep(interval.mul_f64(prng.unit())).await;
    // A new pool starts healthy: a proxy that has just started must not refuse before it has asked.
    let mut state = Hysteresis::new(&health, pool.is_healthy(server));
    loop {
        let good = tokio::time::timeout(health.timeout, check(pool, server, &health)).await == Ok(true);
        if let Some(healthy) = state.note(good) {
            pool.set_healthy(server, healthy);
        }
        tokio::time::sleep(interval.mul_f64(0.9 + 0.2 * prng.unit())).await;
    }
}

/// Whether any server of a pool answers a plain question without an error of its own: what tells that a service is back.
pub async fn answers(pool: &PoolShared) -> bool {
    let upstream = pool.upstream();
    let health = upstream.health.clone();
    let path = health.as_ref().map_or_else(|| "/".to_owned(), |health| health.path.clone());
    let within = health.as_ref().map_or(PROBE_TIMEOUT, |health| health.timeout);
    for server in 0..upstream.servers.len().min(UPSTREAM_PROBED_MAX) {
        let asked = tokio::time::timeout(within, ask(pool, server, &path)).await;
        if asked.ok().flatten().is_some_and(|status| !status.is_server_error()) {
            return true;
        }
    }
    false
}

/// How long such a question may take where no health check says so.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// One check: whether the expected status came. The caller sets the deadline.
async fn check(pool: &PoolShared, server: usize, health: &Health) -> bool {
    ask(pool, server, &health.path).await.is_some_and(|status| status.as_u16() == health.status)
}

/// The status of the answer to a GET. The caller sets the deadline.
async fn ask(pool: &PoolShared, server: usize, path: &str) -> Option<http::StatusCode> {
    let upstream = pool.upstream();
    let address = pool.address(server);
    let Ok(addresses) = pool.name(server).addresses().await else { return None };
    let Ok(stream) = connect::open(&addresses, server, pool.tls()).await else { return None };
    let host = upstream.server_name.as_deref().unwrap_or(address);
    let io = TokioIo::new(stream);
    let sent = match upstream.protocol {
        UpstreamProtocol::Http1 | UpstreamProtocol::Https => {
            let request = request(path.to_owned(), host)?;
            let mut builder = hyper::client::conn::http1::Builder::new();
            builder
                .max_buf_size(UPSTREAM_HEAD_BYTES_MAX)
                .max_header_size(UPSTREAM_HEAD_BYTES_MAX)
                .max_headers(UPSTREAM_HEADER_FIELDS_MAX);
            let Ok((mut sender, connection)) = builder.handshake(io).await else { return None };
            drive(connection, sender.send_request(request)).await
        }
        UpstreamProtocol::H2c | UpstreamProtocol::H2 => {
            let scheme = if upstream.protocol == UpstreamProtocol::H2 { "https" } else { "http" };
            let mut request = request(format!("{scheme}://{host}{path}"), host)?;
            request.headers_mut().remove(http::header::HOST);
            let builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
            let Ok((mut sender, connection)) = builder.handshake(io).await else { return None };
            drive(connection, sender.send_request(request)).await
        }
    };
    sent.map(|answer| answer.status())
}

fn request(uri: String, host: &str) -> Option<Request<Empty<Bytes>>> {
    Request::get(uri)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "guichet-health")
        .header(http::header::CONNECTION, "close")
        .body(Empty::new())
        .ok()
        .map(|mut request| {
            // HTTP/2 has no such field.
            if request.uri().scheme().is_some() {
                request.headers_mut().remove(http::header::CONNECTION);
            }
            request
        })
}

/// Runs the connection until the head of the answer is there; then both are dropped, and the connection with them.
async fn drive<T>(connection: impl Future, answer: impl Future<Output = Result<T, hyper::Error>>) -> Option<T> {
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer.ok(),
        _ = &mut connection => answer.await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_changes_only_after_several_verdicts_in_a_row() {
        let health = Health {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            status: 200,
        };
        let mut state = Hysteresis::new(&health, true);
        let verdicts = [
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
        ];
        for (step, (good, changed)) in verdicts.into_iter().enumerate() {
            assert_eq!(state.note(good), changed, "step {step}");
        }
    }
}
