//! Sign-ins, once it is known how they ended: what the brain compares when somebody guesses.

use guichet_core::signs::{Dimension, Features, Sample, SignIn};
use guichet_core::{ServiceId, SourceView, Standing};

use super::Admission;
use crate::classify::Class;
use crate::signs::Looks;

/// Sign-ins of one service that a worker notes in a tick, at most.
const NOTED_PER_TICK: u32 = 64;

/// A sign-in under way.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(super) service: ServiceId,
    pub(super) sample: Sample,
}

impl Admission {
    /// A sign-in that begins, with the words for what it looks like.
    pub(super) fn attempt(
        &self,
        looks: &Looks<'_>,
        outward: Features,
        standing: Standing,
        view: &SourceView,
        cost: f32,
    ) -> Attempt {
        let features = Looks::with_account(outward, view, cost);
        self.sampling.borrow_mut().told.note(&features, looks);
        let (criticality, pace_per_s) = (looks.class.criticality, view.pace_per_s);
        let sample = Sample { features, weight: 1.0, pace_per_s, standing, criticality };
        Attempt { service: ServiceId(looks.class.service_position as u16), sample }
    }

    /// Notes how a sign-in ended.
    pub fn note_sign_in(&self, attempt: &Attempt, ended: SignIn) {
        let mut sampling = self.sampling.borrow_mut();
        let mut window = self.window.borrow_mut();
        let Some(counters) = window.service(attempt.service) else { return };
        let bag = &mut counters.sign_ins;
        if let Some(place) = sampling.sampler.place(bag, NOTED_PER_TICK) {
            let features = attempt.sample.features.with(Dimension::Ending, ended.ending());
            bag.keep(place, Sample { features, ..attempt.sample });
        }
    }
}

/// How a sign-in ended by the service's answer; `None`: that says nothing. `failed`: statuses that say that it failed.
/// `issued`: whether the answer issues the service's session.
#[must_use]
pub fn sign_in_ended(class: &Class, failed: &[u16], status: u16, issued: bool) -> Option<SignIn> {
    if issued {
        return Some(SignIn::Right);
    }
    if failed.contains(&status) {
        return Some(SignIn::Failed);
    }
    // Where sessions are known, an answer that issues none may ask for the next factor.
    (status < 400 && class.service.session.is_none()).then_some(SignIn::Right)
}
