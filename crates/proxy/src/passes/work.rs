//! Proof of work: several small puzzles rather than one large, so that luck matters less and progress can be shown.
//!
//! A puzzle's text is hashed to a seed of 32 bytes; for each part, a number is looked for so that
//! SHA-256(seed | part | number) begins with as many zero bits as asked for. One solution costs about
//! `PARTS * 2^bits` hashes, its verification `PARTS + 1`.

use aws_lc_rs::digest::{SHA256, digest};
use guichet_core::bounds::{WORK_BITS_LEAST, WORK_BITS_MOST, WORK_PARTS};

/// Bits for a client of this many marks against it: none for people in a crowd, more for who comes with an attack. It
/// never rises with the load, so that attackers can't raise it against everybody.
#[must_use]
pub const fn bits_for(marks: u8) -> u8 {
    let bits = WORK_BITS_LEAST + marks;
    if bits > WORK_BITS_MOST { WORK_BITS_MOST } else { bits }
}

/// Whether the numbers solve a puzzle.
#[must_use]
pub fn solves(puzzle: &str, bits: u8, numbers: &[u32]) -> bool {
    if numbers.len() != WORK_PARTS {
        return false;
    }
    let seed = digest(&SHA256, puzzle.as_bytes());
    numbers.iter().enumerate().all(|(part, number)| zeros(seed.as_ref(), part as u32, *number) >= u32::from(bits))
}

fn zeros(seed: &[u8], part: u32, number: u32) -> u32 {
    let mut message = [0; 40];
    message[..32].copy_from_slice(seed);
    message[32..36].copy_from_slice(&part.to_be_bytes());
    message[36..].copy_from_slice(&number.to_be_bytes());
    let hash = digest(&SHA256, &message);
    let first = hash.as_ref();
    u32::from_be_bytes([first[0], first[1], first[2], first[3]]).leading_zeros()
}

/// Solves a puzzle, for tests and for drills, whose clients pay the honest price.
#[must_use]
pub fn solve(puzzle: &str, bits: u8) -> Vec<u32> {
    let seed = digest(&SHA256, puzzle.as_bytes());
    let part = |part| (0..u32::MAX).find(|n| zeros(seed.as_ref(), part, *n) >= u32::from(bits)).unwrap_or(u32::MAX);
    (0..WORK_PARTS as u32).map(part).collect()
}

/// Reads numbers as they are sent: decimal, with commas between.
#[must_use]
pub(super) fn read(text: &str) -> Option<Vec<u32>> {
    if text.len() > WORK_PARTS * 11 {
        return None;
    }
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solutions_count_for_their_puzzle_and_bits() {
        let numbers = solve("a puzzle", 6);
        assert!(solves("a puzzle", 6, &numbers));
        assert!(!solves("another", 6, &numbers), "one in 2^48 would");
        assert!(!solves("a puzzle", 31, &numbers));
        assert!(!solves("a puzzle", 6, &numbers[1..]));
        let text = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(read(&text), Some(numbers));
        for wrong in ["", "1,2,x", "-1", "4294967296", &"1,".repeat(500)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_price_is_bounded_whatever_is_held_against_somebody() {
        assert_eq!(bits_for(0), WORK_BITS_LEAST);
        assert_eq!(bits_for(255 - WORK_BITS_LEAST), WORK_BITS_MOST);
    }
}
