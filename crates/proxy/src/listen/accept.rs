//! Sockets that listen, and the loop that accepts from one.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Reason;
use guichet_core::bounds::{ACCEPT_BATCH_MAX, OPENING_PER_WORKER_MAX};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use super::client_io::reset_on_close;
use super::opening::{self, Accepted};
use super::tls::ListenerTls;
use super::watch::Watch;
use super::worker::WorkerContext;
use crate::clock;
use crate::config::{Listener, ProxyProtocol};
use crate::desk::Desk;

/// How long accepting pauses where the system has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket of its own for one worker (SO_REUSEPORT: the kernel spreads connections over the workers).
///
/// # Errors
/// Where the address cannot be bound: in use, not of this machine, or a port that needs a privilege.
pub fn bind(listener: &Listener) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(listener.address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by what is accepted, which saves a system call a connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&listener.address.into())?;
    socket.listen(i32::try_from(listener.backlog).unwrap_or(i32::MAX).max(1))?;
    Ok(socket.into())
}

/// Accepts connections and serves them on this worker, until `shutdown` turns true; then it asks the worker's
/// connections to finish (drain) and returns, closing the socket. Connections go on as tasks of the `LocalSet`.
///
/// Must run inside a `LocalSet` on a current-thread runtime.
///
/// # Errors
/// Where the socket cannot be handed to the runtime. Errors of single connections end nothing.
pub async fn run_listener<D: Desk>(
    worker: Rc<WorkerContext<D>>,
    listener: Arc<Listener>,
    socket: std::net::TcpListener,
    tls: Option<Arc<ListenerTls>>,
    mut shutdown: tokio::sync::watch::Receiver<bool>,
) -> io::Result<()> {
    let socket = tokio::net::TcpListener::from_std(socket)?;
    worker.tend();
    let mut batch = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            // A sender that is gone means shutdown as well.
            _ = shutdown.wait_for(|down| *down) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, &listener, tls.as_ref(), stream, peer),
            Err(error) if is_exhaustion(&error) => {
                worker.make_room();
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            // The connection went away before it was accepted: nobody is left to tell.
            Err(_) => {}
        }
        batch += 1;
        if batch >= ACCEPT_BATCH_MAX {
            batch = 0;
            tokio::task::yield_now().await;
        }
    }
    worker.drain();
    Ok(())
}

/// Whether the system is out of descriptors or memory.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Checks the caps that need no byte of the client, and starts a task for the rest.
fn admit<D: Desk>(
    worker: &Rc<WorkerContext<D>>,
    listener: &Arc<Listener>,
    tls: Option<&Arc<ListenerTls>>,
    socket: TcpStream,
    peer: SocketAddr,
) {
    let refuse = |socket: &TcpStream, reason: Reason| {
        reset_on_close(socket);
        worker.desk.connection_refused(peer, &listener.name, reason, None);
    };
    if worker.opening.get() >= OPENING_PER_WORKER_MAX {
        return refuse(&socket, Reason::ConnectionsFull);
    }
    let place = match worker.caps.accept() {
        Ok(place) => place,
        Err(reason) => {
            worker.make_room();
            return refuse(&socket, reason);
        }
    };
    let trusted = listener.trusted_proxies.iter().any(|network| network.contains(&peer.ip().to_canonical()));
    let proxied = match listener.proxy_protocol {
        ProxyProtocol::Off => false,
        ProxyProtocol::Accept => trusted,
        ProxyProtocol::Require if !trusted => return refuse(&socket, Reason::BadProxyHeader),
        ProxyProtocol::Require => true,
    };
    let limits = worker.limits();
    // Behind a trusted balancer the client is not known yet, and the balancer itself has no cap.
    let source = if proxied {
        None
    } else {
        match worker.caps.connect(peer.ip(), limits.connections_per_source, limits.connections_per_network) {
            Ok(source) => Some(source),
            Err(reason) => return refuse(&socket, reason),
        }
    };
    let watch = Arc::new(Watch::new(peer, worker.streams_max(&limits), clock::now()));
    // From here on it can be closed to make room.
    let registered = worker.registry.register(Arc::clone(&watch));
    let (listener, tls) = (Arc::clone(listener), tls.cloned());
    let accepted = Accepted { socket, peer, listener, tls, limits, place, source, watch };
    tokio::task::spawn_local(opening::open(Rc::clone(worker), accepted, registered));
}
