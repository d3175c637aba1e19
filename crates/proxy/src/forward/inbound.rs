//! The request body on its way from the client to an upstream.
//!
//! Nothing is buffered here (what the pipeline read ahead is sent first): a frame is taken from the client when the upstream's connection can take it. Since hyper sends
//! `100 (Continue)` when a body is first polled, and the body is polled only by an upstream connection that has the
//! request, a request that is refused or finds no server never gets a 100. Where the client asked for it with `Expect`,
//! the body also waits until the upstream says 100 itself, for a bounded time.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use guichet_core::Reason;
use guichet_core::bounds::{EXPECT_WAIT_MS_MAX, LINGER_MS_MAX};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::headers;
use crate::ahead::ClientBody;
use crate::body::BodyError;
use crate::connection::Connection;

/// What a client's body must keep to.
#[derive(Debug, Clone, Copy)]
pub struct BodyBounds {
    /// Bytes in all.
    pub bytes_max: u64,
    /// Least average rate while the client is waited for, after the grace; 0: none.
    pub rate_bytes_s_min: u64,
    /// How long the client may be waited for in all before the rate counts.
    pub grace: Duration,
}

/// The client's body, shared by the attempts that may read it (only one of them ever gets a frame).
pub(super) struct Inbound {
    incoming: RefCell<Option<ClientBody>>,
    bounds: BodyBounds,
    connection: Option<Rc<Connection>>,
    polled: Cell<bool>,
    consumed: Cell<bool>,
    ended: Cell<bool>,
    bytes: Cell<u64>,
    failure: Cell<Option<Reason>>,
    progressed: Cell<Instant>,
    /// Since when the client is waited for.
    waiting: Cell<Option<Instant>>,
    waited: Cell<Duration>,
    gate: Option<Arc<ExpectGate>>,
    /// Attempts' bodies that still exist.
    bodies: Cell<u32>,
    let_go: Notify,
    /// Of the attempt that waits for a frame.
    waker: Cell<Option<Waker>>,
}

impl Inbound {
    /// `expect`: the client waits for 100 (Continue), and the upstream will be asked for it.
    pub(super) fn new(
        incoming: ClientBody,
        bounds: BodyBounds,
        connection: Option<Rc<Connection>>,
        expect: bool,
    ) -> Rc<Self> {
        let ended = incoming.is_end_stream();
        Rc::new(Self {
            incoming: RefCell::new(Some(incoming)),
            bounds,
            connection,
            polled: Cell::new(false),
            consumed: Cell::new(false),
            ended: Cell::new(ended),
            bytes: Cell::new(0),
            failure: Cell::new(None),
            progressed: Cell::new(Instant::now()),
            waiting: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
            gate: (expect && !ended).then(|| Arc::new(ExpectGate::default())),
            bodies: Cell::new(0),
            let_go: Notify::new(),
            waker: Cell::new(None),
        })
    }

    /// A body for one attempt.
    pub(super) fn body(self: &Rc<Self>) -> InboundBody {
        self.bodies.set(self.bodies.get() + 1);
        InboundBody { inbound: self.clone(), timer: None }
    }

    /// Whether part of it is gone, so that it cannot be sent a second time.
    pub(super) fn consumed(&self) -> bool {
        self.consumed.get()
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why it failed, if the client's side did.
    pub(super) fn failure(&self) -> Option<Reason> {
        self.failure.get()
    }

    pub(super) fn gate(&self) -> Option<&Arc<ExpectGate>> {
        self.gate.as_ref()
    }

    /// When the server last had a reason to be silent: the moment up to which it was being sent to, or now while it is
    /// the client who is waited for.
    pub(super) fn server_idle_since(&self) -> Instant {
        if !self.ended.get() && self.waiting.get().is_some() { Instant::now() } else { self.progressed.get() }
    }

    /// The answer is complete (or there will be none) while the client still sends. What comes is taken for a moment
    /// longer, by the upstream or by nobody, so that a client that reads only after sending gets its answer instead of a
    /// reset. A body that was never asked for is left alone: nothing of it is under way.
    pub(super) fn linger(self: &Rc<Self>) {
        if self.ended.get() || !self.polled.get() || self.failure.get().is_some() {
            self.cut();
            return;
        }
        let inbound = self.clone();
        tokio::task::spawn_local(async move {
            let rest = async {
                while inbound.bodies.get() > 0 && !inbound.ended.get() {
                    inbound.let_go.notified().await;
                }
                let taken = inbound.incoming.borrow_mut().take();
                if let Some(mut incoming) = taken {
                    while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {}
                }
            };
            // Running out of time is one of the two ways to end.
            let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS_MAX), rest).await;
            inbound.cut();
        });
    }

    /// Takes no more; an attempt that still waits gets an error, so that its connection ends.
    pub(super) fn cut(&self) {
        self.incoming.borrow_mut().take();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn fail(&self, reason: Reason) -> BodyError {
        self.failure.set(Some(reason));
        self.cut();
        BodyError(reason)
    }

    /// A frame, an error, or the end, from the client.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(reason) = self.failure.get() {
            return Poll::Ready(Some(Err(BodyError(reason))));
        }
        if self.ended.get() {
            return Poll::Ready(None);
        }
        let mut incoming = self.incoming.borrow_mut();
        let Some(body) = incoming.as_mut() else { return Poll::Ready(Some(Err(BodyError(Reason::ClientGone)))) };
        self.polled.set(true);
        let Poll::Ready(polled) = Pin::new(&mut *body).poll_frame(cx) else {
            if self.waiting.get().is_none() {
                self.waiting.set(Some(Instant::now()));
            }
            return Poll::Pending;
        };
        self.progressed.set(Instant::now());
        if let Some(since) = self.waiting.take() {
            self.waited.set(self.waited.get() + since.elapsed());
        }
        let at_end = body.is_end_stream();
        drop(incoming);
        Poll::Ready(self.account(polled, at_end))
    }

    fn account(
        &self,
        polled: Option<Result<Frame<Bytes>, hyper::Error>>,
        at_end: bool,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let frame = match polled {
            None => {
                self.ended.set(true);
                return None;
            }
            Some(Err(error)) => return Some(Err(self.fail(self.blame(&error)))),
            Some(Ok(frame)) => frame,
        };
        self.consumed.set(true);
        self.ended.set(at_end);
        let frame = match frame.into_data() {
            Ok(data) => {
                let bytes = self.bytes.get() + data.len() as u64;
                self.bytes.set(bytes);
                if bytes > self.bounds.bytes_max {
                    self.ended.set(false);
                    return Some(Err(self.fail(Reason::BodyTooLarge)));
                }
                return Some(Ok(Frame::data(data)));
            }
            Err(other) => other,
        };
        Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                headers::prepare_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(other) => other,
        }))
    }

    fn blame(&self, error: &hyper::Error) -> Reason {
        blame(self.connection.as_deref(), error)
    }

    /// How long the client may still be waited for.
    fn patience(&self) -> Option<Duration> {
        let rate = self.bounds.rate_bytes_s_min;
        if rate == 0 {
            return None;
        }
        let earned = Duration::from_secs_f64(self.bytes.get() as f64 / rate as f64);
        Some((self.bounds.grace + earned).saturating_sub(self.waited.get()))
    }
}

