//! The answer's body on its way from an upstream to the client: holds the permit, keeps the deadlines, counts.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use guichet_core::{Moment, Reason};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::inbound::Inbound;
use super::pool::{Http1, Http2Stream, WorkerPool};
use super::shared::InFlight;
use crate::admit::Permit;
use crate::body::BodyError;
use crate::clock;
use crate::config::Upstream;

/// How an answer's body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is still under way.
    Not,
    /// Complete, from the upstream's side.
    Complete,
    /// Broken off; the client sees a broken answer, never a complete-looking one.
    Broken(Reason),
    /// Dropped before its end: the client went away or was too slow.
    Dropped,
}

/// What the record stage wants to know. Filled in as it happens; read it when the answer's body was dropped.
#[derive(Debug)]
pub struct Facts {
    /// The pool.
    pub upstream: Option<Arc<Upstream>>,
    /// Position in the pool of the server that was tried last.
    pub server: Cell<Option<usize>>,
    /// Attempts made.
    pub attempts: Cell<u32>,
    /// Whether the last attempt used a connection that was already there.
    pub reused: Cell<bool>,
    /// Time to connect, TLS included, of the last attempt that connected.
    pub connect: Cell<Option<Duration>>,
    /// From the call of `forward` to the head of the answer.
    pub first_byte: Cell<Option<Duration>>,
    /// Bytes of the request's body that were taken from the client.
    pub request_bytes: Cell<u64>,
    /// Bytes of the answer's body (of a tunnel: sent to the client).
    pub answer_bytes: Cell<u64>,
    /// How the answer ended.
    pub ended: Cell<Ended>,
    /// When it ended.
    pub ended_at: Cell<Option<Moment>>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            upstream: None,
            server: Cell::new(None),
            attempts: Cell::new(0),
            reused: Cell::new(false),
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            request_bytes: Cell::new(0),
            answer_bytes: Cell::new(0),
            ended: Cell::new(Ended::Not),
            ended_at: Cell::new(None),
        }
    }
}

impl Facts {
    pub(super) fn of(upstream: &Arc<Upstream>) -> Rc<Self> {
        Rc::new(Self { upstream: Some(upstream.clone()), ..Self::default() })
    }

    /// Address, as configured, of the server that was tried last.
    #[must_use]
    pub fn server_address(&self) -> Option<&str> {
        let servers = &self.upstream.as_ref()?.servers;
        servers.get(self.server.get()?).map(|server| server.address.as_str())
    }

    /// The first end counts.
    pub(super) fn end(&self, ended: Ended) {
        if self.ended.get() == Ended::Not {
            self.ended.set(ended);
            self.ended_at.set(Some(clock::now()));
        }
    }
}

/// The connection that an answer comes on.
pub(super) enum Lease {
    Http1(Http1),
    Http2(#[expect(dead_code, reason = "held for its end")] Http2Stream),
}

/// All that is held while an answer is under way.
pub(super) struct Held {
    pub(super) permit: Permit,
    #[expect(dead_code, reason = "held for its end")]
    pub(super) in_flight: InFlight,
    pub(super) lease: Lease,
    pub(super) inbound: Rc<Inbound>,
    pub(super) pool: Rc<WorkerPool>,
    pub(super) server: usize,
}

/// See the module's description.
pub(super) struct Answer {
    incoming: Incoming,
    held: Option<Held>,
    facts: Rc<Facts>,
    idle: Duration,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs for the frame that is waited for now.
    armed: bool,
}

impl Answer {
    pub(super) fn new(incoming: Incoming, held: Held, facts: Rc<Facts>, deadline: Option<Instant>) -> Self {
        let idle = held.pool.shared().upstream().idle;
        Self { incoming, held: Some(held), facts, idle, deadline, timer: None, armed: false }
    }

    /// The upstream has said all: frees the slot and takes the connection back.
    fn complete(&mut self) {
        if let Some(held) = self.held.take() {
            release(held, &self.facts);
        }
    }

    fn broken(&mut self, reason: Reason) -> BodyError {
        if let Some(held) = self.held.take() {
            let reason = held.inbound.failure().unwrap_or(reason);
            self.facts.request_bytes.set(held.inbound.bytes());
            self.facts.end(Ended::Broken(reason));
            if held.inbound.failure().is_none() {
                held.permit.note_failure(reason);
                held.pool.shared().note_failure(held.server, clock::now());
                held.pool.shared().counters().add_failure(reason);
            }
            held.inbound.cut();
            return BodyError(reason);
        }
        BodyError(reason)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            self.armed = true;
            let idle_at = Instant::now() + self.idle;
            let at = self.deadline.map_or(idle_at, |deadline| deadline.min(idle_at));
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

/// Ends an answer that is complete.
pub(super) fn release(held: Held, facts: &Facts) {
    facts.request_bytes.set(held.inbound.bytes());
    facts.end(Ended::Complete);
    if !held.inbound.ended() {
        held.inbound.linger();
    }
    if let Lease::Http1(sender) = held.lease {
        held.pool.give_back(held.server, sender);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.held.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.armed = false;
                if let Some(data) = frame.data_ref() {
                    self.facts.answer_bytes.set(self.facts.answer_bytes.get() + data.len() as u64);
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.broken(Reason::UpstreamProtocol)))),
            Poll::Pending => match self.poll_timer(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(self.broken(Reason::UpstreamIdle)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && matches!(self.facts.ended.get(), Ended::Complete)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.facts.request_bytes.set(held.inbound.bytes());
            self.facts.end(Ended::Dropped);
            held.inbound.cut();
        }
    }
}
