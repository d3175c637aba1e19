//! Which sources a filter in front of the node, the kernel's, is to drop, and until when.
//!
//! Refusing costs a connection each time, and nine tenths of that is the kernel's work; a filter drops a packet. So a
//! source is handed over that keeps coming although a mitigation refuses it. Never one behind whom somebody was served
//! lately: an address may be shared. Only sources whose return path is proven may be noted here (they completed a TCP
//! connection with the node itself), or an attacker could have others dropped by their addresses.
//!
//! Everything ends by itself; who comes back is dropped for twice as long, up to a bound.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use crate::Moment;
use crate::bounds::{HANDED_OVER_MAX, HANDOVER_GOOD_BITS, HANDOVER_WATCHED_MAX};
use crate::source::splitmix;

/// How quickly refusals are forgotten: by the factor e in this time.
const FORGET_S: f32 = 30.0;
/// Refusals, so remembered, from which a source is handed over: forty at once, or 1.3 a second for long.
const REFUSALS: f32 = 40.0;
/// How long it is remembered how often a source was dropped.
const TIMES_KEPT: Duration = Duration::from_secs(3600);
/// Somebody who was served speaks for the address for one to two of these.
const GOOD_KEPT: Duration = Duration::from_secs(300);
/// Nobody is handed over for this long after not all who were served could be told.
const BLIND: Duration = Duration::from_secs(10);

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoverConfig {
    /// How long a source is dropped the first time.
    pub ttl: Duration,
    /// How long at most.
    pub ttl_most: Duration,
    /// Sources dropped at one time; at most [`HANDED_OVER_MAX`].
    pub sources_most: usize,
}

impl Default for HandoverConfig {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(60), ttl_most: Duration::from_secs(600), sources_most: 4096 }
    }
}

/// A source that is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The address; of IPv6 the first of its /64, which is meant as a whole.
    pub source: IpAddr,
    /// The mitigation that refused it last.
    pub mitigation: u32,
    /// Since when.
    pub since: Moment,
    /// Until when.
    pub until: Moment,
    /// How often it was handed over within the last hour, this time counted.
    pub times: u32,
}

/// The sources that are watched, and those that are handed over. Pure: `now` is an argument, and never goes back.
#[derive(Debug)]
pub struct Handover {
    config: HandoverConfig,
    watched: BTreeMap<IpAddr, Watched>,
    held: usize,
    good: Good,
    blind_until: Moment,
}

#[derive(Debug, Default)]
struct Watched {
    refusals: f32,
    noted: Moment,
    held: Option<HandedOver>,
    times: u32,
    held_last: Moment,
}

impl Watched {
    fn refusals_at(&self, now: Moment) -> f32 {
        self.refusals * (-now.since(self.noted).as_secs_f32() / FORGET_S).exp()
    }
}

/// The source that an address stands for: itself, or its /64.
#[must_use]
pub const fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u64::MAX as u128))),
        },
    }
}

impl Handover {
    /// Nobody is watched yet. `seed` is a secret of the node, so that nobody can choose who is taken for whom.
    #[must_use]
    pub fn new(config: HandoverConfig, seed: u64) -> Self {
        Self { config, watched: BTreeMap::new(), held: 0, good: Good::new(seed), blind_until: Moment::default() }
    }

    /// A mitigation refused this client so many times more. What is dropped from now on, if it is that.
    pub fn note_refused(&mut self, client: IpAddr, mitigation: u32, count: u32, now: Moment) -> Option<HandedOver> {
        let source = source_of(client);
        // Who is watched already stays: newcomers take no places.
        if !self.watched.contains_key(&source) && self.watched.len() >= HANDOVER_WATCHED_MAX {
            return None;
        }
        let watched = self.watched.entry(source).or_default();
        watched.refusals = watched.refusals_at(now) + count as f32;
        watched.noted = now;
        let room = self.held < self.config.sources_most.min(HANDED_OVER_MAX);
        let due = watched.held.is_none() && watched.refusals >= REFUSALS;
        if !due || !room || now < self.blind_until || self.good.has(source) {
            return None;
        }
        watched.times = watched.times.saturating_add(1);
        let longer = 1_u32 << (watched.times - 1).min(16);
        let ttl = self.config.ttl.saturating_mul(longer).min(self.config.ttl_most);
        let held = HandedOver { source, mitigation, since: now, until: now.after(ttl), times: watched.times };
        watched.held = Some(held);
        watched.held_last = now;
        self.held += 1;
        Some(held)
    }

