//! Finds what an excess of requests has in common.
//!
//! A beam search over conjunctions: the values that many of the recent requests share are combined, a part at a time,
//! and scored by how much of the excess they cover times the logarithm of their lift over the usual (compare Brauckhoff
//! et al. 2009, who mine itemsets of flows). A signature must also spare those of proven standing; the smallest one
//! that does as well as any is taken, what it covers is set aside, and the search goes on with the rest.

use std::collections::BTreeMap;

use super::{Dimension, Features, Kind, Sample, Signature};
use crate::bounds::{SIGNATURE_CANDIDATES_MAX, SIGNATURE_PARTS_MAX, SIGNATURES_PER_SEARCH_MAX};

/// Least part of the strangers' requests that a signature must explain.
const COVERAGE_MIN: f32 = 0.05;
/// The same for one with an address in it: most networks were never seen before, so that their lift says
/// little, and heavy ones are held to their share anyway.
const COVERAGE_OF_SOURCE_MIN: f32 = 0.15;
/// Least multiple of the usual share that a signature must have.
const LIFT_MIN: f32 = 3.0;
/// An excess is what is more than this multiple of the usual rate.
const USUAL_FACTOR: f32 = 2.0;
/// Least excess, requests a second, and as a part of all that is usual: the bursts of people are no attack.
pub(super) const EXCESS_MIN_PER_S: f32 = 10.0;
const EXCESS_OF_USUAL: f32 = 0.15;
/// Least coverage times log-lift. Crowds come in visits of a few requests each, so that chance alone makes small groups
/// three times as frequent as usual; half of all requests may be so by less, a twentieth only by far more.
const SCORE_MIN: f32 = 0.2;
/// Samples that a signature must be seen in.
const SAMPLES_MIN: u32 = 12;
/// Recent samples without which nothing is concluded.
const RECENT_MIN: usize = 24;
/// Usual requests without which nothing is concluded.
const USUAL_MIN: usize = 32;
/// With so many people of proven standing, nobody else is needed to tell what must be spared.
const PERSONS_ENOUGH: usize = 150;
/// Conjunctions that are extended in each round.
const BEAM: usize = 10;
/// Values looked at in one dimension.
const VALUES_PER_DIMENSION: usize = 6;
/// A longer signature must be better by this factor than the shorter one.
const LENGTH_FACTOR: f32 = 1.03;

/// What the search looks at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// Recent requests of strangers that no mitigation in force covers yet.
    pub(crate) recent: &'a [Sample],
    /// Seconds in which those came.
    pub(crate) span_s: f32,
    /// What was usual.
    pub(crate) usual: &'a [Features],
    /// At this rate, strangers only.
    pub(crate) usual_per_s: f32,
    /// People of proven standing at this service.
    pub(crate) persons: &'a [Features],
    /// People of proven standing anywhere on the node: they count where a signature does not say what is asked for.
    pub(crate) elsewhere: &'a [Features],
    /// A signature that would hit a greater part of them is not looked for.
    pub(crate) collateral_max: f32,
    /// Least excess that counts, requests a second.
    pub(crate) excess_min_per_s: f32,
    /// It is one of sign-ins, some failed: people of proven standing count wherever they are and whatever they ask for.
    pub(crate) sign_ins: bool,
    /// Signatures are searched only in what tells who asks: for sign-ins, and behind a mark of a crowd.
    pub(crate) who_only: bool,
}

/// Why a signature was taken for one: told to the operator, and what decides how far its mitigation may climb.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Part of the strangers' recent requests that it explains, 0 to 1.
    pub coverage: f32,
    /// Its share of recent requests, as a multiple of its usual share.
    pub lift: f32,
    /// The same for those of its parts that tell who asks; 0 where there are none.
    pub who_lift: f32,
    /// Its requests, a second.
    pub rate_per_s: f32,
    /// As many were usual, a second.
    pub usual_per_s: f32,
    /// Part of the people of proven standing that it would hit, 0 to 1.
    pub collateral: f32,
    /// People of proven standing it was compared with.
    pub persons: u32,
    /// Recent samples it was found in.
    pub samples: u32,
    /// How most of its connections fail or stall: code of the reason, or [`super::SignIn::ending`]; 0 where it is one of
    /// requests.
    pub ending: u32,
    /// Of the sign-ins that match and came to the service, the part that was right, 0 to 1; 0 where it is not one of
    /// sign-ins.
    pub right: f32,
}

