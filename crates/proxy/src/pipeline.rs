//! One way through the house: listen -> identify -> classify -> admit -> forward -> record.
//!
//! Each stage consumes the type of the stage before. `listen` calls [`serve`] for each request of a connection that
//! may exist; `record` is the [`Trail`], which writes down every request however it ends.

use std::rc::Rc;
use std::time::Duration;

use guichet_core::bounds::{ANSWER_AHEAD_BYTES_MAX, REQUEST_AHEAD_BYTES_MAX};
use guichet_core::{Fault, Reason, Standing};
use http::header::SET_COOKIE;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::admit::{Permit, Verdict, sign_in_ended};
use crate::ahead::{Ahead, ClientBody};
use crate::body::Body;
use crate::classify::{Class, Classified, classify, covers};
use crate::config::UpstreamProtocol;
use crate::connection::Connection;
use crate::contract::{self, After, Came, Course, Going, Refetch, Wait};
use crate::desk::Desk as _;
use crate::forward::{Arrival, BodyBounds, Forwarder, Job, Outcome, Scheme};
use crate::identify::{Accepted, PROOF_COOKIE, identify, issued, set_own};
use crate::pages::redirect_to_https;
use crate::passes::{self, Holder};
use crate::record::{RequestId, Trail};
use crate::setup::WorkerSetup;
use crate::signs::Looks;
use crate::worker::Worker;

/// How long a service may take to say a small answer before what is there is passed on.
const ANSWER_PATIENCE: Duration = Duration::from_millis(100);
/// Cookies that only the door reads.
const COOKIES_HIDDEN: &[&str] = &["guichet-"];

/// The life of a request.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let setup = worker.setup();
    let (head, body) = request.into_parts();
    let mut trail = Trail::begin(&worker, &setup, &connection, &head);
    if let Some(port) = connection.listener.redirect_to_https_port {
        return redirect(trail, &connection, &head, port);
    }

    let identified = identify(Accepted { connection, head, body: body.into() }, &setup.shared.partners);
    trail.note_client(identified.client, identified.partner.as_ref());
    if identified.via_trusted_proxy {
        trail.note_trusted_id(&identified.accepted.head);
    }

    let shared = &setup.shared;
    let mut classified = match classify(
        identified,
        &shared.hosts,
        &shared.config.services,
        &shared.signer,
        &setup.passes,
        trail.began_unix_s(),
    ) {
        Ok(classified) => classified,
        Err(rejected) => {
            if let Some(class) = &rejected.class {
                trail.note_class(class);
            }
            let identified = &rejected.identified;
            let looks = identified.accepted.connection.looks.as_deref();
            worker.note_abuse(identified.client, rejected.reason, looks);
            return trail.refuse(rejected.reason);
        }
    };
    trail.note_class(&classified.class);
    trail.note_place(&classified.identified.accepted.head.headers);

    if classified.class.service.passes && trail.path().starts_with(passes::PATH) {
        return at_desk(&setup, trail, classified).await;
    }

    let accepted = &mut classified.identified.accepted;
    let lot = contract::lot(classified.identified.client);
    let came = Came { over_tls: trail.over_tls(), with_body: !accepted.body.is_end_stream(), lot };
    let going = match contract::before(&setup.shared, &classified.class, &mut accepted.head, came).await {
        Course::Forward(going) => going,
        Course::Refused(reason) => return trail.refuse(reason),
        Course::Answered(response, told, refetch) => {
            if let Some(refetch) = refetch {
                tokio::task::spawn_local(revalidate(worker, setup, trail.id(), classified, refetch));
            }
            trail.note_told(told);
            return trail.follow(response);
        }
    };
    go(&worker, &setup, trail, classified, going).await
}

