//! How many requests an upstream can usefully hold at once: found, not configured.
//!
//! Vegas at heart (Brakmo, Peterson 1995): the excess q = L (1 - base / now) estimates what queues inside the upstream,
//! and L moves by log10 L so that q stays between two small bounds. Guards keep it honest where latency alone misleads:
//!
//! - times are means, because by Little's law the mean is what concurrency and throughput make; quantiles of a mix of
//!   cheap and costly operations say less;
//! - if a quarter less concurrency brought fewer answers rather than faster ones, the times are the upstream's own: the
//!   baseline is learned anew and L goes back up (neither a slow upstream nor a costlier mix makes it collapse);
//! - if throughput falls while concurrency grows, or is flat while times grow with it, L does not grow;
//! - L grows only when it is used, and at most to five times what is in flight;
//! - failures lower L by half at most within ten seconds: a service that hangs does so at any concurrency, and when it is
//!   back L must not be long in growing;
//! - the baseline ages upwards only while there is room, so that a lasting overload never becomes the normal.
//!
//! Known weakness: when an upstream gets much faster again amid an overload, L stays up to about five times the workers
//! for minutes, which costs time in the upstream but no answers.
//!
//! Concurrency is never pinned low to measure: the only test is a quarter less for about a second, once in two minutes of
//! overload, and whoever waits in the queue meanwhile keeps the place that its priority gives.

use core::time::Duration;
use std::collections::VecDeque;

use crate::bounds::{CONCURRENCY_LIMIT_MAX, LIMITER_HISTORY};
use crate::{Level, RttHistogram};

/// Bounds of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimiterConfig {
    /// Where it begins.
    pub initial: u32,
    /// Never below; the sum of the floors is another lower bound.
    pub min: u32,
    /// Never above; at most [`CONCURRENCY_LIMIT_MAX`].
    pub max: u32,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self { initial: 32, min: 2, max: 1024 }
    }
}

/// What was seen since the last tick.
#[derive(Clone, Copy, Debug)]
pub struct LimiterSample<'a> {
    /// Length of the span.
    pub span: Duration,
    /// Requests that the upstream answered as it should.
    pub completed: u32,
    /// Requests that failed for the upstream's fault.
    pub errors: u32,
    /// Times from sending to the first byte of the answer.
    pub rtt: &'a RttHistogram,
    /// Requests in flight.
    pub inflight: Level,
    /// The most that waited for a slot.
    pub queued_max: u32,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    inflight: f32,
    answers: f32,
    throughput: f32,
    rtt_s: f32,
}

/// Means over a few samples at one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    samples: f32,
    answers: f32,
    throughput: f32,
    rtt_s: f32,
}

impl Mean {
    fn add(&mut self, point: &Point) {
        self.samples += 1.0;
        self.answers += point.answers;
        self.throughput += (point.throughput - self.throughput) / self.samples;
        self.rtt_s += (point.rtt_s - self.rtt_s) / self.samples;
    }

    /// Enough to tell a fifth from noise, or as much as there is time for.
    fn is_enough(&self) -> bool {
        self.samples >= 2.0 && (self.answers >= 250.0 || self.samples >= 8.0)
    }
}

/// A run of decreases, in which each quarter must show that it made answers faster rather than fewer.
#[derive(Clone, Copy, Debug)]
enum Run {
    /// No run.
    None,
    /// What the limit gives before it is lowered.
    Measure(Mean),
    /// On the way down from this limit, where this was measured.
    Down(f32, Mean),
    /// A quarter lower: wait for the change to show, then measure.
    Settle { from: f32, before: Mean, skip: u8, after: Mean },
}

/// The limit of one upstream pool.
#[derive(Clone, Debug)]
pub struct Limiter {
    config: LimiterConfig,
    floor: f32,
    limit: f32,
    base_s: Option<f32>,
    smooth_s: Option<f32>,
    run: Run,
    history: VecDeque<Point>,
    rtt: RttHistogram,
    base_rtt: RttHistogram,
    base_span_s: f32,
    base_room: bool,
    since_judged_s: f32,
    /// How far failures may lower the limit, and for how long this holds already.
    failures_floor: f32,
    failures_run_s: f32,
    span_s: f32,
    completed: u32,
    errors: u32,
    inflight_area: f32,
    inflight_max: u32,
    queued_max: u32,
}

