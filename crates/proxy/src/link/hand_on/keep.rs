//! The loop that keeps routes: orders, time and the verdict go in; targets are told, the journal is written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::bounds::HAND_ON_ROUTES_MAX;
use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};

use super::book::{Book, Entry, Job, State, Wanted, then};
use super::journal::{self, Outstanding};
use super::route::{Protocol, Route};
use super::tell::{Untold, tell};
use super::{Answer, HandOnOrder, Ordered, Proposal, Refused};
use crate::clock;
use crate::config::{self, HandOn, HandOnAction, HandOnWay};
use crate::link::Link;
use crate::setup::Setup;

/// How often time and the verdict are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// A target that failed is asked for nothing by itself for this long.
const PAUSE: Duration = Duration::from_secs(60);

/// What became of a job: which route, whether it was an announcement, how it went.
type Done = (u32, bool, Result<(), Untold>);

struct Keeper<'a> {
    link: &'a Link,
    setups: watch::Receiver<Arc<Setup>>,
    book: Book,
    journal: Journal,
    done: mpsc::Sender<Done>,
    waiting: Vec<(u32, oneshot::Sender<Answer>)>,
    /// What a target said last that it could not do, and when.
    failures: Vec<(String, String, Moment)>,
}

/// The journal: what is in it, and whether it can be written.
#[derive(Default)]
struct Journal {
    written: Vec<Outstanding>,
    trouble: Option<String>,
    /// A file that could not be read is not overwritten: it may name routes that stand.
    unreadable: bool,
}

/// Keeps routes until it is told to stop; then withdraws all, for at most `end_within`.
pub(in crate::link) async fn keep(
    link: &Link,
    setups: watch::Receiver<Arc<Setup>>,
    mut orders: mpsc::Receiver<Ordered>,
    mut stopped: watch::Receiver<bool>,
    end_within: Duration,
) {
    let (done, mut outcomes) = mpsc::channel(HAND_ON_ROUTES_MAX);
    let config = setups.borrow().config.link.clone();
    let (book, journal) = begin(&config);
    let mut keeper = Keeper { link, setups, book, journal, done, waiting: Vec::new(), failures: Vec::new() };
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut stopping: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            Some((order, answer)) = orders.recv() => keeper.obey(order, answer, stopping.is_some()),
            Some(outcome) = outcomes.recv() => keeper.note(outcome),
            _ = ticks.tick() => if stopping.is_none() { keeper.tick() },
            _ = stopped.changed(), if stopping.is_none() => {
                keeper.book.withdraw_all("the node ends", clock::now());
                stopping = Some(tokio::time::Instant::now() + end_within);
            }
        }
        keeper.act();
        if let Some(until) = stopping
            && (keeper.book.is_settled() || tokio::time::Instant::now() >= until)
        {
            return;
        }
    }
}

/// What a former process left is withdrawn first.
fn begin(config: &config::Link) -> (Book, Journal) {
    let left = config.journal.as_deref().map_or_else(|| Ok(Vec::new()), journal::read);
    let (left, trouble) = left.map_or_else(|trouble| (Vec::new(), Some(trouble)), |left| (left, None));
    for one in &left {
        eprintln!("guichet: hand-on: left over, is withdrawn at {}: {}", one.target, one.route);
    }
    if let Some(trouble) = &trouble {
        eprintln!("guichet: warning: hand-on: {trouble}");
    }
    let target =
        |name: &str| config.targets.iter().find(|target| target.name == name).cloned().unwrap_or_else(|| gone(name));
    let journal = Journal { written: left.clone(), unreadable: trouble.is_some(), trouble };
    (Book::after(left, target, clock::now()), journal)
}

/// Stands for a target that the configuration does not have any more: nobody can be told, which is told.
fn gone(name: &str) -> Arc<HandOn> {
    Arc::new(HandOn {
        name: name.to_owned(),
        way: HandOnWay::Command(Vec::new()),
        action: HandOnAction::Discard,
        propose_for: Vec::new(),
        ttl: Duration::ZERO,
        stay: Duration::ZERO,
        routes_max: 0,
        confirm: true,
        dry_run: false,
    })
}

