//! The signs of one service: what is usual there, what comes now, and the mitigations that follow.

mod orders;
mod search;
mod sign_ins;

use core::time::Duration;
use std::collections::VecDeque;

use super::miner::measure;
use super::mitigation::{End, Event, InForce, Mitigation, Plight, Step};
use super::sample::Memory;
use super::{Dimension, Features, Sample, SignIn, Signature, SignsConfig, SignsMode};
use crate::bounds::{
    MITIGATIONS_PER_SERVICE_MAX, SAMPLES_CALM, SAMPLES_PER_TICK_MAX, SAMPLES_PROVEN, SAMPLES_RECENT_MAX, SIGN_INS_CALM,
    SIGN_INS_RECENT_MAX, SIGNATURES_REMEMBERED_MAX,
};
use crate::{Moment, Pressure, ServiceId};

/// Value of [`Dimension::Answer`] of a source whose last answers were client errors.
pub const ANSWER_CLIENT_ERRORS: u32 = 4;

/// Recent requests are looked at over these spans: the shortest that holds enough.
const SPANS_S: [f32; 3] = [1.0, 3.0, 10.0];
const SPAN_ENOUGH: usize = 512;
/// Samples of one tick while nothing is unusual.
const SAMPLES_IN_CALM: u32 = 16;
/// Between two searches, and between two looks at the evidence.
const SEARCH_INTERVAL: Duration = Duration::from_millis(300);
const REVIEW_INTERVAL: Duration = Duration::from_secs(1);
/// The memories of what is usual turn over within this time.
const TURNOVER_S: f32 = 600.0;
/// The usual rate is learned with this time constant.
const RATE_LEARN_S: f32 = 300.0;
/// Calm must have lasted this long to be learned from.
const CALM_AFTER: Duration = Duration::from_secs(2);
/// More than this multiple of what is usual, and so much more a second, is looked into even where nothing is pressed.
const UNUSUAL_FACTOR: f32 = 3.0;
const UNUSUAL_PER_S: f32 = 10.0;
/// Time constant of the rate of a mitigation.
const HIT_RATE_S: f32 = 0.5;

/// What the signs are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// What comes: requests, or connections that fail.
    Arrivals,
    /// Sign-ins that ended ([`super::SignIn`]): those that fail are the strangers, those that are right the people.
    SignIns,
}

impl Subject {
    /// Whether a mitigation is for what nothing else is for: the mark of a crowd, and the last resort at sign-ins.
    fn is_for_the_rest(self, mitigation: &Mitigation) -> bool {
        match self {
            Self::Arrivals => !mitigation.tells_who(),
            Self::SignIns => mitigation.signature.who().is_none(),
        }
    }
}

/// What one tick says of a service, beside the samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing {
    pub(crate) span: Duration,
    pub(crate) pressure: Pressure,
    /// Requests that no mitigation turned away were turned away all the same.
    pub(crate) turned_away: bool,
    pub(crate) capacity_per_s: f32,
    /// The node's own processors are full.
    pub(crate) strained: bool,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    at: Moment,
    sample: Sample,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    signature: Signature,
    step: Step,
    at: Moment,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSigns {
    service: ServiceId,
    subject: Subject,
    config: SignsConfig,
    calm: Memory,
    proven: Memory,
    recent: VecDeque<Recent>,
    /// Requests of strangers a second: usual, now; and of these, those with errors behind them. Of sign-ins: those that fail
    /// or were turned away, and of these, those that came to the service and failed.
    usual_per_s: f32,
    now_per_s: f32,
    errors_usual_per_s: f32,
    errors_now_per_s: f32,
    learned_s: f32,
    uncalm_at: Moment,
    /// Strangers' requests up to then were learned from, or never will be.
    learned_to: Moment,
    hurt_at: Option<Moment>,
    /// Since when far more fails at sign-ins than whatever is in force can be waited for.
    failing_since: Option<Moment>,
    searched_at: Moment,
    reviewed_at: Moment,
    mitigations: Vec<Mitigation>,
    remembered: Vec<Remembered>,
    /// What the operator wants no mitigation for, and until when.
    forbidden: Vec<(Signature, Moment)>,
}

