//! The waiting room: who may enter when more people of good standing come than a service can take.
//!
//! It opens by itself, and nobody is refused for being many. Whoever comes gets a place: a point on a line of virtual
//! time. Those who come within the first seconds are shuffled over what is left of them, since at the opening nobody was
//! first; later ones stand where they came. The front of the line moves on as fast as the service has room for more people. The core
//! knows only how many places were given out for each second of the line, never to whom: memory does not grow with
//! those who wait.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::Moment;
use crate::bounds::{ROOM_SECONDS_MAX, ROOM_SHUFFLE_S};

/// Where a place is on the line, in milliseconds since the opening.
pub type Place = u64;

/// An open room, as the hot path sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomRules {
    /// When it opened: tells this opening from others.
    pub opened: Moment,
    /// Places up to this one may enter.
    pub front: Place,
    /// People let in a second, lately.
    pub rate_per_s: f32,
    /// How many places were given out up to the end of each second of the line, from the second of the front on.
    ahead: Arc<[u32]>,
    /// The second of the line that `ahead` begins with.
    ahead_from_s: u64,
}

impl RoomRules {
    /// A room with nobody in it, whose front is here.
    #[must_use]
    pub fn empty(opened: Moment, front: Place) -> Self {
        Self { opened, front, rate_per_s: 0.0, ahead: Arc::new([]), ahead_from_s: front / 1000 }
    }

    /// The place of somebody who comes now. `lot`: drawn from who it is (0 to 65,535), so that whoever opens many tabs
    /// draws the same one.
    #[must_use]
    pub fn place(&self, now: Moment, lot: u16) -> Place {
        let since_ms = now.since(self.opened).as_millis() as u64;
        let shuffle_ms = ROOM_SHUFFLE_S * 1000;
        if since_ms >= shuffle_ms {
            return since_ms;
        }
        // Behind those who were let in meanwhile, among those who stand.
        let from_ms = self.front + 1;
        from_ms + u64::from(lot) * shuffle_ms.saturating_sub(from_ms) / 65_536
    }

    /// Whether whoever holds this place may enter.
    #[must_use]
    pub const fn admits(&self, place: Place) -> bool {
        place <= self.front
    }

    /// How many are before this place, and how long that will take at the present rate; `None` while no rate is known.
    #[must_use]
    pub fn outlook(&self, place: Place) -> (u32, Option<Duration>) {
        if self.admits(place) {
            return (0, Some(Duration::ZERO));
        }
        let at = (place / 1000).saturating_sub(self.ahead_from_s) as usize;
        let upto = |at: usize| self.ahead.get(at).or(self.ahead.last()).copied().unwrap_or(0);
        let (before, within) = (if at == 0 { 0 } else { upto(at - 1) }, upto(at));
        let part = (place % 1000) as f32 / 1000.0;
        let ahead = before + (within.saturating_sub(before) as f32 * part) as u32;
        let wait = (self.rate_per_s > 0.01).then(|| Duration::from_secs_f32((ahead + 1) as f32 / self.rate_per_s));
        (ahead, wait)
    }
}

/// Places given out in a span, counted by a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Places in the shuffled part of the line, by second.
    pub shuffled: [u32; ROOM_SHUFFLE_S as usize],
    /// Places behind it, all given out now.
    pub behind: u32,
}

impl RoomCounts {
    /// Counts a place that was given out.
    pub const fn note(&mut self, place: Place) {
        let second = (place / 1000) as usize;
        if second < self.shuffled.len() {
            self.shuffled[second] += 1;
        } else {
            self.behind += 1;
        }
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.shuffled.iter_mut().zip(&other.shuffled) {
            *mine += theirs;
        }
        self.behind += other.behind;
    }
}

/// What one tick says of a service, as far as its room depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowding {
    /// More light strangers come than the service has room for.
    pub(crate) crowded: bool,
    /// Part of all requests of this tick that nobody had room for, those of attackers aside.
    pub(crate) turned_away: f32,
    /// What they and those of standing ask beyond what it can take, as a part of that; below 0 where it can take more.
    pub(crate) excess: f32,
    /// Part of what it can take that those of standing ask now.
    pub(crate) used: f32,
    /// It has more requests of those than it can take.
    pub(crate) full: bool,
    /// Requests a second that it can take; 0: not known.
    pub(crate) capacity_per_s: f32,
}

