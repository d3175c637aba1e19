//! Forward: one request, with a [`Permit`], to one server of a pool, and its answer back.
//!
//! The life of a request here:
//! 1. `plan`: the head is made ready once: connection-bound fields off, the client's claims off, the door's own on.
//! 2. `shared`: a server is chosen by load or by hash, among those that are neither unhealthy nor ejected. If active
//!    checks hold all for unhealthy the request fails at once; ejection alone never empties a pool.
//! 3. `pool`: an idle connection of this worker, or a new one; then `attempt` sends the head, and the body as the
//!    client delivers it. The body is not polled before, so no `100 (Continue)` goes out for a request that finds no
//!    server.
//! 4. The head of the answer comes within its deadlines, or the attempt failed. It is repeated
//!    - for free and once, on a new connection, if a used connection turned out to be closed;
//!    - on another server where there is one, within the pool's retry budget and number of attempts, if connecting failed
//!      or the connection broke before the answer;
//!    - in the same way, but beside the first attempt, which may still win, where the service is known to fail and no answer
//!      came in half the time after which it is late: half-dead services leave one request without an answer and serve the
//!      next (`double`);
//!
//!    and in all cases only if no byte of the body is gone, and either the method (or the route) is idempotent or the
//!    server cannot have seen the request. A server that is merely slow while all is well is not asked again.
//! 5. `answer`: the body streams back and holds the permit until the upstream has said all, or it is dropped. After
//!    101 `tunnel` holds it. A body that breaks is broken for the client too.
//!
//! Everything here stays on its worker, except [`PoolShared`].
//!
//! Not done: an upgrade towards an HTTP/2 upstream (RFC 8441 as a client). An HTTP/1.1 upgrade goes there as an ordinary
//! request, an extended CONNECT is refused. A 304 loses its `Content-Length`, because hyper's server leaves it out.

mod answer;
mod attempt;
mod balance;
mod care;
mod connect;
mod counters;
mod double;
pub mod headers;
pub mod health;
mod inbound;
mod name;
mod plan;
mod pool;
mod retry;
mod shared;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::bounds::UPSTREAM_ATTEMPTS_MAX;
use guichet_core::{Moment, Reason};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use crate::admit::Permit;
use crate::ahead::ClientBody;
use crate::body::Body;
use crate::clock;
use crate::connection::Connection;

use answer::{Answer, Held, Lease};
pub use answer::{Ended, Facts};
use attempt::AttemptFailure;
use balance::Prng;
pub use care::{Care, Watched};
pub use connect::TlsError;
pub use counters::{Count, ForwardCounters};
pub use headers::{Arrival, Scheme};
pub use inbound::BodyBounds;
pub(crate) use inbound::blame;
use plan::Plan;
use pool::WorkerPool;
pub use retry::RetryBudget;
use shared::InFlight;
pub use shared::PoolShared;
use tunnel::Tunnel;

/// What `forward` must know beside the request itself.
#[derive(Debug, Clone)]
pub struct Job {
    /// Position of the pool.
    pub upstream: usize,
    /// Who asks.
    pub arrival: Arrival,
    /// The client's connection: when its body breaks, the protocol guards say there why.
    pub connection: Option<Rc<Connection>>,
    /// When the whole answer is worthless. It cuts a streaming answer too, but not a tunnel.
    pub deadline: Option<Moment>,
    /// The route says that any method may be repeated.
    pub idempotent: bool,
    /// What the request's body must keep to.
    pub body: BodyBounds,
    /// What is known of how soon the service answers, where that matters.
    pub watched: Option<Watched>,
    /// Cookies that only the door reads; a name that ends in `-` stands for all that start with it.
    pub cookies_hidden: &'static [&'static str],
}

/// Why there is no answer from an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to answer, count and log.
    pub reason: Reason,
    /// What exactly happened, for the operator alone.
    pub detail: String,
    /// Address of the server that was tried last.
    pub server: Option<String>,
}

/// What came of it.
pub struct Outcome {
    /// An answer to pass on, or why there is none.
    pub result: Result<Response<Body>, Failure>,
    /// For the record. Complete once the answer's body was dropped (or the tunnel ended).
    pub facts: Rc<Facts>,
}

