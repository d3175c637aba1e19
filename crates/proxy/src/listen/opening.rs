//! From an accepted socket to a connection that may exist: PROXY, ClientHello, caps, handshake.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use guichet_core::bounds::{CLIENT_HELLO_BYTES_MAX, CLIENT_HELLO_RECORDS_MAX, PROXY_V2_BYTES_MAX};
use guichet_core::{Moment, Reason};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::caps::{NodePlace, SourcePlace};
use super::client_hello::{self, ClientHelloInfo};
use super::client_io::{ClientIo, Places, ReplayIo, reset_on_close};
use super::drive;
use super::idle::Registered;
use super::ja4::ja4;
use super::proxy_protocol::{self, ProxyHeader};
use super::tls::{ListenerTls, tls_info};
use super::watch::{Command, Watch};
use super::worker::WorkerContext;
use crate::clock;
use crate::config::{Limits, Listener, ProxyProtocol};
use crate::connection::{Connection, TlsInfo};
use crate::desk::Desk;

/// What HTTP/2 begins with.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a first read: enough for a usual ClientHello or request head.
const FIRST_READ_BYTES: usize = 2048;
/// Bytes that may be read ahead of TLS or HTTP.
const AHEAD_BYTES_MAX: usize = PROXY_V2_BYTES_MAX + CLIENT_HELLO_BYTES_MAX + 5 * CLIENT_HELLO_RECORDS_MAX;

/// An accepted socket with its places.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) listener: Arc<Listener>,
    pub(super) tls: Option<Arc<ListenerTls>>,
    pub(super) limits: Arc<Limits>,
    pub(super) place: NodePlace,
    /// `None`: the client's address is still to come, by PROXY.
    pub(super) source: Option<SourcePlace>,
    pub(super) watch: Arc<Watch>,
}

/// Why a connection does not come to be.
enum Stop {
    /// It is refused, or failed.
    Refused(Reason),
    /// The client left before it said anything: nothing to tell.
    Left,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// Counts connections between accept and the end of the handshake.
struct Opening<'a>(&'a std::cell::Cell<usize>);

