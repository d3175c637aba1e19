//! A request as a row of values, one for each dimension.

use super::Dimension;
use crate::source::splitmix;

/// What is told of one request: a fixed number of values, whatever the request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features([u32; Dimension::COUNT]);

impl Features {
    /// Nothing is told.
    pub const NONE: Self = Self([0; Dimension::COUNT]);

    /// The value of a dimension; 0 where nothing is told.
    #[must_use]
    pub const fn get(&self, dimension: Dimension) -> u32 {
        self.0[dimension.index()]
    }

    /// Tells something; 0 takes it back.
    pub const fn set(&mut self, dimension: Dimension, value: u32) {
        self.0[dimension.index()] = value;
    }

    /// The same with one more thing told.
    #[must_use]
    pub const fn with(mut self, dimension: Dimension, value: u32) -> Self {
        self.set(dimension, value);
        self
    }
}

/// Makes values of texts: keyed, so that nobody outside can choose collisions.
#[derive(Clone, Copy, Debug)]
pub struct FeatureHash(u64);

impl FeatureHash {
    /// `seed` is a secret of the node, drawn once.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(splitmix(seed))
    }

    /// The value of these bytes in a dimension; never 0.
    #[must_use]
    pub fn of(self, dimension: Dimension, bytes: &[u8]) -> u32 {
        let mut hasher = self.begin(dimension);
        hasher.add(bytes);
        hasher.value()
    }

    /// Begins the value of several pieces.
    #[must_use]
    pub const fn begin(self, dimension: Dimension) -> FeatureHasher {
        FeatureHasher { state: self.0 ^ (dimension as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15), bytes: 0 }
    }
}

/// A value under way. Folded multiplication (as in wyhash, Wang Yi 2019) over words of eight bytes.
#[derive(Clone, Copy, Debug)]
pub struct FeatureHasher {
    state: u64,
    bytes: u64,
}

impl FeatureHasher {
    /// Adds one piece. `add(b"ab")` and `add(b"a"), add(b"b")` differ.
    pub fn add(&mut self, piece: &[u8]) {
        let mut chunks = piece.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        self.bytes += piece.len() as u64 + 1;
        self.word(u64::from_le_bytes(word) ^ self.bytes.rotate_left(56));
    }

    fn word(&mut self, word: u64) {
        let wide =
            u128::from(self.state ^ word) * u128::from(0xA076_1D64_78BD_642F_u64 ^ self.state.rotate_left(29) | 1);
        self.state = (wide as u64) ^ ((wide >> 64) as u64) ^ word.rotate_left(17);
    }

    /// The value; never 0.
    #[must_use]
    pub const fn value(self) -> u32 {
        let value = (splitmix(self.state ^ self.bytes) >> 32) as u32;
        if value == 0 { 1 } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_by_seed_dimension_pieces_and_content() {
        let hash = FeatureHash::new(1);
        let split = |pieces: &[&[u8]]| {
            let mut hasher = hash.begin(Dimension::Path);
            pieces.iter().for_each(|piece| hasher.add(piece));
            hasher.value()
        };
        let values = [
            hash.of(Dimension::Path, b""),
            hash.of(Dimension::Path, b"\0"),
            hash.of(Dimension::Path, b"/search"),
            hash.of(Dimension::Query, b"/search"),
            FeatureHash::new(2).of(Dimension::Path, b"/search"),
            split(&[b"/sea", b"rch"]),
            split(&[b"/search", b""]),
            hash.of(Dimension::Path, b"/search/0123456789"),
            hash.of(Dimension::Path, b"/search/0123456798"),
        ];
        for (i, a) in values.iter().enumerate() {
            assert_ne!(*a, 0);
            assert!(values[i + 1..].iter().all(|b| a != b), "{i}");
        }
    }

    #[test]
    fn values_spread_over_all_bits() {
        let hash = FeatureHash::new(3);
        let mut counts = [0_u32; 64];
        for n in 0..64_000_u32 {
            counts[(hash.of(Dimension::Tls, &n.to_be_bytes()) >> 26) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
