//! A level that goes up and down, with its mean and greatest value over a span.

use crate::Moment;

/// What a gauge showed over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// Time-weighted mean.
    pub mean: f32,
    /// Greatest value.
    pub max: u32,
}

impl Level {
    /// Adds the level of another worker: means add, and so do the maxima (an upper bound of the true maximum).
    pub fn merge(&mut self, other: Self) {
        self.mean += other.mean;
        self.max = self.max.saturating_add(other.max);
    }
}

/// Follows one number, such as the requests that a worker has in flight at a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    value: u32,
    max: u32,
    area: f64,
    since: Moment,
    started: Moment,
}

impl Gauge {
    /// The value now.
    #[must_use]
    pub const fn get(&self) -> u32 {
        self.value
    }

    /// Sets the value.
    pub fn set(&mut self, now: Moment, value: u32) {
        self.area += f64::from(self.value) * now.since(self.since).as_secs_f64();
        self.since = self.since.max(now);
        self.value = value;
        self.max = self.max.max(value);
    }

    /// One more.
    pub fn up(&mut self, now: Moment) {
        self.set(now, self.value.saturating_add(1));
    }

    /// One less.
    pub fn down(&mut self, now: Moment) {
        self.set(now, self.value.saturating_sub(1));
    }

    /// The level since the last take, and begins anew.
    pub fn take(&mut self, now: Moment) -> Level {
        self.set(now, self.value);
        let span = now.since(self.started).as_secs_f64();
        let mean = if span > 0.0 { (self.area / span) as f32 } else { self.value as f32 };
        let level = Level { mean, max: self.max };
        (self.area, self.started, self.max) = (0.0, now, self.value);
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_maximum_over_a_span() {
        let mut gauge = Gauge::default();
        gauge.up(Moment(0));
        gauge.up(Moment(50_000));
        gauge.down(Moment(75_000));
        assert_eq!(gauge.take(Moment(100_000)), Level { mean: 1.25, max: 2 });
        assert_eq!(gauge.take(Moment(200_000)), Level { mean: 1.0, max: 1 });
    }
}
