//! The admin listener: its own thread and runtime.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use guichet_core::bounds::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_BYTES_MAX};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::answer::answer;
use super::source::AdminSource;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// From the connection to the end of the request's head.
    pub(super) head: Duration,
    /// From the connection to the end of the answer; one connection carries one request.
    pub(super) connection: Duration,
}

const DEADLINES: Deadlines = Deadlines { head: Duration::from_secs(5), connection: Duration::from_secs(15) };
/// The pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running admin listener. Dropping it stops it, too.
pub struct AdminServer {
    local: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: std::sync::mpsc::Receiver<()>,
}

impl AdminServer {
    /// Binds and starts answering.
    ///
    /// # Errors
    /// The address cannot be bound, or the thread not started; the error names the address.
    pub fn start(listen: SocketAddr, source: Arc<dyn AdminSource>) -> io::Result<Self> {
        Self::start_with(listen, source, DEADLINES)
    }

    pub(super) fn start_with(
        listen: SocketAddr,
        source: Arc<dyn AdminSource>,
        deadlines: Deadlines,
    ) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("admin listener {listen}: {e}"));
        let listener = TcpListener::bind(listen).map_err(named)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("guichet-admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // An order to stop, or the end of the one who could give it.
                    _ = stopped => {}
                    () = accept(listener, local, source, deadlines) => {}
                }
            });
            // Ends what connections are left. Nobody listening for the end is no error.
            drop(runtime);
            let _ = finished.send(());
        })?;
        Ok(Self { local, stop: Some(stop), done })
    }

    /// The address bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops; returns whether the thread ended in time.
    pub fn stop(mut self, within: Duration) -> bool {
        self.stop.take();
        self.done.recv_timeout(within).is_ok()
    }
}

async fn accept(listener: TcpListener, local: SocketAddr, source: Arc<dyn AdminSource>, deadlines: Deadlines) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let slots = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    // Ends when the runtime does.
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let source = source.clone();
        tokio::spawn(async move {
            // A client that is late or breaks off has hurt only itself.
            let _ = timeout(deadlines.connection, serve(stream, local, source, deadlines.head)).await;
            drop(slot);
        });
    }
}

async fn serve(
    stream: TcpStream,
    local: SocketAddr,
    source: Arc<dyn AdminSource>,
    head: Duration,
) -> hyper::Result<()> {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let source = source.clone();
        async move { Ok::<_, Infallible>(answer(request, local, &*source).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(ADMIN_HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