/// Samples with fewer answers than this are joined, up to [`SPAN_MAX_S`].
const COMPLETED_MIN: u32 = 30;
const SPAN_MAX_S: f32 = 1.0;
/// Answers from which the baseline is learned, or the longest wait for them.
const BASE_ANSWERS_MIN: u32 = 250;
const BASE_SPAN_MAX_S: f32 = 3.0;
/// The least of noisy means is below the true one: this much is forgiven. Too low a limit costs answers, one somewhat too
/// high only costs time.
const TOLERANCE: f32 = 1.1;
/// Under lasting overload the baseline is put to the test this often, by a quarter less concurrency for about a second.
const JUDGE_EVERY_S: f32 = 120.0;
/// Failures halve the limit at most once in this time.
const FAILURES_RUN_S: f32 = 10.0;

impl Limiter {
    /// A limit at its initial value. `floors_sum` is the sum of the reserved lanes.
    #[must_use]
    pub fn new(config: LimiterConfig, floors_sum: u32) -> Self {
        let max = config.max.clamp(1, CONCURRENCY_LIMIT_MAX);
        let config = LimiterConfig { max, min: config.min.clamp(1, max), ..config };
        let floor = config.min.max(floors_sum).min(max) as f32;
        Self {
            config,
            floor,
            limit: (config.initial as f32).clamp(floor, max as f32),
            base_s: None,
            smooth_s: None,
            run: Run::None,
            history: VecDeque::with_capacity(LIMITER_HISTORY),
            rtt: RttHistogram::default(),
            base_rtt: RttHistogram::default(),
            base_span_s: 0.0,
            base_room: true,
            since_judged_s: 0.0,
            failures_floor: 0.0,
            failures_run_s: FAILURES_RUN_S,
            span_s: 0.0,
            completed: 0,
            errors: 0,
            inflight_area: 0.0,
            inflight_max: 0,
            queued_max: 0,
        }
    }

    /// The limit now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// The mean time of an upstream that has room, as learned, in seconds; `None` before any answer.
    #[must_use]
    pub const fn base_rtt_s(&self) -> Option<f32> {
        self.base_s
    }

    /// Takes in one tick's sample and returns the limit.
    pub fn update(&mut self, sample: &LimiterSample<'_>) -> u32 {
        let span_s = sample.span.as_secs_f32();
        self.rtt.merge(sample.rtt);
        self.span_s += span_s;
        self.completed += sample.completed;
        self.errors += sample.errors;
        self.inflight_area += sample.inflight.mean * span_s;
        self.inflight_max = self.inflight_max.max(sample.inflight.max);
        self.queued_max = self.queued_max.max(sample.queued_max);
        let Some(mean) = self.rtt.mean() else { return self.step_without_answers() };
        // A change needs one time of the upstream to show: do not judge it before.
        let long_enough = self.span_s >= mean.as_secs_f32().min(2.0);
        if (self.completed + self.errors >= COMPLETED_MIN || self.span_s >= SPAN_MAX_S) && long_enough {
            self.step(mean.as_secs_f32().max(1e-6));
            self.forget();
        }
        self.limit()
    }

    /// Nothing came back. If that lasts while requests are out, nothing is learned and nothing is changed: deadlines
    /// will turn them into errors.
    fn step_without_answers(&mut self) -> u32 {
        if self.span_s >= 2.0 * SPAN_MAX_S {
            self.forget();
        }
        self.limit()
    }

    fn forget(&mut self) {
        self.rtt.clear();
        (self.span_s, self.inflight_area) = (0.0, 0.0);
        (self.completed, self.errors, self.inflight_max, self.queued_max) = (0, 0, 0, 0);
    }

