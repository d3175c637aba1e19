//! How many connections and handshakes each source holds: bounded, shared by all workers, released on drop.
//!
//! Two prefixes are counted for an address: the source (IPv4 /32, IPv6 /64) and its network (/24, /48). The tables are
//! sharded; each shard has a short lock that only workers take (rule 5 of the design). An entry lives only while
//! somebody in it is connected, so a full table holds nothing but connected prefixes; whoever comes then is counted,
//! together with all others that found no room, in one conservative entry of the shard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use guichet_core::Reason;
use guichet_core::bounds::{CONNECTION_SHARDS, CONNECTION_SOURCES_MAX};
use parking_lot::Mutex;

const PER_SHARD: usize = CONNECTION_SOURCES_MAX / CONNECTION_SHARDS;

/// A prefix as a table key: length and family in the upper half, the prefix's bits below.
type Key = u128;

/// What one prefix holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    connections: u32,
    handshakes: u32,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Key, Held, RandomState>,
    /// All prefixes that found no room.
    overflow: Held,
}

/// Where a prefix is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Own(Key),
    Overflow(Key),
}

/// One table of prefixes.
#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    per_shard_max: usize,
}

impl Table {
    fn new(per_shard_max: usize) -> Self {
        let shards = (0..CONNECTION_SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::default(), per_shard_max }
    }

    /// The shard is chosen by a keyed hash, so that nobody can aim at one shard. The map within mixes the hash again.
    fn shard(&self, key: Key) -> &Mutex<Shard> {
        use std::hash::BuildHasher as _;
        &self.shards[self.hasher.hash_one(key) as usize & (CONNECTION_SHARDS - 1)]
    }

    /// Counts one more connection, unless the prefix holds `max`.
    fn connect(&self, key: Key, max: u32) -> Option<Place> {
        let mut shard = self.shard(key).lock();
        let room = shard.entries.len() < self.per_shard_max;
        let (held, place) = match shard.entries.get_mut(&key) {
            Some(held) => (held, Place::Own(key)),
            None if room => (shard.entries.entry(key).or_default(), Place::Own(key)),
            None => (&mut shard.overflow, Place::Overflow(key)),
        };
        if held.connections >= max {
            if held.connections == 0 {
                shard.entries.remove(&key);
            }
            return None;
        }
        held.connections += 1;
        Some(place)
    }

    /// Runs `change` on the counted entry; an entry without connections goes.
    fn change<T>(&self, place: Place, change: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let (Place::Own(key) | Place::Overflow(key)) = place;
        let mut shard = self.shard(key).lock();
        match place {
            Place::Overflow(_) => Some(change(&mut shard.overflow)),
            Place::Own(_) => {
                let held = shard.entries.get_mut(&key)?;
                let result = change(held);
                if *held == Held::default() {
                    shard.entries.remove(&key);
                }
                Some(result)
            }
        }
    }

    fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }
}

fn source_key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(v4) => 4 << 120 | Key::from(v4.to_bits()),
        IpAddr::V6(v6) => 6 << 120 | v6.to_bits() >> 64,
    }
}

fn network_key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(v4) => 4 << 120 | Key::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => 6 << 120 | v6.to_bits() >> 80,
    }
}

/// The caps of a node.
#[derive(Debug)]
pub struct ConnectionCaps {
    sources: Table,
    networks: Table,
    connections: AtomicUsize,
    connections_max: usize,
}

impl ConnectionCaps {
    /// Caps of a node that holds at most `connections_max` connections.
    #[must_use]
    pub fn new(connections_max: usize) -> Arc<Self> {
        Self::with_room(connections_max, PER_SHARD)
    }

    fn with_room(connections_max: usize, per_shard_max: usize) -> Arc<Self> {
        Arc::new(Self {
            sources: Table::new(per_shard_max),
            networks: Table::new(per_shard_max),
            connections: AtomicUsize::new(0),
            connections_max,
        })
    }

    /// Connections of the node.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The bound on them.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Prefixes in the tables: sources and networks.
    #[must_use]
    pub fn prefixes(&self) -> (usize, usize) {
        (self.sources.entries(), self.networks.entries())
    }

