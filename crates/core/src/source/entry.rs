//! What is remembered of one source, in about 120 bytes.

use core::time::Duration;

use super::{Outcome, SourceConfig, Standing3};
use crate::bounds::SUSPECT_TICKS_MAX;
use crate::{Moment, ServiceId};

/// Demand is counted with this time constant: long enough to tell a page load from a robot that goes on.
pub const PACE_TIME_CONSTANT_S: f32 = 8.0;
/// A second, slower count tells who goes on for minutes from who opens a few pages: its time constant, and the requests
/// within it that weigh as much as one within the quick one. Thirty-two in a minute weigh as much as five at once.
const LONG_TIME_CONSTANT_S: f32 = 64.0;
const LONG_WEIGHT: f32 = 5.0 / 32.0;
/// Services whose demand is told apart for one source; a further one takes over the least recent one's count.
const SERVICES_PER_SOURCE: usize = 3;
/// Points of protocol abuse from which a source is suspect, and the time constant with which they fade.
const ABUSE_POINTS_SUSPECT: f32 = 10.0;
const ABUSE_FADE_S: f32 = 60.0;
/// Refusals ignored from which a source is suspect; with the fade, more than 1.7 a second must go on for long: a person
/// who reloads in anger does not get there, a robot at four a second does within about ten seconds.
const IGNORED_SUSPECT: f32 = 10.0;
const IGNORED_FADE_S: f32 = 6.0;
/// Ignored refusals count at most this often, so that the parallel requests of one page count once.
const IGNORED_SPACING_TICKS: u32 = 16;
/// Demand over the suspect rate for this long makes suspect.
const OVER_TICKS: u32 = 63;
/// Client errors that are remembered of one source.
const ERRORS_KEPT: u8 = 8;
/// First term of suspicion; it doubles up to ten times this.
const SUSPECT_TICKS: u32 = 3750;
/// Distinct sessions are counted afresh every ten minutes.
const SESSION_TICKS: u32 = 37_500;
const TICK_US: u64 = 16_000;
const NO_SERVICE: u16 = u16::MAX;

/// Time in ticks of 16 ms; wraps after two years, which only differences see.
pub(super) const fn tick_of(now: Moment) -> u32 {
    (now.0 / TICK_US) as u32
}

pub(super) const fn ticks_of(span: Duration) -> u32 {
    let ticks = span.as_micros() as u64 / TICK_US;
    if ticks > 0x7fff_ffff { 0x7fff_ffff } else { ticks as u32 }
}

/// `a` is at or after `b`, by the shorter way round.
const fn reached(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 0x8000_0000
}

pub(super) fn seconds(ticks: u32) -> f32 {
    ticks as f32 * (TICK_US as f32 / 1e6)
}

#[derive(Clone, Copy)]
struct Tally {
    service: u16,
    seen: u32,
    /// Requests, fading with the time constant.
    requests: f32,
    /// What they cost (requests of mean cost), fading likewise.
    count: f32,
    /// What they cost, fading with the long time constant.
    long: f32,
    /// Share used and not yet regained, in requests, at `used_at`.
    used: f32,
    used_at: u32,
}

const NO_TALLY: Tally =
    Tally { service: NO_SERVICE, seen: 0, requests: 0.0, count: 0.0, long: 0.0, used: 0.0, used_at: 0 };

#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) first: u32,
    pub(super) last: u32,
    good: u16,
    refused: u16,
    abuse: f32,
    ignored: f32,
    ignored_at: u32,
    refused_until: u32,
    over_since: u32,
    suspect_until: u32,
    suspect_ticks: u32,
    sessions_now: u32,
    sessions_before: u32,
    sessions_at: u32,
    /// Client errors lately; each good answer takes half of them back. And whether there was any answer.
    errors: u8,
    answered: bool,
    waits: bool,
    over: bool,
    suspect: bool,
    tallies: [Tally; SERVICES_PER_SOURCE],
}

/// What one look at an entry told.
pub(super) struct Seen {
    pub(super) pace_per_s: f32,
    pub(super) rate_per_s: f32,
    pub(super) used: f32,
    pub(super) used_age_s: f32,
    pub(super) ignored_refusal: bool,
}

impl Entry {
    pub(super) const VACANT: Self = Self {
        key: 0,
        first: 0,
        last: 0,
        good: 0,
        refused: 0,
        abuse: 0.0,
        ignored: 0.0,
        ignored_at: 0,
        refused_until: 0,
        over_since: 0,
        suspect_until: 0,
        suspect_ticks: 0,
        sessions_now: 0,
        sessions_before: 0,
        sessions_at: 0,
        errors: 0,
        answered: false,
        waits: false,
        over: false,
        suspect: false,
        tallies: [NO_TALLY; SERVICES_PER_SOURCE],
    };

