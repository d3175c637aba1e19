//! Which routes there are, in which state, and what is to be done next. Does nothing by itself: time is an argument,
//! and what is to be told comes out as jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::bounds::{HAND_ON_ENDED_MAX, HAND_ON_ROUTES_MAX};
use serde::Serialize;

use super::journal::Outstanding;
use super::route::{Route, Then};
use super::tell::Untold;
use crate::config::{HandOn, HandOnAction};

/// How long a proposal waits for the operator.
const PROPOSAL_LIFE: Duration = Duration::from_secs(600);
/// What the operator took back is not proposed again by itself for this long.
const DECLINED_FOR: Duration = Duration::from_secs(600);
/// The pause after a withdrawal that failed doubles up to this.
const PAUSE_LONGEST: Duration = Duration::from_secs(60);

/// Where a route stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Waits for the operator.
    Proposed,
    /// The target is being told.
    Announcing,
    /// Announced.
    Standing,
    /// To be withdrawn, or being so.
    Withdrawing,
    /// Over.
    Ended,
}

impl State {
    /// All states.
    pub(crate) const ALL: [Self; 5] =
        [Self::Proposed, Self::Announcing, Self::Standing, Self::Withdrawing, Self::Ended];

    /// The name used in metrics and JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Announcing => "announcing",
            Self::Standing => "standing",
            Self::Withdrawing => "withdrawing",
            Self::Ended => "ended",
        }
    }
}

/// A route as the operator sees it. Field names are an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteView {
    /// Its number on this node.
    pub id: u32,
    /// Name of the target.
    pub target: String,
    /// `proposed`, `announcing`, `standing`, `withdrawing` or `ended`.
    pub state: &'static str,
    /// What is asked for, in words.
    pub route: String,
    /// Why.
    pub because: String,
    /// Whether nothing is announced in truth.
    pub dry_run: bool,
    /// Seconds until it is withdrawn, or until the proposal is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_in_s: Option<u64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it ended, or will end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
}

/// One route and its state.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) target: Arc<HandOn>,
    pub(super) route: Route,
    pub(super) state: State,
    because: String,
    /// Whether it ends with the verdict.
    with_verdict: bool,
    /// How long it stands.
    stands: Duration,
    /// When the state must change by itself at the latest.
    until: Moment,
    announced: Moment,
    next_try: Moment,
    failures: u32,
    busy: bool,
    error: Option<String>,
    ended: Option<&'static str>,
}

/// What is to be told to a target.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) announce: bool,
    pub(super) target: Arc<HandOn>,
    pub(super) route: Route,
    pub(super) for_s: u64,
}

/// A route that somebody wants, after its checks.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) target: Arc<HandOn>,
    pub(super) route: Route,
    pub(super) because: String,
    pub(super) with_verdict: bool,
    /// `None`: as the target says.
    pub(super) stands: Option<Duration>,
    /// Whether the program wants it, not a person.
    pub(super) by_itself: bool,
}

/// All routes.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    ended: VecDeque<Entry>,
    last_id: u32,
}

impl Book {
    /// A book whose routes are withdrawn, from what a former process left; `target` finds one by name.
    pub(super) fn after(left: Vec<Outstanding>, target: impl Fn(&str) -> Arc<HandOn>, now: Moment) -> Self {
        let mut book = Self::default();
        for one in left.into_iter().take(HAND_ON_ROUTES_MAX) {
            let because = "left over from before the start".to_owned();
            let mut entry = book.entry(target(&one.target), one.route, because, now);
            entry.state = State::Withdrawing;
            entry.ended = Some("left over from before the start");
            book.entries.push(entry);
        }
        book
    }

    fn entry(&mut self, target: Arc<HandOn>, route: Route, because: String, now: Moment) -> Entry {
        self.last_id += 1;
        Entry {
            id: self.last_id,
            stands: target.ttl,
            target,
            route,
            state: State::Proposed,
            because,
            with_verdict: false,
            until: now.after(PROPOSAL_LIFE),
            announced: now,
            next_try: now,
            failures: 0,
            busy: false,
            error: None,
            ended: None,
        }
    }