impl<'a> Opening<'a> {
    fn new(count: &'a std::cell::Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Opens a connection and serves it to its end, or until it has to make room.
pub(super) async fn open<D: Desk>(worker: Rc<WorkerContext<D>>, accepted: Accepted, registered: Registered) {
    let watch = Arc::clone(&accepted.watch);
    let listener = Arc::clone(&accepted.listener);
    let desk = Rc::clone(&worker.desk);
    {
        let mut whole = pin!(open_and_serve(worker, accepted));
        poll_fn(|cx| {
            watch.driver.register(cx.waker());
            if watch.commanded() == Command::Close { Poll::Ready(()) } else { whole.as_mut().poll(cx) }
        })
        .await;
    }
    drop(registered);
    // Where it was served, the driver told why it ended.
    if let Some(reason) = watch.ended().filter(|_| !watch.served()) {
        desk.connection_refused(watch.client(), &listener.name, reason, watch.looks.get().map(Arc::as_ref));
    }
}

async fn open_and_serve<D: Desk>(worker: Rc<WorkerContext<D>>, accepted: Accepted) {
    let opened = clock::now();
    let wait = if accepted.tls.is_some() { accepted.limits.client_hello } else { accepted.limits.first_request };
    let deadline = Instant::now() + wait;
    let opening = Opening::new(&worker.opening);
    let ahead = match first_bytes(&accepted.socket, deadline).await {
        Ok(ahead) => ahead,
        Err(Stop::Left) => return,
        Err(Stop::Refused(_)) => {
            reset_on_close(&accepted.socket);
            let reason = if accepted.tls.is_some() { Reason::HandshakeTimeout } else { Reason::IdleTimeout };
            return worker.desk.connection_refused(accepted.peer, &accepted.listener.name, reason, None);
        }
    };
    drop(opening);
    // Boxed here, so that what merely waits for its first byte stays small.
    Box::pin(begin(worker, accepted, ahead, opened, deadline)).await;
}

/// The first bytes of a connection. Until they come, it costs its socket and a small task, and holds no buffer.
async fn first_bytes(socket: &TcpStream, deadline: Instant) -> Result<BytesMut, Stop> {
    loop {
        // The runtime takes a fresh socket for readable, so only a read tells.
        let mut ahead = BytesMut::with_capacity(FIRST_READ_BYTES);
        match socket.try_read_buf(&mut ahead) {
            Ok(0) => return Err(Stop::Left),
            Ok(_) => return Ok(ahead),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(ahead),
            Err(_) => return Err(Stop::Left),
        }
        match timeout_at(deadline, socket.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Stop::Left),
            Err(_) => return Err(Reason::IdleTimeout.into()),
        }
    }
}

async fn begin<D: Desk>(
    worker: Rc<WorkerContext<D>>,
    mut accepted: Accepted,
    mut ahead: BytesMut,
    opened: Moment,
    deadline: Instant,
) {
    let opening = Opening::new(&worker.opening);
    let mut client = accepted.peer;
    let (listener, watch) = (Arc::clone(&accepted.listener), Arc::clone(&accepted.watch));
    let refused = |client, reason| {
        worker.desk.connection_refused(client, &listener.name, reason, watch.looks.get().map(Arc::as_ref));
    };
    match prepare(&worker, &mut accepted, &mut ahead, &mut client, deadline).await {
        Ok(prepared) => match establish(&worker, accepted, ahead, client, opened, prepared).await {
            Ok((io, connection, watch, http2)) => {
                drop(opening);
                drive::serve(Rc::clone(&worker), io, connection, watch, http2).await;
            }
            Err(reason) => refused(client, reason),
        },
        Err(Stop::Refused(reason)) => {
            reset_on_close(&accepted.socket);
            refused(client, reason);
        }
        Err(Stop::Left) => {}
    }
}

/// What was learned before any cryptography.
enum Prepared {
    Tls(Box<ClientHelloInfo>, Arc<ListenerTls>),
    Plain { http2: bool },
}

/// All checks that come before cryptography.
async fn prepare<D: Desk>(
    worker: &Rc<WorkerContext<D>>,
    accepted: &mut Accepted,
    ahead: &mut BytesMut,
    client: &mut SocketAddr,
    deadline: Instant,
) -> Result<Prepared, Stop> {
    if accepted.source.is_none() {
        let required = accepted.listener.proxy_protocol == ProxyProtocol::Require;
        if let Some(source) = proxy_header(&accepted.socket, ahead, required, deadline).await? {
            *client = source;
            accepted.watch.set_proxied(source);
        }
        let limits = &accepted.limits;
        accepted.source =
            Some(worker.caps.connect(client.ip(), limits.connections_per_source, limits.connections_per_network)?);
    }
    let Some(tls) = accepted.tls.clone() else {
        let http2 = accepted.listener.http2 && prior_knowledge(&accepted.socket, ahead, deadline).await?;
        look(worker, accepted, None, *client)?;
        return Ok(Prepared::Plain { http2 });
    };
    let hello = hello(&accepted.socket, ahead, deadline).await?;
    look(worker, accepted, Some(&hello), *client)?;
    Ok(Prepared::Tls(hello, tls))
}

/// Looks at a connection, and asks whether one that looks like this may go on.
fn look<D: Desk>(
    worker: &Rc<WorkerContext<D>>,
    accepted: &Accepted,
    hello: Option<&ClientHelloInfo>,
    client: SocketAddr,
) -> Result<(), Reason> {
    let known = &accepted.watch.looks;
    if let Some(looks) = worker.desk.look(hello, client, &accepted.listener) {
        known.get_or_init(|| looks);
    }
    worker.desk.may_connect(hello, known.get().map(Arc::as_ref))
}

/// Reads some more; false where the client closed.
async fn read_more(socket: &TcpStream, ahead: &mut BytesMut, deadline: Instant, late: Reason) -> Result<bool, Stop> {
    if ahead.len() >= AHEAD_BYTES_MAX {
        return Err(Reason::NotTls.into());
    }
    ahead.reserve(FIRST_READ_BYTES);
    loop {
        match socket.try_read_buf(ahead) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Stop::Left),
        }
        match timeout_at(deadline, socket.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Stop::Left),
            Err(_) => return Err(late.into()),
        }
    }
}

/// The client's address by a PROXY header; `None`: there is none, or it tells no address.
async fn proxy_header(
    socket: &TcpStream,
    ahead: &mut BytesMut,
    required: bool,
    deadline: Instant,
) -> Result<Option<SocketAddr>, Stop> {
    loop {
        match proxy_protocol::parse(ahead) {
            proxy_protocol::Parsed::Done(header, bytes) => {
                let _ = ahead.split_to(bytes);
                return Ok(match header {
                    ProxyHeader::Addresses { source, .. } => Some(source),
                    ProxyHeader::Local => None,
                });
            }
            proxy_protocol::Parsed::Absent if !required => return Ok(None),
            proxy_protocol::Parsed::Absent | proxy_protocol::Parsed::Bad => return Err(Reason::BadProxyHeader.into()),
            proxy_protocol::Parsed::Need(_) => {}
        }
        if !read_more(socket, ahead, deadline, Reason::BadProxyHeader).await? {
            // A balancer's health check connects and leaves.
            return Err(if ahead.is_empty() { Stop::Left } else { Reason::BadProxyHeader.into() });
        }
    }
}

