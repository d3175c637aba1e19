//! An attempt, and a second beside it where the service is known to fail and the first hangs.
//!
//! The first is not given up for the second: a service that answers slowly after all is heard. Whoever answers first wins.

use std::time::Duration;

use guichet_core::Reason;
use guichet_core::bounds::UPSTREAM_ATTEMPTS_MAX;
use http::Response;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::answer::Lease;
use super::attempt::{AttemptFailure, attempt};
use super::shared::{InFlight, PoolShared};
use super::{Call, Count, Forwarder};
use crate::clock;

/// How often it is looked at whether a second attempt may be made.
const LOOK: Duration = Duration::from_millis(100);

/// What came of an attempt.
pub(super) struct Tried {
    pub(super) result: Result<(Response<Incoming>, Lease), AttemptFailure>,
    pub(super) in_flight: InFlight,
    pub(super) server: usize,
    /// How long it took by itself: what was lost on another says nothing of the server's pace.
    pub(super) took: Duration,
}

/// Holds an attempt that hangs against its server, when nobody waits for it any longer.
struct Blame<'a> {
    shared: &'a PoolShared,
    server: usize,
    lifted: bool,
}

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if !self.lifted {
            note(self.shared, self.server, Reason::UpstreamFirstByte);
        }
    }
}

fn note(shared: &PoolShared, server: usize, reason: Reason) {
    shared.note_failure(server, clock::now());
    shared.counters().add_failure(reason);
}

impl Forwarder {
    /// Makes an attempt at `server`, and perhaps one at another: one that was not `tried` where there is one.
    pub(super) async fn perhaps_two(&self, call: &Call<'_>, server: usize, fresh: bool, tried: u64) -> Tried {
        let shared = call.pool.shared();
        // Where nobody watches, it is dropped only with its worker.
        let mut blame = Blame { shared, server, lifted: call.watched.is_none() };
        let first = one(call, server, fresh);
        let Some(mut look_at) = call.second_at() else {
            let done = first.await;
            blame.lifted = true;
            return done;
        };
        tokio::pin!(first);
        let other = loop {
            tokio::select! {
                biased;
                done = &mut first => {
                    blame.lifted = true;
                    return done;
                }
                () = sleep_until(look_at) => {}
            }
            if call.may_ask_twice()
                && let Some(other) = shared.choose(clock::now(), tried, call.plan.key, self.prng.next())
            {
                break other;
            }
            look_at = Instant::now() + LOOK;
        };
        shared.counters().add(Count::Retries);
        call.charged.set(call.charged.get() + 1);
        let mut blame_other = Blame { shared, server: other, lifted: false };
        let second = one(call, other, true);
        tokio::pin!(second);
        let (first_ended, done) = tokio::select! {
            biased;
            done = &mut first => (true, done),
            done = &mut second => (false, done),
        };
        let (ended, left) = if first_ended { (&mut blame, &mut blame_other) } else { (&mut blame_other, &mut blame) };
        ended.lifted = true;
        if let Err(failure) = &done.result {
            if !failure.by_client {
                note(shared, done.server, failure.reason);
            }
            let last = if first_ended { second.await } else { first.await };
            left.lifted = true;
            return last;
        }
        // A second one that lost has had no time to hang.
        left.lifted = first_ended;
        call.facts.server.set(Some(done.server));
        done
    }
}

async fn one(call: &Call<'_>, server: usize, fresh: bool) -> Tried {
    let (shared, facts) = (call.pool.shared(), &call.facts);
    facts.server.set(Some(server));
    facts.attempts.set(facts.attempts.get() + 1);
    shared.counters().add(Count::Attempts);
    let in_flight = shared.enter(server);
    let begun = Instant::now();
    let result = attempt(call.pool, &call.plan, server, fresh, call.deadline, facts).await;
    Tried { result, in_flight, server, took: begun.elapsed() }
}

impl Call<'_> {
    /// From when on a second attempt is worth something, if the service is known to fail.
    fn second_at(&self) -> Option<Instant> {
        let watched = self.watched.as_ref()?;
        let may = self.plan.repeatable && self.charged.get() == 0;
        may.then(|| self.began + watched.late_after / 2)
    }

    /// Whether to make a second attempt; takes from the budget if so.
    fn may_ask_twice(&self) -> bool {
        let failing = self.watched.as_ref().is_some_and(|watched| watched.care.is_failing());
        let shared = self.pool.shared();
        let attempts_max = shared.upstream().retry_attempts_max.min(UPSTREAM_ATTEMPTS_MAX);
        failing
            && attempts_max > self.charged.get() + 1
            && !self.plan.inbound.consumed()
            && shared.budget().withdraw(clock::now())
    }
}