/// Why a client's body broke: the protocol guards know best; otherwise the codec tells bad framing from a client that went
/// away.
pub(crate) fn blame(connection: Option<&Connection>, error: &hyper::Error) -> Reason {
    if let Some(reason) = connection.and_then(|c| c.violation.get()) {
        return reason;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)
        {
            return Reason::BadChunk;
        }
        source = cause.source();
    }
    if error.is_parse() { Reason::BadChunk } else { Reason::ClientGone }
}

/// The body as one attempt sends it.
pub(super) struct InboundBody {
    inbound: Rc<Inbound>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl InboundBody {
    /// Waits until `at`; a timer for another moment is moved.
    fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some((set, sleep)) => {
                if *set != at {
                    *set = at;
                    sleep.as_mut().reset(at);
                }
                sleep.as_mut().poll(cx)
            }
            empty => {
                let (_, sleep) = empty.insert((at, Box::pin(tokio::time::sleep_until(at))));
                sleep.as_mut().poll(cx)
            }
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(gate) = self.inbound.gate.clone() else { return Poll::Ready(()) };
        let cut = self.inbound.incoming.borrow().is_none();
        if gate.poll_open(cx) || cut {
            return Poll::Ready(());
        }
        let at = match &self.timer {
            Some((at, _)) => *at,
            None => Instant::now() + Duration::from_millis(EXPECT_WAIT_MS_MAX),
        };
        ready!(self.poll_until(at, cx));
        self.timer = None;
        if gate.open() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl HttpBody for InboundBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inbound = self.inbound.clone();
        inbound.waker.set(Some(cx.waker().clone()));
        ready!(self.poll_gate(cx));
        if let Poll::Ready(frame) = inbound.poll(cx) {
            return Poll::Ready(frame);
        }
        if let (Some(patience), Some(since)) = (inbound.patience(), inbound.waiting.get()) {
            ready!(self.poll_until(since + patience, cx));
            return Poll::Ready(Some(Err(inbound.fail(Reason::BodyTooSlow))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.ended.get()
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.inbound.incoming.borrow() {
            Some(incoming) if !self.inbound.ended.get() => incoming.size_hint(),
            _ if self.inbound.ended.get() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for InboundBody {
    fn drop(&mut self) {
        self.inbound.bodies.set(self.inbound.bodies.get().saturating_sub(1));
        self.inbound.let_go.notify_one();
    }
}

/// Holds a body back until the upstream says 100 (Continue), a time passes, or a final answer shuts it for good.
#[derive(Debug, Default)]
pub(super) struct ExpectGate {
    state: AtomicU8,
    waker: AtomicWaker,
}

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const SHUT: u8 = 2;

impl ExpectGate {
    /// Opens it unless it is shut; says whether it is open.
    pub(super) fn open(&self) -> bool {
        let was = self.state.compare_exchange(CLOSED, OPEN, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
        was != Err(SHUT)
    }

    /// A final answer came: what was not asked for by now never will be.
    pub(super) fn shut(&self) {
        let _ = self.state.compare_exchange(CLOSED, SHUT, Ordering::AcqRel, Ordering::Acquire);
    }

    fn poll_open(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.state.load(Ordering::Acquire) == OPEN
    }
}