/// The room must have been needed this long before it opens, and nobody have waited this long before it closes.
const OPEN_AFTER: Duration = Duration::from_secs(4);
/// And so much must have come beyond what the service can do, in seconds of all it does: a crowd that is little too large,
/// or soon over, is served sooner by queueing for a moment than by waiting for its turn.
const OPEN_OWED_S: f32 = 4.0;
/// It opens after this long already where queueing is no help any more: so large a part of all is turned away.
const OPEN_TURNED_AWAY_AFTER: Duration = Duration::from_secs(1);
const OPEN_TURNED_AWAY: f32 = 0.1;
/// Time constant of that part.
const TURNED_AWAY_S: f32 = 0.5;
const CLOSE_AFTER: Duration = Duration::from_secs(5);
/// Requests of one visit, as a first guess at how many people a second the service can take.
const REQUESTS_PER_VISIT: f32 = 6.0;
/// The rate of entries is cut by so much when the service is full, and then left alone for as long as it takes until that
/// shows: people look every few seconds whether it is their turn, and ask for more pages later.
const CUT: f32 = 0.8;
const CUT_SHOWS_AFTER: Duration = Duration::from_secs(9);
/// Else it grows by so much a second, times what is missing to the use that is aimed at.
const USED_AIM: f32 = 0.7;
const FOLLOW_PER_S: f32 = 0.3;
/// Time constant of the rate that is told to those who wait.
const TOLD_S: f32 = 10.0;

/// The brain's side of one service's room.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomWatch {
    open: Option<Open>,
    crowded_since: Option<Moment>,
    /// What came beyond what the service can do since then, in seconds of all it does.
    owed_s: f32,
    turned_away: f32,
    turned_away_since: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Open {
    opened: Moment,
    /// Places given out, by second of the line; the first is that of the front.
    line: VecDeque<f32>,
    line_from_s: u64,
    front: Place,
    /// Entries a second that are allowed now, and those that were used, lately.
    rate_per_s: f32,
    told_per_s: f32,
    empty_since: Option<Moment>,
    cut_at: Moment,
}

impl RoomWatch {
    pub(crate) fn rules(&self) -> Option<RoomRules> {
        let open = self.open.as_ref()?;
        let mut sum = 0.0;
        let ahead = open.line.iter().map(|places| {
            sum += places;
            sum as u32
        });
        Some(RoomRules {
            opened: open.opened,
            front: open.front,
            rate_per_s: open.told_per_s,
            ahead: ahead.collect(),
            ahead_from_s: open.line_from_s,
        })
    }

    /// Whether it is about to open: too many are turned away, and a crowd seems to be why.
    pub(crate) const fn is_soon(&self) -> bool {
        self.open.is_none() && self.crowded_since.is_some() && self.turned_away_since.is_some()
    }

    /// Takes in what was counted and moves the front on.
    pub(crate) fn tick(&mut self, now: Moment, span: Duration, counts: &RoomCounts, crowding: &Crowding) {
        let span_s = span.as_secs_f32();
        match &mut self.open {
            None => {
                let since = *self.crowded_since.get_or_insert(now);
                self.owed_s = (self.owed_s + crowding.excess * span_s).max(0.0);
                let weight = 1.0 - (-span_s / TURNED_AWAY_S).exp();
                self.turned_away += (crowding.turned_away - self.turned_away) * weight;
                let too_much = now.since(since) >= OPEN_AFTER && self.owed_s >= OPEN_OWED_S;
                self.turned_away_since =
                    (self.turned_away >= OPEN_TURNED_AWAY).then(|| self.turned_away_since.unwrap_or(now));
                let no_help = self.turned_away_since.is_some_and(|since| now.since(since) >= OPEN_TURNED_AWAY_AFTER);
                if !crowding.crowded {
                    (self.crowded_since, self.owed_s) = (None, 0.0);
                } else if too_much || no_help {
                    self.open = Some(Open::new(now, crowding));
                }
            }
            Some(open) => {
                open.take(now, counts);
                // At first the service is full of those who were there before.
                if open.since_ms(now) >= ROOM_SHUFFLE_S * 1000 {
                    open.follow(now, span_s, crowding);
                }
                open.advance(now, span_s, crowding.full);
                if open.is_over(now, crowding) {
                    *self = Self::default();
                }
            }
        }
    }
}