    /// Somebody who nothing speaks against was let in from there: it is not dropped, now and for a while.
    pub fn note_good(&mut self, client: IpAddr, now: Moment) {
        let source = source_of(client);
        self.good.note(source, now);
        self.lift(|held| held.source == source);
    }

    /// Not all who were let in could be told: for a moment nobody is handed over.
    pub fn note_blind(&mut self, now: Moment) {
        self.blind_until = now.after(BLIND);
    }

    /// Time passes: what is due ends, and what is over is forgotten. Whether anything ended.
    pub fn tick(&mut self, now: Moment) -> bool {
        self.good.turn(now);
        let before = self.held;
        let held = &mut self.held;
        self.watched.retain(|_, watched| {
            if watched.held.is_some_and(|held| held.until <= now) {
                // What came while it was dropped is no refusal: it begins anew.
                (watched.held, watched.refusals) = (None, 0.0);
                *held -= 1;
            }
            let remembered = watched.times > 0 && now.since(watched.held_last) < TIMES_KEPT;
            watched.held.is_some() || remembered || watched.refusals_at(now) >= 0.5
        });
        self.held != before
    }

    /// Drops no longer what is named: an operator allowed it, or the mitigation was wrong. How many.
    pub fn lift(&mut self, named: impl Fn(&HandedOver) -> bool) -> usize {
        let mut lifted = 0;
        for watched in self.watched.values_mut() {
            if watched.held.as_ref().is_some_and(&named) {
                // That it was held counts for nothing.
                *watched = Watched { noted: watched.noted, ..Watched::default() };
                lifted += 1;
            }
        }
        self.held -= lifted;
        lifted
    }

    /// What is to be dropped now, by address.
    pub fn held(&self) -> impl Iterator<Item = &HandedOver> {
        self.watched.values().filter_map(|watched| watched.held.as_ref())
    }

    /// How many those are.
    #[must_use]
    pub const fn held_count(&self) -> usize {
        self.held
    }
}

/// The addresses behind which somebody was served, in two generations of bits: it may know too many, never too few.
#[derive(Debug)]
struct Good {
    seed: u64,
    bits: [Vec<u64>; 2],
    turned: Moment,
}

impl Good {
    fn new(seed: u64) -> Self {
        let bits = || vec![0; HANDOVER_GOOD_BITS / 64];
        Self { seed, bits: [bits(), bits()], turned: Moment::default() }
    }

    /// The two bits of a source.
    fn places(&self, source: IpAddr) -> [usize; 2] {
        let word = match source {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => splitmix((v6.to_bits() >> 64) as u64),
        };
        let hash = splitmix(word ^ self.seed);
        [hash as u32, (hash >> 32) as u32].map(|half| half as usize % HANDOVER_GOOD_BITS)
    }

    fn note(&mut self, source: IpAddr, now: Moment) {
        self.turn(now);
        for place in self.places(source) {
            self.bits[0][place / 64] |= 1 << (place % 64);
        }
    }

    fn has(&self, source: IpAddr) -> bool {
        let places = self.places(source);
        self.bits.iter().any(|bits| places.iter().all(|place| bits[place / 64] >> (place % 64) & 1 == 1))
    }

