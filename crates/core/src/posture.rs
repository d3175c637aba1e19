//! The posture: what the brain decided, as an immutable snapshot that the hot path reads.

use core::time::Duration;
use std::sync::Arc;

use crate::bounds::{DEMAND_BUCKETS, H2_STREAMS_MAX};
use crate::room::RoomRules;
use crate::signs::{Features, InForce, Kind};
use crate::{Criticality, Reason, ServiceId, Standing, Strain, Surges};

/// How hard a service is pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Everyone gets in.
    #[default]
    Calm,
    /// Pressed lately: thresholds follow the demand, and usually let everyone in.
    Elevated,
    /// Demand is over capacity: thresholds hold.
    Pressed,
}

impl Pressure {
    /// The name used in metric labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Elevated => "elevated",
            Self::Pressed => "pressed",
        }
    }
}

/// Who of one tier of standing gets in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierRule {
    /// Sources whose pace bucket is below this get in in full.
    pub open_below: u8,
    /// Of the sources in bucket `open_below`, those whose lot is below this get in (of 65,536).
    pub lots: u32,
    /// Everyone else gets this share per source, requests a second; 0: none.
    pub share_per_s: f32,
    /// Requests of that share that may come at once.
    pub share_burst: f32,
}

impl TierRule {
    /// Everyone gets in.
    pub const OPEN: Self =
        Self { open_below: DEMAND_BUCKETS as u8, lots: 0, share_per_s: f32::INFINITY, share_burst: f32::INFINITY };
    /// Nobody gets in.
    pub const CLOSED: Self = Self { open_below: 0, lots: 0, share_per_s: 0.0, share_burst: 0.0 };

    /// Whether a source of this pace and lot gets in without using a share.
    #[must_use]
    pub const fn opens(&self, pace_bucket: u8, lot: u16) -> bool {
        pace_bucket < self.open_below || (pace_bucket == self.open_below && (lot as u32) < self.lots)
    }

    /// Whether every source gets in.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open_below as usize >= DEMAND_BUCKETS
    }

    /// Whether no source gets in.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.open_below == 0 && self.lots == 0 && self.share_per_s <= 0.0
    }
}

/// The mark of those who bear none, behind an address that is suspect for what others did.
pub const UNMARKED: u32 = u32::MAX;

/// What holds for one service until the next posture.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Requests that may be in flight to the upstream.
    pub limit: u32,
    /// Slots kept for each criticality, which nobody below may occupy.
    pub floors: [u32; Criticality::COUNT],
    /// Requests that may wait.
    pub queue_len: u32,
    /// How long one may wait.
    pub queue_wait_max: Duration,
    /// How hard the service is pressed.
    pub pressure: Pressure,
    /// Who gets in, by [`Standing::index`].
    pub tiers: [TierRule; Standing::COUNT],
    /// A source above this rate for a second is suspect; infinite while the service is not pressed.
    pub suspect_rate_per_s: f32,
    /// The pace that one source in a thousand exceeds when the service is calm, as learned.
    pub calm_pace_p999: f32,
    /// Requests a second that the upstream can do, as measured; 0: not known.
    pub capacity_per_s: f32,
    /// Which lots are drawn: changes every quarter of a minute.
    pub lot_epoch: u64,
    /// When newcomers surged.
    pub surges: Surges,
    /// Share of a wider prefix, as a multiple of the share of one source.
    pub wide_share_factor: f32,
    /// Concurrent streams allowed on one HTTP/2 connection.
    pub h2_streams_per_connection: u32,
    /// Mitigations in force, harshest first.
    pub mitigations: Arc<[InForce]>,
    /// Requests of one tick that are kept as samples, over all workers.
    pub samples_per_tick: u32,
    /// The waiting room, while it is open.
    pub room: Option<RoomRules>,
    /// Whether the waiting room is about to open: strangers who find no room are better asked to stay than turned away.
    pub room_soon: bool,
}

