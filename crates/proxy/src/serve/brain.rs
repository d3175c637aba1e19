//! The thread of the brain: takes in what the workers counted, decides, publishes.

use std::sync::Arc;
use std::time::Duration;

use guichet_core::{Brain, Posture, Pressure, Standing, Window};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::record::metrics::Registry;
use crate::setup::Setup;
use crate::worker::Report;

/// A tick comes when all workers have reported, or after this long: a worker that is stuck must not blind the brain.
const TICK_MAX: Duration = Duration::from_millis(150);

/// Runs until all workers are gone.
pub(super) async fn run(
    mut reports: mpsc::Receiver<Report>,
    mut setups: watch::Receiver<Arc<Setup>>,
    workers: usize,
    registry: Arc<Registry>,
) {
    let mut setup = setups.borrow_and_update().clone();
    let mut brain = Brain::new(&setup.brain);
    let mut round = Round::new(workers, &setup);
    let mut due = tokio::time::Instant::now() + TICK_MAX;
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(report) = report else { return };
                if report.generation == setup.generation {
                    round.take(&report);
                }
            }
            () = tokio::time::sleep_until(due) => {}
            changed = setups.changed() => {
                if changed.is_err() {
                    return;
                }
                setup = setups.borrow_and_update().clone();
                brain = Brain::new(&setup.brain);
                round = Round::new(workers, &setup);
            }
        }
        let late = tokio::time::Instant::now() >= due;
        if round.complete() || late {
            due = tokio::time::Instant::now() + TICK_MAX;
            if let Some(window) = round.finish(&setup) {
                let posture = brain.tick(clock::now(), &window);
                show(&setup, &posture, &registry);
                setup.admission.posture.store(Arc::new(posture));
            }
        }
    }
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
