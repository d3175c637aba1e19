//! One worker's connections to the servers of one pool.
//!
//! HTTP/1.1: a list of idle connections a server, last in first out, so that the ones least used expire. HTTP/2: a few
//! connections a server, shared by streams. Nothing here is `Send`, so nothing needs a lock.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Reason;
use guichet_core::bounds::{
    POOL_IDLE_PER_SERVER_MAX, UPSTREAM_DNS_LIFE_MS, UPSTREAM_H2_CONNECTION_WINDOW_BYTES, UPSTREAM_H2_CONNECTIONS_MAX,
    UPSTREAM_H2_PING_MS, UPSTREAM_H2_STREAM_WINDOW_BYTES, UPSTREAM_H2_STREAMS_MAX, UPSTREAM_HEAD_BYTES_MAX,
    UPSTREAM_HEADER_FIELDS_MAX, UPSTREAM_SETTLE_MS_MAX,
};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::connect::{self, ConnectFailure};
use super::counters::Count;
use super::inbound::InboundBody;
use super::shared::PoolShared;
use super::stream::Stream;
use crate::config::UpstreamProtocol;

/// Sends HTTP/1.1 requests on one connection, one after the other.
pub(super) type Http1 = http1::SendRequest<InboundBody>;

/// One HTTP/2 connection.
pub(super) struct Http2 {
    sender: http2::SendRequest<InboundBody>,
    streams: Cell<usize>,
    /// What the server allows at once; 0 until it told.
    streams_max: Rc<Cell<usize>>,
    idle_since: Cell<Instant>,
}

impl Http2 {
    /// Streams at once. While the server has not told, a burst gathers on one connection instead of opening several.
    fn allowed(&self) -> usize {
        match self.streams_max.get() {
            0 => UPSTREAM_H2_STREAMS_MAX,
            told => told.min(UPSTREAM_H2_STREAMS_MAX),
        }
    }
}

/// One stream of an HTTP/2 connection; ends when dropped.
pub(super) struct Http2Stream(Rc<Http2>);

impl Http2Stream {
    fn open(connection: &Rc<Http2>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(connection.clone())
    }

