//! Serves one connection: hyper behind a guard, the desk behind hyper.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use guichet_core::Reason;
use guichet_core::bounds::{H2_PENDING_RESETS_MAX, H2_SEND_BUFFER_BYTES_MAX};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::client_io::ClientIo;
use super::guard_http1::GuardedHttp1;
use super::guard_http2::GuardedHttp2;
use super::stall::{Handed, Stalls};
use super::watch::{Command, Watch};
use super::worker::WorkerContext;
use crate::body::{Body, BodyError};
use crate::clock;
use crate::config::Limits;
use crate::connection::Connection;
use crate::desk::Desk;

/// hyper needs at least this much.
const HTTP1_BUFFER_BYTES_MIN: usize = 8192;
/// Windows of HTTP/2 that we give: what one client may make us hold.
const H2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const H2_CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;

/// Runs futures of one connection's streams on the same worker.
#[derive(Debug, Clone, Copy)]
struct OnThisWorker;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisWorker {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// Tells the desk that the connection closed, however it ends.
struct Opened<D: Desk> {
    desk: Rc<D>,
    connection: Rc<Connection>,
    watch: Arc<Watch>,
}

impl<D: Desk> Drop for Opened<D> {
    fn drop(&mut self) {
        self.desk.connection_closed(&self.connection);
        if let Some(reason) = self.watch.ended() {
            let Connection { client, listener, looks, .. } = &*self.connection;
            self.desk.connection_refused(*client, &listener.name, reason, looks.as_deref());
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<D: Desk>(
    worker: Rc<WorkerContext<D>>,
    io: ClientIo,
    connection: Rc<Connection>,
    watch: Arc<Watch>,
    http2: bool,
) {
    let limits = worker.limits();
    let desk = Rc::clone(&worker.desk);
    drop(worker);
    watch.set_served();
    desk.connection_opened(&connection);
    let opened = Opened { desk: Rc::clone(&desk), connection: Rc::clone(&connection), watch: Arc::clone(&watch) };
    let counter = Rc::new(Counter { desk, connection, watch, limits, http2, stalls: Stalls::default() });
    let ended = if http2 { serve_http2(&counter, io).await } else { serve_http1(&counter, io).await };
    if let Err(error) = ended {
        note_error(&counter, &error);
    }
    drop(opened);
}

async fn serve_http1<D: Desk>(counter: &Rc<Counter<D>>, io: ClientIo) -> hyper::Result<()> {
    let limits = &counter.limits;
    let guarded = GuardedHttp1::new(io, Arc::clone(&counter.watch), Arc::clone(limits));
    let service = {
        let counter = Rc::clone(counter);
        service_fn(move |request| Rc::clone(&counter).answer(request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard keeps the deadlines, and knows which phase it is.
        .header_read_timeout(None)
        // A client that closes is gone, and its request is given up: half-closed clients cannot be told from those
        // that left, and in a flood most of them left.
        .half_close(false)
        .max_headers(limits.header_fields_max.max(1))
        .max_buf_size(limits.head_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
        .serve_connection(TokioIo::new(guarded), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = false;
    poll_fn(|cx| {
        match counter.commanded(cx) {
            Command::Close => return Poll::Ready(Ok(())),
            Command::Drain if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Command::Drain | Command::Serve => {}
        }
        let ended = connection.as_mut().poll(cx);
        counter.note_violation();
        ended
    })
    .await
}

async fn serve_http2<D: Desk>(counter: &Rc<Counter<D>>, io: ClientIo) -> hyper::Result<()> {
    let limits = &counter.limits;
    let guarded = GuardedHttp2::new(io, Arc::clone(&counter.watch), Arc::clone(limits));
    let service = {
        let counter = Rc::clone(counter);
        service_fn(move |request| Rc::clone(&counter).answer(request))
    };
    let connection = http2::Builder::new(OnThisWorker)
        .timer(TokioTimer::new())
        // The guard tells the client the present bound, which is this or less.
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits.h2_resets_per_10s as usize)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BUFFER_BYTES_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .serve_connection(TokioIo::new(guarded), service);
    let mut connection = pin!(connection);
    let mut draining = false;
    poll_fn(|cx| {
        match counter.commanded(cx) {
            Command::Close => return Poll::Ready(Ok(())),
            Command::Drain if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Command::Drain | Command::Serve => {}
        }
        if counter.stalls.stalled(cx, &counter.limits, &counter.watch) {
            counter.watch.ended_for(Reason::H2WindowGames);
            counter.watch.set_abort();
            return Poll::Ready(Ok(()));
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// What an error of hyper says, where the guards said nothing before.
fn note_error<D: Desk>(counter: &Counter<D>, error: &hyper::Error) {
    if counter.http2 {
        let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
        match h2.map(|e| (e.is_remote(), e.is_io(), e.reason())) {
            Some((false, false, Some(h2::Reason::ENHANCE_YOUR_CALM))) => counter.watch.ended_for(Reason::H2RapidReset),
            Some((false, false, Some(_))) => counter.watch.ended_for(Reason::H2Protocol),
            _ => {}
        }
    } else if error.is_parse() || error.is_parse_too_large() {
        // The guard lets nothing through that hyper does not parse; should it ever, it is counted.
        counter.watch.ended_for(Reason::MalformedHead);
    }
}

/// Counts the requests of a connection and hands them to the desk.
struct Counter<D: Desk> {
    desk: Rc<D>,
    connection: Rc<Connection>,
    watch: Arc<Watch>,
    limits: Arc<Limits>,
    http2: bool,
    stalls: Stalls,
}

impl<D: Desk> Counter<D> {
    /// What is wanted of the connection; whoever wants something wakes this task.
    fn commanded(&self, cx: &Context<'_>) -> Command {
        self.watch.driver.register(cx.waker());
        self.watch.commanded()
    }

    /// Carries what the guard found over to the connection, where the desk looks.
    fn note_violation(&self) {
        let begun = self.watch.begun();
        if let Some(reason) = self.watch.violation_for(begun).filter(|_| begun > 0) {
            self.connection.violation.set(Some(reason));
        }
    }

    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
        let number = self.watch.begin();
        let connection = &self.connection;
        connection.requests.set(connection.requests.get() + 1);
        connection.in_flight.set(connection.in_flight.get() + 1);
        let in_flight = InFlight { connection: Rc::clone(connection), watch: Arc::clone(&self.watch) };
        if let Some(fingerprint) = self.watch.h2_fingerprint.get() {
            connection.h2_fingerprint.get_or_init(|| fingerprint.clone());
        }
        self.note_violation();
        let answer = Rc::clone(&self.desk).handle(Rc::clone(connection), request);
        let mut answer = pin!(answer);
        let mut response = poll_fn(|cx| {
            // A body may break while the desk reads it: it must see why before it sees that.
            self.note_violation();
            answer.as_mut().poll(cx)
        })
        .await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.watch.set_transparent();
        } else if number >= self.limits.requests_per_connection_max {
            self.last_answer(&mut response);
        } else if connection.violation.get().is_some() && !self.http2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if response.status().as_u16() < 400 {
            self.watch.set_good();
        }
        let handed = self.http2.then(|| self.stalls.track());
        Ok(response.map(|body| Tracked { body, _in_flight: in_flight, handed }))
    }

    /// The connection has carried as many requests as it may.
    fn last_answer(&self, response: &mut Response<Body>) {
        if self.http2 {
            self.watch.command(Command::Drain);
        } else {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A request under way; over when dropped.
struct InFlight {
    connection: Rc<Connection>,
    watch: Arc<Watch>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.connection.in_flight.set(self.connection.in_flight.get().saturating_sub(1));
        self.watch.end(clock::now());
    }
}

pin_project_lite::pin_project! {
    /// A body that ends its request when it is dropped, and that notices when the client does not take it.
    struct Tracked {
        #[pin]
        body: Body,
        _in_flight: InFlight,
        handed: Option<Handed>,
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(handed) = this.handed {
            match &frame {
                Poll::Ready(Some(Ok(frame))) => handed.handed_over(frame.data_ref().map_or(0, Bytes::len)),
                _ => handed.taken(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