    /// Connections held by the source of an address.
    #[must_use]
    pub fn of_source(&self, address: IpAddr) -> u32 {
        let key = source_key(address);
        let shard = self.sources.shard(key).lock();
        shard.entries.get(&key).map_or(0, |held| held.connections)
    }

    /// A place among the node's connections.
    ///
    /// # Errors
    /// [`Reason::ConnectionsFull`].
    pub fn accept(self: &Arc<Self>) -> Result<NodePlace, Reason> {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::ConnectionsFull);
        }
        Ok(NodePlace { caps: Arc::clone(self) })
    }

    /// A place among the connections of the source and network of `client`. Both are checked before either is charged.
    ///
    /// # Errors
    /// [`Reason::ConnectionsPerSource`].
    pub fn connect(self: &Arc<Self>, client: IpAddr, source_max: u32, network_max: u32) -> Result<SourcePlace, Reason> {
        let source = self.sources.connect(source_key(client), source_max).ok_or(Reason::ConnectionsPerSource)?;
        let Some(network) = self.networks.connect(network_key(client), network_max) else {
            // Taken back: a refused client drains nobody.
            self.sources.change(source, |held| held.connections -= 1);
            return Err(Reason::ConnectionsPerSource);
        };
        Ok(SourcePlace { caps: Arc::clone(self), source, network })
    }
}

/// One connection of the node; released on drop.
#[derive(Debug)]
pub struct NodePlace {
    caps: Arc<ConnectionCaps>,
}

