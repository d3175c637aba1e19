//! A mitigation: a signature that is acted upon, step by step, with its evidence and its end.

use core::time::Duration;

use super::{Evidence, Kind, Signature};
use crate::{Moment, ServiceId};

/// What is done about requests that match. Greater is harsher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Step {
    /// Nothing: it is watched.
    Observe = 0,
    /// They come after everyone else.
    Deprioritise = 1,
    /// They need a pass.
    Challenge = 2,
    /// Whoever earned a pass gets a small share each; where passes can't be earned, each source does.
    Limit = 3,
    /// They are refused; where the connection tells enough, before any cryptography is paid for.
    Refuse = 4,
}

impl Step {
    /// All steps, mildest first.
    pub const ALL: [Self; 5] = [Self::Observe, Self::Deprioritise, Self::Challenge, Self::Limit, Self::Refuse];

    /// The name used in labels, logs and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Deprioritise => "deprioritise",
            Self::Challenge => "challenge",
            Self::Limit => "limit",
            Self::Refuse => "refuse",
        }
    }

    /// The step of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    const fn harsher(self) -> Self {
        match self {
            Self::Observe => Self::Deprioritise,
            Self::Deprioritise => Self::Challenge,
            Self::Challenge => Self::Limit,
            Self::Limit | Self::Refuse => Self::Refuse,
        }
    }

    const fn milder(self) -> Option<Self> {
        match self {
            Self::Observe => None,
            Self::Deprioritise => Some(Self::Observe),
            Self::Challenge => Some(Self::Deprioritise),
            Self::Limit => Some(Self::Challenge),
            Self::Refuse => Some(Self::Limit),
        }
    }
}

/// Why a mitigation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What it was for has not been seen for long enough.
    Quiet,
    /// It reached its greatest age; if the attack goes on, it will be found again.
    Expired,
    /// It would hit too many people of proven standing.
    Collateral,
    /// The operator ended or forbade it.
    Operator,
    /// A worse one needed its place.
    Displaced,
}

impl End {
    /// The name used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Expired => "expired",
            Self::Collateral => "collateral",
            Self::Operator => "operator",
            Self::Displaced => "displaced",
        }
    }
}

/// A signature that is acted upon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mitigation {
    /// Counts the mitigations of this node; never used twice.
    pub id: u32,
    /// Where it holds.
    pub service: ServiceId,
    /// What it matches.
    pub signature: Signature,
    /// What is done.
    pub step: Step,
    /// The harshest step it was at.
    pub peak: Step,
    /// Why it is there; brought up to date every second.
    pub evidence: Evidence,
    /// Requests that match now, a second.
    pub rate_per_s: f32,
    /// Of these, what comes to the service and fails there; known of sign-ins only.
    pub failed_per_s: f32,
    /// Requests that matched so far, estimated from samples.
    pub hits: f64,
    /// When it began.
    pub born: Moment,
    /// When its step last changed.
    pub changed: Moment,
    /// When it was last needed.
    pub needed: Moment,
    /// It ends by then, whatever happens, unless needed anew.
    pub expires: Moment,
    /// The operator holds it at its step until then.
    pub pinned_until: Option<Moment>,
    /// Whether its signature was known from before.
    pub known: bool,
}

/// How the service fares, as far as climbing depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plight {
    /// There is more demand than the service can take, or a multiple of the usual.
    pub(crate) attacked: bool,
    /// Requests that nobody mitigates were turned away lately.
    pub(crate) hurting: bool,
    /// Far more of the strangers' requests than usual come from where the last ones failed; of sign-ins: far more than usual
    /// still come to the service and fail.
    pub(crate) erring: bool,
    /// It is about failed sign-ins.
    pub(crate) sign_ins: bool,
    /// So many of them that all strangers must show a pass, if nothing tells those who guess.
    pub(crate) last_resort: bool,
    /// Strangers' requests a second.
    pub(crate) rate_per_s: f32,
    /// Requests a second that the service can take; 0: not known.
    pub(crate) capacity_per_s: f32,
    /// The node's own processors are full.
    pub(crate) strained: bool,
    /// A page can be shown, so that people can earn a pass.
    pub(crate) challenges: bool,
    /// Largest part of the people of proven standing that a refusal may hit.
    pub(crate) collateral_max: f32,
}

