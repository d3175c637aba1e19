//! The trail of one request: what is learned of it on its way, recorded once when it ends, however it ends.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guichet_core::{Criticality, Fault, Moment, Reason, Standing};
use http::header::{ACCEPT, ACCEPT_LANGUAGE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::metrics::{ListenerSlot, ServiceSlot};
use super::trace::TraceContext;
use super::{Entry, Reference, RequestId};
use crate::admit::Account;
use crate::body::{Body, BodyError};
use crate::classify::Class;
use crate::clock;
use crate::config::{ClientKind, Partner, Service};
use crate::connection::Connection;
use crate::contract::Told;
use crate::forward::{Ended, Facts};
use crate::identify::cookie;
use crate::pages::{Language, RefusalContext, kind_for, language_for, refusal};
use crate::passes::{self, Frame as PassFrame, Holder, ROOM_COOKIE, RoomStanding};
use crate::setup::WorkerSetup;
use crate::signs::Refusal;
use crate::worker::Worker;

/// Follows one request. Dropping it records the request.
pub struct Trail {
    worker: Rc<Worker>,
    setup: Rc<WorkerSetup>,
    connection: Rc<Connection>,
    listener_slot: ListenerSlot,
    id: RequestId,
    trace: Option<TraceContext>,
    began: Moment,
    began_unix_ms: i64,
    method: Method,
    uri: Uri,
    version: Version,
    user_agent: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    accept_language: Option<HeaderValue>,
    client: IpAddr,
    partner: Option<Arc<Partner>>,
    class: Option<Class>,
    account: Option<Account>,
    queue_us: u64,
    mitigation: u32,
    /// The place in the waiting room that it showed.
    place: Option<Box<str>>,
    facts: Option<Rc<Facts>>,
    status: u16,
    bytes_out: u64,
    reason: Option<Reason>,
    told: Cell<Option<Told>>,
    complete: bool,
}

impl Trail {
    /// Begins with the head of a request.
    #[must_use]
    pub fn begin(worker: &Rc<Worker>, setup: &Rc<WorkerSetup>, connection: &Rc<Connection>, head: &Parts) -> Self {
        let header = |name| head.headers.get(name).cloned();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: worker.recorder().request_id(None),
            trace: worker.recorder().trace(&head.headers),
            began: clock::now(),
            began_unix_ms: unix.as_millis() as i64,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            user_agent: header(USER_AGENT),
            accept: header(ACCEPT),
            accept_language: header(ACCEPT_LANGUAGE),
            client: connection.client.ip().to_canonical(),
            listener_slot: worker.listener_slot(&connection.listener.name),
            worker: worker.clone(),
            setup: setup.clone(),
            connection: connection.clone(),
            partner: None,
            class: None,
            account: None,
            queue_us: 0,
            mitigation: 0,
            place: None,
            facts: None,
            status: 0,
            bytes_out: 0,
            reason: None,
            told: Cell::new(None),
            complete: false,
        }
    }

    /// Who asks.
    pub fn note_client(&mut self, client: IpAddr, partner: Option<&Arc<Partner>>) {
        self.client = client;
        self.partner = partner.cloned();
    }

    /// A trusted proxy's own request id takes the place of ours.
    pub fn note_trusted_id(&mut self, head: &Parts) {
        if let Some(id) = head.headers.get("x-request-id") {
            self.id = self.worker.recorder().request_id(Some(id.as_bytes()));
        }
    }

    /// What for.
    pub fn note_class(&mut self, class: &Class) {
        self.class = Some(class.clone());
    }

    /// The place in the waiting room that it shows.
    pub(crate) fn note_place(&mut self, headers: &http::HeaderMap) {
        self.place = cookie(headers, ROOM_COOKIE).map(Into::into);
    }

    /// Which account it counts for, how long it waited, and which mitigation it matched (0: none).
    pub fn note_admission(&mut self, account: Account, queue_us: u64, mitigation: u32) {
        self.account = Some(account);
        self.queue_us = queue_us;
        self.mitigation = mitigation;
    }

    /// What forwarding tells; read at the end.
    pub fn note_facts(&mut self, facts: Rc<Facts>) {
        self.facts = Some(facts);
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Writes the trace for the upstream.
    pub fn write_trace(&self, headers: &mut http::HeaderMap) {
        if let Some(trace) = &self.trace {
            trace.write(headers);
        }
    }

    /// The path that was asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether the client came over TLS.
    #[must_use]
    pub fn over_tls(&self) -> bool {
        self.connection.tls.is_some()
    }

    /// Unix time at which the request began, seconds.
    #[must_use]
    pub fn began_unix_s(&self) -> u64 {
        (self.began_unix_ms / 1000) as u64
    }

    /// How long it has taken until now.
    #[must_use]
    pub fn waited(&self) -> Duration {
        clock::now().since(self.began)
    }

    /// Answers with the page or problem of a reason.
    #[must_use]
    pub fn refuse(self, reason: Reason) -> Response<Body> {
        self.refuse_as(reason, None)
    }

    /// The same, where the page is the contract's, under the status that the service gave.
    #[must_use]
    pub fn refuse_as(mut self, reason: Reason, status: Option<StatusCode>) -> Response<Body> {
        self.reason = Some(reason);
        self.remember();
        let service = self.class.as_ref().map(|class| class.service.clone());
        let allow = self.class.as_ref().and_then(|class| class.route()).and_then(|route| {
            let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
            HeaderValue::from_str(&methods.join(", ")).ok()
        });
        let language = language_for(self.accept_language.as_ref().map(HeaderValue::as_bytes));
        let context = RefusalContext {
            accept: self.accept.as_ref().map(HeaderValue::as_bytes),
            accept_language: self.accept_language.as_ref().map(HeaderValue::as_bytes),
            kind: self.class.as_ref().map_or(ClientKind::Browser, Class::client_kind),
            reference: Reference::new(reason, self.id),
            service_name: service.as_ref().map_or("", |s| public_name(s, language)),
            head: self.method == Method::HEAD,
            allow: allow.as_ref(),
        };
        let response = match reason {
            Reason::WaitingRoom => self.room(),
            // Whoever can earn a way in is better off with that than with a page of other ways.
            _ if reason.fault() == Fault::Load => {
                let staying = self.soon(reason).or_else(|| self.offer(reason));
                staying.or_else(|| self.contract_page(reason, &context, status))
            }
            _ => self.contract_page(reason, &context, status).or_else(|| self.offer(reason)),
        };
        let response = response.unwrap_or_else(|| refusal(reason, &context));
        self.follow(response)
    }

    /// Notes that the service's contract answered.
    pub(crate) fn note_told(&self, told: Told) {
        self.told.set(Some(told));
        if let Some(class) = &self.class {
            self.setup.shared.of_services[class.service_position].note_told(told);
        }
    }

    /// The page of the service's contract, where it has one for the reason.
    fn contract_page(
        &self,
        reason: Reason,
        context: &RefusalContext<'_>,
        status: Option<StatusCode>,
    ) -> Option<Response<Body>> {
        let class = self.class.as_ref()?;
        let now = self.setup.shared.of_services[class.service_position].now();
        let (pages, told) = match reason {
            Reason::SwitchedOff => {
                let off = now.off.iter().find(|(route, _)| Some(*route) == class.route_position);
                (off.and_then(|(_, pages)| pages.clone()), Told::Off)
            }
            Reason::ReadOnly => (now.read_only.clone(), Told::ReadOnly),
            _ if reason == Reason::ServiceShut || reason.fault() == Fault::Upstream => {
                (now.away.clone(), Told::Fallback)
            }
            _ if reason == Reason::NodeFull || reason.fault() == Fault::Load => (now.full.clone(), Told::Full),
            _ => return None,
        };
        if told != Told::Full || pages.is_some() {
            self.note_told(told);
        }
        let pages = pages?;
        let may_redirect = matches!(self.method, Method::GET | Method::HEAD);
        Some(pages.answer(reason, context, may_redirect, status))
    }

    /// Who is not yet let in gets a place in the waiting room, or is told how its place stands. Where the place is due, it
    /// goes by the desk, which lets it in.
    fn room(&self) -> Option<Response<Body>> {
        let class = self.class.as_ref()?;
        let posture = self.setup.shared.admission.posture.load();
        let room = posture.services.get(class.service_position)?.room.as_ref()?;
        let (holder, now) = (self.holder(class), (self.began_unix_s(), clock::now()));
        let shown = self.place.as_deref().unwrap_or_default();
        let stands = self.setup.passes.in_room(&holder, &[shown], room, now);
        if let RoomStanding::Waits(place, ..) = &stands
            && place.is_new
        {
            self.setup.admission.note_place(class.service_position, place.place);
        }
        let frame = self.frame(Some(Reference::new(Reason::WaitingRoom, self.id)));
        Some(frame.room(&stands, self.way_back(), self.over_tls()))
    }

    /// Strangers who find no room because a crowd gathers are asked to stay: in a moment they get places. A calculation
    /// would only make all of them equal again, and a waste of their time.
    fn soon(&self, reason: Reason) -> Option<Response<Body>> {
        let (class, account) = (self.class.as_ref()?, self.account?);
        let full = matches!(
            reason,
            Reason::BelowThreshold | Reason::FairShare | Reason::Overload | Reason::Displaced | Reason::QueueTimeout
        );
        let stranger = matches!(account.standing, Standing::Newcomer | Standing::Anonymous);
        let posture = self.setup.shared.admission.posture.load();
        let soon = posture.services.get(class.service_position).is_some_and(|rules| rules.room_soon);
        if !full || !stranger || !soon || !class.service.passes {
            return None;
        }
        let frame = self.frame(Some(Reference::new(reason, self.id)));
        Some(frame.room(&RoomStanding::Soon, self.way_back(), self.over_tls()))
    }

    fn holder<'a>(&'a self, class: &'a Class) -> Holder<'a> {
        Holder {
            service: &class.service.name,
            client: self.client,
            agent: self.user_agent.as_ref().map_or(&b""[..], HeaderValue::as_bytes),
        }
    }

    fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Where one goes on once one is let in; nowhere for a form that was sent, which is lost: the page says so.
    fn way_back(&self) -> &str {
        if matches!(self.method, Method::GET | Method::HEAD) { self.target() } else { "" }
    }

    /// Ways to earn a pass, where the reason and the service allow it and nothing better is known of who asks.
    fn offer(&self, reason: Reason) -> Option<Response<Body>> {
        let (class, account) = (self.class.as_ref()?, self.account?);
        let stranger = account.standing <= Standing::Anonymous;
        let some_way = passes::earnable(reason) || reason == Reason::Mitigated;
        if !some_way || !class.service.passes || !stranger {
            return None;
        }
        let holder = self.holder(class);
        let to = self.way_back();
        let offer = if reason == Reason::Mitigated {
            self.setup.passes.offer_code(to.to_owned())
        } else {
            let marks = match (reason, account.standing) {
                (Reason::ChallengeNeeded, _) => 2,
                (_, Standing::Suspect) => 3,
                _ => 0,
            };
            self.setup.passes.offer(&holder, marks, to.to_owned(), self.began_unix_s())
        };
        Some(self.frame(Some(Reference::new(reason, self.id))).offer(reason, &offer, false))
    }

    /// What pages about passes are made for.
    #[must_use]
    pub(crate) fn frame(&self, reference: Option<Reference>) -> PassFrame<'_> {
        let service = self.class.as_ref().map(|class| &class.service);
        let kind = self.class.as_ref().map_or(ClientKind::Browser, Class::client_kind);
        let language = language_for(self.accept_language.as_ref().map(HeaderValue::as_bytes));
        PassFrame {
            language,
            kind: kind_for(self.accept.as_ref().map(HeaderValue::as_bytes), kind),
            service_name: service.map_or("", |service| public_name(service, language)),
            reference,
            head: self.method == Method::HEAD,
        }
    }

    /// Follows an answer to its end.
    #[must_use]
    pub fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.status = response.status().as_u16();
        match response.body() {
            Body::Empty => {
                self.complete = true;
                response
            }
            Body::Full(piece) => {
                self.bytes_out = piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
                self.complete = true;
                response
            }
            Body::Stream(_) => response.map(|body| Body::stream(Followed { body, trail: self })),
        }
    }

    /// So that the operator can be told when somebody reads the reference code to the help desk.
    fn remember(&self) {
        let refusal = Refusal {
            id_part: super::reference::id_part(self.id),
            mitigation: self.mitigation,
            service: self.class.as_ref().map_or(u8::MAX, |class| class.service_position as u8),
            standing: self.account.map_or(Standing::Anonymous, |account| account.standing),
            unix_s: self.began_unix_s(),
        };
        self.setup.shared.signs.refusals.note(&refusal);
    }

    fn finish(&mut self) {
        if let Some(facts) = &self.facts {
            match facts.ended.get() {
                Ended::Broken(reason) if self.reason.is_none() => self.reason = Some(reason),
                Ended::Broken(_) | Ended::Not | Ended::Complete | Ended::Dropped => {}
            }
        }
        if !self.complete && self.reason.is_none() {
            self.reason = Some(Reason::ClientGone);
        }
        if let Some(account) = self.account {
            self.setup.admission.book(account, self.reason, self.status);
        }
        let now = clock::now();
        self.worker.tally(self.reason, self.status);
        self.worker.recorder().record(&self.entry(now), now);
    }

    fn entry(&self, now: Moment) -> Entry<'_> {
        let shared = &self.setup.shared;
        let class = self.class.as_ref();
        let facts = self.facts.as_deref();
        let upstream = facts.and_then(Facts::server_address);
        Entry {
            request_id: self.id,
            trace: self.trace.as_ref(),
            began: self.began,
            began_unix_ms: self.began_unix_ms,
            client: self.client,
            listener: &self.connection.listener.name,
            listener_slot: self.listener_slot,
            service: class.map_or("", |class| &class.service.name),
            service_slot: class.map_or(ServiceSlot::NONE, |class| shared.service_slots[class.service_position]),
            route: class.and_then(Class::route).map_or("", |route| &route.path),
            method: self.method.as_str(),
            path: self.uri.path(),
            protocol: protocol(self.version),
            tls: self.connection.tls.is_some(),
            status: self.status,
            bytes_in: facts.map_or(0, |facts| facts.request_bytes.get()),
            bytes_out: self.bytes_out,
            duration_us: now.since(self.began).as_micros() as u64,
            queue_us: self.queue_us,
            first_byte_us: facts.and_then(|facts| facts.first_byte.get()).map(|span| span.as_micros() as u64),
            upstream: upstream.unwrap_or(""),
            attempts: facts.map_or(0, |facts| facts.attempts.get()),
            lane: class.map_or(Criticality::Ordinary, |class| class.criticality),
            standing: self
                .account
                .map(|account| account.standing)
                .or(class.map(|class| class.standing))
                .unwrap_or(Standing::Anonymous),
            partner: self.partner.as_ref().map(|partner| partner.name.as_str()),
            reason: self.reason,
            contract: self.told.get().map(Told::name),
            pass: class.and_then(|class| class.pass).map(|pass| pass.earned_by()),
            mitigation: (self.mitigation != 0).then_some(self.mitigation),
            ja4: self.connection.tls.as_ref().map(|tls| tls.ja4.as_str()),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What people call a service: as its contract says, or else as the configuration does.
fn public_name(service: &Service, language: Language) -> &str {
    service.contract.as_ref().map_or(&service.name, |contract| contract.title.of(language))
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A body that is followed to its end.
struct Followed {
    body: Body,
    trail: Trail,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.trail.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                // hyper does not poll again once the announced length has gone out.
                this.trail.complete = this.body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => this.trail.reason = Some(error.0),
            Poll::Ready(None) => this.trail.complete = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
