//! The thread of the brain: takes in what the workers counted, decides, publishes.

use std::sync::Arc;
use std::time::Duration;

use guichet_core::signs::{End, Event, Mitigation, SignsMode, Step};
use guichet_core::{Brain, Posture, Pressure, ServiceId, Standing, Window};
use tokio::sync::{mpsc, watch};

use super::handing::Handing;
use crate::clock;
use crate::record::metrics::Registry;
use crate::setup::Setup;
use crate::signs::{self, Lexicon, Order, Ordered};
use crate::worker::Report;

/// A tick comes when all workers have reported, or after this long: a worker that is stuck must not blind the brain.
const TICK_MAX: Duration = Duration::from_millis(150);

/// What reaches the brain.
pub(super) struct Inbox {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) orders: mpsc::Receiver<Ordered>,
    pub(super) setups: watch::Receiver<Arc<Setup>>,
}

/// Runs until all workers are gone.
pub(super) async fn run(inbox: Inbox, workers: usize, registry: Arc<Registry>) {
    let Inbox { mut reports, mut orders, mut setups } = inbox;
    let mut setup = setups.borrow_and_update().clone();
    let mut brain = Brain::new(&setup.brain);
    let mut lexicon = Lexicon::default();
    let mut handing = Handing::new(&setup);
    let mut round = Round::new(workers, &setup);
    let mut due = tokio::time::Instant::now() + TICK_MAX;
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(mut report) = report else { return };
                lexicon.learn(std::mem::take(&mut report.words));
                handing.take(std::mem::take(&mut report.noted), &setup.signs.kernel);
                if report.generation == setup.generation {
                    round.take(&report);
                }
            }
            Some((order, done)) = orders.recv() => {
                // Nobody listening for the answer any more is no error.
                let about = match order {
                    Order::Lift { network } => handing.lift(network, &setup.signs.kernel),
                    order => obey(&mut brain, order),
                };
                // It holds, and is seen to hold, from now on, not only from the next tick.
                setup.admission.posture.store(Arc::new(brain.posture(clock::now())));
                handing.end_with(&tell(&setup, &mut brain, &lexicon, &registry), &setup.signs.kernel);
                let _ = done.send(about);
            }
            () = tokio::time::sleep_until(due) => {}
            changed = setups.changed() => {
                if changed.is_err() {
                    return;
                }
                let former = std::mem::replace(&mut setup, setups.borrow_and_update().clone());
                brain = heir(&brain, &former, &setup);
                round = Round::new(workers, &setup);
            }
        }
        let late = tokio::time::Instant::now() >= due;
        if round.complete() || late {
            due = tokio::time::Instant::now() + TICK_MAX;
            if let Some(window) = round.finish(&setup) {
                let posture = brain.tick(clock::now(), &window);
                show(&setup, &posture, &registry);
                handing.end_with(&tell(&setup, &mut brain, &lexicon, &registry), &setup.signs.kernel);
                handing.tick(&setup);
                setup.admission.posture.store(Arc::new(posture));
            }
        }
    }
}

/// A brain for a new configuration, which goes on with what the old one learned of services that stay.
fn heir(old: &Brain, former: &Setup, setup: &Setup) -> Brain {
    let mut brain = Brain::new(&setup.brain);
    brain.adopt_connections(old);
    for (to, service) in setup.config.services.iter().enumerate() {
        let from = former.config.services.iter().position(|before| before.name == service.name);
        if let Some(from) = from {
            brain.adopt(old, ServiceId(from as u16), ServiceId(to as u16));
        }
    }
    brain
}

/// Does what the operator orders; the mitigation it was about.
fn obey(brain: &mut Brain, order: Order) -> Option<u32> {
    let now = clock::now();
    let until = |for_s| now.after(Duration::from_secs(for_s));
    match order {
        Order::Pin { id, step, for_s } => brain.pin(id, step, now, until(for_s)).then_some(id),
        Order::Add { service, signature, step, for_s } => brain.order(service, signature, step, now, until(for_s)),
        Order::End { id } => brain.end(id, now, None).then_some(id),
        Order::Forbid { id, for_s } => brain.end(id, now, Some(until(for_s))).then_some(id),
        Order::Lift { .. } => None,
    }
}

