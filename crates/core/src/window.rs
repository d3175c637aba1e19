//! What the workers counted since the last tick of the brain.

use core::time::Duration;

use crate::room::RoomCounts;
use crate::signs::SampleBag;
use crate::{DemandHistogram, Lateness, Level, RttHistogram, ServiceId, SourceView, Standing};

/// No request counts for less than this where its time is judged.
const COST_LEAST: f32 = 0.01;

/// Counters of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceWindow {
    /// Requests that came, by [`Standing::index`].
    pub offered: [u32; Standing::COUNT],
    /// Sources that were seen for the first time, without any proof of who they are.
    pub births: u32,
    /// Requests refused by threshold or share, by [`Standing::index`].
    pub held_back: [u32; Standing::COUNT],
    /// Requests that no mitigation is against, refused by threshold, share or lanes all the same.
    pub turned_away: u32,
    /// Requests that got a slot.
    pub admitted: u32,
    /// Requests refused by the lanes at once.
    pub lanes_refused: u32,
    /// Requests shed from the queue: displaced or past their deadline.
    pub lanes_shed: u32,
    /// Answers as they should be, client errors among them.
    pub completed: u32,
    /// Cost of those (requests of mean cost).
    pub completed_cost: f32,
    /// Failures of the upstream: no answer, a late one, or a server error.
    pub errors: u32,
    /// Demand by tier and pace of the source.
    pub demand: DemandHistogram,
    /// Times from sending to the first byte of the answer, each divided by what the request cost: more requests that take
    /// long by nature are no sign that the upstream is full.
    pub rtt: RttHistogram,
    /// Requests in flight to the upstream.
    pub inflight: Level,
    /// Requests waiting in the queue.
    pub queued: Level,
    /// A few of the requests that came, as signatures look at them.
    pub samples: SampleBag,
    /// A few of the sign-ins that ended, each with its [`crate::signs::SignIn`].
    pub sign_ins: SampleBag,
    /// Places in the waiting room that were given out.
    pub room: RoomCounts,
}

impl ServiceWindow {
    /// Counts a request that came, before it is decided upon. `standing` as by [`crate::effective_standing`].
    pub fn note_offered(&mut self, standing: Standing, view: &SourceView, cost: f32) {
        self.offered[standing.index()] += 1;
        self.births += u32::from(view.age.is_zero() && matches!(standing, Standing::Anonymous | Standing::Newcomer));
        let scale = view.share_scale.max(1.0);
        self.demand.add(standing, view.pace_per_s / scale, view.rate_per_s / scale, cost);
    }

    /// Counts a refusal by threshold or share.
    pub fn note_held_back(&mut self, standing: Standing) {
        self.held_back[standing.index()] += 1;
    }

    /// Counts an answer of the upstream.
    pub fn note_completed(&mut self, rtt: Duration, cost: f32) {
        self.completed += 1;
        self.completed_cost += cost;
        self.rtt.add(rtt.div_f32(cost.max(COST_LEAST)));
    }

    /// Adds the counters of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.offered.iter_mut().zip(&other.offered) {
            *a += b;
        }
        for (a, b) in self.held_back.iter_mut().zip(&other.held_back) {
            *a += b;
        }
        self.births += other.births;
        self.turned_away += other.turned_away;
        self.admitted += other.admitted;
        self.lanes_refused += other.lanes_refused;
        self.lanes_shed += other.lanes_shed;
        self.completed += other.completed;
        self.completed_cost += other.completed_cost;
        self.errors += other.errors;
        self.demand.merge(&other.demand);
        self.rtt.merge(&other.rtt);
        self.inflight.merge(other.inflight);
        self.queued.merge(other.queued);
        self.samples.merge(&other.samples);
        self.sign_ins.merge(&other.sign_ins);
        self.room.merge(&other.room);
    }

    /// Sets all to nothing; keeps the memory.
    pub fn clear(&mut self) {
        let mut samples = core::mem::take(&mut self.samples);
        let mut sign_ins = core::mem::take(&mut self.sign_ins);
        samples.clear();
        sign_ins.clear();
        *self = Self { samples, sign_ins, ..Self::default() };
    }
}

/// Counters of all services over a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Length of the span.
    pub span: Duration,
    /// By [`ServiceId::index`].
    pub services: Vec<ServiceWindow>,
    /// Connections that failed or stall, a few of them.
    pub connections: SampleBag,
    /// How late the workers came to what was due.
    pub lateness: Lateness,
}

impl Window {
    /// Empty counters for this many services.
    #[must_use]
    pub fn new(services: usize) -> Self {
        Self {
            span: Duration::ZERO,
            services: vec![ServiceWindow::default(); services],
            connections: SampleBag::default(),
            lateness: Lateness::default(),
        }
    }

    /// The counters of a service.
    pub fn service(&mut self, service: ServiceId) -> Option<&mut ServiceWindow> {
        self.services.get_mut(service.index())
    }

    /// Adds the counters of another worker over the same span.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.services.iter_mut().zip(&other.services) {
            a.merge(b);
        }
        self.connections.merge(&other.connections);
        self.lateness.merge(&other.lateness);
        self.span = self.span.max(other.span);
    }

    /// Sets all to nothing; keeps the memory.
    pub fn clear(&mut self) {
        self.span = Duration::ZERO;
        self.connections.clear();
        self.lateness = Lateness::default();
        for service in &mut self.services {
            service.clear();
        }
    }
}
