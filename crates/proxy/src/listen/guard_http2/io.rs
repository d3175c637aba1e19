//! The IO around the counters: closes on abuse, tells the bound on streams, keeps deadlines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use guichet_core::bounds::LINGER_BYTES_MAX;
use guichet_core::{Moment, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ENHANCE_YOUR_CALM, FRAME_HEADER_BYTES, Inbound, NO_ERROR, Outbound, goaway, settings_of_streams};
use crate::clock;
use crate::config::Limits;
use crate::listen::client_io::ClientIo;
use crate::listen::deadline::{Floor, Timer};
use crate::listen::watch::{Wait, Watch};

/// Bytes read at once while acknowledgements are filtered, or while closing.
const ASIDE_READ_BYTES: usize = 4096;
/// How long closing may take: the GOAWAY, and what the client still sends.
const CLOSING: Duration = Duration::from_millis(500);

/// Bytes of the guard's own on their way out.
#[derive(Debug)]
struct Own {
    bytes: Vec<u8>,
    written: usize,
    /// The bound that a SETTINGS frame tells.
    streams: Option<u32>,
}

/// The connection ends.
#[derive(Debug)]
struct Closing {
    reason: Reason,
    until: Moment,
    flushed: bool,
    linger_left: usize,
}

/// A client's byte stream as HTTP/2, guarded.
#[derive(Debug)]
pub(crate) struct GuardedHttp2 {
    io: ClientIo,
    watch: Arc<Watch>,
    limits: Arc<Limits>,
    inbound: Inbound,
    outbound: Outbound,
    /// Read, judged, and not passed yet.
    pending: Vec<u8>,
    /// The begin of a frame header that may be an acknowledgement for the guard.
    withheld: Vec<u8>,
    own: Option<Own>,
    told_streams: u32,
    closing: Option<Closing>,
    timer: Timer,
    write_floor: Floor,
}

impl GuardedHttp2 {
    pub(crate) fn new(io: ClientIo, watch: Arc<Watch>, limits: Arc<Limits>) -> Self {
        Self {
            io,
            inbound: Inbound::new((&*limits).into(), clock::now()),
            outbound: Outbound::default(),
            pending: Vec::new(),
            withheld: Vec::new(),
            own: None,
            // hyper announces the configured bound itself.
            told_streams: limits.h2_streams_max,
            closing: None,
            timer: Timer::default(),
            write_floor: Floor::new(limits.body_grace, limits.read_rate_bytes_s_min),
            watch,
            limits,
        }
    }

    fn close(&mut self, reason: Reason) {
        if self.closing.is_none() {
            self.watch.ended_for(reason);
            let until = clock::now().after(CLOSING);
            self.closing = Some(Closing { reason, until, flushed: false, linger_left: LINGER_BYTES_MAX });
        }
    }

    /// Judges fresh bytes; tells where acknowledgements for the guard end.
    fn judge(&mut self, fresh: &[u8], mut own_ack_ends: impl FnMut(usize)) -> Result<(), Reason> {
        let now = clock::now();
        let mut at = 0;
        while at < fresh.len() {
            let passed = self.inbound.read(&fresh[at..], now)?;
            at += passed.bytes;
            if passed.settings_ack && self.outbound.acknowledged() {
                own_ack_ends(at);
            }
        }
        if self.inbound.take_progress() {
            self.watch.touch(now);
        }
        if let Some(fingerprint) = self.inbound.take_fingerprint() {
            let _ = self.watch.h2_fingerprint.set(fingerprint);
        }
        Ok(())
    }

