//! The connections of one worker, and which of them go first when the node runs out of room.
//!
//! Past nine tenths of the node's bound each worker closes idle connections of its own, ten times a second: first
//! those that never carried a good request, among them first those whose source holds most connections, and the
//! longest idle first. A round looks at a bounded sample, from where the last one stopped, so that a round costs the
//! same however many connections there are. Connections with a request under way are never closed for room; those
//! that are still being opened are idle ones that never did good, so a flood of them pushes out itself and nobody else.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;

use guichet_core::bounds::EVICTION_SAMPLE_MAX;
use guichet_core::{Moment, Reason};

use super::caps::ConnectionCaps;
use super::watch::{Command, Watch};

/// Rounds of the census in a second.
const CENSUS_ROUNDS_PER_S: usize = 10;

/// The connections of one worker; as many as the node's bound lets in.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: RefCell<Vec<Option<Arc<Watch>>>>,
    free: RefCell<Vec<usize>>,
    cursor: Cell<usize>,
    census_cursor: Cell<usize>,
    census_round: Cell<usize>,
    count: Cell<usize>,
    /// Told to close to make room, and not gone yet.
    leaving: Cell<usize>,
}

/// A registered connection; leaves the registry on drop.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Rc<Registry>,
    slot: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let watch = self.registry.slots.borrow_mut()[self.slot].take();
        if watch.is_some_and(|watch| watch.commanded() == Command::Close) {
            self.registry.leaving.set(self.registry.leaving.get().saturating_sub(1));
        }
        self.registry.free.borrow_mut().push(self.slot);
        self.registry.count.set(self.registry.count.get() - 1);
    }
}

impl Registry {
    pub(crate) fn register(self: &Rc<Self>, watch: Arc<Watch>) -> Registered {
        let mut slots = self.slots.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        slots[slot] = Some(watch);
        self.count.set(self.count.get() + 1);
        Registered { registry: Rc::clone(self), slot }
    }

    /// Connections registered.
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    /// Tells all of them.
    pub(crate) fn command(&self, command: Command) {
        self.each(|watch| watch.command(command));
    }

    /// Calls `visit` for each.
    pub(crate) fn each(&self, visit: impl FnMut(&Arc<Watch>)) {
        // Waking a driver only queues its task, so nothing reaches back into the registry from here.
        self.slots.borrow().iter().flatten().for_each(visit);
    }

    /// Calls `stalled` for connections whose client keeps the door waiting, with whether it is to be noted: for each about
    /// once a second. Where not `all`, only for those. Looks at a bounded number, from where the last call stopped.
    pub(crate) fn census(&self, now: Moment, all: bool, mut stalled: impl FnMut(&Arc<Watch>, Reason, bool)) {
        let round = self.census_round.get().wrapping_add(1);
        self.census_round.set(round);
        let slots = self.slots.borrow();
        let count = slots.len().min(EVICTION_SAMPLE_MAX);
        let start = self.census_cursor.get();
        for at in (0..count).map(|step| (start + step) % slots.len()) {
            let noted = (at + round).is_multiple_of(CENSUS_ROUNDS_PER_S);
            if !all && !noted {
                continue;
            }
            let Some(watch) = slots[at].as_ref().filter(|watch| watch.commanded() != Command::Close) else { continue };
            if let Some(ending) = watch.stalls(now) {
                stalled(watch, ending, noted);
            }
        }
        if !slots.is_empty() {
            self.census_cursor.set((start + count) % slots.len());
        }
    }

    /// Closes idle connections to make room, so that up to `wanted` leave, with those that were told so before and are
    /// not gone yet. Tells how many were told now.
    pub(crate) fn evict(&self, caps: &ConnectionCaps, wanted: usize) -> usize {
        let wanted = wanted.saturating_sub(self.leaving.get());
        if wanted == 0 {
            return 0;
        }
        let slots = self.slots.borrow();
        let sample = slots.len().min(EVICTION_SAMPLE_MAX);
        let start = self.cursor.get();
        let mut idle: Vec<_> = (0..sample)
            .filter_map(|step| slots[(start + step) % slots.len()].as_ref())
            .filter(|watch| watch.in_flight() == 0 && watch.commanded() != Command::Close && !watch.transparent())
            .map(|watch| (watch.good(), Reverse(caps.of_source(watch.client().ip())), watch.idle_since(), watch))
            .collect();
        if !slots.is_empty() {
            self.cursor.set((start + sample) % slots.len());
        }
        idle.sort_by_key(|(good, held, since, _)| (*good, *held, *since));
        let closed = idle.len().min(wanted);
        for (_, _, _, watch) in &idle[..closed] {
            watch.ended_for(Reason::IdleEvicted);
            watch.command(Command::Close);
        }
        self.leaving.set(self.leaving.get() + closed);
        closed
    }
}

