//! The refusals of late, for whoever asks about a reference code. Fixed size; written without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use guichet_core::Standing;
use guichet_core::bounds::REFUSALS_REMEMBERED_MAX;

/// What is remembered of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The part of the request's id that its reference code tells: 30 bits.
    pub id_part: u32,
    /// The mitigation that did it; 0: none.
    pub mitigation: u32,
    /// Position of the service; `u8::MAX`: none was found.
    pub service: u8,
    /// Standing of who asked.
    pub standing: Standing,
    /// When, seconds since 1970.
    pub unix_s: u64,
}

/// A ring: the newest take the places of the oldest.
///
/// A reader may meet a slot between its two words; both hold a part of the id, so it tells that apart.
#[derive(Debug)]
pub struct Refusals {
    slots: Box<[[AtomicU64; 2]]>,
    next: AtomicUsize,
}

const ID_BITS: u32 = 30;
const ID_SHORT: u64 = (1 << 16) - 1;

impl Default for Refusals {
    fn default() -> Self {
        Self { slots: (0..REFUSALS_REMEMBERED_MAX).map(|_| Default::default()).collect(), next: AtomicUsize::new(0) }
    }
}

impl Refusals {
    /// Remembers one.
    pub fn note(&self, refusal: &Refusal) {
        let at = self.next.fetch_add(1, Relaxed) % self.slots.len();
        let id = u64::from(refusal.id_part);
        self.slots[at][0].store(id | refusal.unix_s << ID_BITS, Relaxed);
        let rest = u64::from(refusal.service) << 16 | (refusal.standing.index() as u64) << 24;
        self.slots[at][1].store(id & ID_SHORT | rest | u64::from(refusal.mitigation) << 32, Relaxed);
    }

    /// The newest with this id.
    #[must_use]
    pub fn find(&self, id_part: u32) -> Option<Refusal> {
        let found = self.slots.iter().filter_map(|slot| {
            let (first, second) = (slot[0].load(Relaxed), slot[1].load(Relaxed));
            let id = (first & ((1 << ID_BITS) - 1)) as u32;
            let whole = u64::from(id) & ID_SHORT == second & ID_SHORT;
            (id == id_part && whole && first != 0).then(|| Refusal {
                id_part,
                mitigation: (second >> 32) as u32,
                service: (second >> 16 & 0xff) as u8,
                standing: Standing::ALL[(second >> 24 & 0xff) as usize % Standing::COUNT],
                unix_s: first >> ID_BITS,
            })
        });
        found.max_by_key(|refusal| refusal.unix_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_found_and_the_oldest_make_room() {
        let refusals = Refusals::default();
        let of = |n: u32| Refusal {
            id_part: n * 7919 % (1 << ID_BITS),
            mitigation: n,
            service: 3,
            standing: Standing::Session,
            unix_s: 1_790_000_000 + u64::from(n),
        };
        let all = REFUSALS_REMEMBERED_MAX as u32 + 10;
        (1..=all).for_each(|n| refusals.note(&of(n)));
        assert_eq!(refusals.find(of(all).id_part), Some(of(all)));
        assert_eq!(refusals.find(of(11).id_part), Some(of(11)));
        assert_eq!(refusals.find(of(10).id_part), None, "its place was taken");
        assert_eq!(refusals.find(12_345), None);
    }
}
