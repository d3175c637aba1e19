//! What is different where the signs are of sign-ins.
//!
//! A guess at a password is one request like any other, from an address that never comes again: what tells it is that it
//! fails. So those who fail are compared with those who are let in, and with everybody of proven standing; what is found is
//! acted upon at the path where it failed, and nowhere else.

use core::time::Duration;

use super::{ServiceSigns, Subject};
use crate::Moment;
use crate::signs::miner::{Evidence, Finding, Scene, measure, mine, most_common};
use crate::signs::mitigation::{Event, Mitigation, RIGHT_MAX, Step};
use crate::signs::{Dimension, Features, Sample, SignIn, Signature};

/// So many failed sign-ins a second beyond three times the usual are looked into: people mistype.
pub(super) const UNUSUAL_PER_S: f32 = 2.0;
/// Least excess of one signature, failed sign-ins a second.
pub(super) const EXCESS_MIN_PER_S: f32 = 1.5;
/// A signature of which a greater part is right is not looked for.
const RIGHT_FOUND_MAX: f32 = 0.5 * RIGHT_MAX;
/// More than this multiple of what usually fails, and so many more a second, for so long, whatever is in force: then all
/// strangers show a pass.
const LAST_RESORT_FACTOR: f32 = 10.0;
const LAST_RESORT_PER_S: f32 = 10.0;
/// And at least two of three fail.
const LAST_RESORT_RIGHT_MAX: f32 = 1.0 / 3.0;
const LAST_RESORT_AFTER: Duration = Duration::from_secs(4);

impl ServiceSigns {
    /// What the search finds, of sign-ins told apart by their path.
    pub(super) fn findings(&self, now: Moment, scene: &Scene<'_>) -> Vec<Finding> {
        let found = mine(scene);
        if self.subject == Subject::Arrivals {
            return found;
        }
        let here = found.into_iter().filter_map(|finding| {
            let path = most_common(scene.recent, &finding.signature, Dimension::Path);
            let signature = if path == 0 { None } else { finding.signature.and(Dimension::Path, path) }?;
            let evidence = self.judge(now, measure(scene, &signature), &signature);
            (evidence.right <= RIGHT_FOUND_MAX).then_some(Finding { signature, evidence })
        });
        here.collect()
    }

    /// Adds how many of the sign-ins that match are right.
    pub(super) fn judge(&self, now: Moment, evidence: Evidence, signature: &Signature) -> Evidence {
        if self.subject == Subject::Arrivals {
            return evidence;
        }
        let (recent, _) = self.lately(now, |s| signature.matches(&s.features));
        let ended = |how: SignIn| {
            let ended = recent.iter().filter(|s| SignIn::of(&s.features) == Some(how));
            ended.fold(0.0, |all, s| all + s.weight)
        };
        let (right, failed) = (ended(SignIn::Right), ended(SignIn::Failed));
        Evidence { ending: SignIn::Failed.ending(), right: right / (right + failed).max(1e-6), ..evidence }
    }

    /// The signatures that tell who asks and are acted upon.
    pub(super) fn telling_who(&self) -> Vec<Signature> {
        let acted_on = self.mitigations.iter().filter(|m| m.step >= Step::Challenge);
        acted_on.filter(|m| !self.subject.is_for_the_rest(m)).map(|m| m.signature).collect()
    }

    /// Whether so much fails that nothing less will do than a pass of every stranger.
    pub(super) fn is_far_beyond(&self) -> bool {
        let far = LAST_RESORT_FACTOR * self.errors_usual_per_s + LAST_RESORT_PER_S;
        self.learned_s > 2.0 && self.errors_now_per_s > far
    }

    /// Asks all strangers for a pass at the path where most fails, where that goes on whatever is in force: an attack that looks
    /// in every respect like people.
    pub(super) fn consider_last_resort(
        &mut self,
        now: Moment,
        elsewhere: &[Features],
        next_id: &mut u32,
        events: &mut Vec<Event>,
    ) {
        if !self.is_far_beyond() {
            self.failing_since = None;
            return;
        }
        let since = *self.failing_since.get_or_insert(now);
        if now.since(since) < LAST_RESORT_AFTER || !self.config.challenges {
            return;
        }
        let (recent, span_s) = self.lately(now, Sample::is_stranger);
        let mut failed = recent.iter().filter(|s| SignIn::of(&s.features) == Some(SignIn::Failed));
        let Some(path) = failed.next_back().map(|s| s.features.get(Dimension::Path)).filter(|path| *path != 0) else {
            return;
        };
        let signature = Signature::single(Dimension::Path, path);
        if self.mitigations.iter().any(|m| m.signature == signature) || self.is_forbidden(&signature) {
            return;
        }
        let evidence = self.judge(now, measure(&self.scene(&recent, span_s, elsewhere), &signature), &signature);
        if evidence.right > LAST_RESORT_RIGHT_MAX {
            return;
        }
        let born = Mitigation::new(self.service, signature, evidence, now, false);
        self.add(born, evidence.rate_per_s, next_id, events);
    }
}