    /// Takes a route in: it waits for the operator, unless its target waives that. The same again is the one there is.
    ///
    /// # Errors
    /// There is no room, or it was taken back not long ago.
    pub(super) fn propose(&mut self, wanted: Wanted, now: Moment) -> Result<u32, String> {
        let same = |entry: &&Entry| entry.target.name == wanted.target.name && entry.route == wanted.route;
        if let Some(there) = self.entries.iter().find(same) {
            if there.state == State::Withdrawing {
                return Err(format!("it is being withdrawn as number {}; try again in a moment", there.id));
            }
            return Ok(there.id);
        }
        let declined = |entry: &Entry| entry.ended == Some("operator") && entry.until > now;
        if wanted.by_itself && self.ended.iter().filter(same).any(declined) {
            return Err("the operator took it back not long ago".to_owned());
        }
        let of_target = self.entries.iter().filter(|entry| entry.target.name == wanted.target.name).count();
        if of_target >= wanted.target.routes_max {
            let most = wanted.target.routes_max;
            return Err(format!("{} has its {most} routes (routes_max); withdraw one first", wanted.target.name));
        }
        if self.entries.len() >= HAND_ON_ROUTES_MAX {
            return Err(format!("there are {HAND_ON_ROUTES_MAX} routes already; withdraw one first"));
        }
        let stands = wanted.stands.unwrap_or(wanted.target.ttl);
        let waits = wanted.target.confirm;
        let entry = self.entry(wanted.target, wanted.route, wanted.because, now);
        let entry = Entry { with_verdict: wanted.with_verdict, stands, ..entry };
        let id = entry.id;
        self.entries.push(entry);
        if !waits {
            self.confirm(id, now);
        }
        Ok(id)
    }