/// One watched in vain for this long is milder by a step.
const QUIET: Duration = Duration::from_secs(8);
/// Without need it ends after this long, whatever its step.
const TERM: Duration = Duration::from_secs(60);
/// No mitigation grows older.
pub(crate) const LIFE: Duration = Duration::from_secs(3600);
/// Time between two steps up: the first, and the others.
const OBSERVE: Duration = Duration::from_millis(250);
const CLIMB: Duration = Duration::from_millis(600);
/// The same for failed sign-ins: what was sent before the last step must have been answered, and told.
const CLIMB_SIGN_INS: Duration = Duration::from_millis(2_000);
/// How a sign-in would have ended that was turned away is not known. So after this long at a step it counts as needed
/// only if it is milder by one and guesses come again: then it is back at once.
const TRUSTED: Duration = Duration::from_secs(60);
/// Part of the sign-ins that match which must still come to the service and fail there for a step not to do, and the least
/// rate.
const FAILED_SHARE: f32 = 0.2;
const FAILED_PER_S: f32 = 2.0;
/// A mitigation of sign-ins of which a greater part is right is not needed, whatever fails beside.
pub(crate) const RIGHT_MAX: f32 = 0.2;
/// Least part of the strangers' requests, and least rate, for which it is needed.
const SHARE_NEEDED: f32 = 0.03;
const RATE_NEEDED_PER_S: f32 = 2.0;
/// People of proven standing that must have been looked at before a step is taken, and how much more collateral than
/// for a refusal is allowed there.
const GUARDS: [(Step, u32, f32); 4] =
    [(Step::Refuse, 150, 1.0), (Step::Limit, 100, 4.0), (Step::Challenge, 50, 10.0), (Step::Deprioritise, 16, 20.0)];
/// A signature that hits more of those of proven standing than this multiple of the bound is not kept.
pub(crate) const COLLATERAL_FACTOR_MAX: f32 = 20.0;
/// What a mark of who asks must at least have as lift, to be more than the mark of a crowd.
pub(crate) const WHO_LIFT_MIN: f32 = 3.0;
/// A mark of who asks with this lift that hits nobody of proven standing needs no watching before it comes after others.
const PLAIN_LIFT_MIN: f32 = 10.0;
/// A mitigated flood above this part of the capacity is worth turning away earlier.
const LOAD_FACTOR: f32 = 0.2;
/// So is one of this many connections a second on a node whose processors are full, where the ClientHello tells it: to
/// refuse by that costs a sixth of the handshake and the page that a milder step costs.
const HANDSHAKES_PER_S: f32 = 30.0;

impl Mitigation {
    /// One that begins: watched, nothing more.
    pub(crate) const fn new(
        service: ServiceId,
        signature: Signature,
        evidence: Evidence,
        now: Moment,
        known: bool,
    ) -> Self {
        Self {
            id: 0,
            service,
            signature,
            step: Step::Observe,
            peak: Step::Observe,
            evidence,
            rate_per_s: evidence.rate_per_s,
            failed_per_s: evidence.rate_per_s,
            hits: 0.0,
            born: now,
            changed: now,
            needed: now,
            expires: now.after(TERM),
            pinned_until: None,
            known,
        }
    }

    /// Holds it at a step until then.
    pub(crate) fn pin(&mut self, step: Step, now: Moment, until: Moment) {
        self.set(step, now);
        self.pinned_until = Some(until);
        self.expires = self.expires.max(until);
    }

    /// One that was just found, and comes after the others at once where its evidence is plain: that costs nobody anything who
    /// is not of the flood, and each moment before it costs those who come with it.
    pub(crate) fn found(
        service: ServiceId,
        signature: Signature,
        evidence: Evidence,
        now: Moment,
        collateral_max: f32,
    ) -> Self {
        let mut born = Self::new(service, signature, evidence, now, false);
        let spares = evidence.collateral <= collateral_max && evidence.persons >= GUARDS[0].1;
        if spares && evidence.who_lift >= PLAIN_LIFT_MIN {
            (born.step, born.peak) = (Step::Deprioritise, Step::Deprioritise);
        }
        born
    }

    /// Whether it tells who asks, and not just what is asked for or what a crowd has in common.
    pub(crate) fn tells_who(&self) -> bool {
        self.evidence.who_lift >= WHO_LIFT_MIN
    }

    /// The harshest step that its evidence allows.
    ///
    /// A signature that only says what is asked for, or what a crowd has in common, never turns anybody away: it makes
    /// them come after the others. One that only says how a source behaves never refuses.
    pub(crate) fn ceiling(&self, plight: &Plight) -> Step {
        let evidence = &self.evidence;
        let by_evidence = GUARDS
            .iter()
            .find(|(_, persons, factor)| {
                evidence.persons >= *persons && evidence.collateral <= factor * plight.collateral_max
            })
            .map_or(Step::Observe, |(step, _, _)| *step);
        let tells_program = self.signature.has(Kind::Client) || self.signature.has(Kind::Source);
        let by_kind = if plight.sign_ins && self.signature.who().is_none() {
            // The last resort: all strangers at a sign-in show a pass. People of proven standing never need one.
            Step::Challenge
        } else if !self.tells_who() {
            Step::Deprioritise
        } else if tells_program {
            Step::Refuse
        } else {
            Step::Limit
        };
        by_evidence.min(by_kind)
    }

