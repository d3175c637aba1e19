//! Samples of what comes: bounded bags that workers fill, and bounded memories that the brain keeps.

use super::Features;
use crate::bounds::SAMPLES_PER_TICK_MAX;
use crate::source::splitmix;
use crate::{Criticality, Standing};

/// One request, as far as signatures look at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What is told of it.
    pub features: Features,
    /// Requests that it stands for.
    pub weight: f32,
    /// What its source asks, a second ([`crate::SourceView::pace_per_s`]): so that one who asks much is not taken for many.
    pub pace_per_s: f32,
    /// Standing, before any mitigation.
    pub standing: Standing,
    /// Criticality.
    pub criticality: Criticality,
}

impl Sample {
    /// Whether nobody vouches for it: only such requests are mitigated, and only such are looked at for signs.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        self.standing <= Standing::Anonymous && self.criticality != Criticality::Critical
    }

    /// Whether it stands for people of proven standing: a signature must spare what they look like. Partners are programs,
    /// and a pass can be earned by one.
    #[must_use]
    pub const fn is_person(&self) -> bool {
        matches!(self.standing, Standing::Known | Standing::Session)
    }
}

/// A uniform sample of the requests of one service over one span of one worker: bounded whatever comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleBag {
    seen: u32,
    kept: Vec<Sample>,
}

impl SampleBag {
    /// The samples; their weights count once sealed.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.kept
    }

    /// Keeps a sample at a place that [`Sampler::place`] gave.
    pub fn keep(&mut self, place: usize, sample: Sample) {
        if let Some(at) = self.kept.get_mut(place) {
            *at = sample;
        } else if self.kept.len() < SAMPLES_PER_TICK_MAX {
            self.kept.push(sample);
        }
    }

    /// Ends the span: each sample now stands for its part of all that was seen.
    pub fn seal(&mut self) {
        let weight = self.seen as f32 / self.kept.len().max(1) as f32;
        self.kept.iter_mut().for_each(|sample| sample.weight = weight);
    }

    /// Adds the sealed samples of another worker, up to the bound.
    pub fn merge(&mut self, other: &Self) {
        self.seen += other.seen;
        let room = SAMPLES_PER_TICK_MAX.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.iter().take(room));
    }

    /// Sets all to nothing; keeps the memory.
    pub fn clear(&mut self) {
        self.seen = 0;
        self.kept.clear();
    }
}

/// Chooses which requests are kept, before anything about them is worked out. One for each worker.
#[derive(Clone, Debug)]
pub struct Sampler(u64);

impl Sampler {
    /// Chance comes from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Counts a request, and says at which place to keep it, if at all. Algorithm R (Vitter 1985): uniform over the span.
    pub fn place(&mut self, bag: &mut SampleBag, samples: u32) -> Option<usize> {
        bag.seen += 1;
        let room = samples.min(SAMPLES_PER_TICK_MAX as u32);
        if bag.seen <= room {
            return Some(bag.seen as usize - 1);
        }
        self.0 = self.0.wrapping_add(1);
        let drawn = ((splitmix(self.0) >> 32) * u64::from(bag.seen)) >> 32;
        (drawn < u64::from(room)).then_some(drawn as usize)
    }
}

/// A memory of what requests look like: fixed size, each new one takes the place of a random old one, and only so many
/// a second, so that the past can't be washed out by whoever sends much.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    kept: Vec<Features>,
    bound: usize,
    /// Replacements allowed now, and regained a second.
    allowance: f32,
    regain_per_s: f32,
    chance: u64,
}

impl Memory {
    /// Remembers `bound` requests; once full, as many are replaced within `turnover_s`.
    pub(crate) const fn new(bound: usize, turnover_s: f32, seed: u64) -> Self {
        Self { kept: Vec::new(), bound, allowance: 0.0, regain_per_s: bound as f32 / turnover_s, chance: seed }
    }

    pub(crate) fn features(&self) -> &[Features] {
        &self.kept
    }

    pub(crate) fn regain(&mut self, span_s: f32) {
        self.allowance = (self.allowance + self.regain_per_s * span_s).min(self.regain_per_s.max(1.0));
    }

    /// Remembers a sample; the more its source asks, the less likely, so that it counts as one and not as many.
    pub(crate) fn learn(&mut self, sample: &Sample) {
        if self.unit() * sample.pace_per_s.max(1.0) > 1.0 {
            return;
        }
        if self.kept.len() < self.bound {
            self.kept.push(sample.features);
        } else if self.allowance >= 1.0 {
            self.allowance -= 1.0;
            let at = (self.unit() * self.bound as f32) as usize;
            self.kept[at.min(self.bound - 1)] = sample.features;
        }
    }

    fn unit(&mut self) -> f32 {
        self.chance = self.chance.wrapping_add(1);
        (splitmix(self.chance) >> 40) as f32 / (1_u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signs::Dimension;

    fn sample(value: u32, pace_per_s: f32) -> Sample {
        let features = Features::NONE.with(Dimension::Tls, value);
        let (standing, criticality) = (Standing::Anonymous, Criticality::Ordinary);
        Sample { features, weight: 1.0, pace_per_s, standing, criticality }
    }

    #[test]
    fn a_bag_keeps_a_uniform_part_within_its_bound() {
        let mut sampler = Sampler::new(1);
        let mut early = 0.0;
        for _ in 0..200 {
            let mut bag = SampleBag::default();
            for n in 0..1_000 {
                if let Some(place) = sampler.place(&mut bag, 32) {
                    bag.keep(place, sample(n, 1.0));
                }
            }
            bag.seal();
            assert_eq!(bag.samples().len(), 32);
            let all: f32 = bag.samples().iter().map(|s| s.weight).sum();
            assert!((all - 1_000.0).abs() < 0.1, "{all}");
            early += bag.samples().iter().filter(|s| s.features.get(Dimension::Tls) < 500).count() as f32;
        }
        assert!((early / 6_400.0 - 0.5).abs() < 0.05, "{early}");
    }

    #[test]
    fn a_bag_is_bounded_also_when_merged() {
        let mut sampler = Sampler::new(1);
        let mut all = SampleBag::default();
        for _ in 0..20 {
            let mut bag = SampleBag::default();
            for n in 0..10_000 {
                if let Some(place) = sampler.place(&mut bag, u32::MAX) {
                    bag.keep(place, sample(n, 1.0));
                }
            }
            assert_eq!(bag.samples().len(), SAMPLES_PER_TICK_MAX);
            bag.seal();
            all.merge(&bag);
        }
        assert_eq!(all.samples().len(), SAMPLES_PER_TICK_MAX);
    }

    #[test]
    fn a_memory_is_bounded_slow_and_counts_one_who_asks_much_as_one() {
        let mut memory = Memory::new(1_000, 600.0, 7);
        for _ in 0..1_000 {
            memory.learn(&sample(1, 1.0));
        }
        // A minute of a flood: what it may replace is a tenth, and its sources ask a hundred times as much as one.
        for _ in 0..600 {
            memory.regain(0.1);
            for _ in 0..128 {
                memory.learn(&sample(2, 100.0));
            }
        }
        let flooded = memory.features().iter().filter(|f| f.get(Dimension::Tls) == 2).count();
        assert_eq!(memory.features().len(), 1_000);
        assert!((50..=110).contains(&flooded), "{flooded}");
    }
}