/// What matters to whether a source is dropped by the kernel: a mitigation refused it, or somebody good is behind it.
fn note_for_kernel(worker: &Worker, classified: &Classified, verdict: &Verdict) {
    let identified = &classified.identified;
    let connection = &identified.accepted.connection;
    match &verdict.permit {
        Err(Reason::Mitigated) => worker.note_refused(connection, identified.client, verdict.mitigation),
        Ok(_) if verdict.mitigation == 0 && verdict.account.standing >= Standing::Known => {
            worker.note_good(connection);
        }
        Ok(_) | Err(_) => {}
    }
}

/// Asks for a slot, and for the answer.
async fn go(
    worker: &Rc<Worker>,
    setup: &Rc<WorkerSetup>,
    mut trail: Trail,
    mut classified: Classified,
    going: Going,
) -> Response<Body> {
    if too_many_streams(worker, &classified) {
        return trail.refuse(Reason::TooManyStreams);
    }
    if let Err(reason) = read_ahead(worker, setup, &mut classified).await {
        return trail.refuse(reason);
    }
    let partner = classified.identified.partner.as_ref().map(|partner| partner.name.as_str());
    let verdict = setup.admission.admit(&looks(setup, &classified), partner).await;
    trail.note_admission(verdict.account, verdict.queued.as_micros() as u64, verdict.mitigation);
    note_for_kernel(worker, &classified, &verdict);
    let permit = match verdict.permit {
        Ok(permit) => permit,
        Err(reason) => return instead(setup, trail, &going, reason),
    };

    let class = classified.class.clone();
    let method = classified.identified.accepted.head.method.clone();
    trail.write_trace(&mut classified.identified.accepted.head.headers);
    let (outcome, late) = forward(setup, trail.id(), permit, classified, trail.waited()).await;
    trail.note_facts(outcome.facts);
    let response = match outcome.result {
        Ok(response) => response,
        Err(failure) => {
            if failure.reason.fault() == Fault::Upstream && !late {
                setup.shared.of_services[class.service_position].note(false);
            }
            return instead(setup, trail, &going, failure.reason);
        }
    };
    if let Some(attempt) = &verdict.sign_in {
        let failed = class.sign_in_failed(&method, trail.path()).unwrap_or_default();
        let issued = issued_session(&class, trail.path(), &response).is_some();
        if let Some(ended) = sign_in_ended(&class, failed, response.status().as_u16(), issued) {
            setup.admission.note_sign_in(attempt, ended);
        }
    }
    let mut response = match contract::after(&setup.shared, &class, &going, response) {
        After::Pass(response) => response,
        After::Refuse(reason, status) => return trail.refuse_as(reason, status),
        After::Instead(response, told) => {
            trail.note_told(told);
            return trail.follow(response);
        }
    };
    prove_session(setup, &trail, &class, &mut response);
    let kept = contract::keep(&setup.shared, &class, going, response, worker.ahead()).await;
    let taken = match kept {
        Ok(response) => take_answer(worker, response).await,
        Err(reason) => Err(reason),
    };
    match taken {
        Ok(response) => trail.follow(response),
        Err(reason) => trail.refuse(reason),
    }
}

/// A kept answer in place of an error, or else what is said of the error.
fn instead(setup: &WorkerSetup, trail: Trail, going: &Going, reason: Reason) -> Response<Body> {
    match contract::failed(&setup.shared, going, reason) {
        Some((response, told)) => {
            trail.note_told(told);
            trail.follow(response)
        }
        None => trail.refuse(reason),
    }
}

/// Fetches a newer answer behind one that was served beyond its time. It asks for a slot like everybody.
async fn revalidate(
    worker: Rc<Worker>,
    setup: Rc<WorkerSetup>,
    id: RequestId,
    mut classified: Classified,
    refetch: Refetch,
) {
    let verdict = setup.admission.admit(&looks(&setup, &classified), None).await;
    let Ok(permit) = verdict.permit else { return };
    let class = classified.class.clone();
    let going = refetch.going(&mut classified.identified.accepted.head);
    let (outcome, late) = forward(&setup, id, permit, classified, Duration::ZERO).await;
    let answered = match outcome.result {
        Ok(response) => response,
        Err(failure) => {
            if failure.reason.fault() == Fault::Upstream && !late {
                setup.shared.of_services[class.service_position].note(false);
            }
            return;
        }
    };
    if let After::Pass(response) = contract::after(&setup.shared, &class, &going, answered) {
        // Whether or not it is kept, nobody waits for it.
        drop(contract::keep(&setup.shared, &class, going, response, worker.ahead()).await);
    }
}

