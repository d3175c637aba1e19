//! Real clients: each request at its planned moment, as a patient person with a browser would make it.

use super::answer::Answer;
use super::h1::H1;
use super::h2::H2;
use super::headers::{self, Request};
use super::pass::Offer;
use super::record::{Got, Live, Outcome, Record};
use super::tls::{ClientTls, Who};
use super::wire::{self, Route};
use super::{Ground, Targets};
use crate::ops::{Ask, Asker, Op};
use crate::plan::{self, Person, Planned};
use crate::scenario::{Kind, RealPopulation, Transport};
use crate::services::{SERVICES, host_of};
use guichet_core::bounds::{DRILL_COOKIES_MAX, DRILL_IDLE_PER_PERSON_MAX};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// A person who is turned away without being told for how long waits this long.
const BACK_OFF: Duration = Duration::from_millis(300);
/// A person in a waiting room looks at least this often whether it is its turn.
const ROOM_LOOK: Duration = Duration::from_secs(2);
/// A person whose connection failed tries again after this.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// Plays the plan and returns a record for each of its requests, in its order. A cancelled run leaves `None`s.
pub(super) async fn play(ground: Rc<Ground>) -> anyhow::Result<Vec<Option<Record>>> {
    let crowd = Rc::new(Crowd::new(Rc::clone(&ground))?);
    let records = Rc::new(RefCell::new(vec![None; ground.plan.requests.len()]));
    // Who waits in a waiting room comes later than planned, but not after the end.
    let mut last = ground.origin + Duration::from_millis(ground.scenario.phases.total_ms()) + Duration::from_secs(5);
    for (i, planned) in ground.plan.requests.iter().enumerate() {
        let at = ground.origin + Duration::from_micros(planned.at_us);
        while Instant::now() < at && !ground.live.is_cancelled() {
            // In steps, so that a cancelled run ends soon.
            sleep_until(at.min(Instant::now() + Duration::from_millis(100))).await;
        }
        if ground.live.is_cancelled() {
            break;
        }
        let (crowd, records) = (Rc::clone(&crowd), Rc::clone(&records));
        last = last.max(at + crowd.deadline_of(planned));
        tokio::task::spawn_local(async move {
            let record = crowd.perform(i).await;
            records.borrow_mut()[i] = Some(record);
            crowd.note(&record);
        });
    }
    // Every task ends by its own deadline.
    while Instant::now() < last && !ground.live.is_cancelled() {
        sleep(Duration::from_millis(20)).await;
        if ground.live.real_done.load(Ordering::Relaxed) as usize == ground.plan.requests.len() {
            break;
        }
    }
    sleep(Duration::from_millis(20)).await;
    let taken = std::mem::take(&mut *records.borrow_mut());
    Ok(taken)
}

/// All real clients.
struct Crowd {
    ground: Rc<Ground>,
    /// One a population; none for a front without TLS.
    configs: Vec<Option<Arc<ClientConfig>>>,
    /// Host and name for TLS, one a population.
    hosts: Vec<(String, ServerName<'static>)>,
    members: Vec<OnceCell<Member>>,
}

/// What a person has with it.
#[derive(Default)]
struct Member {
    jar: RefCell<Vec<(String, String)>>,
    idle: RefCell<Vec<H1>>,
    h2: RefCell<Option<H2>>,
    tls: OnceCell<Arc<ClientConfig>>,
    /// By how much later than planned it comes, because it waited in a waiting room; locked while it waits.
    shift: tokio::sync::Mutex<Duration>,
}

/// Why an attempt brought no right answer.
enum Miss {
    Refused(Answer),
    Broken,
}

/// How the attempts at a request ended.
enum Ended {
    With(Outcome),
    /// It is asked to wait its turn, and to look again after this.
    InRoom(Duration),
}

impl Crowd {
    fn new(ground: Rc<Ground>) -> anyhow::Result<Self> {
        let (mut configs, mut hosts) = (Vec::new(), Vec::new());
        for population in &ground.scenario.real {
            let host = host_of(SERVICES[population.service].name);
            hosts.push((host.clone(), ServerName::try_from(host)?));
            let who = match population.kind {
                Kind::Partner | Kind::Counter => Who::Partner,
                Kind::Visitor | Kind::App | Kind::Crowd | Kind::Attacker => Who::Public,
            };
            let h2 = population.look.transport == Transport::TlsHttp2;
            let config = ground.tls.as_ref().map(|tls| tls.config(population.look.tls, h2, who)).transpose()?;
            configs.push(config);
        }
        let members = ground.plan.persons.iter().map(|_| OnceCell::new()).collect();
        Ok(Self { ground, configs, hosts, members })
    }

    fn population(&self, person: &Person) -> &RealPopulation {
        &self.ground.scenario.real[person.population]
    }

    fn deadline_of(&self, planned: &Planned) -> Duration {
        let person = &self.ground.plan.persons[planned.person as usize];
        Duration::from_millis(self.population(person).deadline_ms)
    }

