//! The concurrency limit against simulated upstreams: fixed workers, changing capacity, slow service, collapse.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use guichet_core::sim::{Arrival, Rng, Upstream, UpstreamModel};
use guichet_core::{Gauge, Level, Limiter, LimiterConfig, LimiterSample, Moment, RttHistogram};

/// A stretch of the play: how long, how many requests a second, with how many workers and seconds of work.
#[derive(Clone, Copy)]
struct Stretch {
    seconds: f64,
    arrivals_per_s: f64,
    workers: u32,
    cost_s: f64,
}

/// What the second half of a stretch looked like.
#[derive(Debug)]
struct Seen {
    limit_min: u32,
    limit_mean: f64,
    limit_max: u32,
    answers_per_s: f64,
}

struct Bench {
    rng: Rng,
    upstream: Upstream,
    limiter: Limiter,
    events: BinaryHeap<Reverse<(u64, u8, u32)>>,
    queue: VecDeque<u32>,
    started: Vec<u64>,
    cost_s: f64,
    spread: bool,
    inflight: Gauge,
    queued: Gauge,
    rtt: RttHistogram,
    completed: u32,
    errors: u32,
}

const ARRIVAL: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;
const TICK: u8 = 3;
const TICK_US: u64 = 100_000;

impl Bench {
    fn start(&mut self, now: u64, request: u32) {
        self.inflight.up(Moment(now));
        self.started[request as usize] = now;
        let cost = if self.spread { self.rng.exponential(1.0).clamp(0.2, 4.0) } else { 1.0 } * self.cost_s;
        match self.upstream.arrive(request, cost) {
            Arrival::Begins(span) => self.events.push(Reverse((now + (span * 1e6) as u64, DONE, request))),
            Arrival::Waits => {}
            Arrival::Full => self.events.push(Reverse((now + 1000, FAILED, request))),
        }
    }

    fn fill(&mut self, now: u64) {
        while self.inflight.get() < self.limiter.limit() {
            let Some(request) = self.queue.pop_front() else { break };
            self.queued.set(Moment(now), self.queue.len() as u32);
            self.start(now, request);
        }
    }

    fn tick(&mut self, now: u64) -> u32 {
        let inflight = self.inflight.take(Moment(now));
        let queued = self.queued.take(Moment(now));
        let sample = LimiterSample {
            span: Duration::from_micros(TICK_US),
            completed: self.completed,
            errors: self.errors,
            rtt: &self.rtt,
            inflight,
            queued_max: queued.max,
        };
        let limit = self.limiter.update(&sample);
        self.rtt.clear();
        (self.completed, self.errors) = (0, 0);
        limit
    }
}