impl Open {
    fn new(now: Moment, crowding: &Crowding) -> Self {
        let rate_per_s = (0.5 * crowding.capacity_per_s / REQUESTS_PER_VISIT).max(0.5);
        Self {
            opened: now,
            line: VecDeque::new(),
            line_from_s: 0,
            front: 0,
            rate_per_s,
            told_per_s: rate_per_s,
            empty_since: None,
            cut_at: Moment(0),
        }
    }

    fn since_ms(&self, now: Moment) -> u64 {
        now.since(self.opened).as_millis() as u64
    }

    fn take(&mut self, now: Moment, counts: &RoomCounts) {
        for (second, places) in counts.shuffled.iter().enumerate() {
            self.put(second as u64, *places);
        }
        self.put((self.since_ms(now) / 1000).max(ROOM_SHUFFLE_S), counts.behind);
    }

    fn put(&mut self, second: u64, places: u32) {
        if places == 0 || second < self.line_from_s {
            return;
        }
        // Beyond the bound the last second stands for all that come later: they still enter in their order.
        let at = ((second - self.line_from_s) as usize).min(ROOM_SECONDS_MAX - 1);
        if self.line.len() <= at {
            self.line.resize(at + 1, 0.0);
        }
        self.line[at] += places as f32;
    }

    /// More may enter while the service could do more, fewer while it can't.
    fn follow(&mut self, now: Moment, span_s: f32, crowding: &Crowding) {
        if now.since(self.cut_at) < CUT_SHOWS_AFTER {
            return;
        }
        if crowding.full {
            self.cut_at = now;
            self.rate_per_s *= CUT;
        } else {
            self.rate_per_s *= (FOLLOW_PER_S * (USED_AIM - crowding.used) * span_s).exp();
        }
        self.rate_per_s = self.rate_per_s.clamp(0.2, crowding.capacity_per_s.max(1.0));
    }

    /// Lets the next ones in; nobody while the service is full, however slow the rate is to follow that.
    fn advance(&mut self, now: Moment, span_s: f32, full: bool) {
        let since_ms = self.since_ms(now);
        let mut left = if full { 0.0 } else { self.rate_per_s * span_s };
        let mut let_in = 0.0;
        while left > 0.0 && self.front < since_ms {
            let second_end = (self.line_from_s + 1) * 1000;
            let here_ms = second_end.min(since_ms).saturating_sub(self.front);
            let places = self.line.front().copied().unwrap_or(0.0);
            // Places of the second under way may still be given out: it is left only when it is over.
            let open_second = second_end > since_ms;
            if places <= left {
                left -= places;
                let_in += places;
                self.front += here_ms;
                if let Some(first) = self.line.front_mut() {
                    *first = 0.0;
                }
                if open_second {
                    break;
                }
                self.line.pop_front();
                self.line_from_s += 1;
            } else {
                self.front += (here_ms as f32 * left / places) as u64;
                if let Some(first) = self.line.front_mut() {
                    *first -= left;
                }
                let_in += left;
                left = 0.0;
            }
        }
        let weight = 1.0 - (-span_s / TOLD_S).exp();
        // Where nobody waits, the rate that could be is told, not the one that was.
        let rate = if left > 0.0 { self.rate_per_s } else { let_in / span_s };
        self.told_per_s += (rate - self.told_per_s) * weight;
    }

