//! The accounts of sources, shared by all workers in shards behind short locks that only workers take.

use std::net::IpAddr;
use std::time::Duration;

use guichet_core::bounds::SOURCE_SHARDS;
use guichet_core::{
    Charges, Moment, Outcome, Reason, ServiceId, SourceConfig, SourceKey, SourceShard, SourceView, Standing3, shard_of,
};
use parking_lot::Mutex;
use smallvec::SmallVec;

/// What kind of thing a key names, so that kinds never collide. 4 and 6 are taken by prefixes.
const TAG_SESSION: u8 = 1;
const TAG_PARTNER: u8 = 2;
const TAG_PASS: u8 = 3;

/// Keys of an address, narrow to wide.
pub(super) type Prefixes = SmallVec<[SourceKey; 3]>;

/// What one request asks for, as the accounts count it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) service: ServiceId,
    /// Requests of mean cost that it counts for.
    pub(super) cost: f32,
    /// From the posture: a source above it for a second is suspect.
    pub(super) suspect_rate_per_s: f32,
}

/// All accounts of a node. Memory is taken at start and never grows.
pub struct Sources {
    seed: u64,
    shards: Box<[Mutex<SourceShard>]>,
}

impl Sources {
    /// Empty accounts. `seed` is a secret of the node.
    #[must_use]
    pub fn new(seed: u64, known_after: Duration) -> Self {
        let config = SourceConfig { known_after, ..SourceConfig::default() };
        let shards = (0..SOURCE_SHARDS).map(|_| Mutex::new(SourceShard::new(config.clone()))).collect();
        Self { seed, shards }
    }

    /// A source must now have behaved this long to be known.
    pub fn set_known_after(&self, known_after: Duration) {
        for shard in &self.shards {
            shard.lock().set_config(SourceConfig { known_after, ..SourceConfig::default() });
        }
    }

    /// How many accounts are held, and how many can be.
    #[must_use]
    pub fn fill(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(held, room), shard| {
            let shard = shard.lock();
            (held + shard.len(), room + shard.capacity())
        })
    }

    pub(super) fn session_key(&self, value: &str) -> SourceKey {
        SourceKey::of_bytes(self.seed, TAG_SESSION, value.as_bytes())
    }

    pub(super) fn pass_key(&self, id: u64) -> SourceKey {
        SourceKey::of_bytes(self.seed, TAG_PASS, &id.to_be_bytes())
    }

    pub(super) fn partner_key(&self, name: &str) -> SourceKey {
        SourceKey::of_bytes(self.seed, TAG_PARTNER, name.as_bytes())
    }

    pub(super) fn prefixes(&self, address: IpAddr) -> Prefixes {
        match address {
            IpAddr::V4(address) => SmallVec::from_slice(&SourceKey::prefixes_v4(self.seed, address)),
            IpAddr::V6(address) => SmallVec::from_slice(&SourceKey::prefixes_v6(self.seed, address)),
        }
    }

    pub(super) fn observe(&self, key: SourceKey, now: Moment, asked: &Asked) -> SourceView {
        self.shard(key).lock().observe(key, now, asked.service, asked.cost, asked.suspect_rate_per_s)
    }

    pub(super) fn note_session(&self, prefix: SourceKey, session: SourceKey, now: Moment) {
        self.shard(prefix).lock().note_session(prefix, session, now);
    }

    pub(super) fn commit(&self, charges: Charges, now: Moment) {
        if charges.is_empty() {
            return;
        }
        charges.commit(|key, service, rate_per_s, cost| {
            self.shard(key).lock().charge(key, now, service, rate_per_s, cost);
        });
    }

    pub(crate) fn outcome(&self, key: SourceKey, now: Moment, outcome: Outcome) {
        self.shard(key).lock().outcome(key, now, outcome);
    }

    /// Books that a connection from `address` ended for `reason`. Whether that tells against it.
    pub(crate) fn connection_ended(&self, address: IpAddr, reason: Reason, now: Moment) -> bool {
        let weight = abuse_weight(reason);
        if weight > 0.0
            && let Some(&key) = self.prefixes(address.to_canonical()).first()
        {
            self.shard(key).lock().abuse(key, now, weight);
        }
        weight > 0.0
    }

    /// Whether the address misbehaved lately.
    pub(crate) fn is_suspect(&self, address: IpAddr, now: Moment) -> bool {
        let Some(&key) = self.prefixes(address.to_canonical()).first() else { return false };
        self.shard(key).lock().standing(key, now) == Some(Standing3::Suspect)
    }

    /// Whether the address was seen behaving for long.
    pub(crate) fn is_known(&self, address: IpAddr, now: Moment) -> bool {
        let Some(&key) = self.prefixes(address.to_canonical()).first() else { return false };
        self.shard(key).lock().standing(key, now) == Some(Standing3::Known)
    }

    fn shard(&self, key: SourceKey) -> &Mutex<SourceShard> {
        &self.shards[shard_of(key)]
    }
}

/// How much a reason tells against its source, in points: ten within a minute make it suspect. What a person behind a
/// bad line can cause weighs little; what no browser does weighs much.
const fn abuse_weight(reason: Reason) -> f32 {
    match reason {
        Reason::H2RapidReset | Reason::H2ContinuationFlood => 10.0,
        Reason::H2EmptyFrames
        | Reason::H2SettingsFlood
        | Reason::H2PingFlood
        | Reason::H2WindowGames
        | Reason::H2PriorityFlood => 5.0,
        Reason::AmbiguousLength
        | Reason::BadChunk
        | Reason::BareLineFeed
        | Reason::ObsoleteFold
        | Reason::HeaderTimeout
        | Reason::BodyTooSlow
        | Reason::ReadTooSlow => 3.0,
        Reason::HandshakeTimeout | Reason::H2Protocol | Reason::MalformedHead | Reason::BadHost => 2.0,
        Reason::HandshakeFailed
        | Reason::HandshakesPerSource
        | Reason::NotTls
        | Reason::HeadTooLarge
        | Reason::UriTooLong
        | Reason::UnsupportedCoding => 1.0,
        Reason::Overload
        | Reason::QueueTimeout
        | Reason::Displaced
        | Reason::BelowThreshold
        | Reason::FairShare
        | Reason::Suspect
        | Reason::NodeFull
        | Reason::TooManyStreams
        | Reason::Mitigated
        | Reason::ChallengeNeeded
        | Reason::WaitingRoom
        | Reason::BodyTooLarge
        | Reason::MethodNotAllowed
        | Reason::UnknownHost
        | Reason::PartnerRequired
        | Reason::ConnectRefused
        | Reason::Misdirected
        | Reason::ConnectionsPerSource
        | Reason::ConnectionsFull
        | Reason::BadProxyHeader
        | Reason::IdleEvicted
        | Reason::IdleTimeout
        | Reason::UpstreamConnect
        | Reason::UpstreamConnectTimeout
        | Reason::UpstreamFirstByte
        | Reason::UpstreamIdle
        | Reason::UpstreamProtocol
        | Reason::UpstreamUnhealthy
        | Reason::UpstreamTls
        | Reason::ServiceDown
        | Reason::ServiceShut
        | Reason::ReadOnly
        | Reason::SwitchedOff
        | Reason::ClientGone
        | Reason::Draining
        | Reason::Internal => 0.0,
    }
}