impl Rules {
    /// Rules that let everyone in up to `limit`.
    #[must_use]
    pub fn open(limit: u32) -> Self {
        Self {
            limit,
            floors: [0; Criticality::COUNT],
            queue_len: 64,
            queue_wait_max: Duration::from_millis(500),
            pressure: Pressure::Calm,
            tiers: [TierRule::OPEN; Standing::COUNT],
            suspect_rate_per_s: f32::INFINITY,
            calm_pace_p999: 0.0,
            capacity_per_s: 0.0,
            lot_epoch: 0,
            surges: Surges::default(),
            wide_share_factor: 32.0,
            h2_streams_per_connection: H2_STREAMS_MAX,
            mitigations: Arc::new([]),
            samples_per_tick: 0,
            room: None,
            room_soon: false,
        }
    }

    /// The harshest mitigation in force that a request matches.
    #[must_use]
    pub fn mitigation(&self, features: &Features) -> Option<&InForce> {
        self.mitigations.iter().find(|m| m.signature.matches(features))
    }

    /// Whether signatures tell attackers from their neighbours now, so that suspicion of an address is no reason against
    /// those behind it who bear no mark: they have an account apart, [`UNMARKED`].
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.mitigations.iter().any(|m| m.tells_who && !m.signature.has(Kind::Behaviour))
    }

    /// The mark that a request bears whatever its source did before: the first mitigation in force that tells who asks and
    /// does not look at behaviour. What bears a mark has an account apart from its neighbours'.
    #[must_use]
    pub fn mark(&self, features: &Features) -> Option<u32> {
        let marks = self.mitigations.iter().filter(|m| m.tells_who && !m.signature.has(Kind::Behaviour));
        marks.filter(|m| m.signature.matches(features)).map(|m| m.id).next()
    }

    /// The rule for this standing. Partners are never held by thresholds.
    #[must_use]
    pub const fn tier(&self, standing: Standing) -> &TierRule {
        &self.tiers[standing.index()]
    }

    /// Why a request under the threshold of its tier is refused.
    #[must_use]
    pub(crate) fn refusal(&self, standing: Standing) -> Reason {
        match standing {
            Standing::Suspect => Reason::Suspect,
            Standing::Newcomer
            | Standing::Anonymous
            | Standing::Known
            | Standing::Proven
            | Standing::Session
            | Standing::Partner => Reason::BelowThreshold,
        }
    }
}

/// The node's own bound on requests in flight, over all services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// Requests in flight or waiting.
    pub limit: u32,
    /// Of these, kept for each criticality: nobody below may occupy them.
    pub floors: [u32; Criticality::COUNT],
}

/// What the brain decided ten times a second; read by every request, changed by none.
#[derive(Clone, Debug, PartialEq)]
pub struct Posture {
    /// Counts the postures of this brain.
    pub generation: u64,
    /// By [`ServiceId::index`].
    pub services: Vec<Rules>,
    /// The node's own bound.
    pub node: NodeRules,
    /// Mitigations of connections, whatever service they are for, harshest first.
    pub connections: Arc<[InForce]>,
    /// How the node itself fares.
    pub strain: Strain,
}

impl Posture {
    /// The rules of a service; `None` if it is not of this posture.
    #[must_use]
    pub fn rules(&self, service: ServiceId) -> Option<&Rules> {
        self.services.get(service.index())
    }

    /// The harshest mitigation of connections that one matches.
    #[must_use]
    pub fn connection_mitigation(&self, features: &Features) -> Option<&InForce> {
        self.connections.iter().find(|m| m.signature.matches(features))
    }

    /// Whether a service at this pressure, or the node itself, has no room for what could be refused earlier.
    #[must_use]
    pub fn is_short(&self, pressure: Pressure) -> bool {
        self.strain.strained || pressure == Pressure::Pressed
    }

    /// How hard the most pressed service is pressed.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.services.iter().map(|r| r.pressure).max().unwrap_or_default()
    }
}
