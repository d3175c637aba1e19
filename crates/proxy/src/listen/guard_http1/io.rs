//! The IO around the scanner: holds heads back until they are judged, substitutes, keeps deadlines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use guichet_core::bounds::LINGER_BYTES_MAX;
use guichet_core::{Moment, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scanner::{HeadBounds, Phase, Scanner, Verdict};
use crate::clock;
use crate::config::Limits;
use crate::listen::client_io::ClientIo;
use crate::listen::deadline::{Floor, Timer};
use crate::listen::watch::{Wait, Watch};

/// What hyper is fed in place of a request that is refused, so that the desk answers in its turn.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";
/// Bytes read at once while a head is held back.
const HELD_READ_BYTES: usize = 4096;
/// How long what a refused client still sends is read and thrown away.
const LINGER: Duration = Duration::from_millis(500);

/// How reading ends once what may pass has passed.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The substitute was fed: nothing more comes.
    Substituted,
    /// The body broke.
    Broken(Reason),
    /// A deadline passed between requests: as if the client had closed.
    Closed,
}

/// A client's byte stream as HTTP/1, guarded.
#[derive(Debug)]
pub(crate) struct GuardedHttp1 {
    io: ClientIo,
    scanner: Scanner,
    watch: Arc<Watch>,
    limits: Arc<Limits>,
    /// Read and not passed yet; the first `passable` bytes may pass.
    held: Vec<u8>,
    passable: usize,
    end: Option<End>,
    head_begun: Option<Moment>,
    timer: Timer,
    body_floor: Floor,
    write_floor: Floor,
    linger: Option<(Moment, usize)>,
}