impl ServiceSigns {
    pub(crate) fn new(service: ServiceId, subject: Subject, config: SignsConfig, seed: u64) -> Self {
        let (calm, proven) = match subject {
            Subject::Arrivals => (SAMPLES_CALM, SAMPLES_PROVEN),
            Subject::SignIns => (SIGN_INS_CALM, SIGN_INS_CALM),
        };
        Self {
            service,
            subject,
            config,
            calm: Memory::new(calm, TURNOVER_S, seed),
            proven: Memory::new(proven, TURNOVER_S, seed ^ 0x5EED),
            recent: VecDeque::new(),
            usual_per_s: 0.0,
            now_per_s: 0.0,
            errors_usual_per_s: 0.0,
            errors_now_per_s: 0.0,
            learned_s: 0.0,
            uncalm_at: Moment(0),
            learned_to: Moment(0),
            hurt_at: None,
            failing_since: None,
            searched_at: Moment(0),
            reviewed_at: Moment(0),
            mitigations: Vec::new(),
            remembered: Vec::new(),
            forbidden: Vec::new(),
        }
    }

    /// Goes on under another configuration, at another position.
    pub(crate) fn reconfigure(&mut self, service: ServiceId, config: SignsConfig) {
        (self.service, self.config) = (service, config);
        self.mitigations.iter_mut().for_each(|m| m.service = service);
    }

    pub(crate) const fn config(&self) -> &SignsConfig {
        &self.config
    }

    pub(crate) fn mitigations(&self) -> &[Mitigation] {
        &self.mitigations
    }

    pub(crate) fn mitigations_mut(&mut self) -> &mut Vec<Mitigation> {
        &mut self.mitigations
    }

    /// What the hot path acts upon; nothing in a dry run. Harshest first, so that the first match is the one to act on.
    pub(crate) fn in_force(&self) -> Vec<InForce> {
        if self.config.mode != SignsMode::On {
            return Vec::new();
        }
        let acted_on = self.mitigations.iter().filter(|m| m.step >= Step::Deprioritise);
        let mut all: Vec<InForce> = acted_on
            .map(|m| {
                // Where no page can be shown, a challenge would be a refusal.
                let milder = m.step == Step::Challenge && !self.config.challenges;
                let step = if milder { Step::Deprioritise } else { m.step };
                InForce {
                    id: m.id,
                    signature: m.signature,
                    step,
                    tells_who: m.tells_who(),
                    challenges: self.config.challenges,
                    sign_ins: self.is_of_sign_ins(),
                }
            })
            .collect();
        all.sort_by_key(|m| (core::cmp::Reverse(m.step), m.id));
        all
    }

    /// Requests of one tick that are wanted as samples: none where signatures are off, more while something is unusual.
    pub(crate) fn samples_per_tick(&self, pressure: Pressure) -> u32 {
        let alert = pressure != Pressure::Calm || !self.mitigations.is_empty() || self.is_unusual();
        match self.config.mode {
            SignsMode::Off => 0,
            SignsMode::On | SignsMode::DryRun if alert => SAMPLES_PER_TICK_MAX as u32,
            SignsMode::On | SignsMode::DryRun => SAMPLES_IN_CALM,
        }
    }

    /// Whether far more comes than usual.
    pub(crate) fn is_unusual(&self) -> bool {
        self.far_from(self.now_per_s, self.usual_per_s) || self.is_erring()
    }

    fn is_erring(&self) -> bool {
        self.far_from(self.errors_now_per_s, self.errors_usual_per_s)
    }

    fn far_from(&self, now_per_s: f32, usual_per_s: f32) -> bool {
        let beyond_per_s = if self.is_of_sign_ins() { sign_ins::UNUSUAL_PER_S } else { UNUSUAL_PER_S };
        self.learned_s > 2.0 && now_per_s > UNUSUAL_FACTOR * usual_per_s + beyond_per_s
    }

    fn is_of_sign_ins(&self) -> bool {
        self.subject == Subject::SignIns
    }