    pub(super) fn new(key: u64, tick: u32) -> Self {
        Self { key, first: tick, last: tick, sessions_at: tick, ..Self::VACANT }
    }

    /// Counts one request of this cost, and judges whether it shows contempt for a refusal or demand far over the usual.
    /// Pace and rate are in cost, because cost is what is shared out; suspicion goes by requests, because what a
    /// request costs says nothing of who sends it.
    pub(super) fn observe(&mut self, tick: u32, service: ServiceId, cost: f32, suspect_rate_per_s: f32) -> Seen {
        self.fade(tick);
        let scale = self.share_scale(tick);
        let age_s = seconds(tick.wrapping_sub(self.first));
        let tally = self.tally(service, tick);
        tally.requests += 1.0;
        tally.count += cost;
        tally.long += cost;
        let quick = tally.count / PACE_TIME_CONSTANT_S;
        let pace_per_s = quick.max(tally.long * LONG_WEIGHT / PACE_TIME_CONSTANT_S);
        // A young source has had no time to fill the window: correct for it, from a quarter of a second on.
        let filled = 1.0 - (-age_s.max(0.25) / PACE_TIME_CONSTANT_S).exp();
        let rate_per_s = quick / filled;
        let requests_per_s = tally.requests / PACE_TIME_CONSTANT_S / filled;
        let (used, used_age_s) = (tally.used, seconds(tick.wrapping_sub(tally.used_at)));
        let ignored_refusal = self.note_ignored(tick, scale);
        if requests_per_s > suspect_rate_per_s * scale {
            if !self.over {
                (self.over, self.over_since) = (true, tick);
            } else if tick.wrapping_sub(self.over_since) >= OVER_TICKS {
                self.suspect_again(tick);
            }
        } else {
            self.over = false;
        }
        Seen { pace_per_s, rate_per_s, used, used_age_s, ignored_refusal }
    }

    /// A request well before the time given in a refusal is an ignored refusal.
    fn note_ignored(&mut self, tick: u32, scale: f32) -> bool {
        if !self.waits {
            return false;
        }
        if reached(tick, self.refused_until) {
            self.waits = false;
            return false;
        }
        if tick.wrapping_sub(self.ignored_at) >= IGNORED_SPACING_TICKS {
            self.ignored_at = tick;
            self.ignored += 1.0;
            if self.ignored >= IGNORED_SUSPECT * scale {
                self.suspect_again(tick);
            }
        }
        true
    }

    fn fade(&mut self, tick: u32) {
        let span_s = seconds(tick.wrapping_sub(self.last));
        if span_s > 0.0 && (self.ignored > 0.0 || self.abuse > 0.0) {
            self.ignored *= (-span_s / IGNORED_FADE_S).exp();
            self.abuse *= (-span_s / ABUSE_FADE_S).exp();
        }
        if self.suspect && reached(tick, self.suspect_until) {
            self.suspect = false;
        }
        // A whole term of good behaviour after the last one: forgotten.
        if !self.suspect && self.suspect_ticks > 0 && reached(tick, self.suspect_until.wrapping_add(self.suspect_ticks))
        {
            self.suspect_ticks = 0;
        }
        self.last = tick;
    }

    fn suspect_again(&mut self, tick: u32) {
        if self.suspect {
            // It goes on: a new term, twice as long, once the running one is half over.
            if self.suspect_until.wrapping_sub(tick) > self.suspect_ticks / 2 {
                return;
            }
        }
        self.suspect_ticks =
            if self.suspect_ticks == 0 { SUSPECT_TICKS } else { (self.suspect_ticks * 2).min(SUSPECT_TICKS_MAX) };
        self.suspect = true;
        self.suspect_until = tick.wrapping_add(self.suspect_ticks);
    }

    pub(super) fn outcome(&mut self, tick: u32, outcome: Outcome) {
        match outcome {
            Outcome::Good => {
                (self.good, self.errors, self.answered) = (self.good + 1, self.errors / 2, true);
            }
            Outcome::ClientError => {
                self.abuse += 0.05;
                (self.errors, self.answered) = ((self.errors + 1).min(ERRORS_KEPT), true);
            }
            Outcome::Refused { retry_after_s } => {
                self.refused += 1;
                // "Well before": within the first half of the time given.
                let half = Duration::from_millis(u64::from(retry_after_s) * 500);
                if !self.waits && retry_after_s > 0 {
                    (self.waits, self.refused_until) = (true, tick.wrapping_add(ticks_of(half)));
                    self.ignored_at = tick;
                }
            }
            Outcome::Abuse { weight } => {
                self.abuse += weight.clamp(0.0, ABUSE_POINTS_SUSPECT);
                if self.abuse >= ABUSE_POINTS_SUSPECT * self.share_scale(tick) {
                    self.suspect_again(tick);
                }
            }
        }
        if self.good > 1024 || self.refused > 1024 {
            (self.good, self.refused) = (self.good / 2, self.refused / 2);
        }
    }

