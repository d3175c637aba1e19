//! Admit: now, later, or not? The only place where a [`Permit`] is made.

mod cost;
mod gate;
mod look;
mod permit;
mod sign_ins;
mod sources;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use guichet_core::bounds::{SAMPLES_PER_TICK_MAX, WORKERS_MAX};
use guichet_core::room::Place;
use guichet_core::signs::{Dimension, Sample, Sampler, SignIn};
use guichet_core::{
    Asking, Criticality, Decision, Gauge, Moment, NodeGate, NodeSlot, Outcome, Posture, Pressure, Reason, ServiceId,
    Slot, SourceKey, SourceView, Standing, Standing3, UNMARKED, Window, decide, effective_standing, mitigated_standing,
    waits_in_room,
};
use parking_lot::Mutex;
use smallvec::SmallVec;

use self::cost::Costs;
use self::gate::{Answer, Gate};
use self::look::spare_programs;
#[cfg(test)]
pub(crate) use self::permit::permit_for_test;
pub use self::permit::{Permit, Served};
pub use self::sign_ins::{Attempt, sign_in_ended};
use self::sources::Asked;
pub use self::sources::Sources;
use crate::classify::Class;
use crate::clock;
use crate::config::Service;
use crate::signs::{ConnectionLooks, Looks, Signs, Told, Word};

/// What all workers of a node share to admit: gates, accounts, and what the brain decided.
pub struct Shared {
    /// Published by the brain, read by every request.
    pub posture: ArcSwap<Posture>,
    /// Accounts of sources.
    pub sources: Arc<Sources>,
    gates: Vec<Arc<Gate>>,
    names: Vec<String>,
    node: Arc<Mutex<NodeGate>>,
}

impl Shared {
    /// For these services; what a former configuration held for services of the same name goes on.
    #[must_use]
    pub fn new(services: &[Arc<Service>], posture: Posture, sources: Arc<Sources>, former: Option<&Self>) -> Self {
        let held: HashMap<&str, &Arc<Gate>> =
            former.iter().flat_map(|f| f.names.iter().map(String::as_str).zip(&f.gates)).collect();
        let gates = services.iter().map(|s| held.get(s.name.as_str()).copied().cloned().unwrap_or_default()).collect();
        Self {
            posture: ArcSwap::from_pointee(posture),
            sources,
            gates,
            names: services.iter().map(|s| s.name.clone()).collect(),
            node: former.map_or_else(Arc::default, |f| f.node.clone()),
        }
    }

    /// Requests in flight and waiting at a service.
    #[must_use]
    pub fn levels(&self, position: usize) -> (u32, usize) {
        self.gates.get(position).map_or((0, 0), |gate| gate.levels())
    }
}

/// One worker's way to admit, for one configuration.
pub struct Admission {
    shared: Arc<Shared>,
    window: RefCell<Window>,
    gauges: RefCell<Vec<Gauges>>,
    costs: Vec<Costs>,
    since: Cell<Moment>,
    signs: Arc<Signs>,
    sampling: RefCell<Sampling>,
}

/// A worker's part in finding signs.
struct Sampling {
    sampler: Sampler,
    told: Told,
    /// The samples of a tick are shared out over the workers.
    workers: u32,
    ticks: u32,
}

/// Fewest samples that a worker takes of one service in a tick, and the ticks after which all words are told anew.
const SAMPLES_OF_WORKER_MIN: u32 = 4;
const TELL_ANEW_TICKS: u32 = 600;

#[derive(Default, Clone, Copy)]
struct Gauges {
    inflight: Gauge,
    queued: Gauge,
}

/// Who is asking, as the accounts know them; `record` books the outcome there.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// The account: of the session, the partner, or the narrow prefix.
    pub key: SourceKey,
    /// Standing after behaviour was looked at.
    pub standing: Standing,
}

/// Where a request comes from, as far as its account depends on it.
struct Seen {
    client: std::net::IpAddr,
    /// The mark that it bears: its account is apart from its neighbours'.
    mark: Option<u32>,
    /// Whether marks tell attackers from their neighbours now.
    has_marks: bool,
    /// Whether the service is pressed, so that wider prefixes matter.
    pressed: bool,
}

/// What a request got.
pub struct Verdict {
    /// Who asked.
    pub account: Account,
    /// How long it waited.
    pub queued: Duration,
    /// The mitigation that it matched; 0: none.
    pub mitigation: u32,
    /// Where it is a sign-in: to be noted when it has ended ([`Admission::note_sign_in`]).
    pub sign_in: Option<Attempt>,
    /// The permit, or why not.
    pub permit: Result<Permit, Reason>,
}