impl GuardedHttp1 {
    pub(crate) fn new(io: ClientIo, watch: Arc<Watch>, limits: Arc<Limits>) -> Self {
        let scanner = Scanner::new(HeadBounds {
            head_bytes_max: limits.head_bytes_max,
            header_fields_max: limits.header_fields_max,
            target_bytes_max: limits.target_bytes_max,
        });
        Self {
            io,
            scanner,
            held: Vec::new(),
            passable: 0,
            end: None,
            head_begun: None,
            timer: Timer::default(),
            body_floor: Floor::new(limits.body_grace, limits.body_rate_bytes_s_min),
            write_floor: Floor::new(limits.body_grace, limits.read_rate_bytes_s_min),
            linger: None,
            watch,
            limits,
        }
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.passable.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        self.passable -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Takes note of a verdict on what follows the bytes that may pass.
    fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::More | Verdict::Upgrade => {
                let mid_head = self.scanner.phase() == Phase::Head && self.held.len() > self.passable;
                self.head_begun = if mid_head { Some(self.head_begun.unwrap_or_else(clock::now)) } else { None };
            }
            Verdict::RefusedHead(reason) => {
                self.held.truncate(self.passable);
                self.held.extend_from_slice(SUBSTITUTE);
                self.passable = self.held.len();
                self.watch.substitute(self.scanner.heads() + 1, reason);
                self.end = Some(End::Substituted);
            }
            Verdict::BrokenBody(reason) => {
                self.held.truncate(self.passable);
                self.end = Some(End::Broken(reason));
            }
        }
    }

    /// Looks at the held bytes again, with what was added behind them.
    fn rescan(&mut self) {
        let scan = self.scanner.scan(&self.held);
        self.passable = scan.pass;
        if scan.pass > 0 {
            self.head_begun = None;
        }
        self.judge(scan.verdict);
    }

    /// Reads straight into hyper's buffer; what may not pass yet is moved aside.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.body_floor.moved(fresh.len());
        let scan = self.scanner.scan(fresh);
        if scan.pass < fresh.len() {
            self.held.extend_from_slice(&fresh[scan.pass..]);
            buf.set_filled(before + scan.pass);
        }
        self.head_begun = None;
        self.judge(scan.verdict);
        Poll::Ready(Ok(scan.pass > 0))
    }

    /// Reads behind the held bytes. Tells whether the client closed.
    fn read_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; HELD_READ_BYTES];
        let mut fresh = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        self.body_floor.moved(fresh.filled().len());
        self.held.extend_from_slice(fresh.filled());
        let closed = fresh.filled().is_empty();
        if !closed {
            self.rescan();
        }
        Poll::Ready(Ok(closed))
    }

    /// Nothing came: whether a deadline passed, and what follows from it. True: look again.
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let phase = self.scanner.phase();
        match (phase, self.head_begun) {
            (Phase::Body, _) => {
                let slow = self.body_floor.waiting(cx);
                self.watch.set_waits(Wait::Body, self.body_floor.waits_since());
                if slow {
                    self.end = Some(End::Broken(Reason::BodyTooSlow));
                }
                slow
            }
            (Phase::Head, Some(begun)) => {
                self.watch.set_waits(Wait::Head, Some(begun));
                let late = self.timer.poll(cx, clock::now(), begun.after(self.limits.header));
                if late {
                    self.judge(Verdict::RefusedHead(Reason::HeaderTimeout));
                }
                late
            }
            (Phase::Head, None) => {
                self.watch.set_waits(Wait::Head, None);
                self.watch.set_waits(Wait::Body, None);
                self.idle_too_long(cx)
            }
            (Phase::Upgrade | Phase::Refused, _) => false,
        }
    }

    fn idle_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        // `Watch::end` wakes this side, so the deadline begins when the answer has ended.
        self.watch.guard.register(cx.waker());
        if self.watch.in_flight() > 0 || self.watch.begun() < self.scanner.heads() {
            return false;
        }
        let span = if self.scanner.heads() == 0 { self.limits.first_request } else { self.limits.idle };
        let late = self.timer.poll(cx, clock::now(), self.watch.idle_since().after(span));
        if late {
            self.watch.ended_for(Reason::IdleTimeout);
            self.end = Some(End::Closed);
        }
        late
    }

    /// After an upgrade was asked for: whether the answer is out and it was not granted. True: look again.
    fn upgrade_settled(&mut self, cx: &mut Context<'_>) -> bool {
        self.watch.guard.register(cx.waker());
        if self.watch.in_flight() > 0 || self.watch.begun() < self.scanner.heads() || self.watch.transparent() {
            return self.watch.transparent();
        }
        self.scanner.upgrade_declined();
        self.rescan();
        true
    }

    fn took(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match taken {
            Poll::Ready(Ok(bytes)) => {
                self.write_floor.moved(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending if self.write_floor.waiting(cx) => Poll::Ready(Err(self.read_too_slow())),
            other => {
                self.watch.set_waits(Wait::Read, self.write_floor.waits_since());
                other
            }
        }
    }

    fn read_too_slow(&self) -> io::Error {
        self.watch.ended_for(Reason::ReadTooSlow);
        self.watch.set_abort();
        io::Error::from(io::ErrorKind::TimedOut)
    }
}

impl AsyncRead for GuardedHttp1 {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.watch.transparent() {
                if this.held.is_empty() {
                    return Pin::new(&mut this.io).poll_read(cx, buf);
                }
                this.passable = this.held.len();
            }
            if this.passable > 0 {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            match this.end {
                Some(End::Substituted) => return Poll::Pending,
                Some(End::Closed) => return Poll::Ready(Ok(())),
                Some(End::Broken(reason)) => {
                    this.watch.broke(reason);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason.operator_text())));
                }
                None => {}
            }
            if this.scanner.phase() == Phase::Upgrade {
                if this.upgrade_settled(cx) {
                    continue;
                }
                return Poll::Pending;
            }
            if this.held.is_empty() {
                match this.read_through(cx, buf)? {
                    Poll::Ready(true) => return Poll::Ready(Ok(())),
                    Poll::Ready(false) => continue,
                    Poll::Pending => {}
                }
            } else {
                match this.read_aside(cx)? {
                    Poll::Ready(true) => return Poll::Ready(Ok(())),
                    Poll::Ready(false) => continue,
                    Poll::Pending => {}
                }
            }
            if !this.overdue(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for GuardedHttp1 {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = Pin::new(&mut this.io).poll_write(cx, buf);
        this.took(cx, taken)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.took(cx, taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Pending if this.write_floor.waiting(cx) => Poll::Ready(Err(this.read_too_slow())),
            Poll::Ready(Ok(())) => {
                this.write_floor.settled();
                this.watch.set_waits(Wait::Read, None);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_shutdown(cx) {
            Poll::Pending if this.write_floor.waiting(cx) => return Poll::Ready(Err(this.read_too_slow())),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(done) => done?,
        }
        if !matches!(this.end, Some(End::Substituted | End::Broken(_))) {
            return Poll::Ready(Ok(()));
        }
        // Unread bytes would turn the close into a reset, and the reset would overtake the refusal.
        let (until, mut left) = this.linger.unwrap_or_else(|| (clock::now().after(LINGER), LINGER_BYTES_MAX));
        let mut space = [0; HELD_READ_BYTES];
        while left > 0 {
            this.linger = Some((until, left));
            let mut fresh = ReadBuf::new(&mut space);
            match Pin::new(&mut this.io).poll_read(cx, &mut fresh) {
                Poll::Ready(Ok(())) if !fresh.filled().is_empty() => left = left.saturating_sub(fresh.filled().len()),
                Poll::Ready(_) => break,
                Poll::Pending if this.timer.poll(cx, clock::now(), until) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