/// One worker's way to all upstreams. Works inside a `LocalSet`.
pub struct Forwarder {
    pools: Vec<Rc<WorkerPool>>,
    prng: Prng,
}

/// All that one call of `forward` goes through.
struct Call<'a> {
    pool: &'a Rc<WorkerPool>,
    plan: Plan,
    deadline: Option<Instant>,
    began: Instant,
    facts: Rc<Facts>,
    /// Attempts that count; one on a connection found stale does not.
    charged: Cell<u32>,
    watched: Option<Watched>,
}

/// An answer's head, and what its body will hold.
struct Answered {
    answer: Response<Incoming>,
    lease: Lease,
    in_flight: InFlight,
    server: usize,
    /// How long this attempt took: what was lost on others before says nothing of the server's pace.
    took: Duration,
}

impl Forwarder {
    /// `pools` in the order of the configuration; `seed` for the choice of servers and WebSocket keys, different on
    /// each worker.
    #[must_use]
    pub fn new(pools: &[Arc<PoolShared>], seed: u64) -> Self {
        Self { pools: pools.iter().map(|shared| WorkerPool::new(shared.clone())).collect(), prng: Prng::new(seed) }
    }

    /// Sends a request and brings the answer. The future may be dropped at any time: the attempt ends and the permit
    /// is released.
    pub async fn forward(&self, permit: Permit, job: Job, request: Request<ClientBody>) -> Outcome {
        let began = Instant::now();
        let Some(pool) = self.pools.get(job.upstream) else {
            let detail = format!("no upstream at position {}", job.upstream);
            return failed(Rc::default(), Failure { reason: Reason::Internal, detail, server: None });
        };
        let facts = Facts::of(pool.shared().upstream());
        pool.shared().counters().add(Count::Requests);
        pool.shared().budget().deposit();
        let random = (self.prng.next(), self.prng.next());
        let plan = match Plan::new(pool.shared().upstream(), &job, request, random) {
            Ok(plan) => plan,
            Err((reason, detail)) => return failed(facts, Failure { reason, detail, server: None }),
        };
        // A deadline that has passed is one that passes now.
        let deadline = job.deadline.map(|deadline| began + deadline.since(clock::now()));
        let watched = job.watched;
        let call = Call { pool, plan, deadline, began, facts, charged: Cell::new(0), watched };
        match self.attempts(&call).await {
            Ok(answered) => call.deliver(permit, answered),
            Err((failure, by_client)) => {
                if !by_client {
                    permit.note_failure(failure.reason);
                }
                call.facts.request_bytes.set(call.plan.inbound.bytes());
                call.plan.inbound.linger();
                failed(call.facts, failure)
            }
        }
    }

    /// Attempts until one brings an answer, or no further one is allowed.
    async fn attempts(&self, call: &Call<'_>) -> Result<Answered, (Failure, bool)> {
        let shared = call.pool.shared();
        let (mut tried, mut stale) = (0u64, None);
        loop {
            let again_at = stale.take();
            let fresh = again_at.is_some();
            let Some(server) = again_at.or_else(|| shared.choose(clock::now(), tried, call.plan.key, self.prng.next()))
            else {
                let detail = "active checks hold every server for unhealthy".to_owned();
                shared.counters().add_failure(Reason::UpstreamUnhealthy);
                return Err((Failure { reason: Reason::UpstreamUnhealthy, detail, server: None }, false));
            };
            tried |= 1 << server;
            let double::Tried { result, in_flight, server, took } = self.perhaps_two(call, server, fresh, tried).await;
            let failure = match result {
                Ok((answer, lease)) => {
                    shared.note_success(server);
                    return Ok(Answered { answer, lease, in_flight, server, took });
                }
                Err(failure) => failure,
            };
            drop(in_flight);
            if call.is_stale(&failure, fresh) {
                shared.counters().add(Count::StaleRetries);
                stale = Some(server);
                continue;
            }
            call.charged.set(call.charged.get() + 1);
            if !failure.by_client {
                shared.note_failure(server, clock::now());
                shared.counters().add_failure(failure.reason);
            }
            if !call.may_retry(&failure) {
                let AttemptFailure { reason, detail, by_client, .. } = failure;
                return Err((Failure { reason, detail, server: Some(shared.address(server).to_owned()) }, by_client));
            }
            shared.counters().add(Count::Retries);
        }
    }
}