    pub(super) fn sender(&self) -> http2::SendRequest<InboundBody> {
        self.0.sender.clone()
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// A way to send one request.
pub(super) enum Channel {
    Http1(Http1),
    Http2(Http2Stream),
}

/// A channel, and how it was come by.
pub(super) struct Acquired {
    pub(super) channel: Channel,
    /// `None`: it was there already.
    pub(super) connect: Option<Duration>,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

#[derive(Default)]
struct ServerPool {
    idle: RefCell<Vec<Idle>>,
    sweeping: Cell<bool>,
    h2: RefCell<Vec<Rc<Http2>>>,
    /// Held while an HTTP/2 connection is made, so that a burst makes one and not one each.
    h2_connecting: tokio::sync::Mutex<()>,
    resolved: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
    /// Failures to connect: where a name has several addresses, each failure makes another one the first.
    turn: Cell<usize>,
}

/// See the module's description.
pub(super) struct WorkerPool {
    shared: Arc<PoolShared>,
    servers: Vec<ServerPool>,
    idle_max: usize,
}

impl WorkerPool {
    pub(super) fn new(shared: Arc<PoolShared>) -> Rc<Self> {
        let servers = shared.upstream().servers.iter().map(|_| ServerPool::default()).collect();
        let idle_max = shared.upstream().keepalive_per_worker_max.min(POOL_IDLE_PER_SERVER_MAX);
        Rc::new(Self { shared, servers, idle_max })
    }

    pub(super) fn shared(&self) -> &Arc<PoolShared> {
        &self.shared
    }

    /// A channel to a server: one that is there unless `fresh`, else a new one. The caller sets the deadline.
    pub(super) async fn acquire(self: &Rc<Self>, server: usize, fresh: bool) -> Result<Acquired, ConnectFailure> {
        let acquired = match self.shared.upstream().protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::Https => self.acquire_http1(server, fresh).await,
            UpstreamProtocol::H2c | UpstreamProtocol::H2 => self.acquire_http2(server, fresh).await,
        }?;
        self.shared.counters().add(if acquired.connect.is_some() { Count::Connects } else { Count::Reuses });
        Ok(acquired)
    }

    async fn acquire_http1(&self, server: usize, fresh: bool) -> Result<Acquired, ConnectFailure> {
        if !fresh && let Some(sender) = self.take_idle(server) {
            return Ok(Acquired { channel: Channel::Http1(sender), connect: None });
        }
        let started = Instant::now();
        let stream = self.open(server).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(UPSTREAM_HEAD_BYTES_MAX)
            .max_header_size(UPSTREAM_HEAD_BYTES_MAX)
            .max_headers(UPSTREAM_HEADER_FIELDS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broke(&e))?;
        // An error here reaches whoever waits on the connection; nobody else wants it.
        tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
        Ok(Acquired { channel: Channel::Http1(sender), connect: Some(started.elapsed()) })
    }

    /// The connection used last that is alive and not expired. Dead and expired ones are dropped on the way.
    fn take_idle(&self, server: usize) -> Option<Http1> {
        let mut idle = self.servers[server].idle.borrow_mut();
        let life = self.shared.upstream().keepalive_idle;
        while let Some(Idle { sender, since }) = idle.pop() {
            // Only ready senders are put here, so one that is not ready is closing.
            if sender.is_ready() && !sender.is_closed() && since.elapsed() < life {
                return Some(sender);
            }
        }
        None
    }

    /// Takes a connection back after its answer ended. One that is still finishing is given a moment.
    pub(super) fn give_back(self: &Rc<Self>, server: usize, mut sender: Http1) {
        if sender.is_closed() || self.idle_max == 0 {
            return;
        }
        if sender.is_ready() {
            self.put_idle(server, sender);
            return;
        }
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            let settled = tokio::time::timeout(Duration::from_millis(UPSTREAM_SETTLE_MS_MAX), sender.ready()).await;
            if let (Ok(Ok(())), Some(pool)) = (settled, pool.upgrade()) {
                pool.put_idle(server, sender);
            }
        });
    }