impl Drop for NodePlace {
    fn drop(&mut self) {
        self.caps.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection of a source and its network; released on drop.
#[derive(Debug)]
pub struct SourcePlace {
    caps: Arc<ConnectionCaps>,
    source: Place,
    network: Place,
}

impl SourcePlace {
    /// A place among the handshakes under way of this connection's source; released on drop.
    ///
    /// # Errors
    /// [`Reason::HandshakesPerSource`].
    pub fn handshake(&self, max: u32) -> Result<HandshakePlace, Reason> {
        let begun = self.caps.sources.change(self.source, |held| {
            let room = held.handshakes < max;
            held.handshakes += u32::from(room);
            room
        });
        match begun {
            Some(true) => Ok(HandshakePlace { caps: Arc::clone(&self.caps), source: self.source }),
            _ => Err(Reason::HandshakesPerSource),
        }
    }

    /// Connections that this connection's source holds now.
    #[must_use]
    pub fn connections_of_source(&self) -> u32 {
        self.caps.sources.change(self.source, |held| held.connections).unwrap_or(0)
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        self.caps.sources.change(self.source, |held| held.connections -= 1);
        self.caps.networks.change(self.network, |held| held.connections -= 1);
    }
}

/// One handshake under way; released on drop.
#[derive(Debug)]
pub struct HandshakePlace {
    caps: Arc<ConnectionCaps>,
    source: Place,
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.caps.sources.change(self.source, |held| held.handshakes -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(text: &str) -> IpAddr {
        IpAddr::V4(text.parse::<Ipv4Addr>().unwrap())
    }

    fn v6(text: &str) -> IpAddr {
        IpAddr::V6(text.parse::<Ipv6Addr>().unwrap())
    }

    /// Whether a second connection is refused when each prefix may hold one.
    fn check(first: IpAddr, second: IpAddr, source_max: u32, network_max: u32, refused: bool) {
        let caps = ConnectionCaps::new(10);
        let held = caps.connect(first, source_max, network_max).unwrap();
        assert_eq!(caps.connect(second, source_max, network_max).is_err(), refused, "{first} {second}");
        drop(held);
        assert!(caps.connect(second, source_max, network_max).is_ok());
        assert_eq!(caps.prefixes(), (0, 0), "nothing is kept of those who left");
    }

    #[test]
    fn prefixes() {
        check(v4("192.0.2.1"), v4("192.0.2.1"), 1, 9, true);
        check(v4("192.0.2.1"), v4("192.0.2.2"), 1, 9, false);
        check(v4("192.0.2.1"), v4("192.0.2.2"), 9, 1, true);
        check(v4("192.0.2.1"), v4("192.0.3.1"), 1, 1, false);
        check(v4("192.0.2.1"), v6("::ffff:192.0.2.1"), 1, 9, true);
        check(v6("2001:db8::1"), v6("2001:db8::2"), 1, 9, true);
        check(v6("2001:db8::1"), v6("2001:db8:0:1::1"), 1, 9, false);
        check(v6("2001:db8::1"), v6("2001:db8:0:1::1"), 9, 1, true);
        check(v6("2001:db8::1"), v6("2001:db8:1::1"), 1, 1, false);
    }

    #[test]
    fn a_cap_of_zero_refuses_and_keeps_nothing() {
        let caps = ConnectionCaps::new(10);
        assert!(caps.connect(v4("192.0.2.1"), 0, 9).is_err());
        assert!(caps.connect(v4("192.0.2.1"), 9, 0).is_err());
        assert_eq!(caps.prefixes(), (0, 0));
    }

    #[test]
    fn the_node_has_a_bound_of_its_own() {
        let caps = ConnectionCaps::new(2);
        let places = [caps.accept().unwrap(), caps.accept().unwrap()];
        assert_eq!(caps.accept().unwrap_err(), Reason::ConnectionsFull);
        assert_eq!(caps.connections(), 2);
        drop(places);
        assert!(caps.accept().is_ok());
    }

    #[test]
    fn handshakes_are_capped_per_source_and_released() {
        let caps = ConnectionCaps::new(10);
        let one = caps.connect(v4("192.0.2.1"), 9, 9).unwrap();
        let two = caps.connect(v4("192.0.2.1"), 9, 9).unwrap();
        let other = caps.connect(v4("192.0.2.2"), 9, 9).unwrap();
        let under_way = one.handshake(1).unwrap();
        assert_eq!(two.handshake(1).unwrap_err(), Reason::HandshakesPerSource);
        assert!(other.handshake(1).is_ok());
        drop(under_way);
        assert!(two.handshake(1).is_ok());
        assert_eq!(two.connections_of_source(), 2);
    }

    /// At the bound: those who are in stay in and keep their own count; newcomers share one entry a shard.
    #[test]
    fn a_full_table_counts_newcomers_together() {
        let caps = ConnectionCaps::with_room(usize::MAX, 2);
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n << 8 | 1));
        let mut places = Vec::new();
        let mut refused = 0;
        for n in 0..10_000 {
            match caps.connect(address(n), 3, 1_000_000) {
                Ok(place) => places.push(place),
                Err(reason) => {
                    assert_eq!(reason, Reason::ConnectionsPerSource);
                    refused += 1;
                }
            }
        }
        let (sources, networks) = caps.prefixes();
        assert_eq!(sources, 2 * CONNECTION_SHARDS);
        assert!(networks <= 2 * CONNECTION_SHARDS);
        // Two of their own a shard, and three in the common entry.
        assert_eq!(places.len(), 5 * CONNECTION_SHARDS);
        assert_eq!(refused, 10_000 - places.len());
        let settled = (0..10_000).map(address).find(|a| caps.of_source(*a) == 1).unwrap();
        assert!(caps.connect(settled, 3, 1_000_000).is_ok(), "who was there before is counted for itself");
        drop(places);
        assert_eq!(caps.prefixes(), (0, 0));
        assert!(caps.connect(address(7), 1, 1).is_ok(), "room again once they left");
    }

    #[test]
    fn the_real_bound_holds() {
        let caps = ConnectionCaps::new(usize::MAX);
        let places: Vec<_> = (0..2 * CONNECTION_SOURCES_MAX as u32)
            .filter_map(|n| caps.connect(IpAddr::V4(Ipv4Addr::from_bits(n << 8)), 1, u32::MAX).ok())
            .collect();
        assert!(caps.prefixes().0 <= CONNECTION_SOURCES_MAX);
        assert!(places.len() <= CONNECTION_SOURCES_MAX + CONNECTION_SHARDS);
    }
}