/// What a request looks like.
fn looks<'a>(setup: &'a WorkerSetup, classified: &'a Classified) -> Looks<'a> {
    let accepted = &classified.identified.accepted;
    Looks {
        hash: setup.shared.signs.hash,
        head: &accepted.head,
        connection: &accepted.connection,
        client: classified.identified.client,
        class: &classified.class,
        atlas: &setup.shared.config.mitigations.atlas,
    }
}

/// Sends a client from http to the same place over https.
fn redirect(trail: Trail, connection: &Connection, head: &http::request::Parts, port: u16) -> Response<Body> {
    if let Some(reason) = connection.violation.get() {
        return trail.refuse(reason);
    }
    let host = head.uri.authority().map(http::uri::Authority::as_str).or_else(|| {
        let field = head.headers.get(http::header::HOST)?;
        field.to_str().ok()
    });
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    match host.and_then(|host| redirect_to_https(host, port, target)) {
        Some(response) => trail.follow(response),
        None => trail.refuse(Reason::BadHost),
    }
}

/// Lets somebody earn a pass; nothing of it reaches a service.
async fn at_desk(setup: &WorkerSetup, trail: Trail, classified: Classified) -> Response<Body> {
    let Classified { identified, class } = classified;
    let Accepted { head, body, .. } = identified.accepted;
    let posture = setup.shared.admission.posture.load_full();
    let rules = posture.services.get(class.service_position);
    let visit = passes::Visit {
        method: &head.method,
        uri: &head.uri,
        holder: Holder::of(&class.service.name, identified.client, &head.headers),
        frame: trail.frame(None),
        over_tls: trail.over_tls(),
        now_s: trail.began_unix_s(),
        now_ms: crate::clock::now().0 / 1000,
        // Whoever sends rubbish gets no cheaper puzzle than it had.
        marks: 2,
        headers: &head.headers,
        room: rules.and_then(|rules| rules.room.as_ref()),
        note_place: &|place| setup.admission.note_place(class.service_position, place),
    };
    let answer = passes::attend(&setup.passes, &visit, body).await;
    trail.follow(answer)
}

/// Whether a connection has far more streams under way than it was told: it has ignored the bound, or just not heard of
/// it, so twice as many are let pass. Partners share their one connection over many people.
fn too_many_streams(worker: &Worker, classified: &Classified) -> bool {
    classified.class.standing != Standing::Partner
        && classified.identified.accepted.connection.in_flight.get() > worker.streams_max().saturating_mul(2)
}

/// Reads the beginning of the request's body before a slot is asked for: see [`crate::ahead`].
///
/// Not where the service speaks HTTP/2 and the client does not say how long the body is: then both may want to speak at
/// once, as in gRPC, and the body may wait for the answer.
async fn read_ahead(worker: &Worker, setup: &WorkerSetup, classified: &mut Classified) -> Result<(), Reason> {
    let accepted = &mut classified.identified.accepted;
    let upstream = &setup.shared.config.upstreams[classified.class.service.upstream];
    let h2 = matches!(upstream.protocol, UpstreamProtocol::H2c | UpstreamProtocol::H2);
    let whole = accepted.body.size_hint().exact();
    if accepted.body.is_end_stream() || accepted.head.method == Method::CONNECT || (h2 && whole.is_none()) {
        return Ok(());
    }
    let limits = &setup.shared.config.limits;
    let rate = limits.body_rate_bytes_s_min.max(1);
    let bytes_max = whole.map_or(REQUEST_AHEAD_BYTES_MAX, |bytes| REQUEST_AHEAD_BYTES_MAX.min(bytes as usize));
    let patience = limits.body_grace + Duration::from_millis(1000 * bytes_max as u64 / rate);
    match accepted.body.fill(bytes_max, patience, worker.ahead()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Reason::NodeFull),
        Err(error) => Err(crate::forward::blame(Some(&accepted.connection), &error)),
    }
}