/// One signature that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) signature: Signature,
    pub(crate) evidence: Evidence,
}

/// The signatures that cover the excess, best first; at most [`SIGNATURES_PER_SEARCH_MAX`].
pub(crate) fn mine(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let elsewhere = if scene.sign_ins { scene.elsewhere.len() } else { 0 };
    if scene.recent.len() < RECENT_MIN || scene.usual.len() + scene.persons.len() + elsewhere < USUAL_MIN {
        return found;
    }
    let all: f32 = scene.recent.iter().map(|s| s.weight).sum();
    let mut rest: Vec<Sample> = scene.recent.to_vec();
    while found.len() < SIGNATURES_PER_SEARCH_MAX && rest.len() >= RECENT_MIN {
        let Some(mut finding) = Search::new(scene, &rest, all).best() else { break };
        finding.evidence.ending = most_common(&rest, &finding.signature, Dimension::Ending);
        rest.retain(|sample| !finding.signature.matches(&sample.features));
        found.push(finding);
    }
    found
}

/// What is to be said of one signature now.
pub(crate) fn measure(scene: &Scene<'_>, signature: &Signature) -> Evidence {
    let all: f32 = scene.recent.iter().map(|s| s.weight).sum();
    let hit_by = |by: Option<&Signature>, of: &[Features]| {
        by.map_or(0, |signature| of.iter().filter(|f| signature.matches(f)).count())
    };
    let hits =
        |by: Option<&Signature>| [hit_by(by, scene.usual), hit_by(by, scene.persons), hit_by(by, scene.elsewhere)];
    let who = signature.who();
    let of_recent = scene.recent.iter().filter(|s| signature.matches(&s.features));
    let (mut matched, mut samples) = (0.0, 0);
    of_recent.for_each(|s| {
        matched += s.weight;
        samples += 1;
    });
    // Whoever signs in elsewhere, or asks for something else, must not be taken for different.
    let judged = if scene.sign_ins { who.as_ref() } else { Some(signature) };
    let mut evidence = scene.evidence(signature, matched, all, hits(judged), samples);
    evidence.who_lift = who.map_or(0.0, |who| {
        let matched: f32 = scene.recent.iter().filter(|s| who.matches(&s.features)).map(|s| s.weight).sum();
        scene.lift(matched / all.max(1e-6), hits(Some(&who)))
    });
    evidence.ending = most_common(scene.recent, signature, Dimension::Ending);
    evidence
}

/// The value of a dimension that most of the matching samples have; 0: none tells it.
pub(super) fn most_common(samples: &[Sample], signature: &Signature, dimension: Dimension) -> u32 {
    let mut counts = BTreeMap::<u32, f32>::new();
    for sample in samples.iter().filter(|s| s.features.get(dimension) != 0 && signature.matches(&s.features)) {
        *counts.entry(sample.features.get(dimension)).or_default() += sample.weight;
    }
    let most = counts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    most.map_or(0, |(value, _)| value)
}