/// How many connections one of `workers` should close now: its share of what is over nine tenths of the bound.
pub(crate) fn wanted(caps: &ConnectionCaps, own: usize) -> usize {
    let (held, bound) = (caps.connections(), caps.connections_max());
    let over = held.saturating_sub(bound / 10 * 9 + bound % 10 * 9 / 10);
    // Rounded up, so that the last few go too.
    (over * own).div_ceil(held.max(1)).min(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::watch::Wait;
    use std::net::SocketAddr;

    fn watch(address: &str, idle_since: u64, good: bool, in_flight: bool) -> Arc<Watch> {
        let watch = Watch::new(SocketAddr::new(address.parse().unwrap(), 1), 1, Moment(idle_since));
        if good {
            watch.set_good();
        }
        if in_flight {
            watch.begin();
        }
        Arc::new(watch)
    }

    #[test]
    fn who_never_did_good_goes_first_and_then_who_holds_most() {
        let caps = ConnectionCaps::new(10);
        let hoarder: Vec<_> = (0..3).map(|_| caps.connect("192.0.2.9".parse().unwrap(), 9, 9).unwrap()).collect();
        let single = caps.connect("192.0.2.1".parse().unwrap(), 9, 9).unwrap();
        let registry = Rc::new(Registry::default());
        let order = [
            watch("192.0.2.9", 20, false, false),
            watch("192.0.2.9", 30, false, false),
            watch("192.0.2.1", 10, false, false),
            watch("192.0.2.9", 5, true, false),
            watch("192.0.2.1", 1, true, false),
        ];
        let busy = watch("192.0.2.9", 0, false, true);
        let mut places: Vec<_> = order.iter().rev().map(|w| registry.register(Arc::clone(w))).collect();
        places.push(registry.register(Arc::clone(&busy)));
        for (step, expected) in order.iter().enumerate() {
            assert_eq!(registry.evict(&caps, step + 1), 1);
            assert_eq!(registry.evict(&caps, step + 1), 0, "who was told to leave counts as gone");
            assert_eq!(expected.commanded(), Command::Close, "step {step}");
            assert_eq!(expected.ended(), Some(Reason::IdleEvicted));
            assert!(order[step + 1..].iter().all(|w| w.commanded() == Command::Serve), "step {step}");
        }
        assert_eq!(registry.evict(&caps, 6), 0, "a busy connection is never closed for room");
        assert_eq!(busy.commanded(), Command::Serve);
        assert_eq!(registry.count(), 6);
        drop((places, hoarder, single));
        assert_eq!((registry.count(), registry.leaving.get()), (0, 0));
        assert_eq!(registry.evict(&caps, 1), 0);
    }

    #[test]
    fn who_keeps_the_door_waiting_is_told_once_a_second() {
        let registry = Rc::new(Registry::default());
        let now = Moment(10_000_000);
        let at = |s: u64| Some(Moment(s * 1_000_000));
        let silent = watch("192.0.2.1", 8_000_000, false, false);
        let fresh = watch("192.0.2.2", 9_500_000, false, false);
        let busy = watch("192.0.2.3", 1, true, true);
        let (reads, body, head) = (
            watch("192.0.2.4", 1, true, true),
            watch("192.0.2.5", 1, false, true),
            watch("192.0.2.6", 9_900_000, false, false),
        );
        reads.set_waits(Wait::Read, at(8));
        body.set_waits(Wait::Body, at(9));
        head.set_waits(Wait::Head, at(5));
        let all = [&silent, &fresh, &busy, &reads, &body, &head];
        let _places: Vec<_> = all.iter().map(|w| registry.register(Arc::clone(w))).collect();
        let wanted = [
            ("192.0.2.1", Reason::IdleTimeout),
            ("192.0.2.4", Reason::ReadTooSlow),
            ("192.0.2.5", Reason::BodyTooSlow),
            ("192.0.2.6", Reason::HeaderTimeout),
        ];
        let round = |all| {
            let mut told = Vec::new();
            registry.census(now, all, |w, ending, noted| told.push((w.client().ip().to_string(), ending, noted)));
            told
        };
        let mut noted: Vec<_> =
            (0..10).flat_map(|_| round(false)).map(|(client, ending, _)| (client, ending)).collect();
        noted.sort();
        assert_eq!(noted, wanted.map(|(client, ending)| (client.to_owned(), ending)));
        let every: Vec<_> = round(true).into_iter().map(|(client, ending, _)| (client, ending)).collect();
        assert_eq!(every, wanted.map(|(client, ending)| (client.to_owned(), ending)), "all, where closing matters");
        // What was waited for came.
        for (w, wait) in [(&reads, Wait::Read), (&body, Wait::Body), (&head, Wait::Head)] {
            w.set_waits(wait, None);
        }
        silent.command(Command::Close);
        assert_eq!(round(true), []);
    }

    #[test]
    fn room_is_made_past_nine_tenths_only() {
        let caps = ConnectionCaps::new(20);
        let mut places = Vec::new();
        for held in 0..20 {
            let expected = if held > 18 { 1 } else { 0 };
            assert_eq!(wanted(&caps, 10), expected, "{held}");
            places.push(caps.accept().unwrap());
        }
        assert_eq!(wanted(&caps, 10), 1);
        assert_eq!(wanted(&caps, 20), 2);
        assert_eq!(wanted(&caps, 0), 0);
    }

    #[test]
    fn a_round_looks_at_a_bounded_sample_and_goes_on_from_there() {
        let caps = ConnectionCaps::new(10);
        let registry = Rc::new(Registry::default());
        let watches: Vec<_> = (0..EVICTION_SAMPLE_MAX + 10).map(|_| watch("192.0.2.1", 1, false, false)).collect();
        let _places: Vec<_> = watches.iter().map(|w| registry.register(Arc::clone(w))).collect();
        assert_eq!(registry.evict(&caps, usize::MAX), EVICTION_SAMPLE_MAX);
        assert_eq!(registry.evict(&caps, usize::MAX), 10);
    }
}
