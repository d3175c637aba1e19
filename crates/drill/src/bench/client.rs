//! Clients of the bench: one request at a time on a kept connection, every answer checked.

use super::origin::BODY_BYTES;
use super::tls;
use anyhow::{Context, bail};
use guichet_core::bounds::BENCH_ANSWER_BYTES_MAX as ANSWER_BYTES_MAX;
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longest that anything may take which the bench waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What a front is asked, and what it has to answer.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) to: SocketAddr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
    /// The only status that counts as right; anything else ends the bench.
    pub(crate) status: u16,
}

/// Either kind of stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// What the connections of a measurement have done.
#[derive(Debug)]
pub(crate) struct Progress {
    done: Vec<Cell<u64>>,
    stop: Cell<bool>,
}

impl Progress {
    /// For so many connections.
    pub(crate) fn new(connections: usize) -> Rc<Self> {
        Rc::new(Self { done: vec![Cell::new(0); connections], stop: Cell::new(false) })
    }

    /// One more done on this connection.
    pub(crate) fn count(&self, connection: usize) {
        let cell = &self.done[connection];
        cell.set(cell.get() + 1);
    }

    /// How much each has done.
    pub(crate) fn snapshot(&self) -> Vec<u64> {
        self.done.iter().map(Cell::get).collect()
    }

    /// Whether connections should end.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.get()
    }

    /// Asks connections to end.
    pub(crate) fn stop(&self) {
        self.stop.set(true);
    }
}

/// The source address of the nth connection: 64 a source, so that no cap or share of a source is what is measured.
pub(crate) fn source(connection: usize) -> Ipv4Addr {
    let source = u32::try_from(connection / 64).unwrap_or(0) % 60_000;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 40, 0, 1)) + source)
}

/// A TCP connection from a loopback address.
///
/// # Errors
/// What the system says.
pub(crate) async fn connect(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Target {
    /// Connects, with TLS where the target has it.
    ///
    /// # Errors
    /// When the connection or the handshake fails or takes longer than [`PATIENCE`].
    pub(crate) async fn open(&self, source: Ipv4Addr) -> anyhow::Result<Box<dyn Stream>> {
        let connect = async {
            let stream = connect(source, self.to).await?;
            let Some(config) = &self.tls else { return Ok(Box::new(stream) as Box<dyn Stream>) };
            Ok(Box::new(self.handshake(config, stream).await?) as Box<dyn Stream>)
        };
        tokio::time::timeout(PATIENCE, connect).await.context("no connection in time")?
    }

    /// The TLS handshake on a connection.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) async fn handshake(
        &self,
        config: &Arc<rustls::ClientConfig>,
        stream: TcpStream,
    ) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = rustls_pki_types::ServerName::try_from(tls::HOST)?;
        Ok(tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
    }

    /// The bytes of its request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let Self { host, path, .. } = self;
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: guichet-bench\r\naccept: application/json\r\n\r\n")
            .into_bytes()
    }
}

/// Asks again and again on one connection until told to stop.
///
/// # Errors
/// When a connection ends or an answer is not the right one.
pub(crate) async fn ask_on(target: Rc<Target>, connection: usize, progress: Rc<Progress>) -> anyhow::Result<()> {
    let mut stream = target.open(source(connection)).await?;
    let request = target.request();
    let mut buffer = Vec::with_capacity(ANSWER_BYTES_MAX);
    while !progress.stopped() {
        ask(&mut stream, &request, &mut buffer, target.status).await?;
        progress.count(connection);
    }
    Ok(())
}

/// One request and its whole answer.
///
/// # Errors
/// When the answer is not the right one, or the connection won't be kept.
pub(crate) async fn ask(
    stream: &mut Box<dyn Stream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
    status: u16,
) -> anyhow::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    buffer.clear();
    loop {
        if let Some(length) = answer_length(buffer, status)? {
            match buffer.len() {
                got if got == length => return Ok(()),
                got if got > length => bail!("{} bytes after the answer", got - length),
                _ => {}
            }
        }
        if buffer.len() >= ANSWER_BYTES_MAX {
            bail!("an answer over {ANSWER_BYTES_MAX} bytes");
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection was closed after {} bytes of an answer", buffer.len());
        }
    }
}

/// Bytes of the whole answer, once its head is there. A right status, length and connection are checked on the way.
fn answer_length(buffer: &[u8], status: u16) -> anyhow::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = answer.parse(buffer).context("answer")? else { return Ok(None) };
    if answer.code != Some(status) {
        bail!("status {:?} instead of {status}: {}", answer.code, String::from_utf8_lossy(buffer));
    }
    let mut length = None;
    for field in answer.headers {
        if field.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(field.value)?.parse::<usize>().ok();
        } else if field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close") {
            bail!("the front closes the connection after status {status}; it is measured on kept ones");
        }
    }
    let length = length.context("an answer without a Content-Length")?;
    if status == 200 && length != BODY_BYTES {
        bail!("{length} bytes of body instead of {BODY_BYTES}");
    }
    Ok(Some(head + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        for (answer, status, expected) in [
            ("HTTP/1.1 429 No\r\nContent-Length: 3\r\n\r\nno!", 429, Ok(Some(41))),
            ("HTTP/1.1 429 No\r\nContent-Length: 3\r\n", 429, Ok(None)),
            ("", 200, Ok(None)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno!", 200, Err("instead of 1024")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n", 429, Err("instead of 429")),
            ("HTTP/1.1 429 No\r\nconnection: close\r\nContent-Length: 3\r\n\r\n", 429, Err("closes the connection")),
            ("HTTP/1.1 429 No\r\n\r\n", 429, Err("without a Content-Length")),
            ("not HTTP\r\n\r\n", 200, Err("answer")),
        ] {
            let got = answer_length(answer.as_bytes(), status).map_err(|e| format!("{e:#}"));
            match (&got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(*got, expected, "{answer}"),
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{answer}: {got}"),
                _ => panic!("{answer}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn sources_are_loopback_and_many() {
        let last = source(usize::MAX);
        assert!(last.is_loopback() && source(60_000 * 64 - 1).is_loopback());
        assert_ne!(source(0), source(64));
        assert_eq!(source(0), source(63));
    }
}
