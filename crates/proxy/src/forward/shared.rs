//! What the workers share of one upstream pool: which servers are in use, how loaded, healthy or ejected they are.
//!
//! Choosing reads atomics only. The one lock is taken by a worker that is about to eject a server, so that two workers
//! cannot eject the last two servers at once; nothing else holds it (a name's own is taken once a lookup).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::bounds::{EJECTION_DOUBLINGS_MAX, SERVERS_PER_POOL_MAX};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::balance::{self, Candidate};
use super::connect::{TlsError, UpstreamTls};
use super::counters::{Count, ForwardCounters};
use super::name::ServerName;
use super::retry::RetryBudget;
use crate::config::{Balance, Upstream};

/// Servers that may be chosen; as many as a small pool has without the heap.
pub(super) type Candidates = SmallVec<[Candidate; 8]>;

/// One server of a pool, as all workers see it.
#[derive(Debug)]
struct ServerState {
    name: Arc<ServerName>,
    identity: u64,
    weight: u32,
    in_flight: AtomicU32,
    failures_in_a_row: AtomicU32,
    ejected_until_us: AtomicU64,
    /// How often the ejection time is doubled next time.
    doublings: AtomicU32,
    /// By active checks; true where there are none.
    healthy: AtomicBool,
}

/// The state of one pool that all workers share. Make one per [`Upstream`], give a clone of the `Arc` to each worker's
/// [`super::Forwarder`] and to [`super::health::run`].
#[derive(Debug)]
pub struct PoolShared {
    upstream: Arc<Upstream>,
    tls: Option<UpstreamTls>,
    servers: Vec<ServerState>,
    ejecting: Mutex<()>,
    budget: RetryBudget,
    counters: ForwardCounters,
}

impl PoolShared {
    /// Reads the CA where the pool speaks TLS.
    ///
    /// # Errors
    /// A CA file that cannot be read or holds no certificate, or a server name that is none; the error says which.
    pub fn new(upstream: Arc<Upstream>, now: Moment) -> Result<Arc<Self>, TlsError> {
        let tls = UpstreamTls::for_upstream(&upstream)?;
        let servers = upstream
            .servers
            .iter()
            .take(SERVERS_PER_POOL_MAX)
            .map(|server| ServerState {
                name: ServerName::new(&server.address),
                identity: balance::hash(server.address.as_bytes()),
                weight: server.weight.max(1),
                in_flight: AtomicU32::new(0),
                failures_in_a_row: AtomicU32::new(0),
                ejected_until_us: AtomicU64::new(0),
                doublings: AtomicU32::new(0),
                healthy: AtomicBool::new(true),
            })
            .collect();
        let budget = RetryBudget::new(upstream.retry_budget_ratio, upstream.retry_budget_min_per_s, now);
        Ok(Arc::new(Self {
            upstream,
            tls,
            servers,
            ejecting: Mutex::new(()),
            budget,
            counters: ForwardCounters::default(),
        }))
    }

