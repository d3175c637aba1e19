//! The store of answers: bounded in bytes and entries, shared by all workers, and scan-resistant: what is asked for once
//! goes before what is asked for again, so that a flood of random queries does not empty it of what matters.

mod disk;
mod flights;
mod kept;
mod key;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache as Map, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

pub(crate) use flights::{Fetch, Flights, Turn, Waiting};
pub(crate) use kept::{CACHE_STATUS, Freshness, Kept};
pub(crate) use key::{Key, Lookup};

use crate::config::Cache as CacheConfig;
use disk::Disk;

/// How long it is remembered that the answer to a key is not kept: meanwhile nobody waits for anybody else.
const UNKEPT: Duration = Duration::from_secs(10);
/// Bytes that such a memory takes, about.
const UNKEPT_BYTES: usize = 256;
/// Shards of the store, at most: each has its part of the bytes.
const SHARDS: usize = 16;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// An answer, and whether somebody fetches a newer one.
    Kept(Arc<Kept>, Arc<AtomicBool>),
    /// Its answers are not kept: everybody asks for themselves until then.
    Unkept(Instant),
}

/// Weighs what is kept: its bytes, and at least what makes the number of entries keep to its bound.
#[derive(Debug, Clone)]
struct Bytes {
    least: u64,
}

impl Weighter<Key, Slot> for Bytes {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        let bytes = match slot {
            Slot::Kept(kept, _) => kept.bytes(),
            Slot::Unkept(_) => UNKEPT_BYTES,
        };
        ((bytes + key.len()) as u64).max(self.least)
    }
}

/// What happened in the store, since start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is documented as a metric")]
pub struct CacheCounts {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    pub stale: AtomicU64,
    pub collapsed: AtomicU64,
    pub stored: AtomicU64,
    pub disk_written: AtomicU64,
    pub disk_lost: AtomicU64,
    pub disk_corrupt: AtomicU64,
    pub disk_loaded: AtomicU64,
    pub disk_failing: AtomicBool,
}

impl CacheCounts {
    /// Adds one.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

type Slots = Map<Key, Slot, Bytes, DefaultHashBuilder, DefaultLifecycle<Key, Slot>>;

/// The store.
pub struct Store {
    map: Option<Slots>,
    answer_bytes_max: usize,
    /// Fetches under way.
    pub(crate) flights: Arc<Flights>,
    /// What happened.
    pub counts: Arc<CacheCounts>,
    disk: Option<Disk>,
}

impl Store {
    /// A store of this size; what its folder holds is taken in by a thread of its own.
    #[must_use]
    pub fn open(config: &CacheConfig) -> Arc<Self> {
        let counts = Arc::<CacheCounts>::default();
        let map = (config.bytes_max > 0).then(|| {
            let shards = (config.bytes_max / (8 * config.answer_bytes_max as u64).max(1)).clamp(1, SHARDS as u64);
            let options = OptionsBuilder::new()
                .shards(shards as usize)
                .estimated_items_capacity(config.entries_max)
                .weight_capacity(config.bytes_max)
                .build();
            let least = (config.bytes_max / config.entries_max.max(1) as u64).max(1);
            // Both numbers that it asks for were given.
            options.ok().map(|options| {
                Map::with_options(options, Bytes { least }, DefaultHashBuilder::default(), DefaultLifecycle::default())
            })
        });
        let map = map.flatten();
        let disk = config.directory.clone().filter(|_| map.is_some());
        let disk = disk.and_then(|folder| Disk::open(folder, config.directory_bytes_max, counts.clone()));
        let store =
            Arc::new(Self { map, answer_bytes_max: config.answer_bytes_max, flights: Arc::default(), counts, disk });
        if let Some(disk) = &store.disk {
            disk.load_into(&store);
        }
        store
    }

    /// Whether anything is kept at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.map.is_some()
    }

    /// Bytes of the largest answer that is kept.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }

    /// What is known of a key.
    #[must_use]
    pub(crate) fn get(&self, key: &Key) -> Option<Slot> {
        self.map.as_ref()?.get(key)
    }

    /// Keeps an answer, in memory at once and in the folder soon.
    pub(crate) fn keep(&self, key: Key, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        if let Some(disk) = &self.disk {
            disk.write(key.clone(), kept.clone());
        }
        self.put(key, kept.clone());
        CacheCounts::add(&self.counts.stored);
        kept
    }

    fn put(&self, key: Key, kept: Arc<Kept>) {
        if let Some(map) = &self.map {
            map.insert(key, Slot::Kept(kept, Arc::default()));
        }
    }

    /// Takes in what was read from the folder, unless something newer is there.
    fn restore(&self, key: Key, kept: Kept) {
        if let Some(map) = &self.map
            && map.peek(&key).is_none()
        {
            CacheCounts::add(&self.counts.disk_loaded);
            self.put(key, Arc::new(kept));
        }
    }

    /// Remembers that the answer to a key is not kept, so that nobody waits for it. What is there and still good stays.
    pub(crate) fn note_unkept(&self, key: Key) {
        if let Some(map) = &self.map
            && !matches!(map.peek(&key), Some(Slot::Kept(..)))
        {
            map.insert(key, Slot::Unkept(Instant::now() + UNKEPT));
        }
    }

    /// Bytes and entries held now.
    #[must_use]
    pub fn held(&self) -> (u64, usize) {
        self.map.as_ref().map_or((0, 0), |map| (map.weight(), map.len()))
    }

    /// Why the folder does not work, if so.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        let failing = self.counts.disk_failing.load(Ordering::Relaxed);
        failing.then(|| "the folder of kept answers cannot be written; answers are kept in memory only".to_owned())
    }
}
