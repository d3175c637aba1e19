//! The brain's hand-over to the kernel's filter: what workers noted goes in, what is to be dropped comes out.

use std::time::Duration;

use guichet_core::Moment;
use guichet_core::handover::Handover;
use ipnet::IpNet;

use crate::clock;
use crate::kernel::{Kernel, Noted};
use crate::setup::Setup;

/// How often all who are watched or dropped are looked at: whose time is over, whom the operator allows meanwhile; and how often
/// the log tells of new ones.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Decides who is handed over; does nothing where there is no filter.
pub(super) struct Handing {
    handover: Option<Handover>,
    looked: Moment,
    /// Handed over since the log told of it.
    untold: usize,
}

impl Handing {
    /// As the configuration says; it changes only with a restart.
    pub(super) fn new(setup: &Setup) -> Self {
        let filter = setup.config.kernel_filter.as_ref();
        let handover = filter.map(|filter| Handover::new(filter.handover, setup.signs.kernel.seed));
        Self { handover, looked: clock::now(), untold: 0 }
    }

    /// What a worker noted.
    pub(super) fn take(&mut self, noted: Noted, kernel: &Kernel) {
        let Some(handover) = &mut self.handover else { return };
        let (now, before) = (clock::now(), handover.held_count());
        if noted.blind {
            handover.note_blind(now);
        }
        for source in noted.good {
            handover.note_good(source, now);
        }
        let lifted = handover.held_count() != before;
        let refused = noted.refused.into_iter();
        let newly =
            refused.filter(|(source, (id, count))| handover.note_refused(*source, *id, *count, now).is_some()).count();
        if lifted || newly > 0 {
            self.untold += newly;
            kernel.publish(handover.held().copied().collect(), newly);
        }
    }

    /// Time passes; whoever is allowed meanwhile is not dropped.
    pub(super) fn tick(&mut self, setup: &Setup) {
        let Some(handover) = &mut self.handover else { return };
        let now = clock::now();
        if now.since(self.looked) < LOOK_INTERVAL {
            return;
        }
        self.looked = now;
        let mut changed = handover.tick(now);
        changed |= handover.lift(|held| setup.signs.allowed.allows(held.source, now)) > 0;
        if self.untold > 0 {
            let told = if setup.config.kernel_filter.as_ref().is_some_and(|f| f.dry_run) { " (dry run)" } else { "" };
            let (untold, held) = (std::mem::take(&mut self.untold), handover.held_count());
            eprintln!("guichet: kernel filter: {untold} sources more are handed over{told}, {held} now");
        }
        if changed {
            setup.signs.kernel.publish(handover.held().copied().collect(), 0);
        }
    }

    /// Mitigations were wrong: whom they refused is not dropped.
    pub(super) fn end_with(&mut self, wrong: &[u32], kernel: &Kernel) {
        let Some(handover) = self.handover.as_mut().filter(|_| !wrong.is_empty()) else { return };
        if handover.lift(|held| wrong.contains(&held.mitigation)) > 0 {
            kernel.publish(handover.held().copied().collect(), 0);
        }
    }

    /// The operator lifts a network; how many sources, `None`: none.
    pub(super) fn lift(&mut self, network: IpNet, kernel: &Kernel) -> Option<u32> {
        let handover = self.handover.as_mut()?;
        let within = |source: std::net::IpAddr| network.contains(&source) || IpNet::from(source).contains(&network);
        let lifted = handover.lift(|held| within(held.source));
        kernel.publish(handover.held().copied().collect(), 0);
        u32::try_from(lifted).ok().filter(|lifted| *lifted > 0)
    }
}
