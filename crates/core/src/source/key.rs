//! Keys of sources: a keyed hash of a prefix or of a session, so that nobody outside can choose collisions.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A source: an address prefix, a session or a partner, as a keyed 64-bit hash. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(u64);

const TAG_V4: u8 = 4;
const TAG_V6: u8 = 6;

impl SourceKey {
    /// Key of an IPv4 prefix; `prefix_len` over 32 counts as 32. `seed` is a secret of the node, drawn once.
    #[must_use]
    pub fn of_v4(seed: u64, addr: Ipv4Addr, prefix_len: u8) -> Self {
        let len = u32::from(prefix_len.min(32));
        let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
        let bits = u32::from(addr) & mask;
        Self::of_words(seed, TAG_V4, [u64::from(bits), u64::from(len)])
    }

    /// Key of an IPv6 prefix; `prefix_len` over 128 counts as 128. Use 64, 56 and 48: a site holds at least a /64.
    #[must_use]
    pub fn of_v6(seed: u64, addr: Ipv6Addr, prefix_len: u8) -> Self {
        let len = u32::from(prefix_len.min(128));
        let mask = if len == 0 { 0 } else { u128::MAX << (128 - len) };
        let bits = u128::from(addr) & mask;
        // The length goes into the tag: prefixes of different lengths never share a key by construction.
        let mut sip = Sip::new(seed, TAG_V6);
        sip.word((bits >> 64) as u64);
        sip.word(bits as u64);
        sip.word(u64::from(len));
        Self::from_hash(sip.finish())
    }

    /// Key of anything else that names a source, such as a session cookie; `tag` keeps the kinds apart (not 4 or 6).
    #[must_use]
    pub fn of_bytes(seed: u64, tag: u8, bytes: &[u8]) -> Self {
        let mut sip = Sip::new(seed, tag);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            sip.word(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        sip.word(u64::from_le_bytes(word));
        sip.word(bytes.len() as u64);
        Self::from_hash(sip.finish())
    }

    /// Two narrow prefixes of an address, then its wide ones, in the order narrow to wide: v4 /32 and /24.
    #[must_use]
    pub fn prefixes_v4(seed: u64, addr: Ipv4Addr) -> [Self; 2] {
        [Self::of_v4(seed, addr, 32), Self::of_v4(seed, addr, 24)]
    }

    /// The nested prefixes of an IPv6 address, narrow to wide: /64, /56, /48.
    #[must_use]
    pub fn prefixes_v6(seed: u64, addr: Ipv6Addr) -> [Self; 3] {
        [Self::of_v6(seed, addr, 64), Self::of_v6(seed, addr, 56), Self::of_v6(seed, addr, 48)]
    }

    /// The account of those at the same place who bear a mark: what they do is not held against their neighbours.
    #[must_use]
    pub const fn apart(self, mark: u32) -> Self {
        Self::from_hash(splitmix(self.0 ^ splitmix(mark as u64)))
    }

    /// The hash itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A key from a hash made elsewhere with a secret seed (the simulator does).
    #[must_use]
    pub const fn from_hash(hash: u64) -> Self {
        Self(if hash == 0 { 1 } else { hash })
    }

    /// A number in 0..65,536 that stays the same for one source within one epoch: the lot it draws when only a part of
    /// equals can be served. Whoever draws well keeps it for the whole epoch, so that a page loads whole.
    #[must_use]
    pub fn lot(self, epoch: u64) -> u16 {
        (splitmix(self.0 ^ splitmix(epoch)) >> 48) as u16
    }

    fn of_words(seed: u64, tag: u8, words: [u64; 2]) -> Self {
        let mut sip = Sip::new(seed, tag);
        sip.word(words[0]);
        sip.word(words[1]);
        Self::from_hash(sip.finish())
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes well.
pub(crate) const fn splitmix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// SipHash-1-3 (Aumasson, Bernstein 2012) over whole words: a keyed function, so that collisions need the seed.
struct Sip([u64; 4]);

impl Sip {
    fn new(seed: u64, tag: u8) -> Self {
        let k0 = splitmix(seed);
        let k1 = splitmix(k0 ^ u64::from(tag));
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }

    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_group_and_seeds_separate() {
        let a = Ipv4Addr::new(192, 0, 2, 7);
        let b = Ipv4Addr::new(192, 0, 2, 200);
        assert_ne!(SourceKey::of_v4(1, a, 32), SourceKey::of_v4(1, b, 32));
        assert_eq!(SourceKey::of_v4(1, a, 24), SourceKey::of_v4(1, b, 24));
        assert_ne!(SourceKey::of_v4(1, a, 24), SourceKey::of_v4(2, a, 24));
        assert_ne!(
            SourceKey::of_v4(1, Ipv4Addr::new(192, 0, 2, 0), 24),
            SourceKey::of_v4(1, Ipv4Addr::new(192, 0, 2, 0), 32)
        );
        let c: Ipv6Addr = "2001:db8:1:2::5".parse().expect("an address");
        let d: Ipv6Addr = "2001:db8:1:2:ffff::1".parse().expect("an address");
        let e: Ipv6Addr = "2001:db8:1:ff::1".parse().expect("an address");
        assert_eq!(SourceKey::of_v6(1, c, 64), SourceKey::of_v6(1, d, 64));
        assert_ne!(SourceKey::of_v6(1, c, 64), SourceKey::of_v6(1, e, 64));
        assert_eq!(SourceKey::of_v6(1, c, 56), SourceKey::of_v6(1, e, 56));
        assert_eq!(SourceKey::of_v6(1, c, 0), SourceKey::of_v6(1, e, 0));
        assert_eq!(SourceKey::of_v4(1, a, 99), SourceKey::of_v4(1, a, 32));
    }

    #[test]
    fn bytes_differ_by_tag_length_and_content() {
        let keys = [
            SourceKey::of_bytes(1, 9, b""),
            SourceKey::of_bytes(1, 9, b"\0"),
            SourceKey::of_bytes(1, 9, b"\0\0"),
            SourceKey::of_bytes(1, 8, b"\0\0"),
            SourceKey::of_bytes(1, 9, b"12345678"),
            SourceKey::of_bytes(1, 9, b"123456789"),
            SourceKey::of_bytes(2, 9, b"123456789"),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn low_bits_spread_over_neighbouring_addresses() {
        let mut counts = [0_u32; 64];
        for n in 0..64_000_u32 {
            let key = SourceKey::of_v4(7, Ipv4Addr::from(0x7f00_0000 + n), 32);
            counts[(key.get() % 64) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
