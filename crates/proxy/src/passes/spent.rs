//! What was used of passes and places: counted in a table of fixed size, never too little.
//!
//! A Count-Min sketch (Cormode, Muthukrishnan 2005) of two generations: a pass is counted in that of its own time, and
//! outlives neither. Collisions count too much, so that somebody may have to earn a pass again; never too little.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};

use guichet_core::bounds::{SPENT_CELLS, SPENT_ROWS};

/// Seconds of one generation; longer than any pass lives.
pub(super) const GENERATION_S: u32 = 3600;

/// Shared by all workers; no locks.
#[derive(Debug)]
pub struct Spent {
    generations: [Generation; 2],
}

#[derive(Debug)]
struct Generation {
    /// Which span of time it is for.
    number: AtomicU32,
    cells: Box<[AtomicU16]>,
}

impl Default for Spent {
    fn default() -> Self {
        let generation = || Generation {
            number: AtomicU32::new(0),
            cells: (0..SPENT_ROWS * SPENT_CELLS).map(|_| AtomicU16::new(0)).collect(),
        };
        Self { generations: [generation(), generation()] }
    }
}

impl Spent {
    /// Counts one use of what was issued at `issued_s` under `id`, and says how many there were, this one included.
    pub fn count(&self, id: u64, issued_s: u32) -> u16 {
        let number = issued_s / GENERATION_S;
        let generation = &self.generations[number as usize % 2];
        if generation.number.swap(number, Relaxed) != number {
            // The first of a new span: what is there is of two spans ago, and all of that has ended.
            generation.cells.iter().for_each(|cell| cell.store(0, Relaxed));
        }
        let cells: [&AtomicU16; SPENT_ROWS] =
            std::array::from_fn(|row| &generation.cells[row * SPENT_CELLS + place(id, row)]);
        let used = cells.iter().map(|cell| cell.load(Relaxed)).min().unwrap_or(u16::MAX).saturating_add(1);
        // Only cells below the least rise (Estan, Varghese 2002): the others count somebody else as well. Two workers that
        // count the same pass at the same time may count one: it is good for one request more.
        for cell in cells {
            cell.fetch_max(used, Relaxed);
        }
        used
    }
}

fn place(id: u64, row: usize) -> usize {
    let mixed = (id ^ (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ mixed >> 29) as usize % SPENT_CELLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_never_counted_too_little_and_the_table_never_grows() {
        let spent = Spent::default();
        let ids = |n: u64| n.wrapping_mul(0xD134_2543_DE82_EF95);
        for n in 0..200_000 {
            spent.count(ids(n), 10);
        }
        for use_number in 2..50 {
            assert!(spent.count(ids(7), 10) >= use_number);
        }
        assert!(spent.count(ids(7), 10) < 100, "and not far too much");
        // As many passes as a busy hour has, each used often: next to nobody is charged for the others.
        (0..800_000).for_each(|n| {
            spent.count(ids(n / 2), 10);
        });
        let charged = (1_000_000..1_001_000).filter(|n| spent.count(ids(*n), 10) > 10).count();
        assert!(charged < 5, "{charged} of a thousand new passes seemed used already");
        assert_eq!(spent.generations[0].cells.len(), SPENT_ROWS * SPENT_CELLS);
    }

    #[test]
    fn a_new_span_begins_at_nothing_and_the_one_before_still_counts() {
        let spent = Spent::default();
        assert_eq!(spent.count(9, 10), 1);
        assert_eq!(spent.count(9, GENERATION_S + 10), 1);
        assert_eq!(spent.count(9, 11), 2);
        assert_eq!(spent.count(9, 2 * GENERATION_S), 1);
    }
}