    /// Takes in the samples of a tick and moves everything on. `elsewhere`: people of proven standing over all services.
    pub(crate) fn tick(
        &mut self,
        now: Moment,
        doing: &Doing,
        samples: &[Sample],
        elsewhere: &[Features],
        next_id: &mut u32,
        events: &mut Vec<Event>,
    ) {
        let span_s = doing.span.as_secs_f32().max(1e-3);
        self.take_in(now, doing, samples, span_s);
        if doing.turned_away {
            self.hurt_at = Some(now);
        }
        let looks = self.config.mode != SignsMode::Off;
        let attacked = looks && (doing.pressure == Pressure::Pressed || self.is_unusual());
        let plight = Plight {
            attacked,
            hurting: self.hurt_at.is_some_and(|at| now.since(at) < Duration::from_secs(1)),
            erring: self.is_erring(),
            sign_ins: self.is_of_sign_ins(),
            last_resort: self.is_of_sign_ins() && self.is_far_beyond(),
            rate_per_s: self.now_per_s,
            capacity_per_s: doing.capacity_per_s,
            strained: doing.strained,
            challenges: self.config.challenges,
            collateral_max: self.config.collateral_max,
        };
        self.forbidden.retain(|(_, until)| now < *until);
        if attacked {
            self.recall(now, elsewhere, next_id, events);
            if now.since(self.searched_at) >= SEARCH_INTERVAL {
                self.searched_at = now;
                self.search(now, elsewhere, next_id, events);
            }
        }
        if looks && self.is_of_sign_ins() {
            self.consider_last_resort(now, elsewhere, next_id, events);
        }
        if !self.mitigations.is_empty() && now.since(self.reviewed_at) >= REVIEW_INTERVAL {
            self.reviewed_at = now;
            self.review(now, elsewhere);
        }
        self.advance(now, &plight, events);
    }

    fn take_in(&mut self, now: Moment, doing: &Doing, samples: &[Sample], span_s: f32) {
        let strangers = || samples.iter().filter(|s| s.is_stranger());
        let rate = strangers().map(|s| s.weight).sum::<f32>() / span_s;
        let of_sign_ins = self.is_of_sign_ins();
        let erring = |s: &&Sample| match of_sign_ins {
            true => SignIn::of(&s.features) == Some(SignIn::Failed),
            false => s.features.get(Dimension::Answer) == ANSWER_CLIENT_ERRORS,
        };
        let errors = strangers().filter(erring).map(|s| s.weight).sum::<f32>() / span_s;
        let weight = 1.0 - (-span_s / HIT_RATE_S).exp();
        self.now_per_s += (rate - self.now_per_s) * weight;
        self.errors_now_per_s += (errors - self.errors_now_per_s) * weight;
        self.follow_hits(samples, span_s, weight);
        if doing.pressure != Pressure::Calm || !self.mitigations.is_empty() || self.is_unusual() {
            self.uncalm_at = now;
        }
        let calm = now.since(self.uncalm_at) >= CALM_AFTER || self.uncalm_at == Moment(0);
        self.calm.regain(span_s);
        self.proven.regain(span_s);
        if !of_sign_ins {
            samples.iter().filter(|s| s.is_person()).for_each(|s| self.proven.learn(s));
        }
        self.learn_calm(now, calm);
        if calm {
            self.learned_s += span_s;
            let weight = (1.0 - (-span_s / RATE_LEARN_S).exp()).max(span_s / self.learned_s).min(1.0);
            self.usual_per_s += (rate - self.usual_per_s) * weight;
            self.errors_usual_per_s += (errors - self.errors_usual_per_s) * weight;
        }
        let looked_at = samples.iter().filter(|s| of_sign_ins || s.is_stranger());
        self.recent.extend(looked_at.map(|&sample| Recent { at: now, sample }));
        let bound = if of_sign_ins { SIGN_INS_RECENT_MAX } else { SAMPLES_RECENT_MAX };
        let surplus = self.recent.len().saturating_sub(bound);
        self.recent.drain(..surplus);
        while self.recent.front().is_some_and(|r| now.since(r.at).as_secs_f32() > SPANS_S[2]) {
            self.recent.pop_front();
        }
    }

    /// Learns what came a while ago, if it has been calm since: the first moments of an attack, before it is noticed, must
    /// not become what is usual.
    fn learn_calm(&mut self, now: Moment, calm: bool) {
        if !calm {
            self.learned_to = now;
            return;
        }
        let settled = Moment(now.0.saturating_sub(CALM_AFTER.as_micros() as u64));
        for recent in self.recent.iter().filter(|r| r.at > self.learned_to && r.at <= settled) {
            // Also who signs in rightly, else whoever guesses right now and then would count among people.
            let memory = if recent.sample.is_person() { &mut self.proven } else { &mut self.calm };
            memory.learn(&recent.sample);
        }
        self.learned_to = self.learned_to.max(settled);
    }