impl Scene<'_> {
    /// Lift of a share of the recent requests over the share of the usual ones; what was never seen counts as half a
    /// request. Without a memory of calm the people of proven standing stand in for it.
    fn lift(&self, share: f32, hits: [usize; 3]) -> f32 {
        let [hit_usual, hit_persons, hit_elsewhere] = hits;
        let (mut hit, mut of) = (hit_usual, self.usual.len());
        if of < USUAL_MIN || self.sign_ins {
            (hit, of) = (hit + hit_persons, of + self.persons.len());
        }
        if of < USUAL_MIN && self.sign_ins {
            (hit, of) = (hit + hit_elsewhere, of + self.elsewhere.len());
        }
        share / ((hit as f32 + 0.5) / (of as f32 + 1.0))
    }

    fn evidence(&self, signature: &Signature, matched: f32, all: f32, hits: [usize; 3], samples: u32) -> Evidence {
        let [hit_usual, hit_persons, hit_elsewhere] = hits;
        let coverage = matched / all.max(1e-6);
        let usual_share = hit_usual as f32 / self.usual.len().max(1) as f32;
        let here = signature.has(Kind::Wanted) && !self.sign_ins;
        let (mut hit, mut persons) = (hit_persons, self.persons.len());
        if !here {
            (hit, persons) = (hit + hit_elsewhere, persons + self.elsewhere.len());
        }
        if persons < PERSONS_ENOUGH {
            // Nobody has proven anything yet: who came in calm times stands in for them.
            (hit, persons) = (hit + hit_usual, persons + self.usual.len());
        }
        Evidence {
            coverage,
            lift: self.lift(coverage, hits),
            who_lift: 0.0,
            rate_per_s: matched / self.span_s.max(1e-3),
            usual_per_s: usual_share * self.usual_per_s,
            collateral: hit as f32 / persons.max(1) as f32,
            persons: persons as u32,
            samples,
            ending: 0,
            right: 0.0,
        }
    }

    /// Parts that a signature may have: one of sign-ins is told where it holds afterwards.
    const fn parts_max(&self) -> usize {
        if self.sign_ins { SIGNATURE_PARTS_MAX - 1 } else { SIGNATURE_PARTS_MAX }
    }

    const fn looks_at(&self, dimension: Dimension) -> bool {
        !self.who_only || matches!(dimension.kind(), Kind::Source | Kind::Client | Kind::Behaviour)
    }
}

/// A set of samples, a bit each.
type Bits = Box<[u64]>;

fn bits_of<'a>(features: impl ExactSizeIterator<Item = &'a Features>, dimension: Dimension, value: u32) -> Bits {
    let mut bits = vec![0_u64; features.len().div_ceil(64)].into_boxed_slice();
    for (at, features) in features.enumerate() {
        if features.get(dimension) == value {
            bits[at / 64] |= 1 << (at % 64);
        }
    }
    bits
}

/// The samples that share some values.
#[derive(Clone)]
struct Matched {
    recent: Bits,
    usual: Bits,
    persons: Bits,
    elsewhere: Bits,
}

impl Matched {
    fn and(&self, other: &Self) -> Self {
        let both = |a: &Bits, b: &Bits| a.iter().zip(b).map(|(a, b)| a & b).collect();
        Self {
            recent: both(&self.recent, &other.recent),
            usual: both(&self.usual, &other.usual),
            persons: both(&self.persons, &other.persons),
            elsewhere: both(&self.elsewhere, &other.elsewhere),
        }
    }

    fn hits(&self) -> [usize; 3] {
        let ones = |bits: &Bits| bits.iter().map(|word| word.count_ones() as usize).sum();
        [ones(&self.usual), ones(&self.persons), ones(&self.elsewhere)]
    }
}

struct Candidate {
    signature: Signature,
    matched: Matched,
    /// Coverage times log-lift; of equals, those that tell most of who asks are a little better.
    score: f32,
    evidence: Evidence,
}

/// Of signatures that explain as much, one that names the program is better than one that names an address, and both are
/// better than one that only says how somebody behaves or what is wanted.
fn preference(signature: &Signature) -> f32 {
    if signature.has(Kind::Client) {
        1.03
    } else if signature.has(Kind::Source) {
        1.02
    } else if signature.has(Kind::Behaviour) {
        1.0
    } else {
        0.99
    }
}

struct Search<'a> {
    scene: &'a Scene<'a>,
    recent: &'a [Sample],
    /// Weight of all strangers' requests, also of those that were set aside.
    all: f32,
}

impl<'a> Search<'a> {
    const fn new(scene: &'a Scene<'a>, recent: &'a [Sample], all: f32) -> Self {
        Self { scene, recent, all }
    }

