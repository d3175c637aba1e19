//! The page's own listener: a thread and a runtime that it shares with nobody, so that it answers while everything else of
//! the node is flooded, stuck or gone. It serves the last edition there is, and says when that is old.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::bounds::{CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX, HEAD_BYTES_MAX};
use crate::edition::Edition;

/// From the connection to the end of the request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// From the connection to its end: one connection carries one request.
const CONNECTION_WITHIN: Duration = Duration::from_secs(20);
/// The pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running listener. It ends when this is dropped, and not before: where nobody draws any more, it goes on with the
/// last edition.
#[derive(Debug)]
pub struct Door {
    local: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Door {
    /// Binds and starts answering.
    ///
    /// # Errors
    /// The address cannot be bound, or the thread not started; the error names the address.
    pub fn open(listen: SocketAddr, editions: watch::Receiver<Arc<Edition>>) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("the listener of notices {listen}: {e}"));
        let listener = TcpListener::bind(listen).map_err(named)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("guichet-notices".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                tokio::select! {
                    () = accept(listener, editions) => {}
                    // Nothing is ever sent: the one who could is gone.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { local, _stop: stop })
    }

    /// The address bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Who holds connections. All of it lives on one thread.
#[derive(Default)]
struct Places {
    by_source: HashMap<IpAddr, usize>,
    /// Oldest first; those that ended are taken out when room is needed.
    held: VecDeque<AbortHandle>,
}

/// A connection's place, given back when it ends however it ends.
struct Place {
    places: Rc<RefCell<Places>>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.borrow_mut();
        if let Some(count) = places.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                places.by_source.remove(&self.source);
            }
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// A place for a connection, or `None` where its source holds as many as it may.
fn place(places: &Rc<RefCell<Places>>, address: IpAddr) -> Option<Place> {
    let source = source(address);
    let mut held = places.borrow_mut();
    let count = held.by_source.entry(source).or_default();
    if *count >= CONNECTIONS_PER_SOURCE_MAX {
        return None;
    }
    *count += 1;
    held.held.retain(|one| !one.is_finished());
    // An answer takes milliseconds: who holds on the longest is the one who does not want it.
    while held.held.len() >= CONNECTIONS_MAX {
        if let Some(oldest) = held.held.pop_front() {
            oldest.abort();
        }
    }
    drop(held);
    Some(Place { places: places.clone(), source })
}

async fn accept(listener: TcpListener, editions: watch::Receiver<Arc<Edition>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Rc::new(RefCell::new(Places::default()));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = place(&places, peer.ip()) else { continue };
        let editions = editions.clone();
        let task = tokio::task::spawn_local(async move {
            // A client that is late or breaks off has hurt only itself.
            let _ = timeout(CONNECTION_WITHIN, serve(stream, editions)).await;
            drop(place);
        });
        places.borrow_mut().held.push_back(task.abort_handle());
    }
}

async fn serve(stream: TcpStream, editions: watch::Receiver<Arc<Edition>>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let edition = editions.borrow().clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &edition, Timestamp::now())) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The answer to one request. HEAD is GET without the body, which hyper leaves out.
fn answer(method: &Method, path: &str, edition: &Edition, now: Timestamp) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let name = path.strip_prefix('/').unwrap_or(path);
    let Some(page) = edition.files.get(if name.is_empty() { "index.html" } else { name }) else {
        return plain(StatusCode::NOT_FOUND, "There is no such page here; begin at /\n");
    };
    let old = now > edition.valid_until;
    let bytes = page.when_old.as_ref().filter(|_| old).unwrap_or(&page.bytes);
    let mut response = respond(StatusCode::OK, page.media_type, bytes.clone());
    let age_s = now.duration_since(edition.drawn_at).as_secs().max(0);
    response.headers_mut().insert(header::AGE, HeaderValue::from(age_s));
    if page.media_type == "application/json" {
        // Anybody's page may show our state.
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn respond(status: StatusCode, media_type: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
