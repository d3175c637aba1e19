//! Arrivals over time: a rate at each moment, and how many arrivals are due by then.

/// Arrivals a second over a window that begins at 0 and lasts `length_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// The same rate all the time.
    Steady {
        /// Arrivals a second.
        per_s: f64,
    },
    /// A straight line.
    Ramp {
        /// Arrivals a second at the beginning.
        from_per_s: f64,
        /// Arrivals a second at the end.
        to_per_s: f64,
    },
    /// On and off.
    Pulse {
        /// Arrivals a second while on.
        per_s: f64,
        /// Seconds on.
        on_s: f64,
        /// Seconds off.
        off_s: f64,
    },
}

impl Shape {
    /// Arrivals a second at `t` seconds into the window.
    #[must_use]
    pub fn rate_at(&self, t: f64, length_s: f64) -> f64 {
        if !(0.0..length_s).contains(&t) {
            return 0.0;
        }
        match *self {
            Self::Steady { per_s } => per_s,
            Self::Ramp { from_per_s, to_per_s } => from_per_s + (to_per_s - from_per_s) * t / length_s,
            Self::Pulse { per_s, on_s, off_s } => {
                if t % (on_s + off_s) < on_s {
                    per_s
                } else {
                    0.0
                }
            }
        }
    }

    /// The highest rate of the window.
    #[must_use]
    pub fn rate_max(&self) -> f64 {
        match *self {
            Self::Steady { per_s } | Self::Pulse { per_s, .. } => per_s,
            Self::Ramp { from_per_s, to_per_s } => from_per_s.max(to_per_s),
        }
    }

    /// Arrivals due from the beginning of the window up to `t` seconds into it (the integral of the rate).
    #[must_use]
    pub fn due(&self, t: f64, length_s: f64) -> f64 {
        let t = t.clamp(0.0, length_s);
        match *self {
            Self::Steady { per_s } => per_s * t,
            Self::Ramp { from_per_s, to_per_s } => {
                from_per_s * t + (to_per_s - from_per_s) * t * t / (2.0 * length_s.max(f64::MIN_POSITIVE))
            }
            Self::Pulse { per_s, on_s, off_s } => {
                let period = on_s + off_s;
                let whole = (t / period).floor();
                per_s * (whole * on_s + (t - whole * period).min(on_s))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_is_the_integral_of_the_rate() {
        let shapes = [
            Shape::Steady { per_s: 70.0 },
            Shape::Ramp { from_per_s: 10.0, to_per_s: 200.0 },
            Shape::Ramp { from_per_s: 200.0, to_per_s: 0.0 },
            Shape::Pulse { per_s: 90.0, on_s: 1.5, off_s: 2.0 },
        ];
        let (length, step) = (20.0, 0.001);
        for shape in shapes {
            let mut sum = 0.0;
            for i in 0..20_000 {
                let t = f64::from(i) * step;
                sum += shape.rate_at(t + step / 2.0, length) * step;
                assert!((shape.due(t + step, length) - sum).abs() < 0.5, "{shape:?} at {t}: {sum}");
                assert!(shape.rate_at(t, length) <= shape.rate_max());
            }
            assert_eq!(shape.rate_at(length, length), 0.0);
            assert_eq!(shape.due(length * 2.0, length), shape.due(length, length));
        }
    }
}
