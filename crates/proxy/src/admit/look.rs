//! What a request looks like, where that can matter, and which mitigation it matches.

use guichet_core::signs::{Features, InForce, Sample, Step};
use guichet_core::{Moment, Rules, SourceView, Standing};

use super::{Admission, SAMPLES_OF_WORKER_MIN};
use crate::classify::Class;
use crate::config::ClientKind;
use crate::signs::{Claim, Looks};

impl Admission {
    /// A robot that is who it says is never asked for a pass, and never refused for what it looks like: it comes after
    /// people. So is one that is still being looked up.
    pub(super) fn spare_crawlers(&self, found: InForce, looks: &Looks<'_>, now: Moment) -> InForce {
        if found.step < Step::Challenge {
            return found;
        }
        match self.signs.crawlers.claim(looks.agent(), looks.client, now) {
            Claim::None => found,
            Claim::Unknown | Claim::Verified => InForce { step: Step::Deprioritise, ..found },
        }
    }

    /// Looks at a request where that can matter: it is one of those that are sampled, or there are mitigations. The one
    /// in force that it matches. `outward`: what it tells, where that was worked out already.
    pub(super) fn look(
        &self,
        looks: &Looks<'_>,
        outward: Option<Features>,
        rules: &Rules,
        known: Standing,
        view: &SourceView,
        cost: f32,
    ) -> Option<InForce> {
        let position = looks.class.service_position;
        let mut sampling = self.sampling.borrow_mut();
        let samples = (rules.samples_per_tick / sampling.workers).max(SAMPLES_OF_WORKER_MIN);
        let mut window = self.window.borrow_mut();
        let bag = &mut window.services.get_mut(position)?.samples;
        let place = if rules.samples_per_tick == 0 { None } else { sampling.sampler.place(bag, samples) };
        if place.is_none() && outward.is_none() {
            return None;
        }
        let features = Looks::with_account(outward.unwrap_or_else(|| looks.outward()), view, cost);
        if let Some(place) = place {
            let (criticality, pace_per_s) = (looks.class.criticality, view.pace_per_s);
            bag.keep(place, Sample { features, weight: 1.0, pace_per_s, standing: known, criticality });
            sampling.told.note(&features, looks);
        }
        rules.mitigation(&features).copied()
    }
}

/// Where programs come, nobody can be shown a page, so nobody is asked for a pass: a challenge only puts them behind others.
pub(super) fn spare_programs(found: InForce, class: &Class) -> InForce {
    if class.client_kind() == ClientKind::Browser {
        return found;
    }
    let step = if found.step == Step::Challenge { Step::Deprioritise } else { found.step };
    InForce { step, challenges: false, ..found }
}