    /// Lets a proposal be announced; a route that stands stands as long again. Whether there is such a one.
    pub(super) fn confirm(&mut self, id: u32, now: Moment) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return false };
        match entry.state {
            State::Proposed => {
                entry.state = State::Announcing;
                entry.until = now.after(entry.stands);
                true
            }
            State::Standing => {
                entry.until = now.after(entry.stands);
                true
            }
            State::Announcing => true,
            State::Withdrawing | State::Ended => false,
        }
    }

    /// Ends a route for a reason. Whether there is such a one.
    pub(super) fn withdraw(&mut self, id: u32, why: &'static str, now: Moment) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return false };
        entry.withdraw(why, now);
        true
    }

    /// Ends all routes for a reason.
    pub(super) fn withdraw_all(&mut self, why: &'static str, now: Moment) {
        self.entries.iter_mut().for_each(|entry| entry.withdraw(why, now));
    }

    /// Ends what is over by time or with the verdict, and what its target may not be asked for any more.
    pub(super) fn tick(&mut self, now: Moment, line_full: bool, allowed: impl Fn(&Route) -> bool) {
        for entry in &mut self.entries {
            let stayed = entry.state == State::Proposed || now >= entry.announced.after(entry.target.stay);
            if entry.until <= now {
                entry.withdraw("its time is over", now);
            } else if !allowed(&entry.route) {
                entry.withdraw("the configuration does not allow it any more", now);
            } else if entry.with_verdict && !line_full && stayed {
                entry.withdraw("the line is not full any more", now);
            }
        }
        self.sweep(now);
    }

    /// Moves what is over to those that are only told of.
    fn sweep(&mut self, now: Moment) {
        let (over, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.state == State::Ended);
        self.entries = on;
        for mut entry in over {
            entry.until = now.after(DECLINED_FOR);
            self.ended.push_front(entry);
        }
        self.ended.truncate(HAND_ON_ENDED_MAX);
    }

    /// What is to be told now. Each is in hand until [`Self::done`] tells what became of it.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Job> {
        let mut jobs = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| !entry.busy && entry.next_try <= now) {
            let announce = match entry.state {
                State::Announcing => true,
                State::Withdrawing => false,
                State::Proposed | State::Standing | State::Ended => continue,
            };
            entry.busy = true;
            let for_s = entry.until.since(now).as_secs();
            let (target, route) = (entry.target.clone(), entry.route.clone());
            jobs.push(Job { id: entry.id, announce, target, route, for_s });
        }
        jobs
    }

    /// What became of a job; the route as it is now.
    pub(super) fn done(&mut self, id: u32, announce: bool, outcome: Result<(), Untold>, now: Moment) -> Option<Entry> {
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        entry.busy = false;
        match (announce, outcome) {
            (true, Ok(())) => {
                entry.announced = now;
                entry.error = None;
                // It may have been ordered back while the target was being told.
                if entry.state == State::Announcing {
                    entry.state = State::Standing;
                }
            }
            (true, Err(untold)) => {
                entry.error = Some(untold.why);
                entry.ended.get_or_insert("the target was not told");
                // Who may have heard must hear that it is over.
                entry.state = if untold.maybe { State::Withdrawing } else { State::Ended };
            }
            (false, Ok(())) => {
                entry.error = None;
                entry.state = State::Ended;
            }
            (false, Err(untold)) => {
                entry.error = Some(untold.why);
                entry.failures = entry.failures.saturating_add(1);
                let pause = Duration::from_secs(1 << entry.failures.min(6)).min(PAUSE_LONGEST);
                entry.next_try = now.after(pause);
            }
        }
        let entry = entry.clone();
        self.sweep(now);
        Some(entry)
    }

    /// One of the routes, or of those that ended of late.
    pub(super) fn find(&self, id: u32) -> Option<&Entry> {
        self.entries.iter().chain(&self.ended).find(|entry| entry.id == id)
    }

    /// What may stand at targets: what the next start must withdraw if this process dies now.
    pub(super) fn outstanding(&self) -> Vec<Outstanding> {
        let may_stand = |entry: &&Entry| {
            !entry.target.dry_run && matches!(entry.state, State::Announcing | State::Standing | State::Withdrawing)
        };
        let outstanding = |entry: &Entry| Outstanding { target: entry.target.name.clone(), route: entry.route.clone() };
        self.entries.iter().filter(may_stand).map(outstanding).collect()
    }

    /// Whether nothing stands and nothing waits to be told.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.state == State::Proposed)
    }

    /// All as the operator sees them.
    pub(super) fn views(&self, now: Moment) -> Vec<RouteView> {
        self.entries.iter().chain(&self.ended).map(|entry| entry.view(now)).collect()
    }

    /// Routes that should be gone and are not, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        let failing = self.entries.iter().filter(|entry| entry.state == State::Withdrawing && entry.failures > 0);
        failing
            .map(|entry| {
                let error = entry.error.as_deref().unwrap_or_default();
                format!("{} could not be withdrawn at {}: {error}", entry.route, entry.target.name)
            })
            .collect()
    }
}

impl Entry {
    fn withdraw(&mut self, why: &'static str, now: Moment) {
        match self.state {
            State::Proposed => (self.state, self.ended) = (State::Ended, Some(why)),
            // Nothing was told yet, or the target is being told just now and must be told again.
            State::Announcing if !self.busy => (self.state, self.ended) = (State::Ended, Some(why)),
            State::Announcing | State::Standing => {
                (self.state, self.ended, self.next_try) = (State::Withdrawing, Some(why), now);
            }
            State::Withdrawing | State::Ended => {}
        }
    }

    /// As the operator sees it.
    pub(super) fn view(&self, now: Moment) -> RouteView {
        let waits = matches!(self.state, State::Proposed | State::Announcing | State::Standing);
        RouteView {
            id: self.id,
            target: self.target.name.clone(),
            state: self.state.name(),
            route: self.route.to_string(),
            because: self.because.clone(),
            dry_run: self.target.dry_run,
            ends_in_s: waits.then(|| self.until.since(now).as_secs()),
            error: self.error.clone(),
            ended: self.ended,
        }
    }
}

/// The action of a target as part of a route.
pub(super) const fn then(target: &HandOn) -> Then {
    match target.action {
        HandOnAction::Blackhole(next_hop) => Then::Blackhole { next_hop },
        HandOnAction::Discard => Then::Discard,
        HandOnAction::Limit(bytes_per_s) => Then::Limit { bytes_per_s },
    }
}