    fn step(&mut self, rtt_s: f32) {
        let now_s = self.smoothed(rtt_s);
        let inflight = self.inflight_area / self.span_s.max(1e-6);
        let bound = self.queued_max > 0 || self.inflight_max as f32 >= 0.9 * self.limit;
        let base_s = self.learn_base(now_s, inflight);
        let answers = self.completed as f32;
        let point = Point { inflight, answers, throughput: answers / self.span_s.max(1e-6), rtt_s };
        self.remember(point);
        self.failures_run_s += self.span_s;
        if self.errors * 3 > self.completed + self.errors && bound {
            if self.failures_run_s >= FAILURES_RUN_S {
                (self.failures_floor, self.failures_run_s) = (self.limit / 2.0, 0.0);
            }
            self.set((self.limit * 0.9).max(self.failures_floor.min(self.limit)));
            return;
        }
        let ratio = (TOLERANCE * base_s / now_s).min(1.0);
        let excess = self.limit * (1.0 - ratio);
        let step = self.limit.log10().max(1.0);
        // Never finer than the noise of the baseline, which is in proportion to the limit.
        let low = (3.0 * step).max(self.limit * 0.1).min(self.limit / 4.0);
        let high = (6.0 * step).max(self.limit * 0.2).min(self.limit / 2.0);
        self.since_judged_s += self.span_s;
        // A run once begun goes on until the excess is gone; once in a while until it is seen to cost throughput, so that
        // a baseline taken amid a queue is found out.
        let due = self.since_judged_s >= JUDGE_EVERY_S;
        let goes_on = !matches!(self.run, Run::None) && (excess >= 0.5 * (low + high) || due);
        if !bound {
            self.run = Run::None;
        } else if excess > high || due || goes_on {
            // Far over, in proportion; near the mark, by the logarithm.
            let down = if excess > self.limit / 2.0 || due { step.max(self.limit * 0.1) } else { step };
            self.decrease(down, &point);
        } else if excess >= low {
            // Between the marks: up so slowly that it finds the upper one now and then.
            self.set(self.limit + 0.1 * step);
        } else if self.no_gain() {
            self.decrease(step, &point);
        } else {
            self.run = Run::None;
            let up = if ratio > 0.95 { step.max(self.limit * 0.05) } else { step };
            let used_max = (5.0 * inflight).max(self.limit);
            self.set((self.limit + up).min(used_max));
        }
    }

    /// Smooths noise away, more where fewer answers were seen.
    fn smoothed(&mut self, rtt_s: f32) -> f32 {
        let weight = (self.rtt.count() as f32 / 100.0).clamp(0.3, 1.0);
        let smooth_s = self.smooth_s.map_or(rtt_s, |s| s + (rtt_s - s) * weight);
        self.smooth_s = Some(smooth_s);
        smooth_s
    }

    /// The baseline is learned from many answers at once: the least of noisy means would be far too low.
    fn learn_base(&mut self, now_s: f32, inflight: f32) -> f32 {
        // The first answers are the shortest ones: nothing is kept before a whole span of them.
        let known = self.base_s.is_some();
        let mut base_s = self.base_s.unwrap_or(now_s);
        self.base_rtt.merge(&self.rtt);
        self.base_span_s += self.span_s;
        self.base_room &= inflight < 0.5 * self.limit && self.queued_max == 0;
        if self.base_rtt.count() >= BASE_ANSWERS_MIN || self.base_span_s >= BASE_SPAN_MAX_S {
            let now_s = self.base_rtt.mean().map_or(base_s, |t| t.as_secs_f32().max(1e-6));
            // Down in part; up slowly, and only while there is room.
            let up = if self.base_room { (self.base_span_s * 0.05).min(0.5) } else { 0.0 };
            let weight = if now_s < base_s { 0.3 } else { up };
            base_s = if known { base_s + (now_s - base_s) * weight } else { now_s };
            self.base_s = Some(base_s);
            self.forget_base_samples();
        }
        base_s
    }

    fn forget_base_samples(&mut self) {
        self.base_rtt.clear();
        (self.base_span_s, self.base_room) = (0.0, true);
    }

