//! What one worker notes between two reports.

use std::collections::HashMap;
use std::net::IpAddr;

use guichet_core::bounds::HANDOVER_NOTES_MAX;
use guichet_core::handover::source_of;

/// What is told of it to the brain.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Who was refused: by which mitigation last, and how often.
    pub(crate) refused: HashMap<IpAddr, (u32, u32)>,
    /// From where somebody was let in whom nothing speaks against.
    pub(crate) good: Vec<IpAddr>,
    /// There were more of the latter than are told.
    pub(crate) blind: bool,
}

/// The notes; does nothing where sources are not handed over.
#[derive(Debug)]
pub(crate) struct Notes {
    on: bool,
    noted: Noted,
}

impl Notes {
    pub(crate) fn new(on: bool) -> Self {
        Self { on, noted: Noted::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// A mitigation refused a client who connected to this node itself.
    pub(crate) fn note_refused(&mut self, client: IpAddr, mitigation: u32) {
        let refused = &mut self.noted.refused;
        let source = source_of(client);
        if self.on && (refused.len() < HANDOVER_NOTES_MAX || refused.contains_key(&source)) {
            let (last, count) = refused.entry(source).or_default();
            (*last, *count) = (mitigation, *count + 1);
        }
    }

    /// Somebody was let in whom nothing speaks against.
    pub(crate) fn note_good(&mut self, client: IpAddr) {
        let source = source_of(client);
        let good = &mut self.noted.good;
        if !self.on || good.last() == Some(&source) {
            return;
        }
        if good.len() < HANDOVER_NOTES_MAX {
            good.push(source);
        } else {
            self.noted.blind = true;
        }
    }

    /// What was noted since the last time.
    pub(crate) fn take(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }
}
