//! Which server: power of two choices on requests in flight, or consistent hashing with bounded loads. Pure.

use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap};

use crate::config::HashOn;

/// What the choice looks at, of one server that may be chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Position in the pool.
    pub(super) server: usize,
    /// Requests in flight, over all workers.
    pub(super) in_flight: u32,
    /// Relative weight, at least 1.
    pub(super) weight: u32,
    /// Hash of the server's address.
    pub(super) identity: u64,
}

impl Candidate {
    /// Load after one more request, for comparison.
    fn load(&self) -> f64 {
        f64::from(self.in_flight + 1) / f64::from(self.weight.max(1))
    }
}

/// A server may hold this much of its fair share before a hashed request goes to the next (Mirrokni, Thorup and
/// Zadimoghaddam, "Consistent Hashing with Bounded Loads").
const BOUND_FACTOR: f64 = 1.25;

/// Two different candidates at random, the less loaded of them. `None` only without candidates.
pub(super) fn power_of_two(candidates: &[Candidate], random: u64) -> Option<usize> {
    let n = candidates.len() as u64;
    if n <= 1 {
        return candidates.first().map(|c| c.server);
    }
    let first = (random >> 32) % n;
    let second = (first + 1 + (random & 0xffff_ffff) % (n - 1)) % n;
    let (a, b) = (&candidates[first as usize], &candidates[second as usize]);
    Some(if b.load() < a.load() { b.server } else { a.server })
}

/// Weighted rendezvous hashing: each server gets a score from the key and its own address, the highest wins; so a server
/// that comes or goes moves only its own keys. A server over its bounded load is passed over.
pub(super) fn consistent(candidates: &[Candidate], key: u64) -> Option<usize> {
    let weights: f64 = candidates.iter().map(|c| f64::from(c.weight.max(1))).sum();
    let in_flight: f64 = candidates.iter().map(|c| f64::from(c.in_flight)).sum::<f64>() + 1.0;
    let within = |c: &Candidate| {
        f64::from(c.in_flight + 1) <= (BOUND_FACTOR * in_flight * f64::from(c.weight.max(1)) / weights).ceil()
    };
    let best = |only_within: bool| {
        candidates
            .iter()
            .filter(|c| !only_within || within(c))
            .max_by(|a, b| score(a, key).total_cmp(&score(b, key)))
            .map(|c| c.server)
    };
    best(true).or_else(|| best(false))
}

fn score(candidate: &Candidate, key: u64) -> f64 {
    // Uniform in (0, 1], from the top 53 bits.
    let uniform = ((mix(candidate.identity ^ key) >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    f64::from(candidate.weight.max(1)) / -uniform.ln().min(-f64::MIN_POSITIVE)
}

/// A hash that is the same on every node and in every version (FNV-1a, then a finaliser).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let folded =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(folded)
}

/// The finaliser of SplitMix64; also the generator behind [`Prng`].
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// SplitMix64: small, seeded, good enough to spread load. Not for secrets.
#[derive(Debug)]
pub(super) struct Prng(std::cell::Cell<u64>);

impl Prng {
    pub(super) fn new(seed: u64) -> Self {
        Self(std::cell::Cell::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mix(state)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The key of a request. Where the header or cookie is missing, the client's address stands in, so that such requests
/// still spread.
pub(super) fn hash_key(on: &HashOn, client: IpAddr, path: &str, headers: &HeaderMap) -> u64 {
    let source = || match client {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()),
    };
    match on {
        HashOn::Source => source(),
        HashOn::Path => hash(path.as_bytes()),
        HashOn::Header(name) => headers.get(name).map_or_else(source, |value| hash(value.as_bytes())),
        HashOn::Cookie(name) => cookie(headers, name).map_or_else(source, |value| hash(value.as_bytes())),
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(n: usize) -> Vec<Candidate> {
        (0..n)
            .map(|server| Candidate {
                server,
                in_flight: 0,
                weight: 1,
                identity: hash(format!("10.0.0.{server}:80").as_bytes()),
            })
            .collect()
    }

    fn spread(candidates: &[Candidate]) -> Vec<usize> {
        let mut counts = vec![0; 16];
        for key in 0..10_000u64 {
            counts[consistent(candidates, hash(&key.to_le_bytes())).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn power_of_two_avoids_the_loaded_and_uses_all() {
        let prng = Prng::new(7);
        let mut pool = candidates(4);
        pool[2].in_flight = 50;
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[power_of_two(&pool, prng.next()).unwrap()] += 1;
        }
        assert_eq!(counts[2], 0, "never the most loaded of two different ones");
        assert!(counts.iter().enumerate().all(|(i, c)| i == 2 || *c > 1000), "{counts:?}");
        assert_eq!(power_of_two(&[], 1), None);
        assert_eq!(power_of_two(&pool[2..3], 1), Some(2));
    }

    #[test]
    fn power_of_two_counts_load_by_weight() {
        let mut pool = candidates(2);
        pool[0].in_flight = 5;
        pool[0].weight = 10;
        pool[1].in_flight = 1;
        for random in [0, 1, u64::MAX, 1 << 32, 0x1234_5678_9abc_def0] {
            assert_eq!(power_of_two(&pool, random), Some(0));
        }
    }

    #[test]
    fn hashing_is_even_stable_and_moves_only_what_it_must() {
        let all = candidates(5);
        let counts = spread(&all);
        assert!(counts[..5].iter().all(|c| (1800..2200).contains(c)), "{counts:?}");
        let without_two: Vec<Candidate> = all.iter().copied().filter(|c| c.server != 2).collect();
        for key in 0..10_000u64 {
            let key = hash(&key.to_le_bytes());
            let before = consistent(&all, key).unwrap();
            let after = consistent(&without_two, key).unwrap();
            assert!(before == 2 || before == after, "a key moved that had no reason to");
        }
    }

    #[test]
    fn hashing_follows_weights() {
        let mut pool = candidates(2);
        pool[1].weight = 3;
        let counts = spread(&pool);
        assert!((2200..2800).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_server_over_its_bound_is_passed_over() {
        let mut pool = candidates(4);
        let key = hash(b"hot");
        let home = consistent(&pool, key).unwrap();
        pool[home].in_flight = 10;
        assert_ne!(consistent(&pool, key), Some(home));
        for candidate in &mut pool {
            candidate.in_flight = 10;
        }
        assert_eq!(consistent(&pool, key), Some(home), "all alike: home again");
        pool.truncate(1);
        assert_eq!(consistent(&pool, key), Some(pool[0].server));
    }

    #[test]
    fn keys_come_from_where_they_are_told() {
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; sid=abc".parse().unwrap());
        headers.append("x-user", "u1".parse().unwrap());
        let key = |on: HashOn| hash_key(&on, client, "/p", &headers);
        assert_eq!(key(HashOn::Path), hash(b"/p"));
        assert_eq!(key(HashOn::Cookie("sid".into())), hash(b"abc"));
        assert_eq!(key(HashOn::Header(http::HeaderName::from_static("x-user"))), hash(b"u1"));
        assert_eq!(key(HashOn::Cookie("none".into())), key(HashOn::Source));
    }
}