impl Keeper<'_> {
    fn config(&self) -> config::Link {
        self.setups.borrow().config.link.clone()
    }

    /// Networks that may not be named as a source.
    fn spared(&self, config: &config::Link) -> Vec<IpNet> {
        let by_order = self.setups.borrow().signs.allowed.in_force(clock::now());
        config.spared.iter().copied().chain(by_order.into_iter().map(|allowed| allowed.network)).collect()
    }

    fn obey(&mut self, order: HandOnOrder, answer: oneshot::Sender<Answer>, stopping: bool) {
        let now = clock::now();
        let id = match self.id_of(order, stopping, now) {
            Ok(id) => id,
            Err(refused) => {
                // Nobody waiting for the answer any more is no error.
                let _ = answer.send(Err(refused));
                return;
            }
        };
        self.waiting.push((id, answer));
    }

    /// Carries out an order as far as that goes without a target.
    fn id_of(&mut self, order: HandOnOrder, stopping: bool, now: Moment) -> Result<u32, Refused> {
        let no = |id| Refused::NotThere(format!("there is no route {id} that this could be done with"));
        match order {
            HandOnOrder::Withdraw(id) => self.book.withdraw(id, "operator", now).then_some(id).ok_or_else(|| no(id)),
            _ if stopping => Err(Refused::Busy("the node is ending")),
            HandOnOrder::Confirm(id) => {
                let there = self.book.find(id).ok_or_else(|| no(id))?;
                self.check(&there.route).map_err(Refused::Bad)?;
                self.book.confirm(id, now).then_some(id).ok_or_else(|| no(id))
            }
            HandOnOrder::Propose(proposal) => self.propose(proposal, now),
        }
    }

    fn check(&self, route: &Route) -> Result<(), String> {
        let config = self.config();
        route.check(&config.own, &self.spared(&config))
    }

    fn propose(&mut self, proposal: Proposal, now: Moment) -> Result<u32, Refused> {
        let config = self.config();
        let Some(target) = config.targets.iter().find(|target| target.name == proposal.target) else {
            let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
            return Err(Refused::Bad(format!(
                "there is no [[hand_on]] {:?}, only: {}",
                proposal.target,
                names.join(", ")
            )));
        };
        let Proposal { to, from, protocol, port, for_s, because, .. } = proposal;
        let route = Route { to: to.trunc(), from: from.map(|from| from.trunc()), protocol, port, then: then(target) };
        route.check(&config.own, &self.spared(&config)).map_err(Refused::Bad)?;
        let wanted = Wanted {
            target: target.clone(),
            route,
            because,
            with_verdict: self.link.view().line_in_full,
            stands: for_s.map(Duration::from_secs),
            by_itself: false,
        };
        let id = self.book.propose(wanted, now).map_err(Refused::Bad)?;
        self.say(id);
        Ok(id)
    }

    /// Time passes; the verdict may propose or end.
    fn tick(&mut self) {
        let (now, config) = (clock::now(), self.config());
        let spared = self.spared(&config);
        let full = self.link.view().line_in_full;
        if full {
            for wanted in self.wanted(&config) {
                let failed = |target: &str, since: Moment| target == wanted.target.name && now.since(since) < PAUSE;
                let pausing = self.failures.iter().any(|(target, _, since)| failed(target, *since));
                if pausing || wanted.route.check(&config.own, &spared).is_err() {
                    continue;
                }
                let before = self.book.views(now).len();
                // No room, or taken back: then it is not proposed.
                if let Ok(id) = self.book.propose(wanted, now)
                    && self.book.views(now).len() > before
                {
                    self.say(id);
                }
            }
        }
        self.book.tick(now, full, |route| route.check(&config.own, &spared).is_ok());
    }

    /// What a full line suggests.
    fn wanted(&self, config: &config::Link) -> Vec<Wanted> {
        let mut all = Vec::new();
        let sources = if config.forwarded { Vec::new() } else { self.sources() };
        for target in &config.targets {
            for to in &target.propose_for {
                let mut add = |from: Option<IpNet>, because: String| {
                    let protocol = from.map(|_| Protocol::Tcp);
                    let route = Route { to: to.trunc(), from, protocol, port: None, then: then(target) };
                    all.push(Wanted {
                        target: target.clone(),
                        route,
                        because,
                        with_verdict: true,
                        stands: None,
                        by_itself: true,
                    });
                };
                match target.action {
                    HandOnAction::Blackhole(_) => add(None, "the line is full".to_owned()),
                    HandOnAction::Discard | HandOnAction::Limit(_) => {
                        for (from, because) in &sources {
                            if from.addr().is_ipv4() == to.addr().is_ipv4() {
                                add(Some(*from), because.clone());
                            }
                        }
                    }
                }
            }
        }
        all
    }

    /// Source prefixes of mitigations that limit or refuse: they completed TCP connections, so the addresses are true.
    fn sources(&self) -> Vec<(IpNet, String)> {
        let alive = self.setups.borrow().signs.book.alive();
        let acting = alive.iter().filter(|m| !m.dry_run && matches!(m.step, "limit" | "refuse"));
        acting
            .filter_map(|m| {
                let part = m.signature.iter().find(|part| part.dimension.starts_with("source"))?;
                let network = crate::identify::network(&part.value)?;
                Some((network, format!("the line is full, and mitigation {} found it at {}", m.id, m.service)))
            })
            .collect()
    }

    /// Tells targets what is due, once the journal says so.
    fn act(&mut self) {
        let now = clock::now();
        let jobs = self.book.due(now);
        self.write_journal();
        for job in jobs {
            let refused = self.journal.trouble.clone().filter(|_| job.announce && !job.target.dry_run);
            match refused {
                Some(why) => self.note((job.id, true, Err(Untold { why, maybe: false }))),
                None if job.target.dry_run => self.note((job.id, job.announce, Ok(()))),
                None => start(job, self.done.clone()),
            }
        }
        self.write_journal();
        self.publish(now);
    }

    /// Writes the journal where it is not what may stand.
    fn write_journal(&mut self) {
        let outstanding = self.book.outstanding();
        let config = self.config();
        if outstanding == self.journal.written || self.journal.unreadable {
            return;
        }
        let Some(path) = config.journal.as_deref().or((!outstanding.is_empty()).then_some(Path::new(""))) else {
            return;
        };
        match journal::write(path, &outstanding) {
            Ok(()) => (self.journal.written, self.journal.trouble) = (outstanding, None),
            Err(trouble) => {
                if self.journal.trouble.as_ref() != Some(&trouble) {
                    eprintln!("guichet: warning: hand-on: {trouble}");
                }
                self.journal.trouble = Some(trouble);
            }
        }
    }

    fn note(&mut self, (id, announce, outcome): Done) {
        let failed = outcome.as_ref().err().map(|untold| untold.why.clone());
        let Some(entry) = self.book.done(id, announce, outcome, clock::now()) else { return };
        let name = &entry.target.name;
        self.failures.retain(|(target, ..)| target != name);
        if let Some(why) = failed {
            self.failures.push((name.clone(), why, clock::now()));
        }
        self.say_entry(&entry);
    }

    /// Answers who waits, and shows all.
    fn publish(&mut self, now: Moment) {
        let book = &self.book;
        let under_way = |id: u32| {
            book.find(id).is_some_and(|entry| {
                // Withdrawals are tried again and again: who waits hears of the first failure.
                matches!(entry.state, State::Announcing | State::Withdrawing) && entry.view(now).error.is_none()
            })
        };
        for (id, answer) in self.waiting.extract_if(.., |(id, _)| !under_way(*id)) {
            let answered = match book.find(id).map(|entry| entry.view(now)) {
                Some(view) => view.error.clone().map_or(Ok(view), |error| Err(Refused::Failed(error))),
                None => Err(Refused::NotThere(format!("there is no route {id}"))),
            };
            // Nobody waiting any more is no error.
            let _ = answer.send(answered);
        }
        self.link.hand_on.routes.store(Arc::new(book.views(now)));
        let mut degraded = book.troubles();
        degraded.extend(self.journal.trouble.clone());
        let failures = self.failures.iter();
        degraded.extend(failures.map(|(target, why, _)| format!("{target} was not told what to hand on: {why}")));
        *self.link.hand_on.degraded.lock() = degraded;
    }

    fn say(&self, id: u32) {
        if let Some(entry) = self.book.find(id) {
            self.say_entry(entry);
        }
    }

    /// One line of the log.
    fn say_entry(&self, entry: &Entry) {
        let view = entry.view(clock::now());
        let mut line = format!("guichet: hand-on {} at {}: {}: {}", view.id, view.target, view.state, view.route);
        if view.dry_run {
            line += " (dry run)";
        }
        for (label, text) in
            [("because", Some(view.because.as_str())), ("ended", view.ended), ("error", view.error.as_deref())]
        {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                line += &format!("; {label}: {text}");
            }
        }
        if entry.state == State::Proposed {
            line += &format!("; `guichet hand-on confirm {}` announces it", view.id);
        }
        eprintln!("{line}");
    }
}

fn start(job: Job, done: mpsc::Sender<Done>) {
    tokio::task::spawn_local(async move {
        let outcome = tell(&job.target.way, job.announce, &job.route, job.id, job.for_s).await;
        // The keeper that is gone needs no outcome.
        let _ = done.send((job.id, job.announce, outcome)).await;
    });
}