impl Verdict {
    const fn refused(account: Account, mitigation: u32, reason: Reason) -> Self {
        Self { account, queued: Duration::ZERO, mitigation, sign_in: None, permit: Err(reason) }
    }
}

impl Admission {
    /// A worker's own.
    #[must_use]
    pub fn new(shared: Arc<Shared>, services: &[Arc<Service>], signs: Arc<Signs>, workers: usize, seed: u64) -> Self {
        let workers = workers.clamp(1, WORKERS_MAX) as u32;
        let sampling = Sampling { sampler: Sampler::new(seed), told: Told::default(), workers, ticks: 0 };
        Self {
            shared,
            signs,
            sampling: sampling.into(),
            window: RefCell::new(Window::new(services.len())),
            gauges: RefCell::new(vec![Gauges::default(); services.len()]),
            costs: services.iter().map(|s| Costs::new(s.routes.iter().map(|route| route.cost.is_some()))).collect(),
            since: Cell::new(clock::now()),
        }
    }

    /// What is shared.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Sheds those who waited too long at the gates; to be called every few milliseconds.
    pub fn sweep(&self, now: Moment) {
        let posture = self.shared.posture.load();
        for (gate, rules) in self.shared.gates.iter().zip(&posture.services) {
            gate.sweep(now, rules);
        }
    }

    /// Something of this worker was done so long after it was due.
    pub fn note_late(&self, late: Duration) {
        self.window.borrow_mut().lateness.note(late);
    }

    /// What this worker counted since the last call, for the brain.
    pub fn take_window(&self, now: Moment) -> Window {
        let mut window = self.window.replace(Window::new(self.shared.gates.len()));
        window.span = now.since(self.since.replace(now));
        for (counters, gauges) in window.services.iter_mut().zip(self.gauges.borrow_mut().iter_mut()) {
            counters.inflight = gauges.inflight.take(now);
            counters.queued = gauges.queued.take(now);
            counters.samples.seal();
            counters.sign_ins.seal();
        }
        window.connections.seal();
        window
    }

    /// Words for values that are new since the last call.
    pub fn take_words(&self) -> Vec<Word> {
        let mut sampling = self.sampling.borrow_mut();
        sampling.ticks += 1;
        if sampling.ticks.is_multiple_of(TELL_ANEW_TICKS) {
            sampling.told.forget();
        }
        sampling.told.take()
    }

    /// Counts a place in the waiting room that was given out.
    pub fn note_place(&self, position: usize, place: Place) {
        self.count(ServiceId(position as u16), |counters| counters.room.note(place));
    }