/// Takes a small answer whole from the service, so that the slot is free however slowly the client reads.
async fn take_answer(worker: &Worker, response: Response<Body>) -> Result<Response<Body>, Reason> {
    let Some(bytes) = response.body().size_hint().exact().map(|bytes| bytes as usize) else { return Ok(response) };
    if !matches!(response.body(), Body::Stream(_)) || bytes > ANSWER_AHEAD_BYTES_MAX {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let mut ahead = Ahead::from(body);
    match ahead.fill(bytes.max(1), ANSWER_PATIENCE, worker.ahead()).await {
        // Without budget or patience left, it streams.
        Ok(_) => Ok(Response::from_parts(head, Body::stream(ahead))),
        Err(error) => Err(error.0),
    }
}

/// Makes the job out of what was found out, and lets `forward` do it. Whether the answer was late, too: then that is counted.
/// `waited`: how long the visitor has been kept waiting.
async fn forward(
    setup: &Rc<WorkerSetup>,
    id: RequestId,
    permit: Permit,
    classified: Classified,
    waited: Duration,
) -> (Outcome, bool) {
    let Classified { identified, class } = classified;
    let accepted = identified.accepted;
    let with_body = !accepted.body.is_end_stream();
    let wait = Wait::of(&setup.shared, &class, &accepted.head, with_body, waited);
    let limits = &setup.shared.config.limits;
    let id = id.to_string();
    let job = Job {
        upstream: class.service.upstream,
        arrival: Arrival {
            client: identified.client,
            peer: accepted.connection.client.ip().to_canonical(),
            peer_trusted: identified.via_trusted_proxy,
            scheme: if accepted.connection.tls.is_some() { Scheme::Https } else { Scheme::Http },
            request_id: HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("")),
        },
        connection: Some(accepted.connection),
        deadline: class.route().and_then(|route| route.deadline).map(|span| crate::clock::now().after(span)),
        idempotent: class.route().is_some_and(|route| route.idempotent),
        body: BodyBounds {
            bytes_max: class.body_bytes_max(),
            rate_bytes_s_min: limits.body_rate_bytes_s_min,
            grace: limits.body_grace,
        },
        watched: wait.as_ref().and_then(Wait::watched),
        cookies_hidden: COOKIES_HIDDEN,
    };
    let request = Request::from_parts(accepted.head, accepted.body);
    let forwarder = setup.forwarder.clone();
    contract::answer_in_time(async move { exchange(&forwarder, permit, job, request).await }, wait).await
}

async fn exchange(forwarder: &Forwarder, permit: Permit, job: Job, request: Request<ClientBody>) -> Outcome {
    forwarder.forward(permit, job, request).await
}

/// The value of the session that an answer issues, where it counts as issued.
fn issued_session<'a>(class: &Class, path: &str, response: &'a Response<Body>) -> Option<&'a str> {
    let rule = class.service.session.as_ref()?;
    if !rule.issued_on.is_empty() && !rule.issued_on.iter().any(|prefix| covers(prefix, path)) {
        return None;
    }
    let fields = response.headers().get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
    fields.filter_map(|field| issued(field, &rule.cookie)).next_back()
}

/// Adds the proof to an answer that issues a session.
fn prove_session(setup: &WorkerSetup, trail: &Trail, class: &Class, response: &mut Response<Body>) {
    let Some(rule) = &class.service.session else { return };
    let Some(value) = issued_session(class, trail.path(), response) else { return };
    let ends_s = trail.began_unix_s() + rule.life.as_secs();
    if let Some(proof) = setup.shared.signer.prove(&class.service.name, value, ends_s) {
        set_own(response.headers_mut(), PROOF_COOKIE, &proof, rule.life.as_secs(), trail.over_tls());
    }
}
