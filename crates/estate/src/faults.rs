//! Faults on order, for drills: only where the variable names a folder when the estate starts, and never in its health.
//!
//! A file of the service's name says what is wrong from now on: `slow MS` (each answer comes later by this), `errors SHARE`
//! (this share of the answers is 500), `half-dead SHARE` (this share of the requests is never answered). Without a file
//! nothing is wrong; a file that can't be read counts as none.

use crate::service::Service;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The environment variable with the folder of faults.
const VARIABLE: &str = "GUICHET_ESTATE_FAULTS";

/// What is wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Slow(Duration),
    Errors(f64),
    HalfDead(f64),
}

impl Fault {
    /// Reads `slow 300`, `errors 0.5` or `half-dead 0.5`.
    fn read(text: &str) -> Option<Self> {
        let (kind, figure) = text.trim().split_once(' ')?;
        let share = || figure.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        match kind {
            "slow" => Some(Self::Slow(Duration::from_millis(figure.parse::<u32>().ok()?.into()))),
            "errors" => share().map(Self::Errors),
            "half-dead" => share().map(Self::HalfDead),
            _ => None,
        }
    }
}

/// Whether the `n`th request is among the share: spread evenly, the same in each run.
fn hit(n: u64, share: f64) -> bool {
    let upto = |n: u64| (n as f64 * share).floor();
    upto(n + 1) > upto(n)
}

struct Order {
    file: PathBuf,
    requests: AtomicU64,
}

/// The routes of a service, with faults on order where the variable says so.
pub(crate) fn on_order(service: Service, router: Router) -> Router {
    let Some(folder) = std::env::var_os(VARIABLE) else { return router };
    let order = Order { file: PathBuf::from(folder).join(service.name()), requests: AtomicU64::new(0) };
    router.layer(from_fn_with_state(Arc::new(order), faulty))
}

async fn faulty(State(order): State<Arc<Order>>, request: Request, next: Next) -> Response {
    // Read each time: a drill changes it at a moment, and there is nothing to keep up to date.
    let fault = std::fs::read_to_string(&order.file).ok().and_then(|text| Fault::read(&text));
    let Some(fault) = fault.filter(|_| request.uri().path() != "/health") else { return next.run(request).await };
    let n = order.requests.fetch_add(1, Ordering::Relaxed);
    match fault {
        Fault::Slow(by) => {
            tokio::time::sleep(by).await;
            next.run(request).await
        }
        Fault::Errors(share) if hit(n, share) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        // Until the client has had enough.
        Fault::HalfDead(share) if hit(n, share) => std::future::pending().await,
        Fault::Errors(_) | Fault::HalfDead(_) => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    #[test]
    fn orders_are_read() {
        let check = |text: &str, expected: Option<Fault>| assert_eq!(Fault::read(text), expected, "{text:?}");
        check("slow 300\n", Some(Fault::Slow(Duration::from_millis(300))));
        check("errors 0.5", Some(Fault::Errors(0.5)));
        check("half-dead 1", Some(Fault::HalfDead(1.0)));
        for wrong in ["", "slow", "slow -1", "slow 1e9", "errors 1.5", "errors x", "on fire 1"] {
            check(wrong, None);
        }
    }

    #[test]
    fn shares_are_spread_evenly() {
        let check = |share: f64, expected: usize| {
            assert_eq!((0..100).filter(|n| hit(*n, share)).count(), expected, "{share}");
        };
        check(0.0, 0);
        check(0.5, 50);
        check(1.0, 100);
        assert!(hit(1, 0.5) && !hit(2, 0.5) && hit(3, 0.5), "every second one");
    }

    #[tokio::test]
    async fn a_fault_lasts_as_long_as_its_file_and_spares_health() {
        let dir = tempfile::tempdir().unwrap();
        let order = Arc::new(Order { file: dir.path().join("portal"), requests: AtomicU64::new(0) });
        let routes = Router::new().route("/", get(async || "well")).route("/health", get(async || "well"));
        let router = routes.layer(from_fn_with_state(Arc::clone(&order), faulty));
        let status = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        assert_eq!(status("/").await, 200);
        std::fs::write(&order.file, "errors 1").unwrap();
        assert_eq!((status("/").await, status("/health").await), (500, 200));
        std::fs::write(&order.file, "half-dead 1").unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), status("/")).await;
        assert!(waited.is_err(), "no answer comes");
        std::fs::remove_file(&order.file).unwrap();
        assert_eq!(status("/").await, 200);
    }
}
