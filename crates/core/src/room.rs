//! The waiting room: who may enter when more people of good standing come than a service can take.
//!
//! It opens by itself, and nobody is refused for being many. Whoever comes gets a place: a point on a line of virtual
//! time. Those who come within the first seconds are shuffled over what is left of them, since at the opening nobody was
//! first; later ones stand where they came. The front of the line moves on as fast as the service has room for more
//! people. The core knows only how many places were given out for each second of the line, never to whom: memory does
//! not grow with those who wait.

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
    /// draws no better one.
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
mod tests;
