//! What contracts do to one request: before it asks for a slot, and after its service answered or did not.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use guichet_core::{Criticality, Fault, Reason, Standing};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use super::cache::{CACHE_STATUS, CacheCounts, Fetch, Freshness, Kept, Lookup, Slot, Store, Turn, Waiting};
use super::wait::{LOOK, late_after};
use super::{Mode, Now, Told};
use crate::ahead::{Ahead, AheadBudget};
use crate::body::Body;
use crate::classify::Class;
use crate::forward::Care;
use crate::identify::cookie;
use crate::setup::Setup;

/// How long a request waits for one that fetches the same.
const COLLAPSE_WAIT: Duration = Duration::from_secs(10);
/// How often a request may wait for another before it asks for itself.
const COLLAPSE_ROUNDS: usize = 3;
/// How long an answer may take to be said whole, to be kept.
const GATHER_PATIENCE: Duration = Duration::from_secs(10);

/// What is done with a request.
pub(crate) enum Course {
    /// The contract answers; perhaps a newer answer is fetched behind it.
    Answered(Response<Body>, Told, Option<Refetch>),
    /// The contract refuses.
    Refused(Reason),
    /// It goes on its way.
    Forward(Going),
}

/// What is known of a request that goes on.
#[derive(Default)]
pub(crate) struct Going {
    lookup: Option<Lookup>,
    /// An answer that is better than none.
    stale: Option<Arc<Kept>>,
    /// Whether the answer may be kept: then the request is stripped of all that is not in its key.
    keeps: bool,
    /// Others wait for this one.
    #[expect(dead_code, reason = "held for its end")]
    fetch: Option<Fetch>,
    /// What the client asked of an answer that it may have already.
    conditions: HeaderMap,
    head: bool,
    /// The service is failing, or recovers: its errors are as good as no answer.
    unsure: bool,
    /// Asking changes something: what the service says of it must reach whoever asks.
    changes: bool,
}

/// A newer answer that is fetched behind an older one.
pub(crate) struct Refetch {
    lookup: Lookup,
    busy: Arc<AtomicBool>,
}

impl Drop for Refetch {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Relaxed);
    }
}

impl Refetch {
    /// What keeps the answer of the request that is sent, once its head is stripped.
    pub(crate) fn going(&self, head: &mut Parts) -> Going {
        self.lookup.strip(head);
        Going { lookup: Some(self.lookup.clone()), keeps: true, ..Going::default() }
    }
}

/// How a request came, beside its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came {
    /// Over TLS.
    pub(crate) over_tls: bool,
    /// With a body.
    pub(crate) with_body: bool,
    /// The same for the same visitor: who is let in first after an outage.
    pub(crate) lot: u16,
}

