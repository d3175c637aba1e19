//! The socket to a server, with or without TLS, that lets an early answer be read.
//!
//! A server that answers before it has read the request (413, 403) often closes at once; the kernel then resets the
//! connection, and the next write fails although the answer lies ready to be read. The codec would report the failed
//! write and never read. So a write that fails because the other side is gone is taken for done, until reading has come
//! to its end too; then writing fails as it should.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The socket itself.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing can be written any more, but something may be left to read.
    WriteFailed,
    /// Nor is anything left to read.
    Ended,
}

/// See the module's description.
pub(super) struct Stream {
    io: Io,
    state: State,
}

impl Stream {
    pub(super) fn new(io: Io) -> Self {
        Self { io, state: State::Open }
    }

    /// Takes a write that failed because the other side is gone for done, as long as something may be left to read.
    fn forgive<T>(&mut self, result: io::Result<T>, done: T) -> io::Result<T> {
        match result {
            Err(error) if self.state == State::Open && is_gone(&error) => {
                self.state = State::WriteFailed;
                Ok(done)
            }
            other => other,
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        });
        if self.state == State::WriteFailed && (read.is_err() || buf.filled().len() == before) {
            self.state = State::Ended;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.state == State::WriteFailed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_write(cx, bytes),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, bytes),
        });
        Poll::Ready(self.forgive(written, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.state == State::WriteFailed {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_write_vectored(cx, slices),
        });
        Poll::Ready(self.forgive(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(s) => s.is_write_vectored(),
            Io::Tls(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state == State::WriteFailed {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_flush(cx),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        });
        Poll::Ready(self.forgive(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Io::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
