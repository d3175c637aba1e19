//! After an answer that switches protocols: bytes both ways until one side ends, with the permit held.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use guichet_core::Reason;
use guichet_core::bounds::TUNNEL_HAND_OVER_MS_MAX;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::answer::{Ended, Facts};
use super::shared::InFlight;
use crate::admit::Permit;

/// The two ends of a tunnel to be, and what is held for it.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) server: OnUpgrade,
    pub(super) idle: Duration,
    #[expect(dead_code, reason = "held for its end")]
    pub(super) permit: Permit,
    #[expect(dead_code, reason = "held for its end")]
    pub(super) in_flight: InFlight,
    pub(super) facts: Rc<Facts>,
}

impl Drop for Tunnel {
    /// A worker that ends takes its tunnels along.
    fn drop(&mut self) {
        self.facts.end(Ended::Dropped);
    }
}

impl Tunnel {
    /// Runs on the worker until either side ends, or neither sends for the idle deadline of the pool.
    pub(super) fn spawn(self) {
        tokio::task::spawn_local(async move {
            // A silent tunnel is nobody's failure: the limiter is not told.
            let ended = self.run().await;
            self.facts.end(ended);
        });
    }

    async fn run(&self) -> Ended {
        let both = async { tokio::try_join!(self.client.clone(), self.server.clone()) };
        let (client, server) = match tokio::time::timeout(Duration::from_millis(TUNNEL_HAND_OVER_MS_MAX), both).await {
            Ok(Ok(both)) => both,
            Ok(Err(_)) | Err(_) => return Ended::Dropped,
        };
        let last = Cell::new(Instant::now());
        let (up, down) = (Cell::new(0), Cell::new(0));
        let mut client = Watched { io: TokioIo::new(client), last: &last, read: &up };
        let mut server = Watched { io: TokioIo::new(server), last: &last, read: &down };
        let ended = tokio::select! {
            copied = tokio::io::copy_bidirectional(&mut client, &mut server) => match copied {
                Ok(_) => Ended::Complete,
                // A reset is a common way to leave a tunnel, and does not tell whose fault it was.
                Err(_) => Ended::Dropped,
            },
            () = silence(&last, self.idle) => Ended::Broken(Reason::UpstreamIdle),
        };
        self.facts.request_bytes.set(up.get());
        self.facts.answer_bytes.set(down.get());
        ended
    }
}

/// Returns when nothing was read or written for `idle`.
async fn silence(last: &Cell<Instant>, idle: Duration) {
    loop {
        let until = last.get() + idle;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// Notes when bytes last moved.
struct Watched<'a> {
    io: TokioIo<Upgraded>,
    last: &'a Cell<Instant>,
    read: &'a Cell<u64>,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.last.set(Instant::now());
            self.read.set(self.read.get() + read as u64);
        }
        polled
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if matches!(polled, Poll::Ready(Ok(n)) if n > 0) {
            self.last.set(Instant::now());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