    /// Whether it is still for something.
    fn is_needed(&self, now: Moment, plight: &Plight) -> bool {
        if plight.sign_ins {
            let often_right = self.evidence.right > RIGHT_MAX && self.signature.who().is_some();
            let untested = self.step >= Step::Challenge && now.since(self.changed) >= TRUSTED;
            if often_right || untested {
                return false;
            }
        }
        plight.attacked && self.rate_per_s >= RATE_NEEDED_PER_S.max(SHARE_NEEDED * plight.rate_per_s)
    }

    /// Whether the present step does not do.
    fn falls_short(&self, plight: &Plight) -> bool {
        // Guessing at a sign-in harms also where there is room for it.
        let guessing = if plight.sign_ins {
            let alarm = if self.signature.who().is_some() { plight.erring } else { plight.last_resort };
            alarm && self.failed_per_s > FAILED_PER_S.max(FAILED_SHARE * self.rate_per_s)
        } else {
            plight.erring && self.signature.has(Kind::Behaviour)
        };
        let costly = plight.strained && self.signature.of_connection() && self.rate_per_s > HANDSHAKES_PER_S;
        plight.hurting || guessing || costly || self.rate_per_s > LOAD_FACTOR * plight.capacity_per_s
    }

    /// Moves it on: up while needed and not enough, down when quiet or when its evidence got worse. `Err`: it ended.
    pub(crate) fn advance(&mut self, now: Moment, plight: &Plight) -> Result<(), End> {
        if now.since(self.born) >= LIFE {
            return Err(End::Expired);
        }
        if let Some(until) = self.pinned_until {
            if now < until {
                return Ok(());
            }
            self.pinned_until = None;
        }
        let ceiling = self.ceiling(plight);
        if self.step > ceiling {
            // Also from one that would now hit too many.
            if ceiling == Step::Observe && self.evidence.collateral > COLLATERAL_FACTOR_MAX * plight.collateral_max {
                return Err(End::Collateral);
            }
            self.set(ceiling, now);
            return Ok(());
        }
        if self.is_needed(now, plight) {
            self.needed = now;
            self.expires = now.after(TERM);
            if let Some(step) = self.climb(now, plight) {
                self.set(step.min(ceiling), now);
            }
            return Ok(());
        }
        if now >= self.expires {
            return Err(End::Quiet);
        }
        if now.since(self.needed.max(self.changed)) >= QUIET {
            match self.step.milder() {
                Some(step) => self.set(step, now),
                None => return Err(End::Quiet),
            }
        }
        Ok(())
    }

    /// The next step up, if it is time for one. One that came back goes straight to where it was.
    fn climb(&self, now: Moment, plight: &Plight) -> Option<Step> {
        let wait = match self.step {
            Step::Observe => OBSERVE,
            _ if plight.sign_ins => CLIMB_SIGN_INS,
            _ => CLIMB,
        };
        if (plight.sign_ins || self.step != Step::Observe) && !self.falls_short(plight) {
            return None;
        }
        if self.step < self.peak {
            return Some(self.peak);
        }
        if now.since(self.changed) < wait {
            return None;
        }
        match self.step.harsher() {
            // To come after others costs a guess nothing where there is room for it.
            Step::Deprioritise if plight.sign_ins && plight.challenges => Some(Step::Challenge),
            Step::Deprioritise if plight.sign_ins => Some(Step::Limit),
            Step::Challenge if !plight.challenges => Some(Step::Limit),
            next => Some(next),
        }
    }

    fn set(&mut self, step: Step, now: Moment) {
        if step != self.step {
            self.step = step;
            self.peak = self.peak.max(step);
            self.changed = now;
        }
    }
}

/// What the hot path needs of a mitigation that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its id.
    pub id: u32,
    /// What it matches.
    pub signature: Signature,
    /// What is done: at least [`Step::Deprioritise`].
    pub step: Step,
    /// Whether it tells who asks: one that does not, only makes matching requests come after those of others.
    pub tells_who: bool,
    /// Whether people here can be asked to earn a pass; programs can't.
    pub challenges: bool,
    /// Whether it is for failed sign-ins: who tells of one that it turned away keeps it alive.
    pub sign_ins: bool,
}

/// What befell a mitigation, for the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// It began.
    Born(Mitigation),
    /// Its step changed, from the one given.
    Stepped(Mitigation, Step),
    /// It ended.
    Ended(Mitigation, End),
}
