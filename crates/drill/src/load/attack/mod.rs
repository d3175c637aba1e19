//! Attackers: open-loop, bounded, honouring nothing.
//!
//! Each wave has one pacer. It knows how many arrivals are due by now, gives each to the next source that has room, and
//! never sends more than the scenario allows. There is no task for a source, only for what is under way.

mod flood;
mod handshake;
mod reset;
mod slow;

use super::Ground;
use super::headers::{self, Request};
use super::record::AttackTally;
use super::tls::Who;
use super::wire::Route;
use crate::ops::{Asker, Op};
use crate::scenario::{Behaviour, Transport, Wave};
use crate::services::{self, SERVICES, host_of};
use crate::target::SourceAddr;
use guichet_core::bounds::DRILL_ATTACK_PER_TICK_MAX;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(4);
/// Sources looked at to find one with room.
const TRIES: usize = 4;
/// HTTP/2 streams of a source at once, for each of its connections.
const STREAMS_PER_CONNECTION: u32 = 16;

/// Plays every wave and returns the count of it all.
pub(super) async fn play(ground: Rc<Ground>) -> anyhow::Result<AttackTally> {
    let tally = Rc::new(RefCell::new(AttackTally::default()));
    tally.borrow_mut().sent_per_s = vec![0; ground.scenario.phases.total_ms().div_ceil(1000) as usize + 1];
    let left = Rc::new(Cell::new(ground.scenario.limits.attack_requests_max));
    let mut tasks = Vec::new();
    for (i, wave) in ground.scenario.waves.iter().enumerate() {
        let front = Front::new(&ground, wave, i as u64)?;
        let force = Rc::new(Force {
            ground: Rc::clone(&ground),
            wave: wave.clone(),
            front,
            until: ground.origin + Duration::from_millis(wave.until_ms),
            tally: Rc::clone(&tally),
            left: Rc::clone(&left),
            earned: Cell::new(0),
        });
        tasks.push(tokio::task::spawn_local(pace(force)));
    }
    for task in tasks {
        task.await?;
    }
    let result = tally.borrow().clone();
    Ok(result)
}

/// Where a wave's targets are.
struct Front {
    config: Option<Arc<ClientConfig>>,
    /// ClientHellos for a handshake flood.
    hellos: Vec<Vec<u8>>,
    hosts: Vec<(String, ServerName<'static>)>,
    draws: Cell<u64>,
}

impl Front {
    fn new(ground: &Ground, wave: &Wave, number: u64) -> anyhow::Result<Self> {
        let h2 = wave.look.transport == Transport::TlsHttp2;
        let tls = ground.tls.as_ref().filter(|_| wave.look.transport != Transport::Http1);
        let config = tls.map(|tls| tls.config(wave.look.tls, h2, Who::Attacker)).transpose()?;
        let mut hosts = Vec::new();
        for service in &SERVICES {
            let host = host_of(service.name);
            hosts.push((host.clone(), ServerName::try_from(host)?));
        }
        let mut hellos = Vec::new();
        if let (Behaviour::HandshakeFlood, Some(config)) = (wave.behaviour, &config) {
            for target in &wave.targets {
                let name = hosts[services::index_of(target.service).unwrap_or(0)].1.clone();
                hellos.extend(handshake::hellos(config, &name)?);
            }
        }
        Ok(Self { config, hellos, hosts, draws: Cell::new(ground.scenario.seed ^ (number << 32)) })
    }
}

/// One wave at work.
struct Force {
    ground: Rc<Ground>,
    wave: Wave,
    front: Front,
    until: Instant,
    tally: Rc<RefCell<AttackTally>>,
    /// Requests that the whole run may still send.
    left: Rc<Cell<u64>>,
    /// Passes that its sources have earned, or are about to.
    earned: Cell<u64>,
}

/// One attacking address.
struct Source {
    addr: SourceAddr,
    under_way: Cell<u32>,
    h1: RefCell<Vec<super::h1::H1>>,
    h2: RefCell<Option<super::h2::H2>>,
    raw: RefCell<Option<super::wire::Wire>>,
    next_stream: Cell<u32>,
    /// The pass that it earned, as a `Cookie` header has it.
    pass: RefCell<String>,
}

/// Counts an arrival of a source until it is over.
struct Busy(Rc<Source>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

async fn pace(force: Rc<Force>) {
    let wave = &force.wave;
    let start = force.ground.origin + Duration::from_millis(wave.from_ms);
    while Instant::now() < start && !force.ground.live.is_cancelled() {
        sleep_until(start.min(Instant::now() + Duration::from_millis(100))).await;
    }
    let sources: Vec<_> = (0..wave.sources.count()).map(|i| Rc::new(Source::new(wave.sources.addr(i)))).collect();
    let length_s = wave.length_ms as f64 / 1000.0;
    let offset_s = wave.offset_ms as f64 / 1000.0;
    let begun = wave.shape.due(offset_s, length_s);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut done, mut next) = (0_u64, 0_usize);
    while Instant::now() < force.until && !force.ground.live.is_cancelled() {
        let into_s = (Instant::now().saturating_duration_since(start)).as_secs_f64();
        let due = (wave.shape.due(offset_s + into_s, length_s) - begun).max(0.0) as u64;
        for _ in 0..due.saturating_sub(done).min(DRILL_ATTACK_PER_TICK_MAX) {
            if !force.arrive(&sources, &mut next) {
                return;
            }
        }
        done = due;
        ticks.tick().await;
    }
}

impl Source {
    fn new(addr: SourceAddr) -> Self {
        Self {
            addr,
            under_way: Cell::new(0),
            h1: RefCell::new(Vec::new()),
            h2: RefCell::new(None),
            raw: RefCell::new(None),
            next_stream: Cell::new(1),
            pass: RefCell::new(String::new()),
        }
    }
}

impl Force {
    /// One arrival. False when the run's allowance is spent.
    fn arrive(self: &Rc<Self>, sources: &[Rc<Source>], next: &mut usize) -> bool {
        let cost = if self.wave.behaviour == Behaviour::RapidReset { u64::from(self.wave.burst) } else { 1 };
        let Some(left) = self.left.get().checked_sub(cost) else { return false };
        let room = self.room();
        for _ in 0..TRIES.min(sources.len()) {
            let source = &sources[*next % sources.len()];
            *next = (*next + 1) % sources.len();
            if source.under_way.get() < room {
                self.left.set(left);
                source.under_way.set(source.under_way.get() + 1);
                let (force, busy) = (Rc::clone(self), Busy(Rc::clone(source)));
                tokio::task::spawn_local(async move {
                    let source = &busy.0;
                    force.act(source).await;
                });
                return true;
            }
        }
        self.tally.borrow_mut().held_back += 1;
        true
    }