    /// Takes over, on a reload, what the pool before it knew of servers that are in both: health and ejection.
    pub fn inherit(&self, before: &Self) {
        for (at, state) in self.servers.iter().enumerate() {
            let Some(old) = before.upstream.servers.iter().position(|s| s.address == self.address(at)) else {
                continue;
            };
            let Some(old) = before.servers.get(old) else { continue };
            state.name.inherit(&old.name);
            let checked = self.upstream.health.is_some();
            state.healthy.store(!checked || old.healthy.load(Ordering::Relaxed), Ordering::Relaxed);
            let copy = |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            copy(&state.failures_in_a_row, &old.failures_in_a_row);
            copy(&state.doublings, &old.doublings);
            state.ejected_until_us.store(old.ejected_until_us.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// What the pool was configured as.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// What the pool counted.
    #[must_use]
    pub fn counters(&self) -> &ForwardCounters {
        &self.counters
    }

    /// Requests in flight at the pool, over all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.servers.iter().map(|s| s.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// Requests in flight at one server, over all workers; 0 for a position that does not exist.
    #[must_use]
    pub fn server_in_flight(&self, server: usize) -> u32 {
        self.servers.get(server).map_or(0, |s| s.in_flight.load(Ordering::Relaxed))
    }

    /// Servers that are neither unhealthy nor ejected.
    #[must_use]
    pub fn healthy_servers(&self, now: Moment) -> usize {
        self.servers.iter().filter(|s| s.usable(now)).count()
    }

    pub(super) fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    pub(super) fn tls(&self) -> Option<&UpstreamTls> {
        self.tls.as_ref()
    }

    /// What is known of a server's name.
    pub(super) fn name(&self, server: usize) -> &Arc<ServerName> {
        &self.servers[server].name
    }

    /// What does not work as it should and refuses no user, in words: names that cannot be looked up.
    pub fn degraded(&self) -> impl Iterator<Item = String> {
        self.servers.iter().filter_map(|server| server.name.trouble())
    }

    pub(super) fn address(&self, server: usize) -> &str {
        &self.upstream.servers[server].address
    }

    /// Chooses a server for a request, one that is not in `tried` (a bit a server) if there is one.
    ///
    /// `None`: active checks hold every server for unhealthy, so the request fails at once instead of waiting for what
    /// was just seen not to work. Ejection alone never empties a pool: where it would, it is overlooked.
    pub(super) fn choose(&self, now: Moment, tried: u64, key: Option<u64>, random: u64) -> Option<usize> {
        let untried = |server: usize| tried & (1 << server) == 0;
        let mut candidates = self.candidates(|i, s| s.usable(now) && untried(i));
        if candidates.is_empty() {
            candidates = self.candidates(|_, s| s.usable(now));
        }
        if candidates.is_empty() {
            candidates = self.candidates(|_, s| s.healthy.load(Ordering::Relaxed));
        }
        match (&self.upstream.balance, key) {
            (Balance::ConsistentHash(_), Some(key)) => balance::consistent(&candidates, key),
            (Balance::ConsistentHash(_), None) | (Balance::PowerOfTwo, _) => balance::power_of_two(&candidates, random),
        }
    }

    fn candidates(&self, keep: impl Fn(usize, &ServerState) -> bool) -> Candidates {
        self.servers
            .iter()
            .enumerate()
            .filter(|(i, s)| keep(*i, s))
            .map(|(server, s)| Candidate {
                server,
                in_flight: s.in_flight.load(Ordering::Relaxed),
                weight: s.weight,
                identity: s.identity,
            })
            .collect()
    }

    /// The server answered.
    pub(super) fn note_success(&self, server: usize) {
        let state = &self.servers[server];
        // A load first: the line stays shared between cores while all is well.
        if state.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            state.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// The server failed: refused, timed out, or broke the protocol. Statuses of answers do not count, not even 503: a
    /// server that sheds load is doing its work, and ejecting it would push that load onto the others.
    pub(super) fn note_failure(&self, server: usize, now: Moment) {
        let state = &self.servers[server];
        let in_a_row = state.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row >= self.upstream.outlier_consecutive_failures.max(1) {
            self.eject(server, now);
        }
    }

    /// Ejects a server unless too many are out already or it is the last in use. The count of failures stays: after its
    /// time, one more failure ejects the server again, one success absolves it.
    fn eject(&self, server: usize, now: Moment) {
        let _one_at_a_time = self.ejecting.lock();
        let state = &self.servers[server];
        if state.ejected(now) {
            return;
        }
        let ejected = self.servers.iter().filter(|s| s.ejected(now)).count() + 1;
        let allowed = (self.upstream.outlier_ejected_share_max * self.servers.len() as f64).floor() as usize;
        let others_usable = self.servers.iter().enumerate().any(|(i, s)| i != server && s.usable(now));
        if ejected > allowed || !others_usable {
            return;
        }
        let until = Moment(state.ejected_until_us.load(Ordering::Relaxed));
        let doublings = next_doublings(
            state.doublings.load(Ordering::Relaxed),
            (until.0 != 0).then(|| now.since(until)),
            self.upstream.outlier_ejection,
        );
        state.doublings.store(doublings, Ordering::Relaxed);
        let length = self.upstream.outlier_ejection.saturating_mul(1 << doublings);
        state.ejected_until_us.store(now.after(length).0, Ordering::Relaxed);
        self.counters.add(Count::Ejections);
    }

    /// The verdict of an active check.
    pub(super) fn set_healthy(&self, server: usize, healthy: bool) {
        let state = &self.servers[server];
        state.healthy.store(healthy, Ordering::Relaxed);
        if healthy {
            state.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Whether active checks hold the server for healthy.
    #[must_use]
    pub fn is_healthy(&self, server: usize) -> bool {
        self.servers[server].healthy.load(Ordering::Relaxed)
    }

    /// Whether the server is ejected now.
    #[must_use]
    pub fn is_ejected(&self, server: usize, now: Moment) -> bool {
        self.servers[server].ejected(now)
    }

    pub(super) fn enter(self: &Arc<Self>, server: usize) -> InFlight {
        self.servers[server].in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { shared: self.clone(), server }
    }
}

impl ServerState {
    fn ejected(&self, now: Moment) -> bool {
        self.ejected_until_us.load(Ordering::Relaxed) > now.0
    }

    fn usable(&self, now: Moment) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.ejected(now)
    }
}

/// Each ejection lasts twice as long as the one before, up to a bound; each ejection time spent in use takes one
/// doubling back.
fn next_doublings(before: u32, in_use_since: Option<Duration>, ejection: Duration) -> u32 {
    let Some(in_use) = in_use_since else { return 0 };
    let forgiven = in_use.as_micros() / ejection.as_micros().max(1);
    let kept = before.saturating_add(1).saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
    kept.min(EJECTION_DOUBLINGS_MAX)
}

/// One request in flight at a server; ends when dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<PoolShared>,
    server: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.servers[self.server].in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