/// The lot of an address.
pub(crate) fn lot(client: IpAddr) -> u16 {
    let bits = match client {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // A household's addresses go together.
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// Looks at a request before it asks for a slot.
pub(crate) async fn before(setup: &Setup, class: &Class, head: &mut Parts, came: Came) -> Course {
    let of = &setup.of_services[class.service_position];
    let now = of.now();
    if let Some(reason) = refused(&now, class, &head.method) {
        return Course::Refused(reason);
    }
    let store = &setup.contracts.store;
    let rule = class.route().and_then(|route| route.cache.as_ref()).filter(|_| store.is_open());
    // A body would reach the service without being in the key.
    let asks_plainly = !came.with_body && !head.headers.contains_key(UPGRADE);
    let lookup = rule.filter(|_| asks_plainly).and_then(|rule| Lookup::of(&class.service, rule, head, came.over_tls));
    let is_head = head.method == Method::HEAD;
    let away = match now.mode {
        Mode::Away(reason) => Some(reason),
        Mode::Recovering if !of.lets_in(came.lot) && !goes_first(class) => Some(Reason::ServiceDown),
        Mode::Open | Mode::Failing | Mode::Recovering | Mode::ReadOnly | Mode::Shut => None,
    };
    if let Some(reason) = away {
        let kept = lookup.as_ref().and_then(|lookup| usable(store, lookup));
        return match kept {
            Some(kept) => stale(store, &kept, &head.headers, is_head, reason),
            None => Course::Refused(reason),
        };
    }
    let unsure = matches!(now.mode, Mode::Failing | Mode::Recovering);
    let changes = !is_safe(&head.method);
    let Some(lookup) = lookup else { return Course::Forward(Going { unsure, changes, ..Going::default() }) };
    // Somebody who is signed in sees the service itself, and a kept answer only if there is no other.
    let session = class.service.session.as_ref();
    if session.is_some_and(|rule| cookie(&head.headers, &rule.cookie).is_some()) {
        let conditions = conditions(&head.headers);
        let stale = usable(store, &lookup);
        return Course::Forward(Going {
            lookup: Some(lookup),
            stale,
            conditions,
            head: is_head,
            unsure,
            ..Going::default()
        });
    }
    let patience = late_after(setup, class).map(|late_after| (of.care(), late_after));
    match take(store, lookup, head, patience).await {
        Course::Forward(going) => Course::Forward(Going { unsure, ..going }),
        course => course,
    }
}

/// Why the contract refuses, if it does.
fn refused(now: &Now, class: &Class, method: &Method) -> Option<Reason> {
    if now.off.iter().any(|(route, _)| Some(*route) == class.route_position) {
        return Some(Reason::SwitchedOff);
    }
    match now.mode {
        Mode::Shut => Some(Reason::ServiceShut),
        Mode::ReadOnly if !is_safe(method) => Some(Reason::ReadOnly),
        Mode::ReadOnly | Mode::Open | Mode::Failing | Mode::Recovering | Mode::Away(_) => None,
    }
}

/// Whether a request is not kept out of a service that recovers: what matters most comes first, and is little.
fn goes_first(class: &Class) -> bool {
    class.criticality == Criticality::Critical || class.standing == Standing::Partner
}

pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Takes an answer from the store, or the right to fetch one.
async fn take(store: &Store, lookup: Lookup, head: &mut Parts, patience: Option<(&Arc<Care>, Duration)>) -> Course {
    let is_head = head.method == Method::HEAD;
    let mut collapsed = false;
    let mut fetch = None;
    let mut old = None;
    for round in 0..=COLLAPSE_ROUNDS {
        match store.get(&lookup.key) {
            Some(Slot::Kept(kept, busy)) => {
                let now = SystemTime::now();
                match kept.freshness(now) {
                    Freshness::Fresh => {
                        CacheCounts::add(&store.counts.hits);
                        let detail = collapsed.then_some("collapsed");
                        return Course::Answered(kept.answer(&head.headers, is_head, now, detail), Told::Hit, None);
                    }
                    // While the service fails, nobody waits where there is an answer that is better than none.
                    freshness @ (Freshness::Revalidate | Freshness::IfError)
                        if freshness == Freshness::Revalidate
                            || patience.is_some_and(|(care, _)| care.is_failing()) =>
                    {
                        CacheCounts::add(&store.counts.stale);
                        let refetch = (!busy.swap(true, Ordering::Relaxed)).then(|| Refetch { lookup, busy });
                        let detail = if freshness == Freshness::Revalidate {
                            "stale-while-revalidate"
                        } else {
                            "stale-if-error"
                        };
                        let answer = kept.answer(&head.headers, is_head, now, Some(detail));
                        return Course::Answered(answer, Told::Stale, refetch);
                    }
                    Freshness::IfError | Freshness::Revalidate => old = Some(kept),
                    Freshness::Over => {}
                }
            }
            Some(Slot::Unkept(until)) if Instant::now() < until => {
                return Course::Forward(Going { head: is_head, ..Going::default() });
            }
            Some(Slot::Unkept(_)) | None => {}
        }
        // The one who went had no answer: whoever waited for it has waited as long, and is not sent to do the same.
        if collapsed && patience.is_some_and(|(care, _)| care.is_failing()) {
            return match &old {
                Some(kept) => stale(store, kept, &head.headers, is_head, Reason::UpstreamFirstByte),
                None => Course::Refused(Reason::UpstreamFirstByte),
            };
        }
        if fetch.is_some() || !lookup.get || round == COLLAPSE_ROUNDS {
            break;
        }
        match store.flights.join(&lookup.key) {
            // What was kept between the look and the join is found by looking once more.
            Turn::Fetch(won) => fetch = Some(won),
            Turn::Alone => break,
            Turn::Wait(waiting) => {
                CacheCounts::add(&store.counts.collapsed);
                collapsed = true;
                if !ends_in_time(waiting, patience).await {
                    break;
                }
            }
        }
    }
    CacheCounts::add(&store.counts.misses);
    let conditions = conditions(&head.headers);
    let keeps = lookup.get;
    if keeps {
        lookup.strip(head);
    }
    Course::Forward(Going {
        stale: old,
        keeps,
        fetch,
        conditions,
        head: is_head,
        lookup: Some(lookup),
        unsure: false,
        changes: false,
    })
}

/// Waits for another's fetch: until it ends, or until it is late and the service is known to fail. False: it took too long.
async fn ends_in_time(waiting: Waiting, patience: Option<(&Arc<Care>, Duration)>) -> bool {
    let ended = waiting.ended();
    let Some((care, late_after)) = patience else {
        return tokio::time::timeout(COLLAPSE_WAIT, ended).await.is_ok();
    };
    tokio::pin!(ended);
    let begun = Instant::now();
    let mut look = late_after.min(COLLAPSE_WAIT);
    loop {
        if tokio::time::timeout(look, &mut ended).await.is_ok() || care.is_failing() {
            return true;
        }
        if begun.elapsed() >= COLLAPSE_WAIT {
            return false;
        }
        look = LOOK;
    }
}

/// An answer that is better than none, if one is kept.
fn usable(store: &Store, lookup: &Lookup) -> Option<Arc<Kept>> {
    match store.get(&lookup.key)? {
        Slot::Kept(kept, _) => {
            let now = SystemTime::now();
            let good = match kept.freshness(now) {
                Freshness::Fresh | Freshness::IfError => true,
                Freshness::Revalidate => !kept.stale_if_error.is_zero(),
                Freshness::Over => false,
            };
            good.then_some(kept)
        }
        Slot::Unkept(_) => None,
    }
}

fn stale(store: &Store, kept: &Kept, asked: &HeaderMap, is_head: bool, reason: Reason) -> Course {
    let now = SystemTime::now();
    let (told, counter) = match kept.freshness(now) {
        Freshness::Fresh => (Told::Hit, &store.counts.hits),
        Freshness::Revalidate | Freshness::IfError | Freshness::Over => (Told::Stale, &store.counts.stale),
    };
    CacheCounts::add(counter);
    Course::Answered(kept.answer(asked, is_head, now, Some(reason.label())), told, None)
}

fn conditions(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// What is answered in place of an error, if the contract has something: for refusals by load and failures of the service.
pub(crate) fn failed(setup: &Setup, going: &Going, reason: Reason) -> Option<(Response<Body>, Told)> {
    let kept = going.stale.as_ref()?;
    if !matches!(reason.fault(), Fault::Upstream | Fault::Load | Fault::Ours) {
        return None;
    }
    match stale(&setup.contracts.store, kept, &going.conditions, going.head, reason) {
        Course::Answered(response, told, _) => Some((response, told)),
        Course::Refused(_) | Course::Forward(_) => None,
    }
}

/// What a service's answer becomes.
pub(crate) enum After {
    /// It is passed on.
    Pass(Response<Body>),
    /// A kept answer is better.
    Instead(Response<Body>, Told),
    /// It is an error of a service that is not well: its contract answers, with this status where asking may have changed
    /// something.
    Refuse(Reason, Option<StatusCode>),
}

/// Looks at the answer of a service before it is passed on.
pub(crate) fn after(setup: &Setup, class: &Class, going: &Going, response: Response<Body>) -> After {
    let status = response.status();
    let good = match &class.service.contract {
        Some(contract) => !contract.failures.contains(&status.as_u16()),
        None => !status.is_server_error(),
    };
    setup.of_services[class.service_position].note(good);
    if good {
        return After::Pass(response);
    }
    match failed(setup, going, Reason::ServiceDown) {
        Some((kept, told)) => After::Instead(kept, told),
        None if going.unsure && class.service.contract.is_some() => {
            After::Refuse(Reason::ServiceDown, going.changes.then_some(status))
        }
        None => After::Pass(response),
    }
}

/// Keeps an answer that may be kept, and lets those go who wait for it.
///
/// # Errors
/// The answer broke off.
pub(crate) async fn keep(
    setup: &Setup,
    class: &Class,
    going: Going,
    response: Response<Body>,
    budget: &AheadBudget,
) -> Result<Response<Body>, Reason> {
    let (Some(lookup), Some(rule)) = (&going.lookup, class.route().and_then(|route| route.cache.as_ref())) else {
        return Ok(response);
    };
    if !going.keeps {
        return Ok(marked(response, "guichet; fwd=bypass"));
    }
    let store = &setup.contracts.store;
    let (head, body) = response.into_parts();
    let length = body.size_hint().exact();
    let bytes_max = store.answer_bytes_max();
    let contract = class.service.contract.as_ref();
    let may = Kept::new(lookup, rule, contract, &head, bytes::Bytes::new(), SystemTime::now()).is_some();
    if !may || length.is_some_and(|bytes| bytes > bytes_max as u64) {
        // An error is not the answer's nature: the next one may be kept.
        if !head.status.is_server_error() {
            store.note_unkept(lookup.key.clone());
        }
        return Ok(marked(Response::from_parts(head, body), "guichet; fwd=uri-miss"));
    }
    let mut ahead = Ahead::from(body);
    let wanted = length.map_or(bytes_max + 1, |bytes| (bytes as usize).max(1));
    let filled = ahead.fill(wanted, GATHER_PATIENCE, budget).await.map_err(|error| error.0)?;
    let whole = if filled { ahead.whole().filter(|body| body.len() <= bytes_max) } else { None };
    let now = SystemTime::now();
    match whole.and_then(|body| Kept::new(lookup, rule, contract, &head, body, now)) {
        Some(kept) => {
            let kept = store.keep(lookup.key.clone(), kept);
            Ok(kept.first_answer(&going.conditions, now))
        }
        None => {
            store.note_unkept(lookup.key.clone());
            Ok(marked(Response::from_parts(head, Body::stream(ahead)), "guichet; fwd=uri-miss"))
        }
    }
}

fn marked(mut response: Response<Body>, line: &'static str) -> Response<Body> {
    response.headers_mut().append(CACHE_STATUS, HeaderValue::from_static(line));
    response
}