fn play(model: UpstreamModel, config: LimiterConfig, spread: bool, seed: u64, stretches: &[Stretch]) -> Vec<Seen> {
    let mut bench = Bench {
        rng: Rng::new(seed),
        upstream: Upstream::new(model),
        limiter: Limiter::new(config, 0),
        events: BinaryHeap::new(),
        queue: VecDeque::new(),
        started: Vec::new(),
        cost_s: 0.0,
        spread,
        inflight: Gauge::default(),
        queued: Gauge::default(),
        rtt: RttHistogram::default(),
        completed: 0,
        errors: 0,
    };
    bench.events.push(Reverse((0, ARRIVAL, 0)));
    bench.events.push(Reverse((TICK_US, TICK, 0)));
    let mut end = 0.0;
    let mut seen = Vec::new();
    for stretch in stretches {
        let half = end + stretch.seconds / 2.0;
        end += stretch.seconds;
        bench.upstream.set_workers(stretch.workers);
        bench.cost_s = stretch.cost_s;
        let (mut limits, mut answers) = (Vec::new(), 0_u32);
        while let Some(Reverse((now, kind, request))) = bench.events.pop() {
            let late = now as f64 / 1e6 >= half;
            match kind {
                ARRIVAL => {
                    let gap = bench.rng.exponential(1.0 / stretch.arrivals_per_s);
                    bench.events.push(Reverse((now + 1 + (gap * 1e6) as u64, ARRIVAL, 0)));
                    bench.started.push(0);
                    if bench.queue.len() < 32 {
                        bench.queue.push_back(bench.started.len() as u32 - 1);
                        bench.queued.set(Moment(now), bench.queue.len() as u32);
                    }
                }
                TICK => {
                    let limit = bench.tick(now);
                    bench.events.push(Reverse((now + TICK_US, TICK, 0)));
                    if late {
                        limits.push(limit);
                    }
                }
                _ => {
                    bench.inflight.down(Moment(now));
                    if kind == FAILED {
                        bench.errors += 1;
                    } else {
                        bench.completed += 1;
                        bench.rtt.add(Duration::from_micros(now - bench.started[request as usize]));
                        answers += u32::from(late);
                        if let Some((next, span)) = bench.upstream.finish() {
                            bench.events.push(Reverse((now + (span * 1e6) as u64, DONE, next)));
                        }
                    }
                }
            }
            bench.fill(now);
            if now as f64 / 1e6 >= end {
                break;
            }
        }
        seen.push(Seen {
            limit_min: limits.iter().copied().min().unwrap_or(0),
            limit_mean: limits.iter().map(|l| f64::from(*l)).sum::<f64>() / limits.len().max(1) as f64,
            limit_max: limits.iter().copied().max().unwrap_or(0),
            answers_per_s: f64::from(answers) / (stretch.seconds / 2.0),
        });
    }
    seen
}

const CONFIG: LimiterConfig = LimiterConfig { initial: 20, min: 2, max: 512 };

fn stretch(seconds: f64, load: f64, workers: u32, cost_s: f64) -> Stretch {
    Stretch { seconds, arrivals_per_s: load * f64::from(workers) / cost_s, workers, cost_s }
}

/// Every stretch must hold `limit` (as multiples of the workers) and answer this part of what it could.
fn check(name: &str, model: UpstreamModel, stretches: &[Stretch], limit: (f64, f64), goodput_min: f64) {
    for spread in [false, true] {
        for seed in 1..=3 {
            let seen = play(model, CONFIG, spread, seed, stretches);
            for (n, (seen, stretch)) in seen.iter().zip(stretches).enumerate() {
                let place = format!("{name}, stretch {n}, seed {seed}, spread {spread}: {seen:?}");
                let workers = f64::from(stretch.workers);
                // Costs are drawn between a fifth and four times the mean, which makes the mean 0.9986.
                let could = (workers / stretch.cost_s).min(stretch.arrivals_per_s);
                if stretch.arrivals_per_s > 1.5 * workers / stretch.cost_s {
                    assert!(seen.answers_per_s >= goodput_min * could, "{place}: of {could}");
                    assert!(seen.limit_mean >= limit.0 * workers, "too low: {place}");
                    assert!(seen.limit_mean <= (limit.1 * workers).max(workers + 6.0), "too high: {place}");
                    assert!(f64::from(seen.limit_max) <= (4.0 * workers).max(workers + 10.0), "too high: {place}");
                }
            }
        }
    }
}

#[test]
fn settles_between_one_and_two_times_the_workers_under_overload() {
    for workers in [4, 8, 16, 32, 100] {
        let plan = [stretch(20.0, 0.5, workers, 0.05), stretch(40.0, 3.0, workers, 0.05)];
        check("overload", UpstreamModel::steady(workers), &plan, (0.9, 2.0), 0.93);
    }
}

#[test]
fn overload_from_the_first_second_is_not_taken_for_normal() {
    let plan = [stretch(60.0, 4.0, 16, 0.05), stretch(120.0, 4.0, 16, 0.05)];
    check("from the first second", UpstreamModel::steady(16), &plan, (0.9, 2.5), 0.93);
}

