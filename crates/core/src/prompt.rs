//! How soon a service usually answers, so that one that hangs is told from one that takes its time.

use core::time::Duration;

/// The usual time to the first byte, and how much it varies: as TCP estimates round trips (RFC 6298), but slower to follow,
/// since the answers of a service differ more than the ways of packets do. Small enough for one atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promptness {
    mean_us: u32,
    deviation_us: u32,
}

/// Parts of a new time in the mean and in the deviation.
const WEIGHT: f32 = 1.0 / 16.0;
/// What is beyond the mean by this many deviations, and then twice as late, is not usual any more.
const DEVIATIONS: f32 = 4.0;
const FACTOR: f32 = 2.0;

impl Promptness {
    /// Takes in how long an answer took.
    #[must_use]
    pub fn with(self, took: Duration) -> Self {
        let us = took.as_secs_f32() * 1e6;
        if self.mean_us == 0 {
            return Self { mean_us: (us as u32).max(1), deviation_us: (us / 2.0) as u32 };
        }
        let (mean, deviation) = (self.mean_us as f32, self.deviation_us as f32);
        let deviation = deviation + ((us - mean).abs() - deviation) * WEIGHT;
        let mean = mean + (us - mean) * WEIGHT;
        Self { mean_us: (mean as u32).max(1), deviation_us: deviation as u32 }
    }

    /// From when on an answer is late: never before `least`, never after `most`, and at `most` where nothing was ever
    /// answered.
    #[must_use]
    pub fn late_after(self, least: Duration, most: Duration) -> Duration {
        if self.mean_us == 0 {
            return most;
        }
        let usual = self.mean_us as f32 + DEVIATIONS * self.deviation_us as f32;
        Duration::from_secs_f32(FACTOR * usual / 1e6).max(least).min(most)
    }

    /// Both figures in one.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.mean_us as u64) << 32 | self.deviation_us as u64
    }

    /// What [`Self::to_bits`] made.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { mean_us: (bits >> 32) as u32, deviation_us: bits as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(15);

    /// Answers of these many milliseconds, as often, and from when on one is late afterwards, within a fifth.
    fn check(name: &str, answers: &[(u64, usize)], late_ms: u64) {
        let mut prompt = Promptness::default();
        for &(ms, times) in answers {
            for _ in 0..times {
                prompt = prompt.with(Duration::from_millis(ms));
                assert_eq!(Promptness::from_bits(prompt.to_bits()), prompt);
            }
        }
        let late = prompt.late_after(LEAST, MOST).as_millis() as u64;
        assert!(late.abs_diff(late_ms) <= late_ms / 5, "{name}: {late}, not {late_ms}");
    }

    #[test]
    fn late_is_what_is_not_usual() {
        check("nothing known", &[], 15_000);
        check("a quick service", &[(10, 100)], 1_000);
        check("the first answer", &[(500, 1)], 3_000);
        check("a slow one that is steady", &[(2_000, 200)], 4_000);
        check("quick after slow", &[(2_000, 200), (10, 200)], 1_000);
        check("slow after quick", &[(10, 200), (2_000, 8)], 6_700);
        // Exports of five seconds among quick pages: they are usual here.
        check("a mix", &[(10, 4), (5_000, 1), (10, 4), (5_000, 1), (10, 4), (5_000, 1)], 7_900);
        check("no overflow", &[(u64::from(u32::MAX), 10)], 15_000);
    }
}
