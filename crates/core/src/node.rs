//! The node's own bound on requests in flight, over all services, with floors per criticality.

use crate::lanes::may_take;
use crate::{Criticality, NodeRules, Reason};

/// Counts what a node has taken in and not yet answered. A flooded ordinary service cannot take the last permits from
/// a critical one.
#[derive(Debug, Default)]
pub struct NodeGate {
    inflight: [u32; Criticality::COUNT],
}

/// One request that the node has taken in. Give it back with [`NodeGate::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit of the node that is not released is lost"]
pub struct NodeSlot {
    lane: Criticality,
}

impl NodeGate {
    /// Takes one in.
    ///
    /// # Errors
    /// [`Reason::NodeFull`] when the bound, less what is kept for those above, is reached.
    pub fn enter(&mut self, criticality: Criticality, rules: &NodeRules) -> Result<NodeSlot, Reason> {
        if !may_take(&self.inflight, criticality, rules.limit, &rules.floors) {
            return Err(Reason::NodeFull);
        }
        self.inflight[criticality.index()] += 1;
        Ok(NodeSlot { lane: criticality })
    }

    /// Gives one back.
    pub fn release(&mut self, slot: NodeSlot) {
        let lane = &mut self.inflight[slot.lane.index()];
        *lane = lane.saturating_sub(1);
    }

    /// Requests taken in, over all lanes.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        self.inflight.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_permits_are_kept_for_those_above() {
        let rules = NodeRules { limit: 10, floors: [0, 0, 2, 3] };
        let mut gate = NodeGate::default();
        let held: Vec<_> = (0..20).map_while(|_| gate.enter(Criticality::Ordinary, &rules).ok()).collect();
        assert_eq!(held.len(), 5);
        assert_eq!(gate.enter(Criticality::Sheddable, &rules), Err(Reason::NodeFull));
        let important: Vec<_> = (0..20).map_while(|_| gate.enter(Criticality::Important, &rules).ok()).collect();
        assert_eq!(important.len(), 2);
        let critical: Vec<_> = (0..20).map_while(|_| gate.enter(Criticality::Critical, &rules).ok()).collect();
        assert_eq!(critical.len(), 3);
        for slot in held.into_iter().chain(important).chain(critical) {
            gate.release(slot);
        }
        assert_eq!(gate.inflight(), 0);
    }
}
