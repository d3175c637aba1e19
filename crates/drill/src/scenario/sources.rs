//! Source addresses: a number of them, spread evenly over a network within 127.0.0.0/8.

use crate::target::SourceAddr;
use guichet_core::bounds::DRILL_SOURCES_MAX;
use std::net::Ipv4Addr;

/// Checked sources of one population.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    base: u32,
    prefix_len: u8,
    count: u32,
}

/// The /24 of the estate and the fronts: nobody may come from there, so that an address says who it is.
const RESERVED: u32 = u32::from_be_bytes([127, 0, 0, 0]);

impl Sources {
    /// Checks a range and a count.
    ///
    /// # Errors
    /// Cause and mend, for the scenario's author.
    pub fn new(range: &str, count: u32) -> Result<Self, (String, String)> {
        let example = || "write a network as \"127.20.0.0/16\"".to_owned();
        let (ip, len) = range.split_once('/').ok_or_else(|| (format!("{range:?} is no network"), example()))?;
        let ip: Ipv4Addr = ip.parse().map_err(|_| (format!("{ip:?} is no IPv4 address"), example()))?;
        let prefix_len: u8 = len.parse().map_err(|_| (format!("{len:?} is no prefix length"), example()))?;
        if !ip.is_loopback() || !(8..=32).contains(&prefix_len) {
            return Err((
                format!("{range} is not within 127.0.0.0/8"),
                "drills come from loopback addresses only".to_owned(),
            ));
        }
        let base = u32::from(ip);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        if base & !mask != 0 {
            let network = Ipv4Addr::from(base & mask);
            return Err((format!("{range} has host bits set"), format!("write {network}/{prefix_len}")));
        }
        let sources = Self { base, prefix_len, count };
        if base & 0xffff_ff00 == RESERVED && prefix_len >= 24 {
            return Err((
                format!("{range} is where the fronts listen"),
                "take another network, as 127.20.0.0/16".to_owned(),
            ));
        }
        if count == 0 || count > DRILL_SOURCES_MAX || count > sources.slots() {
            let most = sources.slots().min(DRILL_SOURCES_MAX);
            return Err((format!("{count} addresses out of {range}"), format!("give 1 to {most}")));
        }
        Ok(sources)
    }

    /// How many addresses there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Address number `i` (taken modulo the count).
    #[must_use]
    pub fn addr(&self, i: u32) -> SourceAddr {
        let slot = (u64::from(i % self.count) * u64::from(self.slots()) / u64::from(self.count)) as u32;
        let offset = if self.prefix_len > 24 {
            slot
        } else {
            // The first /24 of 127.0.0.0/8 belongs to the fronts; .0 and .255 look odd in logs.
            let net = slot / 254 + self.nets_skipped();
            net * 256 + 1 + slot % 254
        };
        SourceAddr::new(Ipv4Addr::from(self.base + offset)).expect("a checked range lies within 127.0.0.0/8")
    }

    /// Whether two populations have addresses in a common /24.
    #[must_use]
    pub fn shares_slash24_with(&self, other: &Self) -> bool {
        let (a, b) = (self.nets(), other.nets());
        let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        few.iter().any(|net| many.contains(net))
    }

    fn nets(&self) -> std::collections::BTreeSet<u32> {
        (0..self.count).map(|i| u32::from(self.addr(i).get()) >> 8).collect()
    }

    fn nets_skipped(&self) -> u32 {
        u32::from(self.base & 0xffff_ff00 == RESERVED)
    }

    fn slots(&self) -> u32 {
        if self.prefix_len > 24 {
            1 << (32 - self.prefix_len)
        } else {
            ((1_u32 << (24 - self.prefix_len)) - self.nets_skipped()) * 254
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn addresses_are_distinct_and_within_the_range() {
        for (range, count) in [
            ("127.20.0.0/16", 5000),
            ("127.0.0.0/8", 20_000),
            ("127.9.9.0/24", 254),
            ("127.9.9.16/28", 16),
            ("127.9.9.9/32", 1),
        ] {
            let sources = Sources::new(range, count).unwrap();
            let all: BTreeSet<_> = (0..count).map(|i| sources.addr(i).get()).collect();
            assert_eq!(all.len(), count as usize, "{range}");
            let (base, len) = range.split_once('/').unwrap();
            let (base, len) = (u32::from(base.parse::<Ipv4Addr>().unwrap()), len.parse::<u32>().unwrap());
            for ip in all {
                assert_eq!((u32::from(ip) ^ base).checked_shr(32 - len).unwrap_or(0), 0, "{ip} in {range}");
                assert!(!ip.octets().starts_with(&[127, 0, 0]), "{ip} is where the fronts listen");
            }
        }
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for (range, count, word) in [
            ("10.0.0.0/8", 1, "within 127"),
            ("0.0.0.0/0", 1, "within 127"),
            ("127.0.0.0/7", 1, "within 127"),
            ("127.0.0.0/33", 1, "within 127"),
            ("127.20.0.1/16", 1, "host bits"),
            ("127.20.0.0", 1, "no network"),
            ("127.20/16", 1, "no IPv4"),
            ("127.20.0.0/x", 1, "prefix length"),
            ("127.20.0.0/24", 255, "addresses out of"),
            ("127.20.0.0/24", 0, "addresses out of"),
            ("127.0.0.0/8", 20_001, "addresses out of"),
            ("127.0.0.0/24", 1, "fronts listen"),
        ] {
            let (cause, mend) = Sources::new(range, count).unwrap_err();
            assert!(cause.contains(word) && !mend.is_empty(), "{range}: {cause}; {mend}");
        }
    }

    #[test]
    fn common_networks_are_seen() {
        let real = Sources::new("127.20.0.0/16", 100).unwrap();
        assert!(real.shares_slash24_with(&Sources::new("127.20.0.0/16", 100).unwrap()));
        assert!(!real.shares_slash24_with(&Sources::new("127.21.0.0/16", 100).unwrap()));
    }
}