    fn follow_hits(&mut self, samples: &[Sample], span_s: f32, weight: f32) {
        let (others, subject) = (self.telling_who(), self.subject);
        for m in &mut self.mitigations {
            let hits = samples.iter().filter(|s| s.is_stranger() && m.signature.matches(&s.features));
            let for_the_rest = subject.is_for_the_rest(m);
            let hits = hits.filter(|s| !for_the_rest || !others.iter().any(|other| other.matches(&s.features)));
            let (mut all, mut failed) = (0.0, 0.0);
            hits.for_each(|s| {
                all += s.weight;
                failed += if SignIn::of(&s.features) == Some(SignIn::Failed) { s.weight } else { 0.0 };
            });
            m.hits += f64::from(all);
            m.rate_per_s += (all / span_s - m.rate_per_s) * weight;
            m.failed_per_s += (failed / span_s - m.failed_per_s) * weight;
        }
    }

    /// Adds one that is needed for so many requests a second; its id, unless all places are held by more needed ones.
    fn add(
        &mut self,
        mut born: Mitigation,
        needed_per_s: f32,
        next_id: &mut u32,
        events: &mut Vec<Event>,
    ) -> Option<u32> {
        if self.mitigations.len() >= MITIGATIONS_PER_SERVICE_MAX {
            // The least needed gives way, if it is less needed than this one; one that the operator holds does not.
            let least = self.mitigations.iter().enumerate().filter(|(_, m)| m.pinned_until.is_none());
            let least =
                least.min_by(|a, b| a.1.rate_per_s.total_cmp(&b.1.rate_per_s)).map(|(at, m)| (at, m.rate_per_s));
            let (at, rate) = least?;
            if rate >= needed_per_s {
                return None;
            }
            events.push(Event::Ended(self.mitigations.swap_remove(at), End::Displaced));
        }
        *next_id = next_id.wrapping_add(1).max(1);
        born.id = *next_id;
        events.push(Event::Born(born));
        self.mitigations.push(born);
        Some(born.id)
    }

    fn is_forbidden(&self, signature: &Signature) -> bool {
        self.forbidden.iter().any(|(forbidden, _)| forbidden == signature)
    }

    /// Brings the evidence of all mitigations up to date; what they covered at best stays told.
    fn review(&mut self, now: Moment, elsewhere: &[Features]) {
        let (recent, span_s) = self.lately(now, Sample::is_stranger);
        let mut mitigations = core::mem::take(&mut self.mitigations);
        let scene = self.scene(&recent, span_s, elsewhere);
        for m in &mut mitigations {
            let seen = self.judge(now, measure(&scene, &m.signature), &m.signature);
            let quiet = seen.rate_per_s < 0.5 * m.evidence.rate_per_s;
            m.evidence = if quiet {
                super::Evidence { collateral: seen.collateral, persons: seen.persons, right: seen.right, ..m.evidence }
            } else {
                seen
            };
        }
        self.mitigations = mitigations;
    }

    fn advance(&mut self, now: Moment, plight: &Plight, events: &mut Vec<Event>) {
        let (mut kept, mut ended) = (Vec::with_capacity(self.mitigations.len()), Vec::new());
        for mut m in core::mem::take(&mut self.mitigations) {
            let before = m.step;
            match m.advance(now, plight) {
                Ok(()) => {
                    if m.step != before {
                        events.push(Event::Stepped(m, before));
                    }
                    kept.push(m);
                }
                Err(why) => ended.push((m, why)),
            }
        }
        self.mitigations = kept;
        for (m, why) in ended {
            events.push(Event::Ended(m, why));
            if why != End::Collateral {
                self.remember(&m, now);
            }
        }
    }

    fn remember(&mut self, ended: &Mitigation, now: Moment) {
        if ended.peak < Step::Deprioritise {
            return;
        }
        let new = Remembered { signature: ended.signature, step: ended.peak, at: now };
        self.remembered.retain(|r| r.signature != ended.signature);
        if self.remembered.len() >= SIGNATURES_REMEMBERED_MAX
            && let Some((oldest, _)) = self.remembered.iter().enumerate().min_by_key(|(_, r)| r.at)
        {
            self.remembered.swap_remove(oldest);
        }
        self.remembered.push(new);
    }
}