    /// Reads straight into hyper's buffer. Tells whether there is something for hyper (or the end).
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        // No acknowledgement of the guard's own is awaited, so none can be among them.
        if let Err(reason) = self.judge(&buf.filled()[before..], |_| {}) {
            buf.set_filled(before);
            self.close(reason);
            return Poll::Ready(Ok(false));
        }
        Poll::Ready(Ok(true))
    }

    /// Reads aside and takes the acknowledgements for the guard out.
    fn read_filtered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; ASIDE_READ_BYTES];
        let mut fresh = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        let fresh = fresh.filled();
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let mut passing = std::mem::take(&mut self.withheld);
        let mut taken = 0;
        let judged = self.judge(fresh, |ends| {
            passing.extend_from_slice(&fresh[taken..ends]);
            taken = ends;
            // Its header began after ours was sent, so all of it was withheld.
            passing.truncate(passing.len().saturating_sub(FRAME_HEADER_BYTES));
        });
        if let Err(reason) = judged {
            self.close(reason);
            return Poll::Ready(Ok(false));
        }
        passing.extend_from_slice(&fresh[taken..]);
        if self.outbound.awaits_own() {
            let keep = passing.len() - self.inbound.partial_header().min(passing.len());
            self.withheld = passing.split_off(keep);
        }
        self.pending = passing;
        Poll::Ready(Ok(false))
    }

    /// Nothing came: whether a deadline passed.
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let limits = &self.limits;
        let mut soonest: Option<(Moment, Reason)> = None;
        let mut consider = |deadline: Option<Moment>, reason| {
            let earlier = deadline.filter(|at| soonest.is_none_or(|(earliest, _)| *at < earliest));
            soonest = earlier.map(|at| (at, reason)).or(soonest);
        };
        let span = if self.inbound.requests() == 0 { limits.first_request } else { limits.idle };
        let block_begun = self.inbound.block_begun();
        let idle = self.watch.in_flight() == 0 && block_begun.is_none();
        consider(idle.then(|| self.watch.idle_since().after(span)), Reason::IdleTimeout);
        consider(block_begun.map(|begun| begun.after(limits.header)), Reason::HeaderTimeout);
        let floor = self.inbound.upload_deadline(limits.body_grace, limits.body_rate_bytes_s_min);
        consider(floor, Reason::BodyTooSlow);
        self.watch.set_waits(Wait::Head, block_begun);
        let grace = limits.body_grace.as_micros() as u64;
        self.watch.set_waits(Wait::Body, floor.map(|floor| Moment(floor.0.saturating_sub(grace))));
        match soonest {
            Some((at, reason)) if self.timer.poll(cx, clock::now(), at) => {
                self.close(reason);
                true
            }
            _ => false,
        }
    }

    /// Begins a frame of the guard's own, where one is due and may go in here.
    fn begin_own(&mut self) {
        if self.own.is_some() || !self.outbound.at_boundary() {
            return;
        }
        if let Some(closing) = &self.closing {
            let code = if closing.reason == Reason::IdleTimeout { NO_ERROR } else { ENHANCE_YOUR_CALM };
            let bytes = goaway(self.inbound.last_stream(), code);
            self.own = Some(Own { bytes, written: 0, streams: None });
        } else if self.watch.streams_max() != self.told_streams && self.outbound.may_send_settings() {
            let streams = self.watch.streams_max();
            self.own = Some(Own { bytes: settings_of_streams(streams), written: 0, streams: Some(streams) });
        }
    }

    /// Writes what the guard has to say. Ready: hyper may write.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.begin_own();
        while let Some(own) = &mut self.own {
            if own.written < own.bytes.len() {
                match Pin::new(&mut self.io).poll_write(cx, &own.bytes[own.written..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => own.written += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            let Some(streams) = own.streams else { break };
            self.told_streams = streams;
            self.outbound.sent_own_settings();
            self.own = None;
            // TLS may hold it back; hyper may have nothing of its own to flush.
            let _ = Pin::new(&mut self.io).poll_flush(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the GOAWAY is wholly written.
    fn said_goodbye(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.streams.is_none() && own.written == own.bytes.len())
    }

    /// GOAWAY, then the end of our side, then what the client still sends is thrown away, for a bounded time: a reset
    /// would overtake the GOAWAY. Pending until all of it is done.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.closing.as_ref().map(|closing| closing.until) else { return Poll::Ready(()) };
        if self.timer.poll(cx, clock::now(), until) {
            return Poll::Ready(());
        }
        match self.poll_own(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        if !self.said_goodbye() {
            // hyper is in the middle of a frame: its next write comes to a boundary, or the time runs out.
            return Poll::Pending;
        }
        let Some(closing) = &mut self.closing else { return Poll::Ready(()) };
        if !closing.flushed {
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            closing.flushed = true;
        }
        let mut space = [0; ASIDE_READ_BYTES];
        while closing.linger_left > 0 {
            let mut fresh = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh)) {
                Ok(()) if !fresh.filled().is_empty() => {
                    closing.linger_left = closing.linger_left.saturating_sub(fresh.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }

    fn note_written(&mut self, bytes: &[u8]) {
        if self.outbound.wrote(bytes) {
            let now = clock::now();
            self.watch.note_data_out(now);
            self.watch.touch(now);
        }
        for stream in self.outbound.take_answered() {
            self.inbound.answered(stream);
        }
        if self.closing.is_some() && self.outbound.at_boundary() {
            // The reading side waits for this place to say goodbye.
            self.watch.guard.wake();
        }
    }

    fn read_too_slow(&self) -> io::Error {
        self.watch.ended_for(Reason::ReadTooSlow);
        self.watch.set_abort();
        io::Error::from(io::ErrorKind::TimedOut)
    }

    /// Common part of both writes: hyper may write now, or what it writes is of no use any more.
    fn poll_may_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.poll_own(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(!self.said_goodbye())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.write_floor.waiting(cx) => Poll::Ready(Err(self.read_too_slow())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for GuardedHttp2 {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.guard.register(cx.waker());
        loop {
            if let Some(closing) = &this.closing {
                let reason = closing.reason;
                ready!(this.poll_closing(cx));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason.operator_text())));
            }
            // An error of writing shows where hyper writes.
            let _ = this.poll_own(cx);
            if !this.outbound.awaits_own() && !this.withheld.is_empty() {
                this.pending.append(&mut this.withheld);
            }
            if !this.pending.is_empty() {
                let count = this.pending.len().min(buf.remaining());
                buf.put_slice(&this.pending[..count]);
                this.pending.drain(..count);
                return Poll::Ready(Ok(()));
            }
            let read = if this.outbound.awaits_own() || !this.withheld.is_empty() {
                this.read_filtered(cx)?
            } else {
                this.read_through(cx, buf)?
            };
            match read {
                Poll::Ready(true) => return Poll::Ready(Ok(())),
                Poll::Ready(false) => {}
                Poll::Pending if this.overdue(cx) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for GuardedHttp2 {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !ready!(this.poll_may_write(cx))? {
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut this.io).poll_write(cx, buf) {
            Poll::Ready(Ok(count)) => {
                this.write_floor.moved(count);
                this.note_written(&buf[..count]);
                Poll::Ready(Ok(count))
            }
            Poll::Pending if this.write_floor.waiting(cx) => Poll::Ready(Err(this.read_too_slow())),
            other => other,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !ready!(this.poll_may_write(cx))? {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        match Pin::new(&mut this.io).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(count)) => {
                this.write_floor.moved(count);
                let mut left = count;
                for buf in bufs {
                    let part = left.min(buf.len());
                    this.note_written(&buf[..part]);
                    left -= part;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Pending if this.write_floor.waiting(cx) => Poll::Ready(Err(this.read_too_slow())),
            other => other,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !ready!(this.poll_may_write(cx))? {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Pending if this.write_floor.waiting(cx) => Poll::Ready(Err(this.read_too_slow())),
            Poll::Ready(Ok(())) => {
                this.write_floor.settled();
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_some() {
            ready!(this.poll_closing(cx));
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.io).poll_shutdown(cx) {
            Poll::Pending if this.write_floor.waiting(cx) => Poll::Ready(Err(this.read_too_slow())),
            other => other,
        }
    }
}
