//! The workers of a service: each operation waits for one, first come first served, and holds it while it is done.
//!
//! A request that was taken in is done to its end even when its client has gone: a server with threads does not notice
//! either, and that is what makes a rapid reset hurt. So the work runs in a task of its own.

use crate::bounds::{BODY_READ_MAX, HANDLER_MAX};
use crate::capacity::ServiceCapacity;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Marks a response that is right as HTTP but is not the operation asked for, as a redirection to the sign-in page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotTheOperation;

/// The workers of one service and those who wait for them.
#[derive(Debug)]
pub(crate) struct Gate {
    capacity: ServiceCapacity,
    workers: Arc<Semaphore>,
    queued: AtomicU32,
}

/// A place in the queue; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

/// A worker at work; free again when dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(capacity: ServiceCapacity) -> Arc<Self> {
        let workers = Arc::new(Semaphore::new(capacity.workers as usize));
        Arc::new(Self { capacity, workers, queued: AtomicU32::new(0) })
    }

    /// Takes a place in the queue, or `None` when as many wait as may.
    pub(crate) fn queue(self: &Arc<Self>) -> Option<Place> {
        // Those for whom a worker is free only pass through the queue.
        let places = self.capacity.queue_max.saturating_add(self.free());
        let next = |queued| (queued < places).then_some(queued + 1);
        self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Place(Arc::clone(self)))
    }

    fn free(&self) -> u32 {
        u32::try_from(self.workers.available_permits()).unwrap_or(u32::MAX)
    }

    /// Requests that wait for a worker while none is free.
    fn queued(&self) -> u32 {
        self.queued.load(Ordering::Acquire).saturating_sub(self.free())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Place {
    /// Waits for a worker. Tokio's semaphore serves in the order of arrival.
    ///
    /// # Errors
    /// When the service is being closed.
    pub(crate) async fn worker(self) -> Result<Worker, Problem> {
        let permit = Arc::clone(&self.0.workers).acquire_owned().await;
        let permit = permit.map_err(|_| Problem::busy("the service is closing"))?;
        Ok(Worker { _permit: permit })
    }
}

/// One operation of one service.
#[derive(Clone)]
pub(crate) struct Operation {
    gate: Arc<Gate>,
    name: &'static str,
    body_bytes_max: usize,
    marked: bool,
}

impl Operation {
    pub(crate) fn new(gate: &Arc<Gate>, name: &'static str, body_bytes_max: usize) -> Self {
        Self { gate: Arc::clone(gate), name, body_bytes_max, marked: true }
    }

    /// For what is no operation: unknown paths, static parts.
    pub(crate) fn other(gate: &Arc<Gate>) -> Self {
        Self { marked: false, ..Self::new(gate, crate::capacity::OTHER, crate::bounds::BODY_BYTES_MAX) }
    }

    /// Puts the workers before a route.
    pub(crate) fn route<S: Clone + Send + Sync + 'static>(self, route: MethodRouter<S>) -> MethodRouter<S> {
        route.layer(from_fn_with_state(self, run))
    }

    /// Waits for a worker, reads the body, does the work while the worker is held for the declared time at least.
    async fn serve(self, place: Place, request: Request, next: Next) -> Response {
        let worker = match place.worker().await {
            Ok(worker) => worker,
            Err(problem) => return problem.into_response(),
        };
        // Those who wait when the work starts decide how slow it is.
        let hold = self.gate.capacity.hold(self.name, self.gate.queued());
        let request = match with_whole_body(request, self.body_bytes_max).await {
            Ok(request) => request,
            Err(problem) => return problem.into_response(),
        };
        // Side by side: the worker is held for the declared time, or for the real work where that takes longer. One after
        // the other would add the speed of the machine to each declared cost.
        let declared = async {
            if !hold.is_zero() {
                tokio::time::sleep(hold).await;
            }
        };
        let (done, ()) = tokio::join!(tokio::time::timeout(HANDLER_MAX, next.run(request)), declared);
        drop(worker);
        let mut response = done.unwrap_or_else(|_| Problem::busy("the service took too long").into_response());
        let right = response.status().is_success() || response.status().is_redirection();
        if self.marked && right && response.extensions().get::<NotTheOperation>().is_none() {
            response.headers_mut().insert("x-estate-op", HeaderValue::from_static(self.name));
        }
        response
    }
}

/// The middleware of one operation.
pub(crate) async fn run(State(operation): State<Operation>, request: Request, next: Next) -> Response {
    let Some(place) = operation.gate.queue() else {
        return Problem::busy("too many requests wait; come back in a moment").into_response();
    };
    let (answer, waiting) = oneshot::channel();
    tokio::spawn(async move {
        let response = operation.serve(place, request, next).await;
        // The client may have gone: then nobody takes the answer, and that is all.
        let _ = answer.send(response);
    });
    waiting.await.unwrap_or_else(|_| Problem::internal(&"a handler panicked").into_response())
}