fn failed(facts: Rc<Facts>, failure: Failure) -> Outcome {
    facts.end(Ended::Broken(failure.reason));
    Outcome { result: Err(failure), facts }
}

impl Call<'_> {
    /// Whether the request can be sent a second time without harm.
    fn repeatable(&self, failure: &AttemptFailure) -> bool {
        !failure.by_client && !self.plan.inbound.consumed() && (failure.untouched || self.plan.repeatable)
    }

    /// A used connection that broke before the answer: most likely the server had just closed it for being idle, which
    /// says nothing against the server. Once a request, since the next attempt is on a `fresh` connection.
    fn is_stale(&self, failure: &AttemptFailure, fresh: bool) -> bool {
        failure.reused && !fresh && failure.reason == Reason::UpstreamProtocol && self.repeatable(failure)
    }

    /// Whether to try again; takes from the budget if so.
    fn may_retry(&self, failure: &AttemptFailure) -> bool {
        let worth_it = match failure.reason {
            Reason::UpstreamConnect
            | Reason::UpstreamConnectTimeout
            | Reason::UpstreamTls
            | Reason::UpstreamProtocol => true,
            // A slow server has had its time, and so has the visitor.
            _ => false,
        };
        let shared = self.pool.shared();
        let attempts_max = shared.upstream().retry_attempts_max.min(UPSTREAM_ATTEMPTS_MAX);
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !worth_it || late || self.charged.get() >= attempts_max || !self.repeatable(failure) {
            return false;
        }
        let paid = shared.budget().withdraw(clock::now());
        if !paid {
            shared.counters().add(Count::BudgetExhausted);
        }
        paid
    }

    /// Makes the answer for the client from the upstream's.
    fn deliver(self, permit: Permit, answered: Answered) -> Outcome {
        let took = answered.took;
        self.facts.first_byte.set(Some(self.began.elapsed()));
        permit.note_first_byte_us(took.as_micros() as u64);
        if let Some(watched) = &self.watched {
            watched.care.note_answer(took);
        }
        if answered.answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(permit, answered);
        }
        if let Some(gate) = self.plan.inbound.gate() {
            gate.shut();
        }
        let Answered { answer, lease, in_flight, server, .. } = answered;
        let (head, incoming) = answer.into_parts();
        let held = Held { permit, in_flight, lease, inbound: self.plan.inbound, pool: self.pool.clone(), server };
        let body = if incoming.is_end_stream() {
            answer::release(held, &self.facts);
            Body::Empty
        } else {
            Body::stream(Answer::new(incoming, held, self.facts.clone(), self.deadline))
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        headers::prepare_answer(response.headers_mut(), false);
        Outcome { result: Ok(response), facts: self.facts }
    }

    /// The upstream switches protocols: joins both sides, if that was asked for.
    fn switch(self, permit: Permit, answered: Answered) -> Outcome {
        let Answered { mut answer, in_flight, server, lease, .. } = answered;
        // The connection now belongs to the tunnel.
        drop(lease);
        let shared = self.pool.shared();
        let Some(client) = self.plan.upgrade else {
            let reason = Reason::UpstreamProtocol;
            shared.note_failure(server, clock::now());
            shared.counters().add_failure(reason);
            permit.note_failure(reason);
            let detail = "101 without an upgrade asked for".to_owned();
            return failed(self.facts, Failure { reason, detail, server: Some(shared.address(server).to_owned()) });
        };
        shared.counters().add(Count::Tunnels);
        let server_side = hyper::upgrade::on(&mut answer);
        let idle = shared.upstream().idle;
        let facts = self.facts.clone();
        Tunnel { client, server: server_side, idle, permit, in_flight, facts }.spawn();

        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        headers::prepare_answer(response.headers_mut(), !self.plan.by_connect);
        if self.plan.by_connect {
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        Outcome { result: Ok(response), facts: self.facts }
    }
}
