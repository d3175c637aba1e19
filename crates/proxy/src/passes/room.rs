//! Places in the waiting room of a service: signed, kept by whoever waits, and good for one opening.

use std::time::Duration;

use guichet_core::room::{Place, RoomRules};

use super::token::{Token, Use};
use super::{Holder, PASS_BUDGET, PASS_LIFE_S, Passes, seconds};

/// Cookie of a place. Never forwarded to a service.
pub const ROOM_COOKIE: &str = "guichet-room";
/// How long a place is kept for somebody who closed the page, in seconds.
const KEPT_S: u32 = 3600;
/// Bits of a place in the id of its token; the rest tells the opening.
const PLACE_BITS: u32 = 36;

/// A place, and the text that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPlace {
    /// Where on the line.
    pub place: Place,
    /// What the client keeps.
    pub text: String,
    /// Whether it was given out just now, so that it must be counted.
    pub is_new: bool,
}

/// How somebody stands in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is its turn: the pass.
    Enters(Token),
    /// It waits: how many are before it, how long that will take.
    Waits(RoomPlace, u32, Option<Duration>),
    /// The room is about to open: there are no places yet.
    Soon,
    /// Its network has taken more places than its share: it must come again.
    Later,
}

impl Passes {
    /// How somebody stands: by a place that it shows, the first that counts, or by a new one.
    pub(crate) fn in_room(
        &self,
        holder: &Holder<'_>,
        shown: &[&str],
        room: &RoomRules,
        (now_s, now): (u64, guichet_core::Moment),
    ) -> Standing {
        let opening = opening(room);
        let held = shown.iter().filter(|text| !text.is_empty()).find_map(|text| {
            let token = self.signer.verify(text, Use::Room, self.binding(holder), seconds(now_s))?;
            (token.id >> PLACE_BITS == opening).then(|| (token, (*text).to_owned()))
        });
        let place = match held {
            Some((token, text)) => {
                let place = token.id & ((1 << PLACE_BITS) - 1);
                if room.admits(place) {
                    return Standing::Enters(self.entry(&token, now_s));
                }
                // Whoever still looks keeps the place for another while, however long the line is.
                let now = seconds(now_s);
                let text = if token.ends_s < now + KEPT_S / 2 {
                    self.signer.sign(&Token { ends_s: now + KEPT_S, ..token })
                } else {
                    text
                };
                RoomPlace { place, text, is_new: false }
            }
            None => match self.new_place(holder, room, opening, now_s, now) {
                Some(place) => place,
                None => return Standing::Later,
            },
        };
        let (ahead, wait) = room.outlook(place.place);
        Standing::Waits(place, ahead, wait)
    }

    fn new_place(
        &self,
        holder: &Holder<'_>,
        room: &RoomRules,
        opening: u64,
        now_s: u64,
        now: guichet_core::Moment,
    ) -> Option<RoomPlace> {
        // Whoever sends many requests, or invents many programs, stands on the line no more often than its share.
        if !self.counts.rooms.take(self.network(holder), now.0 / 1000, 60, 60) {
            return None;
        }
        let binding = self.binding(holder);
        let lot = self.signer.number(b"lot", &[binding.to_be_bytes(), opening.to_be_bytes()].concat()) as u16;
        let place = room.place(now, lot);
        let token = Token {
            usage: Use::Room,
            bid: 0,
            budget: PASS_BUDGET,
            issued_s: seconds(now_s),
            ends_s: seconds(now_s) + KEPT_S,
            id: opening << PLACE_BITS | place & ((1 << PLACE_BITS) - 1),
            binding,
        };
        Some(RoomPlace { place, text: self.signer.sign(&token), is_new: true })
    }

    /// The pass of somebody whose turn it is: with the same account and the same requests however often it asks, and good
    /// for a whole life from now on, however long the wait was.
    fn entry(&self, place: &Token, now_s: u64) -> Token {
        let id = self.signer.number(b"entry", &[place.id.to_be_bytes(), place.binding.to_be_bytes()].concat());
        let now = seconds(now_s);
        Token { usage: Use::Pass, id, issued_s: now, ends_s: now + PASS_LIFE_S, ..*place }
    }
}

/// Tells one opening of a room from others.
fn opening(room: &RoomRules) -> u64 {
    (room.opened.0 / 1000) & ((1 << (64 - PLACE_BITS)) - 1)
}
