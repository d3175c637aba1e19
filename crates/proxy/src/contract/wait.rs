//! How long a visitor is kept waiting for a service.
//!
//! An answer is late when it takes far longer than is usual for the service (`guichet_core::Promptness`). Late answers are evidence
//! at once: a service that hangs is known to fail after a second, not after the pool's deadline. From then on nobody who
//! only reads waits beyond that time: the contract answers instead. Whoever sends something waits on, since it may arrive,
//! until the service counts as down.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use guichet_core::Reason;
use http::header::UPGRADE;
use http::request::Parts;
use tokio::time::{Instant, sleep_until};

use super::serve::is_safe;
use super::{Mode, OfService};
use crate::classify::Class;
use crate::forward::{Care, Facts, Failure, Outcome, Watched};
use crate::setup::Setup;

/// How often it is looked at whether the wait is over, once the answer is late.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// One visitor's wait.
pub(crate) struct Wait {
    of: Arc<OfService>,
    late_after: Duration,
    /// How long the visitor has waited before the service is asked.
    waited: Duration,
    /// Nothing is changed by asking, and nothing is sent but the head.
    reads: bool,
}

impl Wait {
    /// For a request that is about to be sent; `None` where there is no contract that could answer instead, or it says that
    /// all wait as long as the pool allows.
    pub(crate) fn of(setup: &Setup, class: &Class, head: &Parts, with_body: bool, waited: Duration) -> Option<Self> {
        let late_after = late_after(setup, class)?;
        let of = setup.of_services[class.service_position].clone();
        let reads = is_safe(&head.method) && !with_body && !head.headers.contains_key(UPGRADE);
        Some(Self { of, late_after, waited, reads })
    }

    /// What forwarding has to know of it: only what is read may be asked for once more before it has failed.
    pub(crate) fn watched(&self) -> Option<Watched> {
        self.reads.then(|| Watched { care: self.of.care().clone(), late_after: self.late_after })
    }

    fn is_over(&self, now: Instant, cut_at: Instant) -> bool {
        if self.reads {
            return now >= cut_at && self.of.care().is_failing();
        }
        // An order of the operator's does not end what is under way.
        self.of.now().mode == Mode::Away(Reason::ServiceDown)
    }
}

/// From when on an answer of this service is late, where that matters.
pub(super) fn late_after(setup: &Setup, class: &Class) -> Option<Duration> {
    let patience = class.service.contract.as_ref().map(|contract| contract.patience).filter(|span| !span.is_zero())?;
    let most = setup.config.upstreams[class.service.upstream].first_byte;
    Some(setup.of_services[class.service_position].care().late_after(patience, most))
}

/// Brings the answer, or ends the wait for it. Whether it was late: then it was counted already.
pub(crate) async fn answer_in_time(
    exchange: impl Future<Output = Outcome> + 'static,
    wait: Option<Wait>,
) -> (Outcome, bool) {
    let mut exchange = Lingering::new(exchange);
    let Some(wait) = wait else { return (exchange.await, false) };
    let begun = Instant::now();
    let late_at = begun + wait.late_after;
    // The time in the queue is the visitor's too, but what is short for that reason is not the service's fault alone.
    let cut_at = late_at.checked_sub(wait.waited).unwrap_or(begun).max(begun + wait.late_after / 2);
    let (mut late, mut look_at) = (false, cut_at.min(late_at));
    loop {
        tokio::select! {
            biased;
            outcome = &mut exchange => return (outcome, late),
            () = sleep_until(look_at) => {}
        }
        let now = Instant::now();
        if !late && now >= late_at && wait.reads {
            late = true;
            wait.of.note(false);
        }
        if wait.is_over(now, cut_at) {
            break;
        }
        look_at = now + LOOK;
    }
    if !late {
        wait.of.note(false);
    }
    if wait.reads {
        exchange.leave(wait.of.care());
    }
    let detail = "no answer in the time that is usual, and the service is failing".to_owned();
    let failure = Failure { reason: Reason::UpstreamFirstByte, detail, server: None };
    // The exchange keeps its own facts; that a server was asked is true of this request, too.
    let facts = Facts { attempts: Cell::new(1), ..Facts::default() };
    (Outcome { result: Err(failure), facts: Rc::new(facts) }, true)
}

/// An exchange that goes on to its end when the client goes away.
///
/// A service does not notice that nobody waits any more: it works on. So the slot must stay taken, or clients that
/// cancel (as in a rapid reset) would put far more work on a service than its limit allows. The exchange has deadlines
/// of its own, so this ends.
pub(crate) struct Lingering<F: Future + 'static>(Option<Pin<Box<F>>>);

impl<F: Future + 'static> Lingering<F> {
    pub(crate) fn new(exchange: F) -> Self {
        Self(Some(Box::pin(exchange)))
    }

    /// Gives the exchange up: its connection is closed and its slot is free, or a service that hangs would soon hold them
    /// all. A few go on all the same and are the first to tell that the service answers again, or is merely slow.
    fn leave(mut self, care: &Arc<Care>) {
        let Some(exchange) = self.0.take() else { return };
        if care.scout() {
            let scout = Scout(care.clone());
            tokio::task::spawn_local(async move {
                let _scout = scout;
                drop(exchange.await);
            });
        }
    }
}

struct Scout(Arc<Care>);

impl Drop for Scout {
    fn drop(&mut self) {
        self.0.scout_back();
    }
}

impl<F: Future + 'static> Future for Lingering<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(exchange) = self.0.as_mut() else { return Poll::Pending };
        let polled = exchange.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future + 'static> Drop for Lingering<F> {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            tokio::task::spawn_local(exchange);
        }
    }
}
