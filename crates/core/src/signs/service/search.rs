//! Looking for signatures: new ones in what nothing covers yet, and known ones that are back.

use super::{SPAN_ENOUGH, SPANS_S, ServiceSigns, Subject, sign_ins};
use crate::Moment;
use crate::signs::miner::{EXCESS_MIN_PER_S, Finding, Scene, measure, mine};
use crate::signs::mitigation::{COLLATERAL_FACTOR_MAX, Event, Mitigation, WHO_LIFT_MIN};
use crate::signs::{Features, Sample, SignIn};

/// A known signature counts as back from this rate on, and must be so many times the usual.
const BACK_PER_S: f32 = 5.0;
const BACK_FACTOR: f32 = 3.0;

impl ServiceSigns {
    /// The recent requests that `keep` holds, and the seconds in which they came.
    pub(super) fn lately(&self, now: Moment, keep: impl Fn(&Sample) -> bool) -> (Vec<Sample>, f32) {
        let oldest_s = self.recent.front().map_or(0.0, |r| now.since(r.at).as_secs_f32());
        let (mut samples, mut span_s) = (Vec::new(), SPANS_S[0]);
        for span in SPANS_S {
            samples.clear();
            let within = self.recent.iter().filter(|r| now.since(r.at).as_secs_f32() < span && keep(&r.sample));
            samples.extend(within.map(|r| r.sample));
            span_s = span;
            if samples.len() >= SPAN_ENOUGH || oldest_s < span {
                break;
            }
        }
        (samples, span_s.min(oldest_s + 0.1))
    }

    pub(super) fn scene<'a>(&'a self, recent: &'a [Sample], span_s: f32, elsewhere: &'a [Features]) -> Scene<'a> {
        Scene {
            recent,
            span_s,
            usual: self.calm.features(),
            usual_per_s: self.usual_per_s,
            persons: self.proven.features(),
            elsewhere,
            collateral_max: COLLATERAL_FACTOR_MAX * self.config.collateral_max,
            excess_min_per_s: if self.is_of_sign_ins() { sign_ins::EXCESS_MIN_PER_S } else { EXCESS_MIN_PER_S },
            sign_ins: self.is_of_sign_ins(),
            who_only: self.is_of_sign_ins(),
        }
    }

    /// Looks for signatures in what no mitigation covers yet.
    pub(super) fn search(&mut self, now: Moment, elsewhere: &[Features], next_id: &mut u32, events: &mut Vec<Event>) {
        let covers = |m: &&Mitigation| self.subject == Subject::Arrivals || m.signature.who().is_some();
        // How a sign-in would have ended that was turned away is not known.
        let tells = |s: &Sample| s.is_stranger() && SignIn::of(&s.features) != Some(SignIn::TurnedAway);
        let uncovered =
            |s: &Sample| tells(s) && !self.mitigations.iter().filter(covers).any(|m| m.signature.matches(&s.features));
        let (recent, span_s) = self.lately(now, uncovered);
        let mut findings = self.findings(now, &self.scene(&recent, span_s, elsewhere));
        findings.extend(self.behind_marks(now, elsewhere));
        for finding in findings {
            if !self.is_forbidden(&finding.signature) {
                let (service, Finding { signature, evidence }) = (self.service, finding);
                let born = match self.subject {
                    Subject::Arrivals => {
                        Mitigation::found(service, signature, evidence, now, self.config.collateral_max)
                    }
                    // To come later costs a guess nothing.
                    Subject::SignIns => Mitigation::new(service, signature, evidence, now, false),
                };
                self.add(born, born.evidence.rate_per_s, next_id, events);
            }
        }
    }

    /// The signatures that tell who asks, in what is covered by marks of a crowd alone. Such a mark turns nobody away, and two
    /// floods together may well have nothing in common but that they come without a cookie.
    fn behind_marks(&self, now: Moment, elsewhere: &[Features]) -> Vec<Finding> {
        let (who, marks): (Vec<_>, Vec<_>) = self.mitigations.iter().partition(|m| m.tells_who());
        if self.is_of_sign_ins() || marks.is_empty() {
            return Vec::new();
        }
        let by = |of: &[&Mitigation], s: &Sample| of.iter().any(|m| m.signature.matches(&s.features));
        let (recent, span_s) = self.lately(now, |s| s.is_stranger() && by(&marks, s) && !by(&who, s));
        let scene = Scene { who_only: true, ..self.scene(&recent, span_s, elsewhere) };
        let mut found = mine(&scene);
        found.retain(|f| f.evidence.who_lift >= WHO_LIFT_MIN && marks.iter().all(|m| m.signature != f.signature));
        found
    }

    /// Looks whether a pattern that is known is back: then it is acted upon at once.
    pub(super) fn recall(&mut self, now: Moment, elsewhere: &[Features], next_id: &mut u32, events: &mut Vec<Event>) {
        if self.remembered.is_empty() {
            return;
        }
        let (recent, span_s) = self.lately(now, Sample::is_stranger);
        let scene = self.scene(&recent, span_s, elsewhere);
        let back_per_s = if self.is_of_sign_ins() { sign_ins::EXCESS_MIN_PER_S } else { BACK_PER_S };
        let mut back = Vec::new();
        for known in &self.remembered {
            if self.mitigations.iter().any(|m| m.signature == known.signature) || self.is_forbidden(&known.signature) {
                continue;
            }
            let evidence = measure(&scene, &known.signature);
            if evidence.rate_per_s >= back_per_s.max(BACK_FACTOR * evidence.usual_per_s) && evidence.samples >= 8 {
                let mut born = Mitigation::new(self.service, known.signature, evidence, now, true);
                (born.step, born.peak) = (known.step, known.step);
                back.push(born);
            }
        }
        for born in back {
            self.add(born, born.evidence.rate_per_s, next_id, events);
        }
    }
}