#[test]
fn a_slow_upstream_makes_it_neither_drift_nor_collapse() {
    // Ten times slower from one moment to the next, with as many workers.
    let plan = [stretch(20.0, 2.0, 32, 0.03), stretch(80.0, 2.0, 32, 0.3)];
    check("slow", UpstreamModel::steady(32), &plan, (0.8, 2.5), 0.90);
    // And well again: all of the capacity is used at once. The limit may stay higher than need be (see the module's
    // documentation: the times then seen are all shorter than the baseline), which costs time, not answers.
    let plan = [plan[0], plan[1], stretch(30.0, 2.0, 32, 0.03)];
    for seed in 1..=3 {
        let seen = play(UpstreamModel::steady(32), CONFIG, true, seed, &plan);
        assert!(seen[2].answers_per_s >= 0.95 * 32.0 / 0.03, "seed {seed}: {seen:?}");
        assert!(seen[2].limit_max <= 6 * 32, "seed {seed}: {seen:?}");
    }
}

#[test]
fn follows_steps_of_capacity_both_ways() {
    let plan = [stretch(30.0, 2.0, 32, 0.05), stretch(100.0, 2.0, 8, 0.05), stretch(60.0, 2.0, 64, 0.05)];
    check("steps", UpstreamModel::steady(32), &plan, (0.8, 2.5), 0.90);
}

#[test]
fn keeps_the_goodput_of_an_upstream_that_collapses() {
    for workers in [8, 16, 64] {
        let plan = [stretch(20.0, 0.6, workers, 0.04), stretch(60.0, 5.0, workers, 0.04)];
        check("collapse", UpstreamModel::collapsing(workers), &plan, (0.9, 2.5), 0.95);
    }
}

#[test]
fn stays_where_it_is_while_there_is_room() {
    let plan = [stretch(60.0, 0.1, 32, 0.05)];
    for seed in 1..=3 {
        let seen = play(UpstreamModel::steady(32), CONFIG, true, seed, &plan);
        assert!(seen[0].limit_min >= 18 && seen[0].limit_max <= 40, "seed {seed}: {seen:?}");
    }
}

#[test]
fn a_service_that_hangs_does_not_take_the_limit_with_it() {
    let mut limiter = Limiter::new(LimiterConfig { initial: 64, min: 2, max: 256 }, 0);
    let mut rtt = RttHistogram::default();
    rtt.add(Duration::from_millis(20));
    let mut play = |seconds: u32, completed: u32, errors: u32| {
        for _ in 0..seconds * 10 {
            let inflight = Level { mean: limiter.limit() as f32, max: limiter.limit() };
            let span = Duration::from_millis(100);
            limiter.update(&LimiterSample { span, completed, errors, rtt: &rtt, inflight, queued_max: 5 });
        }
        limiter.limit()
    };
    let before = play(2, 40, 0);
    let hung = play(8, 10, 30);
    assert!(hung * 2 + 2 >= before && hung < before, "{before} -> {hung}");
    // What lasts is believed in the end.
    let lasting = play(30, 10, 30);
    assert!(lasting * 4 < before, "{lasting}");
    let back = play(8, 40, 0);
    assert!(back >= 2 * lasting, "{lasting} -> {back}");
}

#[test]
fn never_leaves_its_bounds() {
    let config = LimiterConfig { initial: 1000, min: 0, max: 24 };
    assert_eq!(Limiter::new(config, 0).limit(), 24);
    assert_eq!(Limiter::new(LimiterConfig { initial: 1, min: 1, max: 24 }, 10).limit(), 10);
    let plan = [stretch(30.0, 5.0, 64, 0.05), stretch(30.0, 5.0, 1, 0.05)];
    let seen = play(UpstreamModel::steady(64), LimiterConfig { initial: 8, min: 6, max: 24 }, true, 1, &plan);
    assert!(seen[0].limit_max <= 24 && seen[1].limit_min >= 6, "{seen:?}");
}
