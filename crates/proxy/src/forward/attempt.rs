//! One attempt: a connection to one server, the request, and the head of its answer.

use std::rc::Rc;
use std::time::Duration;

use guichet_core::Reason;
use http::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Facts, Lease};
use super::connect::ConnectFailure;
use super::inbound::InboundBody;
use super::plan::Plan;
use super::pool::{Channel, WorkerPool};

/// An attempt that did not end with the head of an answer.
#[derive(Debug)]
pub(super) struct AttemptFailure {
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// The server cannot have acted on the request: nothing was sent, or it said so.
    pub(super) untouched: bool,
    /// It happened on a connection that had been used before.
    pub(super) reused: bool,
    /// The client's side failed, not the server.
    pub(super) by_client: bool,
}

/// Makes one attempt at `server`.
pub(super) async fn attempt(
    pool: &Rc<WorkerPool>,
    plan: &Plan,
    server: usize,
    fresh: bool,
    deadline: Option<Instant>,
    facts: &Facts,
) -> Result<(Response<Incoming>, Lease), AttemptFailure> {
    let connect_by = earlier(Instant::now() + pool.shared().upstream().connect, deadline);
    let acquired = match tokio::time::timeout_at(connect_by, pool.acquire(server, fresh)).await {
        Ok(Ok(acquired)) => acquired,
        Ok(Err(ConnectFailure { reason, detail })) => return Err(not_connected(reason, detail)),
        Err(_) => {
            pool.forget_address(server);
            let detail = format!("no connection to {} in time", pool.shared().address(server));
            return Err(not_connected(Reason::UpstreamConnectTimeout, detail));
        }
    };
    let reused = acquired.connect.is_none();
    facts.reused.set(reused);
    if let Some(took) = acquired.connect {
        facts.connect.set(Some(took));
    }
    let request = plan.request();
    let sent = match acquired.channel {
        Channel::Http1(mut sender) => {
            let sending = sender.try_send_request(request);
            await_head(pool, plan, deadline, sending).await.map(|answer| (answer, Lease::Http1(sender)))
        }
        Channel::Http2(stream) => {
            let sending = stream.sender().try_send_request(request);
            await_head(pool, plan, deadline, sending).await.map(|answer| (answer, Lease::Http2(stream)))
        }
    };
    sent.map_err(|mut failure| {
        failure.reused = reused;
        failure
    })
}

fn not_connected(reason: Reason, detail: String) -> AttemptFailure {
    AttemptFailure { reason, detail, untouched: true, reused: false, by_client: false }
}

type Unsent = hyper::client::conn::TrySendError<http::Request<InboundBody>>;

/// Waits for the head of the answer. The first-byte deadline runs from the last moment at which the server was being
/// sent to; while the client is waited for, it stands still, and the client's own floor applies.
async fn await_head(
    pool: &WorkerPool,
    plan: &Plan,
    deadline: Option<Instant>,
    sending: impl Future<Output = Result<Response<Incoming>, Unsent>>,
) -> Result<Response<Incoming>, AttemptFailure> {
    let first_byte = pool.shared().upstream().first_byte.max(Duration::from_millis(1));
    let due = || plan.inbound.server_idle_since() + first_byte;
    let begun = Instant::now();
    let timer = tokio::time::sleep_until(earlier(begun + first_byte, deadline));
    tokio::pin!(sending, timer);
    loop {
        tokio::select! {
            biased;
            answer = &mut sending => return answer.map_err(|error| broken(plan, error)),
            () = &mut timer => {
                let now = Instant::now();
                let late = deadline.is_some_and(|deadline| deadline <= now);
                let due = due().max(begun + first_byte);
                if late || due <= now {
                    let detail = if late { "the request's own deadline passed" } else { "no answer in time" };
                    return Err(AttemptFailure {
                        reason: Reason::UpstreamFirstByte,
                        detail: detail.to_owned(),
                        untouched: false,
                        reused: false,
                        by_client: false,
                    });
                }
                timer.as_mut().reset(earlier(due, deadline));
            }
        }
    }
}

fn broken(plan: &Plan, mut error: Unsent) -> AttemptFailure {
    if let Some(reason) = plan.inbound.failure() {
        let detail = "the request's body failed".to_owned();
        return AttemptFailure { reason, detail, untouched: false, reused: false, by_client: true };
    }
    let unsent = error.take_message().is_some();
    let error = error.into_error();
    AttemptFailure {
        reason: Reason::UpstreamProtocol,
        detail: chain(&error),
        untouched: unsent || refused_by_h2(&error),
        reused: false,
        by_client: false,
    }
}

/// HTTP/2 tells which requests were not looked at (RFC 9113, 8.7): a stream refused, or one that a GOAWAY leaves out.
fn refused_by_h2(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let reason = h2.reason();
            return reason == Some(h2::Reason::REFUSED_STREAM)
                || (h2.is_go_away() && h2.is_remote() && reason == Some(h2::Reason::NO_ERROR));
        }
        source = cause.source();
    }
    false
}

/// An error with its causes, for the operator.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn earlier(at: Instant, deadline: Option<Instant>) -> Instant {
    deadline.map_or(at, |deadline| deadline.min(at))
}
