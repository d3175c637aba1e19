//! Plain floods: requests, as fast as the pacer says.

use super::super::answer::Answer;
use super::super::h1::H1;
use super::super::h2::H2;
use super::super::headers::Request;
use super::super::pass::Offer;
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
        Ok(Ok(answer)) => {
            force.answered(answer.status, answer.is_of_service());
            earn(force, source, &request, &answer).await;
        }
        Ok(Err(_)) | Err(_) => force.failed(),
    }
}

/// Earns a pass where the front offers one and the attacker's machines have time for it: they calculate far faster than a
/// telephone, but not without end.
async fn earn(force: &Force, source: &Source, refused: &Request<'_>, answer: &Answer) {
    let Some(offer) = Offer::find(&answer.page).filter(|_| force.wave.passes_per_s > 0.0) else { return };
    if !force.may_earn() {
        return;
    }
    let submit = offer.submit.clone();
    let solved = tokio::task::spawn_blocking(move || offer.solve()).await;
    let Ok(Some(solution)) = solved else { return };
    let mut request = force.request(source);
    // To the service that asked for it.
    (request.op, request.host, request.method) = (refused.op, refused.host, "POST");
    request.ask.path = submit;
    request.ask.body = solution.form;
    request.ask.content_type = "application/x-www-form-urlencoded";
    force.sent(1);
    if let Ok(Ok(given)) = timeout_at(force.at_most(PATIENCE), exchange(force, source, &request)).await {
        let passes: Vec<_> = given.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !passes.is_empty() {
            *source.pass.borrow_mut() = passes.join("; ");
            force.tally.borrow_mut().passes += 1;
        }
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