async fn hello(socket: &TcpStream, ahead: &mut BytesMut, deadline: Instant) -> Result<Box<ClientHelloInfo>, Stop> {
    loop {
        match client_hello::parse(ahead) {
            client_hello::Parsed::Done(hello) => return Ok(hello),
            client_hello::Parsed::Bad => return Err(Reason::NotTls.into()),
            client_hello::Parsed::Need(_) => {}
        }
        if !read_more(socket, ahead, deadline, Reason::HandshakeTimeout).await? {
            return Err(if ahead.is_empty() { Stop::Left } else { Reason::HandshakeFailed.into() });
        }
    }
}

/// Whether the first bytes are the preface of HTTP/2.
async fn prior_knowledge(socket: &TcpStream, ahead: &mut BytesMut, deadline: Instant) -> Result<bool, Stop> {
    loop {
        let seen = ahead.len().min(PREFACE.len());
        if ahead[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        if !read_more(socket, ahead, deadline, Reason::HeaderTimeout).await? {
            return if ahead.is_empty() { Err(Stop::Left) } else { Ok(false) };
        }
    }
}

type Established = (ClientIo, Rc<Connection>, Arc<Watch>, bool);

/// Pays for the handshake, where there is one, and makes the connection.
async fn establish<D: Desk>(
    worker: &Rc<WorkerContext<D>>,
    accepted: Accepted,
    ahead: BytesMut,
    client: SocketAddr,
    opened: Moment,
    prepared: Prepared,
) -> Result<Established, Reason> {
    let Accepted { socket, peer, listener, limits, place, source, watch, .. } = accepted;
    let local = socket.local_addr().unwrap_or(listener.address);
    let handshake = match (&prepared, &source) {
        (Prepared::Tls(..), Some(source)) => {
            let begun = source.handshake(limits.handshakes_per_source);
            Some(begun.inspect_err(|_| reset_on_close(&socket))?)
        }
        _ => None,
    };
    let replay = ReplayIo::new(ahead.freeze(), socket, Arc::clone(&watch), Places { node: place, source });
    let (io, tls, http2) = match prepared {
        Prepared::Plain { http2 } => (ClientIo::Plain(replay), None, http2),
        Prepared::Tls(hello, tls) => {
            let (io, info) = shake_hands(replay, *hello, &tls, &limits, &watch).await?;
            let http2 = info.h2;
            (io, Some(info), http2)
        }
    };
    drop(handshake);
    watch.touch(clock::now());
    let connection = Connection {
        id: worker.next_id(),
        client,
        socket_peer: peer,
        local,
        listener,
        opened,
        tls,
        h2_fingerprint: std::cell::OnceCell::new(),
        looks: watch.looks.get().cloned(),
        signs: std::cell::OnceCell::new(),
        violation: std::cell::Cell::new(None),
        requests: std::cell::Cell::new(0),
        in_flight: std::cell::Cell::new(0),
    };
    Ok((io, Rc::new(connection), watch, http2))
}

async fn shake_hands(
    replay: ReplayIo,
    hello: ClientHelloInfo,
    tls: &ListenerTls,
    limits: &Limits,
    watch: &Arc<Watch>,
) -> Result<(ClientIo, TlsInfo), Reason> {
    let looked = watch.looks.get().and_then(|looks| looks.ja4.clone());
    let fingerprint = looked.unwrap_or_else(|| ja4(&hello));
    let deadline = Instant::now() + limits.handshake;
    // Kept past the deadline, so that the socket within can be told to close with a reset.
    let mut handshake = Box::pin(tokio_rustls::TlsAcceptor::from(tls.config()).accept(replay));
    match timeout_at(deadline, &mut handshake).await {
        Ok(Ok(stream)) => {
            let info = tls_info(&hello, fingerprint, stream.get_ref().1);
            Ok((ClientIo::Tls(Box::new(stream)), info))
        }
        // The alert, if any, was sent: it closes with a plain FIN.
        Ok(Err(_)) => Err(Reason::HandshakeFailed),
        Err(_) => {
            watch.set_abort();
            Err(Reason::HandshakeTimeout)
        }
    }
}