    fn turn(&mut self, now: Moment) {
        if now.since(self.turned) >= GOOD_KEPT {
            self.turned = now;
            self.bits.swap(0, 1);
            self.bits[0].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn at(s: u64) -> Moment {
        Moment(s * 1_000_000)
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
    }

    fn handover() -> Handover {
        Handover::new(HandoverConfig::default(), 7)
    }

    /// Refuses it twice a second until it is handed over; after how many seconds.
    fn until_held(handover: &mut Handover, client: IpAddr, from_s: u64) -> Option<u64> {
        (from_s..from_s + 120).find(|s| handover.note_refused(client, 3, 2, at(*s)).is_some())
    }

    #[test]
    fn who_goes_on_is_dropped_for_a_while_and_then_for_longer() {
        let mut handover = handover();
        let client = v4(1);
        let first = until_held(&mut handover, client, 0).unwrap();
        assert!((20..60).contains(&first), "{first}");
        assert_eq!(handover.held().map(|held| held.times).collect::<Vec<_>>(), [1]);
        assert!(!handover.tick(at(first + 59)) && handover.tick(at(first + 61)));
        assert_eq!(handover.held_count(), 0);
        let second = until_held(&mut handover, client, first + 61).unwrap();
        assert!(!handover.tick(at(second + 119)) && handover.tick(at(second + 121)), "twice as long");
        // After an hour it is somebody like everybody else.
        handover.tick(at(second + 3700));
        assert!(handover.watched.is_empty());
    }

    #[test]
    fn a_person_who_is_refused_now_and_then_is_not_dropped() {
        let mut handover = handover();
        for s in 0..3600 {
            // A page with its parts, reloaded every minute.
            let count = if s % 60 == 0 { 20 } else { 0 };
            assert_eq!(handover.note_refused(v4(1), 1, count, at(s)), None);
            handover.tick(at(s));
        }
    }

    #[test]
    fn an_address_behind_which_somebody_was_served_is_never_dropped() {
        let mut handover = handover();
        for s in 0..1200 {
            if s % 250 == 0 {
                handover.note_good(v4(9), at(s));
            }
            assert_eq!(handover.note_refused(v4(9), 1, 50, at(s)), None, "after {s} s");
            handover.tick(at(s));
        }
        assert!((1200..1900).any(|s| handover.note_refused(v4(9), 1, 50, at(s)).is_some() || handover.tick(at(s))));
        handover.note_good(v4(9), at(2000));
        assert_eq!(handover.held_count(), 0, "it is lifted at once");
    }

    #[test]
    fn who_cannot_see_drops_nobody_and_a_wrong_mitigation_is_undone() {
        let mut handover = handover();
        handover.note_blind(at(1));
        assert_eq!(handover.note_refused(v4(1), 1, 100, at(2)), None);
        assert!(handover.note_refused(v4(1), 1, 100, at(12)).is_some());
        assert!(handover.note_refused(v4(2), 2, 100, at(12)).is_some());
        assert_eq!(handover.lift(|held| held.mitigation == 1), 1);
        assert_eq!(handover.held().map(|held| held.source).collect::<Vec<_>>(), [v4(2)]);
        assert_eq!(handover.note_refused(v4(1), 1, 10, at(12)), None, "it counts for nothing");
    }

    #[test]
    fn a_host_changes_its_address_within_its_network_in_vain() {
        let mut handover = handover();
        let of = |n: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0000_0001_u128 << 64 | n));
        assert!((0..50).any(|n| handover.note_refused(of(n), 1, 1, at(1)).is_some()));
        assert_eq!(handover.held().map(|held| held.source).collect::<Vec<_>>(), [of(0)]);
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert_eq!(source_of(mapped), v4(1));
    }

    #[test]
    fn at_the_bounds_those_who_are_there_stay() {
        let config = HandoverConfig { sources_most: 100, ..HandoverConfig::default() };
        let mut handover = Handover::new(config, 7);
        for n in 0..2 * HANDOVER_WATCHED_MAX as u32 {
            handover.note_refused(v4(n), 1, 100, at(1));
        }
        assert_eq!(handover.held_count(), 100);
        assert_eq!(handover.watched.len(), HANDOVER_WATCHED_MAX);
        assert!(handover.held().any(|held| held.source == v4(0)));
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Refused(u8, u32),
        Good(u8),
        Wait(u16),
        Lift(u8),
        Blind,
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (any::<u8>(), 0..100_u32).prop_map(|(n, count)| Op::Refused(n % 8, count)),
            1 => any::<u8>().prop_map(|n| Op::Good(n % 8)),
            2 => any::<u16>().prop_map(Op::Wait),
            1 => any::<u8>().prop_map(|n| Op::Lift(n % 8)),
            1 => Just(Op::Blind),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_dropped_for_good_nor_beside_somebody_good(ops in proptest::collection::vec(any_op(), 1..200)) {
            let mut handover = handover();
            let (mut now, mut good) = (Moment::default(), [None; 8]);
            for op in ops {
                match op {
                    Op::Refused(n, count) => drop(handover.note_refused(v4(n.into()), 1, count, now)),
                    Op::Good(n) => {
                        handover.note_good(v4(n.into()), now);
                        good[usize::from(n)] = Some(now);
                    }
                    Op::Wait(s) => now = now.after(Duration::from_secs(u64::from(s) % 900)),
                    Op::Lift(n) => drop(handover.lift(|held| held.source == v4(n.into()))),
                    Op::Blind => handover.note_blind(now),
                }
                handover.tick(now);
                prop_assert_eq!(handover.held().count(), handover.held_count());
                for held in handover.held() {
                    prop_assert!(held.until > now && held.until <= now.after(Duration::from_secs(600)));
                    let n = (0..8).find(|n| v4(*n) == held.source).unwrap();
                    prop_assert!(good[n as usize].is_none_or(|good| now.since(good) >= GOOD_KEPT));
                }
            }
        }
    }
}
