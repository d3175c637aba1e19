//! Forwarding over real sockets: a small hyper server stands in for `listen`, upstreams are scripts on raw sockets or
//! small hyper servers. All of a test runs on one thread, as a worker does.

mod deadline;
mod h2;
mod headers;
mod pool;
mod retry;
mod servers;
mod storm;
mod stream;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::pool::LocalExecutor;
use super::*;
use crate::admit::{Served, permit_for_test};
use crate::config::{Balance, Server, Upstream, UpstreamProtocol};

/// Runs a test on one thread, as a worker runs, within a bound.
fn local<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = tokio::task::LocalSet::new();
    runtime.block_on(set.run_until(async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("test ran past its bound");
    }));
}

/// A pool of these servers with short deadlines and no retries.
fn upstream(servers: &[SocketAddr]) -> Upstream {
    Upstream {
        name: "test".into(),
        servers: servers.iter().map(|a| Server { address: a.to_string(), weight: 1 }).collect(),
        protocol: UpstreamProtocol::Http1,
        server_name: None,
        ca: None,
        balance: Balance::PowerOfTwo,
        connect: Duration::from_millis(500),
        first_byte: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        keepalive_idle: Duration::from_secs(60),
        keepalive_per_worker_max: 8,
        retry_attempts_max: 1,
        retry_budget_ratio: 0.0,
        retry_budget_min_per_s: 100.0,
        outlier_consecutive_failures: 100,
        outlier_ejection: Duration::from_secs(10),
        outlier_ejected_share_max: 0.5,
        health: None,
    }
}

fn job() -> Job {
    Job {
        upstream: 0,
        arrival: Arrival {
            client: "192.0.2.7".parse().unwrap(),
            peer: "192.0.2.7".parse().unwrap(),
            peer_trusted: false,
            scheme: Scheme::Https,
            request_id: HeaderValue::from_static("r-1"),
        },
        connection: None,
        deadline: None,
        idempotent: false,
        body: BodyBounds { bytes_max: 1 << 30, rate_bytes_s_min: 0, grace: Duration::from_secs(5) },
        watched: None,
        cookies_hidden: &["__Host-guichet", "guichet-"],
    }
}

/// What became of one request.
struct Seen {
    released: Rc<Cell<Option<Served>>>,
    facts: RefCell<Option<Rc<Facts>>>,
    failure: RefCell<Option<Failure>>,
}

/// A front that forwards everything to one pool.
struct Door {
    address: SocketAddr,
    shared: Arc<PoolShared>,
    forwarder: Rc<Forwarder>,
    seen: Rc<RefCell<Vec<Rc<Seen>>>>,
}

impl Door {
    async fn http1(upstream: Upstream, job: Job) -> Self {
        Self::open(upstream, job, false).await
    }

    async fn http2(upstream: Upstream, job: Job) -> Self {
        Self::open(upstream, job, true).await
    }

    async fn open(upstream: Upstream, job: Job, h2: bool) -> Self {
        let shared = PoolShared::new(Arc::new(upstream), clock::now()).unwrap();
        let forwarder = Rc::new(Forwarder::new(std::slice::from_ref(&shared), 42));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door =
            Self { address: listener.local_addr().unwrap(), shared, forwarder: forwarder.clone(), seen: Rc::default() };
        let seen = door.seen.clone();
        tokio::task::spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (forwarder, seen, job) = (forwarder.clone(), seen.clone(), job.clone());
                let service = service_fn(move |request| {
                    let (forwarder, seen, job) = (forwarder.clone(), seen.clone(), job.clone());
                    async move { Ok::<_, std::convert::Infallible>(serve(&forwarder, &seen, job, request).await) }
                });
                tokio::task::spawn_local(async move {
                    let io = TokioIo::new(socket);
                    if h2 {
                        let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
                        let _ = builder.enable_connect_protocol().serve_connection(io, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        });
        door
    }

    fn seen(&self, at: usize) -> Rc<Seen> {
        self.seen.borrow()[at].clone()
    }

    fn facts(&self, at: usize) -> Rc<Facts> {
        self.seen(at).facts.borrow().clone().expect("the request is still under way")
    }

    fn failure(&self, at: usize) -> Option<Failure> {
        self.seen(at).failure.borrow().clone()
    }

    fn count(&self, count: Count) -> u64 {
        self.shared.counters().get(count)
    }

    /// Waits, within a bound, until all permits are back and nothing is in flight.
    async fn settled(&self) {
        eventually("permits released", || {
            self.seen.borrow().iter().all(|s| s.released.get().is_some()) && self.shared.in_flight() == 0
        })
        .await;
    }
}

async fn serve(
    forwarder: &Forwarder,
    seen: &RefCell<Vec<Rc<Seen>>>,
    job: Job,
    request: Request<Incoming>,
) -> Response<Body> {
    let (permit, released) = permit_for_test();
    let entry = Rc::new(Seen { released, facts: RefCell::default(), failure: RefCell::default() });
    seen.borrow_mut().push(entry.clone());
    let outcome = forwarder.forward(permit, job, request.map(Into::into)).await;
    *entry.facts.borrow_mut() = Some(outcome.facts);
    outcome.result.unwrap_or_else(|failure| {
        let status = StatusCode::from_u16(failure.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::full(failure.reason.label()));
        *response.status_mut() = status;
        *entry.failure.borrow_mut() = Some(failure);
        response
    })
}

/// Waits for a condition, at most five seconds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}

/// A scripted upstream: `script` gets each connection with its number, from 0.
async fn scripted<F, S>(script: S) -> (SocketAddr, Rc<Cell<usize>>)
where
    S: Fn(TcpStream, usize) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Rc::new(Cell::new(0));
    let counted = connections.clone();
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let number = counted.get();
            counted.set(number + 1);
            tokio::task::spawn_local(script(socket, number));
        }
    });
    (address, connections)
}

/// An upstream that answers every request on every connection with its name, until told to close.
async fn answering(name: &'static str) -> (SocketAddr, Rc<Cell<usize>>) {
    scripted(move |mut socket, _| async move {
        while !read_head(&mut socket).await.is_empty() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// An address on which nothing listens.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Reads up to the end of a head; what there was if the connection ends before.
async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Reads exactly so many bytes.
async fn read_n(socket: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    socket.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes on a connection of their own and reads until the other side closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = connect(address).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr) -> String {
    exchange(address, "GET /x?y=1 HTTP/1.1\r\nHost: portal.localhost\r\nConnection: close\r\n\r\n").await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// A field's value in a raw head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