    pub(super) fn standing(&self, tick: u32, config: &SourceConfig) -> Standing3 {
        if self.suspect && !reached(tick, self.suspect_until) {
            return Standing3::Suspect;
        }
        let old = tick.wrapping_sub(self.first) >= ticks_of(config.known_after);
        let well_answered = self.good >= config.known_good_min && self.refused <= self.good;
        let well_behaved = self.abuse < 1.0 && self.ignored < 4.0 && self.suspect_ticks == 0;
        if old && well_answered && well_behaved { Standing3::Known } else { Standing3::Anonymous }
    }

    /// How the last requests were answered, as a value of [`crate::signs::Dimension::Answer`].
    pub(super) const fn answers(&self) -> u8 {
        match (self.answered, self.errors) {
            (false, _) => 1,
            (true, 0) => 2,
            (true, 1 | 2) => 3,
            (true, _) => crate::signs::ANSWER_CLIENT_ERRORS as u8,
        }
    }

    /// How much the table wants to keep this entry against a newcomer; `None`: not at all to be given up.
    pub(super) fn retention(&self, tick: u32, config: &SourceConfig) -> Option<f32> {
        let idle = tick.wrapping_sub(self.last);
        let standing = self.standing(tick, config);
        if standing == Standing3::Known && idle <= ticks_of(config.known_life) {
            return None;
        }
        // Heavy sources are worth remembering: forgetting a light one does it no harm, since it looks new again.
        let heavy: f32 = self.tallies.iter().map(|t| t.count * (-seconds(idle) / PACE_TIME_CONSTANT_S).exp()).sum();
        let good = f32::from(self.good.min(64)) / 4.0 * (-seconds(idle) / 300.0).exp();
        let suspect = if standing == Standing3::Suspect { 1000.0 } else { 0.0 };
        Some(heavy + good + suspect - seconds(idle) * 1e-6)
    }

    /// Remembers that a valid session was seen behind this source.
    pub(super) fn note_session(&mut self, tick: u32, session: u64) {
        self.turn_sessions(tick);
        self.sessions_now |= 1 << (session >> 59);
    }

    fn turn_sessions(&mut self, tick: u32) {
        let age = tick.wrapping_sub(self.sessions_at);
        if age >= SESSION_TICKS {
            self.sessions_before = if age >= 2 * SESSION_TICKS { 0 } else { self.sessions_now };
            (self.sessions_now, self.sessions_at) = (0, tick);
        }
    }

    /// By how much the share of this source is scaled: 1 + distinct sessions lately seen behind it (linear counting
    /// over 32 bits, so at most about 110). Carrier-grade NAT holds many people behind one address.
    pub(super) fn share_scale(&mut self, tick: u32) -> f32 {
        self.turn_sessions(tick);
        let zeros = (self.sessions_now | self.sessions_before).count_zeros();
        if zeros == 32 { 1.0 } else { 1.0 + 32.0 * (32.0 / zeros.max(1) as f32).ln() }
    }

    /// Takes `cost` from the share, which is regained at `rate_per_s`.
    pub(super) fn charge(&mut self, tick: u32, service: ServiceId, rate_per_s: f32, cost: f32) {
        let tally = self.tally(service, tick);
        let regained = rate_per_s * seconds(tick.wrapping_sub(tally.used_at));
        tally.used = (tally.used - regained).max(0.0) + cost;
        tally.used_at = tick;
    }

    fn tally(&mut self, service: ServiceId, tick: u32) -> &mut Tally {
        let at = self.tallies.iter().position(|t| t.service == service.0).unwrap_or_else(|| {
            // Vacant first, else the least recent one, whose count and use it takes over: going round many services
            // must not wash a source clean.
            let oldest = (0..SERVICES_PER_SOURCE)
                .max_by_key(|&i| {
                    let t = &self.tallies[i];
                    if t.service == NO_SERVICE { u32::MAX } else { tick.wrapping_sub(t.seen) }
                })
                .unwrap_or(0);
            if self.tallies[oldest].service == NO_SERVICE {
                self.tallies[oldest] = Tally { seen: tick, used_at: tick, ..NO_TALLY };
            }
            self.tallies[oldest].service = service.0;
            oldest
        });
        let tally = &mut self.tallies[at];
        let span_s = seconds(tick.wrapping_sub(tally.seen));
        if span_s > 0.0 {
            let kept = (-span_s / PACE_TIME_CONSTANT_S).exp();
            tally.requests *= kept;
            tally.count *= kept;
            tally.long *= (-span_s / LONG_TIME_CONSTANT_S).exp();
            tally.seen = tick;
        }
        tally
    }
}