    /// Notes a connection that failed or stalls, where it is one of those that are sampled. `ending`: for what it failed, or
    /// will. Only then is it looked at.
    pub fn note_incident<'a>(&self, ending: Reason, look: impl FnOnce() -> Cow<'a, ConnectionLooks>) {
        let mut sampling = self.sampling.borrow_mut();
        let samples = (SAMPLES_PER_TICK_MAX as u32 / sampling.workers).max(SAMPLES_OF_WORKER_MIN);
        let mut window = self.window.borrow_mut();
        let Some(place) = sampling.sampler.place(&mut window.connections, samples) else { return };
        let looks = look();
        let features = looks.features.with(Dimension::Ending, u32::from(ending.code()));
        let (standing, criticality) = (Standing::Anonymous, Criticality::Ordinary);
        window.connections.keep(place, Sample { features, weight: 1.0, pace_per_s: 1.0, standing, criticality });
        sampling.told.note_words(&features, |dimension| looks.words(dimension));
    }

    /// Decides about one request, and lets it wait if that is the decision.
    pub async fn admit(self: &Rc<Self>, looks: &Looks<'_>, partner: Option<&str>) -> Verdict {
        let (class, client, now) = (looks.class, looks.client, clock::now());
        let service = ServiceId(class.service_position as u16);
        let posture = self.shared.posture.load_full();
        let Some(rules) = posture.rules(service) else {
            let key = SourceKey::from_hash(0);
            let account = Account { key, standing: class.standing };
            return Verdict::refused(account, 0, Reason::Internal);
        };
        let cost = self.cost(class);
        let asked = Asked { service, cost, suspect_rate_per_s: rules.suspect_rate_per_s };
        let allowed = !rules.mitigations.is_empty() && self.signs.allowed.allows(client, now);
        let signs_in = class.sign_in_failed(&looks.head.method, looks.head.uri.path()).is_some();
        let outward = (signs_in || !rules.mitigations.is_empty()).then(|| looks.outward());
        let mark = outward.as_ref().filter(|_| !allowed).and_then(|outward| rules.mark(outward));
        let pressed = rules.pressure == Pressure::Pressed;
        let seen = Seen { client, mark, has_marks: rules.has_marks(), pressed };
        let (view, wide) = self.views(class, partner, &seen, now, &asked);
        let proved = (class.standing > Standing::Known).then_some(class.standing);
        let known = effective_standing(proved, &view, now, rules);
        let mitigation = self.look(looks, outward, rules, known, &view, cost).filter(|_| !allowed);
        let mitigation = mitigation.map(|found| self.spare_crawlers(spare_programs(found, class), looks, now));
        let of_sign_ins = mitigation.is_some_and(|m| m.sign_ins);
        let attempt = outward.filter(|_| signs_in || of_sign_ins);
        let attempt = attempt.map(|outward| self.attempt(looks, outward, known, &view, cost));
        let standing = mitigated_standing(known, class.criticality, mitigation.as_ref());
        let matched = mitigation.map_or(0, |m| m.id);
        let turned_away = u32::from(mitigation.is_none());
        let account = Account { key: view.key, standing };
        let waits = known != Standing::Proven && waits_in_room(standing, class.criticality, &view, now, rules);
        let counted = if waits { Standing::Suspect } else { standing };
        self.count(service, |counters| counters.note_offered(counted, &view, cost));
        let deadline = class.route().and_then(|route| route.deadline);
        let asking = Asking {
            service,
            criticality: class.criticality,
            proved,
            view: &view,
            wide: &wide,
            bid: class.pass.map_or(0, |pass| pass.bid),
            cost,
            wait_max: deadline,
            mitigation: mitigation.as_ref(),
        };
        let decision = decide(&asking, now, rules);
        let (ask, charges) = match decision {
            Decision::Offer(ask, charges) => (ask, charges),
            Decision::Refuse(reason) => {
                self.count(service, |counters| {
                    counters.note_held_back(counted);
                    counters.turned_away += if waits { 0 } else { turned_away };
                });
                if let Some(attempt) = attempt.filter(|_| of_sign_ins && by_mitigation(reason)) {
                    self.note_sign_in(&attempt, SignIn::TurnedAway);
                }
                return Verdict::refused(account, matched, reason);
            }
        };
        let node = match self.enter_node(class.criticality, &posture) {
            Ok(node) => node,
            Err(reason) => return Verdict::refused(account, matched, reason),
        };
        let gate = &self.shared.gates[service.index()];
        let permit = match gate.offer(&ask, now, &posture, service) {
            Answer::Refused(reason) => {
                self.count(service, |counters| {
                    counters.lanes_refused += 1;
                    counters.turned_away += turned_away;
                });
                Err(reason)
            }
            Answer::Admitted(slot) => {
                self.shared.sources.commit(charges, now);
                Ok(self.permit(service, slot, node, cost, class.route_position))
            }
            Answer::Waiting(waiting) => {
                self.shared.sources.commit(charges, now);
                let _queued = Queued::enter(self, service);
                match waiting.resolved().await {
                    Ok(slot) => Ok(self.permit(service, slot, node, cost, class.route_position)),
                    Err(reason) => {
                        self.count(service, |counters| counters.lanes_shed += 1);
                        Err(reason)
                    }
                }
            }
        };
        let sign_in = attempt.filter(|_| signs_in);
        Verdict { account, queued: clock::now().since(now), mitigation: matched, sign_in, permit }
    }

    /// A place in the node's own bound.
    fn enter_node(&self, criticality: Criticality, posture: &Posture) -> Result<NodeHeld, Reason> {
        let slot = self.shared.node.lock().enter(criticality, &posture.node)?;
        Ok(NodeHeld { shared: self.shared.clone(), slot: Some(slot) })
    }

    /// Requests of mean cost that a request of this class counts for: declared, or learned.
    fn cost(&self, class: &Class) -> f32 {
        let declared = class.route().and_then(|route| route.cost);
        declared.map_or_else(|| self.costs[class.service_position].of(class.route_position), |cost| cost as f32)
    }

    /// The account that counts, and those of the wider prefixes: looked at only while they can matter.
    fn views(
        &self,
        class: &Class,
        partner: Option<&str>,
        seen: &Seen,
        now: Moment,
        asked: &Asked,
    ) -> (SourceView, SmallVec<[SourceView; 2]>) {
        let sources = &self.shared.sources;
        let unsuspected = Asked { suspect_rate_per_s: f32::INFINITY, ..*asked };
        if let (Standing::Partner, Some(name)) = (class.standing, partner) {
            return (sources.observe(sources.partner_key(name), now, &unsuspected), SmallVec::new());
        }
        let mut prefixes = sources.prefixes(seen.client);
        if let Some(value) = &class.session {
            let key = sources.session_key(value);
            for &prefix in &prefixes {
                sources.note_session(prefix, key, now);
            }
            return (sources.observe(key, now, asked), SmallVec::new());
        }
        if let Some(pass) = &class.pass {
            return (sources.observe(sources.pass_key(pass.id), now, asked), SmallVec::new());
        }
        if let Some(mark) = seen.mark {
            prefixes.iter_mut().for_each(|key| *key = key.apart(mark));
        }
        let mut view = sources.observe(prefixes[0], now, asked);
        if view.standing_hint == Standing3::Suspect && seen.mark.is_none() && seen.has_marks {
            view = sources.observe(prefixes[0].apart(UNMARKED), now, asked);
        }
        let wide =
            prefixes[1..].iter().filter(|_| seen.pressed).map(|&key| sources.observe(key, now, &unsuspected)).collect();
        (view, wide)
    }

    fn permit(
        self: &Rc<Self>,
        service: ServiceId,
        slot: Slot,
        node: NodeHeld,
        cost: f32,
        route: Option<usize>,
    ) -> Permit {
        let now = clock::now();
        self.gauges.borrow_mut()[service.index()].inflight.up(now);
        self.count(service, |counters| counters.admitted += 1);
        let held = Held { admission: self.clone(), service, slot: Some(slot), _node: node, cost, route };
        Permit::new(Box::new(held), Rc::new(Cell::default()))
    }

    fn count(&self, service: ServiceId, with: impl FnOnce(&mut guichet_core::ServiceWindow)) {
        if let Some(counters) = self.window.borrow_mut().service(service) {
            with(counters);
        }
    }

    /// Books how a request of this account ended.
    pub fn book(&self, account: Account, reason: Option<Reason>, status: u16) {
        let outcome = match reason {
            Some(reason) if admission_refused(reason) => {
                Outcome::Refused { retry_after_s: reason.retry_after_s().unwrap_or(0) }
            }
            Some(_) => return,
            None if status < 400 => Outcome::Good,
            None if status < 500 => Outcome::ClientError,
            None => return,
        };
        self.shared.sources.outcome(account.key, clock::now(), outcome);
    }
}

