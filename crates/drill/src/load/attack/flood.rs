//! Plain floods: requests, as fast as the pacer says.

use super::super::answer::Answer;
use super::super::h1::H1;
use super::super::h2::H2;
use super::super::headers::Request;
use super::super::wire;
use super::{Force, Source};
use std::io;
use std::time::Duration;
use tokio::time::timeout_at;

/// An attacker's patience with one request.
const PATIENCE: Duration = Duration::from_secs(3);

/// One request.
pub(super) async fn act(force: &Force, source: &Source) {
    let request = force.request(source);
    force.sent(1);
    match timeout_at(force.at_most(PATIENCE), exchange(force, source, &request)).await {
        Ok(Ok(answer)) => force.answered(answer.status),
        Ok(Err(_)) | Err(_) => force.failed(),
    }
}

async fn exchange(force: &Force, source: &Source, request: &Request<'_>) -> io::Result<Answer> {
    // Connections to several services of their own are not mixed up: such an attacker opens one a request.
    let reusable = force.one_way();
    let h2 = source.h2.borrow().clone().filter(|_| reusable);
    if let Some(h2) = h2 {
        return h2.exchange(request).await.inspect_err(|_| *source.h2.borrow_mut() = None);
    }
    let idle = if reusable { source.h1.borrow_mut().pop() } else { None };
    let mut h1 = match idle {
        Some(h1) => h1,
        None => {
            let route = force.route(source, request.op).ok_or(io::ErrorKind::AddrNotAvailable)?;
            let wire = wire::connect(&route).await?;
            force.connected();
            if wire.is_h2() {
                let h2 = H2::new(wire).await?;
                *source.h2.borrow_mut() = Some(h2.clone());
                return h2.exchange(request).await;
            }
            H1::new(wire)
        }
    };
    let answer = h1.exchange(&request.h1()).await?;
    if reusable && !answer.close {
        source.h1.borrow_mut().push(h1);
    }
    Ok(answer)
}