    fn room(&self) -> u32 {
        let each = if self.wave.behaviour == Behaviour::Flood && self.wave.look.transport == Transport::TlsHttp2 {
            STREAMS_PER_CONNECTION
        } else {
            1
        };
        self.wave.connections_per_source * each
    }

    async fn act(&self, source: &Source) {
        match self.wave.behaviour {
            Behaviour::Flood => flood::act(self, source).await,
            Behaviour::SlowHeader => slow::header(self, source).await,
            Behaviour::SlowBody => slow::body(self, source).await,
            Behaviour::SlowRead => slow::read(self, source).await,
            Behaviour::Hoard => slow::hoard(self, source).await,
            Behaviour::HandshakeFlood => handshake::act(self, source).await,
            Behaviour::RapidReset => reset::act(self, source).await,
        }
    }

    /// Random bits that follow from the seed alone (SplitMix64).
    fn draw(&self) -> u64 {
        let state = self.front.draws.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.front.draws.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn request(&self, source: &Source) -> Request<'_> {
        let draw = self.draw();
        let op: &'static Op = self.wave.targets[(draw >> 40) as usize % self.wave.targets.len()];
        let mut ask = op.ask(&Asker { user: (draw >> 20) as u32 % 1000, draw, wrong_password: true });
        if self.wave.cache_busting {
            let mark = if ask.path.contains('?') { '&' } else { '?' };
            ask.path.push_str(&format!("{mark}_={:x}", self.draw()));
        }
        let service = services::index_of(op.service).unwrap_or(0);
        Request {
            op,
            method: op.method,
            ask,
            host: &self.front.hosts[service].0,
            lines: headers::lines(self.wave.look.headers, u32::from(source.addr.get())),
            extra: &self.wave.look.extra_headers,
            cookie: source.pass.borrow().clone(),
        }
    }

    /// The way to the service of an operation; none where the front does not offer it.
    fn route(&self, source: &Source, op: &Op) -> Option<Route> {
        let service = services::index_of(op.service)?;
        let (target, over_tls) = self.ground.targets.find(service, self.wave.look.transport)?;
        let config = self.front.config.as_ref().filter(|_| over_tls);
        let tls = config.map(|config| (Arc::clone(config), self.front.hosts[service].1.clone()));
        Some(Route { source: source.addr, target, tls, receive_buffer: None })
    }

    /// Whether one connection of a source serves every service: a front's does, a service's own does not.
    fn one_way(&self) -> bool {
        self.wave.targets.windows(2).all(|pair| pair[0].service == pair[1].service)
            || self.ground.targets.per_service.iter().all(Option::is_none)
    }

    fn sent(&self, count: u32) {
        let mut tally = self.tally.borrow_mut();
        tally.sent += u64::from(count);
        let second = Instant::now().saturating_duration_since(self.ground.origin).as_secs() as usize;
        if let Some(slot) = tally.sent_per_s.get_mut(second) {
            *slot += count;
        }
        self.ground.live.attack_sent.fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// An answer; `by_service`: of the service that was asked, not of the front.
    fn answered(&self, status: u16, by_service: bool) {
        let mut tally = self.tally.borrow_mut();
        tally.reached += u64::from(by_service);
        if (200..400).contains(&status) {
            tally.answered_2xx += 1;
        } else {
            tally.refused += 1;
        }
    }

    /// Whether it can pay for one more pass now; if so, it is counted.
    fn may_earn(&self) -> bool {
        let begun = self.ground.origin + Duration::from_millis(self.wave.from_ms);
        let into_s = Instant::now().saturating_duration_since(begun).as_secs_f64();
        let may = (self.earned.get() as f64) < self.wave.passes_per_s * into_s;
        self.earned.set(self.earned.get() + u64::from(may));
        may
    }

    fn failed(&self) {
        self.tally.borrow_mut().errors += 1;
    }

    fn connected(&self) {
        self.tally.borrow_mut().connections += 1;
    }

    fn cut(&self) {
        self.tally.borrow_mut().cut += 1;
    }

    /// How long something may take, from now: never beyond the end of the wave.
    fn at_most(&self, time: Duration) -> Instant {
        (Instant::now() + time).min(self.until)
    }
}
