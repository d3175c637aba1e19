//! What the operator orders about the mitigations of one service.

use core::time::Duration;

use super::ServiceSigns;
use crate::Moment;
use crate::bounds::SIGNATURES_FORBIDDEN_MAX;
use crate::signs::mitigation::{End, Event, Mitigation, Step};
use crate::signs::{Evidence, Signature};

/// Whoever the operator ended does not come back at once.
const ENDED_TERM: Duration = Duration::from_secs(300);

impl ServiceSigns {
    /// Acts on a signature of the operator's until then; its id.
    pub(crate) fn order(
        &mut self,
        signature: Signature,
        step: Step,
        now: Moment,
        until: Moment,
        next_id: &mut u32,
        events: &mut Vec<Event>,
    ) -> Option<u32> {
        self.forbidden.retain(|(forbidden, _)| *forbidden != signature);
        if let Some(there) = self.mitigations.iter_mut().find(|m| m.signature == signature) {
            let before = there.step;
            there.pin(step, now, until);
            events.push(Event::Stepped(*there, before));
            return Some(there.id);
        }
        let mut born = Mitigation::new(self.service, signature, Evidence::default(), now, false);
        born.pin(step, now, until);
        // It is more needed than anything found.
        self.add(born, f32::INFINITY, next_id, events)
    }

    /// Ends a mitigation; its signature is not acted upon again before `until`, or for a while. Whether it was there.
    pub(crate) fn end(&mut self, id: u32, now: Moment, until: Option<Moment>, events: &mut Vec<Event>) -> bool {
        let Some(at) = self.mitigations.iter().position(|m| m.id == id) else { return false };
        let ended = self.mitigations.remove(at);
        self.forbid(ended.signature, until.unwrap_or_else(|| now.after(ENDED_TERM)));
        self.remembered.retain(|r| r.signature != ended.signature);
        events.push(Event::Ended(ended, End::Operator));
        true
    }

    fn forbid(&mut self, signature: Signature, until: Moment) {
        self.forbidden.retain(|(forbidden, _)| *forbidden != signature);
        if self.forbidden.len() >= SIGNATURES_FORBIDDEN_MAX
            && let Some((soonest, _)) = self.forbidden.iter().enumerate().min_by_key(|(_, (_, until))| *until)
        {
            self.forbidden.swap_remove(soonest);
        }
        self.forbidden.push((signature, until));
    }
}