    fn put_idle(self: &Rc<Self>, server: usize, sender: Http1) {
        let pool = &self.servers[server];
        let mut idle = pool.idle.borrow_mut();
        if idle.len() >= self.idle_max {
            return;
        }
        idle.push(Idle { sender, since: Instant::now() });
        if !pool.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self), server));
        }
    }

    /// Drops what was idle too long; says when to look again, `None` if nothing is left.
    fn expire(&self, server: usize) -> Option<Instant> {
        let life = self.shared.upstream().keepalive_idle;
        let pool = &self.servers[server];
        let mut idle = pool.idle.borrow_mut();
        idle.retain(|i| !i.sender.is_closed() && i.since.elapsed() < life);
        let mut h2 = pool.h2.borrow_mut();
        h2.retain(|c| !c.sender.is_closed() && (c.streams.get() > 0 || c.idle_since.get().elapsed() < life));
        let next_http1 = idle.first().map(|i| i.since + life);
        // A connection with streams has no end yet: look again after a life.
        let next_http2 = (!h2.is_empty()).then(|| Instant::now() + life);
        let next = [next_http1, next_http2].into_iter().flatten().min();
        if next.is_none() {
            pool.sweeping.set(false);
        }
        next
    }

    async fn acquire_http2(self: &Rc<Self>, server: usize, fresh: bool) -> Result<Acquired, ConnectFailure> {
        let there = |stream| Acquired { channel: Channel::Http2(stream), connect: None };
        if !fresh && let Some(stream) = self.open_stream(server, false) {
            return Ok(there(stream));
        }
        let pool = &self.servers[server];
        let _connecting = pool.h2_connecting.lock().await;
        // Whoever held the lock may have made the connection this request was waiting for.
        if !fresh && let Some(stream) = self.open_stream(server, false) {
            return Ok(there(stream));
        }
        let full = pool.h2.borrow().iter().filter(|c| !c.sender.is_closed()).count() >= UPSTREAM_H2_CONNECTIONS_MAX;
        if full && let Some(stream) = self.open_stream(server, true) {
            return Ok(there(stream));
        }
        let started = Instant::now();
        let connection = self.connect_http2(server).await?;
        let stream = Http2Stream::open(&connection);
        pool.h2.borrow_mut().push(connection);
        if !pool.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self), server));
        }
        Ok(Acquired { channel: Channel::Http2(stream), connect: Some(started.elapsed()) })
    }

    /// A stream on the least used connection. Beyond what the server allows, only if `queue`: the codec then holds the
    /// request back until a stream ends.
    fn open_stream(&self, server: usize, queue: bool) -> Option<Http2Stream> {
        let mut connections = self.servers[server].h2.borrow_mut();
        // After GOAWAY a connection reads as closed, though its streams go on.
        connections.retain(|c| !c.sender.is_closed());
        connections
            .iter()
            .filter(|c| queue || c.streams.get() < c.allowed())
            .min_by_key(|c| c.streams.get())
            .map(Http2Stream::open)
    }

    async fn connect_http2(&self, server: usize) -> Result<Rc<Http2>, ConnectFailure> {
        let stream = self.open(server).await?;
        let ping = Duration::from_millis(UPSTREAM_H2_PING_MS);
        let (sender, mut connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            // Nothing is sent before the server told its limit: streams beyond it would be refused.
            .initial_max_send_streams(0)
            .initial_stream_window_size(UPSTREAM_H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(UPSTREAM_H2_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(UPSTREAM_HEAD_BYTES_MAX as u32)
            .max_send_buf_size(UPSTREAM_H2_STREAM_WINDOW_BYTES as usize)
            .keep_alive_interval(ping)
            .keep_alive_timeout(ping)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broke(&e))?;
        let streams_max = Rc::new(Cell::new(0));
        let told = streams_max.clone();
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            told.set(connection.current_max_send_streams());
            polled.map(drop)
        }));
        Ok(Rc::new(Http2 { sender, streams: Cell::new(0), streams_max, idle_since: Cell::new(Instant::now()) }))
    }

    async fn open(&self, server: usize) -> Result<Stream, ConnectFailure> {
        let pool = &self.servers[server];
        let known = pool
            .resolved
            .borrow()
            .as_ref()
            .filter(|(at, _)| at.elapsed() < Duration::from_millis(UPSTREAM_DNS_LIFE_MS))
            .map(|(_, addresses)| addresses.clone());
        let addresses = match known {
            Some(addresses) => addresses,
            None => {
                let addresses = self.shared.name(server).addresses().await?;
                *pool.resolved.borrow_mut() = Some((Instant::now(), addresses.clone()));
                addresses
            }
        };
        let mut addresses = addresses;
        let turns = pool.turn.get() % addresses.len().max(1);
        addresses.rotate_left(turns);
        let opened = connect::open(&addresses, server, self.shared.tls()).await;
        if opened.is_err() {
            self.forget_address(server);
        }
        opened
    }

    /// The next connection looks the name up again, and begins with another of its addresses.
    pub(super) fn forget_address(&self, server: usize) {
        let pool = &self.servers[server];
        pool.resolved.borrow_mut().take();
        pool.turn.set(pool.turn.get().wrapping_add(1));
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self, server: usize) -> usize {
        self.servers[server].idle.borrow().len()
    }
}

fn broke(error: &hyper::Error) -> ConnectFailure {
    ConnectFailure { reason: Reason::UpstreamProtocol, detail: format!("HTTP set-up: {error}") }
}

/// Ends connections that were idle too long, until none is left or the pool is gone.
async fn sweep(pool: Weak<WorkerPool>, server: usize) {
    loop {
        let Some(next) = pool.upgrade().and_then(|pool| pool.expire(server)) else { return };
        // Not more often than this, whatever the configuration says.
        tokio::time::sleep_until(next.max(Instant::now() + Duration::from_millis(50))).await;
    }
}

/// Runs what HTTP/2 spawns on this worker.
#[derive(Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