    fn note(&self, record: &Record) {
        let live: &Live = &self.ground.live;
        live.real_done.fetch_add(1, Ordering::Relaxed);
        live.real_right.fetch_add(u64::from(record.is_right()), Ordering::Relaxed);
    }

    async fn perform(&self, i: usize) -> Record {
        let planned = &self.ground.plan.requests[i];
        let intended = self.ground.origin + Duration::from_micros(planned.at_us);
        let member = self.member(planned.person);
        let (met_refusal, got) = (Cell::new(false), Cell::new(Got::default()));
        let mut shift = *member.shift.lock().await;
        let outcome = loop {
            if intended + shift > self.end() {
                break Outcome::Refused(503);
            }
            sleep_until(intended + shift).await;
            let deadline = intended + shift + self.deadline_of(planned);
            match timeout_at(deadline, self.attempts(planned, deadline, &met_refusal, &got)).await {
                Ok(Ended::With(outcome)) => break outcome,
                Ok(Ended::InRoom(look)) => match self.wait_in_room(planned, shift, look).await {
                    Some(waited) => shift = waited,
                    None => break Outcome::Refused(503),
                },
                Err(_) => break Outcome::Late,
            }
        };
        if planned.leaves {
            member.idle.borrow_mut().clear();
            *member.h2.borrow_mut() = None;
        }
        let latency_us = Instant::now().saturating_duration_since(intended + shift).as_micros() as u64;
        Record { outcome, latency_us, got: got.get(), met_refusal: met_refusal.get() }
    }

    fn member(&self, person: u32) -> &Member {
        self.members[person as usize].get_or_init(Member::default)
    }

    /// At most two attempts; the second only where it can still end in time.
    async fn attempts(&self, planned: &Planned, deadline: Instant, met_refusal: &Cell<bool>, got: &Cell<Got>) -> Ended {
        let saw = |what: Got| got.set(got.get().max(what));
        let mut outcome = Outcome::Broken;
        for attempt in 0..2 {
            let wait;
            match self.once(planned).await {
                Ok(what) => {
                    saw(what);
                    return Ended::With(Outcome::Right);
                }
                Err(Miss::Refused(answer)) if answer.is_waiting_room() => {
                    saw(Got::Error);
                    return Ended::InRoom(look_again(&answer));
                }
                Err(Miss::Refused(answer)) => {
                    saw(if answer.contract { Got::Fallback } else { Got::Error });
                    outcome = Outcome::Refused(answer.status);
                    let earned = attempt == 0 && self.earn(planned, &answer).await;
                    wait = if earned { Duration::ZERO } else { answer.retry_after.unwrap_or(BACK_OFF) };
                }
                Err(Miss::Broken) => {
                    outcome = Outcome::Broken;
                    wait = RECONNECT_AFTER;
                }
            }
            met_refusal.set(true);
            if attempt > 0 || Instant::now() + wait >= deadline {
                break;
            }
            sleep(wait).await;
        }
        Ended::With(outcome)
    }

    /// Waits its turn, as the page does by itself; what else this person meant to ask waits with it. By how much later than
    /// planned it now comes; `None`: its turn did not come before the end.
    async fn wait_in_room(&self, planned: &Planned, known: Duration, mut look: Duration) -> Option<Duration> {
        let (began, member) = (Instant::now(), self.member(planned.person));
        let mut shift = member.shift.lock().await;
        if *shift > known {
            // It waited for another request of its own meanwhile.
            return Some(*shift);
        }
        while Instant::now() < self.end() && !self.ground.live.is_cancelled() {
            sleep(look).await;
            let ask = self.own_ask(planned, "/.well-known/guichet/room?to=/".to_owned(), String::new());
            match self.send(planned, "GET", ask).await {
                Ok(answer) if matches!(answer.status, 200 | 303) => {
                    *shift += Instant::now() - began;
                    return Some(*shift);
                }
                Ok(answer) => look = look_again(&answer),
                Err(_) => look = RECONNECT_AFTER,
            }
        }
        None
    }

    fn end(&self) -> Instant {
        self.ground.origin + Duration::from_millis(self.ground.scenario.phases.total_ms())
    }

    /// A request to the front itself.
    fn own_ask(&self, planned: &Planned, path: String, body: String) -> Ask {
        let person = &self.ground.plan.persons[planned.person as usize];
        let ask = planned.op.ask(&Asker { user: person.user, draw: planned.draw, wrong_password: false });
        Ask { path, body, content_type: "application/x-www-form-urlencoded", ..ask }
    }

    /// Earns a pass where the front offers one, as the page's script or the application does. Whether it has one now.
    async fn earn(&self, planned: &Planned, refusal: &Answer) -> bool {
        let person = &self.ground.plan.persons[planned.person as usize];
        if !matches!(self.population(person).kind, Kind::Visitor | Kind::App | Kind::Crowd) {
            return false;
        }
        let Some(offer) = Offer::find(&refusal.page) else { return false };
        let submit = offer.submit.clone();
        // On another thread: the load shares its own with what it measures.
        let solved = tokio::task::spawn_blocking(move || offer.solve()).await;
        let Ok(Some(solution)) = solved else { return false };
        sleep(solution.price).await;
        let ask = self.own_ask(planned, submit, solution.form);
        let answer = self.send(planned, "POST", ask).await;
        matches!(answer, Ok(answer) if matches!(answer.status, 200 | 303))
    }