    fn best(&self) -> Option<Finding> {
        let singles = self.singles();
        let mut best: Option<Candidate> = None;
        let mut beam: Vec<Candidate> = Vec::new();
        for length in 1..=self.scene.parts_max() {
            let mut next: Vec<Candidate> = Vec::new();
            if length == 1 {
                next.extend(
                    singles.iter().map(|(d, v, matched)| self.candidate(Signature::single(*d, *v), matched.clone())),
                );
            } else {
                for (from, (dimension, value, matched)) in
                    beam.iter().flat_map(|from| singles.iter().map(move |single| (from, single)))
                {
                    let Some(signature) = from.signature.and(*dimension, *value) else { continue };
                    if next.iter().all(|c| c.signature != signature) {
                        next.push(self.candidate(signature, from.matched.and(matched)));
                    }
                }
            }
            next.retain(|c| c.evidence.coverage >= COVERAGE_MIN);
            next.sort_by(|a, b| b.score.total_cmp(&a.score));
            if let Some(at) = next.iter().position(|c| self.eligible(c))
                && best.as_ref().is_none_or(|b| next[at].score > b.score * LENGTH_FACTOR)
            {
                best = Some(next.swap_remove(at));
                next.sort_by(|a, b| b.score.total_cmp(&a.score));
            }
            next.truncate(BEAM);
            beam = next;
        }
        best.map(|best| self.finding(&best.signature))
    }

    /// Whether it is far from usual, and spares those of proven standing.
    fn eligible(&self, candidate: &Candidate) -> bool {
        let evidence = &candidate.evidence;
        let excess = evidence.rate_per_s - USUAL_FACTOR * evidence.usual_per_s;
        let excess_min = self.scene.excess_min_per_s.max(EXCESS_OF_USUAL * self.scene.usual_per_s);
        let by_address = candidate.signature.has(Kind::Source);
        candidate.score >= SCORE_MIN
            && (!by_address || evidence.coverage >= COVERAGE_OF_SOURCE_MIN)
            && evidence.lift >= LIFT_MIN
            && excess >= excess_min
            && evidence.samples >= SAMPLES_MIN
            && evidence.collateral <= self.scene.collateral_max
    }

    fn finding(&self, signature: &Signature) -> Finding {
        Finding { signature: *signature, evidence: measure(self.scene, signature) }
    }

    fn candidate(&self, signature: Signature, matched: Matched) -> Candidate {
        let (mut weight, mut samples) = (0.0, 0);
        for (word, mut bits) in matched.recent.iter().copied().enumerate() {
            while bits != 0 {
                weight += self.recent[word * 64 + bits.trailing_zeros() as usize].weight;
                samples += 1;
                bits &= bits - 1;
            }
        }
        let evidence = self.scene.evidence(&signature, weight, self.all, matched.hits(), samples);
        let score = evidence.coverage * evidence.lift.clamp(1.0, 1e3).ln() * preference(&signature);
        Candidate { signature, matched, score, evidence }
    }

    /// The values that many requests share, by dimension: the weightiest.
    fn singles(&self) -> Vec<(Dimension, u32, Matched)> {
        let mut heavy: Vec<(f32, Dimension, u32)> = Vec::new();
        for dimension in Dimension::ALL.into_iter().filter(|dimension| self.scene.looks_at(*dimension)) {
            let mut values: Vec<(u32, f32)> = self
                .recent
                .iter()
                .map(|s| (s.features.get(dimension), s.weight))
                .filter(|(v, _)| dimension.can_tell(*v))
                .collect();
            values.sort_unstable_by_key(|(value, _)| *value);
            let mut of_dimension: Vec<(f32, Dimension, u32)> = values
                .chunk_by(|a, b| a.0 == b.0)
                .map(|same| (same.iter().map(|(_, weight)| weight).sum(), dimension, same[0].0))
                .filter(|(weight, _, _): &(f32, _, _)| *weight >= COVERAGE_MIN * self.all)
                .collect();
            of_dimension.sort_by(|a, b| b.0.total_cmp(&a.0));
            of_dimension.truncate(VALUES_PER_DIMENSION);
            heavy.append(&mut of_dimension);
        }
        heavy.sort_by(|a, b| b.0.total_cmp(&a.0));
        heavy.truncate(SIGNATURE_CANDIDATES_MAX);
        heavy.into_iter().map(|(_, d, v)| (d, v, self.matched(d, v))).collect()
    }

    fn matched(&self, dimension: Dimension, value: u32) -> Matched {
        Matched {
            recent: bits_of(self.recent.iter().map(|s| &s.features), dimension, value),
            usual: bits_of(self.scene.usual.iter(), dimension, value),
            persons: bits_of(self.scene.persons.iter(), dimension, value),
            elsewhere: bits_of(self.scene.elsewhere.iter(), dimension, value),
        }
    }
}