/// Reads the body, within its bounds in bytes and in time, so that handlers have it whole.
async fn with_whole_body(request: Request, bytes_max: usize) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    let collected = tokio::time::timeout(BODY_READ_MAX, Limited::new(body, bytes_max).collect()).await;
    let too_slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body took too long to arrive");
    let bytes: Bytes = match collected.map_err(too_slow)? {
        Ok(whole) => whole.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the body may have {bytes_max} bytes at most");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
        }
        Err(_) => return Err(Problem::malformed("the body broke off")),
    };
    Ok(Request::from_parts(head, Body::from(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::CapacityModel;
    use crate::service::Service;
    use axum::Router;
    use axum::routing::get;
    use std::time::Duration;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    fn gate(workers: u32, queue_max: u32) -> Arc<Gate> {
        let text = format!(
            "[service.portal]\nworkers = {workers}\nqueue_max = {queue_max}\n[service.portal.cost_ms]\nhome = 100\n\
             [service.portal.collapse]\nknee = 2\nslope = 1.0\nfactor_max = 3.0\n"
        );
        Gate::new(CapacityModel::parse(&text).unwrap().of(Service::Portal))
    }

    fn router(gate: &Arc<Gate>) -> Router {
        let home = || async { "home" };
        let sent_away = || async {
            let mut response = axum::response::Redirect::to("/").into_response();
            response.extensions_mut().insert(NotTheOperation);
            response
        };
        Router::new()
            .route("/", Operation::new(gate, "home", 8).route(get(home).post(home)))
            .route("/away", Operation::new(gate, "home", 8).route(get(sent_away)))
    }

    async fn ask(router: &Router, method: &str, path: &str, body: &'static str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn workers_are_held_for_the_declared_time_first_come_first_served() {
        let gate = gate(2, 100);
        let router = router(&gate);
        let start = Instant::now();
        let asked: Vec<_> = (0..4)
            .map(|_| {
                let router = router.clone();
                tokio::spawn(async move { (ask(&router, "GET", "/", "").await.status(), start.elapsed()) })
            })
            .collect();
        for (n, task) in asked.into_iter().enumerate() {
            let (status, elapsed) = task.await.unwrap();
            assert_eq!(status, StatusCode::OK);
            let rounds = u32::try_from(n).unwrap() / 2 + 1;
            let expected = Duration::from_millis(100) * rounds;
            assert!(elapsed >= expected && elapsed < expected + Duration::from_millis(10), "{n}: {elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_refused_at_once_without_the_header() {
        let gate = gate(1, 2);
        let router = router(&gate);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let router = router.clone();
                tokio::spawn(async move { ask(&router, "GET", "/", "").await.status() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(gate.queued(), 2, "one is served");
        let start = Instant::now();
        let refused = ask(&router, "GET", "/", "").await;
        assert_eq!((refused.status(), start.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
        assert!(refused.headers().contains_key("retry-after") && !refused.headers().contains_key("x-estate-op"));
        for task in waiting {
            assert_eq!(task.await.unwrap(), StatusCode::OK);
        }
        assert_eq!(gate.queued(), 0);
    }

    fn ask_later(router: &Router) -> tokio::task::JoinHandle<StatusCode> {
        let router = router.clone();
        tokio::spawn(async move { ask(&router, "GET", "/", "").await.status() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_costs_as_much_as_one_that_stays() {
        let gate = gate(1, 100);
        let router = router(&gate);
        for _ in 0..3 {
            let task = ask_later(&router);
            tokio::time::sleep(Duration::from_millis(1)).await;
            task.abort();
        }
        let start = Instant::now();
        assert_eq!(ask(&router, "GET", "/", "").await.status(), StatusCode::OK);
        // Three of 100 ms, begun 3 ms ago at most, then its own.
        assert!(start.elapsed() >= Duration::from_millis(397), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flooded_service_gets_slower() {
        let gate = gate(1, 100);
        let router = router(&gate);
        let start = Instant::now();
        let tasks: Vec<_> = (0..7).map(|_| ask_later(&router)).collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Queued at each start: 6 5 4 3 2 1 0; factors 3 3 3 2 1 1 1. The timer is up to a millisecond late each time.
        let total = start.elapsed();
        assert!(total >= Duration::from_millis(1400) && total < Duration::from_millis(1410), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_header_marks_right_answers_only() {
        let gate = gate(1, 100);
        let router = router(&gate);
        for (method, path, body, status, marked) in [
            ("GET", "/", "", 200, true),
            ("POST", "/", "12345678", 200, true),
            ("POST", "/", "123456789", 413, false),
            ("GET", "/away", "", 303, false),
        ] {
            let response = ask(&router, method, path, body).await;
            let header = response.headers().contains_key("x-estate-op");
            assert_eq!((response.status().as_u16(), header), (status, marked), "{method} {path} {body}");
        }
    }
}
