//! How many of the requests that a service should have answered it did answer.

use guichet_core::{Fault, Reason, Standing};

use super::super::Entry;
use super::registry::{Registry, ServiceSlot};

/// Those who would be served if there were room: who is refused among them missed something.
const PROVEN: [Standing; 4] = [Standing::Known, Standing::Proven, Standing::Session, Standing::Partner];

/// What one request says of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It answered.
    Answered,
    /// It should have answered, and did not: its own error, one on the way to it, or no room for somebody of proven
    /// standing.
    Missed,
    /// Nothing. Strangers who were refused are most of a flood; a kept answer says how the service was earlier.
    Nothing,
}

/// See [`Told`].
pub(super) fn told(entry: &Entry<'_>) -> Told {
    judge(entry.attempts > 0, entry.status, entry.reason, entry.standing)
}

fn judge(asked: bool, status: u16, reason: Option<Reason>, standing: Standing) -> Told {
    match reason.map(Reason::fault) {
        Some(Fault::Upstream) => Told::Missed,
        _ if asked && status >= 500 => Told::Missed,
        _ if asked => Told::Answered,
        Some(Fault::Load | Fault::Ours) if PROVEN.contains(&standing) => Told::Missed,
        Some(Fault::Load | Fault::Ours | Fault::Client | Fault::Operator) | None => Told::Nothing,
    }
}

impl Registry {
    /// Requests to a service since start that it answered, and those that it should have answered and did not.
    #[must_use]
    pub fn goodput(&self, service: ServiceSlot) -> (u64, u64) {
        let blocks = self.workers.iter().map(|(block, _)| &block.services[service.index()]);
        blocks.fold((0, 0), |(answered, missed), counters| {
            (u64::wrapping_add(answered, counters.answered.get()), u64::wrapping_add(missed, counters.missed.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_of_its_service_what_it_can() {
        let stranger = Standing::Anonymous;
        for (asked, status, reason, standing, wanted) in [
            (true, 200, None, stranger, Told::Answered),
            (true, 404, None, stranger, Told::Answered),
            (true, 500, None, stranger, Told::Missed),
            // Asked, failed, and answered by what was kept or by a page.
            (true, 200, Some(Reason::UpstreamFirstByte), stranger, Told::Missed),
            (true, 504, Some(Reason::UpstreamFirstByte), stranger, Told::Missed),
            // Never asked, since it is down.
            (false, 503, Some(Reason::ServiceDown), stranger, Told::Missed),
            (false, 200, None, stranger, Told::Nothing),
            (false, 503, Some(Reason::Overload), stranger, Told::Nothing),
            (false, 429, Some(Reason::Mitigated), stranger, Told::Nothing),
            (false, 503, Some(Reason::Overload), Standing::Session, Told::Missed),
            (false, 503, Some(Reason::QueueTimeout), Standing::Known, Told::Missed),
            (false, 503, Some(Reason::SwitchedOff), Standing::Known, Told::Nothing),
        ] {
            assert_eq!(judge(asked, status, reason, standing), wanted, "{asked} {status} {reason:?} {standing:?}");
        }
    }
}
