//! Those who wait in the room of a service, and what a checker outside the core makes of it.

use super::{Report, Rng};
use crate::Moment;
use crate::room::{Place, RoomRules};

/// Between two looks of somebody who waits.
const LOOK_S: f64 = 5.0;

/// Somebody's place: what the core's caller keeps with whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) place: Place,
    opened: Moment,
    since: Moment,
    /// When its turn was said to come, at the first look after the shuffle; 0: not said yet.
    promised: Moment,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Look {
    /// It is its turn.
    Enters,
    /// The room has closed: everybody may come.
    Open,
    /// It looks again after so many seconds.
    Waits(Held, f64),
}

/// Watches one room from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomCheck {
    opened: Option<Moment>,
    front: Place,
}

impl RoomCheck {
    /// The front of one opening never goes back.
    pub(super) fn ticked(&mut self, room: Option<&RoomRules>, report: &mut Report) {
        let Some(room) = room else {
            self.opened = None;
            return;
        };
        if self.opened != Some(room.opened) {
            (self.opened, self.front) = (Some(room.opened), 0);
            report.rooms_opened += 1;
        }
        if room.front < self.front {
            report.breach(|| format!("the front of the room went back from {} to {}", self.front, room.front));
        }
        self.front = room.front;
    }
}

impl Held {
    /// The place of somebody who comes now.
    pub(super) fn new(room: &RoomRules, now: Moment, lot: u16) -> Self {
        Self { place: room.place(now, lot), opened: room.opened, since: now, promised: Moment(0) }
    }

    /// Looks whether it is its turn.
    pub(super) fn look(mut self, room: Option<&RoomRules>, now: Moment, rng: &mut Rng, report: &mut Report) -> Look {
        let Some(room) = room.filter(|room| room.opened == self.opened) else {
            self.ends(now, report);
            return Look::Open;
        };
        if room.admits(self.place) {
            self.ends(now, report);
            return Look::Enters;
        }
        let (_, wait) = room.outlook(self.place);
        if self.promised.0 == 0
            && now.since(room.opened).as_secs_f64() > 20.0
            && let Some(wait) = wait
        {
            self.promised = now.after(wait);
        }
        Look::Waits(self, LOOK_S * (0.8 + 0.4 * rng.unit()))
    }

    fn ends(&self, now: Moment, report: &mut Report) {
        let waited_s = now.since(self.since).as_secs_f64();
        report.waited += 1;
        report.waited_longest_s = report.waited_longest_s.max(waited_s);
        // Whoever waits a while is told the time; it may not be far off, either way.
        if self.promised.0 != 0 && waited_s > 20.0 {
            let told_s = self.promised.since(self.since).as_secs_f64();
            report.promises += 1;
            report.promises_kept += u64::from(told_s > 0.5 * waited_s - 10.0 && told_s < 2.0 * waited_s + 10.0);
        }
    }
}