    /// Nobody has waited for a while, and there is room.
    fn is_over(&mut self, now: Moment, crowding: &Crowding) -> bool {
        let waiting: f32 = self.line.iter().sum();
        if waiting >= 1.0 || crowding.full {
            self.empty_since = None;
            return false;
        }
        let since = *self.empty_since.get_or_insert(now);
        now.since(since) >= CLOSE_AFTER && self.since_ms(now) > ROOM_SHUFFLE_S * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Moment {
        Moment(ms * 1000)
    }

    fn crowding(crowded: bool, full: bool) -> Crowding {
        let (used, excess) = if full { (1.0, 1.5) } else { (0.3, -0.2) };
        Crowding { crowded, turned_away: 0.0, excess, used, full, capacity_per_s: 60.0 }
    }

    /// A room that opened at 2,000 ms.
    fn opened() -> RoomWatch {
        let open = Open::new(at(2_000), &crowding(true, true));
        let room = RoomWatch { open: Some(open), ..RoomWatch::default() };
        assert!(room.rules().is_some());
        room
    }

    #[test]
    fn it_opens_when_crowded_for_long_and_closes_when_nobody_waits() {
        let mut room = RoomWatch::default();
        for tick in 0..100 {
            room.tick(at(tick * 100), TICK, &RoomCounts::default(), &crowding(tick % 10 < 9, true));
            assert!(room.rules().is_none(), "one calm moment is enough");
        }
        let needed = OPEN_AFTER.as_millis() as u64 / 100;
        for tick in 0..=needed {
            assert!(room.rules().is_none(), "not at once");
            room.tick(at(20_000 + tick * 100), TICK, &RoomCounts::default(), &crowding(true, true));
        }
        assert!(room.rules().is_some(), "it opens");
        // A crowd that is a tenth too large for some seconds is none; for a minute it is.
        let mut room = RoomWatch::default();
        let slight = Crowding { excess: 0.1, ..crowding(true, true) };
        let opens = (0..1_000).find(|tick| {
            room.tick(at(60_000 + tick * 100), TICK, &RoomCounts::default(), &slight);
            room.rules().is_some()
        });
        assert!(opens.is_some_and(|tick| (350..450).contains(&tick)), "{opens:?}");
        let mut room = opened();
        let mut closed = None;
        for tick in 21..300 {
            room.tick(at(tick * 100), TICK, &RoomCounts::default(), &crowding(false, false));
            if room.rules().is_none() {
                closed.get_or_insert(tick);
            }
        }
        let closed = closed.expect("it closes");
        assert!(closed * 100 >= 2_000 + ROOM_SHUFFLE_S * 1000, "{closed}");
    }

    #[test]
    fn it_opens_sooner_where_queueing_is_no_help_and_not_where_few_are_turned_away() {
        let opens_at_tick = |turned_away| {
            let mut room = RoomWatch::default();
            let crowd = Crowding { turned_away, excess: 0.2, ..crowding(true, true) };
            (0..150_u64).find(|tick| {
                let said = room.is_soon();
                room.tick(at(60_000 + tick * 100), TICK, &RoomCounts::default(), &crowd);
                assert!(room.rules().is_none() || said, "that it opens is known before");
                room.rules().is_some()
            })
        };
        assert_eq!(opens_at_tick(0.05), None, "a moment later it fits");
        assert_eq!(opens_at_tick(0.3), Some(12), "after a second, once that is sure");
    }

    #[test]
    fn nobody_enters_while_the_service_is_full() {
        let mut room = opened();
        let rules = room.rules().expect("open");
        let mut counts = RoomCounts::default();
        (0..200_u32).for_each(|n| counts.note(rules.place(at(2_100), (n * 300) as u16)));
        for tick in 21..60 {
            room.tick(at(tick * 100), TICK, &counts, &crowding(true, true));
            counts = RoomCounts::default();
        }
        assert_eq!(room.rules().expect("open").front, 0);
        for tick in 60..70 {
            room.tick(at(tick * 100), TICK, &counts, &crowding(true, false));
        }
        assert!(room.rules().expect("open").front > 0);
    }

    #[test]
    fn those_of_the_opening_are_shuffled_and_later_ones_come_in_their_order() {
        let room = opened().rules().expect("open");
        let early = at(2_100);
        assert_eq!(room.place(early, 0), 1, "nobody enters on arrival");
        assert!(room.place(early, 65_535) < ROOM_SHUFFLE_S * 1000);
        assert_eq!(room.place(early, 500), room.place(at(4_000), 500), "many tabs draw the same lot");
        let late = at(2_000 + ROOM_SHUFFLE_S * 1000 + 300);
        assert_eq!(room.place(late, 0), ROOM_SHUFFLE_S * 1000 + 300);
        assert_eq!(room.place(late, 65_535), room.place(late, 0));
    }

    /// Three hundred come at the opening and ten a second later; about seven a second can enter.
    #[test]
    fn the_front_moves_on_as_the_service_has_room_and_nobody_is_overtaken() {
        let mut room = opened();
        let mut front = 0;
        let mut in_all = 0;
        for tick in 21..1_500_u64 {
            let now = at(tick * 100);
            let rules = room.rules().expect("open");
            let mut counts = RoomCounts::default();
            if tick < 40 {
                (0..16).for_each(|n| counts.note(rules.place(now, (tick * 997 + n * 4096) as u16)));
            } else if tick < 400 {
                counts.note(rules.place(now, 0));
            }
            in_all += counts.shuffled.iter().sum::<u32>() + counts.behind;
            // The service is full whenever more than seven a second are let in.
            let full = rules.rate_per_s > 7.0 && rules.outlook(Place::MAX / 2).0 > 0;
            room.tick(now, TICK, &counts, &crowding(true, full));
            let Some(rules) = room.rules() else { break };
            assert!(rules.front >= front, "the front never goes back");
            front = rules.front;
            assert!(rules.front <= now.since(rules.opened).as_millis() as u64);
        }
        assert!(in_all > 500);
        assert!(room.rules().is_none(), "in the end everybody is in, and it closes: {:?}", room.open);
    }

    #[test]
    fn the_outlook_is_what_is_ahead_over_the_rate() {
        let mut room = opened();
        let now = at(2_100);
        let mut counts = RoomCounts::default();
        let rules = room.rules().expect("open");
        (0..1_000_u32).for_each(|n| counts.note(rules.place(now, (n * 65) as u16)));
        room.tick(now, TICK, &counts, &crowding(true, true));
        let rules = room.rules().expect("open");
        let (ahead, wait) = rules.outlook(rules.place(now, 32_768));
        assert!((450..550).contains(&ahead), "{ahead}");
        let wait = wait.expect("a rate is known").as_secs_f32();
        assert!((wait * rules.rate_per_s - ahead as f32).abs() < 5.0, "{wait}");
        assert!(rules.outlook(rules.place(now, 60_000)).0 > ahead);
    }

    #[test]
    fn the_line_is_bounded_however_long_it_lasts() {
        let mut room = opened();
        let mut counts = RoomCounts { behind: 1_000, ..RoomCounts::default() };
        for second in 3..4 * ROOM_SECONDS_MAX as u64 {
            room.tick(at(second * 1000), Duration::from_secs(1), &counts, &crowding(true, true));
            counts.shuffled = Default::default();
        }
        let open = room.open.as_ref().expect("open");
        assert_eq!(open.line.len(), ROOM_SECONDS_MAX);
        assert!(room.rules().expect("open").outlook(u64::MAX / 2).0 > 1_000_000);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        /// Whatever comes and however much the service can take: nobody enters before those whose places are before, nobody
        /// enters on arrival while others stand, no more enter than the rate allows, and in the end all are in.
        #[test]
        fn nobody_is_overtaken(
            seed: u64,
            arrivals in proptest::collection::vec(0_u32..12, 20..120),
            slows in proptest::collection::vec(proptest::bool::ANY, 8..40),
        ) {
            let mut room = opened();
            let mut standing: Vec<Place> = Vec::new();
            let (mut entered, mut allowed, mut last) = (0_u32, 0.0_f32, 0);
            let mut done = false;
            for tick in 21..12_000_u64 {
                let now = at(tick * 100);
                let Some(rules) = room.rules() else { done = true; break };
                let mut counts = RoomCounts::default();
                for n in 0..arrivals.get(tick as usize - 21).copied().unwrap_or(0) {
                    let lot = (seed ^ tick << 8 ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
                    let place = rules.place(now, lot as u16);
                    proptest::prop_assert!(place >= rules.front, "a place before those who were let in");
                    counts.note(place);
                    standing.push(place);
                }
                // What the service can take changes every second.
                let takes = if slows[tick as usize / 10 % slows.len()] { 3.0 } else { 12.0 };
                let full = !standing.is_empty() && rules.rate_per_s > takes;
                allowed += room.open.as_ref().map_or(0.0, |open| open.rate_per_s) * 1.03 * 0.1;
                room.tick(now, TICK, &counts, &crowding(true, full));
                let front = room.rules().map_or(Place::MAX, |rules| rules.front);
                proptest::prop_assert!(front >= last, "the front went back");
                last = front;
                let before = standing.len();
                standing.retain(|place| *place > front);
                entered += (before - standing.len()) as u32;
                // Places of one second count as spread evenly over it, and real ones are not: that much is the slack.
                proptest::prop_assert!(entered as f32 <= allowed + 60.0, "{entered} of {allowed}");
            }
            proptest::prop_assert!(done && standing.is_empty(), "{} still stand", standing.len());
        }
    }
}