    fn decrease(&mut self, step: f32, point: &Point) {
        match &mut self.run {
            Run::None => self.run = Run::Measure(Mean::default()),
            Run::Measure(mean) => {
                mean.add(point);
                if mean.is_enough() {
                    self.run = Run::Down(self.limit, *mean);
                }
            }
            Run::Down(from, before) => {
                let (from, before) = (*from, *before);
                self.set(self.limit - step);
                if self.limit <= 0.75 * from {
                    self.run = Run::Settle { from, before, skip: 1, after: Mean::default() };
                }
            }
            Run::Settle { skip, .. } if *skip > 0 => *skip -= 1,
            Run::Settle { from, before, after, .. } => {
                after.add(point);
                if after.is_enough() {
                    let (from, before, after) = (*from, *before, *after);
                    self.judge(from, &before, after);
                }
            }
        }
    }

    /// By Little's law, concurrency is throughput times time: with less of it either the time falls, then there was a
    /// queue, or the throughput falls, then there was none, and the time is the upstream's own.
    fn judge(&mut self, from: f32, before: &Mean, after: Mean) {
        let fewer = (from / self.limit).ln();
        let faster = (before.rtt_s / after.rtt_s.max(1e-6)).ln() / fewer;
        let less = (before.throughput / after.throughput.max(1e-6)).ln() / fewer;
        self.smooth_s = Some(after.rtt_s);
        if faster + 1.0 - less > 1.0 {
            // There was a queue. Is there still one?
            let base_s = self.base_s.map_or(after.rtt_s, |b| b.min(after.rtt_s));
            let queued = TOLERANCE * base_s < 0.8 * after.rtt_s;
            let due = self.since_judged_s >= JUDGE_EVERY_S;
            self.run = if queued || due { Run::Down(self.limit, after) } else { Run::None };
            return;
        }
        // A verdict in the midst of a change can be wrong: one that raises the baseline much is looked at again soon.
        let rose = self.base_s.is_some_and(|b| after.rtt_s > 1.25 * b);
        self.since_judged_s = if rose { JUDGE_EVERY_S - 8.0 } else { 0.0 };
        (self.base_s, self.smooth_s) = (Some(after.rtt_s), Some(after.rtt_s));
        self.forget_base_samples();
        self.run = Run::None;
        self.history.clear();
        self.set(from);
    }

    fn set(&mut self, limit: f32) {
        self.limit = limit.clamp(self.floor, self.config.max as f32);
    }

    fn remember(&mut self, point: Point) {
        if self.history.len() >= LIMITER_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(point);
    }

    /// More concurrency brought less throughput, or the same and only longer times.
    fn no_gain(&self) -> bool {
        if self.history.len() < LIMITER_HISTORY / 2 {
            return false;
        }
        let series = |f: fn(&Point) -> f32| self.history.iter().map(f);
        let inflight = Moments::of(series(|p| p.inflight));
        let throughput = Moments::of(series(|p| p.throughput));
        let rtt = Moments::of(series(|p| p.rtt_s));
        if inflight.variation() < 0.05 {
            return false;
        }
        let with_throughput = self.correlation(|p| p.throughput, &inflight, &throughput);
        let with_rtt = self.correlation(|p| p.rtt_s, &inflight, &rtt);
        (with_throughput < -0.3 && with_rtt > 0.3)
            || (with_throughput < 0.3 && with_rtt > 0.5 && rtt.variation() > 0.05)
            || (throughput.variation() < 0.02 && with_rtt > 0.7 && rtt.variation() > 0.05)
    }

    fn correlation(&self, of: fn(&Point) -> f32, inflight: &Moments, other: &Moments) -> f32 {
        let n = self.history.len() as f32;
        let spread = inflight.deviation * other.deviation;
        if spread <= 0.0 {
            return 0.0;
        }
        let sum: f32 = self.history.iter().map(|p| (p.inflight - inflight.mean) * (of(p) - other.mean)).sum();
        sum / n / spread
    }
}

struct Moments {
    mean: f32,
    deviation: f32,
}

impl Moments {
    fn of(values: impl Iterator<Item = f32> + Clone) -> Self {
        let n = values.clone().count().max(1) as f32;
        let mean = values.clone().sum::<f32>() / n;
        let variance = values.map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
        Self { mean, deviation: variance.sqrt() }
    }

    fn variation(&self) -> f32 {
        if self.mean > 0.0 { self.deviation / self.mean } else { 0.0 }
    }
}