/// Says in the log what befell mitigations, and publishes those there are. Those that were wrong.
fn tell(setup: &Setup, brain: &mut Brain, lexicon: &Lexicon, registry: &Registry) -> Vec<u32> {
    let mut wrong = Vec::new();
    let now = clock::now();
    let seen = |m: &Mitigation| {
        let service = setup.config.services.get(m.service.index());
        let connections = (signs::CONNECTIONS, setup.config.mitigations.connections);
        let (name, mode) = service.map_or(connections, |service| (service.name.as_str(), service.mitigations));
        signs::view(m, name, mode == SignsMode::DryRun, now, lexicon)
    };
    for event in brain.take_events() {
        let (Event::Born(m) | Event::Stepped(m, _) | Event::Ended(m, _)) = &event;
        let view = seen(m);
        eprintln!("guichet: {}", signs::told(&event, &view));
        if let Event::Ended(_, why) = event {
            if matches!(why, End::Operator | End::Collateral) {
                wrong.push(view.id);
            }
            setup.signs.book.note_end(view, why);
        }
    }
    let mut steps = vec![[0_u32; Step::ALL.len()]; setup.service_slots.len()];
    let mut of_connections = [0_u32; Step::ALL.len()];
    for m in brain.mitigations() {
        if m.service == ServiceId::DOOR {
            of_connections[m.step as usize] += 1;
        }
        if let Some(of_service) = steps.get_mut(m.service.index()) {
            of_service[m.step as usize] += 1;
        }
    }
    for (slot, steps) in setup.service_slots.iter().zip(&steps) {
        registry.admission(*slot).set_mitigations(steps);
    }
    registry.set_connection_mitigations(&of_connections);
    setup.signs.book.publish(brain.mitigations().map(seen).collect());
    wrong
}

/// What came in since the last tick.
struct Round {
    window: Window,
    spans: Vec<Duration>,
}

impl Round {
    fn new(workers: usize, setup: &Setup) -> Self {
        Self { window: Window::new(setup.config.services.len()), spans: vec![Duration::ZERO; workers] }
    }

    fn take(&mut self, report: &Report) {
        // A worker that was late may report twice in one round: its spans add up, those of different workers overlap.
        if let Some(span) = self.spans.get_mut(report.worker) {
            *span += report.window.span;
            self.window.merge(&report.window);
        }
    }

    fn complete(&self) -> bool {
        self.spans.iter().all(|span| !span.is_zero())
    }

    fn finish(&mut self, setup: &Setup) -> Option<Window> {
        let span = self.spans.iter().max().copied().unwrap_or_default();
        if span.is_zero() {
            return None;
        }
        self.spans.fill(Duration::ZERO);
        let mut window = std::mem::replace(&mut self.window, Window::new(setup.config.services.len()));
        window.span = span;
        Some(window)
    }
}

/// Shows in the metrics what was decided.
fn show(setup: &Setup, posture: &Posture, registry: &Registry) {
    for (position, (rules, slot)) in posture.services.iter().zip(&setup.service_slots).enumerate() {
        let gauges = registry.admission(*slot);
        let (in_flight, queued) = setup.admission.levels(position);
        gauges.set_limit(f64::from(rules.limit));
        gauges.set_in_flight(f64::from(in_flight));
        gauges.set_queued(queued as f64);
        gauges.set_fair_rate(f64::from(rules.tier(Standing::Anonymous).share_per_s));
        gauges.set_pressure(pressure_share(rules.pressure));
    }
    registry.set_strain(posture.strain);
    let now = clock::now();
    for (pool, slots) in setup.pools.iter().zip(&setup.server_slots) {
        for (server, slot) in slots.iter().enumerate() {
            let health = registry.upstream_health(*slot);
            health.set_healthy(pool.is_healthy(server));
            health.set_ejected(pool.is_ejected(server, now));
        }
    }
}

/// Pressure as a number for gauges: 0, a half, 1.
pub(super) const fn pressure_share(pressure: Pressure) -> f64 {
    match pressure {
        Pressure::Calm => 0.0,
        Pressure::Elevated => 0.5,
        Pressure::Pressed => 1.0,
    }
}