    /// The operation, after a login where the person has no session (as a page would send it to).
    async fn once(&self, planned: &Planned) -> Result<Got, Miss> {
        let person = &self.ground.plan.persons[planned.person as usize];
        let service = self.population(person).service;
        let cookie = format!("{}_session", SERVICES[service].name);
        let known = || self.member(planned.person).jar.borrow().iter().any(|(name, _)| *name == cookie);
        if planned.op.needs_session
            && !known()
            && let Some(login) = plan::login_of(service)
        {
            self.ask(planned, login).await?;
        }
        self.ask(planned, planned.op).await.inspect_err(|miss| {
            // The session ended: the next attempt logs in again.
            if matches!(miss, Miss::Refused(answer) if matches!(answer.status, 401 | 303)) {
                self.member(planned.person).jar.borrow_mut().retain(|(name, _)| *name != cookie);
            }
        })
    }

    async fn ask(&self, planned: &Planned, op: &'static Op) -> Result<Got, Miss> {
        let person = &self.ground.plan.persons[planned.person as usize];
        let ask = op.ask(&Asker { user: person.user, draw: planned.draw, wrong_password: false });
        let answer = self.send(planned, op.method, ask).await.map_err(|_| Miss::Broken)?;
        if answer.is_right(op) { Ok(answer.got(op)) } else { Err(Miss::Refused(answer)) }
    }

    async fn send(&self, planned: &Planned, method: &'static str, ask: Ask) -> io::Result<Answer> {
        let person = &self.ground.plan.persons[planned.person as usize];
        let population = self.population(person);
        let member = self.member(planned.person);
        let request = Request {
            op: planned.op,
            method,
            ask,
            host: &self.hosts[person.population].0,
            lines: headers::lines(population.look.headers, person.draw),
            extra: &population.look.extra_headers,
            cookie: member.cookie(),
        };
        let answer = self.exchange(person, member, &request).await?;
        member.keep_cookies(&answer);
        Ok(answer)
    }

    /// Over a connection that is there, else a new one. One that the front closed meanwhile is no failure of the front.
    async fn exchange(&self, person: &Person, member: &Member, request: &Request<'_>) -> io::Result<Answer> {
        let h2 = member.h2.borrow().clone();
        if let Some(h2) = h2 {
            match h2.exchange(request).await {
                Ok(answer) => return Ok(answer),
                Err(_) => *member.h2.borrow_mut() = None,
            }
        }
        let idle = member.idle.borrow_mut().pop();
        if let Some(mut h1) = idle
            && let Ok(answer) = h1.exchange(&request.h1()).await
        {
            member.give_back(h1, &answer);
            return Ok(answer);
        }
        let wire = wire::connect(&self.route(person, member)?).await?;
        if wire.is_h2() {
            let h2 = H2::new(wire).await?;
            *member.h2.borrow_mut() = Some(h2.clone());
            return h2.exchange(request).await;
        }
        let mut h1 = H1::new(wire);
        let answer = h1.exchange(&request.h1()).await?;
        member.give_back(h1, &answer);
        Ok(answer)
    }

    fn route(&self, person: &Person, member: &Member) -> io::Result<Route> {
        let population = self.population(person);
        let targets: &Targets = &self.ground.targets;
        let (target, over_tls) = targets.find(population.service, population.look.transport).ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, "the front does not listen for this transport")
        })?;
        let config = self.configs[person.population].as_ref().filter(|_| over_tls);
        let tls = config.map(|config| {
            let own = member.tls.get_or_init(|| ClientTls::for_person(config, population.look.tls));
            (Arc::clone(own), self.hosts[person.population].1.clone())
        });
        Ok(Route { source: person.source, target, tls, receive_buffer: None })
    }
}

/// When somebody in a waiting room looks again.
fn look_again(answer: &Answer) -> Duration {
    answer.retry_after.unwrap_or(ROOM_LOOK).min(ROOM_LOOK)
}

impl Member {
    fn cookie(&self) -> String {
        let jar = self.jar.borrow();
        jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&self, answer: &Answer) {
        let mut jar = self.jar.borrow_mut();
        for (name, value) in &answer.cookies {
            jar.retain(|(n, _)| n != name);
            if !value.is_empty() && jar.len() < DRILL_COOKIES_MAX {
                jar.push((name.clone(), value.clone()));
            }
        }
    }

    fn give_back(&self, h1: H1, answer: &Answer) {
        let mut idle = self.idle.borrow_mut();
        if !answer.close && idle.len() < DRILL_IDLE_PER_PERSON_MAX {
            idle.push(h1);
        }
    }
}