/// Whether the reason is a refusal that asks to come again later.
fn admission_refused(reason: Reason) -> bool {
    (100..200).contains(&reason.code())
}

/// Whether the reason is that a mitigation asks for a pass, or refuses.
const fn by_mitigation(reason: Reason) -> bool {
    matches!(reason, Reason::Mitigated | Reason::ChallengeNeeded)
}

/// A place in the node's own bound; given back on drop.
struct NodeHeld {
    shared: Arc<Shared>,
    slot: Option<NodeSlot>,
}

impl Drop for NodeHeld {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.node.lock().release(slot);
        }
    }
}

/// What a permit holds.
struct Held {
    admission: Rc<Admission>,
    service: ServiceId,
    slot: Option<Slot>,
    _node: NodeHeld,
    cost: f32,
    route: Option<usize>,
}

impl permit::Release for Held {
    fn release(&mut self, served: Served) {
        let now = clock::now();
        let admission = &self.admission;
        admission.gauges.borrow_mut()[self.service.index()].inflight.down(now);
        admission.count(self.service, |counters| match (served.failure, served.first_byte_us) {
            (None, Some(us)) => counters.note_completed(Duration::from_micros(us), self.cost),
            (Some(_), _) => counters.errors += 1,
            (None, None) => {}
        });
        let posture = admission.shared.posture.load();
        let Some(rules) = posture.rules(self.service) else { return };
        // Under pressure answers are slow because of the others, and an attacker chooses what is seen most.
        if let (None, Some(us), Pressure::Calm) = (served.failure, served.first_byte_us, rules.pressure) {
            admission.costs[self.service.index()].learn(self.route, us);
        }
        if let Some(slot) = self.slot.take() {
            admission.shared.gates[self.service.index()].release(slot, now, rules);
        }
    }
}

/// Counts one that waits, also if it goes away while waiting.
struct Queued<'a> {
    admission: &'a Admission,
    service: ServiceId,
}

impl<'a> Queued<'a> {
    fn enter(admission: &'a Admission, service: ServiceId) -> Self {
        admission.gauges.borrow_mut()[service.index()].queued.up(clock::now());
        Self { admission, service }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.admission.gauges.borrow_mut()[self.service.index()].queued.down(clock::now());
    }
}
